"""What recipes are and in what they differ, line by line, read off their data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from vitbench import leaves
from vitbench.case import Budget, Case, Phase, Pretraining, Recipe
from vitbench.objective import Value
from vitbench.papers import Paper
from vitbench.report.blocks import names
from vitbench.report.markdown import Grid

NOTHING = "-"
# How keys of optimizers and schedules, in the data file's words, are headed; others by their own name.
WORDS = {
    "epochs": "cosine over (epochs)",
    "warmup_epochs": "warm-up (epochs)",
    "warmup_lr": "learning rate, first",
    "lr": "learning rate",
    "min_lr": "learning rate, last",
}
SELECTIONS = {"last": "last", "best": "best on the test images"}
USUAL = ("none", "constant", "not clipped", "the data set's", "student")  # not worth a word where every recipe has it
STARTS = {"scratch": "none", "published": "published, of ImageNet-1K"}


def recipe_table(paper: Paper, cases: Iterable[Case], budget: Budget) -> Grid:
    """A row per setting that recipes differ in, a column per recipe; without rows where there is one recipe.

    Args:
        cases: whose recipes are shown, in the order of the data file.
    """
    recipes = _used(paper, cases, budget)
    found = [settings(paper, one, budget) for one in recipes]
    rows = [[name, *(one.get(name, NOTHING) for one in found)] for name in _differing(found)]
    return ["Setting", *(one.name for one in recipes)], rows if len(recipes) > 1 else []


def shared(paper: Paper, cases: Iterable[Case], budget: Budget) -> list[str]:
    """What the recipes of some cases all do, such as "batch size 1024"."""
    found = [settings(paper, one, budget) for one in _used(paper, cases, budget)]
    every = found[0].items() if found else ()
    return [f"{name} {value}" for name, value in every if name not in _differing(found) and value not in USUAL]


def unlike(paper: Paper, recipe: Recipe, other: Recipe, budget: Budget) -> list[str]:
    """In what a recipe differs from another under a budget, such as "batch size 128 (1024)"."""
    ours, theirs = (settings(paper, one, budget) for one in (recipe, other))
    return [f"{name} {ours.get(name, NOTHING)} ({theirs.get(name, NOTHING)})" for name in _differing([ours, theirs])]


def _used(paper: Paper, cases: Iterable[Case], budget: Budget) -> list[Recipe]:
    names = {case.recipe.name for case in cases}
    return [one for name, one in paper.recipes.items() if name in names and (one.has_quick or budget != Budget.QUICK)]


def lengths(recipes: Sequence[Recipe], budget: Budget) -> str:
    """Such as: `paper` (100 epochs) and `code` (101 epochs of a cosine over 300); in Markdown.

    A probe is as long as what comes before it: `simclr` (1000 epochs of pre-training).
    """
    shown = []
    for recipe in recipes:
        phases = recipe.at(budget)
        if recipe.pretraining and not phases:
            before = sum(phase.epochs for phase in _before(recipe, recipe.pretraining, budget))
            shown.append(f"{names([recipe])} ({before} epochs of pre-training)")
            continue
        cosines = [float(phase.schedule["epochs"]) for phase in phases if "epochs" in phase.schedule]
        cut = f" of a cosine over {cosines[-1]:g}" if cosines and cosines[-1] != phases[-1].epochs else ""
        shown.append(f"{names([recipe])} ({sum(phase.epochs for phase in phases)} epochs{cut})")
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def settings(paper: Paper, recipe: Recipe, budget: Budget) -> dict[str, str]:
    """Everything that a recipe sets under a budget, in words, with arguments of the terms of the paper's losses."""
    found = {
        "protocol": recipe.protocol,
        "epoch whose accuracy is reported": SELECTIONS[recipe.selection],
        "pre-trained weights": "its pre-training's" if recipe.pretraining else STARTS[recipe.start],
    }
    if budget != Budget.QUICK:
        found |= {"image size": _shown(recipe.image_size), "stored image size": _shown(recipe.stored_size)}
    found["operations on test images"] = ", ".join(map(str, recipe.evaluation)) or "none"
    if recipe.probe:
        found["classifier"] = f"{recipe.probe}, of the finished embeddings"
    if recipe.against:
        found["held against"] = recipe.against.name
    if recipe.splits:
        found["splits"] = ", ".join(f"{split} for {page}" for page, split in recipe.splits.items())
    terms = list(dict.fromkeys(name for case in paper.cases for name in case.objective.names))
    found |= dict(_pretraining(recipe, budget))
    found |= dict(_phases(recipe.at(budget), terms))
    return found | {name: value for term in terms for name, value in _term(paper, recipe, term)}


def _pretraining(recipe: Recipe, budget: Budget) -> Iterator[tuple[str, str]]:
    first = recipe.pretraining
    if first:
        yield "pre-training: loss", str(first.objective)
        yield "pre-training: network that is judged", first.judged
        yield "pre-training: data", first.dataset if first.dataset and budget != Budget.QUICK else "that of the case"
        phases = _phases(_before(recipe, first, budget), first.objective.names)
        yield from ((f"pre-training: {name}", value) for name, value in phases)


def _before(recipe: Recipe, first: Pretraining, budget: Budget) -> tuple[Phase, ...]:
    return replace(recipe, phases=first.phases, quick=first.quick).at(budget)


def _phases(phases: Sequence[Phase], terms: Sequence[str]) -> Iterator[tuple[str, str]]:
    for number, phase in enumerate(phases, start=1):
        prefix = f"phase {number}: " if len(phases) > 1 else ""
        yield from ((f"{prefix}{name}", value) for name, value in _phase(phase, terms))


def _phase(phase: Phase, terms: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield "epochs", str(phase.epochs)
    yield "batch size", str(phase.batch_size)
    yield "optimizer", str(phase.optimizer["name"])
    for key, value in phase.optimizer.items():
        if key != "name":
            yield WORDS.get(key, key.replace("_", " ")), _shown(value)
    yield "schedule", str(phase.schedule["name"])
    for key, value in _schedule(phase).items():
        yield WORDS.get(key, key.replace("_", " ")), _shown(value)
    yield "largest norm of the gradient", "not clipped" if phase.clip_grad is None else _shown(phase.clip_grad)
    if phase.views:
        yield from _views(phase)
    else:
        yield "augmentation", ", ".join(map(str, phase.augmentation)) or "none"
    yield "quarter turns", str(phase.turning or "none")
    if phase.elsewhere is not None:
        there = phase.placed(0).augmentation
        yield "steps on other data sets than the digits", f"at least {phase.elsewhere.least_steps}"
        yield "augmentation on them", ", ".join(map(str, there)) or "none"
    yield "mixing", str(phase.mixing or "none")
    for term in terms:
        moves = phase.weights.get(term)
        rises = moves and f"from 0 over {moves['rise_epochs']:g} epochs, back at 0 after {moves['end_epoch']:g}"
        yield f"weight of {term}", rises or "constant"


def _views(phase: Phase) -> Iterator[tuple[str, str]]:
    """In the order in which they are drawn; of a kind there may be several."""
    for number, view in enumerate(phase.views, 1):
        times = f"{view.count} x " if view.count > 1 else ""
        yield f"view {number}", f"{times}{view.name}: {', '.join(map(str, view.augmentation)) or 'as it is'}"


def _schedule(phase: Phase) -> dict[str, Value]:
    length = {"epochs": phase.epochs} if phase.schedule["name"] == "cosine" else {}
    return {**length, **{key: value for key, value in phase.schedule.items() if key != "name"}}


def _term(paper: Paper, recipe: Recipe, term: str) -> Iterator[tuple[str, str]]:
    """The arguments that the paper or one of its recipes sets; what a recipe leaves open is the term's own default."""
    sources = (paper.defaults, *(one.terms for one in paper.recipes.values()))
    own = {**paper.defaults.get(term, {}), **recipe.terms.get(term, {})}
    for argument in sorted({argument for source in sources for argument in source.get(term, {})}):
        value = own.get(argument, leaves.find("terms", term).defaults.get(argument))
        yield f"{term}: {argument}", NOTHING if value is None else _shown(value)


def _differing(found: Sequence[Mapping[str, str]]) -> list[str]:
    every = dict.fromkeys(name for one in found for name in one)
    return [name for name in every if len({one.get(name) for one in found}) > 1]


def _shown(value: Value | None) -> str:
    if value is None:
        return "the data set's"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
