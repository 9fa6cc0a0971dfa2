"""A linear probe puts scikit-learn's classifier into a network, and changes nothing else of it."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from vitbench import build, probe
from vitbench.contracts import Images
from vitbench.errors import UserError
from vitbench.measure.knn import embed


@pytest.fixture
def train():
    drawn = torch.Generator().manual_seed(0)
    images = torch.randint(256, (60, 3, 32, 32), dtype=torch.uint8, generator=drawn)
    labels = torch.arange(60) % 3
    return Images(images=images // (1 + labels.view(-1, 1, 1, 1)).to(torch.uint8), labels=labels)


def made(classes=3):
    torch.manual_seed(0)
    return build.untrained("vit/tiny", classes, 32)


def test_the_networks_logits_are_those_of_scikit_learns_classifier(train):
    model = made()
    probe.install(model, train)
    embeddings = embed(model, train)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, tol=1e-6, max_iter=5000))
    theirs.fit(embeddings.double().numpy(), train.labels.numpy())
    with torch.no_grad():
        ours = model(train.images.float() / 255).logits.softmax(1)
    expected = theirs.predict_proba(embeddings.double().numpy())
    # The weights are float32 in the network, on embeddings of unit size in 48 dimensions.
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-3)


def test_nothing_else_of_the_network_changes(train):
    model = made()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    probe.install(model, train)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"network.head.weight", "network.head.bias"}


def test_a_class_that_no_training_image_is_of_is_never_the_answer(train):
    model = made(classes=5)
    probe.install(model, train)
    with torch.no_grad():
        assert model(train.images.float() / 255).logits.argmax(1).max() < 3


def test_a_network_whose_logits_are_no_linear_layer_is_refused_in_one_line(train):
    model = made()
    model.network.head = nn.Sequential(nn.Linear(48, 3))
    with pytest.raises(UserError, match="cannot be probed: expected logits that are one linear layer") as refused:
        probe.install(model, train)
    assert "\n" not in str(refused.value)
