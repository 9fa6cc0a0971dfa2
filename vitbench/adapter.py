"""One adapter that turns any timm-style network into a vitbench model, whatever its layout.

timm's networks hand on tokens (B, N, D) with prefix tokens in front, or maps as NHWC or NCHW; a model hands
on grids (B, D, h, w) without prefix tokens (`vitbench.contracts.Output`).
"""

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import timm
import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import ClassifierHead, NormMlpClassifierHead, PatchEmbed
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vitbench.contracts import Encoder, Normalize, Output, Shape
from vitbench.errors import UserError
from vitbench.meta import ShapesAlone

INTERFACE = ("forward_features", "forward_head", "num_features")


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """The images that a network was designed for.

    Attributes:
        size: H and W.
        mean, std: of each channel, in units of [0, 1]; what `Normalize` takes.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalize(self) -> Normalize:
        """The first layer of a model for such images."""
        return Normalize(mean=self.mean, std=self.std)


THUMBNAILS = Pixels(size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
PHOTOGRAPHS = Pixels(size=224, mean=IMAGENET_DEFAULT_MEAN, std=IMAGENET_DEFAULT_STD)
# Mean and spread of CIFAR-10's training images, to four places, as most networks for either CIFAR have them.
CIFAR = Pixels(size=32, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))


class Adapter(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to `Output`, with one pass through the network.

    Args:
        network: has timm's `forward_features`, `forward_head(x, pre_logits=...)` and `num_features`;
            `num_prefix_tokens`, `output_fmt`, `patch_embed` and `get_classifier` are read where it has them.
            A plain vision transformer of timm takes images of other sizes than its own too, of the same aspect and
            cut by its patches: its positions are interpolated for them.
        normalize: what the network expects its pixels to go through; by default they are spread over [-1, 1].

    Raises:
        UserError: if the network lacks that interface or, at the first images, if its layout cannot be told.
    """

    network: Any  # what it must have is in INTERFACE
    channels_last = True  # its convolutions may get channels last, see `vitbench.build.place`

    def __init__(self, network: nn.Module, *, normalize: Normalize | None = None) -> None:
        super().__init__()
        absent = [name for name in INTERFACE if not hasattr(network, name)]
        if absent:
            raise UserError(
                f"{type(network).__name__} is no timm-style network: it has no {', '.join(absent)}; "
                "give it these, or return contracts.Output from a model of your own"
            )
        self.normalize = normalize or Normalize()
        self.network = network
        self.one_head_pass = _ends_in_its_classifier(network)
        self.stretches = _has_a_position_for_each_patch(network)
        if self.stretches:
            self.network.patch_embed.strict_img_size = False

    def forward(self, images: Tensor) -> Output:
        """(B, 3, H, W) in [0, 1] to logits (B, K), embedding (B, D) and the coarsest grid (B, D, h, w)."""
        if self.stretches and (positions := stretched(self.network, (images.shape[-2], images.shape[-1]))) is not None:
            return torch.func.functional_call(self, {"network.pos_embed": positions}, (images,))
        features, last = self.maps(self.normalize(images))
        grid = _grid(self.network, last, (images.shape[-2], images.shape[-1]))
        embedding = self.network.forward_head(features, pre_logits=True)  # (B, D)
        logits = self._logits(features, embedding)
        return Output(logits=logits, embedding=embedding, grids=(grid,))

    def maps(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """What the head reads, and what the grid is made of, for normalised images (B, 3, H, W).

        They are the same unless a model says otherwise by a method of its own.
        """
        features = self.network.forward_features(pixels)
        return features, features

    def _logits(self, features: Tensor, embedding: Tensor) -> Tensor:
        """(B, K), from the embedding where it is all that the last layer needs, so that the head runs once."""
        if self.one_head_pass:
            return self.network.get_classifier()(embedding)
        return self.network.forward_head(features)


def stretched(network: Any, size: tuple[int, int]) -> Tensor | None:
    """Positions (1, prefix + cells, D) of a plain vision transformer for images of `size` (H, W); None: as they are.

    Bicubic, as in timm's `resample_abs_pos_embed`; but as one product, for torch's gradient of an interpolation
    differs from run to run on a GPU.

    Raises:
        UserError: if its own images have another aspect.
    """
    (height, width), (rows, columns) = network.patch_embed.img_size, network.patch_embed.grid_size
    patch, old = network.patch_embed.patch_size, network.pos_embed
    cells = (size[0] // patch[0], size[1] // patch[1])
    prefix = 0 if network.no_embed_class else network.num_prefix_tokens
    if size[0] * width != size[1] * height:
        raise UserError(
            f"{type(network).__name__} is built for images of {height} x {width}, got {size[0]} x {size[1]}; give it "
            "images of that aspect"
        )
    if old.shape[1] - prefix == math.prod(cells):
        return None
    basis = torch.eye(rows * columns, dtype=torch.float32, device=old.device).view(-1, 1, rows, columns)
    shares = F.interpolate(basis, size=cells, mode="bicubic", antialias=True).flatten(1)  # (old cells, cells)
    with full_precision(old.device):
        moved = shares.T.to(old.dtype) @ old[0, prefix:]  # (cells, D)
    return torch.cat([old[:, :prefix], moved.unsqueeze(0)], dim=1)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Inside, products are as precise as what they are made of, even under autocast."""
    known = torch.amp.is_autocast_available(device.type)  # not on `meta`
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


def _has_a_position_for_each_patch(network: Any) -> bool:
    """Whether it is a plain vision transformer that refuses all images but those of one size."""
    plain = isinstance(network, VisionTransformer) and type(network.patch_embed) is PatchEmbed
    return plain and network.pos_embed is not None and not network.dynamic_img_size


def cut(images: Tensor, side: int) -> Tensor:
    """Images (B, C, H, W) to their patches (B, N, side * side * C), row by row, as `contracts.Encoder` orders them.

    Raises:
        UserError: if the patches do not fill the images.
    """
    height, width = images.shape[-2:]
    if height % side or width % side:
        raise UserError(f"cannot cut images of {height} x {width} into patches of {side} x {side}")
    x = images.unflatten(3, (-1, side)).unflatten(2, (-1, side))  # (B, C, h, side, w, side)
    return x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)  # (B, h * w, side * side * C)


def pick(tokens: Tensor, kept: Tensor) -> Tensor:
    """Of tokens (B, N, D) those at `kept` (B, V) int64, in that order: (B, V, D)."""
    return torch.take_along_dim(tokens, kept.unsqueeze(-1), dim=1)


_shapes: WeakKeyDictionary[nn.Module, dict[int, Shape]] = (
    WeakKeyDictionary()
)  # found already; each takes a forward pass


def shape_of(model: nn.Module, *, image_size: int, what: str = "the model") -> Shape:
    """The sizes that a model's terms are built for, found without arithmetic or a copy of the weights.

    Args:
        model: images (B, 3, H, W) to `Output`, on any device; it is left as it is.
        image_size: H and W in pixels.
        what: its name, for errors.

    Raises:
        UserError: if it returns anything else.
    """
    found = _shapes.setdefault(model, {})
    if image_size not in found:
        found[image_size] = _shape(model, image_size, what)
    return found[image_size]


def _shape(model: nn.Module, image_size: int, what: str) -> Shape:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    weights = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
    dtype = next((one.dtype for one in model.parameters()), torch.float32)
    images = torch.empty(2, 3, image_size, image_size, dtype=dtype, device="meta")  # batch norm needs two
    with torch.no_grad(), ShapesAlone():
        out = torch.func.functional_call(model, weights, (images,))
    _check_output(out, len(images), what)
    _, channels, height, width = out.grids[-1].shape
    shape = Shape(
        channels=channels,
        height=height,
        width=width,
        embedding=out.embedding.shape[1],
        classes=out.logits.shape[1],
    )
    if not isinstance(model, Encoder):
        return shape
    return replace(shape, patch_size=model.patch_size, extra_tokens=model.extra_tokens, token_width=model.width)


_taken: WeakKeyDictionary[nn.Module, dict[int, bool]] = WeakKeyDictionary()


def takes(model: nn.Module, *, image_size: int) -> bool:
    """Whether a model gives an output for images of a size, which need not be its own; found as in `shape_of`."""
    known = _taken.setdefault(model, {})
    if image_size not in known:
        try:
            known[image_size] = bool(shape_of(model, image_size=image_size))
        except Exception:  # networks refuse what they cannot take by whatever error they meet
            known[image_size] = False
    return known[image_size]


def _check_output(out: Any, batch: int, what: str) -> None:
    """Refuse what a model must not return."""
    if not isinstance(out, Output):
        raise UserError(f"{what} returns {type(out).__name__}; expected vitbench.contracts.Output")
    if not isinstance(out.grids, tuple | list) or not out.grids:
        raise UserError(f"{what} returns no grids; expected a tuple of feature maps (B, D, h, w), the coarsest last")
    letters = {"logits": "(B, K)", "embedding": "(B, D)"}
    parts = [("logits", out.logits), ("embedding", out.embedding), *(("grids", grid) for grid in out.grids)]
    for name, tensor in parts:
        expected = letters.get(name, "(B, D, h, w)")
        shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else ()
        if len(shape) != len(expected.split(",")) or shape[0] != batch:
            found = shape or type(tensor).__name__
            raise UserError(f"{what} returns {found} as {name} of {batch} images; expected {expected}")


def register(
    create: Callable[..., nn.Module],
    *,
    leaf: str,
    variants: Iterable[str],
    fixed_size: bool,
    pixels: Mapping[str, Pixels] | None = None,
) -> None:
    """Make each variant known to timm as `vitbench_<leaf>_<variant>`; a name that is known stays as it is.

    Args:
        create: `create(variant, **options)` gives the bare network, logits out; defined in the leaf.
        leaf: name of the model's file.
        variants: the keys of its `VARIANTS`.
        fixed_size: whether the network is built for one image size and takes it as `img_size`.
        pixels: what the variants were designed for; those that are not in it, for `THUMBNAILS`.
    """
    module = sys.modules[create.__module__]
    names = {f"vitbench_{leaf}_{variant}": variant for variant in variants}
    settings = {name: _settings((pixels or {}).get(one, THUMBNAILS), fixed_size) for name, one in names.items()}
    # timm looks for its settings in the module of the function that it is given, and exports its name there.
    vars(module)["default_cfgs"] = generate_default_cfgs(settings)
    for name, variant in names.items():
        if not timm.is_model(name):
            vars(module)[name] = register_model(_entry(create, name=name, variant=variant))


def _settings(pixels: Pixels, fixed_size: bool) -> dict[str, Any]:
    """What timm is told of the images."""
    size = {"input_size": (3, pixels.size, pixels.size), "fixed_input_size": fixed_size}
    return {**size, "mean": pixels.mean, "std": pixels.std}


def _entry(create: Callable[..., nn.Module], *, name: str, variant: str) -> Callable[..., nn.Module]:
    """The function that timm calls for one name."""

    def entry(pretrained: bool = False, **options: Any) -> nn.Module:
        return build_model_with_cfg(partial(create, variant), name, pretrained, **options)

    entry.__name__ = entry.__qualname__ = name
    entry.__module__ = create.__module__
    entry.__doc__ = f"Variant {variant!r} of {create.__module__}; logits out."
    return entry


def _ends_in_its_classifier(network: Any) -> bool:
    """Whether the logits are one linear layer of the embedding and nothing else.

    Such a head runs once, so that dropout and batch statistics are the embedding's own. Heads that are
    distilled, convolutional or normalise before the last layer are asked for the logits separately.
    """
    classifier = network.get_classifier() if hasattr(network, "get_classifier") else None
    heads = [one for one in network.children() if isinstance(one, ClassifierHead | NormMlpClassifierHead)]
    plain = [child for one in (network, *heads) for child in one.children()]
    return isinstance(classifier, nn.Linear) and any(child is classifier for child in plain)


def _grid(network: nn.Module, features: Any, size: tuple[int, int]) -> Tensor:
    """Feature map (B, D, h, w) of what `forward_features` gave for images of `size` (H, W)."""
    shape = tuple(features.shape) if isinstance(features, Tensor) else ()
    width = getattr(network, "num_features", None)
    prefix = getattr(network, "num_prefix_tokens", 0 if getattr(network, "cls_token", None) is None else None)
    if len(shape) == 3 and prefix is not None:
        tokens = features[:, prefix:]  # (B, h*w, D)
        return tokens.transpose(1, 2).unflatten(2, _cells(network, tokens.shape[1], size))  # (B, D, h, w)
    last = getattr(network, "output_fmt", "NCHW") == "NHWC"  # the networks that end in NHWC say so
    if len(shape) == 4 and shape[1] == width and not last:
        return features
    if len(shape) == 4 and shape[3] == width:
        return features.permute(0, 3, 1, 2)  # (B, D, h, w)
    raise UserError(
        f"cannot tell the layout of {type(network).__name__}: expected (B, {width}, h, w), (B, h, w, {width}) or, with "
        f"num_prefix_tokens, (B, N, D) from forward_features, got {shape or type(features).__name__}; "
        "return contracts.Output from a model of your own"
    )


def _cells(network: nn.Module, count: int, size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) of `count` tokens: as the patch embedding says for images of this size, else of their aspect."""
    embed = getattr(network, "patch_embed", None)
    known = getattr(embed, "grid_size", None)
    if known and getattr(embed, "img_size", None) == size and math.prod(known) == count:
        return known
    height = math.isqrt(count * size[0] // size[1])
    if height and count % height == 0 and height * size[1] == count // height * size[0]:
        return height, count // height
    raise UserError(
        f"cannot lay out {count} tokens of {type(network).__name__} as a grid for images of {size[0]} x {size[1]}; "
        "choose an image size that its patches divide"
    )
