"""A printed table of data sets beside what the loaders state."""

from dataclasses import replace

from vitbench.report import datasets


def test_printed_numbers_stand_beside_the_loaders_and_differences_are_marked(twofold):
    (table,) = [one for one in twofold.tables if datasets.is_of_datasets(one)]
    assert datasets.dataset_table(table) == (
        [
            "Data",
            *("training images, printed", "ours", "test images, printed", "ours", "classes, printed", "ours"),
            "difference",
        ],
        [
            ["jft_300m", "1,281,167", "", "100,000", "", "1,000", "", "no loader here"],
            ["cifar10", "50,000", "50,000", "10,000", "10,000", "10", "10", ""],
            ["cifar100", "50,000", "50,000", "20,000", "**10,000**", "", "100", "test images"],
        ],
    )


def test_tables_of_models_are_none_of_data_sets(paper, twofold):
    assert not [table.id for table in paper.tables if datasets.is_of_datasets(table)]
    assert [table.id for table in twofold.tables if datasets.is_of_datasets(table)] == ["1"]


def test_images_of_both_splits_are_held_against_the_sum_of_what_a_loader_states(twofold):
    (table,) = [one for one in twofold.tables if datasets.is_of_datasets(one)]
    printed = [one for one in table.printed if one.claim.metric == "test_images"]
    values = {"jft_300m": 1.0, "cifar10": 60_000.0, "cifar100": 60_001.0}
    changed = [replace(one, claim=replace(one.claim, metric="images", value=values[one.dataset])) for one in printed]
    assert datasets.dataset_table(replace(table, printed=tuple(changed)))[1] == [
        ["jft_300m", "1", "", "no loader here"],
        ["cifar10", "60,000", "60,000", ""],
        ["cifar100", "60,001", "**60,000**", "images"],
    ]
