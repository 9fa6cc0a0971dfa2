"""Tokens-to-token vision transformer: soft splits with Performer attention shorten the tokens, then a ViT.

Source: Yuan et al. 2021, arXiv:2101.11986, section 3 and Table 1; the attention of the token
transformers is Choromanski et al. 2021, arXiv:2009.14794. The variant `floros2024` is Floros 2024, thesis,
chapter 3, which prints the 8 x 8 x 312 grid and about 15 M parameters; the rest is our choice, see
docs/decisions/0002-floros2024-models.md.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from timm.layers import Mlp, to_2tuple, trunc_normal_
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from vitbench.adapter import PHOTOGRAPHS, THUMBNAILS, Adapter, register
from vitbench.errors import unknown

VERSION = 1
VARIANTS: dict[str, dict[str, Any]] = {
    "floros2024": {
        "splits": ((7, 1, 3), (3, 2, 1), (3, 2, 1)),
        "token_dim": 64,
        "embed_dim": 312,
        "depth": 15,
        "num_heads": 6,
        "mlp_ratio": 3,
    },
    "t2t_vit_14": {
        "splits": ((7, 4, 2), (3, 2, 1), (3, 2, 1)),
        "token_dim": 64,
        "embed_dim": 384,
        "depth": 14,
        "num_heads": 6,
        "mlp_ratio": 3,
        "token_drop": 0.1,
    },
    "tiny": {
        "splits": ((10, 8, 1), (3, 1, 1)),
        "token_dim": 16,
        "embed_dim": 48,
        "depth": 1,
        "num_heads": 3,
        "mlp_ratio": 2,
        # So narrow a net's tokens start far below the positions' size of 0.7. With whole positions, ME without a
        # stop-gradient settles on them and forgets the image (docs/decisions/0002-floros2024-models.md).
        "position_scale": 0.1,
    },
}
PIXELS = {"t2t_vit_14": PHOTOGRAPHS}


def build(*, classes: int, image_size: int | None = None, variant: str = "floros2024") -> nn.Module:
    """The model `t2t`.

    Args:
        classes: K.
        image_size: H and W in pixels; None: what the variant was designed for.
        variant: a key of `VARIANTS`.

    Raises:
        UserError: if there is no such variant.
    """
    if variant not in VARIANTS:
        raise unknown("variant of t2t", variant, VARIANTS)
    pixels = PIXELS.get(variant, THUMBNAILS)
    network = _create(variant, num_classes=classes, img_size=image_size or pixels.size)
    return Adapter(network, normalize=pixels.normalize())


class T2T(nn.Module):
    """Soft splits, token transformers, class token, fixed positions, blocks; timm's interface.

    Args:
        img_size: H and W in pixels, one number for both or two.
        in_chans: colour channels.
        num_classes: K.
        splits: (kernel, stride, padding) of each soft split; a token transformer stands between two of them.
        token_dim: width of the token transformers.
        embed_dim: D, width of the blocks behind them.
        depth: number of these blocks.
        num_heads: their attention heads.
        mlp_ratio: width of their MLP over D.
        token_drop: dropout of what the token transformers add to their values and of what their MLP adds.
    """

    num_prefix_tokens = 1
    pos_embed: Tensor

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int] = 32,
        in_chans: int = 3,
        num_classes: int = 10,
        splits: Sequence[tuple[int, int, int]],
        token_dim: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        token_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, embed_dim
        self.patch_embed = TokensToToken(
            img_size=img_size,
            in_chans=in_chans,
            splits=splits,
            token_dim=token_dim,
            embed_dim=embed_dim,
            drop=token_drop,
        )
        cells = math.prod(self.patch_embed.grid_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.register_buffer("pos_embed", sinusoid(cells + 1, embed_dim)[None])  # (1, 1 + h*w, D)
        norm = partial(nn.LayerNorm, eps=1e-6)
        blocks = (Block(embed_dim, num_heads, mlp_ratio=mlp_ratio, norm_layer=norm) for _ in range(depth))
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm(embed_dim)
        self.head = nn.Linear(embed_dim, num_classes)
        trunc_normal_(self.cls_token, std=0.02)
        self.apply(_initialise)

    def get_classifier(self) -> nn.Module:
        """The linear layer behind the logits."""
        return self.head

    def forward_features(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to tokens (B, 1 + h*w, D), class token first."""
        x = self.patch_embed(x)  # (B, h*w, D)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)  # (B, 1 + h*w, D)
        return self.norm(self.blocks(x + self.pos_embed))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Tokens (B, 1 + h*w, D) to logits (B, K), or to what the classifier reads (B, D)."""
        x = x[:, 0]  # (B, D)
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to logits (B, K)."""
        return self.forward_head(self.forward_features(x))


class TokensToToken(nn.Module):
    """Neighbouring tokens become one, again and again: soft splits with token transformers between them.

    Args:
        img_size: H and W in pixels, one number for both or two.
        in_chans: colour channels.
        splits: (kernel, stride, padding) of each soft split.
        token_dim: width of the token transformers.
        embed_dim: D, width of the tokens that come out.
        drop: dropout in the token transformers.

    Source: Yuan et al. 2021, section 3.1.
    """

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int],
        in_chans: int,
        splits: Sequence[tuple[int, int, int]],
        token_dim: int,
        embed_dim: int,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.img_size = to_2tuple(img_size)
        grids, widths, channels = [self.img_size], [], in_chans
        for kernel, stride, padding in splits:
            grids.append(tuple((side + 2 * padding - kernel) // stride + 1 for side in grids[-1]))
            widths.append(channels * kernel**2)
            channels = token_dim
        self.grids, self.grid_size = grids[1:-1], grids[-1]
        self.splits = nn.ModuleList(nn.Unfold(kernel, stride=stride, padding=pad) for kernel, stride, pad in splits)
        self.transformers = nn.ModuleList(TokenPerformer(width, token_dim, drop=drop) for width in widths[:-1])
        self.proj = nn.Linear(widths[-1], embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to tokens (B, h*w, D)."""
        for split, transformer, grid in zip(self.splits, self.transformers, self.grids, strict=False):
            x = transformer(split(x).transpose(1, 2))  # (B, h*w, token_dim)
            x = x.transpose(1, 2).unflatten(2, grid)  # (B, token_dim, h, w)
        return self.proj(self.splits[-1](x).transpose(1, 2))  # (B, h*w, D)


class TokenPerformer(nn.Module):
    """Token transformer with kernel attention of one head; the widths differ, so the values are the shortcut.

    Args:
        dim: width of the tokens that come in.
        width: width of the tokens that go out, and of queries, keys and values.
        ratio: random features per unit of width.
        drop: dropout of each of the two things that are added to the values.

    Source: Yuan et al. 2021, section 3; the attention is `attend`.
    """

    directions: Tensor

    def __init__(self, dim: int, width: int, *, ratio: float = 0.5, drop: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, drop=(0.0, drop))  # behind its last layer only
        self.drop = nn.Dropout(drop)
        directions = nn.init.orthogonal_(torch.empty(int(width * ratio), width))
        self.register_buffer("directions", directions * math.sqrt(width))  # (M, width), drawn once, never trained

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, dim) to tokens (B, N, width)."""
        query, key, value = self.qkv(self.norm1(x)).chunk(3, dim=-1)  # (B, N, width) each
        x = value + self.drop(self.proj(attend(query, key, value, directions=self.directions)))
        return x + self.mlp(self.norm2(x))


def attend(query: Tensor, key: Tensor, value: Tensor, *, directions: Tensor) -> Tensor:
    """Softmax attention, estimated in linear time with positive random features.

    exp(q k) is about the mean over directions w of exp(w q - |q|^2 / 2) exp(w k - |k|^2 / 2), where q and k carry
    half of the temperature sqrt(D) each. A factor that all features of a query, or all of an image's keys, have
    in common cancels: so |q|^2 is left out and the largest exponents are made 0.

    Args:
        query, key, value: (B, N, D).
        directions: w, (M, D): orthogonal, of length sqrt(D).

    Returns:
        (B, N, D).

    Source: Choromanski et al. 2021, Lemma 1 and the section on orthogonal random features.
    """
    query, key = (x * x.shape[-1] ** -0.25 for x in (query, key))
    query = query @ directions.T  # (B, N, M)
    key = key @ directions.T - key.square().sum(-1, keepdim=True) / 2  # (B, N, M)
    query = (query - query.amax(-1, keepdim=True).detach()).exp()
    key = (key - key.amax((-2, -1), keepdim=True).detach()).exp()
    total = query @ key.sum(-2).unsqueeze(-1)  # (B, N, 1)
    return query @ (key.transpose(-2, -1) @ value) / (total + 1e-6)  # (B, N, D)


def sinusoid(count: int, dim: int) -> Tensor:
    """Fixed positions (count, dim): sine in the even columns, cosine in the odd ones.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """
    rates = 10000 ** (-torch.arange(0, dim, 2) / dim)  # (dim / 2,)
    angles = torch.arange(count)[:, None] * rates  # (count, dim / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # (count, dim)


def _initialise(module: nn.Module) -> None:
    """Linear layers as in ViT: normal of .02, bias 0."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _create(variant: str, **options: Any) -> T2T:
    """The network, with positions of the variant's size; that of the paper is 1."""
    settings = {**VARIANTS[variant], **options}
    scale = settings.pop("position_scale", 1)
    network = T2T(**settings)
    network.pos_embed.mul_(scale)
    return network


register(_create, leaf="t2t", variants=VARIANTS, fixed_size=True, pixels=PIXELS)
