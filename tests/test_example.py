"""The package of docs/example, as if it were installed: its own tests pass, and its README shows its files."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "docs/example"
PROJECT = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]


@pytest.fixture
def installed(tmp_path, distribution, monkeypatch):
    """Its entry points on the path, and its code; returns the environment of a process that sees both."""
    groups = PROJECT["entry-points"]
    text = "".join(
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in lines.items()) for group, lines in groups.items()
    )
    distribution(PROJECT["name"], text, release=PROJECT["version"])
    paths = [str(ROOT), str(tmp_path / "site"), str(EXAMPLE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def test_it_keeps_the_contracts_by_its_own_tests(installed):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_parts.py"]
    done = subprocess.run(command, cwd=EXAMPLE, env=installed, capture_output=True, text=True, check=False)
    assert re.search(r"^\d+ passed in", done.stdout, re.M), done.stdout + done.stderr


def test_the_cases_of_its_readme_are_there(installed, tmp_path):
    (command,) = re.findall(r"^\$ pytest benchmarks (-k .*)$", (EXAMPLE / "README.md").read_text(), re.M)
    code = f"{sys.executable} -m pytest --collect-only -q {ROOT / 'benchmarks'} -p no:cacheprovider {command}"
    done = subprocess.run(code, shell=True, cwd=tmp_path, env=installed, capture_output=True, text=True, check=False)
    assert "test_accuracy[floros2024/4.1/mixer/ce+0.1decov/half_digits]" in done.stdout, done.stdout + done.stderr


def test_its_readme_names_every_file():
    text = (EXAMPLE / "README.md").read_text()
    for path in (*EXAMPLE.glob("vitbench_example/*.py"), *EXAMPLE.glob("tests/test_*.py")):
        assert path.stem == "__init__" or f"{path.relative_to(EXAMPLE)}" in text
