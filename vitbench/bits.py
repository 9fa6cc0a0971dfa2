"""Which images a network got right, as a record keeps it: read without torch, written by `measure.accuracy`."""

import base64
import binascii
from typing import TYPE_CHECKING

from vitbench.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def unpack(text: str) -> "NDArray[np.bool_]":
    """What `vitbench.measure.accuracy.pack` packed into "N:base64", as bool (N,).

    Raises:
        UserError: if the text is not what it writes.
    """
    import numpy as np

    try:
        length, encoded = text.split(":")
        count, packed = int(length), np.frombuffer(base64.b64decode(encoded, validate=True), dtype=np.uint8)
    except (ValueError, binascii.Error):
        raise _damaged(text) from None
    bits = np.unpackbits(packed)
    if count < 0 or len(packed) != -(-count // 8) or bits[count:].any():
        raise _damaged(text)
    return bits[:count].astype(bool)


def _damaged(text: str) -> UserError:
    start = text if len(text) <= 40 else f"{text[:40]}..."
    return UserError(f"expected correctness bits such as '10:/4A=', got {start!r}; the record is damaged, run it again")
