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


def parts(session, cases, count):
    return [Shard(number=number, of=count).trained(session, cases) for number in range(1, count + 1)]


def runs_of(session, cases, ids):
    budget = session.options.budget
    return {session.run_of(one, 0).key for case in cases if case.id in ids for one in case.needed(budget)}


@pytest.mark.parametrize("budget", Budget)
@pytest.mark.parametrize("count", [1, 4])
def test_each_case_is_in_one_part_and_each_run_too(budget, count, tmp_path):
    session, cases = session_of(budget, tmp_path), cases_of(budget)
    found = parts(session, cases, count)
    assert sorted(name for part in found for name in part) == sorted(case.id for case in cases)
    runs = [runs_of(session, cases, part) for part in found]
    assert sum(map(len, runs)) == len(set().union(*runs))


def test_the_order_of_the_cases_and_what_is_done_make_no_difference(tmp_path):
    session, cases = session_of(Budget.SHORT, tmp_path), cases_of(Budget.SHORT)
    expected = parts(session, cases, 4)
    random.Random(0).shuffle(cases)
    assert parts(session_of(Budget.SHORT, tmp_path / "elsewhere"), cases, 4) == expected


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
    found = [len(runs_of(session, cases, part)) for part in parts(session, cases, 3)]
    assert sum(found) == 108
    assert max(found) - min(found) <= max(sizes)


def test_the_first_part_is_empty_only_where_nothing_is_selected(tmp_path):
    session, cases = session_of(Budget.QUICK, tmp_path), cases_of(Budget.QUICK)[:1]
    assert [len(part) for part in parts(session, cases, 3)] == [1, 0, 0]
    assert [Shard(number=number, of=3).dealt(["one"]) for number in (1, 2, 3)] == [{"one"}, set(), set()]


def test_what_shares_nothing_is_dealt_out_in_turn():
    assert [Shard(number=number, of=2).dealt("cabed") for number in (1, 2)] == [set("ace"), set("bd")]


@pytest.mark.parametrize("text", ["1/1", " 2/4 ", "10/10"])
def test_a_part_is_read(text):
    assert str(parse(text)) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "2", "0/4", "5/4", "1/0", "-1/4", "1/2/3", "a/b", "1.0/2", "٣/٤", "1/" + "9" * 5000]
)
def test_what_is_no_part_is_refused(text):
    with pytest.raises(UserError, match="one part of several, such as 2/4"):
        parse(text)
