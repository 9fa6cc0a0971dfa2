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

VERSION = 1  # raised when other images are reached, or when parts change: noise is drawn part by part
RARELY = 1e-9  # how likely a batch is to draw more images than are computed; those too many stay as they were
CACHED = 2**17  # floats, half a megabyte


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
        count = places(b, group.share)
        if count == 0:
            continue
        rows = group.drawn.to(torch.int8).argsort(descending=True, stable=True)[:count]
        given = [one.index_select(0, rows) for one in (images, *group.parameters)]
        new = torch.arange(count, device=images.device) + sum(map(len, made))
        made += [group.operation(*part) for part in zip(*(one.split(at_once(images)) for one in given), strict=True)]
        # An image that is computed for nothing keeps the place that it had.
        kept = torch.where(group.drawn.index_select(0, rows), new, which.index_select(0, rows))
        which = which.index_copy(0, rows, kept)
    # Whole images are copied; an `index_copy` or a `where` over uint8 takes many times as long on a CPU.
    return torch.cat(made).index_select(0, which)


def at_once(images: Tensor, size: int = 0) -> int:
    """Images that are best computed at once: on a CPU, as many as its cache holds as floats.

    Args:
        images: (B, C, H, W).
        size: pixels of one result, where they are more than the image's.
    """
    if images.device.type != "cpu":
        return max(1, len(images))
    return max(1, CACHED // (images.shape[1] * max(size, images.shape[2] * images.shape[3])))
