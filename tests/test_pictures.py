"""Pictures: to the pixel what a run left, from either kind of file; what is none is named."""

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from tests.a_pretraining import images, put_pictures
from vitbench import pictures
from vitbench.pictures import Pictures

A, B = "a" * 12, "b" * 12


def same(one, other):
    return all((getattr(one, kind) == getattr(other, kind)).all() for kind in pictures.KINDS)


def test_what_a_run_left_is_read_by_its_epochs(tmp_path):
    put_pictures(tmp_path, epochs=(20, 1020))
    found, problems = pictures.of_run(tmp_path)
    assert (list(found), problems) == ([20, 1020], [])
    assert (found[20].original == images()["original"]).all()
    assert (found[1020].restored == images(seed=1020)["restored"]).all()


def test_a_run_without_pictures_has_none(tmp_path):
    assert pictures.of_run(tmp_path) == ({}, [])


def test_the_sheet_has_a_row_for_each_kind_and_a_column_for_each_image():
    content = images(number=3, size=4)
    sheet = Pictures(**content).sheet()
    assert sheet.shape == (12, 12, 3)
    for row, kind in enumerate(("original", "masked", "restored")):
        for number in range(3):
            there = sheet[4 * row : 4 * row + 4, 4 * number : 4 * number + 4]
            assert (there == content[kind][number].transpose(1, 2, 0)).all()


@pytest.mark.parametrize(("number", "size"), [(1, 1), (1, 5), (8, 3), (7, 32)])
def test_what_is_kept_is_the_same_pixels_and_a_picture_to_look_at(tmp_path, number, size):
    whole = Pictures(**images(number=number, size=size))
    pictures.write(tmp_path / "new/sheet.png", whole)
    with Image.open(tmp_path / "new/sheet.png") as image:
        assert image.size == (number * size, 3 * size)
    assert same(pictures.read(tmp_path / "new/sheet.png"), whole)


def of_run(seed=0, epochs=(1, 4), **form):
    """The same images, restored otherwise after each epoch."""
    content = images(seed=seed, **form)
    return {epoch: Pictures(**content | {"restored": images(seed=100 + epoch, **form)["restored"]}) for epoch in epochs}


def test_of_a_known_run_at_most_eight_images_are_kept(tmp_path):
    whole = of_run(number=10)
    written = pictures.save(tmp_path, "h200", "tan2024", {A: whole, B: whole}, of=[A])
    place = tmp_path / "h200/pictures/tan2024"
    assert written == [place / f"{A}_epoch-0001.png", place / f"{A}_epoch-0004.png"]
    found, problems = pictures.load_all(tmp_path)
    assert (list(found), list(found["h200", A]), problems) == ([("h200", A)], [1, 4], [])
    assert all(same(found["h200", A][epoch], whole[epoch].few(8)) for epoch in (1, 4))


def test_a_newer_runs_pictures_replace_what_was_there_and_those_of_a_replaced_run_go(tmp_path):
    place = tmp_path / "h200/pictures/tan2024"
    pictures.save(tmp_path, "h200", "tan2024", {A: of_run(), B: of_run()}, of=[A, B])
    pictures.save(tmp_path, "h200", "tan2024", {A: of_run(epochs=(9,))}, of=[A, B])
    assert sorted(path.name for path in place.iterdir()) == [
        f"{A}_epoch-0009.png",
        *(f"{B}_epoch-000{n}.png" for n in (1, 4)),
    ]
    pictures.save(tmp_path, "h200", "tan2024", {}, of=[A])
    assert [path.name for path in place.iterdir()] == [f"{A}_epoch-0009.png"]


GOOD = images()
BROKEN = [
    (
        {kind: GOOD[kind] for kind in ("original", "masked")},
        "expected original, masked, restored, got masked, original",
    ),
    (GOOD | {"more": GOOD["masked"]}, "got masked, more, original, restored"),
    (GOOD | {"masked": GOOD["masked"].astype(np.float32)}, "masked: expected uint8 (n, 3, H, W), got float32"),
    (GOOD | {"masked": GOOD["masked"][:, :1]}, "masked: expected uint8 (n, 3, H, W)"),
    (GOOD | {"masked": GOOD["masked"][:2]}, "masked: expected square images, as many and as large as the others"),
    (images(number=0), "original: expected uint8 (n, 3, H, W), got uint8 (0,"),
    ({kind: one[..., :2] for kind, one in GOOD.items()}, "original: expected square images"),
    (images(size=5), "its images are not those of epoch 1"),
    (images(seed=7), "its images are not those of epoch 1"),
]


@pytest.mark.parametrize(("content", "line"), BROKEN)
def test_what_is_no_set_of_pictures_is_named_and_the_others_are_read(tmp_path, content, line):
    put_pictures(tmp_path, epochs=(1, 3))
    path = tmp_path / "pictures/epoch-0002.safetensors"
    save_file({kind: np.ascontiguousarray(one) for kind, one in content.items()}, path)
    found, (problem,) = pictures.of_run(tmp_path)
    assert list(found) == [1, 3]
    assert problem.startswith(f"{path}: left out, ")
    assert line in problem


@pytest.mark.parametrize("content", [b"", b"\x08" + b"\0" * 7 + b"nothing!", b"\xff" * 100])
def test_a_torn_file_is_named_in_one_line(tmp_path, content):
    put_pictures(tmp_path, epochs=(1,))
    (tmp_path / "pictures/epoch-0002.safetensors").write_bytes(content)
    found, (problem,) = pictures.of_run(tmp_path)
    assert list(found) == [1]
    assert "epoch-0002.safetensors: left out, it is torn" in problem
    assert "\n" not in problem


def test_half_a_file_and_a_foreign_name_are_named(tmp_path):
    put_pictures(tmp_path, epochs=(1, 2))
    path = tmp_path / "pictures/epoch-0002.safetensors"
    path.rename(path.with_name("last.safetensors"))
    (tmp_path / "pictures/epoch-0001.safetensors").write_bytes(path.with_name("last.safetensors").read_bytes()[:-1])
    found, problems = pictures.of_run(tmp_path)
    assert found == {}
    assert ["epoch-0001" in problems[0], "expected a name such as epoch-0020.safetensors" in problems[1]] == [True] * 2


def broken_sheets():
    wide, grey = np.zeros((12, 13, 3), np.uint8), np.zeros((12, 12), np.uint8)
    return [
        (lambda path: Image.fromarray(wide).save(path), "three rows of square images"),
        (lambda path: Image.fromarray(wide[:10]).save(path), "three rows of square images"),
        (lambda path: Image.fromarray(wide).save(path, format="jpeg"), "cannot identify"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n"), "cannot identify"),
        (lambda path: path.write_bytes(b""), "cannot identify"),
        (lambda path: cut(path, Image.fromarray(grey)), ""),
    ]


def cut(path, image):
    image.save(path)
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize(("put", "line"), broken_sheets())
def test_a_kept_file_that_is_no_sheet_is_named_and_the_others_are_read(tmp_path, put, line):
    pictures.save(tmp_path, "h200", "tan2024", {A: of_run()}, of=[A])
    path = tmp_path / f"h200/pictures/tan2024/{A}_epoch-0002.png"
    put(path)
    found, (problem,) = pictures.load_all(tmp_path)
    assert list(found["h200", A]) == [1, 4]
    assert problem.startswith(f"{path}: left out, ")
    assert line in problem
    assert "\n" not in problem
