"""From an identity to a record: trained once, resumed to the bit after a kill, never half-written."""

import json
import math
import threading
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_model

from tests import processes
from vitbench import build, checkpoints, examine, learner, machine, run
from vitbench.case import Budget, Phase
from vitbench.errors import Busy, DataAbsent, NonFinite, OutOfMemory, TimeUp, UserError
from vitbench.identity import Identity
from vitbench.measure import accuracy, attack
from vitbench.objective import parse
from vitbench.records import Store
from vitbench.run import Setting, execute

EPOCHS, BATCH, TRAIN, TEST = 4, 16, 80, 50
STEPS = TRAIN // BATCH

# Other people's code, as it is found by a dotted name.
FEW_DIGITS = f"""
from vitbench.contracts import Images, Split
from vitbench.datasets import digits

VERSION, CLASSES, IMAGE_SIZE, DIGEST = 1, 10, 32, "few"

def build(root, *, image_size=32, download=False):
    whole = digits.build(root, image_size=image_size)
    train = Images(images=whole.train.images[:{TRAIN}], labels=whole.train.labels[:{TRAIN}])
    test = Images(images=whole.test.images[:{TEST}], labels=whole.test.labels[:{TEST}])
    return Split(train=train, test=test, classes=whole.classes)
"""
LOST_TERM = """
from torch import nn

VERSION = 1

class Lost(nn.Module):
    steps = 0

    def forward(self, step):
        self.steps += 1
        return step.out.logits.mean() * (float("nan") if self.steps == 7 else 1.0)

def build(shape):
    return Lost()
"""
# A process of its own: executes a run; `what` is what it does at each step.
PROCESS = """
import os, signal, sys, time
sys.path.insert(0, str(foreign))
from vitbench import checkpoints, run
from vitbench.records import Store

checkpoints.CHECKPOINT_SECONDS, checkpoints.SAVING_SHARE = 0.0, float("inf")
steps = []

def die(what, done, of, loss):
    if done == 12:
        os.kill(os.getpid(), signal.SIGKILL)

def wait(what, done, of, loss):
    steps.append(done)
    (folder / "started").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)

run.execute(identity, run.Setting(store=Store(folder / "runs"), tell=globals()[what]))
(folder / "steps").write_text(str(len(steps)))
"""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A folder with a data set and a term of somebody else's, on Python's path."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "fewdigits.py").write_text(FEW_DIGITS, encoding="utf-8")
    (folder / "lostterm.py").write_text(LOST_TERM, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture
def identity(foreign):
    return identity_of("ce + 0.1*drloc(hidden=16)")


def identity_of(objective="ce", **changes):
    phase = Phase(
        epochs=EPOCHS, batch_size=BATCH, optimizer={"name": "adamw", "lr": 2e-3}, schedule={"name": "constant"}
    )
    plain = Identity(
        model="vit/tiny",
        objective=parse(objective),
        dataset="fewdigits.build",
        data="few",
        classes=10,
        image_size=32,
        budget=Budget.QUICK,
        versions={},
        phases=(phase,),
    )
    return replace(plain, **changes)


@pytest.fixture
def setting(tmp_path):
    """A setting whose `steps` says which steps were trained."""
    return counting(tmp_path / "runs")


def counting(root):
    steps = []
    made = Setting(store=Store(root), tell=lambda what, done, of, loss: steps.append(done))
    object.__setattr__(made, "steps", steps)
    return made


@pytest.fixture(scope="module")
def uninterrupted(foreign, tmp_path_factory):
    """The run that the others are held against: its record and its folder."""
    one, made = identity_of("ce + 0.1*drloc(hidden=16)"), counting(tmp_path_factory.mktemp("whole"))
    return execute(one, made), made.store.folder(one)


@pytest.fixture(scope="module")
def learned(foreign, tmp_path_factory):
    """The record of a run that learns, so that an attack finds something to take away."""
    longer = replace(identity_of().phases[0], epochs=20)
    one = identity_of(model="cvt/tiny", phases=(longer,))
    return execute(one, counting(tmp_path_factory.mktemp("learned")))


def names(setting, identity):
    return sorted(path.name for path in setting.store.folder(identity).iterdir())


def without_seconds(record):
    measurements = {name: value for name, value in record.measurements.items() if name != "train_seconds"}
    curves = [{k: v for k, v in curve.items() if k != "seconds"} for curve in record.details["curves"]]
    return measurements, curves, record.details["correct"]


def weights(folder):
    return (folder / "weights.safetensors").read_bytes()


# Trained once


def test_a_finished_run_is_read_and_not_trained_again(identity, setting):
    first = execute(identity, setting)
    path = setting.store.folder(identity) / "record.json"
    before = path.read_bytes(), path.stat().st_mtime_ns
    trained = list(setting.steps)
    assert execute(identity, setting) == first
    assert trained == setting.steps == list(range(1, EPOCHS * STEPS + 1))
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_fresh_trains_again_to_the_same_result(identity, setting, uninterrupted):
    execute(identity, setting)
    stamp = (setting.store.folder(identity) / "record.json").stat().st_mtime_ns
    again = execute(identity, setting, fresh=True)
    assert len(setting.steps) == 2 * EPOCHS * STEPS
    assert (setting.store.folder(identity) / "record.json").stat().st_mtime_ns > stamp
    assert without_seconds(again) == without_seconds(uninterrupted[0])


def test_fresh_does_not_go_on_from_what_an_earlier_training_left(identity, setting, monkeypatch):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SAVING_SHARE", math.inf)
    with pytest.raises(KeyboardInterrupt):
        execute(identity, replace(setting, tell=interrupt_at(12)))
    execute(identity, setting, fresh=True)
    assert setting.steps == list(range(1, EPOCHS * STEPS + 1))


def interrupt_at(step):
    def tell(what, done, of, loss):
        if done == step:
            raise KeyboardInterrupt

    return tell


def test_two_seeds_are_two_runs(identity, setting):
    records = [execute(replace(identity, seed=seed), setting) for seed in (0, 1)]
    assert len(setting.steps) == 2 * EPOCHS * STEPS
    assert without_seconds(records[0]) != without_seconds(records[1])


# Killed, and two at once


def test_a_run_killed_in_the_middle_of_an_epoch_ends_with_the_bits_of_an_uninterrupted_one(
    identity, tmp_path, foreign, uninterrupted
):
    killed = processes.start(PROCESS, identity=identity, folder=tmp_path, foreign=foreign, what="die")
    assert processes.ended(killed) == -9
    setting = counting(tmp_path / "runs")
    assert names(setting, identity) == ["checkpoint.pt", "lock"]
    record = execute(identity, setting)
    assert setting.steps == list(range(2 * STEPS + 1, EPOCHS * STEPS + 1))  # two epochs were not trained again
    whole, folder = uninterrupted
    assert without_seconds(record) == without_seconds(whole)
    assert weights(setting.store.folder(identity)) == weights(folder)
    assert names(setting, identity) == ["lock", "record.json", "weights.safetensors"]


def test_of_two_processes_that_want_a_run_one_trains_and_the_other_reads(identity, tmp_path, foreign, uninterrupted):
    other = processes.start(PROCESS, identity=identity, folder=tmp_path, foreign=foreign, what="wait")
    setting = counting(tmp_path / "runs")
    limit = time.monotonic() + 120
    while not (tmp_path / "started").exists():
        assert other.is_alive(), "the other process ended before it trained"
        assert time.monotonic() < limit
        time.sleep(0.01)
    with pytest.raises(Busy), setting.store.lock(identity, wait=False):
        pass
    go = threading.Timer(0.3, (tmp_path / "go").touch)
    go.start()
    record = execute(identity, setting)
    assert processes.ended(other) == 0
    go.join()
    assert int((tmp_path / "steps").read_text()) == EPOCHS * STEPS
    assert not setting.steps
    assert without_seconds(record) == without_seconds(uninterrupted[0])


def test_a_checkpoint_that_cannot_be_trusted_is_named_and_the_training_starts_anew(identity, setting, uninterrupted):
    folder = setting.store.folder(identity)
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"torn")
    record = execute(identity, setting)
    assert len(setting.steps) == EPOCHS * STEPS
    assert without_seconds(record) == without_seconds(uninterrupted[0])
    assert any(name.startswith("checkpoint.pt.set-aside-") for name in names(setting, identity))
    assert "checkpoint.pt" in setting.store.problems[0]


@pytest.mark.parametrize(
    "edit",
    [
        lambda one: one["trained"].update(extra=torch.zeros(1)),
        lambda one: one["trained"].popitem(),
        lambda one: one.update(trained={name: torch.zeros(1, 7) for name in one["trained"]}),
        lambda one: one.update(optimizer={}),
        lambda one: one["optimizer"].update(param_groups=[1]),
        lambda one: one["optimizer"]["param_groups"].pop(),
        lambda one: one.update(phase=1),
        lambda one: one.update(epoch=99),
        lambda one: one.update(curves=[]),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_set_aside(identity, setting, monkeypatch, uninterrupted, edit):
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SAVING_SHARE", math.inf)
    with pytest.raises(KeyboardInterrupt):
        execute(identity, replace(setting, tell=interrupt_at(12)))
    path = setting.store.folder(identity) / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    edit(content)
    torch.save(content, path)
    record = execute(identity, setting)
    assert without_seconds(record) == without_seconds(uninterrupted[0])
    assert len(setting.store.problems) == 1
    assert "the training starts anew" in setting.store.problems[0]


# What cannot be done leaves no record


@pytest.fixture
def no_checkpoint(monkeypatch):
    """However long a run takes."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", math.inf)


@pytest.mark.usefixtures("no_checkpoint")
def test_a_disk_too_full_for_the_weights_is_one_line_and_no_traceback_of_safetensors(identity, setting, full_disk):
    with full_disk(), pytest.raises(OSError, match=r"File too large: .*weights\.safetensors"):
        execute(identity, setting)
    assert names(setting, identity) == ["lock"]


def test_absent_data_is_said_before_anything_is_written(identity, setting, tmp_path):
    absent = replace(identity, dataset="cifar10", data="")
    with pytest.raises(DataAbsent, match="cifar10"):
        execute(absent, replace(setting, data=tmp_path / "nowhere"))
    assert names(setting, absent) == ["lock"]
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.usefixtures("no_checkpoint")
def test_a_lost_training_keeps_its_weights_and_leaves_no_record(identity, setting):
    lost = replace(identity, objective=parse("ce + lostterm.build"))
    with pytest.raises(NonFinite, match=r"epoch 2, step 2 .*failed\.pt"):
        execute(lost, setting)
    assert names(setting, lost) == ["failed.pt", "lock"]
    kept = torch.load(setting.store.folder(lost) / "failed.pt", weights_only=True)
    build.model_of(lost).load_state_dict(kept["model"])
    assert len(setting.steps) == STEPS + 1  # and no step more


def exhaust_gpu(*arguments, **options):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")


def exhaust_machine(*arguments, **options):
    torch.empty(10**14)  # more than a process can address


def exhaust_python(*arguments, **options):
    bytes(10**15)


@pytest.mark.parametrize("exhaust", [exhaust_gpu, exhaust_machine, exhaust_python])
def test_memory_that_does_not_suffice_names_the_batch_and_leaves_no_record(identity, setting, monkeypatch, exhaust):
    monkeypatch.setattr(run, "train", exhaust)
    with pytest.raises(OutOfMemory, match=rf"^vit/tiny under ce \+ 0\.1\*drloc.*batch of {BATCH} .*does not fit"):
        execute(identity, setting)
    assert names(setting, identity) == ["lock"]
    monkeypatch.undo()
    assert execute(identity, setting).measurements["accuracy"] >= 0


def test_memory_that_does_not_suffice_for_the_evaluation_does_not_name_the_batch(identity, setting, monkeypatch):
    monkeypatch.setattr(accuracy, "batches", exhaust_machine)
    with pytest.raises(OutOfMemory, match=r"^the evaluation of the model does not fit") as caught:
        execute(identity, setting)
    assert f"batch of {BATCH}" not in str(caught.value)


def test_an_error_that_is_not_about_memory_stays_what_it_is(identity, setting, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(run, "train", fail)
    with pytest.raises(RuntimeError, match="mat1"):
        execute(identity, setting)


def test_a_precision_that_nothing_has_is_a_users_mistake(identity, setting):
    with pytest.raises(UserError, match="fp8"):
        execute(replace(identity, precision="fp8"), setting)
    assert names(setting, replace(identity, precision="fp8")) == ["lock"]


# Threads


@pytest.mark.parametrize("objective", ["ce", "ce + lostterm.build"], ids=["done", "lost"])
def test_a_run_has_its_own_number_of_threads_and_gives_the_callers_back(foreign, setting, monkeypatch, objective):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before, during = torch.get_num_threads(), set()
    torch.set_num_threads(3)
    try:
        watched = replace(setting, tell=lambda *told: during.add(torch.get_num_threads()))
        if objective == "ce":
            assert execute(identity_of(objective), watched).provenance["threads"] == 1
        else:
            with pytest.raises(NonFinite):
                execute(identity_of(objective), watched)
        assert during == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_run_computes_in_full_precision_and_gives_the_callers_settings_back(setting, foreign, monkeypatch):
    seen = []
    monkeypatch.setattr(run, "load_data", lambda *given, load=run.load_data: seen.append(settings()) or load(*given))

    def settings():
        return torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()

    try:
        torch.set_float32_matmul_precision("high")
        torch.use_deterministic_algorithms(True, warn_only=True)
        execute(identity_of(), setting)
        assert settings() == ("high", True)
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.use_deterministic_algorithms(False)
    assert seen[0][0] == "highest"


@pytest.mark.parametrize(("device", "told"), [("cuda", []), ("cuda:1", [1])])
def test_on_a_gpu_kernels_are_deterministic_and_a_worker_gets_its_own_card(monkeypatch, device, told):
    cards = []
    monkeypatch.setattr(run.torch.cuda, "set_device", cards.append)
    with run.reproducible(device):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert cards == told
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


# What a record holds


def test_a_record_says_how_it_was_made(uninterrupted):
    provenance = uninterrupted[0].provenance
    assert provenance.keys() == {
        *("date", "seconds", "device", "threads", "precision", "engine", "commit", "command", "versions")
    }
    assert provenance["device"] == machine.device_name("cpu")
    assert torch.__version__.startswith(provenance["versions"]["torch"])
    assert (provenance["precision"], provenance["engine"]) == ("fp32", "eager")
    assert provenance["seconds"] > 0


def test_the_bits_of_a_record_are_its_accuracies(learned):
    clean, attacked = (accuracy.unpack(learned.details["correct"][name]) for name in ("clean", "attacked"))
    assert len(clean) == len(attacked) == learned.details["test_images"] == TEST
    measured = learned.measurements
    assert measured["accuracy"] == pytest.approx(100 * clean.double().mean().item())
    assert measured["adversarial_accuracy"] == pytest.approx(100 * attacked.double().mean().item())
    assert measured["fgsm_drop"] == pytest.approx(measured["accuracy"] - measured["adversarial_accuracy"])
    assert measured["fgsm_drop"] > 0


def test_a_record_has_a_curve_an_epoch_and_the_best_of_them(uninterrupted):
    record, _ = uninterrupted
    curves = record.details["curves"]
    accuracies = [curve["accuracy"] for curve in curves]
    assert [curve["epoch"] for curve in curves] == list(range(1, EPOCHS + 1))
    assert record.measurements["accuracy"] == accuracies[-1]
    assert record.measurements["best_accuracy"] == max(accuracies) >= accuracies[-1]
    assert accuracies[int(record.measurements["epoch_of_best"]) - 1] == max(accuracies)
    assert record.measurements["loss"] == curves[-1]["loss"]
    assert curves[0]["terms"].keys() == {"ce", "drloc"}
    assert record.details["train_images"] == TRAIN


def test_the_weights_of_a_record_give_its_bits(uninterrupted, foreign):
    record, folder = uninterrupted
    one = identity_of()
    model = build.model_of(replace(one, seed=1))
    load_model(model, str(folder / "weights.safetensors"))
    test = run.load_data(one, Setting(store=Store(folder))).test
    bits = accuracy.correct(accuracy.predict(model, test), test.labels)
    assert accuracy.pack(bits) == record.details["correct"]["clean"]


def test_the_file_of_a_record_is_the_record(uninterrupted):
    record, folder = uninterrupted
    content = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    assert content["measurements"] == record.measurements
    assert content["key"] == record.key


def test_training_learns(learned):
    # Guessing one of ten classes 50 times is below 30 % with p > 0.9999.
    assert learned.measurements["accuracy"] > 30


def test_an_attack_that_failed_its_own_checks_is_invalid_and_no_number(foreign, setting, monkeypatch):
    def blind(model, data, *, generator):
        bits = torch.ones(len(data), dtype=torch.bool)
        return attack.Attack(eps=1 / 255, clean=bits, attacked=bits, reason="the gradient is zero")

    monkeypatch.setattr(attack, "fgsm", blind)
    record = execute(identity_of(), setting)
    assert not {"adversarial_accuracy", "fgsm_drop"} & record.measurements.keys()
    assert record.invalid == dict.fromkeys(("adversarial_accuracy", "fgsm_drop"), "the gradient is zero")
    assert record.measurements["accuracy"] == 100


def test_precision_is_part_of_a_run(foreign, setting):
    narrow, wide = (execute(identity_of(precision=one), setting) for one in ("bf16", "fp32"))
    assert narrow.provenance["precision"] == "bf16"
    assert narrow.measurements["loss"] != wide.measurements["loss"]
    assert narrow.measurements["loss"] == pytest.approx(wide.measurements["loss"], rel=0.1)


# Timings


def test_a_timing_without_a_stopwatch_says_where_there_is_one(setting):
    with pytest.raises(UserError, match="pytest"):
        execute(identity_of(kind="inference", machine={"device": "some"}), setting)


# The engine and the deadline


def test_a_record_names_the_engine_that_took_the_steps_and_why_it_is_not_the_one_asked_for(identity, setting):
    record = execute(identity, replace(setting, engine="graph"))
    assert record.provenance["engine"] == "eager"
    assert "no CUDA graphs" in record.details["fell_back"][0]
    assert "no CUDA graphs" in setting.store.problems[0]


def test_at_the_deadline_a_run_is_left_with_a_checkpoint_and_goes_on_to_the_same_bits(
    identity, setting, monkeypatch, uninterrupted
):
    monkeypatch.setattr(run, "SAVE_SECONDS", 3600.0)
    with pytest.raises(TimeUp, match=f"after epoch 1 of {EPOCHS}"):
        execute(identity, replace(setting, deadline=time.monotonic() + 1800))
    assert (setting.store.folder(identity) / "checkpoint.pt").exists()
    assert setting.store.read(identity) is None
    record = execute(identity, setting)
    assert without_seconds(record) == without_seconds(uninterrupted[0])


@pytest.mark.parametrize("model", ["resnet/tiny", "cvt/tiny", "cifar_resnet/tiny"])
def test_a_run_goes_on_where_channels_come_last_in_memory(setting, monkeypatch, foreign, model):
    """As on a GPU, from a checkpoint of a CPU."""
    one = identity_of("ce + 0.1*drloc(hidden=16) + 0.1*me(depth=1)", model=model)
    whole = execute(one, counting(setting.store.root / "whole"))
    monkeypatch.setattr(run, "SAVE_SECONDS", 3600.0)
    with pytest.raises(TimeUp, match=f"after epoch 1 of {EPOCHS}"):
        execute(one, replace(setting, deadline=time.monotonic() + 1800))
    monkeypatch.setattr(build, "CHANNELS_LAST", {"cpu"})
    record = execute(one, setting)
    assert record.measurements["loss"] == pytest.approx(whole.measurements["loss"], rel=1e-3)


def test_a_deadline_in_the_middle_of_an_epoch_ends_it(identity, setting):
    with pytest.raises(TimeUp, match="in the middle of an epoch"):
        execute(identity, replace(setting, deadline=time.monotonic()))
    assert setting.steps == [1]


def test_an_epoch_that_is_over_at_the_deadline_is_saved(identity, setting, monkeypatch):
    monkeypatch.setattr(learner, "CHECK_EVERY", {})
    monkeypatch.setitem(learner.CHECK_EVERY, "cpu", 1000)  # as on a GPU: one look an epoch
    with pytest.raises(TimeUp, match=f"after epoch 1 of {EPOCHS}"):
        execute(identity, replace(setting, deadline=time.monotonic()))
    assert (setting.store.folder(identity) / "checkpoint.pt").exists()


def test_a_trained_network_without_time_for_its_attack_keeps_its_last_epoch(identity, setting, monkeypatch):
    monkeypatch.setattr(examine, "ATTACK_SHARE", 1e9)
    monkeypatch.setattr(run, "SAVE_SECONDS", 0.0)
    with pytest.raises(TimeUp, match="trained, but not yet judged"):
        execute(identity, replace(setting, deadline=time.monotonic() + 600))
    trained = len(setting.steps)
    assert trained == EPOCHS * STEPS
    assert execute(identity, setting).measurements["accuracy"] > 0
    assert len(setting.steps) == trained
