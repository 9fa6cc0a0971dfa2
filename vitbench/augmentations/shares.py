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

VERSION = 3  # raised when other images are reached, or when parts change: noise is drawn part by part
RARELY = 1e-9  # how likely a batch is to draw more images than are computed; those too many stay as they were
CACHED = 2**19  # floats, two megabytes: less, and calls take longer than what they do


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
    """What is done to some images.

    Attributes:
        share: with which each image is drawn for it, independently of the others.
        operation: (k, C, H, W) and parameters (k, ...) to (k, C, H, W), image by image.
    """

    share: float
    operation: Callable[..., Tensor]


def change(images: Tensor, which: Tensor, groups: Sequence[Group], parameters: Sequence[Tensor] = ()) -> Tensor:
    """Apply to each image the operation of its group, and leave the others as they are.

    Args:
        images: (B, C, H, W).
        which: (B,) int64, each image's place in the groups; their number where it is in none.
        groups: the operations.
        parameters: (B, ...), which every operation gets for its images.

    Returns:
        (B, C, H, W), never the tensor that was given; every image is copied twice.
    """
    b, rows = len(images), drawn_rows(which, groups)
    every = torch.cat(rows)
    given = [one.index_select(0, every).split(list(map(len, rows))) for one in (images, *parameters)]
    made = [images]
    for group, *some in zip(groups, *given, strict=True):
        if len(some[0]):
            count = at_once(some[0])
            made += [group.operation(*part) for part in zip(*(one.split(count) for one in some), strict=True)]
    further = torch.arange(b, b + len(every), device=images.device) - every  # from where an image was, to the new one
    if not is_known(images.device):  # an image that is computed for nothing keeps the place that it had
        further = further * torch.cat([which.index_select(0, row) == at for at, row in enumerate(rows)])
    place = torch.arange(b, device=images.device).index_add_(0, every, further)
    # Whole images are copied; an `index_copy` or a `where` over uint8 takes many times as long on a CPU.
    return torch.cat(made).index_select(0, place)


def drawn_rows(which: Tensor, groups: Sequence[Group]) -> list[Tensor]:
    """Images that each group computes, int64: its own, and some for nothing where their number is not known."""
    if is_known(which.device):
        counts = which.bincount(minlength=len(groups) + 1).tolist()
        return list(which.argsort(stable=True).split(counts)[: len(groups)])
    counts = [places(len(which), group.share) for group in groups]
    order = [(which == at).to(torch.int8).argsort(descending=True, stable=True) for at in range(len(groups))]
    return [one[:count] for one, count in zip(order, counts, strict=True)]


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
