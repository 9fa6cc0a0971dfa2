"""What can be told apart, against scipy and against numbers worked out by hand."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from vitbench import statistics
from vitbench.report import groups

SEEDS = [
    (61.0, 62.5, 60.25),
    (64.0, 63.5, 65.0, 64.25),
    (61.5, 61.25),
    (70.0, 70.0, 70.0),
    (70.0, 70.0),
    (70.5, 70.5),
    (12.0, 80.0, 33.0),
]


def test_pairs_with_seeds_have_welch_s_p():
    found = groups.p_values(SEEDS, 10_000)
    for one, other in combinations(range(len(SEEDS)), 2):
        expected = statistics.welch(SEEDS[one], SEEDS[other]).p
        assert found[one, other] == found[other, one] or math.isnan(found[one, other])
        if expected is None:
            assert math.isnan(found[one, other])
        else:
            assert found[one, other] == pytest.approx(expected, rel=1e-9)
    assert np.isnan(np.diag(found)).all()


def test_without_spread_there_is_no_test_unless_nothing_differs():
    found = groups.p_values([(70.0, 70.0), (70.0, 70.0, 70.0), (71.0, 71.0)], 360)
    assert found[0, 1] == 1
    assert math.isnan(found[0, 2])
    assert not groups.apart([(70.0, 70.0), (71.0, 71.0)], 360).any()


@pytest.mark.parametrize(("one", "other"), [(350, 330), (360, 351), (180, 180), (3, 0)])
def test_pairs_of_one_seed_have_the_p_of_the_chi_squared_test(one, other):
    images = 360
    table = [[one, images - one], [other, images - other]]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    found = groups.p_values([(100 * one / images,), (100 * other / images,)], images)
    assert found[0, 1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("share", [0.0, 100.0])
def test_all_images_right_on_both_sides_tells_nothing_apart(share):
    assert groups.p_values([(share,), (share,)], 360)[0, 1] == 1


def test_one_seed_against_several_is_of_the_images_too():
    several, single = (71.0, 72.0, 73.0), (69.0,)
    found = groups.p_values([several, single], 1000)[0, 1]
    expected = stats.chi2_contingency([[720, 280], [690, 310]], correction=False).pvalue
    assert found == pytest.approx(expected, rel=1e-9)


def test_of_unknown_images_one_seed_is_told_apart_from_nothing():
    entries = [(99.0,), (10.0,), (10.0, 11.0)]
    assert np.isnan(groups.p_values(entries, None)).all()
    assert not groups.apart(entries, None).any()


@pytest.mark.parametrize("seed", range(20))
def test_what_is_small_enough_is_what_scipy_adjusts_below_five_percent(seed):
    p = np.random.default_rng(seed).beta(0.3, 2, size=40)
    assert (groups.rejected(p) == (stats.false_discovery_control(p) <= 0.05)).all()


def test_what_was_not_tested_counts_for_nothing():
    # 0.02 of two tests passes at 2/2 of 5 %; of three it would have to be below 3.3 %, and 0.03 below 5 %.
    assert groups.rejected(np.array([0.02, math.nan, 0.06])).tolist() == [True, False, False]
    assert groups.rejected(np.array([0.02, 0.06, 0.9])).tolist() == [False, False, False]
    assert groups.rejected(np.array([math.nan])).tolist() == [False]
    assert groups.rejected(np.array([])).tolist() == []


def matrix(n, pairs):
    found = np.zeros((n, n), bool)
    for one, other in pairs:
        found[one, other] = found[other, one] = True
    return found


@pytest.mark.parametrize(
    ("n", "pairs", "expected"),
    [
        (0, [], []),
        (3, [], [1, 1, 1]),
        (3, [(0, 1), (0, 2), (1, 2)], [1, 2, 3]),
        # The middle cannot be told apart from either end, the ends can from each other.
        (3, [(0, 2)], [1, 1, 2]),
        # A row that spreads widely joins the first group although a row above it does not.
        (3, [(0, 1)], [1, 2, 1]),
        # Of the row that begins the group the fourth cannot be told apart, but of the second it can.
        (4, [(1, 3)], [1, 1, 1, 2]),
    ],
)
def test_no_two_of_a_group_can_be_told_apart(n, pairs, expected):
    apart = matrix(n, pairs)
    found = groups.groups(apart)
    assert found == expected
    assert not any(apart[one, other] for one, other in combinations(range(n), 2) if found[one] == found[other])


def test_the_interval_over_seeds_is_student_s():
    values = (61.0, 62.5, 60.25)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = groups.interval(values, 10_000)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.of == "seeds"


@pytest.mark.parametrize("right", [0, 1, 180, 355, 360])
def test_the_interval_of_one_seed_is_wilson_s_of_the_images(right):
    expected = stats.binomtest(right, 360).proportion_ci(0.95, method="wilson")
    found = groups.interval((100 * right / 360,), 360)
    # 1.96 is the quantile here, as everywhere in vitbench, and 1.959964 in scipy.
    assert (found.low, found.high) == pytest.approx((100 * expected.low, 100 * expected.high), abs=2e-4)
    assert found.of == "test images"


def test_there_is_no_interval_without_spread_or_images_and_none_beyond_what_is_possible():
    assert groups.interval((70.0, 70.0), 360) is None
    assert groups.interval((70.0,), None) is None
    assert groups.interval((99.0, 90.0), 360).high == 100
    assert groups.interval((1.0, 10.0), 360).low == 0


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_equal_methods_are_told_apart_in_at_most_five_percent_of_boards(seeds):
    """Of 12 methods that are the same; counted over 400 boards, where 5 % has a standard error of 1.1 %."""
    draws, images = np.random.default_rng(seeds), 10_000
    boards = 400
    if seeds == 1:
        accuracies = 100 * draws.binomial(images, 0.8, size=(boards, 12, 1)) / images
    else:
        accuracies = draws.normal(80, 0.5, size=(boards, 12, seeds))
    wrong = sum(bool(groups.apart([tuple(row) for row in one], images).any()) for one in accuracies)
    assert wrong / boards <= 0.05 + 2 * 0.011


def test_methods_that_differ_are_told_apart():
    draws = np.random.default_rng(0)
    entries = [tuple(draws.normal(mean, 0.5, size=5)) for mean in (80.0, 80.0, 75.0, 75.0, 60.0)]
    assert groups.groups(groups.apart(entries, 10_000)) == [1, 1, 2, 2, 3]
