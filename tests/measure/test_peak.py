"""The peak is what a product of known size takes by the clock, once a device."""

import pytest
import torch

from vitbench.measure import peak

CPU = torch.device("cpu")


@pytest.fixture
def _small(monkeypatch):
    monkeypatch.setattr(peak, "SIZES", {"cpu": 64})
    peak.matmul_peak.cache_clear()
    yield
    peak.matmul_peak.cache_clear()


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_rate_is_the_operations_over_the_median_time(monkeypatch, precision, dtype):
    # Two rounds to warm up, then ten of 1 ms but for one that a neighbour disturbed.
    lengths = [9.0, 9.0, *[1e-3] * 9, 5.0]
    clock = iter([at for start, length in enumerate(lengths) for at in (100.0 * start, 100.0 * start + length)])
    monkeypatch.setattr(peak.time, "perf_counter", lambda: next(clock))
    seen = []
    monkeypatch.setattr(peak.torch, "mm", lambda left, right: seen.append((left, right)))
    assert peak.matmul_peak(CPU, precision) == pytest.approx(2 * 64**3 / 1e-3, rel=1e-6)
    assert len(seen) == len(lengths)
    left, right = seen[0]
    assert left.dtype == dtype
    assert not torch.equal(left, right)
    assert left.float().std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.usefixtures("_small")
def test_it_is_measured_once():
    assert peak.matmul_peak(CPU, "fp32") == peak.matmul_peak(CPU, "fp32")
