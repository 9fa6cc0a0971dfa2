"""The HTML page in a headless Chromium: no script errors, sorting and searching do what they say, nothing overflows."""

import importlib.util
import re
from html import escape
from pathlib import Path

import pytest

from tests import a_material
from vitbench import baselines, kept, papers
from vitbench.report import html, pages, recorded
from vitbench.report.explorer import COLUMNS

OURS = list(COLUMNS).index("ours")
PERF = Path(__file__).parents[2] / "benchmarks" / "perf"
# What the scripts below use of the page.
TOOLS = """
const pause = () => new Promise(done => setTimeout(done, 20));
const one = selector => document.querySelector(selector);
const all = selector => [...document.querySelectorAll(selector)];
const column = name => all(`#cells tbody tr`).map(row => row.cells[all("#cells th[data-name]")
  .findIndex(head => head.dataset.name === name)].textContent);
const told = () => all("#cells tbody tr").map(row => [...row.cells].map(cell => cell.textContent).join("/"));
const head = name => one(`#cells th[data-name=${name}]`);
const type = async (name, value) => {
  const field = one("#filters").elements[name];
  if (field.type === "checkbox") field.checked = value; else field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  await pause();
};
"""


@pytest.fixture(scope="module")
def browser():
    spec = importlib.util.spec_from_file_location("browser_of_tests", PERF / "browser.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.path() is None:
        pytest.skip(f"none of {', '.join(module.NAMES)} is installed")
    return module


@pytest.fixture
def page(tmp_path, paper, results, measured):
    return pages.write(tmp_path / "report", a_material.of_everything(paper, results, measured))[-1]


@pytest.fixture
def few(tmp_path, paper, results, measured, monkeypatch):
    """The same, of four rows at once."""
    monkeypatch.setattr(html, "SHOWN", 4)
    return pages.write(tmp_path / "few", a_material.of_everything(paper, results, measured))[-1]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The page of the recorded baselines."""
    folder = papers.data_folder() / "recorded"
    found, problems = baselines.load_all(folder)
    material = recorded.material(papers.load_all(), found, problems, kept.load(folder))
    return pages.write(tmp_path_factory.mktemp("report"), material)[-1]


def answer(browser, page, script, **how):
    found, failures = browser.ask(page, TOOLS + script, **how)
    assert failures == []
    return found


def numbers(texts):
    return [float(re.match(r"[-+]?[\d.]+", text)[0]) for text in texts]


def test_columns_are_sorted_as_numbers_and_as_text_both_ways(browser, page):
    script = """
        await type("all", true);
        const found = {};
        for (const name of ["printed", "gain", "objective"]) {
          for (const time of [1, 2]) {
            head(name).querySelector("button").click();
            await pause();
            found[name + time] = [head(name).getAttribute("aria-sort"), column(name)];
          }
        }
        return [found, all("[aria-sort]").length, location.hash];"""
    found, marked, address = answer(browser, page, script)
    assert (marked, address) == (1, "#explorer?all=1&sort=-objective")
    for name in ("printed", "gain"):
        (down, falling), (up, rising) = found[f"{name}1"], found[f"{name}2"]
        assert (down, up) == ("descending", "ascending")
        filled = [text for text in falling if text]
        assert numbers(filled) == sorted(numbers(filled), reverse=True)
        assert numbers([text for text in rising if text]) == sorted(numbers(filled))
        assert "" in falling
        for order in (falling, rising):  # what is empty stands last, either way
            assert not any(order[len(filled) :])
    assert rising != sorted(rising)  # so that an order of text would be another
    assert [found[f"objective{time}"][0] for time in (1, 2)] == ["ascending", "descending"]
    assert found["objective1"][1] == sorted(found["objective1"][1]) == found["objective2"][1][::-1]


def test_columns_of_numbers_stand_at_the_right_and_each_row_says_its_table(browser, page):
    script = """
        const align = node => getComputedStyle(node).textAlign;
        const cells = [...one("#cells tbody tr").children];
        const found = all("#cells thead th").map((node, place) => [node.dataset.name, align(cells[place])]);
        return [found, column("table")];"""
    aligned, tables = answer(browser, page, script)
    assert {name for name, side in aligned if side == "end"} == {
        name for name, (_, number) in COLUMNS.items() if number
    }
    assert all(tables)


def test_searching_and_filtering_leave_the_rows_that_match_and_count_them(browser, page):
    script = """
        const state = () => [all("#cells tbody tr").map(row => row.textContent), one("#count").textContent];
        const found = [state()];
        await type("q", "VIT  me"); found.push(state());
        await type("all", true); found.push(state());
        await type("dataset", "cifar100"); found.push(state());
        const address = location.hash;
        one("#filters button[type=reset]").click(); await pause(); found.push(state());
        await type("verdict", "not run"); found.push(state());
        await type("q", "nothing of this kind"); found.push(state());
        return [found, address];"""
    (start, words, everything, narrow, reset, unrun, nothing), address = answer(browser, page, script)
    assert start[1] == "15 of 19 rows; 4 more match that nothing was run for"
    assert len(start[0]) == 15
    assert words[0]
    assert all("vit" in row.lower() and "me" in row for row in words[0])
    assert (
        words[1]
        == f"{len(words[0])} of 19 rows; {len(everything[0]) - len(words[0])} more match that nothing was run for"
    )
    assert narrow[0] == [row for row in everything[0] if "cifar100" in row]
    assert address == "#explorer?q=VIT++me&dataset=cifar100&all=1"
    assert reset == start
    assert (len(unrun[0]), unrun[1]) == (4, "4 of 19 rows")
    assert nothing == [[], "0 of 19 rows"]


def test_rows_beyond_the_first_are_sorted_searched_and_shown_when_asked_for(browser, page, few):
    script = """
        const state = () => [told(), one("#count").textContent, one("#more").hidden];
        const found = [state()];
        one("#more button").click(); found.push(state());
        await type("all", true); found.push(state());
        one("#filters button[type=reset]").click(); await pause(); found.push(state());
        head("ours").querySelector("button").click(); await pause(); found.push(state());
        await type("q", "digits"); found.push(state());
        return found;"""
    start, more, everything, reset, sorted_, searched = answer(browser, few, script)
    assert start[1:] == ["15 of 19 rows; the first 4 are shown; 4 more match that nothing was run for", False]
    assert len(start[0]) == 4
    assert more[1:] == ["15 of 19 rows; 4 more match that nothing was run for", True]
    # The page that shows all of them at once is held against this one.
    script = """
        const found = [told()];
        await type("all", true); found.push(told());
        return found;"""
    run, whole = answer(browser, page, script)
    assert more[0] == run
    assert start[0] == run[:4]
    assert everything == [whole[:4], "19 of 19 rows; the first 4 are shown", False]
    assert reset == start
    largest = sorted(numbers([row.split("/")[OURS] for row in run]), reverse=True)
    assert numbers([row.split("/")[OURS] for row in sorted_[0]]) == largest[:4]
    assert set(sorted_[0]) - set(start[0])  # some of them came from beyond
    assert numbers([row.split("/")[OURS] for row in searched[0]]) == [
        96.5,
        95.0,
    ]  # the quick runs, of which none was shown
    assert searched[1] == "2 of 19 rows"


def test_an_address_that_was_shared_shows_the_same_view(browser, page):
    script = """
        const first = [column("ours"), one("#filters").elements.q.value, head("ours").getAttribute("aria-sort")];
        location.hash = "#explorer?verdict=deviates"; await pause();
        return [first, column("verdict"), one("#filters").elements.q.value];"""
    first, verdicts, words = answer(browser, page, script, hash="#explorer?q=vit&budget=paper&sort=-ours")
    assert first[1:] == ["vit", "descending"]
    assert numbers(first[0]) == sorted(numbers(first[0]), reverse=True)
    assert (set(verdicts), words) == ({"deviates"}, "")


@pytest.mark.parametrize("address", ["sort=constructor", "sort=-nothing", "q=%25&sort=--ours", "q=%E0%A4%A&paper=x"])
def test_an_address_that_says_nothing_breaks_nothing(browser, page, address):
    script = "return [one('#count').textContent, one('#sizes').hidden];"
    count, is_hidden = answer(browser, page, script, hash=f"#explorer?{address}")
    assert re.match(r"\d+ of 19 rows", count)
    assert not is_hidden


def test_a_number_opens_its_records_by_mouse_and_by_keyboard(browser, page):
    script = """
        await type("q", "quick"); await type("q", "digits me");
        const button = one("#cells [data-n] button");
        button.focus();
        button.click(); await pause();
        const dialog = one("#record");
        const texts = [dialog.open, one("#record-title").textContent,
          [...dialog.querySelectorAll("tbody tr")].map(row => [...row.cells].map(cell => cell.textContent)),
          [...dialog.querySelectorAll("a")].map(link => link.getAttribute("href")),
          [...dialog.querySelectorAll("pre")].map(one => one.textContent)];
        dialog.querySelector("form button").click(); await pause();
        return [texts, dialog.open, document.activeElement === button, button.tagName, button.type];"""
    texts, is_open, *button = answer(browser, page, script)
    was_open, title, rows, links, commands = texts
    assert was_open
    assert not is_open
    assert button == [True, "BUTTON", "button"]  # which Enter and Space press, and which has the focus again
    assert title == "accuracy of small2026/1/vit/ce+0.1me/digits"
    made = ["", "a processor", "fp32", "eager"]
    assert [row[:7] for row in rows] == [["0", value, a_material.KEY, *made] for value in ("96.5", "95")]
    assert links == ["../runs/a%20run/record.json"] * 2
    assert commands[0] == "vitbench run small2026/1/vit/ce+0.1me/digits --budget quick --seed 0"


def test_the_commands_that_a_record_names_are_those_of_the_command_line(browser, page, paper):
    """The size is counted by a benchmark file, whose cases have such ids."""
    script = """
        await type("all", true);
        const cell = all("#cells tbody tr").flatMap(row => [...row.querySelectorAll("[data-n]")])
          .find(cell => cell.textContent === "5.43");
        cell.querySelector("button").click();
        return [...one("#record").querySelectorAll("pre")].map(one => one.textContent);"""
    assert answer(browser, page, script) == [
        "pytest --pyargs vitbench.benchmarks.test_size -k small2026/size/vit/ce/cifar10"
    ]


def test_leaderboards_are_shown_one_at_a_time_and_narrowed_by_size(browser, page):
    script = """
        const form = one("#sizes");
        const shown = () => [all(".board:not([hidden]) h3").map(title => title.textContent),
          all(".board:not([hidden]) tbody tr").filter(row => !row.hidden).map(row => row.dataset.params),
          one("#board-count").textContent];
        const set = async (name, value) => {
          form.elements[name].value = value;
          form.elements[name].dispatchEvent(new Event("input", { bubbles: true }));
          await pause();
          return shown();
        };
        const title = [...form.elements.board.options].find(one => one.text.startsWith("cifar10, paper budget, fp32"));
        return [await set("board", title.value), await set("params", "5.43"), await set("params", "5.4"),
          title.text];"""
    (titles, sizes, count), small, smaller, title = answer(browser, page, script)
    assert titles == [title]
    assert count == ""
    assert "5.43" in sizes
    assert "" in sizes  # what was not counted cannot be said to be small
    kept = sizes.count("5.43")
    assert small == [[title], ["5.43"] * kept, f"{kept} of {len(sizes)} rows"]
    assert smaller == [[title], [], f"0 of {len(sizes)} rows"]


@pytest.mark.parametrize("most", [1, 100])
def test_hostile_names_run_nothing_and_are_shown_as_they_are(browser, tmp_path, paper, measured, monkeypatch, most):
    monkeypatch.setattr(html, "SHOWN", most)  # so that most rows wait as text, or none
    page = pages.write(tmp_path / "report", a_material.of_hostile_names(paper, measured))[-1]
    script = """
        if (one("#filters").elements.all) await type("all", true);
        one("#more button").click();
        const shown = [...column("model"), ...column("table")];
        const titles = [];
        for (const button of all("#cells [data-n] button")) {
          button.click();
          titles.push([one("#record-title").textContent, one("#record-content").textContent]);
          one("#record").close();
        }
        await type("q", "<script>");
        return [shown, titles, all("img, iframe, b").length, column("table"), all("#filters option").length,
          Number(one("#cells").dataset.rows)];"""
    shown, titles, others, searched, options, rows = answer(browser, page, script)
    assert {name for name in shown if name.strip()} <= set(a_material.HOSTILE)
    assert len(shown) == 2 * rows > 2
    assert any("<script>" in content for _, content in titles)
    assert others == 0
    assert searched
    assert options > 0


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(browser, real, width):
    """A frame of that width, because no window of a headless Chromium is as narrow as a phone."""
    copy = real.with_name("measured.html")
    tell = """<script>setTimeout(() => {
        const page = document.documentElement;
        const wide = [...document.querySelectorAll("body *")].filter(one => !one.closest(".scroll, pre, .skip")
          && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 80));
        document.querySelector("#cells [data-n] button").click();
        const dialog = document.querySelector("dialog").getBoundingClientRect();
        parent.postMessage([innerWidth, page.scrollWidth, wide, dialog.right], "*");
    }, 300)</script>"""
    copy.write_text(real.read_text(encoding="utf-8") + tell, encoding="utf-8")
    frame = real.with_name("frame.html")
    inside = f'<iframe src="{copy.name}" width="{width}" height="800"></iframe>'
    frame.write_text(f'<!DOCTYPE html><html><head></head><body style="margin: 0">{inside}', encoding="utf-8")
    script = "return new Promise(done => addEventListener('message', event => done(event.data)));"
    inner, scrolled, wide, dialog = answer(browser, frame, script)
    assert wide == []
    assert scrolled <= inner
    assert dialog <= inner
    assert inner <= width


def test_the_real_page_loads_nothing_and_has_no_errors(browser, real):
    script = """
        all("img").forEach(image => { image.loading = "eager"; });
        await Promise.all(all("img").map(image => image.decode()));
        return [performance.getEntriesByType("resource").map(one => one.name).filter(name => !name.startsWith("data:")),
          all("img").length, all("img").filter(image => !image.naturalWidth).length, column("model").length];"""
    loaded, images, broken, rows = answer(browser, real, script)
    assert loaded == []
    assert images > 0
    assert broken == 0
    assert rows == html.SHOWN
    assert real.stat().st_size <= 2_000_000


def test_opening_the_page_lays_out_little_of_it(browser, real):
    """The time until it can be used goes with the number of elements; the markup of all of them is far more."""
    script = """
        const whole = one("#rest").textContent.match(/<t[dh]/g).length;
        return [all("*").length, whole];"""
    elements, waiting = answer(browser, real, script)
    assert elements < 5000
    assert waiting > 2 * elements


def test_without_scripts_every_row_and_every_board_can_be_read(browser, real):
    """A frame in which scripts may not run."""
    text = real.read_text(encoding="utf-8")
    frame = real.with_name("still.html")
    inside = f'<iframe sandbox="allow-same-origin" width="1280" height="800" srcdoc="{escape(text)}"></iframe>'
    frame.write_text(f"<!DOCTYPE html><html><head></head><body>{inside}", encoding="utf-8")
    script = """
        const frame = one("iframe");
        while (!frame.contentDocument.querySelector("dialog")) await pause();
        const within = selector => [...frame.contentDocument.querySelectorAll(selector)];
        const seen = selector => within(selector).filter(one => one.getBoundingClientRect().height > 0);
        const rows = seen("table.cells tbody tr");
        return [within("button[aria-haspopup]").length, rows.length, [...new Set(rows.map(row => row.cells.length))],
          seen("section.board h3").map(title => title.textContent),
          within("#sizes option").map(one => one.textContent)];"""
    buttons, rows, cells, boards, titles = answer(browser, frame, script)
    assert buttons == 0  # no script has run
    assert rows == int(re.search(r"<p id=\"count\".*?>(\d+) rows", text)[1]) > 500
    assert cells == [len(COLUMNS)]
    assert boards == titles
    assert len(boards) > 10
    assert not re.search(r"<(section|table|tr|td)[^>]* hidden", text)
