"""What networks cost, against numbers made by hand."""

import pytest

from vitbench.case import Budget
from vitbench.report import costs
from vitbench.report.results import Results
from vitbench.selection import Selection, sizes, timings


def size(measured, model, terms, dataset, **values):
    plain = {"seed": "", "recipe": "", "machine": "any", "device": ""}
    return [measured(model, terms, dataset, value, metric, **plain) for metric, value in values.items()]


def test_sizes_say_what_was_not_counted(paper, measured):
    cases = sizes([paper], Selection().cases([paper]))
    made = size(measured, "vit", "ce", "cifar10", params=5.4321, macs=0.9876, training_macs=2.963)
    made += size(
        measured,
        "vit",
        "ce + me",
        "cifar10",
        params=5.4321,
        macs=0.9876,
        term_params=4.705272,
        training_macs_ratio=1.31,
    )
    headers, rows = costs.size_table(cases, Results(made))
    assert headers[:4] == ["Model", "Terms", "Classes of", "params (M)"]
    no = "not counted"
    assert rows == [
        ["ViT", "ce", "cifar10", "5.43", "0.988", no, no, no, "2.963", no],
        ["ViT", "ce + me", "cifar10", "5.43", "0.988", no, no, "4.71", no, "1.31"],
    ]


def timed(measured, model, terms, **values):
    return [
        measured(model, terms, "digits", value, metric, budget="quick", seed="0") for metric, value in values.items()
    ]


def test_speeds_show_what_was_timed(paper, measured):
    cases = timings(Selection().cases([paper]))
    made = timed(
        measured,
        "vit",
        "ce",
        inference=1234.5,
        training=400.4,
        step_ms=12.345,
        step_ratio=1.0,
        training_noise=0.8,
        peak_share=33.3,
    )
    made += timed(measured, "vit", "ce + me", training=300.0, step_ms=16.0, step_ratio=1.3)
    made += timed(measured, "cvt", "ce + me", training=300.0)
    results = Results(made)
    (place,) = results.places("small2026", "quick")
    headers, rows = costs.speed_table(cases, results.on(place), "quick")
    assert len(headers) == 8  # without the memory, which was not measured
    assert headers[-1] == "share of peak (%)"
    assert rows == [
        ["CvT", "ce + me", "-", "300", "-", "-", "-", "-"],
        ["ViT", "ce", "1234", "400", "12.35", "1.00", "0.80", "33.30"],
        ["ViT", "ce + me", "1234", "300", "16.00", "1.30", "-", "-"],
    ]
    assert costs.speed_table(cases, results.on(place), "paper")[1] == []


def size_of(of_twofold, terms, value, metric="params", dataset="cifar100"):
    return of_twofold("", "vit", terms, dataset, value, metric, seed="", machine="any", device="")


def test_a_printed_size_is_judged_at_the_digits_that_are_printed(twofold, of_twofold):
    made = [size_of(of_twofold, "ce", 28.61), size_of(of_twofold, "ce + drloc", 28.31)]
    headers, rows = costs.printed_size_table(costs.printed_sizes(twofold, Results(made)))
    assert headers == ["Model", "Loss", "Table", "Size", "printed", "ours", "classes of", "verdict", "note"]
    plain, method = ["ViT-T", "ce", "3", "params (M)", "29"], ["ViT-T", "ce + 0.5*drloc", "3", "params (M)", "29"]
    assert rows == [
        [*plain, "28.61", "cifar100", "reproduced", "rounded up by its authors"],
        [*method, "28.31", "cifar100", "deviates", ""],
    ]


def test_a_size_that_was_not_counted_is_not_judged(twofold, of_twofold):
    other = size_of(of_twofold, "ce", 5.0, dataset="cifar10")  # of another number of classes
    _, rows = costs.printed_size_table(costs.printed_sizes(twofold, Results([other])))
    assert [row[5:8] for row in rows] == [["-", "cifar100", "not run"]] * 2


@pytest.fixture
def counted(size_of_masked):
    """Sizes with 10 classes; CvT has 0.262 G by its layers and 0.249 G in products, ViT 0.264 G without attention."""
    made = [size_of_masked("cvt", "params", 3.7166), size_of_masked("vit", "params", 3.63649)]
    made += [size_of_masked("cvt", "macs", 0.249), size_of_masked("cvt", "macs_layers", 0.262)]
    return [*made, size_of_masked("vit", "macs", 0.616), size_of_masked("vit", "macs_without_attention", 0.264)]


def test_macs_are_judged_as_they_were_counted_and_what_leaves_out_attention_by_the_whole(masked, counted):
    headers, rows = costs.printed_size_table(costs.printed_sizes(masked, Results(counted)))
    assert headers[4:8] == ["printed", "counted as", "ours, counted so", "ours, matmul+conv"]
    assert [[row[0], row[3], *row[4:8], row[9]] for row in rows] == [
        ["CvT-9", "params (M)", "3.72", "", "3.72", "", "reproduced"],
        ["CvT-9", "macs (G)", "0.26", "layers", "0.262", "0.249", "reproduced"],
        ["Mae-ViT", "params (M)", "3.64", "", "3.64", "", "reproduced"],
        ["Mae-ViT", "macs (G)", "0.26", "without attention", "0.264", "0.616", "deviates"],
    ]
    assert rows[3][10] == "attention is left out"


def test_macs_that_were_not_counted_in_their_convention_are_not_judged(masked, counted):
    less = [one for one in counted if one.metric in ("params", "macs")]
    _, rows = costs.printed_size_table(costs.printed_sizes(masked, Results(less)))
    assert [row[6:8] + row[9:10] for row in rows if row[5]] == [
        ["-", "0.249", "not run"],
        ["-", "0.616", "deviates"],
    ]


def test_a_paper_without_printed_sizes_has_none(paper, results):
    assert costs.printed_sizes(paper, results) == []


def test_recipes_whose_steps_are_alike_share_a_row_of_speeds(twofold, of_twofold):
    cases = costs.timed(Selection(budget=Budget.PAPER).cases([twofold]))
    timed = {"metric": "training", "machine": "h200", "device": "NVIDIA H200"}
    speeds = {"paper": 100.0, "code": 101.0, "rerun": 50.0}

    def shown(*recipes):
        results = Results([of_twofold(one, "vit", "ce", "cifar10", speeds[one], **timed) for one in recipes])
        (place,) = results.places("twofold2025", "paper")
        return costs.speed_table(cases, results.on(place), "paper")[1]

    assert shown("paper") == [["ViT-T", "ce", "100"]]
    assert shown("code") == shown("paper", "code") == [["ViT-T", "ce", "101"]]
    # A batch of 128 is another step, and is not shown as if it were the same.
    assert shown("code", "rerun") == [["ViT-T", "ce", "code", "101"], ["ViT-T", "ce", "rerun", "50"]]


@pytest.mark.parametrize(("recipe", "is_alike"), [("code", True), ("paper-300", True), ("rerun", False)])
def test_a_step_is_told_by_its_batch_and_not_by_its_schedule(twofold, recipe, is_alike):
    cases = {case.recipe.name: case for case in twofold.cases if (case.model.name, case.is_baseline) == ("vit", True)}
    one, other = (timings([cases[name]])[0] for name in ("paper", recipe))
    alike = [costs.step_of(case, "paper")[3:] for case in (one, other)]
    assert (alike[0] == alike[1]) is is_alike
