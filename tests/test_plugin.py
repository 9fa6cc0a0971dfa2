"""The plugin as its users meet it: selection, options, skips, verdicts, exit codes, records, workers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vitbench import baselines, errors
from vitbench.session import Session

ID = re.compile(r"\[(floros2024/[^\]]+)\]")


def ids(result):
    return [ID.search(line)[1] for line in result.outlines if ID.search(line)]


def collected(suite, *arguments):
    return ids(suite("--collect-only", "-q", *arguments))


def only_accuracy(names):
    return [name for name in names if name.split("/")[1] not in ("size", "speed")]


# Selection


def test_quick_collects_one_row_per_model_and_set_of_terms_of_each_table(suite):
    names = only_accuracy(collected(suite))
    rows = {(name.split("/")[1], name.split("/")[2], re.sub(r"[\d.]+|_\w+", "", name.split("/")[3])) for name in names}
    assert len(rows) == len(names)
    assert {name.split("/")[4] for name in names} == {"digits"}
    assert {name.split("/")[1] for name in names} == {"4.1", "4.2", "4.3", "4.4", "4.5", "4.6"}


def test_k_me_selects_only_what_has_the_term_me(suite):
    names = collected(suite, "-k", "me")
    assert names
    assert all("me" in name.split("/")[3] for name in names)


def test_k_drloc_selects_only_what_has_the_term_drloc(suite):
    names = collected(suite, "-k", "drloc")
    assert names
    assert all("drloc" in name.split("/")[3] for name in names)


def test_k_paper_and_model_selects_that_model(suite):
    names = collected(suite, "-k", "floros2024 and vit")
    assert names
    assert {name.split("/")[2] for name in names} == {"vit"}


def test_k_selects_as_well_in_a_checkout_called_vitbench(suite, pytester):
    folder = pytester.mkdir("vitbench-me")
    (pytester.path / "benchmarks").rename(folder / "benchmarks")
    result = pytester.runpytest_inprocess(
        "-p",
        "vitbench.plugin",
        "--rootdir",
        str(folder),
        str(folder / "benchmarks"),
        "--collect-only",
        "-q",
        "-k",
        "me",
    )
    assert all("me" in name.split("/")[3] for name in ids(result))


def test_ids_are_unique_and_the_same_every_time(suite):
    first, second = suite("--collect-only", "-q"), suite("--collect-only", "-q")
    nodes = [line for line in first.outlines if "::" in line]
    assert nodes == [line for line in second.outlines if "::" in line]
    assert len(set(nodes)) == len(nodes)


def test_the_paper_budget_collects_every_printed_row(suite):
    assert len(only_accuracy(collected(suite, "--budget", "paper"))) == 212


def test_all_rows_collects_every_row_on_the_digits(suite):
    names = only_accuracy(collected(suite, "--all-rows"))
    assert "floros2024/4.5/cvt/ce+0.1me_ratio0.9/digits" in names


def test_dataset_takes_the_place_of_the_digits(suite):
    names = only_accuracy(collected(suite, "--dataset", "cifar10"))
    assert {name.split("/")[4] for name in names} == {"cifar10"}


def test_objective_and_model_add_rows(suite):
    names = collected(suite, "--objective", "ce + 0.3*drloc(pairs=8)", "--model", "timm/resnet18", "-k", "4.1")
    assert "floros2024/4.1/vit/ce+0.3drloc_pairs8/digits" in names
    assert "floros2024/4.1/timm.resnet18/ce/digits" in names
    assert "floros2024/4.1/timm.resnet18/ce+0.3drloc_pairs8/digits" in names


def test_collection_imports_nothing_heavy(suite, pytester):
    pytester.makeconftest(
        """
        import sys
        HEAVY = {"torch", "torchvision", "timm", "pandas", "fvcore", "numpy", "sklearn", "matplotlib"}
        def pytest_sessionfinish(session):
            assert len(session.items) > 100
            print("HEAVY:", sorted(HEAVY & sys.modules.keys()))
        """
    )
    result = suite("--collect-only", "-q", "-s", "-p", "no:benchmark", subprocess=True)
    result.stdout.fnmatch_lines(["*HEAVY: []*"])


def test_collection_says_how_much_there_is_to_do(suite):
    suite("--collect-only", "-k", "4.1 and vit").stdout.fnmatch_lines(
        ["vitbench: 2 runs behind 2 cases, 0 of them done*"]
    )


# Users' mistakes: one line, no traceback


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--model", "vitt"], "*--model: unknown model 'vitt'; did you mean vit*"),
        (["--model", "vit/tini"], "*--model: unknown variant of vit 'tini'; did you mean tiny*"),
        (["--objective", "ce + 0.1*drlocc"], "*--objective: unknown term 'drlocc'; did you mean drloc*"),
        (
            ["--objective", "ce + 0.1*me(ratoi=0.5)"],
            "*--objective: unknown argument of me 'ratoi'; did you mean ratio*",
        ),
        (["--objective", "ce + eval('1')"], "*--objective: cannot read the objective*"),
        (["--objective", "ce + 0.1*nowhere.mine"], "*--objective: term 'nowhere.mine': no module 'nowhere'*"),
        (["--dataset", "cifar11"], "*--dataset: unknown data set 'cifar11'; did you mean cifar10*"),
        (["--model", "timm/resnet81"], "*--model: unknown timm model 'resnet81'; did you mean resnet*"),
        (["--runs", "benchmarks/test_size.py"], "*--runs: benchmarks/test_size.py is a file; name a folder*"),
        (["--seeds", "0"], "*--seeds is a number of trainings, at least 1, got 0*"),
    ],
)
def test_a_mistake_in_an_option_is_one_line_of_usage_error(suite, arguments, line):
    result = suite(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()
    assert len([one for one in result.errlines if one.strip()]) == 1


def test_gpu_without_a_gpu_is_one_line_of_usage_error(suite, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = suite("--gpu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--gpu: torch sees no GPU on this machine; leave --gpu out*"])


def test_gpu_means_the_paper_budget(suite, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    assert len(only_accuracy(collected(suite, "--gpu"))) == 212


def test_a_mistake_in_a_paper_file_is_one_line_at_collection(suite, monkeypatch):
    def broken(folder=None):
        raise errors.UserError("x.toml:7: unknown term 'drlocc'; did you mean drloc?")

    monkeypatch.setattr("vitbench.papers.load_all", broken)
    result = suite()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["x.toml:7: unknown term 'drlocc'; did you mean drloc?"])
    assert "Traceback" not in result.stdout.str()


# Runs, caching, baselines brought along


def test_a_method_brings_its_plain_baseline_along_and_shows_it(suite, executed):
    result = suite("-k", "test_accuracy and 4.1/vit and drloc")
    assert [str(one.objective).partition(" ")[0] for one in executed] == ["ce", "ce"]
    assert len(executed) == 2
    result.stdout.fnmatch_lines(["*floros2024/4.1/vit/ce/digits*brought along*", "*vit/ce+0.1drloc/digits*+0.00*"])


def test_cells_of_several_tables_share_a_run(suite, executed):
    result = suite("-k", "test_accuracy and vit and 0.1drloc/")
    result.assert_outcomes(passed=3, deselected=116)
    assert len(executed) == 2


def test_a_second_session_reads_everything_and_says_so(suite, executed):
    suite("-k", "vit and drloc")
    made = len(executed)
    result = suite("-k", "vit and drloc")
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
    suite("-k", "test_accuracy and vit and 0.1drloc/")
    suite("-k", "test_accuracy and vit and 0.1drloc/", "--fresh")
    assert len(executed) == 4


def test_seeds_train_each_case_several_times(suite, executed):
    suite("-k", "test_accuracy and 4.1/vit/ce/", "--seeds", "3")
    assert [one.seed for one in executed] == [0, 1, 2]


def test_the_report_has_the_quick_column_and_no_printed_one(suite, executed, pytester):
    suite("-k", "test_accuracy and vit")
    text = (pytester.path / ".vitbench/report/floros2024.md").read_text()
    assert "97.00" in text
    assert "digits" in text
    assert "cifar10, printed" not in text


def test_the_report_goes_where_it_is_told(suite, executed, pytester):
    suite("-k", "4.1/vit/ce/", "--runs", "here/runs", "--report", "there")
    assert (pytester.path / "there/README.md").exists()
    assert list((pytester.path / "here/runs/runs").glob("*/record.json"))
    assert not (pytester.path / ".vitbench").exists()


def test_a_broken_record_is_named_set_aside_and_done_again(suite, executed, pytester):
    suite("-k", "test_accuracy and 4.1/vit/ce/")
    (path,) = (pytester.path / ".vitbench/runs").glob("run_*/record.json")
    path.write_text(path.read_text()[:100])
    result = suite("-k", "test_accuracy and 4.1/vit/ce/")
    assert len(executed) == 2
    result.stdout.fnmatch_lines(["not used: *record.json: it is torn or no JSON*"])
    assert list(path.parent.glob("record.json.set-aside-*"))


# Verdicts and exit codes


def test_an_accuracy_below_the_floor_fails_with_one_line_and_exit_code_10(suite, executed):
    executed.measurements["run"]["accuracy"] = 60.0
    result = suite("-k", "test_accuracy and 4.1/vit/ce/")
    assert result.ret == 10
    result.stdout.fnmatch_lines(
        [
            "floros2024/4.1/vit/ce/digits: accuracy is worse: measured 60, the floor is 95",
            "repeat it with the same options and -k *",
        ]
    )


def test_a_metric_that_vanished_fails_with_exit_code_11(suite, executed, monkeypatch):
    known_sizes(monkeypatch, macs=1.0, params=15.0)
    del executed.measurements["size"]["macs"]
    result = suite("-k", "test_size and vit/ce/cifar10")
    assert result.ret == 11
    result.stdout.fnmatch_lines(["*vit/ce/cifar10: macs is missing: measured nothing, recorded 1"])


def test_an_accuracy_that_vanished_is_never_a_pass(suite, executed):
    del executed.measurements["run"]["accuracy"]
    assert suite("-k", "test_accuracy and 4.1/vit/ce/").ret == 11


@pytest.mark.parametrize(("params", "code"), [(15.0, 0), (15.000001, 10), (14.9, 10)])
def test_parameters_are_gated_to_the_unit(suite, executed, monkeypatch, params, code):
    known_sizes(monkeypatch, macs=1.0, params=15.0)
    executed.measurements["size"]["params"] = params
    assert suite("-k", "test_size and vit/ce/cifar10").ret == (code if params >= 15.0 else 0)


def test_a_missing_baseline_is_new_and_fails_only_on_request(suite, executed, monkeypatch):
    monkeypatch.setattr(Session, "recorded", [])
    assert suite("-k", "test_size and vit/ce/cifar10").ret == 0
    result = suite("-k", "test_size and vit/ce/cifar10", "--fail-on-missing")
    assert result.ret == 11
    result.stdout.fnmatch_lines(["*params is new: measured 15, recorded nothing*"])


def known_sizes(monkeypatch, **values):
    blank = dict.fromkeys(("recipe", "seed", "key", "device", "precision", "engine", "torch", "commit", "date"), "")
    recorded = [
        baselines.Measurement(
            **blank,
            paper="floros2024",
            model="vit",
            objective="ce",
            dataset="cifar10",
            budget="paper",
            metric=metric,
            value=value,
            machine="any",
        )
        for metric, value in values.items()
    ]
    monkeypatch.setattr(Session, "recorded", recorded)


def test_absent_data_skips_with_the_way_out_and_an_empty_night_ends_with_12(suite):
    result = suite("-k", "test_accuracy and 4.1/vit/ce/", "--dataset", "cifar10", "-rs")
    assert result.ret == 12
    result.assert_outcomes(skipped=1, deselected=118)
    result.stdout.fnmatch_lines(["SKIPPED*cifar10*--download*--data*"])


def test_a_night_with_something_done_is_not_empty(suite, executed, monkeypatch):
    suite("-k", "test_accuracy and 4.1/vit/ce/")
    executed.error = errors.DataAbsent("cifar10: nowhere")
    assert suite("-k", "test_accuracy and 4.1/vit").ret == 0


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


def test_an_ordinary_failure_beside_a_regression_keeps_pytests_own_code(suite, executed, pytester):
    (pytester.path / "benchmarks/test_other.py").write_text("def test_other():\n    assert False, 'vit'\n")
    executed.measurements["run"]["accuracy"] = 60.0
    assert suite("-k", "(test_accuracy and 4.1/vit/ce/) or test_other").ret == pytest.ExitCode.TESTS_FAILED


def test_nothing_selected_stays_pytests_own_code(suite):
    assert suite("-k", "nonsense").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_other_peoples_tests_are_left_alone(pytester):
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('case', [1])\ndef test_mine(case):\n    assert case\n")
    result = pytester.runpytest_inprocess("-p", "vitbench.plugin", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    assert "vitbench," not in result.stdout.str()
    assert not (pytester.path / ".vitbench").exists()


def test_the_numbers_reach_junit(suite, executed, pytester):
    suite("-k", "test_accuracy and 4.1/vit/ce/", "--junitxml", "junit.xml")
    assert 'name="accuracy" value="97.0"' in (pytester.path / "junit.xml").read_text()


def test_a_full_disk_is_one_line_and_the_machines_fault(suite, executed):
    executed.error = OSError(28, "No space left on device", "record.json")
    result = suite("-k", "test_accuracy and 4.1/vit/ce/")
    assert result.ret == 12
    result.stdout.fnmatch_lines(["record.json: No space left on device; free space, or name another folder*"])
    assert "Traceback" not in result.stdout.str()


# Timing


def test_timing_uses_the_stopwatch_only_where_nothing_is_recorded(suite, executed):
    first = suite("-k", "test_training and vit/ce/")
    second = suite("-k", "test_training and vit/ce/")
    first.assert_outcomes(passed=1, deselected=118)
    second.stdout.fnmatch_lines(["training steps: 1 cases, 1 of them read from records"])


def test_a_real_timing_has_a_noise_floor_and_a_ratio(suite, pytester):
    suite("-k", "speed/resnet and not me and (test_inference or test_training)", "-q").assert_outcomes(
        passed=3, deselected=116
    )
    records = [json.loads(path.read_text()) for path in (pytester.path / ".vitbench/runs").glob("*/record.json")]
    assert sorted(one["kind"] for one in records) == ["inference", "training", "training"]
    for record in records:
        assert record["measurements"][f"{record['kind']}_noise"] >= 0
        assert record["identity"]["machine"]["device"]
    assert all(one["measurements"]["step_ratio"] > 0 for one in records if one["kind"] == "training")


def test_without_a_stopwatch_timing_is_skipped_with_its_reason(suite):
    result = suite("-k", "test_training and vit/ce/", "--benchmark-disable", "-rs")
    result.stdout.fnmatch_lines(["SKIPPED*pytest-benchmark is switched off*"])


# For real, in processes of their own


def test_two_workers_do_each_run_once_and_report_together(suite, pytester):
    few_epochs(pytester, 2)
    result = suite("-k", "test_accuracy and 4.1 and (vit or resnet)", "-n", "2", subprocess=True)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["trained: 4 cases, 0 of them read from records", "report: .vitbench/report/README.md"])
    assert len(list((pytester.path / ".vitbench/runs").glob("run_*/record.json"))) == 4


def test_a_killed_session_resumes(suite, pytester):
    few_epochs(pytester, 15)
    command = [sys.executable, "-m", "pytest", "-p", "vitbench.plugin", "-p", "no:cacheprovider", "-q", "benchmarks"]
    process = subprocess.Popen([*command, "-k", "test_accuracy and 4.1/vit/ce/"], cwd=pytester.path)
    checkpoint = wait_for(pytester.path / ".vitbench/runs", "run_*/checkpoint.pt")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (checkpoint.parent / "record.json").exists()
    few_epochs(pytester, 15, checkpoints=False)
    suite("-k", "test_accuracy and 4.1/vit/ce/", subprocess=True).assert_outcomes(passed=1, deselected=118)
    assert not checkpoint.exists()
    curves = json.loads((checkpoint.parent / "record.json").read_text())["details"]["curves"]
    assert [one["epoch"] for one in curves] == list(range(1, 16))


def few_epochs(pytester, epochs, *, checkpoints=True):
    """A quick budget of so many epochs and without floors, in every process that pytest starts here."""
    pytester.makeconftest(
        f"""
        from dataclasses import replace
        from vitbench import checkpoints, papers

        def shortened(load=papers.load_all):
            for paper in load():
                tables = tuple(replace(table, cases=tuple(map(case, table.cases))) for table in paper.tables)
                yield replace(paper, tables=tables, floors={{}})

        def case(one):
            quick = tuple(replace(phase, epochs={epochs}) for phase in one.recipe.quick)
            return replace(one, recipe=replace(one.recipe, quick=quick))

        papers.load_all = lambda: list(shortened())
        checkpoints.CHECKPOINT_SECONDS = {0 if checkpoints else 1e9}
        """
    )


def wait_for(folder: Path, pattern: str) -> Path:
    for _ in range(1200):
        found = list(folder.glob(pattern))
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no {pattern} in {folder}")
