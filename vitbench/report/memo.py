"""What is worked out once, because several parts of a report show it."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """Something of which others work things out.

    Attributes:
        memo: what they worked out so far.
    """

    memo: dict[Any, Any]

    def once(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """What is worked out from this, once.

        Args:
            key: of all else that it is made of; its first part says what it is.
        """
        if key not in self.memo:
            self.memo[key] = make()
        found: T = self.memo[key]
        return found
