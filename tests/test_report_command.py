"""`vitbench report` as its users see it: of what was recorded, and of a runs directory."""

from urllib.parse import quote

import pytest

from tests.test_export import held
from tests.test_transport import run_cli
from vitbench import baselines, papers


def test_report_renders_what_is_recorded(capsys, tmp_path):
    code, out, _ = run_cli(capsys, "report", "--out", str(tmp_path / "reports"))
    assert code == 0
    assert "Table 4.6" in (tmp_path / "reports/floros2024.md").read_text()
    pages = sorted(f"{path.stem}.md" for path in (papers.data_folder() / "papers").glob("*.toml"))
    assert {"floros2024.md", "liu2021.md", "tan2024.md"} <= set(pages)
    told = [path.removeprefix(f"{tmp_path / 'reports'}/") for path in out.splitlines()]
    named = [name for name in told if not name.startswith("figures/")]
    assert named == ["README.md", *pages, "leaderboard.md", "index.html"]
    assert {name for name in told if name.startswith("figures/")} == {
        f"figures/{path.name}" for path in (tmp_path / "reports/figures").iterdir()
    }


def test_a_report_never_overwrites_somebody_elses_readme(capsys, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# My project\n")
    code, _, err = run_cli(capsys, "report", "--out", str(tmp_path))
    assert code == 2
    assert "would be overwritten" in err
    assert readme.read_text() == "# My project\n"


def test_report_names_what_it_left_out(capsys, tmp_path):
    (tmp_path / "mine").mkdir()
    line = "floros2024,vit,ce,digits,scratch,quick,accuracy,0,97,k,mine,a processor,fp32,eager,2.11,c,2026-11-02\n"
    path = tmp_path / "mine/floros2024.csv"
    path.write_text(f"{baselines.HEADER}\n{line}torn\n")
    arguments = ("report", "--recorded", str(tmp_path), "--out", str(tmp_path / "out"))
    code, out, err = run_cli(capsys, *arguments)
    assert code == 0
    assert err == f"vitbench: {path}:3: left out, expected 17 values, got 1\n"
    assert "floros2024.md" in out
    path.write_text(f"{baselines.HEADER}\ntorn\n")
    code, out, err = run_cli(capsys, *arguments)
    assert (code, out) == (2, "")
    assert "holds no measurement that can be read" in err


def test_report_of_a_folder_that_is_not_there_says_so(capsys, tmp_path):
    code, _, err = run_cli(capsys, "report", "--recorded", str(tmp_path / "no"), "--out", str(tmp_path / "out"))
    assert code == 2
    assert err.count("\n") == 1


@pytest.fixture
def runs(tmp_path):
    held(tmp_path)
    return tmp_path / "runs"


def test_a_runs_directory_with_the_options_of_its_runs(capsys, tmp_path, runs):
    code, out, err = run_cli(capsys, "report", str(runs), "--seeds", "3")
    assert (code, out, err) == (0, f"{runs / 'report/README.md'}\n", "")
    page = (runs / "report/floros2024.md").read_text()
    assert "97.08" in page
    assert "(n = 3)" in page
    out = tmp_path / "elsewhere"
    assert run_cli(capsys, "report", str(runs), "--seeds", "auto", "--out", str(out))[:2] == (0, f"{out}/README.md\n")
    assert "97.08 ± 0.52 (n = 3)" in (out / "floros2024.md").read_text()


def test_records_of_other_options_are_counted(capsys, runs):
    code, _, err = run_cli(capsys, "report", str(runs), "--seeds", "2")
    assert (code, err) == (0, "vitbench: 2 of 6 records are of other options, such as --seeds, and not shown\n")


def test_it_is_the_report_that_a_session_writes(capsys, runs):
    from vitbench import summary
    from vitbench.options import Options
    from vitbench.session import Session

    run_cli(capsys, "report", str(runs), "--seeds", "3")
    told = {path.name: path.read_bytes() for path in (runs / "report").rglob("*") if path.is_file()}
    summary.write_report(Session(Options(runs=runs, seeds=3)), runs / "report")
    assert {path.name: path.read_bytes() for path in (runs / "report").rglob("*") if path.is_file()} == told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{runs}", "--budget", "short"], "holds no such record; give the options that its runs were made with"),
        (["{runs}/no"], "holds no runs; name a runs directory, or recorded baselines by --recorded"),
        (["{runs}", "--recorded", "{runs}"], "--recorded is another source than RUNS; leave one of them out"),
        (["--budget", "short"], "--budget is of a runs directory"),
        (["--micro-batch", "8"], "--micro-batch is of a runs directory"),
        (["{runs}", "--seeds", "0"], "--seeds is a number of trainings, at least 1"),
        (["{runs}", "--model", "timm/nothing"], "unknown timm model"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(capsys, runs, arguments, said):
    code, out, err = run_cli(capsys, "report", *(one.format(runs=runs) for one in arguments))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (runs / "report").exists()


def test_what_cannot_be_trusted_is_named_and_the_rest_shown(capsys, runs):
    first, *_ = sorted(runs.glob("runs/*/record.json"))
    first.write_text(first.read_text()[:-20])
    code, _, err = run_cli(capsys, "report", str(runs), "--seeds", "3")
    assert code == 0
    assert err.startswith(f"vitbench: {first}: it is torn or no JSON")
    assert (runs / "report/floros2024.md").exists()


def test_a_cell_of_a_runs_directory_leads_to_its_record(capsys, runs):
    run_cli(capsys, "report", str(runs), "--seeds", "3")
    page = (runs / "report/index.html").read_text()
    (folder,) = (path.parent.name for path in runs.glob("runs/*drloc*_s0_*/record.json"))
    assert f"../runs/{quote(folder)}/record.json" in page
