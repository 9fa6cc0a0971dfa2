"""Reads the recipes of a paper's data file; where a number is wrong, file and line are named."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from vitbench import leaves, operations
from vitbench.case import Elsewhere, Phase, Pretraining, Recipe, View
from vitbench.errors import UserError
from vitbench.objective import Call, Value, parse, parse_call
from vitbench.sections import Section

PHASES = ("phases", "quick")
JUDGED = ("student", "teacher")
VIEWS = ("global", "masked", "local")
MOST_VIEWS = 100  # of a kind, beyond what anybody draws; a misprint would fill the memory
LABELLING = {"mixing": "mix", "turning": "quarter_turn"}  # keys of operations that make labels too, and their names
BASE_BATCH = 256  # images that `base_lr` is the learning rate of a step of (Goyal et al. 2017, arXiv:1706.02677)
# timm's names of the optimizers that recipes in this field are written with.
OPTIMIZERS = (
    *("adam", "adamw", "sgd", "momentum", "nadamw", "lamb", "lars", "lion", "muon", "rmsprop", "adafactor"),
    "lookahead_adamw",
)


def read(key: str, section: Section) -> Recipe:
    """Read one of `[recipes]`.

    Raises:
        UserError: for an unknown, missing or impossible value.
    """
    own = ("protocol", "selection", "start", "image_size", "stored_size", "evaluation", "terms", "pretraining")
    section.keys(*own, "probe", "knn", "judged", "against", "splits", *PHASES)
    probe = section.one_of("probe", ["linear"]) if "probe" in section.content else ""
    phases, quick = _phases(section, may_be_none=bool(probe))
    sizes = {name: _positive(section, name, int) for name in ("image_size", "stored_size") if name in section.content}
    if len(sizes) == 2 and sizes["stored_size"] < sizes["image_size"]:
        where, (seen, stored) = f"{section.where('stored_size')} [{section.name}]", sizes.values()
        raise UserError(f"{where} stored_size: expected at least image_size, {seen}, got {stored}")
    return Recipe(
        name=key,
        protocol=section.one_of("protocol", ["paper", "code"]),
        selection=section.one_of("selection", ["last", "best"]),
        phases=phases,
        quick=quick,
        start=section.one_of("start", ["scratch", "published"], "scratch"),
        image_size=sizes.get("image_size"),
        stored_size=sizes.get("stored_size"),
        evaluation=tuple(_operations(section, "evaluation")),
        terms={name: arguments(name, one) for name, one in section.section("terms").sections()},
        pretraining=_pretraining(section, has_quick=bool(quick)),
        probe=probe,
        knn=section.get("knn", bool, False),
        judged=section.one_of("judged", JUDGED, "student"),
        splits=dict(_splits(section.section("splits"))),
    )


def read_all(sections: Mapping[str, Section]) -> dict[str, Recipe]:
    """Read `[recipes]`, of which one may name another `against` which its method is held.

    Raises:
        UserError: for an unknown, missing or impossible value.
    """
    found = {key: read(key, section) for key, section in sections.items()}
    for key, section in sections.items():
        if "against" in section.content:
            others = [name for name in found if name != key and "against" not in sections[name].content]
            found[key] = replace(found[key], against=found[section.one_of("against", others)])
    return found


def _splits(section: Section) -> Iterator[tuple[str, str]]:
    for dataset in section.content:
        split = section.get(dataset, str)
        for name in (dataset, split):
            leaves.find("datasets", name, where=section.where(dataset))
        yield dataset, split


def arguments(term: str, section: Section) -> dict[str, Value]:
    """Values of a term's arguments, as a paper or a recipe sets them.

    Raises:
        UserError: for an unknown term or argument, or a value that the notation cannot write.
    """
    where = section.where()
    leaves.find("terms", term, where=where).check_arguments(set(section.content), where=where)
    for name, value in section.content.items():
        if not isinstance(value, bool | int | float | str):
            raise UserError(
                f"{where} [{section.name}] {name}: expected a number, true, false or a string, got {value!r}"
            )
    return dict(section.content)


def _phases(section: Section, *, may_be_none: bool = False) -> tuple[tuple[Phase, ...], tuple[Phase, ...]]:
    """The paper's, at least one, and ours of the quick budget."""
    phases = tuple(_phase(one) for one in section.list_of_sections("phases"))
    if not phases and not may_be_none:
        where = f"{section.where()} [{section.name}]"
        raise UserError(f"{where}: a recipe has at least one phase; add [[{section.name}.phases]]")
    return phases, tuple(_quick_phase(one) for one in section.list_of_sections("quick"))


def _pretraining(recipe: Section, *, has_quick: bool) -> Pretraining | None:
    """What comes before a recipe's phases, in the quick budget too where the recipe has one."""
    if "pretraining" not in recipe.content:
        return None
    section = recipe.section("pretraining")
    section.keys("objective", "dataset", "judged", *PHASES)
    where = f"{section.where()} [{section.name}]"
    if recipe.content.get("start", "scratch") != "scratch":
        raise UserError(f"{where}: a recipe starts from a pre-training of its own or from published weights, got both")
    text = section.get("objective", str)
    objective = parse(text, where=section.where("objective"))
    leaves.check_objective(objective, where=section.where("objective"))
    dataset = section.get("dataset", str, "")
    if dataset:
        leaves.find("datasets", dataset, where=section.where("dataset"))
    phases, quick = _phases(section)
    for phase in (*phases, *quick):
        leaves.check_versions(objective, phase.versions, where=section.where("objective"))
    if bool(quick) != has_quick and not (quick and "probe" in recipe.content):
        raise UserError(
            f"{where}: expected [[{section.name}.quick]] where [[{recipe.name}.quick]] stands, got only one"
        )
    judged = section.one_of("judged", JUDGED, "student")
    return Pretraining(objective=objective, dataset=dataset, phases=phases, quick=quick, judged=judged)


def _quick_phase(section: Section) -> Phase:
    phase = _phase(section, "elsewhere")
    if "elsewhere" not in section.content:
        return phase
    there = section.section("elsewhere")
    there.keys("least_steps", "augmentation")
    drawn = tuple(_operations(there, "augmentation")) if "augmentation" in there.content else None
    return replace(phase, elsewhere=Elsewhere(least_steps=_positive(there, "least_steps", int), augmentation=drawn))


def _phase(section: Section, *more: str) -> Phase:
    images = ("augmentation", "views", "turning", "mixing")
    section.keys(*("epochs", "batch_size", "optimizer", "schedule", *images, "clip_grad", "weights", *more))
    epochs, batch_size = (_positive(section, key, int) for key in ("epochs", "batch_size"))
    optimizer = _optimizer(section.section("optimizer"), batch_size)
    return Phase(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=_schedule(section.section("schedule"), epochs, optimizer["lr"]),
        augmentation=tuple(_operations(section, "augmentation")),
        views=_views(section),
        turning=_labelling(section, "turning"),
        mixing=_labelling(section, "mixing"),
        clip_grad=_positive(section, "clip_grad", float) if "clip_grad" in section.content else None,
        weights={name: _moves(name, one) for name, one in section.section("weights").sections()},
    )


def _optimizer(section: Section, batch_size: int) -> dict[str, Any]:
    """The optimizer of a phase with batches of so many images; whichever way its learning rate is written, `lr`."""
    section.keys("name", "lr", "base_lr", "weight_decay", "betas", "eps", "momentum", "layer_decay")
    section.one_of("name", OPTIMIZERS)
    content = {"lr" if key == "base_lr" else key: value for key, value in section.content.items()}
    if len(content) < len(section.content):
        where = f"{section.where('base_lr')} [{section.name}]"
        raise UserError(f"{where}: expected lr or base_lr, which is the lr of {BASE_BATCH} images, got both; keep one")
    if "base_lr" in section.content:
        # In decimals, so that 1.5e-4 of a batch of 1408 is the number that 8.25e-4 is.
        content["lr"] = float(Decimal(str(_positive(section, "base_lr", float))) * batch_size / BASE_BATCH)
    else:
        _positive(section, "lr", float)
    for name in ("weight_decay", "eps"):
        _not_negative(section, name)
    if _not_negative(section, "momentum") >= 1:
        found = section.content["momentum"]
        raise UserError(f"{section.where('momentum')} [{section.name}] momentum: expected less than 1, got {found}")
    if "layer_decay" in content and _positive(section, "layer_decay", float) > 1:
        where = f"{section.where('layer_decay')} [{section.name}]"
        raise UserError(f"{where} layer_decay: expected at most 1, got {content['layer_decay']}")
    betas = section.get("betas", list, [0.0, 0.0])
    if len(betas) != 2 or not all(type(one) in (int, float) and 0 <= one < 1 for one in betas):
        where = f"{section.where('betas')} [{section.name}]"
        raise UserError(f"{where} betas: expected two numbers, from 0 up and less than 1, got {betas}")
    return content


def _schedule(section: Section, epochs: int, lr: float) -> dict[str, Value]:
    """The schedule of a phase of so many epochs, whose optimizer has that learning rate."""
    section.keys("name", "warmup_epochs", "warmup_lr", "min_lr", "epochs", "after_warmup")
    if section.get("after_warmup", bool, False) and "warmup_epochs" not in section.content:
        where = f"{section.where('after_warmup')} [{section.name}]"
        raise UserError(f"{where} after_warmup: there is no warm-up to follow; give warmup_epochs")
    if section.one_of("name", ["constant", "cosine"]) == "constant":
        section.keys("name")
    if "epochs" in section.content:
        epochs = _positive(section, "epochs", int)
    for name in ("warmup_lr", "min_lr"):
        found = _not_negative(section, name)
        if found > lr:
            where = f"{section.where(name)} [{section.name}]"
            raise UserError(f"{where} {name}: expected at most the optimizer's lr, {lr:g}, got {found:g}")
    warmup = _not_negative(section, "warmup_epochs")
    if warmup >= epochs:
        where = f"{section.where('warmup_epochs')} [{section.name}]"
        raise UserError(f"{where} warmup_epochs: expected less than the schedule's {epochs} epochs, got {warmup:g}")
    return section.content


def _moves(term: str, section: Section) -> dict[str, float]:
    leaves.find("terms", term, where=section.where())
    section.keys("rise_epochs", "end_epoch")
    moves = {key: _positive(section, key, float) for key in ("rise_epochs", "end_epoch")}
    if moves["end_epoch"] <= moves["rise_epochs"]:
        raise UserError(
            f"{section.where('end_epoch')} [{section.name}] end_epoch: expected more than rise_epochs, "
            f"{moves['rise_epochs']:g}, got {moves['end_epoch']:g}"
        )
    return moves


def _positive(section: Section, key: str, kind: type) -> Any:
    number = section.get(key, kind)
    if number <= 0:
        raise UserError(f"{section.where(key)} [{section.name}] {key}: expected more than 0, got {number}")
    return number


def _not_negative(section: Section, key: str) -> float:
    """A number from 0 up; 0 where there is none."""
    number: float = section.get(key, float, 0.0)
    if number < 0:
        raise UserError(f"{section.where(key)} [{section.name}] {key}: expected at least 0, got {number:g}")
    return number


def _operations(section: Section, key: str) -> Iterator[Call]:
    for text, where in zip(section.get(key, list, []), section.places(key), strict=True):
        yield _operation(str(text), where, key)


def _operation(text: str, where: str, key: str) -> Call:
    call = parse_call(text, where=where)
    operation = operations.find(call.name, where=where)
    wanted = LABELLING.get(key)
    if call.name != wanted and (wanted or call.name in LABELLING.values()):
        right = next((one for one, name in LABELLING.items() if name == call.name), "augmentation")
        raise UserError(f"{where}: {call.name} stands under the key `{right}`, got it under `{key}`; move it there")
    if key == "evaluation" and call.name not in operations.drawless():
        known = " or ".join(operations.drawless())
        raise UserError(f"{where}: an evaluation draws nothing, got {call.name}; use {known}")
    operation.check_arguments(set(call.arguments), where=where)
    return call


def _labelling(section: Section, key: str) -> Call | None:
    """The one operation under a key that makes labels besides images."""
    if key not in section.content:
        return None
    return _operation(section.get(key, str), section.where(key), key)


def _views(section: Section) -> tuple[View, ...]:
    if "views" not in section.content:
        return ()
    where = f"{section.where('views')} [{section.name}] views"
    for key in {"augmentation", "mixing"} & section.content.keys():
        raise UserError(f"{where}: each view has an augmentation of its own, got {key} of the phase as well; drop it")
    views = tuple(_view(one) for one in section.list_of_sections("views"))
    if all(view.is_local for view in views):
        raise UserError(f"{where}: expected a view that is not local, for the batch to be made of, got none; add one")
    if sum(view.is_local for view in views) > 1:
        raise UserError(f"{where}: expected one kind of local view at most, got several; give one a larger count")
    return views


def _view(section: Section) -> View:
    section.keys("name", "count", "augmentation")
    count = _positive(section, "count", int) if "count" in section.content else 1
    if count > MOST_VIEWS:
        where = f"{section.where('count')} [{section.name}]"
        raise UserError(f"{where} count: expected at most {MOST_VIEWS} views of a kind, got {count}")
    drawn = tuple(_operations(section, "augmentation"))
    return View(name=section.one_of("name", VIEWS), count=count, augmentation=drawn)
