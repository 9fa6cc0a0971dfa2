"""Which accuracies of a leaderboard can be told apart, and groups of those that cannot; see note 28.

Over seeds by Welch's t test, as `vitbench.statistics.welch` does it, for all pairs at once; where a side has one seed
by the binomial error of the test images, which knows nothing of seeds. Then Benjamini and Hochberg's rule over all of
them.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitbench import student
from vitbench.compare import Z95
from vitbench.statistics import CONFIDENCE, ROUNDING, deviation, half_width, spreads

SEEDS, IMAGES = "seeds", "test images"
RATE = 1 - CONFIDENCE  # share of the pairs said to be told apart that may be alike

_erfc = np.vectorize(math.erfc, otypes=[float])


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Where the mean accuracy lies with a confidence of 95 %.

    Attributes:
        of: what was drawn by chance: `SEEDS` or `IMAGES`.
    """

    low: float
    high: float
    of: str


def interval(values: Sequence[float], images: int | None) -> Interval | None:
    """Student's t over seeds; of one seed, Wilson's of the test images; None where neither can be given.

    Args:
        values: accuracies in percent, one a seed.
        images: that they were measured on, or None where nobody says how many.
    """
    mean = statistics.fmean(values)
    if len(values) > 1:
        if not spreads(values):
            return None
        half = half_width(deviation(values), len(values), confidence=CONFIDENCE)
        return Interval(low=max(mean - half, 0.0), high=min(mean + half, 100.0), of=SEEDS)
    if not images:
        return None
    share, whole = mean / 100, 1 + Z95**2 / images
    centre = (share + Z95**2 / (2 * images)) / whole
    half = Z95 / whole * math.sqrt(share * (1 - share) / images + Z95**2 / (4 * images**2))
    return Interval(low=100 * max(centre - half, 0.0), high=100 * min(centre + half, 1.0), of=IMAGES)


def apart(entries: Sequence[Sequence[float]], images: int | None) -> NDArray[np.bool_]:
    """Whether each pair of entries can be told apart: (n, n), symmetric, of all pairs together.

    A pair without a test, such as of two sides without spread, is not told apart.

    Args:
        entries: of each the accuracies in percent, one a seed.
        images: that all of them were measured on, or None where nobody says how many.
    """
    p = p_values(entries, images)
    upper = np.triu_indices(len(entries), 1)
    found = np.zeros(p.shape, bool)
    found[upper] = rejected(p[upper])
    return found | found.T


def p_values(entries: Sequence[Sequence[float]], images: int | None) -> NDArray[np.float64]:
    """Two-sided, of each pair: (n, n), symmetric; NaN where there is no test, as on the diagonal."""
    several = [place for place, values in enumerate(entries) if len(values) > 1]
    p = _of_images(np.array([statistics.fmean(values) for values in entries]), images)
    if several:
        p[np.ix_(several, several)] = _welch([entries[place] for place in several])
    np.fill_diagonal(p, math.nan)
    return p


def _of_images(mean: NDArray[np.float64], images: int | None) -> NDArray[np.float64]:
    """The score test of two shares, as if each side had images of its own."""
    if not images:
        return np.full((len(mean), len(mean)), math.nan)
    share = mean / 100
    common = (share[:, None] + share) / 2
    with np.errstate(invalid="ignore"):
        z = np.abs(share[:, None] - share) / np.sqrt(2 * common * (1 - common) / images)
    # All right on both sides, or none, is 0 / 0.
    found: NDArray[np.float64] = _erfc(np.nan_to_num(z, nan=0.0) / math.sqrt(2))
    return found


def _welch(sides: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    n = np.array([len(one) for one in sides])
    mean = np.array([statistics.fmean(one) for one in sides])
    spread = np.array([spreads(one) for one in sides])
    error = np.array([deviation(one) ** 2 for one in sides]) / n  # squared, of each mean
    error[~spread] = 0.0
    both = error[:, None] + error
    difference = np.abs(mean[:, None] - mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = both**2 / ((error**2 / (n - 1))[:, None] + error**2 / (n - 1))
        p = student.two_sided(difference / np.sqrt(both), freedom)
    # Nothing tells how far chance would go; what is the same up to rounding does not differ.
    same = difference <= ROUNDING * np.maximum(np.abs(mean)[:, None], np.abs(mean))
    neither = ~(spread[:, None] | spread)
    p[neither] = np.where(same, 1.0, math.nan)[neither]
    return p


def rejected(p: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Benjamini and Hochberg's rule at `RATE`: which of (m,) p are small enough; NaN counts for nothing."""
    tested = np.sort(p[~np.isnan(p)])
    passed = tested[tested <= RATE * np.arange(1, len(tested) + 1) / max(len(tested), 1)]
    found: NDArray[np.bool_] = p <= passed[-1] if len(passed) else np.zeros(p.shape, bool)
    return found


def groups(apart: NDArray[np.bool_]) -> list[int]:
    """Groups of which no two members can be told apart, from 1.

    A group begins with the best that is left and takes, downwards, whatever is told apart from none of its members.

    Args:
        apart: (n, n), the best first.
    """
    found = np.zeros(len(apart), int)
    group = 0
    while not found.all():
        group += 1
        barred = found > 0
        while not barred.all():
            row = int(np.argmin(barred))  # the first that is not
            found[row] = group
            barred |= apart[row]
            barred[row] = True
    return [int(one) for one in found]
