"""The script that damages terms: each damage does what its name says on one step, the harmless ones do nothing."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from vitbench import build
from vitbench.case import Budget
from vitbench.compare import Evidence, Finding, Verdict
from vitbench.contracts import Step
from vitbench.identity import of_run

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "perf" / "damage.py"
TERMS = ("drloc", "me")


@pytest.fixture(scope="module")
def damage():
    spec = importlib.util.spec_from_file_location("damage_on_purpose", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks for its module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def slip_of(damage, folder):
    return next(one for one in damage.SLIPS if one.folder == folder)


def one_step(damage, term, folder="", *, alone=True):
    """Raw values, gradients of the network and of the term, logits and labels; `alone`: `ce` has no weight."""
    identity = of_run(damage.cases_of("vit")[term], budget=Budget.QUICK)
    model = build.model_of(identity)
    if folder:
        slip = slip_of(damage, folder)
        with damage.at_work(slip, "ce" if slip.everywhere else term):
            total = build.total_of(identity, model)
    else:
        total = build.total_of(identity, model)
    if alone and term != "ce":
        total.weights[0] = 0.0
    draws = torch.Generator().manual_seed(5)
    images, labels = torch.rand(16, 3, 32, 32, generator=draws), torch.randint(10, (16,), generator=draws)
    images = images[:, :, : identity.image_size, : identity.image_size]
    step = Step(images=images, labels=labels, model=model, forward=model, progress=torch.zeros(()), generator=draws)
    loss, raw = total(step)
    loss.backward()
    return {
        "loss": loss.item(),
        "raw": dict(zip(total.names, raw.tolist(), strict=True)),
        "network": [one.grad for one in model.parameters()],
        "term": [one.grad for one in total.parameters()],
        "logits": step.out.logits.detach(),
        "labels": labels,
    }


def assert_gradients(found, sound, factor, **tolerance):
    pairs = [(a, b) for part in ("network", "term") for a, b in zip(found[part], sound[part], strict=True)]
    assert any(b is not None and b.any() for _, b in pairs)
    for a, b in pairs:
        assert (a is None) == (b is None)
        if b is not None:
            torch.testing.assert_close(a, factor * b, **tolerance)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize(("folder", "factor"), [("sign", -1.0), ("tenfold", 10.0)])
def test_a_wrong_weight_changes_every_gradient_by_its_factor(damage, term, folder, factor):
    sound, found = one_step(damage, term), one_step(damage, term, folder)
    assert found["raw"] == sound["raw"]
    assert found["loss"] == pytest.approx(factor * sound["loss"], rel=1e-6)
    assert_gradients(found, sound, factor, rtol=1e-4, atol=1e-7 * abs(factor))


@pytest.mark.parametrize("term", TERMS)
def test_a_gradient_that_is_cut_off_reaches_the_term_alone(damage, term):
    sound, found = one_step(damage, term), one_step(damage, term, "detached")
    assert found["raw"] == sound["raw"]
    assert any(one is not None and one.any() for one in sound["network"])
    # `ce` without a weight still gives gradients, all 0.
    assert not any(one is not None and one.any() for one in found["network"])
    for a, b in zip(found["term"], sound["term"], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("term", ["ce", "drloc"])
def test_shuffled_labels_are_those_of_the_batch_in_another_order(damage, term):
    sound, found = one_step(damage, term, alone=False), one_step(damage, term, "shuffled", alone=False)
    labels = torch.cat((sound["labels"][-1:], sound["labels"][:-1]))
    assert (labels != sound["labels"]).any()
    assert found["raw"]["ce"] == pytest.approx(F.cross_entropy(found["logits"], labels).item(), rel=1e-6)
    assert {k: v for k, v in found["raw"].items() if k != "ce"} == {k: v for k, v in sound["raw"].items() if k != "ce"}


@pytest.mark.parametrize("term", ["ce", *TERMS])
def test_another_order_of_operations_gives_the_same_loss_and_gradients(damage, term):
    sound, found = one_step(damage, term), one_step(damage, term, "rewritten")
    assert found["raw"] == pytest.approx(sound["raw"], rel=1e-6)
    assert_gradients(found, sound, 1.0, rtol=1e-4, atol=1e-7)


def test_after_it_everything_is_as_it_was(damage):
    before = build.total_of
    with damage.at_work(slip_of(damage, "sign"), "drloc"):
        assert build.total_of is not before
    assert build.total_of is before


@pytest.mark.parametrize("term", TERMS)
def test_golden_losses_see_a_slip_in_a_term_and_none_outside(damage, term):
    assert damage.golden(slip_of(damage, "sign"), term) == "pass, fail (inside the term)"
    assert damage.golden(slip_of(damage, "detached"), term) == "fail"
    assert damage.golden(slip_of(damage, "rewritten"), term) == "pass"


def test_a_trial_is_right_where_a_slip_fails_and_a_harmless_change_does_not(damage):
    blank = {"subject": "a case", "value": 1.0, "reference": 2.0, "against": "recorded"}
    worse = Finding(metric="gain", verdict=Verdict.WORSE, evidence=proof(), **blank)
    floor = Finding(metric="accuracy", verdict=Verdict.WORSE, **blank)
    same = Finding(metric="gain", verdict=Verdict.SAME, evidence=proof(), **blank)
    for folder, findings, failing, right in [
        ("sign", (worse, floor), ["gain", "accuracy below its floor"], True),
        ("sign", (same,), [], False),
        ("rewritten", (same,), [], True),
        ("rewritten", (worse,), ["gain"], False),
    ]:
        trial = damage.Trial(slip=slip_of(damage, folder), term="me", findings=findings)
        assert (trial.failing, trial.is_right) == (failing, right)
    lost = damage.Trial(slip=slip_of(damage, "sign"), term="me", findings=(), is_lost=True)
    assert (lost.failing, lost.is_right) == (["training lost"], True)


def proof(**changes):
    given = {"effect": -1.25, "low": -2.0, "high": -0.5, "p": 0.00123, "counts": (5, 4), "test": "t"}
    return Evidence(**given | changes)


def test_a_proof_is_shown_with_interval_seeds_and_p(damage):
    assert damage.shown(proof()) == "-1.25 points (-2.00 to -0.50), n 5/4, p 0.001"
    assert damage.shown(proof(unit="%", p=math.nan, low=-123456.0)) == "-1.2 % (-1.2e+05 to -0.5), n 5/4"
