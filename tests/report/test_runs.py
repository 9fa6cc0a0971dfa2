"""The list of runs: one row each, with the recipe where that tells cases apart."""

from vitbench.report import runs
from vitbench.report.results import Results


def test_a_run_has_where_and_with_what_it_was_made_and_leads_to_its_record(paper, measured):
    made = [measured("vit", "ce", "cifar10", 61.0), measured("vit", "ce", "cifar10", 5.0, "fgsm_drop")]
    headers, rows = runs.run_table(paper, Results(made), {"0123456789ab": "runs/a.json"})
    assert rows == [
        [
            *("vit", "ce", "cifar10", "paper", "0", "h200: NVIDIA H200", "fp32, eager"),
            *("2.11.0", "3f2c1ab", "2026-11-02", "[0123456789ab](runs/a.json)"),
        ]
    ]
    assert len(headers) == len(rows[0])
    assert "Recipe" not in headers


def test_runs_of_both_protocols_are_told_apart(twofold, of_twofold):
    made = [of_twofold(name, "vit", "ce", "cifar10", 61.0, "accuracy") for name in ("paper", "code")]
    headers, rows = runs.run_table(twofold, Results(made), {})
    assert [row[headers.index("Recipe")] for row in rows] == ["code", "paper"]
    assert {len(row) for row in rows} == {len(headers)}


def test_runs_are_of_one_paper(paper, twofold, of_twofold):
    results = Results([of_twofold("code", "vit", "ce", "cifar10", 61.0, "accuracy")])
    assert runs.run_table(paper, results, {})[1] == []


def test_whether_precisions_are_mixed(paper, measured):
    made = [measured("vit", "ce", "cifar10", 61.0), measured("cvt", "ce", "cifar10", 61.0, precision="bf16")]
    assert runs.is_mixed(paper, Results(made))
    assert not runs.is_mixed(paper, Results(made[:1]))
    assert not runs.is_mixed(paper, Results([]))
