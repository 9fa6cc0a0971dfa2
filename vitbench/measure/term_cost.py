"""Multiply-adds (MACs) of terms, and of a training step with them, counted without training.

Its version is that of `vitbench.measure.size`, whose convention `matmul_conv` all of it is in.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vitbench.contracts import Output, Step
from vitbench.measure.size import count_products, undisturbed


@dataclass(frozen=True, kw_only=True)
class TrainingCost:
    """MACs of one image in one training step, and how many times those of plain cross-entropy that is."""

    macs: int
    ratio: float


def count_term_macs(
    build: Callable[[], nn.Module],
    *,
    model: Callable[[], nn.Module],
    image_size: int,
    views: Mapping[str, Sequence[int]] | None = None,
    out: Output | None = None,
    versions: int = 1,
    turned: bool = False,
) -> int:
    """Multiply-adds (`matmul_conv`) of a term for one image, besides the model's pass that it gets.

    Args:
        build: makes the term, `forward(step)`; called under torch's `meta` device.
        model: makes the model that it is trained with: images to `Output`; likewise.
        image_size: H and W in pixels.
        views: shape (C, H, W) of each further view of the photograph, or (L, C, H, W) of several, by name.
        out: the model's output for one image on the `meta` device, where it was computed already.
        versions: V, of each photograph; one image bears a V-th of what the term costs for all of them.
        turned: whether images were turned by quarters already.

    Raises:
        UncountedOperator: if the term runs an operator that multiplies and adds but has no formula.
    """
    with undisturbed(), torch.device("meta"):
        term, network = build().eval(), model().eval()
        step, _ = _step(network, image_size, views, versions, turned, out if versions == 1 else None)
        if views:
            term(step)  # what it finds out once, such as whether the model takes such views, is not counted
        return count_products(partial(term, step)) // versions


def asks_for_output(build: Callable[[], nn.Module], *, model: Callable[[], nn.Module], **given: Any) -> bool:
    """Whether a term reads the output of the model's pass; one that does not spares it.

    Args:
        build, model: as in `count_term_macs`; and so `image_size`, `views`, `versions` and `turned`.
    """
    with undisturbed(), torch.device("meta"):
        term, network = build().eval(), model().eval()
        step, asked = _step(network, **given)
        term(step)
    return any(asked)


def _step(
    network: nn.Module,
    image_size: int,
    views: Mapping[str, Sequence[int]] | None = None,
    versions: int = 1,
    turned: bool = False,
    out: Output | None = None,
) -> tuple[Step, list[bool]]:
    """A step of all versions of one photograph, whose output is there; of each pass asked for, whether it was this."""
    images = torch.zeros(versions, 3, image_size, image_size)
    asked, given = [], out or network(images)

    def forward(shown: Tensor) -> Output:
        asked.append(shown is images)
        return given if shown is images else network(shown)

    shown = {name: torch.zeros(*shape[:-3] or (1,), *shape[-3:]) for name, shape in (views or {}).items()}
    labels = torch.zeros(versions, dtype=torch.int64)
    turns = labels if turned else None
    step = Step(images=images, labels=labels, model=network, forward=forward, views=shown)
    return replace(step, versions=versions, turns=turns), asked


def training_cost(model_macs: int, term_macs: Iterable[int], *, runs_model: bool = True) -> TrainingCost:
    """Cost of a training step: 3 x the forward MACs, as a backward pass costs two forward ones.

    Args:
        model_macs: `Macs.matmul_conv` of the model.
        term_macs: `count_term_macs` of each term; cross-entropy's is 0, so that the ratio is to plain `ce`.
        runs_model: whether a term asks for the model's output, see `asks_for_output`.
    """
    forward = (model_macs if runs_model else 0) + sum(term_macs)
    return TrainingCost(macs=3 * forward, ratio=forward / model_macs)
