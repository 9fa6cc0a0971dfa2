"""A case under pytest: read or made, brought along, timed, and failed in one line."""

import json

import pytest

from vitbench import errors

# Runs, caching, baselines brought along


def test_a_method_brings_its_plain_baseline_along_and_shows_it(suite, executed):
    result = suite("-k", "test_accuracy and 4.1/vit and drloc")
    assert [str(one.objective).partition(" ")[0] for one in executed] == ["ce", "ce"]
    assert len(executed) == 2
    result.stdout.fnmatch_lines(["*floros2024/4.1/vit/ce/digits*brought along*", "*vit/ce+0.1drloc/digits*+0.00*"])


def test_cells_of_several_tables_share_a_run(suite, executed):
    result = suite("-k", "test_accuracy and floros2024 and vit and 0.1drloc/")
    result.assert_outcomes(passed=3)
    assert len(executed) == 2


def test_a_second_session_reads_everything_and_says_so(suite, executed):
    suite("-k", "floros2024 and vit and drloc")
    made = len(executed)
    result = suite("-k", "floros2024 and vit and drloc")
    assert len(executed) == made
    result.stdout.fnmatch_lines(["*cached 2026-01-02 a processor 3f2c1ab*"])
    result.stdout.fnmatch_lines(["trained: 6 cases, 6 of them read from records"])


def test_a_second_session_imports_no_torch(suite, executed, pytester):
    suite("-k", "test_accuracy or test_size")
    pytester.makeconftest(
        """
        import sys
        def pytest_sessionfinish(session):
            print("TORCH:", sorted({"torch", "timm", "sklearn"} & sys.modules.keys()))
        """
    )
    result = suite("-q", "-s", "-k", "test_accuracy or test_size", subprocess=True)
    result.stdout.fnmatch_lines(["*TORCH: []*"])


def test_fresh_trains_each_run_once_more(suite, executed):
    suite("-k", "test_accuracy and floros2024 and vit and 0.1drloc/")
    suite("-k", "test_accuracy and floros2024 and vit and 0.1drloc/", "--fresh")
    assert len(executed) == 4


def test_seeds_train_each_case_several_times(suite, executed):
    suite("-k", "test_accuracy and 4.1/vit/ce/", "--seeds", "3")
    assert [one.seed for one in executed] == [0, 1, 2]


def test_a_broken_record_is_named_set_aside_and_done_again(suite, executed, pytester):
    suite("-k", "test_accuracy and 4.1/vit/ce/")
    (path,) = (pytester.path / ".vitbench/runs").glob("run_*/record.json")
    path.write_text(path.read_text()[:100])
    result = suite("-k", "test_accuracy and 4.1/vit/ce/")
    assert len(executed) == 2
    result.stdout.fnmatch_lines(["note: *record.json: it is torn or no JSON*"])
    assert list(path.parent.glob("record.json.set-aside-*"))


# Failures


def test_out_of_memory_ends_with_12_and_names_the_batch(suite, executed):
    executed.error = errors.OutOfMemory("vit/tiny does not fit with a batch of 64")
    result = suite("-k", "test_accuracy and 4.1/vit/ce/")
    assert result.ret == 12
    result.stdout.fnmatch_lines(["*does not fit with a batch of 64*"])


def test_a_lost_training_fails_in_one_line(suite, executed):
    executed.error = errors.NonFinite("the loss became nan at epoch 3, step 7 of 22")
    result = suite("-k", "test_accuracy and 4.1/vit/ce/")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["the loss became nan at epoch 3, step 7 of 22"])
    assert "Traceback" not in result.stdout.str()


def test_the_numbers_reach_junit(suite, executed, pytester):
    suite("-k", "test_accuracy and 4.1/vit/ce/", "--junitxml", "junit.xml")
    written = (pytester.path / "junit.xml").read_text()
    assert 'name="accuracy" value="97.0"' in written
    assert 'name="accuracy verdict" value="same: floros2024/4.1/vit/ce/digits: accuracy is same: measured 97' in written


def test_a_full_disk_is_one_line_and_the_machines_fault(suite, executed):
    executed.error = OSError(28, "No space left on device", "record.json")
    result = suite("-k", "test_accuracy and 4.1/vit/ce/")
    assert result.ret == 12
    result.stdout.fnmatch_lines(["record.json: No space left on device; free space, or name another folder*"])
    assert "Traceback" not in result.stdout.str()


def test_damaged_data_is_the_machines_fault(suite, executed):
    executed.error = errors.DataBroken("data/test_batch: its checksum is not the published one; delete it")
    result = suite("-k", "test_accuracy and 4.1/vit/ce/")
    assert result.ret == 12
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["data/test_batch: its checksum is not*"])
    assert "Traceback" not in result.stdout.str()


# Timing


def test_timing_uses_the_stopwatch_only_where_nothing_is_recorded(suite, executed):
    first = suite("-k", "test_training and floros2024 and vit/ce/")
    second = suite("-k", "test_training and floros2024 and vit/ce/")
    first.assert_outcomes(passed=1)
    second.stdout.fnmatch_lines(["training steps: 1 cases, 1 of them read from records"])


def test_a_real_timing_has_a_noise_floor_and_a_ratio(suite, pytester):
    suite("-k", "floros2024 and speed/resnet and not me and (test_inference or test_training)", "-q").assert_outcomes(
        passed=3
    )
    records = [json.loads(path.read_text()) for path in (pytester.path / ".vitbench/runs").glob("*/record.json")]
    assert sorted(one["kind"] for one in records) == ["inference", "training", "training"]
    for record in records:
        assert record["measurements"][f"{record['kind']}_noise"] >= 0
        assert record["identity"]["machine"]["device"]
    assert all(one["measurements"]["step_ratio"] > 0 for one in records if one["kind"] == "training")


def test_without_a_stopwatch_timing_is_skipped_with_its_reason(suite):
    result = suite("-k", "test_training and floros2024 and vit/ce/", "--benchmark-disable", "-rs")
    result.stdout.fnmatch_lines(["SKIPPED*pytest-benchmark is switched off*"])


def test_without_pytest_benchmark_timing_is_skipped_with_its_reason(suite):
    result = suite("-k", "test_training and floros2024 and vit/ce/", "-p", "no:benchmark", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*pytest-benchmark is not loaded*"])
