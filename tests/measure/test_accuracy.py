"""Predictions, their correctness and its bits, against scikit-learn, torchvision and numbers by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from torch import nn
from torchvision.transforms.functional import to_tensor

from vitbench.contracts import Images, Output
from vitbench.errors import NonFinite, OutOfMemory, UserError
from vitbench.measure.accuracy import accuracy, batches, correct, pack, predict, unpack
from vitbench.measure.attack import fgsm


class Seen(nn.Module):
    """Keeps what it is shown, and answers with the first channel's means."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.norm = nn.BatchNorm2d(3)
        self.frozen = nn.BatchNorm2d(3).eval()
        self.shown = []

    def forward(self, images):
        self.shown.append((images.detach().clone(), self.training, torch.is_grad_enabled()))
        rows = self.frozen(self.norm(images))[:, 0].mean(2) * self.weight
        return Output(logits=rows, embedding=rows, grids=())


def images_of(n, *, classes=8, seed=0):
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (n, 3, 8, 8), dtype=torch.uint8, generator=draw)
    return Images(images=pixels, labels=torch.randint(classes, (n,), generator=draw))


def test_accuracy_is_scikit_learns_in_percent():
    logits = torch.randn(997, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(997) % 7
    expected = 100 * accuracy_score(labels.numpy(), logits.argmax(1).numpy())
    assert accuracy(correct(logits, labels)) == pytest.approx(expected, abs=1e-12)


def test_two_of_three_are_correct_by_hand():
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 1.0], [0.0, 1.0, 5.0]])
    bits = correct(logits, torch.tensor([1, 2, 2]))
    assert bits.tolist() == [True, False, True]
    assert accuracy(bits) == 200 / 3


def test_the_accuracy_on_nothing_is_an_error_not_a_number():
    with pytest.raises(UserError, match="at least one image"):
        accuracy(torch.zeros(0, dtype=torch.bool))


def test_pixels_are_scaled_as_torchvision_scales_them():
    model, data = Seen(), images_of(5)
    predict(model, data)
    expected = [to_tensor(image.permute(1, 2, 0).numpy()) for image in data.images]
    assert torch.equal(model.shown[0][0], torch.stack(expected))


def test_a_network_sees_what_the_data_prepares_batch_by_batch():
    model, data = Seen(), images_of(5)
    predict(model, replace(data, prepare=lambda images: images.flip(-1)[..., :6]), batch_size=2)
    expected = [to_tensor(image.permute(1, 2, 0).numpy()) for image in data.images.flip(-1)[..., :6]]
    assert [len(one[0]) for one in model.shown] == [2, 2, 1]
    assert torch.equal(torch.cat([one[0] for one in model.shown]), torch.stack(expected))


@pytest.mark.parametrize(("side", "count"), [(8, 1000), (96, 1000), (192, 250), (4000, 1)])
def test_of_large_images_fewer_go_at_once(side, count):
    data = Images(images=torch.zeros(1, 3, 1, 1, dtype=torch.uint8), labels=torch.zeros(1, dtype=torch.int64))
    many = replace(data, images=data.images.expand(1001, 3, side, side), labels=data.labels.expand(1001))
    images, _ = next(batches(nn.Identity(), many))
    assert len(images) == count


def test_pixels_take_the_precision_of_double_weights():
    model = Seen().double()
    assert predict(model, images_of(3)).dtype == torch.float64
    assert model.shown[0][0].dtype == torch.float64


def test_pixels_stay_float32_under_half_weights_which_cannot_hold_a_255th():
    class Half(Seen):
        def forward(self, images):
            self.shown.append((images,))
            return Output(logits=images[:, 0, 0].to(self.weight.dtype), embedding=images, grids=())

    model = Half().bfloat16()
    predict(model, images_of(3))
    assert model.shown[0][0].dtype == torch.float32


def test_every_image_is_predicted_once_in_order_whatever_the_batch():
    data = images_of(23)
    one, many = Seen(), Seen()
    together, apart = predict(one, data), predict(many, data, batch_size=5)
    assert together.shape == (23, 8)
    torch.testing.assert_close(together, apart)
    assert [len(images) for images, _, _ in many.shown] == [5, 5, 5, 5, 3]


def test_predicting_runs_in_evaluation_mode_without_gradients_and_restores_each_modules_mode():
    model = Seen()
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    logits = predict(model, images_of(4))
    assert [flags for _, *flags in model.shown] == [[False, False]]
    assert not logits.requires_grad
    assert (model.training, model.norm.training, model.frozen.training) == (True, True, False)
    assert all(torch.equal(value, statistics[name]) for name, value in model.named_buffers())


def test_the_modes_come_back_after_a_failure_too():
    class Broken(Seen):
        def forward(self, images):
            raise RuntimeError("broken")

    model = Broken()
    with pytest.raises(RuntimeError, match="broken"):
        predict(model, images_of(4))
    assert model.norm.training
    assert not model.frozen.training


@pytest.mark.parametrize("evaluate", [predict, fgsm])
def test_memory_that_does_not_suffice_says_that_it_was_the_evaluation(evaluate):
    class Large(Seen):
        def forward(self, images):
            return torch.empty(10**14)  # more than a process can address

    model = Large()
    with pytest.raises(OutOfMemory, match=r"^the evaluation of the model does not fit on the device; "):
        evaluate(model, images_of(4))
    assert model.norm.training


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_logit_that_is_not_finite_is_refused_with_its_image(bad):
    class Bad(nn.Module):
        def forward(self, images):
            logits = images[:, 0, 0].clone()
            logits[len(images) - 1, 2] = bad
            return Output(logits=logits, embedding=logits, grids=())

    with pytest.raises(NonFinite, match=r"2 of 7 images .* image 3"):
        predict(Bad(), images_of(7), batch_size=4)


def test_predicting_nothing_is_an_error():
    with pytest.raises(UserError, match="no images"):
        predict(Seen(), images_of(0))


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 17, 10_000])
def test_bits_come_back_as_they_were_packed(n):
    bits = torch.rand(n, generator=torch.Generator().manual_seed(n)) < 0.7
    text = pack(bits)
    assert torch.equal(unpack(text), bits)
    assert len(text) <= n / 6 + 12


def test_packing_is_numpys_bit_order_in_base64_by_hand():
    bits = torch.tensor([True] * 8 + [False, True])  # 0xff 0x40
    assert np.packbits(bits.numpy()).tolist() == [0xFF, 0x40]
    assert pack(bits) == "10:/0A="


@pytest.mark.parametrize(
    "text",
    ["", "10", "10:", "10:/0A", "10:/0A=:", "9:/8A=", "-1:", "x:/0A=", "10:/0A=AAAA", "17:/0A=", "10:/0Á="],
)
def test_damaged_bits_are_refused(text):
    with pytest.raises(UserError, match="damaged"):
        unpack(text)
