"""What the doctor says of a machine, whatever state its folders are in."""

import pytest

from vitbench import doctor


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


@pytest.mark.parametrize("name", ["python", "torch", "device", "GPU", "data", "digits", "cifar100"])
def test_each_thing_has_its_line(name):
    assert state(name, None)
