"""The runs that a page's accuracies are from, each with where and with what it was made."""

from collections.abc import Mapping

from vitbench.baselines import Measurement
from vitbench.papers import Paper
from vitbench.report.markdown import Grid, link
from vitbench.report.results import Results

MIXED_NOTE = "A cell that was run under several precisions shows its fp32 runs alone."
_MADE = ["Budget", "Seed", "Machine", "Precision, engine", "torch", "Commit", "Date", "Record"]


def run_table(paper: Paper, results: Results, links: Mapping[str, str]) -> Grid:
    """A row per run; with its recipe, where cases of the paper are told apart by that.

    Args:
        links: per run key, where its record is.
    """
    by_recipe = len({case.recipe.name for case in paper.cases}) > 1
    rows = []
    for one in _runs(paper, results):
        where = f"{one.machine}: {one.device}" if one.machine else one.device
        name = link(one.key, links[one.key]) if one.key in links else one.key
        made = [one.budget, one.seed, where, f"{one.precision}, {one.engine}", one.torch, one.commit, one.date, name]
        rows.append([one.model, one.objective, one.dataset, *([one.recipe] if by_recipe else []), *made])
    return ["Model", "Loss", "Data", *(["Recipe"] if by_recipe else []), *_MADE], rows


def is_mixed(paper: Paper, results: Results) -> bool:
    """Whether the runs of a paper are of several precisions."""
    return len({one.precision for one in _runs(paper, results)}) > 1


def _runs(paper: Paper, results: Results) -> list[Measurement]:
    return results.once(("runs", paper.name), lambda: _looked_up(paper, results))


def _looked_up(paper: Paper, results: Results) -> list[Measurement]:
    own = [one for one in results if one.paper == paper.name]
    judged = {(*one.cell[:-1], one.seed) for one in own if one.metric == "accuracy"}
    # A pre-training has no accuracy; of every training there is a loss.
    return [
        one
        for one in own
        if one.metric == "accuracy" or (one.metric == "loss" and (*one.cell[:-1], one.seed) not in judged)
    ]
