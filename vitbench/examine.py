"""What is measured on a network while it is trained and once it is: accuracy and attack."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from vitbench.contracts import Split
from vitbench.identity import Identity
from vitbench.measure import accuracy, attack
from vitbench.train import generator

Curves = Sequence[Mapping[str, Any]]
ATTACK_SHARE = 6  # an attack is two forward passes, a backward one and some more; in units of an evaluation


class Examination(Protocol):
    """Looks at a network after each epoch and at the end."""

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
        seconds: that the last evaluation took.
    """

    identity: Identity
    model: nn.Module
    split: Split
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
        epochs = [curve["accuracy"] for curve in curves]
        best = max(epochs)
        measurements = {
            "accuracy": accuracy.accuracy(attacked.clean),
            "best_accuracy": max(best, accuracy.accuracy(attacked.clean)),
            "epoch_of_best": float(curves[epochs.index(best)]["epoch"]),
            **of_training(curves),
        }
        invalid = {}
        if attacked.valid:
            measurements |= {"adversarial_accuracy": attacked.adversarial_accuracy, "fgsm_drop": attacked.drop}
        else:
            invalid = dict.fromkeys(("adversarial_accuracy", "fgsm_drop"), attacked.reason)
        bits = {"clean": accuracy.pack(attacked.clean), "attacked": accuracy.pack(attacked.attacked)}
        details = {"curves": curves, "correct": bits, **sizes(self.split)}
        return {"measurements": measurements, "invalid": invalid, "details": details}


def of_training(curves: Curves) -> dict[str, float]:
    """What every training leaves: the last epoch's loss, and the seconds of all steps."""
    return {"loss": curves[-1]["loss"], "train_seconds": sum(curve["seconds"] for curve in curves)}


def sizes(split: Split) -> dict[str, int]:
    """Images of both halves."""
    return {"test_images": len(split.test), "train_images": len(split.train)}


def of(identity: Identity, model: nn.Module, split: Split) -> Examination:
    """What looks at the network of a run, by its kind."""
    return Classification(identity, model, split)
