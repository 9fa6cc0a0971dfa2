"""A pre-training is a run of its own: done once, killed and resumed to the bit, shared by what starts from it."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tests import processes
from vitbench import build
from vitbench.case import Budget, Phase
from vitbench.errors import TimeUp
from vitbench.identity import Identity
from vitbench.objective import parse
from vitbench.records import Store
from vitbench.run import Setting, execute

PHASE = Phase(
    epochs=3, batch_size=128, optimizer={"name": "adamw", "lr": 2e-3}, schedule={"name": "cosine", "warmup_epochs": 1}
)
STEPS = 1437 // 128  # of an epoch of the digits
BEFORE = Identity(
    kind="pretraining",
    model="vit/tiny",
    objective=parse("mae(depth=1)"),
    dataset="digits",
    data="d1g357",
    classes=10,
    image_size=32,
    budget=Budget.QUICK,
    versions={},
    phases=(PHASE,),
)
AFTER = replace(
    BEFORE, kind="run", objective=parse("ce"), phases=(replace(PHASE, epochs=2),), pretraining=BEFORE, seed=0
)
HEAD = {"network.head.weight", "network.head.bias"}
# A process of its own, killed at one of the steps of either training.
PROCESS = """
import os, signal
from vitbench import checkpoints, run
from vitbench.records import Store

checkpoints.CHECKPOINT_SECONDS, checkpoints.SAVING_SHARE = 0.0, float("inf")
taken = []

def tell(what, done, of, loss):
    taken.append(done)
    if len(taken) == at:
        os.kill(os.getpid(), signal.SIGKILL)

run.execute(identity, run.Setting(store=Store(root), tell=tell))
"""


def setting_of(root):
    steps = []
    made = Setting(store=Store(root), tell=lambda what, done, of, loss: steps.append(what))
    object.__setattr__(made, "steps", steps)
    return made


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    setting = setting_of(tmp_path_factory.mktemp("whole"))
    return execute(AFTER, setting), setting


def files(setting, identity):
    folder = setting.store.folder(identity)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def without_seconds(record):
    """Everything of a record that two trainings share."""
    curves = [{k: v for k, v in curve.items() if k != "seconds"} for curve in record.details["curves"]]
    measurements = {name: value for name, value in record.measurements.items() if name != "train_seconds"}
    return measurements, curves, record.details.get("correct")


def test_a_pre_training_leaves_a_record_its_weights_and_pictures(done):
    _, setting = done
    record = setting.store.read(BEFORE)
    assert record.kind == "pretraining"
    assert record.measurements.keys() == {"first_loss", "loss", "train_seconds", "reconstruction_mse", "mean_patch_mse"}
    assert [curve["epoch"] for curve in record.details["curves"]] == [1, 2, 3]
    assert not any("accuracy" in curve for curve in record.details["curves"])
    pictures = [f"pictures/epoch-{number:04}.safetensors" for number in (1, 2, 3)]
    assert files(setting, BEFORE) == ["lock", *pictures, "record.json", "weights.safetensors"]
    for name in pictures:
        shown = load_file(setting.store.folder(BEFORE) / name)
        assert {key: (one.dtype, tuple(one.shape)) for key, one in shown.items()} == dict.fromkeys(
            ("original", "masked", "restored"), (torch.uint8, (8, 3, 32, 32))
        )
        test = build.data_of(BEFORE, None).test.images[:8]
        assert torch.equal(shown["original"], test)
    errors = [curve["reconstruction_mse"] for curve in record.details["curves"]]
    assert errors[-1] < errors[0]
    assert record.measurements["reconstruction_mse"] == pytest.approx(errors[-1])


def test_a_fine_tuning_starts_from_all_its_weights_but_the_classifiers(done, tmp_path):
    _, setting = done
    still = replace(PHASE, optimizer={"name": "sgd", "lr": 1e-30}, epochs=1, schedule={"name": "constant"})
    one = replace(AFTER, phases=(still,))
    execute(one, setting)
    learnt, started = (load_file(setting.store.folder(which) / "weights.safetensors") for which in (BEFORE, one))
    drawn = build.model_of(one).state_dict()
    assert learnt.keys() == started.keys()
    for name, tensor in started.items():
        # The head's zeros move by what 1e-30 times a gradient is.
        torch.testing.assert_close(tensor, drawn[name] if name in HEAD else learnt[name], rtol=0, atol=1e-29)
        assert name in HEAD or name == "network.cls_token" or not torch.equal(learnt[name], drawn[name]), name


def test_several_fine_tunings_share_a_pre_training(done):
    _, setting = done
    taken = len(setting.steps)
    execute(replace(AFTER, objective=parse("ce + 0.1*drloc(hidden=16)")), setting)
    assert len(setting.steps) == taken + 2 * STEPS  # the fine-tuning's own


def test_another_pre_training_ends_in_another_network(done, tmp_path):
    record, setting = done
    longer = replace(BEFORE, phases=(replace(PHASE, epochs=4),))
    other = execute(replace(AFTER, pretraining=longer), setting)
    assert other.measurements["loss"] != record.measurements["loss"]
    assert other.identity["pretraining"] == longer.content()


@pytest.mark.parametrize("at", [STEPS + 3, 3 * STEPS + 3, 4 * STEPS + 3], ids=["before", "between", "after"])
def test_a_run_killed_in_either_phase_ends_with_the_bits_of_an_uninterrupted_one(done, tmp_path, at):
    assert processes.ended(processes.start(PROCESS, identity=AFTER, root=tmp_path / "runs", at=at)) == -9
    setting, (whole, first) = setting_of(tmp_path / "runs"), done
    record = execute(AFTER, setting)
    assert len(setting.steps) == 5 * STEPS - at // STEPS * STEPS  # nothing that was saved is trained again
    assert without_seconds(record) == without_seconds(whole)
    assert without_seconds(setting.store.read(BEFORE)) == without_seconds(first.store.read(BEFORE))
    for which in (BEFORE, AFTER):
        ours, theirs = (one.store.folder(which) / "weights.safetensors" for one in (setting, first))
        assert ours.read_bytes() == theirs.read_bytes()
        assert files(setting, which) == files(first, which)


def test_a_record_that_came_without_its_weights_is_made_again_when_they_are_needed(tmp_path):
    setting = setting_of(tmp_path)
    execute(BEFORE, setting)
    (setting.store.folder(BEFORE) / "weights.safetensors").unlink()
    execute(BEFORE, setting)
    assert len(setting.steps) == 3 * STEPS  # its record suffices
    execute(AFTER, setting)
    assert len(setting.steps) == 8 * STEPS


def test_torn_weights_are_set_aside_and_made_again(tmp_path):
    setting = setting_of(tmp_path)
    execute(BEFORE, setting)
    path = setting.store.folder(BEFORE) / "weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert execute(AFTER, setting).kind == "run"
    assert path.read_bytes() == whole
    (problem,) = setting.store.problems
    assert problem.startswith(f"{path}: it cannot be read")
    assert "set aside as weights.safetensors.set-aside" in problem
    assert problem.endswith("the pre-training is done again")


def test_at_the_deadline_a_pre_training_is_left_and_the_same_command_goes_on(tmp_path, monkeypatch):
    setting = setting_of(tmp_path)
    with pytest.raises(TimeUp):
        execute(AFTER, replace(setting, deadline=0.0))
    assert setting.store.read(AFTER) is None
    assert execute(AFTER, setting).measurements["accuracy"] > 0


def test_an_objective_that_restores_nothing_is_pre_trained_all_the_same(tmp_path):
    setting = setting_of(tmp_path)
    record = execute(replace(BEFORE, objective=parse("me(depth=1)")), setting)
    assert record.measurements.keys() == {"first_loss", "loss", "train_seconds"}
    assert not (setting.store.folder(BEFORE) / "pictures").exists()
