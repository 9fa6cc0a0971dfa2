"""A case: its id, its baseline, what a budget makes of it."""

from dataclasses import FrozenInstanceError, replace

import pytest
from _pytest.mark.expression import Expression

from vitbench.case import Budget, Case, Claim, Elsewhere, Model, Phase, Pretraining, Recipe, View
from vitbench.objective import Call, parse

PHASE = Phase(
    epochs=100,
    batch_size=128,
    optimizer={"name": "adamw", "lr": 1e-3},
    schedule={"name": "cosine", "warmup_epochs": 10, "min_lr": 1e-6},
)
TINY = replace(PHASE, epochs=3)
CASE = Case(
    paper="mine2026",
    table="4.5",
    model=Model(name="vit", full="vit/floros2024", tiny="vit/tiny", printed="ViT"),
    objective=parse("ce + 0.1*me(ratio=0.85)"),
    dataset="cifar10",
    recipe=Recipe(name="scratch", protocol="paper", selection="last", phases=(PHASE, PHASE), quick=(TINY,)),
    claims=(Claim(metric="accuracy", value=60.0), Claim(metric="fgsm_drop", value=20.0)),
)

BEFORE = Pretraining(objective=parse("mae"), dataset="cifar100", phases=(replace(PHASE, epochs=4000),), quick=(TINY,))
PRETRAINED = replace(CASE, objective=parse("ce"), recipe=replace(CASE.recipe, name="mae", pretraining=BEFORE))


def test_the_id_names_paper_table_model_objective_and_data_set():
    assert CASE.id == "mine2026/4.5/vit/ce+0.1me_ratio0.85/cifar10"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"objective": parse("ce + -0.5*mypkg.losses.mine(how='a b(c)=[d]')")},
        {"model": Model(name="timm/resnet18.a1_in1k", full="x", tiny="x", printed="x")},
        {"model": Model(name="mypkg.nets.mine/a (b)*", full="x", tiny="x", printed="x")},
        {"dataset": "imagefolder:/my data/ünï[1]"},
    ],
)
def test_every_id_can_be_given_to_k(changes):
    case = replace(CASE, **changes)
    assert Expression.compile(case.id).evaluate(lambda name, **_: name == case.id)
    assert case.id.count("/") == 4


def test_the_baseline_is_the_same_experiment_under_plain_cross_entropy():
    plain = CASE.baseline
    assert str(plain.objective) == "ce"
    assert plain.claims == ()
    assert replace(plain, objective=CASE.objective, claims=CASE.claims) == CASE


def test_a_pre_trained_network_is_compared_with_the_same_from_scratch():
    plain = PRETRAINED.baseline
    assert (PRETRAINED.is_baseline, plain.is_baseline) == (False, True)
    assert (plain.recipe.name, plain.recipe.pretraining) == ("scratch", None)
    assert replace(plain.recipe, name="mae", pretraining=BEFORE) == PRETRAINED.recipe
    decayed = replace(PHASE, optimizer={**PHASE.optimizer, "layer_decay": 0.75})  # is for what has learnt already
    recipe = replace(PRETRAINED.recipe, phases=(decayed, PHASE))
    assert replace(PRETRAINED, recipe=recipe).baseline.recipe.phases == (PHASE, PHASE)
    assert [one.id for one in (PRETRAINED, plain)] == [
        "mine2026/4.5/vit/ce/cifar10",
        "mine2026/4.5/vit/ce/cifar10/scratch",
    ]
    assert plain.baseline == plain


@pytest.mark.parametrize(
    ("budget", "dataset", "epochs"),
    [(Budget.QUICK, "cifar10", [3]), (Budget.SHORT, "cifar100", [400]), (Budget.PAPER, "cifar100", [4000])],
)
def test_what_comes_before_is_the_pre_training_under_the_same_budget(budget, dataset, epochs):
    first = PRETRAINED.before(budget)
    assert (str(first.objective), first.dataset, first.recipe.kind) == ("mae", dataset, "pretraining")
    assert [phase.epochs for phase in first.recipe.at(budget)] == epochs
    assert first.id == f"mine2026/4.5/vit/mae/{dataset}/mae-pretraining"
    assert first.before(budget) is None
    assert PRETRAINED.baseline.before(budget) is None


def test_what_a_case_needs_ends_with_itself():
    scratch, before, itself = PRETRAINED.needed(Budget.PAPER)
    assert (scratch, before, itself) == (PRETRAINED.baseline, PRETRAINED.before(Budget.PAPER), PRETRAINED)
    assert CASE.needed(Budget.PAPER) == (CASE.baseline, CASE)
    assert CASE.baseline.needed(Budget.PAPER) == (CASE.baseline,)
    assert [one.loss for one in (scratch, before, itself)] == ["ce", "mae", "mae, then ce"]


def test_a_pre_training_that_names_no_data_set_has_that_of_the_case():
    recipe = replace(PRETRAINED.recipe, pretraining=replace(BEFORE, dataset=""))
    assert replace(PRETRAINED, recipe=recipe).before(Budget.PAPER).dataset == "cifar10"


@pytest.mark.parametrize(
    ("objective", "is_baseline"),
    [("ce", True), ("1*ce", True), ("ce + 0*me", False), ("0.5*ce", False), ("me", False)],
)
def test_only_plain_cross_entropy_is_a_baseline(objective, is_baseline):
    assert replace(CASE, objective=parse(objective)).is_baseline is is_baseline


def test_a_case_never_changes():
    with pytest.raises(FrozenInstanceError):
        CASE.dataset = "digits"


@pytest.mark.parametrize(
    ("budget", "network", "epochs"),
    [
        (Budget.QUICK, "vit/tiny", [3]),
        (Budget.SHORT, "vit/floros2024", [10, 10]),
        (Budget.PAPER, "vit/floros2024", [100, 100]),
    ],
)
def test_a_budget_chooses_network_and_phases(budget, network, epochs):
    assert CASE.model.at(budget) == network
    assert [phase.epochs for phase in CASE.recipe.at(budget)] == epochs


def test_the_short_budget_keeps_the_shape_of_the_schedule():
    short = PHASE.shortened()
    assert short.schedule == {"name": "cosine", "warmup_epochs": 1.0, "min_lr": 1e-6}
    assert short.schedule["warmup_epochs"] / short.epochs == PHASE.schedule["warmup_epochs"] / PHASE.epochs
    assert replace(short, epochs=100, schedule=PHASE.schedule) == PHASE


@pytest.mark.parametrize(("epochs", "short"), [(1, 1), (4, 1), (14, 1), (16, 2), (100, 10), (300, 30)])
def test_the_short_budget_is_a_tenth_and_at_least_one_epoch(epochs, short):
    assert replace(PHASE, epochs=epochs).shortened().epochs == short


MOVING = replace(
    PHASE,
    epochs=12,
    batch_size=128,
    schedule={"name": "cosine", "warmup_epochs": 1, "min_lr": 1e-6, "epochs": 36},
    weights={"drloc": {"rise_epochs": 2, "end_epoch": 36}},
    elsewhere=Elsewhere(least_steps=140),
)


def test_few_images_are_seen_as_often_as_the_least_steps_take_under_schedules_of_the_same_shape():
    longer = MOVING.placed(1_000)  # 7 whole batches in an epoch
    assert longer == replace(
        MOVING,
        epochs=20,
        schedule={"name": "cosine", "warmup_epochs": 1 * 20 / 12, "min_lr": 1e-6, "epochs": 60},
        weights={"drloc": {"rise_epochs": 2 * 20 / 12, "end_epoch": 60}},
        elsewhere=None,
    )


@pytest.mark.parametrize(
    ("images", "steps", "epochs"),
    [
        (1_000, 84, 12),  # 7 x 12 exactly
        (1_000, 85, 13),
        (1_000, 1, 12),
        (50_000, 140, 12),
        (128, 140, 140),
        (127, 140, 12),  # no batch is filled, and the run says so
        (0, 140, 12),  # nobody says how many
        (None, 140, 12),  # the embedded ones
    ],
)
def test_epochs_are_added_until_there_are_the_least_steps_and_never_taken_away(images, steps, epochs):
    phase = replace(MOVING, elsewhere=Elsewhere(least_steps=steps))
    longer = phase.placed(images)
    assert longer.epochs == epochs
    if epochs == phase.epochs:
        assert longer == replace(phase, elsewhere=None)


FLIP, CROP = Call(name="flip"), Call(name="crop", arguments={"padding": 1})


@pytest.mark.parametrize(("there", "found"), [((FLIP,), (FLIP,)), ((), ()), (None, (CROP,))])
def test_what_other_images_stand_is_done_to_them_alone(there, found):
    phase = replace(MOVING, augmentation=(CROP,), elsewhere=Elsewhere(least_steps=1, augmentation=there))
    assert phase.placed(1_000).augmentation == found
    assert phase.placed(None) == replace(phase, elsewhere=None)
    assert replace(phase, elsewhere=None).placed(1_000) == replace(phase, elsewhere=None)


def test_a_claim_is_found_by_its_metric():
    assert CASE.claim("fgsm_drop").value == 20.0
    assert CASE.claim("knn") is None


@pytest.mark.parametrize("order", [1, -1])
def test_the_printed_value_comes_before_a_rerun_of_it(order):
    both = (Claim(metric="accuracy", value=59.47), Claim(metric="accuracy", value=86.17, source="rerun"))
    assert replace(CASE, claims=both[::order]).claim("accuracy").value == 59.47
    assert replace(CASE, claims=both[1:]).claim("accuracy").value == 86.17


def view(name, count=1):
    return View(name=name, count=count, augmentation=(FLIP,))


@pytest.mark.parametrize(
    ("views", "versions"),
    [
        ((), 1),
        ((view("global", 2),), 2),
        ((view("global"), view("global"), view("masked"), view("local", 6)), 3),
        ((view("local", 4), view("masked")), 1),
    ],
)
def test_a_batch_has_as_many_versions_of_an_image_as_there_are_views_that_are_not_local(views, versions):
    assert replace(PHASE, views=views).versions == versions
    assert replace(PHASE, views=views).shortened().versions == versions


PROBE = replace(CASE.recipe, name="probed", phases=(), quick=(), probe="linear", knn=True, judged="teacher")


@pytest.mark.parametrize(
    ("recipe", "has_quick"),
    [
        (CASE.recipe, True),
        (replace(CASE.recipe, quick=()), False),
        (replace(PRETRAINED.recipe, quick=()), False),  # its own phases have no quick form
        (replace(PROBE, pretraining=BEFORE), True),
        (replace(PROBE, pretraining=replace(BEFORE, quick=())), False),
        (PROBE, True),  # of a network that nothing was trained in
        (replace(PROBE, quick=(TINY,), pretraining=replace(BEFORE, quick=())), True),
    ],
)
def test_a_probe_is_quick_where_its_pre_training_is(recipe, has_quick):
    assert recipe.has_quick is has_quick


def test_before_a_probe_comes_a_pre_training_that_judges_its_own_network_and_probes_nothing():
    case = replace(PRETRAINED, recipe=replace(PROBE, pretraining=BEFORE))
    first = case.before(Budget.PAPER)
    assert (first.recipe.kind, first.recipe.phases, first.recipe.quick) == ("pretraining", BEFORE.phases, BEFORE.quick)
    assert (first.recipe.probe, first.recipe.knn, first.recipe.judged) == ("", True, "student")
    taught = replace(case, recipe=replace(PROBE, judged="student", pretraining=replace(BEFORE, judged="teacher")))
    assert taught.before(Budget.PAPER).recipe.judged == "teacher"
    # What it is compared with is a probe of the network as it was drawn.
    assert (case.baseline.recipe.probe, case.baseline.recipe.at(Budget.PAPER)) == ("linear", ())
    assert (case.baseline.recipe.name, case.baseline.is_baseline) == ("scratch", True)


SUPERVISED = replace(CASE.recipe, name="supervised", phases=(replace(PHASE, batch_size=64),))
TORT = replace(CASE, recipe=replace(CASE.recipe, name="tort", against=SUPERVISED), reading="tort")


def test_a_method_of_a_recipe_that_is_held_against_another_is_compared_with_that_one():
    plain = TORT.baseline
    assert (TORT.recipe.plain, SUPERVISED.plain) == (SUPERVISED, SUPERVISED)
    assert (plain.recipe, plain.reading, str(plain.objective), plain.claims) == (SUPERVISED, "supervised", "ce", ())
    assert plain.id == "mine2026/4.5/vit/ce/cifar10/supervised"
    assert plain.baseline == plain
    assert TORT.needed(Budget.PAPER) == (plain, TORT)


def test_the_column_of_another_split_is_that_of_the_page():
    recipe = replace(CASE.recipe, splits={"flowers102": "flowers102_val"})
    split = replace(CASE, recipe=recipe, dataset="flowers102_val")
    assert (split.column, split.id.rpartition("/")[2]) == ("flowers102", "flowers102_val")
    assert replace(split, dataset="cifar10").column == "cifar10"
    assert replace(split, recipe=CASE.recipe).column == "flowers102_val"
