"""Merge: everything arrives once, whole, and what was there stays."""

import itertools
import os
import subprocess
import sys
import time
import zipfile

import pytest
from filelock import FileLock

from vitbench import atomic
from vitbench import merge as module
from vitbench.merge import Merge
from vitbench.pack import pack
from vitbench.parts import SMALLEST


def merged(runs, *paths):
    merge = Merge(runs.root)
    merge.take(paths)
    for line in [*merge.notes, *merge.problems]:
        assert "\n" not in line
    return merge


def outcomes(merge):
    return {outcome: number for outcome, number in merge.counts.items() if number}


def volumes_in(out):
    return sorted(out.iterdir(), key=lambda path: int(path.name.split("-")[2]))


@pytest.fixture
def cut(runs, tmp_path):
    """Two records, weights, a checkpoint over four volumes, and small one; the volumes."""
    runs.finish(0, weights=os.urandom(1000))
    runs.finish(1)
    runs.put(2, "checkpoint.pt", os.urandom(200_000))
    runs.put(3, "checkpoint.pt", os.urandom(300))
    pack(runs.root, tmp_path / "out", checkpoints=True, weights=True, limit=SMALLEST)
    return volumes_in(tmp_path / "out")


def test_everything_arrives_as_it_was(runs, elsewhere, tmp_path, cut):
    assert len(cut) == 4
    merge = merged(elsewhere, tmp_path / "out")
    assert elsewhere.content() == runs.content()
    assert outcomes(merge) == {"new": 5}
    assert (merge.notes, merge.problems) == ([], [])
    assert elsewhere.store.read(elsewhere.identity(1)).measurements == {"accuracy": 97.0}


def test_twice_is_once(runs, elsewhere, tmp_path, cut):
    merged(elsewhere, tmp_path / "out")
    merge = merged(elsewhere, *cut, *cut)
    assert outcomes(merge) == {"already there": 5}
    assert elsewhere.content() == runs.content()
    assert merged(runs, tmp_path / "out").problems == []


def test_whole_files_come_in_any_order(runs, elsewhere, tmp_path):
    for seed in range(12):
        runs.finish(seed, note=os.urandom(10_000).hex())
    pack(runs.root, tmp_path / "out", limit=SMALLEST)
    paths = volumes_in(tmp_path / "out")
    assert len(paths) > 2
    for path in reversed(paths):
        merge = merged(elsewhere, path)
        assert merge.problems == []
        assert merge.notes[0].startswith("not given: runs-")
    assert elsewhere.content() == runs.content()


def test_a_missing_volume_is_named_and_the_rest_is_taken(runs, elsewhere, cut):
    for absent in cut[1:]:
        merge = merged(elsewhere, *(path for path in cut if path != absent))
        assert merge.counts["incomplete"] >= 1
        assert any(absent.name in line and "checkpoint.pt: incomplete" in line for line in merge.problems)
        assert not elsewhere.path(2, "checkpoint.pt").exists()
        assert elsewhere.path(0).exists()
    merge = merged(elsewhere, *reversed(cut))
    assert merge.problems == []
    assert elsewhere.content() == runs.content()


def test_what_is_here_already_needs_no_other_volume(elsewhere, tmp_path, cut):
    merged(elsewhere, tmp_path / "out")
    for path in cut:
        assert merged(elsewhere, path).problems == []


def test_a_run_trained_twice_keeps_both_records_and_doubles_none(runs, elsewhere, tmp_path):
    runs.finish(0, accuracy=97.0, weights=b"theirs")
    elsewhere.finish(0, accuracy=96.0, weights=b"ours")
    before = elsewhere.content()
    pack(runs.root, tmp_path / "out", weights=True)
    merge = merged(elsewhere, tmp_path / "out")
    assert outcomes(merge) == {"kept beside": 2}
    after = elsewhere.content()
    assert before.items() <= after.items()
    added = {name.rpartition("/")[2]: content for name, content in after.items() if name not in before}
    record, weights = sorted(added)
    assert added[record] == runs.path(0).read_bytes()
    assert added[weights] == b"theirs"
    assert record.split(".")[1] == weights.split(".")[1]
    assert any(record in line for line in merge.notes)
    assert outcomes(merged(elsewhere, tmp_path / "out")) == {"already there": 2}
    assert elsewhere.content() == after


def test_three_machines_end_with_the_same_records_in_every_order(tmp_path, runs):
    packs = []
    for n in range(3):
        one = type(runs)(tmp_path / f"machine{n}")
        one.finish(0, accuracy=90.0 + n)
        one.finish(1 + n)
        pack(one.root, tmp_path / f"out{n}")
        packs.append(tmp_path / f"out{n}")
    for number, order in enumerate(itertools.permutations(packs)):
        one = type(runs)(tmp_path / f"all{number}")
        for path in [*order, *order]:
            merged(one, path)
        assert len(one.content()) == 6
        assert len(set(one.content().values())) == 6


def test_a_torn_record_here_is_set_aside(runs, elsewhere, tmp_path):
    runs.finish(0)
    elsewhere.put(0, "record.json", b"{")
    pack(runs.root, tmp_path / "out")
    merge = merged(elsewhere, tmp_path / "out")
    assert outcomes(merge) == {"new": 1}
    assert elsewhere.path(0).read_bytes() == runs.path(0).read_bytes()
    assert "set aside as record.json.set-aside-" in merge.notes[0]
    assert b"{" in elsewhere.content().values()


def test_a_checkpoint_is_for_unfinished_runs_and_takes_no_others_place(runs, elsewhere, tmp_path):
    for seed in range(3):
        runs.put(seed, "checkpoint.pt", b"theirs")
    elsewhere.finish(0)
    elsewhere.put(1, "checkpoint.pt", b"ours")
    pack(runs.root, tmp_path / "out", checkpoints=True)
    merge = merged(elsewhere, tmp_path / "out")
    assert outcomes(merge) == {"left out": 1, "kept beside": 1, "new": 1}
    assert merge.problems == []
    assert not elsewhere.path(0, "checkpoint.pt").exists()
    assert elsewhere.path(1, "checkpoint.pt").read_bytes() == b"ours"
    assert elsewhere.path(2, "checkpoint.pt").read_bytes() == b"theirs"
    assert any("finished here" in line for line in merge.notes)
    (beside,) = elsewhere.path(1).parent.glob("checkpoint.*.pt")
    assert beside.read_bytes() == b"theirs"
    assert outcomes(merged(elsewhere, tmp_path / "out")) == {"left out": 1, "already there": 2}


def test_a_run_that_another_machine_finished_gets_no_checkpoint(runs, elsewhere, tmp_path):
    runs.put(0, "checkpoint.pt", b"c")
    pack(runs.root, tmp_path / "a", checkpoints=True)
    elsewhere.finish(0)
    pack(elsewhere.root, tmp_path / "b")
    here = type(runs)(tmp_path / "here")
    merged(here, tmp_path / "a", tmp_path / "b")
    assert here.content() == elsewhere.content()


def test_weights_wait_for_their_record(runs, elsewhere, tmp_path):
    runs.finish(0, weights=os.urandom(SMALLEST - 3000))
    pack(runs.root, tmp_path / "out", weights=True, limit=SMALLEST)
    first, second = volumes_in(tmp_path / "out")
    assert "the record that it belongs to is not here" in merged(elsewhere, second).problems[0]
    merged(elsewhere, first)
    merged(elsewhere, second)
    assert elsewhere.content() == runs.content()


def test_pictures_arrive_with_their_record_and_not_with_another_one(runs, elsewhere, tmp_path):
    runs.finish(0)
    runs.put(0, "pictures/epoch-0020.safetensors", b"theirs")
    pack(runs.root, tmp_path / "out")
    here = type(runs)(tmp_path / "here")
    assert outcomes(merged(here, tmp_path / "out")) == {"new": 2}
    assert here.content() == runs.content()
    assert outcomes(merged(here, tmp_path / "out")) == {"already there": 2}
    elsewhere.finish(0, accuracy=96.0)
    merge = merged(elsewhere, tmp_path / "out")
    assert outcomes(merge) == {"kept beside": 1, "left out": 1}
    assert any("epoch-0020.safetensors: left out, it belongs to another record" in note for note in merge.notes)
    assert not elsewhere.path(0, "pictures").exists()


def test_pictures_of_a_run_that_goes_on_come_with_it(runs, elsewhere, tmp_path):
    runs.put(0, "checkpoint.pt", b"c")
    runs.put(0, "pictures/epoch-0020.safetensors", b"p")
    pack(runs.root, tmp_path / "out", checkpoints=True)
    merged(elsewhere, tmp_path / "out")
    assert elsewhere.content() == runs.content()
    finished = type(runs)(tmp_path / "finished")
    finished.finish(0)
    assert outcomes(merged(finished, tmp_path / "out")) == {"left out": 2}


def test_other_weights_of_the_same_record_stay_out(runs, elsewhere, tmp_path):
    runs.finish(0, weights=b"theirs")
    elsewhere.finish(0, weights=b"ours")
    pack(runs.root, tmp_path / "out", weights=True)
    merge = merged(elsewhere, tmp_path / "out")
    assert outcomes(merge) == {"already there": 1, "left out": 1}
    assert elsewhere.path(0, "weights.safetensors").read_bytes() == b"ours"


def test_a_damaged_volume_is_named_and_the_others_are_taken(elsewhere, tmp_path, cut):
    content = bytearray(cut[2].read_bytes())
    content[len(content) // 2] ^= 1
    cut[2].write_bytes(content)
    merge = merged(elsewhere, tmp_path / "out")
    assert str(cut[2]) in merge.problems[0]
    assert "damaged" in merge.problems[0]
    assert outcomes(merge) == {"new": 4, "incomplete": 1}
    assert not elsewhere.path(2, "checkpoint.pt").exists()


def test_foreign_files_are_named_one_a_line(elsewhere, tmp_path, cut):
    foreign = tmp_path / "out" / "holiday.zip"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("runs/a_0123456789ab/record.json", "{}")
    (tmp_path / "empty").mkdir()
    merge = merged(elsewhere, tmp_path / "out", tmp_path / "absent.zip", tmp_path / "empty")
    assert len(merge.problems) == 3
    for line, name in zip(merge.problems, ["holiday.zip", "absent.zip", "empty"], strict=True):
        assert name in line
    assert outcomes(merge) == {"new": 5}


def test_a_record_that_is_none_is_not_written(runs, elsewhere, tmp_path, monkeypatch):
    runs.finish(0)
    runs.path(1).parent.mkdir(parents=True)
    runs.path(1).write_bytes(runs.path(0).read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr("vitbench.volumes.check_record", lambda content, folder: None)
        pack(runs.root, tmp_path / "out")
    merge = merged(elsewhere, tmp_path / "out")
    assert "belongs to another run" in merge.problems[0]
    assert outcomes(merge) == {"new": 1, "incomplete": 1}
    assert not elsewhere.path(1).exists()


def test_a_run_under_way_is_not_touched(runs, elsewhere, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.0)
    runs.finish(0)
    runs.finish(1)
    pack(runs.root, tmp_path / "out")
    elsewhere.path(0).parent.mkdir(parents=True)
    with FileLock(elsewhere.path(0, "lock")):
        merge = merged(elsewhere, tmp_path / "out")
    assert outcomes(merge) == {"new": 1, "left out": 1}
    assert "under way here" in merge.problems[0]
    assert outcomes(merged(elsewhere, tmp_path / "out")) == {"new": 1, "already there": 1}


@pytest.mark.parametrize("written", range(5))
def test_interrupted_it_leaves_nothing_half_and_the_next_merge_completes_it(
    runs, elsewhere, tmp_path, cut, monkeypatch, written
):
    fsync, left = os.fsync, iter([*[True] * written, False])

    def killed(handle):
        if not next(left):
            raise KeyboardInterrupt
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", killed)
        patch.setattr(atomic, "_flush_folder", lambda folder: None)
        with pytest.raises(KeyboardInterrupt):
            merged(elsewhere, tmp_path / "out")
    assert elsewhere.content().items() <= runs.content().items()
    assert len(elsewhere.content()) == written
    merged(elsewhere, tmp_path / "out")
    assert elsewhere.content() == runs.content()


def test_killed_it_leaves_no_file_under_its_own_name_that_is_not_whole(runs, elsewhere, tmp_path):
    for seed in range(30):
        runs.finish(seed, weights=os.urandom(50_000))
    pack(runs.root, tmp_path / "out", weights=True)
    code = "import sys; from pathlib import Path; from vitbench.merge import Merge; "
    code += "Merge(Path(sys.argv[1])).take([Path(sys.argv[2])])"
    process = subprocess.Popen([sys.executable, "-c", code, str(elsewhere.root), str(tmp_path / "out")])
    # By their names: a file that is being written may be gone before it is read.
    while process.poll() is None and len(list(elsewhere.root.glob("runs/*/record.json"))) < 5:
        time.sleep(0.001)
    process.kill()
    process.wait()
    whole = {name: content for name, content in elsewhere.content().items() if not name.endswith(".part")}
    assert whole.items() <= runs.content().items()
    merged(elsewhere, tmp_path / "out")
    assert runs.content().items() <= elsewhere.content().items()


def test_two_merges_at_once_double_nothing(runs, elsewhere, tmp_path):
    for seed in range(20):
        runs.finish(seed, weights=os.urandom(10_000))
    pack(runs.root, tmp_path / "out", weights=True)
    code = "import sys; from pathlib import Path; from vitbench.merge import Merge; m = Merge(Path(sys.argv[1])); "
    code += "m.take([Path(sys.argv[2])]); print(m.counts['new'], len(m.problems))"
    command = [sys.executable, "-c", code, str(elsewhere.root), str(tmp_path / "out")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [[int(one) for one in process.communicate()[0].split()] for process in both]
    assert sum(new for new, _ in told) == 40
    assert sum(problems for _, problems in told) == 0
    assert elsewhere.content() == runs.content()
