"""Operations for some images of a batch, drawn anew each time, without a shape that depends on the draw.

Static shapes let a step be captured, and cost: an operation that one image in thirty gets would be computed for
all of them. So the drawn images are sorted to the front, and only as many are computed as are ever drawn.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

VERSION = 2  # raised when other images are reached, or when parts change: noise is drawn part by part
RARELY = 1e-9  # how likely a batch is to draw more images than are computed; those too many stay as they were
CACHED = 2**18  # floats, a megabyte: less, and calls take longer than what they do


@cache
def places(count: int, share: float) -> int:
    """Images that must be computed, so that more are as good as never drawn: the binomial's tail, at most `count`.

    Args:
        count: images of the batch.
        share: probability with which each is drawn, in [0, 1].
    """
    if share in (0, 1):
        return round(count * share)
    beyond, k = 0.0, count
    while k > 0 and beyond + _exactly(k, count, share) < RARELY:
        beyond, k = beyond + _exactly(k, count, share), k - 1
    return k


def _exactly(k: int, count: int, share: float) -> float:
    ways = math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
    return math.exp(ways + k * math.log(share) + (count - k) * math.log1p(-share))


@dataclass(frozen=True)
class Group:
    """Images that get an operation.

    Attributes:
        drawn: (B,) bool, each with probability `share`, independently.
        share: what it was drawn with.
        operation: (k, C, H, W) and its parameters (k, ...) to (k, C, H, W), image by image.
        parameters: (B, ...), of all images.
    """

    drawn: Tensor
    share: float
    operation: Callable[..., Tensor]
    parameters: Sequence[Tensor] = ()


def change(images: Tensor, *groups: Group) -> Tensor:
    """Apply to each group its operation, and leave the other images as they are.

    Args:
        images: (B, C, H, W).
        groups: no image is in two of them.

    Returns:
        (B, C, H, W), never the tensor that was given; every image is copied twice.
    """
    b = len(images)
    which, made = torch.arange(b, device=images.device), [images]
    for group in groups:
        rows = drawn_rows(group)
        if len(rows) == 0:
            continue
        given = [one.index_select(0, rows) for one in (images, *group.parameters)]
        new, count = torch.arange(len(rows), device=images.device) + sum(map(len, made)), at_once(given[0])
        made += [group.operation(*part) for part in zip(*(one.split(count) for one in given), strict=True)]
        if not is_known(images.device):  # an image that is computed for nothing keeps the place that it had
            new = torch.where(group.drawn.index_select(0, rows), new, which.index_select(0, rows))
        which = which.index_copy(0, rows, new)
    # Whole images are copied; an `index_copy` or a `where` over uint8 takes many times as long on a CPU.
    return torch.cat(made).index_select(0, which)


def drawn_rows(group: Group) -> Tensor:
    """Which images are computed, int64: those that are drawn, and some for nothing where their number is not known."""
    if is_known(group.drawn.device):
        return group.drawn.nonzero().squeeze(1)
    count = places(len(group.drawn), group.share)
    return group.drawn.to(torch.int8).argsort(descending=True, stable=True)[:count]


def is_known(device: torch.device) -> bool:
    """Whether the number of images that are drawn is at hand: a CPU computed it, a GPU would be waited for."""
    return device.type == "cpu"


def at_once(images: Tensor, size: int = 0) -> int:
    """Images that are best computed at once: on a CPU, even parts that its cache holds as floats.

    Args:
        images: (B, C, H, W).
        size: pixels of one result, where they are more than the image's.
    """
    b, c, h, w = images.shape
    if images.device.type != "cpu" or b == 0:
        return max(1, b)
    most = max(1, CACHED // (c * max(size, h * w)))
    return math.ceil(b / math.ceil(b / most))
