"""CIFAR-100: the 100 fine labels, from torchvision's files; every way they can be wrong is one line."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR100

from vitbench.datasets import cifar100
from vitbench.errors import DataAbsent, DataBroken, UserError

FOLDER, ARCHIVE = "cifar-100-python", "cifar-100-python.tar.gz"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def contents(published, root):
    return published(CIFAR100, root)


def message(error):
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("cifar100: ")
    return text


def test_the_digest_is_the_md5_that_torchvision_publishes():
    assert CIFAR100.tgz_md5 == cifar100.DIGEST


def test_pixels_and_fine_labels_are_those_of_the_files(root, contents):
    split = cifar100.build(root)
    for half, name in ((split.train, "train"), (split.test, "test")):
        assert np.array_equal(half.images.numpy().reshape(-1, 3072), contents[name]["data"])
        assert half.labels.tolist() == contents[name]["fine_labels"]
        assert half.images.dtype == torch.uint8
    assert split.classes == tuple(f"class {i}" for i in range(10))


def test_an_archive_alone_is_unpacked_and_gives_the_same(root, contents):
    unpacked = cifar100.build(root)
    shutil.rmtree(root / FOLDER)
    assert torch.equal(cifar100.build(root).train.images, unpacked.train.images)


def test_cifar10_beside_it_is_not_taken_for_it(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(DataAbsent) as error:
        cifar100.build(tmp_path)
    assert str(tmp_path / FOLDER) in message(error)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_a_missing_or_truncated_file_is_named(root, contents, name):
    path = root / FOLDER / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataBroken) as error:
        cifar100.build(root)
    assert f"{path} is damaged" in message(error)
    path.unlink()
    with pytest.raises(DataBroken) as error:
        cifar100.build(root)
    assert f"{path} is missing" in message(error)


def test_without_a_folder_the_error_says_what_to_write():
    with pytest.raises(DataAbsent) as error:
        cifar100.build(None)
    assert all(part in message(error) for part in ("--download", "--data DIR", "VITBENCH_DATA", FOLDER, ARCHIVE))


def test_downloading_is_done_only_when_asked(root, contents, tmp_path, monkeypatch):
    def fetch(url, folder, filename, md5):
        assert (url, md5) == (CIFAR100.url, CIFAR100.tgz_md5)
        shutil.copy(root / ARCHIVE, Path(folder) / filename)

    monkeypatch.setattr(cifar100, "download_url", fetch)
    with pytest.raises(DataAbsent):
        cifar100.build(tmp_path / "new")
    split = cifar100.build(tmp_path / "new", download=True)
    assert torch.equal(split.test.images, cifar100.build(root).test.images)


def test_another_image_size_is_refused_with_the_one_there_is(root):
    with pytest.raises(UserError, match="32x32 only, got image_size 224"):
        cifar100.build(root, image_size=224)


def test_the_real_data_is_what_is_published():
    root = Path(os.environ.get("VITBENCH_DATA", ""))
    if not (os.environ.get("VITBENCH_DATA") and (root / FOLDER).is_dir()):
        pytest.skip(f"VITBENCH_DATA names no folder with {FOLDER}/")
    split = cifar100.build(root)
    assert (len(split.train), len(split.test)) == (cifar100.TRAIN, cifar100.TEST) == (50_000, 10_000)
    assert split.train.labels.bincount().tolist() == [500] * 100
    assert split.test.labels.bincount().tolist() == [100] * 100
    assert [split.classes[label] for label in split.train.labels[:3]] == ["cattle", "dinosaur", "apple"]
    # The channel means that the literature normalises CIFAR-100 with.
    mean = split.train.images.to(torch.float32).mean((0, 2, 3)) / 255
    assert torch.allclose(mean, torch.tensor([0.5071, 0.4865, 0.4409]), atol=1e-4)
