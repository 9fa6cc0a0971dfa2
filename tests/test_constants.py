"""Constants are read as literals, and each has a form."""

import ast

import pytest

from vitbench import constants
from vitbench.constants import FORMS, MISSING


@pytest.mark.parametrize("text", ["1", "-1.5", "'x'", "True", "None", "{'a': [1]}"])
def test_a_literal_is_what_python_makes_of_it(text):
    assert constants.literal(ast.parse(text, mode="eval").body) == ast.literal_eval(text)


@pytest.mark.parametrize("text", ["x", "len('x')", "{[]: 1}", "-'x'", "dict(a=1)", "-" * 500 + "x", "9" * 400 + "+ 1j"])
def test_anything_else_is_missing(text):
    assert constants.literal(ast.parse(text, mode="eval").body) is MISSING
    assert constants.literal(None) is MISSING


@pytest.mark.parametrize(
    ("value", "writable"),
    [(1, True), (1.5, True), (True, True), ("x", True), (None, False), ([1], False), (1e999, False), (MISSING, False)],
)
def test_a_value_is_what_the_notation_can_write(value, writable):
    assert constants.is_value(value) is writable


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("CLASSES", [1, 10], [0, -1, True, 1.0, "10", None]),
        ("IMAGE_SIZE", [32], ["32", 32.0]),
        ("TRAIN", [1, 1_281_167], [0, "1000", 1e3, None]),
        ("DIGEST", ["x"], ["", 7, None]),
        ("TINY", [{}, {"a": 1, "b": "x"}], [8, [], {1: 1}, {"a": None}, {"a": [1]}]),
        ("VARIANTS", [[], {"tiny": {}}, ("a",), {"a"}], ["tiny", 3, None, [1], {1: "a"}]),
        ("VERSIONS", [1, 2], [0, "2", 2.0, True, None]),
        ("VERSIONED_BY", ["timm"], ["", 1]),
    ],
)
def test_forms(name, right, wrong):
    assert all(map(FORMS[name].holds, right))
    assert not any(map(FORMS[name].holds, wrong))
