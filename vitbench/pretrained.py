"""The start of a fine-tuning: a network with the weights of a pre-training of ours, but for the classifier.

The classifier stays as the run's own seed drew it: what it was before was never trained.
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from vitbench.errors import DataBroken, UserError


def load(model: nn.Module, path: Path) -> None:
    """Give a fresh model the weights of a pre-trained one, in place.

    Args:
        model: as `vitbench.build.model_of` makes it; its network tells its classifier by `get_classifier()`.
        path: `weights.safetensors` of the pre-training's run.

    Raises:
        DataBroken: if the file is torn, of another network, or holds NaN.
        UserError: if the model does not tell its classifier.
    """
    head = classifier(model)
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataBroken(f"{path}: it cannot be read ({error})") from None
    body = {name: tensor for name, tensor in state.items() if name not in head}
    lost = [name for name, tensor in body.items() if not tensor.isfinite().all()]
    if lost:
        raise DataBroken(f"{path}: NaN or infinite in {lost[0]}")
    try:
        missing, strange = model.load_state_dict(body, strict=False)
    except RuntimeError as error:
        wrong = [str(error).splitlines()[-1].strip()]
    else:
        wrong = [*(name for name in missing if name not in head), *strange]
    if wrong:
        raise DataBroken(f"{path}: it is of another network ({wrong[0]})")


def classifier(model: nn.Module) -> set[str]:
    """Names of the tensors of a model's last layer.

    Raises:
        UserError: if it does not tell which that is.
    """
    layer = layer_of(model)
    found = [name for name, module in model.named_modules() if module is layer]
    return {name for name in model.state_dict() if name.startswith(tuple(f"{one}." for one in found))}


def layer_of(model: nn.Module) -> nn.Module:
    """The last layer of a model.

    Raises:
        UserError: if it does not tell which that is.
    """
    network: Any = getattr(model, "network", model)
    layer = network.get_classifier() if hasattr(network, "get_classifier") else None
    if not isinstance(layer, nn.Module) or not any(module is layer for module in model.modules()):
        raise UserError(
            f"{type(network).__name__} cannot be fine-tuned or probed: a pre-trained network tells its classifier by "
            "get_classifier(), as timm's do; give it one"
        )
    return layer
