"""What a file declares, read from its text alone, against what Python makes of the same text."""

import inspect

import pytest

from vitbench.declared import read

TEXT = """
import os.path
from json import dumps as d, loads
from . import beside

if True:
    import shlex

A, B, C = 1, 2, 3
ONE = 1
PAIR: tuple[int, int] = (1, 2)
LATER: int
COMPUTED = len("x")
lower = 4

def plain(x, /, y, z=1, *, generator=None, far=LATER, kind="k"): ...

async def waits(x): ...

class Made:
    def __init__(self, shape, margin=1.0, **more): ...

    def generator(self): ...

class Bare(dict):
    pass

def twice(a): ...
def twice(b): ...

def outer():
    from math import pi
    HIDDEN = 1
"""


@pytest.fixture(name="declared")
def fixture_declared():
    return read(TEXT.encode())


def test_constants_are_literals_in_capitals_at_the_top_level(declared):
    assert declared.constants == {"ONE": 1, "PAIR": (1, 2)}


def test_imports_are_found_wherever_they_stand(declared):
    assert declared.imports == {"os.path", "json", "json.dumps", "json.loads", "shlex", "math", "math.pi"}


def test_functions_and_classes_are_known_by_name(declared):
    assert set(declared.signatures) == {"plain", "waits", "Made", "Bare", "twice", "outer"}


def test_a_signature_is_that_of_python(declared):
    def plain(x, /, y, z=1, *, generator=None, far=..., kind="k"): ...

    python, ours = inspect.signature(plain).parameters.values(), declared.signatures["plain"]
    assert ours.by_place == tuple(one.name for one in python if one.kind is one.POSITIONAL_OR_KEYWORD)
    assert ours.by_name == tuple(one.name for one in python if one.kind is one.KEYWORD_ONLY)
    assert not ours.takes_any
    assert ours.defaults == {"z": 1, "generator": None, "kind": "k"}  # `far` is no literal


def test_a_class_is_made_by_its_init(declared):
    made = declared.signatures["Made"]
    assert (made.by_place, made.takes_any, made.defaults) == (("self", "shape", "margin"), True, {"margin": 1.0})


def test_what_the_file_does_not_show_has_no_signature(declared):
    assert declared.signatures["Bare"] is None
    assert declared.signatures["waits"] is None


def test_of_two_of_a_name_the_last_counts_as_in_python(declared):
    assert declared.signatures["twice"].by_place == ("b",)


def test_a_function_that_takes_a_generator_by_name_is_an_operation(declared):
    assert declared.operations == {"plain"}


def test_what_is_no_python_is_refused_as_python_does():
    with pytest.raises(SyntaxError):
        read(b"def (")
