"""A run and its record, made by hand, for the tests of records."""

from vitbench.case import Budget, Phase
from vitbench.identity import Identity
from vitbench.objective import parse
from vitbench.records import Record

PHASE = Phase(epochs=1, batch_size=8, optimizer={"name": "adam", "lr": 0.1}, schedule={"name": "constant"})
RUN = Identity(
    model="vit/tiny",
    objective=parse("ce + 0.1*me(ratio=0.85)"),
    dataset="digits",
    data="d1g357",
    classes=10,
    image_size=32,
    budget=Budget.QUICK,
    versions={"train": "1", "models/vit": "1"},
    phases=(PHASE,),
)
PROVENANCE = {
    "date": "2026-11-02T03:04:05+00:00",
    "seconds": 1.5,
    "device": "a processor",
    "threads": 1,
    "precision": "fp32",
    "engine": "eager",
    "commit": "3f2c1ab",
    "command": "pytest",
    "versions": {"torch": "2.11.0"},
}


def record_of(identity, **changes):
    plain = {
        "measurements": {"accuracy": 97.25, "fgsm_drop": -0.5, "loss": 0.125},
        "invalid": {"adversarial_accuracy": "random signs hurt more"},
        "details": {"test_images": 360, "curves": [{"epoch": 1, "loss": 0.1 + 0.2}]},
        "provenance": PROVENANCE,
    }
    return Record(kind=identity.kind, key=identity.key, identity=identity.content(), **(plain | changes))


RECORD = record_of(RUN)
