"""The judge: gains and levels over seeds, machines that may judge each other and those that may not."""

from dataclasses import replace

import pytest
from scipy import stats

from tests.test_session import PROVENANCE, case, recorded, session_of
from vitbench import identity, machine
from vitbench.case import Budget
from vitbench.compare import Verdict
from vitbench.records import Record
from vitbench.selection import Selection

SHORT = {"selection": Selection(budget=Budget.SHORT)}
GAINS = (4.0, 4.4, 3.7, 4.1, 3.8)
PLAIN = (70.0, 70.5, 69.8, 70.2, 69.9)


def run(one, values, **changes):
    """Records of a case or its baseline under the seeds 0, 1, ..."""
    session = session_of(None, **SHORT)
    return [record(session.run_of(one, seed), {"accuracy": value}, **changes) for seed, value in enumerate(values)]


def record(found, measurements, **changes):
    return Record(
        kind=found.kind,
        key=found.key,
        identity=found.content(),
        measurements=measurements,
        provenance=PROVENANCE,
        details={"test_images": 10000, **changes.pop("details", {})},
        **changes,
    )


def lines(one, values, *, metric="accuracy", machine="h200", **changes):
    """Recorded lines of a case under the seeds 0, 1, ..., of this version."""
    session = session_of(None, **SHORT)
    plain = {"objective": str(one.objective.without_arguments(one.defaults)), "recipe": "scratch", "budget": "short"}
    plain |= {"precision": "fp32", "machine": machine, "device": "h200", "date": "2026-11-01", "commit": "0123456789"}
    return [
        recorded(metric, value, **plain | {"seed": str(seed), "key": session.run_of(one, seed).key[:12]} | changes)
        for seed, value in enumerate(values)
    ]


def both(gains, plain=PLAIN, **changes):
    """What was recorded of a method and its baseline."""
    method = [level + gain for level, gain in zip(plain, gains, strict=False)]
    return [*lines(case(), method, **changes), *lines(case("ce"), plain[: len(gains)], **changes)]


def judged(known, gains, plain=PLAIN, **options):
    """The finding of a method's gain, or None."""
    judge = session_of(None, recorded=known, **SHORT | options).judge
    method = [level + gain for level, gain in zip(plain, gains, strict=False)]
    found = judge.accuracy(case(), run(case(), method), run(case("ce"), plain[: len(gains)]))
    return next((one for one in found if one.metric == "gain"), None)


def test_a_gain_that_fell_beyond_chance_is_a_regression_and_says_what_it_rests_on():
    found = judged(both(GAINS), [gain - 2 for gain in GAINS])
    assert found.verdict == Verdict.WORSE
    assert found.fails
    assert (found.value, found.reference) == (pytest.approx(2.0), pytest.approx(4.0))
    reference = stats.ttest_ind([gain - 2 for gain in GAINS], GAINS, alternative="less")
    assert found.evidence.effect == pytest.approx(-2)
    assert found.evidence.p == pytest.approx(reference.pvalue)
    assert (found.evidence.counts, found.evidence.unit) == ((5, 5), "points")
    low, high = stats.ttest_ind([gain - 2 for gain in GAINS], GAINS).confidence_interval(0.9)
    assert (found.evidence.low, found.evidence.high) == (pytest.approx(low), pytest.approx(high))
    assert found.line.startswith(
        f"{case().id}: gain is worse: measured 2, recorded 2026-11-01 0123456 of h200 4: -2.00 points (interval -2."
    )
    assert found.line.endswith(f"; repeat: pytest benchmarks -k 'test_accuracy[{case().id}]' --budget=short --fresh")


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        (GAINS, Verdict.SAME),
        ([gain + 0.1 for gain in GAINS], Verdict.SAME),
        ([gain + 3 for gain in GAINS], Verdict.BETTER),
        ([9.0, -2.0, 6.0, 1.0, 4.0], Verdict.UNDECIDED),
    ],
)
def test_a_gain_that_did_not_fall_fails_nothing(gains, verdict):
    found = judged(both(GAINS), gains)
    assert found.verdict == verdict
    assert not found.fails


def test_levels_may_move_together():
    assert judged(both(GAINS), GAINS, plain=[level - 15 for level in PLAIN]).verdict == Verdict.SAME


def test_the_plain_baseline_itself_is_judged_by_its_level():
    judge = session_of(None, recorded=lines(case("ce"), PLAIN), **SHORT).judge
    (found,) = judge.accuracy(case("ce"), run(case("ce"), [level - 15 for level in PLAIN]), [])
    assert (found.metric, found.verdict, found.evidence.effect) == ("accuracy", Verdict.WORSE, pytest.approx(-15))


@pytest.mark.parametrize(("now", "then"), [(1, 5), (5, 1), (1, 1)])
def test_one_seed_is_never_gated(now, then):
    assert judged(both(GAINS[:then]), [-50.0] * now) is None


def test_only_gains_at_the_same_seeds_are_differences():
    known = [one for one in both(GAINS) if one.objective != "ce" or one.seed != "0"]
    found = judged(known, GAINS)
    assert found.evidence.counts == (5, 4)
    assert found.reference == pytest.approx(sum(GAINS[1:]) / 4)


@pytest.mark.parametrize(
    "known", [lines(case(), PLAIN), both(GAINS, PLAIN)[:5] + lines(case("ce"), PLAIN, machine="b")]
)
def test_a_gain_whose_baseline_nobody_recorded_there_is_new_and_no_pass(known):
    found = judged(known, GAINS, fail_on_missing=True)
    assert (found.verdict, found.fails) == (Verdict.NEW, True)
    assert not judged(known, GAINS).fails


def test_quality_crosses_machines_and_no_precision():
    assert judged(both(GAINS, machine="elsewhere", device="another card"), GAINS).verdict == Verdict.SAME
    assert judged(both(GAINS, precision="bf16"), GAINS) is None


def test_of_several_machines_ones_own_is_the_reference_else_that_with_most_seeds():
    known = [*both(GAINS[:3], machine="a"), *both([gain + 9 for gain in GAINS], machine="b")]
    found = judged(known, GAINS)
    assert found.evidence.counts == (5, 5)
    assert found.against.endswith("of b")
    assert judged(known, GAINS, machine="a").against.endswith("of a")


def test_what_another_version_recorded_gates_nothing_and_is_stale():
    judge = session_of(None, recorded=both(GAINS, key="0123456789ab"), **SHORT).judge
    (found,) = judge.accuracy(case(), run(case(), [1.0] * 5), run(case("ce"), PLAIN))
    assert (found.metric, found.verdict, found.fails) == ("accuracy", Verdict.STALE, False)


def test_a_value_that_vanished_is_missing_whether_or_not_it_says_why():
    known = lines(case("ce"), [30.0] * 2, metric="fgsm_drop") + lines(case("ce"), PLAIN[:2])
    judge = session_of(None, recorded=known, **SHORT).judge
    lost = judge.accuracy(case("ce"), run(case("ce"), PLAIN[:2]), [])
    assert [(one.metric, one.verdict, one.fails) for one in lost if one.fails] == [("fgsm_drop", "missing", True)]
    invalid = judge.accuracy(case("ce"), run(case("ce"), PLAIN[:2], invalid={"fgsm_drop": "eps = 0 changed it"}), [])
    (found,) = (one for one in invalid if one.fails)
    assert "eps = 0 changed it" in str(found)


@pytest.mark.parametrize(("update", "fails"), [("", True), ("missing", True), ("changed", False), ("all", False)])
def test_what_is_replaced_by_this_session_fails_nothing(update, fails):
    found = judged(both(GAINS), [gain - 2 for gain in GAINS], update=update, machine="h200")
    assert (found.verdict, found.fails) == (Verdict.WORSE, fails)


@pytest.mark.parametrize("update", ["changed", "all"])
def test_what_another_machine_recorded_is_not_replaced_and_still_fails(update):
    found = judged(both(GAINS), [gain - 2 for gain in GAINS], update=update, machine="mine")
    assert (found.verdict, found.fails) == (Verdict.WORSE, True)
    (found,) = losses([1.1 * value for value in VALUES], options={"update": update, "machine": "mine"})
    assert (found.verdict, found.fails) == (Verdict.WORSE, True)
    (found,) = losses([1.1 * value for value in VALUES], options={"update": update, "machine": "h200"})
    assert (found.verdict, found.fails) == (Verdict.WORSE, False)


@pytest.mark.parametrize(("update", "fails"), [("", True), ("missing", False), ("changed", True), ("all", False)])
def test_what_is_recorded_by_this_session_is_not_missing(update, fails):
    judge = session_of(None, fail_on_missing=True, update=update, **SHORT).judge
    (found,) = judge.accuracy(case("ce"), run(case("ce"), PLAIN), [])
    assert (found.verdict, found.fails) == (Verdict.NEW, fails)


# Seeds


@pytest.mark.parametrize(
    ("gains", "more", "verdict"),
    [
        ([2.0, 2.1, 1.9], 0, Verdict.BETTER),
        ([-2.0, -2.1, -1.9], 0, Verdict.WORSE),
        ([2.0, -1.0, 0.5], 1, None),
        ([2.0, -1.0, 0.5, 0.1, -0.3], 0, Verdict.UNDECIDED),
    ],
)
def test_seeds_are_added_until_the_sign_is_known_or_the_cap_is_reached(gains, more, verdict):
    judge = session_of(None, seeds=3, most_seeds=5, **SHORT).judge
    method = [level + gain for level, gain in zip(PLAIN, gains, strict=False)]
    added, found = judge.seeds(case(), run(case(), method), run(case("ce"), PLAIN[: len(gains)]))
    assert added == more
    assert (found and found.verdict) == verdict
    if found:
        assert not found.fails  # worse than the plain baseline is a result and no regression
        assert found.reference == 0.0


# What terms add to the loss

VALUES = (0.200, 0.240, 0.270)


def losses(now, then=VALUES, options=None, **changes):
    """Findings of what the term of a case added to the loss of the first epoch."""
    known = lines(case(), [1.0] * len(then), metric="loss", **{"torch": "2.11.0", "engine": "eager"} | changes)
    judge = session_of(None, recorded=known, **SHORT | (options or {})).judge
    kept = {("h200", one.key): {"drloc": (value,)} for one, value in zip(known, then, strict=True)}
    judge.samples.update(kept)
    session = session_of(None, **SHORT)
    records = [
        record(session.run_of(case(), seed), {"loss": 1.0}, details={"curves": [{"weighted": {"drloc": value}}, {}]})
        for seed, value in enumerate(now)
    ]
    return [one for one in judge.accuracy(case(), records, []) if one.metric == "loss of drloc"]


@pytest.mark.parametrize("factor", [10.0, 0.1, 1.02, 0.98, -1.0, -1e6])
def test_a_term_that_adds_something_else_is_a_regression(factor):
    (found,) = losses([factor * value for value in VALUES])
    assert (found.verdict, found.fails) == (Verdict.WORSE, True)
    assert found.evidence.effect == pytest.approx(100 * (factor - 1))
    assert (found.evidence.unit, found.evidence.counts) == ("%", (3, 3))
    assert "p =" not in str(found)


def test_its_effect_is_the_geometric_mean_of_the_ratios():
    (found,) = losses([0.220, 0.240, 0.297])
    assert found.evidence.effect == pytest.approx(100 * ((1.1 * 1.0 * 1.1) ** (1 / 3) - 1))
    assert (found.evidence.low, found.evidence.high) == (pytest.approx(0, abs=1e-9), pytest.approx(10))


@pytest.mark.parametrize("share", [0.0, 1e-5, -0.004, 0.004])
def test_what_computes_the_same_in_another_way_fails_nothing(share):
    (found,) = losses([(1 + share) * value for value in VALUES])
    assert found.verdict == Verdict.SAME


def test_one_seed_of_a_term_is_not_gated():
    assert losses([9.0], VALUES[:1]) == []


def test_a_term_that_vanished_is_missing():
    known = lines(case(), [1.0] * 2, metric="loss", torch="2.11.0", engine="eager")
    judge = session_of(None, recorded=known, **SHORT).judge
    judge.samples.update({("h200", one.key): {"drloc": (0.2,)} for one in known})
    session = session_of(None, **SHORT)
    records = [
        record(session.run_of(case(), seed), {"loss": 1.0}, details={"curves": [{"weighted": {"ce": 1.0}}]})
        for seed in range(2)
    ]
    (found,) = [one for one in judge.accuracy(case(), records, []) if one.metric == "loss of drloc"]
    assert (found.verdict, found.fails) == (Verdict.MISSING, True)


@pytest.mark.parametrize(
    "changes", [{"key": "0123456789ab"}, {"device": "another"}, {"torch": "2.12.0"}, {"engine": "graph"}]
)
def test_a_term_of_another_version_or_place_is_not_gated(changes):
    assert losses([9.0] * 3, **changes) == []


# Speed


@pytest.fixture
def key(monkeypatch):
    made = {"device": "h200", "engine": "eager", "torch": "2.11.0"}
    monkeypatch.setattr(machine, "timing_key", lambda device, engine: made)
    return made


STEADY = tuple(1.3 + 0.001 * (number % 5) for number in range(20))


def timed(known, kept, multiples, **options):
    """Findings of a timing of a training step."""
    judge = session_of(None, recorded=known, **{"machine": "h200"} | SHORT | options).judge
    judge.samples.update(kept)
    found = session_of(None, **SHORT).timing_of(case(), "training")
    values = {"step_ratio": sorted(multiples)[len(multiples) // 2]}
    return judge.timing(case(), "training", record(found, values, details={"multiples": list(multiples)}))


def timings(**changes):
    found = session_of(None, **SHORT).timing_of(case(), "training")
    (line,) = lines(case(), [1.3], metric="step_ratio", **{"key": found.key[:12], "engine": "eager", **changes})
    return [line], {("h200", line.key): {"multiples": STEADY}}


@pytest.mark.parametrize(
    ("share", "verdict"), [(1.0, Verdict.SAME), (1.03, Verdict.SAME), (1.1, Verdict.WORSE), (0.9, Verdict.BETTER)]
)
def test_a_step_that_became_slower_is_a_regression(key, share, verdict):
    (found,) = timed(*timings(), [share * one for one in STEADY])
    assert found.verdict == verdict
    assert found.evidence.effect == pytest.approx(100 * (share - 1))
    assert found.evidence.unit == "%"
    assert "noise floor" in found.evidence.why


@pytest.mark.parametrize("changes", [{"device": "another card"}, {"machine": "another"}, {"engine": "graph"}])
def test_another_machines_timing_gates_nothing(key, changes):
    (found,) = timed(*timings(**changes), [2 * one for one in STEADY])
    assert (found.verdict, found.fails) == (Verdict.NEW, False)


def test_a_machine_without_a_name_has_no_recorded_timings(key):
    assert timed(*timings(), [2 * one for one in STEADY], machine="") == []


def test_a_timing_by_another_version_is_stale(key):
    known, kept = timings()
    (found,) = timed([replace(known[0], key="0123456789ab")], kept, [2 * one for one in STEADY])
    assert (found.verdict, found.fails) == (Verdict.STALE, False)


def test_times_that_nobody_kept_judge_nothing_and_are_new(key):
    known, _ = timings()
    (found,) = timed(known, {}, [2 * one for one in STEADY])
    assert (found.verdict, found.fails) == (Verdict.NEW, False)


def test_a_machine_that_is_too_unsteady_is_undecided(key):
    jumping = [one * (1.0 if number < 10 else 1.2) for number, one in enumerate(STEADY)]
    (found,) = timed(*timings(), jumping)
    assert found.verdict == Verdict.UNDECIDED


def test_an_inference_is_held_against_nothing(key):
    judge = session_of(None, **SHORT).judge
    found = session_of(None, **SHORT).timing_of(case("ce"), "inference")
    assert judge.timing(case("ce"), "inference", record(found, {"inference": 100.0})) == []


def test_the_digest_of_a_timing_holds_the_machine(key):
    one = identity.of_timing(case(), kind="training", budget=Budget.SHORT, precision="fp32", machine=key)
    assert one.machine == key
