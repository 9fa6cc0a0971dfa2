"""Operations are found by their names, in the text of their files."""

import pytest

from vitbench import operations
from vitbench.errors import UserError


def test_an_operation_is_a_function_of_augment_that_draws():
    leaf = operations.find("crop")
    leaf.check_arguments({"padding"})
    with pytest.raises(UserError, match=r"^f:1: unknown argument of crop 'pading'; did you mean padding\?"):
        leaf.check_arguments({"pading"}, where="f:1")


def test_an_operation_stands_on_its_file_and_on_those_that_it_imports():
    assert operations.modules_of("crop") == operations.modules_of("flip") == set()
    used = {f"augmentations/{name}" for name in ("geometry", "levels", "shares")}
    assert operations.modules_of("random_resized_crop") == used
    inner = {f"augmentations/{name}" for name in ("randaugment", "geometry", "colour", "levels", "shares")}
    assert operations.modules_of("rand_augment") == inner
    inner = {f"augmentations/{name}" for name in ("autoaugment", "colour", "geometry", "levels", "shares")}
    assert operations.modules_of("auto_augment") == inner
    assert operations.modules_of("gaussian_blur") == {f"augmentations/{one}" for one in ("blur", "levels", "shares")}
    assert operations.modules_of("quarter_turn") == {"augmentations/turning"}


@pytest.mark.parametrize("name", ["crob", "compose", "to_float", "torch", "", "warp", "draw_windows"])
def test_what_is_no_operation_is_refused(name):
    with pytest.raises(
        UserError, match=rf"^f:1: unknown augmentation '{name}'.*known: auto_augment, centre_crop, colour_jitter, crop"
    ):
        operations.find(name, where="f:1")


def test_an_evaluation_may_use_what_draws_nothing():
    assert operations.drawless() == ["centre_crop", "resize"]
