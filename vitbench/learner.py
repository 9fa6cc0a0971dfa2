"""What takes one step: a network, the sum of its losses, an optimizer, on whatever device the data lies.

A step reads nothing but tensors that stay where they are: which images, the learning rates, how far the phase is,
the number of the step itself. So the same step can be taken again and again, or captured once and replayed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vitbench import feed, optimizer, views
from vitbench.augment import mixer, to_float
from vitbench.case import Phase
from vitbench.contracts import Images, Output, Step
from vitbench.errors import NonFinite, UserError
from vitbench.machine import PRECISIONS
from vitbench.total import Total

VERSION = 2

CHECK_EVERY = {"cpu": 1, "cuda": 1000}  # steps between looks at the loss, besides one an epoch; a look makes a GPU wait
DRAWS = ("augment", "terms")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One epoch as tensors on the device; each epoch writes its own content into the same ones.

    Attributes:
        batches: (steps, B) which images each step takes.
        rates: (steps, groups) learning rates.
        factors: (steps, T), what each term's weight is multiplied by.
        progress: (steps,) share of the phase that is done, in [0, 1).
        losses: (steps, 1 + T): of each step that was taken, the total loss, then each term's raw value.
        at: (1,) the step that comes next.
    """

    batches: Tensor
    rates: Tensor
    factors: Tensor
    progress: Tensor
    losses: Tensor
    at: Tensor


def factor(moves: Mapping[str, float] | None, epoch: int) -> float:
    """What a term's weight is multiplied by in an epoch, from 0.

    Args:
        moves: `rise_epochs`, in which it grows from 0 to 1, and `end_epoch`, at which it is back at 0; None: always 1.

    Source: the code of Liu et al. 2021, in which it changes once an epoch.
    """
    if moves is None:
        return 1.0
    rise, end = moves["rise_epochs"], moves["end_epoch"]
    return epoch / rise if epoch <= rise else max(0.0, 1 - (epoch - rise) / (end - rise))


def _as_number(seen: Tensor) -> Tensor:
    """Levels as numbers in [0, 1]; what is none, such as turns, as a tensor of its own."""
    return to_float(seen) if seen.dtype == torch.uint8 else seen.clone()


def _by_version(seen: Tensor) -> Tensor:
    """Of b images n views each (b, n, ...), one view of all and then the next of all (n * b, ...)."""
    return seen.transpose(0, 1).flatten(0, 1)


class Learner:
    """A network, its objective and an optimizer: what takes one step.

    Args:
        network: images to `Output`; steps are taken where its weights are.
        total: the objective; the terms' own parameters are trained with the network's.
        data: training images, there too, or on the CPU where they are too many.
        phase: optimizer, schedule, batch size, augmentation.
        precision: "fp32", or "bf16" for autocast over fp32 weights.
        micro_batch: images that go through the network at once, where a whole batch does not fit; their gradients
            add up to the batch's. Batch statistics are then those of a part.

    Attributes:
        forward: what a step calls for the network; an engine may put a compiled one here.

    Raises:
        UserError: for an unknown precision, a batch larger than the data set, or parts that do not divide it.
    """

    def __init__(
        self,
        network: nn.Module,
        total: Total,
        data: Images,
        phase: Phase,
        *,
        precision: str = "fp32",
        micro_batch: int | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise UserError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
        if phase.batch_size > len(data):
            raise UserError(
                f"the recipe's batch of {phase.batch_size} needs as many images, got {len(data)} training images; "
                f"name a data set with at least {phase.batch_size}"
            )
        self.micro_batch = micro_batch or phase.batch_size
        if phase.batch_size % self.micro_batch:
            raise UserError(
                f"micro-batches of {micro_batch} do not divide a batch of {phase.batch_size}; take a divisor"
            )
        self.network, self.total, self.data, self.phase, self.precision = network, total, data, phase, precision
        self.forward: Callable[[Tensor], Output] = network
        self.device = next((one.device for one in network.parameters()), data.images.device)
        self.trained = optimizer.Trained([network, total])
        self.steps_per_epoch = len(data) // phase.batch_size
        self.mix = mixer(phase.mixing.arguments, data.classes) if phase.mixing else None
        self.draws = {name: torch.Generator(self.device) for name in DRAWS}
        self.feed = feed.of(data.images, phase.batch_size, self.device, views.of(phase, self.draws["augment"]))
        self.labels = data.labels.to(self.device)
        self.optimizer, self.rates = optimizer.make(
            self.trained, phase, steps_per_epoch=self.steps_per_epoch, device=self.device
        )
        self.plan = self._plan()
        self.lrs: list[float] = []
        self.last_finite = "none yet"

    def _plan(self) -> Plan:
        steps, device = self.steps_per_epoch, self.device
        return Plan(
            batches=torch.zeros(steps, self.phase.batch_size, dtype=torch.int64, device=device),
            rates=torch.zeros(steps, len(self.optimizer.param_groups), device=device),
            factors=torch.ones(steps, len(self.total.names), device=device),
            progress=torch.zeros(steps, device=device),
            losses=torch.zeros(steps, 1 + len(self.total.names), device=device),
            at=torch.zeros(1, dtype=torch.int64, device=device),
        )

    @property
    def lr(self) -> float:
        """Learning rate of the last step; the highest, where layers have rates of their own."""
        return self.lrs[int(self.plan.at) - 1]

    def state(self) -> dict[str, Any]:
        """Weights and the optimizer's state: all that steps change, besides the draws; plain data and tensors."""
        return {"trained": self.trained.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave.

        Raises:
            ValueError, RuntimeError, KeyError: if it is of another network or optimizer.
        """
        self.trained.load_state_dict(state["trained"])
        optimizer.restore(self.optimizer, state["optimizer"])

    def begin(self, number: int, *, order: Tensor, seeds: Mapping[str, int]) -> None:
        """Get an epoch ready.

        Args:
            number: of the epoch, from 0.
            order: (N,) the training images in the order of this epoch; what fills no batch is left out.
            seeds: of the draws of this epoch, by the names in `DRAWS`.
        """
        plan, steps = self.plan, self.steps_per_epoch
        first = number * steps
        batches = order[: plan.batches.numel()].view_as(plan.batches)
        self.feed.begin(batches)
        plan.batches.copy_(batches)
        rates = [self.rates(first + at) for at in range(steps)]
        self.lrs = [max(groups) for groups in rates]
        plan.rates.copy_(torch.tensor(rates))
        plan.factors.copy_(torch.tensor([factor(self.phase.weights.get(name), number) for name in self.total.names]))
        plan.progress.copy_(torch.arange(first, first + steps) / (self.phase.epochs * steps))
        plan.losses.zero_()
        plan.at.zero_()
        for name, seed in seeds.items():
            self.draws[name].manual_seed(seed)
        self.trained.train()

    def step(self) -> None:
        """Take the step that comes next in the plan; nothing in it waits for the device."""
        plan = self.plan
        index = plan.batches.index_select(0, plan.at).view(-1)  # (B,)
        whole = {name: _as_number(one) for name, one in self.feed.pick(index).items()}  # images (B, V, 3, H, W)
        whole["labels"] = self.labels.index_select(0, index)  # (B,)
        if self.mix is not None:
            mixed = self.mix(whole["images"].squeeze(1), whole["labels"], generator=self.draws["augment"])
            whole["images"], whole["targets"] = mixed[0].unsqueeze(1), mixed[1]  # (B, 1, 3, H, W), (B, K)
        split = {name: one.split(self.micro_batch) for name, one in whole.items()}
        parts = [dict(zip(split, part, strict=True)) for part in zip(*split.values(), strict=True)]
        losses = torch.stack([self._gradients(part) for part in parts])  # (parts, 1 + T)
        if self.phase.clip_grad is not None:
            nn.utils.clip_grad_norm_(self.trained.parameters(), self.phase.clip_grad)
        optimizer.set_rates(self.optimizer, plan.rates.index_select(0, plan.at).view(-1))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.total.after_step()
        plan.losses.index_copy_(0, plan.at, losses.mean(dim=0, keepdim=True))
        plan.at.add_(1)

    def _gradients(self, part: Mapping[str, Tensor]) -> Tensor:
        """Add the gradients of a part of the batch, as its share of it; returns its losses (1 + T,).

        Args:
            part: of b images `images` (b, V, 3, H, W), `labels` (b,), and where there are some `turns` (b, V), `local`
                (b, L, 3, h, w) and, where labels were mixed, `targets` (b, K).
        """
        plan, seen, versions = self.plan, part["images"], part["images"].shape[1]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            step = Step(
                images=_by_version(seen),  # (V * b, 3, H, W)
                labels=part["labels"].repeat(versions),
                targets=part.get("targets"),
                versions=versions,
                turns=_by_version(part["turns"]) if "turns" in part else None,
                views={"local": _by_version(part["local"])} if "local" in part else {},
                model=self.network,
                forward=self.forward,
                progress=plan.progress.index_select(0, plan.at).view(()),
                generator=self.draws["terms"],
            )
            loss, raw = self.total(step, plan.factors.index_select(0, plan.at).view(-1))
        (loss * (len(seen) / self.phase.batch_size)).backward()
        return torch.cat([loss.detach().view(1), raw])

    def epoch(self, number: int, *, advance: Callable[[], None], tell: Callable[[int, float], None]) -> Tensor:
        """Take every step of the epoch that `begin` got ready.

        Args:
            number: of the epoch, from 0.
            advance: takes one step: `step` itself, or what an engine made of it.
            tell: called now and then with (steps of the phase done, loss).

        Returns:
            (steps, 1 + T): total loss and raw values of each step.

        Raises:
            NonFinite: if a loss is NaN or infinite; on a CPU at once.
        """
        steps, looked = self.steps_per_epoch, 0
        every = CHECK_EVERY.get(self.device.type, 1)
        for done in range(1, steps + 1):
            self.feed.ready(done - 1)
            advance()
            if done % every == 0 or done == steps:
                recent = self.plan.losses[looked:done, 0].tolist()
                self._stop_if_lost(recent, number, looked)
                looked = done
                tell(number * steps + done, recent[-1])
        return self.plan.losses.clone()

    def _stop_if_lost(self, losses: Sequence[float], epoch: int, first: int) -> None:
        """Look at the losses since step `first` of an epoch."""
        for at, loss in enumerate(losses, start=first):
            if not math.isfinite(loss):
                raise NonFinite(
                    f"the loss became {loss} at epoch {epoch + 1}, step {at + 1} of {self.steps_per_epoch}, "
                    f"learning rate {self.lrs[at]:.3g}; last finite loss: {self.last_finite}"
                )
            self.last_finite = f"{loss:.4g}"

    def stop_if_ruined(self, epoch: int) -> None:
        """Look at the weights: the last step may have ruined them without showing in a loss.

        Raises:
            NonFinite: if one is NaN or infinite.
        """
        if not all(bool(weight.isfinite().all()) for weight in self.trained.parameters()):
            raise NonFinite(f"a weight became NaN or infinite in epoch {epoch + 1}, learning rate {self.lr:.3g}")
