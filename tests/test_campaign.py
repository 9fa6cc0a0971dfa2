"""Campaigns: what is missing in order of worth, nothing that could not be saved in time, nothing twice."""

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

import vitbench.session
from tests.test_forecast import case, seconds_of, session_of
from vitbench import machine
from vitbench.campaign import Campaign, chosen, plan
from vitbench.case import Budget, Pretraining
from vitbench.errors import Busy, DataAbsent, NonFinite, OutOfMemory, TimeUp, UserError
from vitbench.objective import parse


@pytest.fixture(autouse=True)
def _processor(monkeypatch):
    monkeypatch.setattr(machine, "device_name", lambda device: "a processor")


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands."""
    still = SimpleNamespace(now=0.0)
    monkeypatch.setattr(vitbench.session.time, "monotonic", lambda: still.now)
    return still


PLAIN, DRLOC, ME = case("ce"), case("ce + 0.1*drloc"), case("ce + 0.1*me")
BEFORE = Pretraining(objective=parse("mae"), dataset="", phases=PLAIN.recipe.phases, quick=PLAIN.recipe.quick)
PRETRAINED = replace(PLAIN, recipe=replace(PLAIN.recipe, name="mae", pretraining=BEFORE))
TAKEN = [seconds_of("ce", 10.0), seconds_of("ce + 0.1*drloc", 30.0), seconds_of("ce + 0.1*me", 20.0)]


def order(session, cases=(PLAIN, DRLOC, ME)):
    return [str(one.case.objective) for one in plan(session, [(0, one) for one in cases])]


def campaign(session, cases=(PLAIN, DRLOC, ME)):
    told = []
    made = Campaign(session, [(0, one) for one in cases], say=told.append)
    made.told = told
    return made


# Order of worth


def test_the_cheapest_pair_comes_first_and_a_baseline_before_its_method(tmp_path):
    assert order(session_of(tmp_path, recorded=TAKEN)) == ["ce", "ce + 0.1*me", "ce + 0.1*drloc"]


def test_what_a_record_covers_is_worth_less(tmp_path):
    run = session_of(tmp_path).run_of
    covered = [
        replace(seconds_of(str(one.objective), 90.0, seed="0"), metric="loss", key=run(one, 0).key[:12])
        for one in (PLAIN, ME)
    ]
    assert order(session_of(tmp_path, recorded=[*TAKEN, *covered])) == ["ce", "ce + 0.1*drloc", "ce + 0.1*me"]
    older = [replace(one, key="0" * 12) for one in covered]
    assert order(session_of(tmp_path, recorded=[*TAKEN, *older])) == ["ce", "ce + 0.1*me", "ce + 0.1*drloc"]


def test_what_was_begun_goes_before_what_is_cheaper(tmp_path):
    session = session_of(tmp_path, recorded=TAKEN)
    folder = session.store.folder(session.run_of(DRLOC, 0))
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").touch()
    assert order(session) == ["ce", "ce + 0.1*drloc", "ce + 0.1*me"]


def test_what_is_done_is_not_planned_and_a_shared_run_once(tmp_path):
    session = session_of(tmp_path, recorded=TAKEN, done=[PLAIN])
    assert order(session, [PLAIN, DRLOC, replace(DRLOC, table="6"), ME]) == ["ce + 0.1*me", "ce + 0.1*drloc"]


def test_a_pre_training_is_planned_before_what_starts_from_it_and_once_for_all(tmp_path):
    session = session_of(tmp_path)
    found = plan(session, [(0, PRETRAINED), (0, replace(PRETRAINED, objective=DRLOC.objective))])
    assert [(one.identity.kind, one.case.loss) for one in found] == [
        ("run", "ce"),
        ("pretraining", "mae"),
        ("run", "mae, then ce"),
        ("run", "mae, then ce + 0.1*drloc"),
    ]
    session = session_of(tmp_path, done=[PRETRAINED.before(Budget.QUICK)])
    assert [one.case.loss for one in plan(session, [(0, PRETRAINED)])] == ["ce", "mae, then ce"]


def test_what_starts_from_a_pre_training_that_failed_is_not_tried(tmp_path, monkeypatch):
    made = campaign(session_of(tmp_path), [PRETRAINED])
    tried = []

    def fail(one, wait):
        tried.append(one.kind)
        raise NonFinite("lost")

    monkeypatch.setattr(made.session, "do", fail)
    made.work()
    assert tried == ["run", "pretraining"]  # from scratch, and what the other would start from


def test_an_earlier_pattern_is_worth_more(tmp_path):
    session = session_of(tmp_path, recorded=TAKEN)
    found = plan(session, [(1, ME), (0, DRLOC)])
    assert [str(one.case.objective) for one in found] == ["ce", "ce + 0.1*drloc", "ce + 0.1*me"]


def test_each_seed_is_a_run_and_one_seed_is_completed_first(tmp_path):
    found = plan(session_of(tmp_path, recorded=TAKEN, seeds=2), [(0, PLAIN), (0, ME)])
    seeds = [(str(one.case.objective), one.identity.seed) for one in found]
    assert seeds == [("ce", 0), ("ce + 0.1*me", 0), ("ce", 1), ("ce + 0.1*me", 1)]


# Choosing


@pytest.fixture
def accuracies(executed, monkeypatch):
    """Runs whose accuracy depends on them; returns the list of what was run, and a function that says how."""
    from vitbench import run

    execute = run.execute

    def say(accuracy):
        def varied(identity, setting, *, fresh=False):
            executed.measurements["run"] = {"accuracy": accuracy(identity.objective.names[-1], identity.seed)}
            return execute(identity, setting, fresh=fresh)

        monkeypatch.setattr(run, "execute", varied)
        return executed

    return say


def seeds_of(runs, term):
    return sorted(one.seed for one in runs if one.objective.names[-1] == term)


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ((2.0, 2.1, 1.9, 0.0, 0.0), 3),  # t = 34.6 with two degrees of freedom
        ((0.5, -0.5, 0.0, 0.0, 0.0), 5),  # never known
        ((2.0, 0.0, 2.0, 2.0, 2.0), 5),
    ],
)
def test_seeds_are_added_to_pairs_until_the_sign_of_the_gain_is_known(tmp_path, accuracies, gains, expected):
    runs = accuracies(lambda term, seed: 90.0 + (0.0 if term == "ce" else gains[seed]))
    made = campaign(session_of(tmp_path, seeds=3, most_seeds=5), cases=(PLAIN, DRLOC))
    assert made.work() == []
    for term in ("ce", "drloc"):
        assert seeds_of(runs, term) == list(range(expected))


def test_seeds_are_added_to_what_needs_them_alone(tmp_path, accuracies):
    gains = {"ce": (0.0, 0.0, 0.0, 0.0), "drloc": (3.0, 3.1, 2.9, 0.0), "me": (1.0, -1.0, 0.0, 0.0)}
    runs = accuracies(lambda term, seed: 90.0 + gains[term][seed])
    campaign(session_of(tmp_path, seeds=3, most_seeds=4)).work()
    assert seeds_of(runs, "drloc") == [0, 1, 2]
    assert seeds_of(runs, "me") == seeds_of(runs, "ce") == [0, 1, 2, 3]


def test_an_added_seed_that_is_lost_is_not_tried_again(tmp_path, accuracies):
    def accuracy(term, seed):
        if seed == 3:
            raise NonFinite("nan")
        return 90.0 + (-1) ** seed * (term != "ce")

    runs = accuracies(accuracy)
    made = campaign(session_of(tmp_path, seeds=3, most_seeds=5), cases=(PLAIN, DRLOC))
    assert {one.identity.seed for one in made.work()} == {3}
    assert {one.seed for one in runs} == {0, 1, 2}
    assert sorted(made.tried.values()).count("lost") == 2


def test_patterns_choose_by_parts_of_ids_and_the_first_counts():
    cases = [PLAIN, DRLOC, replace(DRLOC, table="2", dataset="cifar10"), replace(DRLOC, table="2", dataset="cifar100")]
    found = chosen(cases, ["mine/2/*/cifar10", "mine"])
    assert [(place, one.dataset) for place, one in found] == [(0, "cifar10"), *[(1, "digits")] * 2, (1, "cifar100")]


def test_a_pattern_that_chooses_nothing_names_what_there_is():
    with pytest.raises(UserError, match="unknown case or part of one 'mine/3'; did you mean mine/1"):
        chosen([PLAIN], ["mine/3"])


# Working


def test_everything_is_done_once(tmp_path, executed):
    made = campaign(session_of(tmp_path, recorded=TAKEN))
    assert made.work() == []
    assert [str(one.objective).partition("(")[0] for one in executed] == ["ce", "ce + 0.1*me", "ce + 0.1*drloc"]
    assert list(made.tried.values()) == ["done"] * 3
    assert all("accuracy 97" in line or "accuracy" in line for line in made.told)
    again = campaign(session_of(tmp_path, recorded=TAKEN))
    assert again.work() == []
    assert len(executed) == 3


def test_a_run_whose_accuracy_is_invalid_is_said_without_one(tmp_path, executed):
    executed.measurements["run"] = {"embedding_spread": 0.0}  # a probe has no loss either
    executed.invalid = {"accuracy": "its pre-training is no number"}
    made = campaign(session_of(tmp_path), [PLAIN])
    assert made.work() == []
    assert "no accuracy, its pre-training is no number, " in made.told[-1]


def test_nothing_is_started_that_could_not_be_saved_in_time(tmp_path, executed, clock):
    # An epoch of DRLoc takes 15 s, of the others 5 and 10.
    clock.now = 1000.0
    session = session_of(tmp_path, recorded=TAKEN, deadline=1000 + 10 + 1.2 * 12)
    missing = campaign(session).work()
    assert [str(one.case.objective) for one in missing] == ["ce + 0.1*drloc"]
    assert len(executed) == 2


def test_without_time_nothing_is_started(tmp_path, executed):
    made = campaign(session_of(tmp_path, recorded=TAKEN, deadline=time.monotonic()))
    assert len(made.work()) == 3
    assert not executed


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Busy("held"), "busy"),
        (TimeUp("left after epoch 3"), "left"),
        (NonFinite("nan"), "lost"),
        (OutOfMemory("no room"), "too big"),
        (UserError("bad argument"), "lost"),
    ],
)
def test_a_run_that_is_not_done_is_said_and_the_next_one_taken(tmp_path, executed, error, outcome):
    executed.error = error
    made = campaign(session_of(tmp_path, recorded=TAKEN))
    assert len(made.work()) == 3
    assert list(made.tried.values()) == [outcome] * 3
    assert len(made.told) == (6 if outcome == "busy" else 3)  # a held run is looked at once more at the end


def test_an_absent_data_set_is_said_once_and_others_go_on(tmp_path, executed):
    executed.error = DataAbsent("cifar10: not there")
    made = campaign(session_of(tmp_path, recorded=TAKEN), [PLAIN, DRLOC, replace(PLAIN, dataset="cifar10")])
    made.work()
    assert len(made.told) == 2
    assert made.absent == {"digits", "cifar10"}
