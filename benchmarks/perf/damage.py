"""Whether the gate notices a broken term: real quick runs, broken on purpose, judged against sound ones.

What is recorded are the thesis' quick runs of one network on the digits, plain and with either term, as the code is.
Then the same cases are run once more with a slip in the code, as a commit might bring it: no version is raised, so
every run has the identity of the recorded one. The session judges them as `pytest benchmarks` does.

    python benchmarks/perf/damage.py [--runs FOLDER] [--seeds N] > out.md

To be reached, else it exits with 1: each slip makes a case fail, and none of the harmless changes does. About
ten minutes on one core; FOLDER keeps the runs, and the same command goes on from there.
"""

import argparse
import importlib
import json
import math
import runpy
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from vitbench import baselines, build, papers
from vitbench.case import Case
from vitbench.compare import Verdict
from vitbench.contracts import Output, Step
from vitbench.errors import NonFinite
from vitbench.gate import Judgement, judge_difference
from vitbench.identity import Identity
from vitbench.options import Options
from vitbench.records import Record
from vitbench.selection import Selection
from vitbench.session import Outcome, Session
from vitbench.terms.drloc import draw_pairs
from vitbench.terms.me import draw_masks
from vitbench.total import Total

Change = Callable[[Total, str], None]
GOLDEN_TERMS = Path(__file__).parents[2] / "tests" / "contracts" / "golden_terms.py"


def weighted(factor: float) -> Change:
    """A weight that is off by a factor in the sum; the term itself is sound."""

    def change(total: Total, name: str) -> None:
        total.weights[total.names.index(name)] *= factor

    return change


def scaled(factor: float) -> Change:
    """A factor in the term itself; trains as `weighted` does, and shows in the term's own value."""

    def change(total: Total, name: str) -> None:
        _term(total, name).register_forward_hook(lambda term, given, value: factor * value)

    return change


def detached(total: Total, name: str) -> None:
    """A term that sees the network's output, but sends no gradient back."""

    def cut(term: nn.Module, given: tuple[Step]) -> tuple[Step]:
        (step,) = given
        return (replace(step, forward=lambda images: _without_gradient(step.out)),)

    _term(total, name).register_forward_pre_hook(cut)


def shuffled(total: Total, name: str) -> None:
    """Each image gets the label of the one before it in the batch, which is in random order."""

    def relabel(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        step, *factors = given
        return replace(step, labels=step.labels.roll(1)), *factors

    total.register_forward_pre_hook(relabel)


def rewritten(total: Total, name: str) -> None:
    """The same number in another order of operations."""
    term = _term(total, name)
    term.forward = partial(REWRITTEN[name], term)


def _term(total: Total, name: str) -> nn.Module:
    return total.terms[total.names.index(name)]


def _without_gradient(out: Output) -> Output:
    grids = tuple(one.detach() for one in out.grids)
    return replace(out, logits=out.logits.detach(), embedding=out.embedding.detach(), grids=grids)


def cross_entropy(term: nn.Module, step: Step) -> Tensor:
    """`ce` of labels: the logarithm of the sum of exponentials, less the label's own logit."""
    logits = step.out.logits.float()
    return (logits.logsumexp(1) - logits.gather(1, step.labels.unsqueeze(1)).squeeze(1)).mean()


def drloc(term: nn.Module, step: Step) -> Tensor:
    """`drloc` of pairs that the batch shares: cells picked by row and column, one sum over everything."""
    grid = step.out.grids[-1]
    batch, _, height, width = grid.shape
    drawn = draw_pairs(1, term.pairs, height * width, device=grid.device, generator=step.generator)[0]  # (n, 2)
    rows, columns = drawn // width, drawn % width
    first, second = (grid[:, :, rows[:, one], columns[:, one]].transpose(1, 2) for one in (0, 1))  # (B, n, D)
    target = torch.stack((rows.diff().abs() / height, columns.diff().abs() / width), dim=-1).squeeze(1)  # (n, 2)
    return (term.mlp(torch.cat((first, second), dim=-1)) - target).abs().sum() / (batch * term.pairs)


def me(term: nn.Module, step: Step) -> Tensor:
    """`me`: the masked cells alone, one sum over everything."""
    cells = step.out.grids[-1].flatten(2).transpose(1, 2)  # (B, h*w, D)
    masked = draw_masks(*cells.shape[:2], kept=term.kept, device=cells.device, generator=step.generator)
    wrong = (term.decode(cells, masked) - cells)[masked]
    return wrong.pow(2).sum() / cells.numel() / term.ratio


REWRITTEN = {"ce": cross_entropy, "drloc": drloc, "me": me}


@dataclass(frozen=True, kw_only=True)
class Slip:
    """A change of the code.

    Attributes:
        folder: of its runs.
        terms: that it is tried on, each alone.
        inside: the same slip in the term's own file, which trains the same network.
        everywhere: whether it is one of the loop, which the plain runs have too.
        harmless: whether nothing may fail.
    """

    name: str
    folder: str
    change: Change
    terms: tuple[str, ...] = ("drloc", "me")
    inside: Change | None = None
    everywhere: bool = False
    harmless: bool = False

    def place(self, term: str) -> str:
        """Folder of the runs with the slip in one term."""
        return self.folder if self.everywhere else f"{self.folder}-{term}"


SLIPS = (
    Slip(name="wrong sign", folder="sign", change=weighted(-1.0), inside=scaled(-1.0)),
    Slip(name="weight ten times too large", folder="tenfold", change=weighted(10.0), inside=scaled(10.0)),
    Slip(name="weight a tenth", folder="tenth", change=weighted(0.1), inside=scaled(0.1)),
    Slip(name="gradient cut off from the network", folder="detached", change=detached),
    Slip(name="labels shuffled", folder="shuffled", change=shuffled, terms=("ce", "drloc", "me"), everywhere=True),
    Slip(
        name="other order of operations",
        folder="rewritten",
        change=rewritten,
        terms=("ce", "drloc", "me"),
        harmless=True,
    ),
)


@contextmanager
def at_work(slip: Slip, term: str) -> Iterator[None]:
    """Have every objective that is built with the term carry the slip."""
    sound = build.total_of

    def total_of(identity: Identity, model: nn.Module) -> Total:
        total = sound(identity, model)
        if term in total.names:
            slip.change(total, term)
        return total

    build.total_of = total_of
    try:
        yield
    finally:
        build.total_of = sound


def cases_of(model: str) -> dict[str, Case]:
    """The plain case, and one with either term."""
    wanted = {"ce": "ce", "drloc": "ce + 0.1*drloc", "me": "ce + 0.1*me"}
    every = {
        str(one.objective): one
        for one in Selection().cases(papers.load_all())
        if (one.paper, one.table, one.model.name) == ("floros2024", "4.6", model)
    }
    return {term: every[objective] for term, objective in wanted.items()}


def train(root: Path, cases: dict[str, Case], seeds: int) -> None:
    """Make every run that is not there, seed by seed; one that is lost has no record."""
    for seed in range(seeds):
        for case in cases.values():
            _do(root / "sound", case, seed)
        for slip in SLIPS:
            for term in slip.terms:
                with at_work(slip, "ce" if slip.everywhere else term):
                    _do(root / slip.place(term), cases[term], seed)


def _do(folder: Path, case: Case, seed: int) -> None:
    session, started = Session(Options(runs=folder)), time.monotonic()
    with suppress(NonFinite):
        if not session.do(session.run_of(case, seed))[1]:
            taken = time.monotonic() - started
            print(f"{folder.name}, {case.objective}, seed {seed}: {taken:.0f} s", file=sys.stderr, flush=True)


def golden(slip: Slip, term: str) -> str:
    """What `tests/contracts/test_terms.py` says of a term with the slip, and with the same slip inside the term."""
    known = runpy.run_path(str(GOLDEN_TERMS))
    expected = json.loads(known["GOLDEN"].read_text(encoding="utf-8"))[term]["losses"]
    return ", ".join(
        ("fail" if any(abs(a - b) > 1e-4 * abs(b) for a, b in zip(found, expected, strict=True)) else "pass") + where
        for found, where in _golden_losses(known["losses"], slip, term)
    )


def _golden_losses(losses: Callable[[str], list[float]], slip: Slip, term: str) -> Iterator[tuple[list[float], str]]:
    module = importlib.import_module(f"vitbench.terms.{term}")
    sound = module.build
    for change, where in ((slip.change, ""), (slip.inside, " (inside the term)")):
        if change is not None:
            try:
                module.build = partial(_built, sound, change, term)
                yield losses(term), where
            finally:
                module.build = sound


def _built(sound: Callable[..., nn.Module], change: Change, name: str, *given: Any, **options: Any) -> nn.Module:
    term = sound(*given, **options)
    change(Total({name: term}, {name: 1.0}), name)
    return term


def record(root: Path, cases: dict[str, Case], seeds: int) -> Path:
    """Write what the sound runs measured as `vitbench record` does; returns the folder."""
    session = Session(Options(runs=root / "sound", seeds=seeds))
    folder = root / "recorded"
    shutil.rmtree(folder, ignore_errors=True)
    for case in cases.values():
        for one, _ in session.accuracy(case).records:
            baselines.save(folder, baselines.measurements(case, one, machine="here"))
    return folder


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A case with a slip, judged.

    Attributes:
        failing: checks that fail, by metric.
        judged: gain of a method, accuracy of the plain case, against the recorded ones; None where nothing was left.
        ratios: of the term's share of the last epoch's loss, now over before at the same seed; of all seeds.
    """

    slip: Slip
    term: str
    failing: tuple[str, ...]
    judged: Judgement | None
    ratios: tuple[float, ...]


def judge(root: Path, recorded: Path, cases: dict[str, Case], slip: Slip, term: str, seeds: int) -> Trial:
    """Have a session judge a case whose runs are there, as a user's would."""
    folder, case = root / slip.place(term), cases[term]
    if not slip.everywhere:
        _copy_plain(root, folder, case, seeds)
    session = Session(Options(runs=folder, seeds=seeds))
    session.__dict__["recorded"] = baselines.load_all(recorded)[0]  # in place of the repository's
    sound = Session(Options(runs=root / "sound", seeds=seeds)).accuracy(case)
    with at_work(slip, "ce" if slip.everywhere else term):
        try:
            found = session.accuracy(case)
        except NonFinite:
            return Trial(slip=slip, term=term, failing=("training lost",), judged=None, ratios=())
    judged = judge_difference(_gated(found), _gated(sound))
    failing = {one.metric for one in found.findings if one.fails}
    if judged.verdict == Verdict.WORSE:
        failing.add("accuracy" if case.is_baseline else "gain")
    now, before = ([_share(one, term) for one, _ in outcome.records] for outcome in (found, sound))
    ratios = tuple(a / b for a, b in zip(now, before, strict=True))
    return Trial(slip=slip, term=term, failing=tuple(sorted(failing)), judged=judged, ratios=ratios)


def _copy_plain(root: Path, folder: Path, case: Case, seeds: int) -> None:
    """The plain runs, which have no such term, come out as they were, bit by bit: they are copied."""
    sound, damaged = (Session(Options(runs=one)) for one in (root / "sound", folder))
    for seed in range(seeds):
        one = sound.run_of(case.baseline, seed)
        if not case.is_baseline and not damaged.is_done(one):
            shutil.copytree(sound.store.folder(one), damaged.store.folder(one), dirs_exist_ok=True)


def _gated(outcome: Outcome) -> list[float]:
    """Gains over the plain baseline, seed by seed, in points; of the plain baseline its accuracies."""
    own = [one.measurements["accuracy"] for one, _ in outcome.records]
    plain = [one.measurements["accuracy"] for one, _ in outcome.plain] or [0.0] * len(own)
    return [a - b for a, b in zip(own, plain, strict=True)]


def _share(record: Record, term: str) -> float:
    """What a term adds to the last epoch's loss."""
    return float(record.details["curves"][-1]["weighted"][term])


def row(one: Trial) -> list[str]:
    """A line of the table."""
    slip, judged = one.slip, one.judged
    if judged is None:
        return [slip.name, one.term, "yes: training lost", "", "", "", "", golden(slip, one.term)]
    caught = f"yes: {', '.join(one.failing)}" if one.failing else "no"
    interval = f"{judged.effect:+.2f} ({judged.low:+.2f} to {judged.high:+.2f})"
    return [
        slip.name,
        one.term,
        caught,
        interval,
        "/".join(map(str, judged.counts)),
        f"{judged.p:.1g}",
        ratio(one.ratios),
        golden(slip, one.term),
    ]


def ratio(ratios: Sequence[float]) -> str:
    """Geometric mean of ratios at the same seed and the p, of both sides, of their logarithms' being 0 on average."""
    if min(ratios) <= 0:
        return "another sign"
    logs = np.log(ratios)
    p = stats.ttest_1samp(logs, 0.0).pvalue
    return f"x {math.exp(logs.mean()):.3g} ({min(ratios):.3g} to {max(ratios):.3g}), p {p:.1g}"


COLUMNS = (
    "slip",
    "in",
    "the gate fails",
    "gain, of `ce` accuracy (points, 90 % interval)",
    "n",
    "p",
    "the term's share of the last loss (over seeds)",
    "golden losses",
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Whether the gate notices a broken term.")
    parser.add_argument("--runs", type=Path, help="keeps the runs (default: a temporary folder)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model", default="vit", help="of the thesis")
    options = parser.parse_args(arguments)
    cases = cases_of(options.model)
    with tempfile.TemporaryDirectory() as temporary:
        root = options.runs or Path(temporary)
        train(root, cases, options.seeds)
        recorded = record(root, cases, options.seeds)
        trials = [judge(root, recorded, cases, slip, term, options.seeds) for slip in SLIPS for term in slip.terms]
    print(f"`python benchmarks/perf/damage.py --seeds {options.seeds}`, {options.model}.\n")
    for line in (COLUMNS, ["---"] * len(COLUMNS), *map(row, trials)):
        print(f"| {' | '.join(line)} |")
    missed = [one for one in trials if bool(one.failing) is one.slip.harmless]
    for one in missed:
        print(f"\n- MISSED: {one.slip.name} in `{one.term}` {'fails' if one.failing else 'passes'}", end="")
    print(f"\n- {len(trials) - len(missed)} of {len(trials)} as they should be")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
