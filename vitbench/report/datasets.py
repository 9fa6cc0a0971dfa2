"""A printed table of data sets, beside what the loaders here state of theirs."""

from collections.abc import Sequence

from vitbench import leaves
from vitbench.errors import UserError
from vitbench.report.markdown import Grid, Markup
from vitbench.report.tables import constant
from vitbench.tables import Table

# Constants of a loader whose sum a printed number is held against, with the heading of its column.
CONSTANTS = {
    "images": (("TRAIN", "TEST"), "images"),
    "train_images": (("TRAIN",), "training images"),
    "test_images": (("TEST",), "test images"),
    "classes": (("CLASSES",), "classes"),
}


def is_of_datasets(table: Table) -> bool:
    """Whether the rows of a table are data sets, without a model."""
    return any(one.claim.metric in CONSTANTS for one in table.printed)


def dataset_table(table: Table) -> Grid:
    """A row per data set: each printed number, then ours, in bold where it is another.

    Args:
        table: one whose rows are data sets.
    """
    rows: dict[str, dict[str, float]] = {}
    for one in table.printed:
        rows.setdefault(one.dataset, {})[one.claim.metric] = one.claim.value
    metrics = [metric for metric in CONSTANTS if any(metric in row for row in rows.values())]
    headers = ["Data"]
    for metric in metrics:
        headers += [f"{CONSTANTS[metric][1]}, printed", "ours"]
    headers.append("difference")
    body = []
    for dataset, printed in rows.items():
        cells, differing = [], []
        for metric in metrics:
            ours = _stated(dataset, CONSTANTS[metric][0])
            is_other = ours is not None and metric in printed and ours != printed[metric]
            differing += [CONSTANTS[metric][1]] if is_other else []
            cells += [_number(printed.get(metric)), Markup(f"**{_number(ours)}**") if is_other else _number(ours)]
        body.append([dataset, *cells, ", ".join(differing) if _has_loader(dataset) else "no loader here"])
    return headers, body


def _stated(dataset: str, names: Sequence[str]) -> float | None:
    """Sum of these constants, or None where one is not stated."""
    found = [constant(dataset, name) for name in names]
    return None if None in found else sum(one for one in found if one is not None)


def _has_loader(dataset: str) -> bool:
    try:
        leaves.find("datasets", dataset)
    except UserError:
        return False
    return True


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
