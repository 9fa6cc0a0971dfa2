"""Python's collector of reference cycles, which has nothing to find while a report is made."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Look for no reference cycles: of a million objects that all stay, each search goes through all once more."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            _age()
            gc.enable()


def _age() -> None:
    """Move what was made to the oldest generation: the next search is of the youngest, and goes through all of that."""
    if not gc.get_freeze_count():  # what somebody froze would thaw
        gc.freeze()
        gc.unfreeze()


def leave() -> None:
    """What is there now is looked through no more, for the process ends: Python's last search took half a second."""
    gc.freeze()
