"""A small CIFAR in torchvision's layout, with its checksums in place of the published ones."""

import hashlib
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

PER_FILE = 6


def _batch(kind: type[CIFAR10], rng: np.random.Generator) -> dict[str, object]:
    labels = "labels" if kind.base_folder == "cifar-10-batches-py" else "fine_labels"
    return {
        "data": rng.integers(0, 256, (PER_FILE, 3072), dtype=np.uint8),
        labels: [int(label) for label in rng.integers(0, 10, PER_FILE)],
    }


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[CIFAR10], Path], dict[str, dict]]:
    """Write the folder and the archive below a root; the contents come back by file name."""

    def publish(kind: type[CIFAR10], root: Path) -> dict[str, dict]:
        rng = np.random.default_rng(0)
        names = [name for name, _ in [*kind.train_list, *kind.test_list]]
        contents: dict[str, dict] = {name: _batch(kind, rng) for name in names}
        contents[kind.meta["filename"]] = {kind.meta["key"]: [f"class {i}" for i in range(10)]}
        folder = root / kind.base_folder
        folder.mkdir(parents=True)
        for name, content in contents.items():
            (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        with tarfile.open(root / kind.filename, "w:gz") as tar:
            tar.add(folder, arcname=kind.base_folder)

        def md5(path: Path) -> str:
            return hashlib.md5(path.read_bytes()).hexdigest()

        for lists in ("train_list", "test_list"):
            monkeypatch.setattr(kind, lists, [[name, md5(folder / name)] for name, _ in getattr(kind, lists)])
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(folder / kind.meta["filename"])})
        monkeypatch.setattr(kind, "tgz_md5", md5(root / kind.filename))
        return contents

    return publish
