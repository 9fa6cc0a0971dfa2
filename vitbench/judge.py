"""The judge: what came out, held against what we recorded, and quick accuracies against a floor.

What is gated of accuracies is the gain of a method over its own plain baseline at the same seeds, and the level where
there is no such baseline; of speed the time of a step over that of the plain one. Quality may cross machines, where
precision and budget agree; timings judge only those of the machine that the session is told that it runs on.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vitbench import compare, samples
from vitbench.baselines import Measurement
from vitbench.case import Budget, Case
from vitbench.compare import Evidence, Finding, Verdict
from vitbench.identity import Identity
from vitbench.metrics import METRICS
from vitbench.options import Options
from vitbench.records import Record
from vitbench.reference import Reference, by_another_version, is_same_place, is_stale, told
from vitbench.samples import Run, Samples

if TYPE_CHECKING:
    from vitbench.gate import Judgement

# What is the same on every machine and in every run, and so may fail to the last digit.
COUNTED = ("params", "macs")
# What a run measures of quality, each of which may not vanish.
QUALITY = ("accuracy", "adversarial_accuracy", "fgsm_drop", "knn", "linear")


@dataclass(frozen=True)
class Judge:
    """Gives findings.

    Args:
        recorded: what was recorded.
        samples: that were recorded.
        problems: gets a line for each record whose samples cannot be used.
        floors: of a paper, by the names of its models: accuracies (%) that quick runs on the digits have to reach.
        options: of the session.
        run_of: the run of a case under a seed, as it is now.
    """

    recorded: Sequence[Measurement]
    floors: Callable[[str], Mapping[str, float]]
    options: Options
    run_of: Callable[[Case, int], Identity]
    samples: Mapping[Run, Samples] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @cached_property
    def _reference(self) -> Reference:
        return Reference(self.recorded, self.options, self.run_of)

    # What is counted

    def size(self, case: Case, record: Record) -> list[Finding]:
        """A case's parameters and MACs."""
        findings = []
        for name in COUNTED:
            old = self._reference.counted(case, name)
            reference = old[0].value if old else None
            value = record.measurements.get(name)
            if value is None and reference is None:
                continue
            # Recorded values are written with ten digits.
            verdict = compare.judge(METRICS[name], value, reference, tolerance=1e-9 * abs(reference or 0))
            against = told(old[0]) if old else "recorded"
            # Another version excuses a difference; where there is none, the number still holds.
            if old and verdict != Verdict.SAME and is_stale(old[0], record.key):
                verdict, against = Verdict.STALE, by_another_version(old[0])
            findings.append(self._finding(case, name, verdict, value, reference, against))
        return [*findings, *invalid(case, [record])]

    # Quality

    def accuracy(self, case: Case, records: Sequence[Record], plain: Sequence[Record]) -> list[Finding]:
        """What a case reached, under every seed that it was trained with.

        Args:
            records: of the case, one a seed.
            plain: of its plain baseline, of the same seeds; none of the baseline itself.
        """
        return [
            *self._floor(case, records),
            *self._vanished(case, records),
            *self._quality(case, records, plain),
            *self._losses(case, records),
            *invalid(case, records),
            *invalid(case.baseline, plain),
        ]

    def _quality(self, case: Case, records: Sequence[Record], plain: Sequence[Record]) -> Iterator[Finding]:
        """The gain over the plain baseline, or the level where there is none."""
        written = self._reference.written(case, "accuracy")
        known, now = self._reference.of_one_machine(case, "accuracy"), _by_seed(records, "accuracy")
        if not known:
            if now:
                yield self._unknown(case, "accuracy", now, written)
            return
        theirs, name = {seed: one.value for seed, one in known.items()}, "accuracy"
        if not case.is_baseline:
            machine, name = next(iter(known.values())).machine, "gain"
            before = self._reference.valid(case.baseline, "accuracy", machine=machine)
            now = _minus(now, _by_seed(plain, "accuracy"))
            theirs = _minus(theirs, {seed: one.value for seed, one in before.items()})
            if now and not theirs:
                against = f"recorded of both it and its plain baseline at one seed on {machine}"
                yield self._finding(case, name, Verdict.NEW, _mean(now), None, against)
        if now and theirs:
            from vitbench import gate  # imports scipy

            judgement = gate.judge_difference(_ordered(now), _ordered(theirs))
            if judgement.gated:
                last = max((known[seed] for seed in theirs), key=lambda one: one.date)
                against = f"{told(last)} of {last.machine}"
                informs = self._informs(last)
                yield self._tested(case, name, judgement, _mean(now), _mean(theirs), against, informs=informs)

    def _losses(self, case: Case, records: Sequence[Record]) -> Iterator[Finding]:
        """What each term added to the loss of the first epoch: it tells a slip in a term that no accuracy shows."""
        lines = self._reference.of_one_machine(case, "loss")
        now = {int(one.identity["seed"]): one for one in records}
        pairs = {
            seed: (self._samples_of(now[seed]), self.samples.get((line.machine, line.key), {}))
            for seed, line in sorted(lines.items())
            if seed in now and is_same_place(line, now[seed])
        }
        for name in sorted({name for _, old in pairs.values() for name in old}):
            both = [(new[name][0], old[name][0]) for new, old in pairs.values() if name in new and name in old]
            if not both:
                gone = next(old[name][0] for _, old in pairs.values() if name in old)
                yield self._finding(case, f"loss of {name}", Verdict.MISSING, None, gone, "recorded")
            if len(both) < 2:
                continue
            from vitbench import gate  # imports scipy

            ours, theirs = zip(*both, strict=True)
            judgement = gate.judge_losses(ours, theirs)
            if judgement.gated:
                last = max(lines.values(), key=lambda one: one.date)
                value, reference = (sum(one) / len(one) for one in (ours, theirs))
                against = f"{told(last)} of {last.machine}"
                informs = self._informs(last)
                yield self._tested(case, f"loss of {name}", judgement, value, reference, against, informs=informs)

    def _samples_of(self, record: Record) -> Samples:
        try:
            return samples.of_record(record)
        except ValueError as error:
            line = f"{record.kind} {record.key[:12]}: what its gate compares is left out, {error}"
            self.problems.extend([line] if line not in self.problems else [])
            return {}

    def _unknown(self, case: Case, metric: str, now: Mapping[int, float], written: Sequence[Measurement]) -> Finding:
        """There is nothing recorded to compare with, or it is all of another version."""
        value = _mean(now)
        if not written:
            return self._finding(case, metric, Verdict.NEW, value, None, "recorded")
        last = max(written, key=lambda one: one.date)
        return self._finding(case, metric, Verdict.STALE, value, last.value, by_another_version(last))

    def _vanished(self, case: Case, records: Sequence[Record]) -> Iterator[Finding]:
        """What was recorded of these runs and did not come out now."""
        for metric in QUALITY:
            lost = [one for one in records if metric not in one.measurements]
            known = self._reference.of_one_machine(case, metric) if lost else {}
            if known:
                reason = "; ".join(dict.fromkeys(one.invalid[metric] for one in lost if metric in one.invalid))
                last = max(known.values(), key=lambda one: one.date)
                against = f"{told(last)} of {last.machine}" + (f" (now invalid: {reason})" if reason else "")
                yield self._finding(case, metric, Verdict.MISSING, None, last.value, against)

    def _floor(self, case: Case, records: Sequence[Record]) -> Iterator[Finding]:
        """Quick runs pass above a floor; 360 test images can tell little that is finer."""
        if self.options.budget != Budget.QUICK:
            return
        if any("accuracy" in record.invalid for record in records):  # which is said, and is below no floor
            return
        values = _by_seed(records, "accuracy")
        value = _mean(values) if len(values) == len(records) else None
        details, content = records[0].details, records[0].identity
        floor = compare.chance_ceiling(content["classes"], details["test_images"])
        against = "guessing stays below"
        floors = self.floors(case.paper) if case.dataset == "digits" else {}
        if case.model.name in floors:
            floor, against = floors[case.model.name], "the floor is"
        verdict = compare.judge(METRICS["accuracy"], value, floor)
        verdict = Verdict.SAME if verdict == Verdict.BETTER else verdict
        yield self._finding(case, "accuracy", verdict, value, floor, against, informs=False)

    def seeds(self, case: Case, records: Sequence[Record], plain: Sequence[Record]) -> tuple[int, Finding | None]:
        """How many seeds to add until the sign of a gain is known, and what is known where none is to be added.

        Args:
            records, plain: as of `accuracy`, of all seeds so far.
        """
        from vitbench import gate  # imports scipy

        gains = _minus(_by_seed(records, "accuracy"), _by_seed(plain, "accuracy"))
        if len(gains) < len(records):
            return 0, None  # a seed without an accuracy, which is told by itself
        more, judgement = gate.seeds_needed(_ordered(gains), cap=self.options.most_seeds or len(records))
        if more or not judgement.gated:
            return more, None
        return 0, self._tested(case, "gain", judgement, _mean(gains), 0.0, "plain", informs=True)

    # Speed

    def timing(self, case: Case, kind: str, record: Record) -> list[Finding]:
        """The time of a training step over that of the plain one; an inference has nothing to be held against."""
        return [*(self._speed(case, record) if kind == "training" else ()), *invalid(case, [record])]

    def _speed(self, case: Case, record: Record) -> Iterator[Finding]:
        value, where = record.measurements.get("step_ratio"), record.provenance
        here = (self.options.machine, where["device"], where["engine"])
        own = [
            one for one in self._reference.written(case, "step_ratio") if (one.machine, one.device, one.engine) == here
        ]
        if not self.options.machine:  # devices of one name are many machines
            return
        if not own:
            if value is not None:
                yield self._finding(case, "step_ratio", Verdict.NEW, value, None, f"recorded on {self.options.machine}")
            return
        last = max(own, key=lambda one: one.date)
        if value is None:
            yield self._finding(case, "step_ratio", Verdict.MISSING, None, last.value, told(last))
            return
        if is_stale(last, record.key):
            yield self._finding(case, "step_ratio", Verdict.STALE, value, last.value, by_another_version(last))
            return
        kept = self.samples.get((last.machine, last.key), {})
        now, old = (one.get(samples.MULTIPLES, ()) for one in (self._samples_of(record), kept))
        if min(len(now), len(old)) < samples.BLOCKS:  # of a record from before times were kept
            yield self._finding(case, "step_ratio", Verdict.NEW, value, None, f"times of {last.machine}")
            return
        from vitbench import gate  # imports scipy

        floor = max(float(gate.noise_floor(samples.blocks(one))) for one in (now, old))
        judgement = gate.slower(now, old, floor)
        if judgement.gated:
            yield self._tested(case, "step_ratio", judgement, value, last.value, f"{told(last)} of {last.machine}")

    # Findings

    def _informs(self, reference: Measurement) -> bool | None:
        """False where the reference is another machine's, which this session replaces by nothing."""
        return None if reference.machine == self.options.machine else False

    def _tested(
        self,
        case: Case,
        metric: str,
        judgement: "Judgement",
        value: float | None,
        reference: float | None,
        against: str,
        *,
        informs: bool | None = None,
    ) -> Finding:
        in_points = metric in METRICS and METRICS[metric].unit in ("%", "points")
        scale, unit = (1.0, "points") if in_points else (100.0, "%")
        evidence = Evidence(
            effect=scale * judgement.effect,
            low=scale * judgement.low,
            high=scale * judgement.high,
            p=judgement.p,
            counts=tuple(one for one in judgement.counts if one),
            test=judgement.test,
            unit=unit,
            why=judgement.why,
        )
        verdict = judgement.verdict
        return self._finding(case, metric, verdict, value, reference, against, informs=informs, evidence=evidence)

    def _finding(
        self,
        case: Case,
        metric: str,
        verdict: Verdict,
        value: float | None,
        reference: float | None,
        against: str,
        *,
        informs: bool | None = None,
        evidence: Evidence | None = None,
    ) -> Finding:
        update = self.options.update
        # What is recorded at the end of the session is judged and told, and fails nothing; what vanished cannot be.
        is_replaced = update in ("changed", "all") and verdict == Verdict.WORSE
        return Finding(
            subject=case.id,
            metric=metric,
            verdict=verdict,
            value=value,
            reference=reference,
            against=against,
            required=self.options.fail_on_missing and update not in ("missing", "all"),
            informs=is_replaced if informs is None else informs,
            evidence=evidence,
            command=repeating(case, metric, self.options),
        )


def repeating(case: Case, metric: str, options: Options) -> str:
    """The command that measures a metric of a case again, and of no other: `cifar10` is in `cifar100`."""
    test = "test_size" if metric in COUNTED else "test_training" if metric == "step_ratio" else "test_accuracy"
    return shlex.join(["pytest", "benchmarks", "-k", f"{test}[{case.id}]", *options.arguments(), "--fresh"])


def invalid(case: Case, records: Iterable[Record]) -> Iterator[Finding]:
    """Metrics that failed their own checks."""
    blank: dict[str, Any] = {"value": None, "reference": None}
    for metric, reason in {pair: None for record in records for pair in record.invalid.items()}:
        yield Finding(subject=case.id, metric=metric, verdict=Verdict.INVALID, against=reason, **blank)


def _by_seed(records: Iterable[Record], metric: str) -> dict[int, float]:
    """A metric of runs that have it, by their seeds."""
    return {int(one.identity["seed"]): one.measurements[metric] for one in records if metric in one.measurements}


def _minus(ours: Mapping[int, float], theirs: Mapping[int, float]) -> dict[int, float]:
    """Differences at the seeds that both have."""
    return {seed: ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()}


def _ordered(values: Mapping[int, float]) -> list[float]:
    return [values[seed] for seed in sorted(values)]


def _mean(values: Mapping[int, float]) -> float | None:
    return sum(values.values()) / len(values) if values else None
