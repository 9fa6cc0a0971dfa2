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
        ("_x_ __init__", r"\_x\_ \_\_init\_\_"),
        ("~~gone~~", r"\~\~gone\~\~"),
        ("https://x.org www.x.org", "https&#58;//x.org www&#46;x.org"),
        ("a\u202eb", r"a\\u202eb"),  # would turn round all that follows
        ("a\u200bb\ufeff", r"a\\u200bb\\ufeff"),
        ("\x1b[31m", r"\\x1b\[31m"),
        ("\udc80", r"\\udc80"),  # which no file in UTF-8 can hold
        ("👩\u200d💻", "👩\u200d💻"),
        ("שלום 1.5", "\u2068שלום 1.5\u2069"),  # noqa: RUF001
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


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("# a", r"\# a"),
        ("a #", r"a \#"),
        ("- a", r"\- a"),
        ("+ a", r"\+ a"),
        ("> a", r"\> a"),
        ("12. a", r"12\. a"),
        ("3) a", r"3\) a"),
        ("===", r"\==="),
        ("a-b #1", "a-b #1"),
        ("2024", "2024"),
    ],
)
def test_what_begins_a_block_is_text_where_one_begins(text, written):
    assert markdown.leading(text) == written


@pytest.mark.parametrize(
    ("text", "written"), [("a", "`a`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("a\nb", "`a b`"), ("", "` `")]
)
def test_code_stands_between_more_backticks_than_it_has(text, written):
    assert markdown.code(text) == written


NASTY = [
    "a | b",
    r"a \| b",
    "<script>alert(1)</script>",
    "<!-- x",
    "&lt; &#35; &copy;",
    "*a* **b** _c_ __d__ ~~e~~",
    "a_b_c __init__ _",
    "`a` ``b`` `",
    "[a](b) ![c](d) [e]: f",
    "https://example.org <https://example.org> www.example.org",
    "# a #",
    "- a",
    "1. a",
    "> a",
    "===",
    "---",
    "| a | b |",
    "\\",
    "emoji 👩\u200d💻 🇩🇪",
    "שלום (12)",
    "\u202eabc\u2066",
    "a\u200bb",
]


@pytest.mark.parametrize("name", NASTY)
def test_another_reader_of_markdown_shows_the_text(name):
    markdown_it = pytest.importorskip("markdown_it", reason="needs markdown-it-py, which reads Markdown as GitHub does")
    reader = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    page = "\n\n".join(
        [
            f"# {markdown.leading(name)}",
            markdown.leading(name),
            f"- {markdown.leading(name)}",
            markdown.table((["a"], [[name], [markdown.link(name, "x")]])),
            markdown.image(name, "y"),
            markdown.code(name),
        ]
    )
    tokens = reader.parse(page)
    shown = [text_of(one) for one in tokens if one.type == "inline"]
    plain = markdown.visible(name)
    assert [one.strip("\u2068\u2069") for one in shown] == [plain, plain, plain, "a", plain, plain, plain, plain]
    kinds = [one.type for one in tokens if one.nesting == 1]
    assert kinds == [
        *("heading_open", "paragraph_open", "bullet_list_open", "list_item_open", "paragraph_open", "table_open"),
        *("thead_open", "tr_open", "th_open", "tbody_open", "tr_open", "td_open", "tr_open", "td_open"),
        *("paragraph_open", "paragraph_open"),
    ]


def text_of(inline):
    """What is read of a line; marks, HTML and links other than our own are none of it."""
    allowed = {"text", "text_special", "code_inline", "image", "link_open", "link_close"}
    assert {one.type for one in inline.children} <= allowed
    assert [one.attrs["href"] for one in inline.children if one.type == "link_open"] in ([], ["x"])
    return "".join(text_of(one) if one.type == "image" else one.content for one in inline.children)
