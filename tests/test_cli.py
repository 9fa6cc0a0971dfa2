"""The command line as its users meet it."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import a_pretraining
from tests.conftest import PROVENANCE
from vitbench import cli, errors, kept, papers
from vitbench.records import Store
from vitbench.selection import Selection

COLUMNS = ["paper", "table", "model", "objective", "dataset", "recipe", "metric", "value", "source", "status"]


def run_cli(capsys, *arguments):
    code = cli.main(arguments)
    out = capsys.readouterr()
    return code, out.out, out.err


def test_claims_are_the_printed_cells_in_long_form(capsys):
    code, out, _ = run_cli(capsys, "claims", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert list(rows[0]) == COLUMNS
    assert "floros2024,4.1,resnet,ce,cifar10,scratch,accuracy,78.65,printed,runnable" in out.splitlines()
    accuracies = [row for row in rows if row["paper"] == "floros2024" and row["metric"].endswith("accuracy")]
    assert len(accuracies) == 228
    assert sum(row["metric"] == "adversarial_accuracy" for row in accuracies) == 16
    assert sum(row["metric"] == "fgsm_drop" for row in rows) == 16


def test_the_cell_for_two_weights_is_one_line(capsys):
    _, out, _ = run_cli(capsys, "claims", "--csv")
    rows = [row for row in csv.DictReader(io.StringIO(out)) if (row["table"], row["model"]) == ("4.4", "vit")]
    cell = [
        row
        for row in rows
        if row["dataset"] == "cifar10" and "me" in row["objective"] and "drloc" not in row["objective"]
    ]
    assert [(row["objective"], row["value"]) for row in cell] == [("ce + 0.1*me", "63.82")]


def test_list_shows_the_ids_that_run_takes(capsys):
    _, out, _ = run_cli(capsys, "list", "--budget", "paper")
    assert len([one for one in out.splitlines() if one.startswith("floros2024/")]) == 212
    assert "floros2024/4.5/t2t/ce+0.1me_ratio0.85/cifar10" in out.splitlines()
    assert "liu2021/2a/swin_tiny/ce+0.5drloc_pairs32/cifar100/paper" in out.splitlines()


@pytest.mark.parametrize(("what", "name"), [("models", "vit"), ("terms", "drloc"), ("datasets", "digits")])
def test_list_shows_names(capsys, what, name):
    assert name in run_cli(capsys, "list", what)[1].splitlines()


def test_list_shows_what_packages_bring_with_its_package_and_what_nobody_can_use(capsys, package, distribution):
    name = package("losses.py", "def build(shape): ...\n")
    distribution("mypkg", f"[vitbench.terms]\nspread = {name}.losses\nce = {name}.losses\n", release="2.5")
    code, out, err = run_cli(capsys, "list", "terms")
    assert code == 0
    assert f"spread  mypkg 2.5 ({name}.losses)" in out.splitlines()
    assert "ce" in out.splitlines()
    assert err.startswith(f"note: the term 'ce' is brought by vitbench and by mypkg 2.5 ({name}.losses); uninstall one")
    assert "spread" not in run_cli(capsys, "list", "models")[1]


def test_check_counts_what_it_read(capsys):
    code, out, _ = run_cli(capsys, "check")
    assert code == 0
    assert "coquenet2023.toml: 7 tables, 5 cases, 146 printed numbers" in out
    assert "detkov2022.toml: 10 tables, 24 cases, 47 printed numbers" in out
    assert "floros2024.toml: 6 tables, 212 cases, 244 printed numbers" in out
    assert "liu2021.toml: 6 tables, 280 cases, 295 printed numbers" in out


def test_check_refuses_an_empty_name(capsys):
    code, _, err = run_cli(capsys, "check", "")
    assert (code, err) == (2, "vitbench: the folder is empty; name a folder\n")


def test_check_names_the_first_mistake_and_fails(capsys, tmp_path):
    (tmp_path / "broken.toml").write_text('title = "x"\nauthrs = "y"\n')
    code, _, err = run_cli(capsys, "check", str(tmp_path))
    assert code == 2
    assert err.count("\n") == 1
    assert "broken.toml:2" in err
    assert "did you mean authors" in err


def test_an_unknown_id_is_one_line_with_the_nearest(capsys, tmp_path):
    code, _, err = run_cli(capsys, "run", "floros2024/4.1/vit/ce+0.1drlok/digits", "--runs", str(tmp_path))
    assert code == 2
    assert err.startswith(
        "vitbench: unknown case 'floros2024/4.1/vit/ce+0.1drlok/digits'; did you mean floros2024/4.1/vit/ce+0.1drloc"
    )
    assert err.count("\n") == 1
    assert len(err) < 1000


def test_run_does_one_case_with_its_baseline(capsys, tmp_path, executed):
    code, out, _ = run_cli(capsys, "run", "floros2024/4.1/vit/ce+0.1drloc/digits", "--runs", str(tmp_path))
    assert code == 0
    assert len(executed) == 2
    assert "floros2024/4.1/vit/ce/digits" in out
    assert "+0.00" in out


def test_run_of_absent_data_ends_with_12_in_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("VITBENCH_DATA", raising=False)
    arguments = ("run", "floros2024/4.1/vit/ce/cifar10", "--dataset", "cifar10", "--runs", str(tmp_path))
    code, _, err = run_cli(capsys, *arguments)
    assert code == 12
    assert err.count("\n") == 1
    assert "--download" in err


def test_run_below_the_floor_ends_with_10(capsys, tmp_path, executed):
    executed.measurements["run"]["accuracy"] = 50.0
    code, out, _ = run_cli(capsys, "run", "floros2024/4.1/vit/ce/digits", "--runs", str(tmp_path))
    assert code == 10
    assert "accuracy is worse: measured 50" in out


def test_record_adds_to_the_baselines_what_the_runs_hold(capsys, tmp_path, executed, monkeypatch):
    monkeypatch.setattr("vitbench.machine.commit", lambda: "3f2c1ab")
    run_cli(capsys, "run", "floros2024/4.1/vit/ce/digits", "--runs", str(tmp_path))
    arguments = ("--runs", str(tmp_path), "--machine", "mine", "--recorded", str(tmp_path / "recorded"))
    code, _, _ = run_cli(capsys, "record", *arguments, "--reason", "first numbers")
    assert code == 0
    lines = (tmp_path / "recorded/mine/floros2024.csv").read_text().splitlines()
    assert len(lines) == 4
    assert any(",accuracy,0,97," in line for line in lines)


@pytest.fixture
def pretrained(tmp_path, monkeypatch):
    """A runs directory with what a pre-training and what follows it left; returns their keys."""
    (tmp_path / "tan2024.toml").write_text(a_pretraining.TEXT)
    found = (papers.load(tmp_path / "tan2024.toml"),)
    monkeypatch.setattr("vitbench.papers.load_all", lambda: found)
    monkeypatch.setattr("vitbench.machine.commit", lambda: "3f2c1ab")
    case = next(kept.pretrained(Selection().cases(found)))
    return a_pretraining.leave(Store(tmp_path / "runs"), case)


def test_record_keeps_curves_and_pictures_and_report_draws_them(capsys, tmp_path, pretrained):
    recorded, out = tmp_path / "recorded", tmp_path / "reports"
    arguments = ("--runs", str(tmp_path / "runs"), "--machine", "mine", "--recorded", str(recorded))
    code, lines, err = run_cli(capsys, "record", *arguments, "--reason", "first numbers")
    assert (code, err) == (0, "")
    names = [
        "mine/tan2024.csv",
        "mine/curves/tan2024.csv",
        *(f"mine/pictures/tan2024/{pretrained[0]}_epoch-000{n}.png" for n in (1, 4)),
        "reasons.csv",
    ]
    assert lines.splitlines() == [f"{recorded / name}: first numbers" for name in names]
    code, lines, err = run_cli(capsys, "report", "--recorded", str(recorded), "--out", str(out))
    assert (code, err) == (0, "")
    figures = [line for line in lines.splitlines() if Path(line).parent == out / "figures"]
    assert len(figures) == 4
    page = (out / "tan2024.md").read_text(encoding="utf-8")
    assert all(f"(figures/{Path(line).name})" in page for line in figures)


def test_record_and_report_name_a_picture_that_cannot_be_used(capsys, tmp_path, pretrained):
    (path,) = (tmp_path / "runs").rglob("epoch-0001.safetensors")
    path.write_bytes(b"torn")
    recorded = tmp_path / "recorded"
    arguments = ("--runs", str(tmp_path / "runs"), "--machine", "mine", "--recorded", str(recorded))
    code, _, err = run_cli(capsys, "record", *arguments, "--reason", "first numbers")
    assert code == 0
    assert err.startswith(f"vitbench: {path}: left out, it is torn")
    (sheet,) = recorded.rglob("*.png")
    sheet.write_bytes(b"torn")
    code, _, err = run_cli(capsys, "report", "--recorded", str(recorded), "--out", str(tmp_path / "out"))
    assert code == 0
    assert err.startswith(f"vitbench: {sheet}: left out, ")
    assert err.count("\n") == 1
    assert len(list((tmp_path / "out/figures").iterdir())) == 2


@pytest.mark.parametrize(
    ("commit", "reason", "line"),
    [
        ("3f2c1ab+", "a reason", "uncommitted changes"),
        ("", "a reason", "VITBENCH_COMMIT"),
        ("3f2c1ab", " ", "--reason is empty"),
    ],
)
def test_record_refuses_what_nobody_could_trace(capsys, tmp_path, monkeypatch, commit, reason, line):
    monkeypatch.setattr("vitbench.machine.commit", lambda: commit)
    code, _, err = run_cli(capsys, "record", "--runs", str(tmp_path), "--machine", "mine", "--reason", reason)
    assert code == 2
    assert line in err
    assert err.count("\n") == 1


def test_record_refuses_what_was_made_of_an_unclean_tree(capsys, tmp_path, executed, monkeypatch):
    monkeypatch.setattr("vitbench.machine.commit", lambda: "3f2c1ab")
    monkeypatch.setitem(PROVENANCE, "commit", "3f2c1ab+")
    run_cli(capsys, "run", "floros2024/4.1/vit/ce/digits", "--runs", str(tmp_path))
    arguments = ("--runs", str(tmp_path), "--machine", "mine", "--recorded", str(tmp_path / "recorded"))
    code, _, err = run_cli(capsys, "record", *arguments, "--reason", "first numbers")
    assert code == 2
    assert "uncommitted changes (3f2c1ab+)" in err
    assert not (tmp_path / "recorded").exists()


def test_record_of_several_devices_asks_whose(capsys, tmp_path, executed, monkeypatch):
    monkeypatch.setattr("vitbench.machine.commit", lambda: "3f2c1ab")
    for device, case in (("a card", "ce"), ("a processor", "ce+0.1drloc")):
        monkeypatch.setitem(PROVENANCE, "device", device)
        run_cli(capsys, "run", f"floros2024/4.1/vit/{case}/digits", "--runs", str(tmp_path))
    arguments = ("record", "--runs", str(tmp_path), "--machine", "mine", "--recorded", str(tmp_path / "recorded"))
    code, _, err = run_cli(capsys, *arguments, "--reason", "why")
    assert code == 2
    assert "of 2 devices: a card, a processor; name one with --device" in err
    assert run_cli(capsys, *arguments, "--reason", "why", "--device", "a card")[0] == 0
    lines = (tmp_path / "recorded/mine/floros2024.csv").read_text().splitlines()
    assert all(",a card," in line for line in lines[1:])


def test_record_of_an_empty_folder_says_what_to_do(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("vitbench.machine.commit", lambda: "3f2c1ab")
    code, _, err = run_cli(capsys, "record", "--runs", str(tmp_path), "--machine", "mine", "--reason", "x")
    assert code == 2
    assert "pytest benchmarks" in err


def test_doctor_tells_versions_device_and_data(capsys, monkeypatch):
    monkeypatch.delenv("VITBENCH_DATA", raising=False)
    code, out, _ = run_cli(capsys, "doctor")
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "found" in lines["digits"]
    assert "--download" in lines["cifar10"]
    assert {"python", "torch", "timm", "fvcore", "device", "GPU", "data"} <= lines.keys()


@pytest.mark.parametrize(
    "error", [errors.NonFinite("lost"), errors.OutOfMemory("too large"), errors.DataBroken("torn")]
)
def test_no_foreseen_error_is_a_traceback(capsys, tmp_path, executed, error):
    executed.error = error
    code, _, err = run_cli(capsys, "run", "floros2024/4.1/vit/ce/digits", "--runs", str(tmp_path))
    assert code == (2 if isinstance(error, errors.NonFinite) else 12)
    assert err == f"vitbench: {error}\n"


@pytest.mark.parametrize("arguments", [["check"], ["list"], ["claims", "--csv"], ["report", "--out", "out"]])
def test_looking_imports_no_torch(tmp_path, arguments):
    code = (
        "import sys; from vitbench.cli import main; code = main(sys.argv[1:]);"
        "assert code == 0; assert not {'torch', 'timm', 'torchvision'} & sys.modules.keys()"
    )
    subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, env=with_path(), check=True, capture_output=True
    )


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m vitbench list --budget paper | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=with_path(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr == ""


def with_path():
    root = str(Path(__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}


def test_run_takes_the_seed_and_trains_afresh_when_told(capsys, tmp_path, executed):
    arguments = ("run", "floros2024/4.1/vit/ce/digits", "--runs", str(tmp_path), "--seed", "3")
    run_cli(capsys, *arguments)
    run_cli(capsys, *arguments)
    assert [one.seed for one in executed] == [3]
    run_cli(capsys, *arguments, "--fresh")
    assert [one.seed for one in executed] == [3, 3]


@pytest.mark.parametrize(
    ("command", "option"), [("report", "--out"), ("report", "--recorded"), ("run", "--runs"), ("run", "--data")]
)
def test_a_file_where_a_folder_belongs_is_one_line(capsys, tmp_path, command, option):
    path = tmp_path / "file"
    path.write_text("")
    arguments = ["floros2024/4.1/vit/ce/digits"] if command == "run" else []
    code, _, err = run_cli(capsys, command, *arguments, option, str(path))
    assert code == 2
    assert err.count("\n") == 1
    assert str(path) in err


def test_check_of_a_folder_without_papers_says_so(capsys, tmp_path):
    code, _, err = run_cli(capsys, "check", str(tmp_path))
    assert code == 2
    assert f"{tmp_path} holds no paper file" in err


RUN = ("run", "floros2024/4.1/vit/ce/digits")


def test_an_empty_vitbench_data_is_none(capsys, monkeypatch):
    monkeypatch.setenv("VITBENCH_DATA", "")
    assert "no folder: give --data DIR" in run_cli(capsys, "doctor")[1]


@pytest.mark.parametrize(
    ("fresh", "line"), [([], "the same command goes on where it stopped"), (["--fresh"], "--fresh would begin anew")]
)
def test_an_interrupted_run_says_how_it_goes_on(capsys, tmp_path, executed, fresh, line):
    executed.error = KeyboardInterrupt()
    code, _, err = run_cli(capsys, *RUN, "--runs", str(tmp_path), *fresh)
    assert code == 130
    assert err.startswith("vitbench: interrupted: ")
    assert line in err
    assert err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux' /dev/full")
@pytest.mark.parametrize("arguments", ["check", "claims --csv"])
def test_a_full_disk_behind_standard_output_is_one_line(arguments):
    command = f"{sys.executable} -m vitbench {arguments} > /dev/full"
    done = subprocess.run(["bash", "-c", command], env=with_path(), capture_output=True, text=True, check=False)
    assert done.returncode == 12
    assert done.stderr.startswith("vitbench: No space left on device; free space")
    assert done.stderr.count("\n") == 1


def test_a_closed_standard_output_is_no_error():
    command = f"{sys.executable} -m vitbench list --budget paper >&-"
    done = subprocess.run(["bash", "-c", command], env=with_path(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_of_plain_ascii_is_no_error():
    command = [sys.executable, "-m", "vitbench", "leaderboard", "--dataset", "digits"]
    environment = with_path() | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\xb1" in done.stdout
