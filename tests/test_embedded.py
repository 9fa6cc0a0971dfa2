"""What embeddings keep apart, against a network that keeps nothing apart and one that keeps everything apart."""

import pytest
import torch
from torch import nn

from vitbench.contracts import Images, Output, Split
from vitbench.embedded import Embedded


class Flat(nn.Module):
    """Its embedding is each image's mean colours, and by as much as `scale` its first pixels."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, images):
        embedding = torch.cat([1 + 0 * images.mean((2, 3)), self.scale * images[:, :, 0, 0]], dim=1)
        return Output(logits=embedding, embedding=embedding, grids=(images,))


@pytest.fixture
def split():
    """Three classes, told apart by the colour of the first pixel."""
    labels = torch.arange(30) % 3
    images = torch.zeros(30, 3, 4, 4, dtype=torch.uint8)
    images[torch.arange(30), labels, 0, 0] = 255
    half = Images(images=images, labels=labels)
    return Split(train=half, test=half, classes=("red", "green", "blue"))


def test_neighbours_after_training_and_before_it(split):
    found = Embedded(Flat(1.0), None, split, lambda: Flat(0.0)).judged()
    measured = found["measurements"]
    assert found["invalid"] == {}
    assert measured["knn"] == 100
    assert measured["knn_untrained"] == pytest.approx(100 / 3)  # all alike: the first class of the training set wins
    assert 0 < measured["embedding_spread"] < 1


def test_a_collapsed_network_has_no_accuracy_and_a_reason(split):
    found = Embedded(Flat(0.0), None, split, lambda: Flat(1.0)).judged()
    assert "knn" not in found["measurements"]
    assert "collapsed" in found["invalid"]["knn"]
    assert found["measurements"]["embedding_spread"] == 0
    assert found["measurements"]["knn_untrained"] == 100


def test_training_images_are_prepared_as_test_images_are(split):
    def hidden(images):
        return torch.zeros_like(images)

    test = Images(images=split.test.images, labels=split.test.labels, prepare=hidden)
    judged = Embedded(Flat(1.0), None, Split(train=split.train, test=test, classes=split.classes), lambda: Flat(1.0))
    assert judged.knn() == pytest.approx(100 / 3)
