"""Statements of a text, held against numbers made by hand."""

import pytest

from vitbench import sections
from vitbench.case import Claim
from vitbench.conclusions import Conclusion, Holding
from vitbench.errors import UserError
from vitbench.objective import parse
from vitbench.printed import Printed


def conclusion(**changes):
    plain = {
        "text": "it helps",
        "where": "section 1",
        "table": "1",
        "models": ("vit",),
        "datasets": ("cifar10",),
        "left": "ce + 0.1*me",
        "relation": "higher",
        "right": "ce",
        "metric": "accuracy",
        "by_at_least": None,
        "by_at_most": None,
        "holds_for": "all",
    }
    return Conclusion(**(plain | changes))


def judged(values, *, error=0.0, **changes):
    """Judge on one model and data set, from values by objective."""
    rows = [(parse(text), value, error) for text, value in values.items()]
    return conclusion(**changes).judge(lambda model, dataset, metric: rows)


@pytest.mark.parametrize(
    ("left", "right", "relation", "holding"),
    [
        (61.0, 60.0, "higher", Holding.HOLDS),
        (59.0, 60.0, "higher", Holding.CONTRADICTED),
        (59.0, 60.0, "lower", Holding.HOLDS),
        (61.0, 60.0, "lower", Holding.CONTRADICTED),
        (60.0, 60.0, "higher", Holding.UNDECIDED),
        (60.0, 60.0, "lower", Holding.UNDECIDED),
        (None, 60.0, "higher", Holding.NOT_RUN),
        (61.0, None, "higher", Holding.NOT_RUN),
    ],
)
def test_higher_is_higher_and_lower_is_lower(left, right, relation, holding):
    assert judged({"ce": right, "ce + 0.1*me": left}, relation=relation) == holding


# Two means of standard error 0.5: their difference is known to 1.96 * 0.5 * sqrt(2) = 1.386.
@pytest.mark.parametrize(
    ("gap", "holding"),
    [(1.4, Holding.HOLDS), (1.38, Holding.UNDECIDED), (-1.38, Holding.UNDECIDED), (-1.4, Holding.CONTRADICTED)],
)
def test_a_difference_within_the_noise_decides_nothing(gap, holding):
    assert judged({"ce": 60.0, "ce + 0.1*me": 60.0 + gap}, error=0.5) == holding


@pytest.mark.parametrize(
    ("left", "right", "bounds", "holding"),
    [
        (64.0, 60.0, {"by_at_least": 4.0}, Holding.HOLDS),
        (63.99, 60.0, {"by_at_least": 4.0}, Holding.CONTRADICTED),
        (79.12, 77.12, {"by_at_least": 2.0}, Holding.HOLDS),
        (64.02, 62.02, {"by_at_least": 2.0}, Holding.HOLDS),  # 1.999999999999993 in binary
        (62.0, 60.0, {"by_at_most": 2.0}, Holding.HOLDS),
        (79.12, 77.12, {"by_at_most": 2.0}, Holding.HOLDS),
        (64.01, 62.01, {"by_at_most": 2.0}, Holding.HOLDS),  # 2.000000000000007 in binary
        (62.01, 60.0, {"by_at_most": 2.0}, Holding.CONTRADICTED),
        (59.0, 60.0, {"by_at_most": 2.0}, Holding.CONTRADICTED),  # not higher at all
        (63.0, 60.0, {"by_at_least": 2.0, "by_at_most": 4.0}, Holding.HOLDS),
        (65.0, 60.0, {"by_at_least": 2.0, "by_at_most": 4.0}, Holding.CONTRADICTED),
        (61.0, 60.0, {"by_at_least": 2.0, "by_at_most": 4.0}, Holding.CONTRADICTED),
    ],
)
def test_bounds_are_inclusive_whatever_binary_makes_of_them(left, right, bounds, holding):
    assert judged({"ce": right, "ce + 0.1*me": left}, **bounds) == holding


def test_bounds_of_what_is_lower_count_downwards():
    values = {"ce": 60.0, "ce + 0.1*me": 57.0}
    assert judged(values, relation="lower", by_at_least=3.0) == Holding.HOLDS
    assert judged(values, relation="lower", by_at_least=3.1) == Holding.CONTRADICTED


@pytest.mark.parametrize(
    ("gap", "holding"),
    [(5.5, Holding.HOLDS), (5.0, Holding.UNDECIDED), (3.0, Holding.UNDECIDED), (2.5, Holding.CONTRADICTED)],
)
def test_noise_counts_at_a_bound(gap, holding):
    assert judged({"ce": 60.0, "ce + 0.1*me": 60.0 + gap}, error=0.5, by_at_least=4.0) == holding


WEIGHTS = {
    "ce": 60.0,
    "ce + 0.1*me": 59.0,
    "ce + 0.2*me": 61.0,
    "ce + 0.1*drloc": 60.5,
    "ce + 0.1*drloc + 0.1*me": 64.0,
}


@pytest.mark.parametrize(
    ("left", "relation", "right", "holding"),
    [
        ("ce + any*me", "higher", "ce", Holding.HOLDS),  # 61, not 59 and not 64
        ("ce + any*me", "higher", "ce + 0.1*drloc", Holding.HOLDS),
        ("ce + any*drloc + any*me", "higher", "others", Holding.HOLDS),
        ("ce + any*drloc", "lower", "ce + any*me", Holding.HOLDS),
        ("ce + any * me", "higher", "others", Holding.CONTRADICTED),
        ("ce + 0.1*drloc + any*me", "higher", "ce", Holding.HOLDS),
        ("ce + 0.2*drloc + any*me", "higher", "ce", Holding.NOT_RUN),  # only the weight of me is free
    ],
)
def test_any_weight_stands_for_all_rows_with_these_terms_of_which_the_best_counts(left, relation, right, holding):
    assert judged(WEIGHTS, left=left, relation=relation, right=right) == holding


def test_any_weight_stands_for_any_arguments_too():
    values = {"ce": 60.0, "ce + 0.1*me(ratio=0.65)": 59.0, "ce + 0.1*me(ratio=0.85)": 61.0}
    assert judged(values, left="ce + any*me") == Holding.HOLDS
    assert judged(values, left="ce + 0.1*me(ratio=0.65)") == Holding.CONTRADICTED


def test_a_term_whose_name_holds_any_is_no_wildcard():
    values = {"ce": 60.0, "ce + 0.1*company": 59.0, "ce + 0.2*company": 61.0}
    assert judged(values, left="ce + 0.1*company") == Holding.CONTRADICTED


def test_the_order_of_a_sum_does_not_matter():
    assert judged({"ce": 60.0, "ce + 0.1*me": 61.0}, left="0.1*me + ce") == Holding.HOLDS


@pytest.mark.parametrize(
    ("values", "holding"),
    [
        ({"ce": 60.0, "ce + 0.1*me": 61.0, "ce + 0.2*me": 60.5}, Holding.HOLDS),
        ({"ce": 60.0, "ce + 0.1*me": 61.0, "ce + 0.2*me": 61.5}, Holding.CONTRADICTED),
        ({"ce": 62.0, "ce + 0.1*me": 61.0, "ce + 0.2*me": 60.5}, Holding.CONTRADICTED),
        ({"ce": 60.0, "ce + 0.1*me": 61.0, "ce + 0.2*me": None}, Holding.NOT_RUN),  # the missing one may be the best
    ],
)
def test_others_are_all_other_rows_of_the_model(values, holding):
    assert judged(values, right="others") == holding


@pytest.mark.parametrize(
    ("ours", "holding"), [(21.0, Holding.HOLDS), (24.0, Holding.CONTRADICTED), (29.0, Holding.CONTRADICTED)]
)
def test_where_lower_is_better_the_best_is_the_lowest(ours, holding):
    values = {"ce": 28.0, "ce + 0.1*me": ours, "ce + 0.1*drloc": 23.0}
    assert judged(values, metric="fgsm_drop", relation="lower", right="others") == holding


def on(gaps, **changes):
    """Judge over one model a gap; None is a pair that was not run."""
    names = tuple(f"m{number}" for number in range(len(gaps)))

    def rows(model, dataset, metric):
        gap = gaps[names.index(model)]
        return [(parse("ce"), 60.0, 0.5), (parse("ce + 0.1*me"), None if gap is None else 60.0 + gap, 0.5)]

    return conclusion(models=names, **changes).judge(rows)


YES, NO, MAYBE, NONE = 5.0, -5.0, 0.5, None


@pytest.mark.parametrize(
    ("gaps", "holding"),
    [
        ([YES, YES], Holding.HOLDS),
        ([YES, NO], Holding.CONTRADICTED),
        ([YES, MAYBE], Holding.UNDECIDED),
        ([YES, NONE], Holding.NOT_RUN),
        ([MAYBE, NONE], Holding.NOT_RUN),
        ([NO, NONE, MAYBE], Holding.CONTRADICTED),  # one is enough, whatever the rest will say
        ([NONE, NONE], Holding.NOT_RUN),
    ],
)
def test_all_means_all(gaps, holding):
    assert on(gaps) == holding


@pytest.mark.parametrize(
    ("gaps", "holding"),
    [
        ([YES, YES, NO], Holding.HOLDS),
        ([YES, NO, NO], Holding.CONTRADICTED),
        ([YES, NO], Holding.CONTRADICTED),  # half is not most
        ([YES, YES, NONE], Holding.HOLDS),  # whatever the third will say
        ([YES, NO, NONE], Holding.NOT_RUN),
        ([YES, MAYBE, NO], Holding.UNDECIDED),
        ([NO, NO, NONE], Holding.CONTRADICTED),
        ([MAYBE, NONE, NONE], Holding.NOT_RUN),
    ],
)
def test_most_means_more_than_half(gaps, holding):
    assert on(gaps, holds_for="most") == holding


@pytest.mark.parametrize(
    ("gaps", "least", "holding"),
    [
        ([YES, YES, NO], 2, Holding.HOLDS),
        ([YES, YES, NO], 3, Holding.CONTRADICTED),
        ([YES, YES, YES], 2, Holding.HOLDS),  # more than said does not contradict
        ([YES, NO, MAYBE], 2, Holding.UNDECIDED),
        ([YES, NO, NONE], 2, Holding.NOT_RUN),
        ([YES, NO, NO], 2, Holding.CONTRADICTED),
    ],
)
def test_so_many_means_at_least_so_many(gaps, least, holding):
    assert on(gaps, holds_for=least) == holding


LEVELS = {"vit": 60.0, "cvt": 64.0, "t2t": 62.0, "late": None}


@pytest.mark.parametrize(
    ("model", "others", "relation", "holding"),
    [
        ("cvt", ("vit",), "higher", Holding.HOLDS),
        ("vit", ("cvt",), "higher", Holding.CONTRADICTED),
        ("cvt", ("vit", "t2t"), "higher", Holding.HOLDS),
        ("t2t", ("vit", "cvt"), "higher", Holding.CONTRADICTED),  # the best of the others counts
        ("t2t", ("vit", "cvt"), "lower", Holding.HOLDS),
        ("cvt", ("vit", "late"), "higher", Holding.NOT_RUN),
        ("late", ("vit",), "higher", Holding.NOT_RUN),
        ("cvt", ("never",), "higher", Holding.NOT_RUN),
    ],
)
def test_a_model_can_be_held_against_others(model, others, relation, holding):
    one = conclusion(models=(model,), left="ce", right="ce", right_models=others, relation=relation)
    rows = {name: [(parse("ce"), value, 0.0)] for name, value in LEVELS.items()}
    assert one.judge(lambda model, dataset, metric: rows.get(model, [])) == holding


@pytest.mark.parametrize(
    ("value", "relation", "holding"),
    [
        (3.64, "lower", Holding.HOLDS),
        (3.66, "lower", Holding.CONTRADICTED),
        (3.66, "higher", Holding.HOLDS),
        (3.65, "lower", Holding.UNDECIDED),
        (None, "lower", Holding.NOT_RUN),
    ],
)
def test_a_number_can_stand_on_the_right(value, relation, holding):
    assert judged({"ce": value}, left="ce", right=3.65, relation=relation, metric="params") == holding


def test_a_number_has_no_error_of_its_own():
    # One mean of standard error 0.5 is known to 1.96 * 0.5 = 0.98.
    assert judged({"ce": 61.0}, error=0.5, left="ce", right=60.0) == Holding.HOLDS
    assert judged({"ce": 60.9}, error=0.5, left="ce", right=60.0) == Holding.UNDECIDED


@pytest.mark.parametrize(
    ("left", "right", "error", "holding"),
    [
        (3.64, 3.72, 0.0, Holding.HOLDS),
        (3.72, 3.64, 0.0, Holding.HOLDS),
        (0.26, 0.26, 0.0, Holding.HOLDS),
        (64.12, 64.02, 0.0, Holding.HOLDS),  # 0.10000000000000853 in binary
        (64.13, 64.02, 0.0, Holding.CONTRADICTED),
        (3.5, 3.72, 0.0, Holding.CONTRADICTED),
        (60.0, 60.0, 0.5, Holding.UNDECIDED),  # known to 1.39, which is more than 0.1
        (None, 60.0, 0.0, Holding.NOT_RUN),
    ],
)
def test_near_is_within_the_bound_on_either_side(left, right, error, holding):
    values = {"ce": right, "ce + 0.1*me": left}
    assert judged(values, error=error, relation="near", by_at_most=0.1) == holding


def test_what_nothing_is_known_of_decides_nothing():
    assert judged({"ce": 200.0, "ce + 0.1*me": 20.0}, error=float("inf"), relation="lower") == Holding.UNDECIDED


def test_every_pair_of_model_and_data_set_is_asked_for():
    asked = []

    def rows(model, dataset, metric):
        asked.append((model, dataset, metric))
        return []

    conclusion(models=("a", "b"), datasets=("x", "y"), metric="fgsm_drop").judge(rows)
    assert asked == [(model, dataset, "fgsm_drop") for model in "ab" for dataset in "xy"]


ENTRY = """\
[[conclusions]]
text     = "it helps"
where    = "section 1"
table    = "1"
models   = ["vit"]
datasets = ["cifar10"]
left     = "ce + any*me"
is       = "higher"
right    = "ce"
by_at_least = 4
"""
TABLES = {
    "1": [
        Printed(model=model, objective=parse(text), dataset="cifar10", claim=Claim(metric="accuracy", value=60.0))
        for model in ("vit", "cvt")
        for text in ("ce", "ce + 0.1*me")
    ]
}


def read(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text)
    (section,) = sections.read(path).list_of_sections("conclusions")
    return Conclusion.read(section, tables=TABLES)


def test_what_an_entry_leaves_out_is_accuracy_for_all_and_a_whole_number_does_for_a_bound(tmp_path):
    assert read(tmp_path, ENTRY) == conclusion(left="ce + any*me", by_at_least=4.0)


@pytest.mark.parametrize("key", ["text", "where", "table", "models", "datasets", "left", "is", "right"])
def test_an_entry_without_what_it_needs_is_refused(tmp_path, key):
    lines = [line for line in ENTRY.splitlines() if line.split()[0] != key]
    with pytest.raises(UserError, match=rf"a.toml:1 \[conclusions\]: the key '{key}' is missing"):
        read(tmp_path, "\n".join(lines))


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('"ce + any*me"', '"others"', 7, "Table 1 prints no accuracy of vit under 'others' on cifar10"),
        ('"ce"', '"ce + 0.1*drloc"', 9, "Table 1 prints no accuracy of vit under 'ce + 0.1*drloc' on cifar10"),
        ('["vit"]', '"vit"', 5, "models: expected a list, got 'vit'"),
        ('["vit"]', "[3]", 5, "unknown model '3'; known: cvt, vit"),
        ('["vit"]', '["vit", "cvvt"]', 5, "unknown model 'cvvt'; did you mean cvt"),
        ('"ce"', '"ce"\nright_models = ["cvvt"]', 10, "unknown right_model 'cvvt'; did you mean cvt"),
        ('"ce"', '"ce"\nright_models = []', 10, "right_models: expected at least one right_model, got none"),
        ('"ce"', '"others"\nright_models = ["cvt"]', 9, "others are rows of the model itself; leave right_models"),
        ('"ce"', '"ce + 0.1*drloc"\nright_models = ["cvt"]', 9, "Table 1 prints no accuracy of cvt under"),
        ('"ce"', '3.5\nright_models = ["cvt"]', 9, "a number is of no model; leave right_models or 3.5 out"),
        ('"ce"', "true", 9, "right: expected a string, got True"),
        ('"ce"', "nan", 9, "right: expected a number, got nan"),
        ('"higher"', '"near"', 8, "what is near needs the bound by_at_most, and no other"),
        ("= 4", "= 4\nin_print = 1", 11, "in_print: expected true or false, got 1"),
        ('"ce"', '"ce"\nmetric = "knn"', 7, "Table 1 prints no knn of vit under 'ce + any*me'"),
        ("= 4", "= 4\nholds_for = 2", 11, "holds_for: expected 1 to 1 pairs, got 2"),
        ("= 4", "= 4\nholds_for = 0", 11, "holds_for: expected 1 to 1 pairs, got 0"),
        ("= 4", "= true", 10, "by_at_least: expected a number, got True"),
        ("= 4", "= inf", 10, "by_at_least: expected a number, got inf"),
    ],
)
def test_a_wrong_value_is_named_by_its_line(tmp_path, old, new, line, message):
    with pytest.raises(UserError) as refused:
        read(tmp_path, ENTRY.replace(old, new))
    assert str(refused.value).startswith(f"{tmp_path / 'a.toml'}:{line}")
    assert message in str(refused.value)


def test_a_metric_that_is_not_printed_may_be_judged_by_ours_where_the_entry_says_so(tmp_path):
    found = read(tmp_path, f'{ENTRY}metric = "epoch_of_best"\nin_print = false\n')
    assert (found.metric, found.in_print) == ("epoch_of_best", False)
    with pytest.raises(UserError, match=r"prints no number of vit under 'ce \+ 0\.1\*drloc'"):
        read(tmp_path, ENTRY.replace('= "ce"', '= "ce + 0.1*drloc"') + 'metric = "epoch_of_best"\nin_print = false\n')


def test_a_size_is_printed_for_no_data_set_and_stands_for_all(tmp_path):
    size = Printed(model="vit", objective=parse("ce"), claim=Claim(metric="params", value=3.64))
    tables = {"1": [*TABLES["1"], size]}
    path = tmp_path / "a.toml"
    path.write_text(
        ENTRY.replace('"ce + any*me"', '"ce"').replace('right    = "ce"', "right = 4") + 'metric = "params"'
    )
    (section,) = sections.read(path).list_of_sections("conclusions")
    found = Conclusion.read(section, tables=tables)
    assert (found.right, found.datasets) == (4.0, ("cifar10",))


def of_metrics(**values):
    """Rows by metric: of (`ce + 0.1*me`, `ce`) the values; no standard error."""

    def rows(model, dataset, metric):
        pair = values.get(metric, (None, None))
        return [(parse(text), value, 0.0) for text, value in zip(("ce + 0.1*me", "ce"), pair, strict=True)]

    return rows


@pytest.mark.parametrize(
    ("values", "in_print", "ours"),
    [
        # Of ours the one metric says otherwise than the other; what is printed knows but one.
        ({"epoch_of_best": (3, 37), "convergence_epoch": (20, 10)}, Holding.HOLDS, Holding.CONTRADICTED),
        ({"epoch_of_best": (37, 3), "convergence_epoch": (10, 20)}, Holding.CONTRADICTED, Holding.HOLDS),
        ({"epoch_of_best": (3, 37)}, Holding.HOLDS, Holding.HOLDS),
        ({"epoch_of_best": (3, 37), "convergence_epoch": (20, None)}, Holding.HOLDS, Holding.HOLDS),
        ({"convergence_epoch": (10, 20)}, Holding.NOT_RUN, Holding.HOLDS),
        ({}, Holding.NOT_RUN, Holding.NOT_RUN),
    ],
)
def test_ours_are_held_by_the_metric_that_is_measured_where_both_sides_have_it(values, in_print, ours):
    faster = conclusion(relation="lower", metric="epoch_of_best", measured="convergence_epoch")
    assert faster.judge(of_metrics(**values)) == in_print
    assert faster.judge(of_metrics(**values), ours=True) == ours


def test_the_earliest_of_several_rows_counts_where_earlier_is_better():
    faster = conclusion(relation="lower", left="ce + any*me", metric="epoch_of_best", measured="convergence_epoch")
    rows = [(parse("ce + 0.1*me"), 30.0, 0.0), (parse("ce + 0.2*me"), 10.0, 0.0), (parse("ce"), 20.0, 0.0)]
    assert faster.judge(lambda model, dataset, metric: rows, ours=True) == Holding.HOLDS


def test_the_metric_that_is_measured_is_read_and_has_the_unit_of_the_printed_one(tmp_path):
    pair = 'metric = "epoch_of_best"\nmeasured = "{}"\nin_print = false\n'
    assert read(tmp_path, ENTRY + pair.format("convergence_epoch")).measured == "convergence_epoch"
    assert read(tmp_path, ENTRY).measured == ""
    with pytest.raises(UserError, match="measured: expected a metric in 'epoch', as epoch_of_best is, got knn"):
        read(tmp_path, ENTRY + pair.format("knn"))
    with pytest.raises(UserError, match="unknown measured 'convergence'"):
        read(tmp_path, ENTRY + pair.format("convergence"))
