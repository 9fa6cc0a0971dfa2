"""One HTML page: everything is in it, nothing outside of it is needed, and every name is text."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests import a_material
from vitbench.case import Budget
from vitbench.choices import Choice
from vitbench.report import html, pages
from vitbench.report.explorer import COLUMNS, Row, rows
from vitbench.report.leaderboard import boards
from vitbench.report.material import Material
from vitbench.report.provenance import Numbers
from vitbench.report.results import Results
from vitbench.selection import Selection

TEMPLATES = Path(html.__file__).parent / "templates"


class Tree(HTMLParser):
    """Text of every cell, item and option; attributes of every element; the data of script elements."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        while tag in self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def cells_of(page):
    """Markup of the rows of all cells: those that are laid out at once, and those that a script makes rows of."""
    first, *rest = re.findall(r'<table[^>]* class="cells".*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    return [part.split("<tr>")[1:] for part in (first, "".join(rest))]


@pytest.fixture
def material(paper, results, measured):
    return a_material.of_everything(paper, results, measured)


@pytest.fixture
def hostile(paper, measured):
    return a_material.of_hostile_names(paper, measured)


def test_the_page_has_its_sections_and_what_is_measured_in_them(material):
    page = html.page(material)
    tree = Tree(page)
    anchors = [one["href"] for one in tree.all("a") if one["href"].startswith("#")]
    ids = {attributes["id"] for _, attributes in tree.elements if "id" in attributes}
    assert {"score", "explorer", "conclusions", "left-out"} <= ids
    assert {one.partition("?")[0].removeprefix("#") for one in anchors} <= ids
    assert tree.texts["h1"] == ["What was printed, and what came out"]
    assert "Paper budget: 13 of 17 printed numbers measured here" in page
    assert "accuracy is stale" in page.replace("small2026/1/vit/ce/cifar10: ", "")
    assert "runs/x/record.json: it is torn | cut; set aside" in tree.texts["bdi"]


def test_the_score_counts_the_rows_that_its_links_show(material):
    lines = list(html.score(material.papers, html._content(material, ())["rows"]))
    assert [(line.what, line.total) for line in lines] == [("paper budget", 17)]
    assert [count for count, _ in lines[0].counts] == [6, 2, 2, 3, 4]  # as the page in Markdown says
    assert lines[0].counts[2][1] == "#explorer?paper=small2026&budget=paper&verdict=opposite+sign"


def test_nothing_outside_of_the_page_is_needed(material):
    page = html.page(material)
    tree = Tree(page)
    loaded = [
        one.get("src") or one.get("href") or "" for tag in ("img", "script", "link", "iframe") for one in tree.all(tag)
    ]
    assert all(one.startswith("data:") or not one for one in loaded)
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", page)


def test_every_control_has_a_name_and_every_column_its_heading(material):
    page = html.page(material, boards(material))
    tree = Tree(page)
    heads = [one["data-name"] for one in tree.all("th") if "data-name" in one]
    assert heads == [*COLUMNS, *COLUMNS]  # of the first rows, and of the others
    assert len(re.findall(r"<label[^>]*>[^<]*<(input|select)", page)) == len(tree.all("input")) + len(
        tree.all("select")
    )
    assert all(one.get("aria-label") or one.get("aria-labelledby") for one in tree.all("div") if "tabindex" in one)
    assert all(one.get("alt") for one in tree.all("img"))
    assert tree.all("html") == [{"lang": "en"}]
    assert sorted(set(ids := [one["id"] for _, one in tree.elements if "id" in one])) == sorted(ids)


def test_hostile_names_are_text(hostile):
    page = html.page(hostile, boards(hostile))
    tree = Tree(page)
    kinds = {tag for tag, _ in tree.elements}
    assert "img" not in kinds
    assert len(tree.all("script")) == 2
    assert not any(name.startswith("on") for _, attributes in tree.elements for name in attributes)
    shown = {text.strip() for text in tree.texts["td"]} | {text.strip() for text in tree.texts["th"]}
    assert {name.strip() for name in a_material.HOSTILE} - {""} <= shown | set(tree.texts["bdi"])
    assert tree.texts["bdi"].count(a_material.HOSTILE[2]) >= 1
    assert {len(re.findall(r"<t[dh]\b", row)) for part in cells_of(page) for row in part} == {len(COLUMNS)}
    assert page.count("</noscript") == page.count("<noscript")


@pytest.mark.parametrize(("most", "first"), [(4, 4), (100, 15)])
def test_what_is_not_shown_at_once_is_elements_only_to_a_reader_without_scripts(material, monkeypatch, most, first):
    monkeypatch.setattr(html, "SHOWN", most)
    page = html.page(material, boards(material))
    found = rows(material, Numbers({}))
    laid_out, rest = cells_of(page)
    assert (len(laid_out), len(rest)) == (first, 19 - first)
    assert sum(row.is_run for row in found) == 15  # and the other four wait until they are asked for
    models = [re.match(r"<th scope=row>(.*?)<td", row)[1] for row in laid_out + rest]
    assert models == [row.cells["model"] for row in found]
    without = re.sub(r"<noscript.*?</noscript>", "", page, flags=re.DOTALL)
    assert cells_of(without) == [laid_out, []]
    assert page.count('<section class="board"') == len(boards(material)) > 1
    assert re.findall(r'<section class="board" aria-labelledby="(.*?)"', without) == ["board-0"]


def test_a_measured_cell_without_its_baseline_is_not_hidden(paper, measured):
    cases = {Budget.PAPER: Selection(budget=Budget.PAPER).cases([paper])}
    alone = Results([measured("vit", "ce + 0.1*me", "cifar10", 64.0)])
    page = html.page(Material(papers=[paper], results=alone, cases=cases))
    laid_out, rest = cells_of(page)
    assert laid_out
    assert all("64.00" in row for row in laid_out)
    assert f'data-hidden="{len(rest)}"' in page


def test_embedded_data_is_what_it_was_and_cannot_end_its_element():
    content = {"a": [*a_material.HOSTILE, "]]>", "<!--<script>"], "b": 1.5}
    text = html.embedded(content)
    assert json.loads(text) == content
    assert not set("<>&") & set(text)


def test_records_of_numbers_are_embedded(material):
    tree = Tree(html.page(material, boards(material)))
    content = json.loads(tree.texts["script"][0])
    assert content["links"] == {str(content["keys"].index(a_material.KEY)): "../runs/a%20run/record.json"}
    used = [int(one["data-n"]) for _, one in tree.elements if "data-n" in one]
    assert set(used) == set(range(len(content["numbers"])))


def test_rendering_twice_gives_the_same(material):
    assert html.page(material) == html.page(material)


def test_a_report_of_the_quick_budget_compares_nothing_with_print(material):
    page = html.page(replace(material, cases={Budget.QUICK: material.cases[Budget.QUICK]}))
    assert 'id="score"' not in page
    assert 'id="conclusions"' not in page
    assert "2 cells were measured with nothing in print beside them." in page


def test_choices_are_on_the_page_and_lead_to_their_notes(material):
    choice = Choice(what="<pixels>", ours="as they are", why="not said", see="0004-data")
    chosen = replace(material, papers=[replace(material.papers[0], choices=(choice,))], decisions="../docs/decisions")
    page = html.page(chosen)
    row = '<tr><td>all<th scope="row">&lt;pixels&gt;<td>as they are<td>not said<td>'
    assert row + '<a href="../docs/decisions/0004-data.md">0004</a></tr>' in page
    assert row + "0004</tr>" in html.page(replace(chosen, decisions=""))
    assert "what was chosen" not in html.page(material)


def test_an_empty_report_is_a_page(material):
    page = html.page(replace(material, papers=[], cases={}, findings=(), problems=()))
    assert 'id="explorer"' in page
    assert 'id="left-out"' not in page


def test_figures_are_inside_as_long_as_there_is_room(tmp_path):
    file = tmp_path / "a.svg"
    file.write_bytes(b"<svg/>" * 100)
    drawn = [(html.Figure(paper="p", alt="alt", caption="c", link="figures/a.svg"), file)] * 3
    size = len("data:image/svg+xml;base64,") + 800 + len("alt") + len("c") + 200
    inside, _, linked = html._fitting(drawn, 2 * size)
    assert inside.source.startswith("data:image/svg+xml;base64,PHN2Zy8+")
    assert (linked.source, linked.link) == ("", "figures/a.svg")


def test_values_of_several_seeds_are_not_counted_as_of_one(material):
    cells = {"printed": "", "budget": "paper", "verdict": "not judged"}
    found = [Row(cells=cells | {"ours": text}) for text in ("1.00", "1.00 ± 0.10 (n = 2)")]
    assert "1 of 2 measured cells are of one seed." in list(html.caveats(found, material))


def test_the_page_stands_beside_the_others_and_in_the_index(tmp_path, material):
    written = pages.write(tmp_path, material)
    assert written[-1] == tmp_path / "index.html"
    assert written[-1].read_text(encoding="utf-8") == html.page(material, boards(material))
    assert "[Everything on one page](index.html)" in written[0].read_text(encoding="utf-8")


# Colours


def palettes():
    """Per colour scheme, the custom properties of the style sheet."""
    light, dark = (TEMPLATES / "style.css").read_text().split("@media (prefers-color-scheme: dark)")
    found = [dict(re.findall(r"--(\w+): (#\w{6});", one.partition("\n* {")[0])) for one in (light, dark)]
    return dict(zip(("light", "dark"), found, strict=True))


def luminance(colour):
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_measure_of_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == 21
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)  # the lightest grey that passes


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["page", "raised"])
@pytest.mark.parametrize("name", ["text", "muted", "link", "good", "doubt", "bad"])
def test_text_can_be_read_on_every_ground(scheme, ground, name):
    palette = palettes()[scheme]
    assert contrast(palette[name], palette[ground]) >= 4.5


def test_both_schemes_have_the_same_colours_and_nothing_has_another():
    light, dark = palettes().values()
    assert light.keys() == dark.keys()
    style = (TEMPLATES / "style.css").read_text()
    assert set(re.findall(r"#[0-9a-f]{6}", style.partition("\n* {")[2])) == {"#ffffff"}  # below figures
    assert set(re.findall(r"var\(--(\w+)\)", style)) <= light.keys()
