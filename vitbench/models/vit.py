"""The plain vision transformer with a class token, for images of 32 x 32; `mini_224` for photographs of 224 x 224.

Source: Floros 2024, thesis, chapter 3 ("the original Vision Transformer"), after Dosovitskiy et al. 2021,
arXiv:2010.11929. Only the 8 x 8 x 312 grid and about 15 M parameters are printed; depth, heads and MLP of
`floros2024` are our choice, see docs/decisions/0002-floros2024-models.md.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import trunc_normal_
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vitbench.adapter import THUMBNAILS, Adapter, cut, pick, register
from vitbench.errors import unknown

VERSION = 1
VARIANTS: dict[str, dict[str, Any]] = {
    "floros2024": {
        "patch_size": 4,
        "embed_dim": 312,
        "depth": 13,
        "num_heads": 6,
        "mlp_ratio": 4,
        "position_std": 0.02,
    },
    "tiny": {
        "patch_size": 8,
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 3,
        "mlp_ratio": 2,
        "position_std": 0.2,  # some 500 steps do not teach it where a token is from .02
    },
    # 7 x 7 tokens, so that a thousand photographs are learnt in minutes without a GPU.
    "mini_224": {
        "patch_size": 32,
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 3,
        "mlp_ratio": 2,
        "position_std": 0.2,
    },
}
PIXELS = {"mini_224": replace(THUMBNAILS, size=224)}


def build(*, classes: int, image_size: int | None = None, variant: str = "floros2024") -> nn.Module:
    """The model `vit`.

    Args:
        classes: K.
        image_size: H and W in pixels; None: what the variant was designed for.
        variant: a key of `VARIANTS`.

    Raises:
        UserError: if there is no such variant.
    """
    if variant not in VARIANTS:
        raise unknown("variant of vit", variant, VARIANTS)
    size = PIXELS.get(variant, THUMBNAILS).size if image_size is None else image_size
    return ViT(_create(variant, num_classes=classes, img_size=size))


class ViT(Adapter):
    """The adapter, and `contracts.Encoder`: the network looks at some of its patches alone."""

    extra_tokens = 1  # the class token

    @property
    def patch_size(self) -> int:
        """P."""
        return self.network.patch_embed.patch_size[0]

    @property
    def width(self) -> int:
        """D of a token."""
        return self.network.embed_dim

    def patches(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to what the network gets of them, normalised pixels (B, N, P * P * 3)."""
        return cut(self.normalize(images), self.patch_size)

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        """Tokens (B, V + 1, D) of the patches `kept` (B, V) int64, in that order, the class token last."""
        network, embed = self.network, self.network.patch_embed.proj
        weight = embed.weight.permute(0, 2, 3, 1).flatten(1)  # (D, P * P * 3)
        x = F.linear(pick(self.patches(images), kept), weight, embed.bias)  # (B, V, D)
        first, rest = network.pos_embed[:, :1], network.pos_embed[:, 1:]
        x = x + pick(rest.expand(len(x), -1, -1), kept)
        x = torch.cat([x, (network.cls_token + first).expand(len(x), -1, -1)], dim=1)  # (B, V + 1, D)
        return network.norm(network.blocks(network.pos_drop(x)))


def _create(variant: str, **options: Any) -> VisionTransformer:
    """The network of timm, with positions that start at the spread of the variant."""
    settings = {"img_size": PIXELS.get(variant, THUMBNAILS).size, **VARIANTS[variant], **options}
    spread = settings.pop("position_std")
    network = VisionTransformer(**settings)
    trunc_normal_(network.pos_embed, std=spread)
    return network


register(_create, leaf="vit", variants=VARIANTS, fixed_size=True, pixels=PIXELS)
