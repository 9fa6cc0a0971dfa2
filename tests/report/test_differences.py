"""What was measured beside what is printed: numbers worked out by hand, intervals by scipy."""

import pytest
from scipy.stats import t

from vitbench.report import differences
from vitbench.report.results import Results


def rows_of(paper, made, budgets=("paper",)):
    headers, rows = differences.difference_table(differences.differences(paper, Results(made), budgets))
    return [dict(zip(headers, row, strict=True)) for row in rows]


def test_a_row_has_both_levels_both_gains_the_interval_and_the_verdict(paper, measured):
    made = [measured("vit", "ce", "cifar10", 62.0), measured("vit", "ce + 0.1*me", "cifar10", 66.5)]
    made.append(measured("vit", "ce + 0.1*me", "cifar10", 8.0, "training_macs_ratio", seed="", recipe=""))
    plain, method = rows_of(paper, made)
    assert (plain["ours"], plain["printed"], plain["difference"]) == ("62.00", "60.00", "+2.00")
    assert (plain["gain, ours"], plain["gain, printed"]) == ("", "")
    # 1.96 * sqrt(62 * 38 / 10,000) is 0.951, and sqrt 2 times that of 66.5 % is 1.308
    assert plain["95 % interval"] == "61.05 to 62.95 (test images, n = 1)"
    assert (method["difference"], method["gain, ours"], method["gain, printed"]) == ("+2.50", "+4.50", "+4.00")
    assert method["95 % interval"] == "+3.19 to +5.81 (test images, n = 1)"
    assert method["verdict"] == "reproduced"
    assert method["Table"] == "1, 2, 3"  # which print the same


def test_several_seeds_have_the_interval_of_their_paired_gains(paper, measured):
    made = []
    for seed, (plain, method) in enumerate([(60.0, 63.0), (62.0, 66.0), (61.0, 66.0)]):
        made += [measured("vit", "ce", "cifar10", plain, seed=str(seed))]
        made += [measured("vit", "ce + 0.1*me", "cifar10", method, seed=str(seed))]
    _, row = rows_of(paper, made)
    half = t.ppf(0.975, 2) / 3**0.5  # the gains 3, 4, 5 spread by 1
    assert row["95 % interval"] == f"{4 - half:+.2f} to {4 + half:+.2f} (3 seeds)"


def test_what_was_not_run_has_no_row_and_two_budgets_have_a_column(paper, measured):
    assert differences.differences(paper, Results([]), ["paper"]) == []
    made = [measured("vit", "ce", "cifar10", 62.0), measured("vit", "ce", "cifar10", 50.0, budget="short")]
    assert [one["Budget"] for one in rows_of(paper, made, ("paper", "short"))] == ["paper", "short"]
    assert [one["Budget"] for one in rows_of(paper, made[1:], ("paper", "short"))] == ["short"]
    assert "Budget" not in rows_of(paper, made[:1])[0]


def test_a_forest_has_ours_with_its_interval_and_the_printed_gain_in_each_row(paper, measured):
    made = [measured("vit", "ce", "cifar10", 62.0), measured("vit", "ce + 0.1*me", "cifar10", 66.5)]
    found = differences.differences(paper, Results(made), ["paper"])
    ((name, shown),) = differences.forests(found).items()
    (panel,) = differences.forest(shown).axes
    ours, printed = panel.series
    assert (name, list(ours.x), list(printed.x)) == ("paper", [4.5], [4.0])
    assert ours.spans[0] == pytest.approx((3.19, 5.81), abs=0.005)
    assert [label for _, label in panel.y_ticks] == ["ViT, ce + 0.1*me, cifar10"]
    assert not printed.is_filled
