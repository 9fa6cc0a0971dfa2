"""Decoding: what torchvision makes of a picture, whatever its mode, size and format."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from tests.pictures import reference, truncate, write
from vitbench.decode import square


@pytest.mark.parametrize("size", [1, 7, 16, 33])
@pytest.mark.parametrize("shape", [(16, 16), (40, 30), (30, 41), (5, 9), (200, 3), (3, 100)])
def test_pixels_are_those_of_torchvisions_resize_and_centre_crop(tmp_path, shape, size):
    path = write(tmp_path / "one.png", size=shape)
    found = square(path, size)
    assert found.shape == (3, size, size)
    assert found.dtype == np.uint8
    assert found.flags["C_CONTIGUOUS"]
    assert np.array_equal(found, reference(path, size))


@pytest.mark.parametrize("shape", [(500, 375), (375, 500), (301, 256), (259, 260), (256, 256), (100, 90)])
def test_the_centre_of_a_stored_square_is_what_the_recipes_test_on(tmp_path, shape):
    path = write(tmp_path / "one.png", size=shape)
    transform = Compose([Resize(256, InterpolationMode.BICUBIC), CenterCrop(224)])
    with Image.open(path) as image:
        expected = np.asarray(transform(image)).transpose(2, 0, 1)
    assert np.array_equal(square(path, 256)[:, 16:-16, 16:-16], expected)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(("grey.png", "L"), ("two.png", "1"), ("palette.png", "P"), ("see-through.png", "RGBA"), ("both.png", "LA")),
        *(("grey.jpg", "L"), ("ink.jpg", "CMYK"), ("colour.jpeg", "RGB"), ("levels.webp", "RGB"), ("old.bmp", "RGB")),
    ],
)
def test_each_mode_becomes_the_colours_that_torchvision_sees(tmp_path, name, mode):
    path = write(tmp_path / name, size=(20, 14), mode=mode)
    with Image.open(path) as image:
        assert image.mode == mode
    assert np.array_equal(square(path, 8), reference(path, 8))


def test_the_centre_of_a_wide_picture_is_what_stays(tmp_path):
    pixels = np.zeros((4, 12, 3), np.uint8)
    pixels[:, 4:8] = (10, 20, 30)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    assert square(tmp_path / "one.png", 4).reshape(3, 16).T.tolist() == [[10, 20, 30]] * 16


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff", "deep.pgm"])
def test_of_sixteen_bits_the_upper_eight_are_taken(tmp_path, name):
    levels = np.array([[0, 255], [256, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / name)
    assert square(tmp_path / name, 2).tolist() == [[[0, 0], [1, 255]]] * 3


def test_transparency_is_dropped_and_leaves_the_colour_below(tmp_path):
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50])
    picture.save(tmp_path / "one.png", transparency=bytes([255, 0]))
    with Image.open(tmp_path / "one.png") as image:
        assert "transparency" in image.info
    assert square(tmp_path / "one.png", 4)[:, 0, 0].tolist() == [200, 100, 50]


def test_an_orientation_in_exif_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    turned = write(tmp_path / "turned.jpg", size=(16, 16), exif=exif)
    plain = write(tmp_path / "plain.jpg", size=(16, 16))
    with Image.open(turned) as image:
        assert image.getexif()[0x0112] == 6
    assert np.array_equal(square(turned, 16), square(plain, 16))


def test_pixels_of_an_unknown_range_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "one.tiff")
    with pytest.raises(ValueError, match="floating-point"):
        square(tmp_path / "one.tiff", 4)


@pytest.mark.parametrize("name", ["one.jpg", "one.png"])
def test_a_truncated_picture_is_an_error(tmp_path, name):
    path = write(tmp_path / name, size=(64, 64))
    truncate(path)
    with pytest.raises((OSError, SyntaxError)):
        square(path, 8)
