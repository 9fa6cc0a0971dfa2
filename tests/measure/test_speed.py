"""Timings by hand, a reference in turn, and inference as it is used."""

import itertools

import pytest
import torch
from torch import nn

from vitbench.contracts import Output
from vitbench.measure import speed
from vitbench.measure.speed import inference, peak_memory, time_against, time_call, timing

CPU = torch.device("cpu")


def rounds(count):
    """A stopwatch of so many rounds, which says that they took 1, 2, 3 … seconds."""

    def stopwatch(call, setup):
        for _ in range(count):
            setup()
            call()
        return [float(number) for number in range(1, count + 1)]

    return stopwatch


def test_a_timing_is_the_median_of_its_rounds():
    assert timing([1.0, 9.0, 2.0]).seconds == 2.0
    assert timing([4.0, 1.0, 2.0, 100.0]).seconds == 3.0


def test_the_noise_floor_compares_every_second_round_with_the_others():
    # Medians 2 and 5 of the halves 1, 2, 3 and 4, 5, 6; median 3.5 of all.
    assert timing([1, 4, 2, 5, 3, 6]).noise_floor == pytest.approx(100 * 3 / 3.5)
    assert timing([7.0, 7.0, 7.0]).noise_floor == 0.0


def test_the_ratio_is_between_medians_and_absent_without_a_reference():
    assert timing([3.0, 3.0, 30.0], [2.0, 1.0, 2.0]).ratio == 1.5
    assert timing([3.0, 3.0]).ratio is None


def test_a_call_is_timed_by_the_stopwatch_that_is_given():
    calls = []
    found = time_call(lambda: calls.append("call"), CPU, rounds(3))
    assert calls == ["call"] * 3
    assert (found.seconds, found.ratio) == (2.0, None)


def test_a_reference_is_timed_in_turn_after_one_warm_up(monkeypatch):
    order = []
    # The clock is looked at before and after the reference: it takes 1, 2 and 3 seconds.
    clock = iter(itertools.accumulate([0, 1, 10, 2, 10, 3]))
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    found = time_against(lambda: order.append("timed"), lambda: order.append("plain"), CPU, rounds(3))
    assert order == ["plain", "plain", "timed", "plain", "timed", "plain", "timed"]
    assert found.seconds == 2.0
    assert found.ratio == 1.0


class Network(nn.Module):
    """Remembers how it was called."""

    def __init__(self):
        super().__init__()
        self.layer, self.dropout, self.seen = nn.Linear(12, 3), nn.Dropout(0.5), []

    def forward(self, images):
        self.seen.append((self.training, torch.is_grad_enabled()))
        logits = self.dropout(self.layer(images.flatten(1)))
        return Output(logits=logits, embedding=logits, grids=())


def test_inference_is_timed_in_evaluation_mode_without_gradients():
    network = Network().train()
    call = inference(network, torch.rand(2, 3, 2, 2))
    logits = call()
    assert network.seen == [(False, False)]
    assert logits.is_inference()
    assert torch.equal(logits, call())  # dropout is off


def test_the_memory_of_a_call_on_a_processor_is_not_known():
    calls = []
    assert peak_memory(lambda: calls.append(1), CPU) is None
    assert not calls
