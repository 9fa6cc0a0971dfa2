"""Lists of pictures: what is absent, unreadable or incomplete; the rest is in the tests of the data sets."""

import numpy as np
import pytest
from scipy.io import savemat

from vitbench.errors import DataBroken
from vitbench.photographs import Photographs
from vitbench.sources import lists

SAID = {"dataset": "toy", "remedy": "get it again"}


def test_lines_come_without_the_spaces_and_returns_at_their_ends(tmp_path):
    (tmp_path / "a.txt").write_bytes("1 é\r\n 2 b \n".encode())
    assert lists.lines(tmp_path / "a.txt", **SAID) == ["1 é", "2 b"]


def test_a_text_that_is_absent_a_folder_or_no_text_is_one_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    for path, reason in ((tmp_path / "b.txt", "is missing"), (tmp_path, "cannot"), (tmp_path / "a.txt", "cannot")):
        with pytest.raises(DataBroken) as error:
            lists.lines(path, **SAID)
        assert str(error.value).startswith(f"toy: {path} {reason}")
        assert str(error.value).endswith("; get it again")
        assert "\n" not in str(error.value)


def test_a_variable_is_scipys_and_what_cannot_be_read_is_one_line(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"ids": np.array([[3, 1]])})
    assert lists.matlab(path, "ids", **SAID).tolist() == [3, 1]
    with pytest.raises(DataBroken, match=f"^toy: {path} has no variable names; get it again$"):
        lists.matlab(path, "names", **SAID)
    path.write_bytes(b"no such file at all\n" * 9)
    with pytest.raises(DataBroken, match=rf"^toy: {path} cannot be read \(.*\); get it again$"):
        lists.matlab(path, "ids", **SAID)


def test_what_is_complete_comes_back_and_what_is_not_is_named(tmp_path):
    def found(train, test, classes=("a", "b")):
        halves = [tuple((f"{place}.jpg", label) for place, label in enumerate(half)) for half in (train, test)]
        return Photographs(
            dataset="toy", base=tmp_path, root=tmp_path, train=halves[0], test=halves[1], classes=classes
        )

    counts = {"classes": 2, "train": 3, "test": 2, "remedy": "get it again"}
    whole = found([0, 1, 1], [1, 0])
    assert lists.complete(whole, **counts) is whole
    for other, reason in (
        (found([0, 1, 1], [1, 1]), "lists no picture of 'a' to test on"),
        (found([0, 0, 0], [1, 0]), "lists no picture of 'b' to train on"),
        (found([0, 1, 1], [1]), "lists 3 + 1 pictures, expected 3 + 2"),
        (found([0, 1, 1], [1, 0], ("a", "a")), "lists 1 classes, expected 2"),
    ):
        with pytest.raises(DataBroken) as error:
            lists.complete(other, **counts)
        assert str(error.value) == f"toy: {tmp_path} {reason}; get it again"
