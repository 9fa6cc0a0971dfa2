"""What the data file says the thesis prints: complete, free of slips, and at one with itself."""

from collections import Counter, defaultdict
from functools import cache
from itertools import product

import pytest
from _pytest.mark.expression import Expression

from vitbench import papers
from vitbench.case import Budget
from vitbench.identity import of_run
from vitbench.objective import parse
from vitbench.report import conclusions
from vitbench.report.results import Results
from vitbench.selection import Selection

MODELS = ("resnet", "vit", "t2t", "cvt")


@cache
def paper():
    return next(one for one in papers.load_all() if one.name == "floros2024")


@cache
def rows():
    """Every printed number, as (table, model, objective, dataset, metric) and its value in hundredths."""
    return {
        (one["table"], one["model"], one["objective"], one["dataset"], one["metric"]): round(float(one["value"]) * 100)
        for one in papers.claims((paper(),))
    }


def test_it_has_every_number_that_is_printed():
    assert len(rows()) == 228 + 16
    assert Counter(key[4] for key in rows()) == {"accuracy": 212, "adversarial_accuracy": 16, "fgsm_drop": 16}
    accuracies = Counter(key[0] for key in rows() if key[4] != "fgsm_drop")
    assert accuracies == {"4.1": 40, "4.2": 40, "4.3": 56, "4.4": 32, "4.5": 28, "4.6": 32}


# Read off the thesis a second time, by another way than the data file: how many numbers stand in a column, their
# sum and the sum of number times row, in hundredths, top to bottom. A wrong digit changes the first sum, two
# numbers in each other's place the second.
CHECKSUMS = {
    ("4.1", "cifar10", "accuracy"): (20, 143295, 1485322),
    ("4.1", "cifar100", "accuracy"): (20, 75276, 814796),
    ("4.2", "cifar10", "accuracy"): (20, 144790, 1490472),
    ("4.2", "cifar100", "accuracy"): (20, 78452, 822039),
    ("4.3", "cifar10", "accuracy"): (28, 202337, 2874668),
    ("4.3", "cifar100", "accuracy"): (28, 108808, 1586763),
    ("4.4", "cifar10", "accuracy"): (16, 116058, 968552),
    ("4.4", "cifar100", "accuracy"): (16, 62942, 538276),
    ("4.5", "cifar10", "accuracy"): (28, 202810, 2877586),
    ("4.6", "cifar10", "accuracy"): (16, 115679, 964705),
    ("4.6", "cifar10", "adversarial_accuracy"): (16, 66046, 516589),
    ("4.6", "cifar10", "fgsm_drop"): (16, 49633, 448116),
}


@pytest.mark.parametrize("column", CHECKSUMS, ids="-".join)
def test_a_column_adds_up_to_what_the_thesis_adds_up_to(column):
    values = [value for key, value in rows().items() if (key[0], key[3], key[4]) == column]
    assert (len(values), sum(values), sum(n * value for n, value in enumerate(values, 1))) == CHECKSUMS[column]


def test_models_stand_in_printed_order():
    for table in paper().tables:
        order = list(dict.fromkeys(case.model.name for case in table.cases))
        assert order == list(MODELS), table.id


@pytest.mark.parametrize(
    ("table", "objectives"),
    [
        ("4.1", ["ce", *(f"ce + {weight}*drloc" for weight in (0.025, 0.05, 0.1, 0.2))]),
        ("4.2", ["ce", *(f"ce + {weight}*me" for weight in (0.025, 0.05, 0.1, 0.2))]),
        (
            "4.3",
            ["ce", *(f"ce + {weight}*{term}" for term in ("drloc", "me") for weight in (0.05, 0.1))]
            + [f"ce + {weight}*drloc + {weight}*me" for weight in (0.05, 0.1)],
        ),
        ("4.5", ["ce", *(f"ce + 0.1*me(ratio={ratio})" for ratio in (0.65, 0.7, 0.75, 0.8, 0.85, 0.9))]),
        ("4.6", ["ce", "ce + 0.1*drloc", "ce + 0.1*me", "ce + 0.1*drloc + 0.1*me"]),
    ],
)
def test_every_model_has_the_same_rows(table, objectives):
    for model in MODELS:
        found = list(dict.fromkeys(key[2] for key in rows() if key[:2] == (table, model)))
        assert found == objectives, model


def test_a_model_under_an_objective_has_one_accuracy_whatever_table_prints_it():
    found = defaultdict(set)
    for (_, model, objective, dataset, metric), value in rows().items():
        if metric == "accuracy":
            bare = str(parse(objective).without_arguments(paper().defaults))
            found[model, bare, dataset].add(value)
    assert not {cell: values for cell, values in found.items() if len(values) > 1}
    assert len(found) == 108


def test_a_drop_is_the_clean_accuracy_less_the_attacked_one():
    for (table, *cell, metric), drop in rows().items():
        if metric == "fgsm_drop":
            clean, attacked = (rows()[table, *cell, name] for name in ("accuracy", "adversarial_accuracy"))
            assert clean - attacked == drop, cell


def test_table_4_4_quotes_the_best_of_each_kind():
    printed = {key: value for key, value in rows().items() if key[0] in ("4.1", "4.2", "4.3")}
    for (table, model, objective, dataset, _), value in rows().items():
        if table == "4.4":
            kind = [
                other
                for (_, one, text, where, _), other in printed.items()
                if (one, where, parse(text).names) == (model, dataset, parse(objective).names)
            ]
            assert value == max(kind), (model, objective, dataset)


def test_the_cell_that_stands_for_two_weights_says_so():
    noted = [(case.id, claim.note) for case in paper().cases for claim in case.claims if claim.note]
    assert [case for case, _ in noted] == ["floros2024/4.4/vit/ce+0.1me/cifar10"]
    both = [rows()["4.2", "vit", f"ce + {weight}*me", "cifar10", "accuracy"] for weight in (0.1, 0.2)]
    assert both == [rows()["4.4", "vit", "ce + 0.1*me", "cifar10", "accuracy"]] * 2


@pytest.mark.parametrize(
    ("selection", "cases", "runs"),
    [
        (Selection(budget=Budget.PAPER), 212, 108),
        (Selection(budget=Budget.SHORT), 212, 108),
        (Selection(budget=Budget.QUICK), 67, 16),
    ],
)
def test_many_cells_stand_on_few_runs(selection, cases, runs):
    found = selection.cases([paper()])
    identities = {of_run(case, budget=selection.budget).key: case.model.name for case in found}
    assert (len(found), len(identities)) == (cases, runs)
    assert Counter(identities.values()) == dict.fromkeys(MODELS, runs // 4)


@pytest.mark.parametrize("budget", list(Budget))
def test_every_case_can_be_selected_by_its_id(budget):
    cases = Selection(budget=budget, all_rows=True).cases([paper()])
    for case in cases:
        selected = Expression.compile(case.id).evaluate
        assert selected(lambda name, case=case, **_: name in case.id)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("4.1", {"table": {"4.1"}}),
        ("drloc and not me", {"names": {("ce", "drloc")}}),
        ("vit and 4.5", {"model": {"vit"}, "table": {"4.5"}}),
        ("ratio0.85", {"table": {"4.5"}}),
    ],
)
def test_short_expressions_select_what_they_say(expression, expected):
    selects = Expression.compile(expression).evaluate
    cases = Selection(budget=Budget.PAPER).cases([paper()])
    found = [case for case in cases if selects(lambda name, case=case, **_: name in case.id)]
    seen = {
        "table": {case.table for case in found},
        "model": {case.model.name for case in found},
        "names": {case.objective.names for case in found},
    }
    assert {name: seen[name] for name in expected} == expected


def test_the_recipe_is_that_of_section_3_1():
    (phase,) = paper().recipes["scratch"].phases
    assert (phase.epochs, phase.batch_size) == (100, 128)
    assert phase.optimizer == {"name": "adam", "lr": 1e-4, "weight_decay": 0.0}
    assert phase.schedule == {"name": "constant"}
    assert phase.augmentation == ()


def test_the_terms_are_those_of_sections_3_2_and_3_3():
    assert paper().defaults["drloc"]["pairs"] == 32
    assert paper().defaults["me"] == {"ratio": 0.75, "depth": 4, "heads": 4}


def test_of_its_conclusions_its_own_numbers_contradict_one():
    _, judged = conclusions.conclusion_table(paper(), Results([]), [])
    contradicted = {text: holding for text, _, holding in judged if holding != "holds"}
    assert contradicted == {"ME consistently improves performance on CIFAR": "contradicted"}
    assert len(judged) == len(paper().conclusions) > 20


def test_every_section_with_a_table_has_its_conclusions():
    sections = {conclusion.where for conclusion in paper().conclusions}
    assert sections == {"abstract", *(f"section 4.{number}" for number in range(2, 8))}


def gaps_of(conclusion):
    """Left less right, or right less left where less is claimed, in hundredths; for objectives that are spelt out."""
    best = min if conclusion.metric == "fgsm_drop" else max
    for model, dataset in product(conclusion.models, conclusion.datasets):
        cell = (conclusion.table, model, dataset, conclusion.metric)
        values = {key[2]: value for key, value in rows().items() if (*key[:2], *key[3:]) == cell}
        left = values.pop(conclusion.left)
        right = best(values.values()) if conclusion.right == "others" else values[conclusion.right]
        yield left - right if conclusion.relation == "higher" else right - left


@pytest.mark.parametrize(
    ("text", "gaps"),
    [
        ("DRLoc raises ResNet's accuracy most at a weight of 0.1", [122, 188]),
        ("DRLoc at 0.2 improves T2T on CIFAR-100 by not more than 2 points", [156]),
        ("DRLoc at 0.1 improves CvT on CIFAR-10 by not more than 2 points", [62]),
        ("DRLoc at 0.025 improves CvT on CIFAR-100 by not more than 2 points", [91]),
        ("ME at 0.2 raises ResNet by 5 points on CIFAR-10", [518]),
        ("ME at 0.2 raises ResNet by 12 points on CIFAR-100", [1231]),
        ("ME at 0.2 raises ViT by 1 point on CIFAR-10", [137]),
        ("ME at 0.2 raises ViT by 2 points on CIFAR-100", [212]),
        ("ResNet and T2T are best with 85 % masked", [18, 20]),
        ("ViT is best with 75 % masked", [10]),
        ("DRLoc is more robust to FGSM in all four models", [376, 30, 18, 54]),
    ],
)
def test_a_conclusion_speaks_of_the_gap_that_the_thesis_speaks_of(text, gaps):
    (conclusion,) = (one for one in paper().conclusions if one.text == text)
    assert list(gaps_of(conclusion)) == gaps
