"""The identity of a run: everything that determines its result, and nothing else.

Cells of different tables, and of different papers, whose runs are identical share one trained model.
Computed from names, data files and source text, without torch.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import vitbench
from vitbench import leaves, operations
from vitbench.case import Budget, Case, Phase
from vitbench.machine import installed
from vitbench.objective import Call, Objective

# What is measured on what is trained, by the kind of the recipe.
MEASURED = {"run": ("measure/accuracy", "measure/attack"), "pretraining": ("measure/reconstruction",)}
OF_EMBEDDINGS = ("measure/knn", "measure/collapse")  # where a recipe asks for `knn`
OF_PROBES = {"": (), "linear": ("probe", "measure/linear", "measure/knn")}
# What came later, and leaves the keys of the runs that have nothing of it as they were.
LATER = {"micro_batch": None, "pretraining": None, "probe": "", "knn": False, "judged": "student"}
LATER_OF_PHASES = {"views": (), "turning": None}
_VERSION = re.compile(r"^VERSION = (\d+)", re.MULTILINE)
SEED = "\0seed"  # stands for a seed in a text that is cut there
QUICK_SIZE = 32  # H and W in pixels that the tiny networks are made for


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a run is.

    Attributes:
        kind: "run" (one trained model, one seed), "pretraining" (the same without labels), "size" (counted, never
            trained), "inference" or "training" (timed).
        model: `leaf/variant`.
        objective: with every argument that is not the term's own default, which the term's version stands for: an
            argument that a term gets later leaves old runs valid.
        data: digest of the data set's content.
        image_size: H and W in pixels of what the network sees.
        stored_size: of what the data set holds in memory, where that is not what the network sees.
        phases: as they are run, after the budget was applied; none where nothing is trained.
        evaluation: operations that test images go through.
        weights: digest of the published weights that the network starts from; "absent" where they are not there, and
            empty where it starts from scratch.
        versions: of the leaves, the training loop and the measurements.
        pretraining: the run whose weights, all but the classifier's, the network starts from.
        probe, knn, judged: as of `Recipe`.
        micro_batch: images that go through the network at once, where that is not the whole batch.
        machine: what a timing depends on besides: device, engine, threads, versions; empty for the other kinds.
    """

    kind: str = "run"
    model: str
    objective: Objective
    dataset: str
    data: str
    classes: int
    image_size: int
    budget: Budget
    versions: Mapping[str, str]
    phases: tuple[Phase, ...] = ()
    evaluation: tuple[Call, ...] = ()
    weights: str = ""
    pretraining: "Identity | None" = None
    probe: str = ""
    knn: bool = False
    judged: str = "student"
    stored_size: int | None = None
    seed: int = 0
    precision: str = "fp32"
    micro_batch: int | None = None
    machine: Mapping[str, str] | None = None

    def content(self) -> dict[str, Any]:
        """The same as plain data, as it stands in the record; a new copy, to be changed at will."""
        plain: dict[str, Any] = json.loads(self._text)
        return plain

    @cached_property
    def _text(self) -> str:
        return _canonical(self._named())

    def _named(self, seed: str | None = None) -> dict[str, Any]:
        """What stands in the content, with another seed if one is given."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        found = {name: value for name, value in found.items() if name not in LATER or value != LATER[name]}
        if self.pretraining is not None:
            found["pretraining"] = self.pretraining._named(seed)
        return found | {"objective": str(self.objective), "seed": self.seed if seed is None else seed}

    def under(self, seed: int) -> "Identity":
        """The same run under another seed, that of its pre-training too; what all seeds share is written out once."""
        other = replace(self, seed=seed, pretraining=self.pretraining and self.pretraining.under(seed))
        kept = vars(other)  # where cached_property keeps them
        kept["_around_seeds"] = self._around_seeds
        kept["_text"] = json.dumps(seed).join(self._around_seeds)
        return other

    @cached_property
    def _around_seeds(self) -> list[str]:
        """The text, whatever the seed: what stands before it, between its places and after them."""
        found = _canonical(self._named(SEED)).split(json.dumps(SEED))
        assert len(found) == (2 if self.pretraining is None else 3), "something else reads as the place of a seed"
        return found

    @cached_property
    def key(self) -> str:
        """Digest of the content."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    @property
    def pixels(self) -> int:
        """H and W of what the data set holds in memory."""
        return self.stored_size or self.image_size

    @cached_property
    def name(self) -> str:
        """Name of its folder: readable, and unique by the key at its end."""
        parts = [
            self.kind,
            self.model,
            self.objective.slug,
            self.dataset,
            self.budget,
            f"s{self.seed}",
            self.key[:12],
        ]
        return re.sub(r"[^\w.+-]", "-", "_".join(_clip(part) for part in parts), flags=re.ASCII)


def _fields_of(one: Any) -> dict[str, Any]:
    """Of a dataclass or a mapping, without `Phase.elsewhere`: what came of it is there."""
    if isinstance(one, Mapping):
        return dict(one)
    found = {field.name: getattr(one, field.name) for field in fields(one) if field.name != "elsewhere"}
    return {name: value for name, value in found.items() if name not in LATER_OF_PHASES or value}


def _canonical(content: Mapping[str, Any]) -> str:
    """As the content of a record is written once it was read: with names that are strings, and sorted as such."""
    return json.dumps(json.loads(json.dumps(content, default=_fields_of)), sort_keys=True)


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain data in canonical JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _clip(part: str) -> str:
    return part if len(part) <= 60 else part[:60]  # a folder's name has at most 255 bytes


def of_run(
    case: Case,
    *,
    budget: Budget,
    seed: int = 0,
    precision: str = "fp32",
    micro_batch: int | None = None,
    image_size: int | None = None,
    weights: str = "",
) -> Identity:
    """The run that a case needs.

    Args:
        case: with the data set that is to be trained on.
        budget: decides the network, the phases and the form of the terms.
        seed: of weights, order of the data and every other draw.
        precision: "fp32" or "bf16".
        micro_batch: see `Identity`.
        image_size: of photographs in the quick budget.
        weights: digest of the published weights, for a recipe that starts from them; while they are absent, a run of
            it can be named, but not done.
    """
    given: dict[str, Any] = {"seed": seed, "precision": precision, "micro_batch": micro_batch}
    before = case.before(budget)
    model, objective = case.model.at(budget), resolve(case, budget)
    data = leaves.find("datasets", case.dataset)
    phases = phases_of(case, budget)
    size, stored = sizes_of(case, budget, image_size)
    evaluation = () if budget == Budget.QUICK else case.recipe.evaluation
    recipe = case.recipe
    measured = {*MEASURED[recipe.kind], *OF_PROBES[recipe.probe], *(OF_EMBEDDINGS if recipe.knn else ())}
    core = ["train", "learner", *sorted(measured), *_augmentations(phases, evaluation)]
    return Identity(
        kind=case.recipe.kind,
        model=model,
        objective=objective,
        dataset=case.dataset,
        data=str(data.constant("DIGEST")),
        classes=data.constant("CLASSES"),
        image_size=size,
        stored_size=None if stored == size else stored,
        budget=budget,
        versions=_versions(model, objective, core) | {f"datasets/{case.dataset}": data.version},
        phases=phases,
        evaluation=evaluation,
        weights=(weights or "absent") if case.recipe.start == "published" else "",
        pretraining=None if before is None else of_run(before, budget=budget, image_size=image_size, **given),
        probe=recipe.probe,
        knn=recipe.knn,
        judged=recipe.judged,
        **given,
    )


def phases_of(case: Case, budget: Budget) -> tuple[Phase, ...]:
    """The phases that a case is trained by, as they are run on its data set."""
    data = leaves.find("datasets", case.dataset)
    images = data.constant("TRAIN", 0)  # which somebody else's data set need not say
    return tuple(one.placed(None if data.constant("EMBEDDED", False) else images) for one in case.recipe.at(budget))


def of_size(case: Case) -> Identity:
    """What is counted for a case: the paper's network and terms, whatever the budget."""
    counted = _untrained(case, kind="size", budget=Budget.PAPER, core=["measure/size"])
    # What a term costs may depend on the views that it gets; else a size is of no recipe.
    seen = tuple(_one_step(phase) for phase in phases_of(case, Budget.PAPER)[:1] if phase.views)
    # Counted again once fvcore is there.
    return replace(counted, phases=seen, versions={**counted.versions, "fvcore": installed("fvcore")})


def of_timing(
    case: Case,
    *,
    kind: str,
    budget: Budget,
    precision: str,
    machine: Mapping[str, str],
    micro_batch: int | None = None,
) -> Identity:
    """What is timed for a case, on one machine.

    Args:
        kind: "inference", which no objective takes part in, or "training".
        machine: see `vitbench.machine.timing_key`.
        micro_batch: see `Identity`; a forward pass takes the whole batch.
    """
    case = case.baseline if kind == "inference" else case
    core = ["measure/speed"] if kind == "inference" else ["measure/speed", "measure/peak", "learner"]
    identity = _untrained(case, kind=kind, budget=budget, core=core)
    identity = replace(identity, micro_batch=None if kind == "inference" else micro_batch)
    phases = tuple(_one_step(phase) for phase in phases_of(case, budget)[:1])
    return replace(identity, precision=precision, machine=dict(machine), phases=phases)


def _one_step(phase: Phase) -> Phase:
    """What matters to one step: not how often it is taken, and at which rate."""
    return replace(phase, epochs=1, schedule={"name": "constant"})


def resolve(case: Case, budget: Budget) -> Objective:
    """The objective with the arguments of the notation, else of the tiny form, else of the paper; not the term's own.

    The tiny form is that of the quick budget.
    """
    found = {name: leaves.find("terms", name) for name in case.objective.names}
    tiny = {name: leaf.constant("TINY", {}) if budget == Budget.QUICK else {} for name, leaf in found.items()}
    arguments = {name: {**case.defaults.get(name, {}), **tiny[name]} for name in found}
    return case.objective.with_arguments(arguments).without_arguments({k: one.defaults for k, one in found.items()})


def _untrained(case: Case, *, kind: str, budget: Budget, core: list[str]) -> Identity:
    """Weights do not matter to sizes and speeds, nor what the images show."""
    model = case.model.at(budget)
    objective = resolve(case, budget).unweighted()
    data = leaves.find("datasets", case.dataset)
    size, stored = sizes_of(case, budget)
    return Identity(
        kind=kind,
        model=model,
        objective=objective,
        dataset=case.dataset,
        data="",
        classes=data.constant("CLASSES"),
        image_size=size,
        stored_size=None if stored == size else stored,
        budget=budget,
        versions=_versions(model, objective, core),
    )


def _versions(model: str, objective: Objective, core: list[str]) -> dict[str, str]:
    name = model.partition("/")[0]
    used = {f"models/{name}": leaves.find("models", name)}
    used |= {f"terms/{name}": leaves.find("terms", name) for name in objective.names}
    packages = [leaf.constant("VERSIONED_BY") for leaf in used.values() if "VERSIONED_BY" in leaf.constants]
    versions = {name: leaf.version for name, leaf in used.items()}
    versions |= {package: installed(package) for package in packages}
    return versions | {name: _core_version(name) for name in core}


def sizes_of(case: Case, budget: Budget, image_size: int | None = None) -> tuple[int, int]:
    """H and W in pixels of what the network of a case sees, and of what its data set is stored at.

    Photographs are stored at what the recipe asks for, other data sets at their own size; the quick budget's networks
    see what is stored.

    Args:
        image_size: of photographs in the quick budget; None is `QUICK_SIZE`.
    """
    data, recipe = leaves.find("datasets", case.dataset), case.recipe
    own: int = data.constant("IMAGE_SIZE")
    is_any = bool(data.constant("PHOTOGRAPHS", False))
    if budget == Budget.QUICK:
        size = (image_size or QUICK_SIZE) if is_any else own
        return size, size
    size = recipe.image_size or own
    return size, (recipe.stored_size or size) if is_any else own


def _augmentations(phases: Iterable[Phase], evaluation: Iterable[Call]) -> list[str]:
    """Files that the operations of a run stand on, and no others: a new operation leaves old runs valid."""
    names = {call.name for phase in phases for call in _operations(phase)}
    names |= {call.name for call in evaluation}
    files = {file for name in names for file in operations.modules_of(name)}
    fed = ["feed"] if any(phase.augmentation or phase.views or phase.turning for phase in phases) else []
    seen = ["views"] if any(phase.views or phase.turning for phase in phases) else []
    # In which order images are drawn for is of the feed.
    return ["augment", *fed, *seen, *sorted(files)] if names else []


def _operations(phase: Phase) -> Iterator[Call]:
    yield from phase.augmentation
    yield from (call for view in phase.views for call in view.augmentation)
    yield from filter(None, (phase.turning, phase.mixing))


@cache
def _core_version(name: str) -> str:
    """`VERSION` of one of our own modules, which has a line for it, read without importing it."""
    found = _VERSION.search((Path(vitbench.__path__[0]) / f"{name}.py").read_text(encoding="utf-8"))
    assert found, f"{name} says no VERSION"
    return found[1]
