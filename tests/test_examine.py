"""What is measured on a network after each epoch and at the end."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sklearn.metrics import accuracy_score
from torch import nn

from tests.a_run import RUN
from vitbench import examine
from vitbench.contracts import Images, Output, Split
from vitbench.errors import UserError
from vitbench.total import Total

N = 40


class Reader(nn.Module):
    """Reads the label out of the first pixel, and is wrong about the images whose second pixel is lit."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        label, lit = images[:, 0, 0, 0] * 255 / 20, images[:, 0, 0, 1]
        label = label + lit * (9 - 2 * label)  # 9 - label where it is lit, which is never the label
        logits = -(label[:, None] - torch.arange(10)).square() * self.scale
        return Output(logits=logits, embedding=logits, grids=())


def split(wrong):
    labels = torch.arange(N) % 10
    images = torch.zeros(N, 3, 8, 8, dtype=torch.uint8)
    images[:, 0, 0, 0] = labels * 20
    images[:wrong, 0, 0, 1] = 255
    half = Images(images=images, labels=labels)
    return Split(train=half, test=half, classes=tuple("0123456789"))


def looking(network, data):
    return examine.of(RUN, network, Total({}, {}), data, folder=Path("nowhere"))


@pytest.mark.parametrize("wrong", [0, 7, N])
def test_the_accuracy_after_an_epoch_is_scikit_learns(wrong):
    network, data = Reader(), split(wrong)
    examination = looking(network, data)
    predicted = network(data.test.images / 255).logits.argmax(dim=1)
    assert examination.after_epoch(1) == {"accuracy": pytest.approx(100 * accuracy_score(data.test.labels, predicted))}


def curves(*accuracies):
    return [
        {"phase": 0, "epoch": number, "loss": 1 / number, "accuracy": one, "seconds": 2.0}
        for number, one in enumerate(accuracies, start=1)
    ]


def test_the_best_epoch_is_the_first_of_the_best_ones():
    found = looking(Reader(), split(10)).after_training(curves(50.0, 90.0, 90.0, 75.0))
    measured = found["measurements"]
    assert (measured["accuracy"], measured["best_accuracy"], measured["epoch_of_best"]) == (75.0, 90.0, 2.0)
    assert (measured["loss"], measured["train_seconds"]) == (0.25, 8.0)
    assert measured["convergence_epoch"] == 2.0
    assert (found["details"]["test_images"], found["details"]["train_images"]) == (N, N)


def test_a_training_converged_before_its_best_epoch_counted_over_all_phases():
    entries = [*curves(50.0, 60.0), *curves(86.0, 90.0)]  # 95 % of 90 are 85.5
    assert looking(Reader(), split(10)).after_training(entries)["measurements"]["convergence_epoch"] == 3.0


def test_a_finished_network_is_judged_in_fp32_and_may_be_better_than_every_epoch():
    found = looking(Reader(), split(0)).after_training(curves(50.0, 90.0))
    assert (found["measurements"]["accuracy"], found["measurements"]["best_accuracy"]) == (100.0, 100.0)


def test_what_remains_is_known_by_the_last_evaluation(monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    examination = looking(Reader(), split(0))
    assert examination.remaining_seconds == 0
    examination.after_epoch(1)
    assert examination.remaining_seconds == 2.5 * examine.ATTACK_SHARE


class Having(nn.Module):
    """A term with whatever attributes."""

    def __init__(self, **having):
        super().__init__()
        for name, value in having.items():
            setattr(self, name, value)


def answering(images):
    return images.flatten(1).softmax(dim=1)


@pytest.mark.parametrize(
    "having",
    [
        {"teacher": nn.Identity()},
        {"teacher": "Miss Smith", "distribution": answering},
        {"teacher": None, "distribution": answering},
        {"teacher": nn.Identity(), "distribution": 3},
    ],
)
def test_a_terms_own_attribute_of_that_name_is_no_teacher(having):
    total = Total({"ce": Having(**having)}, {"ce": 1.0})
    assert examine.teaching_of(RUN, total) is None
    with pytest.raises(UserError, match=r"a module as `teacher` and a method `distribution`, and .* has none; drop"):
        examine.teaching_of(replace(RUN, judged="teacher"), total)


def test_the_first_term_that_teaches_is_judged_whatever_others_have():
    terms = {"a": Having(teacher=3), "b": Having(teacher=nn.Identity(), distribution=answering), "c": Having()}
    total = Total(terms, dict.fromkeys(terms, 1.0))
    assert examine.teaching_of(replace(RUN, judged="teacher"), total) is terms["b"]
