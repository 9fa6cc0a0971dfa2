"""The pytest plugin: options, cases, the `bench` fixture, the summary, the exit code.

Registered once under this very name, by the entry point of an installed package or by `pytest_plugins` of a bare
checkout. It does nothing in a session that asks for none of its fixtures and options.
"""

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from vitbench import summary
from vitbench.case import Budget, Case
from vitbench.errors import DataAbsent, NonFinite, OutOfMemory, UserError
from vitbench.forecast import forecast
from vitbench.options import Options, folder
from vitbench.selection import Selection, sizes, timings
from vitbench.session import Outcome, Session

CASES: dict[str, Callable[[Session, list[Case]], list[Case]]] = {
    "accuracy_case": lambda session, cases: cases,
    "size_case": lambda session, cases: sizes(session.papers.values(), cases),
    "inference_case": lambda session, cases: [one for one in timings(cases) if one.is_baseline],
    "training_case": lambda session, cases: timings(cases),
}
SESSION = pytest.StashKey[Session]()
TIMED_CALLS, WARM_CALLS = 20, 2


def pytest_addoption(parser: pytest.Parser) -> None:
    """Every option of the suite; all are in one group of `pytest --help`."""
    group = parser.getgroup("vitbench", "benchmarks of vision transformers on little data")
    add = group.addoption
    add(
        "--gpu",
        action="store_true",
        help="run on the GPU, with the paper budget unless --budget says otherwise",
    )
    add(
        "--budget",
        choices=[one.value for one in Budget],
        help="how much of a recipe is run; quick without --gpu, else paper",
    )
    add(
        "--all-rows",
        action="store_true",
        help="quick budget: every row, not only the weights that a paper settled on",
    )
    add(
        "--dataset",
        action="append",
        default=[],
        metavar="NAME",
        help="quick budget: train on this and not on the digits; else a further column; repeatable",
    )
    add(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="a further row per objective, such as timm/resnet18 or mypkg.nets.mine; repeatable",
    )
    add(
        "--objective",
        action="append",
        default=[],
        metavar="EXPR",
        help="a further row per model, such as 'ce + 0.1*mypkg.mine'; repeatable",
    )
    add("--data", metavar="DIR", help="folder of data sets (default: the environment variable VITBENCH_DATA)")
    add("--download", action="store_true", help="fetch absent data sets into the folder of --data")
    add(
        "--runs",
        default=".vitbench",
        metavar="DIR",
        help="where records and checkpoints are kept (default: .vitbench)",
    )
    add(
        "--report",
        metavar="DIR",
        help="where the report is written (default: report/ in the folder of --runs)",
    )
    add("--seeds", type=int, default=1, metavar="N", help="train each case with N seeds (default: 1)")
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: autocast over fp32 weights")
    add("--fresh", action="store_true", help="train again although there are records")
    add("--fail-on-missing", action="store_true", help="fail where nothing was recorded to compare with")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Turn the options into a session; refuse what nothing has, in one line."""
    options = config.option
    try:
        made = _options(config)
        made.check()
        if options.report is not None:
            from vitbench.report import pages

            pages.check(folder(options.report, "--report"))
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SESSION] = Session(made, tell=_progress(config))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Ending(config), "vitbench.ending")
    if getattr(options, "dist", None) == "load" and any("benchmarks" in one for one in config.args):
        # Cases of one model share runs: on one worker none waits for another's.
        config.pluginmanager.register(OneWorkerPerModel(), "vitbench.scheduling")


def _options(config: pytest.Config) -> Options:
    option = config.option
    selection = Selection(
        budget=Budget(option.budget or ("paper" if option.gpu else "quick")),
        all_rows=option.all_rows,
        datasets=tuple(option.dataset),
        models=tuple(option.model),
        objectives=tuple(option.objective),
    )
    data = os.environ.get("VITBENCH_DATA") or None if option.data is None else option.data
    return Options(
        selection=selection,
        runs=folder(option.runs, "--runs"),
        data=None if data is None else folder(data, "--data"),
        download=option.download,
        device=_gpu() if option.gpu else "cpu",
        precision=option.precision,
        seeds=option.seeds,
        fresh=option.fresh,
        fail_on_missing=option.fail_on_missing,
    )


def _gpu() -> str:
    """The card of this process: each pytest-xdist worker takes one of those that the caller lets it see."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise pytest.UsageError("--gpu: torch sees no GPU on this machine; leave --gpu out, or see `vitbench doctor`")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return f"cuda:{int(worker) % count}"


def _progress(config: pytest.Config) -> Callable[[str, int, int, float], None]:
    """Progress on the terminal, past pytest's capture; made at the first step, when pytest's reporter is there."""
    made: list[Callable[[str, int, int, float], None]] = []

    def tell(what: str, done: int, steps: int, loss: float) -> None:
        if not made:
            made.append(_shown_progress(config))
        made[0](what, done, steps, loss)

    return tell


def _shown_progress(config: pytest.Config) -> Callable[[str, int, int, float], None]:
    from vitbench.progress import Progress

    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    if reporter is None or capture is None:  # a pytest-xdist worker; its controller shows test by test
        return lambda what, done, steps, loss: None

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            if reporter.isatty:
                reporter.rewrite(line, erase=True)
            else:
                reporter.ensure_newline()
                reporter.write_line(line)

    return Progress(write, is_terminal=reporter.isatty)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make the cases; without a mark, whose name `-k` would match."""
    for name, choose in CASES.items():
        if name in metafunc.fixturenames:
            session = metafunc.config.stash[SESSION]
            try:
                cases = choose(session, session.options.selection.cases(session.papers.values()))
            except UserError as error:
                raise pytest.Collector.CollectError(str(error)) from None
            metafunc.parametrize(name, cases, ids=[case.id for case in cases])


def pytest_report_collectionfinish(config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
    """Say before it starts how much there is to do."""
    parameters = [getattr(getattr(item, "callspec", None), "params", {}) for item in items]
    cases = [one["accuracy_case"] for one in parameters if "accuracy_case" in one]
    return [forecast(config.stash[SESSION], cases)] if cases else []


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator["Bench"]:
    """Does a case, notes what came out, and fails the test where it got worse."""
    yield Bench(request)
    _free_gpu()


class Bench:
    """The seam between a session and a test."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.request = request
        self.session = request.config.stash[SESSION]

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
        benchmark = self.request.getfixturevalue("benchmark")
        if benchmark.disabled:
            pytest.skip(
                "pytest-benchmark is switched off, as it is under pytest-xdist: timings need a machine of their own"
            )

        def stopwatch(call: Callable[[], object], setup: Callable[[], object]) -> Sequence[float]:
            benchmark.pedantic(call, setup=lambda: setup() and None, rounds=TIMED_CALLS, warmup_rounds=WARM_CALLS)
            seconds: Sequence[float] = benchmark.stats.stats.data
            return seconds

        return stopwatch

    def _do(self, case: Case, kind: str, work: Callable[[], Outcome]) -> None:
        skipped = failed = ""
        code = 0
        try:
            outcome = work()
        except DataAbsent as error:
            skipped, code = str(error), summary.Exit.INFRASTRUCTURE
        except OutOfMemory as error:
            failed, code = str(error), summary.Exit.INFRASTRUCTURE
        except (UserError, NonFinite) as error:
            failed = str(error)
        except OSError as error:
            failed, code = summary.of_os_error(error), summary.Exit.INFRASTRUCTURE
        # Outside of the handlers, so that no traceback keeps a model and its memory alive.
        if skipped or failed:
            if code:
                content = {
                    "id": case.id,
                    "kind": kind,
                    "status": "skipped" if skipped else "failed",
                    "exit": code,
                }
                self.note(summary.PROPERTY, content | {"values": {}, "cached": False, "invalid": {}, "problems": []})
            pytest.skip(skipped) if skipped else pytest.fail(failed, pytrace=False)
        payload = summary.payload(outcome, kind) | {"problems": list(self.session.store.problems)}
        for metric, value in payload["values"].items():
            self.note(metric, value)
        self.note(summary.PROPERTY, payload)
        failing = [str(finding) for finding in outcome.findings if finding.fails]
        if failing:
            pytest.fail("\n".join([*failing, f'repeat it with the same options and -k "{case.id}"']), pytrace=False)


def _free_gpu() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


class Ending:
    """Gathers the outcomes, of all workers where there are some, and ends the session."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.session = config.stash[SESSION]
        self.payloads: list[summary.Payload] = []
        self.plain_failures = 0
        self.report: Path | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in the payload of a test, or count a failure that none explains."""
        found = [value for name, value in report.user_properties if name == summary.PROPERTY]
        if report.when == "call":
            self.payloads += [one for one in found if isinstance(one, dict)]
        if report.failed and not any(one["exit"] for one in self.payloads[-1:] if found):
            self.plain_failures += 1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, and say by the exit code what kind of failure it was."""
        if not self.payloads:
            return
        option = self.config.option
        folder = Path(option.report) if option.report else self.session.options.runs / "report"
        try:
            self.report = summary.write_report(self.session, folder)
        except (OSError, UserError) as error:
            reason = summary.of_os_error(error) if isinstance(error, OSError) else str(error)
            self.session.store.problems.append(f"no report: {reason}")
            session.exitstatus = summary.Exit.INFRASTRUCTURE
            return
        code = summary.exit_code(self.payloads, self.plain_failures)
        if code is not None and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            session.exitstatus = code

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The tables, what was set aside, and where the report is."""
        if not self.payloads:
            return
        terminalreporter.section(f"vitbench, {self.session.options.budget} budget")
        for line in summary.lines(self.payloads):
            terminalreporter.write_line(line)
        told = [problem for one in self.payloads for problem in one["problems"]]
        for problem in dict.fromkeys([*told, *self.session.store.problems]):
            terminalreporter.write_line(f"not used: {problem}", yellow=True)
        terminalreporter.write_line(f"report: {self.report}")


class OneWorkerPerModel:
    """pytest-xdist: what shares runs goes to one worker."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Keep the cases of one paper and model together; leave every other test to itself."""
        from xdist.scheduler import LoadScopeScheduling

        class ByModel(LoadScopeScheduling):  # type: ignore[misc]
            def _split_scope(self, nodeid: str) -> str:
                parts = nodeid.partition("[")[2].split("/")
                return f"{parts[0]}/{parts[2]}" if len(parts) >= 5 else nodeid

        return ByModel(config, log)
