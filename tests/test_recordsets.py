"""Record sets: every value is read as it was written, what cannot be read is named, nothing is touched."""

import json
import shutil
from dataclasses import replace

import pytest

from tests.a_run import RUN
from tests.record_sets import count, finish, right
from tests.test_baselines import MANY, ONE
from vitbench import baselines, recordsets
from vitbench.errors import UserError
from vitbench.recordsets import RECORDED, RUNS, read


def content(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_runs_are_read_value_by_value(tmp_path):
    bits = {"clean": right(97), "attacked": right(90)}
    finish(tmp_path, 97.0, seed=3, bits=bits, adversarial_accuracy=90.0, train_seconds=12.5)
    count(tmp_path)
    found = read(tmp_path)
    assert (found.kind, found.problems) == (RUNS, ())
    values = {one.metric: one for one in found.values}
    assert {name: one.value for name, one in values.items()} == {
        "accuracy": 97.0, "adversarial_accuracy": 90.0, "train_seconds": 12.5, "params": 15.0, "macs": 1.0,
    }  # fmt: skip
    accuracy = values["accuracy"]
    assert accuracy.cell == ("run", "vit/tiny", "ce + 0.1*me(ratio=0.85)", "digits", "quick")
    assert (accuracy.seed, accuracy.precision, accuracy.data) == ("3", "fp32", "d1g357")
    assert dict(accuracy.versions) == {"train": "1", "models/vit": "1"}
    assert (accuracy.bits, values["adversarial_accuracy"].bits) == (bits["clean"], bits["attacked"])
    assert values["train_seconds"].bits == ""
    assert (values["params"].seed, values["params"].precision) == ("", "")
    assert [one.is_timing for one in values.values()].count(True) == 1
    assert read(tmp_path / "runs").values == found.values


def test_seed_version_and_precision_are_no_part_of_the_setting_and_the_rest_is(tmp_path):
    def setting(**changes):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        finish(root, 97.0, **changes)
        return read(root).values[0].setting

    before = replace(RUN, kind="pretraining", phases=(replace(RUN.phases[0], epochs=7),))
    later = replace(before, versions={"train": "2"}, seed=4)
    same = [
        *({"seed": 5}, {"identity": replace(RUN, versions={"train": "2"})}),
        {"identity": replace(RUN, precision="bf16")},
    ]
    assert {setting(), *(setting(**one) for one in same)} == {setting()}
    assert setting(identity=replace(RUN, data="other")) != setting()
    assert setting(identity=replace(RUN, phases=())) != setting()
    assert setting(identity=replace(RUN, pretraining=before)) == setting(identity=replace(RUN, pretraining=later))
    other = replace(before, objective=RUN.objective.unweighted())
    assert setting(identity=replace(RUN, pretraining=before)) != setting(identity=replace(RUN, pretraining=other))


def test_recorded_baselines_are_read_from_a_folder_or_a_file(tmp_path):
    baselines.save(tmp_path, [*MANY, replace(ONE, paper="yours")])
    found = read(tmp_path / "h200")
    assert (found.kind, found.problems, len(found.values)) == (RECORDED, (), len(MANY) + 1)
    one = next(one for one in found.values if one.cell[0] == "yours")
    assert one.cell == ("yours", "vit", "ce + 0.1*me", "cifar10", "scratch", "paper")
    assert (one.metric, one.seed, one.precision, one.value) == ("accuracy", "0", "fp32", 63.82)
    assert len(read(tmp_path / "h200" / "mine.csv").values) == len(MANY)
    (tmp_path / "h200").rename(tmp_path / "before")  # somebody's copy
    assert len(read(tmp_path / "before").values) == len(MANY) + 1


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text[: len(text) // 2], "torn"),
        (lambda text: text.replace("97.0", "NaN"), "NaN"),
        (lambda text: text.replace("97.0", "98.0"), "it was changed after it was written"),
        (lambda text: text * 2, "it goes on after its end"),
        (lambda text: text.replace('"schema": 1', '"schema": 99'), "schema is 99"),
        (lambda text: text.replace('"seed": 1', '"seed": 7'), "digest"),
        (lambda text: "[]", "not a vitbench record"),
    ],
)
def test_a_record_that_cannot_be_trusted_is_named_left_out_and_not_touched(tmp_path, damage, reason):
    finish(tmp_path, 90.0, seed=0)
    path = finish(tmp_path, 97.0, seed=1)
    path.write_text(damage(path.read_text()))
    before = content(tmp_path)
    found = read(tmp_path)
    assert [one.seed for one in found.values] == ["0"]
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{path}: left out, ")
    assert reason in found.problems[0]
    assert "\n" not in found.problems[0]
    assert content(tmp_path) == before


def test_a_record_of_no_known_identity_is_named(tmp_path):
    finish(tmp_path, 90.0)
    path = finish(tmp_path, 97.0, seed=1)
    plain = json.loads(path.read_text())
    del plain["identity"]["model"], plain["provenance"]["sha256"]
    plain["key"] = recordsets.digest(plain["identity"])
    folder = path.parent.with_name(f"run_foreign_{plain['key'][:12]}")
    path.parent.rename(folder)
    (folder / "record.json").write_text(json.dumps(plain))
    found = read(tmp_path)
    assert len(found.values) == 1
    assert "its identity is no run's ('model')" in found.problems[0]


def test_a_record_in_another_runs_folder_and_one_beside_another_are_left_out(tmp_path):
    path, other = finish(tmp_path, 90.0), finish(tmp_path, 97.0, seed=1)
    other.write_text(path.read_text())
    (path.parent / "record.0123456789ab.json").write_text(path.read_text())
    found = read(tmp_path)
    assert len(found.values) == 1
    assert "another record of a run that has one" in found.problems[0]
    assert "belongs to another run" in found.problems[1]


def test_of_runs_that_were_done_again_by_another_version_the_last_is_taken(tmp_path):
    later = replace(RUN, versions={"train": "2"})
    finish(tmp_path, 91.0, identity=later, provenance={"date": "2026-12-24T00:00:00+00:00"})
    finish(tmp_path, 97.0)
    found = read(tmp_path)
    assert [one.value for one in found.values] == [91.0]
    assert found.problems == (f"{tmp_path}: left out, older values of runs that were done again: 1",)


def test_lines_that_cannot_be_read_or_stand_twice_are_named(tmp_path):
    (path,) = baselines.save(tmp_path, [ONE, replace(ONE, seed="1")])
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join([*lines, lines[1].replace("63.82", "12.5"), "torn,line", lines[1].replace("63.82", "nan")])
    )
    found = read(path)
    assert [(one.seed, one.value) for one in found.values] == [("0", 63.82), ("1", 63.82)]
    assert [problem.partition(": ")[0] for problem in found.problems] == [f"{path}:4", f"{path}:5", f"{path}:6"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("absent", "is not there"),
        ("empty", "holds no record; name a runs directory"),
        ("note.txt", "is no .csv file"),
        ("machines", "holds the baselines of several machines; name one of them, such as"),
        ("torn", "holds no value that can be read, such as"),
        ("other.csv", "expected the columns"),
    ],
)
def test_what_is_no_record_set_is_one_line(tmp_path, name, line):
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("hello")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    baselines.save(tmp_path / "machines", [ONE])
    finish(tmp_path / "torn", 97.0).write_text("{")
    with pytest.raises(UserError) as caught:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_copy_of_a_run_counts_once(tmp_path):
    path = finish(tmp_path, 90.0)
    shutil.copytree(path.parent, path.parent.with_name(f"copy_of_{path.parent.name}"))
    shutil.copytree(path.parent, path.parent.with_name(f"{path.parent.name} 2"))
    found = read(tmp_path)
    assert [one.value for one in found.values] == [90.0]
    assert [problem.partition(": left out, ")[2] for problem in found.problems] == [
        f"it is a copy: {path.parent.name} is the folder of the same run",
        "its folder has no run's name; it was copied or renamed",
    ]
