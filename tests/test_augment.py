"""Augmentation: image by image what torchvision does, with one fair draw each from the given generator."""

import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomCrop
from torchvision.transforms import functional as TF

from vitbench import augment, operations
from vitbench.errors import UserError


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def position_coded(count, *, height=32, width=32):
    """Images whose first two channels say of every pixel its row and column, from 1; noise in the third."""
    rows = torch.arange(1, height + 1, dtype=torch.uint8)[:, None].expand(height, width)
    columns = torch.arange(1, width + 1, dtype=torch.uint8).expand(height, width)
    noise = torch.randint(0, 256, (count, 1, height, width), dtype=torch.uint8, generator=seeded(99))
    return torch.cat((torch.stack((rows, columns)).expand(count, 2, height, width), noise), dim=1)


def offsets(cropped, *, padding):
    """Where each window of position-coded images begins in the padded image, read off its middle pixel."""
    height, width = cropped.shape[2:]
    middle = cropped[:, :2, height // 2, width // 2].to(torch.int64)
    return middle - 1 - torch.tensor([height // 2, width // 2]) + padding  # (B, 2), top and left


def uniform(counts):
    """p-value of a chi-square test that all cells are equally likely."""
    return stats.chisquare(counts).pvalue


@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
@pytest.mark.parametrize("padding", [0, 1, 4, 8])
def test_crop_is_torchvisions_pad_and_crop_image_by_image(shape, padding):
    height, width = shape
    images = position_coded(64, height=height, width=width)
    ours = augment.crop(images, padding=padding, generator=seeded(3))
    for image, result, (top, left) in zip(images, ours, offsets(ours, padding=padding).tolist(), strict=True):
        reference = TF.crop(TF.pad(image, [padding] * 4), top, left, height, width)
        assert torch.equal(result, reference)


def test_crop_reaches_the_windows_that_random_crop_reaches():
    images = position_coded(2000)
    seen = {tuple(pair) for pair in offsets(augment.crop(images, generator=seeded(0)), padding=4).tolist()}
    torchvisions = {RandomCrop.get_params(torch.empty(3, 40, 40), (32, 32))[:2] for _ in range(3000)}
    assert seen == torchvisions == {(top, left) for top in range(9) for left in range(9)}


def test_the_windows_of_crop_are_equally_likely():
    tops_lefts = offsets(augment.crop(position_coded(8100), generator=seeded(1)), padding=4)
    assert uniform((tops_lefts[:, 0] * 9 + tops_lefts[:, 1]).bincount(minlength=81)) > 0.01


def test_the_draws_of_neighbouring_images_are_independent():
    tops, lefts = offsets(augment.crop(position_coded(8101), generator=seeded(2)), padding=4).T
    for draws in (tops, lefts):
        assert uniform((draws[:-1] * 9 + draws[1:]).bincount(minlength=81)) > 0.01


def test_flip_is_torchvisions_hflip_on_some_images_and_nothing_on_the_others():
    images = position_coded(64)
    ours = augment.flip(images, generator=seeded(4))
    mirrored = ours[:, 1, 0, 0] == 32
    assert 0 < mirrored.sum() < 64
    for image, result, was in zip(images, ours, mirrored.tolist(), strict=True):
        assert torch.equal(result, TF.hflip(image) if was else image)


@pytest.mark.parametrize("probability", [0.5, 0.1])
def test_flip_mirrors_with_its_probability(probability):
    ours = augment.flip(position_coded(5000), probability=probability, generator=seeded(5))
    mirrored = int((ours[:, 1, 0, 0] == 32).sum())
    assert stats.binomtest(mirrored, 5000, probability).pvalue > 0.01


def test_whether_an_image_is_mirrored_says_nothing_of_the_next():
    mirrored = augment.flip(position_coded(5001), generator=seeded(5))[:, 1, 0, 0] == 32
    table = (2 * mirrored[:-1].to(torch.int64) + mirrored[1:]).bincount(minlength=4).view(2, 2)
    assert stats.chi2_contingency(table).pvalue > 0.01


def test_flip_never_and_flip_always():
    images = position_coded(200)
    assert torch.equal(augment.flip(images, probability=0.0, generator=seeded(0)), images)
    assert torch.equal(augment.flip(images, probability=1.0, generator=seeded(0)), TF.hflip(images))


def test_crop_and_flip_draw_independently():
    generator = seeded(6)
    images = position_coded(6000)
    cropped = augment.crop(images, generator=generator)
    mirrored = augment.flip(images, generator=generator)[:, 1, 0, 0] == 32
    table = [(offsets(cropped, padding=4)[half, 1]).bincount(minlength=9).tolist() for half in (mirrored, ~mirrored)]
    assert stats.chi2_contingency(table).pvalue > 0.01


def test_to_float_is_torchvisions_conversion_exactly():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(augment.to_float(levels), TF.convert_image_dtype(levels, torch.float32))
    assert augment.to_float(levels).max() == 1


def test_what_is_converted_already_is_refused_and_not_made_black():
    with pytest.raises(TypeError, match=r"uint8 levels, got torch\.float32"):
        augment.to_float(torch.rand(2, 3, 8, 8))


def test_an_operation_that_does_not_keep_uint8_is_refused(monkeypatch):
    monkeypatch.setitem(augment.OPERATIONS, "lighten", lambda images, *, generator=None: images / 2)
    with pytest.raises(UserError, match="lighten refuses its arguments: expected images of uint8 levels"):
        augment.compose([("lighten", {})])


@pytest.mark.parametrize("operation", [augment.crop, augment.flip])
def test_what_only_moves_whole_pixels_takes_any_dtype(operation):
    for dtype in (torch.uint8, torch.float32, torch.bfloat16):
        result = operation(torch.ones(5, 3, 12, 16, dtype=dtype), generator=seeded(0))
        assert (result.shape, result.dtype) == ((5, 3, 12, 16), dtype)


FRAMING = ("resize", "centre_crop")  # nothing is drawn there; tested in augmentations/test_framing.py
DRAWING = {name: one for name, one in augment.OPERATIONS.items() if name not in FRAMING}
LEVELS_ONLY = [one for name, one in DRAWING.items() if name not in ("crop", "flip")]


@pytest.mark.parametrize("operation", LEVELS_ONLY)
def test_what_works_on_levels_refuses_floats(operation):
    with pytest.raises(TypeError, match=r"uint8 levels, got torch\.float32"):
        operation(torch.ones(5, 3, 12, 16))


def test_the_operations_that_a_recipe_may_name_are_those_that_there_are():
    with pytest.raises(UserError) as refused:
        operations.find("none of them")
    # `mix` and `quarter_turn` make labels too, and stand under keys of their own.
    assert f"({len(augment.OPERATIONS) + 2} in all)" in str(refused.value)
    made = {"mix": augment.mix, "quarter_turn": augment.quarter_turn}
    for name, operation in (augment.OPERATIONS | made).items():
        assert operations.find(name).module == operation.__module__


def all_of_jitter(images, *, generator=None):
    return augment.colour_jitter(
        images, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, probability=0.8, generator=generator
    )


@pytest.mark.parametrize(
    "operation", [all_of_jitter, *(one for name, one in DRAWING.items() if name != "colour_jitter")]
)
class TestEveryOperation:
    @pytest.mark.parametrize("count", [1, 5])
    def test_it_keeps_shape_and_dtype(self, operation, count):
        images = torch.ones(count, 3, 12, 16, dtype=torch.uint8)
        result = operation(images, generator=seeded(0))
        assert (result.shape, result.dtype) == (images.shape, torch.uint8)
        assert result.is_contiguous()

    def test_it_leaves_its_input_alone(self, operation):
        images = position_coded(16)
        before = images.clone()
        operation(images, generator=seeded(0)).zero_()
        assert torch.equal(images, before)

    def test_the_memory_layout_of_the_input_changes_nothing(self, operation):
        images = position_coded(16)
        last = images.contiguous(memory_format=torch.channels_last)
        assert torch.equal(operation(last, generator=seeded(0)), operation(images, generator=seeded(0)))

    def test_a_seed_decides_the_draws(self, operation):
        images = position_coded(64)
        once, again, other = (operation(images, generator=seeded(seed)) for seed in (7, 7, 8))
        assert torch.equal(once, again)
        assert not torch.equal(once, other)

    def test_a_generator_leaves_the_global_one_untouched(self, operation):
        before = torch.get_rng_state()
        operation(position_coded(8), generator=seeded(0))
        assert torch.equal(torch.get_rng_state(), before)

    def test_without_a_generator_the_global_one_draws(self, operation):
        images = position_coded(64)
        with torch.random.fork_rng():
            torch.manual_seed(11)
            once = operation(images)
            torch.manual_seed(11)
            again = operation(images)
        assert torch.equal(once, again)

    def test_an_image_does_not_depend_on_the_others(self, operation):
        images = position_coded(32)
        swapped = images.clone()
        swapped[1:] = 0
        assert torch.equal(operation(images, generator=seeded(0))[0], operation(swapped, generator=seeded(0))[0])

    def test_it_reads_no_value_on_the_host(self, operation):
        # Nothing can be read from a meta tensor: an `.item()` or a shape that depends on data would raise.
        images = torch.empty(128, 3, 32, 32, dtype=torch.uint8, device="meta")
        assert operation(images).shape == images.shape


# Sums of what each operation makes of one batch under one seed, weighted so that a pixel that moves is seen.
GOLDEN = {
    "crop": -80.426,
    "flip": -125.343,
    "random_resized_crop": -99.495,
    "colour_jitter": -80.234,
    "greyscale": -90.945,
    "gaussian_blur": -104.527,
    "solarise": -87.352,
    "rand_augment": -58.785,
    "auto_augment": -44.444,
    "erase": -98.172,
    "resize": -32.308,
    "centre_crop": -35.071,
}


@pytest.mark.parametrize("name", augment.OPERATIONS)
def test_a_changed_operation_needs_a_raised_version(name):
    operation = all_of_jitter if name == "colour_jitter" else augment.OPERATIONS[name]
    arguments = {"size": 24} if name in FRAMING else {}
    rough = torch.rand(48, 3, 32, 32, generator=seeded(20)) * 256
    weights = torch.randn(48, 3, 32, 32, generator=seeded(21), dtype=torch.float64)
    made = operation(rough.to(torch.uint8), generator=seeded(22), **arguments)
    found = float((made * weights[:, :, : made.shape[2], : made.shape[3]]).sum()) / 1000
    # A level that rounds the other way on another machine moves the sum by 0.001; new draws move it by tens.
    assert found == pytest.approx(GOLDEN[name], abs=0.2), (
        f"{name} draws or computes something else: raise VERSION in its module, and then set GOLDEN to {found:.3f}"
    )


def test_an_augmentation_applies_its_operations_in_order_from_one_generator():
    images = position_coded(32)
    composed = augment.compose([("crop", {"padding": 2}), ("flip", {})])(images, generator=seeded(9))
    generator = seeded(9)
    by_hand = augment.crop(images, padding=2, generator=generator)
    by_hand = augment.flip(by_hand, generator=generator)
    assert torch.equal(composed, TF.convert_image_dtype(by_hand, torch.float32))


JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1, "probability": 0.8}
OF_DINO = [("flip", {}), ("colour_jitter", JITTER), ("greyscale", {}), ("gaussian_blur", {}), ("solarise", {})]
ERASING = ("erase", {"probability": 1.0, "min_area": 0.4, "max_area": 0.6, "mode": "const"})


@pytest.mark.parametrize(("side", "size"), [(32, 32), (32, 16), (224, 224), (224, 96)])
def test_the_views_of_dino_and_a_masked_one_are_made_of_a_batch(side, size):
    images = position_coded(12, height=side, width=side)
    made = augment.compose([("random_resized_crop", {"size": size}), *OF_DINO]).levels(images, generator=seeded(9))
    assert (made.shape, made.dtype) == ((12, 3, size, size), torch.uint8)
    masked = augment.compose([("random_resized_crop", {"size": size, "min_scale": 0.4}), ERASING])
    levels = masked.levels(images, generator=seeded(9))
    mean = torch.tensor([124, 116, 104], dtype=torch.uint8)  # ImageNet's, 0 once it is normalised
    erased = (levels == mean.view(3, 1, 1)).all(1).flatten(1).float().mean(1)
    # Of a thousand images of this range, about one gets no rectangle, because none of ten draws fits.
    assert ((erased > 0.37) & (erased < 0.63)).all()


def test_a_network_can_be_trained_on_what_an_augmentation_makes():
    calls = [("random_resized_crop", {}), ("flip", {}), ("rand_augment", {}), ("erase", {})]
    images = augment.compose(calls)(position_coded(64), generator=seeded(9))
    mixed, _ = augment.mix(images, torch.arange(64), classes=64, mixup=0.8, generator=seeded(10))
    network = torch.nn.Conv2d(3, 4, 3)
    for some in (images, mixed):
        assert not some.is_inference()
        network(some).sum().backward()
    assert network.weight.grad.isfinite().all()


def test_without_operations_pixels_are_only_converted():
    images = position_coded(4)
    assert torch.equal(augment.compose([])(images), TF.convert_image_dtype(images, torch.float32))


def test_another_function_joins_by_its_name_alone(monkeypatch):
    def darken(images, *, by, generator=None):
        return images // by

    monkeypatch.setitem(augment.OPERATIONS, "darken", darken)
    images = position_coded(4)
    darkened = augment.compose([("darken", {"by": 2})])(images)
    assert torch.equal(darkened, TF.convert_image_dtype(images // 2, torch.float32))
    with pytest.raises(UserError, match=r"darken refuses its arguments: .*'by'"):
        augment.compose([("darken", {})])


def test_composing_draws_nothing():
    before = torch.get_rng_state()
    augment.compose([("crop", {}), ("flip", {})])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("crpo", {}, "unknown augmentation 'crpo'; did you mean crop\\? known: auto_augment, centre_crop, colour"),
        ("crop", {"pading": 4}, "unknown argument of crop 'pading'; did you mean padding\\?"),
        ("flip", {"images": 4}, "unknown argument of flip 'images'"),
        ("flip", {"generator": 4}, "unknown argument of flip 'generator'"),
        ("crop", {"padding": -1}, "crop refuses its arguments: padding .* at least 0, got -1"),
        ("crop", {"padding": 2.5}, "crop refuses its arguments"),
        ("crop", {"padding": "4"}, "crop refuses its arguments"),
        ("flip", {"probability": 1.5}, "flip refuses its arguments: probability .* got 1.5"),
        ("flip", {"probability": float("nan")}, "got nan"),
        ("flip", {"probability": "half"}, "flip refuses its arguments"),
    ],
)
def test_a_mistake_is_found_when_the_recipe_is_read_with_the_place(name, arguments, expected):
    with pytest.raises(UserError, match=f"^toy.toml:12: .*{expected}") as error:
        augment.compose([("flip", {}), (name, arguments)], where="toy.toml:12")
    assert "\n" not in str(error.value)


def test_operations_are_tried_one_after_the_other():
    framed = augment.compose([("resize", {"size": 64}), ("centre_crop", {"size": 56})])
    assert framed(position_coded(32)).shape[-2:] == (56, 56)
    assert torch.equal(framed(position_coded(32)), augment.to_float(framed.levels(position_coded(32))))
    with pytest.raises(UserError, match=r"^here: augmentation centre_crop refuses its arguments"):
        augment.compose([("resize", {"size": 64}), ("centre_crop", {"size": 0})], where="here")


def test_a_mixer_is_the_function_with_the_recipes_arguments_and_the_datas_classes():
    images = torch.rand(6, 3, 8, 8, generator=seeded(0))
    labels = torch.tensor([0, 4, 2, 1, 3, 3])
    made = augment.mixer({"mixup": 0.8, "smoothing": 0.1}, 5)(images, labels, generator=seeded(1))
    plain = augment.mix(images, labels, classes=5, mixup=0.8, smoothing=0.1, generator=seeded(1))
    assert all(map(torch.equal, made, plain))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [({"mixxup": 0.8}, r"argument of mix.*'mixxup'.*mixup"), ({"smoothing": 2.0}, "mix refuses its arguments: ")],
)
def test_a_wrong_mixing_is_refused_where_it_stands(arguments, told):
    with pytest.raises(UserError, match=f"^file:3: .*{told}"):
        augment.mixer(arguments, 5, where="file:3")
