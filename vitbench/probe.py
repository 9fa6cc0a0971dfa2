"""A linear probe: a finished network whose classifier is fitted to its embeddings, and nothing else of it changed.

The judgement of what was learnt without labels, as in Chen et al. 2020, arXiv:2002.05709, section 2.2.
"""

import torch
from torch import nn

from vitbench.contracts import Images
from vitbench.errors import UserError
from vitbench.measure.knn import embed
from vitbench.measure.linear import Classifier, fit
from vitbench.pretrained import layer_of

VERSION = 1


def install(model: nn.Module, train: Images) -> Classifier:
    """Give a model the linear classifier that fits its embeddings of training images best, in place.

    Args:
        model: images (B, 3, H, W) in [0, 1] to `Output`, whose logits are one linear layer of the embedding.
        train: N images with labels, prepared as test images are.

    Returns:
        What was fitted; its logits and the model's are the same but for rounding.

    Raises:
        NonFinite, OutOfMemory: as `embed`.
        UserError: if the logits are no linear layer of the embedding.
    """
    layer, embeddings = layer_of(model), embed(model, train)
    if not isinstance(layer, nn.Linear) or layer.in_features != embeddings.shape[1] or layer.bias is None:
        raise UserError(
            f"{type(getattr(model, 'network', model)).__name__} cannot be probed: expected logits that are one linear "
            f"layer, with a bias, of the embedding of {embeddings.shape[1]}, got {type(layer).__name__}; "
            "judge it by knn alone"
        )
    found = fit(embeddings, train.labels)
    weight = found.weight / found.scale
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.fill_(found.bias.min())  # classes that no training image is of
        layer.weight[: len(weight)] = weight
        layer.bias[: len(weight)] = found.bias - weight @ found.mean
    return found
