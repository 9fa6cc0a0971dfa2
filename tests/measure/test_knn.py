"""Votes of neighbours against scikit-learn's, ties against answers by hand."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from vitbench.contracts import Images, Output
from vitbench.errors import NonFinite, UserError
from vitbench.measure import knn as measure
from vitbench.measure.accuracy import accuracy
from vitbench.measure.knn import classify, embed, knn


@pytest.fixture(scope="module")
def embedded(model, split):
    """Embeddings of the training and of the test images, in float64."""
    return tuple(embed(model, half).double() for half in (split.train, split.test))


class Row(nn.Module):
    """Its embedding is the first row of the first channel, its mode and images are kept."""

    def __init__(self, *, bad=None):
        super().__init__()
        self.norm, self.bad, self.seen = nn.BatchNorm2d(3), bad, []

    def forward(self, images):
        self.seen.append((len(images), self.training, torch.is_grad_enabled()))
        rows = images[:, 0, 0].clone()
        if self.bad is not None:
            rows[-1, 1] = self.bad
        return Output(logits=rows[:, :2], embedding=rows, grids=())


def images_of(n, *, seed=0):
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (n, 3, 8, 8), dtype=torch.uint8, generator=draw)
    return Images(images=pixels, labels=torch.arange(n) % 3)


def theirs(train, labels, test, **options):
    fitted = KNeighborsClassifier(metric="cosine", algorithm="brute", **options).fit(train.numpy(), labels.numpy())
    return fitted.predict(test.numpy()).tolist()


@pytest.mark.parametrize("k", [1, 4, 20, 1437])
def test_classes_of_a_networks_embeddings_are_scikit_learns(split, embedded, k):
    train, test = embedded
    found = classify(train, split.train.labels, test, k=k).tolist()
    assert found == theirs(train, split.train.labels, test, n_neighbors=k)
    assert k == 1437 or len(set(found)) == 10


@pytest.mark.parametrize("temperature", [0.07, 0.001])
def test_votes_by_similarity_are_scikit_learns_with_that_weight(split, embedded, temperature):
    train, test = embedded
    found = classify(train, split.train.labels, test, temperature=temperature).tolist()
    expected = theirs(
        *(train, split.train.labels, test), n_neighbors=20, weights=lambda far: np.exp(-far / temperature)
    )
    assert found == expected
    assert found != classify(train, split.train.labels, test).tolist()


def test_the_accuracy_is_scikit_learns_and_far_from_chance(split, model, embedded):
    train, test = embedded
    fitted = KNeighborsClassifier(20, metric="cosine", algorithm="brute").fit(train.numpy(), split.train.labels)
    expected = 100 * fitted.score(test.numpy(), split.test.labels.numpy())
    found = accuracy(knn(model, split.train, split.test))
    assert found == pytest.approx(expected, abs=1e-12)
    assert found > 50


@pytest.mark.parametrize("at_once", [1, 10_000, 2**24])
def test_chunks_change_nothing(split, embedded, monkeypatch, at_once):
    train, test = embedded
    together = classify(train, split.train.labels, test)
    monkeypatch.setattr(measure, "AT_ONCE", at_once)
    assert torch.equal(classify(train, split.train.labels, test[:50]), together[:50])


def test_no_more_similarities_are_held_than_agreed(embedded, monkeypatch, split):
    shapes = []
    nearest = measure._nearest
    monkeypatch.setattr(measure, "_nearest", lambda rows, k: shapes.append(rows.shape) or nearest(rows, k))
    monkeypatch.setattr(measure, "AT_ONCE", 100_000)
    classify(embedded[0], split.train.labels, embedded[1])
    assert {shape.numel() <= 100_000 for shape in shapes} == {True}
    assert sum(rows for rows, _ in shapes) == 360


def test_of_classes_with_equally_many_votes_the_first_wins_as_in_scikit_learn():
    angles = torch.tensor([0.1, 0.2, 0.3, 0.4, 3.0]).double()
    train, test = torch.stack([angles.cos(), angles.sin()], dim=1), torch.tensor([[1.0, 0.0]]).double()
    for labels, expected in (([2, 1, 1, 2, 0], 1), ([3, 2, 1, 0, 0], 0), ([2, 2, 1, 0, 0], 2)):
        assert classify(train, torch.tensor(labels), test, k=4).tolist() == [expected]
        assert theirs(train, torch.tensor(labels), test, n_neighbors=4) == [expected]


def test_of_equally_near_ones_the_first_of_the_training_set_count():
    near, far = [1.0, 0.0], [0.0, 1.0]
    train = torch.tensor([far, near, near, near, near, far])
    for labels, k, expected in (
        ([0, 2, 1, 1, 1, 0], 1, 2),
        ([0, 2, 2, 1, 1, 0], 3, 2),
        ([0, 2, 2, 1, 1, 0], 4, 1),  # all of them now, and the first class of two
        ([2, 1, 1, 2, 2, 0], 5, 2),  # the first of the two far ones decides
        ([0, 1, 1, 2, 2, 2], 6, 2),
    ):
        assert classify(train, torch.tensor(labels), torch.tensor([near]), k=k).tolist() == [expected]


def test_lengths_do_not_matter_and_zeros_are_at_right_angles_to_all():
    train = torch.tensor([[1e-3, 0.0], [0.0, 0.0], [-50.0, 1.0]]).double()
    labels, test = torch.tensor([0, 1, 2]), torch.tensor([[7.0, 1.0], [-1e-5, 0.0], [0.0, 0.0]]).double()
    assert classify(train, labels, test, k=1).tolist() == [0, 2, 0]  # of three right angles the first
    assert classify(train, labels, test[:2] * 1e4, k=1).tolist() == theirs(train, labels, test[:2], n_neighbors=1)


def test_votes_of_the_temperature_by_hand():
    """Similarities 1, .6 and .6: at 1 the two far ones weigh 2 e^-.4 = 1.34, at .5 they weigh 2 e^-.8 = .90."""
    train, labels = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, -0.8]]), torch.tensor([1, 0, 0])
    test = torch.tensor([[1.0, 0.0]])
    assert [int(classify(train, labels, test, k=3, temperature=one)) for one in (1, 0.5)] == [0, 1]


def test_an_embedding_is_what_the_classifier_reads_in_evaluation_mode(model, split, embedded):
    assert model.training
    model.eval()
    with torch.no_grad():
        expected = model(split.test.images[:100].float() / 255).embedding
    model.train()
    torch.testing.assert_close(embedded[1][:100].float(), expected)


def test_embedding_restores_the_mode_and_goes_batch_by_batch():
    model = Row()
    found = embed(model, images_of(7), batch_size=3)
    assert model.seen == [(3, False, False), (3, False, False), (1, False, False)]
    assert model.training
    assert model.norm.training
    assert torch.equal(found, images_of(7).images[:, 0, 0] / 255)


def test_half_precision_embeddings_come_back_as_float32():
    class Half(Row):
        def forward(self, images):
            out = super().forward(images)
            return Output(logits=out.logits, embedding=out.embedding.bfloat16(), grids=())

    assert embed(Half(), images_of(3)).dtype == torch.float32


def test_an_embedding_that_is_not_finite_is_refused_with_its_image():
    with pytest.raises(NonFinite, match=r"embeddings of 2 of 7 images .* image 3"):
        embed(Row(bad=float("nan")), images_of(7), batch_size=4)


def test_more_neighbours_than_images_and_the_like_are_refused():
    train, labels = torch.eye(3), torch.arange(3)
    for k in (0, 4):
        with pytest.raises(UserError, match=f"from 1 to the 3 training images, got {k}"):
            classify(train, labels, train, k=k)
    with pytest.raises(UserError, match="a positive number or None, got 0"):
        classify(train, labels, train, k=1, temperature=0)
    with pytest.raises(UserError, match="no images"):
        knn(Row(), images_of(3), images_of(0))
