"""What a result was made on: threads, versions, commit."""

import platform
import subprocess
import sys

import pytest
import torch

from vitbench import machine


@pytest.fixture(autouse=True)
def forget():
    for remembered in (machine.commit, machine.versions, machine.device_name):
        remembered.cache_clear()
    yield
    for remembered in (machine.commit, machine.versions, machine.device_name):
        remembered.cache_clear()


@pytest.mark.parametrize(
    ("value", "threads"),
    [
        (None, 1),
        ("1", 1),
        ("4", 4),
        (" 4 ", 4),
        ("4,2", 4),
        ("0", 1),
        ("-2", 1),
        ("2.5", 1),
        ("", 1),
        ("many", 1),
        ("²", 1),
        ("٣", 3),
        ("1e3", 1),
    ],
)
def test_a_run_has_one_thread_unless_somebody_says_otherwise(monkeypatch, value, threads):
    if value is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert machine.threads() == threads


def test_a_timing_on_a_processor_is_keyed_by_its_threads_and_one_on_a_gpu_is_not(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert machine.timing_key("cpu", "eager")["threads"] == "3"
    monkeypatch.setattr(machine, "device_name", lambda device: "a card")
    assert machine.timing_key("cuda", "graph").keys() == {"device", "engine", "torch"}


def test_the_commit_can_be_said_where_there_is_no_git(monkeypatch):
    monkeypatch.setenv("VITBENCH_COMMIT", "3f2c1ab")
    assert machine.commit() == "3f2c1ab"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git checkout that the package believes to be in."""
    monkeypatch.delenv("VITBENCH_COMMIT", raising=False)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "vitbench" / "machine.py"))

    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    return git


def test_outside_of_a_checkout_there_is_no_commit(checkout):
    assert machine.commit() == ""


def test_a_checkout_without_a_commit_has_none(checkout):
    checkout("init")
    assert machine.commit() == ""


def test_a_clean_checkout_has_its_commit_and_a_changed_one_a_plus(checkout, tmp_path):
    checkout("init")
    (tmp_path / "file").write_text("a")
    checkout("add", "file")
    checkout("commit", "-m", "first")
    head = checkout("rev-parse", "--short=12", "HEAD")
    assert machine.commit() == head
    machine.commit.cache_clear()
    (tmp_path / "file").write_text("b")
    assert machine.commit() == head + "+"


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    checkout("init")
    monkeypatch.setenv("PATH", "")
    assert machine.commit() == ""


def test_a_package_that_is_not_there_is_said_to_be_so(monkeypatch):
    monkeypatch.setattr(machine, "PACKAGES", ("pytest", "no-such-package"))
    assert machine.versions() == {
        "python": platform.python_version(),
        "pytest": pytest.__version__,
        "no-such-package": "not installed",
    }


def test_every_package_that_a_number_may_depend_on_is_named():
    assert {"python", "vitbench", "torch", "torchvision", "timm", "numpy", "fvcore"} <= machine.versions().keys()


def test_the_processor_has_a_name():
    assert machine.device_name("cpu").strip()


def test_the_command_has_no_folder_of_the_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/private/bin/pytest", "benchmarks", "-k", "drloc"])
    assert machine.command() == "pytest benchmarks -k drloc"


def test_a_device_that_does_not_answer_any_more_has_nothing_to_give_back(monkeypatch):
    def lost():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lost)
    machine.free_gpu()
