"""What holds for every file in `vitbench/terms/`, and that its behaviour is the recorded one."""

import ast
import inspect
import json
import random
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vitbench.leaves import find, known

golden_terms = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("golden_terms.py"))))
GOLDEN = json.loads(golden_terms.GOLDEN.read_text(encoding="utf-8"))
WRITE = "PYTHONPATH=. python tests/contracts/golden_terms.py --write"
NAMES = known("terms")

every_term = pytest.mark.parametrize("name", NAMES)
every_form = pytest.mark.parametrize("tiny", [False, True], ids=["full", "tiny"])


def constants(name):
    return find("terms", name).constants


def options_of(name, tiny):
    return constants(name)["TINY"] if tiny else {}


def a_step(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return golden_terms.step(*golden_terms.inputs(), generator=generator)


def global_generators():
    numpy_state = np.random.get_state()  # noqa: NPY002 - it is looked at, not drawn from
    return torch.get_rng_state().tolist(), random.getstate(), numpy_state[1].tolist(), numpy_state[2]


class NothingRead(TorchDispatchMode):
    """Refuses what no captured step may do: a number read on the host, or a size that values decide."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.masked_select.default,
        ), func
        return func(*args, **(kwargs or {}))


def count(term):
    return sum(p.numel() for p in term.parameters())


def test_the_three_terms_of_the_thesis_are_found():
    assert {"ce", "drloc", "me"} <= set(NAMES)


@every_term
def test_version_and_tiny_are_literals_that_need_no_import(name):
    version, tiny = constants(name)["VERSION"], constants(name)["TINY"]
    assert type(version) is int
    assert version >= 1
    assert isinstance(tiny, dict)


@every_term
def test_it_needs_a_number_of_versions_of_each_image(name):
    versions = constants(name).get("VERSIONS", 1)
    assert type(versions) is int
    assert 1 <= versions <= a_step().versions


@every_term
def test_build_takes_a_shape_and_options_with_plain_defaults(name):
    build = find("terms", name).load()
    shape, *options = inspect.signature(build).parameters.values()
    assert shape.name == "shape"
    assert all(option.kind is option.KEYWORD_ONLY for option in options)
    assert all(type(option.default) in (int, float, bool, str) for option in options)
    assert set(constants(name)["TINY"]) <= {option.name for option in options}


@every_term
def test_the_docstring_names_the_source(name):
    source = find("terms", name).path.read_text(encoding="utf-8")
    assert "\nSource: " in (ast.get_docstring(ast.parse(source)) or "")


@every_form
@every_term
def test_the_loss_is_a_finite_scalar_that_reaches_the_model_and_every_parameter(name, tiny):
    term, step = golden_terms.build(name, **options_of(name, tiny)), a_step()
    loss = term(step)
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    loss.backward()
    reached = (*step.out.grids, step.out.logits, *step.model.parameters())
    assert any(x.grad is not None and x.grad.any() for x in reached)
    trained = [(key, p) for key, p in term.named_parameters() if p.requires_grad]
    assert [key for key, p in trained if p.grad is None or not p.grad.any()] == []


@every_term
def test_the_tiny_form_is_not_larger(name):
    assert count(golden_terms.build(name, **options_of(name, True))) <= count(golden_terms.build(name))


@every_form
@every_term
def test_it_runs_on_meta(name, tiny):
    grid, logits = (tensor.to("meta") for tensor in golden_terms.inputs())
    with torch.device("meta"):
        term = golden_terms.build(name, **options_of(name, tiny))
        loss = term(golden_terms.step(grid, logits, generator=None))
    assert (loss.device.type, loss.shape) == ("meta", ())


@every_form
@every_term
def test_a_step_reads_nothing_on_the_host_and_has_fixed_shapes(name, tiny):
    term, step = golden_terms.build(name, **options_of(name, tiny)), a_step()
    with NothingRead():
        term(step).backward()


@every_term
def test_in_float64_the_loss_is_float64(name):
    term = golden_terms.build(name).double().eval()
    grid, logits = (tensor.double() for tensor in golden_terms.inputs())
    precise = term(golden_terms.step(grid, logits, generator=torch.Generator().manual_seed(0)))
    assert precise.dtype == torch.float64
    assert golden_terms.build(name).eval()(a_step()).item() == pytest.approx(precise.item(), rel=1e-5)


@every_term
def test_the_loss_is_the_same_where_channels_come_last_in_memory(name):
    term, (grid, logits) = golden_terms.build(name).double().eval(), golden_terms.inputs()
    found = []
    for one in (grid.double(), grid.double().to(memory_format=torch.channels_last)):
        found.append(term(golden_terms.step(one, logits.double(), generator=torch.Generator().manual_seed(0))))
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-12)


@every_term
def test_every_draw_comes_from_the_generator_of_the_step(name):
    term = golden_terms.build(name).eval()  # torch's dropout takes no generator; training seeds it for each epoch
    before = global_generators()
    first = term(a_step(seed=5)).item()
    assert global_generators() == before
    torch.manual_seed(99)
    assert term(a_step(seed=5)).item() == first


@every_term
def test_without_a_generator_the_global_one_decides(name):
    term, losses = golden_terms.build(name), []
    for _ in range(2):
        torch.manual_seed(3)
        losses.append(term(golden_terms.step(*golden_terms.inputs(), generator=None)).item())
    assert losses[0] == losses[1]


@every_term
def test_a_saved_state_gives_the_same_loss_to_another_instance(name):
    term, other = golden_terms.build(name, seed=0).eval(), golden_terms.build(name, seed=1).eval()
    other.load_state_dict(term.state_dict(), strict=True)
    assert other(a_step()).item() == term(a_step()).item()


def test_the_recorded_terms_are_those_that_exist():
    missing = set(NAMES) ^ set(GOLDEN)
    assert not missing, f"run `{WRITE}` for {sorted(missing)}"


@pytest.mark.parametrize("name", sorted(set(NAMES) & set(GOLDEN)))
def test_behaviour_and_version_change_together(name):
    recorded = GOLDEN[name]
    version, losses = constants(name)["VERSION"], golden_terms.losses(name)
    assert version == recorded["version"], (
        f"{name}: VERSION is {version}, recorded is {recorded['version']}; run `{WRITE}`"
    )
    assert losses == pytest.approx(recorded["losses"], rel=1e-4), (
        f"{name}: behaves differently at the same VERSION = {version}; raise it in vitbench/terms/{name}.py "
        f"and run `{WRITE}`, or undo the change"
    )
