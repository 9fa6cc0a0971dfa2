"""Decoded pictures on disk: right, made once, gone on with after a kill; nothing damaged or half-made is believed."""

import dataclasses
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from tests.pictures import listing, reference, truncate, write
from vitbench import decode, mapped
from vitbench.errors import DataAbsent, DataBroken

NUMBER = 10  # pictures, in blocks of 4: two whole ones and a rest
NAMES = [f"{one}.png" for one in range(NUMBER)]


@pytest.fixture(autouse=True)
def blocks(monkeypatch):
    monkeypatch.setattr(mapped, "BLOCK_PICTURES", 4)


@pytest.fixture
def half(tmp_path):
    base = tmp_path / "pictures"
    for seed, name in enumerate(NAMES):
        write(base / name, size=(9 + seed, 11), mode="L" if seed == 3 else "RGB", seed=seed)
    return half_of(tmp_path)


def half_of(tmp_path, *, labels=range(NUMBER), size=8):
    files = list(zip(NAMES, labels, strict=True))
    return mapped.Half(dataset="toy", base=tmp_path / "pictures", files=files, size=size, folder=tmp_path / "cache/toy")


@pytest.fixture
def decoded(monkeypatch):
    """Names of the pictures that were decoded."""
    names = []
    square = decode.square
    monkeypatch.setattr(decode, "square", lambda path, size: names.append(path.name) or square(path, size))
    return names


@pytest.fixture(params=["in memory", "mapped"])
def either(request, monkeypatch):
    if request.param == "mapped":
        monkeypatch.setattr(mapped, "IN_MEMORY", 0)


def expected(half):
    return np.stack([reference(half.base / name, half.size) for name, _ in half.files])


def message(error, half, *parts):
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("toy: ")
    assert all(str(part) in text for part in parts)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("size", [8, 5, 20])
def test_pixels_are_those_of_the_pictures_in_their_order(half, tmp_path, size):
    half = half_of(tmp_path, size=size)
    found = mapped.pixels(half)
    assert found.shape == (NUMBER, 3, size, size)
    assert np.array_equal(found, expected(half))
    assert (half.folder / "pixels").stat().st_size == NUMBER * 3 * size**2


@pytest.mark.usefixtures("either")
def test_pictures_are_decoded_once_and_reading_writes_nothing(half, tmp_path, decoded):
    first = mapped.pixels(half)
    assert sorted(decoded) == sorted(NAMES)
    before = listing(tmp_path)
    assert np.array_equal(mapped.pixels(half), first)
    assert mapped.is_made(half)
    assert len(decoded) == NUMBER
    assert listing(tmp_path) == before


def test_what_is_written_to_a_map_stays_with_the_process(half, monkeypatch):
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    found = mapped.pixels(half)
    found[...] = 0
    assert np.array_equal(mapped.pixels(half), expected(half))


@pytest.mark.skipif(sys.platform != "linux", reason="Linux refuses private maps that are larger than the memory")
def test_a_file_may_be_larger_than_the_memory(half):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    number = 2 * memory // (3 * 1024**2)
    large = mapped.Half(dataset="toy", base=half.base, files=[("x", 0)] * number, size=1024, folder=half.folder)
    path = half.base / "sparse"
    with path.open("w+b") as file:
        try:
            file.truncate(int(np.prod(large.shape)))
        except OSError:
            pytest.skip("no file system for sparse files")
        file.seek(-1, os.SEEK_END)
        file.write(b"\x07")
        file.flush()
        found = mapped._map(large, file, int(np.prod(large.shape)))
    assert found.shape == large.shape
    assert (found[0, 0, 0, 0], found[-1, -1, -1, -1]) == (0, 7)


def script(half, body):
    """A process of its own that decodes the half; `body` may change `square`."""
    head = f"""
        import os, signal, sys, time
        from pathlib import Path
        from vitbench import decode, mapped
        mapped.BLOCK_PICTURES = 4
        mapped.THREADS = 1
        files = [(name, label) for label, name in enumerate({NAMES!r})]
        folder, base = Path({str(half.folder)!r}), Path({str(half.base)!r})
        half = mapped.Half(dataset="toy", base=base, files=files, size=8, folder=folder)
        square = decode.square
    """
    return [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(body)]


@pytest.mark.parametrize(("killed_at", "kept"), [("0.png", 0), ("3.png", 0), ("9.png", 1)])
def test_what_was_killed_goes_on_from_its_last_block(half, decoded, killed_at, kept):
    body = f"""
        def until(path, size):
            if path.name == {killed_at!r}:
                time.sleep(0.3)  # blocks before are on their way to the disk
                os.kill(os.getpid(), signal.SIGKILL)
            return square(path, size)
        decode.square = until
        mapped.pixels(half)
    """
    assert subprocess.run(script(half, body), check=False).returncode == -signal.SIGKILL
    assert not mapped.is_made(half)
    assert np.array_equal(mapped.pixels(half), expected(half))
    redone = set(NAMES) - set(decoded)
    assert redone >= set(NAMES[: 4 * kept])
    assert len(decoded) == NUMBER - len(redone)


def interrupted(half, monkeypatch, at):
    """Leave what an interruption at a picture leaves; the number of whole blocks."""
    square = decode.square

    def until(path, size):
        if path.name == at:
            raise KeyboardInterrupt
        return square(path, size)

    with monkeypatch.context() as patch:
        patch.setattr(decode, "square", until)
        with pytest.raises(KeyboardInterrupt):
            mapped.pixels(half)
    return len(json.loads((half.folder / "index.json").read_text())["blocks"])


def test_pixels_that_never_reached_the_disk_are_made_again(half, monkeypatch, decoded):
    assert interrupted(half, monkeypatch, NAMES[9]) == 2
    path = half.folder / "pixels"
    content = bytearray(path.read_bytes())
    content[4 * 192 :] = bytes(4 * 192)  # the second block is zeros, as after a power cut
    path.write_bytes(content)
    decoded.clear()
    assert np.array_equal(mapped.pixels(half), expected(half))
    assert sorted(decoded) == NAMES[4:]


def test_an_unfinished_file_of_changed_pictures_is_kept_as_far_as_it_holds(half, monkeypatch, decoded):
    assert interrupted(half, monkeypatch, NAMES[9]) == 2
    write(half.base / NAMES[5], size=(30, 30), seed=77)
    decoded.clear()
    assert np.array_equal(mapped.pixels(half), expected(half))
    assert sorted(decoded) == NAMES[4:]


@pytest.mark.parametrize("change", ["picture", "label", "size of the blocks", "way of decoding"])
def test_of_other_sources_everything_is_made_anew(half, tmp_path, decoded, monkeypatch, change):
    mapped.pixels(half)
    if change == "picture":
        write(half.base / NAMES[9], size=(30, 30), seed=77)
    if change == "label":
        half = half_of(tmp_path, labels=[*range(NUMBER - 1), 0])
    if change == "size of the blocks":
        monkeypatch.setattr(mapped, "BLOCK_PICTURES", 3)
    if change == "way of decoding":
        monkeypatch.setattr(decode, "VERSION", decode.VERSION + 1)
    assert not mapped.is_made(half)
    decoded.clear()
    assert np.array_equal(mapped.pixels(half), expected(half))
    assert sorted(decoded) == NAMES


def test_a_map_that_is_in_use_keeps_what_it_shows_when_the_pictures_change(half, monkeypatch):
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    shown, before = mapped.pixels(half), expected(half)
    write(half.base / NAMES[0], size=(30, 30), seed=77)
    assert np.array_equal(mapped.pixels(half), expected(half))
    assert np.array_equal(shown, before)


def with_more(half, number, broken=None):
    """The same half with pictures added at its end, one of them broken."""
    names = [f"{NUMBER + one}.png" for one in range(number)]
    for seed, name in enumerate(names, 50):
        write(half.base / name, seed=seed)
    if broken is not None:
        (half.base / f"{broken}.png").write_text("no picture")
    return dataclasses.replace(half, files=[*half.files, *((name, 0) for name in names)])


@pytest.mark.parametrize("broken", [None, 11, 14])
def test_a_map_that_is_in_use_keeps_what_it_shows_when_pictures_are_added(half, monkeypatch, broken):
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    shown, untouched, before = mapped.pixels(half), mapped.pixels(half), expected(half)
    assert np.array_equal(shown, before)
    grown = with_more(half, 5, broken)
    with (half.folder / "pixels").open("rb") as file:
        if broken is None:
            assert np.array_equal(mapped.pixels(grown), expected(grown))
        else:
            with pytest.raises(DataBroken) as error:
                mapped.pixels(grown)
            message(error, half, f"{broken}.png cannot be decoded")
        assert os.fstat(file.fileno()).st_size == before.nbytes  # who looks beyond the end of a file is killed
    assert np.array_equal(shown, before)
    assert np.array_equal(untouched, before)


def test_what_was_interrupted_when_pictures_were_added_goes_on_as_far_as_it_reached_the_disk(
    half, monkeypatch, decoded
):
    mapped.pixels(half)
    grown = with_more(half, 5)
    assert interrupted(grown, monkeypatch, "14.png") == 3
    path = half.folder / "pixels"
    content = bytearray(path.read_bytes())
    content[8 * 192 : 12 * 192] = bytes(4 * 192)  # as after a power cut
    path.write_bytes(content)
    decoded.clear()
    assert np.array_equal(mapped.pixels(grown), expected(grown))
    assert sorted(decoded) == [f"{one}.png" for one in (10, 11, 12, 13, 14, 8, 9)]


def test_the_begun_file_of_more_pictures_is_not_the_finished_one_of_fewer(half, monkeypatch):
    few = dataclasses.replace(half, files=half.files[:8])
    assert interrupted(half, monkeypatch, NAMES[9]) == 2  # the blocks of the first eight
    assert not mapped.is_made(few)
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    shown, before = mapped.pixels(few), expected(few)
    write(half.base / NAMES[5], size=(30, 30), seed=77)
    assert np.array_equal(mapped.pixels(half), expected(half))
    assert np.array_equal(shown, before)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_length_is_named(half, change):
    mapped.pixels(half)
    path = half.folder / "pixels"
    path.write_bytes((path.read_bytes() + b"\0")[: 1920 + change])
    with pytest.raises(DataBroken) as error:
        mapped.pixels(half)
    message(error, half, path, f"holds {1920 + change} bytes, expected 1920", f"delete {half.folder}")


def test_a_changed_pixel_of_a_map_is_seen_unless_the_file_says_that_nothing_was_written(half, monkeypatch):
    monkeypatch.setattr(mapped, "IN_MEMORY", 0)
    mapped.pixels(half)
    path = half.folder / "pixels"
    time = path.stat().st_mtime_ns
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(time, time))
    mapped.pixels(half)  # as far as it can be seen, the file that was checked
    os.utime(path, ns=(time, time + 1))
    with pytest.raises(DataBroken) as error:
        mapped.pixels(half)
    message(error, half, path, "is not what was written there", f"delete {half.folder}")


def test_a_changed_pixel_is_seen_where_all_are_read(half):
    mapped.pixels(half)
    path = half.folder / "pixels"
    content = bytearray(path.read_bytes())
    content[5 * 192] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataBroken) as error:
        mapped.pixels(half)
    message(error, half, path, "pictures 4 to 7", f"delete {half.folder}")


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "\udcff", '{"blocks": []}', '{"pictures": 10}'),
        *('{"pictures": 10, "blocks": 3}', '{"pictures": 10, "blocks": [["a"]]}'),
        pytest.param("[" * 200_000, id="deep"),
    ],
)
def test_an_index_that_is_none_is_named(half, content):
    mapped.pixels(half)
    (half.folder / "index.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataBroken) as error:
        mapped.pixels(half)
    message(error, half, half.folder / "index.json", f"delete {half.folder}")


def test_deleted_pixels_and_a_deleted_index_are_made_again(half, decoded):
    for name in ("pixels", "index.json"):
        mapped.pixels(half)
        (half.folder / name).unlink()
        decoded.clear()
        assert np.array_equal(mapped.pixels(half), expected(half))
        assert sorted(decoded) == NAMES


def spoiled(path, how):
    if how == "truncated":
        truncate(path)
    elif how == "no picture":
        path.write_text("a page that says: not found")
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("how", ["truncated", "no picture", "empty", "a folder"])
def test_a_damaged_picture_is_named_and_its_repair_goes_on_from_there(half, decoded, how):
    path = half.base / NAMES[9]
    spoiled(path, how)
    with pytest.raises(DataBroken) as error:
        mapped.pixels(half)
    message(error, half, f"{path} cannot be decoded", "put an undamaged copy there")
    assert not mapped.is_made(half)
    path.rmdir() if path.is_dir() else path.unlink()
    write(path, seed=5)
    decoded.clear()
    assert np.array_equal(mapped.pixels(half), expected(half))
    assert sorted(decoded) == NAMES[8:]


def test_a_picture_that_pillow_takes_for_a_bomb_is_named(half, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(DataBroken) as error:
        mapped.pixels(half)
    message(error, half, half.base / NAMES[0], "decompression bomb")


def test_remarks_of_pillow_are_no_errors(half, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 120)  # it warns from there on, and refuses twice that
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(half.base / NAMES[9]).close()
    assert np.array_equal(mapped.pixels(half)[0], reference(half.base / NAMES[0], 8))


def test_a_missing_picture_is_named(half):
    (half.base / NAMES[6]).unlink()
    for ask in (mapped.pixels, mapped.is_made):
        with pytest.raises(DataBroken) as error:
            ask(half)
        message(error, half, f"{half.base / NAMES[6]} is missing")
    assert not half.folder.exists()


def test_a_place_that_cannot_be_written_is_one_line(half):
    half.folder.parent.write_bytes(b"a file in the way")
    with pytest.raises(DataAbsent) as error:
        mapped.pixels(half)
    message(error, half, f"cannot write decoded pictures into {half.folder}", f"links to what is in {half.base}")


def test_a_read_only_place_is_one_line(half, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(type(half.folder), "mkdir", refuse)
    with pytest.raises(DataAbsent) as error:
        mapped.pixels(half)
    message(error, half, os.strerror(errno.EROFS), "name a folder of your own with links")


def test_too_small_a_disk_is_said_before_anything_is_decoded(half, decoded, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1919))
    with pytest.raises(DataAbsent) as error:
        mapped.pixels(half)
    message(error, half, os.strerror(errno.ENOSPC), "they take 1.92e-06 GB")
    assert decoded == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1920))
    assert np.array_equal(mapped.pixels(half), expected(half))


def test_a_disk_that_fills_up_leaves_nothing_that_is_believed(half, tmp_path, full_disk):
    half = half_of(tmp_path, size=20)  # 1200 bytes a picture: the first block ends beyond what the disk takes
    with full_disk(), pytest.raises(DataAbsent) as error:
        mapped.pixels(half)
    message(error, half, os.strerror(errno.EFBIG), "make room")
    assert not mapped.is_made(half)
    assert np.array_equal(mapped.pixels(half), expected(half))


def test_two_processes_at_once_decode_each_picture_once(half, tmp_path):
    body = f"""
        log = Path({str(tmp_path / "log")!r})
        def slowly(path, size):
            time.sleep(0.05)
            with log.open("a") as file:
                file.write(path.name + "\\n")
            return square(path, size)
        decode.square = slowly
        Path({str(tmp_path)!r}, "ready" + sys.argv[1]).touch()
        while len(list(Path({str(tmp_path)!r}).glob("ready*"))) < 2:
            time.sleep(0.01)
        sys.exit(int(mapped.pixels(half).sum()) % 251)
    """
    running = [subprocess.Popen([*script(half, body), str(one)]) for one in range(2)]
    codes = [one.wait(timeout=60) for one in running]
    assert sorted((tmp_path / "log").read_text().split()) == sorted(NAMES)
    assert codes == [int(expected(half).sum()) % 251] * 2


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("where", "shown"), [(Terminal, True), (io.StringIO, False)])
def test_progress_is_shown_on_a_terminal_and_nowhere_else(half, monkeypatch, where, shown):
    monkeypatch.setattr(sys, "stderr", where())
    mapped.pixels(half)
    text = sys.stderr.getvalue()
    assert ("decoding toy" in text and f"{NUMBER}/{NUMBER}" in text) if shown else text == ""
