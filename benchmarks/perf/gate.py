"""How often the gate is wrong: simulated histories, each a record and what is measured later, judged by the gate.

A history without a change must pass, one with a change must fail. Seeds scatter normally, with heavy tails (t with 3
degrees of freedom), to one side, or crash now and then; machines are steady, spiky, or drift within a run and between
runs. All draws are of one seed, so that it prints the same again.

To be reached, else it exits with 1: false alarms of at most 1 % in every kind (upper end of their 95 % Clopper-Pearson
interval), -2 points caught in at least 95 % with 5 seeds at a spread of 0.5 of the gated gain, and signs that are
wrong in at most 5 % when seeds are added one by one. Times count as multiples of the plain step in the same run.

    python benchmarks/perf/gate.py > out.md       half a minute on one core
    python benchmarks/perf/gate.py --histories 5000    wider intervals, which may miss a goal for that alone
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from vitbench import gate, samples
from vitbench.compare import Verdict

SPREADS = (0.2, 0.35, 0.5, 0.65, 0.8)  # points, standard deviation of the gain over seeds
SEEDS = (3, 5, 10)
CHANGES = (-0.5, -1.0, -2.0)  # points
SLOWDOWNS = (0.03, 0.05, 0.10)
CAPS = (5, 10, 20)
FALSE_ALARMS, POWER, WRONG_SIGNS = 0.01, 0.95, 0.05

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
# Of mean 0 and standard deviation 1, but the last, in which 3 % of the seeds crash by 8 more.
TAILS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
    "one-sided tail": lambda rng, shape: 1 - rng.standard_exponential(shape),
    "crashes": lambda rng, shape: rng.standard_normal(shape) - 8 * (rng.random(shape) < 0.03),
}


@dataclass
class Page:
    """What is printed, and which goals were missed."""

    lines: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table in Markdown."""
        self.lines += ["", f"**{title}**", "", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        self.lines += [f"| {' | '.join(row)} |" for row in rows]

    def goal(self, text: str, holds: bool) -> None:
        """Say whether a goal holds."""
        self.lines += ["", f"- {'holds' if holds else 'MISSED'}: {text}"]
        self.missed += [] if holds else [text]


@dataclass(frozen=True)
class Rate:
    """How often something happened in so many histories."""

    hits: int
    histories: int

    @classmethod
    def of(cls, happened: np.ndarray) -> "Rate":
        return cls(int(np.count_nonzero(happened)), happened.size)

    @property
    def share(self) -> float:
        return self.hits / self.histories

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's, 95 %."""
        found = stats.binomtest(self.hits, self.histories).proportion_ci(method="exact")
        return found.low, found.high

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.share:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def percent(happened: np.ndarray) -> str:
    """A share in percent."""
    return f"{100 * np.mean(happened):.1f}"


def worse(now: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """Whether each history fails."""
    return gate.changes(now, recorded).verdict == Verdict.WORSE


def histories(
    rng: np.random.Generator, tail: str, spread: float, seeds: tuple[int, int], count: int
) -> list[np.ndarray]:
    """Gains (count, seeds) now and recorded, of the same mean."""
    return [spread * TAILS[tail](rng, (count, one)) for one in seeds]


def false_alarms(rng: np.random.Generator, count: int) -> dict[tuple[str, str, float], Rate]:
    """Of every kind of history without a change: tail, seeds now/recorded, spread."""
    sizes = [*((one, one) for one in SEEDS), (5, 10), (10, 3)]
    return {
        (tail, f"{now}/{before}", spread): Rate.of(worse(*histories(rng, tail, spread, (now, before), count)))
        for tail in TAILS
        for now, before in sizes
        for spread in SPREADS
    }


def auto_recorded(rng: np.random.Generator, spread: float, gain: float, count: int) -> Rate:
    """False alarms where the record's seeds were added until its sign was known, and 5 seeds are held against it."""
    recorded = gain + spread * rng.standard_normal((count, 10))
    last, _ = stops(recorded, cap=10)
    now = gain + spread * rng.standard_normal((count, 5))
    fails = [worse(now[last == n], recorded[last == n, :n]) for n in range(gate.FIRST_LOOK, 11)]
    return Rate.of(np.concatenate(fails))


def gains(page: Page, rng: np.random.Generator, count: int) -> None:
    """False alarms and power of the gate on gains."""
    found = false_alarms(rng, count)
    columns = ["seeds scatter", "seeds now/recorded", *(f"spread {one}" for one in SPREADS)]
    keys = dict.fromkeys((tail, size) for tail, size, _ in found)
    page.table(
        f"False alarms of the gain, % of {count} histories without a change (95 % interval)",
        columns,
        [[*key, *(str(found[(*key, spread)]) for spread in SPREADS)] for key in keys],
    )
    worst = max(found, key=lambda key: found[key].share)
    text = f"false alarms of a gain are at most 1 % in each of {len(found)} kinds; most: {found[worst]} % of {worst}"
    page.goal(text, all(one.interval[1] <= FALSE_ALARMS for one in found.values()))
    auto = {gain: auto_recorded(rng, 0.5, gain, count) for gain in (0.0, 0.5, 1.0)}
    page.goal(
        "so they are where the record's seeds were added until its sign was known, spread 0.5: "
        + "; ".join(f"{rate} % of a gain of {gain}" for gain, rate in auto.items()),
        all(one.interval[1] <= FALSE_ALARMS for one in auto.values()),
    )
    power(page, rng, count)


def power(page: Page, rng: np.random.Generator, count: int) -> None:
    """What of a change is caught, and what is said where there is none."""
    columns = ["seeds scatter", "seeds", "change", *(f"spread {one}" for one in SPREADS)]
    rows, levels, said = [], [], []
    reached = harder = Rate(0, 1)
    for tail in TAILS:
        for n in SEEDS:
            drawn = {spread: histories(rng, tail, spread, (n, n), count) for spread in SPREADS}
            for change in CHANGES:
                caught = {spread: worse(now + change, recorded) for spread, (now, recorded) in drawn.items()}
                rows.append([tail, str(n), str(change), *(percent(one) for one in caught.values())])
                if (tail, n, change) == ("normal", 5, -2.0):
                    reached = Rate.of(caught[0.5])
            verdicts = [gate.changes(*pair).verdict for pair in drawn.values()]
            said.append([tail, str(n), *(percent(one == Verdict.SAME) for one in verdicts)])
    for n in sorted({*SEEDS, 5, 6, 7}):
        drawn = {spread: histories(rng, "normal", math.sqrt(2) * spread, (n, n), count) for spread in SPREADS}
        for change in CHANGES:
            caught = {spread: worse(now + change, recorded) for spread, (now, recorded) in drawn.items()}
            if (n, change) == (5, -2.0):
                harder = Rate.of(caught[0.5])
            levels.append(["normal", str(n), str(change), *(percent(one) for one in caught.values())])
    page.table("Caught, %, over the spread of the gain", columns, rows)
    page.table("Caught, %, over the spread of each accuracy, method and baseline independent", columns, levels)
    page.table("Called the same, % of histories without a change", [*columns[:2], *columns[3:]], said)
    page.goal(
        f"-2 points are caught with 5 seeds at a spread of 0.5 of the gain in {reached} %", reached.share >= POWER
    )
    page.lines += [f"- no goal: at a spread of 0.5 of each accuracy, independent of each other, in {harder} %"]


def tried(page: Page, rng: np.random.Generator, count: int) -> None:
    """Other rules on accuracies of 5 seeds a side: a gain's spread is sqrt(2) of theirs where they are independent."""
    rows = []
    for tail, spreads, correlation in (
        ("normal", (0.5, 0.5), 0.0),
        ("normal", (0.5, 0.5), 0.5),
        ("normal", (0.5, 0.5), -0.3),
        ("normal", (0.8, 0.2), 0.0),
        ("heavy tails", (0.5, 0.5), 0.0),
    ):
        sides = []
        for _ in range(2):
            method, own = TAILS[tail](rng, (count, 5)), TAILS[tail](rng, (count, 5))
            plain = correlation * method + math.sqrt(1 - correlation**2) * own
            sides.append((spreads[0] * method, spreads[1] * plain))
        for name, p in rules(*sides):
            effect = {change: _gain(sides[0]) + change - _gain(sides[1]) for change in (0.0, -2.0)}
            shares = [
                percent((p(change) < gate.ALPHA) & (one <= -gate.LEAST_EFFECT))
                if change
                else str(Rate.of((p(change) < gate.ALPHA) & (one <= -gate.LEAST_EFFECT)))
                for change, one in effect.items()
            ]
            rows.append([f"{tail}, spreads {spreads[0]} and {spreads[1]}, correlation {correlation}", name, *shares])
    page.table("Rules that were tried, 5 seeds, %", ["accuracies", "rule", "false alarms", "-2 points caught"], rows)


def _gain(side: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return np.asarray((side[0] - side[1]).mean(-1))


Side = tuple[np.ndarray, np.ndarray]  # accuracies of the method and of its baseline


def rules(now: Side, recorded: Side) -> Iterator[tuple[str, Callable[[float], np.ndarray]]]:
    """Names of rules, each with the p of a fall where the method's accuracies changed by so much."""
    a, b = now[0] - now[1], recorded[0] - recorded[1]
    yield "Student's t (chosen)", lambda change: stats.ttest_ind(a + change, b, axis=-1, alternative="less").pvalue
    yield (
        "Welch's t",
        lambda change: stats.ttest_ind(a + change, b, axis=-1, equal_var=False, alternative="less").pvalue,
    )
    yield "t, paired by seed", lambda change: stats.ttest_rel(a + change, b, axis=-1, alternative="less").pvalue
    yield (
        "Mann-Whitney, exact",
        lambda change: stats.mannwhitneyu(a + change, b, axis=-1, alternative="less", method="exact").pvalue,
    )
    # The variances of method and baseline apart, of twice as many degrees of freedom together (Satterthwaite).
    parts = [(x.var(-1, ddof=1) + y.var(-1, ddof=1)) / 2 for x, y in zip(now, recorded, strict=True)]
    n = a.shape[-1]
    freedom = (parts[0] + parts[1]) ** 2 / (parts[0] ** 2 + parts[1] ** 2) * 2 * (n - 1)
    error = np.sqrt((parts[0] + parts[1]) * 2 / n)
    yield "t, four groups", lambda change: stats.t.cdf((a.mean(-1) + change - b.mean(-1)) / error, freedom)


BLOCKS, TIMES = samples.BLOCKS, 8  # blocks of a run, and timings of a block: the 32 of `bench.JUDGED_CALLS`
SLOPE = 0.04  # standard deviation of what a machine drifts from begin to end of a run
MACHINES = {  # noise of a timing, spikes; drift within a run, between runs, and of one step alone between runs
    "steady": (0.01, 0.0, 0.0, 0.0, 0.0),
    "spikes": (0.01, 0.05, 0.0, 0.0, 0.0),
    "noisy": (0.04, 0.05, 0.0, 0.0, 0.0),
    "drifts within a run": (0.01, 0.05, SLOPE, 0.0, 0.0),
    "drifts between runs, 1 %": (0.01, 0.05, 0.0, 0.01, 0.0),
    "drifts between runs, 4 %": (0.01, 0.05, 0.0, 0.04, 0.0),
    "drifts within and between": (0.01, 0.05, SLOPE, 0.04, 0.0),
    "the same, steps apart by 1 %": (0.01, 0.05, SLOPE, 0.04, 0.01),
}


def run(rng: np.random.Generator, machine: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds (count, blocks, timings) of a method's step and of the plain one, taken in turn in one run."""
    noise, spikes, slope, between, apart = MACHINES[machine]
    at = (np.arange(BLOCKS * TIMES).reshape(BLOCKS, TIMES) + 0.5) / (BLOCKS * TIMES) - 0.5
    drift = between * rng.standard_normal((count, 1, 1)) + slope * rng.standard_normal((count, 1, 1)) * at
    sides = []
    for own in (apart, 0.0):
        shape = (count, BLOCKS, TIMES)
        spike = 1 + (rng.random(shape) < spikes) * rng.standard_exponential(shape) * 0.3
        sides.append(
            np.exp(drift + own * rng.standard_normal((count, 1, 1)) + noise * rng.standard_normal(shape)) * spike
        )
    return sides[0], sides[1]


def session(rng: np.random.Generator, machine: str, count: int, *, relative: bool) -> tuple[np.ndarray, np.ndarray]:
    """Times (count, n) of one run, as multiples of the plain step of their block or as they are, and noise floors."""
    method, plain = run(rng, machine, count)
    times = method / np.median(plain, -1, keepdims=True) if relative else method
    return times.reshape(count, -1), gate.noise_floor(times)


def speed(page: Page, rng: np.random.Generator, count: int) -> None:
    """False alarms and power of the gate on times."""
    rows, alarms = [], []
    for relative in (True, False):
        for machine in MACHINES:
            now, floor = session(rng, machine, count, relative=relative)
            recorded, before = session(rng, machine, count, relative=relative)
            floors = np.maximum(floor, before)
            verdicts = [gate.slowdowns(now * (1 + share), recorded, floors).verdict for share in (0.0, *SLOWDOWNS)]
            alarm = Rate.of(verdicts[0] == Verdict.WORSE)
            if relative:
                alarms.append(alarm)
            caught = [percent(one == Verdict.WORSE) for one in verdicts[1:]]
            unsure = percent(verdicts[0] == Verdict.UNDECIDED)
            rows.append(["over the plain step" if relative else "seconds", machine, str(alarm), unsure, *caught])
    columns = ["times", "machine", "false alarms", "undecided", *(f"{one:.0%} slower" for one in SLOWDOWNS)]
    page.table(f"Speed, % of {count} histories, {BLOCKS} blocks of {TIMES} timings a run", columns, rows)
    most = max(alarms, key=lambda one: one.share)
    page.goal(
        f"false alarms of a time over the plain step's are at most 1 % on each machine; most: {most} %",
        all(one.interval[1] <= FALSE_ALARMS for one in alarms),
    )


Boundary = Callable[[int], float]  # of |t| after so many seeds


def stops(values: np.ndarray, *, cap: int, boundary: Boundary | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Seeds (count,) after which `seeds_needed` adds no more, and the sign then: -1, 0 where undecided, 1."""
    limit = boundary or (lambda n: gate.boundary(n, cap=cap))
    last, sign = np.full(len(values), cap), np.zeros(len(values), int)
    for n in range(cap, gate.FIRST_LOOK - 1, -1):  # backwards, so that the first look that decides is kept
        mean, error = gate.mean_and_error(values[:, :n])
        is_decided = np.abs(mean) > limit(n) * error
        last[is_decided] = n
        sign[is_decided] = np.sign(mean[is_decided])
    return last, sign


def sequential(page: Page, rng: np.random.Generator, count: int) -> None:
    """Errors and seeds of the rule that adds seeds."""
    rows, wrong = [], []
    kinds = {name: TAILS[name] for name in ("normal", "heavy tails", "one-sided tail")}
    kinds["one-sided tails of both"] = lambda rng, shape: (
        (  # of the method and of its baseline
            rng.standard_exponential(shape) - rng.standard_exponential(shape)
        )
        / math.sqrt(2)
    )
    for cap in CAPS:
        for tail, draw in kinds.items():
            for gain in (0.0, 0.5, 1.0, 2.0):  # in spreads
                last, sign = stops(gain + draw(rng, (count, cap)), cap=cap)
                error = Rate.of(sign != 0 if gain == 0 else sign < 0)
                if tail != "one-sided tail":
                    wrong.append(error)
                found = percent(sign > 0) if gain else "-"
                rows.append([str(cap), tail, str(gain), str(error), found, f"{last.mean():.1f}"])
    columns = ["cap", "seeds scatter", "gain in spreads", "wrong sign", "right sign", "seeds on average"]
    page.table(f"Seeds added until the sign is known, % of {count} histories", columns, rows)
    most = max(wrong, key=lambda one: one.share)
    page.goal(
        f"signs are wrong in at most 5 % where seeds scatter evenly; most: {most} %",
        all(one.share <= WRONG_SIGNS for one in wrong),
    )


def mixture(n: int, prior: float, level: float = WRONG_SIGNS) -> float:
    """|t| at which a mixture of effect sizes ~ N(0, 1 / prior) has odds of 1 / level; always valid.

    Lai 1976; Wang & Ramdas 2024, "Anytime-valid t-tests", for the Gaussian mixture.
    """
    share = prior / (n + prior)
    needed = (1 / (level * math.sqrt(share))) ** (2 / n)
    return math.sqrt((n - 1) * (needed - 1) / (1 - needed * share)) if needed * share < 1 else math.inf


def tried_sequential(page: Page, rng: np.random.Generator, count: int) -> None:
    """Other boundaries, for at most 10 seeds."""
    cap, looks = 10, 11 - gate.FIRST_LOOK
    boundaries: dict[str, Boundary] = {
        "no correction": lambda n: stats.t.isf(WRONG_SIGNS / 2, n - 1),
        "Pocock's constant of the looks taken": lambda n: stats.t.isf(stats.norm.sf(gate.POCOCK[looks - 1]), n - 1),
        "Pocock's constant of the cap (chosen)": lambda n: gate.boundary(n, cap=cap),
        "level divided by the looks": lambda n: stats.t.isf(WRONG_SIGNS / 2 / looks, n - 1),
        "always valid, effects of about 1 spread": lambda n: mixture(n, 1.0),
        "always valid, effects of about 3 spreads": lambda n: mixture(n, 0.1),
    }
    noise = rng.standard_normal((count, cap))
    rows = []
    for name, limit in boundaries.items():
        _, wrong = stops(noise, cap=cap, boundary=limit)
        last, right = stops(noise + 1, cap=cap, boundary=limit)
        rows.append([name, str(Rate.of(wrong != 0)), percent(right > 0), f"{last.mean():.1f}"])
    columns = ["boundary, cap of 10", "wrong sign of no gain", "right sign of 1 spread", "seeds on average then"]
    page.table("Boundaries that were tried, %", columns, rows)


def constants() -> str:
    """The rules' constants, which the numbers are of."""
    names = ("ALPHA", "LEAST_EFFECT", "HARM", "EQUIVALENCE", "LEAST_SPREAD")
    names += ("SPEED_ALPHA", "LEAST_SLOWDOWN", "FLOORS", "UNSTEADY", "FIRST_LOOK")
    return "Constants of `vitbench/gate.py`: " + ", ".join(f"{name} {getattr(gate, name)}" for name in names) + "."


def main(arguments: Sequence[str] | None = None) -> int:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--histories", type=int, default=50_000, help="of gains; of times a tenth, at least 5,000")
    options = parser.parse_args(arguments)
    page, rng = Page(), np.random.default_rng(7)
    gains(page, rng, options.histories)
    tried(page, rng, options.histories)
    speed(page, rng, max(5000, options.histories // 10))
    sequential(page, rng, options.histories)
    tried_sequential(page, rng, options.histories)
    print("\n".join([constants(), *page.lines]).strip())
    print(f"\n{len(page.missed)} goals missed" if page.missed else "\nevery goal holds")
    return int(bool(page.missed))


if __name__ == "__main__":
    sys.exit(main())
