"""The records behind numbers, packed for a page: each string, each place and each record stands there once."""

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from vitbench.baselines import Measurement
from vitbench.case import Budget
from vitbench.selection import QUICK_DATASET

DIGITS = 7  # of a value, as many as a float32 has
_GPU = re.compile(r"nvidia|tesla|geforce|radeon|instinct", re.IGNORECASE)


class Numbers:
    """Numbers that a page shows, found by their place in the order in which they were added.

    Args:
        links: per run key, where its record is.
    """

    def __init__(self, links: Mapping[str, str]) -> None:
        self.links = links
        self._strings: dict[str, int] = {}
        self._places: dict[tuple[int, ...], int] = {}
        self._records: dict[tuple[str, str, str], list[int]] = {}  # by key, machine and seed
        self._indices: dict[tuple[str, str, str], int] = {}
        self._numbers: dict[str, list[Any]] = {}

    def add(
        self,
        case: str,
        metric: str,
        made: Iterable[Measurement],
        *,
        options: str = "",
        plain: str = "",
        beside: Iterable[Measurement] = (),
    ) -> int | None:
        """Take what a number is made of; returns the place of the number, or None where nothing was measured.

        Args:
            case: its id.
            made: the measurements that the number is the mean of.
            options: see `options`; empty for what is counted and not run.
            plain: id of the plain baseline that it is compared with, and `beside`, its measurements.
        """
        found, others = self._values(made), self._values(beside)
        if not found:
            return None
        names = [[self._string(part) for part in one.split("/")] if one else [] for one in (case, plain)]
        number = [names[0], self._string(metric), self._string(options), found, names[1], others]
        place: int = self._numbers.setdefault(repr(number), [len(self._numbers), number])[0]
        return place

    def content(self) -> dict[str, Any]:
        """Everything as plain data, in columns; strings by their places in `strings`."""
        records = self._records
        return {
            "strings": list(self._strings),
            "places": [list(one) for one in self._places],
            "keys": [key for key, _, _ in records],
            "seeds": [seed for seed, _ in records.values()],
            "at": [place for _, place in records.values()],
            "links": {str(self._indices[one]): self.links[one[0]] for one in records if one[0] in self.links},
            "numbers": [number for _, number in self._numbers.values()],
        }

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def _values(self, made: Iterable[Measurement]) -> list[float]:
        """Pairs in a row: a record's index, its value."""
        return [part for one in made for part in (self._record(one), float(f"{one.value:.{DIGITS}g}"))]

    def _record(self, one: Measurement) -> int:
        record = (one.key, one.machine, one.seed)
        if record not in self._records:
            parts = (one.machine, one.device, one.precision, one.engine, one.torch, one.commit, one.date, _flags(one))
            place = tuple(self._string(part) for part in parts)
            where = self._places.setdefault(place, len(self._places))
            self._indices[record] = len(self._records)
            self._records[record] = [self._string(one.seed), where]
        return self._indices[record]


def options(budget: str, dataset: str, model: str = "") -> str:
    """What `vitbench run` needs beside the case's id, its seed and the place.

    Args:
        model: one that a user added.
    """
    found = [f"--budget {budget}"]
    if budget == Budget.QUICK and dataset != QUICK_DATASET:
        found.append(f"--dataset {shlex.quote(dataset)}")
    if model:
        found.append(f"--model {shlex.quote(model)}")
    return " ".join(found)


def _flags(one: Measurement) -> str:
    """Options by which a run takes place as that one did."""
    is_gpu = bool(_GPU.search(one.device))
    usual = ("", "graph" if is_gpu else "eager")
    found = ["--gpu"] if is_gpu else []
    found += [f"--engine {one.engine}"] if one.engine not in usual else []
    found += [f"--precision {one.precision}"] if one.precision not in ("", "fp32") else []
    return " ".join(found)
