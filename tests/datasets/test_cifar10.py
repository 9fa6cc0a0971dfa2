"""CIFAR-10: torchvision's files become tensors; every way they can be wrong is one line."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from vitbench.datasets import cifar10
from vitbench.errors import DataAbsent, DataBroken, UserError

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
BATCHES = [f"data_batch_{i}" for i in range(1, 6)]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def contents(published, root):
    return published(CIFAR10, root)


def message(error):
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("cifar10: ")
    return text


def test_the_digest_is_the_md5_that_torchvision_publishes():
    assert CIFAR10.tgz_md5 == cifar10.DIGEST


def test_pixels_are_the_three_planes_of_the_files_in_their_order(root, contents):
    split = cifar10.build(root)
    rows = np.concatenate([contents[name]["data"] for name in BATCHES])
    assert np.array_equal(split.train.images.numpy().reshape(len(rows), 3072), rows)
    assert np.array_equal(split.test.images.numpy().reshape(-1, 3072), np.asarray(contents["test_batch"]["data"]))
    assert split.train.images.shape == (30, 3, 32, 32)
    assert split.train.images.dtype == torch.uint8
    assert split.train.images.is_contiguous()


def test_labels_and_class_names_are_those_of_the_files(root, contents):
    split = cifar10.build(root)
    assert split.train.labels.tolist() == [label for name in BATCHES for label in contents[name]["labels"]]
    assert split.test.labels.tolist() == contents["test_batch"]["labels"]
    assert split.train.labels.dtype == torch.int64
    assert split.classes == tuple(f"class {i}" for i in range(10))


def test_images_are_what_torchvision_shows_one_by_one(root, contents):
    split = cifar10.build(root)
    for shown, image in zip(CIFAR10(root, train=False), split.test.images, strict=True):
        assert np.array_equal(np.asarray(shown[0]), image.permute(1, 2, 0).numpy())


def test_reading_writes_nothing_so_that_a_read_only_folder_serves(root, contents):
    def listing():
        return {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}

    before = listing()
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    cifar10.build(root)
    assert listing() == before
    for path in before:
        path.chmod(0o755)


def test_an_archive_alone_is_unpacked_and_gives_the_same(root, contents):
    unpacked = cifar10.build(root)
    shutil.rmtree(root / FOLDER)
    again = cifar10.build(root)
    assert torch.equal(again.train.images, unpacked.train.images)
    assert torch.equal(again.test.labels, unpacked.test.labels)


def test_without_a_folder_the_error_says_what_to_write():
    with pytest.raises(DataAbsent) as error:
        cifar10.build(None)
    text = message(error)
    assert all(part in text for part in ("--download", "--data DIR", "VITBENCH_DATA", FOLDER, ARCHIVE))


def test_an_absent_folder_is_named(root):
    with pytest.raises(DataAbsent) as error:
        cifar10.build(root)
    assert str(root / FOLDER) in message(error)


@pytest.mark.parametrize("name", [*BATCHES, "test_batch", "batches.meta"])
def test_a_missing_file_is_named(root, contents, name):
    (root / FOLDER / name).unlink()
    with pytest.raises(DataBroken) as error:
        cifar10.build(root)
    assert str(root / FOLDER / name) in message(error)


@pytest.mark.parametrize("name", ["data_batch_4", "test_batch", "batches.meta"])
def test_a_truncated_file_is_named(root, contents, name):
    path = root / FOLDER / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataBroken) as error:
        cifar10.build(root)
    assert str(path) in message(error)


def test_a_damaged_archive_is_named_and_not_used(root, contents):
    shutil.rmtree(root / FOLDER)
    (root / ARCHIVE).write_bytes((root / ARCHIVE).read_bytes()[:-20])
    with pytest.raises(DataBroken) as error:
        cifar10.build(root)
    assert str(root / ARCHIVE) in message(error)
    assert not (root / FOLDER).exists()


@pytest.mark.parametrize("image_size", [8, 31, 64, 224])
def test_another_image_size_is_refused_with_the_one_there_is(root, image_size):
    with pytest.raises(UserError, match="32x32 only") as error:
        cifar10.build(root, image_size=image_size)
    assert str(image_size) in message(error)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server of this process for what lies in `served`; its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "*")
    served = tmp_path / "served"
    served.mkdir()
    handler = functools.partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/{ARCHIVE}"
        running.shutdown()


def test_download_fetches_checks_and_unpacks(root, contents, tmp_path, server, monkeypatch):
    shutil.move(root / ARCHIVE, tmp_path / "served" / ARCHIVE)
    monkeypatch.setattr(CIFAR10, "url", server)
    split = cifar10.build(tmp_path / "new", download=True)
    assert torch.equal(split.train.images, cifar10.build(root).train.images)


def test_a_download_with_another_checksum_is_not_kept(root, contents, tmp_path, server, monkeypatch):
    (tmp_path / "served" / ARCHIVE).write_bytes(b"a page that says: not found")
    monkeypatch.setattr(CIFAR10, "url", server)
    with pytest.raises(DataAbsent) as error:
        cifar10.build(tmp_path / "new", download=True)
    assert server in message(error)
    assert not (tmp_path / "new" / ARCHIVE).exists()


def test_a_network_failure_is_one_line(tmp_path, server, monkeypatch):
    monkeypatch.setattr(CIFAR10, "url", server)  # nothing is served: 404
    with pytest.raises(DataAbsent, match="could not be fetched") as error:
        cifar10.build(tmp_path / "new", download=True)
    assert server in message(error)


def test_the_real_data_is_what_is_published():
    root = Path(os.environ.get("VITBENCH_DATA", ""))
    if not (os.environ.get("VITBENCH_DATA") and (root / FOLDER).is_dir()):
        pytest.skip(f"VITBENCH_DATA names no folder with {FOLDER}/")
    split = cifar10.build(root)
    assert (len(split.train), len(split.test)) == (cifar10.TRAIN, cifar10.TEST) == (50_000, 10_000)
    assert split.train.labels.bincount().tolist() == [5000] * 10
    assert split.test.labels.bincount().tolist() == [1000] * 10
    assert split.train.labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert split.classes[6] == "frog"
    assert len(split.classes) == cifar10.CLASSES
    # The channel means that the literature normalises CIFAR-10 with.
    mean = split.train.images.to(torch.float32).mean((0, 2, 3)) / 255
    assert torch.allclose(mean, torch.tensor([0.4914, 0.4822, 0.4465]), atol=1e-4)
