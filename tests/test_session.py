"""A session: every run once, a method with its own baseline, and verdicts that nothing slips through."""

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest

from vitbench import errors, identity, run
from vitbench.baselines import Measurement
from vitbench.case import Budget, Case, Model, Phase, Pretraining, Recipe
from vitbench.compare import Verdict
from vitbench.objective import parse
from vitbench.options import Options
from vitbench.records import Record
from vitbench.selection import Selection
from vitbench.session import Outcome, Session

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


def case(objective="ce + 0.1*drloc", **changes):
    plain = Case(
        paper="mine",
        table="1",
        model=Model(name="vit", full="vit/floros2024", tiny="vit/tiny", printed="ViT"),
        objective=parse(objective),
        dataset="digits",
        recipe=Recipe(name="scratch", protocol="paper", selection="last", phases=(PHASE,), quick=(PHASE,)),
        defaults={"drloc": {"pairs": 32}},
    )
    return replace(plain, **changes)


class Runs(list):
    """What was executed; `values(identity)` decides what comes out."""

    error = None
    invalid: ClassVar = {}

    def values(self, one):
        if one.kind == "size":
            return {"params": 15.0, "macs": 1.0}
        if one.kind == "pretraining":
            return {"loss": 0.02}
        return {"accuracy": 97.0 + one.seed, "fgsm_drop": 5.0}


@pytest.fixture
def runs(monkeypatch):
    done = Runs()

    def execute(one, setting, *, fresh=False):
        done.append(one)
        if done.error:
            raise done.error
        record = Record(
            kind=one.kind,
            key=one.key,
            identity=one.content(),
            measurements=done.values(one),
            invalid=done.invalid,
            provenance=PROVENANCE,
            details={"test_images": 360},
        )
        setting.store.write(one, record)
        return record

    monkeypatch.setattr(run, "execute", execute)
    return done


@pytest.fixture
def session(tmp_path):
    return session_of(tmp_path)


def session_of(folder, *, recorded=(), floor=95.0, **options):
    made = Session(Options(runs=folder, **options))
    made.papers = {"mine": SimpleNamespace(floors={"vit": floor})}
    made.recorded = list(recorded)
    return made


def recorded(metric, value, **changes):
    blank = dict.fromkeys(("recipe", "seed", "key", "precision", "engine", "torch", "commit", "date"), "")
    plain = Measurement(
        **blank,
        paper="mine",
        model="vit",
        objective="ce + drloc",
        dataset="digits",
        budget="paper",
        metric=metric,
        value=value,
        machine="any",
        device="",
    )
    return replace(plain, **changes)


def held(outcome):
    """Findings but for what nothing was recorded for."""
    return [finding for finding in outcome.findings if finding.verdict != Verdict.NEW]


def verdicts(outcome):
    return {finding.metric: finding.verdict for finding in outcome.findings}


def objectives(runs):
    return [str(one.objective) for one in runs]


# A method and its baseline


def test_a_method_brings_its_plain_baseline_along_and_before_itself(runs, session):
    outcome = session.accuracy(case())
    assert objectives(runs) == ["ce", "ce + 0.1*drloc(hidden=128, pairs=8)"]
    assert [record.key for record, _ in outcome.plain] == [runs[0].key]
    assert [record.key for record, _ in outcome.records] == [runs[1].key]
    plain, method = (one.content() for one in runs)
    differing = {key for key in plain if plain[key] != method[key]}
    assert differing == {"objective", "versions"}  # of which versions name the further leaf


@pytest.mark.parametrize("term", ["drloc(pairs=0)", "drloc(loss='ce', unit='span')", "me(ratio=1.5)", "me(heads=7)"])
def test_an_argument_that_a_term_refuses_is_told_before_the_baseline_is_trained(runs, session, term):
    with pytest.raises(errors.UserError, match=r"^(drloc|me): "):
        session.accuracy(case(f"ce + 0.1*{term}"))
    assert not runs


def test_the_baseline_of_several_methods_is_trained_once(runs, session):
    for objective in ("ce + 0.1*drloc", "ce + 0.1*me", "ce"):
        session.accuracy(case(objective))
    assert objectives(runs).count("ce") == 1
    assert len(runs) == 3


def test_plain_cross_entropy_brings_nothing_along(runs, session):
    outcome = session.accuracy(case("ce"))
    assert objectives(runs) == ["ce"]
    assert outcome.plain == ()
    assert outcome.gain("accuracy") is None


def test_cells_of_two_tables_share_a_run(runs, session):
    session.accuracy(case())
    outcome = session.accuracy(case(table="6"))
    assert len(runs) == 2
    assert not outcome.cached  # it was made in this session


def pretrained(objective="ce", **changes):
    before = Pretraining(objective=parse("mae"), dataset="", phases=(PHASE,), quick=(PHASE,))
    plain = case(objective, **changes)
    return replace(plain, recipe=replace(plain.recipe, name="mae", pretraining=before))


def test_a_pre_trained_case_brings_its_pre_training_and_the_same_from_scratch_along(runs, session):
    outcome = session.accuracy(pretrained())
    assert [(one.kind, one.objective.names, one.pretraining is None) for one in runs] == [
        ("run", ("ce",), True),
        ("pretraining", ("mae",), True),
        ("run", ("ce",), False),
    ]
    assert outcome.gain("accuracy") == 0.0
    session.accuracy(pretrained("ce + 0.1*drloc"))  # a second fine-tuning from the same weights
    assert [(one.kind, one.objective.names) for one in runs[3:]] == [("run", ("ce", "drloc"))]


def test_fresh_does_a_pre_training_again_but_only_once_a_session(runs, tmp_path):
    session_of(tmp_path).accuracy(pretrained())
    session = session_of(tmp_path, fresh=True)
    session.accuracy(pretrained())
    session.accuracy(pretrained("ce + 0.1*drloc"))
    assert [one.kind for one in runs[3:]] == ["run", "pretraining", "run", "run"]


def test_each_seed_has_a_pre_training_of_its_own(runs, tmp_path):
    session_of(tmp_path, seeds=2).accuracy(pretrained())
    assert [one.seed for one in runs if one.kind == "pretraining"] == [0, 1]


def test_a_failing_baseline_keeps_its_method_from_running(runs, session):
    runs.error = errors.DataAbsent("nowhere")
    with pytest.raises(errors.DataAbsent):
        session.accuracy(case())
    assert objectives(runs) == ["ce"]


# Read and made


def test_what_an_earlier_session_made_is_read_and_says_so(runs, tmp_path):
    made = session_of(tmp_path).accuracy(case())
    read = session_of(tmp_path).accuracy(case())
    assert len(runs) == 2
    assert made.cached == ""
    assert read.cached == "cached 2026-11-02 h200 3f2c1ab"
    assert read.mean("accuracy") == made.mean("accuracy")


def test_half_read_is_not_cached(runs, tmp_path):
    session_of(tmp_path, seeds=1).accuracy(case())
    assert session_of(tmp_path, seeds=2).accuracy(case()).cached == ""


def test_fresh_makes_each_run_again_but_only_once_a_session(runs, tmp_path):
    session_of(tmp_path).accuracy(case())
    again = session_of(tmp_path, fresh=True)
    assert not again.is_done(again.run_of(case(), 0))
    again.accuracy(case())
    again.accuracy(case("ce + 0.2*drloc"))
    assert objectives(runs[2:]) == [
        "ce",
        "ce + 0.1*drloc(hidden=128, pairs=8)",
        "ce + 0.2*drloc(hidden=128, pairs=8)",
    ]
    assert again.is_done(again.run_of(case(), 0))


def test_what_another_process_made_meanwhile_is_read_and_says_so(runs, tmp_path, monkeypatch):
    theirs, ours = session_of(tmp_path), session_of(tmp_path)

    def wait(one, setting, *, fresh=False):  # for the lock, while the other process does the run
        monkeypatch.setattr(run, "execute", execute)
        theirs.accuracy(case("ce"))
        return setting.store.read(one)

    execute = run.execute
    monkeypatch.setattr(run, "execute", wait)
    assert ours.accuracy(case("ce")).cached == "cached 2026-11-02 h200 3f2c1ab"
    assert len(runs) == 1


# Seeds


def test_seeds_give_means_and_gains_between_the_same_seeds(runs, tmp_path):
    accuracies = {("ce", 0): 90.0, ("ce", 1): 92.0, ("drloc", 0): 91.0, ("drloc", 1): 96.0}
    runs.values = lambda one: {"accuracy": accuracies[one.objective.names[-1], one.seed]}
    outcome = session_of(tmp_path, seeds=2).accuracy(case())
    assert [(one.objective.names[-1], one.seed) for one in runs] == list(accuracies)
    assert outcome.mean("accuracy") == 93.5
    assert outcome.gain("accuracy") == 2.5
    assert len(outcome.records) == len(outcome.plain) == 2


def test_a_mean_over_seeds_needs_every_seed(runs, tmp_path):
    runs.values = lambda one: {"accuracy": 97.0} | ({"fgsm_drop": 5.0} if one.seed else {})
    outcome = session_of(tmp_path, seeds=2).accuracy(case())
    assert outcome.mean("fgsm_drop") is None
    assert outcome.gain("fgsm_drop") is None


# Sizes against what was recorded

SIZES = (recorded("params", 15.0), recorded("macs", 1.0))


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({"params": 15.0, "macs": 1.0}, {"params": "same", "macs": "same"}),
        ({"params": 15.000001, "macs": 1.0}, {"params": "worse", "macs": "same"}),
        ({"params": 15.0, "macs": 1.1}, {"params": "same", "macs": "worse"}),
        ({"params": 14.0, "macs": 1.0}, {"params": "better", "macs": "same"}),
        ({"params": 15.0}, {"params": "same", "macs": "missing"}),
        ({}, {"params": "missing", "macs": "missing"}),
    ],
)
def test_sizes_are_judged_to_the_unit_and_a_size_that_vanished_is_missing(runs, tmp_path, measured, expected):
    runs.values = lambda one: measured
    outcome = session_of(tmp_path, recorded=SIZES).size(case("ce + drloc"))
    assert verdicts(outcome) == expected
    failing = {metric for metric, verdict in expected.items() if verdict in ("worse", "missing")}
    assert {finding.metric for finding in outcome.findings if finding.fails} == failing


def test_a_value_written_with_ten_digits_is_the_same(runs, tmp_path):
    runs.values = lambda one: {"params": 15.123456789123, "macs": 1 / 3}
    known = [recorded("params", float(f"{15.123456789123:.10g}")), recorded("macs", float(f"{1 / 3:.10g}"))]
    assert set(verdicts(session_of(tmp_path, recorded=known).size(case("ce + drloc"))).values()) == {"same"}


@pytest.mark.parametrize("required", [False, True])
def test_a_size_that_nothing_was_recorded_for_is_new_and_fails_where_asked(runs, tmp_path, required):
    outcome = session_of(tmp_path, fail_on_missing=required).size(case("ce + drloc"))
    assert verdicts(outcome) == {"params": "new", "macs": "new"}
    assert all(finding.fails is required for finding in outcome.findings)


@pytest.mark.parametrize(
    "other",
    [
        {"paper": "theirs"},
        {"model": "cvt"},
        {"objective": "ce"},
        {"dataset": "cifar10"},
        {"budget": "quick"},
        {"machine": "h200"},
    ],
)
def test_sizes_of_something_else_are_not_compared_with(runs, tmp_path, other):
    known = [replace(one, **other) for one in SIZES]
    assert set(verdicts(session_of(tmp_path, recorded=known).size(case("ce + drloc"))).values()) == {"new"}


def test_sizes_are_of_the_papers_network_whatever_the_budget(runs, session):
    session.size(case("ce + drloc"))
    assert [(one.model, one.budget, one.phases) for one in runs] == [("vit/floros2024", "paper", ())]


def test_a_size_that_another_version_recorded_still_holds_where_nothing_differs(runs, tmp_path):
    known = [recorded("params", 15.0, key="0123456789ab", date="2026-01-02"), SIZES[1]]
    assert verdicts(session_of(tmp_path, recorded=known).size(case("ce + drloc"))) == {"params": "same", "macs": "same"}


@pytest.mark.parametrize("value", [14.0, 16.0])
def test_a_size_that_another_version_recorded_is_stale_and_fails_nothing(runs, tmp_path, value):
    known = [recorded("params", value, key="0123456789ab", date="2026-01-02"), SIZES[1]]
    outcome = session_of(tmp_path, recorded=known).size(case("ce + drloc"))
    assert verdicts(outcome) == {"params": "stale", "macs": "same"}
    assert not any(finding.fails for finding in outcome.findings)
    assert "recorded 2026-01-02 by another version" in str(outcome.findings[0])


def test_a_size_that_this_version_recorded_is_not(runs, tmp_path):
    key = identity.of_size(case("ce + drloc")).key[:12]
    known = [replace(one, key=key) for one in SIZES]
    outcome = session_of(tmp_path, recorded=known).size(case("ce + drloc"))
    assert set(verdicts(outcome).values()) == {"same"}


# Stale and invalid accuracies


def test_an_accuracy_that_another_version_recorded_is_shown_as_stale(runs, tmp_path, session):
    key = session.run_of(case(), 0).key[:12]
    cell = {"objective": "ce + 0.1*drloc", "recipe": "scratch", "budget": "quick", "seed": "0", "precision": "fp32"}
    old = recorded("accuracy", 90.0, **cell, machine="cpu", key="0123456789ab", date="2026-01-02")
    stale = session_of(tmp_path, recorded=[old]).accuracy(case())
    assert [str(one.verdict) for one in stale.findings] == ["same", "stale"]
    assert not any(finding.fails for finding in stale.findings)
    others = [
        (replace(old, key=key), ["same"]),
        (replace(old, precision="bf16"), ["same"]),
        (replace(old, seed="1"), ["same", "stale"]),  # whatever seed it is of
    ]
    for other, expected in others:
        known = [old, other] if other.key == key else [other]
        assert [str(one.verdict) for one in held(session_of(tmp_path, recorded=known).accuracy(case()))] == expected


def test_a_metric_that_failed_its_own_checks_is_invalid_in_the_case_and_in_its_baseline(runs, session):
    runs.invalid = {"fgsm_drop": "eps = 0 changed it"}
    found = held(session.accuracy(case()))[1:]
    assert [(one.subject, one.metric, one.verdict) for one in found] == [
        (case().id, "fgsm_drop", "invalid"),
        (case("ce").id, "fgsm_drop", "invalid"),
    ]
    assert not any(one.fails for one in found)


# The floor of the quick budget


@pytest.mark.parametrize(("accuracy", "verdict"), [(94.99, "worse"), (95.0, "same"), (99.0, "same")])
def test_a_quick_accuracy_is_held_against_its_floor(runs, session, accuracy, verdict):
    runs.values = lambda one: {"accuracy": accuracy}
    (finding,) = held(session.accuracy(case()))
    assert (finding.metric, finding.verdict, finding.reference) == ("accuracy", verdict, 95.0)
    assert finding.fails == (verdict == "worse")
    assert "the floor is 95" in str(finding)


def test_an_accuracy_that_vanished_fails(runs, session):
    runs.values = lambda one: {"fgsm_drop": 1.0}
    (finding,) = held(session.accuracy(case()))
    assert finding.verdict == Verdict.MISSING
    assert finding.fails


def test_an_accuracy_that_is_invalid_is_said_and_below_no_floor(runs, session):
    runs.values = lambda one: {"loss": 1.0}
    runs.invalid = {"accuracy": "its pre-training is no number"}
    found = held(session.accuracy(case("ce")))
    assert [(one.metric, one.verdict, one.fails) for one in found] == [("accuracy", "invalid", False)]


def test_nan_is_no_accuracy(runs, session):
    runs.values = lambda one: {"accuracy": float("nan")}
    with pytest.raises(ValueError, match="accuracy is nan"):
        session.accuracy(case())


@pytest.mark.parametrize(("accuracy", "verdict"), [(14.0, "worse"), (16.0, "same")])
def test_on_other_data_a_quick_accuracy_must_be_above_guessing(runs, session, accuracy, verdict):
    runs.values = lambda one: {"accuracy": accuracy}
    (finding,) = held(session.accuracy(case(dataset="cifar10")))
    # Guessing one of ten on 360 images: 10 % with a standard error of sqrt(0.1 * 0.9 / 360) = 1.58 points, 3.09 of
    # which are the 99.9 % quantile.
    assert finding.reference == pytest.approx(10 + 3.09 * 1.5811, abs=1e-3)
    assert finding.verdict == verdict


def test_a_model_without_a_floor_must_be_above_guessing_too(runs, session):
    runs.values = lambda one: {"accuracy": 50.0}
    mine = Model(name="mypkg.net", full="vit/tiny", tiny="vit/tiny", printed="mine")
    (finding,) = held(session.accuracy(case(model=mine)))
    assert finding.reference < 20
    assert finding.verdict == Verdict.SAME


@pytest.mark.parametrize("budget", [Budget.SHORT, Budget.PAPER])
def test_a_floor_is_of_the_quick_budget_alone(runs, tmp_path, budget):
    runs.values = lambda one: {"accuracy": 1.0}
    outcome = session_of(tmp_path, selection=Selection(budget=budget)).accuracy(case())
    assert [finding.verdict for finding in outcome.findings] == ["new"]


# What is handed on


def test_an_execution_is_told_where_and_how(runs, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(run, "execute", lambda one, setting, fresh: told.append((setting, fresh)) or record_of(one))
    made = session_of(tmp_path, data=tmp_path / "data", download=True, device="cuda:1", fresh=True)
    made.stopwatch = made.tell = lambda *what: None
    made.size(case("ce"))
    ((setting, fresh),) = told
    assert (setting.store, setting.data, setting.download, setting.device) == (
        made.store,
        tmp_path / "data",
        True,
        "cuda:1",
    )
    assert setting.tell is setting.stopwatch is made.tell
    assert fresh


def record_of(one):
    return Record(kind=one.kind, key=one.key, identity=one.content(), measurements={}, provenance=PROVENANCE)


def test_timings_are_keyed_by_machine_and_read_when_they_are_there(runs, session):
    runs.values = lambda one: {"inference": 100.0}
    assert not session.is_done(session.timing_of(case(), "inference"))
    session.timing(case(), "inference")
    assert session.is_done(session.timing_of(case(), "inference"))
    assert session.is_done(session.timing_of(case("ce"), "inference"))  # no objective takes part in it
    assert not session.is_done(session.timing_of(case(), "training"))
    assert (
        runs[0].machine
        == identity.of_timing(
            case(), kind="inference", budget=Budget.QUICK, precision="fp32", machine=runs[0].machine
        ).machine
    )
    assert {"device", "engine", "torch", "threads"} == runs[0].machine.keys()


def test_precision_and_seed_are_those_asked_for(runs, tmp_path):
    session_of(tmp_path, precision="bf16", seeds=2).accuracy(case("ce"))
    assert [(one.precision, one.seed) for one in runs] == [("bf16", 0), ("bf16", 1)]


def test_an_outcome_without_a_value_has_no_mean():
    assert Outcome(case=case(), records=()).mean("accuracy") is None


def test_where_no_time_is_left_for_more_seeds_what_there_is_is_judged(runs, tmp_path, monkeypatch):
    session = session_of(tmp_path, seeds=3, most_seeds=5)
    execute = run.execute

    def stop(one, setting, *, fresh=False):
        if one.seed == 3:
            raise errors.TimeUp("left at epoch 1")
        return execute(one, setting, fresh=fresh)

    monkeypatch.setattr(run, "execute", stop)
    outcome = session.accuracy(case())
    assert len(outcome.records) == len(outcome.plain) == 3
    assert session.store.problems == [f"{case().id}: no time for more than 3 seeds"]


def test_seeds_are_added_in_pairs_until_the_cap(runs, tmp_path):
    runs.values = lambda one: {"accuracy": 97.0}
    outcome = session_of(tmp_path, seeds=3, most_seeds=5).accuracy(case())
    assert [one.seed for one in runs if str(one.objective) == "ce"] == [0, 1, 2, 3, 4]
    assert len(outcome.records) == len(outcome.plain) == 5
    (sign,) = [one for one in outcome.findings if one.against == "plain"]
    assert (sign.verdict, sign.fails) == (Verdict.UNDECIDED, False)  # every gain is 0


def test_of_seeds_that_are_trained_anew_no_older_record_says_how_many(runs, tmp_path):
    runs.values = lambda one: {"accuracy": 97.0}
    session_of(tmp_path, seeds=3, most_seeds=5).accuracy(case())
    assert session_of(tmp_path, seeds=3, most_seeds=5).seeds_of(case()) == [0, 1, 2, 3, 4]
    assert session_of(tmp_path, seeds=3, most_seeds=5, fresh=True).seeds_of(case()) == [0, 1, 2]
    assert session_of(tmp_path, seeds=3).seeds_of(case()) == [0, 1, 2]
