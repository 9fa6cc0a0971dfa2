"""The table at the end of a run: one line a case, for somebody who looks at a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

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


def _heading(metric: str) -> str:
    unit = METRICS[metric].unit
    return f"{metric} ({unit})" if unit else metric


def _show(metric: str, value: float | None) -> str:
    if value is None:
        return ""
    sign = "+" if metric == "gain" else ""
    return f"{value:{sign}.{METRICS[metric].decimals}f}"
