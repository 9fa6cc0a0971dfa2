"""`vitbench campaign` as its users see it: the plan, the end, the exit code, and several side by side."""

import os
import signal
import subprocess
import sys

import pytest

from tests.processes import few_epochs
from vitbench import cli
from vitbench.errors import DataAbsent, NonFinite, OutOfMemory

ONE = "floros2024/4.1/vit"


def run_cli(capsys, *arguments):
    """Exit code and both streams of a command."""
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_a_dry_run_says_what_would_be_done_and_does_nothing(capsys, tmp_path, executed):
    code, out, _ = run_cli(capsys, "campaign", ONE, "--runs", str(tmp_path / "runs"), "--dry-run")
    assert code == 0
    assert out.startswith("vitbench: 2 runs behind 2 cases, 0 of them done")
    lines = [line.split(",")[0].split()[-1] for line in out.splitlines()[1:]]
    assert lines == [f"{ONE}/ce/digits", f"{ONE}/ce+0.1drloc/digits"]
    assert not executed
    assert not (tmp_path / "runs").exists()


def test_a_campaign_ends_with_what_was_done_what_is_missing_and_a_report(capsys, tmp_path, executed):
    code, out, _ = run_cli(capsys, "campaign", ONE, "--runs", str(tmp_path), "--time-limit", "10m")
    assert code == 0
    assert "campaign: 2 done\nruns that are missing: 0\n" in out
    assert (tmp_path / "report/README.md").exists()
    code, out, _ = run_cli(capsys, "campaign", ONE, "--runs", str(tmp_path))
    assert "campaign: nothing was done\nruns that are missing: 0\n" in out
    assert len(executed) == 2


def test_shards_do_each_run_once(capsys, tmp_path, executed):
    what = ("campaign", "floros2024/4.1/vit", "floros2024/4.1/cvt", "--runs", str(tmp_path))
    for number in (1, 2):
        code, out, _ = run_cli(capsys, *what, "--shard", f"{number}/2")
        assert (code, len(executed)) == (0, 2 * number)
        assert "campaign: 2 done\nruns that are missing: 0\n" in out
    assert len({one.key for one in executed}) == 4
    assert {one.model for one in executed[:2]} != {one.model for one in executed[2:]}


def test_a_shard_may_be_empty(capsys, tmp_path, executed):
    code, out, _ = run_cli(capsys, "campaign", ONE, "--runs", str(tmp_path), "--shard", "2/2")
    assert code == 0
    assert "campaign: nothing was done\nruns that are missing: 0\n" in out
    assert not executed


def test_a_limit_too_short_for_anything_leaves_everything(capsys, tmp_path, executed):
    code, out, _ = run_cli(capsys, "campaign", ONE, "--runs", str(tmp_path), "--time-limit", "1s")
    assert code == 12
    assert "runs that are missing: 2" in out
    assert not executed


@pytest.mark.parametrize(
    ("error", "expected"), [(DataAbsent("no data"), 12), (OutOfMemory("too big"), 12), (NonFinite("nan"), 1)]
)
def test_what_was_lost_decides_the_exit_code(capsys, tmp_path, executed, error, expected):
    executed.error = error
    assert run_cli(capsys, "campaign", ONE, "--runs", str(tmp_path))[0] == expected


def test_an_interrupted_campaign_says_that_it_goes_on(capsys, tmp_path, executed):
    executed.error = KeyboardInterrupt()
    code, _, err = run_cli(capsys, "campaign", ONE, "--runs", str(tmp_path))
    assert code == 130
    assert "the same command goes on where it stopped" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["floros2024/9"], "unknown case or part of one 'floros2024/9'"),
        ([ONE, "--jobs", "0"], "--jobs is a number of processes, at least 1, got 0"),
        ([ONE, "--seeds", "many"], "--seeds is a number of trainings, auto, or auto:CAP, got 'many'"),
        ([ONE, "--seeds", "0"], "--seeds is a number of trainings, at least 1 and at most 1000, got 0"),
        ([ONE, "--shard", "3/2"], "--shard is one part of several, such as 2/4"),
        ([ONE, "--time-limit", "soon"], "--time-limit is a time such as"),
        ([ONE, "--gpu"], "--gpu: torch sees no GPU"),
    ],
)
def test_mistakes_are_one_line(capsys, tmp_path, monkeypatch, arguments, message):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, _, err = run_cli(capsys, "campaign", *arguments, "--runs", str(tmp_path))
    assert code == 2
    assert err.startswith(f"vitbench: {message}")
    assert err.count("\n") == 1


def test_two_jobs_share_the_runs_and_do_each_once(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(few_epochs(2))  # for the processes that it starts as well
    command = [sys.executable, "-m", "vitbench", "campaign", ONE]
    done = subprocess.run(
        [*command, "--jobs", "2", "--runs", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    finished = [line for line in done.stdout.splitlines() if "accuracy" in line and ", in " in line]
    assert len(finished) == len({line.split(",")[0] for line in finished}) == 2
    assert "runs that are missing: 0" in done.stdout


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_jobs_end_with_the_campaign_that_started_them(tmp_path, sign):
    command = [sys.executable, "-m", "vitbench", "campaign", "floros2024/4.1/resnet", ONE, "--jobs", "2"]
    campaign = subprocess.Popen(
        [*command, "--runs", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    while not list(tmp_path.glob("runs/*/lock")):
        assert campaign.poll() is None
    campaign.send_signal(sign)
    # Its processes hold its standard output, so that this returns when the last of them has ended.
    campaign.communicate()
    assert campaign.returncode in (-sign, 128 + sign)
    assert not list(tmp_path.glob("runs/*/record.json"))
