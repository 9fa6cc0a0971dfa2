"""ImageNet-100: the published list, picked out of whatever else of ImageNet is there."""

import hashlib

import pytest
from torchvision.datasets import ImageFolder

from tests.pictures import write
from vitbench.datasets import imagenet100
from vitbench.errors import DataAbsent, DataBroken

IDS = imagenet100.WORDNET_IDS.split()


def publish(root, place):
    for name in (*IDS, "n01440764"):  # a class of ImageNet-1K that is not in the list
        for half in ("train", "val"):
            write(root / place / half / name / "1.JPEG", size=(8, 8))
    return root


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(imagenet100, "TRAIN", 100)
    monkeypatch.setattr(imagenet100, "TEST", 100)


def test_its_sizes_are_those_of_the_papers_table():
    assert (imagenet100.TRAIN, imagenet100.TEST, imagenet100.CLASSES) == (126_689, 5_000, 100)


def test_the_list_is_a_hundred_sorted_ids_and_stands_in_the_digest():
    assert len(set(IDS)) == len(IDS) == 100
    assert sorted(IDS) == IDS
    assert hashlib.sha256("\n".join(IDS).encode()).hexdigest()[:16] in imagenet100.DIGEST


def test_the_list_has_the_ids_that_the_published_file_begins_and_ends_with():
    # scripts/imagenet-100.lst of yhlleo/VTs-Drloc, its first and last three lines.
    assert {"n02869837", "n01749939", "n02488291", "n03424325", "n01855672", "n02090622"} <= set(IDS)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("place", ["imagenet", "imagenet100"])
def test_the_listed_classes_are_read_from_either_folder(tmp_path, place):
    found = imagenet100.listed(publish(tmp_path, place))
    assert found.classes == tuple(IDS)
    assert [name.split("/")[1] for name, _ in found.train] == IDS
    assert [label for _, label in found.test] == list(range(100))


@pytest.mark.usefixtures("small")
def test_labels_are_those_of_torchvision_on_the_listed_classes_alone(tmp_path):
    publish(tmp_path, "imagenet100")
    for half in ("train", "val"):
        (tmp_path / f"imagenet100/{half}/n01440764/1.JPEG").unlink()
        (tmp_path / f"imagenet100/{half}/n01440764").rmdir()
    theirs = ImageFolder(str(tmp_path / "imagenet100/train"))
    found = imagenet100.listed(tmp_path)
    assert [(str(found.base / name), label) for name, label in found.train] == theirs.samples
    assert imagenet100.build(tmp_path, image_size=4).train.labels.tolist() == theirs.targets


@pytest.mark.usefixtures("small")
def test_what_is_absent_is_named(tmp_path):
    with pytest.raises(DataAbsent, match=r"imagenet100: .*imagenet/train does not exist; register at image-net.org"):
        imagenet100.build(tmp_path)
    publish(tmp_path, "imagenet")
    (tmp_path / f"imagenet/val/{IDS[7]}/1.JPEG").unlink()
    with pytest.raises(DataBroken, match=rf"val/{IDS[7]} holds no picture"):
        imagenet100.build(tmp_path)
    (tmp_path / f"imagenet/val/{IDS[7]}").rmdir()
    with pytest.raises(DataBroken, match=rf"val/{IDS[7]} does not exist; the data set has 100 classes"):
        imagenet100.build(tmp_path)
