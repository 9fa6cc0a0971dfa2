"""What the data file says the slides show: complete, free of slips, and their exercise recomputed."""

from collections import Counter
from functools import cache

import pytest
import timm
import torch
import torchvision

from vitbench import papers
from vitbench.case import Budget, Status
from vitbench.report import conclusions
from vitbench.report.results import Results
from vitbench.selection import Selection, trained

# The slides, typed a second time and not from the data file; "x" is the cross of the page.
IMAGENET = """
    ResNet-50   79.26  26   79.26 x
    ResNet-101  80.13  45   80.13 x
    ResNet-152  80.62  60   80.62 x
    ViT-B/16    77.91  86   77.91 84.15
    ViT-B/32    73.38  86   73.38 80.73
    ViT-L/16    76.53  307  76.53 87.12
    ViT-L/32    71.16  307  71.16 84.37
    ViT-H/14    x      x    x     88.04
"""
TWELVE = """
    food cifar10 cifar100 birdsnap sun397 cars aircraft voc2007 dtd pets caltech101 flowers102
"""
SIMCLR = """
    linear      simclr 68.4 90.6 71.6 37.4 58.8 50.3 50.3 80.5 74.5 83.6 90.3 91.2
    linear      ce     72.3 93.6 78.3 53.7 61.9 66.7 61.0 82.8 74.9 91.5 94.5 94.7
    finetuned   simclr 88.2 97.7 85.9 75.9 63.5 91.3 88.1 84.1 73.2 89.2 92.1 97.0
    finetuned   ce     88.3 97.5 86.4 75.8 64.3 92.1 86.0 85.0 74.6 92.1 93.3 97.6
    random-init ce     86.9 95.9 80.2 76.1 53.6 91.4 85.9 67.3 64.8 81.5 72.6 92.0
"""
SEVEN = """
    cifar10 cifar100 inat18 inat19 flowers102 cars imagenet
"""
DINO = """
    ViT-S/16 ce      99.0 89.5 70.7 76.6 98.2 92.1 79.9
    ViT-S/16 distill 99.0 90.5 72.0 78.2 98.5 93.0 81.5
    ViT-B/16 ce      99.0 90.8 73.2 77.7 98.4 92.1 81.8
    ViT-B/16 distill 99.1 91.7 72.6 78.6 98.8 93.0 82.8
"""
FOUR = """
    ViT-B ViT-L ViT-H ViT-H_488
"""
MAE = """
    ce      82.3 82.6 83.1 x
    distill 82.8 x    x    x
    mae     83.6 85.9 86.9 87.8
"""
WIDTH, HIDDEN = 1024, 2048  # d and n of the exercise


def lines(text):
    return [line.split() for line in text.strip().splitlines()]


@cache
def paper():
    return next(one for one in papers.load_all() if one.name == "coquenet2023")


@cache
def rows():
    return tuple(papers.claims((paper(),)))


def values(table, key):
    """Every value of a table by what `key` makes of its row."""
    found = [(key(row), float(row["value"])) for row in rows() if row["table"] == table]
    assert len(dict(found)) == len(found)
    return dict(found)


def name(row):
    return paper().models[row["model"]].printed


def test_it_has_every_number_that_is_printed():
    assert Counter((row["table"], row["metric"], row["source"]) for row in rows()) == {
        ("imagenet-size", "accuracy", "printed"): 7,
        ("imagenet-size", "params", "printed"): 7,
        ("pretraining", "accuracy", "printed"): 12,
        ("simclr-transfer", "linear", "printed"): 24,
        ("simclr-transfer", "accuracy", "printed"): 36,
        ("dino-transfer", "accuracy", "printed"): 28,
        ("mae-imagenet", "accuracy", "printed"): 8,
        ("layer-cost", "params", "computed"): 6,
        ("layer-cost", "macs", "computed"): 6,
        ("layer-cost", "output_tokens", "computed"): 6,
        ("layer-cost", "output_width", "computed"): 6,
    }
    assert len({tuple(row.values()) for row in rows()}) == len(rows()) == 146


def test_the_tables_of_imagenet_as_they_are_printed():
    sizes, pretraining = {}, {}
    for model, accuracy, params, imagenet, jft in lines(IMAGENET):
        sizes |= {(model, "accuracy"): accuracy, (model, "params"): params}
        pretraining |= {(model, "imagenet"): imagenet, (model, "jft-300m"): jft}
    printed = [{key: float(value) for key, value in one.items() if value != "x"} for one in (sizes, pretraining)]
    assert values("imagenet-size", lambda row: (name(row), row["metric"])) == printed[0]
    assert values("pretraining", lambda row: (name(row), row["recipe"])) == printed[1]
    assert {row["dataset"] for row in rows() if row["table"] == "pretraining"} == {"imagenet"}


def test_the_transfer_of_simclr_as_it_is_printed():
    printed = {
        (recipe, objective, dataset): float(value)
        for recipe, objective, *numbers in lines(SIMCLR)
        for dataset, value in zip(TWELVE.split(), numbers, strict=True)
    }
    assert values("simclr-transfer", lambda row: (row["recipe"], row["objective"], row["dataset"])) == printed
    metrics = {(row["recipe"], row["metric"]) for row in rows() if row["table"] == "simclr-transfer"}
    assert metrics == {("linear", "linear"), ("finetuned", "accuracy"), ("random-init", "accuracy")}


def test_the_transfer_of_dino_and_mae_as_they_are_printed():
    dino = {
        (model, objective, dataset): float(value)
        for model, objective, *numbers in lines(DINO)
        for dataset, value in zip(SEVEN.split(), numbers, strict=True)
    }
    mae = {
        (model, objective): float(value)
        for objective, *numbers in lines(MAE)
        for model, value in zip(FOUR.split(), numbers, strict=True)
        if value != "x"
    }
    assert values("dino-transfer", lambda row: (name(row), row["objective"], row["dataset"])) == dino
    assert values("mae-imagenet", lambda row: (name(row), row["objective"])) == mae
    assert dino["ViT-B/16", "distill", "imagenet"] == mae["ViT-B", "distill"]  # one number on two slides


METHODS = {
    "simclr": ("vit_lite_7_4", "simclr", "student"),
    "dino": ("vit_lite_7_4", "distill", "teacher"),
    "jigsaw": ("vit_lite_7_4", "jigsaw", "student"),
    "rotation": ("vit_lite_7_4", "rotation", "student"),
    "mae": ("mae_vit", "mae", "student"),
}


def test_each_method_that_the_slides_explain_is_run_and_probed_in_a_table_of_ours():
    cases = {case.recipe.name: case for case in paper().cases}
    assert {
        name: (case.model.name, str(case.recipe.pretraining.objective), case.recipe.pretraining.judged)
        for name, case in cases.items()
    } == METHODS
    for case in cases.values():
        assert (case.table, case.dataset, str(case.objective), case.claims) == ("methods", "cifar10", "ce", ())
        recipe = case.recipe
        assert (recipe.probe, recipe.knn, recipe.phases, recipe.quick) == ("linear", True, (), ())
        assert recipe.pretraining.dataset == ""  # the images of the case, without their labels
        assert recipe.has_quick
    table = next(one for one in paper().tables if one.id == "methods")
    assert table.columns == (("cifar10", "accuracy"), ("cifar10", "knn"))
    assert table.printed == ()


@pytest.mark.parametrize(("budget", "dataset"), [("quick", "digits"), ("short", "cifar10"), ("paper", "cifar10")])
def test_under_each_budget_there_are_the_methods_and_both_networks_from_scratch(budget, dataset):
    found = Selection(budget=Budget(budget)).cases([paper()])
    rows = [(model, name) for name, (model, *_) in METHODS.items()]
    rows += [("vit_lite_7_4", "scratch"), ("mae_vit", "scratch")]
    assert sorted((case.model.name, case.recipe.name) for case in found) == sorted(rows)
    assert {case.dataset for case in found} == {dataset}
    # A linear probe takes no step that could be timed: its pre-training does.
    assert {case.recipe.kind for case in trained(found, Budget(budget))} == {"pretraining"}
    assert len(list(trained(found, Budget(budget)))) == len(METHODS)


@pytest.mark.parametrize(
    ("recipe", "versions", "crops", "turned"),
    [
        ("simclr", 2, 0, False),
        ("dino", 2, 8, False),
        ("jigsaw", 1, 0, False),
        ("rotation", 1, 0, True),
        ("mae", 1, 0, False),
    ],
)
def test_a_method_sees_what_its_authors_show_it(recipe, versions, crops, turned):
    (phase,) = paper().recipes[recipe].pretraining.phases
    assert phase.versions == versions
    assert sum(view.count for view in phase.views if view.is_local) == crops
    assert (phase.turning is not None) is turned


def test_every_number_of_the_slides_is_printed_only_and_says_why():
    printed = [one for table in paper().tables for one in table.printed]
    assert Counter((one.claim.status, one.recipes) for one in printed) == {(Status.PRINTED_ONLY, ()): 146}
    quoted = [one for one in printed if one.label]
    assert len(quoted) == 122
    assert all(one.claim.reason.startswith("quoted: the slide does not say how it was ") for one in quoted)
    rest = {one.claim.reason for one in printed if not one.label}
    assert rest == {"of single layers, which nothing is trained with"}


def million(network):
    return sum(one.numel() for one in network.parameters()) / 1e6


def counted(reference):
    """Parameters in millions of timm's network with its classifier for the 1000 classes of ImageNet."""
    with torch.device("meta"):
        return million(timm.create_model(reference.removeprefix("timm/"), num_classes=1000))


# Ours of what does not come out: with the classifier, and without where the note says it.
OTHER = {"vit_b_16": ("86.57", "85.80"), "vit_b_32": ("88.22", "87.46"), "vit_l_16": ("304.33", "303.30")}


def test_printed_sizes_are_those_of_timm_or_a_note_says_what_they_are():
    table = next(one for one in paper().tables if one.id == "imagenet-size")
    other = {}
    for one in table.printed:
        if one.claim.metric == "params":
            ours = counted(paper().models[one.model].full)
            if round(ours) != one.claim.value:
                other[one.model] = f"{ours:.2f}"
                assert f"{ours:.2f} M with the classifier of 1000 classes" in one.claim.note
                assert f"{OTHER[one.model][1]} M without" in one.claim.note
            else:
                assert not one.claim.note
    assert other == {model: whole for model, (whole, _) in OTHER.items()}


def test_without_a_classifier_the_networks_have_what_the_notes_say():
    for model, (_, without) in OTHER.items():
        with torch.device("meta"):
            network = timm.create_model(paper().models[model].full.removeprefix("timm/"), num_classes=0)
        assert f"{million(network):.2f}" == without


# Published sizes of whole networks, by torchvision.
@pytest.mark.parametrize(
    ("model", "theirs", "params"),
    [
        ("resnet50", "resnet50", 25.557032),
        ("resnet101", "resnet101", 44.549160),
        ("resnet152", "resnet152", 60.192808),
        ("vit_b_16", "vit_b_16", 86.567656),
        ("vit_b_32", "vit_b_32", 88.224232),
        ("vit_l_16", "vit_l_16", 304.326632),
        ("vit_l_32", "vit_l_32", 306.535400),
    ],
)
def test_a_name_of_the_slides_is_the_network_that_torchvision_has_under_it(model, theirs, params):
    with torch.device("meta"):
        assert million(torchvision.models.get_model(theirs)) == params
    assert counted(paper().models[model].full) == params


def two_linear(length, width, hidden):
    """Parameters and multiplications of (X W1) W2, X being length x width."""
    return 2 * width * hidden, length * width * hidden + length * hidden * width


def self_attention(length, width):
    """Likewise of (X WQ) (X WK)^T (X WV) WO, from the left: three projections, scores, values, output."""
    projections = 4 * length * width * width
    return 4 * width * width, projections + length * width * length + length * length * width


@pytest.mark.parametrize("length", [50, 784, 1_048_576])
@pytest.mark.parametrize("layer", ["linear", "attention"])
def test_the_exercise_comes_out(layer, length):
    params, macs = two_linear(length, WIDTH, HIDDEN) if layer == "linear" else self_attention(length, WIDTH)
    found = {row["metric"]: float(row["value"]) for row in rows() if row["model"] == f"{layer}_{length}"}
    assert found == {
        "params": params / 1e6,
        "macs": pytest.approx(macs / 1e9, rel=1e-9),  # `claims` prints ten digits
        "output_tokens": length,
        "output_width": WIDTH,
    }
    exact = [one for table in paper().tables for one in table.printed if one.model == f"{layer}_{length}"]
    assert next(one.claim.value for one in exact if one.claim.metric == "macs") == macs / 1e9
    assert {one.claim.convention for one in exact if one.claim.metric == "macs"} == {"matmul+conv"}


def test_the_closed_forms_are_what_torch_counts_of_the_layers():
    length = 50
    x, w1, w2 = torch.rand(length, WIDTH), torch.rand(WIDTH, HIDDEN), torch.rand(HIDDEN, WIDTH)
    q, k, v, o = (torch.rand(WIDTH, WIDTH) for _ in range(4))
    with torch.utils.flop_counter.FlopCounterMode(display=False) as linear:
        first = (x @ w1) @ w2
    with torch.utils.flop_counter.FlopCounterMode(display=False) as attention:
        second = ((x @ q) @ (x @ k).T) @ (x @ v) @ o
    assert first.shape == second.shape == (length, WIDTH)
    assert (w1.numel() + w2.numel(), linear.get_total_flops() // 2) == two_linear(length, WIDTH, HIDDEN)
    products = attention.get_total_flops() // 2
    assert (sum(one.numel() for one in (q, k, v, o)), products) == self_attention(length, WIDTH)


def test_what_the_slides_conclude_holds_in_print():
    _, found = conclusions.conclusion_table(paper(), Results([]), ["paper"])
    assert [row[2:] for row in found] == [["holds", "not run"]] * 3
