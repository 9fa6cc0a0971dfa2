"""What `gpu.py` measured, on disk at any moment: its rows, and what follows from them for a paper's runs.

Predictions and goals stand here as data. Everything is derived from the rows each time that one is added, so a report
that was cut off is whole.
"""

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate

from vitbench.atomic import write_whole

MODELS = ("vit", "resnet", "t2t", "cvt")
EQUAL = 1e-5  # relative difference of losses that counts as none, in fp32
PREDICTED_BY = "our estimate before any measurement: a roofline of 790 TFLOP/s and 4.3 TB/s, 9 us an operation"
# Per model: ms of a step of 128 under ce (eager autocast, graph, compile), share of the peak (%), operations.
PREDICTED = {
    "vit": (6.5, 2.5, 2.1, 43, 655),
    "resnet": (5.0, 3.9, 3.4, 44, 321),
    "t2t": (8.5, 3.5, 2.9, 37, 885),
    "cvt": (12.5, 5.2, 4.2, 25, 1293),
}
PREDICTED_EXTRA = {"drloc": 0.09, "me": 0.9}  # ms on top of ce, captured
PREDICTED_HOURS = {"captured steps": 5.1, "at the measured peak": 1.55}


@dataclass(frozen=True)
class Goal:
    """A number to reach, and one to aim at; a time or a ratio of times is to stay below."""

    what: str
    section: str
    row: str
    key: str
    reach: float
    aim: float
    above: bool = False

    def verdict(self, value: float | None) -> str:
        """Reached or not."""
        if value is None:
            return "not measured"
        signed = 1 if self.above else -1
        if signed * value >= signed * self.aim:
            return "reached, and the aim too"
        return "reached" if signed * value >= signed * self.reach else "not reached"


def goals() -> Iterator[Goal]:
    """Those of the issue; networks of convolutions have their own, as they are bound less by launches."""
    share = {"vit": (28, 40), "resnet": (28, 40), "t2t": (24, 35), "cvt": (16, 25)}
    for model in MODELS:
        conv = model == "resnet"
        whole, graph = ((1.3, 1.8), (0.85, 0.75)) if conv else ((1.8, 2.5), (0.65, 0.4))
        yield Goal("whole training, plain loop over ours", "plain", model, "plain_over_ours", *whole, above=True)
        yield Goal("graph over eager autocast", "models", model, "graph_over_eager", *graph)
        yield Goal("share of the measured peak, %", "models", model, "graph_share", *share[model], above=True)
    for model in MODELS:
        yield Goal("drloc over ce", "terms", model, "drloc_ratio", 1.08, 1.04)
        yield Goal("me over ce", "terms", model, "me_ratio", 1.6, 1.45)


@dataclass(frozen=True)
class Runs:
    """Distinct runs of a paper that cost the same: how many, and the steps and epochs of each."""

    model: str
    terms: str
    count: int
    steps: int
    epochs: int


@dataclass
class Report:
    """Rows, each a section, a name and its values, with `error` or `skipped` where there are none.

    Attributes:
        folder: of `results.json` and `results.md`.
        about: machine, versions, options.
        runs: of the paper that is projected.
        is_real: whether predictions and goals are about these networks and this kind of device.
    """

    folder: Path
    about: dict[str, Any]
    runs: Sequence[Runs] = ()
    is_real: bool = True
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        """Put a row in the place of an older one of its name, and write everything."""
        same = [one for one in self.rows if (one["section"], one["row"]) == (row["section"], row["row"])]
        self.rows = [one for one in self.rows if one not in same] + [row]
        self.write()

    def read(self, *, keep_failed: bool = False) -> None:
        """Go on from an earlier report; what was skipped is tried again, and what failed unless it is kept."""
        path = self.folder / "results.json"
        if path.exists():
            found = json.loads(path.read_text())
            theirs, ours = (
                [about.get(key) for key in ("device", "torch", "networks")] for about in (found["about"], self.about)
            )
            if theirs != ours:
                raise SystemExit(f"{path} is of {theirs}, this is {ours}: begin anew in another --out")
            self.rows = [
                row for row in found["rows"] if not row.get("skipped") and (keep_failed or not row.get("error"))
            ]

    def value(self, section: str, row: str, key: str) -> float | None:
        """A number of a row, or None."""
        found = (one["values"].get(key) for one in self.rows if (one["section"], one["row"]) == (section, row))
        return next((value for value in found if isinstance(value, int | float)), None)

    def has(self, section: str, row: str) -> bool:
        """Whether a row was measured or failed."""
        return any((one["section"], one["row"]) == (section, row) and not one.get("skipped") for one in self.rows)

    def step_ms(self, model: str, terms: str) -> tuple[float | None, str]:
        """A captured step, and how it is known: measured, or plain `ce` and what the terms added elsewhere."""
        measured = self.value("terms", model, f"{terms}_ms")
        if measured is None and terms == "ce":
            measured = self.value("models", model, "graph_ms")
        if measured is not None:
            return measured, "measured"
        if terms == "ce":
            return None, "not measured"
        plain = self.step_ms(model, "ce")[0]
        added = [self._added(model, term) for term in terms.split("+")]
        if plain is None or None in added:
            return None, "not measured"
        return plain + math.fsum(one for one in added if one is not None), "ce and the terms' measured extra"

    def _added(self, model: str, term: str) -> float | None:
        """What a term adds to a step: on this model, or the mean over those that it was measured on."""
        extra = {}
        for one in MODELS:
            pair = [self.value("terms", one, f"{key}_ms") for key in (term, "ce")]
            if pair[0] is not None and pair[1] is not None:
                extra[one] = pair[0] - pair[1]
        return extra.get(model, statistics.fmean(extra.values()) if extra else None)

    def projection(self) -> list[dict[str, Any]]:
        """Hours for each kind of run, trained one after the other, and for all of them."""
        peak = self.value("ceilings", "matmul", "peak_tflops")
        lines = []
        for one in self.runs:
            ms, source = self.step_ms(one.model, one.terms)
            gflop = self.value("counts", one.model, f"{one.terms}_gflop")
            per_epoch = [self.value("evaluation", one.model, key) for key in ("accuracy_s", "fgsm_s")]
            steps = one.count * one.steps
            lines.append(
                {
                    "model": one.model,
                    "terms": one.terms,
                    "runs": one.count,
                    "steps": steps,
                    "step_ms": ms,
                    "source": source,
                    "hours": None if ms is None else steps * ms / 3.6e6,
                    "floor_hours": None if gflop is None or not peak else steps * gflop / (1e3 * peak) / 3600,
                    "evaluation_hours": None
                    if None in per_epoch
                    else one.count * (one.epochs * (per_epoch[0] or 0.0) + (per_epoch[1] or 0.0)) / 3600,
                }
            )
        total = {"model": "all", "terms": "", "source": "", "step_ms": None}
        for key in ("runs", "steps", "hours", "floor_hours", "evaluation_hours"):
            column = [line[key] for line in lines]
            total[key] = sum(column) if column and None not in column else None
        return [*lines, total]

    def hours(self) -> tuple[float | None, float | None]:
        """Of all runs: by the measured steps, and at the measured peak."""
        total = self.projection()[-1]
        return total["hours"], total["floor_hours"]

    def judged(self) -> list[dict[str, Any]]:
        """Every goal with what came out."""
        lines = []
        hours = Goal("all runs of floros2024, hours", "", "all", "hours", 6.0, 4.0)
        for goal in [*goals(), hours]:
            value = self.hours()[0] if goal is hours else self.value(goal.section, goal.row, goal.key)
            value = value if self.is_real else None
            lines.append({"goal": goal.what, "of": goal.row, "measured": value, "to reach": goal.reach})
            lines[-1] |= {"aim": goal.aim, "verdict": goal.verdict(value)}
        return lines

    def compared(self) -> list[dict[str, Any]]:
        """Every prediction beside what came out."""
        found: list[tuple[str, float, float | None]] = []
        for model, predicted in PREDICTED.items():
            keys = [
                ("models", "eager_ms"),
                ("models", "graph_ms"),
                ("compile", "compile_ms"),
                ("models", "graph_share"),
            ]
            values = [self.value(section, model, key) for section, key in keys]
            values.append(self.value("kernels", "one captured step", f"{model}_kernels"))
            names = (
                "eager autocast, ms",
                "graph, ms",
                "compile, ms",
                "share of peak, %, predicted with fusion",
                "operations predicted, kernels counted",
            )
            found += [(f"{model}: {name}", *pair) for name, *pair in zip(names, predicted, values, strict=True)]  # type: ignore[misc]
        for term, extra in PREDICTED_EXTRA.items():
            pair = [self.value("terms", "vit", f"{key}_ms") for key in (term, "ce")]
            added = None if pair[0] is None or pair[1] is None else pair[0] - pair[1]
            found.append((f"vit: {term} adds, ms, captured", extra, added))
        names_of_hours = zip(PREDICTED_HOURS.items(), self.hours(), strict=True)
        found += [(f"108 runs of 100 epochs, hours, {name}", told, value) for (name, told), value in names_of_hours]
        return [
            {
                "what": what,
                "predicted": told,
                "measured": value if self.is_real else None,
                "measured/predicted": value / told if self.is_real and value is not None else None,
            }
            for what, told, value in found
        ]

    def write(self) -> None:
        """Write `results.json` and `results.md` whole."""
        content = {"about": self.about, "rows": self.rows, "projection": self.projection()}
        content |= {"predictions": self.compared(), "predicted_by": PREDICTED_BY, "goals": self.judged()}
        write_whole(self.folder / "results.json", json.dumps(content, indent=1) + "\n")
        write_whole(self.folder / "results.md", self.page())

    def page(self) -> str:
        """Everything as Markdown."""
        parts = ["# Speed", _table([{"about": key, "": str(value)} for key, value in self.about.items()])]
        for section in dict.fromkeys(row["section"] for row in self.rows):
            rows = [row for row in self.rows if row["section"] == section]
            parts += [f"## {section}", _table([{"": row["row"], **row["values"]} for row in rows if row["values"]])]
            parts += [f"- {row['row']}: {note}" for row in rows for note in row["notes"]]
            parts += [f"- {row['row']}: failed, {row['error']}" for row in rows if row.get("error")]
            parts += [f"- {row['row']}: skipped, {row['skipped']}" for row in rows if row.get("skipped")]
        parts += [
            "## projection",
            "Runs one after the other, by captured steps; crop and flip are in them, which the paper does not name.",
            _table(self.projection()),
        ]
        parts += ["## predictions", f"Predicted: {PREDICTED_BY}.", _table(self.compared())]
        parts += ["## goals", _table(self.judged())]
        return "\n\n".join(part for part in parts if part) + "\n"


def _table(lines: Sequence[Mapping[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for line in lines for key in line))
    cells = [[_shown(line.get(key)) for key in keys] for line in lines]
    return tabulate(cells, headers=keys, tablefmt="github", disable_numparse=True)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return str(value)
