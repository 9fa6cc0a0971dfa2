"""Accuracy of a linear classifier on embeddings that stay as they are: a linear probe.

It is scikit-learn's `LogisticRegression` behind its `StandardScaler`, but the minimum is looked for by torch's L-BFGS,
which runs where the embeddings are. 50,000 of 768 numbers in 10 classes took it 11 s on one thread of a CPU.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitbench.contracts import Images
from vitbench.errors import UserError
from vitbench.measure.accuracy import accuracy, correct, finite
from vitbench.measure.knn import embed

VERSION = 1

TOLERANCE = 1e-4  # of the gradient's largest entry, scikit-learn's default for the same loss
STEPS = 1000  # of L-BFGS


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A linear classifier with D inputs, which it standardises, and K classes; float64.

    Attributes:
        mean, scale: (D,) of the training embeddings; a number that is the same in all of them has the scale 1.
        weight: (K, D).
        bias: (K,).
        gradient: the largest entry of the loss' gradient where it was left.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    gradient: float

    @property
    def converged(self) -> bool:
        """Whether it is where scikit-learn would have stopped."""
        return self.gradient <= TOLERANCE

    def logits(self, embeddings: Tensor) -> Tensor:
        """Embeddings (N, D) to (N, K), float64.

        Raises:
            NonFinite: if one is NaN or infinite.
        """
        return finite(F.linear((embeddings.double() - self.mean) / self.scale, self.weight, self.bias))


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a linear classifier made of M test images.

    Attributes:
        correct: bool (M,) on the CPU, whether each got its class.
        gradient: as of `Classifier`.
        reason: why it does not count, empty when it does.
    """

    correct: Tensor
    gradient: float
    reason: str = ""

    @property
    def valid(self) -> bool:
        """Whether the classifier is the one that was looked for."""
        return not self.reason

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy in percent."""
        return accuracy(self.correct)


def linear(
    model: nn.Module, train: Images, test: Images, *, penalty: float = 1.0, batch_size: int | None = None
) -> Probe:
    """Train a linear classifier on the model's embeddings of training images and try it on test images.

    Args:
        model: images (B, 3, H, W) in [0, 1] to `Output`; left as it was.
        train: N images with labels, prepared as those of the test are and not augmented.
        test: M images with labels.
        penalty: as for `fit`.
        batch_size: images per forward pass; None: as `batches` has it.

    Raises:
        NonFinite, OutOfMemory, UserError: as `embed` and `fit`.
    """
    known, asked = (embed(model, half, batch_size=batch_size) for half in (train, test))
    found = fit(known, train.labels, penalty=penalty)
    reason = "" if found.converged else f"the classifier is not at its minimum: the gradient is {found.gradient:.1e}"
    bits = correct(found.logits(asked), test.labels).cpu()
    return Probe(correct=bits, gradient=found.gradient, reason=reason)


def fit(embeddings: Tensor, labels: Tensor, *, penalty: float = 1.0) -> Classifier:
    """The classifier with the least sum of cross-entropies and half the penalty times its squared weights.

    Draws nothing: it starts from zeros, and there is one minimum.

    Args:
        embeddings: (N, D), finite.
        labels: (N,) from 0 up.
        penalty: of the weights, not of the biases; 1 / C of scikit-learn's `LogisticRegression`.

    Returns:
        On the device of the embeddings, in float64.

    Raises:
        UserError: if the penalty is not positive, which would leave separable classes without a minimum, or there are
            no images.
    """
    if not penalty > 0:
        raise UserError(f"the penalty of a linear probe is a positive number, got {penalty!r}")
    if not len(embeddings):
        raise UserError("there are no embeddings to fit a linear probe to; give at least one image")
    from sklearn.preprocessing import StandardScaler  # here: it takes seconds, and most runs probe nothing

    scaler = StandardScaler().fit(embeddings.double().cpu().numpy())
    mean, scale = (torch.from_numpy(one).to(embeddings.device) for one in (scaler.mean_, scaler.scale_))
    inputs, labels = (embeddings.double() - mean) / scale, labels.to(embeddings.device)
    classes = int(labels.max()) + 1
    weight = inputs.new_zeros(classes, inputs.shape[1], requires_grad=True)
    bias = inputs.new_zeros(classes, requires_grad=True)
    search = torch.optim.LBFGS(
        [weight, bias],
        max_iter=STEPS,
        max_eval=2 * STEPS,
        tolerance_grad=TOLERANCE / 100,
        tolerance_change=0,  # the gradient alone says when it is over
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(F.linear(inputs, weight, bias), labels)
        value = value + penalty / (2 * len(inputs)) * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        search.step(loss)
        loss()
    gradient = max(float(one.grad.abs().max()) for one in (weight, bias) if one.grad is not None)
    return Classifier(mean=mean, scale=scale, weight=weight.detach(), bias=bias.detach(), gradient=gradient)
