"""A small paper, and measurements of it made by hand."""

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


@pytest.fixture
def paper(tmp_path):
    path = tmp_path / "small2026.toml"
    path.write_text(TEXT)
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
