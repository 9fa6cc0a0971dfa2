"""What the parts hand to each other: a model's `Output`, a term's `Step`, a data set's `Split`.

Letters: B batch, H W pixels, h w grid cells, D features, K classes, N images of a split.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a model returns for images (B, 3, H, W) in [0, 1].

    Attributes:
        logits: (B, K), before the softmax.
        embedding: (B, D), what the classifier reads.
        grids: feature maps (B, D, h, w) without class tokens, coarsest last.
    """

    logits: Tensor
    embedding: Tensor
    grids: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One training step as a term sees it.

    Attributes:
        images: (B, 3, H, W) in [0, 1], after augmentation.
        labels: (B,) int64 in [0, K).
        targets: (B, K), what each image is of, in shares that add up to 1, where images or labels were mixed or
            smoothed; None where `labels` say it all.
        versions: V, how many of the B images are of one photograph, each augmented otherwise: first one version of
            all, (B / V, ...), then the next of all in the same order.
        turns: (B,) int64 in [0, 4), by how many quarter turns, counter-clockwise, each image was turned after the rest
            of its augmentation; None where a recipe turns none.
        model: the model itself, for terms that run it again.
        forward: the model as it is trained here, which an engine may have compiled; what `out` is made by.
        views: further images of the same photographs, which no other term sees, by name: `local` are small crops
            (L * B / V, 3, h, w), ordered as the versions are.
        progress: share of the phase that is done, a 0-d tensor in [0, 1].
        generator: source of every random draw of the terms; None draws from torch's global one.
    """

    images: Tensor
    labels: Tensor
    model: nn.Module
    forward: Callable[[Tensor], Output]
    targets: Tensor | None = None
    versions: int = 1
    turns: Tensor | None = None
    views: Mapping[str, Tensor] = field(default_factory=dict)
    progress: Tensor = field(default_factory=lambda: torch.zeros(()))
    generator: torch.Generator | None = None

    @cached_property
    def out(self) -> Output:
        """The model's output on `images`, made when a term first asks for it: a pre-training may do without."""
        return self.forward(self.images)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a term must know of the model that it is trained with.

    Attributes:
        channels: D of the coarsest grid.
        height, width: h and w of the coarsest grid.
        embedding: D of the embedding.
        classes: K.
        patch_size, extra_tokens: as an `Encoder` has them, whose coarsest grid is that of its patches; 0 of others.
        token_width: `Encoder.width`; likewise.
    """

    channels: int
    height: int
    width: int
    embedding: int
    classes: int
    patch_size: int = 0
    extra_tokens: int = 0
    token_width: int = 0


@dataclass(frozen=True, kw_only=True)
class Images:
    """One half of a data set, resident in memory, or a memory map on the CPU.

    Attributes:
        images: (N, 3, H, W) uint8.
        labels: (N,) int64 in [0, K).
        classes: K, for a recipe that mixes labels; 0 where no recipe does.
        prepare: what a batch goes through before a network judges it, uint8 in and out; None: nothing.
    """

    images: Tensor
    labels: Tensor
    classes: int = 0
    prepare: Callable[[Tensor], Tensor] | None = None

    def __len__(self) -> int:
        """N."""
        return len(self.labels)

    def to(self, device: torch.device) -> "Images":
        """The same images on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, kw_only=True)
class Split:
    """A data set: what is trained on, what is tested on, and the names of the K classes."""

    train: Images
    test: Images
    classes: tuple[str, ...]

    def to(self, device: torch.device) -> "Split":
        """The same split on another device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))


@runtime_checkable
class Encoder(Protocol):
    """A model that can look at some of its patches alone, as masked autoencoders need; beside being a model.

    Attributes:
        patch_size: P; an image has N = (H / P) * (W / P) patches, counted row by row from the upper left corner.
        extra_tokens: tokens besides the patches' own: a class token, an empty patch.
        width: D of a token.
    """

    patch_size: int
    extra_tokens: int
    width: int

    def patches(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to what the network gets of them, normalised pixels (B, N, 3 * P * P).

        A patch's numbers are its rows, each with its columns, each with its channels: (P, P, 3).
        """

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        """Tokens (B, V + extra_tokens, D) of the patches `kept` (B, V) int64, in that order, the extra ones last.

        What lies in other patches of the images has no influence.
        """


class Normalize(nn.Module):
    """Pixels in [0, 1] to the range that a network was designed for; part of the model.

    Args:
        mean: per channel, in pixel units of [0, 1].
        std: per channel, likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
        std: tuple[float, float, float] = (0.5, 0.5, 0.5),
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to the same shape, centred and scaled."""
        return (images - self.mean) / self.std
