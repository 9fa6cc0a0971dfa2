"""What several tests share: a copy of the benchmarks in an empty folder, and a stand-in for training."""

import os
import shutil
from pathlib import Path

import pytest

from vitbench import records, run

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def pytest_configure(config):
    # In the tests only: a new warning of torch must not fail somebody's benchmark.
    config.addinivalue_line("filterwarnings", "error")


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
def executed(monkeypatch):
    """Stand in for training: every run gets a record at once. Returns the identities that were executed.

    The list's attribute `measurements` can be changed, and `error` set to have the next run raise it.
    """
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
            details={"test_images": 360},
            provenance={
                "date": "2026-01-02T03:04:05+00:00",
                "seconds": 1.5,
                "device": "a processor",
                "precision": "fp32",
                "engine": "eager",
                "commit": "3f2c1ab",
                "versions": {"torch": "2.11.0"},
            },
        )
        setting.store.write(identity, record)
        return record

    monkeypatch.setattr(run, "execute", execute)
    return done


class _Executed(list):
    def __init__(self):
        super().__init__()
        self.error = None
        self.measurements = {
            "run": {"accuracy": 97.0, "adversarial_accuracy": 90.0, "fgsm_drop": 7.0},
            "size": {"params": 15.0, "macs": 1.0},
            "inference": {"inference": 100.0, "inference_noise": 1.0},
            "training": {"training": 50.0, "training_noise": 1.0, "step_ratio": 1.1},
        }
