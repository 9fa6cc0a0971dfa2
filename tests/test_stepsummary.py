"""The step summary under GitHub Actions: the verdict first, never too large, and every name as text."""

import html
import re
from dataclasses import asdict

import pytest
from markdown_it import MarkdownIt

from tests.test_summary import NO_MEMORY, SKIPPED, done, finding
from vitbench import errors, stepsummary
from vitbench.compare import Verdict
from vitbench.summary import exit_code

LIMIT = 1024 * 1024  # bytes, as GitHub's runner says: "supports content up to a size of 1024k"
HOSTILE = [
    "a|b\\|c",
    "<script>alert(1)</script></details>",
    "two\nlines\n\n# heading",
    "`code` ``` fence",
    "*bold* _italic_ ~~gone~~ [x](http://e.example) ![y](z)",
    "@somebody :tada: $x^2$ &lt; &amp;",
    "\u202eright to left\u202c שלום",
    "👩‍👩‍👧 familie",
    "- list\n1. list",
    "\x1b[31mred\x00",
]


@pytest.fixture
def step(tmp_path, monkeypatch):
    """The file of a step."""
    path = tmp_path / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def write(payloads, tmp_path, **changes):
    plain = {"failures": [], "scope": "short budget", "problems": [], "interrupted": False}
    given = plain | changes
    return stepsummary.write(payloads, **{"code": exit_code(payloads, len(given["failures"]))} | given)


def case(name="mine/1/vit/ce/digits", *findings, code=0, **changes):
    """What came out of a case, with findings."""
    told = [asdict(one) | {"verdict": str(one.verdict)} for one in findings]
    return done(code) | {"id": name, "values": {"accuracy": 97.0}, "findings": told} | changes


def rendered(text):
    return MarkdownIt("gfm-like", {"linkify": False}).render(text)


def cells(page):
    return [html.unescape(one) for one in re.findall(r"<td[^>]*>(.*?)</td>", page, re.S)]


def items(page):
    return [html.unescape(re.sub("<[^>]+>", "", one)) for one in re.findall(r"<li>(.*?)</li>", page, re.S)]


# The first line


@pytest.mark.parametrize(
    ("payloads", "changes", "first"),
    [
        ([case()], {}, "pass: 1 case, 1 without a failure; 0 read from records; short budget"),
        (
            [case(code=10), case(code=11), case(code=13), NO_MEMORY, SKIPPED, case(cached=True)],
            {},
            "regression (exit code 10): 6 cases, 1 worse, 1 missing, 1 undecided, 2 not done, 1 without a failure; "
            "1 read from records; short budget",
        ),
        ([case(code=11), case(code=13)], {}, "missing (exit code 11): 2 cases, 1 missing, 1 undecided, 0 without*"),
        ([case(), NO_MEMORY], {}, "infrastructure (exit code 12): 2 cases, 1 not done, 1 without a failure*"),
        ([case(code=13)], {}, "undecided (exit code 13): 1 case, 1 undecided*"),
        ([case(), SKIPPED], {}, "pass: 2 cases, 1 not done*"),
        ([case(code=10)], {"failures": ["a", "b"]}, "failed: 1 case, 1 worse, 2 failed otherwise*"),
        ([case()], {"code": 12}, "infrastructure (exit code 12): 1 case*"),
        ([case()], {"interrupted": True}, "interrupted, so far pass: 1 case*"),
        ([], {"interrupted": True}, "interrupted, so far pass: 0 cases*"),
    ],
)
def test_the_first_line_is_the_verdict_with_what_was_counted(step, tmp_path, payloads, changes, first):
    assert write(payloads, tmp_path, **changes) == []
    line = step.read_text().splitlines()[0]
    start = f"## vitbench: {first.rstrip('*')}"
    assert line.startswith(start) if first.endswith("*") else line == start


# Findings


def test_a_case_that_nothing_came_out_of_is_named_with_its_reason(step, suite, executed, monkeypatch):
    executed.error = errors.NonFinite("the loss became nan at epoch 3, step 7 of 22")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    assert suite("-k", "test_accuracy and floros2024/4.1/vit/ce/").ret == pytest.ExitCode.TESTS_FAILED
    head, _, line, *_ = step.read_text().splitlines()
    assert head.startswith("## vitbench: failed: 0 cases, 1 failed otherwise")
    assert line.startswith("- **fails** benchmarks/test")
    assert line.endswith("the loss became nan at epoch 3, step 7 of 22")


def test_what_fails_comes_first_each_with_the_command_that_repeats_it(step, tmp_path):
    payloads = [
        case("a", finding(Verdict.UNDECIDED, subject="a"), finding(Verdict.SAME, subject="a"), code=13),
        case("b", finding(Verdict.BETTER, subject="b"), finding(Verdict.NEW, subject="b")),
        case("c", finding(Verdict.STALE, subject="c"), finding(Verdict.INVALID, subject="c", against="eps = 0")),
        case("d", finding(Verdict.WORSE, subject="d", command="pytest benchmarks -k d"), code=10),
    ]
    write(payloads, tmp_path, problems=["record.json was set aside"])
    listed = items(rendered(step.read_text()))
    assert [one.partition("; repeat")[0] for one in listed] == [
        "fails d: accuracy is worse: measured 1, the floor is 2: -1",
        "a: accuracy is undecided: measured 1, the floor is 2",
        "b: accuracy is better: measured 1, the floor is 2",
        "c: accuracy is stale: measured 1, the floor is 2",
        "c: accuracy is invalid: eps = 0",
        "note: record.json was set aside",
    ]
    assert listed[0].endswith("; repeat: pytest benchmarks -k d")


def test_reasons_why_cases_were_not_done_are_counted(step, tmp_path):
    write([SKIPPED | {"reason": "cifar10: absent"}, SKIPPED | {"reason": "cifar10: absent"}, case()], tmp_path)
    assert "2 cases not done: cifar10: absent" in items(rendered(step.read_text()))


# The tables


def test_tables_can_be_unfolded_and_hold_what_was_measured(step, tmp_path):
    plain = case("mine/1/vit/ce/digits", status="measured in 1.0 s, brought along")
    row = case("mine/1/vit/ce+0.1*me/digits", values={"accuracy": 97.5, "gain": 0.5}, plain=plain)
    write([row, case("mine/1/vit/ce/cifar10", kind="size", values={"params": 15.0})], tmp_path)
    page = rendered(step.read_text())
    assert re.findall("<summary>(.*?)</summary>", page) == ["Sizes: 1 row", "Trained: 2 rows"]
    assert page.count("<details>") == page.count("</details>") == page.count("<table>") == 2
    assert cells(page) == [
        *("mine/1/vit/ce/cifar10", "15.00", "", "", "measured in 1.0 s"),
        *("mine/1/vit/ce/digits", "97.00", "", "", "measured in 1.0 s, brought along"),
        *("mine/1/vit/ce+0.1*me/digits", "97.50", "+0.50", "", "measured in 1.0 s"),
    ]


# Names


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_whatever_they_hold(step, tmp_path, name):
    write([case(name, finding(Verdict.WORSE, subject=name), code=10)], tmp_path, problems=[name])
    text = step.read_text()
    page = rendered(text)
    shown = re.sub("[\u202c\u202e]", lambda one: f"\\u{ord(one[0]):04x}", " ".join(name.split()))
    shown = re.sub("[\x00\x1b]", lambda one: f"\\x{ord(one[0]):02x}", shown)
    page = re.sub("[\u2068\u2069]", "", page)  # around what is written from right to left
    assert cells(page)[0] == shown
    first, note = items(page)
    assert first.startswith(f"fails {shown}: accuracy is worse")
    assert note == f"note: {shown}"
    tags = set(re.findall(r"<(\w+)", page))
    known = {"h2", "ul", "li", "strong", "code", "details", "summary", "table", "thead", "tbody", "tr", "th", "td"}
    assert tags <= known
    # GitHub makes something of these, which the parser of this test does not know.
    prose = re.sub("(`+) .*? \\1", "", text.partition("\n")[2])
    assert not re.search(r"[@$\x00\x1b\u202e]|:\w+:", prose.replace("vitbench:", ""))


def test_half_of_a_surrogate_pair_is_written_too(step, tmp_path):
    assert write([case("a\udcffb")], tmp_path) == []
    assert cells(rendered(step.read_text(encoding="utf-8")))[0] == r"a\udcffb"


# The size


def test_twenty_thousand_findings_stay_below_the_limit_and_the_verdict_is_there(step, tmp_path):
    payloads = [
        case(f"mine/1/vit/ce+{number}*me/digits", finding(Verdict.WORSE, subject=f"mine/{number}"), code=10)
        for number in range(20_000)
    ]
    assert write(payloads, tmp_path) == []
    text = step.read_text()
    assert 0.9 * LIMIT < step.stat().st_size <= LIMIT
    assert text.startswith("## vitbench: regression (exit code 10): 20000 cases, 20000 worse")
    last = text.splitlines()[-1]
    left = re.fullmatch(
        r"\*\*left out, .*: (\d+) of 20000 findings and notes, all tables; the report has it all\*\*", last
    )
    assert int(left[1]) + text.count("- **fails**") == 20_000
    assert text.count("`") % 2 == 0


def test_a_table_that_does_not_fit_shows_its_first_rows_and_the_next_none(step, tmp_path):
    many = [case(f"mine/1/vit/ce+{number}*me/{'x' * 100}") for number in range(9_000)]
    write([case(kind="size"), *many, case(kind="inference")], tmp_path)
    text = step.read_text()
    shown = int(re.search(r"Trained: the first (\d+) of 9000 rows", text)[1])
    assert step.stat().st_size <= LIMIT
    assert text.count("x" * 100) == shown > 1000
    assert text.count("<details>") == text.count("</details>") == 2
    assert f": {9000 - shown} of 9000 rows of Trained, 1 of 1 row of Inference; the report has it all**" in text
    assert "Inference:" not in text


def test_one_endless_name_takes_no_room_from_others(step, tmp_path):
    write([case("x" * 2_000_000, finding(Verdict.WORSE, subject="y" * 2_000_000), code=10), case("b")], tmp_path)
    assert step.stat().st_size < 10_000
    assert "| b " in step.read_text()


def test_what_the_step_wrote_before_counts_and_stays(step, tmp_path):
    step.write_text("x" * (LIMIT - 2_000) + "\n")
    payloads = [case("a", *[finding(Verdict.WORSE, subject="a")] * 50, code=10)]
    assert write(payloads, tmp_path) == []
    assert step.stat().st_size <= LIMIT
    assert step.read_text().startswith("xxx")
    assert "\n## vitbench: regression" in step.read_text()
    step.write_text("x" * (LIMIT - 200))
    (problem,) = write(payloads, tmp_path)
    assert problem == f"no step summary: {step} is full with what this step wrote before"
    assert step.stat().st_size == LIMIT - 200


# Where there is no such file


def test_elsewhere_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert write([case()], tmp_path) == []
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "")
    assert write([case()], tmp_path) == []


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "absent" / "step.md"))
    (problem,) = write([case()], tmp_path)
    assert problem.startswith("no step summary: ")
    assert "No such file" in problem


# The session


def test_a_session_under_github_actions_leaves_a_step_summary(suite, executed, step, monkeypatch):
    executed.measurements["run"]["accuracy"] = 60.0
    assert suite("-k", "test_accuracy and 4.1/vit/ce/").ret == 10
    text = step.read_text()
    assert text.startswith("## vitbench: regression (exit code 10): 1 case, 1 worse")
    assert items(rendered(text))[0].startswith("fails floros2024/4.1/vit/ce/digits: accuracy is worse: measured 60")
    assert "<summary>Trained: 1 row</summary>" in text


def test_other_peoples_sessions_leave_none(pytester, step):
    pytester.makepyfile("def test_mine(): pass")
    pytester.runpytest_inprocess("-p", "vitbench.plugin", "-p", "no:cacheprovider")
    assert not step.exists()
