"""What the data file says the paper prints: complete, free of slips, and judged by its own words."""

import csv
import io
from collections import Counter
from functools import cache, partial

import pytest
from _pytest.mark.expression import Expression

from vitbench import cli, leaves, papers
from vitbench.case import Budget, Status
from vitbench.conclusions import Holding
from vitbench.identity import of_run
from vitbench.selection import Selection, sizes, timings

VTS = ("cvt_13", "swin_tiny", "t2t_vit_14")
SETTLED = {"cvt_13": 0.1, "swin_tiny": 0.5, "t2t_vit_14": 0.1, "resnet50": 0.5}
DOMAINNET = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
TEN = ("cifar10", "cifar100", "flowers102", "svhn", *DOMAINNET)


@cache
def paper():
    return next(one for one in papers.load_all() if one.name == "liu2021")


def table(name):
    return next(one for one in paper().tables if one.id == name)


@cache
def rows():
    return tuple(papers.claims((paper(),)))


def values(name, metric="accuracy", source="printed"):
    """Every value of a metric in a table, by model, objective, data set and recipe, as text."""
    return {
        (row["model"], row["objective"], row["dataset"], row["recipe"]): row["value"]
        for row in rows()
        if (row["table"], row["metric"], row["source"]) == (name, metric, source)
    }


def test_it_has_every_number_that_is_printed():
    found = Counter((row["table"], row["metric"], row["source"]) for row in rows())
    assert found == {
        ("1", "train_images", "printed"): 12,
        ("1", "test_images", "printed"): 12,
        ("1", "classes", "printed"): 12,
        ("2a", "accuracy", "printed"): 5,
        ("2b", "accuracy", "printed"): 12,
        ("3", "accuracy", "printed"): 12,
        ("3", "accuracy_std", "printed"): 6,
        ("3", "gain", "printed"): 6,
        ("3", "params", "printed"): 6,
        ("4", "accuracy", "printed"): 80,
        ("4", "gain", "printed"): 40,
        ("4", "accuracy", "rerun"): 2,
        ("5", "accuracy", "printed"): 60,
        ("5", "gain", "printed"): 30,
    }
    assert len({tuple(row.values()) for row in rows()}) == len(rows()) == 295


# Read off the paper a second time, by a program that knows nothing of the data file: how many numbers stand in a
# column, their sum and the sum of number times row, in hundredths, top to bottom. A wrong digit changes the first sum,
# two numbers in each other's place the second.
CHECKSUMS = {
    ("4", "cifar10", "accuracy"): (8, 67824, 310860),
    ("4", "cifar10", "gain"): (4, 2932, 6123),
    ("4", "cifar100", "accuracy"): (8, 54645, 247438),
    ("4", "cifar100", "gain"): (4, 1697, 3608),
    ("4", "flowers102", "accuracy"): (8, 34511, 150227),
    ("4", "flowers102", "gain"): (4, 1021, 2250),
    ("4", "svhn", "accuracy"): (8, 73749, 337704),
    ("4", "svhn", "gain"): (4, 2773, 5286),
    ("4", "clipart", "accuracy"): (8, 43007, 197511),
    ("4", "clipart", "gain"): (4, 1873, 4637),
    ("4", "infograph", "accuracy"): (8, 11480, 52123),
    ("4", "infograph", "gain"): (4, 623, 1637),
    ("4", "painting", "accuracy"): (8, 37159, 166909),
    ("4", "painting", "gain"): (4, 1525, 3917),
    ("4", "quickdraw", "accuracy"): (8, 51689, 240303),
    ("4", "quickdraw", "gain"): (4, 4611, 9267),
    ("4", "real", "accuracy"): (8, 60184, 270207),
    ("4", "real", "gain"): (4, 378, 814),
    ("4", "sketch", "accuracy"): (8, 36822, 172898),
    ("4", "sketch", "gain"): (4, 4714, 11322),
    ("5", "cifar10", "accuracy"): (6, 58860, 205857),
    ("5", "cifar10", "gain"): (3, 66, 99),
    ("5", "cifar100", "accuracy"): (6, 52269, 181871),
    ("5", "cifar100", "gain"): (3, 71, 145),
    ("5", "flowers102", "accuracy"): (6, 58561, 204398),
    ("5", "flowers102", "gain"): (3, 41, 77),
    ("5", "svhn", "accuracy"): (6, 58251, 203899),
    ("5", "svhn", "gain"): (3, 305, 444),
    ("5", "clipart", "accuracy"): (6, 45656, 159834),
    ("5", "clipart", "gain"): (3, 992, 1413),
    ("5", "infograph", "accuracy"): (6, 26008, 91946),
    ("5", "infograph", "gain"): (3, 1228, 1962),
    ("5", "painting", "accuracy"): (6, 42659, 147318),
    ("5", "painting", "gain"): (3, 287, 790),
    ("5", "quickdraw", "accuracy"): (6, 44458, 154125),
    ("5", "quickdraw", "gain"): (3, 40, 69),
    ("5", "real", "accuracy"): (6, 50116, 173390),
    ("5", "real", "gain"): (3, 28, 57),
    ("5", "sketch", "accuracy"): (6, 42561, 147148),
    ("5", "sketch", "gain"): (3, 97, 182),
}


@pytest.mark.parametrize("column", CHECKSUMS, ids="-".join)
def test_a_column_adds_up_to_what_the_paper_adds_up_to(column):
    name, dataset, metric = column
    found = [round(float(value) * 100) for key, value in values(name, metric).items() if key[2] == dataset]
    assert (len(found), sum(found), sum(n * value for n, value in enumerate(found, 1))) == CHECKSUMS[column]


def test_table_1_as_it_is_printed():
    printed = """
        imagenet     1281167  100000  1000
        imagenet100   126689    5000   100
        cifar10        50000   10000    10
        cifar100       50000   10000   100
        flowers102      2040    6149   102
        svhn           73257   26032    10
        clipart        33525   14604   345
        infograph      36023   15582   345
        painting       50416   21850   345
        quickdraw     120750   51750   345
        real          120906   52041   345
        sketch         48212   20916   345
    """
    metrics = ("train_images", "test_images", "classes")
    found = {row["dataset"]: [] for row in rows() if row["table"] == "1"}
    for row in rows():
        if row["table"] == "1":
            assert row["metric"] == metrics[len(found[row["dataset"]])]
            assert [row[key] for key in ("model", "objective", "recipe", "status")] == ["", "", "", "printed-only"]
            found[row["dataset"]].append(row["value"])
    assert [[name, *numbers] for name, numbers in found.items()] == [line.split() for line in printed.split("\n")[1:-1]]


def test_the_loaders_have_as_many_images_and_classes_as_table_1_says():
    constants = {"train_images": "TRAIN", "test_images": "TEST", "classes": "CLASSES"}
    other = {}
    for row in rows():
        if row["table"] == "1":
            ours = leaves.find("datasets", row["dataset"]).constant(constants[row["metric"]])
            if ours != int(row["value"]):
                other[row["dataset"], row["metric"]] = ours
    assert other == {("imagenet", "test_images"): 50_000}  # the validation images
    (noted,) = (one for one in table("1").printed if one.claim.note)
    assert (noted.dataset, noted.claim.metric) == ("imagenet", "test_images")


def test_tables_2a_and_2b_as_they_are_printed():
    pairs = dict(zip((None, 32, 64, 128, 256), ("53.28", "63.70", "66.23", "65.16", "64.87"), strict=True))
    names = {None: "ce", 64: "ce + 0.5*drloc"} | {n: f"ce + 0.5*drloc(pairs={n})" for n in (32, 128, 256)}
    assert values("2a") == {("swin_tiny", names[n], "cifar100", "paper"): value for n, value in pairs.items()}
    printed = {"cvt_13": "73.50 74.51 74.07 72.84", "swin_tiny": "53.28 58.15 66.23 64.28"}
    printed["t2t_vit_14"] = "65.16 68.03 67.03 66.53"
    weights = ("ce", "ce + 0.1*drloc", "ce + 0.5*drloc", "ce + drloc")  # 0.0, 0.1, 0.5, 1.0
    assert values("2b") == {
        (model, objective, "cifar100", "paper"): value
        for model in VTS
        for objective, value in zip(weights, printed[model].split(), strict=True)
    }


def test_table_3_as_it_is_printed():
    printed = """
        20 85.62 0.05 ----- 90.16 -----
        20 86.09 0.12  0.47 90.28  0.12
        29 82.66 0.10 ----- 89.68 -----
        29 83.95 0.05  1.29 90.32  0.64
        22 82.67 0.01 ----- 87.76 -----
        22 83.74 0.08  1.07 88.16  0.40
    """
    lines = iter(line.split() for line in printed.split("\n")[1:-1])
    for model in VTS:
        for objective in ("ce", f"ce + {SETTLED[model]}*drloc"):
            cell = (model, objective, "imagenet100")
            found = [values("3", "params")[model, objective, "", ""].removesuffix(".00")]
            found += [
                values("3", metric).get((*cell, "paper"), "-----") for metric in ("accuracy", "accuracy_std", "gain")
            ]
            found += [values("3", metric).get((*cell, "paper-300"), "-----") for metric in ("accuracy", "gain")]
            assert found == next(lines)


def test_the_authors_own_second_run_stands_beside_what_they_printed():
    assert values("4", source="rerun") == {
        ("swin_tiny", "ce", "cifar10", "rerun"): "86.17",
        ("swin_tiny", "ce + 0.5*drloc", "cifar10", "rerun"): "88.29",
    }
    assert values("4")["swin_tiny", "ce", "cifar10", "paper"] == "59.47"
    case = next(one for one in paper().cases if one.id == "liu2021/4/swin_tiny/ce/cifar10/rerun")
    assert case.claim("accuracy").value == 86.17
    assert "batch of 128" in case.claim("accuracy").note


def test_every_printed_gain_is_the_difference_of_the_printed_accuracies_but_for_two():
    wrong = {}
    for name in ("3", "4", "5"):
        plain = {(key[0], *key[2:]): value for key, value in values(name).items() if key[1] == "ce"}
        for key, gain in values(name, "gain").items():
            difference = round(100 * float(values(name)[key])) - round(100 * float(plain[key[0], *key[2:]]))
            if difference != round(100 * float(gain)):
                wrong[key[0], key[2]] = (gain, difference)
    assert wrong == {("cvt_13", "infograph"): ("0.67", 66), ("cvt_13", "real"): ("0.68", 72)}
    noted = {(one.model, one.dataset): one.claim.note for one in table("4").printed if one.claim.metric == "gain"}
    assert {cell: note for cell, note in noted.items() if note} == {
        ("cvt_13", "infograph"): "misprint: 20.05 - 19.39 is +0.66",
        ("cvt_13", "real"): "misprint: 77.05 - 76.33 is +0.72",
    }


def test_a_model_under_an_objective_has_one_accuracy_whatever_table_prints_it():
    found = {}
    for name in ("2a", "2b", "4"):
        for key, value in values(name).items():
            assert found.setdefault(key, value) == value, (name, key)


@pytest.mark.parametrize("name", ["2a", "2b", "3", "4", "5"])
def test_models_stand_in_printed_order(name):
    order = list(dict.fromkeys(case.model.name for case in table(name).cases))
    assert order == [model for model in SETTLED if model in order]


def test_what_is_missing_to_run_a_cell_is_said_with_its_reason():
    found = {
        name: {(case.dataset, claim.status) for case in table(name).cases for claim in case.claims} for name in "345"
    }
    assert found["3"] == {("imagenet100", Status.NEEDS_DATA)}
    at_hand = {(name, Status.RUNNABLE) for name in TEN if name not in DOMAINNET}
    assert found["4"] == at_hand | {(name, Status.NEEDS_DATA) for name in DOMAINNET}
    assert found["5"] == {(name, Status.NEEDS_WEIGHTS) for name in TEN}
    for one in (one for table in paper().tables for one in table.printed):
        assert bool(one.claim.reason) == (one.claim.status != Status.RUNNABLE)


def test_every_cell_from_scratch_is_run_by_the_text_and_by_the_code():
    readings = {name: Counter(case.reading for case in table(name).cases) for name in ("2a", "2b", "3", "4", "5")}
    assert readings == {
        "2a": {"paper": 5, "code": 5},
        "2b": {"paper": 12, "code": 12},
        "3": {"paper": 6, "code": 6, "paper-300": 6, "code-300": 6},
        "4": {"paper": 80, "code": 80, "rerun": 2},
        "5": {"": 60},
    }
    assert {case.recipe.name for case in table("5").cases} == {"finetune"}
    assert "cvt_13" not in {case.model.name for case in table("5").cases}


# Section 3 and Equations 1 and 2 of the text; `main.py`, `drloc/losses.py` and `drloc/aux_modules.py` of the code.
@pytest.mark.parametrize(
    ("names", "arguments"),
    [
        (("paper", "paper-300"), {"unit": "grid", "reduction": "image", "pooling": "2x2"}),
        (("code", "code-300", "rerun"), {"unit": "cells", "reduction": "mean", "pooling": "3x3"}),
    ],
)
def test_the_two_protocols_differ_in_the_loss(names, arguments):
    for case in paper().cases:
        if case.reading in names:
            assert case.defaults["drloc"] == {"pairs": 64, "sharing": "image", "side": 7} | arguments


# What the authors' `config.py` says of 8 x 128 images, and their logs of 128.
@pytest.mark.parametrize(
    ("name", "epochs", "batch", "rates", "length"),
    [
        ("paper", 100, 1024, (1e-3, 1e-6, 1e-5), 100),
        ("code", 101, 1024, (1e-3, 1e-6, 1e-5), 300),
        ("paper-300", 300, 1024, (1e-3, 1e-6, 1e-5), 300),
        ("code-300", 300, 1024, (1e-3, 1e-6, 1e-5), 300),
        ("rerun", 101, 128, (1.25e-4, 1.25e-7, 1.25e-6), 300),
    ],
)
def test_the_recipe_is_that_of_the_code(name, epochs, batch, rates, length):
    recipe = paper().recipes[name]
    (phase,) = recipe.phases
    assert (phase.epochs, phase.batch_size, phase.clip_grad) == (epochs, batch, 5.0)
    assert rates == pytest.approx([5e-4 * batch / 512, 5e-7 * batch / 512, 5e-6 * batch / 512])
    schedule = {"name": "cosine", "warmup_epochs": 20, "warmup_lr": rates[1], "min_lr": rates[2]}
    assert phase.schedule == schedule | ({} if length == epochs else {"epochs": length})
    assert phase.optimizer == {"name": "adamw", "lr": rates[0], "weight_decay": 0.05}
    assert str(phase.mixing) == "mix(cutmix=1.0, mixup=0.8, smoothing=0.1)"
    assert [call.name for call in phase.augmentation] == ["random_resized_crop", "flip", "rand_augment", "erase"]
    assert (recipe.selection, recipe.start, recipe.image_size) == ("best", "scratch", 224)
    assert [str(call) for call in recipe.evaluation] == ["resize(size=256)", "centre_crop(size=224)"]
    moves = {"drloc": {"rise_epochs": 20, "end_epoch": 300}} if recipe.protocol == "code" else {}
    assert phase.weights == moves


def test_fine_tuning_is_ours_starts_from_published_weights_and_has_no_quick_form():
    recipe = paper().recipes["finetune"]
    assert (recipe.start, recipe.quick, recipe.phases[0].epochs) == ("published", (), 100)
    assert recipe.phases[0].optimizer["lr"] == pytest.approx(1e-4 * (128 / 1024) ** 0.5, rel=0.02)
    assert recipe.phases[0].batch_size == 128


def selected(expression, budget):
    selects = Expression.compile(expression).evaluate
    cases = Selection(budget=budget).cases(papers.load_all())
    return [case for case in cases if selects(lambda name, case=case, **_: name.lower() in case.id.lower())]


def test_quick_runs_every_model_at_its_weight_by_both_protocols():
    cases = selected("liu2021", Budget.QUICK)
    assert {(case.model.name, str(case.objective), case.reading) for case in cases} == {
        (model, objective, reading)
        for model, weight in SETTLED.items()
        for objective in ("ce", f"ce + {weight}*drloc")
        for reading in ("paper", "code")
    }
    assert {case.dataset for case in cases} == {"digits"}
    assert Counter(case.table for case in cases) == {"2a": 4, "2b": 12, "3": 12, "4": 16}
    assert len({of_run(case, budget=Budget.QUICK).key for case in cases}) == 16


@pytest.mark.parametrize(
    ("expression", "budget", "count"),
    [
        ("liu2021", Budget.PAPER, 280),
        ("liu2021 and code", Budget.PAPER, 5 + 12 + 12 + 80),
        ("liu2021 and paper", Budget.PAPER, 5 + 12 + 12 + 80),
        ("liu2021 and rerun", Budget.PAPER, 2),
        ("liu2021 and 300", Budget.PAPER, 12),
        ("liu2021 and pairs32", Budget.PAPER, 2),
        ("liu2021 and code", Budget.QUICK, 22),
        ("liu2021 and paper", Budget.QUICK, 22),
        ("liu2021 and drloc", Budget.QUICK, 22),
    ],
)
def test_short_expressions_select_what_they_say(expression, budget, count):
    assert len(selected(expression, budget)) == count


def test_drloc_selects_the_rows_with_the_term_of_every_paper():
    cases = selected("drloc", Budget.QUICK)
    assert {case.paper for case in cases} == {"floros2024", "liu2021"}
    assert all("drloc" in case.objective.names for case in cases)
    assert {case.paper for case in selected("paper", Budget.QUICK)} == {"liu2021"}
    assert {case.reading for case in selected("paper", Budget.QUICK)} == {"paper"}


@pytest.mark.parametrize("budget", list(Budget))
def test_every_case_can_be_selected_by_its_id(budget):
    for case in Selection(budget=budget, all_rows=True).cases([paper()]):
        assert Expression.compile(case.id).evaluate(lambda name, case=case, **_: name in case.id)


def test_many_cells_stand_on_few_runs():
    cases = Selection(budget=Budget.PAPER).cases([paper()])
    runs = {of_run(case, budget=Budget.PAPER).key for case in cases}
    # On CIFAR-100, 2 rows of Table 2a stand in 2b as well, and 6 of 2b in Table 4; each is read twice.
    assert len(runs) == 280 - 2 * (2 + 6)


def test_sizes_are_those_of_four_networks_and_as_many_numbers_of_classes():
    cases = sizes([paper()], selected("liu2021", Budget.QUICK))
    classes = ("cifar10", "cifar100", "clipart", "flowers102")  # 10, 100, 345, 102
    assert sorted(case.id for case in cases) == sorted(
        f"liu2021/size/{model}/{terms}/{dataset}"
        for model in SETTLED
        for terms in ("ce", "ce+drloc")
        for dataset in classes
    )


def test_speeds_do_not_depend_on_the_reading():
    found = [case.id for case in timings(selected("liu2021", Budget.QUICK))]
    assert sorted(found) == sorted(
        f"liu2021/speed/{model}/{terms}/digits" for model in SETTLED for terms in ("ce", "ce+drloc")
    )


def test_the_command_prints_each_number_once(capsys):
    assert cli.main(["claims", "--csv"]) == 0
    found = [row for row in csv.DictReader(io.StringIO(capsys.readouterr().out)) if row["paper"] == "liu2021"]
    assert len(found) == 295
    assert found == [dict(row) for row in rows()]


def printed_rows(reading, table, model, dataset, metric):
    cases = [case for case in table.under(reading).cases if (case.model.name, case.dataset) == (model, dataset)]
    claims = [(case.objective, case.claim(metric)) for case in cases]
    return [(objective, claim.value, 0.0) for objective, claim in claims if claim]


def in_print():
    """Of each conclusion, what the printed numbers say under every reading but the re-run of two cells."""
    for conclusion in paper().conclusions:
        own = table(conclusion.table)
        found = {
            conclusion.judge(partial(printed_rows, reading, own)) for reading in own.readings if reading != "rerun"
        }
        yield conclusion, found


def test_of_its_conclusions_its_own_numbers_contradict_two():
    found = {conclusion.text: held for conclusion, held in in_print()}
    assert len(found) == len(paper().conclusions) == 20
    assert {text for text, held in found.items() if held == {Holding.CONTRADICTED}} == {
        "L_drloc has always improved the results of the tested baselines",  # ResNet-50 on Sketch: 60.08, 59.62
        "CvT is between 20 and 25 points above T2T on Sketch, Painting and Flowers102",  # Sketch: 56.98 - 31.51 = 25.47
    }
    assert all(len(held) == 1 for held in found.values())
    assert set.union(*found.values()) == {Holding.HOLDS, Holding.CONTRADICTED}


def test_always_fails_for_nothing_but_resnet_on_sketch():
    losses = {
        (name, key[0], key[2]): value
        for name in ("3", "4", "5")
        for key, value in values(name, "gain").items()
        if float(value) <= 0
    }
    assert losses == {("4", "resnet50", "sketch"): "-0.46"}
