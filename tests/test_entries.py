"""What installed packages bring is read from their metadata, as Python's own reader reads it."""

import importlib.metadata
import subprocess
import sys

import pytest

from vitbench import entries
from vitbench.entries import Entry
from vitbench.errors import UserError

THREE = """
[vitbench.terms]
spread = mypkg.losses
hinge = mypkg.losses:Hinge
[console_scripts]
mine = mypkg.cli:main
[vitbench.datasets]
letters = mypkg.data
"""


def test_they_are_those_that_python_reads_with_package_and_release(distribution):
    distribution("My-Pkg", THREE, release="2.5")
    assert [(one.name, one.value, one.package, one.release) for one in entries.brought("terms")] == [
        ("hinge", "mypkg.losses:Hinge", "My-Pkg", "2.5"),
        ("spread", "mypkg.losses", "My-Pkg", "2.5"),
    ]
    for kind, group in entries.GROUPS.items():
        read = importlib.metadata.entry_points(group=group)
        assert {(one.name, one.value) for one in read} == {(one.name, one.value) for one in entries.brought(kind)}
    assert str(entries.brought("datasets")[0]) == "My-Pkg 2.5"
    assert not entries.brought("models")


def test_of_two_releases_on_the_path_the_first_counts(distribution, tmp_path, monkeypatch):
    distribution("mypkg", THREE, release="2.0")
    distribution("mypkg", "[vitbench.terms]\nold = mypkg.old\n", release="1.0", site="behind")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "behind")])
    assert {one.name for one in entries.brought("terms")} == {"hinge", "spread"}
    monkeypatch.setattr(sys, "path", [str(tmp_path / "behind"), *sys.path])
    assert {one.name for one in entries.brought("terms")} == {"old"}


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ("mypkg.losses", ("mypkg.losses", "build")),
        ("mypkg", ("mypkg", "build")),
        ("mypkg.losses:Hinge", ("mypkg.losses", "Hinge")),
        ("mypkg.losses : Hinge", ("mypkg.losses", "Hinge")),
    ],
)
def test_a_line_names_a_module_or_something_in_it(value, target):
    assert Entry("terms", "spread", value, "mypkg", "1.0").target == target


@pytest.mark.parametrize("value", ["", "mypkg.losses:Hinge.inner", "mypkg losses", "mypkg.losses:", "mypkg [extra]"])
def test_a_line_of_another_form_is_named_with_its_package(value):
    with pytest.raises(UserError) as refused:
        _ = Entry("terms", "spread", value, "mypkg", "1.0").target
    assert str(refused.value) == (
        "entry point 'spread' of vitbench.terms in mypkg 1.0: expected `module` or `module:function`, "
        f"got {value!r}; mend it there"
    )


@pytest.mark.parametrize("name", ["my-term", "my term", "9th", "lambda", "a.b", "mixer/tiny", "spr\u00e9ad", ""])
def test_a_name_that_the_notation_cannot_write_is_refused(name):
    with pytest.raises(UserError, match=r"of vitbench\.terms in mypkg 1\.0: the name has to be one of Python's"):
        _ = Entry("terms", name, "mypkg.losses", "mypkg", "1.0").target


def test_a_package_that_cannot_be_read_is_named_and_the_others_are_there(distribution, tmp_path):
    distribution("broken", "[vitbench.terms]\nno equals sign\n")
    distribution("nameless", THREE, metadata="Metadata-Version: 2.1\n")
    distribution("mypkg", THREE)
    assert {one.package for one in entries.brought("terms")} == {"mypkg"}
    problems = entries.unreadable()
    assert len(problems) == 2
    for name in ("broken", "nameless"):
        (line,) = (one for one in problems if f"{name}-1.0.dist-info" in one)
        assert "its entry points cannot be read: " in line
        assert line.endswith("; reinstall it, or uninstall it")
        assert line.isprintable()


def test_reading_them_imports_neither_them_nor_torch(distribution, package, tmp_path):
    name = package("losses.py", "raise RuntimeError('imported')\n")
    distribution("mypkg", f"[vitbench.terms]\nspread = {name}.losses\n")
    code = "import sys; from vitbench import entries; print(entries.brought('terms')[0].name, 'torch' in sys.modules)"
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); {code}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "spread False\n"
