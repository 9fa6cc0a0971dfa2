"""The optimizer of a phase and its learning rates, both made by timm.

With `layer_decay` a layer learns slower the nearer it is to the pixels: its rate is the phase's times the decay to the
power of its distance from what stands behind the last layer (Clark et al. 2020, arXiv:2003.10555).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from timm.models import group_parameters
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import Tensor, nn

from vitbench.case import Phase
from vitbench.errors import UserError

# torch's own, with one kernel for all parameters and a learning rate that may stay on the device.
FUSED = ("adam", "adamw", "sgd", "momentum")

COUNTERS = ("lookahead_step", "step")  # steps that an optimizer counts among its options

Rates = Callable[[int], list[float]]  # step of the phase to the learning rate of each parameter group


class Trained(nn.ModuleList):
    """Everything that is trained: the network, then the objective."""

    def no_weight_decay(self) -> set[str]:
        """Names that a network or a term keeps from weight decay, as timm asks for them: positions, class tokens."""
        names: set[str] = set()
        for prefix, module in self.named_modules():
            spared = getattr(module, "no_weight_decay", None)
            if module is not self and callable(spared):
                names |= {f"{prefix}.{name}" for name in spared()}
        return names

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """The layer of each parameter by its name, as timm asks for it where rates differ from layer to layer.

        Layers are those of the `group_matcher` of the network, or of the part of it that has one, and count as in that
        alone. What lies outside of it, the terms among it, is of the last layer, where the classifier is.

        Raises:
            UserError: if no part of the network has such a method, or timm cannot use what it returns.
        """
        named = [(f"0.{name}." if name else "0.", module) for name, module in self[0].named_modules()]
        found = [(prefix, one) for prefix, one in named if callable(getattr(one, "group_matcher", None))]
        if not found:
            network = type(getattr(self[0], "network", self[0])).__name__
            raise UserError(
                f"layer_decay needs to know the layers of {network}: expected a method group_matcher, as timm's "
                "networks have one, got none; write it, or leave layer_decay out"
            )
        prefix, part = found[0]
        try:
            layers = group_parameters(part, part.group_matcher(coarse=coarse), reverse=True)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"group_matcher of {type(part).__name__}: expected patterns whose groups are numbers of layers, as "
                f"timm's networks have them, got one that timm cannot use: {error}; write (?:…) for other groups"
            ) from None
        numbers = {prefix + name: number for name, number in layers.items()}
        return lambda name: numbers.get(name, max(numbers.values()))


def make(trained: Trained, phase: Phase, *, steps_per_epoch: int, device: torch.device) -> tuple[Any, Rates]:
    """The optimizer, and its learning rates.

    Args:
        trained: on `device`.
        phase: `optimizer` and `schedule`.

    Raises:
        UserError: if timm makes no such optimizer, or `layer_decay` meets a network whose layers nobody knows.
    """
    arguments: dict[str, Any] = dict(phase.optimizer)
    name = arguments.pop("name")
    if name in FUSED:
        arguments["fused"] = True
    if name in ("adam", "adamw") and device.type == "cuda":
        arguments["capturable"] = True  # the count of steps stays on the device too
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(trained, opt=name, **arguments)
    except (ValueError, TypeError, AssertionError) as error:
        raise UserError(f"timm makes no optimizer of {dict(phase.optimizer)}: {error}") from None
    # It is stepped without a capture on purpose: before one, and by the eager engine.
    optimizer._warned_capturable_if_run_uncaptured = True
    rates = _rates(optimizer, phase, steps_per_epoch)
    if name in FUSED:
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=device)
    return optimizer, rates


def set_rates(optimizer: torch.optim.Optimizer, rates: Tensor) -> None:
    """Set the learning rate of each parameter group, on the device where the optimizer can read it there.

    Args:
        rates: (groups,).
    """
    for group, rate in zip(optimizer.param_groups, rates.unbind(), strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].copy_(rate)
        else:  # waits for the device, so a step of such an optimizer cannot be captured
            group["lr"] = rate.item()


def restore(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state dict, whatever device it was made on; options, learning rates among them, stay those of here.

    Raises:
        ValueError, RuntimeError, KeyError: if it is of another optimizer or network.
    """
    kept = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    groups = [
        here | {name: saved[name] for name in ("params", *COUNTERS) if name in saved}
        for here, saved in zip(kept, state["param_groups"], strict=True)
    ]
    _check_counts(groups)
    optimizer.load_state_dict({**state, "param_groups": groups})
    _check_shapes(optimizer)
    for weight, kept_of in optimizer.state.items():
        kept_of.update({name: _laid_out(one, weight) for name, one in kept_of.items()})
    for group, here in zip(optimizer.param_groups, kept, strict=True):
        group["lr"] = here["lr"]  # the very tensor, not the copy that loading made


def _check_counts(groups: Iterable[dict[str, Any]]) -> None:
    for name, count in ((name, group[name]) for group in groups for name in COUNTERS if name in group):
        if not (float(count) >= 0 and float(count).is_integer()):
            raise ValueError(f"{name} is {count!r}, which is no number of steps")


def _check_shapes(optimizer: torch.optim.Optimizer) -> None:
    """The one kernel of torch's own optimizers trusts shapes, and would go through memory that is not its own."""
    if not optimizer.defaults.get("fused"):
        return
    for weight, kept_of in optimizer.state.items():
        for name, kept in kept_of.items():
            if isinstance(kept, Tensor) and kept.ndim and kept.shape != weight.shape:
                raise ValueError(f"{name} of a weight {tuple(weight.shape)} is {tuple(kept.shape)}")


def _laid_out(kept: Any, weight: Tensor) -> Any:
    """What an optimizer keeps of a weight, in memory as the weight is here: one kernel goes through both."""
    if not isinstance(kept, Tensor) or kept.shape != weight.shape or kept.stride() == weight.stride():
        return kept
    return torch.empty_like(weight, dtype=kept.dtype).copy_(kept)


def _rates(optimizer: torch.optim.Optimizer, phase: Phase, steps_per_epoch: int) -> Rates:
    """A scheduler of timm writes floats into an optimizer's groups: here into those of a stand-in."""
    copied = [{key: group[key] for key in ("lr", "lr_scale") if key in group} for group in optimizer.param_groups]
    stand_in = torch.optim.SGD([{"params": [torch.zeros(1)], **group} for group in copied])
    arguments: dict[str, Any] = dict(phase.schedule)
    if arguments.pop("name") == "constant":
        constant = [group["lr"] * group.get("lr_scale", 1.0) for group in stand_in.param_groups]
        return lambda step: constant
    epochs = arguments.pop("epochs", phase.epochs)  # a longer cosine is cut off at the phase's end
    follows = bool(arguments.pop("after_warmup", False))
    schedule, _ = create_scheduler_v2(
        stand_in,
        sched="cosine",
        num_epochs=epochs - arguments["warmup_epochs"] if follows else epochs,
        warmup_prefix=follows,
        step_on_epochs=False,
        updates_per_epoch=steps_per_epoch,
        **arguments,
    )

    def rates(step: int) -> list[float]:
        schedule.step_update(step)
        return [group["lr"] for group in stand_in.param_groups]

    return rates
