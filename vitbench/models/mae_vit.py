"""A light vision transformer that can look at some of its patches alone, as masked autoencoders ask of their encoder.

Source: Tan 2024, arXiv:2402.03752, sections 2.1 and 3.1: 36 x 36 pixels, 144 patches of 3 x 3 and an empty one behind
them, whose token is classified. What the text leaves open is our choice, see docs/decisions/0019-tan2024-models.md.
"""

from typing import Any

import torch
from timm.layers import to_2tuple, trunc_normal_
from torch import Tensor, nn

from vitbench.adapter import THUMBNAILS, Adapter, Pixels, cut, pick, register
from vitbench.errors import UserError, unknown

VERSION = 1
VARIANTS: dict[str, dict[str, Any]] = {
    "tan2024": {"patch_size": 3, "embed_dim": 192, "depth": 12, "num_heads": 3, "mlp_ratio": 2, "drop": 0.1},
    "tiny": {
        "patch_size": 4,
        "embed_dim": 32,
        "depth": 2,
        "num_heads": 1,
        "mlp_ratio": 2,
        "drop": 0.0,
        "position_std": 0.5,  # some 200 steps do not teach it where a token is from .02
    },
}
PIXELS = {"tan2024": Pixels(size=36, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))}


def build(*, classes: int, image_size: int | None = None, variant: str = "tan2024") -> nn.Module:
    """The model `mae_vit`.

    Args:
        classes: K.
        image_size: H and W in pixels, a multiple of the patches' side; None: what the variant was designed for.
        variant: a key of `VARIANTS`.

    Raises:
        UserError: if there is no such variant, or the image cannot be cut into its patches.
    """
    if variant not in VARIANTS:
        raise unknown("variant of mae_vit", variant, VARIANTS)
    pixels = PIXELS.get(variant, THUMBNAILS)
    network = _create(variant, num_classes=classes, img_size=image_size or pixels.size)
    return MaeViT(network, normalize=pixels.normalize())


class MaeViT(Adapter):
    """The adapter for a network with an empty patch at the end, and `contracts.Encoder`."""

    extra_tokens = 1  # the empty patch's

    @property
    def patch_size(self) -> int:
        """P."""
        return self.network.patch_size

    @property
    def width(self) -> int:
        """D of a token."""
        return self.network.num_features

    def maps(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, 3, H, W) to tokens (B, N + 1, D) with and (B, N, D) without the empty patch's."""
        tokens = self.network.forward_features(pixels)
        return tokens, tokens[:, :-1]

    def patches(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to what the network gets of them, normalised pixels (B, N, P * P * 3)."""
        return cut(self.normalize(images), self.patch_size)

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        """Tokens (B, V + 1, D) of the patches `kept` (B, V) int64, in that order, the empty one's last."""
        return self.network.encode(self.patches(images), kept)


class Encoder(nn.Module):
    """Linear patches, learned positions, torch's transformer layers, a norm and a projection; timm's interface.

    Args:
        img_size: H and W in pixels, one number for both or two.
        in_chans: colour channels.
        num_classes: K.
        patch_size: P, side of a patch.
        embed_dim: D, width of the tokens.
        depth: number of layers.
        num_heads: their attention heads.
        mlp_ratio: width of their MLP over D.
        drop: dropout of attention weights, of what attention and MLP add, and in the MLP.
        norm_first: whether norms stand before attention and MLP, or behind their sums.
    """

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int] = 36,
        in_chans: int = 3,
        num_classes: int = 10,
        patch_size: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        drop: float,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        height, width = to_2tuple(img_size)
        if height % patch_size or width % patch_size:
            raise UserError(
                f"cannot cut images of {height} x {width} into patches of {patch_size} x {patch_size}; choose an "
                f"image size that {patch_size} divides"
            )
        self.num_classes, self.num_features, self.patch_size = num_classes, embed_dim, patch_size
        cells = height // patch_size * (width // patch_size)
        self.patch_embed = nn.Linear(in_chans * patch_size**2, embed_dim, bias=False)
        self.pos_embed = nn.Parameter(torch.empty(1, cells + 1, embed_dim))
        settings: dict[str, Any] = {"dropout": drop, "batch_first": True, "norm_first": norm_first}
        hidden = int(embed_dim * mlp_ratio)
        layers = (nn.TransformerEncoderLayer(embed_dim, num_heads, hidden, **settings) for _ in range(depth))
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim, bias=False)
        self.head = nn.Linear(embed_dim, num_classes)
        trunc_normal_(self.pos_embed, std=0.02)

    def no_weight_decay(self) -> set[str]:
        """Positions keep their size, as in the code of He et al. 2022, arXiv:2111.06377."""
        return {"pos_embed"}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """How layer-wise decay counts: patches and positions, each layer, then everything behind them."""
        return {"stem": r"^(?:patch_embed|pos_embed)", "blocks": r"^blocks\.(\d+)"}

    def get_classifier(self) -> nn.Module:
        """The linear layer behind the logits."""
        return self.head

    def encode(self, patches: Tensor, kept: Tensor | None = None) -> Tensor:
        """Normalised patches (B, N, P * P * 3) to tokens (B, V + 1, D), the empty patch's last.

        Args:
            patches: of whole images.
            kept: (B, V) int64, those that are looked at; None: all.
        """
        positions = self.pos_embed.expand(len(patches), -1, -1)  # (B, N + 1, D)
        last = positions[:, -1:]
        if kept is None:
            positions = positions[:, :-1]
        else:
            patches, positions = pick(patches, kept), pick(positions, kept)
        positions = torch.cat([positions, last], dim=1)  # (B, V + 1, D)
        patches = torch.cat([patches, torch.zeros_like(patches[:, :1])], dim=1)  # (B, V + 1, P * P * 3)
        return self.proj(self.norm(self.blocks(self.patch_embed(patches) + positions)))

    def forward_features(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to tokens (B, N + 1, D), the empty patch's last."""
        return self.encode(cut(x, self.patch_size))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Tokens (B, N + 1, D) to logits (B, K), or to what the classifier reads (B, D)."""
        x = x[:, -1]  # (B, D)
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to logits (B, K)."""
        return self.forward_head(self.forward_features(x))


def _create(variant: str, **options: Any) -> Encoder:
    """The network, with positions that start at the spread of the variant."""
    settings = {**VARIANTS[variant], **options}
    spread = settings.pop("position_std", None)
    network = Encoder(**settings)
    if spread is not None:
        trunc_normal_(network.pos_embed, std=spread)
    return network


register(_create, leaf="mae_vit", variants=VARIANTS, fixed_size=True, pixels=PIXELS)
