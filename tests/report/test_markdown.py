"""Text in Markdown: whatever stands in a name is shown as it is."""

import pytest

from vitbench.report import markdown, tables


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (
            "ce + 0.1*drloc + 0.1*me",
            r"ce + 0.1\*drloc + 0.1\*me",
        ),  # else Markdown takes the stars and sets it in italics
        ("a | b", r"a \| b"),
        ("a\\|b", r"a\\\|b"),
        ("<b>", "&lt;b>"),
        ("`x`", r"\`x\`"),
        ("[x](y)", r"\[x](y)"),
        ("AT&T &amp;", "AT&amp;T &amp;amp;"),
        ("two\r\n lines", "two lines"),
        ("71.90 ± 0.31 (n = 5)", "71.90 ± 0.31 (n = 5)"),
        ("+4.50", "+4.50"),
        ("fgsm_drop", "fgsm_drop"),
    ],
)
def test_plain_text_is_shown_as_it_is(text, written):
    assert markdown.escaped(text) == written


def test_only_our_own_bold_is_bold(tables_of, results):
    _, rows = tables.printed_table(tables_of["1"], tables_of["1"].cases, results, "paper")
    page = markdown.table((["a"] * 12, rows))
    assert page.count("**65.50**") == 1
    assert r"0.1\*me" in page
    assert "0.1*me" not in page


def test_a_link_holds_whatever_its_text_and_target_hold():
    assert markdown.link("a|b", "x/a run/r.json") == r"[a\|b](x/a%20run/r.json)"
    assert isinstance(markdown.link("a", "b"), markdown.Markup)


def test_an_image_holds_whatever_its_text_and_target_hold():
    assert markdown.image("a [b] | c\n", "figures/a b.svg") == r"![a \[b\] \| c ](figures/a%20b.svg)"
