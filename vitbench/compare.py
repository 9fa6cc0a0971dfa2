"""What comparing says: a measured value against a recorded one (can fail), or against a printed one (is reported)."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from vitbench.metrics import Metric

Z95 = 1.96  # a 95 % interval of a normal variable


class Verdict(StrEnum):
    """A measured value against a baseline of ours."""

    SAME = "same"
    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"
    NEW = "new"
    MISSING = "missing"
    STALE = "stale"
    INVALID = "invalid"


class ClaimVerdict(StrEnum):
    """A measured value against what a paper printed."""

    REPRODUCED = "reproduced"
    DEVIATES = "deviates"
    OPPOSITE = "opposite sign"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a test says of a difference.

    Attributes:
        effect: the difference, in `unit`.
        low, high: ends of its interval.
        p: of the test, NaN where it is none of chance.
        counts: seeds, or times, on each side.
        test: its name.
        why: what else a reader has to know, or empty.
    """

    effect: float
    low: float
    high: float
    p: float
    counts: tuple[int, ...]
    test: str
    unit: str = "points"
    why: str = ""

    def __str__(self) -> str:
        interval = f"interval {self.low:+.2f} to {self.high:+.2f}"
        n = " and ".join(map(str, self.counts))
        p = "" if math.isnan(self.p) else f", p = {self.p:.2g}"
        text = f"{self.effect:+.2f} {self.unit} ({interval}; {self.test}, n = {n}{p})"
        return f"{text}, {self.why}" if self.why else text


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One verdict with what it rests on.

    Attributes:
        subject: what was judged, such as a case's id.
        reference: what the value was compared with, or None.
        against: where the reference is from; of an invalid value, why it is none.
        required: whether it is a failure that there is no reference.
        informs: it is told and never fails, such as that a method is worse than its plain baseline.
        evidence: of a verdict that a test gave.
        command: that repeats it, or empty.
    """

    subject: str
    metric: str
    verdict: Verdict
    value: float | None
    reference: float | None
    against: str
    required: bool = False
    informs: bool = False
    evidence: Evidence | None = None
    command: str = ""

    @property
    def fails(self) -> bool:
        """Whether it makes a test fail."""
        if self.informs:
            return False
        return self.verdict in (Verdict.WORSE, Verdict.MISSING) or (self.verdict == Verdict.NEW and self.required)

    @property
    def line(self) -> str:
        """What, by how much, against which record, and the command that repeats it."""
        return f"{self}; repeat: {self.command}" if self.command else str(self)

    def __str__(self) -> str:
        if self.verdict == Verdict.INVALID:
            return f"{self.subject}: {self.metric} is invalid: {self.against}"
        shown = ["nothing" if one is None else f"{one:.6g}" for one in (self.value, self.reference)]
        text = f"{self.subject}: {self.metric} is {self.verdict}: measured {shown[0]}, {self.against} {shown[1]}"
        if self.evidence is not None:
            return f"{text}: {self.evidence}"
        if self.verdict == Verdict.WORSE and self.value is not None and self.reference is not None:
            return f"{text}: {self.value - self.reference:+.6g}"
        return text

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Finding":
        """A finding from what `dataclasses.asdict` made of it, its verdict as text or not."""
        evidence = content.get("evidence")
        proof = None if evidence is None else Evidence(**evidence | {"counts": tuple(evidence["counts"])})
        return cls(**{**content, "verdict": Verdict(content["verdict"]), "evidence": proof})


def remarks(findings: Iterable[Finding]) -> list[str]:
    """What passes nothing and fails nothing and has to be seen: stale and invalid values, a line for each kind."""
    groups: dict[tuple[str, ...], dict[str, Finding]] = {}
    for one in findings:
        if one.verdict in (Verdict.STALE, Verdict.INVALID):
            groups.setdefault((one.verdict, one.metric, one.against), {}).setdefault(one.subject, one)
    lines = []
    for (verdict, metric, _), group in groups.items():
        first = str(next(iter(group.values())))
        lines.append(first if len(group) == 1 else f"{metric} is {verdict} in {len(group)} cases, such as {first}")
    return lines


def judge(metric: Metric, measured: float | None, reference: float | None, *, tolerance: float = 0.0) -> Verdict:
    """Compare in both directions, so that a value that vanished is never a pass.

    Args:
        metric: says which way is better; where neither is, every difference is worse.
        measured, reference: in the metric's unit; at least one is there.
        tolerance: differences up to it are the same.

    Raises:
        ValueError: if both are None.
    """
    if measured is None and reference is None:
        raise ValueError(f"{metric.name}: nothing to judge, neither measured nor recorded")
    if reference is None:
        return Verdict.NEW
    if measured is None:
        return Verdict.MISSING
    gain = measured - reference if metric.better == "higher" else reference - measured
    if abs(gain) <= tolerance:
        return Verdict.SAME
    return Verdict.BETTER if gain > 0 and metric.better else Verdict.WORSE


def standard_error(accuracy: float, images: int) -> float:
    """Binomial standard error, in points, of an accuracy in percent over so many test images.

    It leaves out the spread between seeds, so it is the least that an interval must allow for.
    """
    share = min(max(accuracy / 100, 0.0), 1.0)
    return 100 * math.sqrt(share * (1 - share) / images)


def judge_level(measured: float | None, printed: float, *, error: float) -> ClaimVerdict:
    """An accuracy, or a drop, against the printed one.

    Args:
        error: standard error of the difference, in points; infinite where nothing is known of it.
    """
    if measured is None:
        return ClaimVerdict.NOT_RUN
    if math.isinf(error):
        return ClaimVerdict.UNDECIDED
    return ClaimVerdict.REPRODUCED if abs(measured - printed) <= Z95 * error else ClaimVerdict.DEVIATES


def judge_size(measured: float | None, printed: float) -> ClaimVerdict:
    """A size, which is counted and has no error, against the printed one, at as many decimals as are printed."""
    if measured is None:
        return ClaimVerdict.NOT_RUN
    exponent = Decimal(f"{printed:.10g}").as_tuple().exponent
    half = Decimal(1).scaleb(int(exponent)) / 2
    is_same = abs(Decimal(repr(measured)) - Decimal(f"{printed:.10g}")) <= half
    return ClaimVerdict.REPRODUCED if is_same else ClaimVerdict.DEVIATES


def judge_gain(measured: float | None, printed: float | None, *, error: float) -> ClaimVerdict:
    """What a method adds to plain cross-entropy, here and in print: the sign first, for levels do not travel.

    Args:
        error: standard error of one such difference, in points.
    """
    if measured is None or printed is None:
        return ClaimVerdict.NOT_RUN
    deviates = abs(measured - printed) > Z95 * math.sqrt(2) * error
    if abs(measured) <= Z95 * error:  # of no sign: undecided, unless it is too far from what was printed in any case
        return ClaimVerdict.DEVIATES if deviates else ClaimVerdict.UNDECIDED
    if measured * printed < 0:
        return ClaimVerdict.OPPOSITE
    return ClaimVerdict.DEVIATES if deviates else ClaimVerdict.REPRODUCED


def chance_ceiling(classes: int, images: int) -> float:
    """The accuracy (%) that guessing stays below with probability 0.999, by the normal approximation."""
    return 100 / classes + 3.09 * standard_error(100 / classes, images)
