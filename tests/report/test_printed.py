"""Printed tables as text: headings, recipes, notes."""

from dataclasses import replace

import pytest

from vitbench import papers
from vitbench.case import Budget
from vitbench.report import printed
from vitbench.report.results import Results

METHOD = r"ce + 0.5\*drloc"


@pytest.fixture
def page(twofold, twofold_results):
    return "\n\n".join(printed.sections(twofold, twofold.cases, twofold_results, Budget.PAPER))


def part(page, table):
    return page.partition(f"### Table {table} ")[2].partition("\n### ")[0]


def test_blocks_of_other_numbers_of_epochs_have_headings_that_say_so(page):
    headings = [line for line in part(page, "3").splitlines() if line.startswith("#### ")]
    assert headings == [
        "#### `paper` (100 epochs) and `code` (101 epochs of a cosine over 300)",
        "#### `paper-300` (300 epochs)",
    ]


def test_a_table_in_one_block_names_its_recipes_in_a_line(page):
    assert "Read by `paper` (100 epochs) and `code` (101 epochs of a cosine over 300)." in part(page, "2")
    assert "Read by `finetune` (100 epochs)." in part(page, "5")
    assert "####" not in part(page, "2") + part(page, "5")


def test_the_re_run_is_labelled_with_its_protocol_and_what_it_does_otherwise(page):
    assert "#### The authors' own re-run, `rerun` (101 epochs of a cosine over 300), protocol `code`" in page
    assert "Unlike `code`, in brackets: batch size 128 (1024); learning rate 0.000125 (0.001)." in page


def test_notes_stand_under_their_table_once_for_all_cells_of_theirs(page):
    assert [line for line in page.splitlines() if line.startswith("- ")] == [
        f"- ViT-T, {METHOD}, cifar100: a misprint.",
        f"- ViT-T, ce, cifar10; ViT-T, {METHOD}, cifar10: from their logs.",
        f"- CvT-9, {METHOD}, cifar10: prints a gain of +1.10, its accuracies differ by +1.00.",
    ]
    assert part(page, "4").count("\n- ") == 3


def test_a_note_on_many_cells_names_the_first(twofold):
    table = next(one for one in twofold.tables if one.id == "4")
    noted = tuple(replace(one, claim=replace(one.claim, note="all alike")) for one in table.printed)
    changed = replace(twofold, tables=(replace(table, printed=noted),))
    text = "\n".join(printed.sections(changed, [], Results([]), Budget.PAPER))
    assert "- CvT-9, ce, cifar10 and 7 more: all alike." in text  # cells of Table 4; those run again are among them


def test_tables_of_data_sets_have_a_section_and_no_place_among_the_others(twofold, paper, page):
    first, *rest = printed.data_sections(twofold)
    assert first == "## Data sets"
    assert rest[0] == "### Table 1 (page 1)"
    assert rest[-1] == "- jft_300m: the validation images are 50,000."
    assert "Table 1 " not in page
    assert list(printed.data_sections(paper)) == []


def test_a_brief_table_has_what_was_run_alone_and_says_where_that_is_nothing(twofold, of_twofold):
    made = [of_twofold("code", "vit", "ce", "cifar10", 80.0, budget="short")]
    text = "\n".join(printed.sections(twofold, twofold.cases, Results(made), Budget.SHORT, is_brief=True))
    rows = [line for line in part(text, "4").splitlines() if line.startswith("| cifar")]
    assert [line.split()[1:5:2] for line in rows] == [["cifar10", "ViT-T"]] * 2  # plain, and the method it is there for
    assert "50.00" in rows[0]
    assert "re-run" not in text
    assert "Nothing of it was run under this budget." in part(text, "5")
    assert "Nothing of it" not in part(text, "2")
    assert "misprint" not in text


def test_a_table_of_one_recipe_is_never_cut_short(paper, results):
    whole, brief = (list(printed.sections(paper, [], results, Budget.SHORT, is_brief=one)) for one in (False, True))
    assert brief == whole


def test_a_row_that_a_user_adds_stands_in_its_table(twofold, paper, results):
    (case,) = [one for one in paper.tables[2].cases if one.is_baseline]
    added = replace(case, model=replace(case.model, name="mine", printed="Mine"), claims=())
    text = "\n".join(printed.sections(paper, [*paper.cases, added], results, Budget.PAPER))
    assert "| Mine " in text.partition("### Table 3 ")[2]
    assert "| Mine " not in text.partition("### Table 3 ")[0]


def test_a_table_whose_rows_have_recipes_of_their_own_names_them_all(masked):
    page = "\n\n".join(printed.sections(masked, masked.cases, Results([]), Budget.PAPER))
    assert "Accuracy and size. Recipe `plain` of CvT-9; `masked` of Mae-ViT, accuracies in percent." in part(page, "3")


def test_a_table_of_which_nothing_is_run_is_shown_as_it_is_printed(masked):
    page = "\n\n".join(printed.sections(masked, masked.cases, Results([]), Budget.PAPER))
    shown = page.partition("### Figure 2 (page 3)\n\n")[2]
    assert shown.splitlines() == [
        r"The loss \*falls\*. In print only: a curve of a pre-training.",
        "",
        "| Model   | Loss   | Data     | loss     | epochs   |",
        "|---------|--------|----------|----------|----------|",
        "| Mae-ViT | mae    | cifar100 | 0.019711 | 3703     |",
        "| CvT-9   | mae    | cifar100 |          | 3700     |",
        "",
        "- Mae-ViT, mae, cifar100: by its caption.",
    ]
    brief = printed.sections(masked, masked.cases, Results([]), Budget.PAPER, is_brief=True)
    assert "Figure 2" not in "".join(brief)


def test_rows_that_only_a_recipe_tells_apart_name_it(masked):
    table = next(one for one in masked.tables if one.id == "figure-2")
    first = replace(table.printed[0], label="before")
    second = replace(first, label="after", claim=replace(first.claim, value=0.5, note=""))
    changed = replace(masked, tables=(replace(table, printed=(first, second)),))
    page = "\n\n".join(printed.sections(changed, [], Results([]), Budget.PAPER))
    assert [" ".join(line.split()) for line in page.splitlines() if line.startswith("| M")] == [
        "| Model | Loss | Data | Recipe | loss |",
        "| Mae-ViT | mae | cifar100 | before | 0.019711 |",
        "| Mae-ViT | mae | cifar100 | after | 0.5 |",
    ]


def test_a_table_whose_method_is_held_against_another_recipe_says_over_what_it_gains(held, twofold):
    page = "\n\n".join(printed.sections(held, held.cases, Results([]), Budget.PAPER))
    over = "gains in points over plain `ce` of `supervised` for `tort`, of `supervised-code` for `tort-code`."
    assert f"On flowers. Accuracies in percent, {over}\n\nRead by `tort` (103 epochs)" in part(page, "1")
    other = "\n\n".join(printed.sections(twofold, twofold.cases, Results([]), Budget.PAPER))
    assert "From scratch. Accuracies in percent, gains in points over plain `ce` of the same recipe." in part(
        other, "4"
    )


def test_a_table_of_one_recipe_for_the_method_and_one_for_plain_names_both(held):
    page = "\n\n".join(printed.sections(held, held.cases, Results([]), Budget.PAPER))
    assert "By one recipe each. Recipe `tort` of ViT-B; `supervised` of ViT-B, accuracies in percent." in part(
        page, "3"
    )


def test_a_table_of_pre_trained_networks_gains_over_the_same_without_a_pre_training(probed, tmp_path):
    text = (tmp_path / "probed2023.toml").read_text()
    first = text.partition("[recipes.simclr]")[2].partition("[tables.methods]")[0]
    second = f"[recipes.other]{first.replace('recipes.simclr', 'recipes.other')}"
    text = text.replace("[tables.methods]", f"{second}[tables.methods]")
    path = tmp_path / "two2023.toml"
    path.write_text(text.replace('recipe = "simclr"', 'recipes = ["simclr", "other"]'))
    two = papers.load(path)
    page = "\n\n".join(printed.sections(two, two.cases, Results([]), Budget.PAPER))
    assert "gains in points over plain `ce` of the same recipe, without its pre-training." in part(page, "methods")
