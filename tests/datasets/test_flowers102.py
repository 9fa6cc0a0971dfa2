"""Flowers102 as liu2021 splits it, and its official split beside it."""

import numpy as np
import pytest

from tests.oxford import IDS, LABELS, publish
from tests.pictures import reference, truncate
from vitbench.datasets import flowers102, flowers102_official
from vitbench.errors import DataAbsent, DataBroken
from vitbench.sources import flowers


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(flowers102, "TRAIN", 4)
    monkeypatch.setattr(flowers102_official, "TRAIN", 2)
    for leaf in (flowers102, flowers102_official):
        monkeypatch.setattr(leaf, "TEST", 3)
    return publish(tmp_path / "data", monkeypatch)


def test_its_sizes_are_those_of_the_papers_table():
    assert (flowers102.TRAIN, flowers102.TEST, flowers102.CLASSES) == (2_040, 6_149, 102)
    assert flowers.MD5["102flowers.tgz"] in flowers102.DIGEST


def test_it_is_trained_on_training_and_validation_pictures(root):
    split = flowers102.build(root, image_size=8)
    numbers = [*IDS["trnid"], *IDS["valid"]]
    assert split.train.labels.tolist() == [LABELS[one - 1] - 1 for one in numbers]
    assert split.test.labels.tolist() == [LABELS[one - 1] - 1 for one in IDS["tstid"]]
    for image, number in zip((*split.train.images, *split.test.images), (*numbers, *IDS["tstid"]), strict=True):
        assert np.array_equal(image.numpy(), reference(root / f"flowers-102/jpg/image_{number:05d}.jpg", 8))


def test_the_official_split_is_its_first_half(root):
    ours, official = flowers102.listed(root), flowers102_official.listed(root)
    assert official.train == ours.train[:2]
    assert official.test == ours.test
    assert flowers102.DIGEST != flowers102_official.DIGEST


@pytest.mark.parametrize("leaf", [flowers102, flowers102_official])
def test_what_is_absent_or_damaged_is_named(root, leaf, tmp_path):
    name = leaf.__name__.rpartition(".")[2]
    with pytest.raises(DataAbsent, match=f"{name}: .*--download"):
        leaf.build(tmp_path / "nowhere")
    path = root / "flowers-102/jpg/image_00003.jpg"
    truncate(path)
    with pytest.raises(DataBroken, match=f"{name}: .*image_00003.jpg cannot be decoded"):
        leaf.build(root, image_size=8)
    path.unlink()
    with pytest.raises(DataBroken, match=f"{name}: .*image_00003.jpg is missing"):
        leaf.build(root, image_size=8)
