"""A paper whose recipe begins with a pre-training, and what its runs leave, by the writers that runs use."""

import numpy as np
from safetensors.numpy import save_file

from tests.conftest import PROVENANCE
from vitbench.case import Budget
from vitbench.identity import of_run
from vitbench.records import Record

TEXT = """\
title = "Small pictures"
authors = "D. Four"
year = 2024
venue = "Workshop"

[models]
mae_c10  = { printed = "Mae-C10",  full = "vit/floros2024", tiny = "vit/tiny" }
mae_c100 = { printed = "Mae-C100", full = "vit/floros2024", tiny = "vit/tiny" }

[recipes.c10]
protocol = "paper"
selection = "last"
[recipes.c10.pretraining]
objective = "me"
dataset = "cifar10"
[[recipes.c10.pretraining.phases]]
epochs = 400
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }
[[recipes.c10.pretraining.quick]]
epochs = 4
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }
[[recipes.c10.phases]]
epochs = 3
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }
[[recipes.c10.quick]]
epochs = 3
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }

[recipes.c100]
protocol = "paper"
selection = "last"
[recipes.c100.pretraining]
objective = "me"
dataset = "cifar100"
[[recipes.c100.pretraining.phases]]
epochs = 400
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }
[[recipes.c100.pretraining.quick]]
epochs = 4
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }
[[recipes.c100.phases]]
epochs = 3
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }
[[recipes.c100.quick]]
epochs = 3
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }

[tables."1"]
title = "Pre-trained"
where = "page 1"
[[tables."1".parts]]
recipe = "c10"
columns = ["cifar10", "cifar100"]
rows = [["mae_c10", "ce", 96.00, 75.00]]
[[tables."1".parts]]
recipe = "c100"
columns = ["cifar10", "cifar100"]
rows = [["mae_c100", "ce", 94.00, 78.00]]
"""


def record(
    case, *, seed=0, losses=(2.0, 1.0, 0.5), accuracies=(), measurements=(), details=None, budget=Budget.QUICK, date=""
):
    """Of a run that went so; without accuracies, of a pre-training."""
    identity = of_run(case, budget=budget, seed=seed)
    curves = [{"phase": 0, "epoch": n, "lr": 0.1, "loss": one, "seconds": 1.0} for n, one in enumerate(losses, 1)]
    for curve, accuracy in zip(curves, accuracies, strict=False):
        curve["accuracy"] = accuracy
    return identity, Record(
        kind=identity.kind,
        key=identity.key,
        identity=identity.content(),
        measurements={"loss": losses[-1], **({"accuracy": accuracies[-1]} if accuracies else {}), **dict(measurements)},
        details={"test_images": 360, "curves": curves, **(details or {})},
        provenance=PROVENANCE | ({"date": date} if date else {}),
    )


def images(number=3, size=4, seed=0):
    """Noise, uint8 (n, 3, H, W) for each kind of picture."""
    draws = np.random.default_rng(seed).integers(0, 256, (3, number, 3, size, size), dtype=np.uint8)
    return dict(zip(("original", "masked", "restored"), draws, strict=True))


def put_pictures(folder, epochs=(1, 4), **form):
    """As a pre-training leaves them in its folder: the same images, restored otherwise after each epoch."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for epoch in epochs:
        restored = images(**form, seed=epoch)["restored"]
        save_file(images(**form) | {"restored": restored}, folder / f"pictures/epoch-{epoch:04d}.safetensors")


def leave(store, case, *, seed=0, pictures=(1, 4), gain=0.0, **changes):
    """Leave the runs of a case and seed in a store: the pre-training, the fine-tuning and the one from scratch."""
    before = case.before(Budget.QUICK)
    runs = (
        record(before, seed=seed, losses=(4.0, 2.0, 1.0, 0.5 + seed), **changes),
        record(case, seed=seed, losses=(1.0, 0.5, 0.25 + seed), accuracies=(60.0, 80.0, 90.0 + gain), **changes),
        record(case.baseline, seed=seed, losses=(2.0, 1.0, 0.5), accuracies=(50.0, 70.0, 85.0), **changes),
    )
    for identity, one in runs:
        store.write(identity, one)
    if pictures:
        put_pictures(store.folder(runs[0][0]), pictures)
    return [one.key[:12] for _, one in runs]
