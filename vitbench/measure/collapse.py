"""Whether a network gives all images the same embedding, or its teacher all of them the same answer.

That is what learning without labels can fall into, while its loss goes on falling: nothing is easier to agree on.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitbench.contracts import Images
from vitbench.errors import NonFinite, UserError
from vitbench.measure.accuracy import batches, evaluating
from vitbench.measure.knn import embed

VERSION = 1

# Both are ours. On digits an untrained tiny ViT has a spread of .012: images of one kind start close to each other.
LEAST_SPREAD = 0.001
LEAST_INFORMATION = 0.01  # of what the teacher could say, log K
ROUNDING = 0.02  # by which probabilities may miss 1; bfloat16 has two or three digits


class Teaching(Protocol):
    """What a term offers that has a teacher; see `vitbench.terms.distill`."""

    def distribution(self, images: Tensor) -> Tensor:
        """What the teacher says of images (B, 3, H, W) in [0, 1]: probabilities (B, K)."""


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """How far a network is from a collapse.

    Attributes:
        embedding_spread: see `spread`, from 0 to 1.
        teacher_entropy: mean entropy in nats of what the teacher says of an image; None without a teacher.
        teacher_information: entropy of the mean of it less that mean, so how much of what it says is due to the
            image; 0 in both failures of DINO: one dimension dominates, or all are alike. In nats; None likewise.
        reason: why this is a collapse; empty where it is none.
    """

    embedding_spread: float
    teacher_entropy: float | None = None
    teacher_information: float | None = None
    reason: str = ""

    def measurements(self) -> dict[str, float]:
        """What there is of the numbers, by the names of metrics."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, float)}


def collapse(
    model: nn.Module, test: Images, *, term: nn.Module | None = None, batch_size: int | None = None
) -> Collapse:
    """Look at the embeddings of a network and at its teacher's answers, in evaluation mode and without gradients.

    Args:
        model: images (B, 3, H, W) in [0, 1] to `Output`; afterwards in the mode that it was in, as is the term.
        test: N images.
        term: a `Teaching` term, or None.
        batch_size: images per forward pass; None: as `batches` has it.

    Raises:
        NonFinite: if an embedding or a probability is NaN or infinite.
        OutOfMemory: if the device has not enough of it.
        UserError: if there are fewer than two images.
    """
    if len(test) < 2:
        raise UserError(f"a collapse shows from two images on, got {len(test)}; give a data set with more")
    evenly = spread(embed(model, test, batch_size=batch_size))
    if term is None:
        return Collapse(embedding_spread=evenly, reason=_reason(evenly))
    with evaluating(term), torch.no_grad():
        answers = (
            cast(Teaching, term).distribution(images) for images, _ in batches(model, test, batch_size=batch_size)
        )
        entropy, information, prototypes = informed(answers)
    return Collapse(
        embedding_spread=evenly,
        teacher_entropy=entropy,
        teacher_information=information,
        reason=_reason(evenly) or _reason_of_teacher(entropy, information, prototypes),
    )


def spread(embeddings: Tensor) -> float:
    """Standard deviation of embeddings (N, D) of unit length, mean over dimensions, times the root of D.

    1 where they lie evenly on the sphere, 0 where all are the same; in float64.

    Source: Chen & He 2021, arXiv:2011.10566 (SimSiam), section 4.1, who compare it with 1 / sqrt(D).
    """
    unit = F.normalize(embeddings.double(), dim=1)
    evenly = float(unit.std(dim=0, correction=0).mean() * math.sqrt(unit.shape[1]))
    return min(1.0, evenly)  # which rounding alone can pass


def informed(answers: Iterable[Tensor]) -> tuple[float, float, int]:
    """Mean entropy of probabilities, how much more that of their mean is, both in nats, and how many there are.

    Args:
        answers: batches (B, K), each row adding up to 1.

    Raises:
        NonFinite: if a probability is NaN or infinite.
        UserError: if they are no probabilities of several answers.
    """
    count, entropies, summed = 0, 0.0, torch.zeros(())
    for batch in answers:
        _check_probabilities(batch)
        count += len(batch)
        entropies += float(torch.special.entr(batch).sum(dim=1, dtype=torch.float64).sum())
        summed = summed.to(batch.device) + batch.sum(dim=0, dtype=torch.float64)  # (K,)
    mean = entropies / count
    whole = float(torch.special.entr(summed / count).sum())
    return mean, max(0.0, whole - mean), len(summed)


def _check_probabilities(batch: Any) -> None:
    expected = "a term's distribution(images) gives probabilities (B, K), K from 2 up, each row adding up to 1, got"
    if not isinstance(batch, Tensor) or batch.ndim != 2 or batch.shape[1] < 2:
        found = tuple(batch.shape) if isinstance(batch, Tensor) else type(batch).__name__
        raise UserError(f"{expected} {found}; mend the term")
    if not bool(batch.isfinite().all()):
        raise NonFinite("what the teacher says of some images is not finite")
    least, gap = float(batch.min()), float((batch.sum(dim=1, dtype=torch.float64) - 1).abs().max())
    if least < 0 or gap > ROUNDING:
        raise UserError(f"{expected} numbers from {least:.3g} up and rows that miss 1 by {gap:.3g}; take their softmax")


def _reason(evenly: float) -> str:
    if evenly >= LEAST_SPREAD:
        return ""
    return f"collapsed: embeddings of all test images are nearly the same, their spread {evenly:.2g} of 1"


def _reason_of_teacher(entropy: float, information: float, prototypes: int) -> str:
    most = math.log(prototypes)
    if information >= LEAST_INFORMATION * most:
        return ""
    how = "one dimension dominates" if entropy < most / 2 else "all dimensions are alike"
    return (
        f"collapsed: the teacher says nearly the same of all test images ({how}), {information:.2g} nats of {most:.2g}"
    )
