"""What a phase makes of the images of a batch: one augmented version of each, or the views of its recipe.

A view is drawn from the image itself and not from another view. Multi-crop training: Caron et al. 2020,
arXiv:2006.09882, section 3.2; Detkov 2022, thesis, section 3.2, turns the large views besides.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vitbench.augment import Augmentation, compose, turner
from vitbench.case import Phase, View

VERSION = 1  # raised when the order of the draws changes

Seen = Mapping[str, Tensor]


def of(phase: Phase, generator: torch.Generator) -> Callable[[Tensor], Seen] | None:
    """What makes the views of a phase of images (B, 3, H, W) uint8.

    Args:
        phase: its augmentation or its views, and how they are turned.
        generator: of all draws, where the images are.

    Returns:
        None where images stay as they are; else a function to, each with B first: `images` (B, V, 3, H', W') uint8,
        the versions that make up the batch, `turns` (B, V) int64, the quarter turns of each, where the phase turns
        them, and `local` (B, L, 3, h, w) uint8, where it has local views.

    Raises:
        UserError: if an argument of an operation is wrong.
    """
    if not (phase.augmentation or phase.views or phase.turning):
        return None
    whole, local = _pipelines(phase)
    turn = turner(phase.turning.arguments) if phase.turning else None

    def seen(images: Tensor) -> Seen:
        found = {"images": [one.levels(images, generator=generator) for one in whole]}
        if turn is not None:
            with torch.inference_mode():
                turned = [turn(one, generator=generator) for one in found["images"]]
            found = {"images": [one for one, _ in turned], "turns": [turns for _, turns in turned]}
        found |= {"local": [one.levels(images, generator=generator) for one in local]} if local else {}
        return {name: _stacked(one) for name, one in found.items()}

    return seen


def _pipelines(phase: Phase) -> tuple[list[Augmentation], list[Augmentation]]:
    """The augmentation of each version in the batch, and of each small crop."""
    views = phase.views or (View(name="global", count=1, augmentation=phase.augmentation),)
    made: dict[bool, list[Augmentation]] = {False: [], True: []}
    for view in views:
        one = compose((call.name, call.arguments) for call in view.augmentation)
        made[view.is_local].extend([one] * view.count)
    return made[False], made[True]


def _stacked(parts: list[Tensor]) -> Tensor:
    """(B, n, ...); of one part, which may be large, no copy."""
    return parts[0].unsqueeze(1) if len(parts) == 1 else torch.stack(parts, dim=1)
