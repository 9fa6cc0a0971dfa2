"""The sum of weighted terms that is minimised."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vitbench.contracts import Step
from vitbench.errors import UserError


class Total(nn.Module):
    """The sum of weighted terms.

    Args:
        terms: modules by name, each with `forward(step) -> scalar`; one that owns a state (a teacher, a
            centre) has a method `after_step()` too, which changes tensors in place.
        weights: per name, its weight; a buffer, so that what was captured or compiled serves other weights too.
    """

    weights: Tensor

    def __init__(self, terms: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        self.names = tuple(terms)
        self.terms = nn.ModuleList(terms.values())
        self.register_buffer("weights", torch.tensor([weights[name] for name in terms]), persistent=False)

    def forward(self, step: Step, factors: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Total loss, and the raw value of each term (T,), detached, in the order of `names`.

        Args:
            step: what the terms see.
            factors: (T,), what each weight is multiplied by at this step; None: nothing.

        Raises:
            UserError: if a term does not return one number that the network's weights can lower.
        """
        values = [_number(name, term(step)) for name, term in zip(self.names, self.terms, strict=True)]
        raw = torch.stack(values)  # (T,)
        weights = self.weights if factors is None else self.weights * factors
        return torch.dot(weights, raw), raw.detach()

    def after_step(self) -> None:
        """Tell every term that owns a state that a step was taken."""
        for term in self.terms:
            after: Callable[[], None] | None = getattr(term, "after_step", None)
            if after is not None:
                after()


def _number(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise UserError(f"the term {name} returned {type(value).__name__}; return a tensor with one number")
    if value.is_complex():
        raise UserError(f"the term {name} returned a complex number; return a real one")
    if value.ndim:
        raise UserError(f"the term {name} returned {tuple(value.shape)} numbers; return one, such as their mean")
    if torch.is_grad_enabled() and not value.requires_grad:
        raise UserError(
            f"the term {name} has no gradient, so training cannot lower it; compute it from step.out without detach()"
        )
    return value.float()
