"""What holds for every file in `vitbench/models/`, and that its behaviour is the recorded one."""

import ast
import inspect
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
import torch.nn.functional as F

from vitbench.adapter import shape_of
from vitbench.errors import UserError
from vitbench.leaves import find, known

golden_models = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("golden_models.py"))))
GOLDEN = json.loads(golden_models.GOLDEN.read_text(encoding="utf-8"))
WRITE = "PYTHONPATH=. python tests/contracts/golden_models.py --write"
NAMES = known("models")
# Of timm's networks, one for each layout: tokens, NHWC, NCHW.
TIMM = ("test_vit", "swin_tiny_patch4_window7_224", "test_convnext")


def constants(name):
    return find("models", name).constants


def arguments(name):
    return inspect.signature(find("models", name).load()).parameters


def size_of(name, variant):
    """The image size that a variant is designed for, as timm is told it; one that is quick for timm's own."""
    if name == "timm":
        return 64
    find("models", name).load()  # which registers its variants
    return timm.get_pretrained_cfg_value(f"vitbench_{name}_{variant}", "input_size")[-1]


def build(name, variant, *, seed=0):
    return golden_models.build(name, variant=variant, classes=5, image_size=size_of(name, variant), seed=seed)


def build_on_meta(name, variant):
    with torch.device("meta"):
        return build(name, variant)


def images_for(name, variant, count, device="cpu"):
    size, generator = size_of(name, variant), torch.Generator().manual_seed(0)
    return torch.rand(count, 3, size, size, generator=generator).to(device)


EVERY = [(name, variant) for name in NAMES for variant in constants(name).get("VARIANTS", TIMM)]
# Every variant that is called tiny, and two of timm's.
SMALL = [one for one in EVERY if one[1].startswith("tiny")] + [("timm", "test_vit"), ("timm", "test_convnext")]
# A thousand layers of what its tiny variant and ResNet-110 have a few of; that it runs is tried all the same.
DEEPEST = ("cifar_resnet", "resnet1001_v2")
every_name = pytest.mark.parametrize("name", NAMES)
every_variant = pytest.mark.parametrize(("name", "variant"), EVERY)
every_small_one = pytest.mark.parametrize(("name", "variant"), SMALL)


def test_the_four_models_of_the_thesis_and_those_of_timm_are_found():
    assert {"resnet", "vit", "t2t", "cvt", "timm"} <= set(NAMES)


@every_name
def test_version_and_variants_are_literals_that_need_no_import(name):
    assert type(constants(name)["VERSION"]) is int
    assert constants(name)["VERSION"] >= 1
    assert name == "timm" or any(variant.startswith("tiny") for variant in constants(name)["VARIANTS"])


@every_name
def test_the_file_names_its_source(name):
    assert "Source:" in ast.get_docstring(ast.parse(find("models", name).path.read_text(encoding="utf-8")))


@every_name
def test_it_is_built_from_classes_image_size_and_variant_alone(name):
    assert list(arguments(name)) == ["classes", "image_size", "variant"]
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in arguments(name).values())


@every_name
def test_an_unknown_variant_is_refused_with_the_known_ones(name):
    with pytest.raises(UserError, match=r"'tinny'.*known: "):
        golden_models.build(name, variant="tinny")


@every_variant
def test_it_runs_on_meta_with_the_shapes_that_its_terms_are_built_for(name, variant):
    model = build_on_meta(name, variant)
    out = model(images_for(name, variant, 3, "meta"))
    shape = shape_of(model, image_size=size_of(name, variant))
    assert out.logits.shape == (3, 5) == (3, shape.classes)
    assert out.embedding.shape == (3, shape.embedding)
    assert out.grids[-1].shape == (3, shape.channels, shape.height, shape.width)
    assert all(grid.ndim == 4 and len(grid) == 3 for grid in out.grids)


@pytest.mark.parametrize(("name", "variant"), [one for one in EVERY if one[0] != "timm" and one != DEEPEST])
def test_without_an_image_size_a_variant_is_built_for_its_own(name, variant):
    with torch.device("meta"):
        model = find("models", name).load()(classes=5, variant=variant)
    expected = build_on_meta(name, variant).state_dict()
    assert {key: one.shape for key, one in model.state_dict().items()} == {
        key: one.shape for key, one in expected.items()
    }


@every_small_one
def test_it_computes_the_same_where_channels_come_last_in_memory(name, variant):
    images = images_for(name, variant, 4).double()  # in which rounding is far below what would be wrong
    plain, last = build(name, variant).double(), build(name, variant).double().to(memory_format=torch.channels_last)
    found = []
    for model in (plain, last):
        out = model(images)
        (out.logits.square().mean() + out.grids[-1].square().mean() + out.embedding.square().mean()).backward()
        found.append({"logits": out.logits, "embedding": out.embedding, "grid": out.grids[-1]})
        found[-1] |= {key: one.grad for key, one in model.named_parameters() if one.grad is not None}
    assert found[0].keys() == found[1].keys()
    for key, one in found[0].items():
        assert torch.allclose(found[1][key], one, rtol=1e-9, atol=1e-12), key


def test_a_variant_is_for_the_images_of_its_source():
    at_224 = [("swin", "swin_tiny"), ("t2t", "t2t_vit_14"), ("cvt", "cvt_13"), ("vit", "mini_224")]
    sizes = {**dict.fromkeys(at_224, 224), ("mae_vit", "tan2024"): 36}
    assert {one: size_of(*one) for one in EVERY if one[0] != "timm"} == {
        one: sizes.get(one, 32) for one in EVERY if one[0] != "timm"
    }
    assert set(sizes) < set(EVERY)


@pytest.mark.parametrize(("name", "variant"), [one for one in SMALL if one[0] != "timm"])
def test_a_tiny_variant_has_a_grid_of_four_by_four_on_32_pixels_and_eight_by_eight_where_most_of_it_is_masked(
    name, variant
):
    model = golden_models.build(name, variant=variant)
    side = 8 if name == "mae_vit" else 4
    assert model(torch.rand(2, 3, 32, 32)).grids[-1].shape[-2:] == (side, side)


@pytest.mark.parametrize("name", [name for name in NAMES if "floros2024" in constants(name).get("VARIANTS", ())])
def test_the_thesis_has_a_grid_of_eight_by_eight_with_312_channels_and_15_million_parameters(name):
    model = build_on_meta(name, "floros2024")
    shape = shape_of(model, image_size=32)
    assert (shape.channels, shape.height, shape.width) == (312, 8, 8)
    assert 14.7e6 <= sum(one.numel() for one in model.parameters() if one.requires_grad) <= 15.3e6


@pytest.mark.parametrize(("name", "variant"), [one for one in EVERY if one != DEEPEST])
def test_the_logits_depend_on_every_trainable_parameter(name, variant):
    model = build_on_meta(name, variant)
    model(images_for(name, variant, 2, "meta")).logits.sum().backward()
    assert [key for key, one in model.named_parameters() if one.requires_grad and one.grad is None] == []


@every_small_one
def test_no_trainable_parameter_has_a_gradient_of_zero(name, variant):
    model = golden_models.stir(build(name, variant))
    F.cross_entropy(model(images_for(name, variant, 10)).logits, torch.arange(10) % 5).backward()
    assert [key for key, one in model.named_parameters() if one.requires_grad and not one.grad.abs().sum() > 0] == []


@every_small_one
def test_in_eval_mode_an_image_is_judged_without_its_neighbours(name, variant):
    model, images = golden_models.stir(build(name, variant)).eval(), images_for(name, variant, 4)
    with torch.no_grad():
        alone, together = model(images[:1]), model(images)
    torch.testing.assert_close(alone.logits, together.logits[:1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone.embedding, together.embedding[:1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone.grids[-1], together.grids[-1][:1], rtol=1e-4, atol=1e-5)


@every_small_one
def test_the_seed_decides_the_weights(name, variant):
    first, same, other = (build(name, variant, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@every_small_one
def test_a_saved_state_gives_the_same_logits_to_another_instance(name, variant):
    model, other = build(name, variant, seed=0).eval(), build(name, variant, seed=1).eval()
    assert not torch.equal(model(images_for(name, variant, 2)).logits, other(images_for(name, variant, 2)).logits)
    other.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(model(images_for(name, variant, 2)).logits, other(images_for(name, variant, 2)).logits)


@every_small_one
def test_a_model_on_meta_has_the_state_of_a_real_one(name, variant):
    real, empty = build(name, variant).state_dict(), build_on_meta(name, variant).state_dict()
    assert {key: one.shape for key, one in real.items()} == {key: one.shape for key, one in empty.items()}


def test_the_recorded_models_are_those_that_exist():
    missing = set(NAMES) ^ set(GOLDEN)
    assert not missing, f"run `{WRITE}` for {sorted(missing)}"


@pytest.mark.parametrize("name", sorted(set(NAMES) & set(GOLDEN)))
def test_behaviour_and_version_change_together(name):
    recorded = GOLDEN[name]
    version, losses = constants(name)["VERSION"], golden_models.losses(name)
    assert version == recorded["version"], (
        f"{name}: VERSION is {version}, recorded is {recorded['version']}; run `{WRITE}`"
    )
    assert losses == pytest.approx(recorded["losses"], rel=1e-4), (
        f"{name}: behaves differently at the same VERSION = {version}; raise it in vitbench/models/{name}.py "
        f"and run `{WRITE}`, or undo the change"
    )
