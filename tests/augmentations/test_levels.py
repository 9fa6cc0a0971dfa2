"""Tables of levels: Pillow's own result, to the last bit."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from timm.data import auto_augment

from vitbench.augmentations import levels

COUNT = 48


def pictures():
    """Noise of many ranges, smooth pictures, even areas and pictures of two levels."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(COUNT // 2, 3, 20, 28, generator=generator)
    low, span = torch.rand(2, COUNT // 2, 3, 1, 1, generator=generator) * 128
    coarse = torch.rand(COUNT // 2, 3, 4, 4, generator=generator) * 300 - 20
    smooth = torch.nn.functional.interpolate(coarse, size=(20, 28), mode="bicubic")
    images = torch.cat((low + noise * span, smooth)).clamp(0, 255).to(torch.uint8)
    images[0], images[1], images[2], images[3, 1] = 0, 255, 77, 9
    images[4] = (noise[4] > 0.5).to(torch.uint8)
    images[5] = (noise[5] > 0.01) * 255
    return images


IMAGES = pictures()
FACTORS = torch.linspace(0.0, 2.5, COUNT, dtype=torch.float64)


def pillow(image):
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def each(operation, *parameters):
    """The operation on each image by Pillow, with the image's own parameters."""
    listed = (one.tolist() for one in parameters)
    return torch.stack([tensor(operation(pillow(image), *row)) for image, *row in zip(IMAGES, *listed, strict=True)])


WHOLE = torch.arange(COUNT)
TABLES = {
    "invert": (levels.solarize(0 * WHOLE), each(ImageOps.invert)),
    "posterize": (levels.posterize(WHOLE % 8 + 1), each(ImageOps.posterize, WHOLE % 8 + 1)),
    "solarize": (levels.solarize(WHOLE * 257 // COUNT), each(ImageOps.solarize, WHOLE * 257 // COUNT)),
    "solarize_add": (levels.solarize_add(WHOLE * 2), each(auto_augment.solarize_add, WHOLE * 2)),
    "autocontrast": (levels.autocontrast(IMAGES), each(ImageOps.autocontrast)),
    "equalize": (levels.equalize(levels.counts(IMAGES)), each(ImageOps.equalize)),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_gives_what_pillow_gives(name):
    table, expected = TABLES[name]
    assert torch.equal(levels.look_up(IMAGES, table), expected)


def test_no_bits_are_black_and_eight_bits_all_there_is():
    assert not levels.posterize(torch.tensor([0])).any()
    assert torch.equal(levels.posterize(torch.tensor([8]))[0], torch.arange(256, dtype=torch.uint8))


def test_grey_is_pillows_luma():
    expected = torch.stack([torch.from_numpy(np.array(pillow(image).convert("L"))) for image in IMAGES])
    assert torch.equal(levels.grey(IMAGES)[:, 0], expected.to(torch.float32))


def test_the_luma_of_every_colour_is_pillows():
    # Floats have 24 bits, and a sum in 65,536ths needs as many: each product and sum of levels that there can be.
    red, green = torch.arange(256, dtype=torch.uint8), torch.arange(256, dtype=torch.uint8)[:, None]
    for blue in (0, 1, 100, 254, 255):
        image = torch.stack(torch.broadcast_tensors(red, green, torch.tensor(blue, dtype=torch.uint8)))
        expected = torch.from_numpy(np.array(pillow(image).convert("L")))
        assert torch.equal(levels.grey(image[None])[0, 0], expected.to(torch.float32))


@pytest.mark.parametrize(
    ("degenerate", "theirs"),
    [
        (lambda images: 0 * levels.grey(images), ImageEnhance.Brightness),
        (lambda images: levels.mean_grey(levels.grey(images)), ImageEnhance.Contrast),
        (levels.grey, ImageEnhance.Color),
    ],
)
def test_a_blend_with_what_lacks_a_quality_is_pillows(degenerate, theirs):
    ours = levels.blend(degenerate(IMAGES), IMAGES, FACTORS)
    assert torch.equal(ours, each(lambda one, f: theirs(one).enhance(f), FACTORS))


def test_counts_are_numpys():
    ours = levels.counts(IMAGES)
    for image, counted in zip(IMAGES, ours, strict=True):
        for channel, row in zip(image, counted, strict=True):
            assert row.tolist() == np.bincount(channel.flatten().numpy(), minlength=256).tolist()


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
def test_a_blend_is_pillows(factor):
    other = IMAGES.flip(0)
    ours = levels.blend(other, IMAGES, torch.full((COUNT,), factor))
    for first, second, blended in zip(other, IMAGES, ours, strict=True):
        assert torch.equal(blended, tensor(Image.blend(pillow(first), pillow(second), factor)))
