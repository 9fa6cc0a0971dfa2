"""Two small papers, one whose tables are run by several recipes, and measurements of them made by hand."""

from dataclasses import replace

import pytest

from vitbench import papers
from vitbench.baselines import Measurement
from vitbench.report.results import Results

TEXT = """\
title = "Small | networks, *well* <trained>"
authors = "A. One and B. Two"
year = 2026
venue = "Proceedings"

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
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }

[quick]
weights = { me = 0.1, drloc = 0.1 }

[tables."1"]
title = "Two losses"
where = "page 3"
recipe = "scratch"
columns = ["cifar10", "cifar100"]
rows = [
  ["vit", "ce",                      60.00, 30.00],
  ["vit", "ce + 0.1*me",             64.00, 29.00],
  ["vit", "ce + 0.1*drloc + 0.1*me", 66.00, "-"],
  ["cvt", "ce",                      70.00, 40.00],
  ["cvt", "ce + 0.1*me",             69.00, 42.00],
]

[tables."2"]
title = "Two tables side by side"
where = "page 4"
recipe = "scratch"
notes = [{ model = "vit", objective = "ce + 0.1*me", dataset = "cifar10", text = "twice: 0.1*me and 0.2*me" }]
[[tables."2".parts]]
columns = ["cifar10"]
rows = [["vit", "ce", 60.00], ["vit", "ce + 0.1*me", 64.00]]
[[tables."2".parts]]
columns = ["cifar100"]
rows = [["vit", "ce", 30.00], ["vit", "ce + 0.2*me", 33.00]]

[tables."3"]
title = "Attacked"
where = "page 5"
recipe = "scratch"
columns = ["cifar10", { dataset = "cifar10", metric = "fgsm_drop" }]
rows = [["vit", "ce", 60.00, 28.00], ["vit", "ce + 0.1*me", 64.00, 25.00]]

[[conclusions]]
text = "ME helps"
where = "abstract"
table = "1"
models = ["vit", "cvt"]
datasets = ["cifar10"]
left = "ce + 0.1*me"
is = "higher"
right = "ce"

[[conclusions]]
text = "ME is more robust"
where = "page 5"
table = "3"
models = ["vit"]
datasets = ["cifar10"]
left = "ce + 0.1*me"
is = "lower"
right = "ce"
metric = "fgsm_drop"
"""

TWOFOLD = """\
title = "Two experiments under one name"
authors = "C. Three"
year = 2025
venue = "Conference"

[models]
vit = { printed = "ViT-T", full = "vit/floros2024", tiny = "vit/tiny" }
cvt = { printed = "CvT-9", full = "cvt/floros2024", tiny = "cvt/tiny" }

[terms.drloc]
pairs = 64

[datasets]
jft_300m = { status = "printed-only", reason = "no loader" }
cifar100 = { status = "needs-data", reason = "fetch it by hand" }

[recipes.paper]
protocol = "paper"
selection = "best"
terms = { drloc = { sharing = "image" } }
[[recipes.paper.phases]]
epochs = 100
batch_size = 1024
optimizer = { name = "adamw", lr = 1e-3, weight_decay = 0.05 }
schedule = { name = "cosine", warmup_epochs = 20, min_lr = 1e-5 }
augmentation = ["flip"]
[[recipes.paper.quick]]
epochs = 2
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }

[recipes.code]
protocol = "code"
selection = "best"
[[recipes.code.phases]]
epochs = 101
batch_size = 1024
optimizer = { name = "adamw", lr = 1e-3, weight_decay = 0.05 }
schedule = { name = "cosine", warmup_epochs = 20, min_lr = 1e-5, epochs = 300 }
augmentation = ["flip"]
weights = { drloc = { rise_epochs = 20, end_epoch = 300 } }
[[recipes.code.quick]]
epochs = 2
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }
weights = { drloc = { rise_epochs = 1, end_epoch = 3 } }

[recipes.paper-300]
protocol = "paper"
selection = "best"
terms = { drloc = { sharing = "image" } }
[[recipes.paper-300.phases]]
epochs = 300
batch_size = 1024
optimizer = { name = "adamw", lr = 1e-3, weight_decay = 0.05 }
schedule = { name = "cosine", warmup_epochs = 20, min_lr = 1e-5 }
augmentation = ["flip"]

[recipes.rerun]
protocol = "code"
selection = "best"
[[recipes.rerun.phases]]
epochs = 101
batch_size = 128
optimizer = { name = "adamw", lr = 1.25e-4, weight_decay = 0.05 }
schedule = { name = "cosine", warmup_epochs = 20, min_lr = 1e-5, epochs = 300 }
augmentation = ["flip"]
weights = { drloc = { rise_epochs = 20, end_epoch = 300 } }

[recipes.finetune]
protocol = "paper"
selection = "best"
start = "published"
[[recipes.finetune.phases]]
epochs = 100
batch_size = 1024
optimizer = { name = "adamw", lr = 1e-4 }
schedule = { name = "constant" }

[quick]
weights = { drloc = 0.5 }

[tables."1"]
title = "Data"
where = "page 1"
of = "datasets"
columns = ["train_images", "test_images", "classes"]
rows = [
  ["jft_300m", 1281167, 100000, 1000],
  ["cifar10",    50000,  10000,   10],
  ["cifar100",   50000,  20000,  "-"],
]
notes = [{ dataset = "jft_300m", metric = "test_images", text = "the validation images are 50,000" }]

[tables."2"]
title = "Pairs"
where = "page 2"
recipes = ["paper", "code"]
columns = ["cifar10"]
rows = [
  ["vit", "ce",                     50.00],
  ["vit", "ce + 0.5*drloc(pairs=32)", 58.00],
  ["vit", "ce + 0.5*drloc",         60.00],
]

[tables."3"]
title = "Longer training"
where = "page 3"
[[tables."3".parts]]
recipes = ["paper", "code"]
columns = [
  { dataset = "", metric = "params" },
  "cifar100", { dataset = "cifar100", metric = "accuracy_std" }, { dataset = "cifar100", metric = "gain" },
]
rows = [
  ["vit", "ce",             29, 80.00, 0.10, "-"],
  ["vit", "ce + 0.5*drloc", 29, 81.20, 0.05, 1.20],
]
notes = [{ model = "vit", objective = "ce", metric = "params", text = "rounded up by its authors" }]
[[tables."3".parts]]
recipe = "paper-300"
columns = ["cifar100", { dataset = "cifar100", metric = "gain" }]
rows = [
  ["vit", "ce",             85.00, "-"],
  ["vit", "ce + 0.5*drloc", 85.50, 0.50],
]

[tables."4"]
title = "From scratch"
where = "page 4"
[[tables."4".parts]]
recipes = ["paper", "code"]
columns = [
  "cifar10",  { dataset = "cifar10",  metric = "gain" },
  "cifar100", { dataset = "cifar100", metric = "gain" },
]
rows = [
  ["cvt", "ce",             70.00, "-",  40.00, "-"],
  ["cvt", "ce + 0.5*drloc", 71.00, 1.10, 39.50, -0.50],
  ["vit", "ce",             50.00, "-",  30.00, "-"],
  ["vit", "ce + 0.5*drloc", 60.00, 10.00, 33.00, 3.40],
]
notes = [
  { model = "vit", objective = "ce + 0.5*drloc", dataset = "cifar100", metric = "gain", text = "a misprint" },
]
[[tables."4".parts]]
recipe = "rerun"
source = "rerun"
columns = ["cifar10"]
rows = [["vit", "ce", 86.00], ["vit", "ce + 0.5*drloc", 88.00]]
note = "from their logs"

[tables."5"]
title = "Fine-tuned"
where = "page 5"
recipe = "finetune"
status = "needs-weights"
reason = "fetch the weights by hand"
columns = ["cifar10", { dataset = "cifar10", metric = "gain" }]
rows = [["vit", "ce", 97.00, "-"], ["vit", "ce + 0.5*drloc", 97.50, 0.50]]

[[conclusions]]
text = "DRLoc always helps"
where = "abstract"
table = "4"
models = ["cvt", "vit"]
datasets = ["cifar10", "cifar100"]
left = "ce + 0.5*drloc"
is = "higher"
right = "ce"

[[conclusions]]
text = "DRLoc helps in long training"
where = "page 3"
table = "3"
models = ["vit"]
datasets = ["cifar100"]
left = "ce + 0.5*drloc"
is = "higher"
right = "ce"

[[conclusions]]
text = "DRLoc helps fine-tuning"
where = "page 5"
table = "5"
models = ["vit"]
datasets = ["cifar10"]
left = "ce + 0.5*drloc"
is = "higher"
right = "ce"
"""

MASKED = """\
title = "First masked, then fine-tuned"
authors = "D. Four"
year = 2024
venue = "Preprint"

[models]
cvt = { printed = "CvT-9", full = "cvt/floros2024", tiny = "cvt/tiny" }
vit = { printed = "Mae-ViT", full = "vit/floros2024", tiny = "vit/tiny" }

[recipes.plain]
protocol = "paper"
selection = "last"
[[recipes.plain.phases]]
epochs = 300
batch_size = 128
optimizer = { name = "adamw", lr = 5e-4 }
schedule = { name = "constant" }
[[recipes.plain.quick]]
epochs = 2
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }

[recipes.masked]
protocol = "paper"
selection = "last"
[recipes.masked.pretraining]
objective = "mae"
dataset = "cifar100"
[[recipes.masked.pretraining.phases]]
epochs = 4000
batch_size = 1408
optimizer = { name = "adamw", lr = 8.25e-4 }
schedule = { name = "cosine", warmup_epochs = 400 }
augmentation = ["flip"]
[[recipes.masked.pretraining.quick]]
epochs = 3
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }
[[recipes.masked.phases]]
epochs = 300
batch_size = 768
optimizer = { name = "adamw", lr = 3e-3 }
schedule = { name = "cosine", warmup_epochs = 20 }
[[recipes.masked.quick]]
epochs = 2
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }

[tables."3"]
title = "Accuracy and size"
where = "page 4"
notes = [{ model = "vit", objective = "ce", metric = "macs", text = "attention is left out" }]
[[tables."3".parts]]
recipe = "plain"
convention = "layers"
columns = ["cifar10", "cifar100", { dataset = "", metric = "params" }, { dataset = "", metric = "macs" }]
rows = [["cvt", "ce", 94.00, 76.00, 3.72, 0.26]]
[[tables."3".parts]]
recipe = "masked"
convention = "without attention"
columns = ["cifar10", "cifar100", { dataset = "", metric = "params" }, { dataset = "", metric = "macs" }]
rows = [["vit", "ce", 96.00, 78.00, 3.64, 0.26]]

[tables."figure-2"]
title = "The loss *falls*"
where = "page 3"
status = "printed-only"
reason = "a curve of a pre-training"
notes = [{ model = "vit", objective = "mae", dataset = "cifar100", text = "by its caption" }]
columns = [{ dataset = "cifar100", metric = "loss" }, { dataset = "cifar100", metric = "epochs" }]
rows = [["vit", "mae", 0.019711, 3703], ["cvt", "mae", "-", 3700]]

[[conclusions]]
text = "It has fewer than 3.65 M"
where = "abstract"
table = "3"
models = ["vit"]
datasets = ["cifar10", "cifar100"]
metric = "params"
left = "ce"
is = "lower"
right = 3.65

[[conclusions]]
text = "It has the MACs of CvT"
where = "page 5"
table = "3"
models = ["vit"]
datasets = ["cifar10"]
metric = "macs"
left = "ce"
is = "near"
by_at_most = 0.01
right = "ce"
right_models = ["cvt"]

[[conclusions]]
text = "It is faster than CvT"
where = "page 5"
table = "3"
models = ["vit"]
datasets = ["cifar10"]
metric = "epoch_of_best"
in_print = false
left = "ce"
is = "lower"
right = "ce"
right_models = ["cvt"]
"""


HELD = """\
title = "A method, held against another recipe"
authors = "E. Five"
year = 2022
venue = "Thesis"

[models]
vit = { printed = "ViT-B", full = "vit/floros2024", tiny = "vit/tiny" }

[recipes.tort]
protocol = "paper"
selection = "best"
knn = true
against = "supervised"
[[recipes.tort.phases]]
epochs = 103
batch_size = 32
optimizer = { name = "adamw", lr = 5e-4 }
schedule = { name = "constant" }
turning = "quarter_turn(probability=0.5)"
views = [
  { name = "global", count = 2, augmentation = ["crop(padding=4)", "flip"] },
  { name = "local", count = 6, augmentation = ["random_resized_crop(size=16)"] },
]
[[recipes.tort.quick]]
epochs = 2
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }
views = [{ name = "global", count = 2, augmentation = [] }]

[recipes.tort-code]
protocol = "code"
selection = "best"
against = "supervised-code"
splits = { flowers102 = "flowers102_val" }
[[recipes.tort-code.phases]]
epochs = 103
batch_size = 32
optimizer = { name = "adamw", lr = 5e-4 }
schedule = { name = "constant" }
views = [{ name = "global", count = 3, augmentation = ["flip"] }]
[[recipes.tort-code.quick]]
epochs = 2
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }
views = [{ name = "global", count = 2, augmentation = [] }]

[recipes.supervised]
protocol = "paper"
selection = "best"
[[recipes.supervised.phases]]
epochs = 103
batch_size = 64
optimizer = { name = "adamw", lr = 3e-3 }
schedule = { name = "constant" }
[[recipes.supervised.quick]]
epochs = 2
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }

[recipes.supervised-code]
protocol = "code"
selection = "best"
splits = { flowers102 = "flowers102_val" }
[[recipes.supervised-code.phases]]
epochs = 303
batch_size = 64
optimizer = { name = "adam", lr = 3e-3 }
schedule = { name = "constant" }
[[recipes.supervised-code.quick]]
epochs = 2
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }

[tables."1"]
title = "On flowers"
where = "page 1"
[[tables."1".parts]]
recipes = ["tort", "tort-code"]
columns = ["flowers102", { dataset = "flowers102", metric = "gain" }]
rows = [["vit", "2.5*ce + distill", 44.0, 25.0]]
[[tables."1".parts]]
recipes = ["supervised", "supervised-code"]
columns = ["flowers102"]
rows = [["vit", "ce", 19.0]]

[tables."2"]
title = "On cars"
where = "page 2"
[[tables."2".parts]]
recipes = ["tort", "tort-code"]
columns = ["cars", { dataset = "cars", metric = "gain" }]
rows = [["vit", "2.5*ce + distill", 10.0, 9.0]]
[[tables."2".parts]]
recipes = ["supervised", "supervised-code"]
columns = ["cars"]
rows = [["vit", "ce", 1.0]]

[tables."3"]
title = "By one recipe each"
where = "page 3"
[[tables."3".parts]]
recipe = "tort"
columns = ["cars"]
rows = [["vit", "2.5*ce + distill", 88.0]]
[[tables."3".parts]]
recipe = "supervised"
columns = ["cars"]
rows = [["vit", "ce", 87.0]]
"""

PROBED = """\
title = "Probed"
authors = "F. Six"
year = 2023
venue = "Slides"

[models]
vit = { printed = "ViT-L", full = "vit/floros2024", tiny = "vit/tiny" }

[recipes.simclr]
protocol = "paper"
selection = "last"
probe = "linear"
knn = true
[recipes.simclr.pretraining]
objective = "simclr"
judged = "teacher"
[[recipes.simclr.pretraining.phases]]
epochs = 1000
batch_size = 512
optimizer = { name = "adamw", lr = 1e-3 }
schedule = { name = "constant" }
views = [{ name = "global", count = 2, augmentation = ["flip"] }]
[[recipes.simclr.pretraining.quick]]
epochs = 2
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }
views = [{ name = "global", count = 2, augmentation = [] }]

[tables.methods]
title = "Ours"
where = "nowhere"
recipe = "simclr"
columns = ["cifar10", { dataset = "cifar10", metric = "knn" }]
rows = [["vit", "ce", "?", "?"]]
"""


@pytest.fixture
def paper(tmp_path):
    path = tmp_path / "small2026.toml"
    path.write_text(TEXT)
    return papers.load(path)


@pytest.fixture
def twofold(tmp_path):
    """A paper whose tables are run by several recipes."""
    path = tmp_path / "twofold2025.toml"
    path.write_text(TWOFOLD)
    return papers.load(path)


@pytest.fixture
def masked(tmp_path):
    """A paper of which one network is pre-trained, and the sizes of all are printed."""
    path = tmp_path / "masked2024.toml"
    path.write_text(MASKED)
    return papers.load(path)


@pytest.fixture
def held(tmp_path):
    """A paper whose method has recipes of its own, which are held against others, and one of them another split."""
    path = tmp_path / "held2022.toml"
    path.write_text(HELD)
    return papers.load(path)


@pytest.fixture
def probed(tmp_path):
    """A paper that prints nothing, with a method whose network is probed."""
    path = tmp_path / "probed2023.toml"
    path.write_text(PROBED)
    return papers.load(path)


@pytest.fixture
def tables_of(paper):
    """The paper's tables by id."""
    return {table.id: table for table in paper.tables}


@pytest.fixture
def measured():
    """Makes one measurement; what it is of, then its value."""

    def make(model, objective, dataset, value, metric="accuracy", seed="0", **changes):
        plain = {
            "paper": "small2026",
            "model": model,
            "objective": objective,
            "dataset": dataset,
            "recipe": "scratch",
            "budget": "paper",
            "metric": metric,
            "seed": seed,
            "value": value,
            "key": "0123456789ab",
            "machine": "h200",
            "device": "NVIDIA H200",
            "precision": "fp32",
            "engine": "eager",
            "torch": "2.11.0",
            "commit": "3f2c1ab",
            "date": "2026-11-02",
        }
        return Measurement(**(plain | changes))

    return make


@pytest.fixture
def results(measured):
    """What was measured of the paper: most of it, with one seed."""
    return Results(
        [
            measured("vit", "ce", "cifar10", 61.0),
            measured("vit", "ce + 0.1*me", "cifar10", 65.5),
            measured("vit", "ce + 0.1*drloc + 0.1*me", "cifar10", 62.0),
            measured("vit", "ce", "cifar100", 30.5),
            measured("vit", "ce + 0.1*me", "cifar100", 33.5),
            measured("cvt", "ce", "cifar10", 71.0),
            measured("vit", "ce", "cifar10", 20.0, "fgsm_drop"),
            measured("vit", "ce + 0.1*me", "cifar10", 26.0, "fgsm_drop"),
        ]
    )


@pytest.fixture
def of_twofold(measured):
    """Makes one measurement of the paper that several recipes run."""

    def make(recipe, model, objective, dataset, value, metric="best_accuracy", **changes):
        return measured(
            model, objective, dataset, value, metric, **{"paper": "twofold2025", "recipe": recipe, **changes}
        )

    return make


@pytest.fixture
def of_held(measured):
    """Makes one measurement of the paper whose recipes are held against others."""

    def make(recipe, objective, dataset, value, metric="best_accuracy", **changes):
        return measured("vit", objective, dataset, value, metric, **{"paper": "held2022", "recipe": recipe, **changes})

    return make


@pytest.fixture
def size_of_masked(measured):
    """Makes one count of the paper of which one network is pre-trained."""

    def make(model, metric, value, dataset="cifar10"):
        plain = {"paper": "masked2024", "recipe": "", "seed": "", "machine": "any", "device": ""}
        return measured(model, "ce", dataset, value, metric, **plain)

    return make


@pytest.fixture
def twofold_results(of_twofold):
    """Most of Table 4 and of Table 2 by both protocols, the re-run, sizes, and the quick form."""
    method, size = "ce + 0.5*drloc", {"seed": "", "machine": "any", "device": ""}
    quick = {"budget": "quick", "machine": "", "device": "a processor"}
    made = [
        of_twofold("paper", "vit", "ce", "cifar10", 52.0),
        of_twofold("paper", "vit", method, "cifar10", 61.0),
        of_twofold("code", "vit", "ce", "cifar10", 85.0),
        of_twofold("code", "vit", method, "cifar10", 87.5),
        of_twofold("code", "vit", method, "cifar10", 88.5, seed="1"),
        of_twofold("code", "vit", "ce", "cifar10", 86.0, seed="1"),
        of_twofold("code", "vit", "ce", "cifar100", 60.0),
        of_twofold("rerun", "vit", "ce", "cifar10", 86.2),
        of_twofold("rerun", "vit", method, "cifar10", 88.1),
        of_twofold("", "vit", "ce", "cifar100", 28.61, "params", **size),
        of_twofold("", "vit", "ce", "cifar100", 4.49, "macs", **size),
        of_twofold("", "vit", "ce + drloc", "cifar100", 28.31, "params", **size),
        of_twofold("paper", "vit", "ce", "digits", 95.0, "accuracy", **quick),
        of_twofold("paper", "vit", method, "digits", 96.5, "accuracy", **quick),
        of_twofold("code", "vit", "ce", "digits", 95.5, "accuracy", **quick),
        of_twofold("code", "vit", method, "digits", 95.0, "accuracy", **quick),
    ]
    accuracies = [replace(one, metric="accuracy", value=one.value - 1) for one in made if one.metric == "best_accuracy"]
    return Results([*made, *accuracies])
