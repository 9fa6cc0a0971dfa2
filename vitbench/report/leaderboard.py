"""Leaderboards: what was measured on a data set, over all papers and whatever a user added, in groups and not in ranks.

A board is of one data set, budget, precision and epoch that is reported; nothing else is ranked together. What is only
in print stands apart and is ranked with nothing. The rules and their weaknesses: docs/decisions/0028-leaderboards.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vitbench.baselines import Measurement
from vitbench.case import Budget
from vitbench.report.experiments import Experiment, Sizes, experiments, stale
from vitbench.report.literature import PrintedRow, printed_rows
from vitbench.report.material import Material
from vitbench.report.results import Results, Value
from vitbench.report.tables import test_images

if TYPE_CHECKING:
    from vitbench.report.groups import Interval

METRIC = {"last": "accuracy", "best": "best_accuracy"}  # by the epoch that is reported
BUDGETS = (Budget.PAPER, Budget.SHORT, Budget.QUICK)
JOINED = ("paper", "model", "objective", "recipe", "protocol", "reported")  # of rows that share their runs


@dataclass(frozen=True, kw_only=True)
class Row:
    """One experiment, in however many tables and papers it stands.

    Attributes:
        group: of rows that cannot be told apart from each other, see `vitbench.report.groups`; 1 has the best.
        better, worse: how many rows of the board are told apart from this and better, or worse.
        paper, model, objective, recipe, protocol: as the page names them; of several whose runs are the same, all.
        network: `leaf/variant` that was trained.
        selection: the epoch that the accuracy is of: "last" or "best".
        reported: the one that its source reports.
        values: accuracies in percent, by seed.
        spread: sample standard deviation over seeds, or None with fewer than two.
        interval: of the mean, with what it is of; or None.
        params, macs: of the network in M and G per image; None where they were not counted, as of the quick budget's.
        gain: over the plain baseline, in points, paired by seed; None of the baseline itself.
        drop: what FGSM takes, in points; it is of the last epoch's network, so that None stands with the best.
        machines: names, or the device where a machine has none.
        date: of the latest run.
        keys: of the runs, by seed; what their records are found by.
        case: its id, as `vitbench run` takes it.
        plain, beside: id of the plain baseline that `gain` is over, and its runs; empty where there is no gain.
        drops: the runs that `drop` is of.
        counted: what `params` and `macs` are of, with the id that it was counted as.
        also: ids of the other cases that the same runs stand for.
        is_stale: whether a run was made by another version of what determines it.
    """

    group: int = 0
    better: int = 0
    worse: int = 0
    paper: str
    model: str
    network: str
    objective: str
    recipe: str
    protocol: str
    budget: str
    dataset: str
    precision: str
    selection: str
    reported: str
    values: tuple[float, ...]
    accuracy: float
    spread: float | None
    interval: "Interval | None"
    params: float | None
    macs: float | None
    gain: Value | None
    drop: Value | None
    machines: tuple[str, ...]
    date: str
    keys: tuple[str, ...]
    case: str
    plain: str = ""
    beside: tuple[Measurement, ...] = ()
    drops: tuple[Measurement, ...] = ()
    counted: tuple[tuple[str, Measurement], ...] = ()
    also: tuple[str, ...] = ()
    is_stale: bool = False

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)


@dataclass(frozen=True, kw_only=True)
class Board:
    """What may be ranked together: one data set, budget, precision and epoch that is reported.

    Attributes:
        precision: empty where nothing was measured.
        selection: the epoch: "last" or "best"; of what is only in print empty where nobody says.
        rows: by group, the best first.
        printed: accuracies in print by the same epoch, the highest first; with the paper's own budget alone.
    """

    dataset: str
    budget: Budget
    precision: str
    selection: str
    rows: tuple[Row, ...] = ()
    printed: tuple[PrintedRow, ...] = ()


def boards(material: Material) -> list[Board]:
    """Every board of a report: by data set, then the paper's own budget first, fp32 and the last epoch first."""
    made: dict[tuple[str, Budget, str, str], list[Row]] = {}
    for row in _rows(material):
        made.setdefault((row.dataset, Budget(row.budget), row.precision, row.selection), []).append(row)
    printed: dict[tuple[str, str], list[PrintedRow]] = {}
    for one in sorted(printed_rows(material), key=lambda one: (-one.accuracy, one.paper, one.table)):
        printed.setdefault((one.dataset, one.selection), []).append(one)
    for dataset, selection in printed:
        if not any((key[0], key[1], key[3]) == (dataset, Budget.PAPER, selection) for key in made):
            made[dataset, Budget.PAPER, "", selection] = []
    found = []
    for dataset, budget, precision, selection in sorted(made, key=_order):
        # Once, beside the first precision.
        beside = printed.pop((dataset, selection), []) if budget == Budget.PAPER else []
        found.append(
            Board(
                dataset=dataset,
                budget=budget,
                precision=precision,
                selection=selection,
                rows=ranked(_merged(made[dataset, budget, precision, selection])),
                printed=tuple(beside),
            )
        )
    return found


def _order(key: tuple[str, Budget, str, str]) -> tuple[object, ...]:
    dataset, budget, precision, selection = key
    return dataset, BUDGETS.index(budget), precision != "fp32", precision, [*METRIC, ""].index(selection)


def ranked(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Rows of one board with their groups, the best first."""
    if not rows:
        return ()
    ordered = sorted(rows, key=lambda row: (-row.accuracy, row.case, row.keys))
    from vitbench.report import groups  # imports numpy

    apart = groups.apart([row.values for row in ordered], test_images(ordered[0].dataset))
    found = []
    for place, (row, group) in enumerate(zip(ordered, groups.groups(apart), strict=True)):
        better, worse = int(apart[place, :place].sum()), int(apart[place, place:].sum())
        found.append(replace(row, group=group, better=better, worse=worse))
    return tuple(sorted(found, key=lambda row: row.group))


def chosen(
    found: Sequence[Board],
    *,
    dataset: str | None = None,
    budget: str | None = None,
    max_params: float | None = None,
    max_macs: float | None = None,
) -> list[Board]:
    """The boards and rows that a reader asks for; what is left keeps the groups of its whole board.

    Args:
        max_params, max_macs: in M and G; what was not counted is left out where one is given.
    """

    def fits(row: Row | PrintedRow) -> bool:
        pairs = ((row.params, max_params), (row.macs, max_macs))
        return all(most is None or (size is not None and size <= most) for size, most in pairs)

    kept = []
    for board in found:
        if dataset in (None, board.dataset) and budget in (None, board.budget):
            rows, printed = tuple(filter(fits, board.rows)), tuple(filter(fits, board.printed))
            kept += [replace(board, rows=rows, printed=printed)] if rows or printed else []
    return kept


def _rows(material: Material) -> Iterator[Row]:
    every, sizes, old = experiments(material), Sizes(material.results), stale(material)
    precisions = sorted({one.precision for one in material.results} - {""})
    for precision in precisions:
        results = material.results
        if len(precisions) > 1:
            results = Results(one for one in material.results if one.precision in ("", precision))
        for one in every:
            # Every run has a last epoch; the best one is looked at where a source reports it.
            for selection in dict.fromkeys(("last", one.case.recipe.selection)):
                runs = results.of(one.case, one.budget, METRIC[selection])
                if runs:
                    last = results.of(one.case, one.budget, METRIC["last"])
                    is_stale = any((one.case.id, run.value) in old for run in last.values())
                    row = _row(one, selection, list(runs.values()), results, sizes)
                    yield replace(row, is_stale=is_stale)


def _row(one: Experiment, selection: str, runs: Sequence[Measurement], results: Results, sizes: Sizes) -> Row:
    from vitbench.report import groups  # imports numpy

    case, budget, metric = one.case, one.budget, METRIC[selection]
    values = tuple(run.value for run in runs)
    mean = results.value(case, budget, metric)
    assert mean is not None
    gain = None if case.is_baseline else results.gain(case, budget, metric)
    drops = results.of(case, budget, "fgsm_drop") if selection == "last" else {}
    counted = {name: size for name in ("params", "macs") if (size := sizes.of(case, budget, name))}
    return Row(
        paper=case.paper,
        model=case.model.printed,
        network=case.model.at(budget),
        objective=case.loss,
        recipe=case.recipe.name,
        protocol=case.recipe.protocol,
        budget=budget,
        dataset=case.dataset,
        precision=runs[0].precision,
        selection=selection,
        reported=case.recipe.selection,
        values=values,
        accuracy=mean.mean,
        spread=mean.spread,
        interval=groups.interval(values, test_images(case.dataset)),
        params=counted["params"].value if "params" in counted else None,
        macs=counted["macs"].value if "macs" in counted else None,
        counted=tuple((sizes.id(case, size), size) for size in counted.values()),
        gain=gain,
        drop=results.value(case, budget, "fgsm_drop") if drops else None,
        machines=tuple(dict.fromkeys(run.machine or run.device for run in runs)),
        date=max(run.date for run in runs),
        keys=tuple(run.key for run in runs),
        case=case.id,
        plain=case.baseline.id if gain else "",
        beside=tuple(results.of(case.baseline, budget, metric).values()) if gain else (),
        drops=tuple(drops.values()),
        also=one.also,
    )


def _merged(rows: Sequence[Row]) -> list[Row]:
    """One row for what is the same runs: tiny networks that several networks share, or one experiment of two papers."""
    found: dict[tuple[object, ...], Row] = {}
    for row in rows:
        # Runs are the same where their keys are; of a key that nobody wrote down nothing is known.
        key = (row.keys, row.values, row.network) if all(row.keys) else (row.case,)
        first = found.get(key)
        if first is None:
            found[key] = row
            continue
        joined: dict[str, Any] = {name: _joined(getattr(first, name), getattr(row, name)) for name in JOINED}
        also, is_stale = (*first.also, row.case, *row.also), first.is_stale or row.is_stale
        found[key] = replace(first, also=also, is_stale=is_stale, **joined)
    return list(found.values())


def _joined(names: str, name: str) -> str:
    return names if name in names.split("; ") else f"{names}; {name}"
