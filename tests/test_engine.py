"""Engines: whatever takes the steps, the losses and the weights are those of the plain loop; a fall back is said."""

import gc
import weakref
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vitbench import build
from vitbench.case import Budget, Phase
from vitbench.contracts import Images
from vitbench.engine import WARM_STEPS, CudaGraphs, Engine, of_device
from vitbench.errors import UserError
from vitbench.identity import Identity
from vitbench.learner import Learner
from vitbench.objective import Call, parse

STEPS, BATCH = 20, 4
PHASE = Phase(
    epochs=2,
    batch_size=BATCH,
    optimizer={"name": "adamw", "lr": 1e-3, "weight_decay": 0.05},
    schedule={"name": "cosine", "warmup_epochs": 1},
    augmentation=(Call(name="crop", arguments={"padding": 2}), Call(name="flip")),
)


class Recording:
    """In the place of CUDA's graphs: notes what it is asked for, and replays by calling the step."""

    def __init__(self, *, refuses=False):
        self.asked, self.refuses, self.generators = [], refuses, []

    def warm(self, step, *, strict):
        self.asked.append("strict" if strict else "warm")
        step()
        if strict and self.refuses:
            raise RuntimeError("called a synchronizing CUDA operation\nwhile in error mode")

    def capture(self, step, generators):
        self.asked.append("capture")
        self.generators = list(generators)

        def replay():
            self.asked.append("replay")
            step()

        return replay


def learner(objective="ce + 0.1*drloc + 0.1*me", model="vit/tiny", ratio=0.75):
    identity = Identity(
        model=model,
        objective=parse(objective.replace("drloc", "drloc(hidden=16)").replace("me", f"me(depth=1, ratio={ratio})")),
        dataset="digits",
        data="",
        classes=10,
        image_size=32,
        budget=Budget.QUICK,
        versions={},
    )
    network = build.model_of(identity)
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (STEPS * BATCH, 3, 32, 32), dtype=torch.uint8, generator=draw)
    labels = torch.randint(10, (STEPS * BATCH,), generator=draw)
    return Learner(network, build.total_of(identity, network), Images(images=images, labels=labels), PHASE)


def epoch(one, step, number=0):
    order = torch.randperm(STEPS * BATCH, generator=torch.Generator().manual_seed(number))
    one.begin(number, order=order, seeds={"augment": number, "terms": number + 1})
    torch.manual_seed(number)
    return one.epoch(number, advance=step, tell=lambda done, loss: None)


@pytest.fixture(scope="module")
def plain():
    one = learner()
    return epoch(one, one.step), one


def weights(one):
    return {name: value.clone() for name, value in one.trained.state_dict().items()}


def same(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_eager_engine_is_the_step_itself():
    one = learner("ce")
    assert Engine().stepper(one) == one.step


def test_a_captured_step_is_captured_once_after_warm_steps_and_gives_the_bits_of_eager(plain):
    one, graphs = learner(), Recording()
    engine = Engine(name="graph", graphs=lambda: graphs)
    step = engine.stepper(one)
    assert torch.equal(epoch(one, step), plain[0])
    assert same(weights(one), weights(plain[1]))
    assert graphs.asked[: WARM_STEPS + 1] == ["warm", "warm", "strict", "capture"]
    assert graphs.asked[WARM_STEPS + 1 :] == ["replay"] * (STEPS - WARM_STEPS)
    assert graphs.generators == list(one.draws.values())
    epoch(one, step, 1)
    assert graphs.asked.count("capture") == 1
    assert (engine.name, engine.said) == ("graph", [])


def test_a_captured_step_lives_as_long_as_what_replays_it(monkeypatch):
    """A graph knows addresses only: what it reads must not be given to somebody else."""

    class Graph:
        def replay(self):
            pass

    for name, made in (("Stream", object), ("CUDAGraph", Graph), ("graph", lambda graph, **options: nullcontext())):
        monkeypatch.setattr(torch.cuda, name, made)
    step = partial(torch.mul, torch.ones(2), torch.ones(2))
    read = weakref.ref(step)
    replay = CudaGraphs().capture(step, ())
    del step
    gc.collect()
    replay()
    assert read() is not None


def test_a_step_that_waits_for_the_device_is_undone_and_taken_eagerly(plain):
    one, graphs = learner(), Recording(refuses=True)
    engine = Engine(name="graph", graphs=lambda: graphs)
    assert torch.equal(epoch(one, engine.stepper(one)), plain[0])
    assert same(weights(one), weights(plain[1]))
    assert "capture" not in graphs.asked
    assert engine.name == "eager"
    assert engine.said == ["engine graph: called a synchronizing CUDA operation; eager takes its place"]


def test_a_capture_that_fails_is_one_line():
    class Failing(Recording):
        def capture(self, step, generators):
            raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors")

    one = learner("ce")
    with pytest.raises(
        UserError, match=r"^the step cannot be captured \(operation .* capturing\); use --engine eager$"
    ):
        epoch(one, Engine(name="graph", graphs=Failing).stepper(one))


def test_a_replay_that_does_nothing_is_no_training():
    class Empty(Recording):
        def capture(self, step, generators):
            return lambda: None

    one = learner("ce")
    with pytest.raises(UserError, match="the captured step does nothing"):
        epoch(one, Engine(name="graph", graphs=Empty).stepper(one))


class NothingRead(TorchDispatchMode):
    """Refuses what a capture refuses: a number read on the host, which `.item()`, `if` and `bool()` come down to."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "a step reads a number on the host"
        assert func not in (torch.ops.aten.nonzero.default, torch.ops.aten.masked_select.default), func
        return func(*args, **(kwargs or {}))


def addresses(one):
    """Where everything lies that a replayed step reads or changes."""
    plan = [getattr(one.plan, name) for name in ("batches", "rates", "factors", "progress", "losses", "at")]
    states = [value for state in one.optimizer.state.values() for value in state.values()]
    rates = [group["lr"] for group in one.optimizer.param_groups]
    return [value.data_ptr() for value in (*plan, *states, *rates, *one.trained.state_dict().values())]


@pytest.mark.parametrize("model", ["vit/tiny", "resnet/tiny", "t2t/tiny", "cvt/tiny"])
def test_a_step_reads_nothing_on_the_host_and_moves_nothing(model):
    one = learner(model=model)
    epoch(one, one.step)
    before = addresses(one)
    order = torch.arange(STEPS * BATCH)
    one.begin(1, order=order, seeds={"augment": 1, "terms": 2})
    with NothingRead():
        one.step()
        one.step()
    assert addresses(one) == before
    assert all(weight.grad is None for weight in one.trained.parameters())


def test_a_cpu_has_no_graphs_and_says_so():
    engine = of_device("graph", "cpu")
    one = learner("ce")
    assert engine.stepper(one) == one.step
    assert engine.name == "eager"
    assert "no CUDA graphs" in engine.said[0]


def test_out_of_memory_is_no_reason_to_fall_back():
    class Full(Recording):
        def warm(self, step, *, strict):
            raise torch.OutOfMemoryError("CUDA out of memory")

    one = learner("ce")
    engine = Engine(name="graph", graphs=Full)
    with pytest.raises(torch.OutOfMemoryError):
        epoch(one, engine.stepper(one))
    assert not engine.said


@pytest.fixture
def _no_compiled_code():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiling(test):
    """Without code that an earlier test compiled; torch warns of what it does itself while it compiles."""
    quiet = pytest.mark.filterwarnings("ignore:.*a leaf Tensor", "ignore:Guards may run slower on Python 3.13.0")
    return quiet(pytest.mark.usefixtures("_no_compiled_code")(test))


@compiling
def test_compiled_steps_have_the_losses_of_eager(plain):
    one = learner()
    engine = Engine(name="compile", backend="aot_eager")
    torch.testing.assert_close(epoch(one, engine.stepper(one)), plain[0], rtol=1e-5, atol=0)
    assert not engine.said
    assert engine.name == "compile"


@compiling
def test_one_compilation_serves_every_weight_ratio_and_seed():
    compiled = []

    def backend(module, inputs):
        compiled.append(len(inputs))
        return module.forward

    counts = []
    for objective, ratio in (("ce + 0.1*drloc + 0.1*me", 0.75), ("ce + 0.5*drloc + 0.2*me", 0.5)):
        one = learner(objective, ratio=ratio)
        epoch(one, Engine(name="compile", backend=backend).stepper(one))
        counts.append(len(compiled))
    # The network, the decoder, and with a newer torch DRLoc's MLP, which is made of torch's own layers alone.
    assert counts[0] in (2, 3)
    assert counts[1] == counts[0]  # nothing for other weights and another ratio


@compiling
@pytest.mark.parametrize("captures", [False, True])
def test_what_does_not_compile_is_undone_and_taken_by_a_lower_engine(plain, captures):
    def broken(module, inputs):
        raise ValueError("no compiler here")

    one, graphs = learner(), Recording()
    engine = Engine(name="compile", backend=broken, graphs=(lambda: graphs) if captures else None)
    assert torch.equal(epoch(one, engine.stepper(one)), plain[0])
    assert same(weights(one), weights(plain[1]))
    assert engine.name == ("graph" if captures else "eager")
    assert ("capture" in graphs.asked) is captures
    assert len(engine.said) == 1
