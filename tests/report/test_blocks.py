"""Blocks of a table: which recipes stand side by side, and which cases they have."""

from dataclasses import replace

import pytest

from vitbench.objective import parse
from vitbench.report.blocks import blocks, by_protocol, names, shown_under


@pytest.fixture
def twofold_tables(twofold):
    return {table.id: table for table in twofold.tables}


def recipes(found):
    return [[one.name for one in block.recipes] for block in found]


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("1", []),
        ("2", [["paper", "code"]]),
        ("3", [["paper", "code"], ["paper-300"]]),
        ("4", [["paper", "code"], ["rerun"]]),
        ("5", [["finetune"]]),
    ],
)
def test_recipes_of_the_same_printed_numbers_stand_side_by_side(twofold_tables, table, found):
    assert recipes(blocks(twofold_tables[table])) == found


def test_a_table_that_one_recipe_runs_is_one_block_of_all_its_cases(paper):
    for table in paper.tables:
        (block,) = blocks(table)
        assert block.cases == table.cases


def test_only_what_the_authors_ran_again_is_a_rerun(twofold_tables):
    assert [block.is_rerun for block in blocks(twofold_tables["4"])] == [False, True]
    assert [block.is_rerun for block in blocks(twofold_tables["3"])] == [False, False]


def test_a_row_that_a_user_adds_stands_where_its_recipe_is(twofold_tables):
    table = twofold_tables["3"]
    added = [replace(case, objective=parse("ce + 0.3*drloc"), claims=()) for case in table.cases if case.is_baseline]
    first, second = blocks(table, added)
    assert [case.reading for case in first.cases[-2:]] == ["paper", "code"]
    assert [case.reading for case in second.cases[-1:]] == ["paper-300"]
    assert len(first.cases) + len(second.cases) == len(table.cases) + 3


def test_a_protocol_reads_a_table_as_often_as_it_is_printed(twofold_tables):
    def read(table, protocol=""):
        return [[case.reading for case in cases] for cases in by_protocol(twofold_tables[table], protocol)]

    assert read("3", "paper") == [["paper"] * 2, ["paper-300"] * 2]
    assert read("3", "code") == [["code"] * 2]
    assert read("3") == read("3", "paper")
    assert read("4", "code") == [["code"] * 8]  # without the re-run, which is of that protocol too
    assert read("5", "code") == []


def test_names_are_listed_as_one_reads_them(twofold):
    every = list(twofold.recipes.values())
    assert names(every[:1]) == "`paper`"
    assert names(every[:3]) == "`paper`, `code` and `paper-300`"


def test_a_recipe_is_shown_under_the_one_that_is_held_against_it(held, twofold):
    assert shown_under(held.recipes.values()) == {
        "tort": "tort",
        "tort-code": "tort-code",
        "supervised": "tort",
        "supervised-code": "tort-code",
    }
    # Where the method does not stand, it is shown as itself.
    assert shown_under([held.recipes["supervised"], held.recipes["tort-code"]]) == {
        "supervised": "supervised",
        "tort-code": "tort-code",
    }
    assert all(name == under for name, under in shown_under(twofold.recipes.values()).items())


def test_a_method_and_what_it_is_held_against_are_one_block(held):
    for table in held.tables[:2]:
        (block,) = blocks(table)
        assert [one.name for one in block.recipes] == ["tort", "tort-code"]
        assert block.cases == table.cases
        assert block.columns == {
            "tort": "tort",
            "tort-code": "tort-code",
            "supervised": "tort",
            "supervised-code": "tort-code",
        }
        found = [(case.recipe.name, case.column) for case in block.of(block.recipes[1])]
        assert found == [("tort-code", case.column) for case in table.cases[:1]] + [
            ("supervised-code", case.column) for case in table.cases[:1]
        ]
    (single,) = blocks(held.tables[2])
    assert [one.name for one in single.recipes] == ["tort"]
    assert [case.recipe.name for case in single.cases] == ["tort", "supervised"]


def test_a_protocol_reads_a_method_with_what_it_is_held_against(held):
    (text,), (code,) = (by_protocol(held.tables[0], one) for one in ("paper", "code"))
    assert [(case.recipe.name, case.dataset) for case in text] == [("tort", "flowers102"), ("supervised", "flowers102")]
    assert [(case.recipe.name, case.dataset) for case in code] == [
        ("tort-code", "flowers102_val"),
        ("supervised-code", "flowers102_val"),
    ]
