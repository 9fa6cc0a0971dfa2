"""What is measured by several tests: a tiny network, as it starts, on the digits."""

import pytest
import torch

from vitbench.datasets import digits
from vitbench.models import cct


@pytest.fixture(scope="module")
def split():
    return digits.build(None)


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cct.build(classes=10, image_size=32, variant="tiny_cct")
