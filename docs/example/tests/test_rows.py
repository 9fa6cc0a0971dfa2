"""Trained by vitbench, the parts have their rows in its report, beside the paper's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3] / "benchmarks"
BENCHMARKS = [str(CHECKOUT)] if CHECKOUT.is_dir() else ["--pyargs", "vitbench.benchmarks"]
# The mixer under the term, and under plain cross-entropy, which it is compared with.
CHOSEN = "test_accuracy and floros2024/4.1/mixer and (decov or /ce/)"
PARTS = ("--objective", "ce + 0.1*decov", "--model", "mixer", "--dataset", "half_digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the suite trained them, in less than a minute."""
    folder = tmp_path_factory.mktemp("trained")
    command = [sys.executable, "-m", "pytest", *BENCHMARKS, "-q", "-p", "no:cacheprovider", "-k", CHOSEN, *PARTS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    return folder / ".vitbench"


def test_they_have_a_row_in_the_papers_table_and_have_learnt(folder):
    report = (folder / "report/floros2024.md").read_text()
    row = re.search(r"^\| mixer +\| ce \+ 0\.1\\?\*decov +\| ([\d.]+)", report, re.M)
    assert row, report
    assert float(row[1]) > 80  # guessing has 10


def test_they_have_a_row_on_the_leaderboard_of_the_data_set(folder):
    board = (folder / "report/leaderboard.md").read_text().partition("### half_digits, `quick` budget")[2]
    assert re.search(r"^\|.*\| mixer +\|.*ce \+ 0\.1\\?\*decov +\|", board, re.M)
