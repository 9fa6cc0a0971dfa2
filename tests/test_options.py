"""What a user may ask for, and how everything else is refused."""

import pytest

from vitbench.case import Budget
from vitbench.errors import UserError
from vitbench.options import Options, duration, file, folder, seeds
from vitbench.selection import Selection


@pytest.mark.parametrize("name", ["", " ", "\t"])
def test_an_empty_name_is_no_folder(name):
    with pytest.raises(UserError, match="--runs is empty; name a folder"):
        folder(name, "--runs")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--out: .*file is a file; name a folder"):
        folder(str(tmp_path / "file"), "--out")


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "file/below"])
def test_a_name_that_no_folder_can_have_is_one_short_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^--data: .* cannot be used \(.+\); name another folder$") as caught:
        folder(name, "--data")
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize("name", [".", "there", "not/yet/there"])
def test_a_folder_need_not_be_there_yet(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert str(folder(name, "--runs")) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (" ", "--out is empty; name a file"),
        ("there", "--out: there is a folder; name a file"),
        ("made/below", r"--out: made/below cannot be used \(.+\); name another file"),
    ],
)
def test_what_can_be_no_file_is_refused(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "made").touch()
    with pytest.raises(UserError, match=f"^{message}$"):
        file(name, "--out")


@pytest.mark.parametrize("name", ["made", "not/yet/there.csv"])
def test_a_file_may_be_there_or_not(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made").touch()
    assert str(file(name, "--out")) == name


@pytest.mark.parametrize("number", [0, -1, 1001, 10**9])
def test_seeds_are_a_number_of_trainings(number):
    with pytest.raises(UserError, match=f"--seeds is a number .* at least 1 and at most 1000, got {number}"):
        Options(seeds=number).check()


@pytest.mark.parametrize(
    "text",
    ["auto:N", "auto:", "auto:2", "auto:99", "auto:-5", "auto:5:6", f"auto:{'9' * 5000}", "1e3", "", "9" * 5000],
)
def test_what_is_no_number_of_seeds_is_one_short_line(text):
    with pytest.raises(UserError, match=r"^--seeds .*, got \S+$") as caught:
        seeds(text)
    assert len(str(caught.value)) < 140


@pytest.mark.parametrize("seed", [-3, 2**63])
def test_a_seed_is_no_negative_number(seed):
    with pytest.raises(UserError, match=f"--seed is a number from 0 .*, got {seed}"):
        Options(first_seed=seed).check()


def test_what_can_be_done_is_not_refused():
    Options(seeds=1000, first_seed=2**63 - 1).check()


@pytest.mark.parametrize("name", ["timm", "timm/"])
def test_timm_alone_is_no_model(name):
    with pytest.raises(UserError, match=rf"^--model: {name} names no model of timm; name one, such as timm/resnet18$"):
        Options(selection=Selection(models=(name,))).check()


@pytest.mark.parametrize(
    ("text", "seconds"), [("8m", 480), ("90s", 90), ("90", 90), ("1h30m", 5400), ("0.5h", 1800), ("2h5m10s", 7510)]
)
def test_a_time_limit_is_hours_minutes_and_seconds(text, seconds):
    assert duration(text, "--time-limit") == seconds


@pytest.mark.parametrize("text", ["", "m", "8 minutes", "-5m", "0", "nan", "inf", "5m1h", "1e3"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UserError, match="--time-limit is a time such as 90s, 8m or 1h30m, got"):
        duration(text, "--time-limit")


def test_the_engine_follows_the_device_unless_it_is_named():
    assert Options().engine_name == "eager"
    assert Options(device="cuda:1").engine_name == "graph"
    assert Options(device="cuda", engine="compile").engine_name == "compile"


@pytest.mark.parametrize("size", [0, -4])
def test_a_micro_batch_has_an_image(size):
    with pytest.raises(UserError, match=f"--micro-batch is a number of images, at least 1, got {size}"):
        Options(micro_batch=size).check()


@pytest.mark.parametrize(
    ("size", "selection", "told"),
    [
        (7, Selection(datasets=("imagefolder:x",)), "at least 8, got 7"),
        (64, Selection(), "the digits has its own"),
        (64, Selection(datasets=("cifar10",)), "cifar10 has its own"),
        (64, Selection(budget=Budget.SHORT), "--image-size is of the quick budget; short takes the recipe's"),
    ],
)
def test_an_image_size_is_for_photographs_in_the_quick_budget(size, selection, told):
    with pytest.raises(UserError, match=told):
        Options(image_size=size, selection=selection).check()
