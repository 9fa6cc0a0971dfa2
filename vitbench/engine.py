"""How steps are taken: one operation after the other, replayed from a captured graph, or compiled as well.

    eager     Python launches every operation
    graph     a whole step (pick images, augment, forward, losses, backward, optimizer) is captured once as a CUDA
              graph and replayed; needs a GPU
    compile   the network and the terms' own networks go through torch.compile; on a GPU the step is captured besides

The draws stay outside of what is compiled, so that every engine sees the same ones. What an engine cannot do is
said, and a lower one takes over: it is the one that a record names.
"""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch._dynamo
from torch import nn

from vitbench.errors import UserError, is_out_of_memory
from vitbench.learner import Learner

WARM_STEPS = 3  # before a capture: libraries set themselves up, the optimizer makes its state; they train as any other
RECOMPILATIONS = 256  # of one piece of code: networks x data sets x precisions of a long campaign

Step = Callable[[], None]


class Graphs(Protocol):
    """What captures a step: CUDA's graphs, or what a test puts in their place."""

    def warm(self, step: Step, *, strict: bool) -> None:
        """Take a step on a stream of its own; where strict, refuse what waits for the device."""

    def capture(self, step: Step, generators: Iterable[torch.Generator]) -> Step:
        """Capture a step without taking it; returns what takes it, again and again."""


class CudaGraphs:
    """CUDA's graphs, through torch."""

    def __init__(self) -> None:
        self.stream = torch.cuda.Stream()

    def warm(self, step: Step, *, strict: bool) -> None:
        """Take a step on a side stream, as torch asks for before a capture."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream), _refusing_to_wait() if strict else nullcontext():
            step()
        torch.cuda.current_stream().wait_stream(self.stream)

    def capture(self, step: Step, generators: Iterable[torch.Generator]) -> Step:
        """Capture a step; at every replay its draws go on from the generators, and follow a new seed."""
        graph = torch.cuda.CUDAGraph()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch 2.11 needs it, later ones do it themselves
            for generator in generators:
                graph.register_generator_state(generator)
        # What other threads do meanwhile, such as carrying data there, is none of the capture's business.
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            step()

        def replay(kept: Step = step) -> None:  # the step, with it what it reads: a graph knows addresses only
            graph.replay()

        return replay


@contextmanager
def _refusing_to_wait() -> Iterator[None]:
    """Inside, what waits for the device is a RuntimeError."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that this mode of torch is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@dataclass
class Engine:
    """What takes the steps, for the learners of one run.

    Attributes:
        name: what was asked for; after a fall back, what is used.
        said: a line for each fall back, with its reason.
        graphs: makes what captures steps; None where the device has nothing of the kind.
        backend: of torch.compile.
    """

    name: str = "eager"
    said: list[str] = field(default_factory=list)
    graphs: Callable[[], Graphs] | None = None
    backend: Any = "inductor"

    def stepper(self, learner: Learner) -> Step:
        """What takes the next step of a learner, each time that it is called."""
        if self.name == "graph" and self.graphs is None:
            self.fall_back("there are no CUDA graphs on this device")
        return learner.step if self.name == "eager" else Stepper(self, learner)

    def fall_back(self, reason: str, to: str = "eager") -> None:
        """Go on with a lower engine, and say so."""
        self.said.append(f"engine {self.name}: {reason}; {to} takes its place")
        self.name = to


def of_device(name: str, device: str) -> Engine:
    """An engine on a device ("cpu", "cuda", "cuda:1")."""
    return Engine(name=name, graphs=None if device == "cpu" else CudaGraphs)


class Stepper:
    """Takes the steps of one learner: a few as they are, then by replay.

    Args:
        engine: falls back where this learner's step can be neither captured nor compiled.
        learner: whose step it is.
    """

    def __init__(self, engine: Engine, learner: Learner) -> None:
        self.engine, self.learner = engine, learner
        self.graphs = engine.graphs() if engine.graphs else None
        self.taken = 0
        self.replay: Step | None = None
        if engine.name == "compile":
            _compile(learner, engine.backend)

    def __call__(self) -> None:
        """Take one step."""
        if self.replay is None and self.graphs is not None and self.taken >= WARM_STEPS:
            self.replay = self._capture(self.graphs)
        elif self.replay is not None:
            self.replay()
        elif self.taken == 0 and self.engine.name == "compile":
            self._try(strict=False, to="eager" if self.graphs is None else "graph")
        elif self.taken == WARM_STEPS - 1 and self.graphs is not None:
            self._try(strict=True, to="eager")
        else:
            self._take(strict=False)
        self.taken += 1

    def _capture(self, graphs: Graphs) -> Step:
        """Capture the step, and replay it for the first time."""
        before = int(self.learner.plan.at)
        try:
            replay = graphs.capture(self.learner.step, self.learner.draws.values())
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise UserError(f"the step cannot be captured ({_first_line(error)}); use --engine eager") from None
        replay()
        if int(self.learner.plan.at) != before + 1:
            raise UserError("the captured step does nothing when it is replayed; use --engine eager")
        return replay

    def _take(self, *, strict: bool) -> None:
        if self.graphs is None:
            self.learner.step()
        else:
            self.graphs.warm(self.learner.step, strict=strict)

    def _try(self, *, strict: bool, to: str) -> None:
        """Take a step that may turn out to be beyond the engine; then it is undone and taken by a lower one."""
        before = _snapshot(self.learner)
        try:
            self._take(strict=strict)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            _undo(self.learner, before)
            self.engine.fall_back(_first_line(error), to)
            if to == "eager":
                self.graphs = None
            self._take(strict=False)


def _compile(learner: Learner, backend: Any) -> None:
    """Without the draws of the terms, and without a copy of the network: evaluation goes on with the plain one."""
    # One network after the other goes through the same code; torch would give up silently after a few of them.
    torch._dynamo.config.recompile_limit = RECOMPILATIONS
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    learner.forward = torch.compile(learner.network, backend=backend)
    for part in _networks(learner):
        part.compile(backend=backend)


def _networks(learner: Learner) -> list[nn.Module]:
    return [part for term in learner.total.terms for part in term.children()]


def _snapshot(learner: Learner) -> dict[str, Any]:
    """Everything that a step changes."""
    return {
        "state": copy.deepcopy(learner.state()),
        "at": learner.plan.at.clone(),
        "fed": learner.feed.at,
        "draws": {name: one.get_state() for name, one in learner.draws.items()},
        "dropout": _dropout_state(learner.device),
    }


def _undo(learner: Learner, before: dict[str, Any]) -> None:
    """As if a step had not been tried, and without compiled code."""
    learner.forward = learner.network
    for part in _networks(learner):
        part._compiled_call_impl = None
    learner.optimizer.zero_grad(set_to_none=True)
    learner.load(before["state"])
    learner.plan.at.copy_(before["at"])
    learner.feed.at = before["fed"]
    for name, state in before["draws"].items():
        learner.draws[name].set_state(state)
    if learner.device.type == "cuda":
        torch.cuda.set_rng_state(before["dropout"], learner.device)
    else:
        torch.set_rng_state(before["dropout"])


def _dropout_state(device: torch.device) -> torch.Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
