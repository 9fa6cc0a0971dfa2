"""What a user can get wrong, and what a machine can: each error is one line that says the way out.

`UserError` is printed without a traceback by the command line and by the pytest plugin.
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MANY = 12  # names that an error lists at most
# What torch writes where memory does not suffice, of a GPU, on Linux, on Windows, in cuBLAS and cuDNN.
MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


class UserError(Exception):
    """A mistake in an option, a name or a data file: expected, got, what to do."""


class DataAbsent(UserError):
    """A data set is not where it was looked for; the message has the path and the command that gets it."""


class DataBroken(UserError):
    """A data set is there but damaged: wrong checksum, truncated, unsafe member, wrong size."""


class Busy(UserError):
    """Another process does the run that was asked for without waiting."""


class Unfit(ValueError):
    """A checkpoint does not fit the network, the optimizer or the phases that are to go on from it."""


class NonFinite(Exception):
    """A loss, a gradient or a weight became NaN or infinite; training stops at once."""


class TimeUp(Exception):
    """The time limit ended a training; its checkpoint is written, or was not yet worth one."""


class OutOfMemory(Exception):
    """The device, a GPU or the machine itself, has not enough memory for what the message names."""


@contextmanager
def memory_named(what: str) -> Iterator[None]:
    """Have memory that does not suffice inside end in one line.

    Args:
        what: does not fit, such as "a batch of 128".

    Raises:
        OutOfMemory: naming it; one from further inside, which knows better, passes.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"{what} does not fit on the device; free the device or use a larger one") from None


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch or Python says that memory does not suffice."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in MEMORY)


def unknown(kind: str, name: str, known: Iterable[str], *, where: str = "") -> UserError:
    """The error for a name that nothing has, with the nearest known names first.

    Args:
        kind: what the name should have been, such as "term".
        name: what was written.
        known: every name that would have been right.
        where: file and line, or the option that the name came from.
    """
    names = sorted(known)
    folded = {one.lower(): one for one in names}  # papers print DRLoc and ViT
    near = [folded[one] for one in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    place = f"{where}: " if where else ""
    shown = ", ".join(names[:MANY]) + (f", … ({len(names)} in all)" if len(names) > MANY else "")
    return UserError(f"{place}unknown {kind} {name!r}; {hint}known: {shown or 'none'}")
