"""SimCLR: of all other images of a batch, find the one that shows the same photograph.

Source: Chen et al. 2020, arXiv:2002.05709, section 2, Equation 1 and Algorithm 1, the normalised and
temperature-scaled cross-entropy NT-Xent; Coquenet 2023, slides, part 2, which print the algorithm. The projection is
that of the text, g(h) = W2 relu(W1 h), without biases and without the batch norm that the published code has behind
each of its layers, of which there are three unless told otherwise.
"""

from contextlib import nullcontext
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitbench.contracts import Shape, Step
from vitbench.errors import UserError

VERSION = 1
VERSIONS = 2
TINY = {"width": 32}


def build(shape: Shape, *, temperature: float = 0.5, width: int = 128, hidden: int = 0, layers: int = 2) -> nn.Module:
    """The term `simclr`, for recipes that make two versions of each image.

    Args:
        shape: of the model; the projection reads the embedding.
        temperature: what similarities are divided by, above 0; the text's is 0.1 on ImageNet, 0.5 on CIFAR-10.
        width: of what the projection gives, at least 1.
        hidden: width of its hidden layers, at least 1; 0 is that of the embedding.
        layers: of the projection, at least 1, which is linear.

    Raises:
        UserError: if an option is out of its range.
    """
    if type(temperature) not in (int, float) or not 0 < temperature < float("inf"):
        raise UserError(f"simclr: temperature must be a number above 0, got {temperature!r}; try temperature=0.5")
    for option, value, least, example in (
        ("width", width, 1, 128),
        ("hidden", hidden, 0, 512),
        ("layers", layers, 1, 2),
    ):
        if type(value) is not int or value < least:
            raise UserError(
                f"simclr: {option} must be a whole number from {least} up, got {value!r}; try {option}={example}"
            )
    widths = [shape.embedding, *[hidden or shape.embedding] * (layers - 1), width]
    return Contrast(widths, temperature=temperature)


def similarities(projected: Tensor) -> Tensor:
    """Cosines (B, B) of the angles between vectors (B, D), in their own precision."""
    unit = F.normalize(projected, dim=-1)
    # Where the model computes in bfloat16 a product of matrices does too, which leaves a cosine two or three digits.
    kind = unit.device.type
    with nullcontext() if kind == "meta" else torch.autocast(kind, enabled=False):
        return unit @ unit.T


def nt_xent(projected: Tensor, *, temperature: float) -> Tensor:
    """Scalar loss of vectors (2N, D), first one version of each of N images, then the other of each, in nats.

    The mean over all 2N vectors of -log softmax(cosines / temperature)[its partner], over the 2N - 1 others.
    """
    scores = similarities(projected) / temperature  # (2N, 2N)
    itself = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    partners = torch.arange(len(scores), device=scores.device).roll(len(scores) // 2)  # (2N,)
    return F.cross_entropy(scores.masked_fill(itself, -torch.inf), partners)


class Contrast(nn.Module):
    """A projection of the embedding, and its NT-Xent.

    Args:
        widths: of what the first layer reads and of what each gives.
        temperature: see `build`.
    """

    def __init__(self, widths: list[int], *, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        parts: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            parts += [nn.Linear(inputs, outputs, bias=False), nn.ReLU()]
        self.projection = nn.Sequential(*parts[:-1])

    def forward(self, step: Step) -> Tensor:
        """Scalar loss of one batch; reads `step.out.embedding` only.

        Every other photograph of the batch is a negative. With micro-batches it is those of the same part alone, which
        is another and an easier task, and none where a part is of one photograph.

        Raises:
            UserError: if the recipe does not make two versions of each image.
        """
        if step.versions != VERSIONS:
            raise UserError(
                f"simclr: expected {VERSIONS} versions of each image, got {step.versions}; "
                f"take a recipe whose `views` make {VERSIONS}"
            )
        projected = self.projection(step.out.embedding)  # (B, width)
        # The model may compute in bfloat16, in which a loss has two or three digits.
        return nt_xent(projected.to(torch.promote_types(projected.dtype, torch.float32)), temperature=self.temperature)
