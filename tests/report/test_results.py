"""Measurements by cell: means, spreads and gains over seeds."""

import statistics
from dataclasses import replace

import pytest

from vitbench.objective import parse
from vitbench.report.results import Results, Value


@pytest.fixture
def cases(paper):
    """Cases by model, objective and data set."""
    return {(one.model.name, str(one.objective), one.dataset): one for one in paper.tables[0].cases}


@pytest.fixture
def plain(cases):
    return cases["vit", "ce", "cifar10"]


@pytest.fixture
def method(cases):
    return cases["vit", "ce + 0.1*me", "cifar10"]


def test_one_seed_has_no_spread(measured, plain):
    value = Results([measured("vit", "ce", "cifar10", 61.0)]).value(plain, "paper", "accuracy")
    assert value == Value(mean=61.0, spread=None, n=1)


def test_several_seeds_have_mean_and_sample_standard_deviation(measured, plain):
    values = [61.0, 62.5, 60.25]
    results = Results([measured("vit", "ce", "cifar10", value, seed=str(n)) for n, value in enumerate(values)])
    value = results.value(plain, "paper", "accuracy")
    assert value.n == 3
    assert value.mean == pytest.approx(61.25)
    assert value.spread == pytest.approx(statistics.stdev(values))
    assert value.show("accuracy") == "61.25 ± 1.15 (n = 3)"


def test_what_was_not_measured_is_none(measured, plain, method):
    results = Results([measured("vit", "ce", "cifar10", 61.0)])
    assert results.value(method, "paper", "accuracy") is None
    assert results.value(plain, "short", "accuracy") is None
    assert results.value(plain, "paper", "fgsm_drop") is None
    assert results.gain(method, "paper", "accuracy") is None


def test_a_value_of_zero_is_a_value(measured, plain):
    assert Results([measured("vit", "ce", "cifar10", 0.0)]).value(plain, "paper", "accuracy").mean == 0.0


def test_gains_are_paired_by_seed(measured, method):
    results = Results(
        [
            measured("vit", "ce", "cifar10", 60.0, seed="0"),
            measured("vit", "ce", "cifar10", 70.0, seed="1"),
            measured("vit", "ce", "cifar10", 90.0, seed="2"),  # of which the method has none
            measured("vit", "ce + 0.1*me", "cifar10", 61.0, seed="0"),
            measured("vit", "ce + 0.1*me", "cifar10", 71.0, seed="1"),
            measured("vit", "ce + 0.1*me", "cifar10", 10.0, seed="3"),  # of which the baseline has none
        ]
    )
    gain = results.gain(method, "paper", "accuracy")
    assert (gain.mean, gain.spread, gain.n) == (1.0, 0.0, 2)


def test_a_gain_without_a_common_seed_is_none(measured, method):
    results = Results(
        [measured("vit", "ce", "cifar10", 60.0, seed="0"), measured("vit", "ce + 0.1*me", "cifar10", 61.0, seed="1")]
    )
    assert results.gain(method, "paper", "accuracy") is None


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_values_of_one_cell_and_seed_the_later_counts(measured, plain, order):
    both = [
        measured("vit", "ce", "cifar10", 60.0, date="2026-01-01"),
        measured("vit", "ce", "cifar10", 62.0, date="2026-11-02"),
    ]
    value = Results(both[::order]).value(plain, "paper", "accuracy")
    assert (value.mean, value.n) == (62.0, 1)


def test_accuracies_of_several_machines_are_of_one_experiment(measured, plain):
    here = measured("vit", "ce", "cifar10", 60.0, machine="cpu", date="2026-11-02", seed="0")
    there = measured("vit", "ce", "cifar10", 62.0, machine="h200", date="2026-01-01", seed="1")
    again = measured("vit", "ce", "cifar10", 10.0, machine="h200", date="2026-01-01", seed="0")
    value = Results([here, there, again]).value(plain, "paper", "accuracy")
    assert (value.mean, value.n) == (61.0, 2)


@pytest.mark.parametrize("order", [1, -1])
def test_precisions_are_neither_averaged_nor_do_they_overwrite_each_other(measured, plain, method, order):
    made = [
        measured("vit", "ce", "cifar10", 60.0, precision="fp32", date="2026-01-01"),
        measured("vit", "ce", "cifar10", 10.0, precision="bf16", date="2026-11-02"),
        measured("vit", "ce", "cifar10", 20.0, precision="bf16", date="2026-11-02", seed="1"),
        measured("vit", "ce + 0.1*me", "cifar10", 30.0, precision="bf16"),
    ][::order]
    results = Results(made)
    assert results.value(plain, "paper", "accuracy") == Value(mean=60.0, spread=None, n=1)
    assert results.value(method, "paper", "accuracy").mean == 30.0
    assert results.gain(method, "paper", "accuracy") is None
    assert len(list(results)) == 4


def test_speeds_are_those_of_a_place(measured, plain):
    timed = {"metric": "training", "budget": "quick"}
    made = [
        measured("vit", "ce", "cifar10", 100.0, machine="cpu", device="a processor", date="2026-11-03", **timed),
        measured("vit", "ce", "cifar10", 900.0, machine="h200", **timed),
        measured("vit", "ce", "cifar10", 1800.0, machine="h200", precision="bf16", **timed),
    ]
    results = Results(made)
    assert results.value(plain, "quick", "training") is None
    assert [
        results.on(place).value(plain, "quick", "training").mean for place in results.places("small2026", "quick")
    ] == [
        100.0,
        1800.0,
        900.0,
    ]
    assert results.places("another", "quick") == results.places("small2026", "paper") == []


def test_a_case_is_found_whether_its_defaults_are_spelt_out_or_not(measured, method):
    results = Results([measured("vit", "ce + 0.1*me", "cifar10", 65.5)])
    spelt = replace(method, objective=parse("ce + 0.1*me(ratio=0.75)"))
    assert results.value(spelt, "paper", "accuracy").mean == 65.5
    other = replace(method, objective=parse("ce + 0.1*me(ratio=0.5)"))
    assert results.value(other, "paper", "accuracy") is None


def test_a_size_is_found_whatever_the_recipe(measured, plain):
    results = Results([measured("vit", "ce", "cifar10", 5.5, "params", seed="", recipe="", machine="any")])
    assert results.value(plain, "paper", "params").mean == 5.5


@pytest.mark.parametrize(
    ("metric", "mean", "shown"),
    [
        ("accuracy", 63.8249, "63.82"),
        ("macs", 0.12345, "0.123"),
        ("inference", 1234.5678, "1235"),
        ("fgsm_drop", -0.5, "-0.50"),
    ],
)
def test_a_metric_knows_its_decimals(metric, mean, shown):
    assert Value(mean=mean, spread=None, n=1).show(metric) == shown


def test_everything_can_be_walked_in_one_order(measured):
    made = [measured(model, "ce", "cifar10", 1.0, seed=seed) for model in ("vit", "cvt") for seed in ("1", "0")]
    assert list(Results(made)) == list(Results(made[::-1])) == [made[3], made[2], made[1], made[0]]


def test_budgets_are_those_under_which_a_paper_was_trained(measured):
    results = Results(
        [
            measured("vit", "ce", "cifar10", 61.0, budget="short"),
            measured("vit", "ce", "digits", 96.0, budget="quick"),
            measured("vit", "ce", "cifar10", 5.5, "params", budget="paper"),
            measured("vit", "ce", "cifar10", 60.0, budget="paper", paper="another"),
        ]
    )
    assert results.budgets("small2026") == ["quick", "short"]


def test_what_is_worked_out_once_is_handed_on(measured):
    results, made = Results([measured("vit", "ce", "cifar10", 61.0)]), []
    for _ in range(2):
        assert results.once(("what", "paper"), lambda: made.append(1) or len(made)) == 1
    assert results.once(("what", "quick"), lambda: made.append(1) or len(made)) == 2
