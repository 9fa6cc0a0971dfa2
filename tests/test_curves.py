"""Curves of records and of kept files: what was there comes back, and what cannot be one is named."""

import math
from types import SimpleNamespace

import pytest

from vitbench import curves
from vitbench.curves import Curve
from vitbench.errors import UserError

A, B, C = "a" * 12, "b" * 12, "c" * 12
TRAINED = Curve(epochs=(1, 2), losses=(2.25, 1.5), accuracies=(10.0, 20.5))
PRETRAINED = Curve(epochs=(1, 2, 3), losses=(0.63, 0.1, 0.0207))


def record(entries):
    return SimpleNamespace(details={"curves": entries})


def test_a_records_epochs_are_counted_over_its_phases():
    entries = [
        {"phase": 0, "epoch": 1, "loss": 3.0, "accuracy": 10.0},
        {"phase": 0, "epoch": 2, "loss": 2.0, "accuracy": 30.0},
        {"phase": 1, "epoch": 1, "loss": 1.0, "accuracy": 20.0},
    ]
    assert curves.of_record(record(entries)) == Curve(
        epochs=(1, 2, 3), losses=(3.0, 2.0, 1.0), accuracies=(10.0, 30.0, 20.0)
    )


def test_a_pretraining_has_no_accuracies_and_a_size_no_curve():
    assert curves.of_record(record([{"loss": 3.0}])) == Curve(epochs=(1,), losses=(3.0,))
    assert curves.of_record(SimpleNamespace(details={})) is None


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        ([{"epoch": 1}], "no 'loss'"),
        ([{"loss": "much"}], "much"),
        ([{"loss": None}], "NoneType"),
        ([3], "int"),
        ([{"loss": math.inf}], "no number up to"),
        ([{"loss": 1e308}], "no number up to"),
        ([{"loss": 10**400}], "too large"),
        ([{"loss": 1.0, "accuracy": 101.0}], "no percentage"),
        ([{"loss": 1.0, "accuracy": 1.0}, {"loss": 1.0}], "one accuracy or none"),
    ],
)
def test_a_record_whose_curve_is_none_says_why_in_one_line(entries, line):
    with pytest.raises(ValueError, match=line) as error:
        curves.of_record(record(entries))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("epochs", [(), (0, 1), (2, 1), (1, 1)])
def test_epochs_rise_from_one(epochs):
    with pytest.raises(ValueError, match="rising"):
        Curve(epochs=epochs, losses=(1.0,) * len(epochs))


@pytest.mark.parametrize("number", [1, 2, 199, 200, 201, 4000])
def test_a_long_curve_keeps_its_ends_and_values_that_there_were(number):
    whole = Curve(epochs=tuple(range(1, number + 1)), losses=tuple(1 / n for n in range(1, number + 1)))
    thin = whole.thinned()
    assert len(thin.epochs) == min(number, 200)
    assert (thin.epochs[0], thin.epochs[-1]) == (1, number)
    assert all(loss == 1 / epoch for epoch, loss in zip(thin.epochs, thin.losses, strict=True))
    gaps = {after - before for before, after in zip(thin.epochs, thin.epochs[1:], strict=False)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("accuracies", "epoch"),
    [
        ([10.0], 1),
        ([50.0, 94.99, 95.0, 100.0], 3),  # exactly 95 % of 100 are enough
        ([20.0, 79.8, 84.0], 2),  # 95 % of 84 are 79.8, which is more than it in binary
        ([90.0, 100.0, 40.0, 96.0], 2),  # the first of them, whatever comes later
        ([96.0, 10.0, 100.0], 1),
        ([1.0, 2.0, 3.0, 4.0], 4),
        ([0.0, 0.0], 1),
    ],
)
def test_a_training_has_converged_at_the_first_epoch_with_95_percent_of_its_best(accuracies, epoch):
    assert curves.convergence_epoch(accuracies) == epoch


# k-NN of some epochs

SOME = Curve(epochs=(1, 2, 3), losses=(3.0, 2.0, 1.0), knn=(45.0, None, 81.25))


def test_k_nn_of_a_record_is_known_at_the_epochs_where_it_was_measured():
    entries = [{"loss": 3.0, "knn": 45.0}, {"loss": 2.0}, {"loss": 1.0, "knn": 81.25}]
    assert curves.of_record(record(entries)) == SOME
    with pytest.raises(ValueError, match="no percentage"):
        curves.of_record(record([{"loss": 3.0, "knn": 100.5}]))


def test_k_nn_of_other_epochs_is_refused():
    with pytest.raises(ValueError, match="k-NN of other epochs"):
        Curve(epochs=(1, 2), losses=(1.0, 1.0), knn=(45.0,))


def test_k_nn_is_a_column_where_a_run_of_the_file_has_it_and_is_read_back(tmp_path):
    path = curves.save(tmp_path, "h200", "p", {A: SOME, B: TRAINED}, of=[A, B])
    assert path.read_text().splitlines() == [
        "key,epoch,loss,accuracy,knn",
        *(f"{A},1,3,,45", f"{A},2,2,,", f"{A},3,1,,81.25"),
        *(f"{B},1,2.25,10,", f"{B},2,1.5,20.5,"),
    ]
    assert curves.load_all(tmp_path) == ({("h200", A): SOME, ("h200", B): TRAINED}, [])


def test_a_file_from_before_there_was_k_nn_is_read_and_gets_its_column_with_the_first_run_that_has_it(tmp_path):
    path = tmp_path / "h200/curves/p.csv"
    path.parent.mkdir(parents=True)
    path.write_text(f"key,epoch,loss,accuracy\n{B},1,2.25,10\n{B},2,1.5,20.5\n")
    old = path.read_bytes()
    assert curves.load_all(tmp_path) == ({("h200", B): TRAINED}, [])
    curves.save(tmp_path, "h200", "p", {}, of=[B])
    assert path.read_bytes() == old
    curves.save(tmp_path, "h200", "p", {A: SOME}, of=[A, B])
    assert curves.load_all(tmp_path) == ({("h200", A): SOME, ("h200", B): TRAINED}, [])


def test_a_long_curve_keeps_epochs_with_k_nn():
    number = 4000
    few = {1, 333, 1999, 4000}
    knn = tuple(epoch / 100 if epoch in few else None for epoch in range(1, number + 1))
    whole = Curve(epochs=tuple(range(1, number + 1)), losses=(1.0,) * number, knn=knn)
    thin = whole.thinned()
    assert {epoch: one for epoch, one in zip(thin.epochs, thin.knn, strict=True) if one is not None} == {
        epoch: epoch / 100 for epoch in few
    }
    assert 190 <= len(thin.epochs) <= 200
    assert (thin.epochs[0], thin.epochs[-1]) == (1, number)


@pytest.mark.parametrize(("number", "every"), [(201, 1), (4000, 1), (4000, 7), (250, 2)])
def test_of_much_k_nn_a_long_curve_keeps_some(number, every):
    knn = tuple(50.0 if epoch % every == 0 else None for epoch in range(1, number + 1))
    thin = Curve(epochs=tuple(range(1, number + 1)), losses=(1.0,) * number, knn=knn).thinned()
    assert len(thin.epochs) <= 200
    assert sum(one is not None for one in thin.knn) >= 100
    assert (thin.epochs[0], thin.epochs[-1]) == (1, number)
    assert thin.thinned() == thin


def test_what_was_kept_is_read_back(tmp_path):
    path = curves.save(tmp_path, "h200", "tan2024", {B: TRAINED, A: PRETRAINED}, of=[A, B])
    assert path == tmp_path / "h200/curves/tan2024.csv"
    assert path.read_text().splitlines() == [
        "key,epoch,loss,accuracy",
        *(f"{A},1,0.63,", f"{A},2,0.1,", f"{A},3,0.0207,"),
        *(f"{B},1,2.25,10", f"{B},2,1.5,20.5"),
    ]
    assert curves.load_all(tmp_path) == ({("h200", A): PRETRAINED, ("h200", B): TRAINED}, [])


def test_a_newer_curve_replaces_its_runs_and_that_of_a_replaced_run_goes(tmp_path):
    curves.save(tmp_path, "h200", "p", {A: TRAINED, B: TRAINED}, of=[A, B])
    path = curves.save(tmp_path, "h200", "p", {A: PRETRAINED, C: TRAINED}, of=[A])
    assert curves.load_all(tmp_path)[0] == {("h200", A): PRETRAINED}
    before = path.read_bytes()
    curves.save(tmp_path, "h200", "p", {}, of=[A, C])
    assert path.read_bytes() == before
    assert curves.save(tmp_path, "h200", "p", {}, of=[]) is None
    assert curves.load_all(tmp_path) == ({}, [])


def test_where_there_is_nothing_nothing_is_written(tmp_path):
    assert curves.save(tmp_path, "h200", "p", {A: TRAINED}, of=[]) is None
    assert list(tmp_path.iterdir()) == []


BROKEN = [
    ("key,epoch\n", "expected the columns key,epoch,loss,accuracy"),
    (f"key,epoch,loss,accuracy\n{A},1\n", f"a line of 2 values for '{A}'"),
    (f"key,epoch,loss,accuracy\n{A},1,much,\n", f"'{A}': could not convert"),
    (f"key,epoch,loss,accuracy\n{A},1,nan,\n", f"'{A}': an epoch or a loss is no number"),
    (f"key,epoch,loss,accuracy\n{A},2,1,\n{A},1,1,\n", f"'{A}': its epochs are not rising"),
    (f"key,epoch,loss,accuracy\n{A},1,1,5\n{A},2,1,\n", f"'{A}': it has not one loss"),
    (f"key,epoch,loss,accuracy,knn\n{A},1,1,5\n", f"a line of 4 values for '{A}'"),
    (f"key,epoch,loss,accuracy\n{A},1,1,5,45\n", f"a line of 5 values for '{A}'"),
    (f"key,epoch,loss,accuracy,knn\n{A},1,1,,101\n", f"'{A}': an accuracy is no percentage"),
    (f"key,epoch,loss,accuracy,knn\n{A},1,1,,nan\n", f"'{A}': an accuracy is no percentage"),
    ("key,epoch,loss,knn\n", "expected the columns key,epoch,loss,accuracy, and knn where it was measured"),
    (b"\xff\xfe", "can't decode"),
    ("key,epoch,loss,accuracy\n\n1\n", "a line of 1 values for '1'"),
]


@pytest.mark.parametrize(("content", "line"), BROKEN)
def test_a_broken_file_is_named_and_the_others_are_read(tmp_path, content, line):
    curves.save(tmp_path, "h200", "good", {A: TRAINED}, of=[A])
    path = tmp_path / "h200/curves/bad.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found, (problem,) = curves.load_all(tmp_path)
    assert found == {("h200", A): TRAINED}
    assert problem.startswith(f"{path}: left out, ")
    assert line in problem
    assert "\n" not in problem
    with pytest.raises(UserError, match="mend the file, then record again"):
        curves.save(tmp_path, "h200", "bad", {B: TRAINED}, of=[B])
