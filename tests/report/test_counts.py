"""How many printed numbers came out, counted by hand on small papers."""

from dataclasses import replace

from vitbench.case import Budget, Status
from vitbench.report import counts
from vitbench.report.results import Results


def test_verdicts_are_counted_for_each_recipe_and_for_sizes(twofold, twofold_results):
    headers, rows = counts.verdict_table(counts.verdicts(twofold, twofold_results))
    assert headers == ["Recipe", "reproduced", "deviates", "opposite sign", "undecided", "not run"]
    # Tables 2, 3 and 4 have 3 + 2 + 8 accuracies; of these, ViT on CIFAR-10 is measured under both protocols, in
    # Table 2 and in Table 4, and plain ViT on CIFAR-100 under `code`, in Tables 3 and 4.
    assert rows == [
        ["paper", "2", "2", "0", "0", "9"],
        ["code", "0", "6", "0", "0", "7"],
        ["paper-300", "0", "0", "0", "0", "2"],
        ["rerun", "2", "0", "0", "0", "0"],
        ["finetune", "0", "0", "0", "0", "2"],
        ["sizes", "1", "1", "0", "0", "0"],
    ]


def test_a_paper_of_one_recipe_has_one_count(paper, results):
    found = counts.verdicts(paper, results)
    assert list(found) == ["scratch"]
    assert sum(found["scratch"].values()) == 17


def test_a_budget_has_verdicts_of_its_own_and_no_sizes(paper, measured):
    short = [measured("vit", "ce", "cifar10", 10.0, budget="short")]
    found = counts.verdicts(paper, Results(short), Budget.SHORT)
    assert list(found) == ["scratch"]
    assert counts.told(found["scratch"], run=True) == "3 deviates"  # one number, in three tables
    assert counts.told(found["scratch"]) == "3 deviates, 14 not run"
    assert counts.told(counts.verdicts(paper, Results(short))["scratch"], run=True) == ""


def test_a_printed_number_counts_once_whatever_reads_it(twofold, twofold_results):
    # 3 + 2 + 2 + 8 + 2 + 2 accuracies and 2 sizes; measured: 2 + 1 + 0 + 3 + 2 + 0 and 2.
    assert counts.measured(twofold, twofold_results) == (10, 21)
    assert counts.measured(twofold, Results([])) == (0, 21)


def test_what_keeps_cells_from_being_run_is_a_line_for_each_reason(twofold):
    assert list(counts.standings(twofold)) == [
        "needs-data, 8 cells (Tables 3, 4: cifar100): fetch it by hand",
        "needs-weights, 2 cells (Table 5: cifar10): fetch the weights by hand",
    ]


def test_where_everything_can_be_run_nothing_is_said(paper):
    assert list(counts.standings(paper)) == []


def test_a_cell_of_which_nothing_was_specified_needs_no_reason(paper):
    table = paper.tables[2]
    printed = [replace(one, claim=replace(one.claim, status=Status.PRINTED_ONLY)) for one in table.printed]
    changed = replace(paper, tables=(replace(table, printed=tuple(printed)),))
    assert list(counts.standings(changed)) == ["printed-only, 4 cells (Table 3: cifar10)"]
