"""Reads the recipes of a paper's data file; where a number is wrong, file and line are named."""

from collections.abc import Iterator
from typing import Any

from vitbench import leaves
from vitbench.case import Phase, Recipe
from vitbench.errors import UserError
from vitbench.objective import Call, parse_call
from vitbench.sections import Section

# timm's names of the optimizers that recipes in this field are written with.
OPTIMIZERS = ("adam", "adamw", "sgd", "momentum", "nadamw", "lamb", "lars", "lion", "muon", "rmsprop", "adafactor")


def read(key: str, section: Section) -> Recipe:
    """Read one of `[recipes]`.

    Raises:
        UserError: for an unknown, missing or impossible value.
    """
    section.keys("protocol", "selection", "phases", "quick")
    phases = tuple(_phase(one) for one in section.list_of_sections("phases"))
    if not phases:
        where = f"{section.where()} [{section.name}]"
        raise UserError(f"{where}: a recipe has at least one phase; add [[{section.name}.phases]]")
    return Recipe(
        name=key,
        protocol=section.one_of("protocol", ["paper", "code"]),
        selection=section.one_of("selection", ["last", "best"]),
        phases=phases,
        quick=tuple(_phase(one) for one in section.list_of_sections("quick")),
    )


def _phase(section: Section) -> Phase:
    section.keys("epochs", "batch_size", "optimizer", "schedule", "augmentation", "clip_grad")
    schedule, optimizer = section.section("schedule"), section.section("optimizer")
    schedule.keys("name", "warmup_epochs", "warmup_lr", "min_lr")
    schedule.one_of("name", ["constant", "cosine"])
    for name in ("warmup_epochs", "warmup_lr", "min_lr"):
        schedule.get(name, float, 0.0)
    if schedule.content["name"] == "constant":
        schedule.keys("name")
    optimizer.keys("name", "lr", "weight_decay", "betas", "eps", "momentum")
    optimizer.one_of("name", OPTIMIZERS)
    optimizer.get("weight_decay", float, 0.0)
    _positive(optimizer, "lr", float)
    return Phase(
        epochs=_positive(section, "epochs", int),
        batch_size=_positive(section, "batch_size", int),
        optimizer=optimizer.content,
        schedule=schedule.content,
        augmentation=tuple(_augmentation(section)),
        clip_grad=_positive(section, "clip_grad", float) if "clip_grad" in section.content else None,
    )


def _positive(section: Section, key: str, kind: type) -> Any:
    number = section.get(key, kind)
    if number <= 0:
        raise UserError(f"{section.where(key)} [{section.name}] {key}: expected more than 0, got {number}")
    return number


def _augmentation(section: Section) -> Iterator[Call]:
    for text, where in zip(section.get("augmentation", list, []), section.places("augmentation"), strict=True):
        call = parse_call(str(text), where=where)
        leaves.find_operation(call.name, where=where).check_arguments(set(call.arguments), where=where)
        yield call
