"""What a case costs: sizes against counting by hand, timings under a stopwatch that says what it was told to."""

import math
import sys

import pytest
import torch

from vitbench import build, cost
from vitbench.case import Budget, Phase
from vitbench.engine import Engine
from vitbench.identity import Identity
from vitbench.objective import parse

BATCH = 16
CPU = torch.device("cpu")


def identity_of(objective="ce", **changes):
    phase = Phase(epochs=1, batch_size=BATCH, optimizer={"name": "adamw", "lr": 2e-3}, schedule={"name": "constant"})
    return Identity(
        model="vit/tiny",
        objective=parse(objective),
        dataset="digits",
        data="",
        classes=10,
        image_size=32,
        versions={},
        phases=(phase,),
        budget=Budget.QUICK,
        **changes,
    )


# Sizes


def test_sizes_are_counted_with_the_terms_apart():
    found = cost.count(identity_of("ce + drloc(hidden=16)"))
    model = build.untrained("vit/tiny", 10, 32)
    measured = found["measurements"]
    assert measured["params"] * 1e6 == pytest.approx(sum(weight.numel() for weight in model.parameters()))
    # An MLP of two hidden layers of 16 on two embeddings, with biases; it sees 32 pairs.
    products = 2 * model.network.num_features * 16 + 16 * 16 + 16 * 2
    assert measured["term_params"] * 1e6 == pytest.approx(products + 16 + 16 + 2)
    pairs = 32 * products
    assert measured["training_macs"] == pytest.approx(3 * (measured["macs"] + pairs / 1e9))
    assert measured["training_macs_ratio"] == pytest.approx(1 + pairs / 1e9 / measured["macs"])
    pytest.importorskip("fvcore")
    assert measured["macs_fvcore"] > measured["macs"]
    assert measured["macs_layers"] < measured["macs_fvcore"]
    assert measured["macs_without_attention"] < measured["macs"]
    assert not found["invalid"]


def test_without_fvcore_its_column_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "fvcore.nn", None)
    cost._count_model.cache_clear()
    try:
        found = cost.count(identity_of())
    finally:
        cost._count_model.cache_clear()
    assert "macs_fvcore" not in found["measurements"]
    assert "fvcore" in found["invalid"]["macs_fvcore"]
    assert found["measurements"]["macs"] > 0


# Timings


class Watch:
    """A stopwatch that calls and then says what it was told to."""

    def __init__(self, *seconds):
        self.seconds, self.calls = seconds, 0

    def __call__(self, call, setup):
        for _ in self.seconds:
            setup()
            call()
            self.calls += 1
        return self.seconds


def test_inference_is_images_a_second():
    watch = Watch(0.5, 0.25, 0.5, 0.25)
    found = cost.time_inference(identity_of(), CPU, Engine(), watch)
    assert watch.calls == 4
    assert found["measurements"] == pytest.approx({"inference": BATCH / 0.375, "inference_noise": 100 * 0.25 / 0.375})
    assert found["details"]["batch_size"] == BATCH


def test_a_training_step_is_timed_against_plain_cross_entropy(monkeypatch):
    objectives = []
    monkeypatch.setattr(
        cost.build,
        "total_of",
        lambda one, model, make=build.total_of: objectives.append(one.objective) or make(one, model),
    )
    watch = Watch(0.02, 0.02, 0.02)
    measured = cost.time_training(identity_of("ce + drloc(hidden=16)"), CPU, Engine(), watch)["measurements"]
    assert objectives[-2].names == ("ce", "drloc")
    assert objectives[-1].names == ("ce",)
    assert measured["training"] == pytest.approx(BATCH / 0.02)
    assert measured["step_ms"] == pytest.approx(20)
    assert measured["training_noise"] == 0
    assert math.isfinite(measured["step_ratio"])
    assert "peak_memory" not in measured  # which torch counts on a GPU only


def test_a_step_has_six_operations_for_each_mac_of_an_image():
    counted = cost.count(identity_of("ce + drloc(hidden=16)"))["measurements"]
    flops = cost.step_flops(identity_of("ce + drloc(hidden=16)"))
    assert flops == pytest.approx(2 * counted["training_macs"] * 1e9 * BATCH)
    assert cost.step_flops(identity_of()) == pytest.approx(6 * counted["macs"] * 1e9 * BATCH)


def test_the_share_of_the_peak_is_the_operations_of_a_step_over_what_the_device_can(monkeypatch):
    monkeypatch.setattr(cost, "matmul_peak", lambda device, precision: 1e12)
    measured = cost.time_training(identity_of(), CPU, Engine(), Watch(0.01, 0.01))["measurements"]
    assert measured["peak_share"] == pytest.approx(100 * cost.step_flops(identity_of()) / 0.01 / 1e12)


def test_memory_is_that_of_each_objective_alone_and_its_ratio(monkeypatch):
    taken = iter([300.0, 200.0])
    monkeypatch.setattr(cost.speed, "peak_memory", lambda call, device: next(taken))
    measured = cost.time_training(identity_of("ce + drloc(hidden=16)"), CPU, Engine(), Watch(0.01, 0.01))[
        "measurements"
    ]
    assert (measured["peak_memory"], measured["memory_ratio"]) == (300.0, 1.5)


def test_a_step_can_be_timed_again_and_again_by_a_captured_one():
    class Graphs:
        replays = 0

        def warm(self, step, *, strict):
            step()

        def capture(self, step, generators):
            def replay():
                Graphs.replays += 1
                step()

            return replay

    one = cost.learner(identity_of(), CPU)
    call = cost.again(one, Engine(name="graph", graphs=Graphs))
    assert Graphs.replays == 1
    call()
    assert Graphs.replays == 2
    assert one.plan.at.item() == 1
