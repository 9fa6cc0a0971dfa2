"""Collapsed and healthy embeddings, entropies against scipy's."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import nn

from vitbench.contracts import Images, Output
from vitbench.errors import NonFinite, UserError
from vitbench.measure.collapse import Collapse, collapse, informed, spread
from vitbench.metrics import METRICS

N, D, K = 64, 16, 32


class Rows(nn.Module):
    """Gives the rows of a table by the number in an image's first pixel."""

    def __init__(self, rows):
        super().__init__()
        self.register_buffer("rows", torch.as_tensor(rows))
        self.seen = []

    def forward(self, images):
        self.seen.append((len(images), self.training, torch.is_grad_enabled()))
        found = self.rows[(images[:, 0, 0, 0] * 255).round().long()]
        return Output(logits=found[:, :2], embedding=found, grids=())


class Term(nn.Module):
    """A teacher that gives the rows of a table."""

    def __init__(self, rows):
        super().__init__()
        self.teacher = Rows(rows)

    def distribution(self, images):
        return self.teacher(images).embedding


def numbered(count=N):
    pixels = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
    return Images(images=pixels, labels=torch.zeros(count, dtype=torch.int64))


def normal(*size, seed=0):
    return np.random.default_rng(seed).normal(size=size)


def shares(*size, sharpness=1.0, seed=0):
    raw = np.exp(sharpness * normal(*size, seed=seed))
    return raw / raw.sum(axis=1, keepdims=True)


def test_the_spread_is_numpys_and_its_length_does_not_matter():
    rows = normal(N, D) + 0.5
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = np.sqrt(D) * unit.std(axis=0).mean()
    assert spread(torch.from_numpy(rows)) == pytest.approx(expected, rel=1e-12)
    assert spread(torch.from_numpy(rows * np.arange(1, N + 1)[:, None])) == pytest.approx(expected, rel=1e-12)


def test_evenly_on_the_sphere_the_spread_is_1():
    """The corners of a cross lie as evenly as can be: in each dimension 2 of 2 D are at 1 and -1."""
    assert spread(torch.cat([torch.eye(D), -torch.eye(D)])) == pytest.approx(1)
    assert spread(torch.from_numpy(normal(20_000, D))) == pytest.approx(1, abs=0.01)


def test_entropies_are_scipys_over_any_batches():
    rows = shares(N, K, sharpness=3)
    mean = entropy(rows, axis=1).mean()
    for size in (1, 7, N):
        found = informed(torch.from_numpy(rows).split(size))
        assert found == pytest.approx((mean, entropy(rows.mean(axis=0)) - mean, K), rel=1e-9)


def test_a_healthy_network_has_no_reason_and_all_three_measurements():
    model, term = Rows(normal(N, D)), Term(shares(N, K, sharpness=5))
    found = collapse(model, numbered(), term=term, batch_size=10)
    assert found.reason == ""
    assert found.embedding_spread == pytest.approx(spread(model.rows))
    assert (found.teacher_entropy, found.teacher_information) == pytest.approx(informed([term.teacher.rows])[:2])
    assert found.measurements().keys() == {"embedding_spread", "teacher_entropy", "teacher_information"}
    for name, value in found.measurements().items():
        assert METRICS[name].holds(value)


def test_everything_is_looked_at_in_evaluation_and_left_as_it_was():
    model, term = Rows(normal(N, D)).train(), Term(shares(N, K)).train()
    collapse(model, numbered(), term=term, batch_size=60)
    assert model.seen == term.teacher.seen == [(60, False, False), (4, False, False)]
    assert model.training
    assert term.teacher.training


def test_without_a_teacher_the_spread_is_all_there_is():
    found = collapse(Rows(normal(N, D)), numbered())
    assert found == Collapse(embedding_spread=found.embedding_spread)
    assert found.measurements().keys() == {"embedding_spread"}


def test_embeddings_that_are_nearly_the_same_are_a_collapse():
    rows = np.ones((N, D)) + 0.0005 * normal(N, D)
    found = collapse(Rows(rows), numbered(), term=Term(shares(N, K, sharpness=5)))
    assert found.embedding_spread == pytest.approx(0.0005, rel=0.1)
    assert found.reason == (
        f"collapsed: embeddings of all test images are nearly the same, their spread {found.embedding_spread:.2g} of 1"
    )
    assert collapse(Rows(np.ones((N, D)) + 0.002 * normal(N, D)), numbered()).reason == ""


@pytest.mark.parametrize(
    ("rows", "least", "most", "how"),
    [
        (np.full((N, K), 1 / K), math.log(K) - 1e-9, math.log(K) + 1e-9, "all dimensions are alike"),
        (np.eye(K)[np.zeros(N, dtype=int)], 0, 1e-9, "one dimension dominates"),
        (shares(N, K, sharpness=0.1), math.log(K) - 0.05, math.log(K), "all dimensions are alike"),
    ],
)
def test_a_teacher_that_says_the_same_of_all_is_a_collapse(rows, least, most, how):
    found = collapse(Rows(normal(N, D)), numbered(), term=Term(rows))
    assert least <= found.teacher_entropy <= most
    assert 0 <= found.teacher_information < 0.01 * math.log(K)
    assert how in found.reason
    assert found.reason.isprintable()


def test_a_teacher_that_is_sure_of_each_image_says_as_much_as_there_are_answers():
    found = collapse(Rows(normal(N, D)), numbered(), term=Term(np.eye(K)[np.arange(N) % K]))
    assert (found.teacher_entropy, found.teacher_information) == pytest.approx((0, math.log(K)))
    assert found.reason == ""


def test_an_untrained_network_of_ours_has_not_collapsed(model, split):
    assert collapse(model, split.test).reason == ""


def test_what_is_not_finite_and_too_few_images_are_refused():
    rows = shares(N, K)
    rows[3, 4] = math.nan
    with pytest.raises(NonFinite, match="what the teacher says"):
        collapse(Rows(normal(N, D)), numbered(), term=Term(rows))
    with pytest.raises(UserError, match="from two images on, got 1"):
        collapse(Rows(normal(N, D)), numbered(1))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (3, "got int"),
        (torch.ones(4), r"got \(4,\)"),
        (torch.ones(4, 1), r"got \(4, 1\)"),
        (torch.tensor([[2.0, -1.0]]), "got numbers from -1 up"),
        (torch.tensor([[2.0, 1.0]]), "got numbers from 1 up and rows that miss 1 by 2"),
    ],
)
def test_answers_that_are_no_probabilities_are_refused_in_one_line(answer, message):
    with pytest.raises(UserError, match=message):
        informed([answer])


def test_probabilities_in_bfloat16_are_some():
    answers = torch.from_numpy(normal(64, 1000)).softmax(dim=1).bfloat16()
    assert informed([answers])[2] == 1000
