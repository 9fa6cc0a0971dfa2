"""What evaluation is shown, against torchvision and Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import functional as TF

from vitbench.augmentations import framing, geometry
from vitbench.errors import UserError

PILLOWS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def pictures(count, height, width):
    """Half of them smooth, half noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 5, 5, generator=generator) * 300 - 20
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    noise = torch.rand(count, 3, height, width, generator=generator) * 256
    return torch.cat((smooth[: count // 2], noise[count // 2 :])).clamp(0, 255).to(torch.uint8)


def distance(ours, theirs):
    return (ours.to(torch.int32) - theirs.to(torch.int32)).abs()


@pytest.mark.parametrize("interpolation", geometry.KERNELS)
@pytest.mark.parametrize(
    ("shape", "size"), [((32, 32), 256), ((300, 300), 256), ((60, 90), 32), ((90, 50), 33), ((24, 40), 40)]
)
def test_an_image_is_resized_as_torchvision_and_pillow_resize_it(shape, size, interpolation):
    images = pictures(6, *shape)
    ours = framing.resize(images, size=size, interpolation=interpolation)
    expected = v2.functional.resize(images, [size], interpolation=InterpolationMode(interpolation), antialias=True)
    assert ours.shape == expected.shape
    # Weights of 16 bits there, floats here: half a level may round the other way, in each of two passes.
    assert distance(ours, expected).max() <= 2
    assert (ours != expected).float().mean() < 0.1
    for at, (image, result) in enumerate(zip(images, ours, strict=True)):
        pillow = TF.resize(Image.fromarray(image.permute(1, 2, 0).numpy()), size, PILLOWS[interpolation])
        # Pillow 13 takes columns first where that is less work; on noise, cutting off in between then differs.
        if at < 3 or min(shape) <= size:
            assert distance(result, torch.from_numpy(np.array(pillow)).permute(2, 0, 1)).max() <= 2


@pytest.mark.parametrize("shape", [(32, 32), (41, 30), (30, 41), (20, 60), (15, 14)])
@pytest.mark.parametrize("size", [28, 29, 30])
def test_the_centre_is_torchvisions(shape, size):
    images = pictures(4, *shape)
    assert torch.equal(framing.centre_crop(images, size=size), v2.functional.center_crop(images, [size, size]))


def test_photographs_are_framed_as_the_usual_evaluation_frames_them():
    images = pictures(4, 300, 340)
    ours = framing.centre_crop(framing.resize(images, size=256), size=224)
    usual = v2.Compose([v2.Resize(256, interpolation=InterpolationMode.BICUBIC), v2.CenterCrop(224)])
    assert distance(ours, usual(images)).max() <= 2


@pytest.mark.parametrize("operation", [framing.resize, framing.centre_crop])
@pytest.mark.parametrize("size", [12, 16, 9])
class TestEveryOperation:
    def test_it_leaves_its_input_alone_and_draws_nothing(self, operation, size):
        images = pictures(4, 12, 12)
        before, state = images.clone(), torch.get_rng_state()
        result = operation(images, size=size, generator=torch.Generator())
        assert (result.shape, result.dtype, result.is_contiguous()) == ((4, 3, size, size), torch.uint8, True)
        result.zero_()
        assert torch.equal(images, before)
        assert torch.equal(torch.get_rng_state(), state)

    def test_the_memory_layout_and_the_other_images_change_nothing(self, operation, size):
        images = pictures(4, 12, 12)
        last = images.contiguous(memory_format=torch.channels_last)
        assert torch.equal(operation(last, size=size), operation(images, size=size))
        assert torch.equal(operation(images, size=size)[2:3], operation(images[2:3], size=size))

    def test_it_reads_no_value_on_the_host(self, operation, size):
        images = torch.empty(8, 3, 12, 12, dtype=torch.uint8, device="meta")
        assert operation(images, size=size).shape == (8, 3, size, size)


@pytest.mark.parametrize("operation", [framing.resize, framing.centre_crop])
def test_what_is_out_of_range_is_refused(operation):
    images = pictures(2, 8, 8)
    with pytest.raises(UserError, match="size is a number of pixels, at least 1, got 0"):
        operation(images, size=0)
    with pytest.raises(TypeError, match=r"uint8 levels, got torch\.float32"):
        operation(images.to(torch.float32), size=4)


def test_kernels_that_nobody_knows_are_refused():
    with pytest.raises(UserError, match="unknown interpolation 'cubic'; did you mean bicubic"):
        framing.resize(pictures(2, 8, 8), size=4, interpolation="cubic")
