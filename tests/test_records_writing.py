"""Records are whole or absent, whatever happens while they are written, and one process at a time makes one."""

import runpy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from vitbench.records import Store, write_atomically, write_whole

a_run = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("a_run.py"))))
RUN, RECORD = a_run.RUN, a_run.RECORD


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "somewhere" / "new")


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
from a_run import PHASE, RECORD, RUN, record_of
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
big = replace(RECORD, details={"test_images": 360, "curves": [{"epoch": one} for one in range(2000)]})
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
    store.write(one, record_of(one, details={"test_images": 360, "curves": [{"epoch": one} for one in range(2000)]}))
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
