"""What reports draw is kept beside the numbers that it belongs to, and of no other runs."""

import fnmatch
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from tests import a_pretraining
from vitbench import baselines, kept, papers
from vitbench.case import Budget
from vitbench.identity import of_run
from vitbench.kept import Kept
from vitbench.records import Store
from vitbench.selection import Selection


@pytest.fixture
def paper(tmp_path):
    path = tmp_path / "tan2024.toml"
    path.write_text(a_pretraining.TEXT)
    return papers.load(path)


@pytest.fixture
def case(paper):
    return next(kept.pretrained(Selection().cases([paper])))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "somewhere")


def recorded(store, folder, case, *, seeds=(0,), machine="h200"):
    """What `vitbench record` does with the runs of a case; returns the files of curves and pictures."""
    found, measured = Kept(), []
    for seed in seeds:
        for one in (case, case.baseline, case.before(Budget.QUICK)):
            identity = of_run(one, budget=Budget.QUICK, seed=seed)
            record = store.read(identity)
            measured += baselines.measurements(one, record, machine=machine)
            found.take(record, store.folder(identity), machine=machine)
    baselines.save(folder, measured)
    return kept.save(folder, found, measured)


def test_cells_that_are_shown_are_of_pretrainings_what_follows_and_the_same_from_scratch(case, paper):
    plain = next(one for one in papers.load_all() if one.name == "floros2024")
    shown = kept.cells([case, *plain.cases], Budget.QUICK)
    assert shown == {
        ("tan2024", "mae_c10", "ce", "digits", "c10", "quick"),
        ("tan2024", "mae_c10", "ce", "digits", "scratch", "quick"),
        ("tan2024", "mae_c10", "me", "digits", "c10-pretraining", "quick"),
    }
    printed = kept.cells(Selection(budget=Budget.PAPER).cases([paper]), Budget.PAPER)
    before = {cell[1:4] for cell in printed if cell[4].endswith("-pretraining")}
    assert before == {("mae_c10", "me", "cifar10"), ("mae_c100", "me", "cifar100")}


def test_what_is_kept_is_what_the_runs_left(tmp_path, case, store):
    before, after, plain = a_pretraining.leave(store, case)
    curves, *sheets = recorded(store, tmp_path / "recorded", case)
    assert curves == tmp_path / "recorded/h200/curves/tan2024.csv"
    assert [path.name for path in sheets] == [f"{before}_epoch-0001.png", f"{before}_epoch-0004.png"]
    found = kept.load(tmp_path / "recorded")
    assert found.problems == []
    assert {run: (one.losses, one.accuracies) for run, one in found.curves.items()} == {
        ("h200", before): ((4.0, 2.0, 1.0, 0.5), ()),
        ("h200", after): ((1.0, 0.5, 0.25), (60.0, 80.0, 90.0)),
        ("h200", plain): ((2.0, 1.0, 0.5), (50.0, 70.0, 85.0)),
    }
    assert (found.pictures["h200", before][4].original == a_pretraining.images()["original"]).all()


def test_recording_again_changes_nothing(tmp_path, case, store):
    a_pretraining.leave(store, case)
    files = recorded(store, tmp_path / "recorded", case)
    content = {path: path.read_bytes() for path in files}
    assert recorded(store, tmp_path / "recorded", case) == files
    assert {path: path.read_bytes() for path in files} == content


def test_pictures_are_kept_of_the_first_seed_and_curves_of_all(tmp_path, case, store):
    keys = [a_pretraining.leave(store, case, seed=seed) for seed in (0, 1, 2)]
    recorded(store, tmp_path / "recorded", case, seeds=(2, 0, 1))
    found = kept.load(tmp_path / "recorded")
    assert {key for _, key in found.curves} == {key for of_seed in keys for key in of_seed}
    assert {key for _, key in found.pictures} == {keys[0][0]}


def test_of_a_run_that_was_replaced_nothing_stays(tmp_path, case, store):
    a_pretraining.leave(store, case)
    recorded(store, tmp_path / "recorded", case)
    recipe = replace(case.recipe, quick=tuple(replace(one, epochs=5) for one in case.recipe.quick))
    later = replace(case, recipe=recipe)  # the same cells, trained otherwise; and no pictures
    new = a_pretraining.leave(store, later, pictures=(), date="2026-11-05T00:00:00+00:00")
    recorded(store, tmp_path / "recorded", later)
    found = kept.load(tmp_path / "recorded")
    assert {key for _, key in found.curves} == set(new)
    # Its pre-training is the same run, done again.
    assert {key for _, key in found.pictures} == {new[0]}


def test_an_older_record_takes_no_newer_ones_place(tmp_path, case, store):
    a_pretraining.leave(store, case, date="2026-11-05T00:00:00+00:00")
    recorded(store, tmp_path / "recorded", case)
    before = kept.load(tmp_path / "recorded").curves
    older = Store(tmp_path / "older")
    a_pretraining.leave(older, case, gain=5.0, date="2026-11-01T00:00:00+00:00")
    recorded(older, tmp_path / "recorded", case)
    assert kept.load(tmp_path / "recorded").curves == before


def test_machines_are_kept_apart(tmp_path, case, store):
    a_pretraining.leave(store, case)
    (before, *_) = a_pretraining.leave(store, case)
    recorded(store, tmp_path / "recorded", case, machine="h200")
    recorded(store, tmp_path / "recorded", case, machine="cpu")
    found = kept.load(tmp_path / "recorded")
    assert {machine for machine, _ in found.curves} == {"h200", "cpu"}
    assert set(found.pictures) == {("h200", before), ("cpu", before)}


def test_what_cannot_be_used_is_named_once_and_the_rest_is_taken(tmp_path, case, store):
    before = case.before(Budget.QUICK)
    a_pretraining.leave(store, case)
    identity, record = a_pretraining.record(before, details={"curves": [{"loss": "much"}]})
    path = store.folder(identity) / "pictures/epoch-0001.safetensors"
    path.write_bytes(b"torn")
    found = Kept()
    for _ in range(2):  # two cells share the run
        found.take(record, store.folder(identity), machine="")
    assert found.curves == {}
    assert list(found.pictures["", record.key[:12]]) == [4]
    assert [str(path) in found.problems[0], "record.json: its curve is left out" in found.problems[1]] == [True, True]
    assert len(found.problems) == 2


def test_a_wheel_carries_what_is_kept(tmp_path, case, store):
    a_pretraining.leave(store, case)
    files = recorded(store, tmp_path / "recorded", case)
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    carried = project["tool"]["setuptools"]["package-data"]["vitbench.data"]
    for path in files:
        name = str(path.relative_to(tmp_path))
        assert any(fnmatch.fnmatch(name, one) and name.count("/") == one.count("/") for one in carried), name
