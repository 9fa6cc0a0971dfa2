"""Runs whose network sees other images than the data set holds, or starts from published weights."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, load_model, save_file
from torchvision.transforms import v2

from vitbench import build, published, run
from vitbench.case import Budget, Phase
from vitbench.contracts import Images
from vitbench.errors import DataAbsent, UserError
from vitbench.identity import Identity
from vitbench.measure import accuracy
from vitbench.objective import Call, parse
from vitbench.records import Store
from vitbench.run import Setting, execute, load_data

PHASE = Phase(
    epochs=2,
    batch_size=64,
    optimizer={"name": "adamw", "lr": 1e-3},
    schedule={"name": "cosine", "epochs": 6},
    augmentation=(Call(name="random_resized_crop", arguments={"size": 48, "min_scale": 0.5}),),
    mixing=Call(name="mix", arguments={"mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1}),
    weights={"drloc": {"rise_epochs": 2.0, "end_epoch": 6.0}},
)
FRAMED = (Call(name="resize", arguments={"size": 56}), Call(name="centre_crop", arguments={"size": 48}))
RUN = Identity(
    model="resnet/tiny",
    objective=parse("ce + 0.5*drloc(hidden=16, pairs=8)"),
    dataset="digits",
    data="",
    classes=10,
    image_size=48,
    stored_size=32,
    budget=Budget.PAPER,
    versions={},
    phases=(PHASE,),
    evaluation=FRAMED,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    setting = Setting(store=Store(tmp_path_factory.mktemp("runs")))
    return execute(RUN, setting), setting


def test_the_network_is_judged_on_what_torchvision_would_show_it(done):
    record, setting = done
    model = build.untrained(RUN.model, 10, 48)
    load_model(model, str(setting.store.folder(RUN) / "weights.safetensors"))
    test = build.data_of(RUN, None).test
    frame = v2.Compose([v2.Resize(56, interpolation=v2.InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(48)])
    logits = accuracy.predict(model, Images(images=frame(test.images), labels=test.labels))
    bits = accuracy.correct(logits, test.labels)
    # A level that rounds the other way may tip an image that stands on the edge.
    assert (bits != accuracy.unpack(record.details["correct"]["clean"])).sum() <= 2


def test_the_weight_of_a_term_moves_from_epoch_to_epoch_and_the_curve_says_what_it_added(done):
    first, second = done[0].details["curves"]
    assert first["weighted"]["drloc"] == 0.0
    assert second["weighted"]["drloc"] == pytest.approx(0.5 * 0.5 * second["terms"]["drloc"], rel=1e-5)
    assert second["loss"] == pytest.approx(sum(second["weighted"].values()), rel=1e-5)


def test_the_rate_is_that_of_the_longer_cosine(done):
    assert done[0].details["curves"][-1]["lr"] > 0.7e-3  # a cosine of two epochs would be near 0


def test_a_killed_run_of_mixed_images_ends_with_the_same_bits(done, tmp_path, monkeypatch):
    monkeypatch.setattr("vitbench.checkpoints.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("vitbench.checkpoints.SAVING_SHARE", float("inf"))
    seen = []

    def stop(what, count, of, loss):
        seen.append(count)
        if len(seen) == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(RUN, Setting(store=Store(tmp_path), tell=stop))
    seen += [0] * 30
    again = execute(RUN, Setting(store=Store(tmp_path), tell=stop))
    assert again.details["correct"] == done[0].details["correct"]
    assert again.measurements["loss"] == done[0].measurements["loss"]
    whole, resumed = (store.folder(RUN) / "weights.safetensors" for store in (done[1].store, Store(tmp_path)))
    assert resumed.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"evaluation": ()}, "the evaluation makes images of 32 x 32 from the 32 pixels that digits is stored at"),
        ({"phases": (replace(PHASE, augmentation=()),)}, "the augmentation of phase 1 makes images of 32 x 32"),
    ],
)
def test_operations_that_do_not_make_what_the_network_sees_are_refused_in_one_line(changes, told, tmp_path):
    with pytest.raises(UserError, match=f"^{told}.*the network sees 48: mend the recipe$"):
        load_data(replace(RUN, **changes), Setting(store=Store(tmp_path)))


def test_data_that_would_fill_the_card_stays_on_the_host(monkeypatch):
    images = Images(images=torch.zeros(4, 3, 8, 8, dtype=torch.uint8), labels=torch.zeros(4, dtype=torch.int64))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (images.images.nbytes, 10**9))
    assert run._placed(images, torch.device("cuda")) is images
    assert run._placed(images, torch.device("cpu")).images.device.type == "cpu"


TUNED = replace(
    RUN,
    model="timm/test_resnet",
    objective=parse("ce"),
    image_size=32,
    stored_size=None,
    evaluation=(),
    phases=(
        replace(PHASE, epochs=1, augmentation=(), mixing=None, weights={}, optimizer={"name": "sgd", "lr": 1e-12}),
    ),
)


def test_a_run_starts_from_published_weights(tmp_path):
    path = tmp_path / "test_resnet.safetensors"
    donor = build.untrained("timm/test_resnet", 1000, 32).network
    save_file(donor.state_dict(), path)
    tuned = replace(TUNED, weights=published.digest(path))
    setting = Setting(store=Store(tmp_path / "runs"), weights=tmp_path)
    execute(tuned, setting)
    found = load_file(setting.store.folder(tuned) / "weights.safetensors")
    torch.testing.assert_close(found["network.conv1.0.weight"], donor.state_dict()["conv1.0.weight"])
    assert found["network.fc.weight"].shape[0] == 10


def test_published_weights_that_are_not_there_are_said_before_anything_is_trained(tmp_path):
    setting = Setting(store=Store(tmp_path / "runs"), weights=tmp_path)
    with pytest.raises(DataAbsent, match=r"weights of timm/test_resnet: .* holds no test_resnet\.safetensors"):
        execute(replace(TUNED, weights="absent"), setting)
