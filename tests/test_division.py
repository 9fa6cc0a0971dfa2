"""Who does which cases: parts of a selection, as pytest's users meet them."""

import re

import pytest

from vitbench import published
from vitbench.errors import DataBroken

ID = re.compile(r"\[((?:floros|liu|tan|detkov|coquenet)20\d\d/[^\]]+)\]")


def collected(suite, *arguments):
    return ID.findall(suite("--collect-only", "-q", *arguments).stdout.str())


def test_shards_are_all_of_what_is_selected_each_case_once(suite):
    arguments = ("-k", "drloc and not test_speed", "--all-rows")
    parts = [collected(suite, *arguments, "--shard", f"{number}/3") for number in (1, 2, 3)]
    assert all(parts)
    assert sorted(name for part in parts for name in part) == sorted(collected(suite, *arguments))
    plain = [{(*name.split("/")[2:3], *name.split("/")[4:]) for name in part if "/size/" not in name} for part in parts]
    assert sum(map(len, plain)) == len(set().union(*plain))  # what has one plain baseline is in one shard


def test_a_shard_says_so_and_leaves_tests_alone_that_are_no_cases(suite, pytester):
    mine = "import pytest\n@pytest.mark.parametrize('url', ['https://a.org/b/c', '/d'])\ndef test_mine(url): ..."
    pytester.makepyfile(**{"benchmarks/test_mine": mine})
    for number in (1, 2):
        result = suite("--collect-only", "-k", "mine or 4.1/vit/ce/", "--shard", f"{number}/2")
        assert result.stdout.str().count("<Function test_mine[") == 2
        assert result.stdout.str().count("<Function test_accuracy[") == (number == 1)
        result.stdout.fnmatch_lines([f"vitbench: shard {number}/2 of the selected cases"])


def test_what_another_shard_does_is_not_said_to_be_left_out(suite):
    arguments = ("-k", "floros2024 and 4.1 and test_accuracy", "--collect-only", "--model", "timm/resnet18")
    for number in (1, 2, 3):
        assert "is in none of the selected cases" not in suite(*arguments, "--shard", f"{number}/3").stdout.str()
    told = suite(*arguments[:1], "floros2024/4.1/vit and test_accuracy", *arguments[2:], "--shard", "1/3").stdout.str()
    assert "--model timm/resnet18 is in none of the selected cases" in told


@pytest.mark.parametrize("option", ["--lf", "--sw"])
def test_a_shard_of_what_failed_here_is_refused(suite, pytester, option):
    result = pytester.runpytest_inprocess("-p", "vitbench.plugin", "benchmarks", "--shard", "1/2", option)
    result.stderr.fnmatch_lines([f"ERROR: --shard and {option}: what failed on this machine is of its shard;*"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_the_end_says_which_shard_it_is_of(suite, executed, monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    result = suite("-k", "test_accuracy and 4.1/vit/ce/", "--shard", "1/2")
    result.stdout.fnmatch_lines(["*= vitbench, quick budget, shard 1/2 =*"])
    assert (tmp_path / "step.md").read_text().splitlines()[0].endswith("; 0 read from records; quick budget, shard 1/2")


def test_a_shard_of_nothing_ends_as_a_selection_of_nothing_does(suite):
    arguments = ("-k", "4.1/vit/ce/", "--collect-only", "-q")
    assert suite(*arguments, "--shard", "1/2").ret == pytest.ExitCode.OK
    assert suite(*arguments, "--shard", "2/2").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_what_is_the_same_network_is_timed_by_one_shard(suite):
    """The quick budget has one tiny network for all of a paper's of a kind."""
    arguments = ("-k", "test_training and tan2024 and (cct_2_3x2 or cct_7_3x2) and /ce/")
    parts = [collected(suite, *arguments, "--shard", f"{number}/2") for number in (1, 2)]
    assert [len(part) for part in parts] == [2, 0]


def test_a_test_that_is_named_twice_is_in_one_shard(suite):
    arguments = ("--keep-duplicates", "benchmarks/test_size.py", "-k", "floros2024 and test_size")
    parts = [collected(suite, *arguments, "--shard", f"{number}/2") for number in (1, 2)]
    assert parts[0]
    assert not set(parts[0]) & set(parts[1])


@pytest.mark.parametrize("more", [(), ("--shard", "1/2"), ("--time-limit", "10m")])
def test_weights_that_cannot_be_read_are_one_line_before_anything_starts(suite, monkeypatch, tmp_path, more):
    def digest(path):
        raise DataBroken("weights: torn; get them again")

    monkeypatch.setattr(published, "find", lambda name, folder: tmp_path)
    monkeypatch.setattr(published, "digest", digest)
    chosen = ("--budget", "paper", "-k", "liu2021/5 and swin and test_accuracy", "--weights", str(tmp_path))
    result = suite("--collect-only", *chosen, *more)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["vitbench: no forecast: weights: torn; get them again"])
