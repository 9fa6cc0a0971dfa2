"""A probe is a run without steps: what was learnt without labels is judged, by student or teacher, killed or not."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tests import processes
from tests.test_run_pretraining import PROCESS, without_seconds
from vitbench.case import Budget, Phase, View
from vitbench.errors import UserError
from vitbench.identity import Identity
from vitbench.objective import parse, parse_call
from vitbench.records import Store
from vitbench.run import Setting, check, execute

CROP = (parse_call("crop(padding=2)"),)
SMALL = (parse_call("random_resized_crop(size=16, interpolation='bilinear')"),)
WIDE = (parse_call("random_resized_crop(size=-3)"),)
PHASE = Phase(
    epochs=2,
    batch_size=64,
    optimizer={"name": "adamw", "lr": 2e-3},
    schedule={"name": "constant"},
    views=(View(name="global", count=2, augmentation=CROP), View(name="local", count=1, augmentation=SMALL)),
    turning=parse_call("quarter_turn"),
)
STEPS = 1437 // 64  # of an epoch of the digits
BEFORE = Identity(
    kind="pretraining",
    model="vit/tiny",
    objective=parse("distill(prototypes=16, hidden=16, bottleneck=8, momentum=0.9) + rotation"),
    dataset="digits",
    data="d1g357",
    classes=10,
    image_size=32,
    budget=Budget.QUICK,
    versions={},
    phases=(PHASE,),
    knn=True,
    judged="teacher",
)
PROBE = replace(
    BEFORE,
    kind="run",
    objective=parse("ce"),
    phases=(),
    pretraining=BEFORE,
    probe="linear",
    judged="student",
)


# Without a teacher, which in two epochs comes to say the same of all images.
LONE = replace(BEFORE, objective=parse("rotation"), judged="student")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    setting = Setting(store=Store(tmp_path_factory.mktemp("whole")))
    return execute(PROBE, setting), setting


def weights(setting, identity):
    return load_file(setting.store.folder(identity) / "weights.safetensors")


def test_a_probe_takes_no_step_and_is_measured_as_any_run(done):
    _, setting = done
    probe = replace(PROBE, pretraining=LONE)
    record = execute(probe, setting)
    measured = record.measurements
    assert measured["linear"] == measured["accuracy"] == measured["best_accuracy"]
    assert {"adversarial_accuracy", "fgsm_drop", "knn_untrained", "embedding_spread"} <= measured.keys()
    assert not {"loss", "train_seconds", "epoch_of_best"} & measured.keys()
    assert record.details["curves"] == []
    before, after = weights(setting, LONE), weights(setting, probe)
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == {"network.head.weight", "network.head.bias"}


def test_of_the_untrained_network_the_neighbours_are_the_same_before_and_after(done):
    _, setting = done
    plain = execute(replace(PROBE, pretraining=None), setting).measurements
    assert plain["knn"] == plain["knn_untrained"]
    assert plain["knn_untrained"] == setting.store.read(BEFORE).measurements["knn_untrained"]
    assert plain["linear"] > 60  # a linear layer on 48 numbers of a random network tells most digits apart


def test_neighbours_and_what_the_teacher_says_are_measured_of_a_pre_training(done):
    _, setting = done
    record = setting.store.read(BEFORE)
    assert {"teacher_entropy", "teacher_information", "embedding_spread"} <= record.measurements.keys()
    assert all("knn" in curve for curve in record.details["curves"])
    judged = record.measurements.get("knn")
    assert judged is None or judged == record.details["curves"][-1]["knn"]
    assert (judged is None) == ("knn" in record.invalid)


def test_the_teachers_weights_are_kept_where_it_is_judged(done, tmp_path):
    _, setting = done
    student = replace(BEFORE, judged="student")
    other = Setting(store=Store(tmp_path))
    execute(student, other)
    theirs, ours = weights(setting, BEFORE), weights(other, student)
    assert theirs.keys() == ours.keys()
    assert not torch.equal(theirs["network.cls_token"], ours["network.cls_token"])
    # At a momentum of .9 over 44 steps it has nearly caught up; where it started it would be further away.
    gap = {name: (theirs[name] - ours[name]).norm() for name in ours}
    assert sum(gap.values()) < 0.5 * sum(tensor.norm() for tensor in ours.values())


def test_a_teacher_that_no_term_has_is_refused_in_one_line(tmp_path):
    lone = replace(BEFORE, objective=parse("rotation"))
    with pytest.raises(UserError, match="the recipe judges the teacher and rotation has none; drop `judged`"):
        execute(lone, Setting(store=Store(tmp_path)))


@pytest.mark.parametrize("at", [3, STEPS + 5])
def test_killed_in_either_epoch_teacher_and_centre_go_on_to_the_same_bits(done, tmp_path, at):
    _, setting = done
    assert processes.ended(processes.start(PROCESS, identity=PROBE, root=tmp_path, at=at)) == -9
    again = Setting(store=Store(tmp_path))
    assert bool(list(tmp_path.rglob("checkpoint.pt"))) == (at > STEPS)
    execute(PROBE, again)
    for identity in (BEFORE, PROBE):
        whole, resumed = weights(setting, identity), weights(again, identity)
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
        assert without_seconds(setting.store.read(identity)) == without_seconds(again.store.read(identity))


def test_a_probe_of_what_collapsed_is_no_number(tmp_path, monkeypatch):
    monkeypatch.setattr("vitbench.measure.collapse.LEAST_SPREAD", 2.0)  # more than there is
    setting = Setting(store=Store(tmp_path))
    probe = execute(PROBE, setting)
    assert setting.store.read(BEFORE).invalid.keys() == {"knn"}
    judged = {"accuracy", "best_accuracy", "linear", "adversarial_accuracy", "fgsm_drop", "knn"}
    assert probe.invalid.keys() == judged
    assert all(reason.startswith("its pre-training is no number: collapsed: ") for reason in probe.invalid.values())
    assert probe.measurements.keys() == {"knn_untrained", "embedding_spread"}


WRONG = (
    ({"objective": parse("rotation")}, "the recipe judges the teacher and rotation has none; drop `judged`"),
    ({"objective": parse("distill(prototypes=0)")}, "distill: prototypes must be a whole number from"),
    (
        {"phases": (replace(PHASE, turning=parse_call("quarter_turn(probability=2)")),)},
        "augmentation quarter_turn refuses its arguments: probability is between 0 and 1, got 2",
    ),
    (
        {"phases": (replace(PHASE, views=(View(name="global", count=2, augmentation=SMALL),)),)},
        "the global view of phase 1 makes images of 16 x 16 from the 32 pixels that digits is stored at",
    ),
    (
        {"phases": (replace(PHASE, views=(*PHASE.views, View(name="local", count=1, augmentation=WIDE))),)},
        "augmentation random_resized_crop refuses its arguments: size is a number of pixels, or 0",
    ),
)


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_is_wrong_with_a_pre_training_is_said_before_anything_is_trained(change, message):
    with pytest.raises(UserError) as caught:
        check(replace(PROBE, pretraining=replace(BEFORE, **change)))
    assert message in str(caught.value)


def test_a_pre_training_with_nothing_wrong_passes():
    check(PROBE)
