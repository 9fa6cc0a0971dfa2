"""Stanford Cars: torchvision's files and labels; what is absent or broken is named."""

import hashlib

import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets import StanfordCars

from tests.pictures import reference, truncate, write
from vitbench.datasets import cars
from vitbench.errors import DataAbsent, DataBroken

NAMES = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "smart fortwo Convertible 2012"]
# Names of pictures with their classes, from 1 up.
TRAIN = [("00001.jpg", 2), ("00002.jpg", 1), ("00003.jpg", 3), ("08144.jpg", 3)]
TEST = [("00001.jpg", 3), ("00002.jpg", 1), ("00005.jpg", 2)]
MODES = {("cars_train", "00002.jpg"): "L", ("cars_test", "00001.jpg"): "CMYK"}


def annotate(path, entries):
    """A MATLAB file in the published form: a structure array with a box, the class and the name of each picture."""
    kinds = [("bbox_x1", object), ("class", object), ("fname", object)]
    rows = np.array([(np.uint8(39), np.uint8(label), name) for name, label in entries], dtype=kinds)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"annotations": rows[None]})


@pytest.fixture
def write_test_list(tmp_path, monkeypatch):
    """Write the list of the test pictures, and take its checksum for the published one."""

    def written(entries):
        path = tmp_path / "data" / cars.TEST_LIST
        annotate(path, entries)
        monkeypatch.setattr(cars, "TEST_LIST_MD5", hashlib.md5(path.read_bytes()).hexdigest())
        return path

    return written


@pytest.fixture
def root(tmp_path, monkeypatch, write_test_list):
    for name, count in (("CLASSES", 3), ("TRAIN", 4), ("TEST", 3)):
        monkeypatch.setattr(cars, name, count)
    root = tmp_path / "data"
    for folder, entries in (("cars_train", TRAIN), ("cars_test", TEST)):
        for name, label in entries:
            mode = MODES.get((folder, name), "RGB")
            write(root / cars.FOLDER / folder / name, size=(13, 21), mode=mode, seed=label + len(folder))
    annotate(root / cars.TRAIN_LIST, TRAIN)
    write_test_list(TEST)
    savemat(root / cars.NAMES, {"class_names": np.array(NAMES, dtype=object)[None]})
    return root


def message(error):
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("cars: ")
    return text


def test_its_sizes_are_those_of_torchvisions_page_and_the_thesis_total():
    assert (cars.TRAIN, cars.TEST, cars.CLASSES) == (8_144, 8_041, 196)
    assert all(f"{count:,}" in StanfordCars.__doc__ for count in (cars.TRAIN, cars.TEST, cars.CLASSES))
    assert cars.TRAIN + cars.TEST == 16_185  # detkov2022, section 4.2
    assert cars.TEST_LIST_MD5 in cars.DIGEST


def test_pictures_labels_and_order_are_torchvisions(root):
    found = cars.listed(root)
    for ours, split in ((found.train, "train"), (found.test, "test")):
        theirs = StanfordCars(root, split=split)
        assert [(str(found.base / name), label) for name, label in ours] == theirs._samples
        assert list(found.classes) == theirs.classes == NAMES


def test_pixels_are_torchvisions_of_grey_and_cmyk_too(root):
    split = cars.build(root, image_size=8)
    assert split.train.labels.tolist() == [1, 0, 2, 2]
    assert split.test.labels.tolist() == [2, 0, 1]
    for images, folder, entries in ((split.train.images, "cars_train", TRAIN), (split.test.images, "cars_test", TEST)):
        for image, (name, _) in zip(images, entries, strict=True):
            assert np.array_equal(image.numpy(), reference(root / cars.FOLDER / folder / name, 8))


@pytest.mark.parametrize("download", [False, True])
def test_without_the_data_the_error_says_what_to_fetch_and_where_to_put_it(root, download):
    with pytest.raises(DataAbsent) as error:
        cars.build(None, download=download)
    parts = (
        "cars_train.tgz",
        "cars_test.tgz",
        "car_devkit.tgz",
        "pytorch/vision/issues/7545",
        "stanford_cars/",
        "--data",
    )
    assert all(part in message(error) for part in parts)
    for absent in (cars.TEST_LIST, cars.TRAIN_LIST, cars.NAMES):
        (root / absent).unlink()
        with pytest.raises(DataAbsent) as error:
            cars.build(root, download=download)
        assert f"{root / absent} does not exist; its page is gone: get " in message(error)


def test_a_picture_that_is_truncated_or_missing_is_named(root):
    path = root / cars.FOLDER / "cars_test/00002.jpg"
    truncate(path)
    with pytest.raises(DataBroken, match=f"{path} cannot be decoded") as error:
        cars.build(root, image_size=8)
    message(error)
    path.unlink()
    with pytest.raises(DataBroken, match=f"{path} is missing"):
        cars.build(root, image_size=8)


@pytest.mark.parametrize("name", ["NAMES", "TRAIN_LIST"])
def test_a_list_that_cannot_be_read_is_named(root, name):
    path = root / getattr(cars, name)
    truncate(path)
    with pytest.raises(DataBroken) as error:
        cars.build(root)
    assert f"{path} cannot be read (" in message(error)


def test_a_test_list_that_is_not_the_published_one_is_named(root):
    annotate(root / cars.TEST_LIST, [("00001.jpg", 1), *TEST[1:]])
    with pytest.raises(DataBroken, match=f"expected md5 {cars.TEST_LIST_MD5}, got ") as error:
        cars.build(root)
    assert f"{root / cars.TEST_LIST} is damaged or truncated" in message(error)


def test_the_test_list_that_has_no_labels_is_not_taken_for_the_training_list(root):
    kinds = [("bbox_x1", object), ("fname", object)]
    rows = np.array([(np.uint8(1), name) for name, _ in TRAIN], dtype=kinds)
    savemat(root / cars.TRAIN_LIST, {"annotations": rows[None]})
    with pytest.raises(DataBroken, match="expected annotations with fname and class, got") as error:
        cars.build(root)
    assert str(root / cars.TRAIN_LIST) in message(error)


@pytest.mark.parametrize("entry", [("00009.jpg", 4), ("00009.jpg", 0), ("../00009.jpg", 1), ("car_ims/00009.jpg", 1)])
def test_an_entry_of_another_form_is_named(root, entry):
    annotate(root / cars.TRAIN_LIST, [TRAIN[0], entry, *TRAIN[2:]])
    with pytest.raises(DataBroken) as error:
        cars.build(root)
    line = f"{entry[0]} {entry[1]}"
    expected = f"{root / cars.TRAIN_LIST}:2: expected <number>.jpg and a class from 1 to 3, got {line!r}"
    assert expected in message(error)


def test_other_counts_of_classes_or_pictures_are_refused(root, write_test_list):
    write_test_list(TEST[:1])
    with pytest.raises(DataBroken, match=r"lists 4 \+ 1 pictures, expected 4 \+ 3; get the lists again"):
        cars.build(root)
    write_test_list([*TEST[:2], ("00005.jpg", 1)])
    with pytest.raises(DataBroken, match="lists no picture of 'Acura RL Sedan 2012' to test on"):
        cars.build(root)
    savemat(root / cars.NAMES, {"class_names": np.array([*NAMES, NAMES[0] + "0"], dtype=object)[None]})
    with pytest.raises(DataBroken, match="lists 4 classes, expected 3"):
        cars.build(root)
    savemat(root / cars.NAMES, {"classes": np.array(NAMES, dtype=object)[None]})
    with pytest.raises(DataBroken, match="has no variable class_names"):
        cars.build(root)
