"""Records are whole or absent, whatever happens while they are written, and one process at a time makes one."""

import errno
import os
import runpy
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from vitbench.atomic import write_atomically, write_whole
from vitbench.errors import Busy
from vitbench.records import Store

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
from vitbench.atomic import write_atomically
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
from vitbench.atomic import write_whole
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
        return code.co_filename.endswith("vitbench/atomic.py") or code.co_name in ("write_text", "replace")
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


def test_who_does_not_wait_is_told_that_another_process_holds_the_run_until_that_was_killed(store, python):
    holder = python(HOLD)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Busy, match=r"another process does this run; .*--runs") as caught, store.lock(RUN, wait=False):
        pass
    assert str(caught.value).startswith(str(store.folder(RUN)))
    assert str(caught.value).isprintable()
    with store.lock(replace(RUN, seed=1), wait=False):
        pass
    holder.kill()
    holder.wait(timeout=30)
    with store.lock(RUN, wait=False):
        pass


def test_a_lock_is_given_back_after_an_error(store):
    with pytest.raises(KeyboardInterrupt), store.lock(RUN):
        raise KeyboardInterrupt
    with store.lock(RUN, wait=False):
        pass


DIE_WHILE_WRITING = """
import os, signal
with store.lock(RUN), write_atomically(store.folder(RUN) / "checkpoint.pt") as temporary:
    temporary.write_text("half of it")
    (temporary.parent / ".tmpAb12Cd").write_text("half of what safetensors writes")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_cleared_by_the_next_that_holds_the_run(store, python):
    store.write(RUN, RECORD)
    python(DIE_WHILE_WRITING).wait(timeout=30)
    folder = store.folder(RUN)
    (folder / "mine.part").touch()
    assert len(list(folder.iterdir())) == 5
    with store.lock(RUN):
        assert {path.name for path in folder.iterdir()} == {"lock", "mine.part", "record.json"}
    assert store.read(RUN) == RECORD


def test_what_a_writer_is_writing_now_is_not_cleared_by_who_does_not_hold_the_run(store, python):
    holder = python(HOLD)
    assert holder.stdout.readline() == "held\n"
    written = store.folder(RUN) / ".checkpoint.pt.abc.part"
    written.touch()
    with pytest.raises(Busy), store.lock(RUN, wait=False):
        pass
    assert store.read(RUN) is None
    assert written.exists()


def test_a_rename_is_flushed_with_its_folder(tmp_path, monkeypatch):
    path, flushed, fsync = tmp_path / "a.txt", [], os.fsync

    def watch(handle):
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        flushed.append(("folder" if is_folder else "file", path.exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watch)
    write_whole(path, "new")
    assert flushed == [("file", False), ("folder", True)]


def test_where_a_folder_cannot_be_flushed_the_file_is_written_nevertheless(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    write_whole(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


def torch_fills(path):
    with path.open("wb") as file:
        torch.save(torch.zeros(1000), file)


def safetensors_fills(path):
    save_file({"weight": torch.zeros(1000)}, path)


def text_fills(path):
    path.write_text("a" * 4000)


@pytest.mark.parametrize("fill", [torch_fills, safetensors_fills, text_fills])
def test_whoever_fills_the_file_a_full_disk_is_an_oserror_that_names_it(tmp_path, full_disk, fill):
    path = tmp_path / "weights"
    with full_disk(), pytest.raises(OSError, match="File too large") as caught, write_atomically(path) as temporary:
        fill(temporary)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert not list(tmp_path.iterdir())


def test_an_error_of_another_file_or_of_before_is_not_blamed_on_this_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), write_atomically(tmp_path / "a.txt"):
        (tmp_path / "elsewhere").read_text()
    try:
        raise OSError(errno.ENOSPC, "before")
    except OSError:
        with pytest.raises(ValueError, match="ours"), write_atomically(tmp_path / "a.txt"):
            raise ValueError("ours") from None
    assert not list(tmp_path.iterdir())
