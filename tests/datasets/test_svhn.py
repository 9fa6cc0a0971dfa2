"""SVHN: torchvision's files become tensors; every way they can be wrong is one line."""

import hashlib
import shutil

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision.datasets import SVHN

from tests.pictures import listing
from vitbench.datasets import svhn
from vitbench.errors import DataAbsent, DataBroken, UserError

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
LABELS = {"train": [1, 9, 10, 3], "test": [10, 2]}  # the digit 0 is written as 10


@pytest.fixture
def pixels(tmp_path, monkeypatch):
    """(N, 32, 32, 3) of both halves, which lie in the published format below `data`."""
    rng, found, lists = np.random.default_rng(0), {}, {}
    (tmp_path / "data/svhn").mkdir(parents=True)
    for half, name in FILES.items():
        found[half] = rng.integers(0, 256, (len(LABELS[half]), 32, 32, 3), dtype=np.uint8)
        path = tmp_path / "data/svhn" / name
        savemat(path, {"X": found[half].transpose(1, 2, 3, 0), "y": np.array(LABELS[half], np.uint8)[:, None]})
        lists[half] = [SVHN.split_list[half][0], name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", lists)
    return found


@pytest.fixture
def root(pixels, tmp_path):
    return tmp_path / "data"


def message(error):
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("svhn: ")
    return text


def test_sizes_are_those_of_the_papers_table_and_the_digest_torchvisions():
    assert (svhn.TRAIN, svhn.TEST, svhn.CLASSES) == (73_257, 26_032, 10)
    assert " ".join(SVHN.split_list[half][2] for half in FILES) == svhn.DIGEST


def test_pixels_and_labels_are_those_of_the_files(root, pixels):
    split = svhn.build(root)
    for half, images in (("train", split.train), ("test", split.test)):
        assert np.array_equal(images.images.permute(0, 2, 3, 1).numpy(), pixels[half])
        assert images.images.dtype == torch.uint8
        assert images.images.is_contiguous()
        assert images.labels.tolist() == [digit % 10 for digit in LABELS[half]]
        assert images.labels.dtype == torch.int64
    assert split.classes == tuple("0123456789")


def test_reading_writes_nothing(root):
    before = listing(root)
    svhn.build(root)
    assert listing(root) == before


@pytest.mark.parametrize("name", FILES.values())
def test_a_missing_file_is_named(root, name):
    (root / "svhn" / name).unlink()
    with pytest.raises(DataAbsent) as error:
        svhn.build(root)
    assert f"{root / 'svhn' / name} does not exist; --download fetches it" in message(error)


@pytest.mark.parametrize("name", FILES.values())
def test_a_truncated_file_is_named(root, name):
    path = root / "svhn" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataBroken) as error:
        svhn.build(root)
    assert str(path) in message(error)


def test_a_download_fetches_what_is_not_there(root, tmp_path, monkeypatch):
    calls = []

    def fetch(url, folder, name, md5):
        calls.append((url, md5))
        shutil.copy(root / "svhn" / url.rpartition("/")[2], f"{folder}/{name}")

    monkeypatch.setattr(svhn, "download_url", fetch)
    split = svhn.build(tmp_path / "new", download=True)
    assert torch.equal(split.test.images, svhn.build(root).test.images)
    assert calls == [(url, md5) for url, _, md5 in SVHN.split_list.values()]


def test_without_a_folder_the_error_says_what_to_write():
    with pytest.raises(DataAbsent) as error:
        svhn.build(None)
    assert all(part in message(error) for part in ("--download", "--data DIR", "VITBENCH_DATA", "svhn/train_32x32.mat"))


@pytest.mark.parametrize("image_size", [16, 224])
def test_another_image_size_is_refused_with_the_one_there_is(root, image_size):
    with pytest.raises(UserError, match="32x32 only") as error:
        svhn.build(root, image_size=image_size)
    assert str(image_size) in message(error)
