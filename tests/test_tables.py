"""Tables that several recipes run, in parts, of data sets, with what is missing to run them."""

import re

import pytest

from vitbench import papers
from vitbench.case import Status
from vitbench.errors import UserError
from vitbench.objective import parse

TEXT = """\
title = "Mine"
authors = "Me"
year = 2026
[models]
vit = { printed = "ViT", full = "vit/floros2024", tiny = "vit/tiny" }
cvt = { printed = "CvT", full = "cvt/floros2024", tiny = "cvt/tiny" }
[terms]
drloc = { pairs = 64, sharing = "batch" }
[datasets]
cifar100 = { status = "needs-data", reason = "by hand" }
jft = { status = "printed-only", reason = "no cell is trained on it" }
[recipes.paper]
protocol = "paper"
selection = "last"
[[recipes.paper.phases]]
epochs = 100
batch_size = 128
optimizer = { name = "adam", lr = 1e-4 }
schedule = { name = "constant" }
[recipes.code]
protocol = "code"
selection = "best"
terms.drloc = { sharing = "image" }
[[recipes.code.phases]]
epochs = 101
batch_size = 128
optimizer = { name = "adam", lr = 1e-4 }
schedule = { name = "constant" }
[recipes.rerun]
protocol = "code"
selection = "best"
[[recipes.rerun.phases]]
epochs = 101
batch_size = 64
optimizer = { name = "adam", lr = 1e-4 }
schedule = { name = "constant" }
[tables."1"]
title = "Data sets"
where = "here"
of = "datasets"
notes = [{ dataset = "jft", metric = "test_images", text = "the test set has no labels" }]
columns = ["train_images", "test_images", "classes"]
rows = [
  ["jft", 1281167, 100000, 1000],
  ["cifar10", 50000, 10000, "-"],
]
[tables."2"]
title = "Both readings"
where = "here"
recipes = ["paper", "code"]
columns = [{ dataset = "", metric = "params" }, "cifar10", { dataset = "cifar10", metric = "gain" }, "cifar100"]
notes = [
  { model = "vit", objective = "ce", metric = "params", text = "rounded" },
  { model = "vit", objective = "ce + 0.1*drloc", dataset = "cifar10", metric = "gain", text = "is +0.99" },
]
rows = [
  ["vit", "ce", 15, 60.01, "-", 30.0],
  ["vit", "ce + 0.1*drloc", 15, 61.0, +1.0, "-"],
]
[tables."3"]
title = "In parts"
where = "there"
recipes = ["paper", "code"]
status = "needs-weights"
reason = "of ImageNet"
[[tables."3".parts]]
columns = ["cifar10"]
rows = [["vit", "ce", 70.0], ["cvt", "ce", 71.0]]
[[tables."3".parts]] # again, by the authors
recipe = "rerun"
source = "rerun"
status = "needs-data"
reason = "theirs"
note = "one GPU"
notes = [{ model = "cvt", objective = "ce", dataset = "cifar10", text = "a notebook" }]
columns = ["cifar10"]
rows = [["vit", "ce", 80.0], ["cvt", "ce", 81.0]]
[tables."4"]
title = "One recipe"
where = "there"
recipe = "rerun"
columns = ["cifar10"]
rows = [["vit", "ce", 90.0]]
"""


def load(tmp_path, text=TEXT):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return papers.load(path)


@pytest.fixture
def mine(tmp_path):
    return load(tmp_path)


def table(paper, name):
    return next(one for one in paper.tables if one.id == name)


def test_every_recipe_makes_a_case_of_a_cell_with_the_recipe_at_the_end_of_the_id(mine):
    assert [case.id for case in table(mine, "2").cases] == [
        "mine/2/vit/ce/cifar10/paper",
        "mine/2/vit/ce/cifar10/code",
        "mine/2/vit/ce/cifar100/paper",
        "mine/2/vit/ce/cifar100/code",
        "mine/2/vit/ce+0.1drloc/cifar10/paper",
        "mine/2/vit/ce+0.1drloc/cifar10/code",
    ]


def test_the_cases_of_a_table_that_prints_curves_say_so_and_their_baselines_too(tmp_path, mine):
    assert not any(case.curves for case in mine.cases)
    drawn = load(tmp_path, TEXT.replace('[tables."2"]', '[tables."2"]\ncurves = true'))
    assert {case.table for case in drawn.cases if case.curves and case.baseline.curves} == {"2"}
    assert all(case.curves for case in table(drawn, "2").cases)
    assert [case.id for case in drawn.cases] == [case.id for case in mine.cases]


def test_all_of_them_carry_the_same_claims(mine):
    for case in table(mine, "2").cases:
        if case.dataset == "cifar10" and not case.is_baseline:
            assert [(one.metric, one.value) for one in case.claims] == [("accuracy", 61.0), ("gain", 1.0)]


def test_a_recipe_has_its_own_arguments_before_the_papers(mine):
    found = {case.reading: case.defaults["drloc"] for case in table(mine, "2").cases}
    assert found == {"paper": {"pairs": 64, "sharing": "batch"}, "code": {"pairs": 64, "sharing": "image"}}
    assert mine.defaults["drloc"]["sharing"] == "batch"


def test_a_printed_number_is_one_line_whatever_runs_it(mine):
    rows = [tuple(row.values())[1:] for row in papers.claims((mine,)) if row["table"] in "12"]
    assert rows == [
        ("1", "", "", "jft", "", "train_images", "1281167", "printed", "printed-only"),
        ("1", "", "", "jft", "", "test_images", "100000", "printed", "printed-only"),
        ("1", "", "", "jft", "", "classes", "1000", "printed", "printed-only"),
        ("1", "", "", "cifar10", "", "train_images", "50000", "printed", "printed-only"),
        ("1", "", "", "cifar10", "", "test_images", "10000", "printed", "printed-only"),
        ("2", "vit", "ce", "", "", "params", "15.00", "printed", "runnable"),
        ("2", "vit", "ce", "cifar10", "paper", "accuracy", "60.01", "printed", "runnable"),
        ("2", "vit", "ce", "cifar100", "paper", "accuracy", "30.00", "printed", "needs-data"),
        ("2", "vit", "ce + 0.1*drloc", "", "", "params", "15.00", "printed", "runnable"),
        ("2", "vit", "ce + 0.1*drloc", "cifar10", "paper", "accuracy", "61.00", "printed", "runnable"),
        ("2", "vit", "ce + 0.1*drloc", "cifar10", "paper", "gain", "1.00", "printed", "runnable"),
    ]


def test_a_table_of_data_sets_makes_no_case(mine):
    assert table(mine, "1").cases == ()
    assert table(mine, "1").columns == ()


def test_what_is_missing_is_said_by_the_part_else_the_table_else_the_data_set(mine):
    found = {(one.dataset, one.claim.status, one.claim.reason) for one in table(mine, "2").printed}
    assert found == {
        ("", Status.RUNNABLE, ""),
        ("cifar10", Status.RUNNABLE, ""),
        ("cifar100", Status.NEEDS_DATA, "by hand"),
    }
    found = [(case.reading, case.claims[0].status, case.claims[0].reason) for case in table(mine, "3").cases]
    assert found[:2] == [(one, Status.NEEDS_WEIGHTS, "of ImageNet") for one in ("paper", "code")]
    assert found[-1] == ("rerun", Status.NEEDS_DATA, "theirs")


def test_parts_with_the_same_rows_and_columns_differ_by_their_recipes(mine):
    again = table(mine, "3")
    values = {case.id.removeprefix("mine/3/"): case.claims[0].value for case in again.cases}
    assert values == {
        "vit/ce/cifar10/paper": 70.0,
        "vit/ce/cifar10/code": 70.0,
        "cvt/ce/cifar10/paper": 71.0,
        "cvt/ce/cifar10/code": 71.0,
        "vit/ce/cifar10/rerun": 80.0,
        "cvt/ce/cifar10/rerun": 81.0,
    }
    assert again.columns == (("cifar10", "accuracy"),)
    assert again.readings == ("paper", "code", "rerun")
    assert [case.model.name for case in again.under("rerun").cases] == ["vit", "cvt"]
    assert {case.claims[0].source for case in again.under("rerun").cases} == {"rerun"}
    assert {case.claims[0].source for case in again.under("code").cases} == {"printed"}


def test_one_recipe_needs_no_name_in_the_id(mine):
    assert [case.id for case in table(mine, "4").cases] == ["mine/4/vit/ce/cifar10"]
    assert table(mine, "4").readings == ("",)


def test_notes_stand_where_they_belong(mine):
    found = [
        (one.claim.note, name, one.claim.value)
        for name in "1234"
        for one in table(mine, name).printed
        if one.claim.note
    ]
    assert found == [
        ("the test set has no labels", "1", 100000.0),
        ("rounded", "2", 15.0),
        ("is +0.99", "2", 1.0),
        ("one GPU", "3", 80.0),
        ("one GPU; a notebook", "3", 81.0),
    ]


def test_a_case_has_the_notes_of_its_claims(mine):
    noted = [case.id for case in mine.cases if case.claim("gain") and case.claim("gain").note]
    assert noted == ["mine/2/vit/ce+0.1drloc/cifar10/paper", "mine/2/vit/ce+0.1drloc/cifar10/code"]


def test_rows_that_one_recipe_each_runs_need_no_name_in_the_id(tmp_path):
    text = TEXT.replace(
        '["vit", "ce", 80.0], ["cvt", "ce", 81.0]', '["vit", "ce + drloc", 80.0], ["cvt", "ce + drloc", 81.0]'
    )
    text = text.replace(
        'title = "In parts"\nwhere = "there"\nrecipes = ["paper", "code"]',
        'title = "In parts"\nwhere = "there"\nrecipe = "paper"',
    )
    text = text.replace('dataset = "cifar10", text = "a notebook"', 'dataset = "cifar10", text = "x"').replace(
        'model = "cvt", objective = "ce", dataset', 'model = "cvt", objective = "ce + drloc", dataset'
    )
    found = table(load(tmp_path, text), "3")
    assert [(case.id.removeprefix("mine/3/"), case.recipe.name) for case in found.cases] == [
        ("vit/ce/cifar10", "paper"),
        ("cvt/ce/cifar10", "paper"),
        ("vit/ce+drloc/cifar10", "rerun"),
        ("cvt/ce+drloc/cifar10", "rerun"),
    ]
    assert found.readings == ("",)


def test_what_is_printed_only_may_do_without_a_recipe_and_is_no_case(tmp_path):
    text = TEXT.replace('recipe = "rerun"\ncolumns', 'status = "printed-only"\nreason = "a curve"\ncolumns')
    found = table(load(tmp_path, text), "4")
    assert (found.cases, found.columns) == ((), ())
    assert [(one.cell, one.claim.value, one.recipes) for one in found.printed] == [(("vit", "ce", "cifar10"), 90.0, ())]


MACS = """\
[tables."5"]
title = "Costs"
where = "there"
convention = "layers"
[[tables."5".parts]]
recipe = "paper"
columns = ["cifar10", { dataset = "", metric = "params" }, { dataset = "", metric = "macs" }]
rows = [["vit", "ce", 70.0, 15, 1.0]]
[[tables."5".parts]]
recipe = "code"
convention = "without attention"
columns = ["cifar10", { dataset = "", metric = "params" }, { dataset = "", metric = "macs" }]
rows = [["cvt", "ce", 71.0, 15, 0.5]]
"""


def test_printed_macs_name_what_they_count_and_nothing_else_does(tmp_path):
    found = table(load(tmp_path, TEXT + MACS), "5")
    assert [(one.model, one.claim.metric, one.claim.convention) for one in found.printed] == [
        ("vit", "accuracy", ""),
        ("vit", "params", ""),
        ("vit", "macs", "layers"),
        ("cvt", "accuracy", ""),
        ("cvt", "params", ""),
        ("cvt", "macs", "without attention"),
    ]


# The line is counted from the table's heading.
@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('convention = "layers"\n', "", 0, "the key 'convention' is missing"),
        ('"layers"', '"layer"', 3, "unknown convention 'layer'; did you mean layers"),
        ('"without attention"', '"macs"', 10, "unknown convention 'macs'; known: fvcore, layers, matmul+conv, without"),
    ],
)
def test_macs_of_no_known_convention_are_refused(tmp_path, old, new, line, message):
    with pytest.raises(UserError) as refused:
        load(tmp_path, TEXT + MACS.replace(old, new))
    assert f"mine.toml:{TEXT.count(chr(10)) + 1 + line}" in str(refused.value)
    assert message in str(refused.value)


# What stands there, what is written instead, what the error says; the error names the line of the edit.
MISTAKES = {
    "no such kind of table": ('of = "datasets"', 'of = "dataset"', "unknown of 'dataset'; did you mean datasets"),
    "curves that are no choice": ('recipes = ["paper", "code"]', 'recipes = ["paper", "code"]\ncurves = "some"',
        "curves: expected true or false"),
    "a recipe of data sets": ('of = "datasets"', 'of = "datasets"\nrecipe = "paper"', "unknown key 'recipe'"),
    "no such data set": ('["cifar10", 50000', '["cifar1", 50000', "unknown data set 'cifar1'; did you mean cifar10"),
    "a row of data sets too short": ("100000, 1000", "100000", "a row is a data set and 3 numbers"),
    "a row of data sets with an objective": ('["cifar10", 50000', '["vit", "ce"', "unknown data set 'vit'"),
    "a metric that is none": ('["train_images"', '["train_image"', "unknown metric 'train_image'; did you mean train_"),
    "a column of data sets that is no name": ('["train_images"', "[3", "unknown metric '3'"),
    "a column of data sets that is a list": ('["train_images"', '[["a"]', """unknown metric "['a']"; """),
    "a column of data sets that is a table": ('["train_images"', "[{ a = 1 }", """unknown metric "{'a': 1}"; """),
    "a data set twice": ('["cifar10", 50000, 10000', '["jft", 50000, 10000', "jft stands in this table"),
    "more than every number": ("50000", "inf", "train_images is a number in [0, inf]"),
    "less than none": ("50000", "-50000", "train_images is a number in [0, inf]"),
    "a status that is none": ('"needs-data", reason = "by', '"needs-dat", reason = "by',
        "unknown status 'needs-dat'; did you mean needs-data"),
    "a status that says nothing": ('"needs-data", reason = "by', '"runnable", reason = "by', "unknown status"),
    "a status without a reason": (', reason = "by hand"', "", "the key 'reason' is missing"),
    "a reason without a status": ('status = "needs-data", reason = "by', 'reason = "by', "the key 'status' is missing"),
    "more of a data set": ('reason = "by hand"', 'reason = "by hand", url = "x"', "unknown key 'url'"),
    "what is missing of no data set": ("cifar100 = { status", "cifar1000 = { status", "unknown data set 'cifar1000'"),
    "training on what cannot be had": ('"gain" }, "cifar100"]', '"gain" }, "jft"]', "unknown data set 'jft'"),
    "two keys for the recipes": ('recipes = ["paper", "code"]', 'recipe = "paper"\nrecipes = ["paper", "code"]',
        "expected `recipe = …` or several different `recipes`"),
    "one of several recipes": ('recipes = ["paper", "code"]', 'recipes = ["paper"]', "got ['paper']; keep one"),
    "a recipe twice": ('recipes = ["paper", "code"]', 'recipes = ["paper", "paper"]', "several different `recipes`"),
    "an unknown recipe among several": ('recipes = ["paper", "code"]', 'recipes = ["paper", "cod"]',
        "unknown recipe 'cod'; did you mean code"),
    "a recipe that is no name": ('recipes = ["paper", "code"]', "recipes = [3, 4]", "unknown recipe '3'"),
    "recipes that are no list": ('recipes = ["paper", "code"]', 'recipes = "paper"', "recipes: expected a list"),
    "a source that is none": ('source = "rerun"', 'source = "rerum"', "unknown source 'rerum'; did you mean rerun"),
    "a part that is run as another": ('recipe = "rerun"\nsource', 'recipe = "code"\nsource',
        "vit under ce stands in this table before; keep one row"),
    "a note on no metric of the cell": ('metric = "gain", text', 'metric = "knn", text',
        "the note is on ('vit', 'ce + 0.1*drloc', 'cifar10', 'knn'), which is no cell of this table"),
    "a note of a part on a row of another": ('{ model = "cvt", objective = "ce", dataset = "cifar10", text',
        '{ model = "cvt", objective = "ce", dataset = "cifar100", text', "is on ('cvt', 'ce', 'cifar100'), which is"),
    "an empty name": ('"cifar10", { dataset = "cifar10"', '"", { dataset = "cifar10"', "unknown data set ''"),
}  # fmt: skip

# Where the line that is named is not that of the edit: the row that comes too late, the section without the key.
ELSEWHERE = {
    "two keys for the recipes": 1,
    "a recipe of data sets": 1,
    "curves that are no choice": 1,
    "a part that is run as another": 7,
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_that_names_file_line_and_the_way_out(tmp_path, name):
    old, new, message = MISTAKES[name]
    with pytest.raises(UserError) as refused:
        load(tmp_path, TEXT.replace(old, new, 1))
    text = str(refused.value)
    assert text.isprintable()
    line, said = re.fullmatch(rf"{re.escape(str(tmp_path / 'mine.toml'))}:(\d+)\b(.*)", text).groups()
    assert message in said
    assert int(line) == TEXT.count("\n", 0, TEXT.index(old)) + 1 + ELSEWHERE.get(name, 0)


def test_the_parts_of_an_objective_are_matched_in_any_order(tmp_path):
    text = TEXT.replace('objective = "ce + 0.1*drloc", dataset', 'objective = "0.1*drloc + ce", dataset')
    assert table(load(tmp_path, text), "2").printed == table(load(tmp_path), "2").printed
    assert table(load(tmp_path), "2").printed[-1].objective == parse("ce + 0.1*drloc")


NAMED = """\
[tables."6"]
title = "Quoted"
where = "there"
[[tables."6".parts]]
recipe = "jft-300m"
columns = ["cifar10", "jft"]
rows = [["vit", "ce + 0.5*byol", 80.0, 60.0], ["layer", "", "-", 50.0]]
[[tables."6".parts]]
recipe = "other"
columns = ["cifar10"]
rows = [["vit", "ce + 0.5*byol", 81.0]]
"""


def named(tmp_path, **changes):
    """The paper with a term, two recipes and a model that are only named, and a table of them."""
    text = TEXT.replace("[terms]\n", 'layer = { printed = "a layer" }\n[terms]\n')
    text = text.replace("[datasets]\n", '[terms.byol]\nstatus = "printed-only"\nreason = "no loss"\n[datasets]\n')
    recipes = (
        '[recipes]\njft-300m = { status = "printed-only", reason = "quoted" }\n'
        'other = { status = "printed-only", reason = "quoted, too" }\n'
    )
    text = text.replace("[recipes.paper]\n", f"{recipes}[recipes.paper]\n", 1) + NAMED
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return load(tmp_path, text)


def test_what_is_only_named_stands_in_print_told_apart_by_recipe_and_makes_no_case(tmp_path):
    paper = named(tmp_path)
    found = table(paper, "6")
    assert (found.cases, found.columns) == ((), ())
    assert [(one.cell, one.claim.value, one.label, one.claim.reason) for one in found.printed] == [
        (("vit", "ce + 0.5*byol", "cifar10"), 80.0, "jft-300m", "quoted"),
        (("vit", "ce + 0.5*byol", "jft"), 60.0, "jft-300m", "quoted"),
        (("layer", "", "jft"), 50.0, "jft-300m", "quoted"),
        (("vit", "ce + 0.5*byol", "cifar10"), 81.0, "other", "quoted, too"),
    ]
    assert {one.claim.status for one in found.printed} == {Status.PRINTED_ONLY}
    assert set(paper.recipes) == {"paper", "code", "rerun"}
    assert set(paper.defaults) == {"drloc"}
    rows = [row for row in papers.claims((paper,)) if row["table"] == "6"]
    assert [row["recipe"] for row in rows] == ["jft-300m", "jft-300m", "jft-300m", "other"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('recipe = "other"', 'recipe = "paper"', "unknown term 'byol'"),
        (
            'recipe = "jft-300m"\ncolumns = ["cifar10", "jft"]',
            'recipe = "paper"\ncolumns = ["jft", "cifar10"]',
            "'jft'",
        ),
        ('"ce + 0.5*byol", 80.0', '"ce + 0.5*boyl", 80.0', "unknown term 'boyl'"),
        ('recipe = "jft-300m"', 'recipe = "jft-300"', "unknown recipe 'jft-300'; did you mean jft-300m"),
        ('recipe = "other"', 'recipe = "jft-300m"', "vit under ce + 0.5*byol stands in this table before"),
        (
            'recipe = "rerun"\ncolumns = ["cifar10"]\nrows = [["vit"',
            'recipe = "rerun"\ncolumns = ["cifar10"]\nrows = [["layer"',
            "layer has no network; give it `full`",
        ),
        ('rows = [["vit", "ce", 90.0]]', 'rows = [["vit", "", 90.0]]', "objective"),
        ('status = "printed-only"\nreason = "no loss"', 'status = "needs-data"\nreason = "no loss"', "unknown status"),
        ("jft-300m = { status", "jft-300m = { epochs = 3, status", "unknown key 'epochs'"),
    ],
)
def test_what_is_only_named_cannot_be_run_or_misspelt(tmp_path, old, new, message):
    with pytest.raises(UserError, match=re.escape(message)):
        named(tmp_path, **{old: new})


ASKED = """\
[tables."5"]
title = "Ours too"
where = "nowhere"
recipes = ["paper", "code"]
columns = ["cifar10", { dataset = "cifar10", metric = "knn" }, "cifar100"]
rows = [
  ["vit", "ce", "?", "?", 30.0],
  ["cvt", "ce + 0.1*drloc", 70.0, "?", "-"],
]
"""


def test_what_is_asked_for_makes_a_case_without_a_claim(tmp_path):
    found = table(load(tmp_path, TEXT + ASKED), "5")
    values = {case.id.removeprefix("mine/5/"): [one.value for one in case.claims] for case in found.cases}
    assert values == {
        f"{cell}/{recipe}": claimed
        for cell, claimed in (
            ("vit/ce/cifar100", [30.0]),
            ("cvt/ce+0.1drloc/cifar10", [70.0]),
            ("vit/ce/cifar10", []),
        )
        for recipe in ("paper", "code")
    }
    assert found.columns == (("cifar100", "accuracy"), ("cifar10", "accuracy"), ("cifar10", "knn"))
    assert [(one.cell, one.claim.value) for one in found.printed] == [
        (("vit", "ce", "cifar100"), 30.0),
        (("cvt", "ce + 0.1*drloc", "cifar10"), 70.0),
    ]


def test_a_table_may_ask_for_everything_and_print_nothing(tmp_path):
    rows = ASKED.replace("30.0", '"-"').replace("70.0", '"?"')
    found = table(load(tmp_path, TEXT + rows), "5")
    assert found.printed == ()
    assert [case.id for case in found.cases] == [
        f"mine/5/{cell}/{recipe}"
        for cell in ("vit/ce/cifar10", "cvt/ce+0.1drloc/cifar10")
        for recipe in ("paper", "code")
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('recipes = ["paper", "code"]', 'status = "printed-only"\nreason = "a plot"', 1),
        ('recipes = ["paper", "code"]', 'recipe = "jft-300m"', 0),
        ('{ dataset = "cifar10", metric = "knn" }', '{ dataset = "", metric = "params" }', 0),
    ],
)
def test_only_what_a_recipe_gives_on_a_data_set_can_be_asked_for(tmp_path, old, new, line):
    text = TEXT.replace("[recipes.paper]", '[recipes.jft-300m]\nstatus = "printed-only"\nreason = "x"\n[recipes.paper]')
    assert old in ASKED
    with pytest.raises(UserError) as refused:
        load(tmp_path, text + ASKED.replace(old, new))
    row = text.count("\n") + ASKED[: ASKED.index('  ["vit"')].count("\n") + 1 + line
    assert str(refused.value) == (
        f'{tmp_path / "mine.toml"}:{row}: "?" stands for a number that a recipe gives on a data set; name both'
    )


def test_a_table_of_data_sets_has_nothing_to_ask_for(tmp_path):
    with pytest.raises(UserError, match=r"""classes is a number in \[0, inf\], or "-" if not printed, got '\?'"""):
        load(tmp_path, TEXT.replace('["cifar10", 50000, 10000, "-"]', '["cifar10", 50000, 10000, "?"]'))


SPLIT = TEXT.replace("[[recipes.code.phases]]", 'splits = { cifar10 = "svhn" }\n[[recipes.code.phases]]', 1)


def test_a_recipe_with_splits_runs_on_another_data_set_what_the_page_prints_of_its_own(tmp_path, mine):
    found = table(load(tmp_path, SPLIT), "2")
    assert [case.id for case in found.cases] == [
        "mine/2/vit/ce/cifar10/paper",
        "mine/2/vit/ce/svhn/code",
        "mine/2/vit/ce/cifar100/paper",
        "mine/2/vit/ce/cifar100/code",
        "mine/2/vit/ce+0.1drloc/cifar10/paper",
        "mine/2/vit/ce+0.1drloc/svhn/code",
    ]
    assert [case.column for case in found.cases] == [case.dataset for case in table(mine, "2").cases]
    assert [case.claims for case in found.cases] == [case.claims for case in table(mine, "2").cases]
    assert (found.printed, found.columns) == (table(mine, "2").printed, table(mine, "2").columns)


def test_a_row_that_compares_more_versions_than_a_recipe_makes_is_told_by_its_line(tmp_path):
    text = TEXT.replace('rows = [["vit", "ce", 90.0]]', 'rows = [["vit", "ce + simclr", 90.0]]')
    with pytest.raises(UserError, match=r"simclr compares 2 versions of each image, and the recipe makes 1") as refused:
        load(tmp_path, text)
    assert str(refused.value).startswith(f"{tmp_path / 'mine.toml'}:{text.count(chr(10))}: ")
