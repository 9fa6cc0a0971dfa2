"""Records that cannot be trusted, all at once beside good ones: each is named and left out, the others are judged."""

import json
import shutil
from dataclasses import replace

import pytest

from tests.test_baselines import HEADER, MANY, ONE
from vitbench import baselines, papers, recordsets
from vitbench.cli import main
from vitbench.report.results import Results

CASES = "test_accuracy and floros2024/4.6"


def edited(text):
    return text.replace('"accuracy": 97.0', '"accuracy": 99.0')


def newer(text):
    return text.replace('"schema": 1', '"schema": 2')


FAULTS = {
    "edited": (edited, "it was changed after it was written"),
    "of another run": (lambda text: text.replace('"seed": 0', '"seed": 1'), "its key is not the digest of its"),
    "newer": (newer, "its schema is 2, this version reads 1"),
    "NaN": (lambda text: text.replace('"accuracy": 97.0', '"accuracy": NaN'), "it is no JSON: NaN is no number"),
    "cut off": (lambda text: text[: len(text) // 2], "it is torn or no JSON (line "),
    "two documents": (lambda text: text + text, "it goes on after its end (line "),
    "a name twice": (
        lambda text: text.replace('"accuracy": 97.0', '"accuracy": 97.0, "accuracy": 99.0'),
        "'accuracy' stands twice in one object",
    ),
}  # fmt: skip


@pytest.fixture
def damaged(suite, executed, pytester):
    """A runs directory of 16 runs, one with each fault, and three copies; returns the damaged paths by their fault."""
    suite("-k", CASES).assert_outcomes(passed=16)
    paths = sorted((pytester.path / ".vitbench/runs").glob("run_*/record.json"))
    assert len(paths) == len(executed) == 16
    found = dict(zip(FAULTS, paths, strict=False))
    for name, path in found.items():
        text = path.read_text()
        path.write_text(FAULTS[name][0](text))
        assert path.read_text() != text
    good = paths[-1].parent
    for name in (f"old_{good.name}", f"{good.name} (copy)"):
        shutil.copytree(good, good.with_name(name))
    shutil.copy(paths[-1], good / "record (1).json")
    executed.clear()
    return found


def copies(runs):
    return [path for path in runs.glob("*/record*.json") if " (" in str(path) or path.parent.name.startswith("old_")]


def test_a_session_names_each_damaged_record_does_only_these_runs_again_and_judges_all(
    suite, executed, pytester, damaged
):
    executed.measurements["run"]["accuracy"] = 96.0
    contents = {name: path.read_text() for name, path in damaged.items()}
    doubled = copies(pytester.path / ".vitbench/runs")
    result = suite("-k", CASES)
    result.assert_outcomes(passed=16)
    assert {one.name for one in executed} == {path.parent.name for path in damaged.values()}
    notes = [line for line in result.outlines if line.startswith("note: ")]
    for name, path in damaged.items():
        (note,) = (line for line in notes if str(path.relative_to(pytester.path)) in line)
        (aside,) = path.parent.glob("record.json.set-aside-*")
        assert FAULTS[name][1] in note
        assert note.endswith(f"set aside as {aside.name}, the run is done again")
        assert aside.read_text() == contents[name]
        assert json.loads(path.read_text())["measurements"]["accuracy"] == 96.0
    assert len(doubled) == 3
    for path in doubled:
        assert path.exists()
        assert sum(f"{path.relative_to(pytester.path)}: left out, " in line for line in notes) == 1
    assert len(notes) == len(damaged) + 3
    report = (pytester.path / ".vitbench/report/README.md").read_text()
    assert sum(line.count(": left out, ") for line in report.splitlines()) == 3
    again = suite("-k", CASES)  # the damaged ones are no longer there to be named; the copies still are
    assert sum(line.startswith("note: ") for line in again.outlines) == 3
    assert len(executed) == len(damaged)


def test_compare_names_each_damaged_record_and_pairs_the_others(damaged, pytester, capsys):
    runs = pytester.path / ".vitbench"
    before = {path: path.read_bytes() for path in runs.rglob("record*")}
    found = recordsets.read(runs)
    assert {one.value for one in found.values if one.metric == "accuracy"} == {97.0}
    assert sum(one.metric == "accuracy" for one in found.values) == 16 - len(damaged)
    assert len(found.problems) == len(damaged) + 3
    for name, path in damaged.items():
        (problem,) = (line for line in found.problems if line.startswith(f"{path}: left out, "))
        assert FAULTS[name][1] in problem
    assert main(["compare", str(runs), str(runs)]) == 0
    shown = capsys.readouterr()
    for problem in found.problems:
        assert shown.err.count(f"vitbench: {problem}\n") == 2  # of either side
    assert {path: path.read_bytes() for path in runs.rglob("record*")} == before


# Recorded baselines


LINES = {
    "edited": (lambda line: line.replace("63.82", "63,82"), "expected 17 values, got 18"),
    "misspelt": (lambda line: line.replace("accuracy", "acuracy"), "no usable value of a known metric: acuracy 63.82"),
    "NaN": (lambda line: line.replace("63.82", "nan"), "no usable value of a known metric: accuracy nan"),
    "doubled": (lambda line: line, "it stands twice, line 2 is of the same cell, seed and precision"),
    "doubled with another value": (lambda line: line.replace("63.82", "99"), "it stands twice, line 2 is of the same"),
    "cut off": (lambda line: line[: len(line) // 2], "expected 17 values, got "),
    "cut off in its last value": (lambda line: line[:-1], "expected a date such as 2026-11-02, got '2026-11-0'"),
}


@pytest.fixture
def recorded(tmp_path):
    """Baselines of which one file has every fault of a line, one is of a newer version and one is whole.

    Returns the folder and the problems to be named, as (start, reason).
    """
    folder = tmp_path / "recorded"
    (path,) = baselines.save(folder, [replace(one, paper="floros2024") for one in MANY])
    line = path.read_text().splitlines()[1]
    expected = []
    with path.open("a") as file:
        for number, (fault, reason) in enumerate(LINES.values(), start=len(MANY) + 2):
            file.write(fault(line) + "\n")
            expected.append((f"{path}:{number}: left out, ", reason))
    (other,) = baselines.save(tmp_path / "made", [replace(ONE, machine="newer", paper="floros2024")])
    (folder / "newer").mkdir()
    later = folder / "newer" / other.name
    later.write_text(other.read_text().replace(HEADER, f"schema,{HEADER}").replace("\nfloros", "\n2,floros"))
    (whole,) = baselines.save(tmp_path / "made", [replace(ONE, machine="cpu", paper="floros2024", seed="7")])
    (folder / "cpu").mkdir()
    shutil.copy(whole, folder / "cpu")
    return folder, [*expected, (f"{later}:1: left out, ", f"expected the columns {HEADER}")]


def named(problems, expected):
    assert len(problems) == len(expected)
    for start, reason in expected:
        (problem,) = (line for line in problems if line.startswith(start))
        assert reason in problem


def test_each_damaged_line_is_named_and_the_others_are_counted_once(recorded):
    folder, expected = recorded
    found, problems = baselines.load_all(folder)
    named(problems, expected)
    assert len(found) == len(MANY) + 1
    assert len(list(Results(found))) == len(found)
    assert {one.value for one in found} == {63.82, -0.5}


def test_a_report_is_rendered_of_what_can_be_read_and_says_what_was_left_out(recorded, tmp_path, capsys):
    folder, expected = recorded
    assert main(["report", "--recorded", str(folder), "--out", str(tmp_path / "out")]) == 0
    named([line.removeprefix("vitbench: ") for line in capsys.readouterr().err.splitlines()], expected)
    index = (tmp_path / "out" / "README.md").read_text()
    assert index.count(": left out, ") == len(expected)


def test_check_names_each_and_ends_with_2(recorded, capsys, monkeypatch):
    folder, expected = recorded
    sources = papers.data_folder() / "papers"
    monkeypatch.setattr(papers, "data_folder", lambda: folder.parent)
    assert main(["check", str(sources)]) == 2
    lines = capsys.readouterr().out.splitlines()
    named(lines[: len(expected)], expected)
    assert lines[-1] == f"recorded: {len(MANY) + 1} measurements"


def test_compare_takes_what_can_be_read(recorded, capsys):
    folder, expected = recorded
    machine = str(folder / "h200")
    assert main(["compare", machine, machine]) == 0
    shown = capsys.readouterr()
    for start, reason in expected[:-1]:
        assert sum(line.startswith(f"vitbench: {start}") and reason in line for line in shown.err.splitlines()) == 2


def test_nothing_is_added_to_a_file_with_a_damaged_line(recorded):
    folder, _ = recorded
    before = {path: path.read_bytes() for path in folder.rglob("*.csv")}
    with pytest.raises(baselines.UserError, match="mend the file, then record again"):
        baselines.save(folder, [replace(ONE, paper="floros2024", seed="9")])
    assert {path: path.read_bytes() for path in folder.rglob("*.csv")} == before
