"""Every network of the timm library as a model: `timm/convnext_nano` is this file with that variant.

Source: Wightman 2019, PyTorch Image Models, doi:10.5281/zenodo.4414861; each network names its own paper.
"""

import difflib

import timm
from timm.data import resolve_model_data_config
from torch import nn

from vitbench.adapter import Adapter
from vitbench.contracts import Normalize
from vitbench.errors import unknown

VERSION = 1
VERSIONED_BY = "timm"  # a release of timm may change a network, and no golden value watches them all


def build(*, classes: int, image_size: int, variant: str = "") -> nn.Module:
    """The model `timm/<variant>`, with random weights and the pixel range that its published weights expect.

    Args:
        classes: K.
        image_size: H and W in pixels; networks that are built for one size are built for this one.
        variant: a name of `timm.list_models()`, with or without the tag of published weights; there is no default.

    Raises:
        UserError: if timm has no such network, or if it has no single map of features to hand on.
    """
    if variant not in timm.list_models() and variant not in timm.list_pretrained():
        near = difflib.get_close_matches(variant, timm.list_models(), n=5, cutoff=0)
        raise unknown("timm model", variant, near)
    fixed = getattr(timm.get_pretrained_cfg(variant), "fixed_input_size", False)
    size = {"img_size": image_size} if fixed else {}
    network = timm.create_model(variant, pretrained=False, num_classes=classes, **size)
    pixels = resolve_model_data_config(network)
    return Adapter(network, normalize=Normalize(mean=pixels["mean"], std=pixels["std"]))
