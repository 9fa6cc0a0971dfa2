"""Results for other tools: the form is the one that is asked for, the numbers are those of the records."""

import csv
import io
import json
import re
from dataclasses import replace
from statistics import mean, stdev

import pytest

from tests.test_summary import record
from vitbench import baselines, export, papers
from vitbench.errors import UserError
from vitbench.options import Options
from vitbench.session import Session

RECORDED = papers.data_folder() / "recorded"
METHOD, PLAIN = "floros2024/4.1/vit/ce+0.1drloc/digits", "floros2024/4.1/vit/ce/digits"
OURS, THEIRS = (96.5, 97.25, 97.5), (95.0, 96.0, 95.5)
# What the action's README says of each entry: name, unit and value are required, range and extra are not.
SCHEMA = {"name": str, "unit": str, "value": (int, float), "range": str, "extra": str}
RANGE = re.compile(r"(?P<prefix>(\+-|±)\s*)(?P<value>\d.*)")  # as the action reads it


def held(tmp_path, *, ours=OURS, theirs=THEIRS, **options):
    """A session whose runs directory has a method and its plain baseline, and those two cases."""
    session = Session(Options(runs=tmp_path / "runs", seeds=3, **options))
    cases = {case.id: case for case in session.options.selection.cases([session.papers["floros2024"]])}
    chosen = [cases[PLAIN], cases[METHOD]]
    for case, values in zip(chosen, (theirs, ours), strict=True):
        for seed, value in enumerate(values):
            identity = session.run_of(case, seed)
            session.store.write(identity, record(identity, {"accuracy": value, "fgsm_drop": 2.0, "epochs": 3.0}))
    return session, chosen


def by_name(series):
    return {one.name: one for one in series}


def test_a_mean_over_seeds_with_its_spread_under_the_name_of_its_case(tmp_path):
    found = by_name(export.of_runs(*held(tmp_path)))
    one = found[f"{METHOD}: accuracy (quick, fp32)"]
    assert (one.mean, one.spread) == (pytest.approx(mean(OURS)), pytest.approx(stdev(OURS)))
    gain = found[f"{METHOD}: gain (quick, fp32)"]
    differences = [a - b for a, b in zip(OURS, THEIRS, strict=True)]
    assert (gain.mean, gain.spread) == (pytest.approx(mean(differences)), pytest.approx(stdev(differences)))
    assert f"{PLAIN}: gain (quick, fp32)" not in found


def test_the_form_is_that_of_github_action_benchmark(tmp_path):
    series = export.of_runs(*held(tmp_path))
    entries = json.loads(export.as_json(export.chosen(series, direction="higher", metrics=())))
    assert [one["name"].partition(": ")[::2] for one in entries] == [
        (METHOD, "accuracy (quick, fp32)"),
        (METHOD, "gain (quick, fp32)"),
        (PLAIN, "accuracy (quick, fp32)"),
    ]
    for entry in entries:
        assert set(entry) == set(SCHEMA)
        assert all(isinstance(entry[part], kind) and not isinstance(entry[part], bool) for part, kind in SCHEMA.items())
        assert float(RANGE.match(entry["range"])["value"]) > 0
    assert entries[0]["unit"] == "%"
    assert entries[0]["extra"].splitlines() == [
        "n: 3 (seeds 0, 1, 2)",
        "machine: h200",
        "precision: fp32",
        "engine: eager",
        "torch: 2.11.0",
        "commit: 3f2c1ab",
        "date: 2026-11-02",
    ]


def test_one_seed_has_no_range(tmp_path):
    series = export.of_runs(*held(tmp_path, ours=(97.0,), theirs=(96.0,)))
    entries = json.loads(export.as_json(series))
    assert {tuple(entry) for entry in entries} == {("name", "unit", "value", "extra")}


def test_a_gain_is_of_the_seeds_that_both_have(tmp_path):
    found = by_name(export.of_runs(*held(tmp_path, theirs=THEIRS[:2])))
    assert found[f"{METHOD}: gain (quick, fp32)"].values == {"0": 1.5, "1": 1.25}


def test_what_is_better_the_lower_stands_in_a_file_of_its_own(tmp_path):
    series = export.of_runs(*held(tmp_path))
    lower = {one.metric for one in export.chosen(series, direction="lower", metrics=())}
    assert lower == {"fgsm_drop"}
    either = {one.metric for one in export.chosen(series, direction=None, metrics=())}
    assert either == {"accuracy", "gain", "fgsm_drop", "epochs"}
    assert {one.metric for one in export.chosen(series, direction=None, metrics=("gain",))} == {"gain"}


def test_what_an_older_version_left_behind_is_not_exported(tmp_path):
    session, cases = held(tmp_path)
    old = replace(session.run_of(cases[1], 0), versions={"train": "0"})
    session.store.write(old, record(old, {"accuracy": 1.0}))
    assert by_name(export.of_runs(session, cases))[f"{METHOD}: accuracy (quick, fp32)"].mean == pytest.approx(97.083333)


@pytest.mark.parametrize("machine", sorted(path.name for path in RECORDED.iterdir() if path.is_dir()))
def test_every_recorded_value_is_in_one_series(machine):
    series, problems = export.of_recorded(RECORDED / machine)
    measured = [one for one in baselines.load_all(RECORDED)[0] if one.machine == machine]
    assert problems == []
    export.check_names(series)
    assert sorted(one for each in series for one in each.values.values()) == sorted(one.value for one in measured)
    assert all(one.metric in each.name for each in series for one in each.made)


def test_times_of_two_machines_are_two_series(tmp_path):
    (one,) = [one for one in baselines.load(RECORDED / "cpu" / "floros2024.csv")[0] if one.metric == "train_seconds"][
        :1
    ]
    other = replace(one, device="another", value=2 * one.value)
    baselines.save(tmp_path, [one])
    baselines.save(tmp_path / "b", [other])
    files = [tmp_path / "cpu" / "floros2024.csv", tmp_path / "b" / "cpu" / "floros2024.csv"]
    names = [each.name for file in files for each in export.of_recorded(file)[0]]
    assert len(set(names)) == 2
    assert "another" in names[1]


def test_two_series_of_one_name_are_refused(tmp_path):
    series = export.of_runs(*held(tmp_path))
    with pytest.raises(UserError, match="two series are named"):
        export.check_names([*series, series[0]])


def test_csv_has_every_number_and_reads_back(tmp_path):
    series = export.of_runs(*held(tmp_path))
    rows = list(csv.DictReader(io.StringIO(export.as_csv(series))))
    assert len(rows) == len(series)
    (row,) = [one for one in rows if one["case"] == METHOD and one["metric"] == "accuracy"]
    assert float(row["value"]) == pytest.approx(mean(OURS))
    assert float(row["spread"]) == pytest.approx(stdev(OURS))
    shown = [row[name] for name in ("unit", "better", "n", "seeds", "budget", "precision", "device", "commit")]
    assert shown == ["%", "higher", "3", "0 1 2", "quick", "fp32", "h200", "3f2c1ab"]
