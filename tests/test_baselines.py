"""What was recorded: in one order, changed only where something new was measured, never lost."""

import csv
from dataclasses import fields, replace

import pytest

from vitbench.baselines import ANY, HEADER, Measurement, cell_of, load_all, measurements, save
from vitbench.case import Budget, Case, Model, Phase, Recipe
from vitbench.errors import UserError
from vitbench.identity import of_run, of_size
from vitbench.objective import parse
from vitbench.papers import data_folder
from vitbench.records import Record

ONE = Measurement(
    paper="mine",
    model="vit",
    objective="ce + 0.1*me",
    dataset="cifar10",
    recipe="scratch",
    budget="paper",
    metric="accuracy",
    seed="0",
    value=63.82,
    key="0123456789ab",
    machine="h200",
    device="NVIDIA H200",
    precision="fp32",
    engine="eager",
    torch="2.11.0",
    commit="3f2c1ab",
    date="2026-11-02",
)
MANY = [
    replace(ONE, model=model, objective=objective, metric=metric, seed=seed, value=value)
    for model in ("vit", "cvt")
    for objective in ("ce", "ce + 0.1*me")
    for metric, value in (("accuracy", 63.82), ("fgsm_drop", -0.5))
    for seed in ("0", "1")
]


def text_of(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.glob("*/*.csv"))}


def test_what_was_saved_is_read_back(tmp_path):
    assert save(tmp_path, MANY) == [tmp_path / "h200" / "mine.csv"]
    found, problems = load_all(tmp_path)
    assert sorted(found, key=str) == sorted(MANY, key=str)
    assert problems == []


def test_the_order_of_measuring_does_not_matter(tmp_path):
    save(tmp_path / "a", MANY)
    for one in reversed(MANY):
        save(tmp_path / "b", [one])
    assert text_of(tmp_path / "a") == text_of(tmp_path / "b") != {}


def test_adding_twice_changes_nothing(tmp_path):
    save(tmp_path, MANY)
    before = text_of(tmp_path)
    save(tmp_path, MANY[3:5])
    assert text_of(tmp_path) == before


def test_a_newer_value_replaces_that_of_its_cell_and_seed_and_no_other(tmp_path):
    save(tmp_path, MANY)
    newer = replace(MANY[3], value=12.5, date="2026-12-24", key="fedcba987654")
    save(tmp_path, [newer])
    found, _ = load_all(tmp_path)
    assert sorted(found, key=str) == sorted([*MANY[:3], newer, *MANY[4:]], key=str)


def test_machines_and_papers_have_files_of_their_own(tmp_path):
    save(tmp_path, [ONE, replace(ONE, machine="cpu"), replace(ONE, paper="yours"), replace(ONE, machine=ANY)])
    assert sorted(text_of(tmp_path)) == ["any/mine.csv", "cpu/mine.csv", "h200/mine.csv", "h200/yours.csv"]
    before = text_of(tmp_path)
    save(tmp_path, [replace(ONE, value=1.0)])
    changed = [name for name, text in text_of(tmp_path).items() if text != before[name]]
    assert changed == ["h200/mine.csv"]


def test_a_file_is_a_table_that_other_programs_read(tmp_path):
    save(tmp_path, [replace(ONE, device='a "card", really')])
    text = (tmp_path / "h200" / "mine.csv").read_text()
    assert text.splitlines()[0] == HEADER
    assert text.endswith("\n")
    assert "\r" not in text
    (row,) = csv.DictReader(text.splitlines())
    assert (row["value"], row["device"]) == ("63.82", 'a "card", really')


@pytest.mark.parametrize("value", [0.1 + 0.2, 1 / 3, 25557032 / 1e6, 1e-9, -0.5])
def test_values_keep_ten_digits(tmp_path, value):
    save(tmp_path, [replace(ONE, metric="loss", value=value)])
    (found,), _ = load_all(tmp_path)
    assert found.value == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("machine", ["", "..", "a/b", "/etc", "two\nlines", "a b", ".hidden"])
def test_a_machine_has_a_name_that_can_be_a_folders(tmp_path, machine):
    with pytest.raises(UserError, match="a machine's name has letters, digits"):
        save(tmp_path, [replace(ONE, machine=machine)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage", [{"date": "today"}, {"commit": "a\nb"}, {"engine": "a\u2028b"}, {"torch": '"\r'}, {"value": float("inf")}]
)
def test_what_could_not_be_read_again_is_not_written(tmp_path, damage):
    save(tmp_path, MANY)
    before = text_of(tmp_path)
    with pytest.raises(UserError, match=r"^the record of run \w+ cannot be recorded: .*; run it with --fresh$"):
        save(tmp_path, [replace(ONE, paper="another"), replace(ONE, **damage)])
    assert text_of(tmp_path) == before


def test_nothing_recorded_is_nothing(tmp_path):
    assert load_all(tmp_path / "nowhere") == ([], [])


def line_of(**changes):
    row = {field.name: getattr(ONE, field.name) for field in fields(ONE)} | changes
    return ",".join(map(str, row.values()))


GOOD = line_of()
BAD = {
    "a conflict": ("<<<<<<< HEAD", "expected 17 values, got 1"),
    "too few values": ("mine,vit,ce", "expected 17 values, got 3"),
    "too many values": (GOOD + ",more", "expected 17 values, got 18"),
    "no number": (line_of(value="many"), "could not convert string to float: 'many'"),
    "no value": (line_of(value=""), "could not convert"),
    "nan": (line_of(value="nan"), "no usable value of a known metric: accuracy nan"),
    "infinity": (line_of(metric="loss", value="inf"), "no usable value of a known metric: loss inf"),
    "out of range": (line_of(value="163.82"), "no usable value of a known metric: accuracy 163.82"),
    "an unknown metric": (line_of(metric="acuracy"), "no usable value of a known metric: acuracy"),
    "another machine's": (line_of(machine="a100"), "it belongs to a100/mine.csv"),
    "another paper's": (line_of(paper="yours"), "it belongs to h200/yours.csv"),
    "a value without end": (line_of(device="x" * 200_000), "field larger than field limit"),
    "the same once more": (line_of(seed="1"), "it stands twice, line 2 is of the same cell, seed and precision"),
    "another value of the same": (line_of(seed="1", value="1.5"), "it stands twice, line 2 is of the same cell"),
    "a torn date": (line_of(date="2026-11-0"), "expected a date such as 2026-11-02, got '2026-11-0'"),
    "no date": (line_of(date=""), "expected a date such as 2026-11-02, got ''"),
    "an open quote": ('"' + GOOD, "expected 17 values, got 1"),
}


@pytest.fixture
def damaged(tmp_path):
    """Write a recorded file by hand; returns its path."""

    def write(text, name="h200/mine.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize("name", BAD)
def test_a_line_that_cannot_be_used_is_named_and_the_rest_is_used(tmp_path, damaged, name):
    line, reason = BAD[name]
    path = damaged("\n".join([HEADER, line_of(seed="1"), "", line, line_of(seed="2"), ""]))
    found, (problem,) = load_all(tmp_path)
    assert [one.seed for one in found] == ["1", "2"]
    assert problem.startswith(f"{path}:4: left out, ")
    assert reason in problem
    assert problem.isprintable()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            HEADER.encode() + b"\n" + GOOD.encode().replace(b"H200", b"\xff\xfe") + b"\n",
            ": left out, it cannot be read",
        ),
        ((HEADER + "\n" + GOOD + "\n").encode("utf-16"), ": left out, it cannot be read"),
        (b"\x00" * 100, ":1: left out, expected the columns"),
        (b"", None),
        (HEADER.encode(), None),
    ],
    ids=["Latin-1", "UTF-16", "zeros", "empty", "a header"],
)
def test_a_file_that_cannot_be_read_is_named_and_the_others_are_used(tmp_path, damaged, content, message):
    path = damaged(content)
    save(tmp_path / "other", [replace(ONE, machine="cpu")])
    (tmp_path / "other" / "cpu").rename(tmp_path / "cpu")
    found, problems = load_all(tmp_path)
    assert [one.machine for one in found] == ["cpu"]
    assert [problem.startswith(f"{path}{message}") for problem in problems] == ([True] if message else [])


def test_a_byte_order_mark_is_no_column(tmp_path):
    (path,) = save(tmp_path, MANY)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    found, problems = load_all(tmp_path)
    assert (sorted(found, key=str), problems) == (sorted(MANY, key=str), [])


def test_a_folder_that_is_called_like_a_file_is_named(tmp_path):
    (tmp_path / "h200" / "mine.csv").mkdir(parents=True)
    found, (problem,) = load_all(tmp_path)
    assert found == []
    assert "mine.csv: left out, it cannot be read" in problem


def test_a_file_with_other_columns_is_not_guessed_at(tmp_path, damaged):
    damaged(HEADER.replace("value,key", "key,value") + "\n" + GOOD + "\n")
    found, (problem,) = load_all(tmp_path)
    assert found == []
    assert "mine.csv:1: left out, expected the columns paper,model," in problem


def test_saving_refuses_where_it_would_lose_a_file(tmp_path, damaged):
    path = damaged("model,accuracy\nvit,63.82\n")
    with pytest.raises(UserError, match=r"mine.csv:1: left out, .*; mend the file, then record again"):
        save(tmp_path, [ONE])
    assert path.read_text() == "model,accuracy\nvit,63.82\n"


@pytest.mark.parametrize("name", BAD)
def test_saving_refuses_where_it_would_lose_a_line(tmp_path, damaged, name):
    path = damaged(f"{HEADER}\n{line_of(seed='1')}\n{BAD[name][0]}\n")
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"mine.csv:3: left out, .*; mend the file, then record again"):
        save(tmp_path, [replace(ONE, seed="5")])
    assert path.read_bytes() == before


def test_saving_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    save(tmp_path, MANY)
    before = text_of(tmp_path)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, [replace(ONE, seed="9")])
    assert text_of(tmp_path) == before
    assert len(list((tmp_path / "h200").iterdir())) == 1


PHASE = Phase(epochs=1, batch_size=8, optimizer={"name": "adam", "lr": 0.1}, schedule={"name": "constant"})
CASE = Case(
    paper="mine",
    table="4.5",
    model=Model(name="v", full="vit/floros2024", tiny="vit/tiny", printed="ViT"),
    objective=parse("ce + 0.1*me(ratio=0.75)"),
    dataset="cifar10",
    recipe=Recipe(name="scratch", protocol="paper", selection="last", phases=(PHASE,), quick=(PHASE,)),
    defaults={"me": {"ratio": 0.75}},
)
PROVENANCE = {
    "date": "2026-11-02T23:59:59+00:00",
    "seconds": 1.5,
    "device": "NVIDIA H200",
    "precision": "fp32",
    "engine": "eager",
    "commit": "3f2c1ab",
    "versions": {"torch": "2.11.0"},
}


def record(identity, values):
    return Record(
        kind=identity.kind,
        key=identity.key,
        identity=identity.content(),
        measurements=values,
        provenance=PROVENANCE,
    )


def test_a_record_becomes_one_line_a_metric():
    identity = of_run(CASE, budget=Budget.PAPER, seed=3)
    found = measurements(CASE, record(identity, {"fgsm_drop": 27.0, "accuracy": 63.82}), machine="h200")
    accuracy = replace(ONE, model="v", seed="3", key=identity.key[:12])
    assert found == [accuracy, replace(accuracy, metric="fgsm_drop", value=27.0)]


def test_sizes_stand_under_any_machine_and_name_no_device_seed_or_recipe():
    identity = of_size(CASE)
    (found,) = measurements(CASE, record(identity, {"params": 5.5}), machine="h200")
    assert (found.machine, found.device, found.precision, found.engine) == (ANY, "", "", "")
    assert (found.seed, found.recipe, found.budget) == ("", "", "paper")
    assert found.torch == "2.11.0"  # whose counter counted


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"table": "4.6"}, True),
        ({"claims": ()}, True),
        ({"objective": parse("0.1*me + ce")}, True),
        ({"objective": parse("ce + 0.1*me(ratio=0.85)")}, False),
        ({"objective": parse("ce + 0.2*me")}, False),
        ({"dataset": "cifar100"}, False),
        ({"paper": "yours"}, False),
    ],
)
def test_cells_of_different_tables_that_mean_the_same_are_one(changes, same):
    cell = cell_of(CASE, "paper", "accuracy")
    assert (cell_of(replace(CASE, **changes), "paper", "accuracy") == cell) is same


def test_what_comes_along_is_in_canonical_order(tmp_path):
    found, problems = load_all(data_folder() / "recorded")
    assert problems == []
    save(tmp_path, found)
    assert text_of(tmp_path) == text_of(data_folder() / "recorded")


# What a line is of


def test_precisions_are_kept_apart_and_speeds_by_engine_too(tmp_path):
    half = replace(ONE, precision="bf16", engine="graph", value=61.0)
    speeds = [replace(ONE, metric="step_ms", engine=engine, value=5.0) for engine in ("eager", "graph")]
    save(tmp_path, [ONE, *speeds])
    save(tmp_path, [half])
    found, _ = load_all(tmp_path)
    assert sorted(found, key=str) == sorted([ONE, half, *speeds], key=str)
    captured = replace(ONE, engine="graph", value=64.0)  # the engine does not change what an accuracy is of
    save(tmp_path, [captured])
    assert sorted(load_all(tmp_path)[0], key=str) == sorted([captured, half, *speeds], key=str)


def test_an_older_value_never_replaces_a_newer_one(tmp_path):
    save(tmp_path, [ONE])
    save(tmp_path, [replace(ONE, value=1.0, date="2020-01-01")])
    assert load_all(tmp_path)[0] == [ONE]


def test_two_devices_are_not_one_machine(tmp_path):
    save(tmp_path, [ONE])
    before = text_of(tmp_path)
    with pytest.raises(UserError, match="holds numbers of NVIDIA H200, these are of A; name another --machine"):
        save(tmp_path, [replace(ONE, device="A")])
    assert text_of(tmp_path) == before
