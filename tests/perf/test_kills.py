"""The kills: some few of them find nothing, and each finds what a careless writer would do."""

import importlib.util
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vitbench import baselines, records
from vitbench.records import Store

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),  # this process may have threads
]


@pytest.fixture
def kills(monkeypatch):
    spec = importlib.util.spec_from_file_location("the_kills", ROOT / "benchmarks" / "perf" / "kills.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "the_kills", module)  # where a dataclass looks for its module
    spec.loader.exec_module(module)
    return module


def draw():
    return np.random.default_rng(11)


class Late:
    """Draws moments that never come: what is written here kills itself, at the place that a test names."""

    def uniform(self, low, high):
        return 600.0


def killing_itself(parent):
    """What a test puts into a writer, where it is to be killed; its first writes are the parent's own."""

    def kill():
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


def wrong(tally):
    return {name for name, lines in tally.wrongs.items() if lines}


def test_killed_runs_end_as_uninterrupted_ones(kills, monkeypatch, tmp_path):
    monkeypatch.setattr(kills, "EPOCHS", 2)
    tally = kills.kill_runs(tmp_path, 3, draw(), seeds=1)
    assert tally.kills >= 3
    assert tally.finished >= 1
    assert not wrong(tally)


@pytest.mark.parametrize("kind", range(4))
def test_killed_writers_lose_nothing(kills, tmp_path, kind):
    tally = kills.kill_writer(kills.WRITERS[kind](tmp_path), 3, draw())
    assert tally.kills == 3
    assert not wrong(tally)


def test_a_writer_in_place_is_found_to_halve(kills, monkeypatch, tmp_path):
    kill = killing_itself(os.getpid())

    def in_place(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
            file.flush()
            kill()
            file.write(text[len(text) // 2 :])

    monkeypatch.setattr(records, "write_whole", in_place)
    assert "halved" in wrong(kills.kill_writer(kills.Recorder(tmp_path), 1, Late()))


def test_a_writer_that_removes_the_old_file_first_is_found_to_lose(kills, monkeypatch, tmp_path):
    kill = killing_itself(os.getpid())

    def removing(path, text, write=records.write_whole):
        path.unlink(missing_ok=True)
        kill()
        write(path, text)

    monkeypatch.setattr(baselines, "write_whole", removing)
    assert "lost" in wrong(kills.kill_writer(kills.Baseliner(tmp_path), 1, Late()))


@pytest.mark.parametrize("cleared", [True, False])
def test_what_nobody_clears_away_is_found(kills, monkeypatch, tmp_path, cleared):
    kill = killing_itself(os.getpid())

    def halfway(content, file, save=torch.save):
        save(content, file)
        kill()

    monkeypatch.setattr(torch, "save", halfway)
    if not cleared:
        monkeypatch.setattr(records, "clear_leftovers", lambda folder: None)
    tally = kills.kill_writer(kills.Saver(tmp_path), 1, Late())
    assert tally.places == {kills.WITHIN: 1}
    assert wrong(tally) == (set() if cleared else {"left behind"})


def test_a_run_that_goes_on_otherwise_is_found_to_differ(kills, monkeypatch, tmp_path):
    monkeypatch.setattr(kills, "EPOCHS", 2)
    one = next(kills.runs_of(1))
    kills.execute(one, tmp_path / "whole")
    wanted = kills.result(one, tmp_path / "whole")
    path = Store(tmp_path / "whole").folder(one) / kills.run.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert [name for name, value in kills.result(one, tmp_path / "whole").items() if value != wanted[name]] == [
        "weights"
    ]


def test_a_missed_goal_is_said(kills):
    tally = kills.Tally("runs", finished=2)
    tally.places.update({kills.WITHIN: 2, kills.AFTER: 1})
    assert tally.row() == ["runs", "3", "0", "0", "2", "1", "0", "0", "0", "0"]
    assert kills.page([tally], 3)[1]
    assert not kills.page([tally], 4)[1]
    tally.wrongs["lost"].append("run 1")
    text, holds = kills.page([tally], 3)
    assert not holds
    assert "    lost: run 1" in text
    assert "- MISSED: lost: 1" in text
