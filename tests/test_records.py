"""Records are whole or absent, believed only when they are what they should be, and never deleted."""

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from vitbench.case import Budget, Phase
from vitbench.identity import Identity, digest
from vitbench.objective import parse
from vitbench.records import SCHEMA, Record, Store, write_atomically, write_whole
from vitbench.records import parse as parse_record

PHASE = Phase(epochs=1, batch_size=8, optimizer={"name": "adam", "lr": 0.1}, schedule={"name": "constant"})
RUN = Identity(
    model="vit/tiny",
    objective=parse("ce + 0.1*me(ratio=0.85)"),
    dataset="digits",
    data="d1g357",
    classes=10,
    image_size=32,
    budget=Budget.QUICK,
    versions={"train": "1", "models/vit": "1"},
    phases=(PHASE,),
)
PROVENANCE = {
    "date": "2026-11-02T03:04:05+00:00",
    "seconds": 1.5,
    "device": "a processor",
    "threads": 1,
    "precision": "fp32",
    "engine": "eager",
    "commit": "3f2c1ab",
    "command": "pytest",
    "versions": {"torch": "2.11.0"},
}


def record_of(identity, **changes):
    plain = {
        "measurements": {"accuracy": 97.25, "fgsm_drop": -0.5, "loss": 0.125},
        "invalid": {"adversarial_accuracy": "random signs hurt more"},
        "details": {"test_images": 360, "curves": [{"epoch": 1, "loss": 0.1 + 0.2}]},
        "provenance": PROVENANCE,
    }
    return Record(kind=identity.kind, key=identity.key, identity=identity.content(), **(plain | changes))


RECORD = record_of(RUN)


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
    "two records": (changed() * 2, "torn or no JSON"),
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
    "with NaN": (changed(measurements={"accuracy": math.nan}), "NaN is no number"),
    "with Infinity": (changed(measurements={"loss": math.inf}), "Infinity is no number"),
    "with NaN in its details": (changed(details={"test_images": 360, "x": math.nan}), "NaN is no number"),
    "with a reason that is none": (changed(invalid={"fgsm_drop": 3}), "damaged"),
    "without provenance": (changed(provenance={}), "it says nothing of 'date'"),
    "without versions": (changed(provenance=PROVENANCE | {"versions": {}}), "it says nothing of 'torch'"),
    "with versions in a word": (changed(provenance=PROVENANCE | {"versions": "new"}), "damaged"),
    "with seconds in words": (changed(provenance=PROVENANCE | {"seconds": "long"}), "seconds is 'long'"),
    "without its number of test images": (changed(details={}), "it says nothing of 'test_images'"),
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


def test_what_cannot_be_opened_is_set_aside(store):
    path_of(store).parent.mkdir(parents=True)
    path_of(store).symlink_to(path_of(store))  # a loop: nobody can open it, not even root
    assert store.read(RUN) is None
    assert "it cannot be read" in store.problems[0]
    store.write(RUN, RECORD)
    assert store.read(RUN) == RECORD


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


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, "old")

    def fail():
        with write_atomically(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_where_nothing_can_be_written_is_an_oserror(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Store(tmp_path / "file").write(RUN, RECORD)


PRELUDE = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {root!r}]
from test_records import PHASE, RECORD, RUN, record_of
from dataclasses import replace
from vitbench.records import Store
store = Store(Path({store!r}))
"""


@pytest.fixture
def python(store, request):
    """Start Python on some lines that know RUN, RECORD and the store."""
    started = []
    tests = request.path.parent
    prelude = PRELUDE.format(tests=str(tests), root=str(tests.parent), store=str(store.root))

    def start(lines):
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", prelude + lines]
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


FULL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
big = replace(RECORD, details={"test_images": 360, "curves": list(range(10_000))})
try:
    store.write(RUN, big)
except OSError as error:
    print("refused", error.errno)
"""


@pytest.mark.parametrize("before", [True, False])
def test_a_disk_that_is_full_leaves_the_old_record_or_none(store, python, before):
    if before:
        store.write(RUN, RECORD)
    out, err = python(FULL_DISK).communicate(timeout=30)
    assert out.startswith("refused"), err
    assert [path.name for path in store.folder(RUN).iterdir()] == ["record.json"] * before
    assert store.read(RUN) == (RECORD if before else None)


WRITE_FOR_EVER = """
for seed in range(10**6):
    one = replace(RUN, seed=seed % 50)
    store.write(one, record_of(one, details={"test_images": 360, "curves": list(range(2000))}))
    print(seed, flush=True)
"""


def test_killed_while_writing_many_records_every_one_is_whole_or_absent(store, python):
    writer = python(WRITE_FOR_EVER)
    for _ in range(60):
        assert writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.wait(timeout=30)
    assert all(store.read(replace(RUN, seed=seed)) for seed in range(50))
    assert store.problems == []


# Writes in a child process that kills itself at its first line of Python, in the next child at the second, and so on.
DIE_AT_EVERY_LINE = """
import json, os, signal
from dataclasses import asdict
from vitbench.records import write_whole
path = store.folder(RUN) / "record.json"
old, new = path.read_text(), json.dumps(asdict(replace(RECORD, measurements={"accuracy": 98.0})))
def dying(left):
    def trace(frame, event, argument):
        nonlocal left
        left -= event == "line"
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    def seen(code):  # our own lines and those of pathlib between opening a file and closing it
        return code.co_filename.endswith("vitbench/records.py") or code.co_name in ("write_text", "replace")
    return lambda frame, *rest: trace(frame, *rest) if seen(frame.f_code) else None
status, line = 1, 0
while status:
    child = os.fork()
    if not child:
        sys.settrace(dying(line))
        write_whole(path, new)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(line, status, {old: "old", new: "new"}.get(path.read_text(), "torn"), store.read(RUN) is not None)
    path.write_text(old)
    line += 1
"""


def test_killed_at_any_line_of_writing_the_old_record_is_there_or_the_new_one(store, python):
    store.write(RUN, RECORD)
    out, err = python(DIE_AT_EVERY_LINE).communicate(timeout=60)
    assert err == ""
    *killed, finished = [line.split(" ", 3)[1:] for line in out.splitlines()]
    assert finished == ["0", "new", "True"]
    assert {tuple(one) for one in killed} == {("9", "old", "True"), ("9", "new", "True")}
    assert len(killed) > 10


HOLD = """
with store.lock(RUN):
    print("held", flush=True)
    sys.stdin.readline()
    with open(store.root / "log", "a") as log:
        log.write("first out\\n")
"""
WAIT = """
print("waiting", flush=True)
with store.lock(RUN):
    with open(store.root / "log", "a") as log:
        log.write("second in\\n")
"""


def test_the_second_process_waits_for_the_first(store, python):
    first = python(HOLD)
    assert first.stdout.readline() == "held\n"
    second = python(WAIT)
    assert second.stdout.readline() == "waiting\n"
    time.sleep(0.2)  # time enough to go wrong
    assert second.poll() is None
    first.communicate("\n", timeout=30)
    second.communicate(timeout=30)
    assert (store.root / "log").read_text() == "first out\nsecond in\n"


def test_a_run_is_busy_while_another_process_holds_it_and_free_once_that_was_killed(store, python):
    assert not store.is_busy(RUN)
    holder = python(HOLD)
    assert holder.stdout.readline() == "held\n"
    assert store.is_busy(RUN)
    assert not store.is_busy(replace(RUN, seed=1))
    holder.kill()
    holder.wait(timeout=30)
    assert not store.is_busy(RUN)
    with store.lock(RUN):
        pass


def test_asking_whether_a_run_is_busy_makes_nothing(store):
    assert not store.is_busy(RUN)
    assert not store.root.exists()


def test_a_record_survives_being_written_as_text():
    assert parse_record(json.dumps(asdict(RECORD))) == RECORD
