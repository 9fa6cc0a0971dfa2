"""The pytest plugin: its options, its cases, the `bench` fixture, progress, and who does what under pytest-xdist.

Registered once under this very name, by the entry point of an installed package or by `pytest_plugins` of a bare
checkout. It does nothing in a session that asks for none of its fixtures and options.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from vitbench import machine, recording, summary
from vitbench.bench import Bench
from vitbench.campaign import plan
from vitbench.case import Budget, Case
from vitbench.division import OnePart, OneWorkerPerModel, shard_of, trained_by
from vitbench.ending import Ending
from vitbench.errors import UserError
from vitbench.forecast import forecast
from vitbench.history import History
from vitbench.machine import ENGINES, PRECISIONS
from vitbench.options import Options, duration, folder, seeds
from vitbench.papers import data_folder
from vitbench.recording import WHICH, Update
from vitbench.selection import Selection, sizes, timings, trained
from vitbench.session import Session

CASES: dict[str, Callable[[Session, list[Case]], list[Case]]] = {
    "accuracy_case": lambda session, cases: cases,
    "size_case": lambda session, cases: sizes(session.papers.values(), trained(cases, session.options.budget)),
    "inference_case": lambda session, cases: [
        one for one in timings(trained(cases, session.options.budget)) if one.is_baseline
    ],
    "training_case": lambda session, cases: timings(trained(cases, session.options.budget)),
}
SESSION = pytest.StashKey[Session]()


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
        help="a further row per model, such as 'ce + 0.1*mypkg.mine'; repeatable; "
        "one that begins with a minus: --objective='-0.1*me+ce'",
    )
    add("--data", metavar="DIR", help="folder of data sets (default: the environment variable VITBENCH_DATA)")
    add("--download", action="store_true", help="fetch absent data sets into the folder of --data")
    add("--weights", metavar="DIR", help="folder of published weights (default: environment variable VITBENCH_WEIGHTS)")
    add("--image-size", type=int, metavar="N", help="quick budget: pixels of photographs (default: 32)")
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
    add(
        "--seeds",
        default="1",
        metavar="N",
        help="train each case with N seeds (default: 1); auto, or auto:CAP, adds seeds until the sign of its gain over "
        "the plain baseline is known, at most 10, or CAP",
    )
    add("--precision", choices=PRECISIONS, default="fp32", help="bf16: autocast over fp32 weights")
    add("--engine", choices=ENGINES, help="how steps are taken (default: eager; with --gpu graph, a captured step)")
    add("--micro-batch", type=int, metavar="N", help="where a batch does not fit: N images at once, the same batch")
    add("--time-limit", metavar="TIME", help="such as 8m: the missing runs in order of worth, saved when it is over")
    add(
        "--shard",
        metavar="I/N",
        help="of the selected cases the part I of N, the same on every machine; what shares runs is in one part",
    )
    add("--fresh", action="store_true", help="begin anew: train again although there are records or checkpoints")
    add("--fail-on-missing", action="store_true", help="fail where nothing was recorded to compare with")
    add(
        "--update-baselines",
        choices=WHICH,
        help="at the end, record what was selected: only what has another value or version (changed), only what "
        "nothing is recorded of (missing), or both (all); what is replaced fails nothing",
    )
    add(
        "--machine",
        metavar="NAME",
        help="name of this machine, chosen by you, such as h200: its recorded timings, and no other's, judge those of "
        "this session, and --update-baselines records under it",
    )
    add("--reason", metavar="TEXT", help="--update-baselines: why; for the commit that takes them in")
    add("--recorded", metavar="DIR", help="folder of recorded baselines (default: those that come along)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Turn the options into a session; refuse what nothing has, in one line."""
    options = config.option
    try:
        made = _options(config)
        made.check()
        shard = shard_of(options)
        report = _report(options.report, made)
        update = None if hasattr(config, "workerinput") else _update(config)
    except UserError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SESSION] = Session(made, tell=_progress(config))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Ending(config.stash[SESSION], report, update), "vitbench.ending")
    if shard is not None:
        config.pluginmanager.register(OnePart(config.stash[SESSION], shard), "vitbench.shard")
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
    # What the environment says is not checked: in a session of other people's tests nobody asked for it.
    data, weights = (Path(one) if (one := os.environ.get(f"VITBENCH_{name}")) else None for name in ("DATA", "WEIGHTS"))
    limit = math.inf if option.time_limit is None else duration(option.time_limit, "--time-limit")
    return Options(
        selection=selection,
        runs=folder(option.runs, "--runs"),
        data=data if option.data is None else folder(option.data, "--data"),
        download=option.download,
        weights=weights if option.weights is None else folder(option.weights, "--weights"),
        image_size=option.image_size,
        device=_gpu() if option.gpu else "cpu",
        precision=option.precision,
        engine=option.engine,
        micro_batch=option.micro_batch,
        deadline=time.monotonic() + limit,
        **seeds(option.seeds),
        fresh=option.fresh,
        fail_on_missing=option.fail_on_missing,
        update=option.update_baselines or "",
        machine=option.machine or "",
        shard=option.shard or "",
        recorded=None if option.recorded is None else folder(option.recorded, "--recorded"),
    )


def _update(config: pytest.Config) -> Update | None:
    """What is to be recorded at the end; refused before anything is trained."""
    option = config.option
    if not option.update_baselines:
        if option.reason is not None:
            raise UserError("--reason says why baselines are recorded; add --update-baselines, or leave it out")
        return None
    for name in ("machine", "reason"):
        if getattr(option, name) is None:
            raise UserError(f"--update-baselines takes --{name}, too; see `pytest --help`")
    recording.check(option.machine, option.reason)
    out = data_folder() / "recorded" if option.recorded is None else folder(option.recorded, "--recorded")
    return Update(which=option.update_baselines, name=option.machine, reason=option.reason, out=out)


def _report(text: str | None, options: Options) -> Path:
    path = folder(str(options.runs / "report") if text is None else text, "--report")
    if (path / "README.md").exists():
        from vitbench.report import pages

        pages.check(path)
    return path


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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under a time limit, take the trainings in the order of a campaign: what is missing, in order of worth."""
    session = config.stash[SESSION]
    cases = [case for case in map(trained_by, items) if case is not None]
    if not cases or session.options.deadline == math.inf:
        return
    try:
        session.pace = History(session, cases).epoch_seconds
        order = {one.identity.key: number for number, one in enumerate(plan(session, [(0, case) for case in cases]))}
    except (OSError, UserError):
        return  # in any order: the forecast says why

    def place(item: pytest.Item) -> int:
        case = trained_by(item)
        keys = [session.run_of(case, seed).key for seed in session.options.all_seeds] if case else []
        return min((order[key] for key in keys if key in order), default=-1)  # what is done, and no training, first

    items.sort(key=place)


def pytest_report_collectionfinish(config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
    """Say before it starts how much there is to do."""
    session = config.stash[SESSION]
    cases = [case for case in map(trained_by, items) if case is not None]
    part: OnePart | None = config.pluginmanager.get_plugin("vitbench.shard")
    selected = part.selected if part else cases
    try:
        return [forecast(session, cases), *session.options.selection.left_out(selected)] if cases else []
    except (OSError, UserError) as error:  # each case will say so too, and end with 12
        reason = summary.of_os_error(error, session.options.runs) if isinstance(error, OSError) else error
        return [f"vitbench: no forecast: {reason}"]


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Does a case, notes what came out, and fails the test where it got worse."""
    yield Bench(request, request.config.stash[SESSION])
    machine.free_gpu()
