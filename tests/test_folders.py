"""Folders of pictures: torchvision's order, a digest that sees changes, and one line for what is wrong."""

import hashlib
import os
import subprocess
import sys

import pytest
from torchvision.datasets import ImageFolder

from tests.pictures import write
from vitbench import folders
from vitbench.errors import DataAbsent, DataBroken


@pytest.fixture
def folder(tmp_path):
    """Two classes, 3 + 2 pictures of each, and things that are none."""
    root = tmp_path / "pictures"
    for half, count in (("train", 3), ("val", 2)):
        for name in ("dog", "cat"):
            for number in range(count):
                write(root / half / name / f"{number}.jpg", seed=number)
    write(root / "train/cat/deeper/9.PNG")
    for stray in ("train/cat/Thumbs.db", "train/.DS_Store", "train/readme.txt", "train/cat/._0.jpg"):
        (root / stray).write_bytes(b"no picture")
    (root / "train/.hidden").mkdir()
    (root / "train/cat/.trash").mkdir()
    write(root / "train/cat/.trash/1.jpg")
    return root


def message(error):
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("imagefolder: ")
    return text


def test_it_lists_what_torchvisions_imagefolder_lists(folder):
    for hidden in ("train/.hidden", "train/cat/.trash/1.jpg", "train/cat/.trash", "train/cat/._0.jpg"):
        path = folder / hidden
        path.rmdir() if path.is_dir() else path.unlink()  # torchvision would take them
    found = folders.scan(folder)
    for half, ours in (("train", found.train), ("val", found.test)):
        theirs = ImageFolder(str(folder / half))
        assert [(str(folder / name), label) for name, label in ours] == theirs.samples
        assert list(found.classes) == theirs.classes
    assert (len(found.train), len(found.test)) == (7, 4)


def test_hidden_files_and_folders_are_no_pictures(folder):
    names = [name for name, _ in folders.scan(folder).train]
    assert "train/cat/deeper/9.PNG" in names
    assert not [name for name in names if "/." in name]


def test_a_test_folder_serves_as_well(folder):
    before = folders.scan(folder)
    (folder / "val").rename(folder / "test")
    after = folders.scan(folder)
    assert [label for _, label in after.test] == [label for _, label in before.test]
    assert all(name.startswith("test/") for name, _ in after.test)


def test_the_digest_is_a_sha256_over_sorted_names_sizes_and_labels(folder):
    lines = b""
    for path in sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.suffix in (".jpg", ".PNG")):
        if "/." not in path:
            label = int("/dog/" in path)
            lines += path.encode() + b"\0" + str((folder / path).stat().st_size).encode() + f"\0{label}\n".encode()
    assert folders.scan(folder).digest == hashlib.sha256(lines).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "train/cat/0.jpg").unlink(),
        lambda root: write(root / "val/dog/7.jpg"),
        lambda root: (root / "train/cat/0.jpg").rename(root / "train/dog/7.jpg"),
        lambda root: (root / "train/cat/0.jpg").write_bytes(b"shorter"),
        lambda root: [(root / half / "cat").rename(root / half / "eel") for half in ("train", "val")],
    ],
)
def test_the_digest_sees_each_change(folder, change):
    before = folders.scan(folder).digest
    change(folder)
    assert folders.scan(folder).digest != before


def test_the_digest_does_not_depend_on_where_the_folder_is(folder, tmp_path):
    before = folders.scan(folder)
    assert folders.scan(str(folder.rename(tmp_path / "elsewhere"))) == before


def test_links_and_names_that_are_no_unicode_are_read(folder, tmp_path):
    (folder / "train/cat/0.jpg").rename(os.fsdecode(os.fsencode(folder / "train/cat") + b"/\xff\xfe.jpg"))
    (folder / "val/dog").rename(tmp_path / "dogs")
    (folder / "val/dog").symlink_to(tmp_path / "dogs")
    found = folders.scan(folder)
    assert (len(found.train), len(found.test)) == (7, 4)


def empty(path):
    for one in path.iterdir():
        one.unlink()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda root: (root / "val").rename(root / "valid"), "pictures has neither val nor test; a folder of pictures"),
        (lambda root: (root / "train").rename(root / "training"), "pictures has no folder train"),
        (lambda root: (root / "test").mkdir(), "has both val and test"),
        (lambda root: empty(root / "val/cat"), "val/cat holds no picture; put .jpg"),
        (lambda root: (root / "val/eel").mkdir(), "val has 3 classes and train has 2: train lacks 'eel'; add "),
        (
            lambda root: (root / "val/cat").rename(root / "val/eel"),
            "val has 2 classes and train has 2: val lacks 'cat'",
        ),
        (lambda root: [(root / h / "dog").rename(root / h / ".dog") for h in ("train", "val")], "has 1 folders of cl"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_path(folder, spoil, expected):
    spoil(folder)
    with pytest.raises(DataBroken) as error:
        folders.scan(folder)
    assert expected in message(error)
    assert str(folder) in message(error)


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(DataAbsent, match="nowhere does not exist; name a folder with train/") as error:
        folders.scan(tmp_path / "nowhere")
    message(error)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataAbsent, match="file is a file, not a folder"):
        folders.scan(tmp_path / "file")


def test_a_folder_that_may_not_be_read_is_named(folder, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("val/dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataBroken, match=r"val/dog cannot be read \(Permission denied\)") as error:
        folders.scan(folder)
    message(error)


def test_a_dead_link_is_named(folder):
    (folder / "train/cat/8.jpg").symlink_to(folder / "nowhere.jpg")
    with pytest.raises(DataBroken, match=r"train/cat/8.jpg cannot be read \(No such file") as error:
        folders.scan(folder)
    message(error)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("train/cat/again", "train/cat"),
        ("train/cat/deeper/again", "train/cat"),
        ("train/cat/deeper/again", "."),
        ("train/cat/again", ".."),
        ("train/eel", "train"),
        ("train/eel", "."),
    ],
)
def test_a_link_that_leads_back_above_itself_is_named(folder, link, target):
    if "eel" in link:
        write(folder / "val/eel/0.jpg")
    (folder / link).symlink_to((folder / target).resolve())
    with pytest.raises(DataBroken) as error:
        folders.scan(folder)
    back = f"{folder / link} is a link back to {(folder / target).resolve()}, in which it lies, expected one that leads"
    assert back in message(error)
    assert "; remove it" in message(error)


def test_links_that_lead_back_by_way_of_each_other_are_named(folder, tmp_path):
    write(tmp_path / "more/1.jpg")
    (tmp_path / "more/back").symlink_to(folder / "train/cat")
    (folder / "train/cat/more").symlink_to(tmp_path / "more")
    with pytest.raises(DataBroken, match=r"train/cat/more/back is a link back to .*/train/cat, ") as error:
        folders.scan(folder)
    message(error)


def test_links_that_lead_aside_are_followed(folder, tmp_path):
    before = folders.scan(folder)
    (folder / "train/cat/dogs").symlink_to("../dog")
    (folder / "train/dog/cats").symlink_to(folder / "val/cat")
    (tmp_path / "link").symlink_to(folder)
    found = folders.scan(tmp_path / "link")
    assert len(found.train) == len(before.train) + 3 + 2 + 2  # cat/dogs, dog/cats, cat/dogs/cats


def test_wanted_classes_are_picked_and_the_others_ignored(folder):
    write(folder / "train/eel/0.jpg")
    found = folders.read(folder, dataset="some", classes=["dog"])
    assert found.classes == ("dog",)
    assert [name for name, _ in found.test] == ["val/dog/0.jpg", "val/dog/1.jpg"]
    with pytest.raises(DataBroken, match=r"some: .*val/eel does not exist; the data set has 2 classes"):
        folders.read(folder, dataset="some", classes=["dog", "eel"])


def test_it_is_read_without_torch_and_numpy():
    code = "import sys, vitbench.folders; sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
