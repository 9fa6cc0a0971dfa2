"""Augmentation of a whole batch where it lies, with one draw per image.

Each operation is a pure function of a batch (B, C, H, W) and a generator; all keep uint8, and shapes are
static, so the same code runs on a CPU, on a GPU and inside a captured graph. torchvision's transforms draw
once per call, so a batch would get one draw; image by image the tests compare with them. Crop and flip are
here, the others in `vitbench.augmentations`.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vitbench import errors
from vitbench.augmentations.autoaugment import auto_augment
from vitbench.augmentations.blur import gaussian_blur
from vitbench.augmentations.colour import colour_jitter
from vitbench.augmentations.erasing import erase
from vitbench.augmentations.framing import centre_crop, resize
from vitbench.augmentations.geometry import random_resized_crop
from vitbench.augmentations.greyscale import greyscale
from vitbench.augmentations.mixing import mix
from vitbench.augmentations.randaugment import rand_augment
from vitbench.augmentations.solarisation import solarise
from vitbench.augmentations.turning import quarter_turn

VERSION = 1  # raised when an operation of this file, or the order of its draws, changes


def crop(images: Tensor, *, padding: int = 4, generator: torch.Generator | None = None) -> Tensor:
    """Shift each image by up to `padding` pixels both ways, zeros coming in: RandomCrop(H, padding=padding).

    Args:
        images: (B, C, H, W), any dtype.
        padding: pixels added on every side before a window of the old size is cut out, at least 0.
        generator: source of the draws, on the device of the images; None is torch's global one.

    Returns:
        (B, C, H, W), dtype of the input; each of the (2 * padding + 1)^2 windows is equally likely.

    Raises:
        UserError: if padding is negative.
    """
    if padding < 0:
        raise errors.UserError(f"padding is a number of pixels, at least 0, got {padding}")
    b, c, h, w = images.shape
    device = images.device
    top, left = torch.randint(0, 2 * padding + 1, (2, b, 1), device=device, generator=generator)
    padded = F.pad(images, (padding, padding, padding, padding))  # (B, C, H', W')
    row = padded.shape[3]
    plane = padded.shape[2] * row
    starts = (top + torch.arange(h, device=device)) * row + left  # (B, H), within a plane
    starts = starts[:, None] + plane * torch.arange(b * c, device=device).view(b, c, 1)  # (B, C, H)
    # Whole runs of W pixels are copied; on a CPU that takes less than half the time of an index per pixel.
    runs = padded.flatten().unfold(0, w, 1).index_select(0, starts.flatten())  # (B * C * H, W)
    return runs.view(b, c, h, w)


def flip(images: Tensor, *, probability: float = 0.5, generator: torch.Generator | None = None) -> Tensor:
    """Mirror each image left to right with the given probability.

    Args:
        images: (B, C, H, W), any dtype.
        probability: of each image on its own, in [0, 1].
        generator: source of the draws, on the device of the images; None is torch's global one.

    Returns:
        (B, C, H, W), dtype of the input.

    Raises:
        UserError: if probability is outside [0, 1].
    """
    if not 0 <= probability <= 1:
        raise errors.UserError(f"probability is between 0 and 1, got {probability}")
    b = len(images)
    flipped = torch.rand(b, device=images.device, generator=generator) < probability
    both = torch.cat((images, images.flip(-1)))  # (2B, C, H, W)
    # Whole images are copied; a `where` over uint8 takes three times as long on a CPU.
    return both.index_select(0, torch.arange(b, device=images.device) + b * flipped)


def to_float(images: Tensor) -> Tensor:
    """Levels uint8 (B, C, H, W) in 0..255 to float32 in [0, 1], exactly as torchvision's to_tensor does.

    Raises:
        TypeError: if the images are not uint8; converted twice, they would all be black.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"expected images of uint8 levels, got {images.dtype}")
    return images.to(torch.float32).div_(255)  # in place on the copy: half the time of a division into a third


Operation = Callable[..., Tensor]
Mixer = Callable[..., tuple[Tensor, Tensor]]
Turner = Callable[..., tuple[Tensor, Tensor]]
HANDED_IN = {"images", "labels", "classes", "generator"}
# What a recipe can name; one more is a function (images, *, generator, ...) -> images and a line here.
OPERATIONS: dict[str, Operation] = {
    "crop": crop,
    "flip": flip,
    "random_resized_crop": random_resized_crop,
    "colour_jitter": colour_jitter,
    "greyscale": greyscale,
    "gaussian_blur": gaussian_blur,
    "solarise": solarise,
    "rand_augment": rand_augment,
    "auto_augment": auto_augment,
    "erase": erase,
    "resize": resize,
    "centre_crop": centre_crop,
}


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Operations one after the other on uint8, then floats; without operations, what evaluation sees."""

    operations: tuple[Operation, ...] = ()

    def __call__(self, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """(B, C, H, W) uint8 to float32 in [0, 1], of the size that operations make; all draws are of `generator`."""
        return to_float(self.levels(images, generator=generator))

    def levels(self, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """The same without the last step: levels uint8."""
        # Nothing here has a gradient, and torch's calls are shorter for knowing it; of small batches, by a tenth.
        with torch.inference_mode():
            for operation in self.operations:
                images = operation(images, generator=generator)
        return images


def compose(calls: Iterable[tuple[str, Mapping[str, object]]], *, where: str = "") -> Augmentation:
    """The augmentation that a recipe writes as calls, such as ("crop", {"padding": 4}), ("flip", {}).

    Args:
        calls: names of `OPERATIONS` with their arguments, in the order in which they are applied.
        where: file and line, or the option that the calls came from, for messages.

    Raises:
        UserError: if a name, an argument or its value is wrong.
    """
    operations = []
    tried = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    for name, arguments in calls:
        operation = _bind(name, OPERATIONS, arguments, where)
        # A wrong value is found here, when a recipe is read, and not in the first step of a training.
        with _refusing(name, where):
            tried = operation(tried, generator=torch.Generator())
            to_float(tried)
        operations.append(operation)
    _keep_memory()
    return Augmentation(operations=tuple(operations))


def _keep_memory() -> None:
    """Have glibc keep freed memory for the next batch; without it, a third of the time goes into pages asked for anew.

    It gives memory back as soon as twice as much is free as the largest block up to 32 MB that was ever freed
    (mallopt(3), M_MMAP_THRESHOLD). One such block, of which no page is touched, raises that to 62 MB.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def mixer(arguments: Mapping[str, object], classes: int, *, where: str = "") -> Mixer:
    """What blends the images of a batch and their labels, as a recipe writes it: ("mix", {"mixup": 0.8}).

    Args:
        arguments: of `mix`.
        classes: K.
        where: as in `compose`.

    Returns:
        Augmented images (B, 3, H, W) in [0, 1], labels (B,) and a generator to such images and targets (B, K).

    Raises:
        UserError: if an argument or its value is wrong.
    """
    made: Mixer = functools.partial(_bind("mix", {"mix": mix}, arguments, where), classes=classes)
    with _refusing("mix", where):
        made(torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64), generator=torch.Generator())
    return made


def turner(arguments: Mapping[str, object], *, where: str = "") -> Turner:
    """What turns the images of a batch, as a recipe writes it: ("quarter_turn", {"probability": 0.5}).

    Args:
        arguments: of `quarter_turn`.
        where: as in `compose`.

    Returns:
        Square images (B, 3, S, S) of any dtype and a generator to such images and their quarter turns (B,).

    Raises:
        UserError: if an argument or its value is wrong.
    """
    made: Turner = _bind("quarter_turn", {"quarter_turn": quarter_turn}, arguments, where)
    with _refusing("quarter_turn", where):
        made(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), generator=torch.Generator())
    return made


def _bind(name: str, known: Mapping[str, Callable[..., Any]], given: Mapping[str, object], where: str) -> Any:
    if name not in known:
        raise errors.unknown("augmentation", name, known, where=where)
    parameters = set(inspect.signature(known[name]).parameters) - HANDED_IN
    for argument in given:
        if argument not in parameters:
            raise errors.unknown(f"argument of {name}", argument, parameters, where=where)
    return functools.partial(known[name], **given)


@contextmanager
def _refusing(name: str, where: str) -> Iterator[None]:
    try:
        yield
    except (errors.UserError, TypeError, ValueError, RuntimeError) as error:
        place = f"{where}: " if where else ""
        reason = str(error).partition("\n")[0]
        raise errors.UserError(f"{place}augmentation {name} refuses its arguments: {reason}") from error
