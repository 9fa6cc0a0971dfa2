"""The end of a session: exit codes, what leaves a worker, the tables, and a report whose links lead somewhere."""

import errno
import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests import a_pretraining
from vitbench import kept, papers, summary
from vitbench.case import Case, Model, Phase, Recipe
from vitbench.compare import Evidence, Finding, Verdict
from vitbench.objective import parse
from vitbench.options import Options
from vitbench.records import Record
from vitbench.selection import Selection
from vitbench.session import Outcome, Session
from vitbench.summary import Exit, exit_code, exit_of, lines, payload, write_report

PHASE = Phase(epochs=2, batch_size=8, optimizer={"name": "adam", "lr": 1e-3}, schedule={"name": "constant"})
CASE = Case(
    paper="mine",
    table="1",
    model=Model(name="vit", full="vit/floros2024", tiny="vit/tiny", printed="ViT"),
    objective=parse("ce + 0.1*drloc"),
    dataset="digits",
    recipe=Recipe(name="scratch", protocol="paper", selection="last", phases=(PHASE,), quick=(PHASE,)),
)


def record(identity, measurements, *, seconds=2.0, invalid=None):
    return Record(
        kind=identity.kind,
        key=identity.key,
        identity=identity.content(),
        measurements=measurements,
        invalid=invalid or {},
        provenance={
            "date": "2026-11-02T03:04:05+00:00",
            "seconds": seconds,
            "device": "h200",
            "precision": "fp32",
            "engine": "eager",
            "commit": "3f2c1ab",
            "versions": {"torch": "2.11.0"},
        },
        details={"test_images": 360},
    )


def outcome(*, ours=97.0, theirs=95.0, read=(False, False), findings=(), case=CASE, **content):
    """A method's outcome with its plain baseline; `read` says which of both were read."""
    session = Session(Options())
    identities = [session.run_of(one, 0) for one in (case, case.baseline)]
    records = [
        record(one, {"accuracy": value}, **content) for one, value in zip(identities, (ours, theirs), strict=True)
    ]
    plain = () if case.is_baseline else ((records[1], read[1]),)
    return Outcome(case=case, records=((records[0], read[0]),), plain=plain, findings=tuple(findings))


def finding(verdict, **changes):
    plain = Finding(subject="a", metric="accuracy", verdict=verdict, value=1.0, reference=2.0, against="the floor is")
    return replace(plain, **changes)


def done(code=0, *, kind="run", status="measured in 1.0 s"):
    return {"id": "a", "kind": kind, "status": status, "exit": code, "values": {}, "cached": False, "findings": []}


SKIPPED = done(Exit.INFRASTRUCTURE, status="skipped")
NO_MEMORY = done(Exit.INFRASTRUCTURE, status="failed")


# Exit codes


def test_the_exit_codes_are_the_documented_ones():
    assert (Exit.REGRESSION, Exit.MISSING, Exit.INFRASTRUCTURE, Exit.UNDECIDED) == (10, 11, 12, 13)


@pytest.mark.parametrize(
    ("payloads", "code"),
    [
        ([], None),
        ([done(), done()], None),
        ([done(), done(13)], 13),
        ([done(13), NO_MEMORY], 12),
        ([NO_MEMORY, done(11), done(13)], 11),
        ([NO_MEMORY, done(11), done(10), done(13)], 10),
        ([SKIPPED], 12),
        ([SKIPPED, SKIPPED, done(kind="size")], 12),
        ([SKIPPED, done()], None),
        ([SKIPPED, done(10)], 10),
        ([SKIPPED, done(11, kind="size")], 11),
        ([done(kind="size"), done(kind="inference")], None),
    ],
)
def test_the_gravest_finding_gives_the_exit_code(payloads, code):
    assert exit_code(payloads, 0) == code


@pytest.mark.parametrize("payloads", [[done(10)], [done(11)], [NO_MEMORY], [SKIPPED], [done()]])
def test_a_failure_that_no_outcome_explains_keeps_pytests_own_code(payloads):
    assert exit_code(payloads, 1) is None


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([finding(Verdict.SAME), finding(Verdict.BETTER), finding(Verdict.NEW)], 0),
        ([finding(Verdict.NEW, required=True)], 11),
        ([finding(Verdict.SAME), finding(Verdict.MISSING)], 11),
        ([finding(Verdict.MISSING), finding(Verdict.WORSE)], 10),
    ],
)
def test_what_findings_ask_for(findings, code):
    assert exit_of(findings) == code


# What leaves a worker


def test_a_payload_is_plain_data_all_the_way_down():
    content = payload(outcome(findings=[finding(Verdict.WORSE)]), "run")

    def plain(part):
        # pytest-xdist refuses subclasses such as an enumeration's members.
        assert type(part) in (dict, list, str, int, float, bool, type(None)), part
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            plain(inner)

    plain(content)
    assert json.loads(json.dumps(content)) == content


def test_a_payload_says_what_came_out_and_what_was_gained():
    content = payload(outcome(ours=97.0, theirs=95.5), "run")
    assert content["id"] == "mine/1/vit/ce+0.1drloc/digits"
    assert content["values"] == {"accuracy": 97.0, "gain": 1.5}
    assert content["plain"]["id"] == "mine/1/vit/ce/digits"
    assert content["plain"]["values"] == {"accuracy": 95.5}
    assert content["plain"]["status"].endswith(", brought along")
    assert content["exit"] == 0


@pytest.mark.parametrize(
    ("read", "status", "cached"),
    [
        ((False, False), "measured in 2.0 s", False),
        ((False, True), "measured in 2.0 s", False),
        ((True, True), "cached 2026-11-02 h200 3f2c1ab", True),
    ],
)
def test_a_payload_counts_the_time_of_what_was_made_and_says_what_was_read(read, status, cached):
    content = payload(outcome(read=read), "run")
    assert (content["status"], content["cached"]) == (status, cached)


def test_a_payload_names_what_is_not_valid():
    content = payload(outcome(invalid={"fgsm_drop": "why"}), "run")
    assert content["status"] == "measured in 2.0 s; invalid: fgsm_drop"
    assert "invalid: fgsm_drop" in content["plain"]["status"]
    assert content["exit"] == 0


# What the machine refused

FREE = "; free space, or name another folder with --runs, --report or --out"
OTHER = "; name another folder with --runs, --report or --out"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "record.json"),
            f"record.json: No space left on device{FREE}",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), f"No space left on device{FREE}"),
        (OSError(errno.EACCES, "Permission denied", "runs/x"), f"runs/x: Permission denied{OTHER}"),
        (OSError(errno.EROFS, "Read-only", "runs"), f"runs: Read-only{OTHER}"),
        (OSError(errno.EACCES, "Permission denied", "data/x"), "data/x: Permission denied"),
        (OSError(errno.EIO, "Input/output error", "runs/x"), "runs/x: Input/output error"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError("odd"), "odd"),
    ],
)
def test_a_way_out_is_named_only_where_it_is_one(error, line):
    assert summary.of_os_error(error, Path("runs")) == line


# The tables


def test_a_baseline_that_came_along_is_shown_once_and_before_its_methods():
    others = [replace(CASE, objective=parse(f"ce + {weight}*drloc")) for weight in (0.1, 0.2)]
    text = list(lines([payload(outcome(case=one), "run") for one in others]))
    rows = [line.split()[0] for line in text if line.startswith("mine/")]
    assert rows == [f"mine/1/vit/{objective}/digits" for objective in ("ce", "ce+0.1drloc", "ce+0.2drloc")]
    assert text[0] == "trained: 2 cases, 0 of them read from records"
    assert sum("brought along" in line for line in text) == 1


def test_a_baseline_that_was_selected_itself_is_no_company():
    rows = [payload(outcome(case=one), "run") for one in (CASE.baseline, CASE)]
    text = list(lines(rows))
    assert sum(line.startswith("mine/1/vit/ce/") for line in text) == 1
    assert not any("brought along" in line for line in text)


def test_skipped_cases_are_in_no_table_and_cached_ones_are_counted_apart():
    rows = [SKIPPED, payload(outcome(read=(True, True)), "run"), payload(outcome(case=CASE.baseline), "run")]
    text = list(lines(rows))
    assert text[0] == "trained: 2 cases, 1 of them read from records"
    assert not list(lines([SKIPPED]))


@pytest.mark.parametrize("verdict", [Verdict.STALE, Verdict.INVALID])
def test_what_is_stale_or_invalid_is_shown_once_and_fails_nothing(verdict):
    found = [finding(verdict, subject=f"mine/{n}", against="why") for n in (1, 2)]
    rows = [payload(outcome(case=one, findings=found), "run") for one in (CASE, CASE.baseline)]
    (line,) = (line for line in lines(rows) if f"is {verdict}" in line)
    assert line.startswith(f"accuracy is {verdict} in 2 cases, such as mine/1: accuracy is {verdict}: ")
    assert [one["exit"] for one in rows] == [0, 0]


# The report


def links_of(page):
    text = page.read_text(encoding="utf-8")
    return {target: label for label, target in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", text)}


def run_something(runs):
    """Records of a table of the thesis in a runs directory; returns the session."""
    session = Session(Options(runs=runs, selection=Selection()))
    table = next(table for table in session.papers["floros2024"].tables if table.id == "4.1")
    for case in session.options.selection.cases(session.papers.values()):
        if case.table == table.id and case.model.name == "vit":
            identity = session.run_of(case, 0)
            session.store.write(identity, record(identity, {"accuracy": 97.25}))
    return session


@pytest.mark.parametrize(
    ("runs", "report"),
    [
        (".vitbench", ".vitbench/report"),
        (".vitbench", "report"),
        (".vitbench", "."),
        ("some runs", "deep/er/report"),
        ("../elsewhere", "../report"),
        ("{tmp}/absolute", "{tmp}/absolute/report"),
        ("relative", "{tmp}/report"),
        ("{tmp}/absolute", "report"),
    ],
)
def test_the_links_of_a_report_lead_to_the_records_from_wherever_it_is(tmp_path, monkeypatch, runs, report):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    session = run_something(Path(runs.format(tmp=tmp_path)))
    index = write_report(session, Path(report.format(tmp=tmp_path)))
    assert {"floros2024.md", "liu2021.md"} <= set(links_of(index))
    records = {
        target: label
        for target, label in links_of(index.parent / "floros2024.md").items()
        if target.endswith("record.json")
    }
    assert len(records) == 2  # plain cross-entropy and DRLoc
    for target, key in records.items():
        assert not target.startswith("/")
        assert " " not in target
        content = json.loads((index.parent / unquote(target)).read_text(encoding="utf-8"))
        assert content["key"].startswith(key)


def test_a_report_shows_what_was_measured_and_what_was_set_aside(tmp_path):
    session = run_something(tmp_path / "runs")
    paths = sorted((tmp_path / "runs/runs").glob("*/record.json"))
    paths[0].write_text("{", encoding="utf-8")
    page = (write_report(session, tmp_path / "report").parent / "floros2024.md").read_text(encoding="utf-8")
    assert "97.25" in page
    assert "record.json.set-aside-" in page


def test_a_report_shows_what_is_not_valid(tmp_path):
    session = run_something(tmp_path / "runs")
    cases = session.options.selection.cases([session.papers["floros2024"]])
    case = next(one for one in cases if one.table == "4.1")
    identity = session.run_of(case, 0)
    session.store.write(identity, record(identity, {"accuracy": 97.0}, invalid={"fgsm_drop": "eps = 0 changed it"}))
    page = (write_report(session, tmp_path / "report").parent / "floros2024.md").read_text(encoding="utf-8")
    assert f"such as {case.id}: fgsm_drop is invalid: eps = 0 changed it" in page.partition("## Stale or invalid")[2]


def test_a_report_shows_how_pretrainings_went(tmp_path, monkeypatch):
    (tmp_path / "tan2024.toml").write_text(a_pretraining.TEXT)
    monkeypatch.setattr("vitbench.papers.load_all", lambda: (papers.load(tmp_path / "tan2024.toml"),))
    session = Session(Options(runs=tmp_path / "runs"))
    case = next(kept.pretrained(session.options.selection.cases(session.papers.values())))
    before, *_ = a_pretraining.leave(session.store, case)
    (folder,) = (tmp_path / "runs/runs").glob(f"*{before}")
    (folder / "pictures/epoch-0002.safetensors").write_bytes(b"torn")
    index = write_report(session, tmp_path / "report")
    page = (index.parent / "tan2024.md").read_text(encoding="utf-8")
    targets = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
    assert len(targets) == 4
    assert all((index.parent / target).is_file() for target in targets)
    assert "epoch-0002.safetensors: left out, it is torn" in page.partition("## Left out")[2]


def test_a_report_of_nothing_is_still_a_report(tmp_path):
    index = write_report(Session(Options(runs=tmp_path / "runs")), tmp_path / "report")
    assert index.name == "README.md"
    assert (tmp_path / "report/floros2024.md").exists()
    assert not (tmp_path / "runs").exists()


def test_a_report_wants_what_its_tables_show(tmp_path):
    session, case = Session(Options(runs=tmp_path, seeds=2)), replace(CASE, paper="floros2024")
    session.store.machines = lambda: [{"device": "a card"}]  # something was timed on
    found = [(one.kind, one.seed, str(one.objective), one.dataset) for _, one in summary.wanted(session, [case])]
    method = "ce + 0.1*drloc(hidden=128, pairs=8)"
    assert found == [
        ("run", 0, "ce", "digits"),
        ("run", 1, "ce", "digits"),
        ("run", 0, method, "digits"),
        ("run", 1, method, "digits"),
        ("size", 0, "ce + drloc", "cifar10"),
        ("size", 0, "ce + drloc", "cifar100"),
        ("training", 0, "ce + drloc(hidden=128, pairs=8)", "digits"),
        ("inference", 0, "ce", "digits"),
    ]


def judged(subject, p, verdict):
    """A case whose only finding a test gave."""
    evidence = Evidence(effect=-1.0, low=-2.0, high=-0.5, p=p, counts=(5, 5), test="t")
    one = finding(verdict, subject=subject, evidence=evidence)
    told = [asdict(one) | {"verdict": str(verdict)}]
    return done(10 if verdict == Verdict.WORSE else 0) | {"id": subject, "findings": told}


def test_among_many_tests_what_may_be_chance_is_undecided_and_what_may_not_is_a_regression():
    others = [judged(f"c{number}", 0.4, Verdict.SAME) for number in range(99)]
    # Of both sides and by Benjamini and Hochberg, the least of 100: q = 100 * 2 * p.
    assert exit_code([judged("a", 0.004, Verdict.WORSE)], 0) == 10
    assert exit_code([judged("a", 0.004, Verdict.WORSE), *others], 0) == 13
    assert exit_code([judged("a", 0.0002, Verdict.WORSE), *others], 0) == 10
    assert exit_code([judged("a", 0.004, Verdict.WORSE), judged("b", 1e-9, Verdict.WORSE), *others], 0) == 10


def test_what_no_test_of_chance_gave_is_no_chance():
    others = [judged(f"c{number}", 0.4, Verdict.SAME) for number in range(99)]
    assert exit_code([judged("a", math.nan, Verdict.WORSE), *others], 0) == 10
    below = done(10) | {"findings": [asdict(finding(Verdict.WORSE)) | {"verdict": "worse"}]}
    assert exit_code([below, judged("a", 0.004, Verdict.WORSE), *others], 0) == 10
