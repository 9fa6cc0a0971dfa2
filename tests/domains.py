"""What each of DomainNet's six data sets must do; a test class names the domain."""

import importlib

import numpy as np
import pytest

from tests.pictures import listing, reference, truncate, write
from vitbench.errors import DataAbsent, DataBroken
from vitbench.sources import domainnet

CLASSES = [f"class_{one:03d}" for one in range(345)]
CLASSES[327] = "t-shirt"


class Domain:
    """Tests of one domain, on a small folder in the published layout: 345 pictures to train on, 2 to test on."""

    name: str

    @pytest.fixture
    def leaf(self):
        return importlib.import_module(f"vitbench.datasets.{self.name}")

    @pytest.fixture
    def root(self, leaf, tmp_path, monkeypatch):
        monkeypatch.setattr(leaf, "TRAIN", 345)
        monkeypatch.setattr(leaf, "TEST", 2)
        root = tmp_path / "data"
        train = [(f"{self.name}/{one}/{self.name}_1.jpg", label) for label, one in enumerate(CLASSES)]
        test = [(f"{self.name}/{CLASSES[label]}/{self.name}_2.png", label) for label in (344, 1)]
        for seed, (path, _) in enumerate((*train, *test)):
            modes = {".jpg": ("RGB", "L", "CMYK"), ".png": ("RGB", "P", "RGBA")}[path[-4:]]
            write(root / "domainnet" / path, size=(9, 8 + seed % 5), mode=modes[seed % 3], seed=seed)
        for half, files in (("train", train), ("test", test)):
            lines = "".join(f"{path} {label}\n" for path, label in files)
            (root / f"domainnet/{self.name}_{half}.txt").write_text(lines)
        return root

    def message(self, error):
        text = str(error.value)
        assert "\n" not in text
        assert text.startswith(f"{self.name}: ")
        return text

    def test_its_size_is_that_of_the_papers_table(self, leaf):
        assert (*self.printed, 345) == (leaf.TRAIN, leaf.TEST, leaf.CLASSES)
        assert f"{leaf.TRAIN} + {leaf.TEST}" in leaf.DIGEST

    def test_pictures_and_labels_are_those_of_the_lists(self, leaf, root):
        split = leaf.build(root, image_size=8)
        assert split.train.images.shape == (345, 3, 8, 8)
        assert split.train.labels.tolist() == list(range(345))
        assert split.test.labels.tolist() == [344, 1]
        assert split.classes == tuple(CLASSES)
        for place, label in ((0, 344), (1, 1)):
            path = root / f"domainnet/{self.name}/{CLASSES[label]}/{self.name}_2.png"
            assert np.array_equal(split.test.images[place].numpy(), reference(path, 8))

    def test_a_second_time_nothing_is_written(self, leaf, root):
        leaf.build(root, image_size=8)
        before = listing(root)
        leaf.build(root, image_size=8)
        assert listing(root) == before

    def test_without_a_folder_the_error_says_what_to_fetch_from_where(self, leaf):
        with pytest.raises(DataAbsent) as error:
            leaf.build(None)
        text = self.message(error)
        assert all(part in text for part in (domainnet.ADDRESS, f"{self.name}.zip", f"{self.name}_test.txt", "--data"))

    def test_a_picture_that_a_list_names_and_nothing_has_is_named(self, leaf, root):
        path = root / f"domainnet/{self.name}/{CLASSES[200]}/{self.name}_1.jpg"
        path.unlink()
        with pytest.raises(DataBroken, match="is missing") as error:
            leaf.build(root, image_size=8)
        assert str(path) in self.message(error)

    def test_a_truncated_picture_is_named(self, leaf, root):
        path = root / f"domainnet/{self.name}/{CLASSES[344]}/{self.name}_2.png"
        truncate(path)
        with pytest.raises(DataBroken, match="cannot be decoded") as error:
            leaf.build(root, image_size=8)
        assert str(path) in self.message(error)

    def test_a_list_with_another_number_of_classes_is_refused(self, leaf, root):
        path = root / f"domainnet/{self.name}_train.txt"
        path.write_text(path.read_text().replace(" 200\n", " 345\n"))
        with pytest.raises(DataBroken, match="a label from 0 to 344"):
            leaf.build(root, image_size=8)

    def test_a_list_of_another_length_is_refused(self, leaf, root):
        path = root / f"domainnet/{self.name}_test.txt"
        path.write_text(path.read_text().partition("\n")[0])
        with pytest.raises(DataBroken, match=r"lists 345 \+ 1 pictures, expected 345 \+ 2"):
            leaf.build(root, image_size=8)
