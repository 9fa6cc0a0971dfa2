"""Recorded lines and cases that do not find each other."""

from dataclasses import replace

import pytest

from vitbench import baselines, inventory, papers


@pytest.fixture(scope="module")
def known():
    recorded, _ = baselines.load_all(papers.data_folder() / "recorded")
    return papers.load_all(), recorded


def line(known, metric="accuracy", budget="quick"):
    return next(one for one in known[1] if (one.metric, one.budget) == (metric, budget))


def test_all_that_comes_along_is_of_a_case_and_of_this_version(known):
    found = inventory.of(*known)
    assert (found.unused, found.stale) == ((), ())
    assert set(found.missing) == {"quick", "short"}
    assert found.missing["quick"] == ()
    assert any(text.startswith("missing: 0 of ") for text in found.lines())


@pytest.mark.parametrize("changes", [{"model": "renamed"}, {"recipe": "renamed"}, {"objective": "ce + 0.7*drloc"}])
def test_a_line_of_no_case_is_unused(known, changes):
    strange = replace(line(known), **changes)
    found = inventory.of(known[0], [*known[1], strange])
    assert found.unused == (strange,)
    assert next(found.lines()).startswith("unused: 1 recorded lines are of no case of the tables, such as ")


def test_a_line_of_another_version_is_stale(known):
    one = line(known)
    others = [other for other in known[1] if other != one]
    old = replace(one, key="0123456789ab")
    assert inventory.of(known[0], [*others, old]).stale == (old,)


def test_a_case_without_an_accuracy_is_missing(known):
    one = line(known)
    found = inventory.of(known[0], [other for other in known[1] if other.cell != one.cell])
    assert found.missing["quick"]
    assert {case.paper for case in found.missing["quick"]} == {one.paper}


def test_sizes_and_speeds_are_of_cases_too(known):
    for metric in ("params", "step_ratio"):
        assert any(one.metric == metric for one in known[1])
    assert not inventory.of(*known).unused
