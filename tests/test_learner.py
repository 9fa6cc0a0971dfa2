"""One step: what a loop written by hand with torch alone does, and that a lost training stops at once."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vitbench import feed
from vitbench.augment import crop, flip, mix, to_float
from vitbench.augmentations.turning import quarter_turn
from vitbench.case import Phase, View
from vitbench.contracts import Images, Output
from vitbench.errors import NonFinite, UserError
from vitbench.learner import Learner, factor
from vitbench.objective import Call
from vitbench.total import Total

N, CLASSES, SIZE = 16, 4, 6


class Network(nn.Module):
    """Softmax regression on pixels."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * SIZE * SIZE, CLASSES)

    def forward(self, images):
        flat = images.flatten(1)
        return Output(logits=self.head(flat), embedding=flat, grids=(images,))


class Scaled(nn.Module):
    """Cross-entropy of scaled logits, the scale being a parameter of the term; keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.steps = []

    def forward(self, step):
        self.steps.append(step)
        return F.cross_entropy(self.scale * step.out.logits, step.labels)


class Constant(nn.Module):
    """A loss whose value is given."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, step):
        return torch.tensor(self.value) + 0 * step.out.logits.sum()


class Turning(nn.Module):
    """A sound loss that is multiplied by `factor` in one step."""

    def __init__(self, *, at, factor):
        super().__init__()
        self.at, self.factor, self.losses = at, factor, []

    def forward(self, step):
        loss = F.cross_entropy(step.out.logits, step.labels)
        loss = loss * self.factor if len(self.losses) == self.at else loss
        self.losses.append(loss.item())
        return loss


class Stateful(Scaled):
    """A term that owns a state, which follows the network's weights."""

    def __init__(self, network):
        super().__init__()
        self.follow = lambda: network.head.weight.detach().clone()
        self.seen = []

    def after_step(self):
        self.seen.append(self.follow())


def data():
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (N, 3, SIZE, SIZE), dtype=torch.uint8, generator=draw)
    return Images(images=pixels, labels=torch.randint(CLASSES, (N,), generator=draw))


def phase(**changes):
    plain = Phase(epochs=3, batch_size=4, optimizer={"name": "momentum", "lr": 0.1}, schedule={"name": "constant"})
    return replace(plain, **changes)


def network():
    torch.manual_seed(0)
    return Network()


def learner(term=None, *, precision="fp32", **changes):
    one = network()
    return Learner(one, Total({"term": term or Scaled()}, {"term": 1.0}), data(), phase(**changes), precision=precision)


def order(number=0):
    return torch.randperm(N, generator=torch.Generator().manual_seed(number))


def batches(number=0):
    return order(number).view(-1, 4)


def begin(one, number=0, seed=5):
    one.begin(number, order=order(number), seeds={"augment": seed, "terms": seed})
    return one


def epoch(one, number=0, tell=lambda done, loss: None):
    return begin(one, number).epoch(number, advance=one.step, tell=tell)


def step(one):
    """Take the first step of the first epoch; returns its losses."""
    begin(one).step()
    return one.plan.losses[0]


# The sum of the terms


def test_a_step_returns_the_total_and_then_each_raw_value():
    total = Total({"a": Constant(2.0), "b": Constant(5.0)}, {"a": 1.0, "b": 0.1})
    one = Learner(network(), total, data(), phase())
    losses = step(one)
    assert losses.tolist() == pytest.approx([2.5, 2.0, 5.0])
    assert not losses.requires_grad


def test_a_weight_scales_the_gradient_of_its_term():
    steps = []
    for weight in (1.0, 0.25):
        one = network()
        before = one.head.weight.detach().clone()
        step(Learner(one, Total({"ce": Scaled()}, {"ce": weight}), data(), phase()))
        steps.append(one.head.weight.detach() - before)
    torch.testing.assert_close(steps[1], 0.25 * steps[0], rtol=1e-4, atol=1e-7)


# One step is a step of torch


OPTIMIZERS = [
    ({"name": "momentum", "lr": 0.1, "momentum": 0.9}, lambda some: torch.optim.SGD(some, lr=0.1, momentum=0.9)),
    ({"name": "adam", "lr": 1e-2, "weight_decay": 0.0}, lambda some: torch.optim.Adam(some, lr=1e-2)),
    ({"name": "adam", "lr": 1e-2, "betas": (0.8, 0.9)}, lambda some: torch.optim.Adam(some, lr=1e-2, betas=(0.8, 0.9))),
    (
        {"name": "adamw", "lr": 1e-2, "weight_decay": 0.3},
        lambda some: torch.optim.AdamW(
            [
                {"params": [one for one in some if one.ndim > 1], "weight_decay": 0.3},
                {"params": [one for one in some if one.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=1e-2,
        ),
    ),
]


@pytest.mark.parametrize(("optimizer", "by_hand"), OPTIMIZERS, ids=["momentum", "adam", "adam-betas", "adamw"])
def test_three_epochs_are_those_of_a_loop_written_by_hand(optimizer, by_hand):
    one = learner(optimizer=optimizer)
    losses = torch.cat([epoch(one, number) for number in range(3)])
    reference, scale, material = network(), nn.Parameter(torch.tensor(0.5)), data()
    trained = by_hand([*reference.parameters(), scale])
    expected = []
    for index in (index for number in range(3) for index in batches(number)):
        logits = reference(material.images[index].float() / 255).logits
        loss = F.cross_entropy(scale * logits, material.labels[index])
        trained.zero_grad()
        loss.backward()
        trained.step()
        expected.append(loss.item())
    assert losses[:, 0].tolist() == pytest.approx(expected, rel=1e-5)
    for ours, theirs in zip(one.trained.parameters(), [*reference.parameters(), scale], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert one.total.terms[0].scale.item() != 0.5  # a term's own parameter is trained


def test_augmentation_draws_from_its_own_generator_and_precedes_the_network():
    term = Scaled()
    one = learner(term, augmentation=(Call(name="flip"),))
    begin(one, seed=7).step()
    picked = data().images[batches()[0]]
    flipped = flip(picked, generator=torch.Generator().manual_seed(7))
    assert torch.equal(term.steps[0].images, to_float(flipped))
    assert not torch.equal(flipped, picked)


def test_a_term_sees_the_progress_of_its_phase_the_labels_and_the_generator_of_the_terms():
    term = Scaled()
    one = learner(term)
    for number in range(3):
        epoch(one, number)
    assert [step.progress.item() for step in term.steps] == pytest.approx([at / 12 for at in range(12)])
    assert all(step.generator is one.draws["terms"] for step in term.steps)
    assert all(step.model is one.network for step in term.steps)
    assert torch.equal(term.steps[5].labels, data().labels[batches(1)[1]])


def test_a_term_that_owns_a_state_is_told_after_the_weights_have_moved():
    one = network()
    term = Stateful(one)
    total = Total({"stateful": term, "plain": Constant(0.0)}, {"stateful": 1.0, "plain": 1.0})
    learner_ = Learner(one, total, data(), phase())
    start = one.head.weight.detach().clone()
    begin(learner_)
    for number in range(2):
        learner_.step()
        assert len(term.seen) == number + 1
        assert torch.equal(term.seen[-1], one.head.weight)
    assert not torch.equal(term.seen[0], start)


def test_gradients_do_not_outlive_their_step():
    one = learner()
    step(one)
    assert all(weight.grad is None for weight in one.trained.parameters())


def test_an_epoch_trains_in_training_mode():
    one = learner()
    one.trained.eval()
    epoch(one)
    assert one.network.training
    assert one.total.training


def test_an_epoch_tells_how_far_the_phase_is():
    told = []
    epoch(learner(), 1, tell=lambda done, loss: told.append((done, loss)))
    assert [done for done, _ in told] == [5, 6, 7, 8]
    assert all(math.isfinite(loss) for _, loss in told)


# Clipping


def test_the_gradient_of_network_and_terms_together_is_clipped():
    one = learner(optimizer={"name": "momentum", "lr": 1.0, "momentum": 0.0}, clip_grad=0.01)
    before = [weight.detach().clone() for weight in one.trained.parameters()]
    step(one)
    moved = [weight.detach() - old for weight, old in zip(one.trained.parameters(), before, strict=True)]
    assert torch.cat([move.flatten() for move in moved]).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_a_gradient_within_the_limit_is_left_alone():
    free, clipped = learner(), learner(clip_grad=1e6)
    assert torch.equal(epoch(free), epoch(clipped))


# Schedules


def test_each_step_has_the_learning_rate_of_its_schedule():
    one, told = learner(schedule={"name": "cosine"}, epochs=5), []
    for number in range(5):
        epoch(one, number, tell=lambda done, loss: told.append(one.lr))
    assert told == pytest.approx([0.1 * (1 + math.cos(math.pi * at / 20)) / 2 for at in range(20)])
    assert one.optimizer.param_groups[0]["lr"].item() == pytest.approx(told[-1])


class Layered(Network):
    """Weights in a layer in front, biases behind it."""

    def group_matcher(self, coarse=False):
        return {"stem": r"^head\.weight"}


def test_where_layers_have_rates_of_their_own_the_highest_is_told():
    decaying = phase(optimizer={"name": "momentum", "lr": 0.1, "layer_decay": 0.5}, schedule={"name": "cosine"})
    one, told = Learner(Layered(), Total({"term": Scaled()}, {"term": 1.0}), data(), decaying), []
    epoch(one, 0, tell=lambda done, loss: told.append(one.lr))
    assert told[0] == pytest.approx(0.1)
    rates = [float(group["lr"]) for group in one.optimizer.param_groups]
    assert rates[0] == pytest.approx(told[-1] / 2)  # of the weights, the others' is what was told
    assert rates[1:] == pytest.approx([told[-1]] * len(rates[1:]))


# Micro-batches


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_micro_batches_take_the_steps_of_the_whole_batch(parts):
    whole = learner(clip_grad=0.5)
    part = Learner(network(), Total({"term": Scaled()}, {"term": 1.0}), data(), phase(clip_grad=0.5), micro_batch=parts)
    torch.testing.assert_close(epoch(part), epoch(whole), rtol=1e-5, atol=1e-7)
    for ours, theirs in zip(part.trained.parameters(), whole.trained.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_micro_batches_that_do_not_divide_the_batch_are_refused():
    with pytest.raises(UserError, match="micro-batches of 3 do not divide a batch of 4"):
        Learner(network(), Total({"term": Scaled()}, {"term": 1.0}), data(), phase(), micro_batch=3)


# Users' mistakes


def test_a_batch_larger_than_the_data_is_refused():
    learner(batch_size=N)
    with pytest.raises(UserError, match=f"batch of {N + 1} .* {N} training images; name .* at least {N + 1}$"):
        learner(batch_size=N + 1)


def test_an_unknown_precision_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="'fp8'; known: fp32, bf16"):
        learner(precision="fp8")


# Precision


def test_bf16_computes_in_bfloat16_over_float32_weights():
    term = Scaled()
    narrow, wide = learner(term, precision="bf16"), learner()
    losses = epoch(narrow)
    assert term.steps[0].out.logits.dtype == torch.bfloat16
    assert losses.dtype == torch.float32
    assert all(weight.dtype == torch.float32 for weight in narrow.trained.parameters())
    reference = epoch(wide)
    assert not torch.equal(losses, reference)
    torch.testing.assert_close(losses, reference, rtol=0.05, atol=0.05)


# A lost training


@pytest.mark.parametrize("factor", [math.nan, math.inf], ids=["nan", "inf"])
def test_a_loss_that_is_lost_stops_at_once_and_says_where(factor):
    term = Turning(at=6, factor=factor)
    one = learner(term)
    epoch(one)
    with pytest.raises(NonFinite) as caught:
        epoch(one, 1)
    assert len(term.losses) == 7
    assert f"became {factor} at epoch 2, step 3 of 4" in str(caught.value)
    assert "learning rate 0.1" in str(caught.value)
    assert f"last finite loss: {term.losses[5]:.4g}" in str(caught.value)


def test_the_last_finite_loss_may_be_of_the_epoch_before():
    term = Turning(at=4, factor=math.nan)
    one = learner(term)
    epoch(one)
    with pytest.raises(NonFinite, match=f"epoch 2, step 1 .*last finite loss: {term.losses[3]:.4g}"):
        epoch(one, 1)


def test_a_loss_that_was_never_finite_says_so():
    with pytest.raises(NonFinite, match=r"epoch 1, step 1 .*last finite loss: none yet"):
        epoch(learner(Turning(at=0, factor=math.nan)))


@pytest.mark.parametrize("where", ["network", "term"])
def test_weights_that_the_last_step_ruined_are_found(where):
    one = learner()
    epoch(one)
    one.stop_if_ruined(0)
    weight = one.network.head.bias if where == "network" else one.total.terms[0].scale
    with torch.no_grad():
        weight.view(-1)[-1] = math.nan
    with pytest.raises(NonFinite, match=r"epoch 3, learning rate 0\.1"):
        one.stop_if_ruined(2)


def test_a_gradient_that_is_not_finite_stops_the_epoch():
    class Sharp(torch.nn.Module):
        def forward(self, step):
            return (step.out.logits * 0).abs().sqrt().sum()  # 0, with a slope of 0 times infinity

    data = Images(images=torch.zeros(4, 3, 8, 8, dtype=torch.uint8), labels=torch.zeros(4, dtype=torch.int64))
    phase = Phase(epochs=1, batch_size=4, optimizer={"name": "adam", "lr": 1e-3}, schedule={"name": "constant"})
    learner = Learner(Linear(), Total({"sharp": Sharp()}, {"sharp": 1.0}), data, phase)
    learner.begin(0, order=torch.arange(4), seeds={})
    learner.epoch(0, advance=learner.step, tell=lambda done, loss: None)
    with pytest.raises(NonFinite, match="weight"):
        learner.stop_if_ruined(0)


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(192, 3)

    def forward(self, images):
        logits = self.linear(images.flatten(1))
        return Output(logits=logits, embedding=logits, grids=())


class Soft(Scaled):
    """Cross-entropy against whatever the labels became."""

    def forward(self, step):
        super().forward(step)
        return F.cross_entropy(self.scale * step.out.logits, step.targets)


MIXING = Call(name="mix", arguments={"mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1})


def mixed(term, **changes):
    one, split = network(), replace(data(), classes=CLASSES)
    return Learner(one, Total({"term": term}, {"term": 1.0}), split, phase(mixing=MIXING, **changes))


def test_images_and_labels_are_mixed_after_augmentation_from_the_same_draws():
    term = Soft()
    one = mixed(term, augmentation=(Call(name="flip"),))
    one.begin(0, order=order(), seeds={"augment": 3, "terms": 4})
    one.step()
    draw, index = torch.Generator().manual_seed(3), batches()[0]
    # On a CPU the images of several steps are augmented at once, and mixed batch by batch.
    coming = flip(data().images[batches().flatten()], generator=draw)
    images = to_float(coming[: len(index)])
    images, targets = mix(images, data().labels[index], classes=CLASSES, **MIXING.arguments, generator=draw)
    assert torch.equal(term.steps[0].images, images)
    assert torch.equal(term.steps[0].targets, targets)
    assert torch.equal(term.steps[0].labels, data().labels[index])


def test_a_batch_is_mixed_as_a_whole_and_then_taken_in_parts():
    whole, parts = Soft(), Soft()
    for term, changes in ((whole, {}), (parts, {"micro_batch": 2})):
        one = Learner(
            network(),
            Total({"term": term}, {"term": 1.0}),
            replace(data(), classes=CLASSES),
            phase(mixing=MIXING),
            **changes,
        )
        one.begin(0, order=order(), seeds={"augment": 3, "terms": 4})
        one.step()
    assert torch.equal(torch.cat([step.targets for step in parts.steps]), whole.steps[0].targets)
    assert torch.equal(torch.cat([step.images for step in parts.steps]), whole.steps[0].images)


def test_without_mixing_there_are_labels_alone():
    term = Scaled()
    one = learner(term)
    one.begin(0, order=order(), seeds={"augment": 0, "terms": 0})
    one.step()
    assert term.steps[0].targets is None


@pytest.mark.parametrize(
    ("epoch", "share"),
    [(0, 0.0), (9, 0.45), (10, 0.5), (20, 1.0), (100, 1 - 80 / 280), (160, 0.5), (300, 0.0), (310, 0.0)],
)
def test_a_weight_rises_over_20_epochs_and_falls_to_nothing_at_the_300th(epoch, share):
    """As the authors' log has it: 0.225 of a weight of 0.5 in epoch 9, and 0.714 of any after 100."""
    assert factor({"rise_epochs": 20, "end_epoch": 300}, epoch) == pytest.approx(share)
    assert factor(None, epoch) == 1.0


def test_a_weight_that_moves_scales_the_gradient_of_its_epoch():
    moves = {"term": {"rise_epochs": 2, "end_epoch": 4}}
    plain, moved = learner(), learner(weights=moves)
    for one in (plain, moved):
        one.begin(1, order=order(), seeds={"augment": 0, "terms": 0})
        one.step()
    begun = network().head.weight
    half, whole = (one.network.head.weight - begun for one in (moved, plain))
    torch.testing.assert_close(half, whole / 2)
    assert moved.plan.losses[0, 0].item() == pytest.approx(moved.plan.losses[0, 1].item() / 2)
    assert moved.plan.losses[0, 1].item() == plain.plan.losses[0, 1].item()


def test_data_that_is_carried_gives_the_bits_of_data_that_is_there(monkeypatch):
    def trained():
        one = learner(augmentation=(Call(name="flip"),))
        for number in range(2):
            one.begin(number, order=order(number), seeds={"augment": number, "terms": number})
            one.epoch(number, advance=one.step, tell=lambda done, loss: None)
        return one.state()["trained"]

    monkeypatch.setattr(feed, "AHEAD", 0)  # as on a GPU, where each step augments its own batch
    there = trained()
    monkeypatch.setattr(feed, "Resident", lambda images: feed.Carried(images, phase().batch_size, torch.device("cpu")))
    carried = trained()
    assert all(torch.equal(carried[name], there[name]) for name in there)


# Views

VIEWS = (
    View(name="global", count=2, augmentation=(Call(name="crop", arguments={"padding": 2}),)),
    View(name="masked", count=1, augmentation=(Call(name="flip"),)),
    View(name="local", count=2, augmentation=(Call(name="crop", arguments={"padding": 1}),)),
)
QUARTER = Call(name="quarter_turn", arguments={"probability": 0.75})


def by_hand(picked, generator):
    """The versions (V, B, 3, H, W), their turns (V, B) and the small crops (L, B, 3, H, W) of a batch."""
    whole = [crop(picked, padding=2, generator=generator) for _ in range(2)]
    whole.append(flip(picked, generator=generator))
    turned = [quarter_turn(one, probability=0.75, generator=generator) for one in whole]
    local = [crop(picked, padding=1, generator=generator) for _ in range(2)]
    versions, turns = (torch.stack(one) for one in zip(*turned, strict=True))
    return versions, turns, torch.stack(local)


def test_a_term_gets_version_by_version_what_the_views_make(monkeypatch):
    monkeypatch.setattr(feed, "AHEAD", 0)  # each step draws for its own batch
    term = Scaled()
    one = learner(term, views=VIEWS, turning=QUARTER)
    begin(one, seed=7)
    draws = torch.Generator().manual_seed(7)
    for number in range(2):
        one.step()
        index, step = batches()[number], term.steps[number]
        versions, turns, local = by_hand(data().images[index], draws)
        assert torch.equal(step.images, torch.cat(list(versions.float() / 255)))  # (3 * B, 3, H, W)
        assert torch.equal(step.labels, torch.cat([data().labels[index]] * 3))
        assert torch.equal(step.turns, torch.cat(list(turns)))
        assert step.views.keys() == {"local"}
        assert torch.equal(step.views["local"], torch.cat(list(local.float() / 255)))  # (2 * B, 3, H, W)
        assert (step.versions, step.targets) == (3, None)
    assert term.steps[1].turns.unique().numel() > 1


def test_one_version_that_is_turned_has_its_turns_and_one_that_is_not_has_none():
    turned, plain = Scaled(), Scaled()
    for term, changes in ((turned, {"turning": QUARTER}), (plain, {})):
        begin(learner(term, augmentation=(Call(name="flip"),), **changes)).step()
    assert (turned.steps[0].versions, turned.steps[0].turns.shape, turned.steps[0].turns.dtype) == (
        1,
        (4,),
        torch.int64,
    )
    assert (plain.steps[0].versions, plain.steps[0].turns, plain.steps[0].views) == (1, None, {})


def test_one_global_view_is_what_an_augmentation_is():
    calls = (Call(name="crop", arguments={"padding": 2}), Call(name="flip"))
    seen = []
    for changes in ({"augmentation": calls}, {"views": (View(name="global", count=1, augmentation=calls),)}):
        term = Scaled()
        epoch(learner(term, **changes))
        seen.append(torch.cat([step.images for step in term.steps]))
    assert torch.equal(*seen)


@pytest.mark.parametrize("ahead", [0, 2**22])
def test_micro_batches_take_all_versions_of_their_photographs(ahead, monkeypatch):
    monkeypatch.setattr(feed, "AHEAD", ahead)
    whole, half = Scaled(), Scaled()
    options = {"views": VIEWS, "turning": QUARTER}
    begin(learner(whole, **options)).step()
    total = Total({"term": half}, {"term": 1.0})
    begin(Learner(network(), total, data(), phase(**options), micro_batch=2)).step()
    (step,), (first, second) = whole.steps, half.steps
    for name, versions in (("images", 3), ("labels", 3), ("turns", 3)):
        parts = [getattr(one, name).unflatten(0, (versions, 2)) for one in (first, second)]
        assert torch.equal(torch.cat(parts, dim=1).flatten(0, 1), getattr(step, name))
    parts = [one.views["local"].unflatten(0, (2, 2)) for one in (first, second)]
    assert torch.equal(torch.cat(parts, dim=1).flatten(0, 1), step.views["local"])
    assert first.versions == second.versions == 3


@pytest.mark.parametrize("parts", [1, 2])
def test_gradients_of_micro_batches_of_several_versions_add_up_to_those_of_the_whole(parts):
    options = {"views": VIEWS, "turning": QUARTER, "clip_grad": 0.5}
    whole = learner(**options)
    part = Learner(network(), Total({"term": Scaled()}, {"term": 1.0}), data(), phase(**options), micro_batch=parts)
    torch.testing.assert_close(epoch(part), epoch(whole), rtol=1e-5, atol=1e-7)
    start = [weight.detach().clone() for weight in network().parameters()]
    for ours, theirs, old in zip(part.network.parameters(), whole.network.parameters(), start, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        assert not torch.equal(theirs, old)


def test_a_step_of_three_versions_is_one_of_torch_on_all_of_them():
    one, term = network(), Scaled()
    begin(Learner(one, Total({"term": term}, {"term": 1.0}), data(), phase(views=VIEWS))).step()
    reference, scale, (step,) = network(), nn.Parameter(torch.tensor(0.5)), term.steps
    trained = torch.optim.SGD([*reference.parameters(), scale], lr=0.1, momentum=0.9)
    loss = F.cross_entropy(scale * reference(step.images).logits, data().labels[batches()[0]].repeat(3))
    loss.backward()
    trained.step()
    for ours, theirs in zip(one.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(term.scale, scale)
