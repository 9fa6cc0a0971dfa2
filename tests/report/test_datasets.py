"""A printed table of data sets beside what the loaders state."""

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
            ["imagenet", "1,281,167", "", "100,000", "", "1,000", "", "no loader here"],
            ["cifar10", "50,000", "50,000", "10,000", "10,000", "10", "10", ""],
            ["cifar100", "50,000", "50,000", "20,000", "**10,000**", "", "100", "test images"],
        ],
    )


def test_tables_of_models_are_none_of_data_sets(paper, twofold):
    assert not [table.id for table in paper.tables if datasets.is_of_datasets(table)]
    assert [table.id for table in twofold.tables if datasets.is_of_datasets(table)] == ["1"]
