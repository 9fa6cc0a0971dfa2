"""Dense relative localisation: from the embeddings of two cells, tell how far apart the cells are.

Source: Floros 2024, thesis, section 3.2, Equations 3.2 to 3.4, after Liu et al. 2021, arXiv:2106.03746.
The thesis does not print the width of the two hidden layers; 512 is the width in the code of Liu et al.
"""

import torch
from torch import Tensor, nn

from vitbench.contracts import Shape, Step
from vitbench.errors import UserError, unknown

VERSION = 1
TINY = {"hidden": 128, "pairs": 8}  # 8 pairs on the tiny 4x4 grid are as many per cell as 32 on 8x8


def build(shape: Shape, *, pairs: int = 32, sharing: str = "batch", hidden: int = 512) -> nn.Module:
    """The term `drloc`.

    Args:
        shape: of the model; the MLP reads two cells, so 2 x `shape.channels` numbers.
        pairs: pairs of cells per image and step (n of the thesis), at least 1.
        sharing: "batch" draws one set of positions for the whole batch, "image" one for each image.
        hidden: width of both hidden layers, at least 1.

    Raises:
        UserError: if an option is out of its range.
    """
    for option, value in (("pairs", pairs), ("hidden", hidden)):
        if type(value) is not int or value < 1:
            raise UserError(f"drloc: {option} must be a whole number from 1 up, got {value!r}; try {option}=32")
    if sharing not in ("batch", "image"):
        raise unknown("sharing", str(sharing), ("batch", "image"), where="drloc")
    return RelativeLocalisation(shape.channels, pairs=pairs, per_image=sharing == "image", hidden=hidden)


def draw_pairs(sets: int, pairs: int, cells: int, *, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Pairs of cell numbers (sets, pairs, 2) in [0, cells): independent, uniform, with replacement.

    Cells are numbered row by row, so that one uniform number is a uniform row and a uniform column.
    """
    return torch.randint(cells, (sets, pairs, 2), device=device, generator=generator)


def distances(drawn: Tensor, *, height: int, width: int, dtype: torch.dtype) -> Tensor:
    """|i - l| / h and |j - m| / w of pairs of cell numbers (..., 2): (..., 2) in [0, 1). Equation 3.2."""
    rows = drawn.div(width, rounding_mode="floor").diff(dim=-1).abs()  # (..., 1)
    columns = drawn.remainder(width).diff(dim=-1).abs()  # (..., 1)
    return torch.cat((rows.to(dtype) / height, columns.to(dtype) / width), dim=-1)


class RelativeLocalisation(nn.Module):
    """An MLP from two embeddings to their two distances, and its L1 error on random pairs.

    Args:
        channels: D of the grid.
        pairs: pairs of cells per image and step.
        per_image: whether each image has its own pairs.
        hidden: width of both hidden layers.
    """

    def __init__(self, channels: int, *, pairs: int, per_image: bool, hidden: int) -> None:
        super().__init__()
        self.pairs = pairs
        self.per_image = per_image
        self.mlp = nn.Sequential(
            nn.Linear(2 * channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2),
        )

    def forward(self, step: Step) -> Tensor:
        """Scalar loss of one batch; reads the coarsest of `step.out.grids` only.

        The L1 norm adds up the two coordinates; its mean is over pairs and images. Equation 3.4.
        """
        grid = step.out.grids[-1]
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
        predicted = self.mlp(cells[image, drawn].flatten(2))  # (B, n, 2D) -> (B, n, 2)
        # The model may compute in bfloat16, which does not hold multiples of 1/7.
        wide = torch.promote_types(grid.dtype, torch.float32)
        target = distances(drawn, height=height, width=width, dtype=wide)  # (B or 1, n, 2)
        return (target - predicted).abs().sum(dim=-1).mean()
