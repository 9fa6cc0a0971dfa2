"""Reads the tables of a paper's data file: what is printed, number by number, and the cases that this makes.

A row of a table is a model, an objective, then one number a column ("-": not printed, "?": not printed either, and run
all the same). In a table `of = "datasets"`, which makes no case, it is a data set, then one number a column.
`curves = true` says that what is printed are curves over epochs, of which these are single points: reports then draw
ours.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from vitbench import leaves
from vitbench.case import Case, Claim, Model, Recipe, Status
from vitbench.errors import UserError, unknown
from vitbench.metrics import CONVENTIONS, METRICS
from vitbench.objective import Objective, Value, parse
from vitbench.printed import RUNNABLE, SIZE, Printed, Standing
from vitbench.sections import Section

Place = tuple[str, str, str, str]  # model, objective, data set, recipe
SOURCES = ("printed", "rerun", "read-off", "computed")
_CELLS = ("columns", "rows", "note", "notes")
_PART = (*_CELLS, "recipe", "recipes", "source", "status", "reason", "convention")


@dataclass(frozen=True, kw_only=True)
class Table:
    """One printed table: every number of it, and the cases that they make.

    Attributes:
        where: section or page of the paper.
        columns: (data set, metric) of each column that cases stand in; each once, in however many parts it stands.
        cases: in printed order; of several recipes, each cell once for each.
        printed: every number, once, in printed order, also those of no case: sizes of data sets and of networks.
    """

    id: str
    title: str
    where: str
    columns: tuple[tuple[str, str], ...]
    cases: tuple[Case, ...]
    printed: tuple[Printed, ...]

    @property
    def readings(self) -> tuple[str, ...]:
        """Names of the recipes that tell its cases apart, in printed order; one empty name where there is but one."""
        return tuple(dict.fromkeys(case.reading for case in self.cases))

    def under(self, reading: str) -> "Table":
        """The same with the cases of one reading."""
        return replace(self, cases=tuple(case for case in self.cases if case.reading == reading))


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads `[tables]` of one paper.

    Attributes:
        defaults: per term, the paper's own values of its arguments.
        standings: per data set, what is missing to run cells on it.
        terms: those that the paper only names, for nothing here has them, with the reason; they stand in no case.
        labels: recipes that are only named, likewise.
    """

    paper: str
    models: Mapping[str, Model]
    defaults: Mapping[str, Mapping[str, Value]]
    recipes: Mapping[str, Recipe]
    standings: Mapping[str, Standing] = field(default_factory=dict)
    terms: Mapping[str, Standing] = field(default_factory=dict)
    labels: Mapping[str, Standing] = field(default_factory=dict)

    def table(self, key: str, section: Section) -> Table:
        """Read one table.

        Raises:
            UserError: for an unknown, missing or impossible value.
        """
        kind = _DatasetPart if section.one_of("of", ["models", "datasets"], "models") == "datasets" else _Part
        has_parts = "parts" in section.content
        own = {*kind.known, "parts"} - {"columns", "rows"} if has_parts else kind.known
        section.keys("title", "where", "of", "curves", *own)
        printed: list[Printed] = []
        asked: list[tuple[Place, str]] = []
        for part in section.list_of_sections("parts") if has_parts else [section]:
            if has_parts:
                part.keys(*kind.known)
            reads = kind(self, part, section)
            printed += reads.read(printed)
            asked += reads.asked()
        if not printed and not asked:
            raise UserError(f"{section.where()} [{section.name}]: this table has no number; give it columns and rows")
        printed = _noted(section, printed)
        shown = [(one.dataset, one.claim.metric) for one in printed if one.recipes]
        shown += [(dataset, metric) for (_, _, dataset, _), metric in asked]
        claims: dict[Place, list[Claim]] = {}
        for one in printed:
            for recipe in one.recipes:
                claims.setdefault((*one.cell, recipe), []).append(one.claim)
        claims |= {place: [] for place, _ in asked if place not in claims}
        return Table(
            id=key,
            title=section.get("title", str),
            where=section.get("where", str),
            columns=tuple(dict.fromkeys(shown)),
            cases=tuple(self._cases(key, claims, curves=section.get("curves", bool, False))),
            printed=tuple(printed),
        )

    def _cases(self, table: str, claims: Mapping[Place, Sequence[Claim]], *, curves: bool) -> Iterator[Case]:
        cells = {tuple(cell) for *cell, _ in claims}
        has_readings = len(cells) < len(claims)  # some cell is run by several, else none has to be named
        for (model, objective, dataset, recipe), found in claims.items():
            yield Case(
                paper=self.paper,
                table=table,
                model=self.models[model],
                objective=parse(objective),
                dataset=self.recipes[recipe].splits.get(dataset, dataset),
                recipe=self.recipes[recipe],
                defaults=self._defaults(self.recipes[recipe]),
                claims=tuple(found),
                reading=recipe if has_readings else "",
                curves=curves,
            )

    def _defaults(self, recipe: Recipe) -> dict[str, dict[str, Value]]:
        names = dict.fromkeys([*self.defaults, *recipe.terms])
        return {name: {**self.defaults.get(name, {}), **recipe.terms.get(name, {})} for name in names}


@dataclass(frozen=True)
class _Part:
    """Reads a table, or one of its parts; what a part does not say, the table says."""

    reader: Reader
    section: Section
    table: Section
    known: ClassVar[tuple[str, ...]] = _PART

    def read(self, before: Sequence[Printed]) -> list[Printed]:
        """Its numbers.

        Args:
            before: those of the parts before it; none stands twice.
        """
        columns, seen = self._columns(), {place for one in before for place in one.places}
        found: list[Printed] = []
        for row, where in zip(self.section.get("rows", list), self.section.places("rows"), strict=True):
            for one in self._row(row, columns, where):
                if seen & one.places:
                    raise UserError(f"{where}: {one.subject} stands in this table before; keep one row")
                seen |= one.places
                found.append(one)
        return found if self.section is self.table else _noted(self.section, found)

    def asked(self) -> Iterator[tuple[Place, str]]:
        """Cells that are run without a printed number, each with its metric: model, objective, data set, recipe."""
        columns, recipes = self._columns(), self._recipes()
        for row, where in zip(self.section.get("rows", list), self.section.places("rows"), strict=True):
            cells = [column for column, value in zip(columns, row[2:], strict=True) if value == "?"]
            if cells and not (recipes and all(dataset for dataset, _ in cells)):
                raise UserError(f'{where}: "?" stands for a number that a recipe gives on a data set; name both')
            for dataset, metric in cells:
                for recipe in recipes:
                    yield (row[0], str(self._objective(row[1], where)), dataset, recipe), metric

    def _columns(self) -> list[tuple[str, str]]:
        columns: list[tuple[str, str]] = []
        for column, where in zip(self.section.get("columns", list), self.section.places("columns"), strict=True):
            columns.append(self._column(column, where))
            if columns.count(columns[-1]) > 1:
                raise UserError(f"{where}: the column {column!r} stands here twice; keep one")
        return columns

    def _column(self, column: Any, where: str) -> tuple[str, str]:
        """Data set and metric; no data set, written "", where the numbers are of the network alone."""
        content = {"dataset": column, "metric": "accuracy"} if isinstance(column, str) else column
        if not isinstance(content, dict) or content.keys() != {"dataset", "metric"}:
            raise UserError(f"{where}: a column is a data set, or {{ dataset = …, metric = … }}, got {column!r}")
        dataset, metric = str(content["dataset"]), str(content["metric"])
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS, where=where)
        is_of_data = bool(dataset) or isinstance(column, str)
        if is_of_data and (self._recipes() or dataset not in self.reader.standings):
            leaves.find("datasets", dataset, where=where)
        return dataset, metric

    def _row(self, row: Any, columns: Sequence[tuple[str, str]], where: str) -> Iterator[Printed]:
        if not isinstance(row, list) or len(row) != 2 + len(columns) or not all(isinstance(o, str) for o in row[:2]):
            raise UserError(f"{where}: a row is a model, an objective and {len(columns)} numbers, got {row}")
        model, objective = row[0], self._objective(row[1], where)
        if model not in self.reader.models:
            raise unknown("model", model, self.reader.models, where=where)
        recipes, source = self._recipes(), self._holder("source").one_of("source", SOURCES, "printed")
        if recipes and not self.reader.models[model].full:
            raise UserError(f"{where}: {model} has no network; give it `full` in [models] to run it")
        for (dataset, metric), value in zip(columns, row[2:], strict=True):
            if value not in ("-", "?"):
                claim = _claim(metric, value, self._standing(dataset), where=where)
                yield Printed(
                    claim=replace(claim, source=source, convention=self._convention(metric)),
                    model=model,
                    objective=objective,
                    dataset=dataset,
                    recipes=recipes if dataset else (),
                    label=self._label,
                )

    def _objective(self, text: str, where: str) -> Objective | None:
        """None where the page has none; of what makes no case, its terms may be such as nothing here has."""
        is_run = bool(self._recipes())
        if not text and not is_run:
            return None
        objective = parse(text, where=where)
        ours = tuple(one for one in objective if is_run or one.name not in self.reader.terms)
        leaves.check_objective(Objective(summands=ours), where=where)
        for recipe in (self.reader.recipes[name] for name in self._recipes()):
            for phase in (*recipe.phases, *recipe.quick):
                leaves.check_versions(objective, phase.versions, where=where)
        return objective

    def _holder(self, *keys: str) -> Section:
        """The part where it has one of the keys, else the table."""
        return self.section if self.section.content.keys() & set(keys) else self.table

    def _convention(self, metric: str) -> str:
        """What printed MACs count; it has to be said, for the number means nothing without it."""
        return self._holder("convention").one_of("convention", list(CONVENTIONS)) if metric == "macs" else ""

    def _recipes(self) -> tuple[str, ...]:
        """Names of what its cells are run by; none of what is printed only, which may do without."""
        section, known = self._holder("recipe", "recipes"), list(self.reader.recipes)
        is_named = {"recipe", "recipes"} & section.content.keys()
        is_printed_only = self._holder("status").get("status", str, "") == Status.PRINTED_ONLY
        if self._label or (is_printed_only and not is_named):
            return ()
        if "recipes" not in section.content:
            return (section.one_of("recipe", [*known, *self.reader.labels]),)
        where, names = section.where("recipes"), section.get("recipes", list)
        if "recipe" in section.content or len(names) < 2 or len(set(map(str, names))) < len(names):
            raise UserError(f"{where}: expected `recipe = …` or several different `recipes`, got {names}; keep one")
        for name in names:
            if name not in known:
                raise unknown("recipe", str(name), known, where=where)
        return tuple(names)

    @property
    def _label(self) -> str:
        """Name of its recipe where that is only named."""
        section = self._holder("recipe", "recipes")
        name = "" if "recipes" in section.content else section.get("recipe", str, "")
        return name if name in self.reader.labels else ""

    def _standing(self, dataset: str) -> Standing:
        section = self._holder("status", "reason")
        if {"status", "reason"} & section.content.keys():
            return Standing.read(section)
        return self.reader.labels.get(self._label) or self.reader.standings.get(dataset, RUNNABLE)


@dataclass(frozen=True)
class _DatasetPart(_Part):
    """Reads a table of data sets."""

    known: ClassVar[tuple[str, ...]] = _CELLS

    def _column(self, column: Any, where: str) -> tuple[str, str]:
        if not isinstance(column, str) or column not in METRICS:
            raise unknown("metric", str(column), METRICS, where=where)
        return "", column

    def _row(self, row: Any, columns: Sequence[tuple[str, str]], where: str) -> Iterator[Printed]:
        if not isinstance(row, list) or len(row) != 1 + len(columns) or not isinstance(row[0], str):
            raise UserError(f"{where}: a row is a data set and {len(columns)} numbers, got {row}")
        if row[0] not in self.reader.standings:
            leaves.find("datasets", row[0], where=where)
        for (_, metric), value in zip(columns, row[1:], strict=True):
            if value != "-":
                yield Printed(claim=_claim(metric, value, SIZE, where=where), dataset=row[0])

    def asked(self) -> Iterator[tuple[Place, str]]:
        """None: a data set is not run."""
        yield from ()


def _noted(section: Section, printed: Sequence[Printed]) -> list[Printed]:
    """With the notes of a table or of a part: `note` on every number, `notes` on those that they name."""
    found = [_with_note(one, section.get("note", str, "")) for one in printed]
    for note in section.list_of_sections("notes"):
        note.keys("model", "objective", "dataset", "metric", "text")
        text = note.get("text", str)
        where = note.where(text)
        objective = note.get("objective", str, "")
        cell = (
            note.get("model", str, ""),
            str(parse(objective, where=where)) if objective else "",
            note.get("dataset", str, ""),
        )
        metric = note.get("metric", str, "")
        meant = [one.cell == cell and metric in ("", one.claim.metric) for one in found]
        if not any(meant):
            named = (*cell, metric) if metric else cell
            raise UserError(f"{where}: the note is on {named}, which is no cell of this table")
        found = [_with_note(one, text) if is_meant else one for one, is_meant in zip(found, meant, strict=True)]
    return found


def _with_note(one: Printed, text: str) -> Printed:
    if not text:
        return one
    return replace(one, claim=replace(one.claim, note="; ".join(filter(None, (one.claim.note, text)))))


def _claim(metric: str, value: Any, standing: Standing, *, where: str) -> Claim:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (math.isfinite(value) and METRICS[metric].holds(value))
    ):
        low, high = METRICS[metric].low, METRICS[metric].high
        raise UserError(f'{where}: {metric} is a number in [{low:g}, {high:g}], or "-" if not printed, got {value!r}')
    return Claim(metric=metric, value=float(value), status=standing.status, reason=standing.reason)
