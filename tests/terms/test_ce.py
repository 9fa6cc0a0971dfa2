"""The cross-entropy term against values by hand and against scikit-learn."""

import math

import pytest
import torch
from sklearn.metrics import log_loss

from vitbench.contracts import Output, Shape, Step
from vitbench.terms import ce

SHAPE = Shape(channels=4, height=2, width=2, embedding=4, classes=3)


def step_of(logits, labels, targets=None):
    out = Output(logits=logits, embedding=torch.zeros(len(logits), 4), grids=())
    images = torch.zeros(len(logits), 3, 8, 8)
    return Step(images=images, labels=labels, targets=targets, model=torch.nn.Identity(), forward=lambda _: out)


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


def random_logits(*size, dtype=torch.float64):
    return torch.randn(*size, dtype=dtype, generator=torch.Generator().manual_seed(0))


def test_shares_of_two_classes_by_hand():
    logits = torch.tensor([[0.0, math.log(3)]], dtype=torch.float64)  # probabilities 1/4 and 3/4
    loss = ce.build(SHAPE)(step_of(logits, torch.tensor([0]), torch.tensor([[0.3, 0.7]], dtype=torch.float64)))
    assert loss.item() == pytest.approx(0.3 * math.log(4) + 0.7 * math.log(4 / 3), rel=1e-12)


def test_soft_labels_are_torch_s_cross_entropy_with_probabilities_and_hide_the_labels():
    logits, targets = random_logits(6, 5), random_logits(6, 10)[:, 5:].softmax(1)
    expected = torch.nn.functional.cross_entropy(logits, targets)
    for labels in (torch.arange(6) % 5, torch.zeros(6, dtype=torch.int64)):
        assert torch.equal(ce.build(SHAPE)(step_of(logits, labels, targets)), expected)
    assert expected.item() == pytest.approx(-(targets * logits.log_softmax(1)).sum(1).mean().item(), rel=1e-12)


def test_one_hot_soft_labels_are_the_labels():
    logits, labels = random_logits(6, 5), torch.tensor([0, 3, 4, 1, 2, 3])
    soft = ce.build(SHAPE)(step_of(logits, labels, torch.eye(5)[labels]))  # float32, as the mixing makes them
    assert soft.item() == pytest.approx(ce.build(SHAPE)(step_of(logits, labels)).item(), rel=1e-12)


def test_smoothed_labels_are_torch_s_label_smoothing():
    logits, labels = random_logits(6, 5), torch.tensor([0, 3, 4, 1, 2, 3])
    smoothed = 0.9 * torch.eye(5, dtype=torch.float64)[labels] + 0.1 / 5
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    assert ce.build(SHAPE)(step_of(logits, labels, smoothed)).item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_gradient_under_soft_labels_is_the_probability_less_the_share_over_the_batch():
    logits, targets = random_logits(5, 3).requires_grad_(), random_logits(5, 6)[:, 3:].softmax(1)
    ce.build(SHAPE)(step_of(logits, torch.zeros(5, dtype=torch.int64), targets)).backward()
    torch.testing.assert_close(logits.grad, (logits.detach().softmax(1) - targets) / 5, rtol=1e-12, atol=1e-14)


def test_bfloat16_logits_under_soft_labels_are_summed_in_float32():
    logits, targets = random_logits(64, 3).bfloat16(), random_logits(64, 6)[:, 3:].softmax(1).float()
    loss = ce.build(SHAPE)(step_of(logits, torch.zeros(64, dtype=torch.int64), targets))
    assert loss.dtype == torch.float32
    expected = -(targets.double() * logits.double().log_softmax(1)).sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
