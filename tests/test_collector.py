"""The collector of reference cycles: off for a while, and then as it was."""

import gc

import pytest

from vitbench import collector


@pytest.fixture(params=[True, False])
def was_enabled(request):
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    gc.unfreeze()
    (gc.enable if before else gc.disable)()


def test_nothing_is_collected_meanwhile(was_enabled):
    with collector.paused():
        assert not gc.isenabled()
    assert gc.isenabled() == was_enabled


def test_after_an_error_it_is_as_it_was(was_enabled):
    with pytest.raises(ZeroDivisionError), collector.paused():
        raise ZeroDivisionError
    assert gc.isenabled() == was_enabled


def test_what_is_there_when_a_process_ends_is_looked_through_no_more(was_enabled):
    with collector.paused():
        made = [[] for _ in range(100)]
    assert any(one is made for one in gc.get_objects())
    collector.leave()
    assert not any(one is made for one in gc.get_objects())


def test_what_was_made_is_not_what_the_next_search_begins_with():
    before = gc.isenabled()
    gc.enable()
    try:
        with collector.paused():
            made = [[] for _ in range(100)]
        assert any(one is made for one in gc.get_objects(generation=2))
    finally:
        (gc.enable if before else gc.disable)()


def test_what_somebody_froze_stays_frozen(was_enabled):
    frozen = []
    gc.freeze()
    with collector.paused():
        pass
    assert not any(one is frozen for one in gc.get_objects())
