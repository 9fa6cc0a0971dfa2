"""Recipes are read strictly: every value that cannot be is named by file and line."""

import re

import pytest

from vitbench import recipes, sections
from vitbench.case import Budget, Elsewhere, View
from vitbench.errors import UserError
from vitbench.objective import Call

TEXT = """\
[recipes.scratch]
protocol  = "code"
selection = "best"

[[recipes.scratch.phases]]
epochs       = 100
batch_size   = 128
optimizer    = { name = "adamw", lr = 1e-3, weight_decay = 0.05, betas = [0.9, 0.95] }
schedule     = { name = "cosine", warmup_epochs = 10, min_lr = 1e-6 }
augmentation = ["crop(padding=4)", "flip"]
clip_grad    = 1

[[recipes.scratch.phases]]
epochs       = 5
batch_size   = 32
optimizer    = { name = "sgd", lr = 1 }
schedule     = { name = "constant" }

[[recipes.scratch.quick]]
epochs       = 3
batch_size   = 16
optimizer    = { name = "adam", lr = 0.1 }
schedule     = { name = "constant" }
augmentation = []
"""


def read(tmp_path, text=TEXT):
    path = tmp_path / "a.toml"
    path.write_text(text)
    return recipes.read("scratch", sections.read(path).section("recipes").section("scratch"))


def test_a_recipe_is_what_its_section_says(tmp_path):
    recipe = read(tmp_path)
    assert (recipe.name, recipe.protocol, recipe.selection) == ("scratch", "code", "best")
    first, second = recipe.phases
    assert (first.epochs, first.batch_size, first.clip_grad) == (100, 128, 1.0)
    assert first.optimizer == {"name": "adamw", "lr": 1e-3, "weight_decay": 0.05, "betas": [0.9, 0.95]}
    assert first.schedule == {"name": "cosine", "warmup_epochs": 10, "min_lr": 1e-6}
    assert first.augmentation == (Call(name="crop", arguments={"padding": 4}), Call(name="flip"))
    assert (second.epochs, second.augmentation, second.clip_grad) == (5, (), None)


def test_an_evaluation_takes_every_operation_that_draws_nothing(tmp_path):
    text = TEXT.replace('"best"', '"best"\nevaluation = ["resize(size=32)", "centre_crop(size=28)"]')
    assert [call.name for call in read(tmp_path, text).evaluation] == ["resize", "centre_crop"]


def test_values_at_the_ends_of_their_ranges_are_taken(tmp_path):
    text = TEXT.replace("betas = [0.9, 0.95]", "betas = [0, 0.999], eps = 0, momentum = 0")
    text = text.replace("warmup_epochs = 10", "warmup_epochs = 99.5, warmup_lr = 0")
    text = text.replace('"best"', '"best"\nimage_size = 224\nstored_size = 224')
    recipe = read(tmp_path, text)
    assert recipe.phases[0].optimizer["betas"] == [0, 0.999]
    assert (recipe.image_size, recipe.stored_size) == (224, 224)
    # A longer cosine leaves room for a warm-up that is as long as its phase.
    longer = TEXT.replace("warmup_epochs = 10", "warmup_epochs = 100, epochs = 300")
    assert read(tmp_path, longer).phases[0].schedule["warmup_epochs"] == 100


@pytest.mark.parametrize(
    ("base", "batch", "lr"), [("1.5e-4", 1408, 8.25e-4), ("1e-3", 768, 3e-3), ("5e-4", 4096, 8e-3), ("1", 64, 0.25)]
)
def test_a_learning_rate_for_256_images_is_scaled_to_the_batch(tmp_path, base, batch, lr):
    """The first two are those of tan2024, 1.5e-4 x 1408 / 256 and 1e-3 x 768 / 256, the third that of MAE."""
    text = TEXT.replace("= 128", f"= {batch}").replace("lr = 1e-3", f"base_lr = {base}")
    written = TEXT.replace("= 128", f"= {batch}").replace("lr = 1e-3", f"lr = {lr}")
    # A run that writes the rate itself is the same run.
    assert read(tmp_path, text).phases[0] == read(tmp_path, written).phases[0]
    expected = {"name": "adamw", "lr": lr, "weight_decay": 0.05, "betas": [0.9, 0.95]}
    assert read(tmp_path, text).phases[0].optimizer == expected


def test_the_decay_from_layer_to_layer_is_an_argument_of_the_optimizer(tmp_path):
    for decay in ("0.75", "1", "1.0", "1e-9"):
        optimizer = read(tmp_path, TEXT.replace("lr = 1 }", f"lr = 1, layer_decay = {decay} }}")).phases[1].optimizer
        assert optimizer == {"name": "sgd", "lr": 1, "layer_decay": float(decay)}


def test_a_schedule_may_begin_and_end_at_the_learning_rate(tmp_path):
    text = TEXT.replace("min_lr = 1e-6", "min_lr = 1e-3, warmup_lr = 1e-3")
    assert read(tmp_path, text).phases[0].schedule["min_lr"] == 1e-3
    scaled = TEXT.replace("lr = 1e-3", "base_lr = 1e-3").replace("min_lr = 1e-6", "min_lr = 5e-4")
    assert read(tmp_path, scaled).phases[0].schedule["min_lr"] == 5e-4  # of a batch of 128


def test_a_recipe_without_a_quick_form_has_none(tmp_path):
    assert read(tmp_path, TEXT.partition("[[recipes.scratch.quick]]")[0]).at(Budget.QUICK) == ()


@pytest.mark.parametrize(
    ("more", "operations"),
    [("", None), (", augmentation = []", ()), (', augmentation = ["flip"]', (Call(name="flip"),))],
)
def test_only_the_quick_form_does_otherwise_elsewhere(tmp_path, more, operations):
    recipe = read(tmp_path, TEXT.replace("epochs       = 3", f"epochs = 3\nelsewhere = {{ least_steps = 500{more} }}"))
    there = Elsewhere(least_steps=500, augmentation=operations)
    assert [one.elsewhere for one in (*recipe.phases, *recipe.quick)] == [None, None, there]
    assert read(tmp_path).quick[0].elsewhere is None


MISTAKES = [
    *(
        ("epochs       = 3", f"epochs = 3\nelsewhere = {{ {one} }}", 21, message)
        for one, message in (
            ("least_steps = 0", "least_steps: expected more than 0, got 0"),
            ("least_steps = 1.5", "least_steps: expected a whole number, got 1.5"),
            ("augmentation = []", "the key 'least_steps' is missing"),
            ("least_steps = 9, augmentation = ['flipp']", "unknown augmentation 'flipp'; did you mean flip?"),
            ("least_steps = 9, mixing = 'mix'", "unknown key 'mixing'"),
        )
    ),
    ("epochs       = 100", "epochs = 100\nelsewhere = { least_steps = 500 }", 7, "unknown key 'elsewhere'"),
    ('"code"', '"cod"', 2, "unknown protocol 'cod'; did you mean code?"),
    ('"best"', '"first"', 3, "unknown selection 'first'; known: best, last"),
    ('selection = "best"', "", 1, "the key 'selection' is missing"),
    ('selection = "best"', 'selection = "best"\nepocs = 3', 4, "unknown key 'epocs'"),
    ("clip_grad    =", "clip_gard =", 11, "unknown key 'clip_gard'; did you mean clip_grad"),
    ("epochs       = 100", "epochs = 0", 6, "epochs: expected more than 0, got 0"),
    ("epochs       = 100", "epochs = 1.5", 6, "epochs: expected a whole number, got 1.5"),
    ("epochs       = 100", 'epochs = "many"', 6, "epochs: expected a whole number, got 'many'"),
    ("epochs       = 100", "epochs = true", 6, "epochs: expected a whole number, got True"),
    ("epochs       = 100", "", 5, "the key 'epochs' is missing"),
    ("epochs       = 5", "epochs = -5", 14, "epochs: expected more than 0, got -5"),
    ("epochs       = 3", "", 19, "the key 'epochs' is missing"),
    ("batch_size   = 32", "batch_size = 0", 15, "batch_size: expected more than 0, got 0"),
    ("clip_grad    = 1", "clip_grad = -1", 11, "clip_grad: expected more than 0, got -1"),
    ("lr = 1e-3", "lr = 0", 8, "lr: expected more than 0, got 0"),
    ("lr = 1e-3", "lr = nan", 8, "lr: expected a number, got nan"),
    ("lr = 1e-3, ", "", 8, "the key 'lr' is missing"),
    ("lr = 1e-3", "base_lr = 0", 8, "base_lr: expected more than 0, got 0"),
    ("lr = 1e-3", "base_lr = 'low'", 8, "base_lr: expected a number, got 'low'"),
    ("lr = 1e-3", "lr = 1e-3, base_lr = 2e-3", 8, "expected lr or base_lr, which is the lr of 256 images, got both"),
    ("lr = 1e-3", "lr_base = 1e-3", 8, "unknown key 'lr_base'; did you mean base_lr"),
    ("lr = 1 }", "lr = 1, layer_decay = 0 }", 16, "layer_decay: expected more than 0, got 0"),
    ("lr = 1 }", "lr = 1, layer_decay = 1.01 }", 16, "layer_decay: expected at most 1, got 1.01"),
    ("lr = 1 }", "lr = 1, layer_decay = true }", 16, "layer_decay: expected a number, got True"),
    ("min_lr = 1e-6", "min_lr = 2e-3", 9, "min_lr: expected at most the optimizer's lr, 0.001, got 0.002"),
    ("min_lr = 1e-6", "warmup_lr = 2e-3", 9, "warmup_lr: expected at most the optimizer's lr, 0.001, got 0.002"),
    ("lr = 1 }", "lr = 'fast' }", 16, "lr: expected a number, got 'fast'"),
    ("lr = 0.1", "lr = -0.1", 22, "lr: expected more than 0, got -0.1"),
    ('name = "sgd"', "name = 3", 16, "name: expected a string, got 3"),
    ("weight_decay = 0.05", "weight_decay = 'some'", 8, "weight_decay: expected a number, got 'some'"),
    ('"cosine"', '"cosin"', 9, "unknown name 'cosin'; did you mean cosine?"),
    ("warmup_epochs = 10", "warmup = 10", 9, "unknown key 'warmup'; did you mean warmup_lr"),
    ("warmup_epochs = 10", "warmup_epochs = '10'", 9, "warmup_epochs: expected a number, got '10'"),
    ("warmup_epochs = 10", "after_warmup = true", 9, "after_warmup: there is no warm-up to follow"),
    ("warmup_epochs = 10", "warmup_epochs = 10, after_warmup = 1", 9, "after_warmup: expected true or false, got 1"),
    ("min_lr = 1e-6", "min_lr = inf", 9, "min_lr: expected a number, got inf"),
    ('schedule     = { name = "cosine"', 'schedule     = "cosine" #', 9, "schedule: expected a table, got 'cosine'"),
    ('"crop(padding=4)"', '"crob"', 10, "unknown augmentation 'crob'; did you mean crop?"),
    ('"crop(padding=4)"', '\n"crop",\n"flipp"', 12, "unknown augmentation 'flipp'; did you mean flip?"),
    ('"crop(padding=4)"', '"crop(pad=4)"', 10, "unknown argument of crop 'pad'; did you mean padding"),
    ('"crop(padding=4)"', '"crop(4)"', 10, "cannot read 'crop(4)'"),
    ('"crop(padding=4)"', "3", 10, "cannot read '3'"),
    ('["crop(padding=4)", "flip"]', '"flip"', 10, "augmentation: expected a list, got 'flip'"),
    *(
        (
            "betas = [0.9, 0.95]",
            f"betas = {one}",
            8,
            f"betas: expected two numbers, from 0 up and less than 1, got {one}",
        )
        for one in (
            "[0.9]",
            "[0.9, 0.95, 0.99]",
            "[]",
            "[0.9, 1.0]",
            "[-0.1, 0.9]",
            "['a', 0.9]",
            "[0.9, nan]",
        )
    ),
    ("betas = [0.9, 0.95]", "betas = [true, 0.9]", 8, "less than 1, got [True, 0.9]"),
    ("betas = [0.9, 0.95]", "betas = 0.9", 8, "betas: expected a list, got 0.9"),
    ("betas = [0.9, 0.95]", "eps = -1e-8", 8, "eps: expected at least 0, got -1e-08"),
    ("betas = [0.9, 0.95]", "eps = true", 8, "eps: expected a number, got True"),
    ("weight_decay = 0.05", "weight_decay = -0.05", 8, "weight_decay: expected at least 0, got -0.05"),
    ("lr = 1 }", "lr = 1, momentum = -0.9 }", 16, "momentum: expected at least 0, got -0.9"),
    ("lr = 1 }", "lr = 1, momentum = 1 }", 16, "momentum: expected less than 1, got 1"),
    ("lr = 1 }", "lr = 1, momentum = 'much' }", 16, "momentum: expected a number, got 'much'"),
    ("warmup_epochs = 10", "warmup_epochs = -1", 9, "warmup_epochs: expected at least 0, got -1"),
    ("warmup_epochs = 10", "warmup_epochs = 100", 9, "expected less than the schedule's 100 epochs, got 100"),
    ("warmup_epochs = 10", "warmup_epochs = 10, epochs = 10", 9, "expected less than the schedule's 10 epochs, got 10"),
    ("warmup_epochs = 10", "warmup_lr = -1e-6", 9, "warmup_lr: expected at least 0, got -1e-06"),
    ("min_lr = 1e-6", "min_lr = -1e-6", 9, "min_lr: expected at least 0, got -1e-06"),
    ('selection = "best"', 'selection = "best"\nimage_size = 0', 4, "image_size: expected more than 0, got 0"),
    (
        'selection = "best"',
        'selection = "best"\nstored_size = 223\nimage_size = 224',
        4,
        "stored_size: expected at least image_size, 224, got 223",
    ),
    *(
        (
            'selection = "best"',
            f'selection = "best"\nevaluation = [\n  "resize(size=32)",\n  "{one}",\n]',
            6,
            f"an evaluation draws nothing, got {one}; use centre_crop or resize",
        )
        for one in ("flip", "crop", "random_resized_crop", "colour_jitter", "rand_augment", "auto_augment", "erase")
    ),
    ('selection = "best"', 'selection = "best"\nevaluation = ["mix"]', 4, "got it under `evaluation`"),
    ("phases", "phase", 5, "unknown key 'phase'; did you mean phases?"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), MISTAKES)
def test_a_mistake_in_a_recipe_is_named_by_its_line(tmp_path, old, new, line, message):
    with pytest.raises(UserError) as refused:
        read(tmp_path, TEXT.replace(old, new))
    text = str(refused.value)
    assert text.startswith(f"{tmp_path / 'a.toml'}:{line}")
    assert message in text
    assert text.isprintable()


def test_a_schedule_is_held_to_the_learning_rate_of_the_batch(tmp_path):
    text = TEXT.replace("lr = 1e-3", "base_lr = 1e-3").replace("min_lr = 1e-6", "min_lr = 6e-4")
    with pytest.raises(UserError, match=r"a.toml:9 .* min_lr: expected at most the optimizer's lr, 0.0005, got 0.0006"):
        read(tmp_path, text)


def test_a_recipe_without_a_phase_is_none(tmp_path):
    text = TEXT.replace("phases", "quick")
    with pytest.raises(UserError, match=r"a.toml:1 \[recipes.scratch\]: a recipe has at least one phase; add \[\["):
        read(tmp_path, text)


BEFORE = """
[recipes.scratch.pretraining]
objective = "ce + 0.5*me(ratio=0.85)"
dataset   = "cifar100"

[[recipes.scratch.pretraining.phases]]
epochs       = 4000
batch_size   = 1408
optimizer    = { name = "adamw", lr = 1e-3 }
schedule     = { name = "constant" }

[[recipes.scratch.pretraining.quick]]
epochs       = 30
batch_size   = 128
optimizer    = { name = "adamw", lr = 1e-3 }
schedule     = { name = "constant" }
"""


def test_a_pre_training_has_an_objective_a_data_set_and_phases_of_its_own(tmp_path):
    recipe = read(tmp_path, TEXT + BEFORE)
    first = recipe.pretraining
    assert (str(first.objective), first.dataset) == ("ce + 0.5*me(ratio=0.85)", "cifar100")
    assert [phase.epochs for phase in first.phases] == [4000]
    assert [phase.epochs for phase in first.quick] == [30]
    assert [phase.epochs for phase in recipe.phases] == [100, 5]
    assert read(tmp_path, TEXT + BEFORE.replace('dataset   = "cifar100"', "")).pretraining.dataset == ""
    assert read(tmp_path).pretraining is None


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("me(ratio", "em(ratio", 27, "unknown term 'em'"),
        ("me(ratio", "me(rato", 27, "unknown argument of me 'rato'; did you mean ratio"),
        ('"ce + 0.5', '"ce + + 0.5', 27, "cannot read"),
        ("objective =", "objectiv =", 27, "unknown key 'objectiv'; did you mean objective?"),
        ('objective = "ce + 0.5*me(ratio=0.85)"', "", 26, "the key 'objective' is missing"),
        ('"cifar100"', '"cifar1000"', 28, "unknown data set 'cifar1000'; did you mean cifar100"),
        ("pretraining.quick", "pretraining.phases", 26, "got only one"),
        ("pretraining.phases", "pretraining.quick", 26, "a recipe has at least one phase"),
        ("4000", "-4000", 31, "epochs: expected more than 0, got -4000"),
        ('"best"', '"best"\nstart = "published"', 27, "a pre-training of its own or from published weights, got both"),
    ],
)
def test_a_mistake_in_a_pre_training_is_named_by_its_line(tmp_path, old, new, line, message):
    with pytest.raises(UserError) as refused:
        read(tmp_path, (TEXT + BEFORE).replace(old, new))
    text = str(refused.value)
    assert text.startswith(f"{tmp_path / 'a.toml'}:{line}")
    assert message in text
    assert text.isprintable()


# Of a recipe whose batches are made of several views.
VIEWED = """\
[recipes.scratch]
protocol  = "code"
selection = "best"
knn       = true

[[recipes.scratch.phases]]
epochs     = 103
batch_size = 32
optimizer  = { name = "lookahead_adamw", lr = 5e-4 }
schedule   = { name = "constant" }
turning    = "quarter_turn(probability=0.5)"
views = [
  { name = "global", count = 2, augmentation = ["flip"] },
  { name = "masked", augmentation = ["flip", "erase(probability=1.0)"] },
  { name = "local", count = 6, augmentation = ["random_resized_crop(size=96)"] },
]
"""


def test_views_are_read_in_their_order_and_make_up_the_versions_of_a_batch(tmp_path):
    (phase,) = read(tmp_path, VIEWED).phases
    assert phase.views == (
        View(name="global", count=2, augmentation=(Call(name="flip"),)),
        View(
            name="masked",
            count=1,
            augmentation=(Call(name="flip"), Call(name="erase", arguments={"probability": 1.0})),
        ),
        View(name="local", count=6, augmentation=(Call(name="random_resized_crop", arguments={"size": 96}),)),
    )
    assert (phase.versions, phase.augmentation, phase.mixing) == (3, (), None)
    assert phase.turning == Call(name="quarter_turn", arguments={"probability": 0.5})
    assert phase.optimizer["name"] == "lookahead_adamw"
    plain = read(tmp_path).phases[0]
    assert (plain.views, plain.turning, plain.versions) == ((), None, 1)


def test_images_may_be_turned_after_an_augmentation_too(tmp_path):
    phase = read(tmp_path, TEXT.replace("clip_grad    = 1", 'turning = "quarter_turn"')).phases[0]
    assert phase.turning == Call(name="quarter_turn")
    assert [call.name for call in phase.augmentation] == ["crop", "flip"]


def test_what_is_judged_and_how_is_as_the_section_says(tmp_path):
    recipe = read(tmp_path, VIEWED.replace("knn       = true", 'knn = true\njudged = "teacher"'))
    assert (recipe.probe, recipe.knn, recipe.judged) == ("", True, "teacher")
    assert recipe.splits == {}
    plain = read(tmp_path)
    assert (plain.probe, plain.knn, plain.judged, plain.against, plain.splits) == ("", False, "student", None, {})


def test_splits_name_a_data_set_for_one_of_the_page(tmp_path):
    recipe = read(tmp_path, f"{VIEWED}\n[recipes.scratch.splits]\nflowers102 = 'flowers102_val'\n")
    assert recipe.splits == {"flowers102": "flowers102_val"}


PROBED = """\
[recipes.scratch]
protocol  = "paper"
selection = "last"
probe     = "linear"

[recipes.scratch.pretraining]
objective = "ce + simclr"
judged    = "teacher"

[[recipes.scratch.pretraining.phases]]
epochs     = 1000
batch_size = 512
optimizer  = { name = "adamw", lr = 1e-3 }
schedule   = { name = "constant" }
views = [{ name = "global", count = 2, augmentation = ["flip"] }]

[[recipes.scratch.pretraining.quick]]
epochs     = 40
batch_size = 64
optimizer  = { name = "adamw", lr = 1e-3 }
schedule   = { name = "constant" }
views = [{ name = "global", augmentation = ["flip"] }, { name = "masked", augmentation = [] }]
"""


def test_a_probe_needs_no_phases_but_those_of_its_pre_training(tmp_path):
    recipe = read(tmp_path, PROBED)
    assert (recipe.probe, recipe.phases, recipe.quick) == ("linear", (), ())
    assert (recipe.judged, recipe.pretraining.judged) == ("student", "teacher")
    assert [phase.versions for phase in (*recipe.pretraining.phases, *recipe.pretraining.quick)] == [2, 2]
    assert recipe.has_quick
    whole = PROBED.partition("[[recipes.scratch.pretraining.quick]]")[0]
    assert not read(tmp_path, whole).has_quick


VIEW_MISTAKES = [
    ("turning    =", 'augmentation = ["flip"]\nturning =', 14, "views: each view has an augmentation of its own, got "
        "augmentation of the phase as well; drop it"),
    ("turning    =", 'mixing = "mix(mixup=0.2)"\nturning =', 14, "views: each view has an augmentation of its own, got "
        "mixing of the phase as well; drop it"),
    ('"quarter_turn(probability=0.5)"', '"mix(mixup=0.2)"', 12, "mix stands under the key `mixing`, got it under "
        "`turning`; move it there"),
    ('"quarter_turn(probability=0.5)"', '"flip"', 12, "flip stands under the key `augmentation`, got "
        "it under `turning`"),
    ('"quarter_turn(probability=0.5)"', '"quarter_turn(chance=0.5)"', 12, "unknown argument of quarter_turn 'chance'"),
    ('"quarter_turn(probability=0.5)"', "3", 12, "turning: expected a string, got 3"),
    ('"erase(probability=1.0)"', '"quarter_turn"', 15, "quarter_turn stands under the key `turning`, got it under "
        "`augmentation`; move it there"),
    ('"erase(probability=1.0)"', '"mix"', 15, "mix stands under the key `mixing`, got it under `augmentation`"),
    ('"erase(probability=1.0)"', '"erazed"', 15, "unknown augmentation 'erazed'; did you mean erase"),
    ('name = "masked"', 'name = "masced"', 15, "unknown name 'masced'; did you mean masked?"),
    ('name = "masked", ', "", 15, "the key 'name' is missing"),
    ("count = 6", "count = 0", 16, "count: expected more than 0, got 0"),
    ("count = 6", "count = 1000000000", 16, "count: expected at most 100 views of a kind, got 1000000000"),
    ("count = 6", "count = 1.5", 16, "count: expected a whole number, got 1.5"),
    ("count = 6", "cuont = 6", 16, "unknown key 'cuont'; did you mean count?"),
    ('name = "masked"', 'name = "local"', 13, "views: expected one kind of local view at most, got several; give one a "
        "larger count"),
    ('judged', 'judgd', 4, "unknown key 'judgd'; did you mean judged"),
    ('"teacher"', '"pupil"', 4, "unknown judged 'pupil'; known: student, teacher"),
    ("knn       = true", "knn = 1", 5, "knn: expected true or false, got 1"),
    ("knn       = true", 'probe = "knn"', 5, "unknown probe 'knn'; known: linear"),
    ("knn       = true", 'splits = { flowers102 = "flowers102_vla" }', 5, "unknown data set 'flowers102_vla'; did "
        "you mean flowers102_val"),
    ("knn       = true", 'splits = { flowers12 = "flowers102_val" }', 5, "unknown data set 'flowers12'; did you mean"),
    ("knn       = true", "splits = { flowers102 = 3 }", 5, "flowers102: expected a string, got 3"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "message"), VIEW_MISTAKES)
def test_a_mistake_in_views_or_in_what_is_judged_is_named_by_its_line(tmp_path, old, new, line, message):
    whole = VIEWED.replace("knn       = true", 'judged = "teacher"\nknn       = true')
    assert old in whole
    with pytest.raises(UserError) as refused:
        read(tmp_path, whole.replace(old, new))
    text = str(refused.value)
    assert re.match(rf"{re.escape(str(tmp_path / 'a.toml'))}:{line}\b", text)
    assert message in text
    assert text.isprintable()


def test_views_that_are_all_local_make_no_batch(tmp_path):
    text = VIEWED.partition("views =")[0] + 'views = [{ name = "local", count = 2, augmentation = [] }]\n'
    with pytest.raises(UserError, match=r"a.toml:12 .* views: expected a view that is not local, for the batch to be"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("count = 2, ", "", 7, "simclr compares 2 versions of each image, and the recipe makes 1"),
        ('"masked"', '"local"', 7, "simclr compares 2 versions of each image, and the recipe makes 1"),
        ('judged    = "teacher"', 'judged = "pupil"', 8, "unknown judged 'pupil'; known: student, teacher"),
        ('probe     = "linear"', "", 1, "a recipe has at least one phase; add [[recipes.scratch.phases]]"),
        ("pretraining.phases", "pretraining.quick", 6, "a recipe has at least one phase"),
    ],
)
def test_a_mistake_in_what_a_probe_comes_after_is_named_by_its_line(tmp_path, old, new, line, message):
    assert old in PROBED
    with pytest.raises(UserError) as refused:
        read(tmp_path, PROBED.replace(old, new))
    text = str(refused.value)
    assert re.match(rf"{re.escape(str(tmp_path / 'a.toml'))}:{line}\b", text)
    assert message in text
    assert text.isprintable()


AGAINST = TEXT + TEXT.replace("scratch", "method").replace('"best"', '"best"\nagainst = "scratch"')


def read_all(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text)
    return recipes.read_all(dict(sections.read(path).section("recipes").sections()))


def test_a_recipe_may_be_held_against_another_wherever_that_stands(tmp_path):
    found = read_all(tmp_path, AGAINST)
    assert list(found) == ["scratch", "method"]
    assert found["method"].against == found["scratch"]
    assert found["scratch"].against is None
    other = AGAINST.removeprefix(TEXT) + TEXT
    assert list(read_all(tmp_path, other)) == ["method", "scratch"]
    assert read_all(tmp_path, other) == found


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('"scratch"', '"scrach"', 28, "unknown against 'scrach'; did you mean scratch?"),
        ('"scratch"', '"method"', 28, "unknown against 'method'; known: scratch"),
        ('"scratch"', "3", 28, "against: expected a string, got 3"),
        ('selection = "best"\n\n', 'selection = "best"\nagainst = "method"\n\n', 4, "unknown against 'method'"),
    ],
)
def test_what_a_recipe_is_held_against_is_another_that_is_held_against_none(tmp_path, old, new, line, message):
    assert old in AGAINST
    with pytest.raises(UserError) as refused:
        read_all(tmp_path, AGAINST.replace(old, new, 1))
    text = str(refused.value)
    assert re.match(rf"{re.escape(str(tmp_path / 'a.toml'))}:{line}\b", text)
    assert message in text
    assert text.isprintable()
