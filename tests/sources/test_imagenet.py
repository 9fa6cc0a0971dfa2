"""ImageNet's folders: as torchvision unpacks them, with the counts that are published."""

import pytest
from torchvision.datasets import ImageFolder

from tests.pictures import write
from vitbench.errors import DataAbsent, DataBroken
from vitbench.sources import imagenet

IDS = ["n01440764", "n02102040", "n13040303"]


@pytest.fixture
def root(tmp_path):
    return publish(tmp_path / "data", "imagenet")


def publish(root, place):
    for half, count in (("train", 2), ("val", 1)):
        for name in IDS:
            for number in range(count):
                write(root / place / half / name / f"{name}_{number}.JPEG")
    return root


def listed(root, **options):
    return imagenet.listed("imagenet", root, **{"count": 3, "train": 6, "test": 3, **options})


def message(error):
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("imagenet: ")
    return text


def test_pictures_and_labels_are_torchvisions(root):
    found = listed(root)
    for half, ours in (("train", found.train), ("val", found.test)):
        theirs = ImageFolder(str(root / "imagenet" / half))
        assert [(str(found.base / name), label) for name, label in ours] == theirs.samples
    assert found.classes == tuple(IDS)


def test_some_classes_are_numbered_by_their_sorted_ids_and_the_rest_is_left(root):
    found = listed(root, classes=[IDS[2], IDS[0]], count=2, train=4, test=2)
    assert found.classes == (IDS[0], IDS[2])
    assert [(name.split("/")[1], label) for name, label in found.test] == [(IDS[0], 0), (IDS[2], 1)]


def test_the_first_place_that_exists_is_read(root):
    places = ("some", "imagenet")
    assert listed(root, places=places).base == root / "imagenet"
    publish(root, "some")
    assert listed(root, places=places).base == root / "some"


def test_what_is_absent_is_named_with_what_to_fetch_and_where_to_put_it(tmp_path):
    for root, part in ((None, "no data folder is named"), (tmp_path, f"{tmp_path / 'imagenet/train'} does not exist")):
        with pytest.raises(DataAbsent) as error:
            listed(root, places=("some", "imagenet"))
        text = message(error)
        assert part in text
        assert "register at image-net.org, get ILSVRC2012_img_train.tar" in text
        assert "into imagenet/ of the data folder" in text


def test_a_half_that_is_not_unpacked_is_named(root):
    (root / "imagenet/val").rename(root / "imagenet/valprep")
    with pytest.raises(DataAbsent, match=r"imagenet/val does not exist"):
        listed(root)


def test_another_number_of_classes_is_refused(root):
    with pytest.raises(DataBroken) as error:
        listed(root, count=1000)
    assert "has 3 classes, expected 1000; unpack the archives again" in message(error)


def test_another_number_of_pictures_is_refused(root):
    (root / f"imagenet/train/{IDS[1]}/{IDS[1]}_0.JPEG").unlink()
    with pytest.raises(DataBroken) as error:
        listed(root)
    assert "lists 5 + 3 pictures, expected 6 + 3" in message(error)


def test_a_listed_class_that_is_not_there_is_named(root):
    with pytest.raises(DataBroken) as error:
        listed(root, classes=[*IDS, "n99999999"])
    assert f"{root / 'imagenet/train/n99999999'} does not exist" in message(error)
