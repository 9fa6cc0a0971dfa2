"""Every data set is one file that says what it is, and the embedded ones are what they say."""

import ast
import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

import vitbench.datasets
from vitbench.contracts import Split
from vitbench.errors import UserError
from vitbench.photographs import Photographs

FOLDER = Path(vitbench.datasets.__path__[0])
DOCUMENTED = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
OF_THE_CONTENT = {"CLASSES": int, "TRAIN": int, "TEST": int, "DIGEST": str}
CONSTANTS = {
    **OF_THE_CONTENT,
    "VERSION": int,
    "IMAGE_SIZE": int,
    "LICENCE": str,
    "SOURCE": str,
    "EMBEDDED": bool,
}
OF_A_FOLDER = "imagefolder"  # whose content is the user's


def parsed(name):
    return ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))


def constants(name):
    """Literal module constants, as they are read without importing the leaf."""
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in parsed(name).body
        if isinstance(node, ast.Assign) and node.targets[0].id in (*CONSTANTS, "PHOTOGRAPHS")
    }


EMBEDDED = [name for name in NAMES if constants(name).get("EMBEDDED")]
PHOTOGRAPHS = [name for name in NAMES if constants(name).get("PHOTOGRAPHS")]
WITH_CONTENT = [name for name in NAMES if name != OF_A_FOLDER]


def build(name, **options):
    return importlib.import_module(f"vitbench.datasets.{name}").build(None, **options)


@pytest.fixture(scope="module", params=EMBEDDED)
def embedded(request):
    return request.param, build(request.param)


def test_a_newcomer_needs_no_files_for_at_least_one():
    assert "digits" in EMBEDDED


@pytest.mark.parametrize("name", NAMES)
class TestEveryFile:
    def test_its_constants_are_literals_of_their_types(self, name):
        found = constants(name)
        assert found.pop("PHOTOGRAPHS", True) is True
        missing = OF_THE_CONTENT if name == OF_A_FOLDER else {}
        expected = {key: kind for key, kind in CONSTANTS.items() if key not in missing}
        assert {key: type(value) for key, value in found.items()} == expected

    def test_its_numbers_are_possible(self, name):
        found = constants(name)
        assert found["VERSION"] >= 1
        if name != OF_A_FOLDER:
            assert found["CLASSES"] >= 2
            assert min(found["TRAIN"], found["TEST"]) >= found["CLASSES"]

    def test_its_facts_are_one_line_each(self, name):
        found = constants(name)
        for key in {"DIGEST", "LICENCE", "SOURCE"} & found.keys():
            assert found[key].strip() == found[key] != ""
            assert "\n" not in found[key]

    def test_its_docstring_names_the_source_and_a_year(self, name):
        docstring = ast.get_docstring(parsed(name)) or ""
        _, _, source = docstring.partition("\nSource: ")
        assert any(word.strip(",.;:()").isdigit() and len(word.strip(",.;:()")) == 4 for word in source.split())

    def test_its_build_takes_what_every_build_takes(self, name):
        build = importlib.import_module(f"vitbench.datasets.{name}").build
        shape = [(p.name, p.kind, p.default) for p in inspect.signature(build).parameters.values()]
        assert shape == [
            ("root", inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty),
            ("image_size", inspect.Parameter.KEYWORD_ONLY, constants(name)["IMAGE_SIZE"]),
            ("download", inspect.Parameter.KEYWORD_ONLY, False),
        ]
        assert inspect.signature(build).return_annotation is Split

    def test_it_imports_no_other_part_of_the_package(self, name):
        modules = set()
        for node in ast.walk(parsed(name)):
            if isinstance(node, ast.ImportFrom):
                modules |= {f"{node.module}.{alias.name}" for alias in node.names}
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
        allowed = ("vitbench.contracts", "vitbench.errors", "vitbench.archives", "vitbench.folders")
        allowed += ("vitbench.photographs", "vitbench.sources")
        assert not {m for m in modules if m.startswith("vitbench") and not m.startswith(allowed)}

    def test_it_says_in_one_line_how_to_get_what_is_not_there(self, name):
        if name in EMBEDDED:
            assert isinstance(build(name), Split)
            return
        way_out = f"{OF_A_FOLDER}:PATH" if name == OF_A_FOLDER else "--data DIR"
        with pytest.raises(UserError, match=way_out) as error:
            build(name)
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(f"{name}: ")


def test_no_two_data_sets_have_one_digest():
    digests = [constants(name)["DIGEST"] for name in WITH_CONTENT]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("name", WITH_CONTENT)
def test_the_documentation_has_a_row_with_its_counts(name):
    rows = [row for row in DOCUMENTED.splitlines() if row.startswith("| ") and f"`{name}`" in row.split("|")[1]]
    found = constants(name)
    assert any(f" {found['TRAIN']:,} + {found['TEST']:,}, " in row and f"{found['CLASSES']}" in row for row in rows)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
class TestPhotographs:
    def test_they_are_listed_without_being_decoded(self, name):
        listed = importlib.import_module(f"vitbench.datasets.{name}").listed
        assert list(inspect.signature(listed).parameters) == ["root", "download"]
        assert inspect.signature(listed).return_annotation is Photographs

    def test_they_are_stored_at_the_size_that_the_recipes_resize_to(self, name):
        assert constants(name)["IMAGE_SIZE"] == 256


class TestEmbedded:
    def test_sizes_types_and_ranges_are_those_announced(self, embedded):
        name, split = embedded
        found = constants(name)
        assert (len(split.train), len(split.test)) == (found["TRAIN"], found["TEST"])
        for half in (split.train, split.test):
            assert half.images.shape == (len(half), 3, found["IMAGE_SIZE"], found["IMAGE_SIZE"])
            assert half.images.dtype == torch.uint8
            assert half.images.is_contiguous()
            assert half.labels.shape == (len(half),)
            assert half.labels.dtype == torch.int64
            assert half.images.max() > 200

    def test_every_class_has_a_name_and_images_on_both_sides(self, embedded):
        name, split = embedded
        classes = constants(name)["CLASSES"]
        assert len(set(split.classes)) == len(split.classes) == classes
        for half in (split.train, split.test):
            assert half.labels.unique().tolist() == list(range(classes))

    def test_no_test_image_is_a_training_image(self, embedded):
        """By content, which is stricter than by index: a copy of a training image can be learned by heart."""
        _, split = embedded
        train = {image.numpy().tobytes() for image in split.train.images}
        assert not any(image.numpy().tobytes() in train for image in split.test.images)

    def test_the_split_is_stratified(self, embedded):
        _, split = embedded
        train, test = split.train.labels.bincount(), split.test.labels.bincount()
        expected = (train + test) * len(split.test) / (len(split.train) + len(split.test))
        assert (test - expected).abs().max() < 1  # rounding, nothing more

    def test_building_twice_gives_the_same_and_draws_from_no_global_generator(self, embedded):
        name, split = embedded
        np.random.seed(123)  # noqa: NPY002, the global state is what must not matter
        torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        again = build(name)
        for half, other in ((split.train, again.train), (split.test, again.test)):
            assert torch.equal(half.images, other.images)
            assert torch.equal(half.labels, other.labels)
        assert torch.equal(torch.get_rng_state(), torch_state)
        assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
