"""Runs directories and recorded baselines made by hand, for the tests of comparing them."""

from dataclasses import replace

import numpy as np
import torch

from tests.a_run import PROVENANCE, RUN, record_of
from vitbench.measure.accuracy import pack
from vitbench.records import Store

IMAGES = 200


def right(accuracy, seed=0):
    """Packed bits of so many percent of `IMAGES`, at random places."""
    bits = np.arange(IMAGES) < round(accuracy * IMAGES / 100)
    return pack(torch.from_numpy(np.random.default_rng(seed).permutation(bits)))


def finish(root, accuracy, *, seed=0, identity=RUN, provenance=None, bits=None, **measurements):
    """Leave the record of a run; returns its path."""
    one = replace(identity, seed=seed)
    details = {"test_images": IMAGES, **({"correct": bits} if bits else {})}
    record = record_of(
        one,
        measurements={"accuracy": accuracy, **measurements},
        details=details,
        provenance=PROVENANCE | (provenance or {}),
        invalid={},
    )
    return Store(root).write(one, record)


def count(root, *, params=15.0, macs=1.0):
    """Leave the record of a size."""
    one = replace(RUN, kind="size", phases=(), data="")
    return Store(root).write(one, record_of(one, measurements={"params": params, "macs": macs}, details={}, invalid={}))
