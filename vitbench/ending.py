"""The end of a pytest session: outcomes gathered from all workers, the report, the tables, the exit code."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from vitbench import recording, stepsummary, summary
from vitbench.case import Case
from vitbench.errors import UserError
from vitbench.recording import Update
from vitbench.session import Session


def is_case(nodeid: str) -> bool:
    """Whether a test is a case of ours: its parameter is `paper/table/model/objective/dataset`."""
    return nodeid.partition("[")[2].count("/") >= 4


class Ending:
    """Gathers the outcomes, of all workers where there are some, and ends the session.

    Args:
        session: whose outcomes they are.
        report: folder that the report is written to.
        update: what is to be recorded, if anything.
    """

    def __init__(self, session: Session, report: Path, update: Update | None = None) -> None:
        self.session = session
        self.folder = report
        self.update = update
        self.recorded: list[str] = []
        self.payloads: list[summary.Payload] = []
        self.failures: list[str] = []
        self.report: Path | None = None
        self.code: int | None = None
        self.started = self.interrupted = False

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note that a case of ours was begun."""
        self.started = self.started or is_case(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in the payload of a test, or note a failure that none explains."""
        found = [value for name, value in report.user_properties if name == summary.PROPERTY]
        if report.when == "call":
            self.payloads += [one for one in found if isinstance(one, dict)]
        if report.failed and not any(one["exit"] for one in self.payloads[-1:] if found):
            said = (report.longreprtext.strip() or "no reason was given").splitlines()
            self.failures.append(f"{report.nodeid}: {said[-1]}")

    def pytest_keyboard_interrupt(self) -> None:
        """Note that somebody stopped it."""
        self.interrupted = True

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, and say by the exit code what kind of failure it was."""
        if not self.payloads:
            return
        try:
            self.report = summary.write_report(self.session, self.folder)
        except (OSError, UserError) as error:
            folders = (self.folder, self.session.options.runs)
            reason = summary.of_os_error(error, *folders) if isinstance(error, OSError) else str(error)
            self.session.store.problems.append(f"no report: {reason}")
        update = None if self.interrupted else self.update
        is_written = self.report is not None and (update is None or self._record(update))
        self.code = summary.exit_code(self.payloads, len(self.failures))
        if not is_written:
            self.code = summary.Exit.INFRASTRUCTURE
            session.exitstatus = self.code
        elif self.code is not None and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            session.exitstatus = self.code

    def _record(self, update: Update) -> bool:
        """Record what was selected; returns whether that could be done."""
        cases = self.session.options.selection.cases(self.session.papers.values())
        try:
            self.recorded = recording.record(
                self.session,
                cases,
                name=update.name,
                reason=update.reason,
                out=update.out,
                which=update.which,
                chosen=self._done(cases),
            )
        except (OSError, UserError, ValueError) as error:
            reason = summary.of_os_error(error, update.out) if isinstance(error, OSError) else str(error)
            self.session.store.problems.append(f"no baseline was recorded: {reason}")
            return False
        return True

    def _done(self, cases: Iterable[Case]) -> set[recording.Chosen]:
        """What came out in this session, with the plain baselines and pre-trainings that came along."""
        done = {(one["kind"], one["id"]) for one in self.payloads if one["status"] not in ("skipped", "failed")}
        budget = self.session.options.budget
        needed = (one for case in cases if ("run", case.id) in done for one in case.needed(budget))
        return done | {(one.recipe.kind, one.id) for one in needed}

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The tables, what was set aside, where the report is, and how an interrupted session goes on."""
        if not self.payloads and not (self.started and (self.interrupted or self.failures)):
            return
        terminalreporter.section(f"vitbench, {self.session.options.scope}")
        for line in summary.lines(self.payloads):
            terminalreporter.write_line(line)
        told = [problem for one in self.payloads for problem in one["problems"]]
        problems = list(dict.fromkeys([*told, *self.session.store.problems]))
        problems += stepsummary.write(
            self.payloads,
            code=self.code,
            failures=self.failures,
            scope=self.session.options.scope,
            problems=problems,
            interrupted=self.interrupted,
        )
        for problem in problems:
            terminalreporter.write_line(f"note: {problem}", yellow=True)
        for line in self.recorded:
            terminalreporter.write_line(f"baselines: {line}")
        if self.report is not None:
            terminalreporter.write_line(f"report: {self.report}")
        if self.interrupted:
            terminalreporter.write_line(summary.interrupted(fresh=self.session.options.fresh), yellow=True)
