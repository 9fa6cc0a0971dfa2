"""The error on masked patches against values by hand, numpy and answers whose error is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vitbench.contracts import Images
from vitbench.errors import NonFinite, UserError
from vitbench.measure.reconstruction import mean_patch, reconstruct

SIZE, GRID = 2, (2, 3)  # of a patch, and patches of an image


class Model(nn.Module):
    """Cuts images into patches of 2 x 2 in [-1, 1]."""

    patch_size = SIZE

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def patches(self, images):
        tiles = (2 * images - 1).unflatten(3, (-1, SIZE)).unflatten(2, (-1, SIZE))
        return tiles.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


class Term(nn.Module):
    """Masks half of the patches, and answers with what a function makes of the true ones (B, N, 12)."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.seen = answer, []

    def targets(self, patches):
        return patches

    def restore(self, model, images, generator):
        self.seen.append((self.training, model.training, torch.is_grad_enabled()))
        patches = model.patches(images)
        masked = torch.rand(patches.shape[:2], generator=generator).argsort(dim=1) < patches.shape[1] // 2
        answer = self.answer(patches)
        tiles = ((answer + 1) / 2).clamp(0, 1).unflatten(2, (SIZE, SIZE, 3)).unflatten(1, GRID)
        restored = tiles.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)
        return restored, masked, (answer - patches).square().mean(dim=-1)


def images_of(n, *, seed=0):
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (n, 3, SIZE * GRID[0], SIZE * GRID[1]), dtype=torch.uint8, generator=draw)
    return Images(images=pixels, labels=torch.zeros(n, dtype=torch.int64))


def cut(images):
    """Patches by numpy, float64 (N, 6, 12)."""
    pixels = 2 * images.images.numpy().astype(np.float64) / 255 - 1
    corners = [(SIZE * i, SIZE * j) for i in range(GRID[0]) for j in range(GRID[1])]
    tiles = [
        pixels[:, :, i : i + SIZE, j : j + SIZE].transpose(0, 2, 3, 1).reshape(len(pixels), -1) for i, j in corners
    ]
    return np.stack(tiles, axis=1)


def measured(answer, test, *, seed=0, train=None, **options):
    model, term = Model(), Term(answer)
    mean = mean_patch(model, term, train or test)
    return reconstruct(model, term, test, mean=mean, generator=torch.Generator().manual_seed(seed), **options)


def masks(n, *, seed=0):
    """Of the term above: the ranks are an order too, so what is below 3 is masked."""
    return torch.rand(n, 6, generator=torch.Generator().manual_seed(seed)).argsort(dim=1) < 3


def test_the_mean_patch_is_that_of_all_training_patches_as_numpy_has_it():
    train = images_of(7)
    mean = mean_patch(Model(), Term(None), train, batch_size=3)
    assert mean.dtype == torch.float64
    np.testing.assert_allclose(mean.numpy(), cut(train).mean(axis=(0, 1)), rtol=0, atol=1e-7)


def test_the_error_is_that_of_the_masked_patches_only_by_hand():
    # Patch n of the first image is off by n, of the second by 10 n, in all of its 12 numbers.
    off = torch.arange(6.0).view(6, 1) * torch.tensor([1.0, 10.0]).view(2, 1, 1)
    found = measured(lambda patches: patches + off, images_of(2), seed=4)
    hidden = [torch.arange(6)[row].tolist() for row in masks(2, seed=4)]
    squares = [n**2 for n in hidden[0]] + [(10 * n) ** 2 for n in hidden[1]]
    assert len(squares) == 6
    assert found.mse == pytest.approx(sum(squares) / 6, rel=1e-6)


def test_what_is_restored_perfectly_has_no_error():
    test = images_of(5)
    found = measured(lambda patches: patches, test)
    assert found.mse == 0
    assert torch.equal(found.restored, test.images)


def test_to_answer_with_the_mean_patch_gives_its_error_exactly():
    train, test = images_of(9, seed=1), images_of(6)
    mean = mean_patch(Model(), Term(None), train)
    found = measured(mean.expand_as, test, train=train)
    assert found.mse == found.mean_patch_mse
    expected = np.square(cut(test) - cut(train).mean(axis=(0, 1)))[masks(6).numpy()].mean()
    assert found.mean_patch_mse == pytest.approx(expected, rel=1e-6)


def test_the_error_of_the_mean_patch_is_the_variance_of_the_patches_where_all_are_masked():
    class Blind(Term):
        def restore(self, model, images, generator):
            restored, masked, errors = super().restore(model, images, generator)
            return restored, torch.ones_like(masked), errors

    data = images_of(20)
    mean = mean_patch(Model(), Blind(None), data)
    found = reconstruct(Model(), Blind(lambda patches: 0 * patches), data, mean=mean)
    assert found.mean_patch_mse == pytest.approx(cut(data).var(axis=(0, 1)).mean(), rel=1e-6)
    assert found.mse == pytest.approx(np.square(cut(data)).mean(), rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 7, None])
def test_the_batch_size_changes_nothing(batch_size):
    test = images_of(7)
    found, whole = (measured(lambda p: 0 * p, test, batch_size=size, shown=5) for size in (batch_size, 7))
    assert (found.mse, found.mean_patch_mse) == pytest.approx((whole.mse, whole.mean_patch_mse), rel=1e-12)
    assert torch.equal(found.masked, whole.masked)
    assert torch.equal(found.original, test.images[:5])


def test_masked_patches_are_grey_and_the_others_as_they_were():
    test = images_of(4)
    found = measured(lambda patches: 0 * patches, test, shown=3)
    hidden = masks(4).view(4, *GRID).repeat_interleave(SIZE, 1).repeat_interleave(SIZE, 2)
    for shown in range(3):
        for row, column in np.ndindex(SIZE * GRID[0], SIZE * GRID[1]):
            pixel = found.masked[shown, :, row, column].tolist()
            seen = test.images[shown, :, row, column].tolist()
            assert pixel == ([128] * 3 if hidden[shown, row, column] else seen)
    assert torch.equal(found.restored, torch.full_like(found.restored, 128))  # 0 in [-1, 1] is 127.5
    assert {one.dtype for one in (found.original, found.masked, found.restored)} == {torch.uint8}


@pytest.mark.parametrize(("shown", "kept"), [(0, 0), (2, 2), (100, 5)])
def test_as_many_pictures_are_kept_as_are_asked_for(shown, kept):
    found = measured(lambda patches: patches, images_of(5), shown=shown, batch_size=2)
    assert [len(one) for one in (found.original, found.masked, found.restored)] == [kept] * 3


def test_model_and_term_evaluate_without_gradients_and_are_left_in_their_modes():
    model, term = Model().train(), Term(lambda patches: patches).train()
    reconstruct(model, term, images_of(3), mean=mean_patch(model, term, images_of(3)))
    assert term.seen == [(False, False, False)]
    assert (model.training, term.training) == (True, True)


def test_images_are_prepared_as_for_any_other_measurement():
    half = replace(images_of(4), prepare=lambda images: images // 2)
    assert torch.equal(measured(lambda patches: patches, half).original, half.images // 2)


def test_the_units_are_those_that_the_term_restores_in():
    class Scaled(Term):
        def targets(self, patches):
            return 10 * patches

    data = images_of(6)
    mean = mean_patch(Model(), Scaled(None), data)
    found = reconstruct(Model(), Scaled(lambda p: p), data, mean=mean, generator=torch.Generator().manual_seed(0))
    plain = measured(lambda patches: patches, data)
    assert found.mean_patch_mse == pytest.approx(100 * plain.mean_patch_mse, rel=1e-6)


def test_what_is_not_finite_is_an_error_not_a_number():
    with pytest.raises(NonFinite, match="restored patches is nan"):
        measured(lambda patches: patches * torch.nan, images_of(3))


def test_no_images_are_an_error():
    with pytest.raises(UserError, match="at least one image"):
        measured(lambda patches: patches, images_of(0), train=images_of(2))
