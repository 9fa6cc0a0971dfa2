"""DeCov: features that do not vary together, by a penalty on the covariances of the embedding.

Source: Cogswell et al. 2016, Reducing Overfitting in Deep Networks by Decorrelating Representations,
arXiv:1511.06068, Equations 1 and 2.
"""

import torch
from torch import Tensor, nn

from vitbench.contracts import Shape, Step

VERSION = 1
TINY: dict[str, object] = {}


def build(shape: Shape) -> nn.Module:
    """The term `decov`, which has no options and no parameters.

    Args:
        shape: of the model; not needed, since any embedding will do.
    """
    return DeCov()


class DeCov(nn.Module):
    """Half the sum of the squared covariances of two different features, over the images of a batch."""

    def forward(self, step: Step) -> Tensor:
        """Scalar loss of one batch; reads `step.out.embedding` (B, D)."""
        embedding = step.out.embedding
        # The model may compute in bfloat16, in which a sum of squares has two or three digits.
        embedding = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
        centred = embedding - embedding.mean(dim=0)
        covariance = centred.T @ centred / len(centred)  # (D, D)
        return (covariance.square().sum() - covariance.diagonal().square().sum()) / 2
