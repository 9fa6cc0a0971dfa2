"""The `meta` device, where torch works norms, GELU and starting values out in Python; here they give shapes alone."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Functions that put out what their first argument is like, and that no convention of MACs counts by its operators.
SHAPE_KEEPING = frozenset({F.batch_norm, torch.batch_norm, F.layer_norm, torch.layer_norm, F.gelu})
LAYER_NORMS = frozenset({F.layer_norm, torch.layer_norm})
# What draws starting values from a normal distribution that is cut off, in place.
INITIALISING = frozenset({Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, Tensor.mul_, Tensor.add_, Tensor.clamp_})


class ShapesAlone(TorchFunctionMode):
    """Batch norms, layer norms and GELU on the `meta` device give a shape and are not worked out.

    There torch does that in Python, which is half the time of a transformer's pass: a network of a thousand layers
    would take half a minute.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call anything else as it is, and a norm of another shape, which fails as it should."""
        if func in SHAPE_KEEPING and args and args[0].is_meta and (func not in LAYER_NORMS or _fits(*args)):
            return torch.empty_like(args[0], memory_format=torch.contiguous_format)
        return func(*args, **(kwargs or {}))


def _fits(images: Tensor, normalized: Sequence[int] = (), *_: Any) -> bool:
    return len(normalized) > 0 and tuple(images.shape[-len(normalized) :]) == tuple(normalized)


class Undrawn(TorchFunctionMode):
    """A network that is built on the `meta` device draws no starting values, which torch does in Python there."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call anything else as it is."""
        if func in INITIALISING and args and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))
