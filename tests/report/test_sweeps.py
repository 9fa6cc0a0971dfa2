"""Which tables sweep something, and that the plot has their printed numbers and ours."""

from vitbench import papers
from vitbench.baselines import Measurement
from vitbench.report import sweeps
from vitbench.report.results import Results

FLOROS = next(one for one in papers.load_all() if one.name == "floros2024")


def found(made=()):
    return {one.table: one for one in sweeps.sweeps(FLOROS, Results(made), "paper")}


def measured(objective, value):
    plain = {"paper": "floros2024", "model": "vit", "dataset": "cifar10", "recipe": "scratch", "budget": "paper"}
    plain |= {"metric": "accuracy", "seed": "0", "key": "k", "machine": "m", "device": "d", "precision": "fp32"}
    plain |= {"engine": "eager", "torch": "2", "commit": "c", "date": "2026-01-01"}
    return Measurement(objective=objective, value=value, **plain)


def test_sweeps_are_told_by_what_moves_in_their_objectives():
    assert {table: one.what for table, one in found().items()} == {
        "4.1": "weight of drloc",
        "4.2": "weight of me",
        "4.5": "ratio of me",
    }
    assert not any(one.is_measured for one in found().values())


def test_what_is_printed_is_hollow_and_ours_is_filled_with_its_interval():
    made = [measured("ce", 60.0), measured("ce + 0.1*drloc", 62.0)]
    sweep = found(made)["4.1"]
    assert sweep.is_measured
    cifar10 = sweeps.plot(sweep).axes[0]
    by_label = {one.label: one for one in cifar10.series}
    # 60.57, 61.80, 61.08 and 61.10 under the weights, 62.45 without
    assert [round(one, 2) for one in by_label["ViT, printed"].y] == [-1.88, -0.65, -1.37, -1.35]
    assert not by_label["ViT, printed"].is_filled
    ours = by_label["ViT, ours"]
    assert (list(ours.x), list(ours.y)) == ([2.0], [2.0])
    (bar,) = ours.bars
    assert round(bar[1] - bar[0], 2) == 2.69  # twice 1.96 * sqrt(2 * 62 * 38 / 10,000)
    assert [name for _, name in cifar10.x_ticks] == ["0.025", "0.05", "0.1", "0.2"]
