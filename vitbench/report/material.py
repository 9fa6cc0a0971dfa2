"""What reports are made of: papers, measurements, the cases that are shown, and where records are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vitbench.case import Budget, Case
from vitbench.compare import Finding
from vitbench.kept import Kept
from vitbench.papers import Paper
from vitbench.report.memo import Memo
from vitbench.report.results import Results


@dataclass(frozen=True, kw_only=True)
class Material(Memo):
    """What a report is made of.

    Attributes:
        cases: per budget, the cases whose rows are shown.
        links: per run key, where its record is.
        decisions: folder of the notes that papers' choices name, as pages link to it; empty where they cannot.
        kept: curves and pictures, of which the figures are made.
        findings: stale and invalid values, which no table shows as numbers.
        problems: one line for each file that could not be used.
    """

    papers: Sequence[Paper]
    results: Results
    cases: Mapping[Budget, Sequence[Case]]
    links: Mapping[str, str] = field(default_factory=dict)
    decisions: str = ""
    kept: Kept = field(default_factory=Kept)
    findings: Sequence[Finding] = ()
    problems: Sequence[str] = ()
    memo: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def of(self, paper: Paper) -> dict[Budget, list[Case]]:
        """Per budget, the cases of one paper."""
        return {budget: [one for one in cases if one.paper == paper.name] for budget, cases in self.cases.items()}
