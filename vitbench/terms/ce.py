"""Cross-entropy of the logits against the labels: the supervised term that every other one is added to.

Source: Floros 2024, thesis, L_ce of Equations 3.5 and 3.9; Liu et al. 2021, arXiv:2106.03746, section 3, where
mixed images and smoothed labels make shares of classes of the labels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitbench.contracts import Shape, Step

VERSION = 1
TINY: dict[str, object] = {}


def build(shape: Shape) -> nn.Module:
    """The term `ce`, which has no options and no parameters.

    Args:
        shape: of the model; not needed, since the logits say all.
    """
    return CrossEntropy()


class CrossEntropy(nn.Module):
    """Mean over the batch of -log softmax(logits)[label], in nats; of a soft label, the mean over its shares."""

    def forward(self, step: Step) -> Tensor:
        """Scalar loss of one batch; reads `step.out.logits` (B, K), and `step.targets` (B, K) or else `step.labels`."""
        logits = step.out.logits
        # The model may compute in bfloat16, in which a loss has two or three digits.
        wide = torch.promote_types(logits.dtype, torch.float32)
        return F.cross_entropy(logits.to(wide), step.labels if step.targets is None else step.targets.to(wide))
