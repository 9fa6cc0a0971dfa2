"""Convolutional vision transformer: convolutions embed the tokens and project them to queries and keys.

Source: Wu et al. 2021, arXiv:2103.15808, section 3 and Table 2. The variant `floros2024` is Floros 2024,
thesis, chapter 3, which prints the 8 x 8 x 312 grid and about 15 M parameters; the rest is our choice, see
docs/decisions/0002-floros2024-models.md. The variant `cvt_13` is CvT-13 as Liu et al. 2021, arXiv:2106.03746,
train it, see docs/decisions/0007-liu2021-models.md.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch.nn.functional as F
from timm.layers import Mlp, trunc_normal_, use_fused_attn
from torch import Tensor, nn

from vitbench.adapter import PHOTOGRAPHS, THUMBNAILS, Adapter, register
from vitbench.errors import unknown

VERSION = 1
VARIANTS: dict[str, dict[str, Any]] = {
    "floros2024": {
        "dims": (52, 156, 312),
        "heads": (1, 3, 6),
        "depths": (1, 2, 11),
        "kernels": (7, 3, 3),
        "strides": (1, 2, 2),
        "head_dim": 64,
        "mlp_ratio": 4,
    },
    "cvt_13": {
        "dims": (64, 192, 384),
        "heads": (1, 3, 6),
        "depths": (1, 2, 10),
        "kernels": (7, 3, 3),
        "strides": (4, 2, 2),
        "head_dim": 64,
        "mlp_ratio": 4,
        "spread": None,
    },
    "tiny": {
        "dims": (16, 48),
        "heads": (1, 3),
        "depths": (1, 1),
        "kernels": (7, 3),
        "strides": (4, 2),
        "head_dim": 16,
        "mlp_ratio": 2,
    },
}
PIXELS = {"cvt_13": PHOTOGRAPHS}


def build(*, classes: int, image_size: int | None = None, variant: str = "floros2024") -> nn.Module:
    """The model `cvt`.

    Args:
        classes: K.
        image_size: H and W in pixels; there are no positions, so the network takes any.
        variant: a key of `VARIANTS`.

    Raises:
        UserError: if there is no such variant.
    """
    if variant not in VARIANTS:
        raise unknown("variant of cvt", variant, VARIANTS)
    return Adapter(_create(variant, num_classes=classes), normalize=PIXELS.get(variant, THUMBNAILS).normalize())


class CvT(nn.Module):
    """Stages of a convolutional embedding and transformer blocks, then the global average; timm's interface.

    Args:
        num_classes: K.
        in_chans: colour channels.
        dims: width of each stage.
        heads: attention heads of each stage.
        depths: blocks of each stage.
        kernels: of each stage's embedding, padded by half.
        strides: of each stage's embedding.
        head_dim: width of an attention head.
        mlp_ratio: width of the MLPs over that of the stage.
        spread: of the truncated normal that linear layers start from, biases at 0; None: as torch starts them.
    """

    output_fmt = "NHWC"

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_chans: int = 3,
        dims: Sequence[int],
        heads: Sequence[int],
        depths: Sequence[int],
        kernels: Sequence[int],
        strides: Sequence[int],
        head_dim: int,
        mlp_ratio: float,
        spread: float | None = 0.02,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, dims[-1]
        stages = []
        for before, dim, count, depth, kernel, stride in zip(
            (in_chans, *dims), dims, heads, depths, kernels, strides, strict=False
        ):
            blocks = (Block(dim, heads=count, head_dim=head_dim, mlp_ratio=mlp_ratio) for _ in range(depth))
            stages.append(nn.Sequential(ConvEmbed(before, dim, kernel=kernel, stride=stride), *blocks))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(dims[-1], num_classes)
        if spread is not None:
            self.apply(partial(_initialise, spread=spread))

    def get_classifier(self) -> nn.Module:
        """The linear layer behind the logits."""
        return self.head

    def forward_features(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to the last map (B, h, w, D)."""
        return self.stages(x.permute(0, 2, 3, 1))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map (B, h, w, D) to logits (B, K), or to what the classifier reads (B, D)."""
        x = x.mean(dim=(1, 2))  # (B, D)
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to logits (B, K)."""
        return self.forward_head(self.forward_features(x))


class ConvEmbed(nn.Module):
    """Convolutional token embedding: an overlapping convolution, then layer norm over the channels.

    Source: Wu et al. 2021, section 3.1.
    """

    def __init__(self, before: int, dim: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, dim, kernel, stride=stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, h, w, D)."""
        return self.norm(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class Block(nn.Module):
    """Pre-norm transformer block on a map, with convolutional projections.

    Source: Wu et al. 2021, section 3.2 and Figure 2.
    """

    def __init__(self, dim: int, *, heads: int, head_dim: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = ConvAttention(dim, heads=heads, head_dim=head_dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, D) to the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ConvAttention(nn.Module):
    """Attention whose queries see every cell and whose keys and values see every other one.

    Source: Wu et al. 2021, section 3.2; the stride of 2 is its "efficiency considerations".
    """

    def __init__(self, dim: int, *, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, head_dim**-0.5
        self.fused_attn = use_fused_attn()
        self.query = ConvProjection(dim, heads * head_dim, stride=1)
        self.key_value = ConvProjection(dim, 2 * heads * head_dim, stride=2)
        self.proj = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, D) to the same shape."""
        query = self._split(self.query(x))  # (B, heads, h*w, head_dim)
        key, value = (self._split(part) for part in self.key_value(x).chunk(2, dim=-1))
        if self.fused_attn:
            mixed = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        else:
            mixed = (query * self.scale @ key.transpose(-2, -1)).softmax(dim=-1) @ value
        return self.proj(mixed.transpose(1, 2).flatten(2)).view_as(x)

    def _split(self, x: Tensor) -> Tensor:
        """(B, h, w, heads * head_dim) to (B, heads, h*w, head_dim)."""
        return x.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ConvProjection(nn.Module):
    """Depth-wise 3x3 convolution, batch norm and a point-wise linear layer, none of them with a bias of its own.

    Source: Wu et al. 2021, section 3.2.
    """

    def __init__(self, dim: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 3, stride=stride, padding=1, groups=dim, bias=False)
        self.norm = nn.BatchNorm2d(dim)
        self.pointwise = nn.Linear(dim, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) to (B, h, w, width)."""
        x = self.norm(self.depthwise(x.permute(0, 3, 1, 2)))  # (B, D, h, w)
        return self.pointwise(x.permute(0, 2, 3, 1))


def _initialise(module: nn.Module, *, spread: float) -> None:
    """Linear layers as in ViT: truncated normal, bias 0."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=spread)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _create(variant: str, **options: Any) -> CvT:
    return CvT(**{**VARIANTS[variant], **options})


register(_create, leaf="cvt", variants=VARIANTS, fixed_size=False, pixels=PIXELS)
