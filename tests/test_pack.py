"""Pack: what leaves, in files of which none is larger than was asked for."""

import os
import zipfile

import pytest

from vitbench import volumes
from vitbench.errors import UserError
from vitbench.merge import Merge
from vitbench.pack import pack
from vitbench.parts import SMALLEST


def packed_in(out):
    """Names of the files that volumes hold."""
    parts = [part for path in out.glob("*.zip") for part in volumes.read(path).parts]
    return sorted({part.file.name.split("/", 1)[1].rpartition("_")[2] for part in parts})


def named(runs, seed, name="record.json"):
    return f"{runs.identity(seed).key[:12]}/{name}"


def test_only_records_leave_unless_more_is_asked_for(runs, tmp_path):
    runs.finish(0, weights=b"w")
    runs.put(0, "checkpoint.pt", b"left by a kill between record and clearing")
    runs.put(1, "checkpoint.pt", b"c")
    runs.put(1, "failed.pt", b"f")
    runs.put(1, "record.json.set-aside-1", b"torn")
    packed = pack(runs.root, tmp_path / "a")
    assert packed_in(tmp_path / "a") == [named(runs, 0)]
    assert packed.notes == ["left out: 1 unfinished run; --checkpoints packs them too"]
    pack(runs.root, tmp_path / "b", checkpoints=True, weights=True)
    assert packed_in(tmp_path / "b") == sorted(
        [named(runs, 0), named(runs, 0, "weights.safetensors"), named(runs, 1, "checkpoint.pt")]
    )


def test_pictures_leave_with_their_record_or_with_the_checkpoint_of_a_run_that_goes_on(runs, tmp_path):
    runs.finish(0)
    runs.put(1, "checkpoint.pt", b"c")
    for seed in (0, 1):
        runs.put(seed, "pictures/epoch-0020.safetensors", b"p")
        runs.put(seed, "pictures/.epoch-0040.safetensors.x.part", b"torn")
    pack(runs.root, tmp_path / "a")
    finished = [named(runs, 0), named(runs, 0, "pictures/epoch-0020.safetensors")]
    assert packed_in(tmp_path / "a") == sorted(finished)
    pack(runs.root, tmp_path / "b", checkpoints=True)
    begun = [named(runs, 1, "checkpoint.pt"), named(runs, 1, "pictures/epoch-0020.safetensors")]
    assert packed_in(tmp_path / "b") == sorted(finished + begun)


def test_a_strange_file_among_the_pictures_is_named(runs, tmp_path):
    runs.finish(0)
    path = runs.put(0, "pictures/holiday.safetensors", b"p")
    assert pack(runs.root, tmp_path / "a").problems[0].startswith(f"{path}: ")
    assert packed_in(tmp_path / "a") == [named(runs, 0)]


def test_what_was_kept_beside_leaves_too(runs, elsewhere, tmp_path):
    runs.finish(0, weights=b"w")
    elsewhere.finish(0, accuracy=96.0, weights=b"other")
    pack(elsewhere.root, tmp_path / "a", weights=True)
    Merge(runs.root).take([tmp_path / "a"])
    pack(runs.root, tmp_path / "b", weights=True)
    assert len(packed_in(tmp_path / "b")) == 4


@pytest.mark.parametrize("limit", [SMALLEST, SMALLEST + 1, 3 * SMALLEST])
def test_no_volume_is_larger_than_the_limit(runs, tmp_path, limit):
    for seed in range(40):
        runs.finish(seed, note=os.urandom(seed * 300).hex(), weights=os.urandom(seed * 2000))
    for seed in range(40, 44):
        runs.put(seed, "checkpoint.pt", os.urandom(seed * 8000))
    packed = pack(runs.root, tmp_path / "out", checkpoints=True, weights=True, limit=limit)
    sizes = [path.stat().st_size for path in (tmp_path / "out").iterdir()]
    assert max(sizes) <= limit
    assert len(packed.lines) == len(sizes) > 5
    assert sum(sizes) > 0.6 * limit * len(sizes)


def test_many_small_records_fill_a_volume_to_the_limit_at_most(runs, tmp_path):
    for seed in range(150):
        runs.finish(seed, note=os.urandom(20).hex())
    pack(runs.root, tmp_path / "out", limit=SMALLEST)
    assert max(path.stat().st_size for path in (tmp_path / "out").iterdir()) <= SMALLEST


def test_each_line_is_a_file_with_its_size_and_what_is_in_it(runs, tmp_path):
    runs.finish(0)
    runs.finish(1)
    runs.put(2, "checkpoint.pt", bytes(100_000))
    lines = pack(runs.root, tmp_path / "out", checkpoints=True, limit=SMALLEST).lines
    assert len(lines) == 2
    assert "-1-of-2.zip: 0.06 MiB, 2 records, 1 part of a checkpoint" in lines[0]
    assert "-2-of-2.zip: 0.0" in lines[1]
    assert all(line.startswith(f"{tmp_path / 'out' / 'runs-'}") for line in lines)


def test_the_same_content_gives_the_same_files_and_another_one_others(runs, tmp_path):
    runs.finish(0)
    pack(runs.root, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    pack(runs.root, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    runs.finish(1)
    pack(runs.root, tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_record_that_cannot_be_trusted_is_named_and_left(runs, tmp_path):
    runs.finish(0)
    torn = runs.put(1, "record.json", b"{")
    swapped = runs.put(2, "record.json", runs.path(0).read_bytes())
    runs.put(1, "checkpoint.pt", b"c")
    packed = pack(runs.root, tmp_path / "out", checkpoints=True)
    assert packed_in(tmp_path / "out") == sorted([named(runs, 0), named(runs, 1, "checkpoint.pt")])
    assert any(str(torn) in line and "torn" in line for line in packed.problems)
    assert any(str(swapped) in line and "another run" in line for line in packed.problems)
    assert torn.read_bytes() == b"{"


def test_nothing_to_pack_says_what_to_do(runs, tmp_path):
    with pytest.raises(UserError, match="run `pytest benchmarks --runs"):
        pack(runs.root, tmp_path / "out")
    runs.put(0, "record.json", b"{")
    with pytest.raises(UserError, match="torn"):
        pack(runs.root, tmp_path / "out")
    runs.put(1, "checkpoint.pt", b"c")
    with pytest.raises(UserError, match="--checkpoints"):
        pack(runs.root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("limit", [0, -1, SMALLEST - 1, 2**31, float("nan"), float("inf")])
def test_a_limit_that_makes_no_sense_is_refused(runs, tmp_path, limit):
    runs.finish(0)
    with pytest.raises(UserError, match=r"--limit: expected 0\.0625 to 1024 MiB"):
        pack(runs.root, tmp_path / "out", limit=limit)


def test_more_volumes_than_anybody_can_carry_are_refused(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("vitbench.pack.MOST", 1)
    runs.put(0, "checkpoint.pt", bytes(100_000))
    with pytest.raises(UserError, match="gives 2 files, 1 at most"):
        pack(runs.root, tmp_path / "out", checkpoints=True, limit=SMALLEST)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_is_replaced_meanwhile_leaves_as_it_was(runs, tmp_path, monkeypatch):
    old, new = b"old" * 50_000, b"newer" * 50_000
    runs.put(0, "checkpoint.pt", old)
    write = volumes.write

    def replaced(*arguments):
        runs.put(0, "part", new).replace(runs.path(0, "checkpoint.pt"))
        write(*arguments)

    monkeypatch.setattr(volumes, "write", replaced)
    pack(runs.root, tmp_path / "out", checkpoints=True, limit=SMALLEST)
    read = sorted((volumes.read(path) for path in (tmp_path / "out").iterdir()), key=lambda one: one.number)
    with (tmp_path / "restored").open("wb") as out:
        volumes.restore([(one, one.parts[0]) for one in read], out)
    assert (tmp_path / "restored").read_bytes() == old


def test_a_checkpoint_that_is_cut_short_meanwhile_is_one_line(runs, tmp_path, monkeypatch):
    path = runs.put(0, "checkpoint.pt", bytes(1000))
    write = volumes.write

    def shortened(*arguments):
        path.write_bytes(b"")
        write(*arguments)

    monkeypatch.setattr(volumes, "write", shortened)
    with pytest.raises(UserError, match="run `vitbench pack` again"):
        pack(runs.root, tmp_path / "out", checkpoints=True)
    assert list((tmp_path / "out").iterdir()) == []


def test_interrupted_it_leaves_whole_volumes_and_the_next_pack_completes_them(runs, tmp_path, monkeypatch):
    runs.put(0, "checkpoint.pt", os.urandom(150_000))
    pack(runs.root, tmp_path / "whole", checkpoints=True, limit=SMALLEST)
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    writestr, left = zipfile.ZipFile.writestr, iter([True, False])

    def killed(*arguments):
        if not next(left):
            raise KeyboardInterrupt
        writestr(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "writestr", killed)
        with pytest.raises(KeyboardInterrupt):
            pack(runs.root, tmp_path / "out", checkpoints=True, limit=SMALLEST)
    assert [whole[path.name] == path.read_bytes() for path in (tmp_path / "out").iterdir()] == [True]
    pack(runs.root, tmp_path / "out", checkpoints=True, limit=SMALLEST)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == whole
