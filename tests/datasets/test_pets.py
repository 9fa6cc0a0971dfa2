"""Oxford-IIIT Pet: torchvision's files and labels; archives are checked and unpacked; what is broken is named."""

import hashlib
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from torchvision.datasets import OxfordIIITPet

from tests.pictures import reference, truncate, write
from vitbench.datasets import pets
from vitbench.errors import DataAbsent, DataBroken

# Breeds are written as the published ones are: cats with a capital, dogs without.
LISTS = {
    "trainval": ["Abyssinian_100 1 1 1", "american_bulldog_7 2 2 1", "Egyptian_Mau_14 3 1 2", "Abyssinian_5 1 1 1"],
    "test": ["Egyptian_Mau_139 3 1 2", "american_bulldog_203 2 2 1", "Abyssinian_1 1 1 1"],
}
MODES = {"american_bulldog_7": "L", "Abyssinian_1": "CMYK"}
PNG, GIF = "Egyptian_Mau_14", "Egyptian_Mau_139"  # which have other formats than their names say, as published


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data folder with such archives and what they unpack to."""
    for name, count in (("CLASSES", 3), ("TRAIN", 4), ("TEST", 3)):
        monkeypatch.setattr(pets, name, count)
    folder = tmp_path / "data" / pets.FOLDER
    for seed, line in enumerate(line for lines in LISTS.values() for line in lines):
        name = line.split()[0]
        options = {PNG: {"format": "PNG"}, GIF: {"format": "GIF"}}.get(name, {})
        write(folder / f"images/{name}.jpg", size=(11, 19), mode=MODES.get(name, "RGB"), seed=seed, **options)
    (folder / "annotations").mkdir()
    for half, lines in LISTS.items():
        (folder / f"annotations/{half}.txt").write_text("".join(f"{line}\n" for line in lines))
    packed = []
    for archive in pets.ARCHIVES:
        path = folder.parent / archive.filename
        with tarfile.open(path, "w:gz") as tar:
            tar.add(folder.parent / archive.folder, arcname=archive.folder.rpartition("/")[2])
        packed.append(replace(archive, md5=hashlib.md5(path.read_bytes()).hexdigest()))
    monkeypatch.setattr(pets, "ARCHIVES", tuple(packed))
    return folder.parent


def message(error):
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("pets: ")
    return text


def test_its_sizes_are_the_published_ones_and_the_thesis_total():
    assert (pets.TRAIN, pets.TEST, pets.CLASSES) == (3_680, 3_669, 37)
    assert pets.TRAIN + pets.TEST == 7_349  # detkov2022, section 4.2


def test_addresses_and_checksums_are_torchvisions():
    assert tuple((one.url, one.md5) for one in pets.ARCHIVES) == OxfordIIITPet._RESOURCES
    assert all(one.md5 in pets.DIGEST for one in pets.ARCHIVES)


def test_pictures_labels_and_order_are_torchvisions(root):
    found = pets.listed(root)
    for ours, split in ((found.train, "trainval"), (found.test, "test")):
        theirs = OxfordIIITPet(root, split=split)
        pairs = list(zip(theirs._images, theirs._labels, strict=True))
        assert [(found.base / name, label) for name, label in ours] == pairs
        assert list(found.classes) == theirs.classes == ["Abyssinian", "American Bulldog", "Egyptian Mau"]


def test_pixels_are_torchvisions_of_grey_cmyk_png_and_gif_too(root):
    split = pets.build(root, image_size=8)
    assert split.train.labels.tolist() == [0, 1, 2, 0]
    assert split.test.labels.tolist() == [2, 1, 0]
    for images, half in ((split.train.images, "trainval"), (split.test.images, "test")):
        for image, line in zip(images, LISTS[half], strict=True):
            expected = reference(root / f"{pets.FOLDER}/images/{line.split()[0]}.jpg", 8)
            assert np.array_equal(image.numpy(), expected)


def test_archives_alone_are_unpacked_and_a_download_fetches_them(root, tmp_path, monkeypatch):
    before = pets.listed(root)
    for archive in pets.ARCHIVES:
        shutil.rmtree(root / archive.folder)
    assert pets.listed(root) == before
    fetched = []

    def fetch(url, folder, name, md5):
        fetched.append(url)
        shutil.copy(root / pets.FOLDER / url.rpartition("/")[2], f"{folder}/{name}")

    monkeypatch.setattr(pets, "download_url", fetch)
    assert pets.listed(tmp_path / "new", download=True).train == before.train
    assert fetched == [one.url for one in pets.ARCHIVES]


@pytest.mark.parametrize("archive", [0, 1])
def test_without_the_data_the_error_says_what_to_write(root, archive):
    with pytest.raises(DataAbsent) as error:
        pets.build(None)
    assert all(part in message(error) for part in ("--download", "--data DIR"))
    absent = pets.ARCHIVES[archive]
    shutil.rmtree(root / absent.folder)
    (root / absent.filename).unlink()
    with pytest.raises(DataAbsent) as error:
        pets.build(root)
    assert f"{root / absent.folder} does not exist; --download fetches it" in message(error)


def test_a_picture_that_is_truncated_or_missing_is_named(root):
    path = root / pets.FOLDER / "images/american_bulldog_203.jpg"
    truncate(path)
    with pytest.raises(DataBroken, match=f"{path} cannot be decoded") as error:
        pets.build(root, image_size=8)
    message(error)
    path.unlink()
    with pytest.raises(DataBroken, match=f"{path} is missing"):
        pets.build(root, image_size=8)


@pytest.mark.parametrize("half", ["trainval", "test"])
def test_a_list_that_is_missing_is_named(root, half):
    path = root / pets.FOLDER / f"annotations/{half}.txt"
    path.unlink()
    with pytest.raises(DataBroken) as error:
        pets.build(root)
    assert f"{path} is missing; delete {path.parent} and run again, with" in message(error)


@pytest.mark.parametrize(
    "line", ["american_bulldog_203 4 2 1", "american_bulldog_203 0 2 1", "../x_1 2 2 1", "x 2", ""]
)
def test_a_line_of_another_form_is_named(root, line):
    path = root / pets.FOLDER / "annotations/test.txt"
    path.write_text(path.read_text().replace("american_bulldog_203 2 2 1", line))
    with pytest.raises(DataBroken) as error:
        pets.build(root)
    assert f"{path}:2: expected a breed with a number, a label from 1 to 3" in message(error)


def test_other_counts_of_classes_or_pictures_are_refused(root, monkeypatch):
    path = root / pets.FOLDER / "annotations/test.txt"
    text = path.read_text()
    path.write_text(text.partition("\n")[2])
    with pytest.raises(DataBroken, match=r"lists 4 \+ 2 pictures, expected 4 \+ 3; delete"):
        pets.build(root)
    path.write_text(text.replace("Egyptian_Mau_139 3", "Abyssinian_2 1"))
    with pytest.raises(DataBroken, match="lists no picture of 'Egyptian Mau' to test on; delete"):
        pets.build(root)
    path.write_text(text.replace("Egyptian_Mau_139 3", "Egyptian_Mau_139 2"))
    with pytest.raises(DataBroken, match="give a label to two breeds or none; delete"):
        pets.build(root)
    path.write_text(text)
    monkeypatch.setattr(pets, "CLASSES", 4)
    with pytest.raises(DataBroken, match="lists 3 classes, expected 4; delete"):
        pets.build(root)
