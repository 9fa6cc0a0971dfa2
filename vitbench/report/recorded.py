"""What a report of the recorded baselines is made of."""

from collections.abc import Iterator, Sequence

from vitbench import identity, leaves
from vitbench.baselines import Measurement
from vitbench.case import Budget, Case
from vitbench.compare import Finding, Verdict
from vitbench.kept import Kept
from vitbench.papers import Paper
from vitbench.reference import by_another_version, is_stale
from vitbench.report.material import Material
from vitbench.report.results import Results
from vitbench.selection import Selection

DECISIONS = "../docs/decisions"  # from reports/, where these pages stand in the repository


def material(
    papers: Sequence[Paper],
    measured: Sequence[Measurement],
    problems: Sequence[str] = (),
    kept: Kept | None = None,
) -> Material:
    """Every printed table, and the quick ones on the data that something was trained on.

    Args:
        problems: one line for each file or line that was left out.
        kept: curves and pictures beside the baselines.
    """
    quick = {one.dataset for one in measured if one.budget == Budget.QUICK and one.metric == "accuracy"}
    trained, absent = leaves.there("datasets", quick)  # a package or a folder may be on another machine
    cases = {Budget.PAPER: Selection(budget=Budget.PAPER).cases(papers)}
    shortened = {one.paper for one in measured if one.budget == Budget.SHORT}
    if shortened:
        own = [paper for paper in papers if paper.name in shortened]
        cases[Budget.SHORT] = Selection(budget=Budget.SHORT).cases(own)
    cases[Budget.QUICK] = Selection(all_rows=True, datasets=tuple(trained)).cases(papers)
    results = Results(measured)
    findings = [one for budget in cases for case in cases[budget] for one in stale(case, budget, results)]
    return Material(
        papers=papers,
        results=results,
        cases=cases,
        decisions=DECISIONS,
        findings=findings,
        problems=[*problems, *absent],
        kept=kept or Kept(),
    )


def stale(case: Case, budget: Budget, results: Results) -> Iterator[Finding]:
    """Accuracies of a case that were recorded by another version of what determines them."""
    first: dict[str, identity.Identity] = {}  # by precision
    for seed, one in results.of(case, budget, "accuracy").items():
        if not seed.isdecimal() or case.recipe.start == "published":  # the weights' digest is not recorded
            continue
        if one.precision not in first:
            first[one.precision] = identity.of_run(case, budget=budget, precision=one.precision)
        now = first[one.precision].under(int(seed))
        if is_stale(one, now.key):
            yield Finding(
                subject=case.id,
                metric="accuracy",
                verdict=Verdict.STALE,
                value=None,
                reference=one.value,
                against=by_another_version(one),
            )
