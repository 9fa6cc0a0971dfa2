"""The loop: the same seed gives the same bits, objectives share their draws, and a cut leaves no trace."""

import io
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vitbench import build
from vitbench.case import Budget, Phase
from vitbench.contracts import Images, Output
from vitbench.datasets.digits import build as digits
from vitbench.errors import NonFinite
from vitbench.identity import Identity
from vitbench.learner import Learner
from vitbench.objective import Call, parse
from vitbench.total import Total
from vitbench.train import Watch, derived, generator, train

N = 20
PHASE = Phase(epochs=3, batch_size=6, optimizer={"name": "adam", "lr": 1e-2}, schedule={"name": "constant"})


class Network(nn.Module):
    """One linear layer behind dropout; its embedding shows what dropout drew."""

    def __init__(self, *, dropout=0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(48, N)

    def forward(self, images):
        mask = self.dropout(torch.ones(len(images), 48))
        return Output(logits=self.head(images.flatten(1) * mask), embedding=mask, grids=(images,))


class Recorder(nn.Module):
    """Cross-entropy that keeps the steps that it saw."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def forward(self, step):
        self.steps.append(step)
        return F.cross_entropy(step.out.logits, step.labels)


class Greedy(nn.Module):
    """A term that draws a lot from its generator."""

    def forward(self, step):
        return torch.rand(1000, generator=step.generator).mean() * step.out.logits.square().mean()


class Ruinous(nn.Module):
    """A term whose loss is finite in step `at` and whose gradient is not."""

    def __init__(self, *, at):
        super().__init__()
        self.at, self.count = at, 0

    def forward(self, step):
        self.count += 1
        # The derivative of the square root is infinite at 0.
        return (step.out.logits.sum() * 0.0).abs().sqrt() if self.count == self.at else step.out.logits.mean()


def data():
    """Image i has label i, so that labels tell which images a step took."""
    pixels = torch.randint(256, (N, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Images(images=pixels, labels=torch.arange(N))


def network(**options):
    torch.manual_seed(0)
    return Network(**options)


def watch(**calls):
    return Watch(**{"examine": lambda epoch: {"accuracy": 50.0}, **calls})


def run(*, seed=0, phases=(PHASE,), terms=None, net=None, **options):
    """Train; returns the network and what the term "ce" saw."""
    terms = {"ce": Recorder(), **(terms or {})}
    net = net or network()
    options = {"watch": watch(), **options}
    train(net, Total(terms, dict.fromkeys(terms, 1.0)), data(), phases, seed=seed, **options)
    return net, terms["ce"].steps


def labels(steps):
    return [step.labels.tolist() for step in steps]


def seen(steps):
    return [label for step in steps for label in step.labels.tolist()]


def same(ours, theirs):
    """Whether nested contents are equal bit for bit; seconds apart, which no two trainings share."""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, dict):
        keys = ours.keys() - {"seconds"}
        return keys == theirs.keys() - {"seconds"} and all(same(ours[key], theirs[key]) for key in keys)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


# One seed, one result


def test_the_same_seed_gives_the_same_bits_whatever_was_drawn_before():
    torch.manual_seed(1)
    first, _ = run()
    torch.manual_seed(2)
    second, _ = run()
    assert same(first.state_dict(), second.state_dict())


def test_another_seed_gives_another_order_and_other_weights():
    (first, ours), (second, theirs) = run(seed=0), run(seed=1)
    assert labels(ours) != labels(theirs)
    assert not same(first.state_dict(), second.state_dict())


def test_training_leaves_torchs_global_generator_as_it_was():
    net = network(dropout=0.5)
    before = torch.get_rng_state()
    run(net=net)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_is_reproducible_and_differs_by_seed_epoch_and_phase():
    masks = [torch.stack([s.out.embedding for s in run(net=network(dropout=0.5), seed=s)[1]]) for s in (0, 0, 1)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert len({tuple(mask.flatten().tolist()) for mask in masks[0]}) == 9
    two = run(net=network(dropout=0.5), phases=[replace(PHASE, epochs=1)] * 2)[1]
    assert not torch.equal(two[0].out.embedding, two[3].out.embedding)


# A method and its baseline


def test_two_objectives_under_one_seed_see_the_same_images_in_the_same_order_under_the_same_augmentation():
    phases = [replace(PHASE, augmentation=(Call(name="crop", arguments={"padding": 2}), Call(name="flip")))] * 2
    nets = [network(dropout=0.5) for _ in range(2)]
    _, plain = run(phases=phases, net=nets[0])
    _, method = run(phases=phases, net=nets[1], terms={"greedy": Greedy()})
    assert labels(plain) == labels(method)
    for ours, theirs in zip(plain, method, strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.out.embedding, theirs.out.embedding)  # and what dropout leaves
    assert not torch.equal(nets[0].head.weight, nets[1].head.weight)


def test_an_epoch_shows_every_image_at_most_once_and_fills_every_batch():
    _, steps = run()
    epochs = [seen(steps[start : start + 3]) for start in (0, 3, 6)]
    assert len(steps) == 9
    assert all(len(set(epoch)) == len(epoch) == 3 * 6 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_every_image_has_its_turn_over_the_epochs():
    _, steps = run(phases=[replace(PHASE, epochs=20)])
    counts = torch.tensor(seen(steps)).bincount(minlength=N)
    # 18 of 20 images an epoch: 20 epochs leave an image out 2 times on average, and 9 times with p < 1e-4.
    assert counts.min() > 20 - 9


def test_phases_and_epochs_do_not_repeat_an_order():
    _, steps = run(phases=[PHASE, PHASE])
    orders = {str(labels(steps)[start : start + 3]) for start in range(0, 18, 3)}
    assert len(orders) == 6


# Phases


def by_hand(phases, *, fresh):
    """The same with torch alone, on full batches, where the order of the images does not matter."""
    net, material, made = network(), data(), {}
    for epochs, lr in phases:
        made = {} if fresh else made
        optimizer = made.setdefault("adam", torch.optim.Adam(net.parameters(), lr=lr))
        optimizer.param_groups[0]["lr"] = lr
        for _ in range(epochs):
            optimizer.zero_grad()
            F.cross_entropy(net(material.images.float() / 255).logits, material.labels).backward()
            optimizer.step()
    return net


def test_phases_run_one_after_the_other_each_with_a_fresh_optimizer():
    full = [
        replace(PHASE, batch_size=N, epochs=epochs, optimizer={"name": "adam", "lr": lr})
        for epochs, lr in ((3, 0.1), (2, 0.01))
    ]
    ours = run(phases=full)[0].head.weight
    torch.testing.assert_close(ours, by_hand([(3, 0.1), (2, 0.01)], fresh=True).head.weight, rtol=1e-4, atol=1e-5)
    kept = by_hand([(3, 0.1), (2, 0.01)], fresh=False).head.weight
    assert (ours - kept).abs().max() > 1e-3  # a kept optimizer would have been seen


def test_the_curves_have_an_entry_an_epoch_with_means_over_its_steps():
    accuracies, recorder = iter([10.0, 20.0, 30.0]), Recorder()
    total = Total({"ce": recorder, "greedy": Greedy()}, {"ce": 1.0, "greedy": 0.5})
    told = []
    calls = watch(
        examine=lambda epoch: {"accuracy": next(accuracies), "number": epoch},
        tell=lambda done, steps, loss: told.append((done, steps)),
    )
    phases = [replace(PHASE, epochs=2), replace(PHASE, epochs=1, optimizer={"name": "adam", "lr": 0.5})]
    curves = train(network(), total, data(), phases, seed=0, watch=calls)
    assert [(one["phase"], one["epoch"], one["lr"]) for one in curves] == [(0, 1, 0.01), (0, 2, 0.01), (1, 1, 0.5)]
    assert [one["accuracy"] for one in curves] == [10.0, 20.0, 30.0]
    assert [one["number"] for one in curves] == [1, 2, 3]
    ce = [F.cross_entropy(step.out.logits, step.labels).item() for step in recorder.steps]
    for number, curve in enumerate(curves):
        assert curve["terms"]["ce"] == pytest.approx(sum(ce[3 * number : 3 * number + 3]) / 3)
        assert curve["loss"] == pytest.approx(curve["terms"]["ce"] + 0.5 * curve["terms"]["greedy"])
    assert told == [*((done, 6) for done in range(1, 7)), *((done, 3) for done in range(1, 4))]


def test_evaluation_between_epochs_does_not_leave_the_network_in_evaluation_mode():
    net = network(dropout=0.5)

    def examine(epoch):
        net.eval()
        return {}

    _, steps = run(net=net, watch=watch(examine=examine))
    assert all((step.out.embedding == 0).any() for step in steps)


def test_a_weight_that_the_last_step_of_an_epoch_ruined_ends_the_training():
    evaluated = []
    calls = watch(examine=lambda epoch: evaluated.append(1) or {})
    with pytest.raises(NonFinite, match="a weight became NaN or infinite in epoch 2"):
        run(terms={"ruinous": Ruinous(at=6)}, watch=calls)
    assert len(evaluated) == 1


# Cut and resumed


def learned(name):
    """A network of the package with an objective, and the images that it is trained on."""
    model, objective = {
        "resnet": ("resnet/tiny", "ce"),
        "vit": ("vit/tiny", "ce + 0.1*drloc(hidden=16) + 0.1*me(depth=1)"),
    }[name]
    identity = Identity(
        model=model,
        objective=parse(objective),
        dataset="digits",
        data="",
        classes=10,
        image_size=32,
        budget=Budget.QUICK,
        versions={},
    )
    net = build.model_of(identity)
    return net, build.total_of(identity, net)


@pytest.fixture(scope="module")
def images():
    train_half = digits(None).train
    return Images(images=train_half.images[:100], labels=train_half.labels[:100])


TWO_PHASES = [
    replace(
        PHASE,
        epochs=3,
        batch_size=16,
        schedule={"name": "cosine", "warmup_epochs": 1},
        augmentation=(Call(name="crop", arguments={"padding": 2}),),
    ),
    Phase(epochs=2, batch_size=24, optimizer={"name": "adamw", "lr": 1e-3}, schedule={"name": "constant"}),
]


def trained(name, images, *, checkpoint=None):
    """Train two phases; returns networks, curves and the content of every checkpoint as a file."""
    net, total = learned(name)
    files = []

    def save(make, now):
        file = io.BytesIO()
        torch.save(make(), file)
        files.append(file.getvalue())

    curves = train(
        net,
        total,
        images,
        TWO_PHASES,
        seed=3,
        watch=watch(save=save, examine=lambda epoch: {"accuracy": 0.0}),
        checkpoint=checkpoint,
    )
    return net, total, curves, files


def read(file):
    return torch.load(io.BytesIO(file), weights_only=True)


@pytest.fixture(scope="module", params=["resnet", "vit"])
def uninterrupted(request, images):
    return request.param, *trained(request.param, images)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5])
def test_a_training_that_is_cut_after_any_epoch_ends_with_the_bits_of_an_uninterrupted_one(uninterrupted, images, cut):
    name, net, total, curves, files = uninterrupted
    torch.manual_seed(99)
    resumed_net, resumed_total, resumed_curves, rest = trained(name, images, checkpoint=read(files[cut - 1]))
    assert len(files) == 5
    assert len(rest) == 5 - cut
    assert same(resumed_net.state_dict(), net.state_dict())
    assert same(resumed_total.state_dict(), total.state_dict())
    assert same(resumed_curves, curves)
    assert not rest or same(read(rest[-1]), read(files[-1]))  # the optimizer's state too


def test_a_checkpoint_holds_what_the_rest_depends_on(uninterrupted):
    *_, files = uninterrupted
    first, last = read(files[0]), read(files[-1])
    assert [(read(file)["phase"], read(file)["epoch"]) for file in files] == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]
    assert len(first["curves"]) == 1
    assert first["optimizer"]["state"]
    assert not same(first["trained"], last["trained"])


def test_memory_that_does_not_suffice_says_nothing_against_a_checkpoint(uninterrupted, images, monkeypatch):
    name, *_, files = uninterrupted

    def exhaust(self, state):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(Learner, "load", exhaust)
    with pytest.raises(RuntimeError, match="out of memory"):
        trained(name, images, checkpoint=read(files[0]))


# Draws


def test_every_use_of_randomness_has_a_seed_of_its_own():
    names = [(name, *place) for name in ("order", "augment", "terms", "dropout") for place in ((0, 0), (0, 1), (1, 0))]
    seeds = {derived(seed, *name) for seed in range(20) for name in names}
    assert len(seeds) == 20 * len(names)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_derived_seeds_are_those_of_every_record_so_far():
    # sha256sum of "0/order/0/0" begins so; half of it, for torch takes seeds below 2**63.
    assert derived(0, "order", 0, 0) == int("315d71283a51803f", 16) >> 1
    draws = torch.rand(3, generator=generator(0, "order", 0, 0))
    assert torch.equal(draws, torch.rand(3, generator=torch.Generator().manual_seed(derived(0, "order", 0, 0))))
