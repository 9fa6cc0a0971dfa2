"""Multiply-adds (MACs) of a training step: what terms add to a model's pass, and which of it has a backward pass."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from vitbench.contracts import Output, Step
from vitbench.measure.size import count_products, undisturbed
from vitbench.meta import ShapesAlone


@dataclass(frozen=True, kw_only=True)
class TermMacs:
    """Multiply-adds (`matmul_conv`) of a term for one image, besides the model's pass that it gets.

    Attributes:
        forward: of all that it computes before the backward pass.
        alone: of `forward`, what it computes without gradients, such as a teacher's passes.
        asks_for_output: whether it reads the output of the model's pass; one that does not spares it.
    """

    forward: int
    alone: int = 0
    asks_for_output: bool = True


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
) -> TermMacs:
    """Multiply-adds of a term.

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
        with ShapesAlone():
            step, asked = _step(network, image_size, views, versions, turned, out if versions == 1 else None)
            if views:
                term(step)  # what it finds out once, such as whether the model takes such views, is not counted
        found = count_products(partial(term, step))
    return TermMacs(forward=found.total // versions, alone=found.alone // versions, asks_for_output=any(asked))


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


def training_cost(model_macs: int, terms: Iterable[TermMacs]) -> TrainingCost:
    """Cost of a training step: 3 x the forward MACs, as a backward pass costs two forward ones, where there is one.

    Args:
        model_macs: `Macs.matmul_conv` of the model.
        terms: `count_term_macs` of each term; cross-entropy's is 0, so that the ratio is to plain `ce`.
    """
    counted = tuple(terms)
    runs_model = any(term.asks_for_output for term in counted)
    forward = (model_macs if runs_model else 0) + sum(term.forward for term in counted)
    macs = 3 * forward - 2 * sum(term.alone for term in counted)
    return TrainingCost(macs=macs, ratio=macs / (3 * model_macs))
