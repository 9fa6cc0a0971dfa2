"""Parts: what is larger than a volume is cut, nothing else, and a manifest that lies is no manifest."""

from pathlib import Path

import pytest

from vitbench.parts import RECORD_LIMIT, SMALLEST, File, Part, Volume, cut

HASH = "0123456789abcdef" * 4
FOLDER = "runs/run_vit-tiny_0123456789ab"


def file_of(name="checkpoint.pt", size=1000, **changes):
    return File(**({"name": f"{FOLDER}/{name}", "size": size, "sha256": HASH} | changes))


def part_of(**changes):
    return Part(**({"file": file_of(), "offset": 0, "length": 1000, "first": 1, "last": 1} | changes))


def volume_of(**changes):
    plain = {"path": Path("x"), "pack": "0123456789ab", "number": 1, "of": 1, "parts": (part_of(),)}
    return Volume(**(plain | changes))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("record.json", "record"),
        ("record.0123456789ab.json", "record"),
        ("weights.safetensors", "weights"),
        ("weights.0123456789ab.safetensors", "weights"),
        ("pictures/epoch-0020.safetensors", "picture"),
        ("pictures/epoch-12345.safetensors", "picture"),
        ("checkpoint.pt", "checkpoint"),
    ],
)
def test_a_file_is_of_a_kind(name, kind):
    assert file_of(name, record=HASH).kind == kind


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "record.json",
        "runs/record.json",
        "runs/../record.json",
        f"{FOLDER}/../record.json",
        f"../{FOLDER}/record.json",
        f"/{FOLDER}/record.json",
        f"{FOLDER}/lock",
        f"{FOLDER}/failed.pt",
        f"{FOLDER}/record.json/",
        f"{FOLDER}/record.json\n",
        f"{FOLDER}\\record.json",
        f"{FOLDER}/record.01.json",
        f"{FOLDER}/pictures",
        f"{FOLDER}/pictures/record.json",
        f"{FOLDER}/pictures/../epoch-0001.safetensors",
        f"{FOLDER}/pictures/epoch-1.safetensors",
        f"{FOLDER}/epoch-0001.safetensors",
        "runs/run_vit/record.json",
        "runs/rün_0123456789ab/record.json",
        f"runs/{'x' * 243}_0123456789ab/record.json",
        7,
    ],
)
def test_no_other_name_is_a_file_of_a_run(name):
    with pytest.raises(ValueError, match="no file of a run"):
        File(name=name, size=1, sha256=HASH)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": -1},
        {"size": 1.5},
        {"size": True},
        {"size": 2**60},
        {"sha256": "0"},
        {"sha256": None},
        {"name": f"{FOLDER}/record.json", "size": RECORD_LIMIT + 1},
        {"name": f"{FOLDER}/weights.safetensors", "record": ""},
        {"name": f"{FOLDER}/pictures/epoch-0001.safetensors", "record": "x"},
        {"name": f"{FOLDER}/pictures/epoch-0001.safetensors", "record": []},
    ],
)
def test_a_file_is_what_it_can_be(changes):
    plain = {"name": f"{FOLDER}/checkpoint.pt", "size": 1, "sha256": HASH}
    with pytest.raises(ValueError, match="has"):
        File(**(plain | changes))


@pytest.mark.parametrize(
    "changes", [{"offset": 1}, {"length": 1001}, {"length": -1}, {"first": 0}, {"first": 2}, {"last": "1"}]
)
def test_a_part_fits_its_file(changes):
    with pytest.raises(ValueError, match="does not fit"):
        part_of(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"pack": "x"},
        {"pack": 1},
        {"number": 2},
        {"number": 0},
        {"of": "1"},
        {"of": 2**49},
        {"parts": (part_of(last=2),)},
    ],
)
def test_a_volume_is_one_of_its_pack(changes):
    with pytest.raises(ValueError, match="it"):
        volume_of(**changes)


def test_a_volume_that_holds_more_than_any_may_is_refused():
    big = file_of(size=2**40)
    parts = tuple(part_of(file=big, offset=n, length=2**29) for n in range(3))
    with pytest.raises(ValueError, match="more than any volume"):
        volume_of(parts=parts)


@pytest.mark.parametrize(
    "sizes", [[], [0], [1], [SMALLEST], [10 * SMALLEST, 5, 3 * SMALLEST], [40_000] * 7, [100] * 500]
)
def test_every_byte_is_in_one_part_and_volumes_follow_each_other(sizes):
    files = [file_of(size=size, sha256=f"{n:064x}") for n, size in enumerate(sizes)]
    volumes = cut(files, SMALLEST)
    for file in files:
        placed = [(n, part) for n, parts in enumerate(volumes, 1) for part in parts if part.file == file]
        ends = [part.offset + part.length for _, part in placed]
        assert [part.offset for _, part in placed] == [0, *ends[:-1]]
        assert ends[-1] == file.size
        assert [n for n, _ in placed] == list(range(placed[0][1].first, placed[0][1].last + 1))
    assert all(sum(part.length for part in parts) < SMALLEST for parts in volumes)


def test_only_what_is_larger_than_a_volume_is_cut():
    sizes = [40_000, 40_000, 30_000, 500_000, 60_000]
    files = [file_of(size=size, sha256=f"{n:064x}") for n, size in enumerate(sizes)]
    parts = [part for volume in cut(files, SMALLEST) for part in volume]
    assert {part.file.size for part in parts if not part.is_whole} == {500_000}
    assert len({part.member for part in parts if not part.is_whole}) == sum(not part.is_whole for part in parts)
