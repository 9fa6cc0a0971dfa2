"""Swin transformer: attention in windows that move from block to block, on a grid that halves from stage to stage.

Source: Liu et al. 2021, arXiv:2103.14030, section 3 and Table 7; the network is timm's. The variant `swin_tiny` is
Swin-T as Liu et al. 2021, arXiv:2106.03746, train it, see docs/decisions/0007-liu2021-models.md.
"""

from typing import Any

from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from vitbench.adapter import PHOTOGRAPHS, THUMBNAILS, Adapter, register
from vitbench.errors import unknown

VERSION = 1
VARIANTS: dict[str, dict[str, Any]] = {
    "swin_tiny": {
        "patch_size": 4,
        "window_size": 7,
        "embed_dim": 96,
        "depths": (2, 2, 6, 2),
        "num_heads": (3, 6, 12, 24),
        "drop_path_rate": 0.2,
    },
    "tiny": {
        "patch_size": 4,
        "window_size": 4,
        "embed_dim": 16,
        "depths": (1, 1),
        "num_heads": (4, 8),
        "mlp_ratio": 2,
        "drop_path_rate": 0,
        "position_std": 4.0,  # some 400 steps do not teach it where a token is from .02
    },
}
PIXELS = {"swin_tiny": PHOTOGRAPHS}


def build(*, classes: int, image_size: int | None = None, variant: str = "swin_tiny") -> nn.Module:
    """The model `swin`.

    Args:
        classes: K.
        image_size: H and W in pixels; None: what the variant was designed for.
        variant: a key of `VARIANTS`.

    Raises:
        UserError: if there is no such variant.
    """
    if variant not in VARIANTS:
        raise unknown("variant of swin", variant, VARIANTS)
    pixels = PIXELS.get(variant, THUMBNAILS)
    network = _create(variant, num_classes=classes, img_size=image_size or pixels.size)
    return Swin(network, normalize=pixels.normalize())


class Swin(Adapter):
    """The adapter with the grid as the last stage leaves it; the classifier reads it behind the last norm.

    Source: the code of Liu et al. 2021, arXiv:2106.03746, where dense relative localisation reads this map.
    """

    def maps(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (B, 3, H, W) to the last map (B, h, w, D) with and without the norm."""
        last = self.network.layers(self.network.patch_embed(pixels))  # (B, h, w, D)
        return self.network.norm(last), last


def _create(variant: str, **options: Any) -> SwinTransformer:
    """The network of timm, with relative positions that start at the spread of the variant; timm's own is .02."""
    settings = {**VARIANTS[variant], **options}
    spread = settings.pop("position_std", None)
    network = SwinTransformer(**settings)
    if spread is not None:
        for name, parameter in network.named_parameters():
            if name.endswith("relative_position_bias_table"):
                nn.init.normal_(parameter, std=spread)
    return network


register(_create, leaf="swin", variants=VARIANTS, fixed_size=True, pixels=PIXELS)
