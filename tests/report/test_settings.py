"""What recipes differ in, read off their data."""

from dataclasses import replace

import pytest

from vitbench.case import Budget, Elsewhere
from vitbench.objective import Call
from vitbench.report import settings


def column(grid, name):
    headers, rows = grid
    return {row[0]: row[headers.index(name)] for row in rows}


def test_only_what_differs_has_a_row_and_every_recipe_in_use_a_column(twofold):
    grid = settings.recipe_table(twofold, twofold.cases, Budget.PAPER)
    assert grid[0] == ["Setting", "paper", "code", "paper-300", "rerun", "finetune"]
    assert all(len(set(row[1:])) > 1 for row in grid[1])
    paper, code = column(grid, "paper"), column(grid, "code")
    differing = {name: (paper[name], code[name]) for name in paper if paper[name] != code[name]}
    assert differing == {
        "protocol": ("paper", "code"),
        "epochs": ("100", "101"),
        "cosine over (epochs)": ("100", "300"),
        "weight of drloc": ("constant", "from 0 over 20 epochs, back at 0 after 300"),
        "drloc: sharing": ("image", "batch"),  # "batch" is the term's own default
    }


def test_what_a_recipe_does_not_have_is_a_dash(twofold):
    finetune = column(settings.recipe_table(twofold, twofold.cases, Budget.PAPER), "finetune")
    assert finetune["weight decay"] == finetune["cosine over (epochs)"] == "-"
    assert finetune["pre-trained weights"] == "published, of ImageNet-1K"


def test_recipes_that_no_case_uses_and_those_without_a_form_under_the_budget_are_left_out(twofold):
    few = [case for case in twofold.cases if case.table == "2"]
    assert settings.recipe_table(twofold, few, Budget.PAPER)[0][1:] == ["paper", "code"]
    headers, rows = settings.recipe_table(twofold, twofold.cases, Budget.QUICK)
    assert headers[1:] == ["paper", "code"]
    assert ["weight of drloc", "constant", "from 0 over 1 epochs, back at 0 after 3"] in rows


def test_one_recipe_has_nothing_to_differ_from(paper):
    assert settings.recipe_table(paper, paper.cases, Budget.PAPER)[1] == []
    assert settings.recipe_table(paper, [], Budget.PAPER)[1] == []
    assert settings.shared(paper, [], Budget.PAPER) == []


def test_what_all_recipes_do_is_said_once_without_what_goes_without_saying(twofold):
    assert settings.shared(twofold, twofold.cases, Budget.PAPER) == [
        *("epoch whose accuracy is reported best on the test images", "optimizer adamw"),
        "drloc: pairs 64",  # and not what nobody sets, such as the width of its MLP
    ]


def test_a_recipe_is_told_from_another_by_what_it_does_otherwise(twofold):
    rerun, code = twofold.recipes["rerun"], twofold.recipes["code"]
    assert settings.unlike(twofold, rerun, code, Budget.PAPER) == [
        "batch size 128 (1024)",
        "learning rate 0.000125 (0.001)",
    ]
    assert settings.unlike(twofold, code, code, Budget.SHORT) == []


@pytest.mark.parametrize(
    ("names", "budget", "shown"),
    [
        (["paper"], Budget.PAPER, "`paper` (100 epochs)"),
        (["paper", "code"], Budget.PAPER, "`paper` (100 epochs) and `code` (101 epochs of a cosine over 300)"),
        (["paper", "code"], Budget.SHORT, "`paper` (10 epochs) and `code` (10 epochs of a cosine over 30)"),
        (["finetune"], Budget.PAPER, "`finetune` (100 epochs)"),
    ],
)
def test_a_recipe_is_as_long_as_its_epochs(twofold, names, budget, shown):
    assert settings.lengths([twofold.recipes[name] for name in names], budget) == shown


def test_a_quick_phase_says_what_it_does_on_other_data_sets(twofold):
    recipe = twofold.recipes["paper"]
    there = Elsewhere(least_steps=500, augmentation=(Call(name="flip"),))
    longer = replace(recipe, quick=(replace(recipe.quick[0], elsewhere=there),))
    found, plain = (settings.settings(twofold, one, Budget.QUICK) for one in (longer, recipe))
    assert found == plain | {"steps on other data sets than the digits": "at least 500", "augmentation on them": "flip"}


def test_phases_are_told_apart_by_their_number(twofold):
    recipe = twofold.recipes["paper"]
    found = settings.settings(twofold, replace(recipe, phases=recipe.phases * 2), Budget.PAPER)
    assert found["phase 1: epochs"] == found["phase 2: epochs"] == "100"
    assert "epochs" not in found


def test_a_pre_training_stands_before_the_phases_that_follow_it(masked):
    plain, ours = (settings.settings(masked, masked.recipes[name], Budget.PAPER) for name in ("plain", "masked"))
    assert (plain["pre-trained weights"], ours["pre-trained weights"]) == ("none", "its pre-training's")
    assert not [name for name in plain if name.startswith("pre-training: ")]
    names = ("loss", "data", "epochs", "batch size", "learning rate", "warm-up (epochs)", "augmentation")
    assert [ours[f"pre-training: {name}"] for name in names] == [
        *("mae", "cifar100", "4000", "1408", "0.000825", "400", "flip"),
    ]
    assert (ours["epochs"], ours["batch size"], ours["augmentation"]) == ("300", "768", "none")


@pytest.mark.parametrize(
    ("budget", "data", "epochs"), [(Budget.SHORT, "cifar100", "400"), (Budget.QUICK, "that of the case", "3")]
)
def test_a_pre_training_is_as_long_as_the_budget_says(masked, budget, data, epochs):
    found = settings.settings(masked, masked.recipes["masked"], budget)
    assert (found["pre-training: data"], found["pre-training: epochs"]) == (data, epochs)


def test_views_and_turns_have_a_row_each_in_place_of_the_augmentation(held):
    tort, plain = (settings.settings(held, held.recipes[name], Budget.PAPER) for name in ("tort", "supervised"))
    assert tort["view 1"] == "2 x global: crop(padding=4), flip"
    assert tort["view 2"] == "6 x local: random_resized_crop(size=16)"
    assert tort["quarter turns"] == "quarter_turn(probability=0.5)"
    assert "augmentation" not in tort
    assert (plain["augmentation"], plain["quarter turns"]) == ("none", "none")
    assert not [name for name in plain if name.startswith("view")]
    quick = settings.settings(held, held.recipes["tort"], Budget.QUICK)
    assert quick["view 1"] == "2 x global: as it is"


def test_a_recipe_names_what_it_is_held_against_and_its_splits(held):
    found = {name: settings.settings(held, one, Budget.PAPER) for name, one in held.recipes.items()}
    assert [found[name].get("held against") for name in found] == ["supervised", "supervised-code", None, None]
    splits = [None, "flowers102_val for flowers102", None, "flowers102_val for flowers102"]
    assert [found[name].get("splits") for name in found] == splits
    headers, rows = settings.recipe_table(held, held.cases, Budget.PAPER)
    assert headers == ["Setting", "tort", "tort-code", "supervised", "supervised-code"]
    assert ["held against", "supervised", "supervised-code", "-", "-"] in rows
    assert ["view 2", "6 x local: random_resized_crop(size=16)", "-", "-", "-"] in rows


def test_a_probe_says_what_classifies_and_its_pre_training_whose_network_is_judged(probed):
    found = settings.settings(probed, probed.recipes["simclr"], Budget.PAPER)
    assert found["classifier"] == "linear, of the finished embeddings"
    assert found["pre-training: network that is judged"] == "teacher"
    assert found["pre-training: view 1"] == "2 x global: flip"
    assert found["pre-training: epochs"] == "1000"
    assert "epochs" not in found


@pytest.mark.parametrize(("budget", "epochs"), [(Budget.QUICK, 2), (Budget.SHORT, 100), (Budget.PAPER, 1000)])
def test_a_probe_is_as_long_as_its_pre_training_and_has_its_column(probed, budget, epochs):
    recipe = probed.recipes["simclr"]
    assert settings.lengths([recipe], budget) == f"`simclr` ({epochs} epochs of pre-training)"
    assert settings.recipe_table(probed, probed.cases, budget)[0] == ["Setting", "simclr"]
    assert "classifier linear, of the finished embeddings" in settings.shared(probed, probed.cases, budget)
    before = replace(recipe, pretraining=replace(recipe.pretraining, quick=()))
    without = replace(probed, recipes={"simclr": before})
    assert settings.recipe_table(without, probed.cases, Budget.QUICK)[0] == ["Setting"]
