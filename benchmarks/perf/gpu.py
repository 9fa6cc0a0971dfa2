"""The speed report: what a training step costs on a GPU, against the hardware, the plain loop and our predictions.

Noise in the place of images, the networks and the recipe of floros2024 with crop and flip besides. What is compared
alternates block by block in this process, and a number is the median of its blocks. Every row is written to
`results.json` and `results.md` as it comes; one that fails is written with its error, one that no time is left for
as skipped, and `--resume` measures what an earlier call left out.

    timeout 600 python benchmarks/perf/gpu.py --out gpu-report        within --seconds (560) on one GPU
    python benchmarks/perf/gpu.py --device cpu --tiny                  all of it in a minute; the numbers mean nothing
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gpu_rows
import torch
from gpu_rows import Values
from speed_report import MODELS, Report
from workbench import Bench, runs_of_paper

from vitbench import machine
from vitbench.run import reproducible

SAFETY = 1.3  # a row may take as much longer than the longest of its section


@dataclass(frozen=True)
class Row:
    """One row: its measurement, and the seconds that it may take where no other of its section was measured."""

    section: str
    name: str
    measure: Callable[[Bench, Report], Values]
    guess: float = 20.0


def rows() -> Iterator[Row]:
    """All of them, the most important first; a row of one network begins with its name."""
    yield Row("ceilings", "copy", gpu_rows.ceiling_of_copies, 5)
    yield Row("ceilings", "matmul", gpu_rows.ceiling_of_products, 10)
    yield from (Row("counts", model, partial(gpu_rows.counts, model), 5) for model in MODELS)
    for model, used in (("vit", "drloc+me"), ("resnet", "ce")):
        yield Row("equivalence", f"{model}, {used}", partial(gpu_rows.equivalence, model, used, ["graph"]))
    yield from (Row("models", model, partial(gpu_rows.steps, model, "bf16")) for model in MODELS)
    yield from (Row("plain", model, partial(gpu_rows.plain, model), 30) for model in MODELS)
    yield from (Row("terms", model, partial(gpu_rows.terms, model), 30) for model in MODELS)
    yield Row("kernels", "one captured step", gpu_rows.kernels, 40)
    yield Row("compile", "vit", partial(gpu_rows.compiled, "vit"), 90)
    yield Row("side", "vit, captured", gpu_rows.side_by_side, 60)
    yield Row("precision", "vit, fp32", partial(gpu_rows.steps, "vit", "fp32"))
    yield from (Row("precision", f"{model}, bf16", partial(gpu_rows.any_kernel, model)) for model in ("resnet", "vit"))
    yield from (Row("evaluation", model, partial(gpu_rows.evaluation, model), 5) for model in MODELS)
    yield Row("compile", "resnet", partial(gpu_rows.compiled, "resnet"), 90)
    for model, used in (("vit", "drloc+me"), ("resnet", "ce")):
        yield Row(
            "equivalence of compile", f"{model}, {used}", partial(gpu_rows.equivalence, model, used, ["compile"]), 90
        )
    yield from (Row("compile", model, partial(gpu_rows.compiled, model), 90) for model in ("t2t", "cvt"))


def take(row: Row, bench: Bench, report: Report, left: float) -> None:
    """Measure a row, or say why not."""
    known = [one["seconds"] for one in report.rows if one["section"] == row.section and one.get("seconds")]
    needed = SAFETY * max(known) if known else row.guess * (0.1 if bench.tiny else 1)
    content: dict[str, Any] = {"section": row.section, "row": row.name, "values": {}, "notes": []}
    if needed > left:
        content["skipped"] = f"it may take {needed:.1f} s, and {max(left, 0):.1f} s are left"
    else:
        bench.notes, started = [], time.perf_counter()
        try:
            with reproducible(bench.device.type):
                values = row.measure(bench, report)
            content["values"] = {key: one for key, one in values.items() if math.isfinite(one)}
        except Exception as error:
            content["error"] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            with (report.folder / "errors.txt").open("a") as file:
                file.write(f"{row.section}, {row.name}\n{traceback.format_exc()}\n")
        content |= {"notes": list(dict.fromkeys(bench.notes)), "seconds": time.perf_counter() - started}
    report.add(content)
    told = (
        content.get("skipped") or content.get("error") or " ".join(f"{k}={v:.4g}" for k, v in content["values"].items())
    )
    print(f"{row.section}, {row.name}: {'; '.join([told, *content['notes']])}", flush=True)
    machine.free_gpu()


def answers(bench: Bench) -> bool:
    """Whether the device still works; after some errors it does not, for this process."""
    try:
        return bool((torch.ones(1, device=bench.device) + 1).item() == 2)
    except RuntimeError:
        return False


def about(options: argparse.Namespace) -> dict[str, Any]:
    """Machine, versions and options; what a card does besides, where its tool is there."""
    found: dict[str, Any] = {"device": machine.device_name(options.device), "cpus": os.cpu_count()}
    found |= dict(machine.versions()) | {"commit": machine.commit(), "cuda": torch.version.cuda}
    found |= {
        "command": machine.command(),
        "networks": "tiny: the numbers mean nothing" if options.tiny else "of the paper",
    }
    asked = "clocks.sm,clocks.max.sm,power.draw,temperature.gpu,utilization.gpu,memory.used"
    try:
        command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"]
        found[asked] = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        found["nvidia-smi"] = "none"
    return found


def main(arguments: Sequence[str] | None = None, *, spent: float = 0.0) -> int:
    """Measure what the time allows, of which some is spent; 0 unless a row failed."""
    started = time.monotonic() - spent
    options = _parser().parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("--device cuda: torch sees no GPU here; --device cpu --tiny tries the script", file=sys.stderr)
        return 2
    bench = Bench(torch.device(options.device), options.tiny)
    if options.child:
        with reproducible(options.device):
            {"side": gpu_rows.side, "kernels": gpu_rows.count_kernels}[options.child](bench)
        return 0
    is_real = options.device == "cuda" and not options.tiny
    report = Report(options.out, about(options), runs_of_paper(), is_real=is_real)
    if options.resume or options.restarted:
        report.read(keep_failed=options.restarted)
    report.write()
    chosen = [row for row in rows() if not options.only or row.section in options.only]
    chosen = [row for row in chosen if not options.without or not row.name.startswith(tuple(options.without))]
    for row in [row for row in chosen if not report.has(row.section, row.name)]:
        left = options.seconds - (time.monotonic() - started)
        take(row, bench, report, left)
        if not answers(bench):  # another process gets a fresh context, and goes on with the next row
            left = options.seconds - (time.monotonic() - started)
            given = list(sys.argv[1:] if arguments is None else arguments)
            return subprocess.call([sys.executable, __file__, *given, "--restarted", "--seconds", str(max(left, 0))])
    print(report.page())
    return int(any(row.get("error") for row in report.rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(".vitbench/gpu"), help="folder (default: .vitbench/gpu)")
    parser.add_argument("--seconds", type=float, default=560, help="that the whole may take (default: 560)")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny networks and few steps")
    parser.add_argument(
        "--only", nargs="+", choices=list(dict.fromkeys(row.section for row in rows())), metavar="SECTION"
    )
    parser.add_argument("--without", nargs="+", choices=MODELS, metavar="NETWORK", help="leave out rows of these")
    parser.add_argument("--resume", action="store_true", help="keep the rows that an earlier call measured")
    parser.add_argument("--restarted", action="store_true", help=argparse.SUPPRESS)  # by itself: keeps what failed too
    parser.add_argument("--child", choices=["side", "kernels"], help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:  # seconds of a compilation, not of reading the last one
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="vitbench-")
    sys.exit(main(spent=time.process_time()))  # on imports, nearly
