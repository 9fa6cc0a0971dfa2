"""Flowers102 as the code of detkov2022 splits it; what it shares with liu2021's is in `test_flowers102.py`."""

import pytest

from tests.oxford import IDS, LABELS, publish
from vitbench.datasets import flowers102_val


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(flowers102_val, "TRAIN", 2)
    monkeypatch.setattr(flowers102_val, "TEST", 2)
    return publish(tmp_path, monkeypatch)


def test_its_sizes_are_the_published_ones():
    found = (flowers102_val.TRAIN, flowers102_val.TEST, flowers102_val.CLASSES)
    assert found == (1_020, 1_020, 102)


def test_validation_pictures_are_tested_on_and_test_pictures_are_not_used(root):
    split = flowers102_val.build(root, image_size=8)
    assert split.train.labels.tolist() == [LABELS[one - 1] - 1 for one in IDS["trnid"]]
    assert split.test.labels.tolist() == [LABELS[one - 1] - 1 for one in IDS["valid"]]
    assert len(split.classes) == 102
