"""Errors are one line, and lead from a misspelt name to the right one."""

import pytest

from vitbench import errors
from vitbench.errors import unknown


@pytest.mark.parametrize(
    ("written", "nearest"),
    [("drlock", "drloc"), ("cee", "ce"), ("DRLoc", "drloc"), ("mee", "me")],
)
def test_the_nearest_known_name_is_offered_first(written, nearest):
    message = str(unknown("term", written, ["me", "drloc", "ce"]))
    assert message.startswith(f"unknown term {written!r}; did you mean {nearest}")


def test_a_name_that_resembles_none_gets_the_list_and_no_guess():
    assert str(unknown("term", "zzz", ["me", "ce"])) == "unknown term 'zzz'; known: ce, me"


def test_the_place_comes_first():
    assert str(unknown("model", "x", ["vit"], where="a.toml:7")).startswith("a.toml:7: unknown model 'x'")


def test_nothing_known_is_said_so():
    assert str(unknown("model", "x", [])).endswith("known: none")


def test_a_long_list_is_cut_and_counted():
    message = str(unknown("model", "zzzzzz", [f"m{number:03}" for number in range(100)]))
    assert message.endswith(f"m{errors.MANY - 1:03}, … (100 in all)")
    assert f"m{errors.MANY:03}" not in message


def test_the_nearest_name_is_offered_even_where_the_list_is_cut():
    assert "did you mean m099" in str(unknown("model", "m0999", [f"m{number:03}" for number in range(100)]))


@pytest.mark.parametrize("name", ["two\nlines", "tab\t", "\x00", "'quote'", ""])
def test_whatever_was_written_the_error_is_one_line(name):
    message = str(unknown("term", name, ["ce"]))
    assert message.isprintable()
    assert repr(name) in message


def test_data_errors_are_mistakes_of_a_user_and_lost_trainings_are_not():
    assert issubclass(errors.DataAbsent, errors.UserError)
    assert issubclass(errors.DataBroken, errors.UserError)
    assert not issubclass(errors.NonFinite, errors.UserError)
    assert not issubclass(errors.OutOfMemory, errors.UserError)
