"""MLP-Mixer, small: perceptrons across the patches and across the channels in turn, and no attention.

Source: Tolstikhin et al. 2021, MLP-Mixer: An all-MLP Architecture for Vision, arXiv:2105.01601, section 2. The size
is ours, for images of 32 x 32 pixels.
"""

from torch import Tensor, nn

from vitbench.contracts import Normalize, Output
from vitbench.errors import UserError

VERSION = 1
PATCH = 8  # pixels
WIDTH = 48
BLOCKS = 4


def build(*, classes: int, image_size: int) -> nn.Module:
    """The model `mixer`.

    Args:
        classes: K.
        image_size: H and W in pixels.

    Raises:
        UserError: if the patches do not fill the image.
    """
    if image_size % PATCH:
        raise UserError(f"mixer: image_size is a multiple of {PATCH}, the size of a patch, got {image_size}")
    return Mixer(classes, side=image_size // PATCH)


class Mixer(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to `Output`.

    Args:
        classes: K.
        side: h and w, patches in a row and in a column.
    """

    def __init__(self, classes: int, side: int) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.stem = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
        self.blocks = nn.Sequential(*(Block(side * side) for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor) -> Output:
        """The embedding is the mean of the tokens, which the only grid is made of."""
        x = self.stem(self.normalize(images))  # (B, D, h, w)
        side = x.shape[-2:]
        x = self.norm(self.blocks(x.flatten(2).transpose(1, 2)))  # (B, h*w, D)
        embedding = x.mean(dim=1)
        grid = x.transpose(1, 2).unflatten(2, side)
        return Output(logits=self.head(embedding), embedding=embedding, grids=(grid,))


class Block(nn.Module):
    """Mixes tokens (B, N, D), then channels, each behind a norm and beside a shortcut.

    Args:
        tokens: N.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6), nn.LayerNorm(WIDTH, eps=1e-6)
        self.across = _perceptron(tokens, WIDTH // 2)
        self.along = _perceptron(WIDTH, 4 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) to the same shape."""
        x = x + self.across(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.along(self.norm2(x))


def _perceptron(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
