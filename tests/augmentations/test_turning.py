"""Quarter turns, image by image against torchvision's rotation; the draws against what the probability says."""

import pytest
import torch
from scipy import stats
from torchvision.transforms import functional as TF

from vitbench import augment
from vitbench.augmentations import turning
from vitbench.errors import UserError


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def noise(count, size=12):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=seeded(0))


@pytest.mark.parametrize("size", [1, 2, 7, 16])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_each_image_is_turned_counter_clockwise_by_its_own_turns(size, dtype):
    images = noise(48, size).to(dtype)
    ours, turns = turning.quarter_turn(images, generator=seeded(1))
    assert (ours.dtype, turns.dtype, ours.is_contiguous()) == (dtype, torch.int64, True)
    assert turns.unique().tolist() == [0, 1, 2, 3]
    for image, result, times in zip(images, ours, turns.tolist(), strict=True):
        assert torch.equal(result, image.rot90(times, (1, 2)))
        # torchvision's angle is in degrees and counter-clockwise; it resamples by the nearest pixel.
        assert torch.equal(result.float(), TF.rotate(image.float(), 90.0 * times))


def test_a_turn_brings_the_right_edge_to_the_top():
    image = torch.tensor([[[[1, 2], [3, 4]]]])
    turned = [turning.turn(image, torch.tensor([times]))[0, 0].tolist() for times in range(4)]
    assert turned == [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]


@pytest.mark.parametrize("probability", [0.0, 0.5, 0.9, 1.0])
def test_turns_are_drawn_with_the_given_probability_and_evenly(probability):
    _, turns = turning.quarter_turn(noise(6000, 1), probability=probability, generator=seeded(2))
    counts = turns.bincount(minlength=4)
    assert stats.binomtest(6000 - int(counts[0]), 6000, probability).pvalue > 0.01
    if probability:
        assert stats.chisquare(counts[1:]).pvalue > 0.01


def test_the_turn_of_an_image_says_nothing_of_the_next_ones():
    _, turns = turning.quarter_turn(noise(6001, 1), generator=seeded(3))
    table = (4 * turns[:-1] + turns[1:]).bincount(minlength=16).view(4, 4)
    assert stats.chi2_contingency(table).pvalue > 0.01


def test_an_image_does_not_depend_on_the_others_nor_on_the_memory_layout_and_the_input_stays():
    images = noise(32)
    before, swapped = images.clone(), images.clone()
    swapped[1:] = 0
    ours, turns = turning.quarter_turn(images, generator=seeded(4))
    alone, same = turning.quarter_turn(swapped, generator=seeded(4))
    assert torch.equal(ours[0], alone[0])
    assert torch.equal(turns, same)
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(turning.quarter_turn(last, generator=seeded(4))[0], ours)
    ours.zero_()
    assert torch.equal(images, before)


def test_a_generator_decides_and_leaves_the_global_one_untouched():
    images, before = noise(64), torch.get_rng_state()
    once, again, other = (turning.quarter_turn(images, generator=seeded(seed)) for seed in (7, 7, 8))
    assert all(map(torch.equal, once, again))
    assert not torch.equal(once[1], other[1])
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        once = turning.quarter_turn(images)
        torch.manual_seed(7)
        again = turning.quarter_turn(images)
    assert all(map(torch.equal, once, again))


def test_nothing_is_read_on_the_host():
    images = torch.empty(9, 3, 32, 32, device="meta")  # a read, or a shape that depends on a draw, would raise
    turned, turns = turning.quarter_turn(images)
    assert (turned.shape, turns.shape) == (images.shape, (9,))


def test_a_turner_is_the_function_with_the_recipes_arguments():
    images = noise(20)
    made = augment.turner({"probability": 0.7})(images, generator=seeded(5))
    assert all(map(torch.equal, made, turning.quarter_turn(images, probability=0.7, generator=seeded(5))))
    assert "quarter_turn" not in augment.OPERATIONS  # which are of images alone


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"probabillity": 0.8}, r"argument of quarter_turn.*'probabillity'.*probability"),
        ({"probability": 2.0}, r"quarter_turn refuses its arguments: probability is between 0 and 1, got 2\.0"),
        ({"probability": "half"}, "quarter_turn refuses its arguments: "),
    ],
)
def test_a_wrong_turning_is_refused_where_it_stands(arguments, told):
    with pytest.raises(UserError, match=f"^file:3: .*{told}") as refused:
        augment.turner(arguments, where="file:3")
    assert "\n" not in str(refused.value)


def test_what_cannot_be_turned_is_refused():
    with pytest.raises(UserError, match=r"^quarter turns are of square images, got 12 x 16; crop them to a square$"):
        turning.quarter_turn(torch.zeros(2, 3, 12, 16))
    with pytest.raises(UserError, match=r"^probability is between 0 and 1, got nan$"):
        turning.quarter_turn(noise(2), probability=float("nan"))


def test_a_changed_operation_needs_a_raised_version():
    images = noise(48, 8)
    weights = torch.randn(images.shape, generator=seeded(21), dtype=torch.float64)
    turned, turns = turning.quarter_turn(images, generator=seeded(22))
    found = float((turned * weights).sum()) / 1000, float((turns * weights[:, 0, 0, 0]).sum())
    assert found == pytest.approx((-4.033, 5.756), abs=1e-3), (
        f"raise turning.VERSION, then set the golden values to {found}"
    )
