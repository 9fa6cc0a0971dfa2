"""Parameters and multiply-adds (MACs) of models, counted without training them; those of terms: `training`.

A number of MACs means nothing without the convention that it was counted in, see docs/decisions/0005-macs.md.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from vitbench.contracts import Output
from vitbench.errors import UserError
from vitbench.meta import ShapesAlone

VERSION = 2  # raised for what `training` counts as well

# Names of operators that are sums of products. Interpolation (upsample_bilinear2d) is not, nor are
# cummax, lgamma and the like, which only contain "mm", nor convert_..., which contains "conv".
PRODUCTS = re.compile(
    r"(?<!cu)mm(?![aiy])|^mv$|addmv|addr|dot|matmul|einsum|^(?!_?upsample).*linear|conv(?!ert)|attention|transformer"
    r"|cdist|pdist|euclidean_dist|lstm|gru|rnn|fft_|cholesky|(?<!re)solve|linalg_(?!vector|_powsum|diagonal|cross|check)"
)
BOOKKEEPING = frozenset({"prim", "prims", "profiler"})  # namespaces of operators that compute nothing

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
ACTIVATIONS = ("torch.nn.modules.activation", "timm.layers.activations")
ATTENTION = re.compile("Attention|Attn")  # in the name of a module's class, as torch's and timm's are called
NOT_ACTIVATIONS = (nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin)

# Of 53 networks of timm, 51 agree to the unit; one uses einsum, which fvcore rounds, one padding="same".
# See docs/decisions/0005-macs.md.
AGREEMENT = 1e-3


class UncountedOperator(UserError):
    """An operator that multiplies and adds is not in the count, which would come out too low."""


@dataclass(frozen=True, kw_only=True)
class Macs:
    """Multiply-adds of one image through a model in evaluation mode, by convention.

    Attributes:
        matmul_conv: matrix products and convolutions, those of attention included, nothing else. Exact.
        without_attention: of `matmul_conv` what is outside of attention modules, whose own linear layers are left out
            with the rest: what a counter prints that cannot look into `nn.MultiheadAttention`.
        layers: what hooks on modules see: convolutions and linear layers, 1 per element that a norm puts out
            and 1 more where it has weights, 1 per element of an activation; no products of attention.
        fvcore: fvcore's own count, attention written out; None where there is none.
        reason: why `fvcore` is None, else empty.
    """

    matmul_conv: int
    without_attention: int
    layers: int
    fvcore: int | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Products:
    """Multiply-adds of matrix products and convolutions.

    Attributes:
        total: of all.
        inside: of `total`, what is in calls of the modules that were named.
        alone: of `total`, what is computed without gradients, so that no backward pass follows it.
    """

    total: int
    inside: int
    alone: int


def count_params(module: nn.Module) -> int:
    """Trainable parameters; one that several modules share counts once."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def count_macs(
    build: Callable[[], nn.Module],
    *,
    image_size: int,
    on_meta: nn.Module | None = None,
    classes: int = 0,
    others: Mapping[int, Macs] | None = None,
) -> Macs:
    """Multiply-adds of a model.

    Args:
        build: makes a new model: images (1, 3, image_size, image_size) to `Output` or a tensor. It is called
            under torch's `meta` device and, for fvcore, on the CPU with timm's fused attention off.
        image_size: H and W in pixels.
        on_meta: the model on the `meta` device, where it was built already.
        classes: of the model, where `others` are given.
        others: the same network's for other numbers of classes. Two of them and this one on a line need no third trace.

    Raises:
        UncountedOperator: if the model runs an operator that multiplies and adds but has no formula.
    """
    with undisturbed():
        with torch.device("meta"):
            model = (on_meta or build()).eval()
            images = torch.zeros(1, 3, image_size, image_size)
        with _hooked(model) as layers:
            products = count_products(partial(model, images), _attentions(model))
        outside = products.total - products.inside
        macs = Macs(matmul_conv=products.total, without_attention=outside, layers=sum(layers), fvcore=None)
        traced = _count_on_a_line(macs, classes, others or {}) or _count_with_fvcore(
            build, image_size=image_size, matmul_conv=products.total
        )
    return replace(macs, fvcore=traced[0], reason=traced[1])


def _count_on_a_line(macs: Macs, classes: int, others: Mapping[int, Macs]) -> tuple[int, str] | None:
    """The count of fvcore from two of its traces, or None where it has to trace.

    Whatever is done to the logits, by a layer or by a function, costs the same for each class: every count is a line
    over their number. That ours are is looked at.
    """
    known = {number: one for number, one in others.items() if one.fvcore is not None}
    if len(known) < 2:
        return None
    (few, first), (many, second) = list(known.items())[:2]

    def at(name: str) -> int:
        rise: int = getattr(second, name) - getattr(first, name)
        start: int = getattr(first, name)
        return start + rise * (classes - few) // (many - few)

    on_a_line = all(at(name) == getattr(macs, name) for name in ("matmul_conv", "without_attention", "layers"))
    return (at("fvcore"), "") if on_a_line else None


def count_matmul_conv(build: Callable[[], nn.Module], *, image_size: int) -> int:
    """Multiply-adds of a model in the first convention alone; arguments and errors as in `count_macs`."""
    with undisturbed(), torch.device("meta"):
        return count_products(partial(build().eval(), torch.zeros(1, 3, image_size, image_size))).total


@contextmanager
def undisturbed() -> Iterator[None]:
    """What building draws is not seen outside, nor is the caller's no_grad inside.

    Under no_grad torch's counter fails at a layer that is given a view of a parameter, such as a class token.
    """
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        yield


def count_products(run: Callable[[], object], modules: Iterable[nn.Module] = ()) -> Products:
    """What `run` dispatches on the `meta` device.

    Args:
        modules: whose part is counted besides, none of which holds another.

    Raises:
        UncountedOperator: if it runs an operator that multiplies and adds but has no formula.
    """
    audit, counter = _Audit(), FlopCounterMode(display=False)
    with _measured(modules, counter.get_total_flops) as inside, ShapesAlone(), audit, counter:
        run()  # the counter is asked first and hands on what it cannot take apart
    if audit.uncounted:
        raise _uncounted(", ".join(sorted(audit.uncounted)))
    return Products(total=counter.get_total_flops() // 2, inside=sum(inside) // 2, alone=audit.alone // 2)


@contextmanager
def _measured(modules: Iterable[nn.Module], count: Callable[[], int]) -> Iterator[list[int]]:
    """How much `count` rises in each call of a module."""
    began: list[int] = []
    risen: list[int] = []
    hooks = []
    for module in modules:
        hooks.append(module.register_forward_pre_hook(lambda *_: began.append(count())))
        hooks.append(module.register_forward_hook(lambda *_: risen.append(count() - began.pop())))
    try:
        yield risen
    finally:
        for hook in hooks:
            hook.remove()


def _attentions(model: nn.Module) -> list[nn.Module]:
    """The attention modules of a network; of one inside another the inner, for the outer may be a whole block."""
    named = [one for one in model.modules() if any(ATTENTION.search(kind.__name__) for kind in type(one).__mro__)]
    return [one for one in named if not any(inner in named for inner in one.modules() if inner is not one)]


class _Audit(TorchDispatchMode):
    """Collects operators that may multiply and add but have no formula; the counter says nothing of them.

    Attributes:
        alone: operations, two for each MAC, of those that have one and run without gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.uncounted: set[str] = set()
        self.alone = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet, given = func._overloadpacket, kwargs or {}
        out = func(*args, **given)
        if packet not in flop_registry:
            if _may_multiply(func.namespace, packet.__name__):
                self.uncounted.add(f"{func.namespace}::{packet.__name__}")
        elif not torch.is_grad_enabled():
            self.alone += flop_registry[packet](*args, **given, out_val=out)
        return out


def _may_multiply(namespace: str, name: str) -> bool:
    """Whether an operator is, or for all we know could be, a sum of products."""
    return namespace not in BOOKKEEPING and (namespace != "aten" or bool(PRODUCTS.search(name)))


def _uncounted(what: str) -> UncountedOperator:
    return UncountedOperator(
        f"the MACs would come out too low: torch.utils.flop_counter has no formula for {what}; use an "
        "operator that has one, or give it one with torch.utils.flop_counter.register_flop_formula"
    )


@contextmanager
def _hooked(model: nn.Module) -> Iterator[list[int]]:
    """MACs of each call of a layer inside, in the convention `layers`."""
    counts: list[int] = []

    def note(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        counts.append(_layer_macs(module, args[0], output))

    hooks = [module.register_forward_hook(note) for module in model.modules() if _is_layer(module)]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, nn.modules.conv._ConvNd, *NORMS)) or _is_activation(module)


def _is_activation(module: nn.Module) -> bool:
    known = any(kind.__module__ in ACTIVATIONS for kind in type(module).__mro__)
    return known and not isinstance(module, NOT_ACTIVATIONS)


def _layer_macs(module: nn.Module, images: Tensor, output: Tensor) -> int:
    """MACs of one call of a layer; a bias only adds, so it counts nothing."""
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return images.numel() * prod(module.weight.shape[1:])  # (in, out / groups, ...)
    if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
        return output.numel() * prod(module.weight.shape[1:])  # (out, in) or (out, in / groups, ...)
    scaled = isinstance(module, NORMS) and getattr(module, "weight", None) is not None
    return output.numel() * (2 if scaled else 1)


def _count_with_fvcore(build: Callable[[], nn.Module], *, image_size: int, matmul_conv: int) -> tuple[int | None, str]:
    """MACs as fvcore counts them, or None and the reason.

    Raises:
        UncountedOperator: if fvcore finds more in matrix products and convolutions than `matmul_conv`.
    """
    with warnings.catch_warnings(), _attention_written_out(), torch.device("cpu"):
        warnings.simplefilter("ignore")  # fvcore, iopath and the tracer warn about their own age
        try:
            from fvcore.nn import FlopCountAnalysis
        except ImportError as error:
            return None, f"fvcore cannot be imported ({error}); pip install fvcore"
        model = _Tensors(build().eval())
        analysis = FlopCountAnalysis(model, torch.zeros(1, 3, image_size, image_size))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
        try:
            counts = analysis.by_operator()
        except Exception as error:  # torch's tracer and fvcore's formulas raise whatever they meet
            return None, f"fvcore cannot trace it: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    products = sum(count for name, count in counts.items() if PRODUCTS.search(name))
    if products > matmul_conv * (1 + AGREEMENT):
        raise _uncounted(f"products in which fvcore counts {products:.0f} MACs where it counts {matmul_conv}")
    if products < matmul_conv * (1 - AGREEMENT):
        unknown = ", ".join(name for name in analysis.unsupported_ops() if PRODUCTS.search(name))
        return None, f"fvcore misses {unknown or 'products'}: it counts {products:.0f} MACs, not {matmul_conv}"
    return round(sum(counts.values())), ""


class _Tensors(nn.Module):
    """A model whose output is a tuple of tensors, which the tracer can hand on."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        out = self.model(images)
        return (out.logits, out.embedding, *out.grids) if isinstance(out, Output) else out


@contextmanager
def _attention_written_out() -> Iterator[None]:
    """Models of timm that are built inside multiply their attention out, and torch's own layers call no one kernel."""
    from timm.layers import set_fused_attn, use_fused_attn

    enabled, experimental = use_fused_attn(), use_fused_attn(experimental=True)
    whole_layers = torch.backends.mha.get_fastpath_enabled()
    set_fused_attn(False)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        set_fused_attn(enabled, experimental)
        torch.backends.mha.set_fastpath_enabled(whole_layers)


def _attention_macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """The formula that fvcore lacks for models that call the fused function themselves: its two products."""
    query, key, value = (one.type().sizes() for one in inputs[:3])  # (..., N, D), (..., M, D), (..., M, V)
    return prod(query) * key[-2] + prod(query[:-1]) * key[-2] * value[-1]
