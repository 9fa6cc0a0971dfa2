"""FGVC-Aircraft: torchvision's files and labels; the archive is checked and unpacked; what is broken is named."""

import hashlib
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from torchvision.datasets import FGVCAircraft

from tests.pictures import reference, truncate, write
from vitbench.datasets import aircraft
from vitbench.errors import DataAbsent, DataBroken

VARIANTS = ["707-320", "Boeing 717", "F/A-18"]
# Numbers of pictures with their variants, which are not in the order of the names.
LISTS = {
    "train": [(1025794, 1), (34309, 0), (1, 2), (34958, 2)],
    "val": [(12, 2), (55, 1), (817, 0)],
    "test": [(99, 0), (98, 1)],
}
MODES = {34309: "L", 12: "CMYK"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data folder with such an archive and what it unpacks to."""
    for name, count in (("CLASSES", 3), ("TRAIN", 4), ("TEST", 3)):
        monkeypatch.setattr(aircraft, name, count)
    folder = tmp_path / "data" / aircraft.FOLDER
    for pictures in LISTS.values():
        for number, _ in pictures:
            write(folder / f"data/images/{number}.jpg", size=(23, 12), mode=MODES.get(number, "RGB"), seed=number)
    (folder / "data/variants.txt").write_text("".join(f"{one}\n" for one in VARIANTS))
    for half, pictures in LISTS.items():
        lines = "".join(f"{number:07} {VARIANTS[label]}\n" for number, label in pictures)
        (folder / f"data/images_variant_{half}.txt").write_text(lines)
    for number in [number for pictures in LISTS.values() for number, _ in pictures]:
        path = folder / f"data/images/{number}.jpg"
        path.rename(path.with_name(f"{number:07}.jpg"))
    packed = folder.with_name(aircraft.ARCHIVE.filename)
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    md5 = hashlib.md5(packed.read_bytes()).hexdigest()
    monkeypatch.setattr(aircraft, "ARCHIVE", replace(aircraft.ARCHIVE, md5=md5))
    return folder.parent


def message(error):
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("aircraft: ")
    return text


def test_its_sizes_are_those_of_the_published_lists():
    assert (aircraft.TRAIN, aircraft.TEST, aircraft.CLASSES) == (3_334, 3_333, 100)
    assert aircraft.ARCHIVE.url == FGVCAircraft._URL
    assert aircraft.ARCHIVE.md5 in aircraft.DIGEST


def test_pictures_labels_and_order_are_torchvisions(root):
    found = aircraft.listed(root)
    for ours, split in ((found.train, "train"), (found.test, "val")):
        theirs = FGVCAircraft(root, split=split)
        pairs = list(zip(theirs._image_files, theirs._labels, strict=True))
        assert [(str(found.base / name), label) for name, label in ours] == pairs
        assert list(found.classes) == theirs.classes


def test_pixels_are_torchvisions_of_grey_and_cmyk_too(root):
    split = aircraft.build(root, image_size=8)
    assert split.train.labels.tolist() == [1, 0, 2, 2]
    assert split.test.labels.tolist() == [2, 1, 0]
    assert split.classes == tuple(VARIANTS)
    for images, half in ((split.train.images, "train"), (split.test.images, "val")):
        for image, (number, _) in zip(images, LISTS[half], strict=True):
            assert np.array_equal(image.numpy(), reference(root / f"{aircraft.FOLDER}/data/images/{number:07}.jpg", 8))


def test_an_archive_alone_is_unpacked_and_a_download_fetches_it(root, tmp_path, monkeypatch):
    before = aircraft.listed(root)
    shutil.rmtree(root / aircraft.FOLDER)
    assert aircraft.listed(root) == before
    fetched = []

    def fetch(url, folder, name, md5):
        fetched.append(url)
        shutil.copy(root / aircraft.ARCHIVE.filename, f"{folder}/{name}")

    monkeypatch.setattr(aircraft, "download_url", fetch)
    assert aircraft.listed(tmp_path / "new", download=True).train == before.train
    assert fetched == [aircraft.ARCHIVE.url]


def test_without_the_data_the_error_says_what_to_write(tmp_path):
    for root in (None, tmp_path):
        with pytest.raises(DataAbsent) as error:
            aircraft.build(root)
        parts = ("--download", "--data DIR", f"{aircraft.FOLDER}/ or {aircraft.FOLDER}.tar.gz")
        assert all(part in message(error) for part in parts)


def test_a_picture_that_is_truncated_or_missing_is_named(root):
    path = root / aircraft.FOLDER / "data/images/0000055.jpg"
    truncate(path)
    with pytest.raises(DataBroken, match=f"{path} cannot be decoded") as error:
        aircraft.build(root, image_size=8)
    message(error)
    path.unlink()
    with pytest.raises(DataBroken, match=f"{path} is missing"):
        aircraft.build(root, image_size=8)


@pytest.mark.parametrize("name", ["variants", "images_variant_train", "images_variant_val"])
def test_a_list_that_is_missing_is_named(root, name):
    path = root / aircraft.FOLDER / f"data/{name}.txt"
    path.unlink()
    with pytest.raises(DataBroken) as error:
        aircraft.build(root)
    assert f"{path} is missing; delete {root / aircraft.FOLDER} and run again, with" in message(error)


@pytest.mark.parametrize("line", ["0000055 Boeing", "0000055", "../0000055 707-320", "", " 707-320"])
def test_a_line_of_another_form_is_named(root, line):
    path = root / aircraft.FOLDER / "data/images_variant_val.txt"
    path.write_text(path.read_text().replace("0000055 Boeing 717", line))
    with pytest.raises(DataBroken) as error:
        aircraft.build(root)
    assert f"{path}:2: expected the number of a picture and a variant of variants.txt, got {line.strip()!r}" in message(
        error
    )


def test_other_counts_of_classes_or_pictures_are_refused(root):
    folder = root / aircraft.FOLDER / "data"
    train = folder / "images_variant_train.txt"
    text = train.read_text()
    train.write_text(text.partition("\n")[2])
    with pytest.raises(DataBroken, match=r"lists 3 \+ 3 pictures, expected 4 \+ 3; delete"):
        aircraft.build(root)
    train.write_text(text.replace("707-320", "F/A-18"))
    with pytest.raises(DataBroken, match="lists no picture of '707-320' to train on; delete"):
        aircraft.build(root)
    (folder / "variants.txt").write_text("\n".join([*VARIANTS, "Yak-42"]))
    with pytest.raises(DataBroken, match="lists 4 classes, expected 3; delete"):
        aircraft.build(root)
