"""The table of a comparison: every number in its column, nothing that Markdown would read otherwise."""

from vitbench.pairs import Paired, Row
from vitbench.report.comparison import HEADERS, grid, lines, summary
from vitbench.statistics import Comparison, mcnemar, paired_t

SUBJECT = "vit, ce + 0.1*drloc + 0.1*me, digits"


def row(comparison, metric="accuracy", values=(90.0, 92.0), adjusted=None):
    return Row(subject=SUBJECT, metric=metric, values=values, comparison=comparison, adjusted=adjusted)


T = row(paired_t([90, 91], [91, 94]), adjusted=0.0123)
IMAGES = row(mcnemar([True] * 20 + [False] * 20, [False] * 20 + [False] * 20), adjusted=4e-6)
SIZE = row(Comparison(test="exact", n=(1,), effect=1e-7), "params", (15.0, 15.0000001))
SAME = row(Comparison(test="exact", n=(1,), effect=0.0), "macs", (1.0, 1.0))
SINGLE = row(paired_t([90], [92]))
WELCH = row(Comparison(test="Welch's t", n=(3, 4), effect=-0.5, low=-1.0, high=0.25, p=0.25), adjusted=0.25)


def test_each_number_stands_in_its_column():
    headers, cells = grid([T, IMAGES, SIZE, SAME, SINGLE, WELCH])
    assert headers == list(HEADERS)
    assert cells == [
        # Cauchy's quantile of 0.975 is 12.706; the standard error is 1.
        [SUBJECT, "accuracy (%)", "90.00", "92.00", "+2.00", "-10.71 to +14.71", "2", "paired t", "0.3", "0.012"],
        [SUBJECT, "accuracy (%)", "90.00", "92.00", "-50.00", cells[1][5], "40", "McNemar", "< 0.0001", "< 0.0001"],
        [SUBJECT, "params (M)", "15.00", "15.00", "+1e-07", "", "1", "exact", "", ""],
        [SUBJECT, "macs (G)", "1.000", "1.000", "0", "", "1", "exact", "", ""],
        [SUBJECT, "accuracy (%)", "90.00", "92.00", "+2.00", "n = 1: no interval", "1", "none", "", ""],
        [SUBJECT, "accuracy (%)", "90.00", "92.00", "-0.50", "-1.00 to +0.25", "3 and 4", "Welch's t", "0.25", "0.25"],
    ]


def test_the_summary_is_one_line_that_counts():
    paired = Paired(rows=(T, IMAGES, SIZE, SAME, SINGLE, WELCH), only=(("x", "y"), ("z",)))
    assert summary(paired) == (
        "1 case in both, 6 comparisons; 2 of 3 tested differ (adjusted p < 0.05); 1 of 2 counted differ; "
        "2 only in A, 1 only in B"
    )


def test_the_summary_comes_first_and_what_is_not_in_the_table_last():
    text = list(lines(Paired(rows=(T,), only=(("a*b",), ("c",)), notes=("more",))))
    assert text[0].startswith("1 case in both")
    assert text[1] == ""
    assert len({line.count("|") - line.count("\\|") for line in text[2].splitlines()}) == 1
    assert "ce + 0.1\\*drloc + 0.1\\*me" in text[2]
    assert text[3:] == ["", "- only in A: a\\*b", "- only in B: c", "- more"]


def test_without_rows_there_is_no_table():
    assert list(lines(Paired(rows=(), only=((), ()), notes=("one",))))[1:] == ["", "- one"]
