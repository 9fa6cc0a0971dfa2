"""From an identity to a record: build, train, measure, write. Read this file first."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_model
from torch import nn

from vitbench import build, machine
from vitbench.augment import to_float
from vitbench.checkpoints import Checkpoints
from vitbench.contracts import Images, Split
from vitbench.errors import NonFinite, OutOfMemory, UserError
from vitbench.identity import Identity
from vitbench.learner import Learner
from vitbench.measure import accuracy, attack, size, speed
from vitbench.objective import parse
from vitbench.records import Record, Store, write_atomically
from vitbench.train import Watch, generator, train

ENGINE = "eager"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and how runs are done; nothing of it changes a result.

    Attributes:
        store: where records and checkpoints go.
        data: folder of data sets, or None.
        download: whether absent data may be fetched.
        device: "cpu" or "cuda".
        tell: progress: (what, steps done, steps in all, last loss).
        stopwatch: what times a call.
    """

    store: Store
    data: Path | None = None
    download: bool = False
    device: str = "cpu"
    tell: Callable[[str, int, int, float], None] = lambda what, done, steps, loss: None
    stopwatch: speed.Stopwatch | None = None


def execute(identity: Identity, setting: Setting, *, fresh: bool = False) -> Record:
    """Do a run, or read it where it is done already, by this process or by another one meanwhile.

    Args:
        fresh: do it again although there is a record; the old record stays until the new one replaces it.

    Raises:
        UserError: for absent or broken data, and for arguments that a leaf refuses.
        NonFinite: if training is lost; `failed.pt` in the run's folder keeps the weights.
        OutOfMemory: naming the batch that did not fit.
    """
    kinds = {"run": _train, "size": _count, "inference": _time_inference, "training": _time_training}
    with setting.store.lock(identity):
        record = setting.store.read(identity)
        if record is None or fresh:
            checkpoints = _checkpoints(identity, setting)
            if fresh:
                checkpoints.clear()
            with _reproducible(setting.device), _memory_named(identity):
                record = kinds[identity.kind](identity, setting)
            setting.store.write(identity, record)
            checkpoints.clear()
    return record


def load_data(identity: Identity, setting: Setting) -> Split:
    """The data set of a run, on its device."""
    return build.data_of(identity, setting.data, download=setting.download).to(torch.device(setting.device))


def _checkpoints(identity: Identity, setting: Setting) -> Checkpoints:
    return Checkpoints(setting.store.folder(identity), identity.key, problems=setting.store.problems)


def _train(identity: Identity, setting: Setting) -> Record:
    started, clock = datetime.now(UTC), time.perf_counter()
    split = load_data(identity, setting)
    model = build.model_of(identity).to(setting.device)
    total = build.total_of(identity, model).to(setting.device)
    keeper = _checkpoints(identity, setting)
    what = f"{identity.model}, {identity.objective}, {identity.dataset}, seed {identity.seed}"
    watch = Watch(
        evaluate=lambda: accuracy.accuracy(_correct(model, split.test)),
        save=keeper.save,
        tell=lambda done, steps, loss: setting.tell(what, done, steps, loss),
    )
    try:
        curves = train(
            model,
            total,
            split.train,
            identity.phases,
            seed=identity.seed,
            watch=watch,
            precision=identity.precision,
            checkpoint=keeper.load(),
        )
        judged = _judge_trained(identity, model, split, curves)
    except NonFinite as lost:
        raise NonFinite(f"{lost}; the state is kept in {keeper.keep_failed(model, total)}") from None
    record = _record(identity, setting, started, clock, **judged)
    with write_atomically(keeper.folder / "weights.safetensors") as temporary:
        save_model(model, str(temporary))
    return record


def _judge_trained(identity: Identity, model: nn.Module, split: Split, curves: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything that is measured on a trained model."""
    device = split.test.images.device
    draws = generator(identity.seed, "attack", device=device)
    attacked = attack.fgsm(model, split.test, generator=draws)
    best = max(curves, key=lambda curve: curve["accuracy"])
    measurements = {
        "accuracy": accuracy.accuracy(attacked.clean),
        "best_accuracy": max(best["accuracy"], accuracy.accuracy(attacked.clean)),
        "epoch_of_best": float(best["epoch"]),
        "loss": curves[-1]["loss"],
        "train_seconds": sum(curve["seconds"] for curve in curves),
    }
    invalid = {}
    if attacked.valid:
        measurements |= {"adversarial_accuracy": attacked.adversarial_accuracy, "fgsm_drop": attacked.drop}
    else:
        invalid = dict.fromkeys(("adversarial_accuracy", "fgsm_drop"), attacked.reason)
    bits = {"clean": accuracy.pack(attacked.clean), "attacked": accuracy.pack(attacked.attacked)}
    details = {
        "curves": curves,
        "correct": bits,
        "test_images": len(split.test),
        "train_images": len(split.train),
    }
    return {"measurements": measurements, "invalid": invalid, "details": details}


def _correct(model: nn.Module, data: Images) -> torch.Tensor:
    return accuracy.correct(accuracy.predict(model, data), data.labels)


def _count(identity: Identity, setting: Setting) -> Record:
    started, clock = datetime.now(UTC), time.perf_counter()
    macs = _count_model(identity.model, identity.classes, identity.image_size)
    with torch.device("meta"):
        model = build.model_of(identity)
        terms = {name: build.term_of(identity, name, model) for name in identity.objective.names}
    extra = [
        size.count_term_macs(lambda: term, model=lambda: model, image_size=identity.image_size)  # noqa: B023 - at once
        for term in terms.values()
    ]
    cost = size.training_cost(macs.matmul_conv, extra)
    measurements = {
        "params": size.count_params(model) / 1e6,
        "term_params": sum(size.count_params(term) for term in terms.values()) / 1e6,
        "macs": macs.matmul_conv / 1e9,
        "macs_layers": macs.layers / 1e9,
        "training_macs": cost.macs / 1e9,
        "training_macs_ratio": cost.ratio,
    }
    if macs.fvcore is not None:
        measurements["macs_fvcore"] = macs.fvcore / 1e9
    invalid = {"macs_fvcore": macs.reason} if macs.fvcore is None else {}
    return _record(identity, setting, started, clock, measurements=measurements, invalid=invalid)


@cache
def _count_model(model: str, classes: int, image_size: int) -> size.Macs:
    """MACs of a network; the same for every objective, so counted once a session."""
    return size.count_macs(lambda: build.untrained(model, classes, image_size), image_size=image_size)


def _time_inference(identity: Identity, setting: Setting) -> Record:
    started, clock = datetime.now(UTC), time.perf_counter()
    learner = _learner(identity, setting)
    images = to_float(learner.data.images)
    call = speed.inference(learner.network, images, precision=identity.precision)
    timing = speed.time_call(call, learner.device, _stopwatch(setting))
    measurements = {"inference": len(images) / timing.seconds, "inference_noise": timing.noise_floor}
    return _record(identity, setting, started, clock, measurements=measurements, details={"batch_size": len(images)})


def _time_training(identity: Identity, setting: Setting) -> Record:
    started, clock = datetime.now(UTC), time.perf_counter()
    learner = _learner(identity, setting)
    call = _one_step(learner)
    memory = speed.peak_memory(call, learner.device)  # before the plain learner is there too
    reference = _one_step(_learner(identity, setting, plain=True))
    timing = speed.time_against(call, reference, learner.device, _stopwatch(setting))
    batch = learner.phase.batch_size
    measurements = {
        "training": batch / timing.seconds,
        "step_ms": 1e3 * timing.seconds,
        "training_noise": timing.noise_floor,
    }
    if timing.ratio is not None:
        measurements["step_ratio"] = timing.ratio
    if memory is not None:
        measurements["peak_memory"] = memory
    return _record(identity, setting, started, clock, measurements=measurements, details={"batch_size": batch})


def _stopwatch(setting: Setting) -> speed.Stopwatch:
    if setting.stopwatch is None:
        raise UserError("nothing to time with: run this case under pytest, where pytest-benchmark is the stopwatch")
    return setting.stopwatch


def _learner(identity: Identity, setting: Setting, *, plain: bool = False) -> Learner:
    """A learner on one batch of noise: speed does not depend on what the images show, but zeros would be faster."""
    phase = identity.phases[0]
    draw = generator(identity.seed, "noise")
    pixels = (phase.batch_size, 3, identity.image_size, identity.image_size)
    images = torch.randint(0, 256, pixels, dtype=torch.uint8, generator=draw)
    labels = torch.randint(0, identity.classes, (phase.batch_size,), generator=draw)
    model = build.model_of(identity)
    total = build.total_of(replace(identity, objective=parse("ce")) if plain else identity, model)
    data = Images(images=images, labels=labels).to(torch.device(setting.device))
    model, total = model.to(setting.device), total.to(setting.device)
    return Learner(model, total, data, phase, precision=identity.precision)


def _one_step(learner: Learner) -> Callable[[], object]:
    index = torch.arange(learner.phase.batch_size, device=learner.device)
    draws = {name: generator(0, name, device=learner.device) for name in ("augment", "terms")}
    progress = torch.zeros((), device=learner.device)
    learner.trained.train()
    return lambda: learner.step(index, progress=progress, draws=draws)


def _record(identity: Identity, setting: Setting, started: datetime, clock: float, **content: Any) -> Record:
    provenance = {
        "date": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        "device": machine.device_name(setting.device),
        "threads": torch.get_num_threads(),
        "precision": identity.precision,
        "engine": ENGINE,
        "commit": machine.commit(),
        "command": machine.command(),
        "versions": dict(machine.versions()),
    }
    return Record(kind=identity.kind, key=identity.key, identity=identity.content(), provenance=provenance, **content)


@contextmanager
def _reproducible(device: str) -> Iterator[None]:
    """One thread on a CPU; on a GPU neither TF32 nor kernels whose result changes from run to run."""
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    before = (cudnn.allow_tf32, cudnn.deterministic)
    if device == "cpu":
        torch.set_num_threads(machine.threads())
    cudnn.allow_tf32, cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cudnn.allow_tf32, cudnn.deterministic = before


@contextmanager
def _memory_named(identity: Identity) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        batch = identity.phases[0].batch_size if identity.phases else 1
        raise OutOfMemory(
            f"{identity.model} under {identity.objective} does not fit on the device with a batch of {batch}; "
            "free the device or use a larger one (a smaller batch would be another experiment)"
        ) from None
