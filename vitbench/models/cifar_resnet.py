"""The residual networks for CIFAR: ResNet-56, ResNet-110 and the pre-activated ResNet-1001.

Source: He et al. 2016, arXiv:1512.03385, section 4.2 (ResNet-56 and -110, shortcuts of option A), and He et al. 2016,
arXiv:1603.05027, appendix (ResNet-1001, pre-activated bottlenecks). Tan 2024, arXiv:2402.03752, Table 3, prints their
sizes. See docs/decisions/0019-tan2024-models.md.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from timm.layers import BatchNormAct2d, create_conv2d
from timm.models.resnet import BasicBlock
from timm.models.resnetv2 import DownsampleConv, PreActBottleneck
from torch import Tensor, nn

from vitbench.adapter import CIFAR, THUMBNAILS, Adapter, register
from vitbench.errors import unknown

VERSION = 1
VARIANTS: dict[str, dict[str, Any]] = {
    "resnet56": {"widths": (16, 32, 64), "blocks": 9},
    "resnet110": {"widths": (16, 32, 64), "blocks": 18},
    "resnet1001_v2": {"widths": (64, 128, 256), "blocks": 111, "bottlenecks": True},
    "tiny": {"stem_stride": 2, "widths": (16, 32, 48), "blocks": 1},
    "tiny_v2": {"stem_stride": 2, "widths": (32, 64, 96), "blocks": 1, "bottlenecks": True},
}
PIXELS = {name: CIFAR for name in VARIANTS if not name.startswith("tiny")}


def build(*, classes: int, image_size: int = 32, variant: str = "resnet56") -> nn.Module:
    """The model `cifar_resnet`.

    Args:
        classes: K.
        image_size: H and W in pixels; the network takes any; its grid is of a quarter, `tiny`'s of an eighth.
        variant: a key of `VARIANTS`.

    Raises:
        UserError: if there is no such variant.
    """
    if variant not in VARIANTS:
        raise unknown("variant of cifar_resnet", variant, VARIANTS)
    network = _create(variant, num_classes=classes)
    return Adapter(network, normalize=PIXELS.get(variant, THUMBNAILS).normalize())


class CifarResNet(nn.Module):
    """3x3 stem of 16 channels, three stages of which two halve the map, global average, classifier; timm's interface.

    Args:
        num_classes: K.
        in_chans: colour channels.
        stem_stride: of the stem.
        widths: channels of each stage.
        blocks: blocks of each stage.
        bottlenecks: whether the blocks are pre-activated bottlenecks, which end in a norm of the network's own.
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_chans: int = 3,
        stem_stride: int = 1,
        widths: Sequence[int],
        blocks: int,
        bottlenecks: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, widths[-1]
        self.stem = nn.Conv2d(in_chans, STEM, 3, stride=stem_stride, padding=1, bias=False)
        self.stem_norm = nn.Identity() if bottlenecks else BatchNormAct2d(STEM)
        stage = _bottlenecks if bottlenecks else _basic_blocks
        strides = (1, *[2] * (len(widths) - 1))
        sizes = zip(pairwise((STEM, *widths)), strides, strict=True)
        self.stages = nn.Sequential(*(stage(*size, blocks=blocks, stride=stride) for size, stride in sizes))
        self.norm = BatchNormAct2d(widths[-1]) if bottlenecks else nn.Identity()
        self.fc = nn.Linear(widths[-1], num_classes)
        self.apply(_initialise)

    def get_classifier(self) -> nn.Module:
        """The linear layer behind the logits."""
        return self.fc

    def forward_features(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to the last map (B, D, h, w)."""
        return self.norm(self.stages(self.stem_norm(self.stem(x))))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map (B, D, h, w) to logits (B, K), or to what the classifier reads (B, D)."""
        x = x.mean(dim=(2, 3))  # (B, D)
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to logits (B, K)."""
        return self.forward_head(self.forward_features(x))


STEM = 16


class Subsample(nn.Module):
    """A shortcut without parameters: every second pixel of the map, and zeros for the channels that it lacks.

    Args:
        stride: of the pixels that are kept.
        more: channels that are added behind those there are.

    Source: He et al. 2016, arXiv:1512.03385, section 3.3, option A.
    """

    def __init__(self, *, stride: int, more: int) -> None:
        super().__init__()
        self.stride, self.more = stride, more

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + more, h, w)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))


def _basic_blocks(before: int, width: int, *, blocks: int, stride: int) -> nn.Sequential:
    """Blocks of two 3x3 convolutions; the first changes the map, and its shortcut has no parameters."""
    changes = stride != 1 or before != width
    shortcut = Subsample(stride=stride, more=width - before) if changes else None
    first = BasicBlock(before, width, stride=stride, downsample=shortcut)
    return nn.Sequential(first, *(BasicBlock(width, width) for _ in range(blocks - 1)))


def _bottlenecks(before: int, width: int, *, blocks: int, stride: int) -> nn.Sequential:
    """Pre-activated bottlenecks; the first changes the map, and its shortcut is a 1x1 convolution."""
    layers = {"conv_layer": create_conv2d, "norm_layer": BatchNormAct2d}
    first = PreActBottleneck(before, width, stride=stride, proj_layer=DownsampleConv, **layers)
    return nn.Sequential(first, *(PreActBottleneck(width, width, **layers) for _ in range(blocks - 1)))


def _initialise(module: nn.Module) -> None:
    """He's normal by fan-out, as in the authors' code."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _create(variant: str, **options: Any) -> CifarResNet:
    return CifarResNet(**{**VARIANTS[variant], **options})


register(_create, leaf="cifar_resnet", variants=VARIANTS, fixed_size=False, pixels=PIXELS)
