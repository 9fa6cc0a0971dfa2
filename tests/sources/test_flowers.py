"""Flowers102: torchvision's files, lists and labels; its archive is checked and unpacked."""

import shutil
from itertools import chain

import pytest
from torchvision.datasets import Flowers102

from tests.oxford import IDS, publish
from vitbench.errors import DataAbsent, DataBroken
from vitbench.sources import flowers


@pytest.fixture
def root(tmp_path, monkeypatch):
    return publish(tmp_path / "data", monkeypatch)


def listed(root, **options):
    choice = {"download": False, "trained_on": ["trnid", "valid"], "train": 4, "test": 3, **options}
    return flowers.listed("flowers102", root, **choice)


def message(error):
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("flowers102: ")
    return text


def test_addresses_and_checksums_are_torchvisions():
    theirs = dict(Flowers102._file_dict.values())
    assert theirs == flowers.MD5
    assert Flowers102._download_url_prefix == flowers.ADDRESS


@pytest.mark.parametrize(("trained_on", "splits"), [(["trnid", "valid"], ["train", "val"]), (["trnid"], ["train"])])
def test_pictures_labels_and_order_are_torchvisions(root, monkeypatch, trained_on, splits):
    found = listed(root, trained_on=trained_on, train=2 * len(splits))
    monkeypatch.setattr(
        Flowers102, "_file_dict", {k: (n, flowers.MD5[n]) for k, (n, _) in Flowers102._file_dict.items()}
    )
    theirs = [Flowers102(root, split=one) for one in (*splits, "test")]
    pairs = [list(zip(map(str, one._image_files), one._labels, strict=True)) for one in theirs]
    assert [(str(found.base / name), label) for name, label in found.train] == [*chain(*pairs[:-1])]
    assert [(str(found.base / name), label) for name, label in found.test] == pairs[-1]
    assert found.classes == tuple(Flowers102.classes)
    assert (len(found.classes), found.classes[0], found.classes[101]) == (102, "pink primrose", "blackberry lily")


def test_an_archive_alone_is_unpacked(root):
    before = listed(root)
    shutil.rmtree(root / "flowers-102/jpg")
    assert listed(root) == before
    assert len(list((root / "flowers-102/jpg").iterdir())) == sum(map(len, IDS.values()))


def test_a_download_fetches_the_archive_and_both_lists(root, tmp_path, monkeypatch):
    calls = []

    def fetch(url, folder, name, md5):
        calls.append(url)
        shutil.copy(root / "flowers-102" / url.rpartition("/")[2], f"{folder}/{name}")

    monkeypatch.setattr(flowers, "download_url", fetch)
    found = listed(tmp_path / "new", download=True)
    assert calls == [flowers.ADDRESS + name for name in ("102flowers.tgz", "imagelabels.mat", "setid.mat")]
    assert found.train == listed(root).train
    assert listed(tmp_path / "new", download=True) == found
    assert len(calls) == 3


def test_without_a_folder_the_error_says_what_to_write():
    with pytest.raises(DataAbsent) as error:
        listed(None)
    parts = ("--download", "--data DIR", "VITBENCH_DATA", "flowers-102/jpg/ or flowers-102/102flowers.tgz")
    assert all(part in message(error) for part in parts)


@pytest.mark.parametrize("name", ["imagelabels.mat", "setid.mat"])
def test_a_missing_list_is_named(root, name):
    (root / "flowers-102" / name).unlink()
    with pytest.raises(DataAbsent) as error:
        listed(root)
    assert f"{root / 'flowers-102' / name} does not exist; --download fetches it" in message(error)


@pytest.mark.parametrize("name", ["imagelabels.mat", "setid.mat"])
def test_a_list_that_is_not_the_published_one_is_named(root, name):
    path = root / "flowers-102" / name
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataBroken) as error:
        listed(root)
    assert f"{path} is damaged or truncated" in message(error)


def test_a_damaged_archive_is_named_and_not_used(root):
    shutil.rmtree(root / "flowers-102/jpg")
    path = root / "flowers-102/102flowers.tgz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataBroken) as error:
        listed(root)
    assert str(path) in message(error)
    assert not (root / "flowers-102/jpg").exists()


def test_another_number_of_pictures_is_refused(root):
    with pytest.raises(DataBroken) as error:
        listed(root, train=2040, test=6149)
    assert "lists 4 + 3 pictures, expected 2040 + 6149" in message(error)
