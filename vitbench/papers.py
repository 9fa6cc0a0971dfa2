"""Papers as data: the only reader of `baselines/papers/*.toml`, strict, and without torch.

A file is laid out like the page that it quotes. Every mistake in it is one line that names the file, the
line and the way out, found at collection or by `vitbench check`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import vitbench
from vitbench import leaves, recipes, sections, tables
from vitbench.case import Case, Model, Recipe, Status
from vitbench.choices import Choice
from vitbench.conclusions import Conclusion
from vitbench.errors import unknown
from vitbench.metrics import METRICS
from vitbench.objective import Value
from vitbench.printed import Standing
from vitbench.sections import Section
from vitbench.tables import Table


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One source: models, defaults of its terms, recipes, tables, conclusions.

    Attributes:
        weights: per term and model, the weight that the paper settled on; the quick budget runs these rows.
        floors: per model, the lowest accuracy (%) on the digits that the quick budget lets pass. Ours.
        choices: what the paper leaves open, or is not followed in, and what is done here.
    """

    name: str
    title: str
    authors: str
    year: int
    venue: str
    url: str
    path: Path
    models: Mapping[str, Model]
    defaults: Mapping[str, Mapping[str, Value]]
    recipes: Mapping[str, Recipe]
    tables: tuple[Table, ...]
    conclusions: tuple[Conclusion, ...] = ()
    choices: tuple[Choice, ...] = ()
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def cases(self) -> Iterator[Case]:
        """Every case of every table, in printed order."""
        return (case for table in self.tables for case in table.cases)

    @cached_property
    def datasets_of(self) -> dict[str, list[str]]:
        """Data sets that each model is printed with, by name; of the empty name those of all models."""
        found: dict[str, set[str]] = {}
        for case in self.cases:
            for model in (case.model.name, ""):
                found.setdefault(model, set()).add(case.dataset)
        return {model: sorted(datasets) for model, datasets in found.items()}

    @cached_property
    def unweighed(self) -> frozenset[tuple[str, ...]]:
        """Sets of terms that are printed with one choice of weights and arguments, so that there was none to settle."""
        found: dict[tuple[str, ...], set[str]] = {}
        for case in self.cases:
            text = str(case.objective.without_arguments(case.defaults))
            found.setdefault(case.objective.names, set()).add(text)
        return frozenset(names for names, texts in found.items() if len(texts) == 1)


def data_folder() -> Path:
    """`baselines/` of a checkout, or the copy of it that a wheel carries."""
    package = Path(vitbench.__path__[0])
    checkout = package.parent / "baselines"
    return checkout if (checkout / "papers").is_dir() else package / "data"


@cache
def load_all(folder: Path | None = None) -> tuple[Paper, ...]:
    """Read every paper, in order of name.

    Raises:
        UserError: for the first mistake found.
    """
    paths = sorted((folder or data_folder() / "papers").glob("*.toml"))
    return tuple(load(path) for path in paths)


def load(path: Path) -> Paper:
    """Read one paper.

    Raises:
        UserError: naming file and line of a mistake.
    """
    top = sections.read(path)
    keys = ("title", "authors", "year", "venue", "url")
    top.keys(*keys, "choices", "models", "terms", "datasets", "recipes", "quick", "tables", "conclusions")
    models = {key: _model(key, section) for key, section in top.section("models").sections()}
    quick = top.section("quick")
    quick.keys("weights", "floors")
    terms, named_terms = _apart(top.section("terms"))
    readable, named_recipes = _apart(top.section("recipes"))
    reader = tables.Reader(
        paper=path.stem,
        models=models,
        defaults={key: recipes.arguments(key, section) for key, section in terms.items()},
        recipes=recipes.read_all(readable),
        standings={key: _standing(key, section) for key, section in top.section("datasets").sections()},
        terms=named_terms,
        labels=named_recipes,
    )
    found = tuple(reader.table(key, section) for key, section in top.section("tables").sections())
    return Paper(
        name=path.stem,
        title=top.get("title", str),
        authors=top.get("authors", str),
        year=top.get("year", int),
        venue=top.get("venue", str, ""),
        url=top.get("url", str, ""),
        path=path,
        models=models,
        defaults=reader.defaults,
        recipes=reader.recipes,
        tables=found,
        conclusions=tuple(_conclusions(top, found)),
        choices=tuple(Choice.read(one, recipes=readable) for one in top.list_of_sections("choices")),
        weights=_weights(quick.section("weights"), list(models)),
        floors=_by_model(quick.section("floors"), list(models)),
    )


def _standing(dataset: str, section: Section) -> Standing:
    section.keys("status", "reason")
    standing = Standing.read(section)
    if standing.status != Status.PRINTED_ONLY:
        leaves.find("datasets", dataset, where=section.where())
    return standing


def _apart(section: Section) -> tuple[dict[str, Section], dict[str, Standing]]:
    """Entries of `[terms]` or `[recipes]`, and those that are only named: with a status in place of content."""
    entries = dict(section.sections())
    named = {key: one for key, one in entries.items() if "status" in one.content}
    for one in named.values():
        one.keys("status", "reason")
        one.one_of("status", [Status.PRINTED_ONLY.value])
    return {key: one for key, one in entries.items() if key not in named}, {
        key: Standing.read(one) for key, one in named.items()
    }


def _weights(section: Section, models: Sequence[str]) -> dict[str, dict[str, float]]:
    """Per term, one weight for all models, or a weight for each of them that is named."""
    found = {}
    for term, value in section.content.items():
        leaves.find("terms", term, where=section.where(term))
        is_one = not isinstance(value, dict)
        found[term] = (
            dict.fromkeys(models, section.get(term, float)) if is_one else _by_model(section.section(term), models)
        )
    return found


def _by_model(section: Section, models: Sequence[str]) -> dict[str, float]:
    for key in section.content:
        if key not in models:
            raise unknown("model", key, models, where=section.where(key))
    return {key: section.get(key, float) for key in section.content}


def _model(key: str, section: Section) -> Model:
    section.keys("printed", "full", "tiny")
    is_named = not {"full", "tiny"} & section.content.keys()  # and no more: it stands in no case
    full = "" if is_named else section.get("full", str)
    model = Model(name=key, printed=section.get("printed", str), full=full, tiny=section.get("tiny", str, full))
    for reference in filter(None, (model.full, model.tiny)):
        leaves.check_model(reference, where=section.where(reference))
    return model


def _conclusions(top: Section, found: Sequence[Table]) -> Iterator[Conclusion]:
    printed = {table.id: table.printed for table in found}
    return (Conclusion.read(section, tables=printed) for section in top.list_of_sections("conclusions"))


def _text(metric: str, value: float) -> str:
    """Two decimals, as most papers print, and more where there are more; none of what is counted."""
    decimals = min(METRICS[metric].decimals, 2)
    return f"{value:.{decimals}f}" if round(value, decimals) == value else f"{value:.10g}"


def claims(papers: tuple[Paper, ...]) -> Iterator[dict[str, str]]:
    """Every printed number in long form, one dictionary each; see `vitbench claims --csv`."""
    for paper in papers:
        for table in paper.tables:
            for one in table.printed:
                model, objective, dataset = one.cell
                yield {
                    "paper": paper.name,
                    "table": table.id,
                    "model": model,
                    "objective": objective,
                    "dataset": dataset,
                    "recipe": one.recipes[0] if one.recipes else one.label,
                    "metric": one.claim.metric,
                    "value": _text(one.claim.metric, one.claim.value),
                    "source": one.claim.source,
                    "status": one.claim.status,
                }
