"""The one training loop: phases, epochs, steps; device-independent, resumable to the bit.

Nothing here knows pytest, papers or files: a run hands in networks, images and what to do with a checkpoint.
Every draw comes from a generator whose seed is derived from the run's seed, a name and the epoch, so that two
objectives under one seed see the same weights, the same order of images and the same augmentation, and so that
a training can go on at any epoch with nothing but weights and optimizer.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from vitbench.case import Phase
from vitbench.contracts import Images
from vitbench.engine import Engine
from vitbench.errors import TimeUp, Unfit, is_out_of_memory
from vitbench.learner import DRAWS, Learner
from vitbench.total import Total

VERSION = 2


@dataclass(kw_only=True)
class Watch:
    """What the loop calls while it trains.

    Attributes:
        examine: after each epoch, with its number from 1 on, over all phases; returns what joins its curve.
        save: after each epoch, with a function that makes the content of a checkpoint; writes it if the last one is
            old, or in any case if `now`.
        tell: now and then, with (steps done, steps in all, loss).
        leave: after each epoch, with its seconds; whether there is no time for another one.
        is_late: now and then within an epoch; whether it has to be given up.
        is_hurried: whether there is a deadline, before which the last epoch is worth a checkpoint as well.
    """

    examine: Callable[[int], Mapping[str, float]]
    save: Callable[[Callable[[], dict[str, Any]], bool], None] = field(default=lambda make, now: None)
    tell: Callable[[int, int, float], None] = field(default=lambda done, steps, loss: None)
    leave: Callable[[float], bool] = field(default=lambda seconds: False)
    is_late: Callable[[], bool] = field(default=lambda: False)
    is_hurried: bool = False


def train(
    network: nn.Module,
    total: Total,
    data: Images,
    phases: Sequence[Phase],
    *,
    seed: int,
    watch: Watch,
    precision: str = "fp32",
    micro_batch: int | None = None,
    engine: Engine | None = None,
    checkpoint: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Train `network` in place, phase by phase.

    Args:
        network, total, data, precision, micro_batch: as in `Learner`.
        phases: run one after the other, each with a fresh optimizer; none for a network that is only judged.
        seed: of order, augmentation, terms and dropout; the weights come initialised.
        engine: takes the steps; an eager one where none is given.
        checkpoint: what `watch.save` was given, to go on from; trains to the bits of an uninterrupted run.

    Returns:
        The curves, one entry an epoch: phase, epoch, lr, loss, terms (raw values), weighted (what they add to the
        loss), what `watch.examine` returns, seconds.

    Raises:
        NonFinite: if the loss or a weight stops being a finite number.
        Unfit: if the checkpoint is of another network, optimizer or recipe.
        TimeUp: if `watch.is_late` says so, or `watch.leave` says so while epochs are left; the last one is saved.
    """
    start = checkpoint or {"phase": 0, "epoch": 0, "curves": []}
    curves: list[dict[str, Any]] = list(start["curves"])
    done = sum(phase.epochs for phase in phases[: start["phase"]]) + start["epoch"]
    beyond = start["phase"] >= len(phases) or start["epoch"] > phases[start["phase"]].epochs
    if checkpoint is not None and (beyond or len(curves) != done):
        raise Unfit("it stands at an epoch that this training does not have")
    engine = engine or Engine()
    with torch.random.fork_rng(devices=_cuda(network)):
        for number, phase in list(enumerate(phases))[start["phase"] :]:
            learner = Learner(network, total, data, phase, precision=precision, micro_batch=micro_batch)
            first = 0
            if checkpoint is not None and number == start["phase"]:
                _go_on(learner, checkpoint)
                first = start["epoch"]
            step = engine.stepper(learner)
            for epoch in range(first, phase.epochs):
                started = time.perf_counter()
                curve, seconds = _one_epoch(learner, step, epoch, (seed, number), watch)
                examined = watch.examine(len(curves) + 1)
                curves.append({"phase": number, **curve, **examined, "seconds": seconds})
                is_last = epoch + 1 == phase.epochs and number + 1 == len(phases)
                is_cut = not is_last and watch.leave(time.perf_counter() - started)
                now = is_cut or (is_last and watch.is_hurried)
                watch.save(lambda: _checkpoint(learner, number, epoch + 1, curves), now)  # noqa: B023 - at once
                if is_cut:
                    raise TimeUp(f"left after epoch {epoch + 1} of {phase.epochs}; the same command goes on from there")
    return curves


def _go_on(learner: Learner, checkpoint: dict[str, Any]) -> None:
    try:
        learner.load(checkpoint)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        if is_out_of_memory(error):  # which says nothing against the checkpoint
            raise
        raise Unfit(f"its state does not fit ({str(error).splitlines()[0]})") from None


def _one_epoch(
    learner: Learner, step: Callable[[], None], epoch: int, place: tuple[int, int], watch: Watch
) -> tuple[dict[str, Any], float]:
    """Its curve, and the seconds of its steps."""
    phase, (seed, number) = learner.phase, place
    order = torch.randperm(len(learner.data), generator=generator(seed, "order", number, epoch))
    learner.begin(epoch, order=order, seeds={name: derived(seed, name, number, epoch) for name in DRAWS})
    torch.manual_seed(derived(seed, "dropout", number, epoch))
    steps = phase.epochs * learner.steps_per_epoch

    def tell(done: int, loss: float) -> None:
        watch.tell(done, steps, loss)
        if done % learner.steps_per_epoch and watch.is_late():
            raise TimeUp("left in the middle of an epoch; the same command goes on after the last one that was saved")

    started = time.perf_counter()
    losses = learner.epoch(epoch, advance=step, tell=tell)
    seconds = time.perf_counter() - started
    learner.stop_if_ruined(epoch)
    mean = losses.mean(dim=0).tolist()
    weighted = (losses[:, 1:] * learner.plan.factors * learner.total.weights).mean(dim=0).tolist()
    terms, shares = (dict(zip(learner.total.names, one, strict=True)) for one in (mean[1:], weighted))
    curve = {"epoch": epoch + 1, "lr": learner.lr, "loss": mean[0], "terms": terms, "weighted": shares}
    return curve, seconds


def _checkpoint(learner: Learner, phase: int, epoch: int, curves: list[dict[str, Any]]) -> dict[str, Any]:
    """All that the rest of the training depends on; loadable with `weights_only=True`."""
    return {"phase": phase, "epoch": epoch, "curves": curves, **learner.state()}


def derived(seed: int, *names: object) -> int:
    """A seed of its own for each use of randomness, in [0, 2**63)."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one use of randomness."""
    return torch.Generator(device).manual_seed(derived(seed, *names))


def _cuda(network: nn.Module) -> list[torch.device]:
    return list({one.device for one in network.parameters() if one.device.type == "cuda"})
