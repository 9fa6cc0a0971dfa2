"""What a case costs before it is trained: parameters and MACs counted, steps timed. Returns the content of records."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from vitbench import build, leaves, samples
from vitbench.adapter import takes
from vitbench.augment import compose, to_float
from vitbench.case import View
from vitbench.contracts import Images, Output
from vitbench.engine import WARM_STEPS, Engine
from vitbench.identity import Identity
from vitbench.learner import DRAWS, Learner
from vitbench.measure import size, speed, training
from vitbench.measure.peak import matmul_peak
from vitbench.meta import ShapesAlone, Undrawn
from vitbench.objective import parse
from vitbench.train import generator


def count(identity: Identity) -> dict[str, Any]:
    """Parameters and MACs of a network and its terms; nothing is computed but shapes."""
    macs = _count_model(identity.model, identity.classes, identity.image_size)
    model, _ = _on_meta(identity.model, identity.classes, identity.image_size)
    with torch.device("meta"):
        terms = {name: build.term_of(identity, name, model) for name in identity.objective.names}
    step = _training_cost(identity, macs.matmul_conv)
    measurements = {
        "params": size.count_params(model) / 1e6,
        "term_params": sum(size.count_params(term) for term in terms.values()) / 1e6,
        "macs": macs.matmul_conv / 1e9,
        "macs_layers": macs.layers / 1e9,
        "macs_without_attention": macs.without_attention / 1e9,
        "training_macs": step.macs / 1e9,
        "training_macs_ratio": step.ratio,
    }
    if macs.fvcore is not None:
        measurements["macs_fvcore"] = macs.fvcore / 1e9
    return {"measurements": measurements, "invalid": {"macs_fvcore": macs.reason} if macs.fvcore is None else {}}


def _training_cost(identity: Identity, model_macs: int) -> training.TrainingCost:
    """Of one image, with every term; without the model's own pass where no term asks for its output."""
    model, out = _on_meta(identity.model, identity.classes, identity.image_size)
    macs, seen = [], _seen(identity)
    for name in identity.objective.names:
        with torch.device("meta"):
            term = build.term_of(identity, name, model)
        given: dict[str, Any] = {"model": lambda: model, "image_size": identity.image_size, "out": out, **seen}
        macs.append(training.count_term_macs(lambda: term, **given))  # noqa: B023 - at once
    return training.training_cost(model_macs, macs)


def _seen(identity: Identity) -> dict[str, Any]:
    """What a step sees of a photograph: by the recipe, else as many versions as the terms compare at the least."""
    if not identity.phases:
        least = [leaves.find("terms", name).constant("VERSIONS", 1) for name in identity.objective.names]
        return {"versions": max(least)}
    phase = identity.phases[0]
    views = {view.name: (view.count, 3, *_size_of(view, identity)) for view in phase.views if view.is_local}
    return {"versions": phase.versions, "turned": phase.turning is not None, "views": views}


def _size_of(view: View, identity: Identity) -> tuple[int, int]:
    """H and W of a view."""
    stored = torch.zeros(1, 3, identity.pixels, identity.pixels, dtype=torch.uint8, device="cpu")
    made = compose((call.name, call.arguments) for call in view.augmentation).levels(stored)
    return made.shape[2], made.shape[3]


def step_flops(identity: Identity) -> float:
    """Floating-point operations of one training step: two for each MAC of a forward and, if any, a backward pass."""
    phase = identity.phases[0]
    return 2.0 * _training_cost(identity, _pass(identity)).macs * phase.batch_size * phase.versions


def step_ratio(identity: Identity) -> float:
    """MACs of a training step for one photograph, in all its views, over those of plain cross-entropy for one image."""
    return _training_cost(identity, _pass(identity)).ratio * identity.phases[0].versions


def step_ratio_by_area(identity: Identity) -> float:
    """The same as the views' areas predict it: as if a network cost its pixels, and heads nothing.

    The student sees each version and each small crop, forward and backward, a teacher each version, forward alone.
    Too much for small crops, because attention costs more than its share in a large image.
    """
    network, _ = _on_meta(identity.model, identity.classes, identity.image_size)
    phase, whole = identity.phases[0], identity.image_size**2
    with torch.device("meta"):
        terms = [build.term_of(identity, name, network) for name in identity.objective.names]
    teachers = sum(getattr(term, "teacher", None) is not None for term in terms)
    sizes = [(view.count, *_size_of(view, identity)) for view in phase.views if view.is_local]
    # A network that does not take them gets them enlarged.
    crops = sum(n * (h * w / whole if h == w and takes(network, image_size=h) else 1) for n, h, w in sizes)
    return phase.versions + crops + teachers * phase.versions / 3


def _pass(identity: Identity) -> int:
    """MACs of a forward pass of one image."""
    network, _ = _on_meta(identity.model, identity.classes, identity.image_size)
    return size.count_matmul_conv(lambda: network, image_size=identity.image_size)


def _count_model(model: str, classes: int, image_size: int) -> size.Macs:
    """MACs of a network; the same for every objective, so counted once a session."""
    counted = _counted(model, image_size)
    if classes not in counted:
        counted[classes] = size.count_macs(
            lambda: build.unchecked(model, classes, image_size),
            image_size=image_size,
            on_meta=_on_meta(model, classes, image_size)[0],
            classes=classes,
            others=counted,
        )
    return counted[classes]


@cache
def _counted(model: str, image_size: int) -> dict[int, size.Macs]:
    """MACs of a network by the number of classes, as far as they were counted."""
    return {}


@cache
def _on_meta(model: str, classes: int, image_size: int) -> tuple[nn.Module, Output]:
    """A network without weights, and its output for one image; both serve every objective."""
    with torch.device("meta"), ShapesAlone():
        with Undrawn():
            network = build.untrained(model, classes, image_size).eval()
        return network, network(torch.zeros(1, 3, image_size, image_size))


def time_inference(
    identity: Identity, device: torch.device, engine: Engine, stopwatch: speed.Stopwatch
) -> dict[str, Any]:
    """Images a second of a forward pass; no engine takes part in it."""
    images = to_float(_noise(identity, identity.image_size)).to(device)
    call = speed.inference(build.place(build.model_of(identity), device), images, precision=identity.precision)
    timing = speed.time_call(call, device, stopwatch)
    measurements = {"inference": len(images) / timing.seconds, "inference_noise": timing.noise_floor}
    return {"measurements": measurements, "details": {"batch_size": len(images)}}


def time_training(
    identity: Identity, device: torch.device, engine: Engine, stopwatch: speed.Stopwatch
) -> dict[str, Any]:
    """Images a second of a training step, and its time over that of plain cross-entropy."""
    plain = replace(identity, objective=parse("ce"))
    memory = _memory(identity, device), _memory(plain, device)  # each alone on the device
    call = again(learner(identity, device), engine)
    timing = speed.time_against(call, again(learner(plain, device), replace(engine, said=[])), device, stopwatch)
    batch = identity.phases[0].batch_size
    measurements = {
        "training": batch / timing.seconds,
        "step_ms": 1e3 * timing.seconds,
        "training_noise": timing.noise_floor,
        "peak_share": 100 * step_flops(identity) / timing.seconds / matmul_peak(device, identity.precision),
    }
    if timing.ratio is not None:
        measurements["step_ratio"] = timing.ratio
    if memory[0] is not None and memory[1] is not None:
        measurements |= {"peak_memory": memory[0], "memory_ratio": memory[0] / memory[1]}
    return {"measurements": measurements, "details": {"batch_size": batch, samples.MULTIPLES: list(timing.multiples)}}


def _memory(identity: Identity, device: torch.device) -> float | None:
    """Eagerly, for of a captured step torch counts nothing; nor does it on a CPU, where nothing is built for it."""
    if device.type != "cuda":
        return None
    return speed.peak_memory(again(learner(identity, device), Engine()), device)


def learner(identity: Identity, device: torch.device) -> Learner:
    """A learner on one batch of noise: speed does not depend on what the images show, but zeros would be faster."""
    phase = identity.phases[0]
    draw = generator(identity.seed, "labels of noise")
    labels = torch.randint(0, identity.classes, (phase.batch_size,), generator=draw)
    model = build.place(build.model_of(identity), device)
    return Learner(
        model,
        build.total_of(identity, model).to(device),
        Images(images=_noise(identity, identity.pixels), labels=labels, classes=identity.classes).to(device),
        phase,
        precision=identity.precision,
        micro_batch=identity.micro_batch,
    )


def _noise(identity: Identity, size: int) -> Tensor:
    """One batch (B, 3, size, size) of uint8."""
    pixels = (identity.phases[0].batch_size, 3, size, size)
    return torch.randint(0, 256, pixels, dtype=torch.uint8, generator=generator(identity.seed, "noise"))


def again(one: Learner, engine: Engine) -> Callable[[], None]:
    """The same step of a learner at every call, by an engine that is warm."""
    one.begin(0, order=torch.arange(len(one.data)), seeds=dict.fromkeys(DRAWS, 0))
    step = engine.stepper(one)

    def call() -> None:
        one.plan.at.zero_()
        step()

    for _ in range(0 if engine.name == "eager" else WARM_STEPS + 1):
        call()
    return call
