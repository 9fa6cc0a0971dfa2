"""How far a training is: a line that is rewritten on a terminal, one line now and then elsewhere."""

import time
from collections.abc import Callable

from tqdm import tqdm

TERMINAL_SECONDS = 0.5
LOG_SECONDS = 30.0  # often enough that no CI takes the job for dead


class Progress:
    """Told of every step, speaks seldom.

    Args:
        write: shows a line; on a terminal in the place of the last one.
        is_terminal: whether the line is rewritten.
    """

    def __init__(self, write: Callable[[str], None], *, is_terminal: bool) -> None:
        self.write = write
        self.every = TERMINAL_SECONDS if is_terminal else LOG_SECONDS
        self.what = ""
        self.first = 0
        self.started = self.spoke = time.monotonic()

    def __call__(self, what: str, done: int, steps: int, loss: float) -> None:
        """Take note of a step.

        Args:
            what: name of the run.
            done, steps: steps done and in all.
            loss: of the last step.
        """
        now = time.monotonic()
        if what != self.what:
            self.what, self.first, self.started, self.spoke = what, done, now, now
        if now - self.spoke >= self.every:
            self.spoke = now
            meter = tqdm.format_meter(
                done,
                steps,
                now - self.started,
                unit="step",
                initial=self.first,
                ncols=100,
                postfix=f"loss {loss:.3f}",
            )
            self.write(f"{what[:40]} {meter}")
