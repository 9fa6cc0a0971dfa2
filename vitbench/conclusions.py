"""What a paper concludes in words, as rules that printed and measured numbers can be held against."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import product

from vitbench.errors import UserError, unknown
from vitbench.metrics import METRICS
from vitbench.objective import Objective, parse
from vitbench.printed import Printed
from vitbench.sections import Section


class Holding(StrEnum):
    """Whether numbers bear a conclusion out."""

    HOLDS = "holds"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"


# Values of (model, data set, metric): (objective, value or None, its standard error) of each row of the table.
Row = tuple[Objective, float | None, float]
Rows = Callable[[str, str, str], Sequence[Row]]

_KEYS = ("text", "where", "table", "models", "datasets", "left", "is", "right", "right_models", "metric")
_RELATIONS = ("higher", "lower", "near")
_OPTIONS = ("measured", "in_print", "holds_for")
_BOUNDS = ("by_at_least", "by_at_most")


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """One statement of the text: in `metric`, `left` is higher or lower than `right`, or near it.

    Attributes:
        left, right: an objective; with `any*` for a weight, every row of the table with these terms, of which
            the best counts; `right` may be "others", the table's other rows of the model, or a number.
        relation: "higher", "lower" or "near".
        right_models: models whose rows `right` stands for, of which the best counts; empty: the model of `left`.
        by_at_least, by_at_most: bounds on the difference, in units of the metric, or None; what is near has the second.
        measured: metric by which ours are held, where both sides have it, and `metric` where not; empty: `metric`.
            Of the same unit, for what is printed of a curve may say less than the curve does.
        in_print: whether the table prints numbers of the metric; else ours alone can bear the statement out.
        holds_for: "all" pairs of model and data set, "most" of them (more than half), or at least so many.
    """

    text: str
    where: str
    table: str
    models: tuple[str, ...]
    datasets: tuple[str, ...]
    left: str
    relation: str
    right: str | float
    metric: str
    by_at_least: float | None
    by_at_most: float | None
    holds_for: str | int = "all"
    right_models: tuple[str, ...] = ()
    in_print: bool = True
    measured: str = ""

    @classmethod
    def read(cls, section: Section, *, tables: Mapping[str, Sequence[Printed]]) -> "Conclusion":
        """Read one entry of `[[conclusions]]`.

        Args:
            section: the entry.
            tables: per table, what it prints.

        Raises:
            UserError: for an unknown, missing or impossible value, or a side that is no row of the table.
        """
        section.keys(*_KEYS, *_OPTIONS, *_BOUNDS)
        table = section.one_of("table", list(tables))
        models = sorted({one.model for one in tables[table]} - {""})
        conclusion = cls(
            text=section.get("text", str),
            where=section.get("where", str),
            table=table,
            models=_names(section, "models", models),
            datasets=_names(section, "datasets", sorted({one.dataset for one in tables[table]} - {""})),
            left=section.get("left", str),
            relation=section.one_of("is", _RELATIONS),
            right=_right(section),
            metric=section.one_of("metric", list(METRICS), "accuracy"),
            right_models=_names(section, "right_models", models) if "right_models" in section.content else (),
            holds_for=_quantifier(section),
            in_print=section.get("in_print", bool, True),
            measured=_measured(section),
            **{bound: section.get(bound, float, None) for bound in _BOUNDS},
        )
        for side in ("left", "right"):
            conclusion._check(side, section, tables[table])
        if conclusion.relation == "near" and (conclusion.by_at_most is None or conclusion.by_at_least is not None):
            raise UserError(f"{section.where('is')}: what is near needs the bound by_at_most, and no other")
        pairs = len(conclusion.models) * len(conclusion.datasets)
        if isinstance(conclusion.holds_for, int) and not 1 <= conclusion.holds_for <= pairs:
            where = section.where("holds_for")
            raise UserError(f"{where}: holds_for: expected 1 to {pairs} pairs, got {conclusion.holds_for}")
        return conclusion

    def _check(self, side: str, section: Section, printed: Sequence[Printed]) -> None:
        text, where = getattr(self, side), section.where(side)
        if side == "right" and (text == "others" or isinstance(text, float)):
            if self.right_models:
                what = "others are rows of the model itself" if text == "others" else "a number is of no model"
                raise UserError(f"{where}: {what}; leave right_models or {text} out")
            return
        _pattern(text, where=where)
        models = self.right_models if side == "right" and self.right_models else self.models
        for model, dataset in product(models, self.datasets):
            # The size of a network is printed for no data set, and so for all.
            rows = [one for one in printed if one.model == model and one.dataset in ("", dataset)]
            rows = [one for one in rows if not self.in_print or one.claim.metric == self.metric]
            if not any(one.objective and _matches(text, one.objective) for one in rows):
                number = self.metric if self.in_print else "number"
                what = f"Table {self.table} prints no {number} of {model} under {text!r} on {dataset}"
                raise UserError(f"{where}: {what}; write {side} as a row of the table is written")

    def judge(self, rows: Rows, *, ours: bool = False) -> Holding:
        """Hold the statement against numbers.

        Args:
            rows: for a model, a data set and a metric, the rows of the table with value and standard error.
            ours: whether these were measured, and not printed.
        """
        metrics = dict.fromkeys([self.measured or self.metric, self.metric] if ours else [self.metric])
        pairs = product(self.models, self.datasets)
        results = [self._first(self._one(rows, *pair, metric) for metric in metrics) for pair in pairs]
        needed = {"all": len(results), "most": len(results) // 2 + 1}.get(str(self.holds_for), self.holds_for)
        if results.count(Holding.HOLDS) >= int(needed):
            return Holding.HOLDS
        if len(results) - results.count(Holding.CONTRADICTED) < int(needed):
            return Holding.CONTRADICTED  # whatever the rest will say
        return Holding.NOT_RUN if Holding.NOT_RUN in results else Holding.UNDECIDED

    @staticmethod
    def _first(results: Iterable[Holding]) -> Holding:
        """What is said by the first metric that has all numbers."""
        return next((one for one in results if one != Holding.NOT_RUN), Holding.NOT_RUN)

    def _one(self, rows: Rows, model: str, dataset: str, metric: str) -> Holding:
        own = rows(model, dataset, metric)
        theirs = [row for one in self.right_models for row in rows(one, dataset, metric)]
        left = [row for row in own if _matches(self.left, row[0])]
        best_left = _best(left, metric)
        best_right = self._right_side(left, theirs if self.right_models else own, metric)
        if best_left is None or best_right is None:
            return Holding.NOT_RUN
        noise = 1.96 * math.hypot(best_left[1], best_right[1])  # 95 % interval of a difference of two means
        checks = self._checks(best_left[0] - best_right[0])
        if any(abs(check) <= noise for check in checks):
            return Holding.UNDECIDED
        return Holding.HOLDS if all(check > 0 for check in checks) else Holding.CONTRADICTED

    def _right_side(self, left: Sequence[Row], beside: Sequence[Row], metric: str) -> tuple[float, float] | None:
        if isinstance(self.right, float):
            return self.right, 0.0
        text = self.right
        return _best(
            [row for row in beside if (row not in left if text == "others" else _matches(text, row[0]))], metric
        )

    def _checks(self, difference: float) -> list[float]:
        """What has to be more than 0. A bound is widened by 1e-9 because 64.02 - 62.02 is less than 2 in binary."""
        if self.relation == "near":
            return [float(self.by_at_most or 0.0) - abs(difference) + 1e-9]
        gap = difference if self.relation == "higher" else -difference
        checks = [gap] if self.by_at_least is None else [gap - self.by_at_least + 1e-9]
        return checks if self.by_at_most is None else [*checks, self.by_at_most - gap + 1e-9]


def _best(rows: Sequence[Row], metric: str) -> tuple[float, float] | None:
    """Best value with its standard error; None while a row has none, for the best may be the missing one."""
    values = [(value, error) for _, value, error in rows if value is not None]
    if not values or len(values) < len(rows):
        return None
    return (min if METRICS[metric].better == "lower" else max)(values)


def _names(section: Section, key: str, known: Sequence[str]) -> tuple[str, ...]:
    kind = key.removesuffix("s")
    names = section.get(key, list)
    if not names:
        raise UserError(f"{section.where(key)}: {key}: expected at least one {kind}, got none")
    for name in names:
        if name not in known:
            raise unknown(kind, str(name), known, where=section.where(key))
    return tuple(names)


def _right(section: Section) -> str | float:
    is_number = type(section.content.get("right")) in (int, float)
    right: str | float = section.get("right", float if is_number else str)
    return right


def _measured(section: Section) -> str:
    if "measured" not in section.content:
        return ""
    measured, metric = (section.one_of(key, list(METRICS), "accuracy") for key in ("measured", "metric"))
    units = [METRICS[name].unit for name in (measured, metric)]
    if units[0] != units[1]:
        where = section.where("measured")
        raise UserError(f"{where}: measured: expected a metric in {units[1]!r}, as {metric} is, got {measured}")
    return measured


def _quantifier(section: Section) -> str | int:
    if type(section.content.get("holds_for")) is int:
        number: int = section.get("holds_for", int)
        return number
    return section.one_of("holds_for", ["all", "most"], "all")


@lru_cache(maxsize=1_000)
def _pattern(text: str, *, where: str = "") -> tuple[Objective, list[str]]:
    """An objective, and the names of its terms that stand for every weight and argument."""
    return parse(re.sub(r"\bany\s*\*", "", text), where=where), re.findall(r"\bany\s*\*\s*([\w.]+)", text)


def _matches(text: str, objective: Objective) -> bool:
    pattern, free = _pattern(text)
    return pattern.names == objective.names and all(
        wanted.name in free or str(wanted) == str(found) for wanted, found in zip(pattern, objective, strict=True)
    )
