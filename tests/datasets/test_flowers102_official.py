"""Flowers102 in its official split; what it shares with liu2021's is in `test_flowers102.py`."""

import pytest

from tests.oxford import IDS, LABELS, publish
from vitbench.datasets import flowers102_official


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(flowers102_official, "TRAIN", 2)
    monkeypatch.setattr(flowers102_official, "TEST", 3)
    return publish(tmp_path, monkeypatch)


def test_its_sizes_are_the_published_ones():
    found = (flowers102_official.TRAIN, flowers102_official.TEST, flowers102_official.CLASSES)
    assert found == (1_020, 6_149, 102)


def test_validation_pictures_are_not_used(root):
    split = flowers102_official.build(root, image_size=8)
    assert split.train.labels.tolist() == [LABELS[one - 1] - 1 for one in IDS["trnid"]]
    assert split.test.labels.tolist() == [LABELS[one - 1] - 1 for one in IDS["tstid"]]
    assert len(split.classes) == 102
