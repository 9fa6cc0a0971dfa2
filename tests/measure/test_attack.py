"""FGSM against closed forms of linear models, finite differences and models that cheat."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vitbench.contracts import Images, Output
from vitbench.errors import NonFinite, UserError
from vitbench.measure import attack
from vitbench.measure.accuracy import correct, predict
from vitbench.measure.attack import fgsm

EPS = 1 / 255


class Linear(nn.Module):
    """Softmax regression on pixels; keeps the images that it was shown."""

    def __init__(self, *, classes=2, seed=0):
        super().__init__()
        self.layer = nn.Linear(3 * 4 * 4, classes, dtype=torch.float64)
        draw = torch.Generator().manual_seed(seed)
        nn.init.normal_(self.layer.weight, generator=draw)
        nn.init.zeros_(self.layer.bias)
        self.shown = []

    def logits(self, images):
        return self.layer(images.flatten(1))

    def forward(self, images):
        self.shown.append(images.detach().clone())
        logits = self.logits(images)
        return Output(logits=logits, embedding=logits, grids=())


def data_of(n, *, classes=2, seed=0):
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (n, 3, 4, 4), dtype=torch.uint8, generator=draw)
    return Images(images=pixels, labels=torch.randint(classes, (n,), generator=draw))


def labelled_by(model, data):
    """The same images with the model's own answers as labels."""
    return Images(images=data.images, labels=predict(model, data).argmax(1))


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def test_two_linear_classes_are_attacked_along_the_sign_of_their_difference():
    model, data, eps = Linear(), data_of(300), 0.05
    result = fgsm(model, data, eps=eps, generator=draw())
    weight = model.layer.weight.detach()
    pixels = data.images.double() / 255
    towards = (weight[1 - data.labels] - weight[data.labels]).sign().view_as(pixels)
    torch.testing.assert_close(model.shown[2], pixels + eps * towards, rtol=0, atol=1e-15)
    # The margin of a linear model falls by eps times the 1-norm of the difference of its weights.
    other, own = (model.logits(pixels).gather(1, one[:, None])[:, 0] for one in (1 - data.labels, data.labels))
    margin = own - other
    fall = eps * (weight[1] - weight[0]).abs().sum()
    assert torch.equal(result.clean, margin > 0)
    assert torch.equal(result.attacked, margin > fall)
    assert result.valid
    assert result.drop == pytest.approx(100 * ((margin > 0) & (margin <= fall)).double().mean().item())
    assert result.drop > 2
    assert result.adversarial_accuracy == pytest.approx(100 * (margin > fall).double().mean().item())


def test_the_signs_are_those_of_finite_differences_of_the_mean_cross_entropy():
    class Curved(Linear):
        def logits(self, images):
            return self.layer(images.flatten(1).square().sin()) ** 2

    model, data = Curved(classes=3), data_of(2, classes=3)
    fgsm(model, data, generator=draw())
    pixels, step = data.images.double() / 255, 1e-6

    def loss(images):
        return F.cross_entropy(model.logits(images), data.labels)

    slopes = torch.zeros_like(pixels)
    with torch.no_grad():
        for place in range(pixels.numel()):
            nudge = torch.zeros_like(pixels)
            nudge.view(-1)[place] = step
            slopes.view(-1)[place] = (loss(pixels + nudge) - loss(pixels - nudge)) / (2 * step)
    clear = slopes.abs() > 1e-7
    assert clear.double().mean() > 0.9
    assert torch.equal(((model.shown[2] - pixels) / EPS).round()[clear], slopes.sign()[clear])


def test_attacked_images_are_not_clamped():
    model, data = Linear(), data_of(64)
    data.images[:, :, :2], data.images[:, :, 2:] = 0, 255
    fgsm(model, data, eps=0.25, generator=draw())
    assert model.shown[2].min() == -0.25
    assert model.shown[2].max() == 1.25


def test_a_step_of_nothing_leaves_every_prediction():
    model, data = Linear(classes=5), data_of(50, classes=5)
    result = fgsm(model, data, eps=0, generator=draw())
    assert torch.equal(result.attacked, result.clean)
    assert torch.equal(result.clean, correct(predict(model, data), data.labels))
    assert (result.drop, result.valid) == (0, True)


def test_an_attack_that_changes_nothing_is_valid_since_random_signs_change_nothing_either():
    model = Linear()
    with torch.no_grad():
        model.layer.bias[0] = 1e4
    result = fgsm(model, data_of(40), generator=draw())
    assert (result.drop, result.valid) == (0, True)


def test_an_attack_that_random_signs_beat_is_invalid():
    class Backwards(torch.autograd.Function):
        @staticmethod
        def forward(ctx, images):
            return images.clone()

        @staticmethod
        def backward(ctx, gradient):
            return -gradient

    class Masked(Linear):
        def logits(self, images):
            return super().logits(Backwards.apply(images))

    data = labelled_by(Linear(), data_of(300))
    assert fgsm(Linear(), data, eps=0.05, generator=draw()).valid
    result = fgsm(Masked(), data, eps=0.05, generator=draw())
    assert result.adversarial_accuracy == 100
    assert not result.valid
    assert "random signs" in result.reason


def test_a_model_that_hides_its_gradient_is_invalid_not_robust():
    class Rounded(Linear):
        def logits(self, images):
            return super().logits((images * 8).round())

    result = fgsm(Rounded(), data_of(20), generator=draw())
    assert result.drop == 0
    assert not result.valid
    assert "gradient" in result.reason


def test_a_model_that_answers_differently_each_time_is_invalid():
    class Restless(Linear):
        def logits(self, images):
            return super().logits(images) * (-1) ** len(self.shown)

    result = fgsm(Restless(), data_of(20), generator=draw())
    assert not result.valid
    assert "eps = 0" in result.reason


class Stateful(nn.Module):
    """Batch norm, dropout, a frozen layer, a layer in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.still = nn.BatchNorm2d(3).eval()
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(48, 4)
        self.head.bias.requires_grad_(False)

    def forward(self, images):
        logits = self.head(self.drop(self.still(self.norm(images))).flatten(1))
        return Output(logits=logits, embedding=logits, grids=())


def state_of(model):
    return (
        {name: value.clone() for name, value in model.state_dict().items()},
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [parameter.grad.clone() for parameter in model.parameters()],
    )


@pytest.mark.parametrize("fails", [False, True])
def test_an_attack_leaves_the_model_and_torchs_generator_as_they_were(fails):
    torch.manual_seed(0)
    model, data = Stateful(), data_of(30, classes=4)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 3)
    if fails:
        with torch.no_grad():
            model.head.bias[0] = torch.inf
    before, numbers = state_of(model), torch.get_rng_state()
    if fails:
        with pytest.raises(NonFinite):
            fgsm(model, data, generator=draw())
    else:
        fgsm(model, data, generator=draw())
    torch.testing.assert_close(state_of(model), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), numbers)


def test_attacking_works_where_the_caller_has_gradients_off():
    model, data = Linear(), data_of(100)
    with torch.no_grad():
        off = fgsm(model, data, generator=draw())
    assert torch.equal(off.attacked, fgsm(model, data, generator=draw()).attacked)
    assert off.drop > 0


def test_the_batch_size_changes_nothing():
    model, data = Linear(classes=4), data_of(37, classes=4)
    whole, parts = fgsm(model, data, generator=draw()), fgsm(model, data, batch_size=10, generator=draw())
    assert torch.equal(whole.clean, parts.clean)
    assert torch.equal(whole.attacked, parts.attacked)


def test_no_parameter_asks_for_a_gradient_while_its_model_is_attacked():
    class Watched(Linear):
        def logits(self, images):
            assert images.requires_grad
            assert not any(parameter.requires_grad for parameter in self.parameters())
            return super().logits(images)

    model = Watched()
    fgsm(model, data_of(5), generator=draw())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_ten_batches_cost_two_forward_passes_a_backward_one_and_a_fifth(monkeypatch):
    monkeypatch.setattr(attack, "NOISY", 10)
    model, data = Linear(), data_of(100)
    fgsm(model, data, batch_size=10, generator=draw())
    assert sum(map(len, model.shown)) == 220


def test_random_signs_are_tried_all_over_the_set_and_repeat_with_their_generator(monkeypatch):
    monkeypatch.setattr(attack, "NOISY", 10)
    data = data_of(101)
    seen = []
    for _ in range(2):
        model = Linear()
        assert fgsm(model, data, generator=draw(7)).valid
        seen.append(model.shown[3])
    assert torch.equal(*seen)
    steps = (seen[0] - data.images[::11].double() / 255) / EPS
    torch.testing.assert_close(steps.abs(), torch.ones_like(steps))
    assert abs(steps.mean()) < 4 / steps.numel() ** 0.5


@pytest.mark.parametrize("eps", [8, -0.1, 1.001, float("nan")])
def test_a_step_that_is_not_in_pixel_units_is_refused(eps):
    with pytest.raises(UserError, match="write 8/255, not 8"):
        fgsm(Linear(), data_of(2), eps=eps)
