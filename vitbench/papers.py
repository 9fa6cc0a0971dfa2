"""Papers as data: the only reader of `baselines/papers/*.toml`, strict, and without torch.

A file is laid out like the page that it quotes. Every mistake in it is one line that names the file, the
line and the way out, found at collection or by `vitbench check`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import vitbench
from vitbench import leaves, recipes, sections
from vitbench.case import Case, Claim, Model, Recipe
from vitbench.conclusions import Conclusion
from vitbench.errors import UserError, unknown
from vitbench.metrics import METRICS
from vitbench.objective import Value, parse
from vitbench.sections import Section


@dataclass(frozen=True, kw_only=True)
class Table:
    """One printed table: its cases in printed order, with what is printed for each.

    Attributes:
        where: section or page of the paper.
        columns: (data set, metric) of each printed column.
    """

    id: str
    title: str
    where: str
    columns: tuple[tuple[str, str], ...]
    cases: tuple[Case, ...]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One source: models, defaults of its terms, recipes, tables, conclusions.

    Attributes:
        weights: per term, the weight that the paper settled on; the quick budget runs these rows.
        floors: per model, the lowest accuracy (%) on the digits that the quick budget lets pass. Ours.
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
    weights: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def cases(self) -> Iterator[Case]:
        """Every case of every table, in printed order."""
        return (case for table in self.tables for case in table.cases)


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
    top.keys(*keys, "models", "terms", "recipes", "quick", "tables", "conclusions")
    models = {key: _model(key, section) for key, section in top.section("models").sections()}
    quick = top.section("quick")
    quick.keys("weights", "floors")
    reader = _Tables(
        paper=path.stem,
        models=models,
        defaults={key: recipes.arguments(key, section) for key, section in top.section("terms").sections()},
        recipes={key: recipes.read(key, section) for key, section in top.section("recipes").sections()},
    )
    tables = tuple(reader.table(key, section) for key, section in top.section("tables").sections())
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
        tables=tables,
        conclusions=tuple(_conclusions(top, tables)),
        weights=_numbers(quick.section("weights"), "term", leaves.known("terms")),
        floors=_numbers(quick.section("floors"), "model", list(models)),
    )


def _numbers(section: Section, kind: str, known: Sequence[str]) -> dict[str, float]:
    for key in section.content:
        if key not in known:
            raise unknown(kind, key, known, where=section.where(key))
    return {key: section.get(key, float) for key in section.content}


def _model(key: str, section: Section) -> Model:
    section.keys("printed", "full", "tiny")
    full = section.get("full", str)
    model = Model(name=key, printed=section.get("printed", str), full=full, tiny=section.get("tiny", str, full))
    for reference in (model.full, model.tiny):
        leaves.check_model(reference, where=section.where(reference))
    return model


def _conclusions(top: Section, tables: Sequence[Table]) -> Iterator[Conclusion]:
    cells = {
        table.id: [
            (case.model.name, case.dataset, claim.metric, case.objective)
            for case in table.cases
            for claim in case.claims
        ]
        for table in tables
    }
    return (Conclusion.read(section, tables=cells) for section in top.list_of_sections("conclusions"))


_Claims = dict[tuple[str, str, str], list[Claim]]  # by model, objective, data set; in printed order


@dataclass(frozen=True, kw_only=True)
class _Tables:
    """Reads `[tables]`, where a row is model, objective, then one number a column ("-": not printed)."""

    paper: str
    models: Mapping[str, Model]
    defaults: Mapping[str, Mapping[str, Value]]
    recipes: Mapping[str, Recipe]

    def table(self, key: str, section: Section) -> Table:
        has_parts = "parts" in section.content
        section.keys("title", "where", "recipe", "notes", *(["parts"] if has_parts else ["columns", "rows"]))
        recipe = self.recipes[section.one_of("recipe", list(self.recipes))]
        columns: list[tuple[str, str]] = []
        claims: _Claims = {}
        for part in section.list_of_sections("parts") if has_parts else [section]:
            if has_parts:
                part.keys("columns", "rows")
            columns += self._part(part, claims)
        for note in section.list_of_sections("notes"):
            self._note(note, claims)
        if not claims:
            raise UserError(f"{section.where()} [{section.name}]: this table has no number; give it columns and rows")
        return Table(
            id=key,
            title=section.get("title", str),
            where=section.get("where", str),
            columns=tuple(columns),
            cases=tuple(self._case(key, recipe, *cell, printed) for cell, printed in claims.items()),
        )

    def _part(self, part: Section, claims: _Claims) -> list[tuple[str, str]]:
        columns: list[tuple[str, str]] = []
        for column, where in zip(part.get("columns", list), part.places("columns"), strict=True):
            columns.append(self._column(column, where))
            if columns.count(columns[-1]) > 1:
                raise UserError(f"{where}: the column {column!r} stands here twice; keep one")
        for row, where in zip(part.get("rows", list), part.places("rows"), strict=True):
            self._row(row, columns, where, claims)
        return columns

    def _case(
        self, table: str, recipe: Recipe, model: str, objective: str, dataset: str, claims: Sequence[Claim]
    ) -> Case:
        return Case(
            paper=self.paper,
            table=table,
            model=self.models[model],
            objective=parse(objective),
            dataset=dataset,
            recipe=recipe,
            defaults=self.defaults,
            claims=tuple(claims),
        )

    def _column(self, column: Any, where: str) -> tuple[str, str]:
        content = {"dataset": column, "metric": "accuracy"} if isinstance(column, str) else column
        if not isinstance(content, dict) or content.keys() != {"dataset", "metric"}:
            raise UserError(f"{where}: a column is a data set, or {{ dataset = …, metric = … }}, got {column!r}")
        dataset, metric = str(content["dataset"]), str(content["metric"])
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS, where=where)
        leaves.find("datasets", dataset, where=where)
        return dataset, metric

    def _row(self, row: Any, columns: Sequence[tuple[str, str]], where: str, claims: _Claims) -> None:
        if not isinstance(row, list) or len(row) != 2 + len(columns) or not all(isinstance(o, str) for o in row[:2]):
            raise UserError(f"{where}: a row is a model, an objective and {len(columns)} numbers, got {row}")
        model, objective = row[0], parse(row[1], where=where)
        if model not in self.models:
            raise unknown("model", model, self.models, where=where)
        leaves.check_objective(objective, where=where)
        for (dataset, metric), value in zip(columns, row[2:], strict=True):
            if value != "-":
                cell = claims.setdefault((model, str(objective), dataset), [])
                if any(claim.metric == metric for claim in cell):
                    raise UserError(f"{where}: {model} under {objective} stands in this table before; keep one row")
                cell.append(_claim(metric, value, where=where))

    def _note(self, note: Section, claims: _Claims) -> None:
        note.keys("model", "objective", "dataset", "text")
        text = note.get("text", str)
        where = note.where(text)
        cell = (note.get("model", str), str(parse(note.get("objective", str), where=where)), note.get("dataset", str))
        if cell not in claims:
            raise UserError(f"{where}: the note is on {cell}, which is no cell of this table")
        claims[cell] = [replace(claim, note=text) for claim in claims[cell]]


def _claim(metric: str, value: Any, *, where: str) -> Claim:
    if isinstance(value, bool) or not isinstance(value, int | float) or not METRICS[metric].holds(value):
        low, high = METRICS[metric].low, METRICS[metric].high
        raise UserError(f'{where}: {metric} is a number in [{low:g}, {high:g}], or "-" if not printed, got {value!r}')
    return Claim(metric=metric, value=float(value))


def _text(value: float) -> str:
    """Two decimals, as most papers print, and more where there are more."""
    return f"{value:.2f}" if round(value, 2) == value else f"{value:.10g}"


def claims(papers: tuple[Paper, ...]) -> Iterator[dict[str, str]]:
    """Every printed number in long form, one dictionary each; see `vitbench claims --csv`."""
    for paper in papers:
        for case in paper.cases:
            for claim in case.claims:
                yield {
                    "paper": case.paper,
                    "table": case.table,
                    "model": case.model.name,
                    "objective": str(case.objective),
                    "dataset": case.dataset,
                    "recipe": case.recipe.name,
                    "metric": claim.metric,
                    "value": _text(claim.value),
                    "source": claim.source,
                    "status": claim.status,
                }
