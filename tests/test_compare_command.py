"""`vitbench compare` as its users see it: a summary, a table, and one line for each mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.record_sets import count, finish, right
from tests.test_transport import run_cli
from vitbench import baselines, papers
from vitbench.baselines import load_all

RECORDED = papers.data_folder() / "recorded"


@pytest.fixture
def sides(tmp_path):
    """Two runs directories of three seeds, the second two points better."""
    for name, values in (("a", (90.0, 91.5, 90.5)), ("b", (92.0, 93.25, 92.75))):
        for seed, value in enumerate(values):
            finish(tmp_path / name, value, seed=seed, bits={"clean": right(value)}, train_seconds=5.0)
        count(tmp_path / name)
    return str(tmp_path / "a"), str(tmp_path / "b")


def test_the_summary_is_the_first_line_and_the_table_follows(capsys, sides):
    code, out, err = run_cli(capsys, "compare", *sides)
    assert (code, err) == (0, "")
    first, blank, header, *rest = out.splitlines()
    assert first.startswith("2 cases in both, 7 comparisons; ")
    assert blank == ""
    assert [cell.strip() for cell in header.split("|")[1:-1]][:5] == ["case", "metric", "A", "B", "B - A"]
    assert len(rest) == 1 + 7


def test_a_metric_can_be_chosen_and_a_wrong_one_is_one_line(capsys, sides):
    code, out, _ = run_cli(capsys, "compare", *sides, "--metric", "params", "--metric", "macs")
    assert code == 0
    assert out.startswith("1 case in both, 2 comparisons; 0 of 0 tested differ (adjusted p < 0.05); 0 of 2 counted")
    code, out, err = run_cli(capsys, "compare", *sides, "--metric", "acuracy")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "did you mean accuracy" in err


def test_an_unreadable_record_is_named_and_the_rest_compared(capsys, sides):
    path = sorted(Path(sides[1]).glob("runs/*/record.json"))[0]
    path.write_text("{")
    code, out, err = run_cli(capsys, "compare", *sides)
    assert code == 0
    assert "cases in both" in out
    assert err == f"vitbench: {path}: left out, it is torn or no JSON (line 1)\n"


def test_what_cannot_be_compared_is_one_line(capsys, tmp_path, sides):
    for wrong in (str(tmp_path / "absent"), str(RECORDED), str(RECORDED / "cpu")):
        code, out, err = run_cli(capsys, "compare", sides[0], wrong)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert wrong in err


@pytest.mark.parametrize("machine", sorted(path.name for path in RECORDED.iterdir() if path.is_dir()))
def test_what_was_recorded_compares_with_itself_line_by_line(capsys, machine):
    folder = str(RECORDED / machine)
    code, out, err = run_cli(capsys, "compare", folder, folder)
    assert (code, err) == (0, "")
    table = [line for line in out.splitlines() if line.startswith("|")][2:]
    found, _ = load_all(RECORDED)
    own = [one for one in found if one.machine == machine]
    assert len(table) == len({(*one.cell, one.precision, one.engine) for one in own})
    assert "only in A: " not in out


def test_a_changed_number_is_found_among_those_recorded(capsys, tmp_path):
    found, _ = baselines.load(RECORDED / "any" / "floros2024.csv")
    baselines.save(tmp_path, found)
    path = tmp_path / "any" / "floros2024.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1].replace(f"{found[-1].value:.10g}", "123.5")]))
    code, out, _ = run_cli(capsys, "compare", str(RECORDED / "any" / "floros2024.csv"), str(path))
    assert code == 0
    assert f"1 of {len(found)} counted differ" in out.splitlines()[0]


def test_comparing_imports_no_torch(sides):
    code = (
        "import sys; from vitbench.cli import main; code = main(['compare', *sys.argv[1:]]);"
        "assert code == 0; assert not {'torch', 'timm', 'torchvision'} & sys.modules.keys()"
    )
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", code, *sides], env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
