"""A residual network without a max-pool, for images of 32 x 32.

Source: Floros 2024, thesis, chapter 3 ("a custom ResNet composed entirely of residual blocks"), after He et
al. 2016, arXiv:1512.03385. Only the 8 x 8 x 312 grid and about 15 M parameters are printed; the rest of
`floros2024` is our choice, see docs/decisions/0002-floros2024-models.md.
"""

from collections.abc import Sequence
from typing import Any

from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from vitbench.adapter import Adapter, register
from vitbench.errors import unknown

VERSION = 1
VARIANTS: dict[str, dict[str, Any]] = {
    "floros2024": {"stem": 1, "widths": (64, 128, 256, 312), "blocks": (3, 4, 6, 4), "strides": (1, 2, 2, 1)},
    "tiny": {"stem": 2, "widths": (8, 16, 32), "blocks": (1, 1, 1), "strides": (2, 2, 1)},
}


def build(*, classes: int, image_size: int = 32, variant: str = "floros2024") -> nn.Module:
    """The model `resnet`.

    Args:
        classes: K.
        image_size: H and W in pixels; the network takes any; `floros2024` has a grid of a quarter, `tiny` of an eighth.
        variant: a key of `VARIANTS`.

    Raises:
        UserError: if there is no such variant.
    """
    if variant not in VARIANTS:
        raise unknown("variant of resnet", variant, VARIANTS)
    return Adapter(_create(variant, num_classes=classes))


class ResNet(nn.Module):
    """3x3 stem, stages of basic blocks, global average, linear classifier; timm's interface.

    Args:
        num_classes: K.
        in_chans: colour channels.
        stem: stride of the stem, whose width is the first stage's.
        widths: channels of each stage.
        blocks: blocks of each stage.
        strides: stride of the first block of each stage.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_chans: int = 3,
        stem: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        strides: Sequence[int],
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, widths[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, widths[0], 3, stride=stem, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        before = (widths[0], *widths)
        stages = zip(before, widths, blocks, strides, strict=False)
        self.stages = nn.Sequential(*(_stage(*sizes) for sizes in stages))
        self.fc = nn.Linear(widths[-1], num_classes)
        self.apply(_initialise)

    def get_classifier(self) -> nn.Module:
        """The linear layer behind the logits."""
        return self.fc

    def forward_features(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to the last map (B, D, h, w)."""
        return self.stages(self.stem(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map (B, D, h, w) to logits (B, K), or to what the classifier reads (B, D)."""
        x = x.mean(dim=(2, 3))  # (B, D)
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to logits (B, K)."""
        return self.forward_head(self.forward_features(x))


def _stage(before: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """Basic blocks of one width; the first changes the resolution and the width by a 1x1 projection."""
    project = None
    if stride != 1 or before != width:
        project = nn.Sequential(nn.Conv2d(before, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))
    first = BasicBlock(before, width, stride=stride, downsample=project)
    return nn.Sequential(first, *(BasicBlock(width, width) for _ in range(blocks - 1)))


def _initialise(module: nn.Module) -> None:
    """As timm's ResNet: He's normal by fan-out, and each block starts as its shortcut."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if isinstance(module, BasicBlock):
        module.zero_init_last()


def _create(variant: str, **options: Any) -> ResNet:
    return ResNet(**{**VARIANTS[variant], **options})


register(_create, leaf="resnet", variants=VARIANTS, fixed_size=False)
