"""Quarter turns against numpy's and Pillow's, the loss against scipy, and what the network is shown."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import special, stats
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vitbench.adapter import shape_of
from vitbench.case import Phase
from vitbench.contracts import Output, Shape, Step
from vitbench.errors import UserError
from vitbench.leaves import find
from vitbench.terms import rotation
from vitbench.total import Total
from vitbench.train import Watch, train

SHAPE = Shape(channels=6, height=2, width=2, embedding=6, classes=3)


class Seen(nn.Module):
    """A network, linear in the pixels, that remembers what it was shown."""

    def __init__(self, pixels=3 * 4 * 4, *, dtype=torch.float64):
        super().__init__()
        draw = torch.Generator().manual_seed(4)
        self.weight = nn.Parameter(torch.randn(pixels, SHAPE.embedding, dtype=dtype, generator=draw))
        self.shown = []

    def forward(self, images):
        self.shown.append(images)
        embedding = images.flatten(1) @ self.weight
        return Output(logits=embedding[:, :3], embedding=embedding, grids=())


def images_of(batch, *, height=4, width=4):
    return torch.rand(batch, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def step_of(images, model, *, seed=0, turns=None):
    return Step(
        images=images,
        labels=torch.zeros(len(images), dtype=torch.int64),
        turns=turns,
        model=model,
        forward=model,
        generator=torch.Generator().manual_seed(seed),
    )


def built():
    torch.manual_seed(0)
    return rotation.build(SHAPE).double()


def how_turned(original, shown):
    """By how many quarter turns, counter-clockwise, numpy says that an image was turned."""
    (found,) = [k for k in range(4) if np.array_equal(np.rot90(original.numpy(), k, axes=(1, 2)), shown.numpy())]
    return found


def by_scipy(term, embedding, turns):
    """Mean of -log softmax(logits)[turns]."""
    weight, bias = term.head.weight.detach().numpy(), term.head.bias.detach().numpy()
    logits = embedding.detach().numpy() @ weight.T + bias
    return -special.log_softmax(logits, axis=1)[np.arange(len(turns)), turns].mean()


def test_the_head_is_one_linear_layer_to_four_classes():
    shape = Shape(channels=768, height=14, width=14, embedding=768, classes=102)
    assert sum(p.numel() for p in rotation.build(shape).parameters()) == 768 * 4 + 4


def test_an_image_turns_counter_clockwise_as_pillow_turns_it():
    pixels = torch.randint(0, 256, (4, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels = pixels[:1].expand(4, -1, -1, -1)
    turned = rotation.turn(pixels, torch.arange(4))
    operations = (None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    for one, operation in zip(turned, operations, strict=True):
        image = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
        image = image if operation is None else image.transpose(operation)
        assert np.array_equal(np.asarray(image), one.permute(1, 2, 0).numpy())


def test_each_image_gets_its_own_turn():
    images, turns = images_of(9), torch.tensor([3, 0, 1, 2, 2, 1, 0, 3, 1])
    for image, shown, turns_of_it in zip(images, rotation.turn(images, turns), turns.tolist(), strict=True):
        assert how_turned(image, shown) == turns_of_it


def test_turns_of_the_recipe_are_read_off_the_pass_that_all_terms_share():
    images, model, term, turns = images_of(5), Seen(), built(), torch.tensor([0, 3, 1, 2, 3])
    step = step_of(images, model, turns=turns)
    loss = term(step)
    assert len(model.shown) == 1
    assert model.shown[0] is images  # turned by the recipe, so not again
    assert loss.item() == pytest.approx(by_scipy(term, step.out.embedding, turns.numpy()), rel=1e-12)
    assert len(model.shown) == 1


def test_the_recipe_s_turns_draw_nothing():
    step = step_of(images_of(3), Seen(), seed=6, turns=torch.tensor([0, 1, 2]))
    before = step.generator.get_state()
    built()(step)
    assert torch.equal(step.generator.get_state(), before)


def test_without_turns_of_the_recipe_the_network_is_shown_turned_images_once_more():
    images, model, term = images_of(40), Seen(), built()
    loss = term(step_of(images, model, seed=1))
    (shown,) = model.shown
    turns = [how_turned(*pair) for pair in zip(images, shown, strict=True)]
    assert set(turns) == {0, 1, 2, 3}
    assert loss.item() == pytest.approx(by_scipy(term, shown.flatten(1) @ model.weight, np.array(turns)), rel=1e-12)


def test_the_images_of_the_other_terms_stay_as_they_are():
    images, model = images_of(4), Seen()
    before, step = images.clone(), step_of(images, model)
    built()(step)
    assert torch.equal(images, before)
    assert torch.equal(step.out.embedding, before.flatten(1) @ model.weight)


def test_every_turn_is_equally_likely():
    images, model = images_of(4000), Seen()
    built()(step_of(images, model, seed=2))
    turns = [how_turned(*pair) for pair in zip(images, model.shown[0], strict=True)]
    assert stats.chisquare(np.bincount(turns, minlength=4)).pvalue > 1e-3


def test_the_same_seed_turns_the_same_and_another_does_not():
    images, model, term = images_of(30), Seen(), built()
    for seed in (7, 7, 8):
        term(step_of(images, model, seed=seed))
    first, again, other = model.shown
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_head_that_knows_nothing_loses_the_logarithm_of_four():
    term = built()
    nn.init.zeros_(term.head.weight)
    nn.init.zeros_(term.head.bias)
    assert term(step_of(images_of(6), Seen())).item() == pytest.approx(math.log(4), rel=1e-12)


def test_the_gradient_reaches_the_network_by_its_own_pass():
    model, term = Seen(), built()
    term(step_of(images_of(6), model)).backward()
    assert model.weight.grad.any()


def test_of_a_model_in_bfloat16_the_loss_is_in_float32():
    model = Seen(dtype=torch.bfloat16)
    torch.manual_seed(0)
    loss = rotation.build(SHAPE).bfloat16()(step_of(images_of(6).bfloat16(), model))
    assert loss.dtype == torch.float32


def test_its_own_turns_read_nothing_on_the_host_and_draw_on_the_device_of_the_images():
    class NothingRead(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default), func
            return func(*args, **(kwargs or {}))

    term, step = built(), step_of(images_of(6), Seen())
    with NothingRead():
        term(step).backward()
    with torch.device("meta"):
        model = Seen(dtype=torch.float32).to("meta")
        step = step_of(torch.empty(6, 3, 4, 4), model)
        loss = rotation.build(SHAPE)(replace(step, generator=None))
    assert (loss.shape, loss.device.type) == ((), "meta")


def test_images_that_are_not_square_are_refused_where_they_would_have_to_be_turned():
    images, model = images_of(2, height=4, width=6), Seen(3 * 4 * 6)
    with pytest.raises(UserError, match=r"^rotation: expected square images, .*, got 4 x 6; take a square image size$"):
        built()(step_of(images, model))
    assert built()(step_of(images, model, turns=torch.tensor([0, 2]))).isfinite()


def test_it_has_no_options():
    with pytest.raises(TypeError):
        rotation.build(SHAPE, classes=4)


def test_beside_cross_entropy_it_learns_how_digits_stand_in_a_recipe_that_turns_none():
    digits = find("datasets", "digits").load()(None)
    torch.manual_seed(0)
    model = find("models", "vit").load()(classes=10, variant="tiny")
    term = rotation.build(shape_of(model, image_size=32))
    total = Total({"ce": find("terms", "ce").load()(SHAPE), "rotation": term}, {"ce": 1.0, "rotation": 0.5})
    phase = Phase(epochs=4, batch_size=32, optimizer={"name": "adamw", "lr": 2e-3}, schedule={"name": "constant"})
    train(model, total, digits.train, [phase], seed=0, watch=Watch(examine=lambda number: {}))
    model.eval()
    images = digits.test.images / 255
    turns = torch.arange(len(images)) % 4
    with torch.no_grad():
        found = term.head(model(rotation.turn(images, turns)).embedding).argmax(dim=1)
    assert (found == turns).double().mean() > 0.5  # chance is .25
