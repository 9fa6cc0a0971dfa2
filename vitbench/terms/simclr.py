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
    """The term `simclr`, for recipes that make two versions of each image, or more.

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


def nt_xent(projected: Tensor, *, temperature: float, versions: int = VERSIONS) -> Tensor:
    """Scalar loss of vectors (V * N, D), first one version of each of N images, then the next of each, in nats.

    The mean over all vectors, and over the V - 1 other versions of each one's image, of -log softmax(cosines /
    temperature)[that version], over all other vectors. Of more than two versions it is that of Khosla et al. 2020,
    arXiv:2004.11362, Equation 2, with each image a class.
    """
    scores = similarities(projected) / temperature  # (V * N, V * N)
    count = len(scores)
    itself = torch.eye(count, dtype=torch.bool, device=scores.device)
    own, asked = torch.arange(count, device=scores.device), scores.masked_fill(itself, -torch.inf)
    others = [own.roll(step * count // versions) for step in range(1, versions)]  # (V * N,) each
    return torch.stack([F.cross_entropy(asked, other) for other in others]).mean()


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
        is another and an easier task.

        Raises:
            UserError: if the recipe makes fewer than two versions of each image, or it is trained on one photograph.
        """
        if step.versions < VERSIONS:
            raise UserError(
                f"simclr: expected at least {VERSIONS} versions of each image, got {step.versions}; "
                f"take a recipe whose `views` make them"
            )
        if self.training and len(step.images) == step.versions:
            raise UserError(
                "simclr: expected at least 2 photographs at once, got 1, which nothing has to be told from; "
                "take a larger batch or --micro-batch"
            )
        projected = self.projection(step.out.embedding)  # (B, width)
        # The model may compute in bfloat16, in which a loss has two or three digits.
        wide = projected.to(torch.promote_types(projected.dtype, torch.float32))
        return nt_xent(wide, temperature=self.temperature, versions=step.versions)
