"""Recording at the end of a session, and what each way of it takes."""

import csv

import pytest

from tests.conftest import PROVENANCE
from vitbench import baselines, recording, samples
from vitbench.errors import DataAbsent, UserError
from vitbench.session import Session

CASE = "test_accuracy and floros2024/4.1/vit/ce/digits"
RECORD = ("--machine", "mine", "--reason", "a reason", "--recorded", "recorded")


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setattr("vitbench.machine.commit", lambda: "3f2c1ab")


def update(suite, which, *arguments, select=CASE):
    return suite("-k", select, "--update-baselines", which, *RECORD, *arguments)


def accuracies(pytester, paper="floros2024"):
    found, problems = baselines.load_all(pytester.path / "recorded")
    assert not problems
    return {one.seed: one.value for one in found if one.metric == "accuracy" and one.paper == paper}


def test_missing_takes_what_nothing_is_recorded_of_and_nothing_else(suite, executed, pytester):
    result = update(suite, "missing")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["baselines: recorded/mine/floros2024.csv: a reason"])
    assert accuracies(pytester) == {"0": 97.0}
    executed.measurements["run"]["accuracy"] = 98.0
    update(suite, "missing", "--fresh", "--seeds", "2")
    assert accuracies(pytester) == {"0": 97.0, "1": 98.0}


def test_the_reason_is_kept(suite, executed, pytester):
    update(suite, "missing")
    executed.measurements["run"]["accuracy"] = 98.0
    suite("-k", CASE, "--fresh", "--update-baselines", "all", *RECORD[:2], *RECORD[4:], "--reason", 'said "so",\nagain')
    with (pytester.path / "recorded/reasons.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(one["machine"], one["papers"], one["commit"], one["reason"]) for one in rows] == [
        ("mine", "floros2024", "3f2c1ab", "a reason"),
        ("mine", "floros2024", "3f2c1ab", 'said "so", again'),
    ]
    assert [one["measurements"] for one in rows] == ["3", "3"]


def test_changed_takes_what_has_another_value_and_nothing_that_is_new(suite, executed, pytester):
    update(suite, "missing")
    executed.measurements["run"]["accuracy"] = 98.0
    update(suite, "changed", "--fresh", "--seeds", "2")
    assert accuracies(pytester) == {"0": 98.0}
    result = update(suite, "changed")
    result.stdout.fnmatch_lines(["baselines: recorded: nothing is changed, so nothing was recorded"])


def test_some_of_a_cells_seeds_are_not_replaced_by_those_of_another_version(suite, executed, pytester):
    update(suite, "all", "--seeds", "3")
    executed.measurements["run"]["accuracy"] = 98.0
    result = update(suite, "changed", "--fresh", "--seeds", "2")
    assert result.ret == 12
    result.stdout.fnmatch_lines(
        ["note: no baseline was recorded: *seed 2 is recorded and was not run again; *--seeds 3*"]
    )
    assert accuracies(pytester) == dict.fromkeys("012", 97.0)
    assert update(suite, "changed", "--fresh", "--seeds", "3").ret == 0
    assert accuracies(pytester) == dict.fromkeys("012", 98.0)


def test_an_interrupted_session_records_nothing(suite, executed, pytester):
    executed.error = KeyboardInterrupt()
    suite("-k", CASE, "--update-baselines", "all", *RECORD, no_reraise_ctrlc=True)
    assert not (pytester.path / "recorded").exists()


def test_all_takes_both(suite, executed, pytester):
    update(suite, "missing")
    executed.measurements["run"]["accuracy"] = 98.0
    update(suite, "all", "--fresh", "--seeds", "2")
    assert accuracies(pytester) == {"0": 98.0, "1": 98.0}


def test_only_what_was_selected_is_recorded(suite, executed, pytester):
    suite("-k", "test_accuracy and floros2024/4.1/vit")
    update(suite, "all")
    found, _ = baselines.load_all(pytester.path / "recorded")
    assert {(one.objective, one.metric == "params") for one in found} == {("ce", False)}


@pytest.mark.parametrize(
    ("select", "metric"),
    [("test_size and vit/ce/cifar10]", "params"), ("test_training and vit/ce+drloc/", "step_ratio")],
)
def test_sizes_and_timings_are_recorded_without_a_training(suite, executed, pytester, select, metric):
    suite("-k", "test_accuracy and floros2024/4.1/vit")
    result = update(suite, "all", select=f"floros2024 and {select}")
    assert result.ret == 0
    found, _ = baselines.load_all(pytester.path / "recorded")
    assert metric in {one.metric for one in found}
    assert "accuracy" not in {one.metric for one in found}


def test_what_was_not_done_is_not_recorded_from_an_older_record(suite, executed, pytester, monkeypatch):
    suite("-k", CASE)

    def absent(*arguments):
        raise DataAbsent("no data")

    monkeypatch.setattr(Session, "accuracy", absent)
    result = update(suite, "all")
    result.stdout.fnmatch_lines(["note: no baseline was recorded: *holds no record of these cases*"])
    assert not (pytester.path / "recorded").exists()


def test_a_regression_that_is_replaced_fails_nothing_but_a_floor_does(suite, executed, pytester):
    executed.measurements["run"]["accuracy"] = 50.0
    result = update(suite, "all")
    assert result.ret == 10
    assert accuracies(pytester) == {"0": 50.0}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--update-baselines", "all", "--machine", "mine"), "--update-baselines takes --reason, too"),
        (("--update-baselines", "all", "--machine", "mine", "--reason", " "), "--reason is empty"),
        (("--update-baselines", "all", "--machine", "any", "--reason", "x"), "--machine any is kept for sizes"),
        (("--update-baselines", "all", "--machine", "a/b", "--reason", "x"), "a machine's name has letters, digits*"),
        (("--reason", "x"), "--reason says why baselines are recorded; add --update-baselines"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_anything_is_trained(suite, executed, arguments, line):
    result = suite("-k", CASE, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{line}*"])
    assert not executed


def test_an_unclean_tree_is_refused_before_anything_is_trained(suite, executed, monkeypatch):
    monkeypatch.setattr("vitbench.machine.commit", lambda: "3f2c1ab+")
    assert update(suite, "all").ret == pytest.ExitCode.USAGE_ERROR
    assert not executed


def test_records_of_an_unclean_tree_are_said_and_end_with_12(suite, executed, monkeypatch, pytester):
    monkeypatch.setitem(PROVENANCE, "commit", "3f2c1ab+")
    result = update(suite, "all")
    assert result.ret == 12
    result.stdout.fnmatch_lines(["note: no baseline was recorded: some records were made with uncommitted changes*"])
    assert not (pytester.path / "recorded").exists()


def test_a_session_is_judged_by_the_folder_that_it_names(suite, executed, pytester):
    update(suite, "all", "--seeds", "2")
    executed.measurements["run"]["accuracy"] = 96.0
    result = suite("-k", CASE, "--seeds", "2", "--fresh", "--recorded", "recorded")
    assert result.ret == 10
    result.stdout.fnmatch_lines(
        ["*accuracy is worse: measured 96, recorded 2026-01-02 3f2c1ab of mine 97: -1.00 points*"]
    )


@pytest.mark.parametrize("name", ["", " ", "..", ".h", "-h", "a/b", "a b", "h200\n", "h" * 101])
def test_what_can_be_no_machines_name_is_refused(name):
    with pytest.raises(UserError, match=r"a machine's name has letters, digits, .* got "):
        recording.check(name, "a reason")


def test_any_is_no_machine_in_capitals_either():
    with pytest.raises(UserError, match="--machine Any is kept for sizes"):
        recording.check("Any", "a reason")


@pytest.mark.parametrize("broken", ["reasons.csv", "mine/samples/floros2024.csv", "mine/curves/floros2024.csv"])
def test_a_broken_file_beside_the_baselines_is_named_before_anything_is_written(suite, executed, pytester, broken):
    path = pytester.path / "recorded" / broken
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff")
    result = update(suite, "all")
    assert result.ret == 12
    result.stdout.fnmatch_lines(
        [f"note: no baseline was recorded: recorded/{broken}:*; mend the file, then record again"]
    )
    assert not accuracies(pytester)


def test_a_list_of_reasons_without_its_last_line_end_gets_a_line_of_its_own(tmp_path):
    (tmp_path / recording.REASONS).write_text("date,machine\n2026-01-01,mine")
    recording._keep_reason(tmp_path, "mine", "x", [])
    assert [line[:10] for line in (tmp_path / recording.REASONS).read_text().splitlines()[:2]] == [
        "date,machi",
        "2026-01-01",
    ]
    assert len((tmp_path / recording.REASONS).read_text().splitlines()) == 3


def test_samples_are_kept_with_what_was_taken(tmp_path):
    samples.save(tmp_path, "mine", "floros2024", {"a": {"ce": (1.0,)}}, of=["a"])
    assert recording._save_samples(tmp_path, {}, []) == []
    assert samples.load_all(tmp_path)[0] == {("mine", "a"): {"ce": (1.0,)}}


def test_a_reason_of_blanks_is_none():
    with pytest.raises(UserError, match="--reason is empty"):
        recording.check("mine", "\t")
