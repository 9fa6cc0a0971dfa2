"""The rate that a device reaches on a large matrix product: what the arithmetic of a training is held against."""

import statistics
import time
from functools import cache

import torch

VERSION = 1

SIZES = {"cpu": 1024, "cuda": 8192}  # large enough to fill the device, small enough to be over in a moment
ROUNDS = 10


@cache
def matmul_peak(device: torch.device, precision: str) -> float:
    """Floating-point operations a second of a product of two square matrices of random numbers.

    Args:
        device: on a CPU, with the threads that torch has now.
        precision: "fp32" (without TF32, as trainings are run), or "bf16".

    Returns:
        2 n^3 over the median time; zeros would be faster than numbers are.
    """
    size = SIZES.get(device.type, 1024)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    draw = torch.Generator(device).manual_seed(0)
    left, right = torch.randn(2, size, size, device=device, generator=draw).to(dtype)
    seconds = []
    for _ in range(ROUNDS + 2):  # of which two warm up
        _wait(device)
        started = time.perf_counter()
        torch.mm(left, right)
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return float(2 * size**3 / statistics.median(seconds[2:]))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
