"""Parts of a selection: each case in one, each run in one, whoever works them out."""

import random
from collections import defaultdict

import pytest

from vitbench import papers
from vitbench.case import Budget
from vitbench.errors import UserError
from vitbench.options import Options
from vitbench.selection import Selection
from vitbench.session import Session
from vitbench.shard import Shard, parse

PAPERS = papers.load_all()


def cases_of(budget):
    return Selection(budget=budget).cases(PAPERS)


def session_of(budget, tmp_path):
    return Session(Options(selection=Selection(budget=budget), runs=tmp_path))


def parts(budget, cases, count):
    return [Shard(number=number, of=count).trained(cases, budget) for number in range(1, count + 1)]


def runs_of(session, cases, ids):
    budget = session.options.budget
    return {session.run_of(one, 0).key for case in cases if case.id in ids for one in case.needed(budget)}


@pytest.mark.parametrize("budget", Budget)
@pytest.mark.parametrize("count", [1, 4])
def test_each_case_is_in_one_part_and_each_run_too(budget, count, tmp_path):
    session, cases = session_of(budget, tmp_path), cases_of(budget)
    found = parts(budget, cases, count)
    assert sorted(name for part in found for name in part) == sorted(case.id for case in cases)
    runs = [runs_of(session, cases, part) for part in found]
    assert sum(map(len, runs)) == len(set().union(*runs))


def test_the_order_of_the_cases_makes_no_difference():
    cases = cases_of(Budget.SHORT)
    expected = parts(Budget.SHORT, cases, 4)
    random.Random(0).shuffle(cases)
    assert parts(Budget.SHORT, cases, 4) == expected


def test_no_part_is_heavier_than_another_by_more_than_one_group(tmp_path):
    """As it is when each group, the heaviest first, goes to the lightest part."""
    session = session_of(Budget.PAPER, tmp_path)
    cases = [case for case in cases_of(Budget.PAPER) if case.paper == "floros2024"]
    # All runs see 50,000 images 100 times, and those of a network on a data set share the plain one.
    groups = defaultdict(set)
    for case in cases:
        groups[case.model.name, case.dataset] |= runs_of(session, [case], {case.id})
    sizes = [len(runs) for runs in groups.values()]
    assert sum(sizes) == len(set().union(*groups.values())) == 108
    found = [len(runs_of(session, cases, part)) for part in parts(Budget.PAPER, cases, 3)]
    assert sum(found) == 108
    assert max(found) - min(found) <= max(sizes)


def test_the_first_part_is_empty_only_where_nothing_is_selected():
    one = cases_of(Budget.QUICK)[:1]
    assert [len(part) for part in parts(Budget.QUICK, one, 3)] == [1, 0, 0]
    assert [Shard(number=number, of=3).dealt({"one": "key"}) for number in (1, 2, 3)] == [{"one"}, set(), set()]


def test_what_is_measured_without_training_is_dealt_out_in_turn_and_what_is_the_same_to_one():
    keys = dict.fromkeys("cabed")
    assert [Shard(number=number, of=2).dealt({name: name for name in keys}) for number in (1, 2)] == [
        set("ace"),
        set("bd"),
    ]
    keys = {"a": "one", "b": "two", "c": "one", "d": "three"}
    assert [Shard(number=number, of=2).dealt(keys) for number in (1, 2)] == [set("acd"), {"b"}]


@pytest.mark.parametrize("text", ["1/1", "2/4", "10/10"])
def test_a_part_is_read(text):
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "2", " 2/4", "01/2", "0/4", "5/4", "1/0", "-1/4", "1/2/3", "a/b", "1.0/2", "٣/٤", "1/" + "9" * 5000]
)
def test_what_is_no_part_is_refused(text):
    with pytest.raises(UserError, match="one part of several, such as 2/4"):
        parse(text)
