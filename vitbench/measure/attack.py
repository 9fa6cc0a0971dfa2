"""Accuracy that one signed-gradient step (FGSM) takes away, and whether that number can be trusted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitbench.contracts import Images
from vitbench.errors import UserError
from vitbench.measure.accuracy import accuracy, batches, correct, evaluating, finite

VERSION = 1

NOISY = 1000  # images that random signs are tried on; enough to see an attack that does not work


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What an attack did to a model on N images.

    Attributes:
        eps: step in pixel units of [0, 1].
        clean, attacked: bool (N,) on the CPU, whether the prediction is correct before and after the step.
        reason: why the attack does not count, empty when it does.
    """

    eps: float
    clean: Tensor
    attacked: Tensor
    reason: str = ""

    @property
    def valid(self) -> bool:
        """Whether all self-checks passed."""
        return not self.reason

    @property
    def adversarial_accuracy(self) -> float:
        """Top-1 accuracy on the attacked images, in percent."""
        return accuracy(self.attacked)

    @property
    def drop(self) -> float:
        """Clean minus attacked accuracy, in points; positive where the attack hurts."""
        return 100 * (int(self.clean.sum()) - int(self.attacked.sum())) / len(self.clean)


def fgsm(
    model: nn.Module,
    data: Images,
    *,
    eps: float = 1 / 255,
    batch_size: int | None = None,
    generator: torch.Generator | None = None,
) -> Attack:
    """One step of `eps` on every pixel along the sign of the cross-entropy's gradient, not clamped.

    Self-checks: a step of 0 leaves the predictions of the first batch as they are; the gradient is not zero
    everywhere; random signs hurt no more than the gradient's, on up to `NOISY` images spread over the set. An
    attack that fails one is not `valid`.

    Args:
        model: images (B, 3, H, W) in [0, 1] to `Output`; left as it was, gradients and statistics included.
        data: N images with labels.
        eps: step in pixel units, so 8/255 and not 8.
        batch_size: images per pass; each costs a forward and a backward pass and a second forward pass.
        generator: of the random signs, on any device; None draws from torch's global one.

    Raises:
        UserError: if eps is outside [0, 1] or there are no images.
        NonFinite: if a logit is NaN or infinite.

    Source: Floros 2024, thesis, Equation 4.2, after Goodfellow et al. 2015, arXiv:1412.6572, section 4.
    """
    if not 0 <= eps <= 1:
        raise UserError(f"eps is in pixel units of [0, 1], got {eps!r}; write 8/255, not 8")
    bits: list[Tensor] = []
    steady, gradient = True, False
    with evaluating(model), _no_parameter_gradients(model), torch.enable_grad():
        for images, labels in batches(model, data, batch_size=batch_size):
            clean, signs = _gradient_signs(model, images, labels)
            if not bits:
                steady = torch.equal(_logits(model, images + 0 * signs).argmax(dim=1), clean.argmax(dim=1))
            gradient = gradient or bool(signs.any())
            attacked = _logits(model, images + eps * signs)
            bits.append(torch.stack([correct(clean, labels), correct(attacked, labels)]).cpu())  # (2, B)
        every = -(-len(data) // NOISY)
        part = replace(data, images=data.images[::every], labels=data.labels[::every])
        noisy = _noisy(model, part, eps=eps, batch_size=batch_size, generator=generator)  # (M,)
    before, after = torch.cat(bits, dim=1)  # (N,) each
    reason = _reason(steady=steady, gradient=gradient, attacked=after[::every], noisy=noisy)
    return Attack(eps=eps, clean=before, attacked=after, reason=reason)


def _gradient_signs(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, K) of the images, and the signs (B, 3, H, W) of the gradient with respect to them.

    The loss is the sum over the batch: it has the mean's signs, and nothing underflows for a division by B.
    """
    pixels = images.detach().requires_grad_()
    logits = finite(model(pixels).logits)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    (gradient,) = torch.autograd.grad(F.cross_entropy(wide, labels, reduction="sum"), pixels)
    return logits.detach(), gradient.sign()


def _noisy(
    model: nn.Module, data: Images, *, eps: float, batch_size: int | None, generator: torch.Generator | None
) -> Tensor:
    """Whether predictions are correct after a step of `eps` along random signs: bool (M,) on the CPU."""
    parts = []
    for images, labels in batches(model, data, batch_size=batch_size):
        device = images.device if generator is None else generator.device  # the same draws for every device
        coins = torch.randint(2, images.shape, generator=generator, device=device, dtype=torch.int8)
        signs = (2 * coins - 1).to(images.device, images.dtype)  # (B, 3, H, W) of -1 and 1
        parts.append(correct(_logits(model, images + eps * signs), labels).cpu())
    return torch.cat(parts)


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (B, K), by the kernels of `_gradient_signs`: which ones run may depend on the gradient."""
    return finite(model(images.requires_grad_()).logits.detach())


def _reason(*, steady: bool, gradient: bool, attacked: Tensor, noisy: Tensor) -> str:
    """What is wrong with an attack, empty if nothing is; the bits are of the same M images."""
    if not steady:
        return "predictions change at eps = 0: the model does not give the same answer twice"
    if not gradient:
        return "the gradient is zero for every image: the model hides it"
    if noisy.sum() < attacked.sum():
        both = f"{accuracy(noisy):.2f} and {accuracy(attacked):.2f} %"
        return f"random signs hurt more than the gradient's: they leave {both}"
    return ""


@contextmanager
def _no_parameter_gradients(model: nn.Module) -> Iterator[None]:
    """No parameter asks for a gradient inside, which saves their part of the backward pass."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, wanted in before:
            parameter.requires_grad_(wanted)
