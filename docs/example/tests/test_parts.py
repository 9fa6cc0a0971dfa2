"""The term, the model and the data set keep vitbench's contracts, and are what their sources say."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.models.mlp_mixer import MlpMixer
from torch import nn

from vitbench import leaves
from vitbench.adapter import shape_of
from vitbench.contracts import Output, Shape, Split, Step
from vitbench.errors import UserError

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
SHAPE = Shape(channels=6, height=2, width=2, embedding=6, classes=3)


def built(kind, name, *given, **options):
    return leaves.find(kind, name).load()(*given, **options)


def a_step(embedding):
    out = Output(logits=embedding[:, :3], embedding=embedding, grids=(embedding[:, :, None, None],))
    images, labels = torch.zeros(len(embedding), 3, 8, 8), torch.zeros(len(embedding), dtype=torch.int64)
    return Step(images=images, labels=labels, model=nn.Identity(), forward=lambda images: out)


def batch(seed=0, size=(8, 6)):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("kind", "name"), [("terms", "decov"), ("models", "mixer"), ("datasets", "half_digits")])
def test_the_package_brings_it_under_a_plain_name(kind, name):
    leaf = leaves.find(kind, name)
    assert (leaf.module, leaf.package) == (f"vitbench_example.{name}", "vitbench-example")
    assert leaf.version == "1 of vitbench-example"
    assert name in [one.name for one in leaves.brought(kind)[0]]


# The term


def test_the_penalty_is_that_of_numpys_covariances():
    embedding = batch()
    covariance = np.cov(embedding.numpy().T, bias=True)
    off_diagonal = covariance[~np.eye(6, dtype=bool)]
    loss = built("terms", "decov", SHAPE)(a_step(embedding))
    assert loss.shape == ()
    assert loss.item() == pytest.approx((off_diagonal**2).sum() / 2, rel=1e-5)


def test_features_that_vary_apart_cost_nothing_and_a_copied_one_does():
    apart = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    term = built("terms", "decov", SHAPE)
    assert term(a_step(apart)).item() == 0
    assert term(a_step(apart[:, [0, 0]])).item() == 1  # both covariances are 1


def test_it_reaches_the_model():
    embedding = batch().requires_grad_()
    built("terms", "decov", SHAPE)(a_step(embedding)).backward()
    assert embedding.grad.abs().min() > 0


# The model


def test_the_mixer_has_the_logits_of_timms_with_the_same_weights():
    ours = built("models", "mixer", classes=5, image_size=32).eval()
    theirs = MlpMixer(num_classes=5, img_size=32, patch_size=8, num_blocks=4, embed_dim=48, mlp_ratio=(0.5, 4.0)).eval()
    names = {"across.0": "mlp_tokens.fc1", "across.2": "mlp_tokens.fc2"}
    names |= {"along.0": "mlp_channels.fc1", "along.2": "mlp_channels.fc2", "stem.": "stem.proj."}

    def theirs_of(name):
        for own, other in names.items():
            name = name.replace(own, other)
        return name

    theirs.load_state_dict({theirs_of(name): one for name, one in ours.state_dict().items()})
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(images).logits, theirs(2 * images - 1))


def test_vitbench_takes_it_as_a_model():
    shape = shape_of(built("models", "mixer", classes=5, image_size=32), image_size=32)
    assert shape == Shape(channels=48, height=4, width=4, embedding=48, classes=5)
    assert not timm.is_model("mixer")  # it is known to vitbench alone


def test_a_size_that_the_patches_do_not_fill_is_refused():
    with pytest.raises(UserError, match="image_size is a multiple of 8, the size of a patch, got 30"):
        built("models", "mixer", classes=5, image_size=30)


# The data set


def test_the_halves_are_what_the_constants_say():
    leaf, split = leaves.find("datasets", "half_digits"), built("datasets", "half_digits", None)
    assert isinstance(split, Split)
    assert (len(split.train), len(split.test)) == (leaf.constant("TRAIN"), leaf.constant("TEST"))
    for half in (split.train, split.test):
        assert half.images.shape[1:] == (3, 32, 32)
        assert half.images.dtype == torch.uint8
        assert half.labels.unique().tolist() == list(range(10))
    assert (split.train.labels.bincount() - split.test.labels.bincount()).abs().max() <= 1


def test_they_are_the_digits_of_vitbench_otherwise_split():
    ours, theirs = built("datasets", "half_digits", None), built("datasets", "digits", None)
    assert sorted(image.numpy().tobytes() for half in (ours.train, ours.test) for image in half.images) == sorted(
        image.numpy().tobytes() for half in (theirs.train, theirs.test) for image in half.images
    )
    tested = {image.numpy().tobytes() for image in ours.test.images}
    assert not any(image.numpy().tobytes() in tested for image in ours.train.images)


# Behaviour and VERSION change together


def losses():
    torch.manual_seed(0)
    model = built("models", "mixer", classes=10, image_size=32)
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(8, 3, 32, 32, generator=generator)
    out = model(images)
    cross_entropy = nn.functional.cross_entropy(out.logits, torch.arange(8))
    return {"decov": built("terms", "decov", SHAPE)(a_step(batch())).item(), "mixer": cross_entropy.item()}


def test_behaviour_and_version_change_together():
    """Whoever changes what one of them computes raises its VERSION and writes the new loss into golden.json."""
    found = losses()
    for kind, name in (("terms", "decov"), ("models", "mixer")):
        assert str(leaves.find(kind, name).constant("VERSION")) == str(GOLDEN[name]["version"])
        assert found[name] == pytest.approx(GOLDEN[name]["loss"], rel=1e-4)
