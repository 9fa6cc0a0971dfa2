"""Volumes: what was written is read back; everything else is refused in one line, before any of it is used."""

import contextlib
import hashlib
import io
import json
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import pytest

from vitbench.errors import UserError
from vitbench.parts import File, Part, Volume
from vitbench.volumes import MANIFEST, check_record, read, restore, write

FOLDER = "runs/run_vit-tiny_0123456789ab"
CONTENT = bytes(range(256)) * 4


def volume_of(content=CONTENT, name="checkpoint.pt", path=Path(), **changes):
    plain = {
        "file": File(name=f"{FOLDER}/{name}", size=len(content), sha256=hashlib.sha256(content).hexdigest()),
        "offset": 0,
        "length": len(content),
        "first": 1,
        "last": 1,
    }
    return Volume(path=path, pack="0123456789ab", number=1, of=1, parts=(Part(**(plain | changes)),))


def written(path, content=CONTENT, name="checkpoint.pt"):
    volume = volume_of(content, name)
    write(path, volume, {volume.parts[0].file.name: io.BytesIO(content)})
    return path


def rewritten(path, *, manifest=None, members=None):
    """A volume written by hand, with its manifest changed, and its members."""
    with zipfile.ZipFile(written(path)) as archive:
        lines = json.loads(archive.read(MANIFEST))
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of two members of one name
        archive.writestr(MANIFEST, json.dumps(lines if manifest is None else manifest(lines)))
        for member, content in members or [(f"{FOLDER}/checkpoint.pt", CONTENT)]:
            archive.writestr(member, content)
    return path


def refused(path):
    with pytest.raises(UserError) as error:
        read(path)
    line = str(error.value)
    assert str(path) in line
    assert "\n" not in line
    return line


def info(name, mode=stat.S_IFREG, compress=zipfile.ZIP_STORED):
    one = zipfile.ZipInfo(name)
    one.external_attr = (mode | 0o644) << 16
    one.compress_type = compress
    return one


def test_what_was_written_is_read_and_restored(tmp_path):
    volume = read(written(tmp_path / "new" / "a.zip"))
    assert volume == volume_of(path=tmp_path / "new" / "a.zip")
    out = io.BytesIO()
    restore([(volume, volume.parts[0])], out)
    assert out.getvalue() == CONTENT


def test_the_same_content_gives_the_same_file(tmp_path):
    assert written(tmp_path / "a.zip").read_bytes() == written(tmp_path / "b.zip").read_bytes()


def test_other_tools_can_unpack_it(tmp_path):
    with zipfile.ZipFile(written(tmp_path / "a.zip")) as archive:
        assert archive.read(f"{FOLDER}/checkpoint.pt") == CONTENT


def test_a_file_that_became_shorter_leaves_nothing(tmp_path):
    volume = volume_of()
    with pytest.raises(EOFError, match="shorter"):
        write(tmp_path / "a.zip", volume, {volume.parts[0].file.name: io.BytesIO(CONTENT[:-1])})
    assert list(tmp_path.iterdir()) == []


def test_no_changed_byte_passes_for_another_content(tmp_path):
    original = written(tmp_path / "a.zip").read_bytes()
    believed = volume_of(path=tmp_path / "a.zip")
    for position in range(len(original)):
        for mask in (0x01, 0x80):
            changed = bytearray(original)
            changed[position] ^= mask
            (tmp_path / "a.zip").write_bytes(changed)
            out = io.BytesIO()
            with contextlib.suppress(UserError):
                volume = read(tmp_path / "a.zip")
                restore([(volume, volume.parts[0])], out)
                assert (volume, out.getvalue()) == (believed, CONTENT)  # a date, a version: nothing that counts


@pytest.mark.parametrize("length", [0, 1, 30, 500, -1, -30])
def test_a_torn_file_is_refused(tmp_path, length):
    path = written(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes()[:length])
    assert "damaged" in refused(path)


def test_what_is_no_volume_is_refused(tmp_path):
    (tmp_path / "a.zip").write_text("<html>Not found</html>")
    refused(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("holiday.jpg", "beach")
    assert MANIFEST in refused(tmp_path / "b.zip")
    assert "No such file" in refused(tmp_path / "absent.zip")
    (tmp_path / "folder.zip").mkdir()
    assert "directory" in refused(tmp_path / "folder.zip")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m | {"schema": 2},
        lambda m: m | {"further": 1},
        lambda m: m | {"path": "/etc"},
        lambda m: m | {"parts": 1},
        lambda m: m | {"parts": [1]},
        lambda m: m | {"parts": []},
        lambda m: m | {"parts": m["parts"] * 2},
        lambda m: m | {"parts": [m["parts"][0] | {"name": "../../evil"}]},
        lambda m: m | {"parts": [m["parts"][0] | {"length": 1023}]},
        lambda m: m | {"parts": [m["parts"][0] | {"size": 2048}]},
        lambda m: [m],
        lambda m: {},
    ],
)
def test_a_manifest_that_lies_is_refused(tmp_path, change):
    refused(rewritten(tmp_path / "a.zip", manifest=change))


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", b""), (f"{FOLDER}/checkpoint.pt", CONTENT)],
        [("/tmp/evil", CONTENT)],
        [(f"{FOLDER}/../../evil", CONTENT)],
        [(f"{FOLDER}/checkpoint.pt", CONTENT)] * 2,
        [(f"{FOLDER}/checkpoint.pt", CONTENT * 2)],
        [(f"{FOLDER}/checkpoint.pt", CONTENT[:-1])],
        [(info(f"{FOLDER}/checkpoint.pt", stat.S_IFLNK), CONTENT)],
        [(info(f"{FOLDER}/checkpoint.pt", compress=zipfile.ZIP_DEFLATED), CONTENT)],
    ],
    ids=["further", "absolute", "upwards", "twice", "larger", "smaller", "link", "deflated"],
)
def test_members_other_than_those_listed_are_refused(tmp_path, members):
    refused(rewritten(tmp_path / "a.zip", members=members))
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_bomb_is_refused_unread(tmp_path):
    bomb = bytes(2**26)
    deflated = (info(f"{FOLDER}/record.json", compress=zipfile.ZIP_DEFLATED), bomb)
    name = {"name": f"{FOLDER}/record.json"}
    path = rewritten(tmp_path / "a.zip", manifest=lambda m: m | {"parts": [m["parts"][0] | name]}, members=[deflated])
    assert path.stat().st_size < 2**17
    assert f"has {2**26} bytes, its manifest says 1024" in refused(path)


def test_a_bomb_that_declares_less_than_it_holds_is_refused(tmp_path):
    path = rewritten(
        tmp_path / "a.zip",
        manifest=lambda m: m | {"parts": [m["parts"][0] | {"name": f"{FOLDER}/record.json"}]},
        members=[(info(f"{FOLDER}/record.json", compress=zipfile.ZIP_DEFLATED), bytes(2**26))],
    )
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 2**26), struct.pack("<I", 1024)))
    assert "damaged" in refused(path)


def test_a_file_with_another_checksum_is_refused_at_the_end(tmp_path):
    path = rewritten(tmp_path / "a.zip", manifest=lambda m: m | {"parts": [m["parts"][0] | {"sha256": "0" * 64}]})
    volume = read(path)
    with pytest.raises(UserError, match="another checksum"):
        restore([(volume, volume.parts[0])], io.BytesIO())


def test_a_disk_that_is_full_is_not_the_volumes_fault(tmp_path):
    class Full(io.BytesIO):
        def write(self, chunk):
            raise OSError(28, "No space left on device")

    volume = read(written(tmp_path / "a.zip"))
    with pytest.raises(OSError, match="No space left"):
        restore([(volume, volume.parts[0])], Full())


def test_a_record_belongs_to_its_folder(runs):
    path = runs.finish(0)
    assert check_record(path.read_bytes(), path.parent.name).key == runs.identity(0).key
    with pytest.raises(ValueError, match="another run"):
        check_record(path.read_bytes(), runs.path(1).parent.name)
    with pytest.raises(ValueError, match="torn"):
        check_record(path.read_bytes()[:-1], path.parent.name)
    with pytest.raises(ValueError, match="decode"):
        check_record(b"\xff", path.parent.name)
