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
            _call_old()
            gc.enable()


def _call_old() -> None:
    """Move what was made to the objects that are seldom searched, or the next search, of new ones, goes through it."""
    if not gc.get_freeze_count():  # what somebody froze would thaw
        gc.freeze()
        gc.unfreeze()


def leave() -> None:
    """What is there now is looked through no more, for the process ends: Python's last search took half a second."""
    gc.freeze()
