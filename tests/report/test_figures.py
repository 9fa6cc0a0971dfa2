"""What is in the pictures: their pixels, and the same bytes each time."""

import io

import numpy as np
import pytest
from PIL import Image
from PIL import __version__ as pillow

from tests.a_pretraining import images
from vitbench.pictures import Pictures
from vitbench.report import figures

# Pictures


def read(picture):
    """(H, W, 3) as a reader of the file sees it."""
    with Image.open(io.BytesIO(picture.content())) as image:
        return np.asarray(image.convert("RGB"))


def enlarged(image, scale):
    return np.kron(image.transpose(1, 2, 0), np.ones((scale, scale, 1), dtype=np.uint8))


def found(shown, image, scale):
    """Upper left corner (row, column) of an enlarged image, which is there exactly once."""
    wanted = enlarged(image, scale)
    side = len(wanted)
    places = np.argwhere((shown == wanted[0, 0]).all(axis=2))
    hits = [(int(y), int(x)) for y, x in places if np.array_equal(shown[y : y + side, x : x + side], wanted)]
    (corner,) = hits
    return corner


@pytest.mark.parametrize(("size", "scale"), [(32, 3), (36, 2), (8, 12), (64, 1), (100, 1)])
def test_a_triplet_has_its_three_images_beside_each_other_pixel_by_pixel(size, scale):
    content = images(number=2, size=size)
    shown = read(figures.triplets(Pictures(**content)))
    side = size * scale
    for number in range(2):
        corners = [found(shown, content[kind][number], scale) for kind in ("original", "masked", "restored")]
        (top, left) = corners[0]
        assert corners == [(top, left), (top, left + side + 4), (top, left + 2 * (side + 4))]
    assert found(shown, content["original"][1], scale)[0] == found(shown, content["original"][0], scale)[0]


def test_eight_triplets_are_four_rows_of_two():
    content = images(number=8, size=8)
    shown = read(figures.triplets(Pictures(**content)))
    corners = [found(shown, content["restored"][number], 12) for number in range(8)]
    assert len({y for y, _ in corners}) == 4
    assert len({x for _, x in corners}) == 2
    assert corners == sorted(corners)


def test_what_is_no_image_is_white_or_text():
    content = {kind: np.zeros_like(one) for kind, one in images(number=1, size=8).items()}
    shown = read(figures.triplets(Pictures(**content)))
    black = (shown[-50] == 0).all(axis=1)
    assert black.sum() == 3 * 96
    assert (shown[-50][~black] == 255).all()


def test_an_evolution_has_a_row_for_an_epoch_below_the_originals():
    content = images(number=3, size=8)
    restored = {epoch: images(number=3, size=8, seed=epoch)["restored"] for epoch in (20, 1020, 2020)}
    picture = figures.evolution({epoch: Pictures(**content | {"restored": one}) for epoch, one in restored.items()})
    shown = read(picture)
    assert [text for text, *_ in picture.texts] == ["original", "masked", "epoch 20", "epoch 1020", "epoch 2020"]
    columns = [found(shown, content["original"][number], 12) for number in range(3)]
    for row, rows in enumerate([content["original"], content["masked"], *restored.values()]):
        for (top, left), image in zip(columns, rows, strict=True):
            assert found(shown, image, 12) == (top + row * 100, left)


def test_what_was_masked_otherwise_at_an_epoch_stands_above_it():
    by_epoch = {
        epoch: Pictures(**images(size=8) | {"masked": images(size=8, seed=epoch)["masked"]}) for epoch in (1, 2)
    }
    labels = [text for text, *_ in figures.evolution(by_epoch).texts]
    assert labels == ["original", "masked", "epoch 1", "masked", "epoch 2"]


def test_of_many_epochs_the_first_the_last_and_some_between_are_shown():
    by_epoch = {epoch: Pictures(**images(size=8)) for epoch in range(1, 11)}
    labels = [text for text, *_ in figures.evolution(by_epoch).texts]
    assert labels == ["original", "masked", "epoch 1", "epoch 3", "epoch 5", "epoch 8", "epoch 10"]


# Files

EACH = [
    lambda: figures.triplets(Pictures(**images())),
    lambda: figures.evolution({1: Pictures(**images()), 2: Pictures(**images())}),
]


@pytest.mark.parametrize("make", EACH)
def test_drawing_twice_gives_the_same_bytes_which_say_what_made_them(make):
    assert make().content() == make().content()
    with Image.open(io.BytesIO(make().content())) as image:
        assert image.info["Software"] == f"Pillow {pillow}"


def test_names_stand_in_the_margin_beside_their_row():
    content = {kind: np.zeros_like(one) for kind, one in images(number=1, size=8).items()}
    shown = read(figures.evolution({1: Pictures(**content), 4000: Pictures(**content)}))
    inked = (shown[:, :90] < 128).all(axis=2)  # rows of images begin at 4, 104 ...
    for top in (4, 104, 204, 304):
        rows = np.flatnonzero(inked[top : top + 96].any(axis=1))
        assert 30 < rows.min() < rows.max() < 66  # half of 96 lies between
    assert not inked[:, :2].any()
    assert not inked[:, -4:].any()
