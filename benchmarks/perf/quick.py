"""Seconds and accuracy of quick runs on one thread, and what DRLoc's tiny form adds.

To reach: a run at most 10 s; DRLoc's tiny form at most 1.3 times plain `ce`; plain `ce` on the digits at least 95 %
for resnet and vit, 90 % for t2t and cvt. Run: python benchmarks/perf/quick.py [SEEDS]
"""

import statistics
import sys
import tempfile
from pathlib import Path

from vitbench import identity, papers
from vitbench.case import Budget
from vitbench.records import Store
from vitbench.run import Setting, execute
from vitbench.selection import Selection


def main(seeds: int) -> None:
    """Print a line per model and set of terms: each seed is trained under every objective in turn."""
    cases = [one for one in Selection().cases(papers.load_all()) if one.table == "4.6"]
    seconds: dict[tuple[str, str], list[float]] = {}
    accuracy: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(store=Store(Path(folder)))
        for seed in range(seeds):
            for case in cases:
                record = execute(identity.of_run(case, budget=Budget.QUICK, seed=seed), setting)
                name = (case.model.name, str(case.objective))
                seconds.setdefault(name, []).append(record.provenance["seconds"])
                accuracy.setdefault(name, []).append(record.measurements["accuracy"])
    for (model, objective), taken in seconds.items():
        ratio = statistics.median(taken) / statistics.median(seconds[model, "ce"])
        shown = " ".join(f"{value:.2f}" for value in accuracy[model, objective])
        print(f"{model:8} {objective:26} {statistics.median(taken):5.1f} s  {ratio:.2f} x ce  accuracy {shown}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
