"""A dotted name leads to a file, and importing nothing."""

import sys

import pytest

from vitbench import modules


@pytest.fixture
def site(tmp_path, monkeypatch):
    for name, text in {
        "pkg7/__init__.py": "raise RuntimeError",
        "pkg7/losses.py": "raise RuntimeError",
        "pkg7/deep/more.py": "raise RuntimeError",  # without an __init__.py
        "single7.py": "raise RuntimeError",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "module", "file"),
    [
        ("pkg7", "pkg7", "pkg7/__init__.py"),
        ("pkg7.mine", "pkg7", "pkg7/__init__.py"),
        ("pkg7.losses", "pkg7.losses", "pkg7/losses.py"),
        ("pkg7.losses.mine", "pkg7.losses", "pkg7/losses.py"),
        ("pkg7.losses.mine.deeper", "pkg7.losses", "pkg7/losses.py"),
        ("pkg7.deep.more.mine", "pkg7.deep.more", "pkg7/deep/more.py"),
        ("single7.mine", "single7", "single7.py"),
    ],
)
def test_the_longest_prefix_that_is_a_module_counts(site, name, module, file):
    assert modules.file_of(name) == (module, site / file)
    assert not {"pkg7", "single7", "pkg7.losses"} & set(sys.modules)


def test_a_file_in_the_current_folder_is_found(site, monkeypatch):
    (site / "elsewhere").mkdir()
    (site / "elsewhere" / "here7.py").touch()
    monkeypatch.chdir(site / "elsewhere")
    assert modules.file_of("here7.mine") == ("here7", site / "elsewhere" / "here7.py")


@pytest.mark.parametrize("name", ["nowhere7.mine", "math.sqrt", "sys", "", "."])
def test_what_has_no_python_file_has_none(name):
    assert modules.file_of(name)[1] is None
