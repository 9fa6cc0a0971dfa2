"""Recording: what a runs directory holds becomes the baseline, as a diff that somebody can review.

Refused where nobody could tell later what was recorded: from a tree with uncommitted changes, or without a reason.
"""

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from vitbench import baselines, curves, kept, machine, samples, summary
from vitbench.atomic import write_whole
from vitbench.baselines import Measurement
from vitbench.case import Case
from vitbench.errors import UserError, unknown
from vitbench.metrics import METRICS
from vitbench.session import Session

REASONS = "reasons.csv"  # in the folder of the recorded baselines
WHICH = ("changed", "missing", "all")
Chosen = tuple[str, str]  # the kind of a record, and the id of its case
LEAST_SHARE = 0.04  # of a timing's value that has to change: what the gate calls slower, see `vitbench.gate`


@dataclass(frozen=True, kw_only=True)
class Update:
    """What a session of pytest is to record at its end.

    Attributes:
        which: one of `WHICH`.
        name, reason, out: as of `record`.
    """

    which: str
    name: str
    reason: str
    out: Path


def check(name: str, reason: str) -> None:
    """Refuse what nobody could trace.

    Args:
        name: of the machine, chosen by a person.
        reason: why these become the baseline.

    Raises:
        UserError: for no reason, a tree with uncommitted changes, and a name that no machine can have.
    """
    baselines.check_machine(name)
    if not reason.strip():
        raise UserError("--reason is empty; say why these records become the baseline")
    commit = machine.commit()
    if not commit or commit.endswith("+"):
        state = "has uncommitted changes" if commit else "is no git checkout"
        raise UserError(
            f"this tree {state}; commit first, or say the commit in the environment variable VITBENCH_COMMIT"
        )


def record(
    session: Session,
    cases: Sequence[Case],
    *,
    name: str,
    reason: str,
    out: Path,
    device: str | None = None,
    which: str = "all",
    chosen: Collection[Chosen] | None = None,
) -> list[str]:
    """Add the records of cases to the baselines; returns a line for each file, and for what could not be taken.

    Args:
        name: of the machine.
        reason: as of `check`; kept in `REASONS`.
        out: folder of the recorded baselines.
        device: where the records are of several, whose to take.
        which: "missing" takes what nothing is recorded of, "changed" what is recorded with another value or by another
            version, "all" takes everything.
        chosen: which records, of what these cases need; None for all.

    Raises:
        UserError: if there is nothing to take, or it was made of uncommitted changes.
    """
    check(name, reason)
    measured, found, sampled = _held(session, cases, name, chosen)
    measured = _of_one_device(measured, device)
    if not measured:
        raise UserError(
            f"{session.options.runs} holds no record of these cases; run `pytest benchmarks` with the same options"
        )
    unclean = sorted({one.commit for one in measured if one.commit.endswith("+")})
    if unclean:
        commits = ", ".join(unclean)
        raise UserError(f"some records were made with uncommitted changes ({commits}); commit, and run with --fresh")
    old, _ = baselines.load_all(out)
    if which != "missing":
        _check_seeds(measured, old)
    taken = list(_chosen(measured, old, which))
    if not taken:
        return [f"{out}: nothing is {which}, so nothing was recorded"]
    _check_beside(out, taken)
    paths = [*baselines.save(out, taken), *kept.save(out, found, taken)]
    with baselines.writing(out):
        paths += [*_save_samples(out, sampled, taken), _keep_reason(out, name, reason, taken)]
    why = " ".join(reason.split())
    return [*(f"{path}: {why}" for path in paths), *(f"vitbench: {problem}" for problem in found.problems)]


def _check_seeds(measured: Sequence[Measurement], old: Iterable[Measurement]) -> None:
    """Refuse to replace some of the seeds of a cell: those of two versions of the code would be taken together.

    Raises:
        UserError: naming the seeds that are left over.
    """
    new = {(one.machine, *baselines.slot(one)): one for one in measured if one.seed.isdecimal()}
    moved = {
        (one.machine, one.cell)
        for one in old
        if (now := new.get((one.machine, *baselines.slot(one)))) and _differs(one, now)
    }
    for one in old:
        is_of_moved = (one.machine, one.cell) in moved and METRICS[one.metric].portable
        if is_of_moved and (one.machine, *baselines.slot(one)) not in new:
            raise UserError(
                f"{one.paper}, {one.model}, {one.objective}: seed {one.seed} is recorded and was not run again; "
                f"a cell's seeds are of one version: run with all of them, or --seeds {int(one.seed) + 1} at least"
            )


def _check_beside(out: Path, taken: Iterable[Measurement]) -> None:
    """Refuse before anything is written what is written last.

    Raises:
        UserError: if a file that stands beside the baselines cannot be read, which saving would lose.
    """
    _reasons(out / REASONS)
    problems = [*samples.load_all(out)[1], *curves.load_all(out)[1]]
    for owner, paper in sorted({(one.machine, one.paper) for one in taken}):
        own = tuple(f"{out / owner / part / paper}.csv:" for part in (samples.FOLDER, curves.FOLDER))
        for problem in problems:
            if problem.startswith(own):
                raise UserError(f"{problem}; mend the file, then record again")


def _reasons(path: Path) -> str:
    """What the list says so far; empty where there is none.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: it cannot be read ({error}); mend the file, then record again") from None
    return text if text.endswith("\n") or not text else f"{text}\n"


def _keep_reason(out: Path, name: str, reason: str, taken: Sequence[Measurement]) -> Path:
    """Add a line to the list of what was recorded when, and why."""
    path = out / REASONS
    text = io.StringIO()
    text.write(_reasons(path))
    writer = csv.writer(text, lineterminator="\n")
    if not text.getvalue():
        writer.writerow(("date", "machine", "papers", "measurements", "commit", "reason"))
    today = datetime.now(UTC).date().isoformat()
    papers = " ".join(sorted({one.paper for one in taken}))
    writer.writerow((today, name, papers, len(taken), machine.commit(), " ".join(reason.split())))
    write_whole(path, text.getvalue())
    return path


def _held(
    session: Session, cases: Sequence[Case], name: str, chosen: Collection[Chosen] | None
) -> tuple[list[Measurement], kept.Kept, dict[samples.Run, samples.Samples]]:
    """What the records of a runs directory hold, under the name of a machine."""
    budget = session.options.budget
    shown, found = kept.cells(cases, budget), kept.Kept()
    sampled: dict[samples.Run, samples.Samples] = {}
    measured: list[Measurement] = []
    for case, identity in summary.wanted(session, cases):
        is_chosen = chosen is None or (identity.kind, case.id) in chosen
        record = session.store.read(identity) if is_chosen else None
        if record is None:
            continue
        measured += baselines.measurements(case, record, machine=name)
        try:
            sampled[name, record.key[:12]] = samples.of_record(record)
        except ValueError as error:
            folder = session.store.folder(identity)
            raise UserError(f"{folder / 'record.json'}: {error}; run it with --fresh, then record again") from None
        if baselines.cell_of(case, budget, "loss")[:-1] in shown:
            found.take(record, session.store.folder(identity), machine=name)
    return list(dict.fromkeys(measured)), found, sampled  # several tables may show one run


def _of_one_device(measured: Sequence[Measurement], wanted: str | None) -> list[Measurement]:
    """What was measured on one device, and sizes, which are of none.

    Raises:
        UserError: if there are several and none is named.
    """
    devices = sorted({one.device for one in measured} - {""})
    if wanted is None and len(devices) > 1:
        raise UserError(f"these records are of {len(devices)} devices: {', '.join(devices)}; name one with --device")
    if wanted is not None and wanted not in devices:
        raise unknown("device of these records", wanted, devices, where="--device")
    return [one for one in measured if wanted is None or one.device in ("", wanted)]


def _chosen(measured: Iterable[Measurement], old: Iterable[Measurement], which: str) -> Iterable[Measurement]:
    known = {(one.machine, *baselines.slot(one)): one for one in old}
    for one in measured:
        before = known.get((one.machine, *baselines.slot(one)))
        if which == "all" or (before is None if which == "missing" else before is not None and _differs(before, one)):
            yield one


def _differs(old: Measurement, new: Measurement) -> bool:
    """Whether it is of another version, or another value; two timings never agree to the digit."""
    if old.key != new.key:
        return True
    if METRICS[new.metric].portable:
        return f"{old.value:.10g}" != f"{new.value:.10g}"
    return abs(new.value - old.value) > LEAST_SHARE * abs(old.value)


def _save_samples(out: Path, sampled: dict[samples.Run, samples.Samples], taken: Sequence[Measurement]) -> list[Path]:
    there, _ = baselines.load_all(out)
    keys = {(one.machine, one.key) for one in taken}
    written = []
    for name, paper in sorted({(one.machine, one.paper) for one in taken if one.machine != baselines.ANY}):
        own = {one.key for one in there if (one.machine, one.paper) == (name, paper)}
        new = {key: sampled[name, key] for key in own if (name, key) in keys and (name, key) in sampled}
        path = samples.save(out, name, paper, new, of=own)
        written += [path] if path else []
    return written
