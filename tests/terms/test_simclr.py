"""NT-Xent against hand-computed values, scikit-learn's cosines, scipy's softmax, and closed forms."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special
from sklearn.metrics.pairwise import cosine_similarity
from torch import nn

from vitbench.contracts import Output, Shape, Step
from vitbench.errors import UserError
from vitbench.leaves import find
from vitbench.terms import simclr

SHAPE = Shape(channels=6, height=2, width=2, embedding=6, classes=3)


def random_vectors(*size, seed=3, dtype=torch.float64):
    return torch.randn(*size, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def step_of(embedding, *, versions=2):
    out = Output(logits=embedding[:, :2], embedding=embedding, grids=())
    return Step(
        images=embedding.new_zeros(len(embedding), 3, 8, 8),
        labels=torch.zeros(len(embedding), dtype=torch.int64),
        versions=versions,
        model=nn.Identity(),
        forward=lambda _: out,
    )


def built(**options):
    torch.manual_seed(0)
    return simclr.build(SHAPE, **options).double()


def seen_as_it_is(vectors, *, temperature):
    """The term with a projection that changes nothing."""
    width = vectors.shape[1]
    shape = Shape(channels=width, height=1, width=1, embedding=width, classes=2)
    term = simclr.build(shape, temperature=temperature, width=width, layers=1).to(vectors.dtype)
    with torch.no_grad():
        term.projection[0].weight.copy_(torch.eye(width))
    return term


def at(*degrees, length=1.0):
    """Vectors (n, 2) in a plane."""
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return length * torch.stack((angle.cos(), angle.sin()), dim=1)


def by_algorithm_1(vectors, temperature):
    """The paper's sums, image by image, on what scikit-learn says of the angles."""
    number = len(vectors) // 2
    cosines = cosine_similarity(vectors.detach().numpy())

    def loss(i, j):
        others = [math.exp(cosines[i, k] / temperature) for k in range(2 * number) if k != i]
        return -math.log(math.exp(cosines[i, j] / temperature) / math.fsum(others))

    return math.fsum(loss(k, k + number) + loss(k + number, k) for k in range(number)) / (2 * number)


def test_four_vectors_by_hand():
    # Two photographs: the first at 0 and 60 degrees, the second at 90 and 180. At a temperature of 1/2 the cosines
    # 1/2 (0, 60), 0 (0, 90), -1 (0, 180), sqrt(3)/2 (60, 90), -1/2 (60, 180) and 0 (90, 180) count twice.
    vectors, root = at(0, 90, 60, 180), math.sqrt(3)
    losses = [
        math.log(math.e + 1 + math.exp(-2)) - 1,  # 0 degrees, whose partner has 2 * 1/2
        math.log(1 + math.exp(root) + 1) - 0,  # 90, whose partner has 0
        math.log(math.e + math.exp(root) + math.exp(-1)) - 1,  # 60
        math.log(math.exp(-2) + 1 + math.exp(-1)) - 0,  # 180
    ]
    assert simclr.nt_xent(vectors, temperature=0.5).item() == pytest.approx(sum(losses) / 4, rel=1e-12)
    assert seen_as_it_is(vectors, temperature=0.5)(step_of(vectors)).item() == pytest.approx(sum(losses) / 4, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1, 20.0])
@pytest.mark.parametrize("photographs", [1, 2, 3, 7])
def test_it_is_the_algorithm_of_the_paper(photographs, temperature):
    vectors = random_vectors(2 * photographs, 5)
    found = simclr.nt_xent(vectors, temperature=temperature).item()
    assert found == pytest.approx(by_algorithm_1(vectors, temperature), rel=1e-10, abs=1e-12)


def test_it_is_a_cross_entropy_over_the_others():
    vectors, temperature = random_vectors(10, 5), 0.3
    cosines = F.cosine_similarity(vectors.unsqueeze(0), vectors.unsqueeze(1), dim=-1)
    others = torch.stack([torch.cat((row[:i], row[i + 1 :])) for i, row in enumerate(cosines)])  # (10, 9)
    places = torch.tensor([i + 5 - 1 if i < 5 else i - 5 for i in range(10)])  # without itself the rest moves up
    expected = F.cross_entropy(others / temperature, places)
    torch.testing.assert_close(simclr.nt_xent(vectors, temperature=temperature), expected, rtol=1e-12, atol=0)


def test_pairs_at_right_angles_to_each_other_are_the_closed_form():
    for photographs in (2, 3, 5):
        pairs = torch.eye(photographs, dtype=torch.float64).repeat(2, 1)
        others = 2 * photographs - 2
        for temperature in (0.1, 0.5, 2.0):
            expected = math.log(math.exp(1 / temperature) + others) - 1 / temperature
            assert simclr.nt_xent(pairs, temperature=temperature).item() == pytest.approx(expected, rel=1e-10)


def test_a_collapsed_embedding_loses_the_logarithm_of_the_others():
    collapsed = random_vectors(1, 5).expand(12, -1)
    assert simclr.nt_xent(collapsed, temperature=0.5).item() == pytest.approx(math.log(11), rel=1e-12)


def test_the_order_of_the_photographs_and_of_the_versions_does_not_matter():
    first, second = random_vectors(6, 4), random_vectors(6, 4, seed=4)
    term, order = built(), torch.tensor([4, 2, 0, 5, 1, 3])
    first, second = (F.pad(one, (0, 2), value=0.5) for one in (first, second))
    loss = term(step_of(torch.cat((first, second)))).item()
    for one, other in ((first[order], second[order]), (second, first)):
        assert term(step_of(torch.cat((one, other)))).item() == pytest.approx(loss, rel=1e-12)
    # Not so if the versions are no longer in the same order.
    assert term(step_of(torch.cat((first, second[order])))).item() != pytest.approx(loss, rel=1e-3)


def test_the_lengths_of_the_vectors_do_not_matter():
    vectors = random_vectors(8, 5)
    lengths = torch.linspace(0.1, 30, 8, dtype=torch.float64).unsqueeze(1)
    expected = simclr.nt_xent(vectors, temperature=0.5).item()
    assert simclr.nt_xent(vectors * lengths, temperature=0.5).item() == pytest.approx(expected, rel=1e-12)


def test_the_gradient_is_that_of_finite_differences_and_none_of_it_is_lost():
    vectors = random_vectors(6, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: simclr.nt_xent(x, temperature=0.5), vectors)
    (gradient,) = torch.autograd.grad(simclr.nt_xent(vectors, temperature=0.5), vectors)
    assert (gradient.abs().sum(dim=1) > 0).all()


def test_the_projection_is_that_of_the_text():
    term, vectors = built(hidden=9, width=4), random_vectors(8, 6)
    first, second = (one.weight.detach().numpy() for one in term.projection if isinstance(one, nn.Linear))
    projected = np.maximum(vectors.numpy() @ first.T, 0) @ second.T  # g(h) = W2 relu(W1 h)
    cosines = cosine_similarity(projected) / 0.5
    np.fill_diagonal(cosines, -np.inf)
    expected = -special.log_softmax(cosines, axis=1)[np.arange(8), [4, 5, 6, 7, 0, 1, 2, 3]].mean()
    assert term(step_of(vectors)).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 2048 * 2048 + 2048 * 128),  # ResNet-50 as in the text
        ({"hidden": 512, "width": 64}, 2048 * 512 + 512 * 64),
        ({"layers": 3}, 2 * 2048 * 2048 + 2048 * 128),
        ({"layers": 1}, 2048 * 128),
    ],
)
def test_its_layers_have_these_parameters(options, parameters):
    shape = Shape(channels=2048, height=7, width=7, embedding=2048, classes=1000)
    assert sum(p.numel() for p in simclr.build(shape, **options).parameters()) == parameters


def test_there_is_a_relu_between_layers_and_none_after_the_last():
    kinds = [type(part) for part in built(layers=3).projection]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [type(part) for part in built(layers=1).projection] == [nn.Linear]


def test_where_the_model_computes_in_bfloat16_cosines_do_not():
    vectors = random_vectors(64, 6, dtype=torch.float32)
    precise = cosine_similarity(vectors.double().numpy())
    with torch.autocast("cpu", torch.bfloat16):
        assert (vectors @ vectors.T).dtype == torch.bfloat16
        found = simclr.similarities(vectors)
        loss = simclr.build(SHAPE)(step_of(vectors))
    assert found.dtype == loss.dtype == torch.float32
    assert np.abs(found.numpy() - precise).max() < 1e-6


def test_one_version_is_refused():
    line = r"^simclr: expected at least 2 versions of each image, got 1; take a recipe whose `views` make them$"
    with pytest.raises(UserError, match=line):
        built()(step_of(random_vectors(6, 6), versions=1))


def test_one_photograph_is_nothing_to_train_on_and_is_counted_all_the_same():
    with pytest.raises(UserError, match=r"^simclr: expected at least 2 photographs at once, got 1, .*--micro-batch$"):
        built()(step_of(random_vectors(2, 6), versions=2))
    assert built().eval()(step_of(random_vectors(2, 6), versions=2)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("versions", [3, 4])
def test_of_several_versions_each_is_to_be_found_among_all_others(versions):
    number, temperature = 4, 0.3
    vectors = random_vectors(versions * number, 5)
    cosines = cosine_similarity(vectors.numpy())
    losses = []
    for i in range(versions * number):
        rest = math.fsum(math.exp(cosines[i, k] / temperature) for k in range(versions * number) if k != i)
        for j in range(i % number, versions * number, number):
            if j != i:  # another version of the same photograph
                losses.append(-math.log(math.exp(cosines[i, j] / temperature) / rest))
    assert len(losses) == versions * number * (versions - 1)
    found = simclr.nt_xent(vectors, temperature=temperature, versions=versions).item()
    assert found == pytest.approx(math.fsum(losses) / len(losses), rel=1e-10)


def test_the_leaf_says_how_many_versions_it_needs():
    assert find("terms", "simclr").constants["VERSIONS"] == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature must be a number above 0, got 0; try temperature=0.5"),
        ({"temperature": -0.1}, "temperature must be a number above 0, got -0.1"),
        ({"temperature": math.inf}, "temperature must be a number above 0, got inf"),
        ({"temperature": math.nan}, "temperature must be a number above 0, got nan"),
        ({"temperature": True}, "temperature must be a number above 0, got True"),
        ({"temperature": "warm"}, "temperature must be a number above 0, got 'warm'"),
        ({"width": 0}, "width must be a whole number from 1 up, got 0; try width=128"),
        ({"width": 1.5}, "width must be a whole number from 1 up, got 1.5"),
        ({"hidden": -1}, "hidden must be a whole number from 0 up, got -1; try hidden=512"),
        ({"hidden": True}, "hidden must be a whole number from 0 up, got True"),
        ({"layers": 0}, "layers must be a whole number from 1 up, got 0; try layers=2"),
        ({"layers": "2"}, "layers must be a whole number from 1 up, got '2'"),
    ],
)
def test_an_option_out_of_range_is_one_line(options, message):
    with pytest.raises(UserError) as refused:
        simclr.build(SHAPE, **options)
    assert str(refused.value).startswith(f"simclr: {message}")
    assert str(refused.value).isprintable()


def test_a_temperature_may_be_a_whole_number():
    vectors = random_vectors(6, 6)
    assert built(temperature=1)(step_of(vectors)).item() == built(temperature=1.0)(step_of(vectors)).item()


def test_a_small_network_learns_which_noisy_versions_of_digits_belong_together():
    digits = find("datasets", "digits").load()(None)
    pixels = digits.train.images[:256, :1, ::4, ::4].flatten(1) / 255  # (256, 64), what scikit-learn has of them
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
    term = simclr.build(replace(SHAPE, embedding=32), width=16)
    draw = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW([*network.parameters(), *term.parameters()], lr=3e-3)

    def partner_found():
        noisy = [pixels + 0.2 * torch.randn(pixels.shape, generator=draw) for _ in range(2)]
        with torch.no_grad():
            cosines = simclr.similarities(term.projection(network(torch.cat(noisy))))
        nearest = cosines.fill_diagonal_(-2).argmax(dim=1)
        return (nearest == torch.arange(512).roll(256)).double().mean().item()

    before = partner_found()
    for _ in range(300):
        chosen = pixels[torch.randint(256, (64,), generator=draw)]
        noisy = [chosen + 0.2 * torch.randn(chosen.shape, generator=draw) for _ in range(2)]
        loss = term(step_of(network(torch.cat(noisy))))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = partner_found()
    assert after > before + 0.1  # chance is .002
