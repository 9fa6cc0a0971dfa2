"""Predictions of a model on a data set, which of them are correct, and how a record keeps these bits."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from vitbench import bits
from vitbench.contracts import Images
from vitbench.errors import NonFinite, UserError, memory_named

VERSION = 1
BATCH, SIDE = 1000, 96  # images a pass up to this height and width, fewer of larger ones: 183 of 224


def predict(model: nn.Module, data: Images, *, batch_size: int | None = None) -> Tensor:
    """Logits of every image, in evaluation mode and without gradients.

    Args:
        model: images (B, 3, H, W) in [0, 1] to `Output`; afterwards in the mode that it was in.
        data: N images, on any device; they go to the model's batch by batch.
        batch_size: images per forward pass; None: as `batches` has it.

    Returns:
        (N, K), on the model's device.

    Raises:
        NonFinite: if a logit is NaN or infinite.
        OutOfMemory: if the device has not enough of it.
        UserError: if there are no images.
    """
    with evaluating(model), torch.no_grad():
        parts = [model(images).logits for images, _ in batches(model, data, batch_size=batch_size)]
    return finite(torch.cat(parts))  # (N, K)


def correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the largest of logits (N, K) is the one of labels (N,): bool (N,), where the logits are."""
    return logits.argmax(dim=1) == labels.to(logits.device)


def accuracy(correct: Tensor) -> float:
    """Share of True in a bool (N,), in percent.

    Raises:
        UserError: if N is 0.
    """
    if not len(correct):
        raise UserError("the accuracy on no images is undefined; give at least one image")
    return 100 * int(correct.sum()) / len(correct)


def pack(correct: Tensor) -> str:
    """Bool (N,) to "N:base64", 8 images to the byte, the first in its highest bit; about N / 6 characters."""
    packed = np.packbits(correct.cpu().numpy().astype(bool))
    return f"{len(correct)}:{base64.b64encode(packed.tobytes()).decode('ascii')}"


def unpack(text: str) -> Tensor:
    """What `pack` packed, as bool (N,) on the CPU.

    Raises:
        UserError: if the text is not what `pack` writes.
    """
    return torch.from_numpy(bits.unpack(text))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards each module is in the mode that it was in.

    Raises:
        OutOfMemory: saying that it was the evaluation that did not fit.
    """
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with memory_named("the evaluation of the model"):
            yield
    finally:
        for module, training in before:
            module.training = training


def batches(model: nn.Module, data: Images, *, batch_size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (B, 3, H, W) in [0, 1], as a network sees them, and labels (B,), in order, on the model's device.

    Pixels are as precise as the weights but at least float32, as bfloat16 does not tell 1 from 1 - 1/255.

    Args:
        batch_size: B; None: `BATCH`, fewer where the images are large.

    Raises:
        UserError: if there are no images.
    """
    if not len(data):
        raise UserError("there are no images to predict; give a data set with at least one image")
    weight = next((one for one in model.parameters() if one.is_floating_point()), None)
    device = data.images.device if weight is None else weight.device
    dtype = torch.promote_types(torch.float32 if weight is None else weight.dtype, torch.float32)
    prepare = data.prepare or (lambda images: images)
    if batch_size is None:
        height, width = prepare(data.images[:1]).shape[-2:]
        batch_size = max(1, min(BATCH, BATCH * SIDE**2 // (height * width)))
    for start in range(0, len(data), batch_size):
        part = slice(start, start + batch_size)
        yield prepare(data.images[part].to(device)).to(dtype).div_(255), data.labels[part].to(device)


def finite(logits: Tensor) -> Tensor:
    """The logits (N, K) as they are.

    Raises:
        NonFinite: if one is NaN or infinite; the message has the number of the first such image.
    """
    bad = (~logits.isfinite().all(dim=1)).nonzero()
    if len(bad):
        first = int(bad[0])
        raise NonFinite(f"logits of {len(bad)} of {len(logits)} images are not finite, first of image {first}")
    return logits
