"""The table at the end of a run: one line a case, for somebody who looks at a terminal."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from vitbench import statistics
from vitbench.compare import Finding, Verdict
from vitbench.metrics import METRICS
from vitbench.report.markdown import Grid

COLUMNS = {
    "run": ("accuracy", "gain", "fgsm_drop"),
    "size": ("params", "macs", "term_params"),
    "inference": ("inference", "inference_noise"),
    "training": ("training", "step_ratio", "training_noise"),
}


def table(kind: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Outcomes of one kind as an aligned text table, see `grid`."""
    headers, body = grid(kind, rows)
    return tabulate(body, headers=headers, tablefmt="simple", disable_numparse=True)


def grid(kind: str, rows: Sequence[Mapping[str, Any]]) -> Grid:
    """Headers and cells of the outcomes of one kind.

    Args:
        kind: "run", "size", "inference" or "training".
        rows: each with `id`, `values` by metric and `status`.
    """
    metrics = COLUMNS[kind]
    headers = ["case", *(_heading(metric) for metric in metrics), ""]
    body = [
        [row["id"], *(_show(metric, row["values"].get(metric)) for metric in metrics), row["status"]] for row in rows
    ]
    return headers, body


def gate(findings: Sequence[Finding]) -> str:
    """What tests say of differences, as an aligned text table; that nothing changed takes one line and no row.

    Args:
        findings: each with evidence.

    Returns:
        With q, the p of both sides adjusted over all of them (Benjamini, Hochberg 1995).
    """
    proofs = [one.evidence for one in findings if one.evidence is not None]
    q = statistics.benjamini_hochberg([None if math.isnan(one.p) else min(1.0, 2 * one.p) for one in proofs])
    rows = [
        [
            finding.subject,
            finding.metric,
            finding.verdict,
            finding.against,
            f"{proof.effect:+.2f} {proof.unit}",
            f"{proof.low:+.2f} to {proof.high:+.2f}",
            "/".join(map(str, proof.counts)),
            "" if math.isnan(proof.p) else f"{proof.p:.2g}",
            "" if adjusted is None else f"{adjusted:.2g}",
        ]
        for finding, proof, adjusted in zip(findings, proofs, q, strict=True)
        if finding.verdict != Verdict.SAME
    ]
    counts = Counter(str(one.verdict) for one in findings)
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    head = f"gate: {len(findings)} differences tested: {told}"
    if not rows:
        return head
    headers = ["case", "metric", "verdict", "against", "effect", "interval", "n", "p", "q"]
    return f"{head}\n{tabulate(rows, headers=headers, tablefmt='simple', disable_numparse=True)}"


def _heading(metric: str) -> str:
    unit = METRICS[metric].unit
    return f"{metric} ({unit})" if unit else metric


def _show(metric: str, value: float | None) -> str:
    if value is None:
        return ""
    sign = "+" if metric == "gain" else ""
    return f"{value:{sign}.{METRICS[metric].decimals}f}"
