"""For real, in processes of their own: workers that share runs, sessions that are killed or interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.processes import few_epochs


def test_two_workers_do_each_run_once_and_report_together(suite, pytester):
    shorten(pytester, 1)
    result = suite("-k", "test_accuracy and floros2024/4.1/vit", "-n", "2", subprocess=True)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["trained: 2 cases, 0 of them read from records", "report: .vitbench/report/README.md"])
    assert len(list((pytester.path / ".vitbench/runs").glob("run_*/record.json"))) == 2


def test_a_killed_session_resumes(suite, pytester):
    shorten(pytester, 5)
    command = [sys.executable, "-m", "pytest", "-p", "vitbench.plugin", "-p", "no:cacheprovider", "-q", "benchmarks"]
    process = subprocess.Popen([*command, "-k", "test_accuracy and 4.1/vit/ce/"], cwd=pytester.path)
    checkpoint = wait_for(pytester.path / ".vitbench/runs", "run_*/checkpoint.pt")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (checkpoint.parent / "record.json").exists()
    shorten(pytester, 5, checkpoints=False)
    suite("-k", "test_accuracy and 4.1/vit/ce/", subprocess=True).assert_outcomes(passed=1)
    assert not checkpoint.exists()
    curves = json.loads((checkpoint.parent / "record.json").read_text())["details"]["curves"]
    assert [one["epoch"] for one in curves] == list(range(1, 6))


def shorten(pytester, epochs, *, checkpoints=True):
    """Few epochs, in every process that pytest starts here, and a checkpoint after each or after none."""
    seconds = 0 if checkpoints else 1e9
    pytester.makeconftest(
        f"""{few_epochs(epochs)}
from vitbench import checkpoints

checkpoints.CHECKPOINT_SECONDS, checkpoints.SAVING_SHARE = {seconds}, float("inf")
"""
    )


def wait_for(folder: Path, pattern: str) -> Path:
    for _ in range(1200):
        found = list(folder.glob(pattern))
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no {pattern} in {folder}")
