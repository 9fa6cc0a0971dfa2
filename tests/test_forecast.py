"""What is said before a session starts: runs counted once, and time only as far as it is known."""

from dataclasses import replace

import pytest

from vitbench import machine
from vitbench.baselines import Measurement
from vitbench.case import Case, Model, Phase, Pretraining, Recipe
from vitbench.forecast import forecast
from vitbench.objective import parse
from vitbench.options import Options
from vitbench.records import Record
from vitbench.session import Session

PHASE = Phase(epochs=2, batch_size=8, optimizer={"name": "adam", "lr": 1e-3}, schedule={"name": "constant"})
PROVENANCE = {
    "date": "2026-11-02T03:04:05+00:00",
    "seconds": 2.0,
    "device": "h200",
    "precision": "fp32",
    "engine": "eager",
    "commit": "3f2c1ab",
    "versions": {"torch": "2.11.0"},
}


@pytest.fixture(autouse=True)
def processor(monkeypatch):
    monkeypatch.setattr(machine, "device_name", lambda device: "a processor")


def case(objective="ce + 0.1*drloc", **changes):
    plain = Case(
        paper="mine",
        table="1",
        model=Model(name="vit", full="vit/floros2024", tiny="vit/tiny", printed="ViT"),
        objective=parse(objective),
        dataset="digits",
        recipe=Recipe(name="scratch", protocol="paper", selection="last", phases=(PHASE,), quick=(PHASE,)),
    )
    return replace(plain, **changes)


def session_of(folder, *, recorded=(), done=(), **options):
    made = Session(Options(runs=folder, **options))
    made.recorded = list(recorded)
    for one in (made.run_of(case, 0) for case in done):
        content = {"key": one.key, "identity": one.content(), "details": {"test_images": 360}}
        made.store.write(one, Record(kind=one.kind, measurements={}, provenance=PROVENANCE, **content))
    return made


def seconds_of(objective, value, **changes):
    blank = dict.fromkeys(("seed", "key", "torch", "commit", "date"), "") | {"precision": "fp32", "engine": "eager"}
    plain = Measurement(
        **blank,
        paper="mine",
        model="vit",
        objective=objective,
        dataset="digits",
        recipe="scratch",
        budget="quick",
        metric="train_seconds",
        value=value,
        machine="some",
        device="a processor",
    )
    return replace(plain, **changes)


def test_every_run_counts_once_with_the_baselines(tmp_path):
    cases = [case(), case(table="6"), case("ce + 0.2*drloc")]
    told = forecast(session_of(tmp_path), cases)
    assert told == "vitbench: 3 runs behind 3 cases, 0 of them done (quick budget on cpu)"
    done = session_of(tmp_path, done=[case(), case("ce")])
    assert "3 runs behind 3 cases, 2 of them done" in forecast(done, cases)


def test_of_fresh_runs_none_is_done(tmp_path):
    session_of(tmp_path, done=[case(), case("ce")])
    assert "2 runs behind 1 cases, 0 of them done" in forecast(session_of(tmp_path, fresh=True), [case()])


@pytest.mark.parametrize(("each", "text"), [(30.0, "60 s"), (59.9, "120 s"), (200.0, "7 min"), (4000.0, "2.2 h")])
def test_what_was_recorded_is_added_up(tmp_path, each, text):
    known = [seconds_of("ce", each), seconds_of("ce + 0.1*drloc", each)]
    assert f"; about {text} as recorded on a processor (" in forecast(session_of(tmp_path, recorded=known), [case()])


def test_the_mean_of_a_cell_counts_and_other_devices_do_not(tmp_path):
    known = [
        seconds_of("ce", 20.0, seed="0"),
        seconds_of("ce", 40.0, seed="1"),
        seconds_of("ce", 1.0, device="NVIDIA H200"),
        seconds_of("ce", 1.0, device="another processor"),
    ]
    assert "about 30 s" in forecast(session_of(tmp_path, recorded=known), [case("ce")])


def test_a_gpu_of_another_make_is_no_processor(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "device_name", lambda device: "AMD Instinct MI300X")
    known = [seconds_of("ce", 600.0), seconds_of("ce", 30.0, device="AMD Instinct MI300X", engine="graph")]
    told = forecast(session_of(tmp_path, recorded=known, device="cuda"), [case("ce")])
    assert "about 30 s as recorded on AMD Instinct MI300X" in told


def test_where_a_run_is_unknown_the_rest_is_the_least_that_it_takes(tmp_path):
    told = forecast(session_of(tmp_path, recorded=[seconds_of("ce", 180.0)]), [case()])
    assert "; at least about 3 min as recorded on a processor; 1 of 2 runs have no recorded time (" in told


def test_where_nothing_is_known_nothing_is_said_of_time(tmp_path):
    assert "about" not in forecast(session_of(tmp_path, recorded=[seconds_of("me", 20.0)]), [case()])


def test_a_pre_training_is_a_run_of_its_own_that_cases_share(tmp_path):
    before = Pretraining(objective=parse("mae"), dataset="", phases=(PHASE,), quick=(PHASE,))
    recipe = replace(case().recipe, name="mae", pretraining=before)
    session = session_of(tmp_path)
    assert forecast(session, [case("ce", recipe=recipe)]).startswith("vitbench: 3 runs behind 1 cases, 0 of them done")
    both = [case("ce", recipe=recipe), case("ce + 0.1*me", recipe=recipe)]
    assert forecast(session, both).startswith("vitbench: 4 runs behind 2 cases")
