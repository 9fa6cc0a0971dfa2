"""Checkpoints: written whole, read without executing anything, and set aside when they cannot be trusted."""

import contextlib
import math
import os
import pickle

import pytest
import torch
from torch import nn

from vitbench import checkpoints
from vitbench.checkpoints import Checkpoints
from vitbench.total import Total

KEY = "a" * 64
CONTENT = {
    "phase": 0,
    "epoch": 2,
    "curves": [{"loss": 0.5}],
    "trained": {"weight": torch.arange(1000.0)},
    "optimizer": {"state": {}, "param_groups": []},
}


@pytest.fixture(autouse=True)
def _every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SAVING_SHARE", math.inf)


@pytest.fixture
def keeper(tmp_path):
    return Checkpoints(tmp_path, KEY, problems=[])


class Code:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_what_was_saved_is_loaded(keeper):
    keeper.save(lambda: CONTENT)
    loaded = keeper.load()
    assert torch.equal(loaded["trained"]["weight"], CONTENT["trained"]["weight"])
    assert (loaded["phase"], loaded["epoch"], loaded["curves"]) == (0, 2, [{"loss": 0.5}])


def test_a_later_one_replaces_an_earlier_one_and_leaves_nothing_else(keeper):
    keeper.save(lambda: CONTENT)
    keeper.save(lambda: CONTENT | {"epoch": 3})
    assert keeper.load()["epoch"] == 3
    assert [path.name for path in keeper.folder.iterdir()] == ["checkpoint.pt"]


def test_a_checkpoint_that_takes_long_to_write_is_written_seldom(keeper, monkeypatch):
    monkeypatch.setattr(checkpoints, "SAVING_SHARE", 0.02)
    clock = iter([100.0, 102.0, 103.0, 201.0, 202.5, 203.0])
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: next(clock))
    asked = []
    keeper.saved_at = 0.0
    for _ in range(3):  # the first takes 2 s, so that 100 s have to pass before the next one
        keeper.save(lambda: asked.append(1) or CONTENT)
    assert len(asked) == 1
    keeper.save(lambda: asked.append(1) or CONTENT)
    assert len(asked) == 2


def test_a_checkpoint_that_is_needed_now_is_written_however_fresh_the_last_one_is(keeper, monkeypatch):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 1e9)
    keeper.every = 1e9
    keeper.save(lambda: CONTENT, now=True)
    assert keeper.load()["epoch"] == 2


def test_of_two_machines_checkpoints_the_further_one_is_gone_on_with(keeper):
    keeper.save(lambda: CONTENT)
    other = Checkpoints(keeper.folder, KEY, problems=[])
    other.path = keeper.folder / "checkpoint.0123456789ab.pt"
    for epoch in (1, 7):
        other.save(lambda: CONTENT | {"epoch": epoch}, now=True)  # noqa: B023 - at once
        assert keeper.load()["epoch"] == max(epoch, CONTENT["epoch"])
    keeper.clear()
    assert not list(keeper.folder.glob("checkpoint*"))


def test_without_a_checkpoint_a_training_starts_at_the_beginning(keeper):
    assert keeper.load() is None
    assert not keeper.problems


def test_a_fresh_checkpoint_is_not_written_again(keeper, monkeypatch):
    keeper.every = 1e9
    asked = []
    keeper.save(lambda: asked.append(1) or CONTENT)
    assert not asked
    assert not keeper.path.exists()


@pytest.mark.parametrize("before", [True, False])
def test_a_full_disk_is_an_oserror_of_one_line_and_leaves_the_last_checkpoint_whole(keeper, full_disk, before):
    if before:
        keeper.save(lambda: CONTENT)
    with full_disk(), pytest.raises(OSError, match="File too large") as caught:
        keeper.save(lambda: CONTENT | {"epoch": 3})
    assert caught.value.filename == str(keeper.path)
    assert [path.name for path in keeper.folder.iterdir()] == ["checkpoint.pt"] * before
    assert (keeper.load() or {"epoch": None})["epoch"] == (2 if before else None)


def test_a_full_disk_is_an_oserror_for_the_weights_of_a_lost_training_too(keeper, full_disk):
    with full_disk(), pytest.raises(OSError, match=r"File too large: .*failed\.pt"):
        keeper.keep_failed(nn.Linear(100, 100), Total({"head": nn.Linear(4, 1)}, {"head": 1.0}))
    assert not list(keeper.folder.iterdir())


def test_what_no_disk_is_to_blame_for_stays_what_it_is(keeper):
    with pytest.raises(AttributeError):
        keeper.save(lambda: CONTENT | {"code": lambda: None})
    assert not list(keeper.folder.iterdir())


def torn(path, trace):
    torch.save(CONTENT | {"key": KEY}, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path, trace):
    path.touch()


def garbage(path, trace):
    path.write_bytes(bytes(range(256)) * 10)


def foreign(path, trace):
    torch.save(CONTENT | {"key": "b" * 64}, path)


def nameless(path, trace):
    torch.save(CONTENT, path)


def no_dictionary(path, trace):
    torch.save([KEY], path)


def code_of_torch(path, trace):
    torch.save(CONTENT | {"key": KEY, "code": Code(trace)}, path)


def code_of_pickle(path, trace):
    path.write_bytes(pickle.dumps({"key": KEY, "code": Code(trace)}))


@pytest.mark.parametrize(
    "damage", [torn, empty, garbage, foreign, nameless, no_dictionary, code_of_torch, code_of_pickle]
)
def test_what_cannot_be_trusted_is_set_aside_by_name_and_nothing_in_it_is_executed(keeper, damage):
    trace = keeper.folder / "trace"
    damage(keeper.path, trace)
    content = keeper.path.read_bytes()
    assert keeper.load() is None
    assert not trace.exists()
    (aside,) = keeper.folder.iterdir()
    assert aside.name.startswith("checkpoint.pt.set-aside-")
    assert aside.read_bytes() == content
    (problem,) = keeper.problems
    assert str(keeper.path) in problem
    assert aside.name in problem
    keeper.save(lambda: CONTENT)  # and the training that starts anew has its own
    assert keeper.load()["epoch"] == 2


WRONG = {
    "no phase": ({"phase": None}, "phase is None"),
    "a phase before the first": ({"phase": -1}, "phase is -1"),
    "a phase that is a bool": ({"phase": True}, "phase is True"),
    "half an epoch": ({"epoch": 1.5}, "epoch is 1.5"),
    "an epoch in words": ({"epoch": "2"}, "epoch is '2'"),
    "an epoch before the first": ({"epoch": -2}, "epoch is -2"),
    "curves in a dictionary": ({"curves": {}}, "curves is {}"),
    "a curve that is a number": ({"curves": [{}, 0.5]}, "a curve is 0.5"),
    "weights in a list": ({"trained": [1]}, "trained is [1]"),
    "an optimizer in a word": ({"optimizer": "adam"}, "optimizer is 'adam'"),
}


@pytest.mark.parametrize(("changes", "reason"), WRONG.values(), ids=WRONG.keys())
def test_a_checkpoint_edited_by_hand_is_set_aside_although_its_key_is_right(keeper, changes, reason):
    torch.save(CONTENT | {"key": KEY} | changes, keeper.path)
    assert keeper.load() is None
    (aside,) = keeper.folder.iterdir()
    (problem,) = keeper.problems
    assert problem == (f"{keeper.path}: it is damaged: {reason}; set aside as {aside.name}, the training starts anew")


@pytest.mark.parametrize("name", ["phase", "epoch", "curves", "trained", "optimizer"])
def test_a_checkpoint_that_lacks_something_is_set_aside(keeper, name):
    torch.save({key: value for key, value in CONTENT.items() if key != name} | {"key": KEY}, keeper.path)
    assert keeper.load() is None
    assert f"{name} is None" in keeper.problems[0]


@pytest.mark.parametrize("damage", [code_of_torch, code_of_pickle])
def test_the_code_of_these_tests_would_have_run(tmp_path, damage):
    damage(tmp_path / "file", tmp_path / "trace")
    with contextlib.suppress(RuntimeError):  # of what is no file of torch's
        torch.load(tmp_path / "file", weights_only=False)
    assert (tmp_path / "trace").exists()


def test_the_weights_of_a_lost_training_are_kept(keeper):
    model, total = nn.Linear(2, 3), Total({"head": nn.Linear(4, 1)}, {"head": 1.0})
    kept = torch.load(keeper.keep_failed(model, total), weights_only=True)
    assert torch.equal(kept["model"]["weight"], model.weight)
    assert torch.equal(kept["terms"]["terms.0.weight"], total.terms[0].weight)


def test_a_finished_run_needs_no_checkpoint(keeper):
    keeper.save(lambda: CONTENT)
    keeper.clear()
    keeper.clear()
    assert not keeper.path.exists()
