"""Optimizers and learning rates: timm's, with rates that stay on the device and no decay where a network says so."""

import copy
import io
import math
from dataclasses import replace

import pytest
import torch
from timm.models import VisionTransformer
from timm.optim import list_optimizers, param_groups_layer_decay, param_groups_weight_decay
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


DECAYING = {"name": "adamw", "lr": 0.1, "weight_decay": 0.3, "layer_decay": 0.75}


class Encoder(nn.Module):
    """Twelve layers that say which they are by the rule of He et al. 2022: the last norm is behind them."""

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Linear(3, 2, bias=False)
        self.pos_embed = nn.Parameter(torch.ones(1, 5, 2))
        self.blocks = nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))
        self.norm = nn.LayerNorm(2)
        self.head = nn.Linear(2, 10)

    def no_weight_decay(self):
        return {"pos_embed"}

    def group_matcher(self, coarse=False):
        return {"stem": r"^(?:patch_embed|pos_embed)", "blocks": r"^blocks\.(\d+)"}


class Around(nn.Module):
    """Somebody's model with a network of timm's inside, a layer in front of it and one behind."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(3, 3)
        self.trunk = VisionTransformer(img_size=8, patch_size=4, embed_dim=12, depth=3, num_heads=2, num_classes=20)
        self.classifier = nn.Linear(20, 10)


def scales(network, **options):
    """Name of each parameter of a network and a term beside it, to its group's lr_scale and weight_decay."""
    trained = optimizer.Trained([network, nn.Linear(2, 2)])
    phase = replace(PHASE, optimizer=DECAYING | options)
    made, _ = optimizer.make(trained, phase, steps_per_epoch=4, device=CPU)
    groups = {id(one): group for group in made.param_groups for one in group["params"]}
    return {
        name: (groups[id(one)]["lr_scale"], groups[id(one)]["weight_decay"]) for name, one in trained.named_parameters()
    }


def test_layers_of_a_timm_transformer_learn_slower_the_nearer_they_are_to_the_pixels():
    found = {name: scale for name, (scale, _) in scales(untrained("vit/tiny", 10, 32)).items()}  # two blocks
    network = "0.network."
    expected = {"cls_token": 0.421875, "pos_embed": 0.421875, "patch_embed.proj.weight": 0.421875}  # .75 ** 3
    expected |= {"blocks.0.attn.qkv.weight": 0.5625, "blocks.1.mlp.fc2.bias": 0.75, "head.weight": 1, "head.bias": 1}
    expected |= {"norm.weight": 0.75}  # timm counts the last norm to the last block
    assert {name: found[network + name] for name in expected} == expected
    assert {found["1.weight"], found["1.bias"]} == {1.0}


def test_layers_of_a_network_of_ours_follow_the_rule_of_masked_autoencoders():
    found = {name: scale for name, (scale, _) in scales(Encoder()).items()}
    layer = dict.fromkeys(("0.patch_embed.weight", "0.pos_embed"), 0)
    layer |= {f"0.blocks.{at}.{kind}": at + 1 for at in range(12) for kind in ("weight", "bias")}
    rest = ("0.norm.weight", "0.norm.bias", "0.head.weight", "0.head.bias", "1.weight", "1.bias")
    layer |= dict.fromkeys(rest, 13)
    assert found == pytest.approx({name: 0.75 ** (13 - at) for name, at in layer.items()})


@pytest.mark.parametrize("reference", ["vit/tiny", "swin/tiny", "timm/convnext_atto", "timm/resnet10t"])
def test_groups_of_a_network_are_those_that_timm_makes_of_it_alone(reference):
    model = untrained(reference, 10, 32)
    network = model.network
    spared = getattr(network, "no_weight_decay", set)()
    theirs = {
        id(one): (group["lr_scale"], group["weight_decay"])
        for group in param_groups_layer_decay(network, 0.3, no_weight_decay_list=spared, layer_decay=0.6)
        for one in group["params"]
    }
    ours = scales(model, layer_decay=0.6)
    assert {f"0.network.{name}": theirs[id(one)] for name, one in network.named_parameters()} == {
        name: ours[name] for name in ours if name.startswith("0.")
    }
    assert len({scale for scale, _ in ours.values()}) > 3
    assert ours["1.weight"] == (1.0, 0.3)


def test_what_lies_around_a_network_that_knows_its_layers_learns_at_the_full_rate():
    found = {name: scale for name, (scale, _) in scales(Around(), layer_decay=0.5).items()}
    assert {found["0.mix.weight"], found["0.classifier.weight"], found["1.weight"]} == {1.0}
    assert found["0.trunk.head.weight"] == 1.0
    assert found["0.trunk.blocks.2.mlp.fc1.weight"] == found["0.trunk.norm.weight"] == 0.5
    assert found["0.trunk.blocks.0.mlp.fc1.weight"] == 0.125
    assert found["0.trunk.pos_embed"] == 0.0625


def test_biases_norms_and_what_a_network_spares_are_not_decayed_in_any_layer():
    found = {name: decay for name, (_, decay) in scales(Encoder()).items()}
    assert {name for name, decay in found.items() if decay} == {
        *("0.patch_embed.weight", "0.head.weight", "1.weight"),
        *(f"0.blocks.{at}.weight" for at in range(12)),
    }
    assert set(found.values()) == {0.0, 0.3}


def test_without_layer_decay_groups_are_those_of_weight_decay_alone():
    trained = optimizer.Trained([Encoder(), nn.Linear(2, 2)])
    phase = replace(PHASE, optimizer={"name": "adamw", "lr": 0.1, "weight_decay": 0.3})
    made, _ = optimizer.make(trained, phase, steps_per_epoch=4, device=CPU)
    theirs = param_groups_weight_decay(trained, 0.3, no_weight_decay_list={"0.pos_embed"})
    assert [group["weight_decay"] for group in made.param_groups] == [group["weight_decay"] for group in theirs]
    for ours, group in zip(made.param_groups, theirs, strict=True):
        assert list(map(id, ours["params"])) == list(map(id, group["params"]))
        assert "lr_scale" not in ours


@pytest.mark.parametrize(
    "schedule", [{"name": "constant"}, {"name": "cosine", "warmup_epochs": 1, "warmup_lr": 0.001, "min_lr": 0.01}]
)
def test_each_layer_follows_the_schedule_at_its_own_scale(schedule):
    made, rates = make(Encoder(), optimizer=DECAYING, schedule=schedule)
    steps, rising = 20, 4
    for at in range(steps):
        whole = 0.1
        if schedule["name"] == "cosine":
            falling = 0.01 + (0.1 - 0.01) * (1 + math.cos(math.pi * at / steps)) / 2
            whole = 0.001 + (0.1 - 0.001) * at / rising if at < rising else falling
        assert rates(at) == pytest.approx([whole * group["lr_scale"] for group in made.param_groups])
    assert len({group["lr_scale"] for group in made.param_groups}) == 14


def train(network, made, rates, steps):
    for at in steps:
        optimizer.set_rates(made, torch.tensor(rates(at)))
        x = network.blocks(network.patch_embed(torch.eye(3)) + network.pos_embed[:, :3])
        network.head(network.norm(x)).square().sum().backward()
        made.step()
        made.zero_grad()


def test_a_training_with_many_groups_goes_on_from_its_state_with_the_same_bits():
    torch.manual_seed(0)
    network, twin = Encoder(), Encoder()
    schedule = {"name": "cosine", "warmup_epochs": 1}
    made, rates = make(network, optimizer=DECAYING, schedule=schedule)
    train(network, made, rates, range(7))
    file = io.BytesIO()
    torch.save({"weights": network.state_dict(), "optimizer": made.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    twin.load_state_dict(saved["weights"])
    again, twins_rates = make(twin, optimizer=DECAYING, schedule=schedule)
    tensors = [group["lr"] for group in again.param_groups]
    optimizer.restore(again, saved["optimizer"])
    assert all(group["lr"] is tensor for group, tensor in zip(again.param_groups, tensors, strict=True))
    assert [group["lr_scale"] for group in again.param_groups] == [group["lr_scale"] for group in made.param_groups]
    for one, its_optimizer, its_rates in ((network, made, rates), (twin, again, twins_rates)):
        train(one, its_optimizer, its_rates, range(7, 15))
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("name", ["adam", "adamw", "momentum", "lookahead_adamw", "lamb", "adan"])
def test_a_state_goes_on_where_weights_lie_otherwise_in_memory(name):
    """As a run that was begun on a CPU and goes on on a GPU, where channels come last."""
    torch.manual_seed(0)
    images = torch.rand(4, 3, 8, 8)
    networks = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(144, 2))]
    networks.append(copy.deepcopy(networks[0]).to(memory_format=torch.channels_last))
    made = [make(network, optimizer={"name": name, "lr": 0.01})[0] for network in networks]

    def steps(network, its_optimizer):
        for _ in range(4):
            network(images).square().sum().backward()
            its_optimizer.step()
            its_optimizer.zero_grad()

    steps(networks[0], made[0])
    networks[1].load_state_dict(networks[0].state_dict())
    optimizer.restore(made[1], copy.deepcopy(made[0].state_dict()))
    for weight, kept in made[1].state.items():
        assert {one.stride() for one in kept.values() if one.shape == weight.shape} == {weight.stride()}
    for network, its_optimizer in zip(networks, made, strict=True):
        steps(network, its_optimizer)
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


# Those of other libraries need a card, adahessian gradients of gradients; what kron draws is in no state.
LEFT_OUT = ("bnb", "fused", "adahessian", "kron")


@pytest.mark.parametrize("name", [one for one in list_optimizers() if not one.startswith(LEFT_OUT)])
def test_a_training_by_any_optimizer_of_timm_goes_on_from_its_state_with_the_same_bits(name):
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    def begun():
        torch.manual_seed(1)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
        return network, make(network, optimizer={"name": name, "lr": 0.001})[0]

    def steps(network, its_optimizer):
        for _ in range(5):
            network(images).square().sum().backward()
            its_optimizer.step()
            its_optimizer.zero_grad()

    network, made = begun()
    steps(network, made)
    saved = copy.deepcopy((network.state_dict(), made.state_dict()))
    steps(network, made)
    twin, again = begun()
    twin.load_state_dict(saved[0])
    optimizer.restore(again, saved[1])
    steps(twin, again)
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("name", optimizer.FUSED)
def test_a_state_of_another_shape_is_refused(name):
    """The kernel would go through memory that is not its own."""
    network = nn.Linear(3, 4)
    made = make(network, optimizer={"name": name, "lr": 0.1} | ({"momentum": 0.9} if name == "sgd" else {}))[0]
    network(torch.ones(1, 3)).sum().backward()
    made.step()
    state = copy.deepcopy(made.state_dict())
    kept = next(key for key, one in state["state"][0].items() if one.ndim)
    state["state"][0][kept] = state["state"][0][kept][:1]
    with pytest.raises(ValueError, match=rf"{kept} of a weight \(4, 3\) is \(1, 3\)"):
        optimizer.restore(made, state)


@pytest.mark.parametrize("count", [-5, math.nan, 0.5, "x", None, [1, 2]])
def test_a_count_of_steps_that_is_none_is_refused(count):
    made = make(nn.Linear(3, 4), optimizer={"name": "adan", "lr": 0.1})[0]
    state = copy.deepcopy(made.state_dict())
    state["param_groups"][0]["step"] = count
    with pytest.raises((ValueError, TypeError)):
        optimizer.restore(made, state)


def test_a_state_with_other_groups_is_refused():
    with pytest.raises(ValueError, match=r"shorter|longer"):
        optimizer.restore(make(Encoder(), optimizer=DECAYING)[0], make(Encoder())[0].state_dict())


def test_each_layer_is_moved_by_its_own_rate():
    """The first step of Adam moves each number by the learning rate, whatever the gradient."""
    network = Encoder()
    made, rates = make(network, optimizer=DECAYING | {"weight_decay": 0.0})
    assert all(isinstance(group["lr"], torch.Tensor) and group["fused"] for group in made.param_groups)
    before = [one.detach().clone() for one in network.parameters()]
    for one in network.parameters():
        one.grad = torch.ones_like(one)
    optimizer.set_rates(made, torch.tensor(rates(0)))
    made.step()
    pairs = zip(before, network.named_parameters(), strict=True)
    moved = {name: float((old - new.detach()).mean()) for old, (name, new) in pairs}
    assert moved["pos_embed"] == pytest.approx(0.1 * 0.75**13, rel=1e-4)
    assert moved["blocks.5.weight"] == pytest.approx(0.1 * 0.75**7, rel=1e-4)
    assert moved["head.bias"] == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize(("reference", "name"), [("cvt/tiny", "CvT"), ("resnet/tiny", "ResNet")])
def test_a_network_whose_layers_nobody_knows_is_refused_in_one_line(reference, name):
    with pytest.raises(UserError, match=f"layer_decay needs to know the layers of {name}: .* group_matcher") as caught:
        make(untrained(reference, 10, 32), optimizer=DECAYING)
    assert "\n" not in str(caught.value)


def test_a_group_matcher_that_timm_cannot_use_is_told_in_one_line():
    network = Encoder()
    network.group_matcher = lambda coarse: {"stem": r"^(patch_embed|pos_embed)", "blocks": r"^blocks\.(\d+)"}
    with pytest.raises(
        UserError, match=r"^group_matcher of Encoder: .* could not convert .*; write \(\?:…\)"
    ) as caught:
        make(network, optimizer=DECAYING)
    assert "\n" not in str(caught.value)


def test_a_cosine_that_follows_its_warm_up_begins_at_its_top():
    schedule = {"name": "cosine", "warmup_epochs": 2, "warmup_lr": 0.0, "after_warmup": True}
    _, rates = make(schedule=schedule)  # 5 epochs of 4 steps
    rising = [0.1 * step / 8 for step in range(8)]
    falling = [0.05 * (1 + math.cos(math.pi * step / 12)) for step in range(12)]
    assert [rates(step)[0] for step in range(20)] == pytest.approx([*rising, *falling])


AHEAD = {"name": "lookahead_adamw", "lr": 0.01, "weight_decay": 0.3}
SYNC = 6  # steps between two looks ahead, timm's default


def drive(network, made, steps):
    """So many steps on a sum of squares of what a network makes of a fixed input."""
    for _ in range(steps):
        network(torch.eye(3)).square().sum().backward()
        made.step()
        made.zero_grad()


def ahead():
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    return network, make(network, optimizer=AHEAD)[0]


def test_lookahead_goes_half_way_back_to_where_it_was_every_sixth_step():
    """Zhang et al. 2019, Algorithm 1, by a loop written by hand around torch's own AdamW."""
    (network, made), (twin, _) = ahead(), ahead()
    assert [group["lookahead_k"] for group in made.param_groups] == [SYNC] * len(made.param_groups)
    fast = torch.optim.AdamW(
        [{"params": [twin.weight], "weight_decay": 0.3}, {"params": [twin.bias], "weight_decay": 0.0}], lr=0.01
    )
    slow = None
    for step in range(1, 15):
        drive(network, made, 1)
        drive(twin, fast, 1)
        if step == SYNC:
            slow = [one.detach().clone() for one in twin.parameters()]  # timm's slow weights begin here
        if step % SYNC == 0:
            with torch.no_grad():
                slow = [old + 0.5 * (new - old) for old, new in zip(slow, twin.parameters(), strict=True)]
                for one, value in zip(twin.parameters(), slow, strict=True):
                    one.copy_(value)
        for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("done", [3, 6, 8, 12])
def test_a_training_that_looks_ahead_goes_on_from_its_state_with_the_same_bits(done):
    (network, made), (twin, again) = ahead(), ahead()
    drive(network, made, done)
    file = io.BytesIO()
    torch.save({"weights": network.state_dict(), "optimizer": made.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    twin.load_state_dict(saved["weights"])
    optimizer.restore(again, saved["optimizer"])
    assert [group["lookahead_step"] for group in again.param_groups] == [done] * len(again.param_groups)
    drive(network, made, 11)
    drive(twin, again, 11)
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), twin.parameters(), strict=True))


def test_its_rate_is_set_step_by_step_too():
    network, made = ahead()
    before = [one.detach().clone() for one in network.parameters()]
    optimizer.set_rates(made, torch.zeros(len(made.param_groups)))
    drive(network, made, 5)
    assert all(torch.equal(one, old) for one, old in zip(network.parameters(), before, strict=True))
    optimizer.set_rates(made, torch.full((len(made.param_groups),), 0.1))
    drive(network, made, 1)
    assert not torch.equal(network.weight, before[0])
