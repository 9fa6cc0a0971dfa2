"""What several tests share: a copy of the benchmarks in an empty folder, and a stand-in for training."""

import contextlib
import importlib
import os
import shutil
import sys
from pathlib import Path

import pytest

from vitbench import entries, records
from vitbench.case import Budget
from vitbench.identity import Identity
from vitbench.objective import parse

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PROVENANCE = {
    "date": "2026-01-02T03:04:05+00:00",
    "seconds": 1.5,
    "device": "a processor",
    "precision": "fp32",
    "engine": "eager",
    "commit": "3f2c1ab",
    "versions": {"torch": "2.11.0"},
}


def pytest_configure(config):
    # Before anything imports torch: two workers with two threads each, on two cores, wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("GITHUB_STEP_SUMMARY", None)  # of the step that runs these tests; sessions inside of them have none
    # In the tests only: a new warning of torch must not fail somebody's benchmark.
    config.addinivalue_line("filterwarnings", "error")


def pytest_collection_finish():
    # Where tests are run, and not in what starts the workers. `pytester` makes a test's imports undone, and torch bears
    # to be imported once.
    importlib.import_module("vitbench.run")


@pytest.fixture
def suite(pytester, monkeypatch):
    """The benchmark files in a folder of their own; returns a function that runs pytest there."""
    monkeypatch.delenv("VITBENCH_DATA", raising=False)
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):  # the suite's pytest is nobody's worker
        monkeypatch.delenv(name, raising=False)
    paths = [str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))  # for processes that start elsewhere
    folder = pytester.mkdir("benchmarks")
    for path in BENCHMARKS.glob("test_*.py"):
        shutil.copy(path, folder)

    def run_suite(*arguments, subprocess=False, **how):
        runner = pytester.runpytest_subprocess if subprocess else pytester.runpytest_inprocess
        return runner("-p", "vitbench.plugin", "-p", "no:cacheprovider", "benchmarks", *arguments, **how)

    return run_suite


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package on the path; returns a function that writes one of its files and gives the package's name."""
    name = f"pkg{tmp_path.name.translate(str.maketrans('', '', '-_'))}"
    folder = tmp_path / "site" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")

    def write(file, text):
        path = folder / file
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        importlib.invalidate_caches()
        return name

    yield write
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


@pytest.fixture
def distribution(package, tmp_path):
    """Installed packages, as far as Python knows; returns a function that makes one with these entry points."""

    def install(name, text, *, site="site", release="1.0", metadata="Metadata-Version: 2.1\nName: {}\nVersion: {}\n"):
        folder = tmp_path / site / f"{name.replace('-', '_')}-{release}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(metadata.format(name, release))
        (folder / "entry_points.txt").write_text(text)
        entries._read.cache_clear()
        importlib.invalidate_caches()

    yield install
    entries._read.cache_clear()


@pytest.fixture
def executed(monkeypatch):
    """Stand in for training: every run gets a record at once. Returns the identities that were executed.

    The list's attributes `measurements` and `invalid` can be changed, and `error` set to have the next run raise it.
    """
    from vitbench import run

    done = _Executed()

    def execute(identity, setting, *, fresh=False):
        done.append(identity)
        if done.error is not None:
            raise done.error
        if setting.stopwatch is not None:
            setting.stopwatch(lambda: None, lambda: None)
        record = records.Record(
            kind=identity.kind,
            key=identity.key,
            identity=identity.content(),
            measurements=dict(done.measurements[identity.kind]),
            invalid=done.invalid,
            details={"test_images": 360},
            provenance=PROVENANCE,
        )
        setting.store.write(identity, record)
        return record

    monkeypatch.setattr(run, "execute", execute)
    return done


@pytest.fixture
def full_disk():
    """A context in which no file grows beyond 3000 bytes: the system refuses, as it does where a disk is full."""
    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def limited():
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


class _Executed(list):
    def __init__(self):
        super().__init__()
        self.error = None
        self.invalid = {}
        self.measurements = {
            "run": {"accuracy": 97.0, "adversarial_accuracy": 90.0, "fgsm_drop": 7.0},
            "pretraining": {"loss": 0.02, "reconstruction_mse": 0.04, "mean_patch_mse": 0.2},
            "size": {"params": 15.0, "macs": 1.0},
            "inference": {"inference": 100.0, "inference_noise": 1.0},
            "training": {"training": 50.0, "training_noise": 1.0, "step_ratio": 1.1},
        }


@pytest.fixture
def runs(tmp_path):
    """A runs directory to be filled by hand."""
    return Runs(tmp_path / "runs")


@pytest.fixture
def elsewhere(tmp_path):
    """Another machine's."""
    return Runs(tmp_path / "elsewhere")


class Runs:
    """A runs directory; a run is named by its seed."""

    def __init__(self, root):
        self.root = root
        self.store = records.Store(root)

    def identity(self, seed):
        return Identity(
            model="vit/tiny",
            objective=parse("ce + 0.1*me(ratio=0.85)"),
            dataset="digits",
            data="d1g357",
            classes=10,
            image_size=32,
            budget=Budget.QUICK,
            versions={"train": "1"},
            seed=seed,
        )

    def path(self, seed, name="record.json"):
        return self.store.folder(self.identity(seed)) / name

    def finish(self, seed, *, accuracy=97.0, weights=None, note=""):
        """Leave a record, and weights."""
        one = self.identity(seed)
        record = records.Record(
            kind="run",
            key=one.key,
            identity=one.content(),
            measurements={"accuracy": accuracy},
            details={"test_images": 360, "note": note},
            provenance=PROVENANCE,
        )
        if weights is not None:
            self.put(seed, "weights.safetensors", weights)
        return self.store.write(one, record)

    def put(self, seed, name, content):
        path = self.path(seed, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def content(self):
        """Every file but the locks, by its name."""
        found = [path for path in self.root.rglob("*") if path.is_file() and path.name != "lock"]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}
