"""Blend each image, and its label, with another of the batch: mixup and cutmix.

Sources: Zhang et al. 2018, arXiv:1710.09412 (mixup), Yun et al. 2019, arXiv:1905.04899 (cutmix), as `timm.data.Mixup`
has them in its modes "batch" and "elem". The partner of an image is the one as far from the batch's end as it is from
the beginning; the middle one of an odd batch is its own.
"""

import math

import torch
from torch import Tensor

from vitbench import errors
from vitbench.augmentations import geometry, shares

VERSION = 1  # raised when the operation, or the order of its draws, changes


def mix(
    images: Tensor,
    labels: Tensor,
    *,
    classes: int,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    probability: float = 1.0,
    switch: float = 0.5,
    smoothing: float = 0.0,
    per_image: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Mix images with their partners and smooth the labels: timm's Mixup.

    Args:
        images: (B, 3, H, W), float in [0, 1].
        labels: (B,) int64 in [0, classes).
        classes: K, at least 1.
        mixup: alpha of Beta(alpha, alpha), the share that stays of an image where whole images are blended; 0 is off.
        cutmix: the same where a box of the partner is put in; the share is that of the area outside of the box.
        probability: of mixing at all, in [0, 1].
        switch: of cutmix where both are on, in [0, 1].
        smoothing: of the labels, in [0, 1]: spread over all classes.
        per_image: whether each image draws for itself, timm's "elem", and not the whole batch at once.
        generator: source of the draws, on the device of the images; None is torch's global one.

    Returns:
        images (B, 3, H, W), the tensor that was given where neither mixup nor cutmix is on; targets (B, K), float32,
        each row of sum 1.

    Raises:
        UserError: if an argument is out of range.
    """
    for name, alpha in (("mixup", mixup), ("cutmix", cutmix)):
        if not 0 <= alpha < math.inf:
            raise errors.UserError(f"{name} is the alpha of a Beta distribution, or 0 for off, got {alpha}")
    for name, part in (("probability", probability), ("switch", switch), ("smoothing", smoothing)):
        if not 0 <= part <= 1:
            raise errors.UserError(f"{name} is between 0 and 1, got {part}")
    if classes < 1:
        raise errors.UserError(f"classes is a number of classes, at least 1, got {classes}")
    if not images.is_floating_point():
        raise TypeError(f"expected images as floats in [0, 1], got {images.dtype}")
    if labels.shape != images.shape[:1]:
        raise ValueError(f"expected one label for each of {len(images)} images, got {tuple(labels.shape)}")
    targets = smooth(labels, classes, smoothing)
    if not mixup and not cutmix:
        return images, targets
    odds = switch if mixup and cutmix else float(cutmix > 0)
    count = len(images) if per_image else 1
    share, cut, centre = draw_mixing(images, count, (mixup, cutmix), probability, odds, generator)
    return blend(images, targets, share, cut, centre)


def smooth(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Targets (B, K) of labels (B,): 1 - smoothing for the class itself, and smoothing / K for every class."""
    even = smoothing / classes
    targets = torch.full((len(labels), classes), even, device=labels.device)
    return targets.scatter_(1, labels[:, None], 1 - smoothing + even)


def draw_mixing(
    images: Tensor,
    count: int,
    alphas: tuple[float, float],
    probability: float,
    switch: float,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """How images are mixed: all of them alike with a count of 1, each in its own way with a count of B.

    Args:
        images: (B, 3, H, W).
        count: n.
        alphas: of mixup and of cutmix; 0 leaves images as they are.
        probability: of mixing at all.
        switch: of cutmix and not mixup.
        generator: source of the draws.

    Returns:
        share (n,) float64 that stays of an image; cut (n,) bool, by cutmix; centre (n, 2) int64, pixel in whose middle
        the box of cutmix has its own: y and x.
    """
    height, width = images.shape[2:]
    mixed, switched, y, x = torch.rand(4, count, device=images.device, generator=generator)
    by_mixup, by_cutmix = (beta(alpha, count, images.device, generator) for alpha in alphas)
    cut = switched < switch
    share = torch.where(mixed < probability, torch.where(cut, by_cutmix, by_mixup), 1.0)
    centre = torch.stack(
        [geometry.whole_below(one.new_full((), n), one) for one, n in ((y, height), (x, width))], dim=1
    )
    return share, cut, centre.to(torch.int64)


def beta(alpha: float, count: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Draws (count,) float64 from Beta(alpha, alpha); ones for an alpha of 0.

    One of two gamma variates, over their sum. Gamma(alpha) is Gamma(alpha + 1) times a power of a uniform number, so
    that both come as logarithms, which for a small alpha would be 0 otherwise. The draw has no public name in torch
    that takes a generator; it is what `torch.distributions` calls.
    """
    if alpha == 0:
        return torch.ones(count, dtype=torch.float64, device=device)
    shape = torch.full((2, count), alpha + 1, dtype=torch.float64, device=device)
    uniform = torch.rand(2, count, dtype=torch.float64, device=device, generator=generator)
    first, second = torch._standard_gamma(shape, generator=generator).log() + uniform.log() / alpha
    return torch.sigmoid(first - second)


def blend(images: Tensor, targets: Tensor, share: Tensor, cut: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Mix images (B, 3, H, W) and targets (B, K) with their partners as was drawn, n = 1 or B."""
    height, width = images.shape[2:]
    box = boxes(share, centre, height, width)  # (n, 4)
    top, bottom, left, right = box.T[:, :, None, None]  # (n, 1, 1) each
    rows, columns = torch.arange(height, device=box.device)[:, None], torch.arange(width, device=box.device)
    within = ((rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)).to(torch.float64)  # (n, H, W)
    area = ((box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])).to(torch.float64)  # (n,)
    # Of a pixel, and of the whole: a box is put in by weights of 0 and 1, so that one formula serves both.
    pixels = torch.where(cut[:, None, None], 1 - within, share[:, None, None])[:, None]  # (n, 1, H, W)
    whole = torch.where(cut, 1 - area / (height * width), share)[:, None]  # (n, 1)
    return _with_partners(images, pixels), _with_partners(targets, whole)


def _with_partners(x: Tensor, share: Tensor) -> Tensor:
    """Rows of x, of each the share, and for the rest the row as far from the end; the shares are float64."""
    share, rest = share.to(x.dtype), (1 - share).to(x.dtype).expand(len(x), *share.shape[1:])
    mixed, count = x * share, shares.at_once(x) if x.ndim == 4 else len(x)
    # Partners in parts that a CPU's cache holds; rounded before the sum, as timm's are: no `addcmul`.
    for begin in range(0, len(x), count):
        partners = x[max(0, len(x) - begin - count) : len(x) - begin].flip(0)
        mixed[begin : begin + count].add_(partners.mul_(rest[begin : begin + count]))
    return mixed


def boxes(share: Tensor, centre: Tensor, height: int, width: int) -> Tensor:
    """Boxes (n, 4) int64, top, bottom, left and right, of the image's shape and of 1 - share (n,) of its area.

    What lies outside of the image is cut off, and the box is smaller by it: the centres (n, 2) are anywhere.
    """
    side = (1 - share).sqrt()
    edges = []
    for middle, size in zip(centre.T, (height, width), strict=True):
        length = (size * side).to(torch.int64)  # cut off, as timm does
        edges += [(middle - length // 2).clamp(min=0), (middle + (length + 1) // 2).clamp(max=size)]
    return torch.stack(edges, dim=1)
