"""Accuracy against MACs: which networks stand where."""

from vitbench import baselines, papers
from vitbench.report import trades
from vitbench.report.results import Results

LIU = next(one for one in papers.load_all() if one.name == "liu2021")


def test_without_counted_macs_there_is_nothing_to_draw():
    assert trades.points(LIU, Results([]), "paper") == {}


def test_a_network_has_its_plain_and_its_best_printed_accuracy_over_its_macs():
    recorded, _ = baselines.load_all(papers.data_folder() / "recorded")
    found = trades.points(LIU, Results(recorded), "paper")
    own = {(one.model, one.kind): one for one in found["cifar10"]}
    assert (own["Swin-T", "plain ce"].printed, own["Swin-T", "best method"].printed) == (59.47, 83.89)
    assert own["Swin-T", "plain ce"].macs == own["Swin-T", "best method"].macs
    assert 4.4 < own["Swin-T", "plain ce"].macs < 4.6  # 4.5 G in its own paper
    (best,) = (one for one in found["cifar100"] if (one.model, one.kind) == ("Swin-T", "best method"))
    assert best.printed == 66.23  # though the first of its rows, with 32 pairs, is not counted
    panel = trades.plot(found).axes[0]
    assert {one.label for one in panel.series} == {"plain ce, printed", "best method, printed", ""}
    assert not any(one.is_filled for one in panel.series if one.label)
