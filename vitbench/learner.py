"""What takes one step: a network, the sum of its losses, an optimizer, on whatever device the data lies."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import Tensor, nn

from vitbench.augment import compose
from vitbench.case import Phase
from vitbench.contracts import Images, Step
from vitbench.errors import NonFinite, UserError

VERSION = 1

PRECISIONS = ("fp32", "bf16")
CHECK_EVERY = {"cpu": 1, "cuda": 50}  # steps between looks at the loss; a look makes a GPU wait


class Total(nn.Module):
    """The sum of weighted terms that is minimised.

    Args:
        terms: modules by name, each with `forward(step) -> scalar`; one that owns a state (a teacher, a
            centre) has a method `after_step()` too.
        weights: per name, its weight.
    """

    weights: Tensor

    def __init__(self, terms: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.names = tuple(terms)
        self.terms = nn.ModuleList(terms.values())
        self.register_buffer("weights", torch.tensor([weights[name] for name in terms]), persistent=False)

    def forward(self, step: Step) -> tuple[Tensor, Tensor]:
        """Total loss, and the raw value of each term (T,), detached, in the order of `names`.

        Raises:
            UserError: if a term returns more than one number.
        """
        values = [term(step).float() for term in self.terms]
        for name, value in zip(self.names, values, strict=True):
            if value.ndim:
                raise UserError(
                    f"the term {name} returned {tuple(value.shape)} numbers; return one, such as their mean"
                )
        raw = torch.stack(values)  # (T,)
        return torch.dot(self.weights, raw), raw.detach()

    def after_step(self) -> None:
        """Tell every term that owns a state that a step was taken."""
        for term in self.terms:
            after: Callable[[], None] | None = getattr(term, "after_step", None)
            if after is not None:
                after()


class Learner:
    """A network, its objective and an optimizer: what takes one step.

    Args:
        network: images to `Output`, on the device of `data`.
        total: the objective; the terms' own parameters are trained with the network's.
        data: training images.
        phase: optimizer, schedule, batch size, augmentation.
        precision: "fp32", or "bf16" for autocast over fp32 weights.

    Raises:
        UserError: for an unknown precision, or a batch larger than the data set.
    """

    def __init__(
        self, network: nn.Module, total: Total, data: Images, phase: Phase, *, precision: str = "fp32"
    ) -> None:
        if precision not in PRECISIONS:
            raise UserError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
        if phase.batch_size > len(data):
            raise UserError(
                f"a batch of {phase.batch_size} needs more than the {len(data)} training images; take a smaller one"
            )
        self.network, self.total, self.data, self.phase, self.precision = (
            network,
            total,
            data,
            phase,
            precision,
        )
        self.device = data.images.device
        self.trained = nn.ModuleList([network, total])
        self.steps_per_epoch = len(data) // phase.batch_size
        self.augment = compose((call.name, call.arguments) for call in phase.augmentation)
        self.optimizer = _optimizer(self.trained, phase)
        self.schedule = _schedule(self.optimizer, phase, self.steps_per_epoch)
        self.last_finite = "none yet"

    @property
    def lr(self) -> float:
        """Learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, index: Tensor, *, progress: Tensor, draws: Mapping[str, torch.Generator]) -> Tensor:
        """Take one step; nothing in it waits for the device.

        Args:
            index: (B,) which images.
            progress: share of the phase that is done, 0-d.
            draws: generators named "augment" and "terms", on the device.

        Returns:
            (1 + T,): the total loss, then each term's raw value.
        """
        images = self.data.images.index_select(0, index)  # (B, 3, H, W) uint8
        images = self.augment(images, generator=draws["augment"])  # (B, 3, H, W) in [0, 1]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            step = Step(
                images=images,
                labels=self.data.labels.index_select(0, index),
                out=self.network(images),
                model=self.network,
                progress=progress,
                generator=draws["terms"],
            )
            loss, raw = self.total(step)
        loss.backward()
        if self.phase.clip_grad is not None:
            nn.utils.clip_grad_norm_(self.trained.parameters(), self.phase.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.total.after_step()
        return torch.cat([loss.detach().view(1), raw])

    def epoch(
        self,
        number: int,
        *,
        batches: Tensor,
        draws: Mapping[str, torch.Generator],
        tell: Callable[[int, float], None],
    ) -> Tensor:
        """Take every step of one epoch.

        Args:
            number: of the epoch, from 0.
            batches: (steps, B) which images each step takes.
            draws: as in `step`.
            tell: called now and then with (steps of the phase done, loss).

        Returns:
            (steps, 1 + T): what each step returned.

        Raises:
            NonFinite: at the first loss that is NaN or infinite.
        """
        self.trained.train()
        losses = torch.zeros(self.steps_per_epoch, 1 + len(self.total.names), device=self.device)
        first, every = number * self.steps_per_epoch, CHECK_EVERY.get(self.device.type, 1)
        steps = torch.arange(first, first + self.steps_per_epoch, device=self.device)
        shares = (steps / (self.phase.epochs * self.steps_per_epoch)).unbind()
        looked = 0
        for at, (index, share) in enumerate(zip(batches.unbind(), shares, strict=True)):
            self.schedule(first + at)
            losses[at] = self.step(index, progress=share, draws=draws)
            if (at + 1) % every == 0 or at + 1 == self.steps_per_epoch:
                recent = losses[looked : at + 1, 0].tolist()
                self._stop_if_lost(recent, number, looked)
                looked = at + 1
                tell(first + looked, recent[-1])
        return losses

    def _stop_if_lost(self, losses: Sequence[float], epoch: int, first: int) -> None:
        """Look at the losses since step `first` of an epoch."""
        for step, loss in enumerate(losses, start=first + 1):
            if not math.isfinite(loss):
                raise NonFinite(
                    f"the loss became {loss} at epoch {epoch + 1}, step {step} of {self.steps_per_epoch}, "
                    f"learning rate {self.lr:.3g}; last finite loss: {self.last_finite}"
                )
            self.last_finite = f"{loss:.4g}"

    def stop_if_ruined(self, epoch: int) -> None:
        """Look at the weights: the last step may have ruined them without showing in a loss.

        Raises:
            NonFinite: if one is NaN or infinite.
        """
        if not all(bool(weight.isfinite().all()) for weight in self.trained.parameters()):
            raise NonFinite(f"a weight became NaN or infinite in epoch {epoch + 1}, learning rate {self.lr:.3g}")


def _optimizer(trained: nn.Module, phase: Phase) -> torch.optim.Optimizer:
    arguments: dict[str, Any] = dict(phase.optimizer)
    name = arguments.pop("name")
    # Fused only where torch has it: one kernel for all parameters, on CPU and CUDA alike.
    fused = {"fused": True} if name in ("adam", "adamw") else {}
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(trained, opt=name, **arguments, **fused)
    except (ValueError, TypeError, AssertionError) as error:
        raise UserError(f"timm makes no optimizer of {dict(phase.optimizer)}: {error}") from None
    return optimizer


def _schedule(optimizer: torch.optim.Optimizer, phase: Phase, steps_per_epoch: int) -> Callable[[int], None]:
    """A function of the step number that sets the learning rate."""
    arguments: dict[str, Any] = dict(phase.schedule)
    if arguments.pop("name") == "constant":
        return lambda step: None
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=phase.epochs,
        warmup_prefix=False,
        step_on_epochs=False,
        updates_per_epoch=steps_per_epoch,
        **arguments,
    )
    update: Callable[[int], None] = schedule.step_update
    return update
