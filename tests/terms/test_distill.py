"""Self-distillation against numpy, hand-computed values and plain loops; what its teacher sees and what moves it."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax, softmax
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from tests.test_engine import Recording
from vitbench import build
from vitbench.adapter import shape_of
from vitbench.case import Phase, View
from vitbench.contracts import Images, Output, Shape, Step
from vitbench.engine import Engine
from vitbench.errors import UserError
from vitbench.learner import Learner
from vitbench.leaves import find, known
from vitbench.measure.size import count_params
from vitbench.models import swin, vit
from vitbench.objective import parse_call
from vitbench.terms import ce, distill, rotation
from vitbench.total import Total
from vitbench.train import Watch, train

WIDTH = 4
SHAPE = Shape(channels=WIDTH, height=1, width=1, embedding=WIDTH, classes=3)
SMALL = {"prototypes": 5, "hidden": 6, "bottleneck": 3}


class Net(nn.Module):
    """The mean of each colour, made a few numbers; with a norm, a count of its batches, and dropout."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm, self.dropout = nn.Linear(3, WIDTH), nn.BatchNorm1d(WIDTH), nn.Dropout(0.5)

    def forward(self, images):
        embedding = self.dropout(self.norm(self.linear(images.mean(dim=(2, 3)))))
        return Output(logits=embedding[:, :3], embedding=embedding, grids=(embedding[:, :, None, None],))


class Table(nn.Module):
    """Gives what it was told, in the place of a head or a teacher."""

    def __init__(self, rows):
        super().__init__()
        self.rows = nn.Parameter(torch.from_numpy(rows.reshape(-1, rows.shape[-1])))

    def forward(self, given):
        assert len(given) == len(self.rows)
        return self.rows


def noise(*size, seed=0):
    return torch.rand(*size, generator=torch.Generator().manual_seed(seed), device="cpu")


def net():
    torch.manual_seed(1)
    return Net()


def built(model, shape=SHAPE, **options):
    torch.manual_seed(0)
    term = distill.build(shape, **{**SMALL, **options})
    term.attach(model)
    return term


def step_of(model, *, versions=2, crops=0, photographs=3, progress=0.0, size=8, small=4, seed=0):
    images = noise(versions * photographs, 3, size, size, seed=seed)
    views = {"local": noise(crops * photographs, 3, small, small, seed=seed + 100)} if crops else {}
    labels = torch.zeros(len(images), dtype=torch.int64)
    given = {"versions": versions, "views": views, "progress": torch.tensor(progress)}
    return Step(images=images, labels=labels, model=model, forward=model, **given)


class Echo(nn.Module):
    def forward(self, images):
        return Output(logits=images, embedding=images, grids=())


def told(teacher, student, **options):
    """A term whose networks give these rows, (views, photographs, K), whatever they see, and a step to ask it for."""
    versions, photographs, prototypes = teacher.shape
    rows = student[versions:] if options.get("pairs") == "crops" else student
    term = built(Echo(), prototypes=prototypes, **options).double()
    term.head, term.averaged = Table(rows), Table(teacher)
    return term, step_of(Echo(), versions=versions, crops=len(student) - versions, photographs=photographs)


def random_rows(*size, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, size)


def by_pairs(teacher, student, *, centre=0.0, temperatures=(0.1, 0.04), crops_alone=False):
    """A plain loop: the mean over pairs, and how many there are."""
    found = []
    for t, given in enumerate(teacher):
        asked = softmax((given - centre) / temperatures[1], axis=-1)
        for s, answer in enumerate(student):
            if s != t and not (crops_alone and s < len(teacher)):
                found.append(-(asked * log_softmax(answer / temperatures[0], axis=-1)).sum(-1).mean())
    return np.mean(found), len(found)


# The loss


@pytest.mark.parametrize(
    ("versions", "crops", "pairs", "expected"),
    [
        (3, 6, "all", 24),  # the released code of Tort
        (3, 6, "crops", 18),  # Equation 3.2 of the thesis as it is printed
        (2, 8, "all", 2 * (2 + 8) - 2),  # DINO
        (2, 0, "all", 2),  # the slides
        (1, 1, "all", 1),
    ],
)
def test_the_loss_is_the_mean_over_pairs_of_a_version_and_another_view(versions, crops, pairs, expected):
    teacher, student = random_rows(versions, 3, 5), random_rows(versions + crops, 3, 5, seed=1)
    term, step = told(teacher, student, pairs=pairs)
    wanted, count = by_pairs(teacher, student, crops_alone=pairs == "crops")
    assert count == expected
    assert term(step).item() == pytest.approx(wanted, rel=1e-12)


def test_two_versions_of_one_photograph_by_hand():
    """The teacher says 3:1 and 1:1, the student 1:1 and 2:1."""
    teacher = np.array([[[0.04 * math.log(3), 0.0]], [[0.0, 0.0]]])
    student = np.array([[[0.3, 0.3]], [[0.1 * math.log(2), 0.0]]])
    term, step = told(teacher, student)
    first = -(3 / 4 * math.log(2 / 3) + 1 / 4 * math.log(1 / 3))  # the teacher's first, the student's second
    second = math.log(2)
    assert term(step).item() == pytest.approx((first + second) / 2)


@pytest.mark.parametrize("temperatures", [(0.1, 0.04), (0.5, 0.04), (0.1, 0.07), (2, 1)])
def test_each_network_has_its_own_temperature(temperatures):
    teacher, student = random_rows(2, 3, 5), random_rows(3, 3, 5, seed=1)
    term, step = told(teacher, student, student_temperature=temperatures[0], teacher_temperature=temperatures[1])
    assert term(step).item() == pytest.approx(by_pairs(teacher, student, temperatures=temperatures)[0], rel=1e-12)


def test_views_are_of_the_photograph_that_stands_at_their_place_in_every_version():
    """A teacher and a student that look at the images agree where both see the same photograph, and only there."""
    model = nn.Module()
    model.forward = lambda images: Output(logits=images, embedding=images.flatten(1), grids=())
    colours = torch.eye(3).view(3, 3, 1, 1)  # three photographs of one pixel
    term = built(model, SHAPE, prototypes=3)
    term.head = nn.Identity()
    term.averaged.head = nn.Identity()
    step = replace(
        step_of(model), images=colours.repeat(2, 1, 1, 1), views={"local": colours.repeat(4, 1, 1, 1)}, versions=2
    )
    one, another = -math.log(math.e**10 / (math.e**10 + 2)), 10 - math.log(math.e**10 / (math.e**10 + 2))
    assert term(step).item() == pytest.approx(one, rel=1e-3)
    mixed = replace(step, images=torch.cat([colours, colours.roll(1, 0)]), views={})
    assert term(mixed).item() == pytest.approx(another, rel=1e-3)


# The head


def test_the_head_is_that_of_dino():
    """Three layers, unit length, then torch's weight norm with its gain at 1."""
    torch.manual_seed(0)
    head = distill.Head(WIDTH, hidden=6, bottleneck=3, prototypes=5)
    theirs = weight_norm(nn.Linear(3, 5, bias=False))
    theirs.parametrizations.weight.original0.data.fill_(1)
    theirs.parametrizations.weight.original1.data.copy_(7 * head.last.weight)
    given = torch.randn(8, WIDTH)
    x = given
    layers = [head.mlp[place] for place in (0, 2, 4)]
    for layer, act in zip(layers, (F.gelu, F.gelu, nn.Identity()), strict=True):
        x = act(x @ layer.weight.T + layer.bias)
    torch.testing.assert_close(head(given), theirs(x / x.norm(dim=1, keepdim=True)))
    assert not any(layer.bias.any() for layer in layers)


def test_a_term_has_the_head_s_parameters_and_its_teacher_s_are_not_trained():
    term = built(net(), prototypes=1024, hidden=2048, bottleneck=256)
    expected = (WIDTH + 1) * 2048 + 2049 * 2048 + 2049 * 256 + 256 * 1024
    assert count_params(term) == expected
    assert {name.split(".")[0] for name, one in term.named_parameters() if one.requires_grad} == {"head"}


def test_under_autocast_numbers_and_loss_are_full_precision():
    model = net().eval()
    term, step = built(model), step_of(model, crops=2)
    with torch.autocast("cpu", torch.bfloat16):
        embedding = model(step.images).embedding
        assert (embedding.dtype, term.head.mlp(embedding).dtype) == (torch.bfloat16, torch.bfloat16)
        numbers, loss = term.head(embedding), term(step)
    assert (numbers.dtype, loss.dtype) == (torch.float32, torch.float32)
    assert not torch.equal(numbers, numbers.bfloat16().float())
    assert loss.item() == pytest.approx(built(model)(replace(step)).item(), rel=0.05)


# The teacher


def test_both_start_equal():
    model = net()
    term = built(model)
    assert term.teacher is term.averaged.model
    for mine, theirs in ((term.teacher, model), (term.averaged.head, term.head)):
        assert mine is not theirs
        assert all(torch.equal(one, theirs.state_dict()[name]) for name, one in mine.state_dict().items())
        assert not {one.data_ptr() for one in mine.parameters()} & {one.data_ptr() for one in theirs.parameters()}


def test_the_teacher_sees_the_versions_and_no_crop_without_dropout_and_without_gradient():
    model = net().train()
    term = built(model)
    total = Total({"distill": term}, {"distill": 1.0}).train()
    assert term.training
    assert not any(module.training for module in term.averaged.modules())
    seen = []
    term.averaged.model.register_forward_hook(lambda module, given, out: seen.append((given[0], out.embedding)))
    step = step_of(model, versions=3, crops=2)
    loss, _ = total(step)
    loss.backward()
    (images, embedding), *rest = seen
    assert not rest
    assert torch.equal(images, step.images)
    assert not embedding.requires_grad
    assert all(one.grad is None for one in term.averaged.parameters())
    assert all(one.grad.any() for one in [*term.head.parameters(), model.linear.weight])
    torch.testing.assert_close(embedding, term.averaged.model(images).embedding, rtol=0, atol=0)


def test_after_three_steps_the_teacher_is_where_the_momenta_put_it():
    model = net()
    term = built(model, momentum=0.9)
    expected = {"weight": model.linear.weight.detach().double(), "mean": model.norm.running_mean.double()}
    head = term.head.last.weight.detach().double()
    for at, progress in enumerate((0.0, 0.25, 0.5)):
        term(step_of(model, progress=progress, seed=at))  # which moves the norm's statistics
        with torch.no_grad():
            model.linear.weight.fill_(at + 1.0)
            term.head.last.weight.fill_(-at - 1.0)
        term.after_step()
        momentum = 1 - 0.1 * (math.cos(math.pi * progress) + 1) / 2
        expected["weight"] = momentum * expected["weight"] + (1 - momentum) * (at + 1.0)
        expected["mean"] = momentum * expected["mean"] + (1 - momentum) * model.norm.running_mean.double()
        head = momentum * head - (1 - momentum) * (at + 1.0)
    teacher = term.averaged
    close = {"rtol": 1e-6, "atol": 1e-7, "check_dtype": False}
    torch.testing.assert_close(teacher.model.linear.weight.data, expected["weight"], **close)
    torch.testing.assert_close(teacher.model.norm.running_mean, expected["mean"], **close)
    torch.testing.assert_close(teacher.head.last.weight.data, head, **close)
    assert teacher.model.norm.num_batches_tracked == model.norm.num_batches_tracked == 3


def test_a_student_that_stays_leaves_its_teacher_to_the_bit():
    model = net().eval()
    term = built(model)
    before = {name: one.clone() for name, one in term.averaged.state_dict().items()}
    for _ in range(3):
        term(step_of(model))
        term.after_step()
    assert all(torch.equal(one, before[name]) for name, one in term.averaged.state_dict().items())


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9998), (0.5, 0.9999), (1.0, 1.0)])
def test_the_momentum_goes_to_1_on_a_cosine(progress, momentum):
    followed = distill.followed(torch.tensor(progress), 0.9998)
    assert followed.item() == pytest.approx(1 - momentum, rel=1e-6, abs=1e-12)
    model = net()
    term = built(model)
    term(step_of(model, progress=progress))
    assert torch.equal(term.share, followed)


# The centre


def test_after_two_steps_the_centre_is_the_average_of_what_the_teacher_gave_and_is_taken_off():
    first, second, third = (random_rows(2, 3, 5, seed=seed) for seed in range(3))
    student, means = random_rows(2, 3, 5, seed=9), [one.reshape(-1, 5).mean(axis=0) for one in (first, second)]
    term, step = told(first, student)
    wanted = by_pairs(first, student)[0]
    for rows, then in ((first, second), (second, third)):
        term.averaged = Table(rows)
        assert term(step).item() == pytest.approx(wanted)  # of the centre before the step
        moved(term)
        wanted = by_pairs(then, student, centre=term.centre.numpy())[0]
    np.testing.assert_allclose(term.centre.numpy(), 0.9 * 0.1 * means[0] + 0.1 * means[1], rtol=1e-12)


def moved(term):
    """After a step of a term whose teacher is a table, which follows nobody."""
    term.averaged.follow = lambda model, head, share: None
    term.after_step()


def test_the_parts_of_a_batch_make_one_mean():
    rows = random_rows(2, 4, 5)
    term, _ = told(rows, rows)
    for part in (slice(0, 1), slice(1, 4)):
        term.averaged, term.head = Table(rows[:, part]), Table(rows[:, part])
        term(step_of(Echo(), photographs=part.stop - part.start))
    moved(term)
    np.testing.assert_allclose(term.centre.numpy(), 0.1 * rows.reshape(-1, 5).mean(axis=0), rtol=1e-12)
    assert not term.total.any()
    assert not term.seen


def test_the_distribution_is_the_teacher_s_centred_and_sharpened_and_changes_nothing():
    rows = random_rows(2, 3, 5)
    term, step = told(rows, rows)
    term.centre.copy_(torch.linspace(-1, 1, 5))
    before = {name: one.clone() for name, one in term.state_dict().items()}
    wanted = softmax((rows.reshape(-1, 5) - np.linspace(-1, 1, 5)) / 0.04, axis=1)
    np.testing.assert_allclose(term.distribution(step.images).numpy(), wanted, rtol=1e-6)
    assert all(torch.equal(one, before[name]) for name, one in term.state_dict().items())


# Small crops


def shown(model, step):
    """What a student is given."""
    given = []

    def forward(images):
        given.append(images)
        return model(images)

    shape = replace(SHAPE, embedding=model(step.images).embedding.shape[1])
    assert built(model, shape)(replace(step, forward=forward)).isfinite()
    return given


@pytest.mark.parametrize("small", [16, 24])
def test_crops_that_the_model_takes_are_seen_as_they_are(small):
    model = vit.build(classes=10, variant="tiny")
    step = step_of(model, crops=2, size=32, small=small)
    images, crops = shown(model, step)
    assert torch.equal(images, step.images)
    assert torch.equal(crops, step.views["local"])


@pytest.mark.parametrize(("build", "small"), [(vit.build, 12), (swin.build, 12)])
def test_crops_that_it_does_not_take_are_enlarged(build, small):
    model = build(classes=10, variant="tiny")
    step = step_of(model, crops=2, size=32, small=small)
    _, crops = shown(model, step)
    assert torch.equal(crops, F.interpolate(step.views["local"], size=(32, 32), mode="bilinear"))


def test_of_crops_alone_the_student_sees_no_version():
    model = net()
    step = step_of(model, crops=2)
    assert built(model, pairs="crops")(step).isfinite()
    assert "out" not in vars(step)


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prototypes": 1}, "prototypes must be a whole number from 2 up, got 1"),
        ({"hidden": 2.5}, "hidden must be a whole number from 2 up, got 2.5"),
        ({"student_temperature": 0}, "student_temperature must be a number above 0, got 0"),
        ({"teacher_temperature": float("nan")}, "teacher_temperature must be a number above 0, got nan"),
        ({"momentum": 1.1}, "momentum must be a number from 0 to 1, got 1.1"),
        ({"centre_momentum": True}, "centre_momentum must be a number from 0 to 1, got True"),
        ({"pairs": "al"}, "unknown pairs of distill 'al'; did you mean all"),
    ],
)
def test_options_out_of_their_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        distill.build(SHAPE, **options)


def test_a_term_without_a_model_to_copy_is_refused():
    term = distill.build(SHAPE, **SMALL)
    assert term.teacher is None
    with pytest.raises(UserError, match=r"expected attach\(model\) before the first step"):
        term(step_of(net()))


@pytest.mark.parametrize(("pairs", "versions"), [("all", 1), ("crops", 2)])
def test_a_step_without_views_to_compare_is_refused(pairs, versions):
    model = net()
    with pytest.raises(UserError, match=f"got versions: {versions}, small crops: 0"):
        built(model, pairs=pairs)(step_of(model, versions=versions))


# Training


class Halves(nn.Module):
    """Takes the halves of a batch for two versions, and their corners for small crops."""

    def __init__(self, term):
        super().__init__()
        self.term = term

    def forward(self, step):
        corners = {"local": step.images[..., :16, :16]}
        return self.term(replace(step, versions=2, views=corners))

    def after_step(self):
        self.term.after_step()


PHASE = Phase(epochs=3, batch_size=8, optimizer={"name": "adamw", "lr": 1e-3}, schedule={"name": "constant"})


def objective():
    torch.manual_seed(3)
    model = vit.build(classes=10, variant="tiny")
    shape = replace(SHAPE, embedding=48)
    return model, Total({"distill": Halves(built(model, shape, momentum=0.9))}, {"distill": 1.0})


def images():
    pixels = torch.randint(256, (24, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Images(images=pixels, labels=torch.zeros(24, dtype=torch.int64))


def trained(checkpoint=None, **options):
    """Train; returns the state of everything and each checkpoint as it is on a disk."""
    model, total = objective()
    files = []

    def save(make, now):
        files.append(io.BytesIO())
        torch.save(make(), files[-1])

    watch = Watch(examine=lambda epoch: {}, save=save)
    train(model, total, images(), (PHASE,), seed=0, watch=watch, checkpoint=checkpoint, **options)
    return {**model.state_dict(), **total.state_dict()}, files


@pytest.mark.parametrize("cut", [1, 2])
def test_a_training_that_is_cut_ends_with_the_bits_of_an_uninterrupted_one(cut):
    whole, files = trained()
    files[cut - 1].seek(0)
    resumed, rest = trained(torch.load(files[cut - 1], weights_only=True))
    assert len(rest) == 3 - cut
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(one, resumed[name]) for name, one in whole.items())
    start = objective()[1].state_dict()
    still = [name.rpartition("averaged.")[2] for name, one in start.items() if torch.equal(one, whole[name])]
    # What the term does not ask for, and what is counted within a step.
    names = ("model.network.head.weight", "model.network.head.bias", "terms.0.term.total", "terms.0.term.seen")
    assert sorted(still) == sorted(names)


@pytest.mark.parametrize("refuses", [False, True])
def test_a_step_that_is_replayed_or_tried_and_undone_has_the_bits_of_eager(refuses):
    whole, _ = trained()
    graphs = Recording(refuses=refuses)
    engine = Engine(name="graph", graphs=lambda: graphs)
    other, _ = trained(engine=engine)
    assert ("capture" in graphs.asked) is not refuses
    assert all(torch.equal(one, other[name]) for name, one in whole.items())


def test_a_step_in_parts_moves_the_teacher_s_centre_as_one_step_does():
    """Of a network without batch norm; the halves of a part are other pairs, so that only the centre is compared."""
    centres = []
    for micro_batch in (None, 4):
        model, total = objective()
        one = Learner(model, total, images(), PHASE, micro_batch=micro_batch)
        one.begin(0, order=torch.arange(24), seeds={"augment": 0, "terms": 0})
        one.step()
        centres.append(total.terms[0].term.centre)
    assert centres[0].any()
    torch.testing.assert_close(*centres)


def test_nothing_in_a_step_reads_a_number():
    """On the `meta` device there is none; so a step of a GPU waits for nothing and can be captured."""
    with torch.device("meta"):
        model = net()
        term = built(model)
    step = step_of(model, crops=2)
    there = {name: getattr(step, name).to("meta") for name in ("images", "labels", "progress")}
    step = replace(step, **there, views={"local": step.views["local"].to("meta")})
    term(step).backward()
    term.after_step()
    assert {one.device.type for one in term.state_dict().values()} == {"meta"}


CROP = (parse_call("random_resized_crop(size=16, interpolation='bilinear')"),)
TORT = Phase(epochs=1, batch_size=4, optimizer={"name": "adamw", "lr": 1e-3}, schedule={"name": "constant"})
STUDENTS = [
    f"{name}/{variant}"
    for name in known("models")
    if name != "timm"
    for variant in find("models", name).constants["VARIANTS"]
    if variant.startswith("tiny")
]


@pytest.mark.parametrize("reference", [*STUDENTS, "timm/test_vit", "timm/resnet18", "timm/test_convnext"])
def test_any_model_of_the_suite_can_be_the_student(reference):
    torch.manual_seed(0)
    model = build.untrained(reference, 10, 32)
    shape = shape_of(model, image_size=32)
    terms = {"ce": ce.build(shape), "distill": distill.build(shape, **SMALL, momentum=0.5)}
    terms["rotation"] = rotation.build(shape)
    terms["distill"].attach(model)
    views = (View(name="global", count=3, augmentation=()), View(name="local", count=2, augmentation=CROP))
    phase = replace(TORT, views=views, turning=parse_call("quarter_turn"))
    images = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    learner = Learner(
        model,
        Total(terms, {"ce": 2.5, "distill": 1.0, "rotation": 1.0}),
        Images(images=images, labels=torch.arange(8)),
        phase,
    )
    before = {name: one.clone() for name, one in terms["distill"].teacher.named_parameters()}
    learner.begin(0, order=torch.arange(8), seeds={"augment": 0, "terms": 0})
    losses = learner.epoch(0, advance=learner.step, tell=lambda done, loss: None)
    assert losses.isfinite().all()
    moved = [name for name, one in terms["distill"].teacher.named_parameters() if not torch.equal(one, before[name])]
    assert moved
