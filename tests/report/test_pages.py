"""Pages in Markdown: whole, safe against whatever stands in names, and the same from run to run."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests import a_pretraining
from vitbench import papers
from vitbench.baselines import measurements
from vitbench.case import Budget, Status
from vitbench.choices import Choice
from vitbench.identity import of_run
from vitbench.kept import Kept
from vitbench.kept import pretrained as pretrained_of
from vitbench.records import Store
from vitbench.report import pages
from vitbench.report.material import Material
from vitbench.report.results import Results
from vitbench.selection import Selection

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def material(paper, results, measured):
    """A paper with something of everything measured."""
    size = {"seed": "", "recipe": "", "machine": "any", "device": ""}
    quick = {"budget": "quick", "machine": "", "device": "a processor", "key": "aaaaaaaaaaaa"}
    made = [
        *results,
        measured("vit", "ce", "cifar10", 63.0, seed="1"),
        measured("vit", "ce", "cifar10", 5.4321, "params", **size),
        measured("vit", "ce", "cifar10", 0.9876, "macs", **size),
        measured("vit", "ce", "digits", 95.0, **quick),
        measured("vit", "ce + 0.1*me", "digits", 96.5, **quick),
        measured("vit", "ce", "digits", 1000.0, "inference", **quick),
        measured("vit", "ce", "digits", 400.0, "training", **quick),
    ]
    return Material(
        papers=[paper],
        results=Results(made),
        cases={budget: Selection(budget=budget).cases([paper]) for budget in (Budget.PAPER, Budget.QUICK)},
        links={"aaaaaaaaaaaa": "../runs/a run/record.json"},
        problems=["runs/x/record.json: it is torn | cut; set aside as record.json.set-aside-1, the run is done again"],
    )


@pytest.fixture
def material_of_twofold(twofold, twofold_results):
    """A paper that several recipes run, with something of everything measured."""
    cases = {budget: Selection(budget=budget).cases([twofold]) for budget in (Budget.PAPER, Budget.QUICK)}
    return Material(papers=[twofold], results=twofold_results, cases=cases)


def check(page, golden):
    """A page is the golden one; after a wanted change delete the file, run this twice, read the diff."""
    if not golden.exists():
        golden.write_text(page, encoding="utf-8")
        pytest.fail(f"{golden} was missing and is written; read it, then run again")
    assert page == golden.read_text(encoding="utf-8")


def test_the_page_of_a_paper_of_one_recipe_is_what_it_was(paper, material):
    check(pages.page(paper, material), GOLDEN / "small2026.md")


def test_the_page_of_a_paper_of_several_recipes_is_what_it_was(twofold, material_of_twofold):
    check(pages.page(twofold, material_of_twofold), GOLDEN / "twofold2025.md")


def test_every_paper_has_its_page_and_the_index_leads_there(tmp_path, paper, material):
    index, page, *figures = pages.write(tmp_path / "new" / "report", material)
    assert (index.name, page.name) == ("README.md", "small2026.md")
    assert page.read_text(encoding="utf-8") == pages.page(paper, material)
    links = re.findall(r"\]\(([^)]*)\)", index.read_text(encoding="utf-8"))
    assert page.name in links
    assert all((index.parent / link).exists() for link in links)
    assert [one.name for one in figures if one.parent.name == pages.FIGURES] == ["small2026-paper-gains.svg"]
    assert "| 13 of 17" in index.read_text(encoding="utf-8")


def test_writing_twice_changes_nothing(tmp_path, material):
    folder = tmp_path / "report"
    first = {path: path.read_bytes() for path in pages.write(folder, material)}
    assert {path: path.read_bytes() for path in pages.write(folder, material)} == first
    assert sorted(one for one in folder.rglob("*") if one.is_file()) == sorted(first)


def grids(page):
    """Every table of a page, as rows of cells, split as GitHub splits them: at each bar that is not escaped."""
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        lines = [re.findall(r"((?:\\.|[^|\\])*)\|", line[1:]) for line in block.splitlines()]
        yield [[cell.strip() for cell in line] for line in lines]


def test_every_table_has_as_many_cells_in_each_row_as_in_its_heading(paper, material):
    found = list(grids(pages.page(paper, material)))
    assert len(found) == 9
    for grid in found:
        assert len({len(row) for row in grid}) == 1
        assert set("".join(grid[1])) == {"-"}


NASTY = [
    "a | b",
    "two\nlines",
    "<script>alert(1)</script>",
    "`code`",
    "*em* and **bold**",
    "[link](http://example.com)",
    "trailing \\",
    "\\|",
    "&lt;",
    "   ",
    "# heading",
    "\x0b\u2028",
]


def nasty(paper, measured, name):
    table = replace(paper.tables[0], title=name, where=name)
    cases = [replace(case, model=replace(case.model, printed=name)) for case in table.cases]
    first, *others = table.printed
    noted = replace(first, claim=replace(first.claim, note=name, status=Status.NEEDS_DATA, reason=name))
    table = replace(table, cases=tuple(cases), printed=(noted, *others))
    changed = replace(paper, title=name, authors=name, venue=name, tables=(table,), conclusions=())
    made = [measured("vit", "ce", "cifar10", 60.0, device=name, commit=name, torch=name)]
    links = {"0123456789ab": f"file:///{name}"}
    cases = {Budget.PAPER: table.cases}
    return changed, Material(papers=[changed], results=Results(made), cases=cases, links=links, problems=[name])


@pytest.mark.parametrize("name", NASTY)
def test_no_name_breaks_a_table_or_the_lines_around_it(paper, measured, name):
    page = pages.page(*nasty(paper, measured, name))
    plain = pages.page(*nasty(paper, measured, "plain"))
    assert len(page.split("\n")) == len(plain.split("\n"))
    assert [[len(row) for row in grid] for grid in grids(page)] == [[len(row) for row in grid] for grid in grids(plain)]
    assert "<" not in page


def test_what_cannot_be_used_is_named_at_the_end(paper, material):
    page = pages.page(paper, material)
    end = page.partition("## Left out\n\n")[2]
    assert end.startswith("- runs/x/record.json: it is torn \\| cut; set aside as record.json.set-aside-1")
    assert "## Left out" not in pages.page(paper, replace(material, problems=()))


def test_a_number_leads_to_its_record(paper, material):
    page = pages.page(paper, material)
    assert "[aaaaaaaaaaaa](../runs/a%20run/record.json)" in page
    assert page.count("| 0123456789ab") == 7


def test_the_notes_of_a_table_stand_below_it(paper, material):
    page = pages.page(paper, material)
    assert r"- ViT, ce + 0.1\*me, cifar10: twice: 0.1\*me and 0.2\*me." in page


CHOICE = Choice(what="pixels", ours="as | they are", why="not said", see="0004-data")


def test_choices_stand_behind_the_recipes_and_lead_to_their_notes(twofold, material_of_twofold):
    chosen = replace(twofold, choices=(CHOICE,))
    page = pages.page(chosen, replace(material_of_twofold, papers=[chosen], decisions="../docs/decisions"))
    headings = re.findall("^## (.*)$", page, re.M)
    assert headings[headings.index("Recipes") + 1] == "Choices"
    assert re.search(
        r"^\| pixels \| as \\\| they are \| not said \| \[0004\]\(\.\./docs/decisions/0004-data\.md\) \|$", page, re.M
    )


def test_a_quick_report_has_no_choices_of_the_paper_s_recipes(paper, material):
    chosen = replace(paper, choices=(CHOICE,))
    assert "## Choices" in pages.page(chosen, replace(material, papers=[chosen]))
    assert "## Choices" not in pages.page(chosen, quick_only(chosen, material))


def quick_only(paper, material):
    return replace(material, cases={Budget.QUICK: Selection(all_rows=True).cases([paper])})


def test_every_table_of_a_paper_of_several_recipes_has_as_many_cells_in_each_row(twofold, material_of_twofold):
    found = list(grids(pages.page(twofold, material_of_twofold)))
    assert len(found) == 15
    for grid in found:
        assert len({len(row) for row in grid}) == 1


def test_with_nothing_measured_the_page_of_several_recipes_shows_print_and_says_not_run(twofold, material_of_twofold):
    page = pages.page(twofold, replace(material_of_twofold, results=Results([])))
    for heading in ("## Recipes", "## Data sets", "### Table 4 (page 4)", "## Sizes of the paper's networks"):
        assert f"\n{heading}\n" in page
    assert "+10.00" in page
    assert "reproduced |" not in page.partition("## Recipes")[2]
    for heading in ("## Runs", "## Speed", "## `quick` budget"):
        assert heading not in page


def test_what_was_not_run_is_shown_once_though_there_are_two_budgets(twofold, material_of_twofold):
    cases = {one: Selection(budget=one).cases([twofold]) for one in (Budget.PAPER, Budget.SHORT)}
    page = pages.page(twofold, replace(material_of_twofold, cases=cases))
    full, _, short = page.partition("## The printed tables, `short` budget")
    assert "+10.00" in full
    assert "+10.00" not in short
    assert short.count("Nothing of it was run under this budget.") == 4
    alone = pages.page(twofold, replace(material_of_twofold, cases={Budget.SHORT: cases[Budget.SHORT]}))
    assert "+10.00" in alone


def test_a_quick_report_names_the_recipes_as_they_are_in_it(twofold, material_of_twofold):
    cases = {Budget.QUICK: Selection().cases([twofold])}
    page = pages.page(twofold, replace(material_of_twofold, cases=cases))
    assert "printed" not in page.replace(pages.QUICK_NOTE, "")
    recipes = page.partition("## Recipes")[2].partition("\n## ")[0]
    assert "from 0 over 1 epochs, back at 0 after 3" in recipes
    assert "rerun" not in recipes


def test_the_index_counts_a_printed_number_once_whatever_reads_it(tmp_path, material_of_twofold):
    index, *_ = pages.write(tmp_path, material_of_twofold)
    assert "| 10 of 21" in index.read_text(encoding="utf-8")


def test_a_quick_report_compares_nothing_with_print(paper, material):
    page = pages.page(paper, quick_only(paper, material))
    assert "printed" not in page.replace(pages.QUICK_NOTE, "")
    assert "## Conclusions" not in page
    assert pages.QUICK_NOTE in page


def test_a_quick_table_never_has_a_column_of_the_paper_s(paper, material):
    page = pages.page(paper, quick_only(paper, material))
    quick = page.partition("## `quick` budget")[2].partition("\n## ")[0]
    assert "### Tables 1, 2, 3 in their quick form, `digits`" in quick
    assert "cifar" not in quick


def test_quick_on_two_data_sets_is_two_tables(paper, material, measured):
    made = [*material.results, measured("vit", "ce", "cifar10", 50.0, budget="quick")]
    cases = Selection(datasets=("digits", "cifar10")).cases([paper])
    page = pages.page(paper, replace(material, results=Results(made), cases={Budget.QUICK: cases}))
    assert page.count("### Tables 1, 2, 3 in their quick form, `digits`") == 1
    assert page.count("### Tables 1, 2, 3 in their quick form, `cifar10`") == 1


def test_with_nothing_measured_a_page_still_shows_what_is_printed(paper, material):
    page = pages.page(paper, replace(material, results=Results([])))
    assert "printed cells under the paper's own budget: 17 not run." in page
    assert "### Table 1 (page 3)" in page
    assert "## Runs" not in page
    assert "## Speed" not in page
    assert "## Sizes" not in page
    assert "## `quick` budget" not in page


def test_each_machine_has_its_own_table_of_speeds(paper, material, measured):
    other = measured("vit", "ce", "digits", 9000.0, "training", budget="quick", machine="h200")
    page = pages.page(paper, replace(material, results=Results([*material.results, other])))
    speed = page.partition("## Speed, `quick` budget")[2].partition("\n## ")[0]
    first, second = speed.split("Medians on ")[1:]
    assert first.startswith("a processor, fp32, eager.")
    assert "| 400 " in first
    assert second.startswith("h200: NVIDIA H200, fp32, eager.")
    assert "| 9000 " in second


def test_several_precisions_are_said(paper, material, measured):
    other = measured("vit", "ce", "cifar10", 9.0, precision="bf16")
    page = pages.page(paper, replace(material, results=Results([*material.results, other])))
    assert "A cell that was run under several precisions shows its fp32 runs alone." in page
    assert "several precisions" not in pages.page(paper, material)


def test_verdicts_are_counted(paper, material):
    page = pages.page(paper, material)
    assert (
        "printed cells under the paper's own budget: 6 reproduced, 2 deviates, 2 opposite sign, 3 undecided, 4 not run."
        in page
    )


def test_the_score_says_what_a_shorter_training_gave(paper, material, measured):
    made = Results([measured("vit", "ce", "cifar10", 10.0, budget="short")])
    cases = {budget: Selection(budget=budget).cases([paper]) for budget in (Budget.PAPER, Budget.SHORT)}
    head, _, _ = pages.page(paper, replace(material, results=made, cases=cases)).partition("\n## ")
    assert head.endswith(
        "Run for a tenth of the epochs, the `short` budget, whose levels are not the paper's: 3 deviates.\n"
    )
    assert "tenth" not in pages.page(paper, material)


def test_a_page_begins_with_score_differences_and_conclusions(paper, material):
    headings = re.findall(r"^## .*", pages.page(paper, material), re.MULTILINE)
    assert headings[:2] == ["## Differences", "## Conclusions of the text"]
    head = pages.page(paper, material).partition("## Differences")[0]
    assert "**Reproduction score**" in head
    assert len(head.splitlines()) < 8


def test_papers_do_not_mix(paper, material, measured):
    other = [measured("vit", "ce", "cifar10", 99.0, paper="another", key="bbbbbbbbbbbb", seed="7")]
    page = pages.page(paper, replace(material, results=Results([*material.results, *other])))
    assert page == pages.page(paper, material)


QUICK = {"budget": "quick", "metric": "accuracy", "machine": "", "device": "a processor"}


def quick_of_held(held, of_held, *more):
    """The quick section of the paper's page, on the digits and, where something was measured there, on others."""
    made = [
        of_held("tort", "2.5*ce + distill", "digits", 97.0, **QUICK),
        of_held("supervised", "ce", "digits", 95.5, **QUICK),
        *more,
    ]
    cases = {Budget.QUICK: Selection(datasets=("digits", "cars")).cases([held])}
    page = pages.page(held, Material(papers=[held], results=Results(made), cases=cases))
    return page.partition("## `quick` budget")[2].partition("\n## ")[0]


def test_tables_whose_quick_forms_are_the_same_are_shown_once(held, of_held):
    quick = quick_of_held(held, of_held)
    headings = [line for line in quick.splitlines() if line.startswith("### ")]
    # The third is of one recipe each.
    assert headings == [
        "### Tables 1, 2 in their quick form, `digits`",
        "### Table 3 in its quick form, `digits`",
    ]
    assert [len(grid) for grid in grids(quick)] == [4, 4]


def test_on_another_data_set_they_are_shown_again(held, of_held):
    quick = quick_of_held(held, of_held, of_held("tort", "2.5*ce + distill", "cars", 97.0, **QUICK))
    headings = [line for line in quick.splitlines() if line.startswith("### Tables")]
    assert headings == [f"### Tables 1, 2 in their quick form, `{name}`" for name in ("cars", "digits")]


def test_the_neighbours_of_a_probed_network_stand_in_its_quick_table(probed, measured):
    plain = {"paper": "probed2023", "recipe": "simclr", **QUICK}
    made = [
        measured("vit", "ce", "digits", value, **plain | {"metric": metric})
        for metric, value in (("accuracy", 80.0), ("knn", 75.5), ("knn_untrained", 70.25))
    ]
    made.append(measured("vit", "ce", "digits", 60.0, **plain | {"recipe": "scratch"}))
    cases = {Budget.QUICK: Selection().cases([probed])}
    page = pages.page(probed, Material(papers=[probed], results=Results(made), cases=cases))
    head, _, scratch, own = next(grids(page.partition("## `quick` budget")[2]))
    assert head == ["Model", "Loss", "accuracy (%)", "knn (%)", "knn_untrained (%)", "gain over ce (points)"]
    assert scratch == ["ViT-L", "ce", "60.00", "-", "-", ""]
    assert own == ["ViT-L", "simclr, then ce", "80.00", "75.50", "70.25", "+20.00"]


# Figures


@pytest.fixture
def pretrained(tmp_path):
    """A paper with pre-trainings, and what a report of its quick runs is made of."""
    path = tmp_path / "tan2024.toml"
    path.write_text(a_pretraining.TEXT)
    own = papers.load(path)
    store, found, made = Store(tmp_path / "somewhere"), Kept(), []
    cases = Selection().cases([own])
    a_pretraining.leave(store, next(pretrained_of(cases)))
    for case in pretrained_of(cases):
        for one in (case, case.baseline, case.before(Budget.QUICK)):
            identity = of_run(one, budget=Budget.QUICK)
            made += measurements(one, store.read(identity), machine="")
            found.take(store.read(identity), store.folder(identity), machine="")
    return own, Material(papers=[own], results=Results(made), cases={Budget.QUICK: cases}, kept=found)


def test_figures_are_written_beside_the_page_and_shown_in_it(tmp_path, pretrained):
    folder = tmp_path / "a report"
    _, page, *others = pages.write(folder, pretrained[1])
    figures = [one for one in others if one.parent.name == pages.FIGURES]
    text = page.read_text(encoding="utf-8").partition("## Curves and pictures\n")[2].partition("\n## ")[0]
    shown = re.findall(r"!\[([^]]+)\]\(([^)]+)\)\n\n(.+)\n", text)
    assert [folder / target for _, target, _ in shown] == figures
    assert [path.name for path in figures] == [
        "tan2024-quick-pretraining.svg",
        "tan2024-quick-c10-pretraining-mae_c10-digits-restored.png",
        "tan2024-quick-c10-pretraining-mae_c10-digits-evolution.png",
        "tan2024-quick-1-training.svg",
    ]
    assert all(len(alt) > 40 and len(caption) > 20 for alt, _, caption in shown)
    assert [path.read_bytes()[:4] for path in figures] == [b"<svg", b"\x89PNG", b"\x89PNG", b"<svg"]
    content = {path: path.read_bytes() for path in figures}
    pages.write(folder, pretrained[1])
    assert {path: path.read_bytes() for path in figures} == content
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted([folder / "README.md", page, *others])


def test_a_page_without_figures_has_no_section_and_no_folder(tmp_path, paper, material):
    material = replace(material, results=Results([]))
    assert "## Figures" not in pages.page(paper, material)
    assert "## Curves and pictures" not in pages.page(paper, material)
    pages.write(tmp_path / "report", material)
    assert not (tmp_path / "report/figures").exists()


def test_a_picture_that_could_not_be_used_is_named_and_the_rest_is_shown(pretrained):
    own, whole = pretrained
    whole.kept.problems.append("pictures/epoch-0002.safetensors: left out, it is torn")
    page = pages.page(own, whole)
    assert "epoch-0002.safetensors: left out, it is torn" in page.partition("## Left out")[2]
    assert page.count("![") == 4


def test_the_index_of_a_quick_session_counts_what_it_trained(tmp_path, paper, measured):
    cases = Selection(budget=Budget.QUICK).cases([paper])
    alike = [one for one in cases if (one.model.name, str(one.objective)) == ("vit", "ce")]
    results = Results([measured("vit", "ce", "digits", 90.0, budget="quick")])
    index, *_ = pages.write(tmp_path, Material(papers=[paper], results=results, cases={Budget.QUICK: cases}))
    text = index.read_text(encoding="utf-8")
    assert 0 < len(alike) < len(cases)
    assert f"| {len(alike)} of {len(cases)} " in text
    assert "not run" not in text
