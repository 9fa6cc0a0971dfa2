"""Mixup and cutmix, image by image against timm's Mixup on its own draws; our draws against scipy's and timm's."""

from unittest import mock

import numpy as np
import pytest
import torch
from scipy import stats
from timm.data import mixup as timms

from vitbench.augmentations import mixing
from vitbench.errors import UserError

CLASSES = 7


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def batch(count, height=24, width=40):
    images = torch.rand(count, 3, height, width, generator=seeded(0))
    return images, torch.arange(count) % CLASSES


class Noting(timms.Mixup):
    """timm's mixing, which notes what it drew."""

    def _params_per_batch(self):
        share, cut = super()._params_per_batch()
        self.drawn = np.array([share]), np.array([cut])
        return share, cut

    def _params_per_elem(self, batch_size):
        share, cut = super()._params_per_elem(batch_size)
        self.drawn = share.copy(), cut
        return share, cut


def by_timm(images, labels, seed, mode, **arguments):
    """What timm makes of the batch, and its draws in our form: share (n,), cut (n,), centre (n, 2)."""
    centres, drawn = [], np.random.RandomState(seed)
    noted = {name: getattr(drawn, name) for name in ("rand", "beta")}

    def randint(*bounds, size=None):
        centres.append(drawn.randint(*bounds, size=size))
        return centres[-1]

    operation = Noting(mode=mode, num_classes=CLASSES, **arguments)
    with mock.patch.multiple(np.random, randint=randint, **noted):
        mixed, targets = operation(images.clone(), labels)
    share, cut = (torch.from_numpy(one) for one in operation.drawn)
    centre = torch.zeros(len(share), 2, dtype=torch.int64)
    centre[cut & (share != 1)] = torch.tensor(centres, dtype=torch.int64).view(-1, 2)
    return mixed, targets, (share.to(torch.float64), cut, centre)


SETTINGS = [
    {"mixup_alpha": 0.8, "cutmix_alpha": 0.0},
    {"mixup_alpha": 0.0, "cutmix_alpha": 1.0},
    {"mixup_alpha": 0.8, "cutmix_alpha": 1.0, "prob": 0.7, "switch_prob": 0.5},
]


@pytest.mark.parametrize("mode", ["batch", "elem"])
@pytest.mark.parametrize("arguments", SETTINGS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_images_and_targets_are_timms_where_the_draws_are_timms(mode, arguments, smoothing):
    images, labels = batch(16)
    for seed in range(12):
        theirs, expected, draws = by_timm(images, labels, seed, mode, label_smoothing=smoothing, **arguments)
        ours, targets = mixing.blend(images, mixing.smooth(labels, CLASSES, smoothing), *draws)
        if mode == "batch":
            assert torch.equal(ours, theirs)
            assert torch.equal(targets, expected)
        else:  # timm's share of an image is a float, ours a double
            assert torch.allclose(ours, theirs, rtol=0, atol=1e-6)
            assert torch.allclose(targets, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(32, 32), (24, 40), (7, 5), (1, 1)])
def test_boxes_are_timms(shape):
    share = torch.cat((torch.rand(400, generator=seeded(1), dtype=torch.float64), torch.tensor([0.0, 1.0])))
    centre = torch.stack([torch.randint(size, (402,), generator=seeded(2)) for size in shape], dim=1)
    ours = mixing.boxes(share, centre, *shape)
    for row, part, (y, x) in zip(ours.tolist(), share.tolist(), centre.tolist(), strict=True):
        with mock.patch.object(np.random, "randint", side_effect=[y, x]):
            assert row == [int(one) for one in timms.rand_bbox((1, 3, *shape), part)]


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 4.0])
def test_shares_are_drawn_from_the_beta_distribution(alpha):
    drawn = mixing.beta(alpha, 6000, torch.device("cpu"), seeded(23))
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_a_small_alpha_draws_what_it_should():
    # What is nearer to 1 than the next double is 1, a third of all; the lower half, as likely, has no such end.
    drawn = mixing.beta(0.01, 6000, torch.device("cpu"), seeded(23))
    below = drawn[drawn < 0.5]
    assert stats.binomtest(len(below), 6000, 0.5).pvalue > 0.01
    assert stats.kstest(below, lambda x: 2 * stats.beta(0.01, 0.01).cdf(x)).pvalue > 0.01


def pairs(count):
    """Images of which the first half is black and the second, their partners, white; every label differs from them."""
    images = torch.zeros(2 * count, 3, 16, 16)
    images[count:] = 1
    return images, (torch.arange(2 * count) >= count).to(torch.int64)


def test_the_share_of_each_image_is_beta_and_stands_in_pixels_and_target():
    images, labels = pairs(2000)
    mixed, targets = mixing.mix(images, labels, classes=2, mixup=0.8, per_image=True, generator=seeded(4))
    share = targets.gather(1, labels[:, None])[:, 0]
    assert stats.kstest(share, stats.beta(0.8, 0.8).cdf).pvalue > 0.01
    assert torch.allclose(mixed, targets[:, 1].view(-1, 1, 1, 1).expand_as(mixed), atol=1e-6)
    assert stats.spearmanr(share[:-1], share[1:]).pvalue > 0.01
    assert stats.spearmanr(share, share.flip(0)).pvalue > 0.01  # an image and its partner draw apart


def test_the_share_of_a_whole_batch_is_beta_and_the_same_for_all_its_images():
    images, labels = pairs(2)
    generator, shares = seeded(5), []
    for _ in range(1500):
        _, targets = mixing.mix(images, labels, classes=2, mixup=0.8, generator=generator)
        own = targets.gather(1, labels[:, None])
        assert (own == own[0]).all()
        shares.append(float(own[0]))
    assert stats.kstest(shares, stats.beta(0.8, 0.8).cdf).pvalue > 0.01


def test_a_box_takes_the_share_that_the_target_says_and_is_drawn_as_timm_draws_it():
    images, labels = pairs(1500)
    mixed, targets = mixing.mix(images, labels, classes=2, cutmix=1.0, per_image=True, generator=seeded(6))
    assert set(mixed.unique().tolist()) == {0.0, 1.0}
    assert torch.allclose(mixed.mean((1, 2, 3)), targets[:, 1], atol=1e-6)
    box = mixed[:1500, 0] > 0
    theirs = by_timm(images, labels, 7, "elem", mixup_alpha=0.0, cutmix_alpha=1.0)[0][:1500, 0] > 0
    for axis in (1, 2):
        sides = [one.any(axis).sum(1) for one in (box, theirs)]
        first = [one.any(axis).to(torch.int64).argmax(1) for one in (box, theirs)]
        assert stats.ks_2samp(*sides, method="asymp").pvalue > 0.01
        assert stats.ks_2samp(*first, method="asymp").pvalue > 0.01
    assert stats.ks_2samp(*(one.sum((1, 2)) for one in (box, theirs)), method="asymp").pvalue > 0.01


@pytest.mark.parametrize(("probability", "switch"), [(1.0, 0.5), (0.6, 0.2)])
def test_images_are_mixed_and_cut_with_their_probabilities(probability, switch):
    images, labels = pairs(3000)
    options = {"mixup": 0.8, "cutmix": 1.0, "probability": probability, "switch": switch}
    mixed, _ = mixing.mix(images, labels, classes=2, per_image=True, generator=seeded(8), **options)
    blended = int(((mixed > 0) & (mixed < 1)).flatten(1).any(1).sum())
    assert stats.binomtest(blended, 6000, probability * (1 - switch)).pvalue > 0.01
    _, cut, _ = mixing.draw_mixing(images, 6000, (0.8, 1.0), probability, switch, seeded(9))
    assert stats.binomtest(int(cut.sum()), 6000, switch).pvalue > 0.01


@pytest.mark.parametrize("size", [2, 7, 32])
def test_centres_are_equally_likely_everywhere(size):
    _, _, centre = mixing.draw_mixing(torch.empty(1, 3, size, size), 6400, (0.0, 1.0), 1.0, 1.0, seeded(10))
    for axis in centre.T:
        assert stats.chisquare(axis.bincount(minlength=size)).pvalue > 0.01


@pytest.mark.parametrize("options", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0, "per_image": True}])
@pytest.mark.parametrize("count", [1, 5])
def test_the_middle_image_of_an_odd_batch_is_its_own_partner(count, options):
    images, _ = batch(count)
    labels = torch.arange(count)
    mixed, targets = mixing.mix(images, labels, classes=count, generator=seeded(11), **options)
    assert torch.allclose(mixed[count // 2], images[count // 2], atol=1e-6)
    assert targets[count // 2, count // 2] == pytest.approx(1.0)
    assert (mixed.shape, targets.shape) == (images.shape, (count, count))
    assert torch.allclose(targets.sum(1), torch.ones(count))


def test_labels_are_smoothed_as_torch_smooths_them():
    images, labels = batch(10)
    same, targets = mixing.mix(images, labels, classes=CLASSES, smoothing=0.1)
    assert same is images
    logits = torch.randn(10, CLASSES, generator=seeded(12))
    theirs = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    assert torch.allclose(torch.nn.functional.cross_entropy(logits, targets), theirs)
    hard = mixing.mix(images, labels, classes=CLASSES)[1]
    assert torch.equal(hard, torch.nn.functional.one_hot(labels, CLASSES).to(torch.float32))


@pytest.mark.parametrize("per_image", [False, True])
def test_a_seed_decides_the_draws_and_the_input_stays(per_image):
    images, labels = batch(16)
    before, options = images.clone(), {"classes": CLASSES, "mixup": 0.8, "cutmix": 1.0, "per_image": per_image}
    state = torch.get_rng_state()
    once, again, other = (mixing.mix(images, labels, generator=seeded(seed), **options)[0] for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("per_image", [False, True])
def test_nothing_is_read_on_the_host(per_image):
    images = torch.empty(9, 3, 32, 32, device="meta")  # a read, or a shape that depends on a draw, would raise
    labels = torch.empty(9, dtype=torch.int64, device="meta")
    mixed, targets = mixing.mix(images, labels, classes=10, mixup=0.8, cutmix=1.0, smoothing=0.1, per_image=per_image)
    assert (mixed.shape, targets.shape) == (images.shape, (9, 10))


def test_a_changed_operation_needs_a_raised_version():
    images, labels = batch(16)
    weights = torch.randn(images.shape, generator=seeded(21))
    options = {"mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1, "per_image": True}
    mixed, targets = mixing.mix(images, labels, classes=CLASSES, generator=seeded(22), **options)
    found = float((mixed * weights).sum()), float((targets * weights[:, 0, 0, :CLASSES]).sum())
    assert found == pytest.approx((192.986, -2.195), abs=0.05), (
        f"raise mixing.VERSION, then set the golden values to {found}"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mixup": -0.1}, "mixup is the alpha of a Beta distribution, or 0 for off, got -0.1"),
        ({"cutmix": float("inf")}, "cutmix is the alpha"),
        ({"mixup": float("nan")}, "mixup is the alpha"),
        ({"probability": 1.1}, "probability is between 0 and 1, got 1.1"),
        ({"switch": -1}, "switch is between"),
        ({"smoothing": 2}, "smoothing is between"),
        ({"classes": 0}, "classes is a number of classes"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments, message):
    images, labels = batch(4)
    with pytest.raises(UserError, match=message) as refused:
        mixing.mix(images, labels, **{"classes": CLASSES, **arguments})
    assert "\n" not in str(refused.value)


def test_levels_and_missing_labels_are_refused():
    images, labels = batch(4)
    with pytest.raises(TypeError, match=r"floats in \[0, 1\], got torch\.uint8"):
        mixing.mix(images.to(torch.uint8), labels, classes=CLASSES)
    with pytest.raises(ValueError, match="one label for each of 4 images"):
        mixing.mix(images, labels[:3], classes=CLASSES)
