"""Training curves: those of a record, and those kept beside the baselines, `recorded/<machine>/curves/<paper>.csv`.

A line there is an epoch of a run: the run's key, as in the baseline file, then the epoch, the loss and the accuracy.
Where k-NN of some run was measured too, every line has it as a fifth value, which is empty for the other epochs.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vitbench.atomic import write_whole
from vitbench.errors import UserError
from vitbench.records import Record

T = TypeVar("T")
Run = tuple[str, str]  # the machine that a person named, and the first 12 digits of the key

FOLDER = "curves"
HEADER = "key,epoch,loss,accuracy"
WITH_KNN = f"{HEADER},knn"
HIGHEST = 1e9  # number in a curve
MOST = 200  # epochs kept of a run, which is more than a figure can show
CONVERGED = 0.95  # share of its best accuracy at which a training is said to have converged


@dataclass(frozen=True, kw_only=True)
class Curve:
    """How a training went.

    Attributes:
        epochs: that are known, counted over all phases from 1; rising.
        losses: of each, the mean over its steps.
        accuracies: after each, on the test images in percent; none where the training knows no labels.
        knn: k-NN accuracy after each in percent, None where it was not measured; none at all where it never was.
    """

    epochs: tuple[int, ...]
    losses: tuple[float, ...]
    accuracies: tuple[float, ...] = ()
    knn: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.epochs or list(self.epochs) != sorted({*self.epochs}) or self.epochs[0] < 1:
            raise ValueError("its epochs are not rising numbers from 1 on")
        if len(self.losses) != len(self.epochs) or len(self.accuracies) not in (0, len(self.epochs)):
            raise ValueError("it has not one loss for each epoch, and one accuracy or none")
        if self.epochs[-1] > HIGHEST or not all(abs(one) <= HIGHEST for one in self.losses):
            raise ValueError(f"an epoch or a loss is no number up to {HIGHEST:g}")  # an axis cannot show more
        if len(self.knn) not in (0, len(self.epochs)):
            raise ValueError("it has k-NN of other epochs than its own")
        if not all(0 <= one <= 100 for one in (*self.accuracies, *self.knn) if one is not None):
            raise ValueError("an accuracy is no percentage")

    def thinned(self, most: int = MOST) -> "Curve":
        """At most so many of the epochs, evenly spread, the first and the last among them; none is averaged.

        Half of them at most are chosen because k-NN was measured there.
        """
        if len(self.epochs) <= most:
            return self
        measured = [index for index, value in enumerate(self.knn) if value is not None]
        first = {measured[index] for index in _spread(len(measured), most // 2)}
        chosen = sorted(first.union(_spread(len(self.epochs), most - len(first))))

        def taken(values: Sequence[T]) -> tuple[T, ...]:
            return tuple(values[index] for index in chosen if values)

        return Curve(
            epochs=taken(self.epochs), losses=taken(self.losses), accuracies=taken(self.accuracies), knn=taken(self.knn)
        )


def _spread(count: int, most: int) -> list[int]:
    """At most so many of the indices below `count`, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(number * (count - 1) / max(1, most - 1)) for number in range(most)]


def convergence_epoch(accuracies: Sequence[float]) -> int:
    """The first epoch, from 1, whose accuracy is `CONVERGED` of the best one or more: the speed of convergence.

    Args:
        accuracies: after each epoch; at least one.
    """
    enough = CONVERGED * max(accuracies) - 1e-9  # a share that is reached exactly counts, whatever binary makes of it
    return next(number for number, accuracy in enumerate(accuracies, start=1) if accuracy >= enough)


def of_record(record: Record) -> Curve | None:
    """The curve of a trained run; None where its record has none.

    Raises:
        ValueError: saying in one line what is wrong with it.
    """
    entries = record.details.get("curves") or []
    try:
        losses = tuple(float(one["loss"]) for one in entries)
        accuracies = tuple(float(one["accuracy"]) for one in entries if "accuracy" in one)
        knn = _known(float(one["knn"]) if "knn" in one else None for one in entries)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise ValueError(f"its curves have no {error}" if isinstance(error, KeyError) else f"{error}") from None
    if not losses:
        return None
    return Curve(epochs=tuple(range(1, len(losses) + 1)), losses=losses, accuracies=accuracies, knn=knn)


def _known(values: Iterable[float | None]) -> tuple[float | None, ...]:
    """The values, or nothing where none is known."""
    found = tuple(values)
    return () if all(one is None for one in found) else found


def load_all(folder: Path) -> tuple[dict[Run, Curve], list[str]]:
    """Every curve that is kept, and one line for each file that cannot be used.

    Args:
        folder: of the baselines, `recorded`.
    """
    found: dict[Run, Curve] = {}
    problems: list[str] = []
    for path in sorted(folder.glob(f"*/{FOLDER}/*.csv")):
        try:
            found |= {(path.parent.parent.name, key): curve for key, curve in _read(path).items()}
        except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
            problems.append(f"{path}: left out, {error}")
    return found, problems


def _read(path: Path) -> dict[str, Curve]:
    header, *lines = path.read_text(encoding="utf-8-sig").splitlines() or [HEADER]
    if header not in (HEADER, WITH_KNN):
        raise ValueError(f"expected the columns {HEADER}, and knn where it was measured")
    by_key: dict[str, list[list[str]]] = {}
    for key, *values in filter(None, csv.reader(lines)):
        if len(values) != header.count(","):
            raise ValueError(f"expected {header}, got a line of {len(values) + 1} values for {key!r}")
        by_key.setdefault(key, []).append([*values, ""][:4])
    curves = {}
    for key, rows in by_key.items():
        epochs, losses, accuracies, knn = zip(*rows, strict=True)
        try:
            curves[key] = Curve(
                epochs=tuple(map(int, epochs)),
                losses=tuple(map(float, losses)),
                accuracies=tuple(float(one) for one in accuracies if one),
                knn=_known(float(one) if one else None for one in knn),
            )
        except ValueError as error:
            raise ValueError(f"{key!r}: {error}") from None
    return curves


def save(folder: Path, machine: str, paper: str, new: Mapping[str, Curve], *, of: Iterable[str]) -> Path | None:
    """Keep curves beside the baselines of a machine and paper; returns their file, if there is something in it.

    Args:
        folder: of the baselines, `recorded`.
        new: by the first 12 digits of their keys; thinned.
        of: keys that the baselines name; curves of others are of runs that were replaced, and go.

    Raises:
        UserError: if the existing file cannot be read, which saving would lose.
    """
    path = folder / machine / FOLDER / f"{paper}.csv"
    try:
        old = _read(path) if path.exists() else {}
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: {error}; mend the file, then record again") from None
    known = set(of)
    kept = {key: curve.thinned() for key, curve in sorted({**old, **new}.items()) if key in known}
    if kept or old:
        write_whole(path, _text(kept))
    return path if kept else None


def _text(curves: Mapping[str, Curve]) -> str:
    header = (WITH_KNN if any(curve.knn for curve in curves.values()) else HEADER).split(",")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for key, curve in curves.items():
        columns = [_shown(one, len(curve.epochs)) for one in (curve.losses, curve.accuracies, curve.knn)]
        for epoch, *values in zip(curve.epochs, *columns, strict=True):
            writer.writerow([key, epoch, *values][: len(header)])
    return text.getvalue()


def _shown(values: Sequence[float | None], count: int) -> list[str]:
    """Numbers as text; empty where there is none."""
    return ["" if one is None else f"{one:.6g}" for one in values] or [""] * count
