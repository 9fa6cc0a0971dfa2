"""Accuracy of the nearest neighbours: test images get the class that most similar training images have.

Nothing is trained, so it says what the embedding itself keeps apart. k = 20 as in Detkov 2022, thesis, section 4.4.1,
but of training images for test images, where its released code looked for neighbours inside the validation images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitbench.contracts import Images
from vitbench.errors import NonFinite, UserError
from vitbench.measure.accuracy import batches, evaluating

VERSION = 1

K = 20
AT_ONCE = 2**24  # similarities, or shares of votes, that are held at once: 450 MiB with all that is made of them


def embed(model: nn.Module, data: Images, *, batch_size: int | None = None) -> Tensor:
    """What the model's classifier reads of every image, in evaluation mode and without gradients.

    Args:
        model: images (B, 3, H, W) in [0, 1] to `Output`; afterwards in the mode that it was in.
        data: N images, on any device; they go to the model's batch by batch.
        batch_size: images per forward pass; None: as `batches` has it.

    Returns:
        (N, D) as precise as the model has it but at least float32, on the model's device.

    Raises:
        NonFinite: if a number of an embedding is NaN or infinite.
        OutOfMemory: if the device has not enough of it.
        UserError: if there are no images.
    """
    with evaluating(model), torch.no_grad():
        parts = [model(images).embedding for images, _ in batches(model, data, batch_size=batch_size)]
    found = torch.cat(parts)  # (N, D)
    bad = (~found.isfinite().all(dim=1)).nonzero()
    if len(bad):
        first = int(bad[0])
        raise NonFinite(f"embeddings of {len(bad)} of {len(found)} images are not finite, first of image {first}")
    return found.to(torch.promote_types(found.dtype, torch.float32))


def knn(
    model: nn.Module,
    train: Images,
    test: Images,
    *,
    k: int = K,
    temperature: float | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Whether each test image gets its class: bool (M,), on the model's device.

    Args:
        model: as for `embed`.
        train: N images with labels, prepared as those of the test are.
        test: M images with labels.
        k, temperature: as for `classify`.
        batch_size: as for `embed`.

    Raises:
        NonFinite, OutOfMemory, UserError: as `embed` and `classify`.
    """
    known, asked = (embed(model, half, batch_size=batch_size) for half in (train, test))
    found = classify(known, train.labels, asked, k=k, temperature=temperature)
    return found == test.labels.to(found.device)


def classify(train: Tensor, labels: Tensor, test: Tensor, *, k: int = K, temperature: float | None = None) -> Tensor:
    """The class of each test embedding by its k nearest training embeddings in cosine similarity.

    Of equally near ones the first of the training set count, of classes with equally many votes the first wins; that
    is scikit-learn's rule for votes, and a firm one where scikit-learn leaves it open. An embedding of zeros is at
    right angles to all. In float64, so that a device's rounding does not decide who is near.

    Args:
        train: (N, D).
        labels: (N,) of the training embeddings, from 0 up.
        test: (M, D), on the same device.
        k: neighbours, from 1 to N.
        temperature: None: each neighbour has one vote. Else exp(similarity / temperature) votes, as in Wu et al. 2018,
            arXiv:1805.01978, section 3.4; they and DINO have 0.07.

    Returns:
        (M,) int64, on the device of the embeddings.

    Raises:
        UserError: if k or the temperature is impossible.
    """
    if not 1 <= k <= len(train):
        raise UserError(f"k is a number of neighbours from 1 to the {len(train)} training images, got {k!r}")
    if temperature is not None and not temperature > 0:
        raise UserError(f"the temperature of a vote is a positive number or None, got {temperature!r}")
    labels = labels.to(train.device)
    known = F.normalize(train.double(), dim=1)  # (N, D)
    classes = int(labels.max()) + 1
    found = []
    for asked in test.split(max(1, AT_ONCE // max(len(train), k * classes))):
        similarity = F.normalize(asked.double(), dim=1) @ known.T  # (C, N)
        near = _nearest(similarity, k)  # (C, k)
        votes = F.one_hot(labels[near], classes).double()  # (C, k, K)
        if temperature is not None:
            # Less the largest, which leaves the shares as they are and keeps a low temperature from overflowing.
            exponents = (similarity.gather(1, near) - similarity.amax(dim=1, keepdim=True)) / temperature
            votes *= exponents.exp()[:, :, None]
        found.append(votes.sum(dim=1).argmax(dim=1))  # (C,)
    return torch.cat(found)


def _nearest(similarity: Tensor, k: int) -> Tensor:
    """Places (C, k) of the k largest of each row (C, N), of equal ones the first, in the order of the row."""
    last = similarity.topk(k, dim=1).values[:, -1:]  # (C, 1)
    above, equal = similarity > last, similarity == last
    room = k - above.sum(dim=1, keepdim=True)
    chosen = above | (equal & (equal.cumsum(dim=1, dtype=torch.int32) <= room))  # k of each row
    return chosen.nonzero()[:, 1].view(-1, k)
