"""The identity of a run: changed by all that determines the result, and by nothing else."""

import importlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vitbench import identity, leaves, papers
from vitbench.case import Budget, Case, Claim, Elsewhere, Model, Phase, Pretraining, Recipe, View
from vitbench.errors import UserError
from vitbench.identity import digest, of_run, of_size, of_timing
from vitbench.objective import Call, Objective, WeightedTerm, parse
from vitbench.selection import Selection

ROOT = Path(__file__).parent.parent
PHASE = Phase(
    epochs=100,
    batch_size=128,
    optimizer={"name": "adam", "lr": 1e-4, "weight_decay": 0.0},
    schedule={"name": "constant"},
)
TINY = replace(PHASE, epochs=25, batch_size=64)
RECIPE = Recipe(name="scratch", protocol="paper", selection="last", phases=(PHASE,), quick=(TINY,))
DEFAULTS = {"drloc": {"pairs": 32}, "me": {"ratio": 0.75, "depth": 4}}
VIT = Model(name="vit", full="vit/floros2024", tiny="vit/tiny", printed="ViT")
CASE = Case(
    paper="mine",
    table="4.1",
    model=VIT,
    objective=parse("ce + 0.1*me"),
    dataset="cifar10",
    recipe=RECIPE,
    defaults=DEFAULTS,
    claims=(Claim(metric="accuracy", value=60.0),),
)


def case(objective=None, **changes):
    return replace(CASE, **({"objective": parse(objective)} if objective else {}), **changes)


def run_of(one=CASE, **changes):
    return of_run(one, **({"budget": Budget.PAPER} | changes))


@pytest.mark.parametrize(
    "same",
    [
        case(table="4.6"),
        case(paper="another"),
        case(claims=()),
        case(model=replace(VIT, name="v", printed="Vision Transformer", tiny="cvt/tiny")),
        case(recipe=replace(RECIPE, name="other", protocol="code", selection="best", quick=())),
        case("0.1*me + ce"),
        case("ce + 0.10*me"),
        case("ce + 0.1*me(ratio=0.75)"),
        case("ce + 0.1*me(depth=4, ratio=0.75)"),
        case("ce + 0.1*me(heads=4)"),
        case(defaults={"me": {"depth": 4, "ratio": 0.75}}),
        case("ce + 0.1*me(ratio=0.75)", defaults={"me": {"depth": 4}}),
    ],
)
def test_what_does_not_change_the_result_does_not_change_the_run(same):
    assert run_of(same) == run_of()
    assert run_of(same).key == run_of().key
    assert run_of(same).name == run_of().name


DIFFERENT = {
    "weight": run_of(case("ce + 0.2*me")),
    "weight in its last digit": run_of(case("ce + 0.10000000000000002*me")),
    "term": run_of(case("ce + 0.1*drloc")),
    "one term more": run_of(case("ce + 0.1*drloc + 0.1*me")),
    "argument of a term": run_of(case("ce + 0.1*me(ratio=0.85)")),
    "default of the paper": run_of(case(defaults={"me": {"ratio": 0.75, "depth": 3}})),
    "model": run_of(case(model=replace(VIT, full="cvt/floros2024"))),
    "variant": run_of(case(model=replace(VIT, full="vit/tiny"))),
    "data set": run_of(case(dataset="cifar100")),
    "seed": run_of(seed=1),
    "precision": run_of(precision="bf16"),
    "budget": run_of(budget=Budget.SHORT),
    "epochs": run_of(case(recipe=replace(RECIPE, phases=(replace(PHASE, epochs=99),)))),
    "batch size": run_of(case(recipe=replace(RECIPE, phases=(replace(PHASE, batch_size=64),)))),
    "optimizer": run_of(case(recipe=replace(RECIPE, phases=(replace(PHASE, optimizer={"name": "adam", "lr": 1}),)))),
    "schedule": run_of(case(recipe=replace(RECIPE, phases=(replace(PHASE, schedule={"name": "cosine"}),)))),
    "augmentation": run_of(case(recipe=replace(RECIPE, phases=(replace(PHASE, augmentation=(Call(name="flip"),)),)))),
    "clipping": run_of(case(recipe=replace(RECIPE, phases=(replace(PHASE, clip_grad=1.0),)))),
    "one phase more": run_of(case(recipe=replace(RECIPE, phases=(PHASE, PHASE)))),
    "digest of the data": replace(run_of(), data="another"),
    "version of a leaf": replace(run_of(), versions=run_of().versions | {"terms/me": "2"}),
    "kind": replace(run_of(), kind="size"),
    "machine": replace(run_of(), machine={"device": "h200"}),
}  # fmt: skip


@pytest.mark.parametrize("changed", DIFFERENT)
def test_everything_that_changes_the_result_changes_the_run(changed):
    assert DIFFERENT[changed].key != run_of().key


def test_no_two_different_runs_share_a_key_or_a_name():
    runs = [run_of(), *DIFFERENT.values()]
    assert len({one.key for one in runs}) == len({one.name for one in runs}) == len(runs)


@pytest.mark.parametrize(
    ("kind", "name", "constant"),
    [
        ("models", "vit", "VERSION"),
        ("terms", "me", "VERSION"),
        ("terms", "ce", "VERSION"),
        ("datasets", "cifar10", "VERSION"),
    ],
)
def test_raising_the_version_of_a_leaf_makes_another_run(kind, name, constant, monkeypatch):
    before = run_of().key
    leaf = leaves.find(kind, name)
    changed = leaves.Leaf(kind, name, leaf.module, leaf.attribute, leaf.path)
    changed.__dict__["constants"] = leaf.constants | {constant: 999}
    find = leaves.find
    monkeypatch.setattr(leaves, "find", lambda *one, **more: changed if one == (kind, name) else find(*one, **more))
    assert run_of().key != before


def test_another_digest_of_the_data_makes_another_run(monkeypatch):
    before = run_of().key
    monkeypatch.setitem(leaves.find("datasets", "cifar10").constants, "DIGEST", "another")
    assert run_of().key != before


def test_a_run_stands_on_the_versions_of_all_that_it_uses():
    assert run_of().versions.keys() == {
        "models/vit",
        "terms/ce",
        "terms/me",
        "datasets/cifar10",
        "train",
        "learner",
        "measure/accuracy",
        "measure/attack",
    }
    assert DIFFERENT["augmentation"].versions.keys() == run_of().versions.keys() | {"augment", "feed"}


def test_a_run_stands_on_the_operations_that_its_recipe_names_and_on_no_others():
    calls = (Call(name="random_resized_crop", arguments={"size": 32}), Call(name="flip"))
    run = run_of(case(recipe=replace(RECIPE, phases=(replace(PHASE, augmentation=calls),))))
    used = {"augment", "feed", "augmentations/geometry", "augmentations/levels", "augmentations/shares"}
    assert run.versions.keys() == run_of().versions.keys() | used
    assert run.versions["augmentations/geometry"] == "2"


@pytest.mark.parametrize(("model", "versioned"), [("timm/resnet18", True), ("vit/tiny", False), ("t2t/tiny", False)])
def test_a_network_of_timms_stands_on_the_version_of_timm_and_ours_do_not(model, versioned, monkeypatch):
    one = case(model=Model(name="m", full=model, tiny=model, printed="M"))
    before = run_of(one), of_size(one)
    monkeypatch.setattr(identity, "installed", lambda package: f"another {package}")
    assert run_of(one).versions.get("timm") == ("another timm" if versioned else None)
    assert (run_of(one) != before[0]) is versioned
    assert (of_size(one).versions.get("timm") != before[1].versions.get("timm")) is versioned


def test_every_version_is_read_from_its_file():
    for name, version in run_of().versions.items():
        text = (ROOT / "vitbench" / f"{name}.py").read_text()
        assert version == re.search(r"^VERSION = (\d+)", text, re.MULTILINE)[1], name


def test_the_quick_budget_has_tiny_models_tiny_terms_and_its_own_phases():
    quick = run_of(budget=Budget.QUICK)
    assert quick.model == "vit/tiny"
    tiny = leaves.find("terms", "me").constants["TINY"]
    assert tiny
    assert quick.objective == parse("ce + 0.1*me").with_arguments({"me": tiny})  # the paper's ratio is me's own
    assert quick.phases == (TINY,)


THERE = Elsewhere(least_steps=1_600, augmentation=(Call(name="flip"),))
LASTING = replace(RECIPE, quick=(replace(TINY, elsewhere=THERE),))


def test_few_images_that_are_not_embedded_get_the_least_steps_and_the_run_says_how_many_epochs_that_is():
    few = case(dataset="flowers102_official", recipe=LASTING)  # 1,020 images, 15 batches of 64
    run = run_of(few, budget=Budget.QUICK)
    assert [one.epochs for one in run.phases] == [107]
    written = replace(few, recipe=replace(RECIPE, quick=(replace(TINY, epochs=107, augmentation=THERE.augmentation),)))
    assert run == run_of(written, budget=Budget.QUICK)
    assert run.key == run_of(written, budget=Budget.QUICK).key
    assert run.content()["phases"][0].keys() == run_of().content()["phases"][0].keys()
    assert "elsewhere" not in run.content()["phases"][0]
    assert "augment" in run.versions
    timed = {"kind": "training", "budget": Budget.QUICK, "precision": "fp32", "machine": {}}
    assert of_timing(few, **timed) == of_timing(written, **timed)


def test_the_embedded_images_and_many_images_are_seen_as_often_as_the_recipe_says():
    lasting, plain = (run_of(case(dataset="digits", recipe=one), budget=Budget.QUICK) for one in (LASTING, RECIPE))
    assert lasting == plain
    assert lasting.key == plain.key
    many = run_of(case(dataset="cifar10", recipe=LASTING), budget=Budget.QUICK)
    assert [(one.epochs, one.augmentation) for one in many.phases] == [(TINY.epochs, THERE.augmentation)]


def test_somebodys_data_set_that_does_not_say_how_many_images_it_has_is_seen_as_often_as_the_recipe_says(
    tmp_path, monkeypatch
):
    (tmp_path / "data_of_unknown_length.py").write_text(
        "DIGEST = 'x'\nIMAGE_SIZE = 32\nCLASSES = 10\ndef mine(root): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    one = case(dataset="data_of_unknown_length.mine", recipe=LASTING)
    assert [one.epochs for one in run_of(one, budget=Budget.QUICK).phases] == [TINY.epochs]


def test_what_the_notation_sets_stays_in_the_quick_budget():
    quick = run_of(case("ce + 0.1*me(depth=2, ratio=0.5)"), budget=Budget.QUICK)
    arguments = quick.objective.summands[1].term.arguments
    assert (arguments["depth"], arguments["ratio"]) == (2, 0.5)


@pytest.mark.parametrize("budget", Budget)
def test_writing_out_a_terms_own_default_changes_nothing(budget):
    plain = case("ce + 0.1*drloc", defaults={})
    assert run_of(case("ce + 0.1*drloc(sharing='batch')", defaults={}), budget=budget) == run_of(plain, budget=budget)
    assert "sharing" not in run_of(plain, budget=budget).objective.summands[1].term.arguments


def test_an_argument_that_a_term_gets_later_leaves_old_runs_valid(monkeypatch):
    before = run_of(case("ce + 0.1*drloc"))
    leaf = leaves.find("terms", "drloc")
    monkeypatch.setitem(vars(leaf), "defaults", {**leaf.defaults, "zeal": 0.5})
    assert run_of(case("ce + 0.1*drloc")).key == before.key
    assert run_of(case("ce + 0.1*drloc(zeal=0.5)")).key == before.key
    assert run_of(case("ce + 0.1*drloc(zeal=0.25)")).key != before.key


def test_the_papers_default_stands_before_the_terms_own():
    papers = {"drloc": {"pairs": 7}}
    assert run_of(case("ce + 0.1*drloc", defaults=papers)).objective == parse("ce + 0.1*drloc(pairs=7)")
    assert run_of(case("ce + 0.1*drloc(pairs=32)", defaults=papers)).objective == parse("ce + 0.1*drloc")


def test_the_short_budget_is_the_papers_network_for_a_tenth_of_the_epochs():
    short = run_of(budget=Budget.SHORT)
    assert short.model == "vit/floros2024"
    assert [phase.epochs for phase in short.phases] == [10]


def test_a_size_depends_on_no_weight_no_seed_no_phase_and_no_images():
    one = of_size(CASE)
    assert of_size(case("ce + 0.2*me")) == one
    assert (one.kind, one.phases, one.seed, one.data) == ("size", (), 0, "")
    assert one.model == "vit/floros2024"
    assert one.key != run_of().key


def test_a_size_depends_on_the_number_of_classes():
    assert of_size(case(dataset="cifar100")).key != of_size(CASE).key


TIMED = {"budget": Budget.PAPER, "precision": "fp32", "machine": {"device": "h200", "torch": "2.11"}}


def test_an_inference_has_no_objective_and_a_training_step_has():
    other = case("ce + 0.1*drloc")
    assert of_timing(CASE, kind="inference", **TIMED) == of_timing(other, kind="inference", **TIMED)
    assert of_timing(CASE, kind="training", **TIMED) != of_timing(other, kind="training", **TIMED)


def test_a_timing_belongs_to_its_machine():
    here = of_timing(CASE, kind="training", **TIMED)
    there = of_timing(CASE, kind="training", **(TIMED | {"machine": {"device": "another", "torch": "2.11"}}))
    assert here.key != there.key


LONG = Objective(summands=tuple(WeightedTerm(weight=1 / 3, term=Call(name=f"pkg.losses.term_{n}")) for n in range(500)))


@pytest.mark.parametrize(
    "absurd",
    [
        {"objective": LONG},
        {"model": "m" * 1000},
        {"dataset": "imagefolder:/" + "deep/" * 200},
        {"objective": LONG, "model": "m/" * 500, "dataset": "d" * 500, "seed": 10**18},
        {"model": "ünï/" * 100, "dataset": "日本" * 100},
        {"model": "../../etc/passwd", "dataset": "a\nb\0c"},
        {"model": "CON", "dataset": 'a<b>c:d"e|f?g*h'},
        {"model": "half \udc80 letter"},
    ],
)
def test_whatever_the_names_are_the_folder_can_be_made(absurd, tmp_path):
    one = replace(run_of(), **absurd)
    assert len(one.name.encode()) <= 255
    assert re.fullmatch(r"[A-Za-z0-9_.+-]+", one.name)
    (tmp_path / one.name).mkdir()
    assert one.name.endswith(one.key[:12])


def test_the_folder_says_what_the_run_is():
    assert run_of(case("ce + 0.1*drloc")).name.startswith("run_vit-floros2024_ce+0.1drloc_cifar10_paper_s0_")


def test_cut_names_stay_unique():
    longer = Objective(summands=(*LONG.summands, WeightedTerm(weight=1.0, term=Call(name="z"))))
    assert replace(run_of(), objective=LONG).name != replace(run_of(), objective=longer).name


def test_the_content_is_plain_data_that_the_key_is_the_digest_of():
    content = run_of().content()
    assert digest(content) == run_of().key
    assert content["objective"] == "ce + 0.1*me"
    assert content["phases"][0]["optimizer"] == {"name": "adam", "lr": 1e-4, "weight_decay": 0.0}


@pytest.mark.parametrize(
    ("missing", "dataset"),
    [("DIGEST", "CLASSES = 10\nIMAGE_SIZE = 32\n"), ("CLASSES", "DIGEST = 'x'\nIMAGE_SIZE = 32\n")],
)
def test_somebodys_data_set_without_what_is_needed_is_one_line(missing, dataset, tmp_path, monkeypatch):
    name = f"data_without_{missing.lower()}"
    (tmp_path / f"{name}.py").write_text(f"{dataset}def mine(root): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=rf"the data set '{name}.mine' needs a line `{missing} = …`"):
        run_of(case(dataset=f"{name}.mine"))


KEYS = """
from vitbench import papers
from vitbench.case import Budget
from vitbench.identity import of_run, of_size
from vitbench.selection import Selection
found = papers.load_all()
for budget in Budget:
    for case in Selection(budget=budget).cases(found):
        print(of_run(case, budget=budget).key, of_size(case).key)
"""


def test_somebodys_data_set_of_another_form_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "data_of_another_form.py").write_text(
        "DIGEST = 'x'\nIMAGE_SIZE = 32\nCLASSES = '10'\ndef mine(root): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="sets CLASSES to '10'; it must be a whole number from 1 up"):
        run_of(case(dataset="data_of_another_form.mine"))


def test_keys_are_the_same_in_every_process():
    def keys(seed):
        command, environment = [sys.executable, "-c", KEYS], os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    assert keys("1") == keys("2") != ""


def test_an_identity_never_changes():
    with pytest.raises(AttributeError):
        run_of().seed = 1


def test_the_core_is_versioned_by_its_own_files():
    """As Python has it once they are imported: of all files that the versions of an identity name."""
    cases = Selection(budget=Budget.PAPER).cases(papers.load_all())
    found = {name: value for case in cases for name, value in run_of(case, budget=Budget.PAPER).versions.items()}
    core = {name: value for name, value in found.items() if not name.startswith(("models/", "terms/", "datasets/"))}
    ours = {name: value for name, value in core.items() if (ROOT / "vitbench" / f"{name}.py").exists()}
    assert {"train", "learner", "augment", "measure/attack", "augmentations/erasing"} <= ours.keys()
    modules = {name: importlib.import_module(f"vitbench.{name.replace('/', '.')}") for name in ours}
    assert ours == {name: str(module.VERSION) for name, module in modules.items()}


def test_seeds_of_any_kind_give_the_key_that_they_have_by_themselves():
    for seed in (0, -1, 10**30, True, "5"):
        assert run_of().under(seed).key == run_of(seed=seed).key
        assert run_of().under(seed).content()["seed"] == seed


def test_names_that_are_no_strings_are_written_as_a_record_has_them():
    phase = replace(PHASE, optimizer={"name": "adam", "steps": {10: 1, 9: 2}})
    one = replace(run_of(), phases=(phase,))
    assert digest(one.content()) == one.key == one.under(0).key


def test_what_reads_as_the_place_of_a_seed_is_refused():
    with pytest.raises(AssertionError, match="place of a seed"):
        replace(run_of(), machine={"name": identity.SEED}).under(1)


AT_224 = replace(
    RECIPE,
    image_size=224,
    stored_size=256,
    evaluation=(Call(name="resize", arguments={"size": 256}), Call(name="centre_crop", arguments={"size": 224})),
)


@pytest.mark.parametrize(
    ("budget", "image_size", "expected"),
    [
        (Budget.PAPER, None, (224, 256)),
        (Budget.SHORT, None, (224, 256)),
        (Budget.QUICK, None, (32, 32)),
        (Budget.QUICK, 64, (64, 64)),
    ],
)
def test_photographs_are_stored_as_the_recipe_says_and_in_the_quick_budget_as_the_network_sees_them(
    budget, image_size, expected, tmp_path, monkeypatch
):
    constants = {"VERSION": 1, "CLASSES": 3, "IMAGE_SIZE": 256, "PHOTOGRAPHS": True, "DIGEST": "d"}
    lines = [f"{name} = {value!r}" for name, value in constants.items()]
    (tmp_path / "photos.py").write_text("\n".join([*lines, "def build(root, *, image_size, download): ..."]))
    monkeypatch.syspath_prepend(tmp_path)
    one = of_run(case(recipe=AT_224, dataset="photos.build"), budget=budget, image_size=image_size)
    assert (one.image_size, one.pixels) == expected


def test_a_data_set_of_a_fixed_size_keeps_it_and_the_recipe_says_what_the_network_sees():
    one = of_run(case(recipe=AT_224), budget=Budget.PAPER)
    assert (one.image_size, one.pixels, one.dataset) == (224, 32, "cifar10")
    assert one.evaluation == AT_224.evaluation
    quick = of_run(case(recipe=AT_224, dataset="digits"), budget=Budget.QUICK)
    assert (quick.image_size, quick.pixels, quick.evaluation) == (32, 32, ())


def test_a_run_stands_on_the_operations_of_its_mixing_and_evaluation():
    mixed = replace(AT_224, phases=(replace(PHASE, mixing=Call(name="mix", arguments={"mixup": 0.8})),))
    versions = of_run(case(recipe=mixed), budget=Budget.PAPER).versions
    assert {"augmentations/framing", "augmentations/mixing"} <= versions.keys()
    assert "augmentations/mixing" not in of_run(case(recipe=AT_224), budget=Budget.PAPER).versions


@pytest.mark.parametrize(
    "changed",
    [
        replace(AT_224, image_size=192),
        replace(AT_224, evaluation=AT_224.evaluation[:1]),
        replace(AT_224, start="published"),
        replace(AT_224, phases=(replace(PHASE, weights={"me": {"rise_epochs": 20, "end_epoch": 300}}),)),
        replace(AT_224, phases=(replace(PHASE, schedule={"name": "cosine", "epochs": 300}),)),
    ],
)
def test_what_a_recipe_says_of_images_weights_and_start_is_part_of_the_run(changed):
    first, second = (of_run(case(recipe=recipe), budget=Budget.PAPER) for recipe in (AT_224, changed))
    assert first.key != second.key


def test_published_weights_are_part_of_a_run_that_starts_from_them_by_their_digest():
    tuned = case(recipe=replace(AT_224, start="published"))
    found = [of_run(tuned, budget=Budget.PAPER, weights=digest).weights for digest in ("", "of a", "of b")]
    assert found == ["absent", "of a", "of b"]
    assert of_run(case(recipe=AT_224), budget=Budget.PAPER, weights="of a").weights == ""


def test_the_key_of_a_run_stays_what_it_was():
    """Of a fixed content: whoever changes this form makes every record of everybody's one of another version."""
    phase = replace(PHASE, mixing=Call(name="mix", arguments={"mixup": 0.8}), clip_grad=5.0)
    fixed = identity.Identity(
        model="vit/tiny",
        objective=parse("ce + 0.5*drloc(pairs=8)"),
        dataset="digits",
        data="d1g357",
        classes=10,
        image_size=32,
        budget=Budget.QUICK,
        versions={"train": "2", "terms/drloc": "1"},
        phases=(phase,),
        evaluation=(Call(name="resize", arguments={"size": 32}),),
    )
    assert fixed.key[:12] == "cd14ea8fc450"


BEFORE = Pretraining(objective=parse("me"), dataset="cifar100", phases=(PHASE,), quick=(TINY,))


def pretrained(**changes):
    return case("ce", recipe=replace(RECIPE, pretraining=replace(BEFORE, **changes)))


def test_a_pre_training_is_a_run_of_its_own_and_part_of_the_one_that_starts_from_it():
    run = run_of(pretrained(), seed=3, precision="bf16")
    first = run.pretraining
    assert (first.kind, first.dataset, first.classes, str(first.objective)) == ("pretraining", "cifar100", 100, "me")
    assert (first.seed, first.precision, first.phases) == (3, "bf16", (PHASE,))
    assert replace(run, pretraining=None) == run_of(case("ce"), seed=3, precision="bf16")
    assert run.content()["pretraining"] == first.content()
    assert "pretraining" not in first.content()
    assert digest(run.content()) == run.key


def test_several_fine_tunings_share_a_pre_training():
    one, other = (run_of(replace(pretrained(), dataset=name)) for name in ("cifar10", "cifar100"))
    assert one.key != other.key
    assert one.pretraining == other.pretraining


@pytest.mark.parametrize(
    "changes",
    [{"objective": parse("me(ratio=0.5)")}, {"dataset": "cifar10"}, {"phases": (PHASE, PHASE)}],
)
def test_another_pre_training_is_another_run(changes):
    assert run_of(pretrained(**changes)).key != run_of(pretrained()).key


def test_the_quick_budget_pre_trains_on_the_images_of_the_case():
    first = run_of(replace(pretrained(), dataset="digits"), budget=Budget.QUICK).pretraining
    assert (first.dataset, first.model, first.phases) == ("digits", "vit/tiny", (TINY,))


def test_a_pre_training_stands_on_how_it_is_measured():
    assert "measure/accuracy" not in run_of(pretrained()).pretraining.versions
    assert "measure/reconstruction" in run_of(pretrained()).pretraining.versions


def test_only_a_run_whose_images_are_augmented_stands_on_the_order_of_their_draws():
    augmented = replace(PHASE, augmentation=(Call(name="flip"),))
    with_draws = run_of(case("ce", recipe=replace(RECIPE, phases=(augmented,))))
    assert "feed" in with_draws.versions
    assert "feed" not in run_of(case("ce")).versions


ERASED = Call(name="erase", arguments={"probability": 1.0})
VIEWS = (
    View(name="global", count=2, augmentation=(Call(name="flip"),)),
    View(name="masked", count=1, augmentation=(ERASED,)),
    View(name="local", count=6, augmentation=(Call(name="random_resized_crop", arguments={"size": 16}),)),
)
TURNED = Call(name="quarter_turn", arguments={"probability": 0.5})


def seen(**changes):
    return run_of(case("ce", recipe=replace(RECIPE, phases=(replace(PHASE, **changes),))))


def test_a_run_stands_on_what_makes_its_views_and_on_the_operations_in_them():
    plain = run_of(case("ce"))
    assert seen(views=VIEWS).versions.keys() - plain.versions.keys() == {
        *("augment", "feed", "views", "augmentations/geometry", "augmentations/levels", "augmentations/shares"),
        "augmentations/erasing",
    }
    assert seen(turning=TURNED).versions.keys() - plain.versions.keys() == {
        *("augment", "feed", "views", "augmentations/turning"),
    }
    one = seen(augmentation=(Call(name="flip"),)).versions.keys()
    assert "feed" in one
    assert "views" not in one  # one augmented version of each image, as ever


VIEWED = {
    "one view more": {"views": (*VIEWS, VIEWS[0])},
    "another order": {"views": VIEWS[::-1]},
    "how often": {"views": (replace(VIEWS[0], count=3), *VIEWS[1:])},
    "another kind": {"views": (VIEWS[0], replace(VIEWS[1], name="global"), VIEWS[2])},
    "an argument": {"views": (VIEWS[0], replace(VIEWS[1], augmentation=(replace(ERASED, arguments={}),)), VIEWS[2])},
    "turned": {"views": VIEWS, "turning": TURNED},
    "turned less": {"views": VIEWS, "turning": replace(TURNED, arguments={"probability": 0.25})},
    "none": {},
}


def test_everything_about_views_is_part_of_the_run():
    runs = [seen(views=VIEWS), *(seen(**one) for one in VIEWED.values())]
    assert len({one.key for one in runs}) == len(runs)
    content = runs[0].content()["phases"][0]
    assert [one["name"] for one in content["views"]] == ["global", "masked", "local"]
    assert content["views"][0] == {
        "name": "global",
        "count": 2,
        "augmentation": [{"name": "flip", "arguments": {}}],
    }
    assert "turning" not in content
    assert seen(views=VIEWS, turning=TURNED).content()["phases"][0]["turning"]["arguments"] == {"probability": 0.5}


@pytest.mark.parametrize("changes", [{"probe": "linear"}, {"knn": True}, {"judged": "teacher"}])
def test_how_a_network_is_judged_is_part_of_the_run_and_stands_in_it_where_it_is_not_as_ever(changes):
    plain, other = run_of(case("ce")), run_of(case("ce", recipe=replace(RECIPE, **changes)))
    assert plain.key != other.key
    assert {name: other.content()[name] for name in changes} == changes
    assert not {"probe", "knn", "judged", "pretraining", "micro_batch"} & plain.content().keys()
    assert not {"views", "turning"} & plain.content()["phases"][0].keys()


@pytest.mark.parametrize(
    ("changes", "files"),
    [
        ({"knn": True}, {"measure/knn", "measure/collapse"}),
        ({"probe": "linear"}, {"probe", "measure/linear", "measure/knn"}),
        ({"probe": "linear", "knn": True}, {"probe", "measure/linear", "measure/knn", "measure/collapse"}),
        ({"judged": "teacher"}, set()),
    ],
)
def test_a_run_stands_on_what_its_embeddings_are_judged_by(changes, files):
    found = run_of(case("ce", recipe=replace(RECIPE, **changes))).versions
    assert found.keys() - run_of(case("ce")).versions.keys() == files
    for name in files:
        text = (ROOT / "vitbench" / f"{name}.py").read_text()
        assert found[name] == re.search(r"^VERSION = (\d+)", text, re.MULTILINE)[1], name


def test_a_probe_has_no_phases_and_its_pre_training_none_of_its_measurements():
    recipe = replace(RECIPE, phases=(), quick=(), probe="linear", knn=True)
    run = run_of(case("ce", recipe=replace(recipe, pretraining=replace(BEFORE, judged="teacher"))))
    assert (run.phases, run.probe, run.knn, run.judged) == ((), "linear", True, "student")
    first = run.pretraining
    assert (first.phases, first.probe, first.knn, first.judged) == ((PHASE,), "", True, "teacher")
    assert "measure/collapse" in first.versions
    assert "probe" not in first.versions
    # Whose network is handed on is of the pre-training alone.
    other = run_of(case("ce", recipe=replace(recipe, pretraining=BEFORE)))
    assert replace(other, pretraining=None) == replace(run, pretraining=None)
    assert other.pretraining.key != first.key
    assert other.key != run.key


def test_what_a_method_is_held_against_and_how_the_page_calls_its_data_are_no_part_of_the_run():
    other = replace(RECIPE, against=replace(RECIPE, name="plain"), splits={"cifar100": "cifar10"})
    assert run_of(case(recipe=other)) == run_of()
    assert run_of(case(recipe=other)).key == run_of().key


def test_a_step_of_several_views_is_timed_as_such():
    timed = {"kind": "training", "budget": Budget.PAPER, "precision": "fp32", "machine": {}}
    one, other = (
        of_timing(case("ce", recipe=replace(RECIPE, phases=(replace(PHASE, views=views),))), **timed)
        for views in ((), VIEWS)
    )
    assert one.key != other.key
    assert other.phases[0].views == VIEWS


def test_a_run_under_another_seed_is_the_one_that_is_made_with_it():
    first = Pretraining(objective=parse("mae"), dataset="", phases=(PHASE,), quick=(TINY,))
    for one in (CASE, case(recipe=replace(RECIPE, pretraining=first))):
        asked = run_of(one, seed=7)
        derived = run_of(one).under(7)
        assert derived == asked
        assert (derived.key, derived.content()) == (asked.key, digest_of(asked))


def digest_of(one):
    """The content, from a copy that has nothing written out yet."""
    assert digest(one.content()) == one.key
    return replace(one).content()
