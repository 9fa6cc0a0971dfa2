"""Seconds that collecting every case takes over collecting an empty file, and what it imports.

To reach: at most 0.6 s over the empty file's collection; torch, torchvision, timm, pandas and fvcore not imported.
Run: python benchmarks/perf/collection.py
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 7
BENCHMARKS = Path(__file__).parent.parent
HEAVY = ("torch", "torchvision", "timm", "pandas", "fvcore")
PROBE = f"""
import sys, pytest
code = pytest.main(sys.argv[1:])
print("imported:", [name for name in {HEAVY} if name in sys.modules])
sys.exit(code)
"""


def collect(*arguments: str) -> tuple[float, str]:
    """Seconds and output of a collection in a process of its own."""
    command = [sys.executable, "-c", PROBE, "--collect-only", "-q", "-p", "vitbench.plugin", *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=BENCHMARKS.parent)
    return time.perf_counter() - started, done.stdout


def main() -> None:
    """Print the medians of interleaved rounds."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, "test_empty.py")
        empty.write_text("def test_nothing():\n    pass\n")
        sides: dict[str, tuple[str, ...]] = {
            "an empty file": (str(empty), "--rootdir", folder),
            "quick budget": (str(BENCHMARKS),),
            "paper budget": (str(BENCHMARKS), "--budget", "paper"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, arguments in sides.items():
                taken, output = collect(*arguments)
                seconds[name].append(taken)
                if len(seconds[name]) == ROUNDS:
                    print(f"{name:14} {' '.join(output.splitlines()[-2:])}")
    floor = statistics.median(seconds["an empty file"])
    for name, all_seconds in seconds.items():
        median = statistics.median(all_seconds)
        print(f"{name:14} {median:.2f} s, {median - floor:+.2f} s over the empty file (at most +0.60)")


if __name__ == "__main__":
    main()
