"""Tests of whether two sets of numbers differ, each with its effect, its interval and what it was counted over.

They say nothing of whether a difference is good. Effects are the second minus the first. scipy does the tests, and is
imported when one is done; which test is for what stands in docs/decisions/0024-statistics.md.
"""

import math
import statistics
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from vitbench.errors import UserError

CONFIDENCE = 0.95
RESAMPLES = 9999  # of a bootstrap, scipy's own default
ROUNDING = 1e-9  # spread, relative to the values, below which they are the same up to rounding
ONE = "n = 1: no interval"
NO_SPREAD = "no spread: no interval"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a test says of two sets of numbers.

    Attributes:
        test: its name.
        n: what it was counted over: (pairs,), or (numbers of the first, numbers of the second).
        effect: the second minus the first, in the unit of the numbers; of correctness bits in points.
        low, high: ends of the interval of the effect, or None where none can be given.
        p: two-sided, or None where there is no test.
        note: why something is None, else empty.
    """

    test: str
    n: tuple[int, ...]
    effect: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    note: str = ""


def welch(first: Sequence[float], second: Sequence[float], *, confidence: float = CONFIDENCE) -> Comparison:
    """Welch's t test of two means, of numbers that are no pairs and may spread differently (Welch 1947).

    Raises:
        UserError: if one side has no number, or one that is not finite.
    """
    _check(first, second)
    name, n = "Welch's t", (len(first), len(second))
    effect = statistics.fmean(second) - statistics.fmean(first)
    if min(n) == 1:
        return Comparison(test=name, n=n, effect=effect, note=ONE)
    if not (spreads(first) or spreads(second)):
        return _without_spread(name, n, effect, [*first, *second])
    from scipy.stats import ttest_ind

    with _one_side_may_not_spread():
        result = ttest_ind(second, first, equal_var=False)
        low, high = result.confidence_interval(confidence)
    return Comparison(test=name, n=n, effect=effect, low=float(low), high=float(high), p=float(result.pvalue))


def paired_t(first: Sequence[float], second: Sequence[float], *, confidence: float = CONFIDENCE) -> Comparison:
    """Student's t test of the differences of pairs, such as runs of the same seed.

    Raises:
        UserError: if the sides are not equally long, have no number, or one that is not finite.
    """
    differences = _differences(first, second)
    name, n = "paired t", (len(differences),)
    effect = statistics.fmean(differences)
    if n == (1,):
        return Comparison(test=name, n=n, effect=effect, note=ONE)
    if not spreads(differences, of=[*first, *second]):
        return _without_spread(name, n, effect, [*first, *second])
    from scipy.stats import ttest_1samp

    result = ttest_1samp(differences, 0.0)
    low, high = result.confidence_interval(confidence)
    return Comparison(test=name, n=n, effect=effect, low=float(low), high=float(high), p=float(result.pvalue))


def deviation(numbers: Sequence[float]) -> float:
    """Sample standard deviation of two numbers or more: n - 1 below."""
    mean = math.fsum(numbers) / len(numbers)
    return math.hypot(*(one - mean for one in numbers)) / math.sqrt(len(numbers) - 1)


def spreads(numbers: Sequence[float], *, of: Sequence[float] = ()) -> bool:
    """Whether numbers differ by more than rounding; a difference is rounded as the numbers that it is of are."""
    return max(numbers) - min(numbers) > ROUNDING * max(map(abs, of or numbers))


def half_width(spread: float, n: int, *, beside: int = 0, confidence: float = CONFIDENCE) -> float:
    """Half of the interval of the mean of n numbers, by Student's t.

    Args:
        spread: their sample standard deviation.
        n: two or more.
        beside: of the difference of this mean from that of so many others, of which it is only known that they would
            spread alike.
    """
    from vitbench import student  # imports numpy

    return student.quantile(confidence, n - 1) * spread * math.sqrt(1 / n + (1 / beside if beside else 0.0))


def paired_bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """An interval of the mean difference of pairs that assumes no distribution: BCa (Efron 1987). It is no test.

    With fewer than some ten pairs it is too narrow.

    Args:
        seed: of the resampling, so that the same numbers have the same interval.

    Raises:
        UserError: if the sides are not equally long, have no number, or one that is not finite.
    """
    differences = _differences(first, second)
    name, n = "paired bootstrap", (len(differences),)
    effect = statistics.fmean(differences)
    if n == (1,):
        return Comparison(test=name, n=n, effect=effect, note=ONE)
    if not spreads(differences, of=[*first, *second]):
        return _without_spread(name, n, effect, [*first, *second], tested=False)
    import numpy as np
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.asarray(differences),),
        np.mean,
        confidence_level=confidence,
        n_resamples=resamples,
        method="BCa",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return Comparison(test=name, n=n, effect=effect, low=float(found.low), high=float(found.high))


def mcnemar(first: Sequence[bool], second: Sequence[bool], *, confidence: float = CONFIDENCE) -> Comparison:
    """McNemar's exact test of two networks on the same images, by which of them each got right.

    The interval is Newcombe's for a difference of paired proportions (1998, Statistics in Medicine 17, 2635, method
    10), which unlike Wald's holds where few images, or none, tell the two apart.

    Args:
        first, second: whether each image, in the same order, was classified correctly.

    Returns:
        With the difference of accuracies in points.

    Raises:
        UserError: if the sides are not of equally many images, or of none.
    """
    _check_pairs(first, second, what="images")
    pairs = list(zip(map(bool, first), map(bool, second), strict=True))
    lost, won = pairs.count((True, False)), pairs.count((False, True))
    from scipy.stats import binomtest

    p = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    low, high = _newcombe(pairs.count((True, True)), lost, won, len(pairs), confidence)
    return Comparison(
        test="McNemar",
        n=(len(pairs),),
        effect=100 * (won - lost) / len(pairs),
        low=100 * low,
        high=100 * high,
        p=p,
        note="" if won + lost else "no image tells them apart",
    )


def _newcombe(both: int, lost: int, won: int, n: int, confidence: float) -> tuple[float, float]:
    """Interval of the share of `won` minus that of `lost`: Wilson's of both sides, with the correlation of the two."""
    from scipy.stats import binomtest

    sides = [both + won, both + lost]  # right on the second, right on the first
    wilson = [binomtest(side, n).proportion_ci(confidence, method="wilson") for side in sides]
    shares = [side / n for side in sides]
    neither = n - both - lost - won
    margins = sides[0] * (n - sides[0]) * sides[1] * (n - sides[1])
    product = float(both * neither - lost * won)
    if product > 0:
        product = max(product - n / 2, 0.0)  # his correction for continuity
    phi = product / math.sqrt(margins) if margins else 0.0

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(one**2 - 2 * phi * one * other + other**2, 0.0))

    down = reach(shares[0] - wilson[0].low, wilson[1].high - shares[1])
    up = reach(wilson[0].high - shares[0], shares[1] - wilson[1].low)
    difference = (won - lost) / n
    return max(difference - down, -1.0), min(difference + up, 1.0)


def benjamini_hochberg(ps: Sequence[float | None]) -> list[float | None]:
    """The p of a table, adjusted so that among those below q a share of at most q is false (Benjamini, Hochberg 1995).

    Args:
        ps: None where there was no test, which stays so and counts for nothing.
    """
    tested = [p for p in ps if p is not None]
    if not tested:
        return list(ps)
    from scipy.stats import false_discovery_control

    adjusted = iter(false_discovery_control(tested).tolist())
    return [None if p is None else float(next(adjusted)) for p in ps]


def _differences(first: Sequence[float], second: Sequence[float]) -> list[float]:
    _check_pairs(first, second, what="numbers")
    _check(first, second)
    return [new - old for old, new in zip(first, second, strict=True)]


def _check_pairs(first: Sequence[object], second: Sequence[object], *, what: str) -> None:
    if len(first) != len(second) or not len(first):
        raise UserError(f"expected pairs of {what}, got {len(first)} and {len(second)}; compare what belongs together")


def _check(*sides: Sequence[float]) -> None:
    for side in sides:
        if not len(side) or not all(math.isfinite(one) for one in side):
            got = "one that is not" if len(side) else "none"
            raise UserError(f"expected finite numbers to compare, got {got}; leave that measurement out")


def _without_spread(
    test: str, n: tuple[int, ...], effect: float, numbers: Sequence[float], *, tested: bool = True
) -> Comparison:
    """Nothing tells how far chance would go: t is infinite, or 0 / 0.

    Accuracies on few images come in steps, so that two seeds gain the same by chance; that p is then no 0.
    """
    same = abs(effect) <= ROUNDING * max(map(abs, numbers))
    p = 1.0 if same and tested else None
    return Comparison(test=test, n=n, effect=0.0 if same else effect, p=p, note=NO_SPREAD)


@contextmanager
def _one_side_may_not_spread() -> Iterator[None]:
    """Scipy warns of a side whose numbers are all the same, whose variance of 0 is right."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        yield
