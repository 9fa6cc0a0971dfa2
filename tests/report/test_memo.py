"""What is worked out once."""

from vitbench.report.memo import Memo


def test_it_is_worked_out_once_for_each_key_even_if_nothing_came_out():
    one, other, asked = Memo(), Memo(), []
    one.memo, other.memo = {}, {}

    def make():
        asked.append(len(asked))

    for memo, key in ((one, ("a",)), (one, ("a",)), (one, ("a", 1)), (other, ("a",))):
        assert memo.once(key, make) is None
    assert asked == [0, 1, 2]
