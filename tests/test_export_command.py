"""`vitbench export` as its users see it: a file or standard output, and one line for each mistake."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_export import METHOD, RECORDED, held
from tests.test_transport import run_cli


@pytest.fixture
def runs(tmp_path):
    held(tmp_path)
    return str(tmp_path / "runs")


def test_a_runs_directory_with_the_options_of_its_runs(capsys, tmp_path, runs):
    out = tmp_path / "new" / "higher.json"
    code, text, err = run_cli(capsys, "export", runs, "--seeds", "3", "--direction", "higher", "--out", str(out))
    assert (code, text, err) == (0, "", "")
    entries = {one["name"]: one for one in json.loads(out.read_text(encoding="utf-8"))}
    assert entries[f"{METHOD}: accuracy (quick, fp32)"]["value"] == pytest.approx(97.08333333)
    code, text, _ = run_cli(capsys, "export", runs, "--direction", "higher", "--metric", "gain")
    assert code == 0
    assert {one["value"] for one in json.loads(text)} == {1.5}  # seed 0 alone


def test_runs_of_seeds_that_were_added_are_exported_with_all_of_them(capsys, runs):
    code, text, err = run_cli(capsys, "export", runs, "--seeds", "auto", "--direction", "higher")
    assert (code, err) == (0, "")
    assert text == run_cli(capsys, "export", runs, "--seeds", "3", "--direction", "higher")[1]


def test_recorded_baselines_as_csv(capsys):
    code, text, err = run_cli(capsys, "export", str(RECORDED / "cpu"), "--format", "csv")
    assert (code, err) == (0, "")
    assert {"higher", "lower", ""} == {row["better"] for row in csv.DictReader(io.StringIO(text))}


def test_mistakes_are_one_line(capsys, tmp_path, runs):
    for arguments, said in (
        ([runs], "add --direction higher, or lower"),
        ([runs, "--direction", "higher", "--metric", "acuracy"], "did you mean accuracy"),
        ([runs, "--direction", "higher", "--budget", "short"], "give the options that its runs were made with"),
        ([str(tmp_path / "absent"), "--format", "csv"], "is not there"),
        ([str(tmp_path), "--format", "csv"], "holds no such value"),
        ([runs, "--format", "csv", "--out", str(tmp_path)], "is a folder; name a file"),
        ([runs, "--format", "csv", "--seeds", "auto:99"], "expected a cap of 3 to 20 seeds, got 99"),
    ):
        code, out, err = run_cli(capsys, "export", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert said in err


def test_a_record_that_cannot_be_read_is_named_and_the_rest_exported(capsys, runs):
    path = sorted(Path(runs).glob("runs/*/record.json"))[0]
    path.write_text("{")
    code, out, err = run_cli(capsys, "export", runs, "--seeds", "3", "--direction", "higher")
    assert code == 0
    assert json.loads(out)
    assert "record.json" in err


def test_exporting_imports_no_torch(runs):
    code = (
        "import sys; from vitbench.cli import main; code = main(['export', *sys.argv[1:]]);"
        "assert code == 0; assert not {'torch', 'timm', 'torchvision'} & sys.modules.keys()"
    )
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-c", code, runs, "--direction", "higher"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
