"""`vitbench leaderboard` as its users see it: Markdown or CSV, filters, and one line for each mistake."""

import csv
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.test_transport import run_cli
from vitbench import baselines, papers

RECORDED = papers.data_folder() / "recorded"


def rows_of(capsys, *arguments):
    code, out, err = run_cli(capsys, "leaderboard", "--csv", *arguments)
    assert (code, err) == (0, "")
    return list(csv.DictReader(io.StringIO(out)))


def test_it_prints_the_page_of_what_was_recorded(capsys):
    code, out, err = run_cli(capsys, "leaderboard", "--dataset", "digits", "--budget", "quick")
    assert (code, err) == (0, "")
    assert out.startswith("# Leaderboards\n")
    assert "\n### digits, `quick` budget, last epoch, fp32\n" in out
    assert "Shown are only the data set digits, the quick budget." in out
    assert "cifar10" not in out


def test_every_recorded_accuracy_of_a_run_is_in_a_row(capsys):
    measured, _ = baselines.load_all(RECORDED)
    keys = {one.key for one in measured if one.metric == "accuracy"}
    found = [row for row in rows_of(capsys) if row["kind"] == "measured" and row["selection"] == "last"]
    assert {key for row in found for key in row["keys"].split()} == keys
    by_key = {key: row for row in found for key in row["keys"].split()}
    for one in measured:
        if one.metric == "accuracy":
            row = by_key[one.key]
            assert (row["dataset"], row["budget"], row["precision"]) == (one.dataset, one.budget, one.precision)


def test_filters_leave_what_fits(capsys):
    every = [row for row in rows_of(capsys) if row["params"] and float(row["params"]) <= 5]
    small = rows_of(capsys, "--max-params", "5")
    assert small == every
    both = rows_of(capsys, "--max-params", "5", "--max-macs", "0.1", "--dataset", "cifar10")
    assert both == [row for row in small if row["dataset"] == "cifar10" and float(row["macs"]) <= 0.1]
    assert len(small) > len(both) > 0


@pytest.mark.parametrize(("name", "start"), [("board.csv", "kind,dataset,budget"), ("board.md", "# Leaderboards\n")])
def test_it_writes_a_file_by_the_end_of_its_name(capsys, tmp_path, name, start):
    path = tmp_path / "new" / name
    code, out, err = run_cli(capsys, "leaderboard", "--out", str(path))
    assert (code, out, err) == (0, f"{path}\n", "")
    assert path.read_text(encoding="utf-8").startswith(start)


def test_what_was_recorded_elsewhere_is_shown_and_a_broken_line_named(capsys, tmp_path):
    found, _ = baselines.load(RECORDED / "cpu" / "floros2024.csv")
    plain = [one for one in found if one.metric == "accuracy" and one.objective == "ce"]
    baselines.save(tmp_path, plain)
    with (tmp_path / "cpu" / "floros2024.csv").open("a") as file:
        file.write("broken\n")
    code, out, err = run_cli(capsys, "leaderboard", "--csv", "--recorded", str(tmp_path), "--budget", "quick")
    assert code == 0
    assert len(out.splitlines()) == 1 + len({one.cell for one in plain})
    assert err.startswith("vitbench: ")
    assert err.count("\n") == 1


def test_what_was_recorded_on_data_that_is_not_here_is_left_out_and_the_rest_shown(capsys, tmp_path):
    found, _ = baselines.load(RECORDED / "cpu" / "floros2024.csv")
    plain = [one for one in found if one.metric == "accuracy" and one.objective == "ce"]
    baselines.save(tmp_path, [*plain, *(replace(one, dataset="imagefolder:not/here") for one in plain)])
    assert "digits" in {row["dataset"] for row in rows_of(capsys, "--recorded", str(tmp_path))}
    code, _, err = run_cli(capsys, "report", "--recorded", str(tmp_path), "--out", str(tmp_path / "out"))
    assert (code, err) == (0, "")
    page = (tmp_path / "out" / "floros2024.md").read_text(encoding="utf-8")
    assert "what was recorded of the data set 'imagefolder:not/here' is left out: " in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "cifar1"), "did you mean cifar10"),
        (("--max-params", "0"), "--max-params: expected a number above 0"),
        (("--max-macs", "nan"), "--max-macs: expected a number above 0"),
        (("--recorded", "not/there"), "not/there holds no measurement that can be read; name a folder with"),
        (("--out", ""), "--out is empty; name a file"),
        (("--out", str(RECORDED)), "is a folder; name a file"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, message):
    code, out, err = run_cli(capsys, "leaderboard", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_it_imports_no_torch():
    code = (
        "import sys; from vitbench.cli import main; code = main(['leaderboard', '--csv']);"
        "assert code == 0; assert not {'torch', 'timm', 'torchvision'} & sys.modules.keys()"
    )
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
