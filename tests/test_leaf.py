"""What the source of a model, a term or a data set says, read without importing it, and its code when it is needed."""

import hashlib
import inspect

import pytest

from vitbench import leaves
from vitbench.errors import DataAbsent, UserError
from vitbench.leaf import SINGULAR

RAISES = "raise RuntimeError('imported')\n"


def leaf_of(package, text, reference="losses", kind="terms"):
    return leaves.find(kind, f"{package('losses.py', text)}.{reference}")


BUILD = "def build(shape): ...\n"


def test_a_file_says_its_version(package):
    assert leaf_of(package, f"VERSION = 12\n{BUILD}").version == "12"


def test_without_a_version_it_is_the_digest_of_the_text(package):
    leaf = leaf_of(package, BUILD)
    assert leaf.version == "sha256:" + hashlib.sha256(BUILD.encode()).hexdigest()[:16]


def test_constants_are_the_literals_in_capitals(package):
    text = "A = 1\nB: dict[str, int] = {'x': 2}\nlower = 3\nC = len('x')\nD = {[]: 1}\nE: int\nA, F = 1, 2\nG = -1.5\n"
    assert leaf_of(package, text + BUILD).constants == {"A": 1, "B": {"x": 2}, "G": -1.5}


def test_a_constant_that_is_needed_and_not_there_is_one_line(package):
    leaf = leaf_of(package, f"CLASSES = 10\n{BUILD}", kind="datasets")
    assert leaf.constant("CLASSES") == 10
    with pytest.raises(UserError, match=r"losses.py: the data set '.*losses' needs a line `DIGEST = …`"):
        leaf.constant("DIGEST")


@pytest.mark.parametrize(
    ("kind", "line", "expected"),
    [
        ("datasets", "CLASSES = '10'", "a whole number from 1 up"),
        ("datasets", "CLASSES = True", "a whole number from 1 up"),
        ("datasets", "CLASSES = 0", "a whole number from 1 up"),
        ("datasets", "IMAGE_SIZE = 32.0", "a whole number from 1 up"),
        ("datasets", "DIGEST = 7", "a string that is not empty"),
        ("datasets", "DIGEST = ''", "a string that is not empty"),
        ("terms", "VERSIONS = '2'", "a whole number from 1 up"),
        ("terms", "TINY = 8", "a dict of arguments"),
        ("terms", "TINY = {'pairs': None}", "a dict of arguments"),
        ("terms", "TINY = {1: 2}", "a dict of arguments"),
        ("models", "VARIANTS = 'tiny'", "a dict or a list of strings"),
        ("models", "VARIANTS = 3", "a dict or a list of strings"),
        ("models", "VARIANTS = [1, 2]", "a dict or a list of strings"),
    ],
)
def test_a_constant_of_another_form_names_its_file(package, kind, line, expected):
    leaf = leaf_of(package, f"{line}\n{BUILD}", kind=kind)
    name, _, value = line.partition(" = ")
    with pytest.raises(UserError) as refused:
        leaf.constant(name, None)
    assert str(refused.value).startswith(f"{leaf.path}: the {SINGULAR[kind]} '{leaf.name}' sets {name} to ")
    assert f"it must be {expected}" in str(refused.value)
    assert value in str(refused.value)


def test_a_constant_that_can_be_left_out_has_a_default(package):
    assert leaf_of(package, BUILD).constant("TINY", {}) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RAISES, "fails when imported: line 1, RuntimeError: imported; a term is `build(shape, "),
        ("import module_that_is_not_installed\n", "line 1, ModuleNotFoundError: No module named"),
        ("import sys\nsys.exit('no\\ngpu')\n", "line 2, SystemExit: no gpu; "),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(package, text, message):
    leaf = leaf_of(package, f"{text}{BUILD}")
    with pytest.raises(UserError) as refused:
        leaf.load()
    assert str(refused.value).startswith(f"{leaf.path}: the term '{leaf.name}' fails when imported: ")
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


def test_what_somebodys_code_says_itself_stays_as_it_says_it(package):
    leaf = leaf_of(package, BUILD)
    with pytest.raises(DataAbsent, match=r"^nothing here$"), leaf.answering("when built"):
        raise DataAbsent("nothing here")


@pytest.mark.parametrize("text", ["(" * 5000 + ")" * 5000, "X = " + "-" * 50_000 + "1"])
def test_code_that_is_nested_too_deep_is_one_line(package, text):
    with pytest.raises(UserError, match=r"losses.py.*: cannot be read as Python: "):
        leaf_of(package, f"{text}\n{BUILD}")


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        (
            "def build(shape, a, margin=-1.5, *, b, pairs=32, kind='x', on=True, no=None, far=LATER, root=1): ...",
            "losses",
        ),
        ("class Mine:\n  def __init__(self, shape=0, margin=-1.5, pairs=32, kind='x', on=True): ...", "losses.Mine"),
        ("def build(shape, /, margin=-1.5, pairs=32, kind='x', on=True, **more): ...", "losses"),
    ],
)
def test_the_defaults_are_those_that_the_notation_can_write(package, text, reference):
    leaf = leaf_of(package, f"{text}\n", reference)
    assert leaf.defaults == {"kind": "x", "margin": -1.5, "on": True, "pairs": 32}


@pytest.mark.parametrize("name", ["drloc", "me", "ce"])
def test_the_defaults_of_our_terms_are_those_of_python(name):
    leaf = leaves.find("terms", name)
    signature = inspect.signature(leaf.load()).parameters.values()
    assert leaf.defaults == {one.name: one.default for one in signature if one.default is not one.empty}


def test_where_there_is_no_signature_there_are_no_defaults(package):
    assert leaf_of(package, "class Mine(dict):\n  pass\n", "losses.Mine").defaults == {}


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("def build(shape, *, margin=1.0, pairs=32): ...\n", "losses"),
        ("def mine(shape, margin=1.0, pairs=32): ...\n", "losses.mine"),
        ("class Mine:\n  def __init__(self, shape, margin=1.0, *, pairs=32): ...\n", "losses.Mine"),
    ],
)
def test_only_arguments_that_it_takes_can_be_given(package, text, reference):
    leaf = leaf_of(package, text, reference)
    leaf.check_arguments({"margin", "pairs"})
    with pytest.raises(
        UserError, match=r"^a.toml:3: unknown argument of .* 'pears'; did you mean pairs\? known: margin"
    ):
        leaf.check_arguments({"pears"}, where="a.toml:3")


@pytest.mark.parametrize("argument", ["shape", "self", "generator"])
def test_what_a_run_hands_in_cannot_be_given(package, argument):
    leaf = leaf_of(
        package, "class Mine:\n  def __init__(self, shape, *, generator=None, pairs=32): ...\n", "losses.Mine"
    )
    with pytest.raises(UserError, match=f"unknown argument of .* '{argument}'"):
        leaf.check_arguments({argument})


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("def build(shape, **options): ...\n", "losses"),
        ("class Mine(dict):\n  pass\n", "losses.Mine"),
    ],
)
def test_where_nobody_can_know_the_arguments_any_will_do(package, text, reference):
    leaf_of(package, text, reference).check_arguments({"whatever"})
