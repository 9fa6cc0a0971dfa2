"""From an identity to a record: build, train, measure, write. Read this file first."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_model
from torch import Tensor, nn

from vitbench import build, cost, examine, machine, pretrained, probe, published, views, weights
from vitbench.atomic import write_atomically
from vitbench.augment import Augmentation, compose
from vitbench.case import Phase
from vitbench.checkpoints import Checkpoints
from vitbench.contracts import Images, Split
from vitbench.engine import Engine, of_device
from vitbench.errors import DataBroken, NonFinite, TimeUp, Unfit, UserError, memory_named
from vitbench.examine import Examination
from vitbench.identity import Identity
from vitbench.measure.speed import Stopwatch
from vitbench.objective import Call
from vitbench.options import EPOCH_MARGIN
from vitbench.records import Record, Store
from vitbench.train import Watch, train

SAVE_SECONDS = 5.0  # for a checkpoint
WEIGHTS = "weights.safetensors"  # in the folder of a finished run
# What says how well a network tells classes apart: of a probe, what its pre-training learnt.
JUDGEMENTS = ("accuracy", "best_accuracy", "adversarial_accuracy", "fgsm_drop", "knn")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and how runs are done; nothing of it changes a result.

    Attributes:
        store: where records and checkpoints go.
        data: folder of data sets, or None.
        weights: folder of published weights, or None.
        download: whether absent data may be fetched.
        device: "cpu" or "cuda".
        engine: see `vitbench.engine`.
        deadline: in the seconds of `time.monotonic`, when everything has to be saved.
        wait: for another process that does the same run.
        tell: progress: (what, steps done, steps in all, last loss).
        stopwatch: what times a call.
    """

    store: Store
    data: Path | None = None
    weights: Path | None = None
    download: bool = False
    device: str = "cpu"
    engine: str = "eager"
    deadline: float = math.inf
    wait: bool = True
    tell: Callable[[str, int, int, float], None] = lambda what, done, steps, loss: None
    stopwatch: Stopwatch | None = None


def execute(identity: Identity, setting: Setting, *, fresh: bool = False, with_weights: bool = False) -> Record:
    """Do a run, or read it where it is done already, by this process or by another one meanwhile.

    Args:
        fresh: do it again although there is a record; the old record stays until the new one replaces it.
        with_weights: do it again where its weights are not there, as where only its record came from another machine.

    Raises:
        UserError: for absent or broken data, and for arguments that a leaf refuses.
        NonFinite: if training is lost; `failed.pt` in the run's folder keeps the weights.
        OutOfMemory: naming what did not fit.
        TimeUp: at the deadline; what was trained so far is saved.
        Busy: if another process does it and `setting.wait` is False.
    """
    kinds = {"run": _train, "pretraining": _train, "size": _count, "inference": _time, "training": _time}
    with setting.store.lock(identity, wait=setting.wait):
        record = setting.store.read(identity)
        is_bare = with_weights and not (setting.store.folder(identity) / WEIGHTS).exists()
        if record is None or fresh or is_bare:
            checkpoints = _checkpoints(identity, setting)
            if fresh:
                checkpoints.clear()
            with reproducible(setting.device), _memory_named(identity), build.blaming(identity, "when run"):
                record = kinds[identity.kind](identity, setting)
            setting.store.write(identity, record)
            checkpoints.clear()
    return record


def check(identity: Identity) -> None:
    """Refuse what cannot be built or does not fit together, of the pre-training too; nothing is computed.

    Raises:
        UserError: for arguments that a leaf or an operation refuses, images of another size than the network's, a
            teacher that no term has, and a classifier that cannot be told.
    """
    if identity.pretraining is not None:
        check(identity.pretraining)
    with build.blaming(identity, "when built"), torch.device("meta"):
        model = build.model_of(identity)
        total = build.total_of(identity, model)
    examine.teaching_of(identity, total)
    if identity.pretraining is not None:
        pretrained.layer_of(model)
    for phase in identity.phases:
        views.of(phase, torch.Generator())
    _check_sizes(identity, torch.zeros(1, 3, identity.pixels, identity.pixels, dtype=torch.uint8))


def load_data(identity: Identity, setting: Setting) -> Split:
    """The data set of a run, on its device where there is room for it, its test images on their way to the network.

    Raises:
        UserError: if the recipe's operations do not make images of the size that the network is built for.
    """
    split = build.data_of(identity, setting.data, download=setting.download)
    evaluation = _composed(identity.evaluation)
    train = replace(split.train, classes=identity.classes)
    test = replace(split.test, prepare=evaluation.levels if identity.evaluation else None)
    _check_sizes(identity, train.images[:1])
    device = torch.device(setting.device)
    return replace(split, train=_placed(train, device), test=_placed(test, device))


def _check_sizes(identity: Identity, image: Tensor) -> None:
    """Refuse operations that make of an image (1, 3, H, W), as it is stored, another size than the network sees."""
    for what, operations in (("the evaluation", _composed(identity.evaluation)), *_trained(identity.phases)):
        size = tuple(operations.levels(image, generator=torch.Generator()).shape[-2:])
        if size != (identity.image_size, identity.image_size):
            raise UserError(
                f"{what} makes images of {size[0]} x {size[1]} from the {identity.pixels} pixels that "
                f"{identity.dataset} is stored at; the network sees {identity.image_size}: mend the recipe"
            )


def _trained(phases: Sequence[Phase]) -> Iterator[tuple[str, Augmentation]]:
    """What makes the images that the network is trained on, but for small crops."""
    for number, phase in enumerate(phases, 1):
        if not phase.views:
            yield f"the augmentation of phase {number}", _composed(phase.augmentation)
        for view in phase.views:
            if not view.is_local:
                yield f"the {view.name} view of phase {number}", _composed(view.augmentation)


def _composed(calls: Sequence[Call]) -> Augmentation:
    return compose((call.name, call.arguments) for call in calls)


def _placed(images: Images, device: torch.device) -> Images:
    """On the device, or where it is, on the CPU, if it would fill more than half of the free memory."""
    if device.type == "cuda" and images.images.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return images
    return images.to(device)


def _checkpoints(identity: Identity, setting: Setting) -> Checkpoints:
    return Checkpoints(setting.store.folder(identity), identity.key, problems=setting.store.problems)


def _train(identity: Identity, setting: Setting) -> Record:
    started, clock = datetime.now(UTC), time.perf_counter()
    split = load_data(identity, setting)
    model = build.model_of(identity)
    keeper = _checkpoints(identity, setting)
    checkpoint = keeper.load()
    if checkpoint is None:
        _start(model, identity, setting)
    build.place(model, setting.device)
    total = build.total_of(identity, model).to(setting.device)
    engine = of_device(setting.engine, setting.device)
    examination = examine.of(identity, model, total, split, folder=keeper.folder)
    try:
        curves = train(
            model,
            total,
            split.train,
            identity.phases,
            seed=identity.seed,
            watch=_watch(identity, setting, keeper, examination),
            precision=identity.precision,
            micro_batch=identity.micro_batch,
            engine=engine,
            checkpoint=checkpoint,
        )
        if identity.probe:
            probe.install(examination.model, replace(split.train, prepare=split.test.prepare))
        if time.monotonic() + examination.remaining_seconds > setting.deadline:
            raise TimeUp("trained, but not yet judged; the same command goes on there")
        content = _discounted(examination.after_training(curves), identity, setting)
    except Unfit as unfit:
        keeper.set_aside(str(unfit))
        return _train(identity, setting)  # from new weights: some of the old ones may have been loaded
    except NonFinite as lost:
        raise NonFinite(f"{lost}; the state is kept in {keeper.keep_failed(model, total)}") from None
    record = _record(identity, setting, started, clock, engine, **content)
    with write_atomically(keeper.folder / WEIGHTS) as temporary:
        save_model(examination.model, str(temporary))
    return record


def _discounted(content: dict[str, Any], identity: Identity, setting: Setting) -> dict[str, Any]:
    """What a probe found, without the numbers that are of a pre-training that collapsed."""
    before = setting.store.read(identity.pretraining) if identity.pretraining and identity.probe else None
    reason = before.invalid.get("knn", "") if before else ""
    if not reason:
        return content
    lost = dict.fromkeys((*JUDGEMENTS, identity.probe), f"its pre-training is no number: {reason}")
    kept = {name: value for name, value in content["measurements"].items() if name not in lost}
    return {**content, "measurements": kept, "invalid": {**content["invalid"], **lost}}


def _start(model: nn.Module, identity: Identity, setting: Setting) -> None:
    """Give a fresh model the weights that its run starts from, where it does not start from scratch."""
    if identity.weights:
        path = published.ensure(identity.model, setting.weights)
        weights.load(model, identity.model, path, digest=identity.weights, image_size=identity.image_size)
    if identity.pretraining is not None:
        execute(identity.pretraining, setting, with_weights=True)
        path = setting.store.folder(identity.pretraining) / WEIGHTS
        try:
            pretrained.load(model, path)
        except DataBroken as broken:
            setting.store.set_aside(path, str(broken).removeprefix(f"{path}: "), then="the pre-training is done again")
            execute(identity.pretraining, setting, with_weights=True)
            pretrained.load(model, path)


def _watch(identity: Identity, setting: Setting, keeper: Checkpoints, examination: Examination) -> Watch:
    what = f"{identity.model}, {identity.objective}, {identity.dataset}, seed {identity.seed}"

    def leave(seconds: float) -> bool:
        return time.monotonic() + EPOCH_MARGIN * seconds + SAVE_SECONDS > setting.deadline

    return Watch(
        examine=examination.after_epoch,
        save=keeper.save,
        tell=lambda done, steps, loss: setting.tell(what, done, steps, loss),
        leave=leave,
        is_late=lambda: time.monotonic() > setting.deadline,
        is_hurried=setting.deadline < math.inf,
    )


def _count(identity: Identity, setting: Setting) -> Record:
    started, clock = datetime.now(UTC), time.perf_counter()
    return _record(identity, setting, started, clock, Engine(), **cost.count(identity))


def _time(identity: Identity, setting: Setting) -> Record:
    started, clock = datetime.now(UTC), time.perf_counter()
    if setting.stopwatch is None:
        raise UserError("nothing to time with: run this case under pytest, where pytest-benchmark is the stopwatch")
    engine = of_device(setting.engine if identity.kind == "training" else "eager", setting.device)
    kinds = {"inference": cost.time_inference, "training": cost.time_training}
    content = kinds[identity.kind](identity, torch.device(setting.device), engine, setting.stopwatch)
    return _record(identity, setting, started, clock, engine, **content)


def _record(
    identity: Identity, setting: Setting, started: datetime, clock: float, engine: Engine, **content: Any
) -> Record:
    details = content.pop("details", {}) | ({"fell_back": engine.said} if engine.said else {})
    setting.store.problems.extend(f"{identity.name}: {line}" for line in engine.said)
    provenance = {
        "date": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 3),
        "device": machine.device_name(setting.device),
        "threads": torch.get_num_threads(),
        "precision": identity.precision,
        "engine": engine.name,
        "commit": machine.commit(),
        "command": machine.command(),
        "versions": dict(machine.versions()),
    }
    return Record(
        kind=identity.kind,
        key=identity.key,
        identity=identity.content(),
        provenance=provenance,
        details=details,
        **content,
    )


@contextmanager
def reproducible(device: str) -> Iterator[None]:
    """One thread on a CPU; on a GPU neither TF32 nor kernels whose result changes from run to run."""
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    memory: Any = torch.utils.deterministic
    before = (cudnn.allow_tf32, cudnn.deterministic)
    products, filled = torch.get_float32_matmul_precision(), memory.fill_uninitialized_memory
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn.allow_tf32, cudnn.deterministic = False, True
    torch.set_float32_matmul_precision("highest")
    if device == "cpu":
        torch.set_num_threads(machine.threads())
    else:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as torch asks for
        card = torch.device(device).index
        if card is not None:  # "cuda" is the current one already, and torch refuses to be told so
            torch.cuda.set_device(card)
        torch.use_deterministic_algorithms(True, warn_only=True)
        memory.fill_uninitialized_memory = False  # nothing here reads what it did not write
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(products)
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        cudnn.allow_tf32, cudnn.deterministic = before
        memory.fill_uninitialized_memory = filled


def _memory_named(identity: Identity) -> AbstractContextManager[None]:
    what = f"{identity.model} under {identity.objective}"
    if identity.phases:
        size = max(phase.batch_size for phase in identity.phases)
        smaller = "a smaller one would be another experiment; --micro-batch N takes it in parts"
        what += f" with micro-batches of {identity.micro_batch}" if identity.micro_batch else ""
        what += f" with a batch of {size} ({smaller})" if not identity.micro_batch else ""
    return memory_named(what)
