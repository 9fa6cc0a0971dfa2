"""The linear probe against scikit-learn's, and against the condition that a minimum fulfils."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from vitbench.contracts import Images, Output
from vitbench.errors import NonFinite, UserError
from vitbench.measure import linear as measure
from vitbench.measure.knn import embed
from vitbench.measure.linear import fit, linear


@pytest.fixture(scope="module")
def embedded(model, split):
    """Embeddings of the training and of the test images."""
    return tuple(embed(model, half) for half in (split.train, split.test))


def theirs(embeddings, labels, *, penalty=1.0):
    """scikit-learn's scaler and classifier, far closer to the minimum than by default."""
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=20_000))
    return fitted.fit(embeddings.double().numpy(), labels.numpy())


@pytest.mark.parametrize("penalty", [1.0, 30.0])
def test_weights_biases_and_classes_are_scikit_learns(split, embedded, penalty):
    train, test = embedded
    found, expected = (
        fit(train, split.train.labels, penalty=penalty),
        theirs(train, split.train.labels, penalty=penalty),
    )
    scaler, classifier = expected[0], expected[1]
    assert found.converged
    np.testing.assert_allclose(found.mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(found.scale, scaler.scale_, rtol=1e-12)
    np.testing.assert_allclose(found.weight, classifier.coef_, atol=2e-3)
    np.testing.assert_allclose(found.bias - found.bias.mean(), classifier.intercept_, atol=2e-3)
    assert found.logits(test).argmax(dim=1).tolist() == expected.predict(test.double().numpy()).tolist()


def test_its_accuracy_is_scikit_learns(split, model, embedded):
    expected = theirs(embedded[0], split.train.labels).score(embedded[1].double().numpy(), split.test.labels.numpy())
    found = linear(model, split.train, split.test)
    assert found.accuracy == pytest.approx(100 * expected, abs=1e-12)
    assert found.valid
    assert found.accuracy > 60


def test_it_is_where_the_gradient_vanishes():
    """Sums over images of (probability - truth) times input, plus penalty times weight, in numpy."""
    draw = np.random.default_rng(0)
    inputs, labels = draw.normal(size=(200, 5)) * [1, 10, 100, 1, 1] + 3, draw.integers(0, 3, 200)
    found = fit(torch.from_numpy(inputs), torch.from_numpy(labels), penalty=2.0)
    scaled = (inputs - inputs.mean(0)) / inputs.std(0)
    logits = scaled @ found.weight.numpy().T + found.bias.numpy()
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(3)[labels]
    assert abs(shares.T @ scaled + 2.0 * found.weight.numpy()).max() < 200 * 2e-6
    assert abs(shares.sum(0)).max() < 200 * 2e-6


def test_two_classes_of_one_number_are_a_logistic_curve():
    """Inputs -1 and 1, weights -w and w: 2 log(1 + e^-2w) + penalty w^2 is least where penalty w = 2 sigmoid(-2w)."""
    embeddings, labels = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    found = fit(embeddings, labels, penalty=4 / (1 + np.e))
    assert found.weight.flatten().tolist() == pytest.approx([-0.5, 0.5], abs=1e-5)
    assert found.bias.tolist() == pytest.approx([0, 0], abs=1e-5)


def test_a_number_that_never_changes_does_no_harm(embedded, split):
    train, test = embedded
    plain = fit(train, split.train.labels)
    more = fit(torch.cat([train, torch.full((len(train), 1), 0.1)], dim=1), split.train.labels)
    assert more.scale[-1] == 1
    asked = torch.cat([test, torch.full((len(test), 1), 0.1)], dim=1)
    torch.testing.assert_close(more.logits(asked), plain.logits(test), atol=1e-2, rtol=0)


def test_a_second_time_gives_the_same_and_draws_nothing(embedded, split):
    before = torch.get_rng_state()
    one, two = (fit(embedded[0], split.train.labels) for _ in range(2))
    assert torch.equal(one.weight, two.weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_network_stays_as_it_was(model, split):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():  # as a caller may be
        linear(model, split.train, split.test)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert all(one.grad is None for one in model.parameters())


def test_a_search_that_was_cut_off_says_so(model, split, monkeypatch):
    monkeypatch.setattr(measure, "STEPS", 2)
    found = linear(model, split.train, split.test)
    assert not found.valid
    assert "not at its minimum: the gradient is" in found.reason
    assert found.gradient > measure.TOLERANCE


def test_a_class_of_the_test_alone_is_never_right():
    class Pixel(nn.Module):
        def forward(self, images):
            return Output(logits=images[:, 0, 0], embedding=images[:, 0, 0], grids=())

    pixels = torch.tensor([0, 255]).repeat(4).to(torch.uint8)[:, None, None, None].expand(8, 3, 2, 2)
    train = Images(images=pixels, labels=torch.arange(8) % 2)
    test = Images(images=pixels, labels=torch.tensor([0, 1, 0, 2, 0, 1, 2, 1]))
    found = linear(Pixel(), train, test)
    assert found.correct.tolist() == [True, True, True, False, True, True, False, True]
    assert found.accuracy == 75


def test_what_has_no_minimum_or_no_numbers_is_refused():
    embeddings, labels = torch.eye(2), torch.arange(2)
    with pytest.raises(UserError, match="positive number, got 0"):
        fit(embeddings, labels, penalty=0)
    with pytest.raises(UserError, match="at least one image"):
        fit(embeddings[:0], labels[:0])
    with pytest.raises(NonFinite, match="image 1"):
        fit(embeddings, labels).logits(torch.tensor([[0.0, 1.0], [float("inf"), 0.0]]))
