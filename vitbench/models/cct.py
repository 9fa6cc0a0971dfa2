"""Compact transformers for images of 32 x 32: ViT-Lite, CVT (with SeqPool), CCT (with SeqPool behind convolutions).

Source: Hassani et al. 2021, arXiv:2104.05704, section 3; what the text leaves open (the second norm, starting values,
rates of dropout) is as in its authors' code. Tan 2024, arXiv:2402.03752, Table 3, prints the sizes. See
docs/decisions/0019-tan2024-models.md.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from timm.layers import DropPath, Mlp, to_2tuple, trunc_normal_
from timm.models.vision_transformer import Attention
from torch import Tensor, nn

from vitbench.adapter import CIFAR, THUMBNAILS, Adapter, register
from vitbench.errors import UserError, unknown

VERSION = 1
VARIANTS: dict[str, dict[str, Any]] = {
    "vit_12_16": {
        "tokenizer": 16,
        "seq_pool": False,
        "embed_dim": 768,
        "depth": 12,
        "num_heads": 12,
        "mlp_ratio": 4,
    },
    "vit_lite_7_16": {
        "tokenizer": 16,
        "seq_pool": False,
        "embed_dim": 256,
        "depth": 7,
        "num_heads": 4,
        "mlp_ratio": 2,
    },
    "vit_lite_7_8": {
        "tokenizer": 8,
        "seq_pool": False,
        "embed_dim": 256,
        "depth": 7,
        "num_heads": 4,
        "mlp_ratio": 2,
    },
    "vit_lite_7_4": {
        "tokenizer": 4,
        "seq_pool": False,
        "embed_dim": 256,
        "depth": 7,
        "num_heads": 4,
        "mlp_ratio": 2,
    },
    "cvt_7_8": {
        "tokenizer": 8,
        "seq_pool": True,
        "embed_dim": 256,
        "depth": 7,
        "num_heads": 4,
        "mlp_ratio": 2,
    },
    "cvt_7_4": {
        "tokenizer": 4,
        "seq_pool": True,
        "embed_dim": 256,
        "depth": 7,
        "num_heads": 4,
        "mlp_ratio": 2,
    },
    "cct_2_3x2": {
        "tokenizer": (64,),
        "seq_pool": True,
        "embed_dim": 128,
        "depth": 2,
        "num_heads": 2,
        "mlp_ratio": 1,
    },
    "cct_7_3x2": {
        "tokenizer": (64,),
        "seq_pool": True,
        "embed_dim": 256,
        "depth": 7,
        "num_heads": 4,
        "mlp_ratio": 2,
    },
    "tiny_vit_lite": {
        "tokenizer": 8,
        "seq_pool": False,
        "embed_dim": 64,
        "depth": 2,
        "num_heads": 4,
        "mlp_ratio": 2,
        "drop": 0.0,
    },
    "tiny_cvt": {
        "tokenizer": 8,
        "seq_pool": True,
        "embed_dim": 64,
        "depth": 2,
        "num_heads": 4,
        "mlp_ratio": 2,
        "drop": 0.0,
    },
    "tiny_cct": {
        "tokenizer": (12, 12),
        "seq_pool": True,
        "embed_dim": 48,
        "depth": 1,
        "num_heads": 3,
        "mlp_ratio": 2,
        "drop": 0.0,
    },
}
PIXELS = {name: CIFAR for name in VARIANTS if not name.startswith("tiny")}


def build(*, classes: int, image_size: int = 32, variant: str = "cct_7_3x2") -> nn.Module:
    """The model `cct`.

    Args:
        classes: K.
        image_size: H and W in pixels; a multiple of the patches' side where the variant has patches.
        variant: a key of `VARIANTS`.

    Raises:
        UserError: if there is no such variant, or the image cannot be cut into its patches.
    """
    if variant not in VARIANTS:
        raise unknown("variant of cct", variant, VARIANTS)
    network = _create(variant, num_classes=classes, img_size=image_size)
    return Adapter(network, normalize=PIXELS.get(variant, THUMBNAILS).normalize())


class CompactTransformer(nn.Module):
    """Tokenizer, learned positions, blocks, a norm, then a class token or SeqPool; timm's interface.

    Args:
        img_size: H and W in pixels, one number for both or two.
        in_chans: colour channels.
        num_classes: K.
        tokenizer: side of the patches that become tokens; or, of the 3x3 convolutions that make CCT of CVT and each
            halve the map, the channels between one and the next.
        seq_pool: whether the classifier reads an average that is weighted by the tokens themselves, as CVT's and CCT's
            do; else a class token, as ViT's.
        embed_dim: D, width of the tokens.
        depth: number of blocks.
        num_heads: their attention heads.
        mlp_ratio: width of their MLP over D.
        drop: dropout of the attention weights, and stochastic depth of the last block, which rises from 0 in the first.
    """

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int] = 32,
        in_chans: int = 3,
        num_classes: int = 10,
        tokenizer: int | Sequence[int],
        seq_pool: bool,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        drop: float = 0.1,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, embed_dim
        self.num_prefix_tokens = 0 if seq_pool else 1
        if isinstance(tokenizer, int):
            cells = _patches(img_size, tokenizer)
            self.tokenizer: nn.Module = nn.Conv2d(in_chans, embed_dim, tokenizer, stride=tokenizer)
        else:
            cells = _halved(img_size, len(tokenizer) + 1)
            self.tokenizer = nn.Sequential(*_convolutions(in_chans, *tokenizer, embed_dim))
        self.cls_token = None if seq_pool else nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.empty(1, self.num_prefix_tokens + cells, embed_dim))
        rates = torch.linspace(0, drop, depth, device="cpu").tolist()
        settings: dict[str, Any] = {"heads": num_heads, "mlp_ratio": mlp_ratio, "attention_drop": drop}
        self.blocks = nn.Sequential(*(Block(embed_dim, **settings, path_drop=rate) for rate in rates))
        self.norm = nn.LayerNorm(embed_dim)
        self.pool = nn.Linear(embed_dim, 1) if seq_pool else None
        self.head = nn.Linear(embed_dim, num_classes)
        trunc_normal_(self.pos_embed, std=0.2)
        self.apply(_initialise)

    def get_classifier(self) -> nn.Module:
        """The linear layer behind the logits."""
        return self.head

    def forward_features(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to tokens (B, N, D), a class token first where there is one."""
        x = self.tokenizer(x).flatten(2).transpose(1, 2)  # (B, h*w, D)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)  # (B, 1 + h*w, D)
        return self.norm(self.blocks(x + self.pos_embed))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Tokens (B, N, D) to logits (B, K), or to what the classifier reads (B, D).

        Source of the pooling: Hassani et al. 2021, section 3.2.
        """
        if self.pool is None:
            x = x[:, 0]  # (B, D)
        else:
            shares = self.pool(x).softmax(dim=1)  # (B, N, 1)
            x = (shares.transpose(1, 2) @ x).squeeze(1)  # (B, D)
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to logits (B, K)."""
        return self.forward_head(self.forward_features(x))


class Block(nn.Module):
    """Transformer block whose second norm replaces what flows on, so that the MLP's shortcut is normalised.

    Source: the code of Hassani et al. 2021; their text says no more than "transformer encoder".
    """

    def __init__(self, dim: int, *, heads: int, mlp_ratio: float, attention_drop: float, path_drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, num_heads=heads, attn_drop=attention_drop)  # no bias in q, k and v
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(path_drop) if path_drop else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) to the same shape."""
        x = self.norm2(x + self.drop_path(self.attn(self.norm1(x))))
        return x + self.drop_path(self.mlp(x))


def _convolutions(*channels: int) -> list[nn.Module]:
    """3x3 convolutions without bias, each with ReLU and a max-pool that halves the map."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
        layers += [convolution, nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
    return layers


def _patches(img_size: int | tuple[int, int], side: int) -> int:
    """Patches of an image."""
    height, width = to_2tuple(img_size)
    if height % side or width % side:
        raise UserError(
            f"cannot cut images of {height} x {width} into patches of {side} x {side}; choose an image size that "
            f"{side} divides"
        )
    return height // side * (width // side)


def _halved(img_size: int | tuple[int, int], times: int) -> int:
    """Cells of a map that is halved, rounding up."""
    height, width = (-(-side // 2**times) for side in to_2tuple(img_size))
    return height * width


def _initialise(module: nn.Module) -> None:
    """Linear layers from a truncated normal of .02, bias 0; convolutions from He's normal by fan-in."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)


def _create(variant: str, **options: Any) -> CompactTransformer:
    return CompactTransformer(**{**VARIANTS[variant], **options})


register(_create, leaf="cct", variants=VARIANTS, fixed_size=True, pixels=PIXELS)
