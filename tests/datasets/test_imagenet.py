"""ImageNet-1K on torchvision's layout."""

import numpy as np
import pytest
from torchvision.datasets import imagenet as torchvision_imagenet

from tests.pictures import reference, truncate, write
from vitbench.datasets import imagenet
from vitbench.errors import DataAbsent, DataBroken

IDS = ["n01440764", "n02102040"]


@pytest.fixture
def root(tmp_path, monkeypatch):
    for name, value in (("CLASSES", 2), ("TRAIN", 4), ("TEST", 2)):
        monkeypatch.setattr(imagenet, name, value)
    for label, name in enumerate(IDS):
        write(tmp_path / f"imagenet/train/{name}/{name}_1.JPEG", mode="L", seed=label)
        write(tmp_path / f"imagenet/train/{name}/{name}_2.JPEG", mode="CMYK", size=(30, 9), seed=label)
        write(tmp_path / f"imagenet/val/{name}/ILSVRC2012_val_0000000{label}.JPEG", seed=label)
    return tmp_path


def test_its_sizes_are_those_of_the_training_and_the_validation_set():
    assert (imagenet.TRAIN, imagenet.TEST, imagenet.CLASSES) == (1_281_167, 50_000, 1000)


def test_the_digest_names_the_archives_that_torchvision_checks():
    for half in ("train", "val"):
        assert torchvision_imagenet.ARCHIVE_META[half][1] in imagenet.DIGEST


def test_pictures_are_squares_and_classes_ids(root):
    split = imagenet.build(root, image_size=8)
    assert split.train.labels.tolist() == [0, 0, 1, 1]
    assert split.classes == tuple(IDS)
    path = root / f"imagenet/train/{IDS[1]}/{IDS[1]}_2.JPEG"
    assert np.array_equal(split.train.images[3].numpy(), reference(path, 8))


def test_what_is_absent_or_damaged_is_named(root, tmp_path):
    with pytest.raises(DataAbsent, match=r"imagenet: .*image-net.org.*--data DIR"):
        imagenet.build(tmp_path / "nowhere")
    path = root / f"imagenet/val/{IDS[0]}/ILSVRC2012_val_00000000.JPEG"
    truncate(path)
    with pytest.raises(DataBroken, match=r"imagenet: .*val_00000000.JPEG cannot be decoded"):
        imagenet.build(root, image_size=8)
    path.unlink()
    with pytest.raises(DataBroken, match="holds no picture"):
        imagenet.build(root, image_size=8)
