"""The one training loop: phases, epochs, steps; device-independent, resumable to the bit.

Nothing here knows pytest, papers or files: a run hands in networks, images and what to do with a checkpoint.
Every draw comes from a generator whose seed is derived from the run's seed, a name and the epoch, so that two
objectives under one seed see the same weights, the same order of images and the same augmentation, and so that
a training can go on at any epoch with nothing but weights and optimizer.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from vitbench.case import Phase
from vitbench.contracts import Images
from vitbench.learner import Learner, Total

VERSION = 1


@dataclass(kw_only=True)
class Watch:
    """What the loop calls while it trains.

    Attributes:
        evaluate: after each epoch; returns the test accuracy in percent.
        save: after each epoch, with a function that makes the content of a checkpoint.
        tell: now and then, with (steps done, steps in all, loss).
    """

    evaluate: Callable[[], float]
    save: Callable[[Callable[[], dict[str, Any]]], None] = field(default=lambda content: None)
    tell: Callable[[int, int, float], None] = field(default=lambda done, steps, loss: None)


def train(
    network: nn.Module,
    total: Total,
    data: Images,
    phases: Sequence[Phase],
    *,
    seed: int,
    watch: Watch,
    precision: str = "fp32",
    checkpoint: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Train `network` in place, phase by phase.

    Args:
        network, total, data, precision: as in `Learner`.
        phases: run one after the other, each with a fresh optimizer.
        seed: of order, augmentation, terms and dropout; the weights come initialised.
        checkpoint: what `watch.save` was given, to go on from; trains to the bits of an uninterrupted run.

    Returns:
        The curves, one entry an epoch: phase, epoch, lr, loss, terms (raw values), accuracy, seconds.

    Raises:
        NonFinite: if the loss or a weight stops being a finite number.
    """
    start = checkpoint or {"phase": 0, "epoch": 0, "curves": []}
    curves: list[dict[str, Any]] = list(start["curves"])
    with torch.random.fork_rng(devices=_cuda(data)):
        for number, phase in list(enumerate(phases))[start["phase"] :]:
            learner = Learner(network, total, data, phase, precision=precision)
            first = 0
            if checkpoint is not None and number == start["phase"]:
                learner.trained.load_state_dict(checkpoint["trained"])
                learner.optimizer.load_state_dict(checkpoint["optimizer"])
                first = start["epoch"]
            for epoch in range(first, phase.epochs):
                curves.append({"phase": number, **_one_epoch(learner, epoch, (seed, number), watch)})
                watch.save(lambda: _checkpoint(learner, number, epoch + 1, curves))  # noqa: B023 - called at once
    return curves


def _one_epoch(learner: Learner, epoch: int, place: tuple[int, int], watch: Watch) -> dict[str, Any]:
    device, phase, (seed, number) = learner.device, learner.phase, place
    order = torch.randperm(len(learner.data), generator=generator(seed, "order", number, epoch))
    batches = order[: learner.steps_per_epoch * phase.batch_size].view(learner.steps_per_epoch, -1).to(device)
    draws = {name: generator(seed, name, number, epoch, device=device) for name in ("augment", "terms")}
    torch.manual_seed(derived(seed, "dropout", number, epoch))
    steps = phase.epochs * learner.steps_per_epoch
    started = time.perf_counter()
    losses = learner.epoch(epoch, batches=batches, draws=draws, tell=lambda done, loss: watch.tell(done, steps, loss))
    seconds = time.perf_counter() - started
    learner.stop_if_ruined(epoch)
    mean = losses.mean(dim=0).tolist()
    terms = dict(zip(learner.total.names, mean[1:], strict=True))
    curve = {"epoch": epoch + 1, "lr": learner.lr, "loss": mean[0], "terms": terms}
    return curve | {"accuracy": watch.evaluate(), "seconds": seconds}


def _checkpoint(learner: Learner, phase: int, epoch: int, curves: list[dict[str, Any]]) -> dict[str, Any]:
    """All that the rest of the training depends on; loadable with `weights_only=True`."""
    return {
        "phase": phase,
        "epoch": epoch,
        "curves": curves,
        "trained": learner.trained.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
    }


def derived(seed: int, *names: object) -> int:
    """A seed of its own for each use of randomness, in [0, 2**63)."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one use of randomness."""
    return torch.Generator(device).manual_seed(derived(seed, *names))


def _cuda(data: Images) -> list[torch.device]:
    return [data.images.device] if data.images.device.type == "cuda" else []
