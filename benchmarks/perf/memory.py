"""Whether runs that follow each other in one process leave memory behind.

Five quick runs, as `pytest benchmarks` does them one after the other: built, trained for a few epochs, attacked,
written. The figure is the process's peak memory after the fifth over that after the first, which holds torch,
the data and one network already; it can only grow, so a run that kept its network or its activations shows.

To be reached: at most 1.05.

    python benchmarks/perf/memory.py        under a minute on one thread; exits with 1 when the goal is missed
"""

import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from vitbench import identity, papers
from vitbench.case import Budget
from vitbench.records import Store
from vitbench.run import Setting, execute
from vitbench.selection import Selection

RUNS, EPOCHS, GOAL = 5, 3, 1.05


def peak() -> float:
    """Most memory (MiB) that this process held so far; Linux counts in KiB, macOS in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10


def main() -> int:
    """Print the peak after each run; 0 when the goal is reached."""
    cases = [
        one for one in Selection().cases(papers.load_all()) if one.model.name == "vit" and len(one.objective.names) == 3
    ]
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(store=Store(Path(folder)))
        for seed in range(RUNS):
            one = identity.of_run(cases[0], budget=Budget.QUICK, seed=seed)
            execute(replace(one, phases=(replace(one.phases[0], epochs=EPOCHS),)), setting)
            peaks.append(peak())
            print(f"  after run {seed + 1} ({one.model}, {one.objective}): {peaks[-1]:.0f} MiB")
    ratio = peaks[-1] / peaks[0]
    print(f"ratio {ratio:.3f}; at most {GOAL} is the goal")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
