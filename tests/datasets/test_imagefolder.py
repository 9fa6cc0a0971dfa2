"""A user's own folder of photographs."""

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from tests.pictures import listing, reference, truncate, write
from vitbench import folders
from vitbench.datasets import imagefolder
from vitbench.errors import DataAbsent, DataBroken

MODES = {"a.jpg": "RGB", "b.jpg": "L", "c.jpg": "CMYK", "d.png": "P", "e.png": "RGBA"}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "my pictures"
    for half in ("train", "val"):
        for label, name in enumerate(("bird", "fish")):
            for seed, (file, mode) in enumerate(MODES.items()):
                write(root / half / name / file, size=(9 + seed, 12 - label), mode=mode, seed=seed)
    return root


def test_pictures_and_labels_are_torchvisions(root):
    split = imagefolder.build(root, image_size=8)
    for half, ours in (("train", split.train), ("val", split.test)):
        theirs = ImageFolder(str(root / half))
        assert ours.labels.tolist() == theirs.targets
        expected = np.stack([reference(path, 8) for path, _ in theirs.samples])
        assert np.array_equal(ours.images.numpy(), expected)
    assert split.classes == ("bird", "fish")


def test_it_is_what_the_scan_of_the_folder_says(root):
    found, listed = folders.scan(root), imagefolder.listed(root)
    assert (listed.train, listed.test, listed.classes) == (found.train, found.test, found.classes)


def test_decoded_pictures_lie_in_the_folder_and_change_neither_scan_nor_digest(root):
    before = folders.scan(root)
    imagefolder.build(root, image_size=8)
    assert (root / ".vitbench-cache").is_dir()
    assert folders.scan(root) == before
    listed = listing(root)
    imagefolder.build(root, image_size=8)
    assert listing(root) == listed


def test_what_is_wrong_is_named(root, tmp_path):
    with pytest.raises(DataAbsent, match="imagefolder: no folder is named; write imagefolder:PATH"):
        imagefolder.build(None)
    with pytest.raises(DataAbsent, match="nowhere does not exist"):
        imagefolder.build(tmp_path / "nowhere")
    truncate(root / "val/fish/c.jpg")
    with pytest.raises(DataBroken, match=r"imagefolder: .*val/fish/c.jpg cannot be decoded"):
        imagefolder.build(root, image_size=8)
    (root / "val/fish").rename(root / "val/frog")
    with pytest.raises(DataBroken, match="val lacks 'fish'"):
        imagefolder.build(root, image_size=8)
