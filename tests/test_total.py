"""The sum of the terms: weighted, raw values beside it, and a term that breaks its contract is named."""

import pytest
import torch
from torch import nn

from vitbench.contracts import Output, Step
from vitbench.errors import UserError
from vitbench.total import Total


class Returning(nn.Module):
    """A term that returns what it is told to."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, step):
        return self.make(step.out.logits)


def constant(value):
    return Returning(lambda logits: value + 0 * logits.sum())


def step():
    logits = torch.ones(2, 3, requires_grad=True)
    out = Output(logits=logits, embedding=logits, grids=())
    return Step(
        images=torch.zeros(2, 3, 8, 8),
        labels=torch.zeros(2, dtype=torch.int64),
        model=nn.Identity(),
        forward=lambda images: out,
    )


def test_the_total_is_the_weighted_sum_and_the_raw_values_stay_unweighted():
    total = Total({"a": constant(2.0), "b": constant(-3.0), "c": constant(0.5)}, {"c": 4.0, "a": 1.0, "b": 0.1})
    loss, raw = total(step())
    assert total.names == ("a", "b", "c")
    assert raw.tolist() == [2.0, -3.0, 0.5]
    assert loss.item() == pytest.approx(2.0 - 0.3 + 2.0)
    assert loss.requires_grad
    assert not raw.requires_grad


def test_the_weights_are_a_tensor_that_moves_with_the_module_and_is_not_saved():
    total = Total({"a": constant(2.0)}, {"a": 0.5})
    assert dict(total.named_buffers())["weights"].tolist() == [0.5]
    assert not total.state_dict()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda logits: logits.sum(dim=1), r"the term mine returned \(2,\) numbers; return one"),
        (lambda logits: None, "the term mine returned NoneType; return a tensor"),
        (lambda logits: 0.5, "the term mine returned float; return a tensor"),
        (lambda logits: logits.sum() * 1j, "the term mine returned a complex number"),
        (lambda logits: logits.detach().sum(), "the term mine has no gradient"),
    ],
    ids=["vector", "none", "float", "complex", "no gradient"],
)
def test_a_term_that_breaks_its_contract_is_named(make, message):
    with pytest.raises(UserError, match=message) as caught:
        Total({"mine": Returning(make)}, {"mine": 1.0})(step())
    assert "\n" not in str(caught.value)


def test_without_gradients_asked_for_a_term_needs_none():
    with torch.no_grad():
        loss, _ = Total({"mine": Returning(lambda logits: logits.detach().sum())}, {"mine": 1.0})(step())
    assert loss.item() == 6


def test_only_terms_with_a_state_are_told_of_a_step():
    told = []
    stateful = constant(1.0)
    stateful.after_step = lambda: told.append(1)
    Total({"plain": constant(1.0), "stateful": stateful}, {"plain": 1.0, "stateful": 1.0}).after_step()
    assert told == [1]


def test_a_factor_multiplies_the_weight_and_leaves_the_raw_value():
    total = Total({"a": constant(2.0), "b": constant(3.0)}, {"a": 1.0, "b": 0.5})
    loss, raw = total(step(), torch.tensor([1.0, 0.25]))
    assert loss.item() == pytest.approx(2.0 + 0.5 * 0.25 * 3.0)
    assert raw.tolist() == [2.0, 3.0]
