"""What runs have taken so far, and so what the next ones will take."""

import statistics
from collections.abc import Iterable
from dataclasses import replace

from vitbench import baselines, identity, leaves, machine
from vitbench.case import Budget, Case
from vitbench.objective import Objective
from vitbench.session import Session

Kind = tuple[str, ...]


class History:
    """Seconds of finished runs, on this device, in this precision, by this engine.

    Args:
        session: whose records and recorded baselines are looked at.
        cases: whose runs may have records.
    """

    def __init__(self, session: Session, cases: Iterable[Case]) -> None:
        self.session = session
        self.taken: dict[Kind, list[float]] = {}
        self.rates: dict[str, list[float]] = {}  # seconds per MAC of training, by model
        self.macs = {
            (*one.cell[:4], one.cell[6]): one.value for one in session.recorded if one.metric == "training_macs"
        }
        options = session.options
        self.place = (machine.device_name(options.device), options.precision, options.engine_name)
        for case, seconds in [*self._done(cases), *self._recorded(cases)]:
            self.taken.setdefault(self._kind(case), []).append(seconds)
            work = self._work(case)
            if work:
                self.rates.setdefault(case.model.name, []).append(seconds / work)

    def seconds(self, case: Case) -> float | None:
        """What a run of a case will take: as runs of its kind, else by the MACs of others; None if none is known."""
        taken = self.taken.get(self._kind(case))
        if taken:
            return statistics.median(taken)
        work = self._work(case)
        rates = self.rates.get(case.model.name) or [one for rates in self.rates.values() for one in rates]
        return work * statistics.median(rates) if work and rates else None

    def epoch_seconds(self, case: Case) -> float:
        """What one epoch will take, 0 where nothing is known; the least that can be saved."""
        epochs = sum(phase.epochs for phase in identity.phases_of(case, self.session.options.budget))
        return (self.seconds(case) or 0.0) / max(1, epochs)

    def _done(self, cases: Iterable[Case]) -> Iterable[tuple[Case, float]]:
        for case in _distinct(cases, self.session.options.budget):
            for seed in self.session.options.all_seeds:
                record = self.session.store.read(self.session.run_of(case, seed))
                if record is not None:
                    made = record.provenance
                    engine = self.place[2] if "fell_back" in record.details else made["engine"]
                    if (made["device"], made["precision"], engine) == self.place:
                        # All of it, but of a run that was left and gone on with only the last stretch.
                        yield case, max(made["seconds"], record.measurements.get("train_seconds", 0.0))

    def _recorded(self, cases: Iterable[Case]) -> Iterable[tuple[Case, float]]:
        budget = self.session.options.budget
        found: dict[tuple[str, ...], list[float]] = {}
        for one in self.session.recorded:
            if one.metric == "train_seconds" and (one.device, one.precision, one.engine) == self.place:
                found.setdefault(one.cell, []).append(one.value)
        for case in _distinct(cases, budget):
            yield from ((case, value) for value in found.get(baselines.cell_of(case, budget, "train_seconds"), []))

    def _kind(self, case: Case) -> Kind:
        """Runs of one kind take the same time: weights and most arguments do not matter."""
        budget = self.session.options.budget
        return (case.paper, case.model.at(budget), ",".join(case.objective.names), case.dataset, case.recipe.name)

    def _work(self, case: Case) -> float | None:
        """MACs (10^9) of a whole training, of the paper's model; None where nobody counted them."""
        budget = self.session.options.budget
        objective = Objective(summands=case.objective.without_arguments(case.defaults).unweighted().summands)
        cell = baselines.cell_of(replace(case, objective=objective), budget, "training_macs")
        macs = self.macs.get((*cell[:4], cell[6]))
        images = leaves.find("datasets", case.dataset).constants.get("TRAIN")
        if case.model.at(budget) != case.model.full or macs is None or not images:
            return None
        return macs * int(images) * sum(phase.epochs for phase in identity.phases_of(case, budget))


def _distinct(cases: Iterable[Case], budget: Budget) -> Iterable[Case]:
    """Each experiment once, whatever table it stands in, plain baselines and pre-trainings too."""
    return {baselines.cell_of(one, "", ""): one for case in cases for one in case.needed(budget)}.values()
