"""Two record sets, paired: the values that belong together compared, and what only one of them has."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vitbench import bits, statistics
from vitbench.errors import UserError
from vitbench.metrics import METRICS
from vitbench.recordsets import RUNS, RecordSet, Value
from vitbench.statistics import Comparison

EXACT = "exact"
RESAMPLED = (
    10  # pairs from which on the interval is a bootstrap's, which assumes no distribution; of fewer it is too narrow
)
Seeds = Mapping[str, Value]  # by seed
Groups = dict[tuple[str, ...], dict[str, Value]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison of a table.

    Attributes:
        subject: what it is of.
        values: means of the first and the second set.
        adjusted: p, adjusted for the number of tests in the table.
    """

    subject: str
    metric: str
    values: tuple[float, float]
    comparison: Comparison
    adjusted: float | None = None

    @property
    def differs(self) -> bool:
        """Whether a test finds a difference, or what is counted is not the same."""
        if self.comparison.test == EXACT:
            return self.comparison.effect != 0
        return self.adjusted is not None and self.adjusted < 1 - statistics.CONFIDENCE


@dataclass(frozen=True, kw_only=True)
class Paired:
    """What two record sets have in common, and what not.

    Attributes:
        only: by side, 0 and 1, what the other one lacks.
        notes: what has to be known to read the rows.
    """

    rows: tuple[Row, ...]
    only: tuple[tuple[str, ...], tuple[str, ...]]
    notes: tuple[str, ...] = field(default=())


def pair(first: RecordSet, second: RecordSet, metrics: Sequence[str] = ()) -> Paired:
    """Pair two record sets by what was measured, seed and precision, and compare.

    Args:
        metrics: to compare; none: all.

    Raises:
        UserError: if they are of different kinds, or have nothing in common.
    """
    if first.kind != second.kind:
        recorded = first if second.kind == RUNS else second
        raise UserError(
            f"{first.path} holds {first.kind}, {second.path} {second.kind}; give two of a kind: `vitbench record "
            f"--recorded DIR` writes runs as baselines, to be compared with {recorded.path}"
        )
    sides = [[one for one in each.values if not metrics or one.metric in metrics] for each in (first, second)]
    sides[1], notes = _with_settings_of(*sides)
    if not {_untimed(one) for one in sides[0]} & {_untimed(one) for one in sides[1]}:
        shown = [_names(side)[0] if side else "nothing" for side in sides]
        raise UserError(
            f"{first.path} and {second.path} have nothing in common: the first has {shown[0]}, the second {shown[1]}; "
            "name records of the same cases, budget and precision"
        )
    groups = [_grouped(side) for side in sides]
    names = _subjects([*sides[0], *sides[1]])
    rows: list[Row] = []
    for key in sorted(groups[0].keys() & groups[1].keys(), key=lambda one: _order(groups[0][one])):
        more, said = _rows(names[key], groups[0][key], groups[1][key])
        rows += more
        notes += said
    adjusted = statistics.benjamini_hochberg([row.comparison.p for row in rows])
    only = (_only(groups[0], groups[1], names), _only(groups[1], groups[0], names))
    notes += [*_timings(*groups), *_versions(*groups)]
    kept = tuple(replace(row, adjusted=p) for row, p in zip(rows, adjusted, strict=True))
    return Paired(rows=kept, only=only, notes=tuple(dict.fromkeys(notes)))


def _rows(subject: str, first: Seeds, second: Seeds) -> tuple[list[Row], list[str]]:
    """The comparisons of one metric of one case, and notes."""
    common = sorted(first.keys() & second.keys(), key=_number)
    one = next(iter(first.values()))
    if common == [""]:
        old, new = first[""].value, second[""].value
        exact = Comparison(test=EXACT, n=(1,), effect=new - old)
        return [Row(subject=subject, metric=one.metric, values=(old, new), comparison=exact)], []
    sides = [[side[seed].value for seed in common] for side in (first, second)]
    test: Callable[..., Comparison] = statistics.paired_t
    if not common or (len(common) == 1 and min(len(first), len(second)) > 1):
        test, sides = statistics.welch, [[each.value for each in side.values()] for side in (first, second)]
    old, new = (sum(side) / len(side) for side in sides)
    found = test(*sides)
    if len(common) >= RESAMPLED and found.p is not None and found.low is not None:
        drawn = statistics.paired_bootstrap(*sides)
        found = replace(found, test=f"{found.test}, interval by {drawn.test}", low=drawn.low, high=drawn.high)
    rows = [Row(subject=subject, metric=one.metric, values=(old, new), comparison=found)]
    seeds = [", ".join(sorted(side, key=_number)) for side in (first, second)]
    notes = [f"{subject}: seeds {seeds[0]} in A, {seeds[1]} in B"] if seeds[0] != seeds[1] else []
    for seed in common:
        if first[seed].bits and second[seed].bits:
            try:
                rows.append(_images(subject, seed, first[seed], second[seed]))
            except UserError as error:
                notes.append(f"{subject}: {one.metric} of seed {seed}: images are not compared, {error}")
    return rows, notes


def _images(subject: str, seed: str, first: Value, second: Value) -> Row:
    """One network against another, image by image."""
    if first.data != second.data:
        raise UserError("the data differs")
    found = statistics.mcnemar(*(bits.unpack(one.bits).tolist() for one in (first, second)))
    named = replace(found, test=f"{found.test}, seed {seed}")
    return Row(subject=subject, metric=first.metric, values=(first.value, second.value), comparison=named)


def _with_settings_of(first: Iterable[Value], second: Iterable[Value]) -> tuple[list[Value], list[str]]:
    """The second side, with the setting of the first where a case has one on each that differs; and what was so.

    A change of the recipe or the data is what somebody may want to compare.
    """
    second = list(second)
    settings: list[defaultdict[tuple[str, ...], set[str]]] = [defaultdict(set), defaultdict(set)]
    for found, side in zip(settings, (first, second), strict=True):
        for one in side:
            found[one.cell].add(one.setting)
    renamed: dict[tuple[tuple[str, ...], str], str] = {}
    for cell in settings[0].keys() & settings[1].keys():
        old, new = settings[0][cell] - settings[1][cell], settings[1][cell] - settings[0][cell]
        if len(old) == len(new) == 1:
            renamed[cell, new.pop()] = old.pop()
    notes = [f"{_name(cell)}: recipe, data or image size differ" for cell, _ in sorted(renamed)]
    return [replace(one, setting=renamed.get((one.cell, one.setting), one.setting)) for one in second], notes


def _grouped(values: Iterable[Value]) -> Groups:
    found: Groups = defaultdict(dict)
    for one in values:
        found[one.group][one.seed] = one
    return dict(found)


def _untimed(one: Value) -> tuple[str, ...]:
    """What it is of, on whatever machine."""
    return (*one.cell, one.setting, one.precision, one.metric)


def _order(seeds: Seeds) -> tuple[Any, ...]:
    one = next(iter(seeds.values()))
    return one.cell, one.setting, one.precision, list(METRICS).index(one.metric)


def _number(seed: str) -> tuple[int, str]:
    return (int(seed), "") if seed.isdecimal() else (-1, seed)


def _name(cell: tuple[str, ...]) -> str:
    return ", ".join(part for part in cell if part and part != "run")


def _subjects(values: Iterable[Value]) -> dict[tuple[str, ...], str]:
    """Names of groups; with a part of the digest where a cell was run in several settings."""
    values = list(values)
    settings: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for one in values:
        settings[one.cell].add(one.setting)
    found = {}
    for one in values:
        which = f"setting {one.setting[:6]}" if len(settings[one.cell]) > 1 else ""
        precision = one.precision if one.precision != "fp32" else ""
        found[one.group] = ", ".join(filter(None, (_name(one.cell), which, precision)))
    return found


def _names(values: Iterable[Value]) -> list[str]:
    return list(dict.fromkeys(_subjects(values).values()))


def _only(ours: Groups, theirs: Groups, names: Mapping[tuple[str, ...], str]) -> tuple[str, ...]:
    """What only one side has: whole cases, else metrics of them; not timings of a case that both have."""
    shared = {names[key] for key in ours.keys() & theirs.keys()}
    everywhere = {names[key] for key in theirs}
    found: defaultdict[str, list[str]] = defaultdict(list)
    for key, seeds in ours.items():
        one = next(iter(seeds.values()))
        if key not in theirs and not (one.is_timing and names[key] in everywhere):
            found[names[key]].append(one.metric)
    return tuple(
        f"{name}: {', '.join(sorted(metrics))}" if name in shared else name for name, metrics in sorted(found.items())
    )


def _timings(first: Groups, second: Groups) -> list[str]:
    """A line for timings that both sides have, of different machines."""
    sides = [{key: _untimed(next(iter(of.values()))) for key, of in side.items()} for side in (first, second)]
    here, there = (
        {untimed: key for key, untimed in side.items() if key not in other}
        for side, other in ((sides[0], second), (sides[1], first))
    )
    both = here.keys() & there.keys()
    if not both:
        return []
    return [f"timings of different machines, which are not compared: {len(both)}"]


def _versions(first: Groups, second: Groups) -> list[str]:
    """A line for each file that another version was used of."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for key in first.keys() & second.keys():
        for seed in first[key].keys() & second[key].keys():
            old, new = (dict(side[key][seed].versions) for side in (first, second))
            for name in old.keys() | new.keys():
                if old.get(name) != new.get(name):
                    found[name].add(f"{old.get(name, 'none')} to {new.get(name, 'none')}")
    return [f"version of {name}: {', '.join(sorted(changes))}" for name, changes in sorted(found.items())]
