"""What a user may ask for, and how everything else is refused."""

import pytest

from vitbench.errors import UserError
from vitbench.options import Options, folder


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


@pytest.mark.parametrize("seeds", [0, -1, 1001, 10**9])
def test_seeds_are_a_number_of_trainings(seeds):
    with pytest.raises(UserError, match=f"--seeds is a number .* at least 1 and at most 1000, got {seeds}"):
        Options(seeds=seeds).check()


@pytest.mark.parametrize("seed", [-3, 2**63])
def test_a_seed_is_no_negative_number(seed):
    with pytest.raises(UserError, match=f"--seed is a number from 0 .*, got {seed}"):
        Options(first_seed=seed).check()


def test_what_can_be_done_is_not_refused():
    Options(seeds=1000, first_seed=2**63 - 1).check()
