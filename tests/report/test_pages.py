"""Pages in Markdown: whole, safe against whatever stands in names, and the same from run to run."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from vitbench.case import Budget
from vitbench.report import pages, tables
from vitbench.report.pages import Material
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


def test_a_page_is_what_it_was(paper, material):
    """The whole page of a small paper; after a wanted change delete the golden file, run this twice, read the diff."""
    golden = GOLDEN / "small2026.md"
    page = pages.page(paper, material)
    if not golden.exists():
        golden.write_text(page, encoding="utf-8")
        pytest.fail(f"{golden} was missing and is written; read it, then run again")
    assert page == golden.read_text(encoding="utf-8")


def test_every_paper_has_its_page_and_the_index_leads_there(tmp_path, paper, material):
    index, page = pages.write(tmp_path / "new" / "report", material)
    assert (index.name, page.name) == ("README.md", "small2026.md")
    assert page.read_text(encoding="utf-8") == pages.page(paper, material)
    (link,) = re.findall(r"\]\(([^)]*)\)", index.read_text(encoding="utf-8"))
    assert (index.parent / link).exists()
    assert "| 13 of 17" in index.read_text(encoding="utf-8")


def test_writing_twice_changes_nothing(tmp_path, material):
    first = {path: path.read_bytes() for path in pages.write(tmp_path, material)}
    assert {path: path.read_bytes() for path in pages.write(tmp_path, material)} == first
    assert sorted(tmp_path.glob("*.md")) == sorted(first)


def grids(page):
    """Every table of a page, as rows of cells, split as GitHub splits them: at each bar that is not escaped."""
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        lines = [re.findall(r"((?:\\.|[^|\\])*)\|", line[1:]) for line in block.splitlines()]
        yield [[cell.strip() for cell in line] for line in lines]


def test_every_table_has_as_many_cells_in_each_row_as_in_its_heading(paper, material):
    found = list(grids(pages.page(paper, material)))
    assert len(found) == 10
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
    claims = [replace(claim, note=name) for claim in cases[0].claims]
    table = replace(table, cases=(replace(cases[0], claims=tuple(claims)), *cases[1:]))
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


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (
            "ce + 0.1*drloc + 0.1*me",
            r"ce + 0.1\*drloc + 0.1\*me",
        ),  # else Markdown takes the stars and sets it in italics
        ("a | b", r"a \| b"),
        ("a\\|b", r"a\\\|b"),
        ("<b>", "&lt;b>"),
        ("`x`", r"\`x\`"),
        ("[x](y)", r"\[x](y)"),
        ("AT&T &amp;", "AT&amp;T &amp;amp;"),
        ("two\r\n lines", "two lines"),
        ("71.90 ± 0.31 (n = 5)", "71.90 ± 0.31 (n = 5)"),
        ("+4.50", "+4.50"),
        ("fgsm_drop", "fgsm_drop"),
    ],
)
def test_plain_text_is_shown_as_it_is(text, written):
    assert pages._escaped(text) == written


def test_only_our_own_bold_is_bold(tables_of, results):
    _, rows = tables.printed_table(tables_of["1"], tables_of["1"].cases, results, "paper")
    page = pages._markdown((["a"] * 12, rows))
    assert page.count("**65.50**") == 1
    assert r"0.1\*me" in page
    assert "0.1*me" not in page


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


def quick_only(paper, material):
    return replace(material, cases={Budget.QUICK: Selection(all_rows=True).cases([paper])})


def test_a_quick_report_compares_nothing_with_print(paper, material):
    page = pages.page(paper, quick_only(paper, material))
    assert "printed" not in page.replace(pages.QUICK_NOTE, "")
    assert "## Conclusions" not in page
    assert pages.QUICK_NOTE in page


def test_a_quick_table_never_has_a_column_of_the_paper_s(paper, material):
    page = pages.page(paper, quick_only(paper, material))
    quick = page.partition("## `quick` budget")[2].partition("## Runs")[0]
    assert "### Table 1 in its quick form, `digits`" in quick
    assert "cifar" not in quick


def test_quick_on_two_data_sets_is_two_tables(paper, material, measured):
    made = [*material.results, measured("vit", "ce", "cifar10", 50.0, budget="quick")]
    cases = Selection(datasets=("digits", "cifar10")).cases([paper])
    page = pages.page(paper, replace(material, results=Results(made), cases={Budget.QUICK: cases}))
    assert page.count("### Table 1 in its quick form, `digits`") == 1
    assert page.count("### Table 1 in its quick form, `cifar10`") == 1


def test_with_nothing_measured_a_page_still_shows_what_is_printed(paper, material):
    page = pages.page(paper, replace(material, results=Results([])))
    assert "Printed cells under the paper's own budget: 17 not run." in page
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
    assert "Printed cells under the paper's own budget: 6 reproduced, 5 deviates, 2 opposite sign, 4 not run." in page


def test_papers_do_not_mix(paper, material, measured):
    other = [measured("vit", "ce", "cifar10", 99.0, paper="another", key="bbbbbbbbbbbb", seed="7")]
    page = pages.page(paper, replace(material, results=Results([*material.results, *other])))
    assert page == pages.page(paper, material)
