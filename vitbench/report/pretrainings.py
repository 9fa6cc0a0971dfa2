"""What the pre-trainings of a paper learnt, as a table."""

from collections.abc import Mapping, Sequence

from vitbench.baselines import cell_of
from vitbench.case import Budget, Case
from vitbench.report.markdown import Grid
from vitbench.report.results import Results
from vitbench.report.tables import NOTHING

NOTE = (
    "Mean squared errors are of masked patches of the test images, in normalised pixels, after the last epoch. The "
    "mean patch is the best of all answers that are the same everywhere; on the digits a mean patch for each place "
    "has 0.45 of its error, so that only what is well below has looked at the visible patches."
)
METRICS = ("first_loss", "loss", "reconstruction_mse", "mean_patch_mse")


def pretraining_table(cases: Mapping[Budget, Sequence[Case]], results: Results) -> Grid:
    """A row per pre-training of which something was measured.

    Args:
        cases: of one paper, by budget.
    """
    headers = [
        "Network",
        "Loss",
        "Data",
        "Budget",
        "first loss",
        "last loss",
        "error on masked patches",
        "of the mean patch",
        "ratio",
    ]
    found: dict[tuple[str, ...], list[str]] = {}
    for budget, own in cases.items():
        for case in own:
            before = case.before(budget)
            if before is None:
                continue
            first, loss, error, mean = (results.value(before, budget, metric) for metric in METRICS)
            if loss is None:
                continue
            shown = [
                NOTHING if one is None else one.show(name)
                for name, one in zip(METRICS, (first, loss, error, mean), strict=True)
            ]
            ratio = f"{error.mean / mean.mean:.2f}" if error and mean and mean.mean else NOTHING
            row = [case.model.printed, str(before.objective), before.dataset, str(budget), *shown, ratio]
            found.setdefault(cell_of(before, budget, ""), row)
    return headers, list(found.values())
