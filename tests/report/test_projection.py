"""The hours of all runs: steps x their time, each experiment once, and the floor at the peak of the device."""

import pytest

from vitbench.case import Budget
from vitbench.report.projection import projection_table
from vitbench.report.results import Results
from vitbench.selection import Selection

STEPS = 100 * (50_000 // 128)


@pytest.fixture
def cases(paper):
    return Selection(budget=Budget.PAPER).cases([paper])


def table(cases, made):
    results = Results(made)
    (place,) = results.places("small2026", "paper")
    return projection_table(cases, results.on(place), "paper")[1]


def timed(measured, model, terms, dataset, *, step_ms, peak_share):
    values = {"step_ms": step_ms, "peak_share": peak_share, "training": 1.0}
    return [measured(model, terms, dataset, value, metric) for metric, value in values.items()]


def test_runs_that_several_tables_print_count_once_and_weights_share_a_step(cases, measured):
    # ViT on CIFAR-10: ce, 0.1*me, drloc and me; on CIFAR-100: ce, 0.1*me, 0.2*me. CvT: ce and 0.1*me on both.
    made = [
        *timed(measured, "vit", "ce", "cifar10", step_ms=2.0, peak_share=40.0),
        *timed(measured, "vit", "ce + me", "cifar100", step_ms=3.0, peak_share=50.0),
        *timed(measured, "cvt", "ce", "cifar100", step_ms=4.0, peak_share=25.0),
    ]
    # One run with 2 ms, two with 3 ms; one with 4 ms.
    vit, floor = STEPS * (2.0 + 2 * 3.0) / 3600e3, STEPS * (0.8 + 2 * 1.5) / 3600e3
    cvt = STEPS * 4.0 / 3600e3
    assert table(cases, made) == [
        ["CvT", "4", "1", f"{cvt:.2f}", f"{cvt / 4:.2f}"],
        ["ViT", "6", "3", f"{vit:.2f}", f"{floor:.2f}"],
        ["all", "10", "4", f"{vit + cvt:.2f}", f"{floor + cvt / 4:.2f}"],
    ]


def test_a_step_without_its_share_of_the_peak_says_nothing_of_the_floor_and_is_left_out(cases, measured):
    made = [measured("vit", "ce", "cifar10", 2.0, "step_ms"), measured("vit", "ce", "cifar10", 1.0, "training")]
    assert table(cases, made) == []


def test_the_thesis_is_108_runs():
    from vitbench import papers

    (thesis,) = (one for one in papers.load_all() if one.name == "floros2024")
    cases = Selection(budget=Budget.PAPER).cases([thesis])
    made = [_step(model, "ce", "cifar10") for model in ("vit", "resnet", "t2t", "cvt")]
    results = Results(one for pair in made for one in pair)
    (place,) = results.places("floros2024", "paper")
    rows = projection_table(cases, results.on(place), "paper")[1]
    assert [row[1:3] for row in rows] == [["27", "1"]] * 4 + [["108", "4"]]
    assert float(rows[0][3]) == pytest.approx(STEPS * 2.5 / 3600e3, abs=0.005)


def _step(model, terms, dataset):
    from vitbench.baselines import Measurement

    plain = dict.fromkeys(("seed", "key", "device", "torch", "commit", "date"), "")
    plain |= {"paper": "floros2024", "model": model, "objective": terms, "dataset": dataset, "recipe": "scratch"}
    plain |= {"budget": "paper", "machine": "h200", "precision": "bf16", "engine": "graph"}
    values = {"step_ms": 2.5, "peak_share": 40.0, "training": 51200.0}
    return [Measurement(**plain, metric=metric, value=value) for metric, value in values.items()]


def test_recipes_whose_steps_are_alike_share_what_was_timed_and_each_has_its_own_epochs(twofold, of_twofold):
    cases = [
        one for one in Selection(budget=Budget.PAPER).cases([twofold]) if one.is_baseline and one.dataset == "cifar10"
    ]
    values = {"step_ms": 500.0, "peak_share": 50.0, "training": 1.0}
    made = [of_twofold("paper", "vit", "ce", "cifar10", value, metric) for metric, value in values.items()]
    results = Results(made)
    (place,) = results.places("twofold2025", "paper")
    # ViT: 100 epochs by the text and 101 by the code; not the re-run, whose batch is smaller, nor fine-tuning, which
    # does not flip. CvT was not timed.
    hours = (100 + 101) * (50_000 // 1024) * 500 / 3600e3
    assert projection_table(cases, results.on(place), "paper")[1] == [
        ["ViT-T", "4", "2", f"{hours:.2f}", f"{hours / 2:.2f}"]
    ]
