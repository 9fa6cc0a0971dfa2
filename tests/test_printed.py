"""A printed number says what it is of."""

import pytest

from vitbench.case import Claim, Status
from vitbench.objective import parse
from vitbench.printed import Printed, Standing
from vitbench.sections import read

CLAIM = Claim(metric="accuracy", value=71.9)


@pytest.mark.parametrize(
    ("of", "subject"),
    [
        ({"model": "vit", "objective": parse("ce + 0.1*me"), "dataset": "cifar10"}, "vit under ce + 0.1*me"),
        ({"model": "vit"}, "vit"),
        ({"dataset": "cifar10"}, "cifar10"),
    ],
)
def test_its_subject_is_a_network_under_a_loss_else_a_data_set(of, subject):
    assert Printed(claim=CLAIM, **of).subject == subject


def test_its_places_are_its_cell_under_each_recipe_or_under_the_name_of_one():
    one = Printed(claim=CLAIM, model="vit", objective=parse("ce"), dataset="cifar10", recipes=("a", "b"))
    assert one.places == {("vit", "ce", "cifar10", "accuracy", name) for name in ("a", "b")}
    assert Printed(claim=CLAIM, model="vit", label="named").places == {("vit", "", "", "accuracy", "named")}


def test_what_is_missing_comes_with_its_reason(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('status = "needs-data"\nreason = "fetched by hand"\n')
    assert Standing.read(read(path)) == Standing(status=Status.NEEDS_DATA, reason="fetched by hand")
