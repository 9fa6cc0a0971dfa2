"""Records are believed only when they are what they should be, and never deleted."""

import hashlib
import json
import math
import runpy
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from vitbench import records
from vitbench.identity import digest
from vitbench.records import SCHEMA, Store, misplaced, text_of
from vitbench.records import parse as parse_record

a_run = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("a_run.py"))))
RUN, RECORD, PROVENANCE, record_of = a_run.RUN, a_run.RECORD, a_run.PROVENANCE, a_run.record_of


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "somewhere" / "new")


def path_of(store, identity=RUN):
    return store.folder(identity) / "record.json"


def put(store, text, identity=RUN):
    """Write a record file by hand."""
    path = path_of(store, identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def changed(**changes):
    return json.dumps(asdict(RECORD) | changes)


def of_content(**changes):
    """A record that fits its own key, so that nothing but its content speaks against it."""
    content = RUN.content() | changes
    return changed(identity=content, key=digest(content))


def test_what_was_written_is_read_back_to_the_last_bit(store):
    store.write(RUN, RECORD)
    assert store.read(RUN) == RECORD
    assert store.problems == []


def test_before_it_is_written_there_is_none(store):
    assert store.read(RUN) is None
    assert store.problems == []
    assert not store.root.exists()


def test_two_runs_do_not_meet(store):
    other = replace(RUN, seed=1)
    store.write(RUN, RECORD)
    assert store.read(other) is None
    store.write(other, record_of(other))
    assert (store.read(RUN), store.read(other)) == (RECORD, record_of(other))


def test_merging_machines_is_copying_files(store, tmp_path):
    store.write(RUN, RECORD)
    copied = Store(tmp_path / "elsewhere")
    path_of(copied).parent.mkdir(parents=True)
    path_of(copied).write_bytes(path_of(store).read_bytes())
    assert copied.read(RUN) == RECORD


def test_the_file_can_be_read_by_others_and_by_people(store):
    path = store.write(RUN, RECORD)
    assert path.stat().st_mode & 0o777 == 0o644
    assert '"accuracy": 97.25' in path.read_text()


def test_a_later_record_replaces_the_first(store):
    store.write(RUN, RECORD)
    later = replace(RECORD, measurements={"accuracy": 98.0})
    store.write(RUN, later)
    assert store.read(RUN) == later
    assert [path.name for path in path_of(store).parent.iterdir()] == ["record.json"]


DAMAGED = {
    "empty": ("", "torn or no JSON (line 1)"),
    "torn": (changed()[:200], "torn or no JSON"),
    "torn in its last byte": (changed()[:-1], "torn or no JSON"),
    "two records": (changed() * 2, "it goes on after its end (line 1): two records in one file?"),
    "with a name twice": (changed().replace('"loss": 0.125', '"loss": 0.125, "loss": 0.5'), "'loss' stands twice"),
    "with a record in front": (text_of(RECORD) + changed(), "it goes on after its end"),
    "with an edited value": (text_of(RECORD).replace("97.25", "99.75"), "it was changed after it was written"),
    "with an edited curve": (text_of(RECORD).replace('"epoch": 1', '"epoch": 2'), "it was changed after it was"),
    "with an edited commit": (text_of(RECORD).replace("3f2c1ab", "0123456"), "it was changed after it was written"),
    "with an edited checksum": (text_of(RECORD).replace('"sha256": "', '"sha256": "0'), "it was changed after it"),
    "binary": (b"\x80\x02}q\x00(X\x05\x00\x00\x00model", "cannot be read"),
    "zeros": (b"\0" * 500, "torn or no JSON"),
    "UTF-16": (changed().encode("utf-16"), "cannot be read"),
    "a list": ("[1, 2]", "not a vitbench record"),
    "a number": ("3", "not a vitbench record"),
    "null": ("null", "not a vitbench record"),
    "somebody else's": ('{"name": "results", "accuracy": 99}', "not a vitbench record"),
    "newer": (changed(schema=SCHEMA + 1), f"its schema is {SCHEMA + 1}, this version reads {SCHEMA}"),
    "of no schema": (changed(schema="one"), "its schema is 'one'"),
    "with more fields": (changed(more=1), "damaged"),
    "without measurements": (json.dumps({k: v for k, v in asdict(RECORD).items() if k != "measurements"}), "damaged"),
    "with an edited identity": (changed(identity=RUN.content() | {"seed": 1}), "its key is not the digest"),
    "with an edited key": (changed(key="0" * 64), "its key is not the digest"),
    "with another kind": (changed(kind="size"), "it calls itself 'size' and its identity 'run'"),
    "with an identity that is a list": (changed(identity=[1], key=digest([1])), "damaged"),
    "with an empty identity": (changed(identity={}, key=digest({})), "it says nothing of 'kind'"),
    "with measurements that are a list": (changed(measurements=[1]), "damaged"),
    "with an unknown metric": (changed(measurements={"acuracy": 97.0}), "unknown metric 'acuracy'"),
    "with a value out of range": (changed(measurements={"accuracy": 970.0}), "accuracy is 970.0, outside [0, 100]"),
    "with a value that overflows": (changed().replace('"loss": 0.125', '"loss": 1e999'), "loss is inf"),
    "with a value in words": (changed(measurements={"accuracy": "97"}), "damaged"),
    "with a value of none": (changed(measurements={"accuracy": None}), "damaged"),
    "with a value that is a bool": (changed(measurements={"accuracy": True}), "accuracy is True, which is no number"),
    "with a value in words of a number": (changed(measurements={"accuracy": "nan"}), "accuracy is 'nan', which is"),
    "with a value that no float holds": (changed(measurements={"loss": 10**400}), "loss is 1000"),
    "with a value that is a list": (changed(measurements={"accuracy": [97]}), "accuracy is [97], which is no number"),
    "of a schema that is true": (changed(schema=True), "its schema is True"),
    "with NaN": (changed(measurements={"accuracy": math.nan}), "NaN is no number"),
    "with Infinity": (changed(measurements={"loss": math.inf}), "Infinity is no number"),
    "with NaN in its details": (changed(details={"test_images": 360, "x": math.nan}), "NaN is no number"),
    "with a reason that is none": (changed(invalid={"fgsm_drop": 3}), "damaged"),
    "without provenance": (changed(provenance={}), "it says nothing of 'date'"),
    "without versions": (changed(provenance=PROVENANCE | {"versions": {}}), "it says nothing of 'torch'"),
    "with versions in a word": (changed(provenance=PROVENANCE | {"versions": "new"}), "damaged"),
    "with seconds in words": (changed(provenance=PROVENANCE | {"seconds": "long"}), "seconds is 'long'"),
    "without its number of test images": (changed(details={}), "it says nothing of 'test_images'"),
    "with no test images": (changed(details={"test_images": 0}), "test_images is 0"),
    "with less than no test images": (changed(details={"test_images": -360}), "test_images is -360"),
    "with test images that are a bool": (changed(details={"test_images": True}), "test_images is True"),
    "with half a test image": (changed(details={"test_images": 0.5}), "test_images is 0.5"),
    "with curves in words": (changed(details={"test_images": 360, "curves": "up"}), "curves is 'up'"),
    "with a curve that is a number": (changed(details={"test_images": 360, "curves": [1]}), "a curve is 1"),
    "with bits that are a list": (changed(details={"test_images": 360, "correct": []}), "correct is []"),
    "with details that are a list": (changed(details=["test_images"]), "details is ['test_images']"),
    "with invalid that is a list": (changed(invalid=["loss"]), "invalid is ['loss']"),
    "with seconds that no float holds": (changed(provenance=PROVENANCE | {"seconds": 10**400}), "seconds is 1000"),
    "with seconds below zero": (changed(provenance=PROVENANCE | {"seconds": -1}), "seconds is -1"),
    "with seconds that are a bool": (changed(provenance=PROVENANCE | {"seconds": True}), "seconds is True"),
    "of no classes": (of_content(classes=0), "classes is 0"),
    "of classes in words": (of_content(classes="10"), "classes is '10'"),
    "of classes that are a bool": (of_content(classes=True), "classes is True"),
    "nested without end": ("[" * 100_000, "brackets in brackets"),
    "with a number without end": (changed().replace("97.25", "9" * 5000), ""),
    "of another run": (json.dumps(asdict(record_of(replace(RUN, seed=7)))), "it belongs to another run"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "reason"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_file_that_cannot_be_trusted_is_set_aside_and_named(store, content, reason):
    path = put(store, content)
    before = path.read_bytes()
    assert store.read(RUN) is None
    (aside,) = path.parent.iterdir()
    assert aside.read_bytes() == before
    (problem,) = store.problems
    assert problem.startswith(f"{path}: ")
    assert reason in problem
    assert problem.endswith(f"set aside as {aside.name}, the run is done again")
    assert problem.isprintable()


def test_after_one_was_set_aside_the_run_can_be_recorded_and_nothing_is_lost(store):
    for text in ("torn", "foreign"):
        put(store, text)
        assert store.read(RUN) is None
    store.write(RUN, RECORD)
    assert store.read(RUN) == RECORD
    kept = sorted(path.read_text() for path in path_of(store).parent.glob("*set-aside*"))
    assert kept == ["foreign", "torn"]
    assert len(store.problems) == 2


def test_a_folder_in_its_place_is_set_aside_with_what_is_in_it(store):
    path_of(store).mkdir(parents=True)
    (path_of(store) / "precious").write_text("data")
    assert store.read(RUN) is None
    (aside,) = path_of(store).parent.iterdir()
    assert (aside / "precious").read_text() == "data"
    assert "it cannot be read" in store.problems[0]


def test_what_the_machine_does_not_let_be_read_is_left_alone(store):
    path_of(store).parent.mkdir(parents=True)
    path_of(store).symlink_to(path_of(store))  # a loop: nobody can open it, not even root
    with pytest.raises(OSError, match="symbolic links"):
        store.read(RUN)
    assert path_of(store).is_symlink()
    assert not store.problems


def test_what_cannot_be_set_aside_is_said_so(store, monkeypatch):
    path = put(store, "torn")

    def refuse(self, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "rename", refuse)
    assert store.read(RUN) is None
    assert "it could not be set aside (Permission denied)" in store.problems[0]
    assert path.read_text() == "torn"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measurements": {"acuracy": 1.0}}, "unknown metric 'acuracy'"),
        ({"measurements": {"accuracy": 100.5}}, r"accuracy is 100.5, outside \[0, 100\]"),
        ({"measurements": {"loss": math.nan}}, "loss is nan"),
        ({"measurements": {"loss": math.inf}}, "loss is inf"),
        ({"key": "0"}, "its key is not the digest of its identity"),
    ],
)
def test_an_impossible_record_is_not_even_made(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(RECORD, **changes)


def test_what_is_no_json_is_not_written(store):
    store.write(RUN, RECORD)
    with pytest.raises(ValueError, match="JSON"):
        store.write(RUN, replace(RECORD, details={"test_images": 360, "x": math.nan}))
    assert store.read(RUN) == RECORD
    assert [path.name for path in path_of(store).parent.iterdir()] == ["record.json"]


def test_a_temporary_file_is_never_read_as_a_record(store):
    put(store, changed()).rename(path_of(store).with_name(".record.json.abc.part"))
    assert store.read(RUN) is None
    assert store.problems == []


def test_a_record_survives_being_written_as_text():
    assert parse_record(json.dumps(asdict(RECORD))) == RECORD


def test_the_checksum_is_that_of_the_other_lines():
    text = text_of(RECORD)
    (line,) = [one for one in text.splitlines(keepends=True) if one.startswith('  "sha256": "')]
    assert line.split('"')[3] == hashlib.sha256(text.replace(line, "").encode()).hexdigest()
    content = json.loads(text)
    del content["provenance"]["sha256"]
    assert content == asdict(RECORD)


@pytest.mark.parametrize("is_changed", [False, True])
def test_the_checksum_of_an_older_version_counts_too(store, is_changed):
    """It was that of the content on one line."""
    content = json.loads(json.dumps(asdict(RECORD)))
    content["provenance"]["checksum"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    content["measurements"]["accuracy"] -= float(is_changed)
    put(store, json.dumps(content, indent=1, sort_keys=True))
    assert store.read(RUN) == (None if is_changed else RECORD)
    assert len(store.problems) == is_changed


def test_a_record_that_somebody_indented_anew_is_the_same(store):
    store.write(RUN, RECORD)
    path_of(store).write_text(json.dumps(json.loads(path_of(store).read_text())))
    assert store.read(RUN) == RECORD


@pytest.mark.parametrize("section", ["invalid", "versions", "details"])
def test_a_checksum_in_another_place_is_none(store, section):
    """The other lines are as they were, and what is in them has an entry more."""
    text = text_of(RECORD)
    (line,) = [one for one in text.splitlines(keepends=True) if one.startswith('  "sha256": "')]
    moved = text.replace(line, "").replace(f'"{section}": {{\n', f'"{section}": {{\n{line}', 1)
    assert moved != text.replace(line, "")
    put(store, moved)
    assert store.read(RUN) is None
    assert len(store.problems) == 1


def test_half_a_character_is_no_text(store):
    put(store, text_of(replace(RECORD, provenance=RECORD.provenance | {"device": "\ud800"})))
    assert store.read(RUN) is None
    assert "surrogates not allowed" in store.problems[0]
    smiling = replace(RECORD, provenance=RECORD.provenance | {"device": "\U0001f600"})
    put(store, text_of(smiling))
    assert store.read(RUN) == smiling


def test_a_record_of_a_version_that_wrote_no_checksum_is_read(store):
    put(store, changed())
    assert (store.read(RUN), store.problems) == (RECORD, [])


def test_a_copy_of_a_runs_folder_is_named_and_the_run_is_read_from_its_own(store):
    store.write(RUN, RECORD)
    folder = store.folder(RUN)
    for name in (f"old_{folder.name}", f"{folder.name} (copy)", f"{folder.name}.bak", "mine"):
        shutil.copytree(folder, folder.with_name(name))
    shutil.copy(folder / "record.json", folder / "record (1).json")
    found = misplaced(folder.parent)
    assert {str(path.relative_to(folder.parent)): reason for path, reason in found.items()} == {
        f"old_{folder.name}/record.json": f"it is a copy: {folder.name} is the folder of the same run",
        f"{folder.name}/record (1).json": "another record of a run that has one",
        **dict.fromkeys(
            [f"{folder.name} (copy)/record.json", f"{folder.name}.bak/record.json", "mine/record.json"],
            "its folder has no run's name; it was copied or renamed",
        ),
    }
    store.note_misplaced()
    store.note_misplaced()
    assert sorted(store.problems) == sorted(f"{path}: left out, {reason}" for path, reason in found.items())
    assert store.read(RUN) == RECORD


def test_where_nothing_is_astray_nothing_is_named(store):
    store.note_misplaced()
    store.write(RUN, RECORD)
    put(store, "torn", replace(RUN, seed=1))
    store.read(replace(RUN, seed=1))  # sets it aside
    store.write(replace(RUN, seed=1), record_of(replace(RUN, seed=1)))
    store.problems.clear()
    store.note_misplaced()
    assert store.problems == []


def test_a_text_is_untouched_to_the_letter_or_not():
    details = {**RECORD.details, "curves": [{"note": 'a, "b"\n  {c}', "epoch": 1}, {}], "test_images": 10}
    record = replace(RECORD, details=details)
    text = text_of(record)
    assert records._is_untouched(text)
    edited = [text.replace('"test_images": 10', it) for it in ('"test_images": 11', '"test_images":10')]
    twice = text.replace('"test_images": 10', '"test_images": 11,\n  "test_images": 10')
    on_one_line = json.dumps(json.loads(text))  # the same record, which goes through every check
    assert not any(map(records._is_untouched, [*edited, twice, on_one_line, "{}", ""]))
    assert parse_record(on_one_line) == parse_record(text) == record
    with pytest.raises(ValueError, match="stands twice"):
        parse_record(twice)
    with pytest.raises(ValueError, match="changed after it was written"):
        parse_record(edited[0])
