"""What a case costs: sizes against counting by hand, timings under a stopwatch that says what it was told to."""

import math
import sys
from dataclasses import replace

import pytest
import torch

from vitbench import build, cost, papers
from vitbench.case import Budget, Phase
from vitbench.engine import Engine
from vitbench.identity import Identity, of_run
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
    cost._counted.cache_clear()
    try:
        found = cost.count(identity_of())
    finally:
        cost._counted.cache_clear()
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
    assert [one.names for one in objectives] == [("ce", "drloc"), ("ce",)]  # each built once
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


# Steps that see several views


def passed(size, *, classes=102, patch=16, dim=768, depth=12):
    """MACs of an image through ViT-B/16, by its closed form; 102 flowers."""
    cells = (size // patch) ** 2
    tokens = cells + 1
    block = tokens * (4 + 2 * 4) * dim**2 + 2 * tokens**2 * dim
    return cells * 3 * patch**2 * dim + depth * block + dim * classes


HEAD = 768 * 2048 + 2048 * 2048 + 2048 * 256 + 256 * 1024  # of the term `distill`


@pytest.fixture(scope="module")
def of_thesis():
    """A run of detkov2022 on Flowers102 by the name of its recipe."""
    paper = papers.load(papers.data_folder() / "papers" / "detkov2022.toml")
    cases = {case.recipe.name: case for case in paper.cases if case.dataset.startswith("flowers102")}
    return lambda name: of_run(cases[name], budget=Budget.PAPER)


@pytest.mark.parametrize(("name", "answers"), [("tort", 6), ("tort-code", 9)])
def test_a_step_of_tort_costs_its_student_its_crops_and_a_teacher_without_a_backward_pass(of_thesis, name, answers):
    """Equation 3.2 asks the student of small crops alone, the code of all nine views."""
    positions = 768 * (96 // 16) ** 2 * (224 // 16) ** 2  # resampled by a product, once for all crops
    student = 3 * passed(224) + 6 * passed(96) + positions + answers * HEAD + 3 * 4 * 768
    teacher = 3 * (passed(224) + HEAD)
    expected = 3 * student + teacher
    one = of_thesis(name)
    assert cost.step_flops(one) == pytest.approx(2 * 32 * expected, rel=1e-12)
    assert cost.step_ratio(one) == pytest.approx(expected / (3 * passed(224)), rel=1e-12)


def test_the_areas_of_the_views_predict_a_step(of_thesis):
    one = of_thesis("tort")
    assert cost.step_ratio_by_area(one) == pytest.approx(3 + 6 * (96 / 224) ** 2 + 3 / 3)
    assert cost.step_ratio_by_area(one) == pytest.approx(cost.step_ratio(one), rel=0.02)
    # Swin takes no other size than its own, so that a small crop is enlarged.
    swin = replace(one, model="swin/swin_tiny")
    assert cost.step_ratio_by_area(swin) == pytest.approx(3 + 6 + 3 / 3)


def test_a_supervised_step_is_the_unit(of_thesis):
    one = of_thesis("supervised")
    assert (cost.step_ratio(one), cost.step_ratio_by_area(one)) == (1, 1)
    assert cost.step_flops(one) == 6 * passed(224) * 64


def test_the_share_of_the_peak_is_the_operations_of_a_step_over_what_the_device_can(monkeypatch):
    monkeypatch.setattr(cost, "matmul_peak", lambda device, precision: 1e12)
    measured = cost.time_training(identity_of(), CPU, Engine(), Watch(0.01, 0.01))["measurements"]
    assert measured["peak_share"] == pytest.approx(100 * cost.step_flops(identity_of()) / 0.01 / 1e12)


def test_memory_is_that_of_each_objective_alone_and_its_ratio(monkeypatch):
    taken = {("ce", "drloc"): 300.0, ("ce",): 200.0}
    monkeypatch.setattr(cost, "_memory", lambda one, device: taken[one.objective.names])
    measured = cost.time_training(identity_of("ce + drloc(hidden=16)"), CPU, Engine(), Watch(0.01, 0.01))[
        "measurements"
    ]
    assert (measured["peak_memory"], measured["memory_ratio"]) == (300.0, 1.5)


def test_the_memory_of_a_gpu_is_that_of_eager_steps_of_the_objective(monkeypatch):
    monkeypatch.setattr(cost, "learner", lambda one, device: (one.objective.names, device))
    monkeypatch.setattr(cost, "again", lambda learner, engine: (*learner, engine))
    monkeypatch.setattr(cost.speed, "peak_memory", lambda call, device: (*call, device))
    card = torch.device("cuda")
    assert cost._memory(identity_of(), card) == (("ce",), card, Engine(), card)
    assert cost._memory(identity_of(), CPU) is None


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
