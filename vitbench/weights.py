"""The start of a fine-tuning: a network with published weights, and the classifier that its seed drew.

Loading is timm's, with its conversions of older checkpoints and of position tables. Nothing in a file is executed:
tensors alone are read and handed to timm, because a timm as old as 1.0.24 unpickles whatever a file holds.
"""

import textwrap
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import resolve_model_data_config
from timm.models import load_state_dict
from torch import Tensor, nn

from vitbench import published
from vitbench.contracts import Normalize
from vitbench.errors import DataBroken, UserError, is_out_of_memory

State = dict[str, Tensor]
SHOWN = 200  # characters of a reason of torch's, which may list every tensor


def load(model: nn.Module, reference: str, path: Path, *, digest: str, image_size: int) -> None:
    """Give a fresh model published weights, in place: all of them but the classifier, which stays as it was drawn.

    Args:
        model: as `vitbench.build.model_of` makes it, with a timm-style network as its `network`.
        reference: `leaf/variant`, by which the model was built.
        path: file with the weights, see `vitbench.published`.
        digest: that the file had when the run was planned.
        image_size: H and W in pixels that the model was built for.

    Raises:
        DataBroken: if the file is no checkpoint, has changed, or does not hold each tensor of the network and no other.
        UserError: if the model is none that published weights can be given to.
    """
    if published.digest(path) != digest:
        raise DataBroken(f"{path}: has changed since the run was planned; run again")
    network = getattr(model, "network", None)
    head = _classifier(network) if isinstance(network, nn.Module) else set()
    name = published.timm_name(reference)
    if network is None or not head or not timm.is_model(name):
        raise UserError(
            f"{reference} cannot start from published weights: that takes a network that timm knows (as {name}), with "
            "get_classifier(), in a vitbench.adapter.Adapter; choose another model, or a recipe from scratch"
        )
    donor = _donor(name, path, image_size)
    _check_pixels(model, donor, reference)
    own, body = network.state_dict(), donor.state_dict()
    other = sorted(key for key in (own.keys() | body.keys()) - head if _shape(own, key) != _shape(body, key))
    if other:
        raise UserError(f"{reference} differs from timm's {name} in {_listed(other)}; make them agree")
    network.load_state_dict({key: body[key] for key in own.keys() - head}, strict=False)


def _donor(name: str, path: Path, image_size: int) -> nn.Module:
    """The network as timm makes it from a file, with the classifier that it was published with.

    With as many classes as were published timm is strict about the names, but for a few families. So two
    are made: what differs between them was drawn, and did not come from the file.
    """
    config = timm.get_pretrained_cfg(name)
    size = {"img_size": image_size} if config.fixed_input_size else {}
    given = {"num_classes": config.num_classes, "pretrained_cfg_overlay": {"state_dict": _read(path)}}
    try:
        one, two = (_seeded(seed, name, pretrained=True, **given, **size) for seed in (0, 1))
    except Exception as error:  # conversions fail in their own ways on what is not theirs
        if is_out_of_memory(error):
            raise
        raise _not_of(name, path, f"{type(error).__name__}: {error}", config.num_classes) from None
    ones, twos = one.state_dict(), two.state_dict()
    lost = [key for key, value in ones.items() if not value.isfinite().all()]
    if lost:
        raise DataBroken(f"{path}: NaN or infinite in {_listed(lost)}; get it again")
    drawn = [key for key, value in ones.items() if not torch.equal(value, twos[key])]
    if drawn:
        raise _not_of(name, path, f"it lacks {_listed(drawn)}", config.num_classes)
    return one


def _read(path: Path) -> State:
    """Tensors by name."""
    try:
        state: Any = load_state_dict(str(path), weights_only=True)
    except Exception as error:  # torch, pickle and safetensors raise whatever a damaged file leads to
        if is_out_of_memory(error):
            raise
        raise DataBroken(
            f"{path}: damaged, or no checkpoint of tensors alone ({type(error).__name__}); nothing else in it is "
            "executed; get it again, or save the network's state_dict as .safetensors"
        ) from None
    if not isinstance(state, dict) or not any(isinstance(one, Tensor) for one in state.values()):
        raise DataBroken(f"{path}: holds no tensors by name; get a file with the network's state_dict")
    return state


def _seeded(seed: int, name: str, **options: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = timm.create_model(name, **options)
    return network


def _classifier(network: nn.Module) -> set[str]:
    """Names of the tensors of the last layer, or of both of them where a network is distilled."""
    ask: Any = getattr(network, "get_classifier", None)
    layers = ask() if callable(ask) else ()
    layers = layers if isinstance(layers, tuple | list | nn.ModuleList) else (layers,)
    names = [name for name, module in network.named_modules() if any(module is layer for layer in layers)]
    return {key for key in network.state_dict() if key.startswith(tuple(f"{name}." for name in names))}


def _check_pixels(model: nn.Module, donor: nn.Module, reference: str) -> None:
    """Refuse a network of timm's whose weights expect another pixel range than the model gives them."""
    normalize = getattr(model, "normalize", None)
    if not isinstance(normalize, Normalize) or reference not in published.PUBLISHED:
        return  # then the range is timm's by the same name, or the model is the only one that knows it
    expected = resolve_model_data_config(donor)
    for key, found in (("mean", normalize.mean), ("std", normalize.std)):
        if not torch.allclose(found.flatten().cpu(), torch.tensor(expected[key])):
            shown = ", ".join(f"{one:g}" for one in found.flatten().tolist())
            raise UserError(
                f"{reference}: its published weights expect pixels of {key} {expected[key]}, the model assumes "
                f"({shown}); give its Adapter that Normalize"
            )


def _shape(state: State, key: str) -> torch.Size | None:
    return state[key].shape if key in state else None


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _not_of(name: str, path: Path, reason: str, classes: int) -> DataBroken:
    short = textwrap.shorten(" ".join(reason.split()), SHOWN, placeholder=" …")
    return DataBroken(
        f"{path}: no weights of timm's {name} with a classifier of {classes} classes ({short}); "
        "put the published file there"
    )
