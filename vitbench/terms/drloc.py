"""Dense relative localisation: from the embeddings of two cells, tell how far apart the cells are.

Source: Floros 2024, thesis, section 3.2, Equations 3.2 to 3.4, after Liu et al. 2021, arXiv:2106.03746.
Both readings of Liu et al., Equations 1 and 2 of their text and the code that they published, are arguments;
docs/decisions/0008-liu2021-protocols.md has them side by side. The defaults are those of the thesis, which does
not print the width of the two hidden layers; 512 is the width in the code of Liu et al.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitbench.contracts import Shape, Step
from vitbench.errors import UserError, unknown

VERSION = 1
TINY = {"hidden": 128, "pairs": 8}  # 8 pairs on the tiny 4x4 grid are as many per cell as 32 on 8x8
CHOICES = {
    "sharing": ("batch", "image"),
    "loss": ("l1", "ce", "cbr"),
    "unit": ("grid", "cells", "span"),
    "reduction": ("image", "mean", "sum"),
    "pooling": ("2x2", "3x3"),
}
# Both make ceil(k / 2) cells of k, and count nothing beyond the border. On an even grid "2x2" cuts no window off.
POOLINGS = {
    "2x2": nn.AvgPool2d(2, ceil_mode=True),
    "3x3": nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
}
SMALLEST_VARIANCE = 1e-8  # this and the next as in the code of Liu et al.
VARIANCE_WEIGHT = 1e-3


def build(
    shape: Shape,
    *,
    pairs: int = 32,
    sharing: str = "batch",
    hidden: int = 512,
    loss: str = "l1",
    unit: str = "grid",
    reduction: str = "image",
    signed: bool = False,
    side: int = 0,
    pooling: str = "2x2",
) -> nn.Module:
    """The term `drloc`.

    Args:
        shape: of the model; the MLP reads two cells, so 2 x `shape.channels` numbers.
        pairs: pairs of cells per image and step (n of the thesis, m of Liu et al.), at least 1.
        sharing: "batch" draws one set of positions for the whole batch, "image" one for each image.
        hidden: width of the hidden layers, at least 1.
        loss: "l1" predicts two distances, "ce" classifies them, "cbr" regresses them from the classes' probabilities.
        unit: of the distances of "l1": "grid" the grid's size k, "cells" one cell, "span" k - 1, the longest distance.
        reduction: "image" averages pairs and images and adds up the two coordinates, "mean" averages the coordinates
            of "l1" too, "sum" is "image" times the images that go through the network at once.
        signed: whether the first cell less the second is predicted, in place of its absolute value.
        side: a grid with more rows or columns is pooled by 2, inside this term alone, until it has no more; 0: never.
            Not 1, for one cell has no distances.
        pooling: "2x2" windows, or "3x3" ones that overlap.

    Raises:
        UserError: if an option is out of its range, or "ce" or "cbr" is left with a grid of one cell.
    """
    for option, value in (("pairs", pairs), ("hidden", hidden)):
        if type(value) is not int or value < 1:
            raise UserError(f"drloc: {option} must be a whole number from 1 up, got {value!r}; try {option}=32")
    chosen = {"sharing": sharing, "loss": loss, "unit": unit, "reduction": reduction, "pooling": pooling}
    for option, name in chosen.items():
        if name not in CHOICES[option]:
            raise unknown(option, str(name), CHOICES[option], where="drloc")
    if type(signed) is not bool:
        raise UserError(f"drloc: signed must be True or False, got {signed!r}; try signed=True")
    if type(side) is not int or side < 0 or side == 1:
        raise UserError(
            f"drloc: side must be 0, or a whole number from 2 up as one cell has no distances, got {side!r}; try side=7"
        )
    if loss != "l1" and unit == "span":
        raise UserError(f"drloc: unit='span' has no meaning under loss={loss!r}, which counts cells; leave unit out")
    options: dict[str, Any] = {"pairs": pairs, "per_image": sharing == "image", "hidden": hidden}
    options |= {"reduction": reduction, "signed": signed, "side": side, "pooling": pooling}
    if loss == "l1":
        return RelativeLocalisation(shape.channels, unit=unit, **options)
    grid = coarsen(torch.empty(1, 1, shape.height, shape.width, device="meta"), side=side, pooling=pooling)
    return OffsetClasses(shape.channels, rows=grid.shape[2], columns=grid.shape[3], regress=loss == "cbr", **options)


def coarsen(grid: Tensor, *, side: int, pooling: str) -> Tensor:
    """Average a grid (B, D, h, w) until it has at most `side` rows and columns; 0 leaves it as it is."""
    while side and max(grid.shape[-2:]) > side:
        grid = POOLINGS[pooling](grid)  # (B, D, ceil(h/2), ceil(w/2))
    return grid


def draw_pairs(sets: int, pairs: int, cells: int, *, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Pairs of cell numbers (sets, pairs, 2) in [0, cells): independent, uniform, with replacement.

    Cells are numbered row by row, so that one uniform number is a uniform row and a uniform column.
    """
    return torch.randint(cells, (sets, pairs, 2), device=device, generator=generator)


def offsets(drawn: Tensor, *, width: int, signed: bool) -> tuple[Tensor, Tensor]:
    """Rows and columns, whole numbers (...), between pairs of cell numbers (..., 2): first less second, or |i - p|."""
    first, second = drawn.unbind(dim=-1)
    rows = first.div(width, rounding_mode="floor") - second.div(width, rounding_mode="floor")
    columns = first.remainder(width) - second.remainder(width)
    return (rows, columns) if signed else (rows.abs(), columns.abs())


def distances(
    drawn: Tensor, *, height: int, width: int, dtype: torch.dtype, unit: str = "grid", signed: bool = False
) -> Tensor:
    """Rows and columns between pairs of cell numbers (..., 2), in `unit`: (..., 2).

    In units of the grid |i - p| / h and |j - m| / w, in [0, 1): Equation 3.2, Equation 1 of Liu et al.
    """
    rows, columns = offsets(drawn, width=width, signed=signed)
    # A grid of one row or column has no span, and no distance along it either.
    down, across = ({"grid": k, "cells": 1, "span": max(k - 1, 1)}[unit] for k in (height, width))
    return torch.stack((rows.to(dtype) / down, columns.to(dtype) / across), dim=-1)


def classify(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy (B, n) of logits (B, n, C) against classes (B, n), in nats."""
    # Flat, because with more dimensions torch has no deterministic kernel on a GPU.
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view_as(target)


def regress(logits: Tensor, target: Tensor) -> Tensor:
    """Squared error (B, n) of the mean class of softmax(logits (B, n, C)), over the variance of that class.

    The logarithm of the variance is added, times a small weight, so that not to know has its price: the variance-aware
    regression of temporal cycle-consistency, Dwibedi et al. 2019, arXiv:1904.07846, as in the code of Liu et al.
    """
    classes = torch.arange(logits.shape[-1], dtype=logits.dtype, device=logits.device)  # (C,)
    probability = logits.softmax(dim=-1)  # (B, n, C)
    mean = (probability * classes).sum(dim=-1)  # (B, n)
    variance = (probability * (classes - mean.unsqueeze(-1)).square()).sum(dim=-1)  # (B, n)
    log_variance = (variance + SMALLEST_VARIANCE).log()
    return (-log_variance).exp() * (mean - target).square() + VARIANCE_WEIGHT * log_variance


class RelativeLocalisation(nn.Module):
    """An MLP from two embeddings to their two distances, and its L1 error on random pairs.

    Args:
        channels: D of the grid.
        pairs: pairs of cells per image and step.
        per_image: whether each image has its own pairs.
        hidden: width of the hidden layers.
        outputs: numbers that the MLP gives for a pair.
        unit, reduction, signed, side, pooling: see `build`.
    """

    def __init__(
        self,
        channels: int,
        *,
        pairs: int,
        per_image: bool,
        hidden: int,
        outputs: int = 2,
        unit: str = "grid",
        reduction: str = "image",
        signed: bool = False,
        side: int = 0,
        pooling: str = "2x2",
    ) -> None:
        super().__init__()
        self.pairs = pairs
        self.per_image = per_image
        self.unit, self.reduction, self.signed = unit, reduction, signed
        self.side, self.pooling = side, pooling
        self.mlp = nn.Sequential(
            nn.Linear(2 * channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, outputs),
        )

    def forward(self, step: Step) -> Tensor:
        """Scalar loss of one batch; reads the coarsest of `step.out.grids` only. Equation 3.4."""
        grid = coarsen(step.out.grids[-1], side=self.side, pooling=self.pooling)
        batch, _, height, width = grid.shape
        cells = grid.flatten(2).transpose(1, 2)  # (B, h*w, D)
        drawn = draw_pairs(
            batch if self.per_image else 1,
            self.pairs,
            height * width,
            device=grid.device,
            generator=step.generator,
        )  # (B or 1, n, 2)
        image = torch.arange(batch, device=grid.device).view(-1, 1, 1)  # (B, 1, 1)
        predicted = self.mlp(cells[image, drawn].flatten(2))  # (B, n, 2D) -> (B, n, outputs)
        # The model may compute in bfloat16, which does not hold multiples of 1/7.
        wide = torch.promote_types(grid.dtype, torch.float32)
        return self.reduce(self.errors(predicted, drawn, height=height, width=width, dtype=wide))

    def errors(self, predicted: Tensor, drawn: Tensor, *, height: int, width: int, dtype: torch.dtype) -> Tensor:
        """Absolute error in each coordinate (B, n, 2) of what the MLP gave (B, n, 2) for pairs (B or 1, n, 2)."""
        target = distances(drawn, height=height, width=width, dtype=dtype, unit=self.unit, signed=self.signed)
        return (target - predicted).abs()

    def reduce(self, errors: Tensor) -> Tensor:
        """One number of errors (B, n, coordinates)."""
        if self.reduction == "mean":
            return errors.mean()
        norms = errors.sum(dim=-1)  # (B, n)
        return norms.mean() if self.reduction == "image" else norms.mean(dim=-1).sum()


class OffsetClasses(RelativeLocalisation):
    """The same with a class for every distance in cells, and a layer of its own for rows and for columns.

    Args:
        channels: D of the grid.
        rows, columns: h and w of the grid after pooling.
        regress: whether the mean class is held to the distance ("cbr"), or the distance's class to be likely ("ce").
        hidden: width of the hidden layers, of which there are three.
        signed: whether there are classes for distances up and to the left, which then come first.
        options: see `RelativeLocalisation`.

    Raises:
        UserError: for a grid of one cell, whose only class makes a loss that is the same whatever the network gives.
    """

    def __init__(
        self, channels: int, *, rows: int, columns: int, regress: bool, hidden: int, signed: bool, **options: Any
    ) -> None:
        if rows * columns == 1:
            loss = "cbr" if regress else "ce"
            raise UserError(
                f"drloc: loss={loss!r} needs a grid of two cells or more, got one cell, which has no distances; "
                "take a model with a larger grid"
            )
        super().__init__(channels, hidden=hidden, outputs=hidden, signed=signed, **options)
        self.regress = regress
        self.rows = nn.Linear(hidden, 2 * rows - 1 if signed else rows)
        self.columns = nn.Linear(hidden, 2 * columns - 1 if signed else columns)
        self.size = (rows, columns)

    def errors(self, predicted: Tensor, drawn: Tensor, *, height: int, width: int, dtype: torch.dtype) -> Tensor:
        """Errors (B, n, 1), in which the two coordinates always add up.

        Raises:
            UserError: if the grid is not of the size that there are classes for.
        """
        if (height, width) != self.size:
            known, got = (" x ".join(map(str, size)) for size in (self.size, (height, width)))
            raise UserError(f"drloc: expected a grid of {known} cells, as built, got {got}; loss='l1' takes any grid")
        error, errors = regress if self.regress else classify, []
        targets = offsets(drawn, width=width, signed=self.signed)  # (B or 1, n), twice
        for layer, target, cells in zip((self.rows, self.columns), targets, self.size, strict=True):
            logits = layer(predicted).to(dtype)  # (B, n, C)
            classes = target + (cells - 1) if self.signed else target  # from 0 up
            errors.append(error(logits, classes.expand(logits.shape[:2])))
        return torch.stack(errors).sum(dim=0).unsqueeze(-1)
