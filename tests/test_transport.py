"""`vitbench pack` and `vitbench merge` as their users see them: lines, exit codes, one line for each mistake."""

import os

import pytest

from vitbench import atomic
from vitbench.cli import main


def run_cli(capsys, *arguments):
    """Exit code and both streams of a command."""
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_results_leave_and_arrive(capsys, tmp_path, runs, elsewhere):
    runs.finish(0)
    runs.put(1, "checkpoint.pt", os.urandom(100_000))
    out = tmp_path / "out"
    code, told, err = run_cli(capsys, "pack", str(out), "--runs", str(runs.root), "--checkpoints", "--limit", "0.0625")
    assert (code, err) == (0, "")
    assert [line.split(": ")[0] for line in told.splitlines()] == sorted(map(str, out.iterdir()))
    assert max(path.stat().st_size for path in out.iterdir()) <= 2**16
    code, told, err = run_cli(capsys, "merge", str(out), "--runs", str(elsewhere.root))
    assert (code, err) == (0, "")
    assert told == "2 new, 0 already there, 0 kept beside, 0 left out, 0 incomplete\n"
    assert elsewhere.content() == runs.content()
    code, told, _ = run_cli(capsys, "merge", *map(str, out.iterdir()), "--runs", str(elsewhere.root))
    assert (code, told) == (0, "0 new, 2 already there, 0 kept beside, 0 left out, 0 incomplete\n")


def test_pack_says_what_stays(capsys, tmp_path, runs):
    runs.finish(0)
    runs.put(1, "checkpoint.pt", b"c")
    code, told, _ = run_cli(capsys, "pack", str(tmp_path / "out"), "--runs", str(runs.root))
    assert code == 0
    assert "1 unfinished run; --checkpoints" in told
    runs.put(2, "record.json", b"{")
    code, _, err = run_cli(capsys, "pack", str(tmp_path / "out"), "--runs", str(runs.root))
    assert code == 2
    assert err.count("\n") == 1
    assert str(runs.path(2)) in err


@pytest.mark.parametrize("arguments", [[], ["--limit", "0.001"], ["--limit", "nan"]])
def test_pack_of_nothing_or_into_nothing_is_one_line(capsys, tmp_path, runs, arguments):
    if arguments:
        runs.finish(0)
    code, _, err = run_cli(capsys, "pack", str(tmp_path / "out"), "--runs", str(runs.root), *arguments)
    assert code == 2
    assert err.count("\n") == 1
    assert ("--limit: expected" if arguments else f"pytest benchmarks --runs {runs.root}") in err


def test_merge_of_a_missing_volume_names_it_and_fails(capsys, tmp_path, runs, elsewhere):
    runs.finish(0)
    runs.put(1, "checkpoint.pt", os.urandom(100_000))
    run_cli(capsys, "pack", str(tmp_path), "--runs", str(runs.root), "--checkpoints", "--limit", "0.0625")
    first, second = sorted(tmp_path.glob("*.zip"))
    second.unlink()
    code, told, err = run_cli(capsys, "merge", str(first), "--runs", str(elsewhere.root))
    assert code == 2
    assert second.name in err
    assert err.count("\n") == 1
    assert told.endswith("1 new, 0 already there, 0 kept beside, 0 left out, 1 incomplete\n")


def test_merge_of_other_files_is_one_line_each(capsys, tmp_path):
    (tmp_path / "a.zip").write_text("no zip")
    (tmp_path / "b.zip").write_bytes(b"")
    names = [str(tmp_path / name) for name in ("a.zip", "b.zip", "absent.zip")]
    code, _, err = run_cli(capsys, "merge", *names, "--runs", str(tmp_path / "runs"))
    assert code == 2
    assert [line.split(": ")[1] for line in err.splitlines()] == names
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["pack", "merge"])
def test_transport_to_a_file_where_a_folder_belongs_is_one_line(capsys, tmp_path, runs, command):
    runs.finish(0)
    run_cli(capsys, "pack", str(tmp_path / "out"), "--runs", str(runs.root))
    (tmp_path / "file").write_text("")
    places = {"pack": ("file", "runs"), "merge": ("out", "file")}[command]
    code, _, err = run_cli(capsys, command, str(tmp_path / places[0]), "--runs", str(tmp_path / places[1]))
    assert code == 2
    assert err.count("\n") == 1
    assert str(tmp_path / "file") in err


def test_a_disk_that_fills_up_is_one_line_and_merging_again_completes(capsys, tmp_path, runs, elsewhere, monkeypatch):
    runs.finish(0)
    runs.finish(1)
    run_cli(capsys, "pack", str(tmp_path / "out"), "--runs", str(runs.root))
    arguments = ("merge", str(tmp_path / "out"), "--runs", str(elsewhere.root))
    fsync, full = os.fsync, iter([False, True])

    def flush(handle):
        if next(full):
            raise OSError(28, "No space left on device")
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", flush)
        patch.setattr(atomic, "_flush_folder", lambda folder: None)
        code, told, err = run_cli(capsys, *arguments)
    assert code == 12
    assert err.count("\n") == 1
    assert told.startswith("1 new")
    assert run_cli(capsys, *arguments)[1].startswith("1 new, 1 already there")
    assert elsewhere.content() == runs.content()
