"""The seam between a session and a test: does a case, leaves what came out with the test, fails it where it should."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from vitbench import summary
from vitbench.case import Case
from vitbench.errors import DataAbsent, DataBroken, NonFinite, OutOfMemory, TimeUp, UserError
from vitbench.session import Outcome, Session

TIMED_CALLS, WARM_CALLS = 20, 2
JUDGED_CALLS = 32  # where the machine is named, and so the times are judged or recorded; see docs/gate.md
NO_STOPWATCH = "pytest-benchmark is not loaded, and it is the stopwatch: install it, or leave `-p no:benchmark` out"


class Bench:
    """What the fixture `bench` gives to a test.

    Args:
        request: of the test.
        session: that does the cases.
    """

    def __init__(self, request: pytest.FixtureRequest, session: Session) -> None:
        self.request = request
        self.session = session

    def accuracy(self, case: Case) -> None:
        """Train a case and its plain baseline, and judge it."""
        self._do(case, "run", lambda: self.session.accuracy(case))

    def size(self, case: Case) -> None:
        """Count parameters and MACs, and judge them."""
        self._do(case, "size", lambda: self.session.size(case))

    def timing(self, case: Case, kind: str) -> None:
        """Time "inference" or "training"."""
        if not self.session.is_done(self.session.timing_of(case, kind)):
            self.session.stopwatch = self._stopwatch()
        self._do(case, kind, lambda: self.session.timing(case, kind))

    def note(self, name: str, value: object) -> None:
        """Add a property to the test's report: how outcomes leave a worker, and what JUnit files show."""
        self.request.node.user_properties.append((name, value))

    def _stopwatch(self) -> Any:
        """pytest-benchmark, fetched only now that something is timed."""
        try:
            benchmark = self.request.getfixturevalue("benchmark")
        except pytest.FixtureLookupError:
            benchmark = None
        if benchmark is None:
            pytest.skip(NO_STOPWATCH)
        if benchmark.disabled:
            pytest.skip(
                "pytest-benchmark is switched off, as it is under pytest-xdist: timings need a machine of their own"
            )

        rounds = JUDGED_CALLS if self.session.options.machine else TIMED_CALLS

        def stopwatch(call: Callable[[], object], setup: Callable[[], object]) -> Sequence[float]:
            benchmark.pedantic(call, setup=lambda: setup() and None, rounds=rounds, warmup_rounds=WARM_CALLS)
            seconds: Sequence[float] = benchmark.stats.stats.data
            return seconds

        return stopwatch

    def _do(self, case: Case, kind: str, work: Callable[[], Outcome]) -> None:
        outcome, skipped, failed, code = None, "", "", 0
        try:
            outcome = work()
        except DataAbsent as error:
            skipped, code = str(error), summary.Exit.INFRASTRUCTURE
        except TimeUp as error:
            skipped, code = f"time limit: {error}", summary.Exit.INFRASTRUCTURE
        except (DataBroken, OutOfMemory) as error:
            failed, code = str(error), summary.Exit.INFRASTRUCTURE
        except (UserError, NonFinite) as error:
            failed = str(error)
        except OSError as error:
            failed, code = summary.of_os_error(error, self.session.options.runs), summary.Exit.INFRASTRUCTURE
        # Outside of the handlers, so that no traceback keeps a model and its memory alive.
        if outcome is not None:
            self._judge(case, kind, outcome)
            return
        if code:
            status = "skipped" if skipped else "failed"
            self.note(summary.PROPERTY, summary.undone(case, kind, status, code, reason=skipped))
        pytest.skip(skipped) if skipped else pytest.fail(failed, pytrace=False)

    def _judge(self, case: Case, kind: str, outcome: Outcome) -> None:
        payload = summary.payload(outcome, kind) | {"problems": list(self.session.store.problems)}
        for metric, value in payload["values"].items():
            self.note(metric, value)
        for finding in outcome.findings:
            self.note(f"{finding.metric} verdict", f"{finding.verdict}: {finding}")
        self.note(summary.PROPERTY, payload)
        failing = [finding.line for finding in outcome.findings if finding.fails]
        if failing:
            pytest.fail("\n".join(failing), pytrace=False)
