"""What a report of the recorded baselines is made of."""

from collections.abc import Sequence

from vitbench.baselines import Measurement
from vitbench.case import Budget
from vitbench.papers import Paper
from vitbench.report.pages import Material
from vitbench.report.results import Results
from vitbench.selection import Selection


def material(papers: Sequence[Paper], measured: Sequence[Measurement], problems: Sequence[str] = ()) -> Material:
    """Every printed table, and the quick ones on the data that something was trained on.

    Args:
        problems: one line for each file or line that was left out.
    """
    trained = sorted({one.dataset for one in measured if one.budget == Budget.QUICK and one.metric == "accuracy"})
    cases = {Budget.PAPER: Selection(budget=Budget.PAPER).cases(papers)}
    if any(one.budget == Budget.SHORT for one in measured):
        cases[Budget.SHORT] = Selection(budget=Budget.SHORT).cases(papers)
    cases[Budget.QUICK] = Selection(all_rows=True, datasets=tuple(trained)).cases(papers)
    return Material(papers=papers, results=Results(measured), cases=cases, problems=problems)
