"""The cross-entropy term against values by hand and against scikit-learn."""

import math

import pytest
import torch
from sklearn.metrics import log_loss

from vitbench.contracts import Output, Shape, Step
from vitbench.terms import ce

SHAPE = Shape(channels=4, height=2, width=2, embedding=4, classes=3)


def step_of(logits, labels):
    out = Output(logits=logits, embedding=torch.zeros(len(logits), 4), grids=())
    images = torch.zeros(len(logits), 3, 8, 8)
    return Step(images=images, labels=labels, out=out, model=torch.nn.Identity())


def test_three_to_one_odds_cost_log_four_or_log_four_thirds():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]], dtype=torch.float64)
    loss = ce.build(SHAPE)(step_of(logits, torch.tensor([0, 1])))
    assert loss.item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, rel=1e-12)


def test_it_is_the_log_loss_of_scikit_learn():
    logits = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 7
    loss = ce.build(SHAPE)(step_of(logits, labels))
    assert loss.item() == pytest.approx(log_loss(labels.numpy(), logits.softmax(1).numpy()), rel=1e-12)


def test_the_gradient_is_the_probability_less_the_label_over_the_batch():
    logits = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.tensor([0, 1, 2, 1, 0])
    ce.build(SHAPE)(step_of(logits, labels)).backward()
    expected = (logits.detach().softmax(1) - torch.eye(3, dtype=torch.float64)[labels]) / 5
    torch.testing.assert_close(logits.grad, expected, rtol=1e-12, atol=1e-14)


def test_logits_beyond_the_range_of_exp_give_a_finite_loss():
    loss = ce.build(SHAPE)(step_of(torch.tensor([[1e4, 0.0]]), torch.tensor([1])))
    assert loss.item() == 1e4


def test_bfloat16_logits_are_summed_in_float32():
    logits = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.arange(64) % 3
    loss = ce.build(SHAPE)(step_of(logits, labels))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(log_loss(labels.numpy(), logits.double().softmax(1).numpy()), rel=1e-6)
