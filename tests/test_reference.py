"""What was recorded of a case, and which of it may judge."""

from dataclasses import replace

import pytest

from tests.test_judge import SHORT, lines, run
from tests.test_session import case, recorded, session_of
from vitbench.reference import Reference, by_another_version, is_same_place, is_stale, told


def of(known, **options):
    session = session_of(None, **SHORT | options)
    return Reference(known, session.options, session.run_of)


def test_sizes_are_found_without_their_recipe_and_on_any_machine():
    plain = {"budget": "paper", "objective": "ce + 0.1*drloc"}
    found = [recorded("params", 15.0, **plain), recorded("params", 16.0, machine="h200", **plain)]
    assert of(found).counted(case(), "params") == found[:1]
    assert of(found).counted(case(), "macs") == []


def test_what_was_written_is_of_this_precision_whatever_its_version():
    known = lines(case(), [70.0, 71.0])
    known[1] = replace(known[1], key="0123456789ab")
    assert of(known).written(case(), "accuracy") == known
    assert of(known, precision="bf16").written(case(), "accuracy") == []


def test_what_is_valid_is_of_this_version_by_seed():
    known = lines(case(), [70.0, 71.0])
    known[1] = replace(known[1], key="0123456789ab")
    assert of(known).valid(case(), "accuracy", machine="h200") == {0: known[0]}
    assert of(known).valid(case(), "accuracy", machine="another") == {}


def test_one_machine_is_chosen_ones_own_else_that_with_most_seeds():
    few, many = lines(case(), [70.0], machine="a"), lines(case(), [70.0, 71.0], machine="b")
    assert of([*few, *many]).of_one_machine(case(), "accuracy") == dict(enumerate(many))
    assert of([*few, *many], machine="a").of_one_machine(case(), "accuracy") == dict(enumerate(few))
    assert of([*few, *many], machine="c").of_one_machine(case(), "accuracy") == dict(enumerate(many))
    assert of([]).of_one_machine(case(), "accuracy") == {}


@pytest.mark.parametrize(("key", "stale"), [("", False), ("abc", False), ("abd", True)])
def test_a_key_that_is_not_the_beginning_is_of_another_run(key, stale):
    assert is_stale(recorded("accuracy", 1.0, key=key), "abcdef") is stale


def test_the_same_place_is_of_one_device_engine_and_torch_in_fp32():
    (now,) = run(case(), [70.0])
    (then,) = lines(case(), [70.0], torch="2.11.0", engine="eager")
    assert is_same_place(then, now)
    assert not is_same_place(replace(then, torch="2.12.0"), now)
    assert not is_same_place(replace(then, device="another"), now)
    assert not is_same_place(replace(then, engine="graph"), now)
    assert not is_same_place(replace(then, precision="bf16"), now)


def test_where_a_reference_is_from():
    one = recorded("accuracy", 1.0, date="2026-11-01", commit="0123456789")
    assert told(one) == "recorded 2026-11-01 0123456"
    assert by_another_version(one) == "recorded 2026-11-01 by another version"
