"""Rotation: by how many quarter turns was an image turned?

Source: Gidaris et al. 2018, arXiv:1803.07728, sections 2 and 3; Detkov 2022, thesis, sections 3.4 and 3.5, for the
head, a linear layer on the embedding. Gidaris et al. show a network all four turns of every image at once; here, as by
Detkov, an image has one of them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitbench.contracts import Shape, Step
from vitbench.errors import UserError

VERSION = 1
TINY: dict[str, object] = {}
TURNS = 4  # 0, 90, 180 and 270 degrees


def build(shape: Shape) -> nn.Module:
    """The term `rotation`, which has no options.

    Args:
        shape: of the model; the head reads the embedding.
    """
    return Rotation(shape.embedding)


def turn(images: Tensor, turns: Tensor) -> Tensor:
    """Images (B, C, H, W), H = W, each turned by its number of quarter turns (B,) in [0, 4), counter-clockwise.

    Raises:
        UserError: if the images are not square, for a quarter turn would change their shape.
    """
    height, width = images.shape[-2:]
    if height != width:
        raise UserError(
            f"rotation: expected square images, whose shape a quarter turn keeps, got {height} x {width}; "
            "take a square image size"
        )
    # Where each pixel comes from, for all four turns: what a captured step does cannot depend on what was drawn.
    pixels = torch.arange(height * width, device=images.device).view(height, width)
    sources = torch.stack([pixels.rot90(quarters) for quarters in range(TURNS)]).flatten(1)  # (4, H * W)
    source = sources[turns].unsqueeze(1).expand(-1, images.shape[1], -1)  # (B, C, H * W)
    return images.flatten(2).gather(2, source).view_as(images)


class Rotation(nn.Module):
    """A linear layer that classifies quarter turns, and its cross-entropy.

    Args:
        embedding: D of the embedding.
    """

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.head = nn.Linear(embedding, TURNS)

    def forward(self, step: Step) -> Tensor:
        """Scalar loss of one batch, in nats.

        Where the recipe turns images, it reads `step.turns` and `step.out.embedding`. Where it turns none, each image
        of `step.images` is turned by a number of quarter turns that is drawn uniformly, and the network runs once
        more, on these; a batch norm's running averages are then of both. The other terms still see the images upright.
        """
        if step.turns is None:
            device = step.images.device
            turns = torch.randint(TURNS, (len(step.images),), device=device, generator=step.generator)  # (B,)
            out = step.forward(turn(step.images, turns))
        else:
            turns, out = step.turns, step.out
        logits = self.head(out.embedding)  # (B, 4)
        # The model may compute in bfloat16, in which a loss has two or three digits.
        wide = torch.promote_types(logits.dtype, torch.float32)
        return F.cross_entropy(logits.to(wide), turns)
