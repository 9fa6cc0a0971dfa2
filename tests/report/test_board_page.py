"""Leaderboards as text: whole tables whatever names hold, links to the records, print apart, and CSV."""

import csv
import html
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from vitbench.case import Budget
from vitbench.options import Options
from vitbench.records import Record
from vitbench.report import board_page, leaderboard, pages
from vitbench.report.material import Material
from vitbench.report.results import Results
from vitbench.selection import Selection
from vitbench.session import Session
from vitbench.summary import write_report

METHOD = "ce + 0.1*me"


@pytest.fixture
def material(paper, measured):
    """Two networks, one of them with three seeds, and a quick run."""
    size = {"seed": "", "recipe": "", "machine": "any", "device": "", "precision": ""}
    made = [
        measured("vit", "ce", "cifar10", 61.0, key="plain"),
        *(
            measured("vit", METHOD, "cifar10", value, seed=str(seed), key=f"run{seed}")
            for seed, value in enumerate((65.0, 66.0, 64.0))
        ),
        measured("vit", "ce", "cifar10", 20.0, "fgsm_drop"),
        measured("vit", "ce", "cifar10", 5.5, "params", **size),
        measured("vit", "ce", "cifar10", 0.25, "macs", **size),
        measured("vit", "ce", "digits", 95.0, budget="quick", key="quick"),
    ]
    cases = {budget: Selection(budget=budget).cases([paper]) for budget in (Budget.PAPER, Budget.QUICK)}
    links = {"run1": "../runs/a run/record.json"}
    return Material(papers=[paper], results=Results(made), cases=cases, links=links)


def page_of(material):
    names = [paper.name for paper in material.papers]
    return board_page.page(leaderboard.boards(material), links=material.links, papers=names)


def grids(page):
    """By the heading above, rows of cells, split as GitHub splits them: at each bar that is not escaped."""
    for heading, block in re.findall(r"^### (.*)\n(?:(?!#|\|).*\n)*((?:^\|.*\n)+)", page, re.MULTILINE):
        lines = [re.findall(r"((?:\\.|[^|\\])*)\|", line[1:]) for line in block.splitlines()]
        yield heading, [[cell.strip() for cell in line] for line in lines]


def column(grid, name):
    place = grid[0].index(name)
    return [row[place] for row in grid[2:]]


def test_a_table_for_each_budget_and_those_in_print_apart_at_the_end(material):
    page = page_of(material)
    assert [heading for heading, _ in grids(page)] == [
        "cifar10, `paper` budget, last epoch, fp32",
        "digits, `quick` budget, last epoch, fp32",
        "cifar10, in print",
        "cifar100, in print",
    ]
    measured, printed = page.split("## In print")
    assert "source" not in dict(grids(measured))["cifar10, `paper` budget, last epoch, fp32"][0]
    found = dict(grids(printed))["cifar10, in print"]
    assert "Group" not in found[0]
    assert column(found, "source") == ["printed"] * 5
    assert column(found, "accuracy (%)") == ["70.00", "69.00", "66.00", "64.00", "60.00"]
    assert column(found, "measured here") == ["no", "no", "no", "yes", "yes"]


def test_every_column_says_what_the_row_rests_on(material):
    found = dict(grids(page_of(material)))["cifar10, `paper` budget, last epoch, fp32"]
    assert len({len(row) for row in found}) == 1
    assert column(found, "Group") == ["1", "2 (n = 1)"]
    assert column(found, "accuracy (%)") == ["65.00 ± 1.00", "61.00"]
    assert column(found, "n") == ["3", "1"]
    assert column(found, "interval of") == ["seeds", "test images"]
    assert column(found, "gain over plain") == ["+4.00", ""]  # of the one seed that both have
    assert column(found, "FGSM drop") == ["", "20.00"]
    assert column(found, "params (M)") == ["5.50", "5.50"]
    assert column(found, "MACs (G)") == ["0.250", "0.250"]
    assert column(found, "source reports") == ["last epoch", "last epoch"]
    assert column(found, "Records")[0] == "run0, [run1](../runs/a%20run/record.json), run2"
    assert column(found, "Paper")[0] == "[small2026](small2026.md)"


def test_a_quick_table_names_the_network_that_was_trained_and_no_size(material):
    page = page_of(material)
    found = dict(grids(page))["digits, `quick` budget, last epoch, fp32"]
    assert column(found, "trained") == ["vit/tiny"]
    assert "params (M)" not in found[0]
    assert board_page.QUICK_NOTE in page


def test_of_nothing_measured_the_page_says_so(material):
    page = page_of(replace(material, results=Results([])))
    assert "Nothing was measured." in page
    assert board_page.GROUPS_NOTE not in page
    assert "### cifar10, in print" in page


def test_a_paper_without_a_page_has_no_link(material):
    page = board_page.page(leaderboard.boards(material), links={}, only="x | y")
    assert "](" not in page
    assert "Shown are only x \\| y. Groups" in page


@pytest.mark.parametrize(
    "name",
    [
        "a | b",
        "two\nlines",
        "<script>alert(1)</script>",
        "`code` *em* [link](http://example.com)",
        "🤖 emoji 👩‍🔬",
        "שלום עולם",
        "مرحبا \u202eback",
        "&lt;",
        "trailing \\",
        "x; y",
    ],
)
def test_no_name_breaks_a_table(material, paper, name):
    table = paper.tables[0]
    cases = tuple(replace(case, model=replace(case.model, printed=name)) for case in table.cases)
    models = {key: replace(one, printed=name) for key, one in paper.models.items()}
    changed = replace(paper, models=models, tables=(replace(table, cases=cases),))
    made = [replace(one, machine=name if one.machine == "h200" else one.machine) for one in material.results]
    named = replace(material, papers=[changed], results=Results(made), cases={Budget.PAPER: list(cases)})
    page = page_of(named)
    assert "<" not in page
    for _, grid in grids(page):
        assert len({len(row) for row in grid}) == 1
        plain = re.sub(r"\s+", " ", name).strip()
        assert {html.unescape(re.sub(r"\\([\\`*\[|])", r"\1", cell)) for cell in column(grid, "Model")} == {plain}


def test_a_page_is_written_with_the_others_and_the_index_leads_there(tmp_path, material):
    index, *others = pages.write(tmp_path, material)
    path = tmp_path / board_page.NAME
    assert path in others
    assert path.read_text(encoding="utf-8") == page_of(material)
    assert "[leaderboards](leaderboard.md)" in index.read_text(encoding="utf-8")


def test_csv_has_a_line_for_each_row_and_says_which_are_measured(material):
    boards = leaderboard.boards(material)
    lines = list(csv.DictReader(io.StringIO(board_page.comma_separated(boards))))
    assert len(lines) == sum(len(one.rows) + len(one.printed) for one in boards)
    first = lines[0]
    assert (first["kind"], first["dataset"], first["budget"], first["group"]) == ("measured", "cifar10", "paper", "1")
    assert (first["n"], float(first["accuracy"]), float(first["spread"]), first["keys"]) == (
        "3",
        65.0,
        1.0,
        "run0 run1 run2",
    )
    assert (first["interval"], first["gain"], first["fgsm_drop"]) == ("seeds", "4.0", "")
    printed = [line for line in lines if line["kind"] == "printed"]
    assert {line["source"] for line in printed} == {"printed"}
    assert {line["group"] for line in printed} == {""}


def test_csv_of_nothing_is_its_heading():
    assert board_page.comma_separated([]).count("\n") == 1


def record_of(identity, accuracy):
    return Record(
        kind=identity.kind,
        key=identity.key,
        identity=identity.content(),
        measurements={"accuracy": accuracy, "best_accuracy": accuracy},
        provenance={
            "date": "2026-11-02T03:04:05+00:00",
            "seconds": 2.0,
            "device": "a processor",
            "precision": "fp32",
            "engine": "eager",
            "commit": "3f2c1ab",
            "versions": {"torch": "2.11.0"},
        },
        details={"test_images": 360},
    )


def test_an_objective_from_somebody_s_package_stands_in_the_report_of_its_session(tmp_path, monkeypatch):
    (tmp_path / "somebodys_terms.py").write_text("def mine(shape, *, margin=1.0): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    text = "ce + 0.5*somebodys_terms.mine(margin=2.0)"
    session = Session(Options(runs=tmp_path / "runs", selection=Selection(objectives=(text,))))
    cases = session.options.selection.cases([session.papers["floros2024"]])
    own = next(one for one in cases if "somebodys_terms" in str(one.objective) and one.model.name == "vit")
    for case, accuracy in ((own, 97.5), (own.baseline, 90.0)):
        identity = session.run_of(case, 0)
        session.store.write(identity, record_of(identity, accuracy))
    index = write_report(session, tmp_path / "report")
    page = (index.parent / board_page.NAME).read_text(encoding="utf-8")
    found = dict(grids(page))["digits, `quick` budget, last epoch, fp32"]
    assert column(found, "Loss") == [r"ce + 0.5\*somebodys_terms.mine(margin=2.0)", "ce"]
    assert column(found, "gain over plain") == ["+7.50", ""]
    assert column(found, "Group") == ["1 (n = 1)", "2 (n = 1)"]
    (target,) = re.findall(r"\]\(([^)]*record\.json)\)", column(found, "Records")[0])
    assert (Path(index.parent) / target.replace("%2B", "+")).is_file()
