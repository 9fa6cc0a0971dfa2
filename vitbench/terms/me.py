"""Masked embedding: hide most cells of the embedding grid and restore them from the others.

Source: Floros 2024, thesis, section 3.3, Equations 3.6 to 3.8.
What the thesis leaves open about masking and decoder is done as in MAE, He et al. 2021, arXiv:2111.06377.
"""

from decimal import Decimal

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from vitbench.contracts import Shape, Step
from vitbench.errors import UserError

VERSION = 1
TINY = {"depth": 1, "mlp_ratio": 1}


def build(
    shape: Shape,
    *,
    ratio: float = 0.75,
    detach: bool = False,
    depth: int = 4,
    heads: int = 4,
    mlp_ratio: int = 4,
) -> nn.Module:
    """The term `me`.

    Args:
        shape: of the model; the decoder is as wide as its coarsest grid and has a position for each cell.
        ratio: share of the cells that is masked, in (0, 1); at least one cell must stay.
        detach: whether the gradient stops at the target, so that it reaches the model by the kept cells only.
        depth: transformer blocks of the decoder, at least 1.
        heads: attention heads of each block, at least 1; must divide `shape.channels`.
        mlp_ratio: hidden width of each block's MLP, in units of `shape.channels`, at least 1.

    Raises:
        UserError: if an option is out of its range.
    """
    if type(ratio) is not float or not 0 < ratio < 1:
        raise UserError(f"me: ratio must be a number between 0 and 1, got {ratio!r}; try ratio=0.75")
    if type(detach) is not bool:
        raise UserError(f"me: detach must be True or False, got {detach!r}; try detach=True")
    for option, value in (("depth", depth), ("heads", heads), ("mlp_ratio", mlp_ratio)):
        if type(value) is not int or value < 1:
            raise UserError(f"me: {option} must be a whole number from 1 up, got {value!r}; try {option}=4")
    if shape.channels % heads:
        right = ", ".join(str(n) for n in range(1, 17) if shape.channels % n == 0)
        raise UserError(f"me: {heads} heads do not divide {shape.channels} channels; give heads one of {right}")
    return MaskedEmbedding(shape, ratio=ratio, detach=detach, depth=depth, heads=heads, mlp_ratio=mlp_ratio)


def count_kept(cells: int, *, ratio: float) -> int:
    """Cells that stay: cells x (1 - ratio), rounded down.

    Decimal, because 0.9 of 100 cells masked leaves 10, and in binary 100 * (1 - 0.9) is 9.999...

    Raises:
        UserError: if none would stay.
    """
    kept = int(cells * (1 - Decimal(str(ratio))))
    if kept == 0:
        raise UserError(f"me: ratio={ratio} leaves none of the grid's {cells} cells; give a smaller ratio")
    return kept


def draw_masks(
    images: int, cells: int, *, kept: int, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Masks (images, cells), True where masked: all but the first `kept` cells of a random order."""
    noise = torch.rand(images, cells, dtype=torch.float32, device=device, generator=generator)
    # One sort is enough: of a uniformly random order, the order itself and each cell's rank in it are equally random.
    return noise.argsort(dim=1) >= kept


class MaskedEmbedding(nn.Module):
    """A transformer that restores masked cells, and its squared error on them.

    Args:
        shape: of the model.
        ratio: share of the cells that is masked.
        detach: whether the gradient stops at the target.
        depth: transformer blocks.
        heads: attention heads of each block.
        mlp_ratio: hidden width of each block's MLP, in units of `shape.channels`.
    """

    def __init__(self, shape: Shape, *, ratio: float, detach: bool, depth: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        cells = shape.height * shape.width
        self.ratio = ratio
        self.detach = detach
        self.kept = count_kept(cells, ratio=ratio)
        self.mask_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, shape.channels), std=0.02))
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, cells, shape.channels), std=0.02))
        # torch's norm (epsilon 1e-5) is the default that timm's block had when the thesis was written.
        self.blocks = nn.Sequential(
            *(Block(shape.channels, heads, mlp_ratio=mlp_ratio, norm_layer=nn.LayerNorm) for _ in range(depth))
        )

    def decode(self, cells: Tensor, masked: Tensor) -> Tensor:
        """Restore `cells` (B, h*w, D), same shape, from those that `masked` (B, h*w) leaves. Equation 3.7."""
        padded = torch.where(masked.unsqueeze(-1), self.mask_token, cells)  # (B, h*w, D)
        return self.blocks(padded + self.positions)

    def forward(self, step: Step) -> Tensor:
        """Scalar loss of one batch; reads the coarsest of `step.out.grids` only.

        The mean is over all cells, of which the masked ones count, divided by the ratio as it was asked for,
        not by the share that rounding made of it. Equation 3.8.
        """
        cells = step.out.grids[-1].flatten(2).transpose(1, 2)  # (B, h*w, D)
        masked = draw_masks(
            cells.shape[0], cells.shape[1], kept=self.kept, device=cells.device, generator=step.generator
        )
        # The model may compute in bfloat16, which has too few digits for a mean of squares.
        wide = torch.promote_types(cells.dtype, torch.float32)
        target = (cells.detach() if self.detach else cells).to(wide)
        error = (target - self.decode(cells, masked)).square().mean(dim=-1)  # (B, h*w)
        return (error * masked).mean() / self.ratio
