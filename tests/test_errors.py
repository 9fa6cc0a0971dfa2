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


def test_a_busy_run_is_said_without_a_traceback():
    assert issubclass(errors.Busy, errors.UserError)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 20 MiB"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."),
    ],
    ids=str,
)
def test_memory_that_does_not_suffice_is_one_line_that_names_what_did_not_fit(error):
    message = r"^a batch of 8 does not fit on the device; "
    with pytest.raises(errors.OutOfMemory, match=message) as caught, errors.memory_named("a batch of 8"):
        raise error
    assert str(caught.value).isprintable()


def test_what_knows_better_what_did_not_fit_is_heard():
    expected = pytest.raises(errors.OutOfMemory, match=r"^the evaluation does not fit")
    with expected, errors.memory_named("training"), errors.memory_named("the evaluation"):
        raise MemoryError


def test_an_error_that_is_not_about_memory_passes():
    with pytest.raises(RuntimeError, match=r"^shapes$"), errors.memory_named("training"):
        raise RuntimeError("shapes")
