"""The figures at the head of a page: gains beside those in print, sweeps, and accuracy against MACs."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from vitbench.case import Budget, Case
from vitbench.papers import Paper
from vitbench.report import differences, sweeps, trades
from vitbench.report.gallery import Drawing
from vitbench.report.material import Material
from vitbench.report.plot import Plot
from vitbench.report.results import Results

CASES = Mapping[Budget, Sequence[Case]]


def gains_of(paper: Paper, material: Material) -> list[Drawing]:
    """The forest plots of a paper."""
    return material.once(("forests", paper.name), lambda: list(forests(paper, material.cases, material.results)))


def of(paper: Paper, material: Material) -> list[Drawing]:
    """The paper's sweeps, and accuracy against MACs."""
    return material.once(("overview", paper.name), lambda: list(drawings(paper, material.cases, material.results)))


def forests(paper: Paper, cases: CASES, results: Results) -> Iterator[Drawing]:
    """What methods gained here beside what they gain in print, where something was measured."""
    found = differences.differences(paper, results, [one for one in cases if one != Budget.QUICK])
    for name, shown in differences.forests(found).items():
        yield _drawing(
            f"{paper.name}-{name}-gains",
            f"Gains over plain cross-entropy, ours with 95 % intervals beside the printed ones: {len(shown)} rows.",
            f"What each method adds to plain ce, {shown[0].budget} budget: ours with its interval, and as printed.",
            partial(differences.forest, shown),
        )


def drawings(paper: Paper, cases: CASES, results: Results) -> Iterator[Drawing]:
    """Sweeps and accuracy against MACs, under the paper's own budget."""
    if Budget.PAPER not in cases:
        return
    names: set[str] = set()
    for sweep in sweeps.sweeps(paper, results, Budget.PAPER):
        whose = "ours and printed" if sweep.is_measured else "printed, none measured yet"
        name = f"{paper.name}-{sweep.table}-{sweep.recipe}-{sweep.what}"
        if name not in names:
            names.add(name)
            yield _drawing(
                name,
                f"Gain over plain cross-entropy by {sweep.what}, on {', '.join(sweep.datasets)}; {whose}.",
                f"Table {sweep.table}, recipe {sweep.recipe}: gain over plain ce by {sweep.what}; {whose}.",
                partial(sweeps.plot, sweep),
            )
    found = trades.points(paper, results, Budget.PAPER)
    if found:
        yield _drawing(
            f"{paper.name}-macs",
            f"Accuracy against MACs of the networks on {', '.join(found)}.",
            "Accuracy against MACs as counted here (matmul+conv): plain ce, and the best of each network's other rows.",
            lambda: trades.plot(found),
        )


def _drawing(name: str, alt: str, caption: str, make: Callable[[], Plot]) -> Drawing:
    return Drawing(name=re.sub(r"[^\w.+-]", ".", name) + ".svg", alt=alt, caption=caption, make=make)
