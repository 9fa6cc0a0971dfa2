"""Throughput and the cost of a step. The stopwatch is handed in: pytest-benchmark, or anything like it."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitbench.samples import BLOCKS

VERSION = 1

# Times a function again and again, `setup` before each time and outside of it; returns seconds.
Stopwatch = Callable[[Callable[[], object], Callable[[], object]], Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Medians of one timing.

    Attributes:
        seconds: of one call.
        noise_floor: an A/A comparison in percent: every second round against the others.
        ratio: to the reference that was timed in between, or None.
        multiples: of each round, its seconds over the median of the reference in the same quarter of the rounds, so
            that a drift of the machine is in both; none without a reference.
    """

    seconds: float
    noise_floor: float
    ratio: float | None
    multiples: tuple[float, ...] = ()


def timing(seconds: Sequence[float], reference: Sequence[float] = ()) -> Timing:
    """Sum up the rounds of a stopwatch.

    Args:
        seconds: of each round, at least two.
        reference: seconds of what was timed between them.
    """
    halves = [statistics.median(seconds[start::2]) for start in (0, 1)]
    median = statistics.median(seconds)
    return Timing(
        seconds=median,
        noise_floor=100 * abs(halves[0] - halves[1]) / median,
        ratio=median / statistics.median(reference) if reference else None,
        multiples=tuple(_multiples(seconds, reference[-len(seconds) :])) if reference else (),
    )


def _multiples(seconds: Sequence[float], reference: Sequence[float]) -> Iterator[float]:
    """Seconds over the plain ones, block by block."""
    length = -(-len(seconds) // BLOCKS)
    for start in range(0, len(seconds), length):
        plain = statistics.median(reference[start : start + length])
        yield from (one / plain for one in seconds[start : start + length])


def time_call(call: Callable[[], object], device: torch.device, stopwatch: Stopwatch) -> Timing:
    """Time a call, with the device waited for at both ends."""
    return timing(stopwatch(_synchronised(call, device), lambda: None))


def time_against(
    call: Callable[[], object], reference: Callable[[], object], device: torch.device, stopwatch: Stopwatch
) -> Timing:
    """Time a call with a reference in turn, so that the ratio holds while the machine's speed drifts."""
    between: list[float] = []
    plain, timed = _synchronised(reference, device), _synchronised(call, device)
    plain()  # warm, as the stopwatch warms the other

    def time_reference() -> None:
        started = time.perf_counter()
        plain()
        between.append(time.perf_counter() - started)

    return timing(stopwatch(timed, time_reference), between)


def inference(network: nn.Module, images: Tensor, *, precision: str = "fp32") -> Callable[[], object]:
    """A forward pass in eval mode without gradients.

    Args:
        images: (B, 3, H, W) in [0, 1].
        precision: "fp32", or "bf16" for autocast over fp32 weights.
    """

    def call() -> object:
        autocast = torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16")
        with torch.inference_mode(), autocast:
            return network(images).logits

    network.eval()
    return call


def peak_memory(call: Callable[[], object], device: torch.device) -> float | None:
    """Most memory (MiB) that the device held during a call; None on a CPU, where torch does not count it."""
    if device.type != "cuda":
        return None
    call()  # an optimizer makes its state in the first step
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) / 2**20


def _synchronised(call: Callable[[], object], device: torch.device) -> Callable[[], object]:
    if device.type != "cuda":
        return call

    def waiting() -> object:
        result = call()
        torch.cuda.synchronize(device)
        return result

    return waiting
