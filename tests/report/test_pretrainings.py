"""What a report says of pre-trainings."""

import pytest

from tests import a_pretraining
from vitbench import papers
from vitbench.baselines import measurements
from vitbench.case import Budget
from vitbench.report.pretrainings import pretraining_table
from vitbench.report.results import Results
from vitbench.report.runs import run_table
from vitbench.selection import Selection


@pytest.fixture
def shown(tmp_path):
    path = tmp_path / "tan2024.toml"
    path.write_text(a_pretraining.TEXT)
    paper = papers.load(path)
    return paper, {Budget.QUICK: Selection().cases([paper])}


def measured(cases, *, errors):
    case = next(one for one in cases[Budget.QUICK] if one.recipe.pretraining)
    found = []
    for seed, (mse, mean) in enumerate(errors):
        _, record = a_pretraining.record(case.before(Budget.QUICK), seed=seed, budget=Budget.QUICK)
        record = record.__class__(
            **{
                **vars(record),
                "measurements": {"first_loss": 2.0, "loss": 0.5, "reconstruction_mse": mse, "mean_patch_mse": mean},
            }
        )
        found += measurements(case.before(Budget.QUICK), record, machine="cpu")
    return found


def test_a_row_has_the_errors_and_their_ratio(shown):
    _, cases = shown
    headers, rows = pretraining_table(cases, Results(measured(cases, errors=[(0.1, 0.4), (0.3, 0.4)])))
    (row,) = rows  # the same run of both models' rows is told once
    told = dict(zip(headers, row, strict=True))
    assert told["Network"] == "Mae-C10"
    assert (told["Loss"], told["Data"], told["Budget"]) == ("me", "digits", "quick")
    assert told["error on masked patches"] == "0.2000 ± 0.1414 (n = 2)"
    assert told["of the mean patch"] == "0.4000 ± 0.0000 (n = 2)"
    assert told["ratio"] == "0.50"
    assert (told["first loss"], told["last loss"]) == ("2.0000 ± 0.0000 (n = 2)", "0.5000 ± 0.0000 (n = 2)")


def test_nothing_measured_is_no_row(shown):
    _, cases = shown
    assert pretraining_table(cases, Results([]))[1] == []


def test_a_pre_training_stands_among_the_runs(shown):
    paper, cases = shown
    found = measured(cases, errors=[(0.1, 0.4)])
    _, rows = run_table(paper, Results(found), {})
    assert [row[:3] for row in rows] == [["mae_c10", "me", "digits"]]
