"""The proof of the gate: that it counts rightly, that its goals hold, and that a broken rule misses them."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vitbench import gate
from vitbench.compare import Verdict

ROOT = Path(__file__).parents[2]


@pytest.fixture
def proof(monkeypatch):
    spec = importlib.util.spec_from_file_location("proof_of_the_gate", ROOT / "benchmarks" / "perf" / "gate.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "proof_of_the_gate", module)  # where a dataclass looks for its module
    spec.loader.exec_module(module)
    # Few kinds, each often: the widest and the middle spread.
    monkeypatch.setattr(module, "SPREADS", (0.5, 0.8))
    monkeypatch.setattr(module, "SEEDS", (5,))
    monkeypatch.setattr(module, "CAPS", (10,))
    return module


def rng():
    return np.random.default_rng(11)


def page_of(proof, section, count):
    page = proof.Page()
    getattr(proof, section)(page, rng(), count)
    return page


def test_an_interval_of_a_rate_is_clopper_and_pearsons(proof):
    rate = proof.Rate.of(np.array([True] * 3 + [False] * 197))
    assert rate.interval == pytest.approx((stats.beta.ppf(0.025, 3, 198), stats.beta.ppf(0.975, 4, 197)))
    assert str(rate) == "1.50 (0.31 to 4.32)"


@pytest.mark.parametrize("seeds", [(3, 3), (5, 5), (5, 10)])
def test_false_alarms_are_as_many_as_the_level_says(proof, seeds):
    """Where the least effect hides nothing, the level is kept exactly: half or twice as much would not pass."""
    rate = proof.Rate.of(proof.worse(*proof.histories(rng(), "normal", 8.0, seeds, 50_000)))
    low, high = rate.interval
    assert low <= 0.005 <= high
    assert (low > 0.0025, high < 0.01) == (True, True)


@pytest.mark.parametrize("n", [5, 10])
def test_power_is_that_of_the_noncentral_t(proof, n):
    now, recorded = proof.histories(rng(), "normal", 0.8, (n, n), 20_000)
    expected = stats.nct.sf(stats.t.isf(0.005, 2 * n - 2), 2 * n - 2, 2 / (0.8 * (2 / n) ** 0.5))
    low, high = proof.Rate.of(proof.worse(now - 2, recorded)).interval
    assert low <= expected <= high


@pytest.mark.parametrize(("section", "count"), [("gains", 20_000), ("speed", 1000), ("sequential", 20_000)])
def test_every_goal_holds(proof, section, count):
    page = page_of(proof, section, count)
    assert not page.missed
    assert any(line.startswith("- holds: ") for line in page.lines)


@pytest.mark.parametrize(
    ("section", "changes", "missed"),
    [
        ("gains", {"ALPHA": 0.01}, "false alarms of a gain"),
        ("gains", {"LEAST_EFFECT": 1.8}, "-2 points are caught"),
        ("gains", {"ALPHA": 0.0005}, "-2 points are caught"),
        ("speed", {"LEAST_SLOWDOWN": 0.01, "FLOORS": 0.5}, "false alarms of a time"),
        ("sequential", {"POCOCK": (1.96,) * 20}, "signs are wrong"),
    ],
)
def test_a_broken_rule_misses_its_goal(proof, monkeypatch, section, changes, missed):
    for name, value in changes.items():
        monkeypatch.setattr(gate, name, value)
    page = page_of(proof, section, 1000 if section == "speed" else 20_000)
    assert [one for one in page.missed if one.startswith(missed)]
    assert [line for line in page.lines if line.startswith(f"- MISSED: {missed}")]


def test_a_drift_between_runs_is_a_false_alarm_in_seconds_but_not_over_the_plain_step(proof):
    found = {}
    for relative in (True, False):
        (now, floor), (recorded, before) = (
            proof.session(generator, "drifts between runs, 4 %", 1000, relative=relative)
            for generator in np.random.default_rng(3).spawn(2)
        )
        found[relative] = np.mean(gate.slowdowns(now, recorded, np.maximum(floor, before)).verdict == Verdict.WORSE)
    assert found[True] < 0.01 < 0.1 < found[False]


def test_many_histories_stop_where_one_by_one_they_do(proof):
    values = rng().normal(0.8, 1.0, (60, 6))
    last, sign = proof.stops(values, cap=6)
    for row, n, way in zip(values.tolist(), last, sign, strict=True):
        seeds = 0
        while more := gate.seeds_needed(row[:seeds], cap=6)[0]:
            seeds += more
        verdict = gate.seeds_needed(row[:seeds], cap=6)[1].verdict
        assert (seeds, {Verdict.BETTER: 1, Verdict.WORSE: -1}.get(verdict, 0)) == (n, way)
    assert len(set(last)) > 2


@pytest.mark.parametrize(("missed", "code"), [(False, 0), (True, 1)])
def test_it_ends_with_1_where_a_goal_is_missed(proof, monkeypatch, capsys, missed, code):
    for name in ("tried", "speed", "sequential", "tried_sequential"):
        monkeypatch.setattr(proof, name, lambda page, rng, count: None)
    monkeypatch.setattr(proof, "gains", lambda page, rng, count: page.goal(f"{count}", not missed))
    assert proof.main(["--histories", "70"]) == code
    assert f"- {'MISSED' if missed else 'holds'}: 70\n" in capsys.readouterr().out


def test_the_page_is_of_the_rules_as_they_are(proof):
    assert proof.constants() in (ROOT / "docs" / "gate.md").read_text()


def test_odds_of_a_mixture_are_those_of_scipys_densities(proof):
    """By quadrature over the effect size, of the noncentral t's density over the central one's."""
    n, prior, t = 6, 1.0, proof.mixture(6, 1.0)
    effects = np.linspace(-12, 12, 4001)
    weights = stats.norm.pdf(effects, scale=prior**-0.5)
    odds = np.trapezoid(weights * stats.nct.pdf(t, n - 1, effects * n**0.5), effects) / stats.t.pdf(t, n - 1)
    assert odds == pytest.approx(20, rel=1e-3)


def test_other_boundaries_err_in_the_order_in_which_they_are_strict(proof):
    rows = page_of(proof, "tried_sequential", 5000).lines[-6:]
    wrong = [float(row.split("|")[2].split()[0]) for row in rows]
    assert wrong[0] > 10
    assert wrong[0] > wrong[1] > wrong[2] > wrong[3] > wrong[4]
