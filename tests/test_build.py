"""From names to networks: a seed gives the weights, an objective does not change them."""

from dataclasses import replace

import pytest
import timm
import torch

from vitbench import build
from vitbench.case import Budget
from vitbench.errors import UserError
from vitbench.identity import Identity
from vitbench.objective import parse
from vitbench.train import derived

MODELS = ["resnet/tiny", "vit/tiny", "t2t/tiny", "cvt/tiny"]
EVERYTHING = "ce + 0.1*drloc(hidden=16) + 0.2*me(depth=1)"


def identity(objective="ce", **changes):
    plain = Identity(
        model="vit/tiny",
        objective=parse(objective),
        dataset="digits",
        data="",
        classes=7,
        image_size=32,
        budget=Budget.QUICK,
        versions={},
    )
    return replace(plain, **changes)


def equal(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("model", MODELS)
def test_every_objective_starts_from_the_same_network(model):
    torch.manual_seed(1)
    plain = build.model_of(identity(model=model))
    torch.manual_seed(2)
    assert equal(plain, build.model_of(identity(EVERYTHING, model=model)))


@pytest.mark.parametrize("model", MODELS)
def test_another_seed_gives_another_network(model):
    assert not equal(build.model_of(identity(model=model)), build.model_of(identity(model=model, seed=1)))


def test_building_leaves_torchs_global_generator_as_it_was():
    before = torch.get_rng_state()
    one = identity(EVERYTHING)
    build.total_of(one, build.model_of(one))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["drloc", "me"])
def test_a_term_starts_the_same_whatever_stands_beside_it(name):
    options = {"drloc": "drloc(hidden=16)", "me": "me(depth=1)"}[name]
    terms = []
    for objective in (f"ce + 0.5*{options}", EVERYTHING):
        one = identity(objective)
        total = build.total_of(one, build.model_of(one))
        terms.append(total.terms[total.names.index(name)])
    assert equal(*terms)
    other = identity(EVERYTHING, seed=1)
    assert not equal(terms[0], build.term_of(other, name, build.model_of(other)))


def test_the_objective_gives_each_term_its_weight_and_its_arguments():
    one = identity("ce + 0.1*drloc(hidden=16, pairs=3) + 0.2*me(depth=1, ratio=0.5)")
    total = build.total_of(one, build.model_of(one))
    assert total.names == ("ce", "drloc", "me")
    assert total.weights.tolist() == pytest.approx([1.0, 0.1, 0.2])
    drloc, me = total.terms[1:]
    assert (drloc.pairs, drloc.mlp[0].out_features) == (3, 16)
    assert (me.ratio, len(me.blocks)) == (0.5, 1)


@pytest.mark.parametrize("name", ["resnet", "vit", "t2t", "cvt"])
def test_a_network_of_ours_is_what_timm_makes_under_its_name(name):
    model = build.model_of(identity(model=f"{name}/tiny"))
    torch.manual_seed(derived(0, "model"))
    assert equal(model.network, timm.create_model(f"vitbench_{name}_tiny", num_classes=7))


def test_a_network_of_timms_is_what_timm_makes():
    model = build.model_of(identity(model="timm/resnet10t"))
    torch.manual_seed(derived(0, "model"))
    assert equal(model.network, timm.create_model("resnet10t", num_classes=7))


def test_a_network_has_the_classes_and_the_image_size_of_its_data():
    model = build.untrained("vit/tiny", 7, 48)
    out = model(torch.rand(2, 3, 48, 48))
    assert out.logits.shape == (2, 7)
    assert out.grids[-1].shape[2:] == (6, 6)  # patches of 8 pixels


def test_the_network_of_a_run_is_built_on_the_meta_device_too():
    with torch.device("meta"):
        one = identity(EVERYTHING)
        total = build.total_of(one, build.model_of(one))
    assert {weight.device.type for weight in total.parameters()} == {"meta"}


def test_a_variant_that_a_model_does_not_have_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"'tinny'.*tiny"):
        build.model_of(identity(model="vit/tinny"))
