"""Photographs: tensors of the size that is asked for, one line for what is not there, and what the doctor says."""

import numpy as np
import pytest
import torch

from tests.pictures import reference, write
from vitbench import mapped, photographs
from vitbench.errors import DataAbsent, DataBroken, UserError


@pytest.fixture
def pictures(tmp_path):
    files = [(f"pictures/{one}.jpg", one % 2) for one in range(5)]
    for seed, (name, _) in enumerate(files):
        write(tmp_path / name, size=(20 + seed, 17), seed=seed)
    return photographs.Photographs(
        dataset="toy",
        base=tmp_path,
        root=tmp_path,
        train=tuple(files[:3]),
        test=tuple(files[3:]),
        classes=("even", "odd"),
    )


@pytest.mark.parametrize("limit", [mapped.IN_MEMORY, 0])
@pytest.mark.parametrize("size", [16, 11])
def test_a_split_is_squares_of_the_size_and_labels(pictures, monkeypatch, size, limit):
    monkeypatch.setattr(mapped, "IN_MEMORY", limit)
    split = photographs.split(pictures, size)
    for half, files in ((split.train, pictures.train), (split.test, pictures.test)):
        assert half.images.dtype == torch.uint8
        assert half.images.is_contiguous()
        assert np.array_equal(
            half.images.numpy(), np.stack([reference(pictures.base / name, size) for name, _ in files])
        )
        assert half.labels.dtype == torch.int64
        assert half.labels.tolist() == [label for _, label in files]
    assert split.classes == ("even", "odd")


def test_each_half_and_size_has_its_place_in_the_data_folder(pictures, tmp_path):
    photographs.split(pictures, 16)
    photographs.split(pictures, 8)
    cache = tmp_path / ".vitbench-cache"
    assert sorted(one.name for one in cache.iterdir()) == ["toy-test-16", "toy-test-8", "toy-train-16", "toy-train-8"]


@pytest.mark.parametrize("size", [0, -3, 1.5, True])
def test_a_size_that_is_none_is_refused(pictures, size):
    with pytest.raises(UserError, match=f"toy: image_size is a whole number of pixels from 1 up, got {size}"):
        photographs.split(pictures, size)


def test_counts_must_be_those_that_are_printed(pictures):
    assert pictures.counted(train=3, test=2, remedy="x") is pictures
    for train, test in ((4, 2), (3, 1)):
        with pytest.raises(DataBroken, match=rf"lists 3 \+ 2 pictures, expected {train} \+ {test}; get it again"):
            pictures.counted(train=train, test=test, remedy="get it again")


def test_what_is_not_in_the_data_folder_is_named(tmp_path):
    (tmp_path / "one").mkdir()
    assert photographs.data_folder("toy", tmp_path, ["one"], get="get it") == tmp_path
    with pytest.raises(DataAbsent, match=r"toy: .*/two does not exist; get it, or name another folder with --data DIR"):
        photographs.data_folder("toy", tmp_path, ["one", "two"], get="get it")
    with pytest.raises(DataAbsent, match=r"no data folder is named; get it, .*--data DIR .*VITBENCH_DATA"):
        photographs.data_folder("toy", None, ["one"], get="get it")


def test_the_state_says_what_is_there_and_what_is_still_to_do(pictures, tmp_path):
    before = photographs.state(pictures, 100)
    assert f"the first run decodes it at 100 pixels into {tmp_path / '.vitbench-cache'} (0.00015 GB)" in before
    photographs.split(pictures, 100)
    assert photographs.state(pictures, 100) == "found, decoded at 100 pixels"
    (tmp_path / pictures.test[0][0]).unlink()
    with pytest.raises(DataBroken, match="is missing"):
        photographs.state(pictures, 100)
