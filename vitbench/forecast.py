"""What a session will cost, said before it starts: runs in all, runs that are done, and the time of the rest."""

from collections.abc import Sequence

from vitbench.case import Case
from vitbench.history import History
from vitbench.identity import Identity
from vitbench.session import Session


def forecast(session: Session, cases: Sequence[Case]) -> str:
    """How many runs the cases need, how many there are already, and what the rest takes as far as is known."""
    wanted: dict[str, tuple[Case, Identity]] = {}
    for case in cases:
        for seed in session.options.sure_seeds:
            for one in case.needed(session.options.budget):
                run = session.run_of(one, seed)
                wanted.setdefault(run.key, (one, run))
    open_cases = [case for case, run in wanted.values() if not session.is_done(run)]
    text = f"vitbench: {len(wanted)} runs behind {len(cases)} cases, {len(wanted) - len(open_cases)} of them done"
    options = session.options
    text += _time(session, open_cases, History(session, cases))
    if options.most_seeds:
        text += f"; up to {options.most_seeds} seeds and not {options.seeds}, until the sign of a gain is known"
    return f"{text} ({options.budget} budget on {options.device})"


def _time(session: Session, cases: Sequence[Case], history: History) -> str:
    seconds = [history.seconds(case) for case in cases]
    known = [one for one in seconds if one is not None]
    if not known:
        return ""
    device = history.place[0]
    if len(known) == len(seconds):
        return f"; about {shown(sum(known))} as recorded on {device}"
    unknown = f"{len(seconds) - len(known)} of {len(seconds)} runs have no recorded time"
    return f"; at least about {shown(sum(known))} as recorded on {device}; {unknown}"


def shown(seconds: float) -> str:
    """Such as `50 s`, `12 min` or `2.4 h`."""
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
