"""What the doctor says of a machine, whatever state its folders are in."""

import pytest

from tests.oxford import publish
from tests.pictures import listing
from vitbench import doctor
from vitbench.datasets import flowers102


def state(name, data):
    (line,) = (line for line in doctor.lines(data) if line.split()[0] == name)
    return line


def test_data_that_cannot_be_looked_at_is_said_in_its_line(tmp_path):
    line = state("cifar10", tmp_path / ("a" * 300))
    assert "File name too long" in line
    assert "found" in state("digits", tmp_path / ("a" * 300))


def test_an_unreadable_folder_is_said_in_its_line(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("vitbench.archives.ensure", refuse)
    assert f"{tmp_path}: Permission denied" in state("cifar10", tmp_path)


def test_photographs_are_found_without_being_decoded(tmp_path, monkeypatch):
    root = publish(tmp_path, monkeypatch)
    for name, count in (("TRAIN", 4), ("TEST", 3)):
        monkeypatch.setattr(flowers102, name, count)
    before = listing(root)
    line = state("flowers102", root)
    assert f"found; the first run decodes it at 256 pixels into {root / '.vitbench-cache'} (0.00138 GB)" in line
    assert listing(root) == before
    flowers102.build(root)
    assert "found, decoded at 256 pixels" in state("flowers102", root)


def test_a_picture_that_is_missing_is_said_in_its_line(tmp_path, monkeypatch):
    root = publish(tmp_path, monkeypatch)
    for name, count in (("TRAIN", 4), ("TEST", 3)):
        monkeypatch.setattr(flowers102, name, count)
    (root / "flowers-102/jpg/image_00003.jpg").unlink()
    assert "image_00003.jpg is missing" in state("flowers102", root)


def test_what_is_missing_is_said_once_without_its_name(tmp_path):
    assert state("clipart", tmp_path).split()[1] == str(tmp_path / "domainnet/clipart_train.txt")


def test_a_folder_of_ones_own_is_explained():
    assert "--dataset imagefolder:PATH" in state("imagefolder", None)


@pytest.mark.parametrize("name", ["python", "torch", "device", "GPU", "data", "digits", "cifar100", "svhn"])
def test_each_thing_has_its_line(name):
    assert state(name, None)


def test_data_sets_of_packages_are_looked_for_and_what_nobody_can_use_is_said(package, distribution, tmp_path):
    name = package("data.py", "IMAGE_SIZE = 8\ndef build(root, *, image_size, download): raise ValueError('gone')\n")
    distribution("mypkg", f"[vitbench.datasets]\nletters = {name}.data\n[vitbench.terms]\nspread = {name}.nothing\n")
    assert "letters' fails when built: line 2, ValueError: gone" in state("letters", tmp_path)
    notes = [line for line in doctor.lines(tmp_path) if line.startswith("note: ")]
    assert len(notes) == 1
    assert "'spread'" in notes[0]
    assert "no module" in notes[0]
