"""What `gpu.py` measures: each function is a row of the report, from a bench and the rows that came before."""

import json
import math
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import plain_loop
import torch
from speed_report import EQUAL, MODELS, Report
from torch import Tensor
from workbench import Bench, Step

from vitbench import build, cost
from vitbench.engine import CudaGraphs, Engine
from vitbench.identity import Identity
from vitbench.learner import DRAWS
from vitbench.measure import accuracy, attack, speed

SETS = ("ce", "drloc", "me", "drloc+me")
SHAPES = {"qkv": (312, 936), "proj": (312, 312), "fc1": (312, 1248), "fc2": (1248, 312)}  # (in, out) of the paper's ViT
REPEATS = 20
LONGEST, NAMED = 6, 160  # kernels of a step that are named, and letters of a name
SCRIPT = Path(__file__).with_name("gpu.py")  # runs the processes beside it
Values = dict[str, Any]


def ceiling_of_products(bench: Bench, report: Report) -> Values:
    """Rates of bf16 products of random matrices: a large square one, and those of the ViT at its batch."""
    large, rows = (64, 8) if bench.tiny else (8192, 8192)
    shapes = {"peak": (large, large, large)} | {name: (rows, k, n) for name, (k, n) in SHAPES.items()}
    shapes |= {f"{name}_dw": (k, rows, n) for name, (k, n) in SHAPES.items()}
    sides = {}
    for name, (m, k, n) in shapes.items():
        left, right = (torch.randn(size, device=bench.device, dtype=torch.bfloat16) for size in ((m, k), (k, n)))
        sides[name] = _repeated(bench, partial(torch.mm, left, right))
    ms = bench.alternate(sides, block=0.2)
    return {f"{name}_tflops": 2e-9 * REPEATS * math.prod(shapes[name]) / taken for name, taken in ms.items()}


def _repeated(bench: Bench, call: Step) -> Step:
    """Some calls as one, captured on a GPU: a small product is over before Python launches the next one."""

    def calls() -> None:
        for _ in range(REPEATS):
            call()

    if bench.device.type == "cpu":
        return calls
    graphs = CudaGraphs()
    graphs.warm(calls, strict=False)
    return graphs.capture(calls, ())


def ceiling_of_copies(bench: Bench, report: Report) -> Values:
    """Bytes read and written a second, by a copy from the device to itself."""
    source = torch.randn((1 if bench.tiny else 512) * 2**20, device=bench.device)
    target = torch.empty_like(source)
    ms = bench.alternate({"copy": partial(target.copy_, source)}, block=0.2)["copy"]
    return {"tb_per_s": 2e-9 * source.nbytes / ms}


def counts(model: str, bench: Bench, report: Report) -> Values:
    """Operations (10^9) of a step of a batch: 6 for each multiply-add of the forward pass, terms included."""
    values = {}
    for terms in SETS:
        one = bench.run(model, terms)
        macs = cost.count(one)["measurements"]["training_macs"]  # of forward and backward
        values[f"{terms}_gflop"] = 2 * macs * one.phases[0].batch_size
    return values


def equivalence(model: str, terms: str, engines: Sequence[str], bench: Bench, report: Report) -> Values:
    """Largest relative difference of the losses of some steps in fp32 from eager's; `again` is eager once more."""
    torch.compiler.reset()  # so that no limit on recompilations is met
    one = bench.run(model, terms, "fp32")
    plain, values = _losses(bench, one, Engine()), {}
    for name in ("again", *engines):
        engine = Engine() if name == "again" else bench.engine(name)
        difference = ((_losses(bench, one, engine) - plain).abs() / plain.abs()).max().item()
        bench.notes += engine.said
        if not engine.said:
            values[f"{name}_difference"] = difference
            reached = "reached" if difference <= EQUAL else "not reached"
            bench.notes.append(f"{name}: {difference:.2g}, at most {EQUAL:g} {reached}")
    return values


def _losses(bench: Bench, one: Identity, engine: Engine) -> Tensor:
    learner = bench.learner(one)
    step = engine.stepper(learner)
    learner.begin(0, order=torch.arange(len(bench.data)), seeds=dict.fromkeys(DRAWS, 0))
    torch.manual_seed(0)
    for _ in range(bench.steps_compared):
        step()
    return learner.plan.losses[: bench.steps_compared].double().cpu()


def steps(model: str, precision: str, bench: Bench, report: Report) -> Values:
    """A step under plain cross-entropy, eager and captured."""
    one = bench.run(model, precision=precision)
    _, eager, _ = bench.stepping(one, "eager")
    memory = speed.peak_memory(eager, bench.device)
    name, graph, ready = bench.stepping(one, "graph")
    values: Values = {}
    ms = bench.alternate({"eager": eager, name: graph})
    peak, gflop = report.value("ceilings", "matmul", "peak_tflops"), report.value("counts", model, "ce_gflop")
    for side, taken in ms.items():
        values |= {f"{side}_ms": taken, f"{side}_images_per_s": 1e3 * one.phases[0].batch_size / taken}
        if peak and gflop and precision == "bf16":  # the peak is that of bf16
            values[f"{side}_share"] = 100 * gflop / taken / peak
    if name == "graph":
        values |= {"graph_over_eager": ms["graph"] / ms["eager"], "ready_s": ready}
    return values | ({} if memory is None else {"eager_peak_mib": memory})


def plain(model: str, bench: Bench, report: Report) -> Values:
    """Whole epochs of ours, order drawn and images picked and augmented, against as many steps of the plain loop."""
    one = bench.run(model)
    phase, learner, engine = one.phases[0], bench.learner(one), bench.engine("graph")
    step = engine.stepper(learner)

    def epoch() -> None:
        learner.begin(0, order=torch.randperm(len(bench.data)), seeds=dict.fromkeys(DRAWS, 0))
        learner.epoch(0, advance=step, tell=lambda done, loss: None)

    epoch()
    bench.notes += engine.said
    name = "ours" if engine.name == "graph" else f"ours_fell_to_{engine.name}"
    workers = 1 if bench.tiny else min(8, os.cpu_count() or 1)
    on_cpu = bench.noise(bench.images)
    batches = plain_loop.loaded(on_cpu, batch=phase.batch_size, workers=workers, device=bench.device)
    ready = plain_loop.ready(on_cpu, batch=phase.batch_size, device=bench.device)
    loops = {
        side: plain_loop.PlainLoop(build.place(build.model_of(one), bench.device), given, phase, bench.device)
        for side, given in (("plain", batches), ("plain_on_a_ready_batch", ready))
    }
    count = 2 if bench.tiny else 200
    taken: dict[str, list[float]] = {name: [], **{side: [] for side in loops}}
    for _ in range(2):
        taken[name].append(1e3 * bench.seconds(epoch) / learner.steps_per_epoch)
        for side, loop in loops.items():
            with plain_loop.any_kernel():
                bench.seconds(loop, 2 if bench.tiny else 40)  # the workers were ahead while they waited
                taken[side].append(1e3 * bench.seconds(loop, count) / count)
    ms = {side: statistics.median(one) for side, one in taken.items()}
    values: Values = {f"{side}_ms": one for side, one in ms.items()} | {"workers": workers}
    return values | ({"plain_over_ours": ms["plain"] / ms["ours"]} if name == "ours" else {})


def terms(model: str, bench: Bench, report: Report) -> Values:
    """A captured step under each set of terms, over the one under plain cross-entropy."""
    sides = {}
    for one in SETS:
        name, step, _ = bench.stepping(bench.run(model, one), "graph")
        sides[one if name == "graph" else f"{one}_{name}"] = step
    ms = bench.alternate(sides)
    ratios = {f"{one}_ratio": ms[one] / ms["ce"] for one in SETS[1:] if one in ms and "ce" in ms}
    return {f"{one}_ms": taken for one, taken in ms.items()} | ratios


def compiled(model: str, bench: Bench, report: Report) -> Values:
    """A compiled step against a captured one: seconds until it is ready, and the steps after which that has paid."""
    torch.compiler.reset()
    one = bench.run(model)
    graph_name, graph, graph_ready = bench.stepping(one, "graph")
    name, step, ready = bench.stepping(one, "compile")
    ms = bench.alternate({graph_name: graph, name: step})
    values = {f"{side}_ms": taken for side, taken in ms.items()} | {"ready_s": ready}
    if {"graph", "compile"} <= ms.keys():
        gain = ms["graph"] - ms["compile"]
        values |= {"compile_over_graph": ms["compile"] / ms["graph"]}
        values |= {"pays_after_steps": 1e3 * (ready - graph_ready) / gain} if gain > 0 else {}
    return values


def side_by_side(bench: Bench, report: Report) -> Values:
    """Images a second of 1, 2 and 4 processes that take captured steps of the ViT on the same device."""
    numbers, lasts = ((1, 2), 0.5) if bench.tiny else ((1, 2, 4), 10.0)
    command = [sys.executable, str(SCRIPT), "--device", bench.device.type, "--child", "side"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([*command, *(["--tiny"] if bench.tiny else [])], **pipes) for _ in range(numbers[-1])]
    timer = threading.Timer(120, lambda: [child.kill() for child in children])
    timer.start()
    try:
        told = [_answer(child) for child in children]  # all of them are ready
        name, held, said = told[0]
        bench.notes += said
        key = "images_per_s" if name == "graph" else f"{name}_images_per_s"
        values: Values = {"reserved_mib": held}
        for number in numbers:
            for child in children[:number]:
                child.stdin.write(f"{lasts}\n")
                child.stdin.flush()
            values[f"{number}_{key}"] = math.fsum(_answer(one) for one in children[:number])
        ratios = {f"{n}_over_1": values[f"{n}_{key}"] / values[f"1_{key}"] for n in numbers[1:]}
        return values | ratios
    finally:
        timer.cancel()
        for child in children:
            child.kill()
            child.wait()


def _answer(child: "subprocess.Popen[str]") -> Any:
    """What a process prints next."""
    line = child.stdout.readline() if child.stdout else ""
    if not line:
        raise RuntimeError(f"a process beside this one ended with exit code {child.wait()}")
    return json.loads(line)


def side(bench: Bench) -> None:
    """One of the processes side by side: says its engine and memory, then steps for as long as each line asks."""
    name, step, _ = bench.stepping(bench.run("vit"), "graph")
    bench.seconds(step, 3)
    held = torch.cuda.max_memory_reserved() / 2**20 if bench.device.type == "cuda" else 0.0
    print(json.dumps([name, held, bench.notes]), flush=True)
    batch = bench.run("vit").phases[0].batch_size
    for line in sys.stdin:
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < float(line):
            bench.seconds(step, 1 if bench.tiny else 20)
            count += 1 if bench.tiny else 20
        print(json.dumps(count * batch / (time.perf_counter() - started)), flush=True)


def kernels(bench: Bench, report: Report) -> Values:
    """What runs in a captured step, kernel by kernel, seen in a process of its own: a profiler slows what follows."""
    command = [sys.executable, str(SCRIPT), "--device", bench.device.type, "--child", "kernels"]
    done = subprocess.run(
        [*command, *(["--tiny"] if bench.tiny else [])], capture_output=True, text=True, timeout=120, check=False
    )
    values: Values = {}
    for line in done.stdout.splitlines():
        seen, notes = json.loads(line) if line.startswith("[") else ({}, [])
        values |= seen
        bench.notes += notes
    if done.returncode:
        bench.notes.append(f"exit code {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}")
    if not values:
        raise RuntimeError(f"nothing was counted, exit code {done.returncode}")
    if bench.device.type == "cpu":
        bench.notes.append("no GPU: operators are counted, not kernels")
    return values


def count_kernels(bench: Bench) -> None:
    """Print of each model how many there are, their milliseconds, and those that take longest, with what they take."""
    on_gpu = bench.device.type == "cuda"
    activity = torch.profiler.ProfilerActivity
    for model in MODELS:
        _, step, _ = bench.stepping(bench.run(model), "graph")
        bench.seconds(step, 3)
        with torch.profiler.profile(activities=[activity.CPU, activity.CUDA] if on_gpu else [activity.CPU]) as profile:
            bench.seconds(step)
        taken: dict[str, list[float]] = {}
        for one in profile.events():
            is_meant = one.device_type == torch.autograd.DeviceType.CUDA if on_gpu else one.name.startswith("aten::")
            if is_meant and not getattr(one, "is_user_annotation", False):
                taken.setdefault(one.name, []).append(one.time_range.elapsed_us() / 1e3)
        longest = sorted(taken.items(), key=lambda item: -math.fsum(item[1]))[:LONGEST]
        count, what = sum(map(len, taken.values())), "kernels" if on_gpu else "operators"
        values = {f"{model}_{what}": count, f"{model}_{what}_ms": math.fsum(map(math.fsum, taken.values()))}
        notes = [f"{model}: {math.fsum(ms):.2f} ms in {len(ms)} x {name[:NAMED]}" for name, ms in longest]
        print(json.dumps([values, notes]), flush=True)


def any_kernel(model: str, bench: Bench, report: Report) -> Values:
    """What it costs a model that runs take only kernels whose results do not change from run to run."""
    sides = {"deterministic": bench.stepping(bench.run(model), "graph")}
    with plain_loop.any_kernel(benchmark=False):
        sides["any"] = bench.stepping(bench.run(model), "graph")
    ms = bench.alternate({f"{kind}_{name}": step for kind, (name, step, _) in sides.items()})
    return {f"{name}_ms": taken for name, taken in ms.items()}


def evaluation(model: str, bench: Bench, report: Report) -> Values:
    """Seconds for the accuracy on the test images, in bf16 as after each epoch, and for the attack, in fp32."""
    network = build.place(build.model_of(bench.run(model)), bench.device)
    test = bench.noise(200 if bench.tiny else 10_000).to(bench.device)

    def look() -> None:
        with torch.autocast(bench.device.type, torch.bfloat16):
            accuracy.predict(network, test)

    calls: dict[str, Step] = {"accuracy_s": look, "fgsm_s": lambda: attack.fgsm(network, test)}
    for call in calls.values():
        call()
    return {name: statistics.median(bench.seconds(call) for _ in range(3)) for name, call in calls.items()}
