"""Optimizers and learning rates: timm's, with rates that stay on the device and no decay where a network says so."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from vitbench import optimizer
from vitbench.build import untrained
from vitbench.case import Phase
from vitbench.errors import UserError

CPU = torch.device("cpu")
PHASE = Phase(epochs=5, batch_size=4, optimizer={"name": "adamw", "lr": 0.1}, schedule={"name": "constant"})


class Network(nn.Module):
    """A matrix that is decayed, positions that the network wants spared, a bias that timm spares."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Linear(3, 2)
        self.positions = nn.Parameter(torch.ones(4, 3))

    def no_weight_decay(self):
        return {"positions"}


def make(network=None, **changes):
    trained = optimizer.Trained([network or nn.Linear(3, 2), nn.Linear(2, 2)])
    return optimizer.make(trained, replace(PHASE, **changes), steps_per_epoch=4, device=CPU)


def decayed(made):
    return {id(one) for group in made.param_groups if group["weight_decay"] for one in group["params"]}


def test_what_a_network_spares_is_not_decayed():
    network = Network()
    made, _ = make(network, optimizer={"name": "adamw", "lr": 0.1, "weight_decay": 0.3})
    assert id(network.matrix.weight) in decayed(made)
    assert id(network.positions) not in decayed(made)
    assert id(network.matrix.bias) not in decayed(made)


def test_the_positions_of_a_timm_transformer_are_spared_too():
    network = untrained("vit/tiny", 10, 32)
    made, _ = make(network, optimizer={"name": "adamw", "lr": 0.1, "weight_decay": 0.3})
    positions = [one for name, one in network.named_parameters() if "pos_embed" in name]
    assert positions
    assert not decayed(made) & {id(one) for one in positions}


@pytest.mark.parametrize("name", optimizer.FUSED)
def test_fused_optimizers_read_their_rate_from_a_tensor(name):
    made, _ = make(optimizer={"name": name, "lr": 0.1})
    optimizer.set_rates(made, torch.full((len(made.param_groups),), 0.25))
    assert all(isinstance(group["lr"], torch.Tensor) and group["fused"] for group in made.param_groups)
    weight = made.param_groups[0]["params"][0]
    before = weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    optimizer.set_rates(made, torch.zeros(len(made.param_groups)))
    made.step()
    assert torch.equal(weight, before)  # at a rate of 0
    optimizer.set_rates(made, torch.full((len(made.param_groups),), 0.25))
    made.step()
    assert not torch.equal(weight, before)


def test_other_optimizers_get_a_number():
    made, _ = make(optimizer={"name": "lamb", "lr": 0.1})
    optimizer.set_rates(made, torch.full((len(made.param_groups),), 0.25))
    assert [group["lr"] for group in made.param_groups] == [0.25] * len(made.param_groups)


def test_a_restored_state_keeps_the_rate_where_it_was():
    made, _ = make()
    rate = made.param_groups[0]["lr"]
    state = make()[0].state_dict()
    optimizer.restore(made, state)
    assert made.param_groups[0]["lr"] is rate


def test_a_constant_schedule_leaves_the_learning_rate():
    _, rates = make()
    assert {rates(step)[0] for step in range(20)} == {0.1}


@pytest.mark.parametrize("warmup", [0, 1, 0.5])
def test_the_cosine_schedule_follows_its_closed_form(warmup):
    schedule = {"name": "cosine", "warmup_epochs": warmup, "warmup_lr": 0.001, "min_lr": 0.01}
    _, rates = make(schedule=schedule)
    steps, rising = 20, 4 * warmup
    expected = [
        0.001 + (0.1 - 0.001) * at / rising
        if at < rising
        else 0.01 + (0.1 - 0.01) * (1 + math.cos(math.pi * at / steps)) / 2
        for at in range(steps)
    ]
    assert [rates(step)[0] for step in range(steps)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"name": "nosuch", "lr": 0.1}, "nosuch"),
        ({"name": "adam", "lr": 0.1, "nonsense": 1}, "nonsense"),
        ({"name": "adam", "lr": -0.1}, "learning rate"),
    ],
)
def test_an_optimizer_that_timm_cannot_make_is_one_line(options, reason):
    with pytest.raises(UserError, match=reason) as caught:
        make(optimizer=options)
    assert "\n" not in str(caught.value)


def test_a_cosine_longer_than_the_phase_is_cut_off_in_the_middle():
    """101 epochs of a 300-epoch cosine with 20 of warm-up, by the formula."""
    cut = {"name": "cosine", "warmup_epochs": 20, "warmup_lr": 1e-6, "min_lr": 1e-5, "epochs": 300}
    _, rates = make(epochs=101, optimizer={"name": "adamw", "lr": 1e-3}, schedule=cut)
    assert rates(0)[0] == pytest.approx(1e-6)
    assert rates(4 * 10)[0] == pytest.approx(1e-6 + (1e-3 - 1e-6) / 2)
    for epoch in (20, 50, 100):
        expected = 1e-5 + (1e-3 - 1e-5) * (1 + math.cos(math.pi * epoch / 300)) / 2
        assert rates(4 * epoch)[0] == pytest.approx(expected)
