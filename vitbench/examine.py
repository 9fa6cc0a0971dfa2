"""What is measured on a network in training and once it is trained: accuracy and attack, or what it learnt before."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vitbench import build
from vitbench.atomic import write_atomically
from vitbench.contracts import Split
from vitbench.curves import convergence_epoch
from vitbench.embedded import Embedded
from vitbench.errors import UserError
from vitbench.identity import Identity
from vitbench.measure import accuracy, attack
from vitbench.measure.reconstruction import Reconstruction, mean_patch, reconstruct
from vitbench.total import Total
from vitbench.train import generator

Curves = Sequence[Mapping[str, Any]]
PICTURES = ("original", "masked", "restored")
ERRORS = ("reconstruction_mse", "mean_patch_mse")  # both on the masked patches of the test images
SHOWN = 8  # images in a picture
KNN_POINTS = 20  # of a curve: neighbours take longer than a pass over the test images
ATTACK_SHARE = 6  # an attack is two forward passes, a backward one and some more; in units of an evaluation


class Examination(Protocol):
    """Looks at a network after each epoch and at the end.

    Attributes:
        model: the network that is judged, and whose weights are kept.
    """

    model: nn.Module

    def after_epoch(self, number: int) -> Mapping[str, float]:
        """What joins the curve of an epoch, whose number is from 1 on, over all phases."""

    def after_training(self, curves: Curves) -> dict[str, Any]:
        """Measurements, those that failed their own checks, and details: the content of a record."""

    @property
    def remaining_seconds(self) -> float:
        """What `after_training` will take, as far as is known."""


@dataclass
class Classification:
    """Accuracy after an epoch, in the precision of the training; the finished network is judged in fp32.

    Attributes:
        model: the network that is judged.
        embedded: judges its embeddings, where the run asks for it.
        seconds: that the last evaluation took.
    """

    identity: Identity
    model: nn.Module
    split: Split
    embedded: Embedded | None = None
    seconds: float = 0.0

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device

    @property
    def remaining_seconds(self) -> float:
        """What the attack will take, by the last evaluation."""
        return ATTACK_SHARE * self.seconds

    def after_epoch(self, number: int) -> Mapping[str, float]:
        """Accuracy on the test images in percent."""
        started = time.perf_counter()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.identity.precision == "bf16"):
            logits = accuracy.predict(self.model, self.split.test)
        value = accuracy.accuracy(accuracy.correct(logits, self.split.test.labels))
        self.seconds = time.perf_counter() - started
        return {"accuracy": value}

    def after_training(self, curves: Curves) -> dict[str, Any]:
        """Accuracy, the best one of all epochs, and what FGSM takes away."""
        draws = generator(self.identity.seed, "attack", device=self.device)
        attacked = attack.fgsm(self.model, self.split.test, generator=draws)
        value = accuracy.accuracy(attacked.clean)
        judged = self.embedded.judged() if self.embedded else {"measurements": {}, "invalid": {}}
        measurements = {"accuracy": value, **of_epochs(curves, value), **of_training(curves), **judged["measurements"]}
        if self.identity.probe:
            measurements[self.identity.probe] = value
        invalid = dict(judged["invalid"])
        if attacked.valid:
            measurements |= {"adversarial_accuracy": attacked.adversarial_accuracy, "fgsm_drop": attacked.drop}
        else:
            invalid |= dict.fromkeys(("adversarial_accuracy", "fgsm_drop"), attacked.reason)
        bits = {"clean": accuracy.pack(attacked.clean), "attacked": accuracy.pack(attacked.attacked)}
        details = {"curves": curves, "correct": bits, **sizes(self.split)}
        return {"measurements": measurements, "invalid": invalid, "details": details}


@dataclass
class Pretraining:
    """What a network learnt without labels, as far as a term of its objective can show it.

    Attributes:
        restorer: the term that restores masked patches, or None.
        folder: of the run; pictures are written there as they are made, so that a run that goes on keeps them.
        epochs: of all phases.
        embedded: judges its embeddings, where the run asks for it.
        mean: patch of the training images, once it was needed.
    """

    identity: Identity
    model: nn.Module
    restorer: nn.Module | None
    split: Split
    folder: Path
    epochs: int
    embedded: Embedded | None = None
    mean: Tensor | None = None

    @property
    def remaining_seconds(self) -> float:
        """None: the last epoch was looked at."""
        return 0.0

    def after_epoch(self, number: int) -> Mapping[str, float]:
        """Errors and pictures of the epochs that pictures are kept of, nearest neighbours of some more."""
        looked = self.embedded and number in shown_epochs(self.epochs, KNN_POINTS)
        neighbours = {"knn": self.embedded.knn()} if self.embedded and looked else {}
        return {**neighbours, **self._restored(number)}

    def _restored(self, number: int) -> Mapping[str, float]:
        if self.restorer is None or number not in shown_epochs(self.epochs):
            return {}
        found = self._reconstruct(self.restorer)
        pictures = {name: getattr(found, name).contiguous() for name in PICTURES}
        with write_atomically(self.folder / "pictures" / f"epoch-{number:04}.safetensors") as temporary:
            save_file(pictures, temporary)
        return dict(zip(ERRORS, (found.mse, found.mean_patch_mse), strict=True))

    def after_training(self, curves: Curves) -> dict[str, Any]:
        """Losses of the first and the last epoch, and the errors of the last."""
        errors = {name: curves[-1][name] for name in ERRORS if name in curves[-1]}
        measurements = {"first_loss": curves[0]["loss"], **of_training(curves), **errors}
        judged = self.embedded.judged() if self.embedded else {"measurements": {}, "invalid": {}}
        details = {"curves": curves, **sizes(self.split)}
        return {"measurements": measurements | judged["measurements"], "invalid": judged["invalid"], "details": details}

    def _reconstruct(self, restorer: nn.Module) -> Reconstruction:
        if self.mean is None:
            train = replace(self.split.train, prepare=self.split.test.prepare)
            self.mean = mean_patch(self.model, restorer, train)
        draws = generator(self.identity.seed, "reconstruction", device=self.mean.device)
        return reconstruct(self.model, restorer, self.split.test, mean=self.mean, generator=draws, shown=SHOWN)


def shown_epochs(epochs: int, parts: int = 4) -> set[int]:
    """The first epoch, the last and those at each quarter, or other part; Figure 5 of Tan 2024 shows four."""
    return {1, *(math.ceil(epochs * part / parts) for part in range(1, parts + 1))}


def of_epochs(curves: Curves, last: float) -> dict[str, float]:
    """The best accuracy in percent of all epochs, and how soon it came; of what takes no steps, that of the end."""
    if not curves:
        return {"best_accuracy": last}
    epochs = [curve["accuracy"] for curve in curves]
    best = max(epochs)
    return {
        "best_accuracy": max(best, last),
        "epoch_of_best": float(curves[epochs.index(best)]["epoch"]),
        "convergence_epoch": float(convergence_epoch(epochs)),
    }


def of_training(curves: Curves) -> dict[str, float]:
    """What every training leaves: the last epoch's loss, and the seconds of all steps."""
    if not curves:
        return {}
    return {"loss": curves[-1]["loss"], "train_seconds": sum(curve["seconds"] for curve in curves)}


def sizes(split: Split) -> dict[str, int]:
    """Images of both halves."""
    return {"test_images": len(split.test), "train_images": len(split.train)}


def of(identity: Identity, model: nn.Module, total: Total, split: Split, *, folder: Path) -> Examination:
    """What looks at the network of a run, by its kind.

    Args:
        total: its objective, of whose terms one may restore images, and one may have a teacher.
        folder: of the run.

    Raises:
        UserError: if a teacher is to be judged, and no term has one.
    """
    teaching, restorer = teaching_of(identity, total), _first(total, "restore")
    if teaching is not None and identity.judged == "teacher":
        model = cast(nn.Module, teaching.teacher)

    def untrained() -> nn.Module:
        return build.place(build.model_of(identity), next(model.parameters()).device)

    embedded = Embedded(model, teaching, split, untrained) if identity.knn else None
    if identity.kind == "run":
        return Classification(identity, model, split, embedded)
    epochs = sum(phase.epochs for phase in identity.phases)
    return Pretraining(identity, model, restorer, split, folder, epochs, embedded)


def teaching_of(identity: Identity, total: Total) -> nn.Module | None:
    """The first term of a run that has a teacher, a module, and says by `distribution` what it answers; if one has.

    Raises:
        UserError: if a teacher is to be judged, and no term has one.
    """
    own = [term for term in total.terms if hasattr(term, "teacher")]  # which may be something else of theirs
    found = next((term for term in own if _teaches(term)), None)
    if found is None and identity.judged == "teacher":
        form = ", a module as `teacher` and a method `distribution`," if own else ""
        raise UserError(f"the recipe judges the teacher{form} and {identity.objective} has none; drop `judged`")
    return found


def _teaches(term: nn.Module) -> bool:
    return isinstance(term.teacher, nn.Module) and callable(getattr(term, "distribution", None))


def _first(total: Total, name: str) -> nn.Module | None:
    """The first of its terms that has something of that name."""
    return next((term for term in total.terms if hasattr(term, name)), None)
