"""The table of metrics: a name, a unit, a direction and a range for everything that is printed or measured."""

import math

import pytest

from vitbench.metrics import METRICS


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_stands_under_its_own_name(name):
    assert METRICS[name].name == name


@pytest.mark.parametrize("name", METRICS)
def test_no_metric_can_be_nan(name):
    assert not METRICS[name].holds(math.nan)


# The metrics of printed cells, as the design of the long form lists them.
def test_everything_that_papers_print_has_a_metric():
    accuracies = {"accuracy", "accuracy_std", "adversarial_accuracy", "fgsm_drop", "gain", "knn", "linear"}
    others = {"params", "macs", "loss", "epoch_of_best", "train_images", "test_images", "classes"}
    assert accuracies | others <= METRICS.keys()


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("accuracy", "higher"),
        ("adversarial_accuracy", "higher"),
        ("inference", "higher"),
        ("fgsm_drop", "lower"),
        ("params", "lower"),
        ("macs", "lower"),
        ("loss", "lower"),
        ("train_seconds", "lower"),
        ("epoch_of_best", None),
        ("convergence_epoch", "lower"),
        ("knn_untrained", "higher"),
        ("embedding_spread", "higher"),
        ("teacher_entropy", None),
        ("teacher_information", "higher"),
    ],
)
def test_a_metric_knows_which_way_is_better(name, better):
    assert METRICS[name].better == better


@pytest.mark.parametrize(
    ("name", "value", "possible"),
    [
        ("accuracy", 0, True),
        ("accuracy", 100, True),
        ("accuracy", 100.01, False),
        ("accuracy", -0.01, False),
        ("fgsm_drop", -5, True),
        ("fgsm_drop", 101, False),
        ("params", 0, True),
        ("params", -1, False),
        ("macs", 1e6, True),
        ("loss", -3.5, True),
        ("convergence_epoch", 1, True),
        ("convergence_epoch", 0, False),
        ("knn_untrained", 101, False),
        ("embedding_spread", 0, True),
        ("teacher_entropy", -0.1, False),
    ],
)
def test_a_value_out_of_range_is_not_possible(name, value, possible):
    assert METRICS[name].holds(value) is possible


def test_what_depends_on_the_machine_says_so():
    portable = {name for name, metric in METRICS.items() if metric.portable}
    assert {"accuracy", "params", "macs", "training_macs"} <= portable
    assert not {"inference", "training", "step_ms", "peak_memory", "train_seconds"} & portable
