"""Progress speaks now and then, and says how far it is."""

import pytest

from vitbench import progress
from vitbench.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def steps(clock, tell, *, seconds_a_step, count, what="vit, ce", first=0):
    for done in range(first, first + count):
        tell(what, done, 1000, 2.5)
        clock.now += seconds_a_step


@pytest.mark.parametrize(
    ("is_terminal", "seconds", "lines"),
    [(True, progress.TERMINAL_SECONDS, 19), (False, progress.LOG_SECONDS, 19)],
)
def test_it_speaks_now_and_then(clock, is_terminal, seconds, lines):
    said = []
    steps(clock, Progress(said.append, is_terminal=is_terminal), seconds_a_step=seconds / 8, count=160)
    assert len(said) == lines


def test_a_log_is_spoken_to_often_enough_for_ci_and_a_terminal_for_people():
    assert progress.LOG_SECONDS <= 60
    assert progress.TERMINAL_SECONDS <= 1


def test_a_quick_run_is_silent(clock):
    said = []
    steps(clock, Progress(said.append, is_terminal=False), seconds_a_step=0.001, count=1000)
    assert said == []


def test_it_says_what_how_far_how_long_and_the_loss(clock):
    said = []
    steps(clock, Progress(said.append, is_terminal=False), seconds_a_step=1, count=31)
    (line,) = said
    assert line.startswith("vit, ce ")
    assert "30/1000" in line
    assert "3%" in line
    assert "00:30<16:10" in line  # 970 steps to go at one a second
    assert "loss 2.500" in line
    assert line.isprintable()


def test_a_run_that_goes_on_is_timed_from_where_it_goes_on(clock):
    said = []
    steps(clock, Progress(said.append, is_terminal=False), seconds_a_step=1, count=31, first=500)
    (line,) = said
    assert "530/1000" in line
    assert "00:30<07:50" in line  # 470 steps to go, still at one a second


def test_each_run_has_its_own_time(clock):
    said = []
    tell = Progress(said.append, is_terminal=False)
    steps(clock, tell, seconds_a_step=1, count=29)
    steps(clock, tell, seconds_a_step=1, count=29, what="cvt, ce")
    assert said == []
    steps(clock, tell, seconds_a_step=1, count=5, what="cvt, ce", first=29)
    assert len(said) == 1
    assert "00:30<" in said[0]


def test_a_long_name_leaves_room_for_the_rest(clock):
    said = []
    steps(clock, Progress(said.append, is_terminal=True), seconds_a_step=1, count=3, what="m" * 300)
    assert all(len(line) <= 145 and "loss" in line for line in said)
    assert said
