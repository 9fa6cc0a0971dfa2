"""The speed report: it runs to its end on a CPU, survives a row that fails, and says what it left out."""

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

PERF = Path(__file__).parents[2] / "benchmarks" / "perf"
SECTIONS = {
    *("ceilings", "counts", "equivalence", "models", "plain", "terms", "kernels", "compile", "side", "precision"),
    *("evaluation", "equivalence of compile"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run on a CPU writes, and how it ended; of one network, as each compilation takes seconds."""
    out = tmp_path_factory.mktemp("speed")
    command = [sys.executable, PERF / "gpu.py", "--device", "cpu", "--tiny", "--seconds", "1500", "--out", out]
    command += ["--without", "resnet", "t2t", "cvt"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PERF.parents[1], check=False)
    return done, json.loads((out / "results.json").read_text()), (out / "results.md").read_text()


@pytest.fixture
def perf(monkeypatch):
    """Imports a file of `benchmarks/perf`, as one script there imports another."""
    monkeypatch.syspath_prepend(str(PERF))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == PERF:
            del sys.modules[name]


def numbers(row):
    return all(math.isfinite(value) for value in row["values"].values()) and bool(row["values"])


def test_every_section_has_numbers(whole):
    done, results, page = whole
    assert done.returncode == 0, done.stderr[-2000:]
    assert {row["section"] for row in results["rows"]} == SECTIONS
    assert not [row for row in results["rows"] if row.get("error") or row.get("skipped") or not numbers(row)]
    assert all(f"## {section}\n" in page for section in SECTIONS)


def test_a_cpu_has_no_numbers_of_a_graph(whole):
    _, results, page = whole
    rows = {(row["section"], row["row"]): row for row in results["rows"]}
    for place in (("models", "vit"), ("plain", "vit"), ("terms", "vit"), ("side", "vit, captured")):
        values, notes = rows[place]["values"], rows[place]["notes"]
        assert not {"graph_ms", "graph_share", "ours_ms", "ce_ms", "plain_over_ours", "1_images_per_s"} & set(values)
        assert any("no CUDA graphs" in note for note in notes)
    assert "graph_difference" not in rows["equivalence", "vit, drloc+me"]["values"]
    assert rows["equivalence", "vit, drloc+me"]["values"]["again_difference"] <= 1e-5
    assert {goal["verdict"] for goal in results["goals"]} == {"not measured"}
    assert results["projection"][-1]["runs"] == 108
    assert results["projection"][-1]["hours"] is None
    assert "the numbers mean nothing" in page


def test_the_other_networks_have_numbers_too(perf, tmp_path):
    sections = {"counts", "equivalence", "models", "evaluation"}
    assert perf("gpu").main(quick(tmp_path, "--without", "vit", "--only", *sorted(sections))) == 0
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert all(numbers(row) for row in rows)
    plain = {(section, model) for section in sections - {"equivalence"} for model in ("resnet", "t2t", "cvt")}
    assert {(row["section"], row["row"]) for row in rows} == {*plain, ("equivalence", "resnet, ce")}


def rows_of(gpu, *given):
    return lambda: iter([gpu.Row("ceilings", name, measure, guess) for name, measure, guess in given])


def quick(out, *more):
    return ["--device", "cpu", "--tiny", "--out", str(out), *more]


def read(out):
    return {row["row"]: row for row in json.loads((out / "results.json").read_text())["rows"]}


def test_a_row_that_raises_is_written_and_the_next_one_is_taken(perf, monkeypatch, tmp_path, capsys):
    gpu = perf("gpu")

    def fails(bench, report):
        raise RuntimeError("no kernel image\nis available")

    given = [("one", lambda bench, report: {"x": 1.0}, 1), ("two", fails, 1)]
    given.append(("three", lambda bench, report: {"x": 3.0, "y": math.nan}, 1))
    monkeypatch.setattr(gpu, "rows", rows_of(gpu, *given))
    assert gpu.main(quick(tmp_path)) == 1
    rows = read(tmp_path)
    assert rows["two"]["error"] == "RuntimeError: no kernel image"
    assert (rows["one"]["values"], rows["three"]["values"]) == ({"x": 1.0}, {"x": 3.0})
    assert "in fails" in (tmp_path / "errors.txt").read_text()
    assert "- two: failed, RuntimeError: no kernel image" in capsys.readouterr().out


def test_what_no_time_is_left_for_is_named_and_taken_up_later(perf, monkeypatch, tmp_path):
    gpu = perf("gpu")
    asked = []
    monkeypatch.setattr(
        gpu,
        "rows",
        rows_of(
            gpu,
            ("short", lambda bench, report: {"x": 1.0}, 10),
            ("long", lambda bench, report: asked.append("long") or {"x": 2.0}, 10),
        ),
    )
    assert gpu.main(quick(tmp_path, "--seconds", "0.5")) == 0
    assert all("s are left" in row["skipped"] for row in read(tmp_path).values())
    assert "- long: skipped, it may take 1.0 s" in (tmp_path / "results.md").read_text()
    assert not asked
    assert gpu.main(quick(tmp_path, "--resume", "--seconds", "60")) == 0
    assert {name: row["values"] for name, row in read(tmp_path).items()} == {"short": {"x": 1.0}, "long": {"x": 2.0}}
    assert gpu.main(quick(tmp_path, "--resume", "--seconds", "60")) == 0
    assert asked == ["long"]


def test_rows_of_another_device_are_not_gone_on_from(perf, tmp_path):
    speed_report = perf("speed_report")
    speed_report.Report(tmp_path, {"device": "one card"}).write()
    with pytest.raises(SystemExit, match="one card"):
        speed_report.Report(tmp_path, {"device": "another"}).read()


def test_a_row_needs_the_time_of_the_longest_of_its_section(perf, tmp_path):
    gpu, speed_report = perf("gpu"), perf("speed_report")
    report = speed_report.Report(tmp_path, {})
    report.add({"section": "ceilings", "row": "one", "values": {}, "notes": [], "seconds": 10.0})
    bench = gpu.Bench(gpu.torch.device("cpu"), tiny=True)
    gpu.take(gpu.Row("ceilings", "two", lambda bench, report: {"x": 1.0}, 1), bench, report, left=12.9)
    assert report.rows[-1]["skipped"] == "it may take 13.0 s, and 12.9 s are left"
    gpu.take(gpu.Row("ceilings", "two", lambda bench, report: {"x": 1.0}, 1), bench, report, left=13.1)
    assert report.rows[-1]["values"] == {"x": 1.0}


def test_a_device_that_answers_no_more_gets_a_fresh_process(perf, monkeypatch, tmp_path):
    gpu = perf("gpu")
    commands = []
    monkeypatch.setattr(gpu, "rows", rows_of(gpu, ("one", lambda bench, report: {"x": 1.0}, 1)))
    monkeypatch.setattr(gpu, "answers", lambda bench: False)
    monkeypatch.setattr(gpu.subprocess, "call", lambda command: commands.append(command) or 7)
    assert gpu.main(quick(tmp_path, "--seconds", "50")) == 7
    (command,) = commands
    assert command[2:8] == quick(tmp_path, "--seconds")
    assert command[9:11] == ["--restarted", "--seconds"]
    assert 0 < float(command[11]) <= 50
    assert read(tmp_path)["one"]["values"] == {"x": 1.0}


def test_no_gpu_is_one_line(perf, monkeypatch, tmp_path, capsys):
    gpu = perf("gpu")
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    assert gpu.main(["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def report_of(speed_report, folder, rows, **more):
    made = speed_report.Report(folder, {}, **more)
    for section, row, values in rows:
        made.add({"section": section, "row": row, "values": values, "notes": []})
    return made


def test_hours_are_runs_times_steps_times_the_step(perf, tmp_path):
    speed_report = perf("speed_report")
    runs = [speed_report.Runs("vit", "ce", 2, 39_000, 100), speed_report.Runs("t2t", "drloc+me", 4, 39_000, 100)]
    rows = [
        ("ceilings", "matmul", {"peak_tflops": 800.0}),
        ("counts", "vit", {"ce_gflop": 800.0}),
        ("counts", "t2t", {"drloc+me_gflop": 1600.0}),
        ("models", "t2t", {"graph_ms": 3.0}),
        ("terms", "vit", {"ce_ms": 2.0, "drloc_ms": 2.1, "me_ms": 2.9}),
        ("evaluation", "vit", {"accuracy_s": 0.1, "fgsm_s": 2.0}),
    ]
    made = report_of(speed_report, tmp_path, rows, runs=runs)
    plain, mixed, total = made.projection()
    assert plain["hours"] == pytest.approx(2 * 39_000 * 2e-3 / 3600)
    assert plain["floor_hours"] == pytest.approx(2 * 39_000 * 1e-3 / 3600)
    assert plain["evaluation_hours"] == pytest.approx(2 * (100 * 0.1 + 2) / 3600)
    assert mixed["step_ms"] == pytest.approx(3 + 0.1 + 0.9)  # what was measured on the ViT stands in
    assert mixed["source"] == "ce and the terms' measured extra"
    assert total["hours"] == pytest.approx(plain["hours"] + mixed["hours"])
    assert total["evaluation_hours"] is None


@pytest.mark.parametrize(
    ("share", "graph", "verdicts"),
    [
        (41.0, 0.39, ["reached, and the aim too"] * 2),
        (28.0, 0.65, ["reached"] * 2),
        (27.0, 0.66, ["not reached"] * 2),
    ],
)
def test_goals_are_judged_by_the_side_that_they_bound(perf, tmp_path, share, graph, verdicts):
    speed_report = perf("speed_report")
    values = {"graph_share": share, "graph_over_eager": graph}
    made = report_of(speed_report, tmp_path, [("models", "vit", values)])
    judged = {goal["goal"]: goal["verdict"] for goal in made.judged() if goal["of"] == "vit"}
    assert [judged["share of the measured peak, %"], judged["graph over eager autocast"]] == verdicts
    assert judged["drloc over ce"] == "not measured"


def test_predictions_stand_beside_what_came_out(perf, tmp_path):
    speed_report = perf("speed_report")
    rows = [("models", "vit", {"graph_ms": 5.0}), ("terms", "vit", {"ce_ms": 5.0, "me_ms": 6.8})]
    made = report_of(speed_report, tmp_path, rows)
    lines = {line["what"]: line for line in made.compared()}
    assert lines["vit: graph, ms"]["measured/predicted"] == pytest.approx(2.0)
    assert lines["vit: me adds, ms, captured"]["measured/predicted"] == pytest.approx(2.0)
    assert lines["vit: compile, ms"]["measured"] is None


class Replaying:
    """In the place of CUDA's graphs: a replay calls the step."""

    def warm(self, step, *, strict):
        step()

    def capture(self, step, generators):
        return step


@pytest.mark.filterwarnings("ignore")  # of forks and of what torch compiles
def test_where_there_are_graphs_every_goal_finds_its_number(perf, monkeypatch, tmp_path):
    gpu, workbench, speed_report = perf("gpu"), perf("workbench"), perf("speed_report")
    monkeypatch.setattr(workbench, "of_device", lambda name, device: workbench.Engine(name=name, graphs=Replaying))
    monkeypatch.setattr(speed_report, "MODELS", ("vit",))
    wanted = [row for row in gpu.rows() if row.name in ("vit", "matmul", "vit, drloc+me")]
    monkeypatch.setattr(gpu, "rows", lambda: iter(wanted))
    bench, report = gpu.Bench(gpu.torch.device("cpu"), tiny=True), speed_report.Report(tmp_path, {})
    for row in wanted:
        gpu.take(row, bench, report, math.inf)
    assert not [row["error"] for row in report.rows if row.get("error")]
    assert {goal["of"] for goal in report.judged() if goal["measured"] is None} == {"all"}
    values = {(row["section"], row["row"]): row["values"] for row in report.rows}
    assert {"graph_ms", "compile_ms", "compile_over_graph", "ready_s"} <= values["compile", "vit"].keys()
    assert values["equivalence", "vit, drloc+me"]["graph_difference"] <= 1e-5
    assert values["equivalence of compile", "vit, drloc+me"]["compile_difference"] <= 1e-5
