"""The end of a pytest session: verdicts, exit codes, the report."""

import pytest

from vitbench import baselines, errors
from vitbench.session import Session

# Verdicts and exit codes


def test_an_accuracy_below_the_floor_fails_with_one_line_and_exit_code_10(suite, executed):
    executed.measurements["run"]["accuracy"] = 60.0
    result = suite("-k", "test_accuracy and 4.1/vit/ce/")
    assert result.ret == 10
    result.stdout.fnmatch_lines(
        [
            "floros2024/4.1/vit/ce/digits: accuracy is worse: measured 60, the floor is 92: -32; "
            "repeat: pytest benchmarks -k 'test_accuracy[floros2024/4.1/vit/ce/digits]' --fresh",
        ]
    )


def test_a_metric_that_vanished_fails_with_exit_code_11(suite, executed, monkeypatch):
    known_sizes(monkeypatch, macs=1.0, params=15.0)
    del executed.measurements["size"]["macs"]
    result = suite("-k", "test_size and vit/ce/cifar10")
    assert result.ret == 11
    result.stdout.fnmatch_lines(["*vit/ce/cifar10: macs is missing: measured nothing, recorded 1;*"])


def test_an_accuracy_that_vanished_is_never_a_pass(suite, executed):
    del executed.measurements["run"]["accuracy"]
    assert suite("-k", "test_accuracy and 4.1/vit/ce/").ret == 11


@pytest.mark.parametrize(("params", "code"), [(15.0, 0), (15.000001, 10), (14.9, 0)])
def test_more_parameters_are_a_regression_to_the_unit_and_fewer_are_none(suite, executed, monkeypatch, params, code):
    known_sizes(monkeypatch, macs=1.0, params=15.0)
    executed.measurements["size"]["params"] = params
    assert suite("-k", "test_size and vit/ce/cifar10").ret == code


def test_a_missing_baseline_is_new_and_fails_only_on_request(suite, executed, monkeypatch):
    monkeypatch.setattr(Session, "recorded", [])
    assert suite("-k", "test_size and vit/ce/cifar10").ret == 0
    result = suite("-k", "test_size and vit/ce/cifar10", "--fail-on-missing")
    assert result.ret == 11
    result.stdout.fnmatch_lines(["*params is new: measured 15, recorded nothing*"])


def test_seeds_that_do_not_tell_a_sign_end_with_13(suite, executed, monkeypatch):
    monkeypatch.setattr(Session, "recorded", [])
    result = suite("-k", "test_accuracy and 4.1/vit/ce+0.1drloc/", "--seeds", "auto:4")
    # Every run has the same accuracy, so that no gain has a sign.
    assert result.ret == 13
    result.assert_outcomes(passed=1)
    assert sorted(one.seed for one in executed if str(one.objective) == "ce") == [0, 1, 2, 3]
    result.stdout.fnmatch_lines(
        [
            "*; up to 4 seeds and not 3, until the sign of a gain is known (quick budget on cpu)",
            "gate: 1 differences tested: 1 undecided",
            "case *verdict*",
        ]
    )


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
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*cifar10*--download*--data*"])


def test_a_night_with_something_done_is_not_empty(suite, executed, monkeypatch):
    suite("-k", "test_accuracy and 4.1/vit/ce/")
    executed.error = errors.DataAbsent("cifar10: nowhere")
    assert suite("-k", "test_accuracy and 4.1/vit").ret == 0


def test_an_ordinary_failure_beside_a_regression_keeps_pytests_own_code(suite, executed, pytester):
    (pytester.path / "benchmarks/test_other.py").write_text("def test_other():\n    assert False, 'vit'\n")
    executed.measurements["run"]["accuracy"] = 60.0
    assert suite("-k", "(test_accuracy and 4.1/vit/ce/) or test_other").ret == pytest.ExitCode.TESTS_FAILED


def test_nothing_selected_stays_pytests_own_code(suite):
    assert suite("-k", "nonsense").ret == pytest.ExitCode.NO_TESTS_COLLECTED


# The report


def test_the_report_has_the_quick_column_and_no_printed_one(suite, executed, pytester):
    suite("-k", "test_accuracy and floros2024 and vit")
    text = (pytester.path / ".vitbench/report/floros2024.md").read_text()
    assert "97.00" in text
    assert "digits" in text
    assert "cifar10, printed" not in text


def test_the_report_goes_where_it_is_told(suite, executed, pytester):
    suite("-k", "4.1/vit/ce/", "--runs", "here/runs", "--report", "there")
    assert (pytester.path / "there/README.md").exists()
    assert list((pytester.path / "here/runs/runs").glob("*/record.json"))
    assert not (pytester.path / ".vitbench").exists()


def test_where_no_report_could_be_written_none_is_named(suite, executed, monkeypatch):
    def refuse(session, folder):
        raise PermissionError(13, "Permission denied", str(folder / "README.md"))

    monkeypatch.setattr("vitbench.summary.write_report", refuse)
    result = suite("-k", "test_accuracy and 4.1/vit/ce/")
    assert result.ret == 12
    result.stdout.fnmatch_lines(["note: no report: *README.md: Permission denied; name another folder with*"])
    result.stdout.no_fnmatch_line("report: *")


# Interrupted


def test_an_interrupted_session_says_that_it_goes_on(suite, executed):
    executed.error = KeyboardInterrupt()
    result = suite("-k", "test_accuracy and 4.1/vit/ce/", no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["interrupted: the same command goes on where it stopped"])


def test_an_interrupted_fresh_session_says_that_it_would_begin_anew(suite, executed):
    executed.error = KeyboardInterrupt()
    result = suite("-k", "test_accuracy and 4.1/vit/ce/", "--fresh", no_reraise_ctrlc=True)
    result.stdout.fnmatch_lines(["interrupted: *--fresh would begin anew*"])


def test_other_peoples_interrupted_tests_are_left_alone(pytester):
    pytester.makepyfile("def test_mine():\n    raise KeyboardInterrupt\n")
    result = pytester.runpytest_inprocess("-p", "vitbench.plugin", "-p", "no:cacheprovider", no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.no_fnmatch_line("*where it stopped*")
