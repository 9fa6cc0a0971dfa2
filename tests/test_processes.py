"""For real, in processes of their own: workers that share runs, sessions that are killed or interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def test_two_workers_do_each_run_once_and_report_together(suite, pytester):
    few_epochs(pytester, 2)
    result = suite("-k", "test_accuracy and floros2024/4.1 and (vit or resnet)", "-n", "2", subprocess=True)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["trained: 4 cases, 0 of them read from records", "report: .vitbench/report/README.md"])
    assert len(list((pytester.path / ".vitbench/runs").glob("run_*/record.json"))) == 4


def test_a_killed_session_resumes(suite, pytester):
    few_epochs(pytester, 15)
    command = [sys.executable, "-m", "pytest", "-p", "vitbench.plugin", "-p", "no:cacheprovider", "-q", "benchmarks"]
    process = subprocess.Popen([*command, "-k", "test_accuracy and 4.1/vit/ce/"], cwd=pytester.path)
    checkpoint = wait_for(pytester.path / ".vitbench/runs", "run_*/checkpoint.pt")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (checkpoint.parent / "record.json").exists()
    few_epochs(pytester, 15, checkpoints=False)
    suite("-k", "test_accuracy and 4.1/vit/ce/", subprocess=True).assert_outcomes(passed=1)
    assert not checkpoint.exists()
    curves = json.loads((checkpoint.parent / "record.json").read_text())["details"]["curves"]
    assert [one["epoch"] for one in curves] == list(range(1, 16))


def few_epochs(pytester, epochs, *, checkpoints=True):
    """A quick budget of so many epochs and without floors, in every process that pytest starts here."""
    pytester.makeconftest(
        f"""
        from dataclasses import replace
        from vitbench import checkpoints, papers

        def shortened(load=papers.load_all):
            for paper in load():
                tables = tuple(replace(table, cases=tuple(map(case, table.cases))) for table in paper.tables)
                yield replace(paper, tables=tables, floors={{}})

        def case(one):
            quick = tuple(replace(phase, epochs={epochs}) for phase in one.recipe.quick)
            return replace(one, recipe=replace(one.recipe, quick=quick))

        papers.load_all = lambda: list(shortened())
        checkpoints.CHECKPOINT_SECONDS, checkpoints.SAVING_SHARE = {0 if checkpoints else 1e9}, float("inf")
        """
    )


def wait_for(folder: Path, pattern: str) -> Path:
    for _ in range(1200):
        found = list(folder.glob(pattern))
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no {pattern} in {folder}")
