"""DomainNet's lists: names and labels of the pictures as published, and everything else in one line."""

import pytest

from tests.pictures import write
from vitbench.errors import DataAbsent, DataBroken
from vitbench.sources import domainnet

TRAIN = ["clipart/ant/clipart_007_000001.jpg 1", "clipart/zebra/clipart_344_000002.png 2", "clipart/ant/2.jpg 1"]
TEST = ["clipart/ant/clipart_007_000009.jpg 1", "clipart/The_Mona_Lisa/clipart_320_000001.jpg 0"]


@pytest.fixture
def root(tmp_path):
    return publish(tmp_path, TRAIN, TEST)


def publish(root, train, test, domain="clipart"):
    (root / "domainnet" / domain).mkdir(parents=True, exist_ok=True)
    for half, lines in (("train", train), ("test", test)):
        (root / f"domainnet/{domain}_{half}.txt").write_text("".join(f"{one}\n" for one in lines))
    return root


def listed(root, domain="clipart", classes=3, train=3, test=2):
    return domainnet.listed(domain, root, classes=classes, train=train, test=test)


def message(error):
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(("clipart: ", "painting: "))
    return text


def test_pictures_and_labels_are_those_of_the_lists_in_their_order(root):
    found = listed(root)
    assert [f"{name} {label}" for name, label in found.train] == TRAIN
    assert [f"{name} {label}" for name, label in found.test] == TEST
    assert (found.base, found.root) == (root / "domainnet", root)


def test_classes_are_the_folders_in_the_order_of_the_labels(root):
    assert listed(root).classes == ("The_Mona_Lisa", "ant", "zebra")


@pytest.mark.parametrize("absent", ["clipart_train.txt", "clipart_test.txt", "clipart"])
def test_what_is_absent_is_named_with_what_to_fetch(root, absent):
    path = root / "domainnet" / absent
    path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(DataAbsent) as error:
        listed(root)
    text = message(error)
    assert str(path) in text
    assert "get groundtruth/clipart.zip, domainnet/txt/clipart_train.txt" in text


def test_cleaned_archives_are_where_their_page_has_them():
    for domain, archive in (("painting", "groundtruth/painting.zip"), ("real", " real.zip")):
        with pytest.raises(DataAbsent) as error:
            listed(None, domain)
        assert archive in str(error.value)
        assert "http://csr.bu.edu/ftp/visda/2019/multi-source/" in str(error.value)


@pytest.mark.parametrize(
    "line",
    [
        "clipart/ant/1.jpg",
        "clipart/ant/1.jpg one",
        "clipart/ant/1.jpg -1",
        "clipart/ant/1.jpg 3",
        "clipart/1.jpg 1",
        "sketch/ant/1.jpg 1",
        "clipart/../1.jpg 1",
        "/clipart/ant/1.jpg 1",
        "",
        "<html>",
    ],
)
def test_a_line_that_is_none_is_named(root, line):
    publish(root, [TRAIN[0], line, TRAIN[2]], TEST)
    with pytest.raises(DataBroken) as error:
        listed(root)
    text = message(error)
    assert f"clipart_train.txt:2: expected clipart/<class>/<file> and a label from 0 to 2, got {line!r}" in text


def test_a_list_that_is_no_text_is_named(root):
    (root / "domainnet/clipart_test.txt").write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(DataBroken, match=r"clipart_test.txt cannot be read"):
        listed(root)


@pytest.mark.parametrize(("train", "test"), [(TRAIN[:2], TEST), (TRAIN, TEST * 2)])
def test_other_counts_are_refused(root, train, test):
    publish(root, train, test)
    with pytest.raises(DataBroken) as error:
        listed(root)
    assert f"lists {len(train)} + {len(test)} pictures, expected 3 + 2; get the lists again" in message(error)


def test_a_label_of_two_names_is_refused(root):
    publish(root, TRAIN, ["clipart/bee/1.jpg 1", TEST[1]])
    with pytest.raises(DataBroken) as error:
        listed(root)
    assert "the lists give label 1 to 'ant' and to 'bee'" in message(error)


def test_a_name_of_two_labels_is_refused(root):
    publish(root, TRAIN, [TEST[0], "clipart/zebra/1.jpg 0"])
    with pytest.raises(DataBroken, match=r"hold 2 classes, expected 3 \(two labels have one name\)"):
        listed(root)


def test_a_class_without_pictures_is_refused(root):
    with pytest.raises(DataBroken) as error:
        listed(root, classes=4)
    assert "hold 3 classes, expected 4 (none has label 3)" in message(error)


def test_paintings_may_lack_t_shirts(tmp_path):
    names = [f"thing_{one:03d}" for one in range(345)]
    lines = [f"painting/{name}/1.jpg {label}" for label, name in enumerate(names) if label != 327]
    publish(tmp_path, lines, lines[:5], "painting")
    found = listed(tmp_path, "painting", classes=345, train=344, test=5)
    assert found.classes == (*names[:327], "t-shirt", *names[328:])
    publish(tmp_path, lines, [*lines[:4], "painting/t-shirt/1.jpg 327"], "painting")
    assert listed(tmp_path, "painting", classes=345, train=344, test=5).classes[327] == "t-shirt"


def test_names_with_spaces_are_read(root):
    publish(root, [*TRAIN[:2], "clipart/ant/a b.jpg 1"], TEST)
    write(root / "domainnet/clipart/ant/a b.jpg")
    name, label = listed(root).train[2]
    assert (root / "domainnet" / name).is_file()
    assert label == 1
