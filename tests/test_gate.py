"""The gate's rules, held against scipy's own tests, a closed form of Pocock's boundary, and cases worked by hand."""

import math
import statistics

import numpy as np
import pytest
from scipy import integrate, stats

from vitbench import gate
from vitbench.compare import Verdict
from vitbench.errors import UserError
from vitbench.gate import boundary, changes, judge_difference, noise_floor, seeds_needed, slowdowns, slower

RECORDED = [3.4, 3.5, 3.8]


@pytest.mark.parametrize(
    ("now", "recorded", "verdict"),
    [
        ([1.0, 2.0, 1.5], RECORDED, Verdict.WORSE),
        (RECORDED, [1.0, 2.0, 1.5], Verdict.BETTER),
        ([3.5, 3.4, 3.7], RECORDED, Verdict.SAME),
        ([3.1, 3.2, 3.3], [3.5, 3.6, 3.7], Verdict.SAME),  # p = 0.004, but less than half a point
        ([2.9, 3.0, 3.1], [3.5, 3.6, 3.7], Verdict.WORSE),
        ([0.0, 4.0, 2.0], [1.0, 5.0, 3.0], Verdict.UNDECIDED),
        ([0.0, 4.0, 8.0], [0.0, 4.0, 8.0], Verdict.SAME),  # bit by bit, though the seeds differ much
        ([0.0, 8.0, 4.0], [0.0, 4.0, 8.0], Verdict.UNDECIDED),
        ([-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], Verdict.WORSE),  # no spread at all
        ([-1.0, -1.1], [3.0, 3.1, 2.9, 3.0, 3.1], Verdict.WORSE),
    ],
)
def test_a_gain_is_judged_against_the_recorded_one(now, recorded, verdict):
    assert judge_difference(now, recorded).verdict == verdict


def test_what_it_rests_on_is_what_scipy_says():
    now, recorded = [1.0, 2.2, 1.5, 1.9], RECORDED
    found = judge_difference(now, recorded)
    theirs = stats.ttest_ind(now, recorded, alternative="less")
    interval = stats.ttest_ind(now, recorded).confidence_interval(0.9)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-12)
    assert (found.low, found.high) == pytest.approx(tuple(interval), rel=1e-12)
    assert found.effect == pytest.approx(statistics.mean(now) - statistics.mean(recorded))
    assert found.counts == (4, 3)
    assert found.gated


def test_many_cases_at_once_are_judged_as_one_by_one():
    values = np.random.default_rng(0).normal(0, 1.5, (2, 40, 3))
    verdicts = changes(*values).verdict
    assert list(verdicts) == [judge_difference(a, b).verdict for a, b in zip(*values.tolist(), strict=True)]
    assert len(set(verdicts)) > 2


@pytest.mark.parametrize(("now", "recorded"), [([-40.0], RECORDED), ([-40.0, -41.0], [3.0]), ([], RECORDED)])
def test_one_seed_is_never_gated(now, recorded):
    found = judge_difference(now, recorded)
    assert (found.verdict, found.gated) == (Verdict.UNDECIDED, False)
    assert f"got {len(now)} and {len(recorded)}" in found.why


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_invalid(value):
    for found in (
        judge_difference([1.0, value], RECORDED),
        judge_difference(RECORDED, [1.0, value]),
        slower([value] * 5, [1.0] * 5, 0.0),
        slower([1.0] * 5, [1.0] * 5, value),
        seeds_needed([value, 1.0, 1.0])[1],
    ):
        assert (found.verdict, found.gated) == (Verdict.INVALID, False)


def test_same_rules_out_the_harm_as_two_one_sided_tests_do():
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1.2, (2, 200, 4))
    found = changes(*values)
    p = [
        max(
            stats.ttest_ind(a + 2, b, alternative="greater").pvalue,
            stats.ttest_ind(a - 2, b, alternative="less").pvalue,
        )
        for a, b in zip(*values, strict=True)
    ]
    is_change = (found.verdict == Verdict.WORSE) | (found.verdict == Verdict.BETTER)
    assert ((found.verdict == Verdict.SAME) == ((np.array(p) < 0.05) & ~is_change)).all()
    assert 20 < (found.verdict == Verdict.SAME).sum() < 180


STEADY = [1.0, 1.01, 0.99, 1.02, 0.98, 1.0]


@pytest.mark.parametrize(
    ("factor", "floor", "verdict"),
    [
        (1.10, 0.01, Verdict.WORSE),
        (1.039, 0.01, Verdict.SAME),
        (1.041, 0.01, Verdict.WORSE),
        (1.08, 0.045, Verdict.SAME),  # two floors are more
        (1.08, 0.06, Verdict.UNDECIDED),
        (1.20, 0.06, Verdict.WORSE),
        (1 / 1.10, 0.01, Verdict.BETTER),
        (1 / 1.039, 0.01, Verdict.SAME),
        (1 / 1.041, 0.01, Verdict.BETTER),
    ],
)
def test_times_are_judged_beyond_the_noise_floor(factor, floor, verdict):
    found = slower([factor * one for one in STEADY], STEADY, floor)
    assert found.verdict == verdict
    assert found.effect == pytest.approx(factor - 1)


def test_times_that_overlap_are_not_slower_whatever_their_medians():
    now, recorded = [1.0, 1.0, 1.0, 1.2, 1.2, 1.2, 1.2], [1.0, 1.0, 1.0, 1.0, 1.2, 1.2, 1.2]
    found = slower(now, recorded, 0.0)
    assert found.p == pytest.approx(stats.mannwhitneyu(now, recorded, alternative="greater").pvalue)
    assert (found.effect, found.verdict) == (pytest.approx(0.2), Verdict.SAME)


def test_few_times_are_not_gated():
    assert not slower([9.0] * 4, STEADY, 0.0).gated
    assert stats.mannwhitneyu([5, 6, 7, 8], [1, 2, 3, 4], alternative="greater", method="asymptotic").pvalue > 0.01
    assert slower([9.0, 9.1, 9.2, 9.3, 9.4], STEADY, 0.0).verdict == Verdict.WORSE


def test_many_times_at_once_are_judged_as_one_by_one():
    rng = np.random.default_rng(2)
    ours, theirs = np.exp(rng.normal(0, 0.05, (2, 30, 9)))
    ours *= rng.choice([0.85, 1, 1.2], (30, 1))
    floors = rng.choice([0.0, 0.02, 0.05], 30)
    verdicts = slowdowns(ours, theirs, floors).verdict
    rows = zip(ours.tolist(), theirs.tolist(), floors.tolist(), strict=True)
    assert list(verdicts) == [slower(*row).verdict for row in rows]
    assert len(set(verdicts)) > 2


def test_the_noise_floor_is_of_the_blocks_medians():
    assert noise_floor([[1.0, 1.1, 9.0], [1.0, 1.0, 1.0], [2.0, 1.21, 1.0]]) == pytest.approx(0.21)


def pocock(looks, limit, points=301):
    """Chance that |Z| crosses `limit` at a look, by Armitage, McPherson & Rowe's recursion (1969)."""
    density, at = None, None
    for look in range(1, looks + 1):
        edge = limit * math.sqrt(look)
        grid = np.linspace(-edge, edge, points)
        if density is None:
            new = stats.norm.pdf(grid)
        else:
            new = integrate.simpson(stats.norm.pdf(grid[:, None] - at) * density, x=at, axis=1)
        density, at = new, grid
    return 1 - integrate.simpson(density, x=at)


@pytest.mark.parametrize("cap", [3, 5, 8, 10, 15, 20])
def test_pococks_constants_keep_five_percent(cap):
    constant = gate.POCOCK[cap - 1]
    assert pocock(cap, constant) <= 0.05 < pocock(cap, constant - 0.002)


def test_the_boundary_is_at_pococks_level_of_students_t():
    assert 2 * stats.t.sf(boundary(5, cap=10), 4) == pytest.approx(2 * stats.norm.sf(2.556))


@pytest.mark.parametrize("cap", [2, 21])
def test_a_cap_without_a_boundary_is_one_line(cap):
    with pytest.raises(UserError, match=f"expected a cap of 3 to 20 seeds, got {cap}"):
        seeds_needed([1.0, 2.0], cap=cap)


@pytest.mark.parametrize(
    ("gains", "more", "verdict"),
    [
        ([], 3, Verdict.UNDECIDED),
        ([9.0], 2, Verdict.UNDECIDED),
        ([1.0, 1.1, 1.2], 0, Verdict.BETTER),
        ([-1.0, -1.1, -1.2], 0, Verdict.WORSE),
        ([1.0, 2.0, 1.5], 1, Verdict.UNDECIDED),  # t = 5.2, of two degrees of freedom
        ([1.0, -2.0, 1.5, 0.0, 1.0], 1, Verdict.UNDECIDED),
        ([1.0, -2.0, 1.5, 0.0, 1.0, -1.0, 2.0], 0, Verdict.UNDECIDED),  # the cap
        ([1.0, -2.0, 1.5, 0.0, 1.0, -1.0, 2.0, 90.0], 0, Verdict.UNDECIDED),
        ([0.0, 0.0, 0.0], 1, Verdict.UNDECIDED),
    ],
)
def test_seeds_are_added_until_the_sign_is_known_or_the_cap_is_reached(gains, more, verdict):
    found = seeds_needed(gains, cap=7)
    assert (found[0], found[1].verdict) == (more, verdict)
    assert ("at the cap of 7 seeds" in found[1].why) is (len(gains) >= 7)


def test_the_interval_of_a_look_is_the_one_that_decides():
    gains = [1.0, 2.0, 1.5, 0.7]
    _, found = seeds_needed(gains)
    half = boundary(4, cap=10) * statistics.stdev(gains) / 2
    assert (found.low, found.high) == pytest.approx((found.effect - half, found.effect + half))
    assert found.p == pytest.approx(stats.ttest_1samp(gains, 0, alternative="greater").pvalue)
