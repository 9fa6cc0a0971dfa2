"""A fine-tuning starts with a pre-training's weights and with a classifier of its own."""

import pytest
import torch
from safetensors.torch import save_file, save_model

from vitbench import pretrained
from vitbench.build import untrained
from vitbench.errors import DataBroken, UserError


def model_of(reference, *, classes=10, seed=0):
    torch.manual_seed(seed)
    return untrained(reference, classes, 32)


@pytest.mark.parametrize(
    ("reference", "head"),
    [
        ("vit/tiny", {"network.head.weight", "network.head.bias"}),
        ("resnet/tiny", {"network.fc.weight", "network.fc.bias"}),
        ("timm/mobilenetv3_small_050", {"network.classifier.weight", "network.classifier.bias"}),
    ],
)
def test_everything_but_the_classifier_is_the_pre_trained_ones(reference, head, tmp_path):
    first, second = model_of(reference, classes=100), model_of(reference, seed=1)
    fresh = {name: tensor.clone() for name, tensor in second.state_dict().items()}
    save_model(first, str(tmp_path / "w"))
    assert pretrained.classifier(second) == head
    pretrained.load(second, tmp_path / "w")
    for name, tensor in second.state_dict().items():
        assert torch.equal(tensor, fresh[name] if name in head else first.state_dict()[name]), name


def test_a_model_that_does_not_tell_its_classifier_is_one_line(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "w")
    with pytest.raises(UserError, match=r"Linear cannot be fine-tuned or probed: .*get_classifier\(\)"):
        pretrained.load(torch.nn.Linear(1, 1), tmp_path / "w")


def damaged(path):
    path.write_bytes(path.read_bytes()[:-100])


def of_another_network(path):
    save_model(model_of("resnet/tiny"), str(path))


def of_another_width(path):
    model = model_of("vit/tiny")
    save_file({name: tensor[:1].contiguous() for name, tensor in model.state_dict().items()}, path)


def lacking(path):
    state = model_of("vit/tiny").state_dict()
    del state["network.pos_embed"]
    save_file(state, path)


def with_nan(path):
    state = model_of("vit/tiny").state_dict()
    state["network.pos_embed"] = state["network.pos_embed"] * float("nan")
    save_file(state, path)


SPOILT = [damaged, of_another_network, of_another_width, lacking, with_nan, lambda path: path.unlink()]


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_file_that_does_not_fit_is_named(spoil, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_model(model_of("vit/tiny"), str(path))
    spoil(path)
    with pytest.raises(DataBroken) as refused:
        pretrained.load(model_of("vit/tiny"), path)
    text = str(refused.value)
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
