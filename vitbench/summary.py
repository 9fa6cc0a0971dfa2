"""The end of a session: what its outcomes add up to, for the terminal, the exit code and the report."""

import errno
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from vitbench import collector, compare, statistics
from vitbench.case import Case
from vitbench.compare import Finding, Verdict
from vitbench.identity import Identity
from vitbench.judge import invalid
from vitbench.metrics import METRICS
from vitbench.session import Outcome, Session

if TYPE_CHECKING:
    from vitbench.report.material import Material

FALSE_SHARE = 0.05  # of what a session calls worse, at most, may be chance
PROPERTY = "vitbench"  # name of the pytest property that carries a payload from a worker to its controller

# Errors of a folder that we write to.
FULL = {errno.ENOSPC, errno.EDQUOT}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}
PLACES = "--runs, --report or --out"

Payload = Mapping[str, Any]


class Exit:
    """Exit codes beyond pytest's own; plain numbers, for pytest-xdist sends nothing else from a worker."""

    REGRESSION = 10
    MISSING = 11
    INFRASTRUCTURE = 12
    UNDECIDED = 13


def payload(outcome: Outcome, kind: str) -> dict[str, Any]:
    """An outcome as plain data."""
    values = {metric: outcome.mean(metric) for metric in METRICS}
    values["gain"] = outcome.gain("accuracy") if kind == "run" else None
    return {
        "id": outcome.case.id,
        "kind": kind,
        "values": {metric: value for metric, value in values.items() if value is not None},
        "status": _status(outcome),
        "cached": bool(outcome.cached),
        "findings": [asdict(one) | {"verdict": str(one.verdict)} for one in outcome.findings],
        "exit": exit_of(outcome.findings),
        "plain": _plain(outcome),
        "problems": [],
    }


def _status(outcome: Outcome) -> str:
    """Where the values are from, and which of them are none."""
    status = outcome.cached or f"measured in {seconds(outcome):.1f} s"
    invalid = dict.fromkeys(metric for record, _ in outcome.records for metric in record.invalid)
    return f"{status}; invalid: {', '.join(invalid)}" if invalid else status


def undone(case: Case, kind: str, status: str, code: int, *, reason: str = "") -> dict[str, Any]:
    """A case of which nothing came out: "skipped" or "failed"."""
    nothing: dict[str, Any] = {"values": {}, "cached": False, "findings": [], "problems": []}
    return nothing | {"id": case.id, "kind": kind, "status": status, "exit": code, "reason": reason}


def _plain(outcome: Outcome) -> dict[str, Any] | None:
    """The plain baseline that came along, as a row of its own."""
    if not outcome.plain:
        return None
    plain = payload(Outcome(case=outcome.case.baseline, records=outcome.plain), "run")
    return plain | {"status": f"{plain['status']}, brought along"}


def seconds(outcome: Outcome) -> float:
    """What this session spent on an outcome; its plain baseline is a row of its own."""
    made = [record for record, was_read in outcome.records if not was_read]
    return float(sum(record.provenance["seconds"] for record in made))


def exit_of(findings: Iterable[Finding]) -> int:
    """The exit code that findings ask for, or 0."""
    found = list(findings)
    failing = [finding.verdict for finding in found if finding.fails]
    if Verdict.WORSE in failing:
        return Exit.REGRESSION
    if failing:
        return Exit.MISSING
    return Exit.UNDECIDED if any(finding.verdict == Verdict.UNDECIDED for finding in found) else 0


def exit_code(payloads: Sequence[Payload], plain_failures: int) -> int | None:
    """The exit code of a session, or None where pytest's own stands.

    Args:
        plain_failures: failed tests that no outcome explains.
    """
    if plain_failures:
        return None
    # A case skipped for absent data fails nothing, unless no other was trained.
    doubted = doubtful(payloads)
    codes = {_code(one, doubted) for one in payloads if one["status"] != "skipped"}
    trained = [one for one in payloads if one["kind"] == "run"]
    if trained and all(one["status"] == "skipped" for one in trained):
        codes.add(Exit.INFRASTRUCTURE)
    order = (Exit.REGRESSION, Exit.MISSING, Exit.INFRASTRUCTURE, Exit.UNDECIDED)
    return next((code for code in order if code in codes), None)


def doubtful(payloads: Sequence[Payload]) -> set[tuple[str, str]]:
    """Subject and metric of what got worse by a test, and might among so many tests have done so by chance.

    By Benjamini and Hochberg (1995) over everything that was tested in the session, at `FALSE_SHARE`.
    """
    found = [Finding.of(one) for payload in payloads for one in payload["findings"] if one.get("evidence")]
    tested = [one for one in found if one.evidence and not one.informs and not math.isnan(one.evidence.p)]
    adjusted = statistics.benjamini_hochberg([min(1.0, 2 * one.evidence.p) for one in tested if one.evidence])
    return {
        (one.subject, one.metric)
        for one, q in zip(tested, adjusted, strict=True)
        if one.fails and q is not None and q >= FALSE_SHARE
    }


def _code(payload: Payload, doubted: set[tuple[str, str]]) -> int:
    """The exit code that an outcome asks for, where what might be chance is undecided."""
    found = [Finding.of(one) for one in payload["findings"]]
    worse = [one for one in found if one.fails and one.verdict == Verdict.WORSE]
    if worse and all(one.evidence and (one.subject, one.metric) in doubted for one in worse):
        rest = exit_of(one for one in found if one not in worse)
        return rest or Exit.UNDECIDED
    return int(payload["exit"])


def of_os_error(error: OSError, *folders: Path) -> str:
    """One line for what the machine refused, with the way out where it is ours to name.

    Args:
        folders: that we write to; a user can name others.
    """
    text = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    if error.errno in FULL:
        return f"{text}; free space, or name another folder with {PLACES}"
    path = Path(os.fsdecode(error.filename)).absolute() if isinstance(error.filename, str | bytes) else None
    if path and error.errno in REFUSED and any(path.is_relative_to(one.absolute()) for one in folders):
        return f"{text}; name another folder with {PLACES}"
    return text


def interrupted(*, fresh: bool) -> str:
    """How to go on after Ctrl-C."""
    if fresh:
        return "interrupted: what is done is kept; --fresh would begin anew, so leave it out to go on"
    return "interrupted: the same command goes on where it stopped"


def lines(payloads: Sequence[Payload]) -> Iterator[str]:
    """The tables for the terminal, one per kind of measurement."""
    from vitbench.report import terminal

    for kind, heading in (
        ("size", "sizes"),
        ("run", "trained"),
        ("inference", "inference"),
        ("training", "training steps"),
    ):
        rows = [one for one in payloads if one["kind"] == kind and one["status"] != "skipped"]
        if rows:
            cached = sum(one["cached"] for one in rows)
            yield f"{heading}: {len(rows)} cases, {cached} of them read from records"
            yield from terminal.table(kind, _with_plain(rows)).splitlines()
            yield ""
        findings = [Finding.of(found) for one in rows for found in one["findings"]]
        tested = [finding for finding in findings if finding.evidence is not None]
        if tested:
            yield from terminal.gate(tested).splitlines()
            yield ""
        yield from compare.remarks(findings)
        yield from _unknown(findings)
    reasons = Counter(one["reason"] for one in payloads if one.get("reason"))
    yield from (f"{count} cases were not done: {reason}" for reason, count in reasons.items())


def _unknown(findings: Iterable[Finding]) -> Iterator[str]:
    """How much there was nothing recorded for."""
    new = [finding for finding in findings if finding.verdict == Verdict.NEW]
    counts = Counter(finding.metric for finding in new)
    if new:
        told = ", ".join(f"{metric} of {count}" for metric, count in sorted(counts.items()))
        yield f"new, for nothing is recorded of them: {told}; such as {new[0].subject}"


def _with_plain(rows: Sequence[Payload]) -> list[Payload]:
    """The rows, each method after the plain baseline that it is compared with, if that was not selected itself."""
    shown = {row["id"] for row in rows}
    found: list[Payload] = []
    for row in rows:
        plain = row.get("plain")
        if plain and plain["id"] not in shown:
            shown.add(plain["id"])
            found.append(plain)
        found.append(row)
    return found


def rows(payloads: Sequence[Payload], kind: str) -> list[Payload]:
    """What came out of one kind of measurement, with the plain baselines that came along."""
    return _with_plain([one for one in payloads if one["kind"] == kind and one["status"] != "skipped"])


@collector.paused()
def write_report(session: Session, folder: Path) -> Path:
    """Write the report of everything that the runs directory holds for the chosen budget; returns its index."""
    from vitbench.report import pages

    return pages.write(folder, material(session, folder))[0]


def material(session: Session, folder: Path) -> "Material":
    """What a report in a folder shows of everything that the runs directory holds for the chosen budget."""
    from vitbench import baselines, kept
    from vitbench.report.material import Material
    from vitbench.report.results import Results

    budget, found = session.options.budget, kept.Kept()
    cases = session.options.selection.cases(session.papers.values())
    shown = kept.cells(cases, budget)
    measured: list[baselines.Measurement] = []
    links: dict[str, str] = {}
    findings: list[Finding] = []
    sharing: dict[str, tuple[Identity, list[Case]]] = {}
    for case, identity in wanted(session, cases):
        sharing.setdefault(identity.key, (identity, []))[1].append(case)
    records = _link(session.store.root / "runs", folder.resolve())
    for identity, owners in sharing.values():
        record = session.store.read(identity)
        if record is not None:
            findings += [one for case in owners for one in invalid(case, [record])]
            for cell, case in {baselines.cell_of(one, budget, "loss")[:-1]: one for one in owners}.items():
                measured += baselines.measurements(case, record, machine="")
                if cell in shown:
                    found.take(record, session.store.folder(identity), machine="")
            links[record.key[:12]] = f"{records}/{quote(identity.name)}/record.json"
    session.store.note_misplaced()
    return Material(
        papers=list(session.papers.values()),
        results=Results(measured),
        cases={budget: cases},
        links=links,
        kept=found,
        findings=findings,
        problems=session.store.problems,
    )


def _link(path: Path, folder: Path) -> str:
    """A file as a page in `folder`, which is resolved, links to it; relative, so that both can be moved together."""
    return quote(Path(os.path.relpath(path.resolve(), folder)).as_posix())


def wanted(session: Session, cases: Sequence[Case]) -> Iterator[tuple[Case, Identity]]:
    """Every record that a report of these cases is made of; the runs of a plain baseline, which many share, once."""
    from vitbench import identity
    from vitbench.selection import sizes, timings, trained

    needed: dict[str, Case] = {}
    for case in cases:
        for one in case.needed(session.options.budget):
            needed.setdefault(one.id, one)
    for one in needed.values():
        first = session.run_of(one, session.options.first_seed)
        yield from ((one, first.under(seed)) for seed in session.options.all_seeds)
    stepping = list(trained(cases, session.options.budget))
    yield from ((case, identity.of_size(case)) for case in sizes(session.papers.values(), stepping))
    machines = session.store.machines()
    for case in timings(stepping):
        for key in machines:
            yield case, session.timing_of(case, "training", key)
            yield case.baseline, session.timing_of(case, "inference", key)
