"""What all runs of a paper take, from the time of one step each, and the least that it could be."""

from collections.abc import Iterable, Mapping

from vitbench.baselines import cell_of
from vitbench.case import Budget, Case
from vitbench.report.costs import step_of, timed
from vitbench.report.markdown import Grid
from vitbench.report.results import Results
from vitbench.report.tables import constant
from vitbench.selection import timings

HOUR = 3600e3  # milliseconds


def projection_table(cases: Iterable[Case], results: Results, budget: str) -> Grid:
    """Hours of training by model, without evaluation; models without a timed step are left out.

    The floor is the same arithmetic at the rate of a large matrix product on that device.

    Args:
        cases: of one paper; those of several tables that are one experiment count once.
        results: those of a place, see `Results.on`.
    """
    runs = {cell_of(one, budget, ""): one for one in cases}.values()
    headers = ["Model", "runs", "with a timed step", "hours", "floor (hours)"]
    rows, sums = [], [0.0, 0.0, 0.0, 0.0]
    for name in sorted({one.model.name for one in runs}):
        own = [one for one in runs if one.model.name == name]
        steps = _steps(own, results, budget)
        timed = [hours for hours in (_hours(one, steps, budget) for one in own) if hours is not None]
        counted = [len(own), len(timed), *(sum(column) for column in zip(*timed, strict=True))]
        if timed:
            rows.append(_row(own[0].model.printed, counted))
            sums = [total + one for total, one in zip(sums, counted, strict=True)]
    if len(rows) > 1:
        rows.append(_row("all", sums))
    return headers, rows


def _row(name: str, numbers: Iterable[float]) -> list[str]:
    runs, timed, hours, floor = numbers
    return [name, f"{runs:.0f}", f"{timed:.0f}", f"{hours:.2f}", f"{floor:.2f}"]


def _steps(cases: Iterable[Case], results: Results, budget: str) -> dict[tuple[object, ...], tuple[float, float]]:
    """Milliseconds of a step and its share of the peak, of every kind of step that was timed."""
    found: dict[tuple[object, ...], tuple[float, float]] = {}
    for one in timed(cases):
        step, share = (results.value(one, budget, metric) for metric in ("step_ms", "peak_share"))
        if step and share:
            found.setdefault(step_of(one, budget), (step.mean, share.mean))
    return found


def _hours(case: Case, steps: Mapping[tuple[object, ...], tuple[float, float]], budget: str) -> list[float] | None:
    """Hours of a run, and its floor; None where its step was not timed."""
    (one,) = timings([case])
    images = constant(case.dataset, "TRAIN")
    if not images or step_of(one, budget) not in steps:
        return None
    milliseconds, share = steps[step_of(one, budget)]
    phases = case.recipe.at(Budget(budget))
    hours = sum(phase.epochs * (images // phase.batch_size) for phase in phases) * milliseconds / HOUR
    return [hours, hours * share / 100]
