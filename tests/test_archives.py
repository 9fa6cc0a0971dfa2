"""Archives: what is damaged, missing, unsafe or interrupted is named in one line and never used."""

import gzip
import hashlib
import io
import os
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vitbench import archives
from vitbench.errors import DataAbsent, DataBroken

FILES = {"one": b"first file", "two": b"second file " * 5000}


def pack(path, members):
    """A tar.gz of (name, content) pairs, or of ready TarInfo objects."""
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def checksum(content):
    return hashlib.md5(content).hexdigest()


def whole(path):
    return pack(path, [(f"toy/{name}", content) for name, content in FILES.items()])


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return whole(tmp_path_factory.mktemp("published") / "toy.tar.gz")


@pytest.fixture
def toy(original):
    return archives.Archive(
        dataset="toy",
        url="https://example.invalid/toy.tar.gz",
        filename="toy.tar.gz",
        md5=checksum(original.read_bytes()),
        folder="toy",
        files={name: checksum(content) for name, content in FILES.items()},
    )


def copied(original, root):
    (root / "toy.tar.gz").write_bytes(original.read_bytes())
    return root


def unpacked(root):
    (root / "toy").mkdir()
    for name, content in FILES.items():
        (root / "toy" / name).write_bytes(content)
    return root


def message(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def listing(root):
    return {path.relative_to(root): path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}


def test_the_checksum_is_the_md5_that_rfc_1321_prints(tmp_path):
    (tmp_path / "text").write_bytes(b"message digest")
    assert archives.md5(tmp_path / "text") == "f96b697d7cb7938d525a2f31aaf161d0"


def test_an_archive_beside_the_folder_is_unpacked_byte_for_byte(toy, original, tmp_path):
    folder = archives.ensure(toy, copied(original, tmp_path))
    assert folder == tmp_path / "toy"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_unpacking_leaves_no_staging_folder(toy, original, tmp_path):
    archives.ensure(toy, copied(original, tmp_path))
    assert {path.name for path in tmp_path.iterdir()} <= {"toy", "toy.tar.gz", ".toy.tar.gz.lock"}


def test_reading_what_is_unpacked_writes_nothing(toy, tmp_path):
    before = listing(unpacked(tmp_path))
    archives.ensure(toy, tmp_path)
    assert listing(tmp_path) == before


def test_a_home_folder_is_understood(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(unpacked(tmp_path)))
    assert archives.ensure(toy, Path("~")) == tmp_path / "toy"


def test_without_a_data_folder_the_error_names_the_options(toy):
    with pytest.raises(DataAbsent) as error:
        archives.ensure(toy, None)
    text = message(error)
    assert all(part in text for part in ("--download", "--data DIR", "VITBENCH_DATA", "toy/", "toy.tar.gz"))


def test_an_absent_folder_is_named_and_not_created(toy, tmp_path):
    with pytest.raises(DataAbsent) as error:
        archives.ensure(toy, tmp_path / "nowhere")
    assert str(tmp_path / "nowhere" / "toy") in message(error)
    assert "--download" in message(error)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["", "toy"], ids=["data folder", "folder"])
@pytest.mark.parametrize("fetch", [None, lambda *given: pytest.fail("fetched")])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.touch(), "is a file, not a folder"),
        (lambda path: path.symlink_to(path), "is a link that leads to no folder"),
        (lambda path: path.symlink_to("nowhere"), "is a link that leads to no folder"),
    ],
    ids=["file", "circle", "dangling"],
)
def test_what_stands_in_place_of_a_folder_is_said(toy, tmp_path, name, fetch, make, reason):
    path = tmp_path / "data" / name if name else tmp_path / "data"
    path.parent.mkdir(exist_ok=True)
    make(path)
    with pytest.raises(DataBroken) as error:
        archives.ensure(toy, tmp_path / "data", fetch=fetch)
    assert f"toy: {path} {reason}; " in message(error)


def test_a_folder_that_nobody_may_look_into_is_said(toy, tmp_path, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(DataBroken, match=rf"toy: {tmp_path} cannot be read \(Permission denied\); "):
        archives.ensure(toy, tmp_path)


def test_a_folder_that_another_process_makes_meanwhile_is_no_file(toy, tmp_path, monkeypatch):
    look = Path.stat

    def late(path, **options):
        try:
            return look(path, **options)
        finally:
            if path == tmp_path / "toy":
                monkeypatch.setattr(Path, "stat", look)
                unpacked(tmp_path)

    monkeypatch.setattr(Path, "stat", late)
    assert archives.ensure(toy, tmp_path, fetch=lambda *given: pytest.fail("fetched")) == tmp_path / "toy"


def test_a_missing_file_is_named(toy, tmp_path):
    (unpacked(tmp_path) / "toy" / "two").unlink()
    with pytest.raises(DataBroken) as error:
        archives.ensure(toy, tmp_path)
    assert f"{tmp_path / 'toy' / 'two'} is missing" in message(error)


@pytest.mark.parametrize("damage", [FILES["two"][:-1], FILES["two"].replace(b"s", b"S", 1), b""])
def test_a_truncated_or_changed_file_is_named_with_both_checksums(toy, tmp_path, damage):
    path = unpacked(tmp_path) / "toy" / "two"
    path.write_bytes(damage)
    with pytest.raises(DataBroken) as error:
        archives.ensure(toy, tmp_path)
    text = message(error)
    assert all(part in text for part in (f"{path} ", toy.files["two"], checksum(damage), f"{len(damage)} bytes"))


def test_a_file_that_cannot_be_read_is_named_without_a_traceback_of_the_system(toy, tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(archives, "md5", refuse)
    with pytest.raises(DataBroken, match="one cannot be read"):
        archives.ensure(toy, unpacked(tmp_path))


@pytest.mark.parametrize("damage", [lambda data: data[:-10], lambda data: data[:10], lambda data: data + b"0"])
def test_a_damaged_archive_is_named_and_not_unpacked(toy, original, tmp_path, damage):
    packed = tmp_path / "toy.tar.gz"
    packed.write_bytes(damage(original.read_bytes()))
    with pytest.raises(DataBroken) as error:
        archives.ensure(toy, tmp_path)
    assert str(packed) in message(error)
    assert toy.md5 in message(error)
    assert not (tmp_path / "toy").exists()


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


UNSAFE = {
    "above": [("toy/one", b"fine"), ("../escaped", b"x")],
    "above-from-within": [("toy/one", b"fine"), ("toy/../../escaped", b"x")],
    "absolute": [("toy/one", b"fine"), ("/tmp/vitbench-escaped", b"x")],
    "symlink-outside": [("toy/one", b"fine"), link("toy/out", "../..", tarfile.SYMTYPE)],
    "symlink-absolute": [("toy/one", b"fine"), link("toy/out", "/etc", tarfile.SYMTYPE)],
    "through-a-symlink": [link("toy/out", "../..", tarfile.SYMTYPE), ("toy/out/escaped", b"x")],
    "symlink-within": [("toy/one", b"fine"), link("toy/again", "one", tarfile.SYMTYPE)],
    "hard-link-outside": [("toy/one", b"fine"), link("toy/out", "../../secret", tarfile.LNKTYPE)],
    "device": [("toy/one", b"fine"), link("toy/device", "", tarfile.CHRTYPE)],
}


@pytest.mark.parametrize("members", UNSAFE.values(), ids=UNSAFE.keys())
def test_an_unsafe_member_is_refused_before_anything_is_written(toy, tmp_path, members):
    root = tmp_path / "deep" / "data"
    root.mkdir(parents=True)
    packed = pack(root / "toy.tar.gz", members)
    before = listing(tmp_path)
    with pytest.raises(DataBroken) as error:
        archives.unpack(packed, root / "toy", dataset="toy")
    assert str(packed) in message(error)
    assert "unsafe member" in message(error)
    # Times of the folder itself may move, names may not.
    assert listing(tmp_path).keys() == before.keys()
    assert not Path("/tmp/vitbench-escaped").exists()


def test_an_unsafe_archive_is_refused_with_the_right_checksum_too(toy, tmp_path):
    packed = pack(tmp_path / "toy.tar.gz", UNSAFE["above"])
    evil = archives.Archive(**{**vars(toy), "md5": checksum(packed.read_bytes())})
    with pytest.raises(DataBroken, match="unsafe member"):
        archives.ensure(evil, tmp_path)
    assert not (tmp_path / "toy").exists()


def test_an_archive_of_something_else_is_refused(tmp_path):
    packed = pack(tmp_path / "toy.tar.gz", [("other/one", b"x")])
    with pytest.raises(DataBroken, match="holds no folder toy"):
        archives.unpack(packed, tmp_path / "toy", dataset="toy")
    assert [path.name for path in tmp_path.iterdir()] == ["toy.tar.gz"]


@pytest.mark.parametrize("kept", [0, 15, 0.5, 0.8])
def test_a_stream_that_ends_early_is_refused_whole(original, tmp_path, kept):
    data = original.read_bytes()
    packed = tmp_path / "toy.tar.gz"
    packed.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(DataBroken) as error:
        archives.unpack(packed, tmp_path / "toy", dataset="toy")
    assert str(packed) in message(error)
    assert [path.name for path in tmp_path.iterdir()] == ["toy.tar.gz"]


def test_a_flipped_bit_inside_the_compressed_stream_is_refused(original, tmp_path):
    content = bytearray(gzip.decompress(original.read_bytes()))
    packed = tmp_path / "toy.tar.gz"
    stream = bytearray(gzip.compress(bytes(content), mtime=0))
    stream[len(stream) // 2] ^= 0xFF
    packed.write_bytes(bytes(stream))
    with pytest.raises(DataBroken, match="nothing of it was kept"):
        archives.unpack(packed, tmp_path / "toy", dataset="toy")
    assert not (tmp_path / "toy").exists()


def test_an_interrupted_unpacking_leaves_nothing_and_the_next_run_is_complete(toy, original, tmp_path, monkeypatch):
    def interrupted(tar, path, **_):
        (Path(path) / "toy").mkdir(parents=True)
        (Path(path) / "toy" / "one").write_bytes(FILES["one"])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extractall", interrupted)
        with pytest.raises(KeyboardInterrupt):
            archives.ensure(toy, copied(original, tmp_path))
    assert not (tmp_path / "toy").exists()
    assert len(list(archives.ensure(toy, tmp_path).iterdir())) == len(FILES)


def test_what_a_killed_run_left_is_swept_away_and_not_used(toy, original, tmp_path):
    half = tmp_path / ".toy.unpacking" / "toy"
    half.mkdir(parents=True)
    (half / "one").write_bytes(b"half")
    (half / "stray").write_bytes(b"left over")
    (tmp_path / "toy.tar.gz.part").write_bytes(b"half a download")
    folder = archives.ensure(toy, copied(original, tmp_path))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert not (tmp_path / ".toy.unpacking").exists()


def fetching(original, calls):
    def fetch(url, root, filename, md5):
        calls.append((url, md5))
        (Path(root) / filename).write_bytes(original.read_bytes())

    return fetch


def test_a_download_goes_to_a_new_folder_and_is_unpacked(toy, original, tmp_path):
    calls = []
    folder = archives.ensure(toy, tmp_path / "new" / "data", fetch=fetching(original, calls))
    assert calls == [(toy.url, toy.md5)]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_what_is_there_is_not_fetched_again(toy, original, tmp_path):
    calls = []
    archives.ensure(toy, copied(original, tmp_path), fetch=fetching(original, calls))
    archives.ensure(toy, tmp_path, fetch=fetching(original, calls))
    assert calls == []


def test_a_damaged_archive_is_replaced_when_downloading_is_allowed(toy, original, tmp_path):
    (tmp_path / "toy.tar.gz").write_bytes(b"damaged")
    calls = []
    archives.ensure(toy, tmp_path, fetch=fetching(original, calls))
    assert len(calls) == 1
    assert (tmp_path / "toy.tar.gz").read_bytes() == original.read_bytes()


@pytest.mark.parametrize(
    "failure",
    [
        OSError("<urlopen error no route\nto host>"),
        RuntimeError("File not found or corrupted."),
        archives.http.client.BadStatusLine("junk"),
        ConnectionResetError(),
    ],
)
def test_a_failed_download_is_one_line_with_the_address_and_keeps_nothing(toy, tmp_path, failure):
    def fail(url, root, filename, md5):
        (Path(root) / filename).write_bytes(b"half")
        raise failure

    with pytest.raises(DataAbsent) as error:
        archives.ensure(toy, tmp_path, fetch=fail)
    assert toy.url in message(error)
    assert "could not be fetched" in message(error)
    assert not (tmp_path / "toy.tar.gz").exists()
    assert not (tmp_path / "toy").exists()


def test_an_interrupted_download_is_never_taken_for_the_archive(toy, original, tmp_path):
    def killed(url, root, filename, md5):
        (Path(root) / filename).write_bytes(original.read_bytes()[:50])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archives.ensure(toy, tmp_path, fetch=killed)
    assert not (tmp_path / "toy.tar.gz").exists()
    with pytest.raises(DataAbsent):
        archives.ensure(toy, tmp_path)


def test_a_folder_that_cannot_be_written_is_one_line(toy, original, tmp_path):
    file_in_the_way = tmp_path / "file"
    file_in_the_way.write_bytes(b"")
    with pytest.raises(DataAbsent) as error:
        archives.ensure(toy, file_in_the_way / "data", fetch=fetching(original, []))
    assert "cannot write into" in message(error)


def test_a_full_disk_is_one_line_and_leaves_no_folder(toy, original, tmp_path, monkeypatch):
    def full(tar, path, **_):
        (Path(path) / "toy").mkdir(parents=True)
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(DataAbsent) as error:
        archives.ensure(toy, copied(original, tmp_path))
    assert os.strerror(28) in message(error)
    assert not (tmp_path / "toy").exists()


def test_many_at_once_fetch_and_unpack_once(toy, original, tmp_path):
    calls, together = [], threading.Barrier(4)
    fetch = fetching(original, calls)

    def work(_):
        together.wait(timeout=30)
        return archives.ensure(toy, tmp_path, fetch=fetch)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(4))) == {tmp_path / "toy"}
    assert len(calls) == 1


@pytest.fixture
def single():
    return archives.File(
        dataset="toy", url="https://example.invalid/one.mat", filename="toy/one.mat", md5=checksum(FILES["one"])
    )


def test_single_files_are_checked_and_their_folder_comes_back(single, tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/one.mat").write_bytes(FILES["one"])
    assert archives.ensure_files([single], tmp_path) == tmp_path
    assert [one.name for one in (tmp_path / "toy").iterdir()] == ["one.mat"]  # no lock is left by reading
    (tmp_path / "toy/one.mat").write_bytes(b"other")
    with pytest.raises(DataBroken) as error:
        archives.ensure_files([single], tmp_path)
    assert f"{tmp_path / 'toy/one.mat'} is damaged or truncated (5 bytes)" in message(error)


def test_a_single_file_that_is_not_there_is_named(single, tmp_path):
    for root, part in ((None, "no data folder is named"), (tmp_path, f"{tmp_path / 'toy/one.mat'} does not exist")):
        with pytest.raises(DataAbsent) as error:
            archives.ensure_files([single], root)
        assert part in message(error)
        assert "names a folder that holds toy/one.mat" in message(error)


@pytest.mark.parametrize("before", [None, b"damaged"])
def test_a_single_file_is_fetched_where_it_is_not_there_or_damaged(single, tmp_path, before):
    calls = []

    def fetch(url, root, filename, md5):
        calls.append((url, md5))
        (Path(root) / filename).write_bytes(FILES["one"])

    if before is not None:
        (tmp_path / "toy").mkdir()
        (tmp_path / "toy/one.mat").write_bytes(before)
    for _ in range(2):
        archives.ensure_files([single], tmp_path, fetch=fetch)
    assert calls == [(single.url, single.md5)]
    assert (tmp_path / "toy/one.mat").read_bytes() == FILES["one"]


def test_a_single_file_that_cannot_be_written_or_fetched_is_one_line(single, tmp_path):
    def fail(url, root, filename, md5):
        raise RuntimeError("File not found or corrupted.")

    with pytest.raises(DataAbsent) as error:
        archives.ensure_files([single], tmp_path, fetch=fail)
    assert "could not be fetched" in message(error)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataAbsent) as error:
        archives.ensure_files([single], tmp_path / "file", fetch=fail)
    assert "cannot write into" in message(error)
