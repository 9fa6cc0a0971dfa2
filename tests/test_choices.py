"""Choices of a paper's file: read strictly, and about recipes and notes that there are."""

import re

import pytest

from vitbench import choices, papers
from vitbench.choices import Choice
from vitbench.errors import UserError

PAPERS = papers.load_all()
TEXT = (papers.data_folder() / "papers" / "liu2021.toml").read_text(encoding="utf-8")
OURS = """\
choices = [
  { what = "pixels", ours = "as they are", why = "not said" },
  { recipes = ["paper", "code"], what = "weight decay", ours = "0.05", why = "none", see = "0008-liu2021-protocols" },
]
"""


def read(tmp_path, content):
    """The choices of a copy of liu2021 that has these in place of its own, and the line where they begin."""
    before, rest = TEXT.split("choices = [\n")
    path = tmp_path / "liu2021.toml"
    path.write_text(before + content + rest.partition("\n]\n")[2], encoding="utf-8")
    return path, before.count("\n") + 1


def test_a_choice_is_what_the_file_says(tmp_path):
    path, _ = read(tmp_path, OURS)
    assert papers.load(path).choices == (
        Choice(what="pixels", ours="as they are", why="not said"),
        Choice(
            what="weight decay",
            ours="0.05",
            why="none",
            see="0008-liu2021-protocols",
            recipes=("paper", "code"),
        ),
    )


def test_a_paper_needs_none(tmp_path):
    assert papers.load(read(tmp_path, "")[0]).choices == ()


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('what = "pixels"', 'wat = "pixels"', 1, "unknown key 'wat'; did you mean what"),
        ('what = "pixels", ', "", 1, "the key 'what' is missing; expected a string"),
        ('what = "weight decay", ', "", 2, "the key 'what' is missing; expected a string"),
        ('ours = "0.05"', "ours = 0.05", 2, "ours: expected a string, got 0.05"),
        ('why = "not said" },', 'why = " " },', 1, "why: expected a text, got none"),
        ('"paper", "code"', '"paper", "cod"', 2, "unknown recipe 'cod'; did you mean code"),
        ('"paper", "code"', '"paper", 3', 2, "unknown recipe '3'"),
        ('"paper", "code"', '"code", "code"', 2, "code, code: one is named twice"),
        ('["paper", "code"]', "[]", 2, "recipes: expected at least one recipe, got none"),
        ('["paper", "code"]', '"paper"', 2, "recipes: expected a list, got 'paper'"),
        ("0008-liu2021-protocols", "0008-liu2021-protocol", 2, "did you mean 0008-liu2021-protocols"),
        ("0008-liu2021-protocols", "0008-liu2021-protocols.md", 2, "see: expected the name of a note in docs/"),
        ("0008-liu2021-protocols", "../gate", 2, "see: expected the name of a note in docs/"),
        ('{ what = "pixels", ours = "as they are", why = "not said" }', '"pixels"', 0, "expected a list of tables"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_file_line_and_the_way_out(tmp_path, old, new, line, message):
    assert old in OURS
    path, first = read(tmp_path, OURS.replace(old, new, 1))
    with pytest.raises(UserError) as refused:
        papers.load(path)
    text = str(refused.value)
    assert text.isprintable()
    assert message in text
    assert int(re.fullmatch(rf"{re.escape(str(path))}:(\d+)\b.*", text)[1]) == first + line


def test_without_notes_a_name_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "decisions", lambda: tmp_path / "docs" / "decisions")
    path, _ = read(tmp_path, OURS.replace("0008-liu2021-protocols", "0099-nobodys"))
    assert papers.load(path).choices[1].see == "0099-nobodys"


@pytest.mark.parametrize("paper", PAPERS, ids=lambda one: one.name)
def test_every_paper_has_its_choices_each_once_and_each_note_is_there(paper):
    assert len(paper.choices) > 10
    assert {one.see for one in paper.choices} <= {path.stem for path in choices.decisions().glob("*.md")} | {""}
    told = [(recipe, one.what) for one in paper.choices for recipe in one.recipes or paper.recipes]
    assert len(set(told)) == len(told)
