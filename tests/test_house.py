"""The rules of the house, kept by machine: who imports whom, what stands where, what no file may hold."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import PIL
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "vitbench"
MODULES = {
    ".".join(("vitbench", *path.relative_to(PACKAGE).with_suffix("").parts)): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem != "__init__"
}
HEAVY = {"torch", "torchvision", "timm", "fvcore", "sklearn", "safetensors"}
LEAVES = {name: path for name, path in MODULES.items() if name.split(".")[1] in ("models", "terms", "datasets")}
# Everything below these may import torch; nothing else may, not even late.
WITH_TORCH = {
    *("adapter", "augment", "augmentations", "build", "checkpoints", "contracts", "cost", "meta"),
    *("embedded", "engine", "examine", "feed", "learner", "optimizer", "photographs", "pretrained", "probe", "run"),
    *("total", "train", "views", "weights"),
    *("models", "terms", "datasets", "measure", "sources"),
}
# Reads the pictures that a run left, as numpy arrays, where there are some.
LATE_SAFETENSORS = {"vitbench.pictures"}
# Looks for a GPU and its name only when one is asked for.
LATE_TORCH = {
    *("vitbench.plugin", "vitbench.cli", "vitbench.doctor", "vitbench.machine", "vitbench.options"),
    *("vitbench.arguments", "vitbench.campaign_command"),
}
# The plugin and its parts.
PYTEST = {"vitbench.plugin", "vitbench.division", "vitbench.bench", "vitbench.ending"}
# What a leaf may know of us.
FOR_LEAVES = {
    *("vitbench.contracts", "vitbench.errors", "vitbench.adapter", "vitbench.archives"),
    *("vitbench.folders", "vitbench.photographs"),
    *(name for name in MODULES if name.startswith("vitbench.sources.")),
}


@cache
def imports(path, *, late=True):
    """Dotted names that a file imports; without late ones, only those that importing it runs."""
    tree = ast.parse(path.read_text())
    late_nodes = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if not late and node in late_nodes:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def tops(names):
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[1] not in WITH_TORCH])
def test_what_reports_compares_and_collects_never_imports_torch(name):
    assert not HEAVY & tops(imports(MODULES[name], late=name not in LATE_TORCH | LATE_SAFETENSORS))
    assert not (HEAVY - {"safetensors"}) & tops(imports(MODULES[name], late=name not in LATE_TORCH))


def test_nothing_draws_with_matplotlib():
    assert not [name for name, path in MODULES.items() if "matplotlib" in tops(imports(path))]


@pytest.mark.parametrize("name", LEAVES)
def test_leaves_know_neither_each_other_nor_the_rest(name):
    ours = {one for one in imports(LEAVES[name]) if one.startswith("vitbench.")}
    modules = {one if one in MODULES else one.rpartition(".")[0] for one in ours}
    assert modules <= FOR_LEAVES | {"vitbench"}


@pytest.mark.parametrize(
    "name",
    [name for name in MODULES if name.split(".")[1] in ("train", "engine", "learner", "optimizer", "total", "measure")],
)
def test_training_and_measuring_know_no_leaf_no_paper_and_no_record(name):
    known = imports(MODULES[name])
    assert not any(one.startswith(("vitbench.models", "vitbench.terms", "vitbench.datasets")) for one in known)
    assert not {"vitbench.papers", "vitbench.records", "vitbench.leaves", "vitbench.session"} & known


@pytest.mark.parametrize("name", [name for name in MODULES if name not in PYTEST])
def test_only_the_plugin_knows_pytest(name):
    assert not {"pytest", "_pytest"} & tops(imports(MODULES[name]))


def test_nothing_imports_upwards():
    top = {"vitbench.plugin", "vitbench.cli"}
    for name, path in MODULES.items():
        if name not in (*top, "vitbench.__main__"):
            assert not top & imports(path), name


def test_no_two_modules_import_each_other():
    graph = {name: {one for one in imports(path, late=False) if one in MODULES} for name, path in MODULES.items()}
    graph = {
        name: known | {k for k in MODULES if k in imports(MODULES[name], late=False)} for name, known in graph.items()
    }

    def reaches(start, goal, seen):
        return any(one == goal or (one not in seen and reaches(one, goal, seen | {one})) for one in graph[start] - seen)

    assert not [name for name in graph if reaches(name, name, set())]


def test_every_init_is_empty():
    assert not [path for path in PACKAGE.rglob("__init__.py") if path.read_text()]


def test_no_module_is_called_utils_or_the_like():
    assert not {"utils", "util", "helpers", "common", "misc", "base", "manager"} & {
        path.stem for path in MODULES.values()
    }


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_every_module_has_its_test_file(name):
    parts = name.split(".")[1:]
    assert ROOT.joinpath("tests", *parts[:-1], f"test_{parts[-1]}.py").exists()


@pytest.mark.parametrize("path", [*MODULES.values()], ids=str)
def test_modules_stay_small_enough_to_be_seen(path):
    assert len(path.read_text().splitlines()) <= 360


@pytest.mark.parametrize("path", [*MODULES.values()], ids=str)
def test_functions_stay_small_enough_to_be_seen(path):
    lengths = {
        node.name: node.end_lineno - node.lineno + 1 - len((ast.get_docstring(node, clean=False) or "").splitlines())
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    # A list of options is one thing however long it is.
    assert not {name: n for name, n in lengths.items() if n > 40 and name not in ("_parser", "pytest_addoption")}


def test_options_are_those_that_were_agreed(pytester):
    result = pytester.runpytest_inprocess("-p", "vitbench.plugin", "--help")
    section = result.stdout.str().partition("benchmarks of vision transformers")[2].split("\n\n")[0]
    assert sorted(set(re.findall(r"^  (--[a-z-]+)", section, re.M))) == [
        "--all-rows",
        "--budget",
        "--data",
        "--dataset",
        "--download",
        "--engine",
        "--fail-on-missing",
        "--fresh",
        "--gpu",
        "--image-size",
        "--machine",
        "--micro-batch",
        "--model",
        "--objective",
        "--precision",
        "--reason",
        "--recorded",
        "--report",
        "--runs",
        "--seeds",
        "--shard",
        "--time-limit",
        "--update-baselines",
        "--weights",
    ]


def test_the_entry_point_and_the_bare_checkout_register_one_plugin():
    import tomllib

    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert entry == {"vitbench.plugin": "vitbench.plugin"}
    assert '"vitbench.plugin"' in (ROOT / "conftest.py").read_text()


def test_the_wheel_lists_every_package():
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    ours = {".".join(("vitbench", *path.parent.relative_to(PACKAGE).parts)) for path in PACKAGE.rglob("__init__.py")}
    assert ours | {"vitbench.data", "vitbench.benchmarks"} == set(listed)


def test_reports_are_what_they_would_be_if_rendered_again(tmp_path):
    command = [sys.executable, "-m", "vitbench", "report", "--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    new, old = (
        {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        for folder in (tmp_path, ROOT / "reports")
    )
    for path in new.keys() & old.keys():
        # Another Pillow may write the same otherwise; its version stands in each file.
        if path.suffix in (".md", ".svg") or f"Pillow {PIL.__version__}".encode() in old[path]:
            assert new[path] == old[path], f"run `vitbench report` for {path}"
    assert new.keys() == old.keys()
