"""The table of choices, and that what it says of settings is what the recipes have."""

from itertools import product

import pytest

from vitbench import papers
from vitbench.case import Budget
from vitbench.choices import Choice
from vitbench.report import choices, markdown, settings

FIRST = Choice(what="weight | decay", ours="0", why="none is named")
OF_ONE = Choice(what="epochs", ours="101", why="the code's", see="0008-liu2021-protocols", recipes=("code", "rerun"))
SETTINGS = [
    (paper.name, recipe, one.what, one.ours, found[one.what])
    for paper in papers.load_all()
    for one, recipe in product(paper.choices, paper.recipes)
    for found in [settings.settings(paper, paper.recipes[recipe], Budget.PAPER)]
    if recipe in (one.recipes or paper.recipes) and one.what in found
]


def test_a_choice_leads_to_its_note():
    assert choices.choice_table([FIRST, OF_ONE], folder="../docs/decisions") == (
        ["Recipe", "What", "Ours", "Why", "Decision"],
        [
            ["all", "weight | decay", "0", "none is named", ""],
            ["code, rerun", "epochs", "101", "the code's", "[0008](../docs/decisions/0008-liu2021-protocols.md)"],
        ],
    )


def test_where_no_choice_is_of_one_recipe_none_is_named_and_without_a_folder_nothing_is_linked():
    of_all = Choice(what="pixels", ours="as they are", why="not said", see="0004-data")
    headers, rows = choices.choice_table([of_all], folder="")
    assert headers == ["What", "Ours", "Why", "Decision"]
    assert rows == [["pixels", "as they are", "not said", "0004"]]


def test_the_table_survives_any_name():
    table = markdown.table(choices.choice_table([FIRST], folder=""))
    assert table.splitlines()[2].startswith("| weight \\| decay |")


@pytest.mark.parametrize(("paper", "recipe", "what", "ours", "is_set"), SETTINGS)
def test_a_choice_that_is_named_as_a_setting_has_its_value(paper, recipe, what, ours, is_set):
    assert ours == is_set


def test_settings_are_among_the_choices_of_every_paper():
    assert {name for name, *_ in SETTINGS} == {paper.name for paper in papers.load_all()}
    assert ("floros2024", "scratch", "weight decay", "0", "0") in SETTINGS
