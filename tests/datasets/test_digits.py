"""Digits: scikit-learn's images, enlarged and split the same way on every machine."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from vitbench.datasets import digits
from vitbench.errors import DataBroken, UserError


def enlarged_by_pillow(image, size):
    """Another bilinear interpolation: Pillow's, on floats."""
    grey = Image.fromarray(image.astype(np.float32) * (255 / 16)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(grey)


def test_at_the_original_size_levels_are_the_raw_ones_spread_over_a_byte():
    split = digits.build(None, image_size=8)
    raw = {(image * (255 / 16)).round().astype(np.uint8).tobytes() for image in load_digits().images}
    ours = [image[0].numpy().tobytes() for half in (split.train, split.test) for image in half.images]
    assert sorted(ours) == sorted(raw)
    assert len(ours) == 1797


@pytest.mark.parametrize("size", [32, 28, 9])
def test_enlarging_is_bilinear_as_pillow_does_it(size):
    images = load_digits().images[:50]
    ours = digits._enlarge(images, size)
    theirs = np.stack([enlarged_by_pillow(image, size) for image in images])
    assert ours.shape == (50, 3, size, size)
    assert np.abs(ours[:, 0].numpy() - theirs).max() <= 0.5 + 1e-3  # rounding to whole levels, nothing more


def test_the_first_corner_is_what_a_hand_computes():
    # A 2x2 corner of levels 0 and 16: at 4-fold size the weights run 1/8, 3/8, 5/8, 7/8 between the centres.
    image = np.zeros((1, 8, 8))
    image[0, :, 1:] = 16
    row = digits._enlarge(image, 32)[0, 0, 0, :8].tolist()
    assert row == [0, 0, round(255 / 8), round(255 * 3 / 8), round(255 * 5 / 8), round(255 * 7 / 8), 255, 255]


def test_the_three_channels_are_equal():
    images = digits.build(None).test.images
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_every_image_keeps_its_own_label():
    split = digits.build(None, image_size=8)
    raw = load_digits()
    label = {
        (image * (255 / 16)).round().astype(np.uint8).tobytes(): int(target)
        for image, target in zip(raw.images, raw.target, strict=True)
    }
    for half in (split.train, split.test):
        assert [label[image[0].numpy().tobytes()] for image in half.images] == half.labels.tolist()


def test_a_change_of_one_pixel_in_scikit_learn_is_noticed(monkeypatch):
    changed = load_digits()
    changed.images[1000, 4, 4] += 1
    monkeypatch.setattr(digits, "load_digits", lambda: changed)
    with pytest.raises(DataBroken, match=r"got [0-9a-f]{64}; this release of scikit-learn") as error:
        digits.build(None)
    assert digits.DIGEST in str(error.value)


def test_a_change_of_one_label_is_noticed(monkeypatch):
    changed = load_digits()
    changed.target[3] = 7
    monkeypatch.setattr(digits, "load_digits", lambda: changed)
    with pytest.raises(DataBroken):
        digits.build(None)


def test_another_split_of_the_same_images_is_noticed(monkeypatch):
    split = digits.train_test_split

    def other_seed(*arrays, **options):
        return split(*arrays, **{**options, "random_state": 1})

    monkeypatch.setattr(digits, "train_test_split", other_seed)
    with pytest.raises(DataBroken):
        digits.build(None)


@pytest.mark.parametrize("size", [7, 0, -32])
def test_a_size_below_the_original_is_refused(size):
    with pytest.raises(UserError, match=f"at least 8, the size of the originals, got {size}"):
        digits.build(None, image_size=size)
