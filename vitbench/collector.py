"""Python's collector of reference cycles, which has nothing to find while a report is made."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Look for no reference cycles: of a million objects that all stay, each search goes through all once more.

    Nor is what is there then looked through later: the search at the end of a process would take half a second.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
