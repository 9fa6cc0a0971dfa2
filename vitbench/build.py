"""Where names become code: the data, the model and the terms of a run, each held to its contract.

What they are made of is imported through `vitbench.leaves`, and may be anybody's.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from vitbench import errors, leaves
from vitbench.adapter import shape_of
from vitbench.contracts import Images, Split
from vitbench.errors import UserError, is_out_of_memory
from vitbench.identity import Identity
from vitbench.leaf import CONTRACTS, Kind, Leaf
from vitbench.total import Total
from vitbench.train import derived

M = TypeVar("M", bound=nn.Module)

CHANNELS_LAST = {"cuda"}  # types of devices where convolutions are faster so


def data_of(identity: Identity, root: Path | None, *, download: bool = False) -> Split:
    """The data set of a run, on the CPU.

    Args:
        root: the data folder, or None.
        download: whether absent data may be fetched.

    Raises:
        UserError: if the data is absent or broken, or is not what the data set says that it is.
    """
    leaf = leaves.find("datasets", identity.dataset)
    build = leaf.load()
    with leaf.answering("when built"):
        split: Split = build(root, image_size=identity.pixels, download=download)
    if not isinstance(split, Split):
        raise _broken(leaf, f"returns {type(split).__name__}")
    for half, images in (("train", split.train), ("test", split.test)):
        _check_images(leaf, half, images, identity)
    names = split.classes if isinstance(split.classes, tuple | list) else ()
    if len(names) != identity.classes:
        raise UserError(f"{leaf.what} names {len(names)} classes; CLASSES says {identity.classes}, make them agree")
    return split


def model_of(identity: Identity) -> nn.Module:
    """The untrained model of a run, on the CPU; its weights depend on the seed and on nothing else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived(identity.seed, "model"))
        return untrained(identity.model, identity.classes, identity.image_size)


def place(model: M, device: torch.device | str) -> M:
    """Move a model to where it is trained, with the weights of its convolutions as they are fast there.

    On a GPU channels come last in memory (N, H, W, C; shapes stay as they are), as its convolutions and batch norms
    want them: with channels second a fifth of a residual network's step went into turning tensors round. Sums are added
    in another order, so losses differ by rounding (docs/gpu.md). Only in a network that says that its code can do with
    it (`channels_last`), as every `vitbench.adapter.Adapter` does.
    """
    model.to(device)
    if torch.device(device).type in CHANNELS_LAST and getattr(model, "channels_last", False):
        convert_conv2d_weight_memory_format(model, torch.channels_last)
    return model


def untrained(reference: str, classes: int, image_size: int) -> nn.Module:
    """A network by its reference (`leaf/variant`), with whatever weights torch's generator gives.

    Raises:
        UserError: if its code fails, or what it makes is no model for that many classes.
    """
    model = unchecked(reference, classes, image_size)
    leaf = leaves.find("models", reference.partition("/")[0])
    with leaf.answering(f"on images (2, 3, {image_size}, {image_size}) on torch's meta device"):
        shape = shape_of(model, image_size=image_size, what=leaf.what)
    if shape.classes != classes:
        raise UserError(
            f"{leaf.what} returns {shape.classes} logits for {classes} classes: "
            "build it with the `classes` that it is given"
        )
    return model


def unchecked(reference: str, classes: int, image_size: int) -> nn.Module:
    """As `untrained`, without the pass that looks at what it returns: of a network that was looked at already."""
    name, _, variant = reference.partition("/")
    leaf = leaves.find("models", name)
    return _module(leaf, classes=classes, image_size=image_size, **({"variant": variant} if variant else {}))


def term_of(identity: Identity, name: str, model: nn.Module) -> nn.Module:
    """A term of a run for a model; its weights depend on the seed and the term's name.

    One that has a method `attach` is given the model too, to copy it as it is.

    Raises:
        UserError: if its code fails, or makes no module.
    """
    arguments = next(one.term.arguments for one in identity.objective if one.name == name)
    shape = shape_of(model, image_size=identity.image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived(identity.seed, "term", name))
        leaf = leaves.find("terms", name)
        term = _module(leaf, shape, **arguments)
        attach: Callable[[nn.Module], None] | None = getattr(term, "attach", None)
        if attach is not None:
            with leaf.answering("when it was given the model"):
                attach(model)
        return term


def total_of(identity: Identity, model: nn.Module) -> Total:
    """The objective of a run for a model."""
    terms = {name: term_of(identity, name, model) for name in identity.objective.names}
    return Total(terms, {one.name: one.weight for one in identity.objective})


def _module(leaf: Leaf, *given: Any, **options: Any) -> nn.Module:
    """What a model or a term builds."""
    build = leaf.load()
    with leaf.answering("when built"):
        made = build(*given, **options)
    if not isinstance(made, nn.Module):
        raise _broken(leaf, f"returns {type(made).__name__}")
    return made


def _check_images(leaf: Leaf, half: str, images: Images, identity: Identity) -> None:
    """Refuse a half of a data set that is not what its constants say."""
    if not isinstance(images, Images):
        raise _broken(leaf, f"has a `{half}` that is {type(images).__name__}; expected vitbench.contracts.Images")
    size = identity.pixels
    expected = {"images": (torch.uint8, (3, size, size)), "labels": (torch.int64, ())}
    for name, (dtype, rest) in expected.items():
        tensor = getattr(images, name)
        shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else ()
        if not shape or not shape[0] or (tensor.dtype, shape[1:]) != (dtype, rest):
            found = f"{tensor.dtype} {shape}" if isinstance(tensor, Tensor) else type(tensor).__name__
            wanted = ", ".join(["N", *map(str, rest)])
            raise UserError(f"{leaf.what}: {half}.{name} is {found}; expected {dtype} ({wanted}), N from 1 up")
    if len(images.images) != len(images.labels):
        raise UserError(f"{leaf.what}: {half} has {len(images.images)} images and {len(images.labels)} labels")
    low, high = images.labels.min().item(), images.labels.max().item()
    if low < 0 or high >= identity.classes:
        raise UserError(
            f"{leaf.what}: {half}.labels go from {low} to {high}; CLASSES says {identity.classes}, "
            f"so they must lie in 0 to {identity.classes - 1}"
        )


def _broken(leaf: Leaf, how: str) -> UserError:
    return UserError(f"{leaf.what} {how}; {CONTRACTS[leaf.kind]}")


@contextmanager
def blaming(identity: Identity, when: str) -> Iterator[None]:
    """Make one line of an error that comes out of other people's code; an error of our own passes.

    Args:
        identity: whose model, terms and data set take part.
        when: what was asked of them.

    Raises:
        UserError: naming the file whose line is in the traceback, the innermost first.
    """
    try:
        yield
    except Exception as error:
        foreign = {str(leaf.path): leaf for leaf in _foreign(identity)}
        frames = reversed(traceback.extract_tb(error.__traceback__))
        guilty = next((foreign[one.filename] for one in frames if one.filename in foreign), None)
        if guilty is None and isinstance(error, RuntimeError | ValueError):
            # What comes up in a backward pass is in no line of theirs.
            guilty = next((leaf for leaf in foreign.values() if leaf.kind != "datasets"), None)
        ours = type(error).__module__ == errors.__name__ or isinstance(error, OSError) or is_out_of_memory(error)
        if guilty is None or ours:
            raise
        with guilty.answering(when):
            raise


def _foreign(identity: Identity) -> list[Leaf]:
    named: list[tuple[Kind, str]] = [("models", identity.model.partition("/")[0]), ("datasets", identity.dataset)]
    named += [("terms", name) for name in identity.objective.names]
    return [leaf for leaf in (leaves.find(*one) for one in named) if leaf.is_foreign]
