"""Where `gpu.py` measures: the networks and the recipe of a paper, on noise, timed in alternating blocks."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import torch
from speed_report import Runs

from vitbench import build, cost, identity, papers
from vitbench.case import Budget, Case
from vitbench.contracts import Images
from vitbench.engine import Engine, of_device
from vitbench.identity import Identity
from vitbench.learner import Learner
from vitbench.objective import Call
from vitbench.selection import Selection

PAPER, TABLE, DATASET = "floros2024", "4.6", "cifar10"  # the table has a row for each set of terms
AUGMENTATION = (Call(name="crop", arguments={"padding": 4}), Call(name="flip"))
STEPS_COMPARED, TINY_STEPS_COMPARED = 20, 4
Step = Callable[[], object]


@dataclass
class Bench:
    """Where and how big everything is; what a row has to say besides its numbers goes to `notes`."""

    device: torch.device
    tiny: bool
    notes: list[str] = field(default_factory=list)

    @property
    def steps_compared(self) -> int:
        """Steps whose losses are compared between engines."""
        return TINY_STEPS_COMPARED if self.tiny else STEPS_COMPARED

    @property
    def images(self) -> int:
        """Of the training set: CIFAR's, or the least that the comparison of losses needs."""
        return 64 * self.steps_compared if self.tiny else 50_000

    @property
    def budget(self) -> Budget:
        """Of the networks and terms."""
        return Budget.QUICK if self.tiny else Budget.PAPER

    def noise(self, count: int) -> Images:
        """Images on the CPU."""
        draw = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=draw)
        return Images(images=images, labels=torch.randint(0, 10, (count,), generator=draw))

    @cached_property
    def data(self) -> Images:
        """The training set, on the device."""
        return self.noise(self.images).to(self.device)

    def run(self, model: str, terms: str = "ce", precision: str = "bf16") -> Identity:
        """A run of the paper's, of one epoch and with crop and flip."""
        one = identity.of_run(_cases()[model, terms], budget=self.budget, precision=precision)
        phase = replace(one.phases[0], epochs=1, schedule={"name": "constant"}, augmentation=AUGMENTATION)
        return replace(one, phases=(phase,))

    def learner(self, one: Identity) -> Learner:
        """Its learner on the training set."""
        model = build.place(build.model_of(one), self.device)
        total = build.total_of(one, model).to(self.device)
        return Learner(model, total, self.data, one.phases[0], precision=one.precision)

    def engine(self, name: str) -> Engine:
        """An engine; a tiny one compiles by tracing only, as a real compilation takes most of a minute."""
        made = of_device(name, self.device.type)
        made.backend = "aot_eager" if self.tiny else made.backend
        return made

    def wait(self) -> None:
        """Until the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, call: Step, times: int = 1) -> float:
        """Of some calls, with the device waited for at both ends."""
        self.wait()
        started = time.perf_counter()
        for _ in range(times):
            call()
        self.wait()
        return time.perf_counter() - started

    def alternate(self, sides: Mapping[str, Step], *, blocks: int = 3, block: float = 0.6) -> dict[str, float]:
        """Median milliseconds of a call of each side, over blocks of calls that take about `block` seconds."""
        times = {}
        for name, call in sides.items():
            self.seconds(call, 1 if self.tiny else 10)
            guess = self.seconds(call, 1 if self.tiny else 5) / (1 if self.tiny else 5)
            times[name] = 2 if self.tiny else min(max(round(block / guess), 5), 300)
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(2 if self.tiny else blocks):
            for name, call in sides.items():
                taken[name].append(1e3 * self.seconds(call, times[name]) / times[name])
        spread = max((max(one) - min(one)) / statistics.median(one) for one in taken.values())
        self.notes.append(f"blocks of one side differ by at most {100 * spread:.1f} %")
        return {name: statistics.median(one) for name, one in taken.items()}

    def stepping(self, one: Identity, asked: str) -> tuple[str, Step, float]:
        """The step of a run by an engine that is warm: what to call it in a row, the step, and the seconds it took.

        The name is the engine's own; one that fell back, or compiled without a capture, is marked, so that no number
        stands as another's.
        """
        engine, learner = self.engine(asked), self.learner(one)
        calls: list[Step] = []
        taken = self.seconds(lambda: calls.append(cost.again(learner, engine)))
        self.notes += engine.said
        name = asked if engine.name == asked else f"{asked}_fell_to_{engine.name}"
        return (f"{name}_uncaptured" if name == "compile" and engine.graphs is None else name), calls[0], taken


@cache
def _paper_cases() -> tuple[Case, ...]:
    return tuple(Selection(budget=Budget.PAPER).cases([one for one in papers.load_all() if one.name == PAPER]))


@cache
def _cases() -> dict[tuple[str, str], Case]:
    """By model and set of terms."""
    chosen = [case for case in _paper_cases() if (case.table, case.dataset) == (TABLE, DATASET)]
    return {(case.model.name, _terms(case.objective.names)): case for case in chosen}


def _terms(names: Sequence[str]) -> str:
    return "+".join(name for name in names if name != "ce") or "ce"


def runs_of_paper() -> list[Runs]:
    """Its distinct runs, by model and set of terms."""
    found = {(one := identity.of_run(case, budget=Budget.PAPER)).key: (case, one) for case in _paper_cases()}
    kinds: Counter[tuple[str, str, int, int]] = Counter()
    for case, one in found.values():
        phase = one.phases[0]
        kinds[case.model.name, _terms(one.objective.names), 50_000 // phase.batch_size, phase.epochs] += 1
    return [Runs(model, terms, count, steps * epochs, epochs) for (model, terms, steps, epochs), count in kinds.items()]
