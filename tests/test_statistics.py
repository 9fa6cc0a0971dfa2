"""Statistics against hand-computed values, scipy called directly, and examples that others published."""

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from vitbench import statistics
from vitbench.errors import UserError
from vitbench.statistics import benjamini_hochberg, deviation, half_width, mcnemar, paired_bootstrap, paired_t, welch

# Hours of sleep gained by ten patients with two drugs: Student 1908, Biometrika 6, 20; R's data set `sleep`.
SLEEP = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)


def bits(both, first_only, second_only, neither):
    """Correctness of two networks, from the four cells of their table."""
    cells = [(True, True)] * both + [(True, False)] * first_only + [(False, True)] * second_only
    return tuple(zip(*cells + [(False, False)] * neither, strict=True))


def interval(found):
    return pytest.approx((found.low, found.high), abs=5e-5)


def test_welch_is_what_r_prints_of_sleep():
    found = welch(*SLEEP)
    assert (found.test, found.n, found.note) == ("Welch's t", (10, 10), "")
    assert found.effect == pytest.approx(1.58)
    assert found.p == pytest.approx(0.07939, abs=5e-6)
    assert interval(found) == (-0.2054832, 3.3654832)


def test_welch_is_what_r_prints_of_sides_of_different_length():
    found = welch([1.5, 6.4, 3.3, 5.8, 4.8, 7.2, 5.6, 4.5], [5.1, 2.0, 4.1, 6.2, 7.1, 8.3])
    assert found.n == (8, 6)
    assert found.p == pytest.approx(0.617, abs=5e-4)
    assert interval(found) == (-1.935420, 3.093754)


def test_paired_t_is_what_r_prints_of_sleep():
    found = paired_t(*SLEEP)
    assert (found.test, found.n) == ("paired t", (10,))
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert interval(found) == (0.7001142, 2.4598858)


def test_paired_t_of_two_pairs_by_hand():
    # Differences 1 and 3: mean 2, standard error 1, so t = 2 with one degree of freedom, which is Cauchy's.
    found = paired_t([10, 20], [11, 23])
    assert found.p == pytest.approx(1 - 2 * math.atan(2) / math.pi)
    quantile = math.tan(math.pi * 0.475)
    assert interval(found) == (2 - quantile, 2 + quantile)


def test_another_confidence_is_another_interval_of_the_same_p():
    wide, narrow = (paired_t(*SLEEP, confidence=share) for share in (0.99, 0.9))
    assert wide.p == narrow.p
    assert wide.low < paired_t(*SLEEP).low < narrow.low < narrow.high < wide.high
    assert welch(*SLEEP, confidence=0.9).low == pytest.approx(
        stats.ttest_ind(*SLEEP[::-1], equal_var=False).confidence_interval(0.9).low
    )


@pytest.mark.parametrize("test", [welch, paired_t, paired_bootstrap])
def test_sides_that_are_exchanged_change_the_sign_alone(test):
    found, other = test(*SLEEP), test(*SLEEP[::-1])
    assert other.effect == pytest.approx(-found.effect)
    assert found.p == pytest.approx(other.p) if found.p else other.p is None
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low), abs=0.1 if found.p is None else 1e-9)


def test_paired_bootstrap_is_scipys_and_the_same_each_time():
    found = paired_bootstrap(*SLEEP, seed=3)
    expected = stats.bootstrap(
        (np.subtract(SLEEP[1], SLEEP[0]),), np.mean, method="BCa", random_state=np.random.default_rng(3)
    ).confidence_interval
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found == paired_bootstrap(*SLEEP, seed=3) != paired_bootstrap(*SLEEP, seed=4)
    assert found.p is None
    assert found.low > 0.7  # the largest difference, 4.6, draws it to the right of Student's


def test_paired_bootstrap_covers_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(1.0, 2.0, (200, 2, 25))
    found = [paired_bootstrap(first, second, resamples=499) for first, second in draws.tolist()]
    hits = sum(one.low <= 0 <= one.high for one in found)
    assert stats.binomtest(hits, 200, 0.93).pvalue > 0.001


@pytest.mark.parametrize("test", [welch, paired_t])
def test_where_nothing_differs_p_is_uniform(test):
    draws = np.random.default_rng(1).normal(60, 0.5, (1000, 2, 5)).tolist()
    ps = [test(first, second).p for first, second in draws]
    rejected = sum(p < 0.05 for p in ps)
    assert stats.binomtest(rejected, 1000, 0.05, alternative="greater").pvalue > 0.001
    if test is paired_t:  # Welch's is uniform for many numbers only
        assert stats.kstest(ps, "uniform").pvalue > 0.001


@pytest.mark.parametrize("test", [welch, paired_t, paired_bootstrap])
def test_one_seed_has_no_interval_and_says_so(test):
    found = test([90.0], [91.5])
    assert (found.effect, found.low, found.high, found.p) == (1.5, None, None, None)
    assert found.note == statistics.ONE


def test_welch_of_one_against_many_has_no_interval():
    found = welch([90.0], [91.0, 92.0])
    assert (found.n, found.p, found.note) == ((1, 2), None, statistics.ONE)


@pytest.mark.parametrize("test", [welch, paired_t, paired_bootstrap])
@pytest.mark.parametrize("step", [0.0, 0.1, 0.28])
def test_without_spread_a_gain_is_not_proven_and_equality_not_refuted(test, step):
    found = test([90.1] * 3, [90.1 + step] * 3)
    assert found.effect == pytest.approx(step)
    assert (found.low, found.high, found.note) == (None, None, statistics.NO_SPREAD)
    assert found.p == (1.0 if step == 0 and test is not paired_bootstrap else None)


def test_differences_that_are_the_same_up_to_rounding_have_no_spread():
    first, second = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]  # 0.3 in decimals, three numbers in binary
    assert len({new - old for old, new in zip(first, second, strict=True)}) > 1
    assert paired_t(first, second).note == statistics.NO_SPREAD
    assert welch(first, second).p is not None


def test_welch_with_one_side_that_does_not_spread_is_a_test_of_the_other():
    found = welch([1.0, 1.0, 1.0], [2.0, 3.0, 4.0])
    assert found.p == pytest.approx(stats.ttest_1samp([2.0, 3.0, 4.0], 1.0).pvalue)


def test_mcnemar_is_exact_as_of_two_media_for_tuberculosis():
    # Armitage and Berry 1994, p. 127, by Liddell's exact test: P = 0.0129.
    found = mcnemar(*bits(20, 12, 2, 16))
    assert (found.test, found.n, found.effect) == ("McNemar", (50,), -20.0)
    assert found.p == pytest.approx(0.0129, abs=5e-5)
    # 2 of 14 or fewer, twice: (1 + 14 + 91) / 2^13.
    assert found.p == 106 / 2**13


# Of before minus after, as others print them: Newcombe 1998, Table II, and Fagerland, Lydersen and Laake 2014,
# Statistics in Medicine 33, 2850, of Bentur 2009 and Cavo 2012 (also in the R package `contingencytables`).
@pytest.mark.parametrize(
    ("cells", "low", "high", "digits"),
    [((36, 12, 2, 0), 0.0569, 0.3404, 4), ((1, 1, 7, 12), -0.507, -0.026, 3), ((59, 6, 16, 80), -0.1186, -0.0046, 4)],
)
def test_the_interval_of_accuracies_is_newcombes(cells, low, high, digits):
    found = mcnemar(*bits(*cells)[::-1])
    assert [round(end / 100, digits) for end in (found.low, found.high)] == [low, high]
    mirrored = mcnemar(*bits(*cells))
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_mcnemar_counts_only_images_that_tell_them_apart():
    assert mcnemar(*bits(0, 5, 15, 10)).p == mcnemar(*bits(9000, 5, 15, 10)).p == stats.binomtest(5, 20).pvalue


@pytest.mark.parametrize("cells", [(54, 0, 0, 0), (0, 0, 0, 7), (43, 0, 0, 7)])
def test_networks_that_agree_on_every_image_differ_by_chance_at_most(cells):
    found = mcnemar(*bits(*cells))
    assert (found.effect, found.p, found.note) == (0.0, 1.0, "no image tells them apart")
    assert -100 <= found.low < 0 < found.high <= 100


def test_networks_that_agree_on_no_image_stay_within_100_points():
    found = mcnemar(*bits(0, 0, 30, 0))
    assert found.effect == 100
    assert 80 < found.low < found.high <= 100


@pytest.mark.parametrize(("lost", "won"), [(0.02, 0.02), (0.1, 0.15), (0.0, 0.03)])
def test_the_interval_of_accuracies_covers_as_often_as_it_says(lost, won):
    drawn = np.random.default_rng(4).multinomial(200, [0.7, lost, won, 0.3 - lost - won], 300).tolist()
    found = [mcnemar(*bits(*cells)) for cells in drawn]
    hits = sum(one.low <= 100 * (won - lost) <= one.high for one in found)
    assert stats.binomtest(hits, 300, 0.95, alternative="less").pvalue > 0.001


def test_mcnemar_takes_arrays():
    first, second = (np.array(side) for side in bits(20, 12, 2, 16))
    assert mcnemar(first, second) == mcnemar(*bits(20, 12, 2, 16))


def test_benjamini_hochberg_of_their_own_example():
    # Benjamini and Hochberg 1995, section 3: 15 tests of thrombolysis; q = 0.05 rejects the first four.
    ps = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528]
    ps += [0.7590, 1.0]
    adjusted = benjamini_hochberg(ps)
    assert [p <= 0.05 for p in adjusted] == [True] * 4 + [False] * 11
    assert adjusted[0] == pytest.approx(0.0015)
    assert adjusted[3] == pytest.approx(0.0095 * 15 / 4)
    assert adjusted[-1] == 1


def test_benjamini_hochberg_by_hand_with_ties_and_what_was_not_tested():
    assert benjamini_hochberg([0.04, None, 0.01, 0.04]) == [
        pytest.approx(0.04),
        None,
        pytest.approx(0.03),
        pytest.approx(0.04),
    ]
    assert benjamini_hochberg([]) == []
    assert benjamini_hochberg([None, None]) == [None, None]


@pytest.mark.parametrize("test", [paired_t, paired_bootstrap, mcnemar])
@pytest.mark.parametrize(("first", "second"), [([1, 0], [1, 0, 1]), ([], []), ([], [1])])
def test_what_is_no_pairs_is_refused_in_one_line(test, first, second):
    with pytest.raises(UserError, match=rf"expected pairs .* got {len(first)} and {len(second)}") as caught:
        test(first, second)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("test", [welch, paired_t, paired_bootstrap])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_no_number_is_refused(test, wrong):
    with pytest.raises(UserError, match="expected finite numbers"):
        test([1.0, wrong], [1.0, 2.0])


def test_nothing_is_refused():
    with pytest.raises(UserError, match="got none"):
        welch([], [1.0])


def test_importing_it_imports_no_scipy():
    code = "import sys, vitbench.statistics; assert not {'scipy', 'numpy', 'torch'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "numbers", [[1.0, 2.0], [70.1, 70.2, 70.4], [0.1] * 3, [1e-300, 2e-300], [1e200, 2e200, 5e200]]
)
def test_the_deviation_is_that_of_a_sample(numbers):
    expected = float(np.std(np.array(numbers, dtype=np.longdouble), ddof=1))
    assert deviation(numbers) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("numbers", [[1.0, 2.0], [3.0, 3.5, 4.75], [0.1, -0.4, 0.3, 0.25, 0.9]])
def test_half_of_an_interval_of_a_mean_is_that_of_scipys_one_sample_test(numbers):
    found = stats.ttest_1samp(numbers, 0.0).confidence_interval(0.95)
    half = half_width(float(np.std(numbers, ddof=1)), len(numbers))
    assert half == pytest.approx((found.high - found.low) / 2)
    # One number more that spreads alike: a prediction interval.
    assert half_width(1.0, len(numbers), beside=1) == pytest.approx(
        stats.t.ppf(0.975, len(numbers) - 1) * (1 + 1 / len(numbers)) ** 0.5
    )
