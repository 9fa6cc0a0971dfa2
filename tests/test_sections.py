"""Sections know their lines, whatever way of writing TOML was chosen."""

import pytest

from vitbench import sections
from vitbench.errors import UserError

TEXT = """\
# year = "not this line"
title = "a title with year in it"
year = 2024

[models]
vit = { printed = "ViT", full = "vit/a" }
cvt = { printed = "CvT", full = "cvt/a" }

[tables."4.1"] # the first
columns = [
  "one", # a comment, with "quotes", [brackets
  { dataset = "two", metric = "three" },
]
rows = [["a, [b", 1], ['c"', 2],
  ["d",
   3],
  # ["gone", 9],
  ["a, [b", 1]]

[[tables."4.1".parts]]
rows = [
  ["a", 1],
]
[[tables."4.1".parts]]
rows = [
  ["a", 1],
]

[tables."4.2"]
rows = []
notes = [
  { text = "first" },
  { text = "second", model = "vit" },
]

[recipes.scratch]
[recipes.scratch.phase.optimizer]
lr = 1
"""


@pytest.fixture
def top(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(TEXT)
    return sections.read(path)


def line(place):
    return int(place.rpartition(":")[2])


def below(section, *keys):
    for key in keys:
        section = section.section(key)
    return section


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((), 1),
        (("models",), 5),
        (("models", "vit"), 6),
        (("models", "cvt"), 7),
        (("tables", "4.1"), 9),
        (("tables", "4.2"), 29),
        (("recipes", "scratch"), 36),
        (("recipes", "scratch", "phase", "optimizer"), 37),
        (("nothing",), 1),
        (("models", "nothing"), 5),
    ],
)
def test_a_section_begins_at_its_heading_or_at_its_key(top, keys, expected):
    assert line(below(top, *keys).where()) == expected


@pytest.mark.parametrize(
    ("keys", "needle", "expected"),
    [
        ((), "title", 2),
        ((), "year", 3),
        ((), "models", 5),
        ((), "tables", 9),
        (("models", "cvt"), "printed", 7),
        (("models", "cvt"), "full", 7),
        (("models",), "cvt/a", 7),
        (("tables", "4.1"), "columns", 10),
        (("tables", "4.1"), "rows", 14),
        (("tables", "4.2"), "rows", 30),
        (("recipes", "scratch", "phase", "optimizer"), "lr", 38),
        (("tables", "4.2"), "title", 29),  # set above and not here
        (("models",), "columns", 5),  # set below and not here
        (("tables", "4.1"), "notes", 9),
    ],
)
def test_a_key_is_found_in_its_own_section(top, keys, needle, expected):
    assert line(below(top, *keys).where(needle)) == expected


def test_the_file_is_named(top):
    assert top.where("year") == f"{top.path}:3"


@pytest.mark.parametrize(
    ("keys", "key", "expected"),
    [
        (("tables", "4.1"), "columns", [11, 12]),
        (("tables", "4.1"), "rows", [14, 14, 15, 18]),
        (("tables", "4.2"), "rows", []),
        (("tables", "4.2"), "notes", [32, 33]),
        (("tables", "4.2"), "nothing", []),
    ],
)
def test_each_item_of_a_list_has_its_line(top, keys, key, expected):
    assert [line(place) for place in below(top, *keys).places(key)] == expected


def test_entries_of_a_list_of_sections_have_their_own_lines(top):
    parts = list(below(top, "tables", "4.1").list_of_sections("parts"))
    assert [line(part.where()) for part in parts] == [20, 24]
    assert [line(place) for part in parts for place in part.places("rows")] == [22, 26]
    notes = list(below(top, "tables", "4.2").list_of_sections("notes"))
    assert [line(note.where()) for note in notes] == [32, 33]


def test_where_an_item_cannot_be_found_the_list_is_named(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('x = 1\nrows = ["""a\n"b", "c""",\n"d"]\n')
    assert next(line(place) for place in sections.read(path).places("rows")) == 2
    assert len(sections.read(path).places("rows")) == 2


def test_an_unknown_key_is_named_with_its_line_and_the_nearest(top):
    with pytest.raises(UserError, match=r"a.toml:7 \[models.cvt\]: unknown key 'full'; did you mean ful\?"):
        below(top, "models", "cvt").keys("printed", "ful")


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        ("year", str, ":3 year: expected a string, got 2024"),
        ("title", int, ":2 title: expected a whole number, got 'a title"),
        ("title", float, ":2 title: expected a number, got"),
        ("year", list, ":3 year: expected a list, got 2024"),
        ("models", str, ":5 models: expected a string, got {"),
        ("pages", int, ":1: the key 'pages' is missing; expected a whole number"),
    ],
)
def test_a_value_of_another_type_or_none_is_named(top, key, kind, message):
    with pytest.raises(UserError) as refused:
        top.get(key, kind)
    assert str(refused.value).startswith(f"{top.path}{message}")


def test_a_whole_number_does_for_a_number_and_a_missing_key_for_its_default(top):
    assert type(top.get("year", float)) is float
    assert top.get("pages", int, 7) == 7


@pytest.mark.parametrize("text", ["true", "nan", "inf", "-inf", "'1'", "[1]"])
def test_no_number_is_no_number(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(f"lr = {text}\n")
    with pytest.raises(UserError, match=r"a.toml:1 lr: expected a number, got"):
        sections.read(path).get("lr", float)


def test_a_choice_is_one_of_a_few(top):
    section = below(top, "models", "vit")
    assert section.one_of("printed", ["ViT", "CvT"]) == "ViT"
    assert section.one_of("is", ["higher", "lower"], "lower") == "lower"
    with pytest.raises(UserError, match=r"a.toml:6: unknown full 'vit/a'; did you mean vit/b\?"):
        section.one_of("full", ["vit/b"])


@pytest.mark.parametrize("items", ["1", "'x'", "[2]"])
def test_a_list_of_sections_holds_sections(tmp_path, items):
    path = tmp_path / "a.toml"
    path.write_text(f"title = 1\nphases = [{items}]\n")
    with pytest.raises(UserError, match=r"a.toml:2 phases: expected a list of tables"):
        list(sections.read(path).list_of_sections("phases"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = 1\nb = \n", ":2: cannot be read as TOML: "),
        (b"a = 1\n[b\nc = 2\n", ":2: cannot be read as TOML: "),
        (b"a = 1\na = 2\n", ":2: cannot be read as TOML: "),
        (b"a = 1\nb = [1,\n2", ":3: cannot be read as TOML: "),
        (b"a = 1\nb = 'x\n", ":2: cannot be read as TOML: "),
        (b"a = 1\n\nb = '\xff'\n", ":3: this is not UTF-8"),
        ("a = 'é'".encode("utf-16"), ":1: this is not UTF-8"),
        (b"a = 1\0\n", ":1: cannot be read as TOML: "),
    ],
)
def test_what_is_no_toml_is_named_by_line(tmp_path, content, message):
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(UserError) as refused:
        sections.read(path)
    assert str(refused.value).startswith(f"{path}{message}")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "9" * 5000, "it has a whole number of more than 64 bits"),
        (f"a = {2**63}", "it has a whole number of more than 64 bits"),
        ("[b]\nc = [{ d = 0x" + "f" * 5000 + " }]", "it has a whole number of more than 64 bits"),
        ("a = " + "[" * 5000 + "]" * 5000, "its brackets are nested too deep"),
        ("a = " + "{b=" * 5000 + "1" + "}" * 5000, "its brackets are nested too deep"),
    ],
    ids=["decimal", "one too many", "hexadecimal", "lists", "tables"],
)
def test_what_python_cannot_hold_is_named(tmp_path, text, message):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        sections.read(path)
    assert str(refused.value).startswith(f"{path}: {message}")
    assert str(refused.value).isprintable()


def test_the_largest_numbers_of_toml_are_read(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(f"a = {2**63 - 1}\nb = {-(2**63)}\n")
    assert sections.read(path).content == {"a": 2**63 - 1, "b": -(2**63)}


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a.toml: cannot be read: No such file"):
        sections.read(tmp_path / "a.toml")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        sections.read(tmp_path)


def test_lines_are_counted_as_an_editor_counts_them(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes("title = 'a\u2028b\u0085c'\r\nyear = 'x'\r\n".encode())
    with pytest.raises(UserError, match=r"a.toml:2 year: "):
        sections.read(path).get("year", int)
