"""The gate's rules: whether a method's gain fell, whether a step became slower, whether a gain needs more seeds.

What is gated is the gain, accuracy of a method less that of its own plain baseline at the same seed, because levels
do not survive a change of schedule and gains do. How often these rules are wrong is measured by
`benchmarks/perf/gate.py`; what came out stands in `docs/gate.md`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from vitbench.compare import Verdict
from vitbench.errors import UserError

LEAST_SEEDS = 2  # on each side: one seed has no spread, and is never gated
ALPHA = 0.005  # of one side: half of the 1 % that may fail without a change, for tails and records that are not normal
LEAST_EFFECT = 0.5  # points: less is what another card or library does, however sure it is
HARM = 2.0  # points that "same" rules out, either way
EQUIVALENCE = 0.05  # chance of "same" if the gain changed by `HARM`
LEAST_SPREAD = 0.1  # points: seeds that agree better, by 10 of 10,000 images, do so by chance

LEAST_DRIFT = 0.005  # share of what a term adds to the first epoch's loss; harmless changes move it by 1e-5

SPEED_ALPHA = 0.01
LEAST_SLOWDOWN = 0.04  # share: two kernels drift apart by 1 % from run to run
FLOORS = 2.0  # noise floors that a slowdown must exceed
UNSTEADY = 0.10  # a threshold above it says that the machine is too unsteady to tell
LEAST_TIMES = 5  # on each side; fewer cannot reach `SPEED_ALPHA` by ranks

FIRST_LOOK = 3  # seeds
# Boundaries of |Z| for looks after each of 1, 2, ... 20 equal groups that keep 5 % of both sides together:
# Pocock 1977; Jennison & Turnbull 2000, Table 2.1 (rounded up).
POCOCK = (
    *(1.960, 2.179, 2.290, 2.362, 2.414, 2.454, 2.486, 2.513, 2.536, 2.556),
    *(2.573, 2.589, 2.603, 2.615, 2.627, 2.638, 2.648, 2.657, 2.665, 2.673),
)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict and what it rests on.

    Attributes:
        effect: points of the gain, or of a speed the share (0.05: 5 % slower).
        low, high: an interval of the effect; NaN where there is none.
        p: of one side, that in which the effect lies; NaN where nothing was tested.
        counts: seeds or times, now and recorded.
        test: its name.
        why: what else a reader has to know, or empty.
        gated: whether there was enough to judge; else the verdict is `undecided` and neither passes nor fails.
    """

    verdict: Verdict
    effect: float
    low: float
    high: float
    p: float
    counts: tuple[int, int]
    test: str
    why: str = ""
    gated: bool = True


class Change(NamedTuple):
    """Verdicts over many cases at once; every array has the shape of the cases."""

    verdict: NDArray[Any]
    effect: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]
    p: NDArray[Any]


def changes(now: ArrayLike, recorded: ArrayLike) -> Change:
    """Judge gains against recorded ones, case by case, by Student's t of two samples.

    The variance is pooled: without a change both sides have the same one, which makes the test exact for normal
    seeds and cautious for heavy tails. Sides are not paired by seed, for the same seed on other code is another run.

    Args:
        now: (..., n) gains in points, n at least 2.
        recorded: (..., m) likewise.

    Returns:
        worse or better: p below `ALPHA` and an effect of at least `LEAST_EFFECT`.
        same: the 90 % interval lies within `HARM` (two one-sided tests, Schuirmann 1987), or every value is the
        recorded one in the order given. undecided: neither.
    """
    ours, theirs = np.asarray(now, float), np.asarray(recorded, float)
    n, m = ours.shape[-1], theirs.shape[-1]
    freedom = n + m - 2
    squares = ours.var(-1, ddof=1) * (n - 1) + theirs.var(-1, ddof=1) * (m - 1)
    error = np.sqrt(np.maximum(squares / freedom, LEAST_SPREAD**2) * (1 / n + 1 / m))
    effect = ours.mean(-1) - theirs.mean(-1)
    p = stats.t.sf(np.abs(effect) / error, freedom)
    half = stats.t.isf(EQUIVALENCE, freedom) * error
    low, high = effect - half, effect + half
    is_change = (p < ALPHA) & (np.abs(effect) >= LEAST_EFFECT)
    is_same = (low > -HARM) & (high < HARM)
    if ours.shape == theirs.shape:
        is_same |= (ours == theirs).all(-1)
    kinds = [is_change & (effect < 0), is_change, is_same]
    verdict = np.select(kinds, [Verdict.WORSE, Verdict.BETTER, Verdict.SAME], Verdict.UNDECIDED)
    return Change(verdict, effect, low, high, p)


def judge_difference(now: Sequence[float], recorded: Sequence[float]) -> Judgement:
    """Whether a method's gain over its own plain baseline is what was recorded.

    Args:
        now: gains in points, one a seed.
        recorded: likewise; in the order of the same seeds where they are the same.

    Returns:
        By `changes`, with the 90 % interval; of one seed on a side a judgement that is not gated, and of NaN or
        infinity an invalid one.
    """
    sizes = (len(now), len(recorded))
    if not all(math.isfinite(value) for value in (*now, *recorded)):
        return _untested(Verdict.INVALID, sizes, why="a gain is no finite number")
    if min(sizes) < LEAST_SEEDS:
        effect = float(np.mean(now) - np.mean(recorded)) if min(sizes) else math.nan
        why = f"a gate needs at least {LEAST_SEEDS} seeds on each side, got {sizes[0]} and {sizes[1]}"
        return _untested(Verdict.UNDECIDED, sizes, effect=effect, why=why)
    one = changes(now, recorded)
    why = "every seed gives the recorded value" if list(now) == list(recorded) else ""
    return _judged(one, sizes, test="Student's t, two samples", why=why)


def judge_losses(now: Sequence[float], recorded: Sequence[float]) -> Judgement:
    """Whether a term adds to the loss of the first epoch what was recorded, on the same device by the same torch.

    No test of chance, for there is hardly any: paired by seed, the draws are the same, and an epoch is too short for
    rounding to grow. Code that computes the same in another way moves these values by some 1e-5, a slip by percents.

    Args:
        now: first epoch's weighted values, one a seed.
        recorded: likewise, of the same seeds.

    Returns:
        worse: the geometric mean of the ratios is off by more than `LEAST_DRIFT` either way, for that a term became
        smaller is no improvement by itself, or a value has another sign; else same. With the range of the ratios, and
        no p. Of fewer than `LEAST_SEEDS` a judgement that is not gated.
    """
    sizes = (len(now), len(recorded))
    if min(sizes) < LEAST_SEEDS:
        return _untested(Verdict.UNDECIDED, sizes, why=f"a gate of losses needs at least {LEAST_SEEDS} seeds")
    if not all(math.isfinite(value) for value in (*now, *recorded)) or not all(recorded):
        return _untested(Verdict.INVALID, sizes, why="a loss is no finite number, or was recorded as 0")
    ratios = [new / old for new, old in zip(now, recorded, strict=True)]
    is_flipped = min(ratios) <= 0
    mean = float(np.mean(ratios) if is_flipped else np.exp(np.mean(np.log(ratios))))
    is_change = is_flipped or abs(mean - 1) > LEAST_DRIFT
    return Judgement(
        verdict=Verdict.WORSE if is_change else Verdict.SAME,
        effect=mean - 1,
        low=min(ratios) - 1,
        high=max(ratios) - 1,
        p=math.nan,
        counts=sizes,
        test="same seeds, first epoch",
        why="its sign is another one" if is_flipped else "",
    )


def _judged(one: Change, sizes: tuple[int, int], *, test: str, why: str) -> Judgement:
    """The judgement of a single case."""
    effect, low, high, p = (float(value) for value in (one.effect, one.low, one.high, one.p))
    verdict = Verdict(str(one.verdict))
    return Judgement(verdict=verdict, effect=effect, low=low, high=high, p=p, counts=sizes, test=test, why=why)


def _untested(verdict: Verdict, sizes: tuple[int, int], *, effect: float = math.nan, why: str) -> Judgement:
    nothing = {name: math.nan for name in ("low", "high", "p")}
    return Judgement(verdict=verdict, effect=effect, counts=sizes, test="none", why=why, gated=False, **nothing)


def noise_floor(blocks: ArrayLike) -> NDArray[Any]:
    """The A/A noise floor: by how much medians of the very same code differ within one run.

    Args:
        blocks: (..., blocks, k) times; the blocks of a run apart from each other, so that a drift shows.

    Returns:
        (...) largest median over smallest, less 1.
    """
    medians = np.median(np.asarray(blocks, float), axis=-1)
    return np.asarray(medians.max(-1) / medians.min(-1) - 1)


def slowdowns(times_now: ArrayLike, times_recorded: ArrayLike, floor: ArrayLike) -> Change:
    """Judge times against recorded ones, case by case, by Mann and Whitney's test and a threshold.

    The threshold does most of the work: timings of a run lean on each other, so ranks alone would call any drift
    a change.

    Args:
        times_now: (..., n) seconds of a step, better divided by the median of the plain step in the same run.
        times_recorded: (..., m) likewise.
        floor: (...) of `noise_floor`, the larger of both runs where both are known.

    Returns:
        effect: ratio of medians, less 1. low, high: the threshold around it. worse or better: beyond the threshold, p
        below `SPEED_ALPHA`. undecided: not so, while the threshold is above `UNSTEADY`. same: neither.
    """
    ours, theirs = np.asarray(times_now, float), np.asarray(times_recorded, float)
    effect = np.median(ours, -1) / np.median(theirs, -1) - 1
    threshold = np.maximum(LEAST_SLOWDOWN, FLOORS * np.asarray(floor, float))
    greater, less = (
        stats.mannwhitneyu(ours, theirs, alternative=side, axis=-1, method="asymptotic").pvalue
        for side in ("greater", "less")
    )
    p = np.where(effect > 0, greater, less)
    is_change = (p < SPEED_ALPHA) & (np.maximum(effect, 1 / (1 + effect) - 1) > threshold)
    kinds = [is_change & (effect > 0), is_change, threshold > UNSTEADY]
    verdict = np.select(kinds, [Verdict.WORSE, Verdict.BETTER, Verdict.UNDECIDED], Verdict.SAME)
    return Change(verdict, effect, effect - threshold, effect + threshold, p)


def slower(times_now: Sequence[float], times_recorded: Sequence[float], floor: float) -> Judgement:
    """Whether steps became slower than recorded, on the same machine.

    Args:
        times_now, times_recorded: seconds, or multiples of the plain step in the same run; more than 0.
        floor: A/A noise floor of the run, as a share.

    Returns:
        By `slowdowns`; of fewer than `LEAST_TIMES` times a judgement that is not gated, and an invalid one of what is
        no time.
    """
    sizes = (len(times_now), len(times_recorded))
    if not all(0 < value < math.inf for value in (*times_now, *times_recorded)) or not 0 <= floor < math.inf:
        return _untested(Verdict.INVALID, sizes, why="a time, or the noise floor, is no finite positive number")
    if min(sizes) < LEAST_TIMES:
        why = f"a gate of speed needs at least {LEAST_TIMES} times on each side, got {sizes[0]} and {sizes[1]}"
        return _untested(Verdict.UNDECIDED, sizes, why=why)
    one = slowdowns(times_now, times_recorded, floor)
    return _judged(one, sizes, test="Mann-Whitney, A/A floor", why=f"noise floor {floor:.1%}")


def boundary(seeds: int, *, cap: int) -> float:
    """What |t| of the gains must exceed after so many seeds, so that all looks together err in at most 5 %.

    Pocock's constant of `cap` equal groups, at the same two-sided level of Student's t (Jennison & Turnbull 2000,
    section 4.4). Looks begin at `FIRST_LOOK`; those left out pay for the t, whose looks lean less on each other.

    Raises:
        UserError: for a cap that the table does not have.
    """
    if not FIRST_LOOK <= cap <= len(POCOCK):
        raise UserError(f"--seeds auto: expected a cap of {FIRST_LOOK} to {len(POCOCK)} seeds, got {cap}")
    return float(stats.t.isf(stats.norm.sf(POCOCK[cap - 1]), seeds - 1))


def mean_and_error(gains: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean of (..., n) gains and its standard error, of a spread of at least `LEAST_SPREAD`."""
    values = np.asarray(gains, float)
    spread = np.maximum(values.std(-1, ddof=1), LEAST_SPREAD)
    return values.mean(-1), np.asarray(spread / math.sqrt(values.shape[-1]))


def seeds_needed(gains: Sequence[float], *, cap: int = 10) -> tuple[int, Judgement]:
    """Whether the sign of a gain is known, or how many seeds to add before the next look.

    Args:
        gains: accuracy less that of the plain baseline at the same seed, in points, of all seeds so far; those
            beyond the cap are not looked at.
        cap: most seeds.

    Returns:
        Seeds to add, 0 at the end, and the judgement: better or worse where the repeated confidence interval lies on
        one side of 0, else undecided.

    Raises:
        UserError: for a cap that the rule has no boundary for.
    """
    boundary(FIRST_LOOK, cap=cap)  # refuses the cap at once
    gains = gains[:cap]
    n = len(gains)
    if not all(math.isfinite(value) for value in gains):
        return 0, _untested(Verdict.INVALID, (n, 0), why="a gain is no finite number")
    if n < FIRST_LOOK:
        why = f"the first look is after {FIRST_LOOK} seeds"
        return FIRST_LOOK - n, _untested(Verdict.UNDECIDED, (n, 0), why=why)
    effect, error = (float(one) for one in mean_and_error(gains))
    half = boundary(n, cap=cap) * error
    is_decided = abs(effect) > half
    verdict = (Verdict.BETTER if effect > 0 else Verdict.WORSE) if is_decided else Verdict.UNDECIDED
    more = 0 if is_decided or n >= cap else 1
    return more, Judgement(
        verdict=verdict,
        effect=effect,
        low=effect - half,
        high=effect + half,
        p=float(stats.t.sf(abs(effect) / error, n - 1)),
        counts=(n, 0),
        test="Pocock's boundary, Student's t",
        why="" if is_decided or more else f"at the cap of {cap} seeds",
    )
