"""The table of metrics: every quantity that a paper prints or that we measure, with unit and direction."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One named quantity.

    Attributes:
        name: as it stands in data files, records and reports.
        unit: of every value of it, everywhere.
        better: which way is better, or None where neither is.
        low, high: the values that are possible.
        decimals: how many a report shows.
        portable: whether the value is the same on every machine, so that baselines may cross machines.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"] | None
    low: float = 0.0
    high: float = float("inf")
    decimals: int = 2
    portable: bool = True

    def holds(self, value: float) -> bool:
        """Whether a value is possible; NaN is not."""
        return self.low <= value <= self.high


def _percent(name: str) -> Metric:
    return Metric(name=name, unit="%", better="higher", high=100)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _percent("accuracy"),
        _percent("best_accuracy"),
        Metric(name="accuracy_std", unit="points", better="lower", high=100),
        _percent("adversarial_accuracy"),
        # What FGSM takes away is positive; an attack that helps shows as a negative drop.
        Metric(name="fgsm_drop", unit="points", better="lower", low=-100, high=100),
        Metric(name="gain", unit="points", better="higher", low=-100, high=100),
        Metric(name="relative_gain", unit="%", better="higher", low=-100),
        _percent("early_accuracy"),  # after `early_epoch` epochs, at which a text compares two curves
        _percent("knn"),
        _percent("knn_untrained"),  # of the same network before its first step
        _percent("linear"),
        Metric(name="params", unit="M", better="lower"),
        Metric(name="macs", unit="G", better="lower", decimals=3),
        Metric(name="macs_fvcore", unit="G", better="lower", decimals=3),
        Metric(name="macs_layers", unit="G", better="lower", decimals=3),
        Metric(name="macs_without_attention", unit="G", better="lower", decimals=3),
        Metric(name="term_params", unit="M", better="lower"),
        Metric(name="training_macs", unit="G", better="lower", decimals=3),
        Metric(name="training_macs_ratio", unit="x", better="lower"),
        Metric(name="loss", unit="", better="lower", low=-float("inf"), decimals=4),
        Metric(name="first_loss", unit="", better=None, low=-float("inf"), decimals=4),
        # The first epoch with 95 % of the best accuracy over epochs: the speed of convergence.
        Metric(name="convergence_epoch", unit="epoch", better="lower", low=1, decimals=0),
        Metric(name="epoch_of_best", unit="epoch", better=None, decimals=0),
        Metric(name="early_epoch", unit="epoch", better=None, decimals=0),
        Metric(name="epochs", unit="epochs", better=None, decimals=0),
        # Of a pre-training, on the masked patches of test images; the second is what predicting their mean would have.
        Metric(name="reconstruction_mse", unit="", better="lower", decimals=4),
        Metric(name="mean_patch_mse", unit="", better=None, decimals=4),
        # How far embeddings, and what a teacher says, are from being the same for all; see `vitbench.measure.collapse`.
        Metric(name="embedding_spread", unit="", better="higher", high=1, decimals=3),
        Metric(name="teacher_entropy", unit="nats", better=None, decimals=3),
        Metric(name="teacher_information", unit="nats", better="higher", decimals=3),
        Metric(name="output_tokens", unit="tokens", better=None, decimals=0),
        Metric(name="output_width", unit="channels", better=None, decimals=0),
        Metric(name="images", unit="images", better=None, decimals=0),
        Metric(name="train_images", unit="images", better=None, decimals=0),
        Metric(name="test_images", unit="images", better=None, decimals=0),
        Metric(name="classes", unit="classes", better=None, decimals=0),
        Metric(name="inference", unit="images/s", better="higher", decimals=0, portable=False),
        Metric(name="training", unit="images/s", better="higher", decimals=0, portable=False),
        Metric(name="inference_noise", unit="%", better="lower", portable=False),
        Metric(name="training_noise", unit="%", better="lower", portable=False),
        Metric(name="step_ms", unit="ms", better="lower", portable=False),
        Metric(name="step_ratio", unit="x", better="lower", portable=False),
        Metric(name="peak_share", unit="%", better="higher", high=200, portable=False),
        Metric(name="peak_memory", unit="MiB", better="lower", decimals=0, portable=False),
        Metric(name="memory_ratio", unit="x", better="lower", portable=False),
        Metric(name="train_seconds", unit="s", better="lower", decimals=1, portable=False),
    )
}

# What a printed number of MACs may count, and the metric that counts it so; see docs/decisions/0005-macs.md.
CONVENTIONS = {
    "matmul+conv": "macs",
    "fvcore": "macs_fvcore",
    "layers": "macs_layers",
    "without attention": "macs_without_attention",
}
