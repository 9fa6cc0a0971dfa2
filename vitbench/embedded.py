"""What the embeddings of a network keep apart: its nearest neighbours, before and after training, and a collapse."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from vitbench.contracts import Split
from vitbench.measure import collapse
from vitbench.measure.accuracy import accuracy
from vitbench.measure.knn import knn


@dataclass
class Embedded:
    """Judges the embeddings of a network.

    Attributes:
        model: the one that is judged; its classifier takes no part.
        term: of its objective, the one that has a teacher, or None.
        untrained: makes the same network as it was before any training.
    """

    model: nn.Module
    term: nn.Module | None
    split: Split
    untrained: Callable[[], nn.Module]

    def knn(self) -> float:
        """Accuracy in percent of the nearest neighbours of test images among training images."""
        return accuracy(self._neighbours(self.model))

    @cached_property
    def knn_untrained(self) -> float:
        """Likewise of the untrained network."""
        return accuracy(self._neighbours(self.untrained()))

    def judged(self) -> dict[str, Any]:
        """Measurements, and which of them count for nothing because the network collapsed."""
        found = collapse.collapse(self.model, self.split.test, term=self.term)
        value = {"knn": self.knn()}
        invalid = dict.fromkeys(value, found.reason) if found.reason else {}
        measurements = {} if found.reason else value
        return {
            "measurements": {**measurements, "knn_untrained": self.knn_untrained, **found.measurements()},
            "invalid": invalid,
        }

    def _neighbours(self, model: nn.Module) -> Tensor:
        train = replace(self.split.train, prepare=self.split.test.prepare)
        return knn(model, train, self.split.test).cpu()
