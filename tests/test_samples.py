"""Samples that are kept beside the baselines: step times, and what terms add to the loss."""

from dataclasses import replace

import pytest

from tests.a_run import RUN, record_of
from vitbench import samples
from vitbench.errors import UserError

KEPT = {"a" * 12: {"drloc": (0.5,), "ce": (2.25,)}, "b" * 12: {"multiples": (1.25, 1.5)}}


def test_what_was_saved_is_read_again(tmp_path):
    path = samples.save(tmp_path, "h200", "floros2024", KEPT, of=KEPT)
    assert path == tmp_path / "h200/samples/floros2024.csv"
    assert path.read_text().splitlines()[:2] == ["key,name,values", f"{'a' * 12},ce,2.25"]
    assert samples.load_all(tmp_path) == ({("h200", key): one for key, one in KEPT.items()}, [])


def test_samples_of_replaced_runs_go(tmp_path):
    samples.save(tmp_path, "h200", "floros2024", {"old": {"ce": (1.0,)}}, of=["old"])
    samples.save(tmp_path, "h200", "floros2024", {"new": {"ce": (2.0,)}}, of=["new"])
    assert samples.load_all(tmp_path)[0] == {("h200", "new"): {"ce": (2.0,)}}


@pytest.mark.parametrize(
    "line",
    [
        *("x,ce,1 two", "x,multiples,1 -1", "x,ce,nan", "x,ce,inf", "x,ce,1,2", "x,ce", "x,ce,", "good,ce,2"),
        f"x,multiples,{'1.0 ' * 40_000}",  # longer than a field of Python's reader may be
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_the_others_are_taken(tmp_path, line):
    path = samples.save(tmp_path, "h200", "floros2024", {"good": {"ce": (1.0,)}}, of=["good"])
    path.write_text(f"{path.read_text()}{line}\n")
    found, problems = samples.load_all(tmp_path)
    assert found == {("h200", "good"): {"ce": (1.0,)}}
    (problem,) = problems
    assert problem.startswith(f"{path}:3: left out, ")


def test_saving_refuses_what_it_would_lose(tmp_path):
    path = samples.save(tmp_path, "h200", "floros2024", {"good": {"ce": (1.0,)}}, of=["good"])
    path.write_text(f"{path.read_text()}torn")
    with pytest.raises(UserError, match=r"floros2024.csv:3: left out, .*; mend the file, then record again"):
        samples.save(tmp_path, "h200", "floros2024", {"new": {"ce": (1.0,)}}, of=["new"])


def test_a_file_of_something_else_is_named(tmp_path):
    path = tmp_path / "h200/samples/x.csv"
    path.parent.mkdir(parents=True)
    path.write_text("a,b\n1,2\n")
    assert samples.load_all(tmp_path)[1] == [f"{path}:1: left out, expected the columns key,name,values"]


def test_a_record_has_what_its_terms_added_to_the_first_loss():
    curves = [
        {"loss": 3.0, "weighted": {"ce": 2.0, "drloc": 1.0}},
        {"loss": 2.0, "weighted": {"ce": 1.5, "drloc": 0.5}},
    ]
    assert samples.of_record(_record("run", curves=curves)) == {"ce": (2.0,), "drloc": (1.0,)}


def test_a_timing_has_its_multiples():
    assert samples.of_record(_record("training", multiples=[1.5, 1.25])) == {"multiples": (1.5, 1.25)}
    assert samples.of_record(_record("training")) == {}


@pytest.mark.parametrize("multiples", [[1.0, 0.0], ["fast"], "fast", [[1.0]], {"a": 1}])
def test_what_is_no_time_is_said(multiples):
    with pytest.raises(ValueError, match="number"):
        samples.of_record(_record("training", multiples=multiples))


@pytest.mark.parametrize("weighted", ["ce", None, [1.0], {"ce": None}, {"ce": [1.0]}, {"ce": 10**400}, {"ce": "nan"}])
def test_what_no_term_adds_is_said(weighted):
    with pytest.raises(ValueError, match=r"expected|finite"):
        samples.of_record(_record("run", curves=[{"loss": 3.0, "weighted": weighted}]))


def test_what_is_not_trained_has_none():
    assert samples.of_record(_record("size", curves=3)) == {}


def test_blocks_are_of_one_length():
    assert samples.blocks(tuple(map(float, range(10)))) == [[0, 1], [2, 3], [4, 5], [6, 7]]


def _record(kind, **details):
    return record_of(replace(RUN, kind=kind), details=details | {"test_images": 360})
