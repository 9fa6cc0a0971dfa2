"""Which cases there are: the quick rows, all rows, and rows and columns that a user adds."""

from collections import Counter
from dataclasses import replace

import pytest
from _pytest.mark.expression import Expression

from vitbench import papers
from vitbench.case import Budget
from vitbench.errors import UserError
from vitbench.selection import Selection, is_settled, sizes, sort_key, timings, trained

TEXT = """\
title = "Mine"
authors = "Me"
year = 2026
[models]
vit = { printed = "ViT", full = "vit/floros2024", tiny = "vit/tiny" }
cvt = { printed = "CvT", full = "cvt/floros2024", tiny = "cvt/tiny" }
[terms]
me = { ratio = 0.75 }
[recipes.scratch]
protocol = "paper"
selection = "last"
[[recipes.scratch.phases]]
epochs = 100
batch_size = 128
optimizer = { name = "adam", lr = 1e-4 }
schedule = { name = "constant" }
[[recipes.scratch.quick]]
epochs = 2
batch_size = 64
optimizer = { name = "adamw", lr = 1e-3 }
schedule = { name = "constant" }
[quick]
weights = { me = 0.1, drloc = 0.2 }
[tables."1"]
title = "One"
where = "here"
recipe = "scratch"
columns = ["cifar10", "cifar100"]
rows = [
  ["vit", "ce", 60.0, 30.0],
  ["vit", "ce + 0.1*me", 61.0, 31.0],
  ["vit", "ce + 0.2*me", 62.0, 32.0],
  ["vit", "ce + 0.1*me(ratio=0.85)", 63.0, 33.0],
  ["vit", "ce + 0.2*drloc + 0.1*me", 64.0, 34.0],
  ["cvt", "ce", 70.0, "-"],
  ["cvt", "ce + 0.1*drloc", 71.0, "-"],
  ["cvt", "ce + 0.1*me(ratio=0.75)", 72.0, "-"],
]
[tables."2"]
title = "Two"
where = "there"
recipe = "scratch"
columns = ["cifar10"]
rows = [["cvt", "ce", 70.0], ["cvt", "ce + 0.2*drloc", 72.0]]
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return papers.load(path)


def ids(paper, **options):
    return [case.id.removeprefix("mine/") for case in Selection(**options).cases([paper])]


QUICK = [
    "1/cvt/ce/digits",
    "1/cvt/ce+0.1me_ratio0.75/digits",
    "1/vit/ce/digits",
    "1/vit/ce+0.1me/digits",
    "1/vit/ce+0.2drloc+0.1me/digits",
    "2/cvt/ce/digits",
    "2/cvt/ce+0.2drloc/digits",
]


def test_quick_has_one_row_per_model_and_set_of_terms_at_the_settled_weights_on_the_digits(mine):
    assert ids(mine) == QUICK


def test_all_rows_are_all_rows(mine):
    found = ids(mine, all_rows=True)
    assert len(found) == 10
    assert set(QUICK) < set(found)
    assert all(one.endswith("/digits") for one in found)


def test_a_data_set_stands_in_for_the_digits(mine):
    found = ids(mine, datasets=("cifar10", "cifar100"))
    assert sorted(found) == sorted(one.replace("digits", name) for one in QUICK for name in ("cifar10", "cifar100"))


@pytest.mark.parametrize("budget", [Budget.SHORT, Budget.PAPER])
def test_the_other_budgets_have_the_printed_cells(mine, budget):
    cases = Selection(budget=budget).cases([mine])
    assert {case.id for case in cases} == {case.id for case in mine.cases}
    assert len(cases) == 15
    assert all(case.claims for case in cases)


def test_a_data_set_is_a_further_column_of_them(mine):
    printed = ids(mine, budget=Budget.PAPER)
    found = ids(mine, budget=Budget.PAPER, datasets=("digits",))
    assert set(printed) < set(found)
    added = set(found) - set(printed)
    assert added == {one.rpartition("/")[0] + "/digits" for one in printed}


def test_an_objective_is_a_further_row_for_every_model_of_every_table(mine):
    found = ids(mine, objectives=("ce + 0.3*me(ratio=0.5)",))
    added = sorted(set(found) - set(QUICK))
    assert added == [f"{table}/ce+0.3me_ratio0.5/digits" for table in ("1/cvt", "1/vit", "2/cvt")]


def test_a_model_is_a_further_row_under_every_objective(mine):
    found = ids(mine, models=("resnet/tiny",))
    added = sorted(one for one in set(found) - set(QUICK) if one.startswith("1"))
    objectives = ["ce", "ce+0.1me", "ce+0.1me_ratio0.75", "ce+0.2drloc+0.1me"]
    assert added == sorted(f"1/resnet.tiny/{one}/digits" for one in objectives)


def test_model_and_objective_meet(mine):
    found = ids(mine, models=("resnet/tiny",), objectives=("ce + 0.3*drloc",))
    assert {"1/resnet.tiny/ce+0.3drloc/digits", "1/vit/ce+0.3drloc/digits", "1/resnet.tiny/ce/digits"} < set(found)


def test_an_added_model_is_the_same_network_in_every_budget(mine):
    for budget in Budget:
        cases = Selection(budget=budget, models=("resnet/tiny",)).cases([mine])
        assert {case.model.at(budget) for case in cases if case.model.name == "resnet/tiny"} == {"resnet/tiny"}


def test_an_added_row_that_is_printed_already_keeps_what_is_printed(mine):
    objectives = ("ce + 0.2*me", "ce")
    cases = Selection(budget=Budget.PAPER, objectives=objectives).cases([mine])
    (case,) = (case for case in cases if case.id == "mine/1/vit/ce+0.2me/cifar100")
    assert case.claim("accuracy").value == 32.0


def test_what_is_added_has_nothing_printed(mine):
    selection = Selection(budget=Budget.PAPER, objectives=("ce + 0.3*me",), datasets=("digits",))
    printed = {case.id for case in mine.cases}
    assert not [case for case in selection.cases([mine]) if case.claims and case.id not in printed]


SELECTIONS = [
    {},
    {"all_rows": True},
    {"budget": Budget.PAPER},
    {
        "models": ("resnet/tiny", "vit/tiny"),
        "objectives": ("ce + 0.3*me", "0.5*ce", "ce + 0.1*me"),
        "datasets": ("digits",),
    },
]


@pytest.mark.parametrize("options", SELECTIONS)
def test_ids_are_unique_and_sorted_and_selectable(mine, options):
    cases = Selection(**options).cases([mine])
    assert max(Counter(case.id for case in cases).values()) == 1
    assert cases == sorted(cases, key=sort_key)
    for case in cases:
        Expression.compile(case.id)


@pytest.mark.parametrize("options", [*SELECTIONS, {"objectives": ("0.5*drloc",)}])
def test_plain_cross_entropy_comes_before_what_is_compared_with_it(mine, options):
    seen = set()
    for case in Selection(**options).cases([mine]):
        row = (case.table, case.model.name)
        assert case.is_baseline or row in seen
        seen.add(row)


def test_the_order_of_papers_and_options_does_not_matter(mine):
    first = ids(mine, objectives=("ce + 0.3*me", "ce + 0.4*me"), models=("vit/tiny", "cvt/tiny"))
    assert first == ids(mine, objectives=("ce + 0.4*me", "ce + 0.3*me"), models=("cvt/tiny", "vit/tiny"))


def test_the_selection_of_the_package_is_the_same_from_run_to_run():
    found = papers.load_all()
    assert Selection().cases(found) == Selection().cases(tuple(reversed(found)))


@pytest.mark.parametrize(
    ("row", "settled"),
    [
        ("1/vit/ce", True),
        ("1/vit/ce+0.1me", True),
        ("1/vit/ce+0.2me", False),
        ("1/vit/ce+0.1me_ratio0.85", False),
        ("1/cvt/ce+0.1me_ratio0.75", True),
        ("1/cvt/ce+0.1drloc", False),
        ("1/vit/ce+0.2drloc+0.1me", True),
    ],
)
def test_settled_is_the_papers_weight_with_its_default_arguments(mine, row, settled):
    (case,) = (case for case in mine.cases if case.id == f"mine/{row}/cifar10")
    assert is_settled(mine, case) is settled


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"datasets": ("imagefolder",)}, "--dataset: imagefolder is whatever folder you name; write imagefolder:PATH"),
        ({"datasets": ("digitz",)}, "--dataset: unknown data set 'digitz'; did you mean digits?"),
        (
            {"datasets": ("imagefolder:/mine/\udcff",)},
            r"--dataset: expected a name in UTF-8, as records are, got 'imagefolder:/mine/\udcff'; rename the folder",
        ),
        ({"models": ("vitt/tiny",)}, "--model: unknown model 'vitt'; did you mean vit"),
        ({"models": ("vit/tinny",)}, "--model: unknown variant of vit 'tinny'; did you mean tiny?"),
        ({"objectives": ("ce + 0.1*drlok",)}, "--objective: unknown term 'drlok'; did you mean drloc"),
        ({"objectives": ("ce + 0.1drloc",)}, "--objective: cannot read the objective 'ce + 0.1drloc'"),
        ({"objectives": ("ce + me(ration=1)",)}, "--objective: unknown argument of me 'ration'; did you mean ratio"),
        ({"objectives": ("ce", "nowhere.mine")}, "--objective: term 'nowhere.mine': no module 'nowhere'"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(UserError) as refused:
        Selection(**options).check()
    assert str(refused.value).startswith(message)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("CLASSES = 10\nIMAGE_SIZE = 32\n", "needs a line `DIGEST = …` with a literal value; add it"),
        ("DIGEST = 'x'\nIMAGE_SIZE = 32\n", "needs a line `CLASSES = …` with a literal value; add it"),
        ("DIGEST = 'x'\nCLASSES = 10\n", "needs a line `IMAGE_SIZE = …` with a literal value; add it"),
        (
            "DIGEST = 'x'\nCLASSES = '10'\nIMAGE_SIZE = 32\n",
            "sets CLASSES to '10'; it must be a whole number from 1 up",
        ),
        ("DIGEST = 1\nCLASSES = 10\nIMAGE_SIZE = 32\n", "sets DIGEST to 1; it must be a string"),
        ("DIGEST = 'x'\nCLASSES = 10\nIMAGE_SIZE = 32\nTRAIN = '9'\n", "sets TRAIN to '9'; it must be a whole number"),
        ("DIGEST = 'x'\nCLASSES = 10\nIMAGE_SIZE = -1\n", "sets IMAGE_SIZE to -1; it must be a whole number from 1 up"),
    ],
)
def test_somebodys_data_set_says_what_it_is(tmp_path, monkeypatch, lines, message):
    name = f"data_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(f"{lines}def build(root, *, image_size, download): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError) as refused:
        Selection(datasets=(f"{name}.build",)).check()
    assert str(refused.value).startswith(f"{tmp_path / name}.py: the data set '{name}.build' {message}")


SAME_ID = [
    ({"objectives": ("ce + 0.3*me(kind='x y')", "ce + 0.3*me(kind='x-y')")}, ("kind='x y'", "kind='x-y'")),
    ({"objectives": ("ce + 0.3*me(on=True)", "ce + 0.3*me(on='true')")}, ("on=True", "on='true'")),
    ({"objectives": ("ce + 0.3*me(a=1, b=2)", "ce + 0.3*me(a='1_b2')")}, ("a=1, b=2", "a='1_b2'")),
    ({"models": ("my.net/a", "my.net.a")}, ("my.net/a", "my.net.a")),
    ({"datasets": ("my/data", "my.data")}, ("my/data", "my.data")),
]


@pytest.mark.parametrize(("options", "both"), SAME_ID)
def test_two_experiments_never_share_an_id(mine, options, both):
    with pytest.raises(UserError, match=r"^two experiments have the id mine/1/.*; leave one of them out$") as refused:
        Selection(**options).cases([mine])
    assert all(one in str(refused.value).replace("\\'", "'") for one in both)


@pytest.mark.parametrize("choose", [lambda paper, cases: timings(cases), lambda paper, cases: sizes([paper], cases)])
def test_nor_do_two_whose_weights_differ_too(mine, choose):
    options = {"objectives": ("ce + 0.3*me(on=True)", "ce + 0.4*me(on='true')")}
    cases = Selection(**options).cases([mine])
    with pytest.raises(UserError, match=r"^two experiments have the id mine/s.*on=True.*on='true'"):
        choose(mine, cases)


def test_an_experiment_that_is_named_twice_is_one(mine):
    assert ids(mine, objectives=("ce + 0.3*me", "0.3*me + ce"), models=("vit/tiny", "vit/tiny")) == ids(
        mine, objectives=("ce + 0.3*me",), models=("vit/tiny",)
    )


def test_right_options_pass():
    Selection(datasets=("digits",), models=("vit/tiny",), objectives=("ce + 0.1*me(ratio=0.5)",)).check()


def test_sizes_are_counted_once_per_model_terms_and_data_set_of_the_tables(mine):
    cases = Selection(all_rows=True).cases([mine])
    found = [case.id.removeprefix("mine/") for case in sizes([mine], cases)]
    terms = {"cvt": ["ce", "ce+drloc", "ce+me"], "vit": ["ce", "ce+drloc+me", "ce+me", "ce+me_ratio0.85"]}
    columns = {"cvt": ["cifar10"], "vit": ["cifar10", "cifar100"]}  # nothing is printed of cvt on cifar100
    expected = [f"size/{m}/{t}/{d}" for m in terms for t in terms[m] for d in columns[m]]
    assert sorted(found) == sorted(expected)
    added = sizes([mine], Selection(models=("resnet/tiny",)).cases([mine]))
    assert {case.dataset for case in added if case.model.name == "resnet/tiny"} == {"cifar10", "cifar100"}


def test_timings_are_taken_once_per_model_and_terms_at_the_budgets_own_size(mine):
    found = [case.id.removeprefix("mine/") for case in timings(Selection().cases([mine]))]
    assert found == [
        "speed/cvt/ce/digits",
        "speed/cvt/ce+drloc/digits",
        "speed/cvt/ce+me/digits",
        "speed/vit/ce/digits",
        "speed/vit/ce+drloc+me/digits",
        "speed/vit/ce+me/digits",
    ]


READINGS = (
    TEXT.replace("weights = { me = 0.1, drloc = 0.2 }", "weights = { me = { vit = 0.1, cvt = 0.2 }, drloc = 0.2 }")
    .replace('recipe = "scratch"', 'recipes = ["scratch", "again"]', 1)
    .replace('[quick]', """\
[recipes.again]
protocol = "code"
selection = "best"
terms.me = { ratio = 0.85 }
[[recipes.again.phases]]
epochs = 101
batch_size = 128
optimizer = { name = "adam", lr = 1e-4 }
schedule = { name = "constant" }
[[recipes.again.quick]]
epochs = 3
batch_size = 64
optimizer = { name = "adamw", lr = 1e-3 }
schedule = { name = "constant" }
[quick]""")
)  # fmt: skip


@pytest.fixture
def read_twice(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(READINGS)
    return papers.load(path)


def test_weights_can_be_those_of_a_model(read_twice):
    assert read_twice.weights == {"me": {"vit": 0.1, "cvt": 0.2}, "drloc": {"vit": 0.2, "cvt": 0.2}}
    found = {one for one in ids(read_twice) if one.startswith("1/")}
    assert found == {
        "1/cvt/ce/digits/scratch",
        "1/cvt/ce/digits/again",
        "1/vit/ce/digits/scratch",
        "1/vit/ce/digits/again",
        "1/vit/ce+0.1me/digits/scratch",
        "1/vit/ce+0.1me/digits/again",
        "1/vit/ce+0.1me_ratio0.85/digits/again",  # what this recipe takes where nothing is said
        "1/vit/ce+0.2drloc+0.1me/digits/scratch",
        "1/vit/ce+0.2drloc+0.1me/digits/again",
    }


def test_a_model_without_a_weight_has_no_settled_row_of_the_term(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.replace("me = 0.1, drloc", "me = { vit = 0.1 }, drloc"))
    assert "1/cvt/ce+0.1me_ratio0.75/digits" not in ids(papers.load(path))
    assert "1/vit/ce+0.1me/digits" in ids(papers.load(path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vit = 0.1", "vitt = 0.1", "unknown model 'vitt'; did you mean vit"),
        ("vit = 0.1", 'vit = "0.1"', "vit: expected a number, got '0.1'"),
        ("drloc = 0.2 }", "drlok = 0.2 }", "unknown term 'drlok'; did you mean drloc"),
    ],
)
def test_a_wrong_weight_of_a_model_is_told_by_its_line(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    path.write_text(READINGS.replace(old, new, 1))
    with pytest.raises(UserError) as refused:
        papers.load(path)
    line = READINGS.count("\n", 0, READINGS.index("weights =")) + 1
    assert str(refused.value).startswith(f"{path}:{line}")
    assert message in str(refused.value)


def test_added_rows_come_for_each_reading(read_twice):
    options = {"objectives": ("ce + 0.3*me",), "models": ("resnet/tiny",)}
    added = set(ids(read_twice, **options)) - set(ids(read_twice))
    table = {one for one in added if one.startswith("1/")}
    assert {one.removesuffix("/again") for one in table if one.endswith("/again")} > {
        one.removesuffix("/scratch") for one in table if one.endswith("/scratch")
    }
    assert {"1/vit/ce+0.3me/digits/scratch", "1/resnet.tiny/ce+0.3me/digits/again"} < table
    assert "2/cvt/ce+0.3me/digits" in added


def test_a_case_without_a_quick_form_is_left_out_and_the_rest_of_its_table_stays(read_twice):
    recipes = {name: replace(recipe, quick=()) for name, recipe in read_twice.recipes.items() if name == "again"}
    tables = tuple(
        replace(one, cases=tuple(replace(c, recipe=recipes.get(c.recipe.name, c.recipe)) for c in one.cases))
        for one in read_twice.tables
    )
    found = ids(replace(read_twice, tables=tables))
    assert found == [one for one in ids(read_twice) if not one.endswith("/again")]


def test_readings_stand_side_by_side_plain_cross_entropy_first(read_twice):
    cases = Selection(budget=Budget.PAPER).cases([read_twice])
    assert cases == sorted(cases, key=sort_key)
    assert [case.reading for case in cases[:4]] == ["again", "scratch"] * 2
    assert {case.baseline.reading for case in cases if case.table == "1"} == {"again", "scratch"}


def test_sizes_and_speeds_are_of_no_reading(read_twice, mine):
    twice, once = (Selection(all_rows=True).cases([one]) for one in (read_twice, mine))
    for choose in (timings, lambda cases: sizes([mine], cases)):
        assert not [case for case in choose(twice) if case.reading]
    # A ratio of 0.85 is the default of one of the two, and another row for the other.
    assert {case.id for case in timings(twice)} == {case.id for case in timings(once)} | {
        "mine/speed/cvt/ce+me_ratio0.75/digits"
    }


def test_data_sets_of_as_many_classes_and_pixels_have_one_size(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.replace('["cifar10", "cifar100"]', '["svhn", "cifar10"]'))
    paper = papers.load(path)
    found = {case.dataset for case in sizes([paper], Selection(budget=Budget.PAPER).cases([paper]))}
    assert found == {"cifar10"}  # 10 classes and 32 pixels, both


def test_a_recipe_without_a_quick_form_has_no_quick_cases(mine):
    tables = tuple(
        replace(table, cases=tuple(replace(one, recipe=replace(one.recipe, quick=())) for one in table.cases))
        for table in mine.tables
    )
    without = replace(mine, tables=tables)
    assert not Selection().cases([without])
    assert Selection(budget=Budget.PAPER).cases([without])


BEFORE = """
[recipes.mae]
protocol = "paper"
selection = "last"
[recipes.mae.pretraining]
objective = "mae"
dataset = "cifar100"
[[recipes.mae.pretraining.phases]]
epochs = 4000
batch_size = 128
optimizer = { name = "adam", lr = 1e-4 }
schedule = { name = "constant" }
[[recipes.mae.pretraining.quick]]
epochs = 30
batch_size = 64
optimizer = { name = "adamw", lr = 1e-3 }
schedule = { name = "constant" }
[[recipes.mae.phases]]
epochs = 100
batch_size = 128
optimizer = { name = "adam", lr = 1e-4 }
schedule = { name = "constant" }
[[recipes.mae.quick]]
epochs = 2
batch_size = 64
optimizer = { name = "adamw", lr = 1e-3 }
schedule = { name = "constant" }
[tables."3"]
title = "Three"
where = "elsewhere"
recipe = "mae"
columns = ["cifar10"]
rows = [["vit", "ce", 90.0]]
"""


@pytest.fixture
def pre_trained(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.partition("[tables")[0] + BEFORE)
    return papers.load(path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["vit/ce/digits/scratch", "vit/ce/digits"]),
        ({"budget": Budget.PAPER}, ["vit/ce/cifar10/scratch", "vit/ce/cifar10"]),
        ({"models": ("vit/tiny",)}, ["vit/ce/digits/scratch", "vit/ce/digits"]),
        (
            {"objectives": ("ce + 0.1*me",)},
            ["vit/ce/digits/scratch", "vit/ce/digits", "vit/ce+0.1me/digits"],
        ),
    ],
)
def test_what_is_pre_trained_in_print_has_a_row_from_scratch_here(pre_trained, options, expected):
    assert ids(pre_trained, **options) == [f"3/{one}" for one in expected]
    by_id = {case.id: case for case in Selection(**options).cases([pre_trained])}
    assert [case.claims == () for name, case in by_id.items() if name.endswith("/scratch")] == [True]
    assert all(case.baseline.id in by_id for case in by_id.values())


def test_a_step_of_a_pre_training_is_timed_as_well(pre_trained):
    cases = Selection().cases([pre_trained])
    assert [(one.recipe.kind, one.reading) for one in trained(cases, Budget.QUICK)] == [
        ("run", "scratch"),
        ("pretraining", "mae-pretraining"),
        ("run", ""),
    ]
    found = timings(trained(cases, Budget.QUICK))
    assert [(one.id, one.is_baseline) for one in found] == [
        ("mine/speed/vit/ce/digits", True),
        ("mine/speed/vit/mae/digits", False),
    ]


VIEWED = """
[recipes.viewed]
protocol = "code"
selection = "last"
[[recipes.viewed.phases]]
epochs = 100
batch_size = 128
optimizer = { name = "adam", lr = 1e-4 }
schedule = { name = "constant" }
views = [{ name = "global", count = 2, augmentation = ["flip"] }]
[[recipes.viewed.quick]]
epochs = 2
batch_size = 64
optimizer = { name = "adamw", lr = 1e-3 }
schedule = { name = "constant" }
views = [{ name = "global", count = 2, augmentation = ["flip"] }]
[tables."4"]
title = "Four"
where = "elsewhere"
recipe = "viewed"
columns = ["cifar10"]
rows = [["vit", "ce", 90.0], ["vit", "ce + simclr", 91.0]]
"""
VIEWS = 'views = [{ name = "global", count = 2, augmentation = ["flip"] }]\n'


def loaded(tmp_path, more):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT + more)
    return papers.load(path)


@pytest.mark.parametrize("budget", Budget)
def test_an_objective_that_compares_two_versions_is_added_where_a_recipe_makes_them(tmp_path, budget):
    paper = loaded(tmp_path, VIEWED)
    options = {"budget": budget, "objectives": ("ce + 0.5*distill",)}
    added = set(ids(paper, **options)) - set(ids(paper, budget=budget))
    assert {one.rpartition("/")[0] for one in added} == {"4/vit/ce+0.5distill"}
    # What compares nothing is added to every table.
    plain = set(ids(paper, budget=budget, objectives=("ce + 0.5*me",))) - set(ids(paper, budget=budget))
    assert {one.partition("/")[0] for one in plain} == {"1", "2", "4"}


@pytest.mark.parametrize("budget", Budget)
def test_it_is_added_to_no_recipe_of_which_a_phase_makes_one_version_alone(tmp_path, budget):
    paper = loaded(tmp_path, VIEWED.replace(', ["vit", "ce + simclr", 91.0]', "").replace(f"{VIEWS}[tables", "[tables"))
    with pytest.raises(UserError, match=r"expected one with phases that make 2 versions of each image, got none"):
        ids(paper, budget=budget, objectives=("ce + simclr",))


PROBED = """
[recipes.probed]
protocol = "paper"
selection = "last"
probe = "linear"
[recipes.probed.pretraining]
objective = "mae"
[[recipes.probed.pretraining.phases]]
epochs = 4000
batch_size = 128
optimizer = { name = "adam", lr = 1e-4 }
schedule = { name = "constant" }
[[recipes.probed.pretraining.quick]]
epochs = 30
batch_size = 64
optimizer = { name = "adamw", lr = 1e-3 }
schedule = { name = "constant" }
[tables."5"]
title = "Five"
where = "elsewhere"
recipe = "probed"
columns = ["cifar10"]
rows = [["vit", "ce", "?"]]
"""


@pytest.fixture
def probed(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.partition("[tables")[0] + PROBED)
    return papers.load(path)


def test_a_probe_is_run_and_has_no_step_to_time(probed):
    cases = Selection().cases([probed])
    assert [case.id for case in cases] == ["mine/5/vit/ce/digits/scratch", "mine/5/vit/ce/digits"]
    assert [one.recipe.kind for one in trained(cases, Budget.QUICK)] == ["pretraining"]
    assert [case.id for case in timings(trained(cases, Budget.QUICK))] == ["mine/speed/vit/mae/digits"]


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("ce + 0.3*me", "phases"),
        ("distill + ce", "phases that make 2 versions of each image"),
    ],
)
def test_an_objective_that_no_selected_recipe_can_train_is_one_line(probed, objective, expected):
    with pytest.raises(UserError) as refused:
        Selection(objectives=(objective,)).cases([probed])
    assert str(refused.value) == (
        f"--objective: no selected recipe can train {objective!r}: expected one with {expected}, got none; "
        "add one to a data file, or leave the objective out"
    )
    assert str(refused.value).isprintable()


def test_one_recipe_that_can_train_an_objective_is_enough_whoever_else_cannot(tmp_path):
    paper = loaded(tmp_path, PROBED)
    added = set(ids(paper, objectives=("ce + 0.3*me",))) - set(ids(paper))
    assert {one.partition("/")[0] for one in added} == {"1", "2"}


def test_with_nothing_selected_there_is_nothing_to_refuse():
    assert Selection(objectives=("distill",)).cases([]) == []


def test_a_sum_that_is_printed_with_one_choice_of_weights_is_settled(tmp_path):
    rows = '["vit", "ce + 0.7*me + simclr", 91.0], ["vit", "0.5*ce + simclr", 92.0], ["vit", "0.6*ce + simclr", 92.0]'
    paper = loaded(tmp_path, VIEWED.replace('["vit", "ce + simclr", 91.0]', rows))
    found = {str(case.objective): is_settled(paper, case) for case in paper.cases if case.table == "4"}
    assert found == {
        "ce": True,
        "ce + 0.7*me + simclr": True,
        "0.5*ce + simclr": False,
        "0.6*ce + simclr": False,
    }
