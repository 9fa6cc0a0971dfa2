"""Which figures a paper has: of the runs that its tables show, each once, and none where nothing is known."""

from dataclasses import replace

import pytest

from tests import a_pretraining
from vitbench import baselines, kept, papers
from vitbench.case import Budget
from vitbench.identity import of_run
from vitbench.kept import Kept
from vitbench.objective import parse
from vitbench.records import Store
from vitbench.report import gallery
from vitbench.report.results import Results
from vitbench.selection import Selection


@pytest.fixture
def paper(tmp_path):
    path = tmp_path / "tan2024.toml"
    path.write_text(a_pretraining.TEXT)
    return papers.load(path)


def lines(axes):
    """By their names, without what the legend says of them, the lines of a panel."""
    found = [(one.label, one.y) for one in axes.series] + [(label, (y, y)) for y, label, _ in axes.levels]
    named = {label.partition(": ")[0]: list(y) for label, y in found if label}
    return {name: values for name, values in named.items() if not name.startswith("_")}


class Shown:
    """What a report is made of, run by run."""

    def __init__(self, paper, folder, budget=Budget.QUICK):
        self.paper, self.budget, self.store = paper, budget, Store(folder)
        self.cases = Selection(budget=budget, all_rows=True).cases([paper])
        self.measured, self.kept = [], Kept()

    def case(self, model, dataset="digits"):
        (one,) = (
            one for one in self.cases if (one.model.name, one.dataset) == (model, dataset) and one.recipe.pretraining
        )
        return one

    def add(self, case, *, pictures=(), seed=0, machine="", **how):
        """A run, and whichever cells it belongs to."""
        identity, record = a_pretraining.record(case, seed=seed, budget=self.budget, **how)
        folder = self.store.folder(identity)
        if pictures:
            a_pretraining.put_pictures(folder, pictures)
        for other in [one for case in kept.drawn(self.cases) for one in case.needed(self.budget)]:
            if of_run(other, budget=self.budget, seed=seed).key == identity.key:
                self.measured += baselines.measurements(other, record, machine=machine)
        self.kept.take(record, folder, machine=machine)

    def drawings(self):
        results = Results(self.measured)
        found = list(gallery.drawings(self.paper, {self.budget: self.cases}, results, self.kept))
        assert len({one.name for one in found}) == len(found)
        return {one.name.removeprefix(f"{self.paper.name}-{self.budget}-"): one for one in found}


@pytest.fixture
def quick(paper, tmp_path):
    return Shown(paper, tmp_path)


@pytest.fixture
def printed(paper, tmp_path):
    return Shown(paper, tmp_path, Budget.PAPER)


def test_where_nothing_is_known_nothing_is_drawn(quick):
    assert quick.drawings() == {}
    case = quick.case("mae_c10")
    quick.add(case, accuracies=(60.0, 80.0, 90.0))
    quick.kept.curves.clear()
    assert quick.drawings() == {}
    quick.kept.curves["elsewhere", "0" * 12] = None  # of a run that no measurement is of
    assert quick.drawings() == {}


def test_networks_that_share_their_quick_runs_are_shown_once_under_both_names(quick):
    case = quick.case("mae_c10")
    quick.add(case.before(Budget.QUICK), losses=(4.0, 2.0, 1.0, 0.5), pictures=(1, 4))
    quick.add(case, losses=(1.0, 0.5, 0.25), accuracies=(60.0, 80.0, 90.0))
    quick.add(case.baseline, accuracies=(50.0, 70.0, 85.0))
    found = quick.drawings()
    assert list(found) == [
        "pretraining.svg",
        "c10-pretraining-mae_c10-digits-restored.png",
        "c10-pretraining-mae_c10-digits-evolution.png",
        "1-training.svg",
    ]
    (axes,) = found["pretraining.svg"].make().axes
    assert lines(axes) == {"Mae-C10 and Mae-C100, digits": [4.0, 2.0, 1.0, 0.5]}
    accuracy, loss = found["1-training.svg"].make().axes
    assert accuracy.title == "Mae-C10 and Mae-C100, digits"
    assert lines(accuracy) == {"me, then ce": [60.0, 80.0, 90.0], "ce": [50.0, 70.0, 85.0]}
    assert lines(loss) == {"me, then ce": [1.0, 0.5, 0.25], "ce": [2.0, 1.0, 0.5]}
    alt = found["1-training.svg"].alt
    assert "me, then ce, ends at 90.00 %, is best at 90.00 % and has 95 % of that after epoch 3" in alt
    assert "digits, ce, ends at 85.00 %" in alt
    assert "Mae-C10 and Mae-C100, digits ends at 0.5" in found["pretraining.svg"].alt


def test_pictures_are_of_the_last_epoch_and_of_the_first_seed_that_has_them(quick):
    before = quick.case("mae_c10").before(Budget.QUICK)
    for seed, pictures in ((2, (7,)), (0, ()), (1, (2, 3))):
        quick.add(before, seed=seed, pictures=pictures)
    found = quick.drawings()
    assert "after epoch 3: pre-training of Mae-C10 and Mae-C100, digits, quick budget, seed 1" in (
        found["c10-pretraining-mae_c10-digits-restored.png"].caption
    )
    evolution = found["c10-pretraining-mae_c10-digits-evolution.png"].make()
    assert [text for text, *_ in evolution.texts] == ["original", "masked", "epoch 2", "epoch 3"]


def test_one_epoch_is_no_evolution(quick):
    quick.add(quick.case("mae_c10").before(Budget.QUICK), pictures=(4,))
    assert list(quick.drawings()) == ["pretraining.svg", "c10-pretraining-mae_c10-digits-restored.png"]


def test_seeds_are_drawn_as_one_line(quick):
    case = quick.case("mae_c10")
    for seed in (0, 1):
        quick.add(case, seed=seed, accuracies=(60.0 + seed, 80.0, 90.0))
    (accuracy, _) = quick.drawings()["1-training.svg"].make().axes
    assert lines(accuracy) == {"me, then ce (mean of 2 seeds)": [60.5, 80.0, 90.0]}


def test_each_pretraining_and_each_network_and_data_set_is_drawn_for_itself(printed):
    for model, own in (("mae_c10", "cifar10"), ("mae_c100", "cifar100")):
        printed.add(printed.case(model, own).before(Budget.PAPER), losses=(2.0, len(own) / 10), pictures=(20, 1020))
        for dataset in ("cifar10", "cifar100"):
            printed.add(printed.case(model, dataset), accuracies=(60.0, 70.0, len(model) + len(dataset)))
    found = printed.drawings()
    (axes,) = found["pretraining.svg"].make().axes
    assert lines(axes) == {"Mae-C10, cifar10": [2.0, 0.7], "Mae-C100, cifar100": [2.0, 0.8]}
    assert [name for name in found if name.endswith("restored.png")] == [
        "c10-pretraining-mae_c10-cifar10-restored.png",
        "c100-pretraining-mae_c100-cifar100-restored.png",
    ]
    panels = found["1-training.svg"].make().axes
    titles = ["Mae-C10, cifar10", "Mae-C10, cifar100", "Mae-C100, cifar10", "Mae-C100, cifar100"]
    assert [axes.title for axes in panels[::2]] == titles


def test_the_printed_accuracy_is_a_line_under_the_papers_own_budget_alone(printed, quick):
    for shown, dataset in ((printed, "cifar100"), (quick, "digits")):
        shown.add(shown.case("mae_c100", dataset), accuracies=(60.0, 70.0, 77.0))
    assert lines(printed.drawings()["1-training.svg"].make().axes[0]) == {
        "me, then ce": [60.0, 70.0, 77.0],
        "me, then ce, printed": [78.0, 78.0],
    }
    assert list(lines(quick.drawings()["1-training.svg"].make().axes[0])) == ["me, then ce"]


def test_the_runs_are_those_of_the_tables(quick):
    case = quick.case("mae_c10")
    quick.add(case, machine="cpu", accuracies=(1.0, 2.0, 3.0), date="2026-01-01T00:00:00+00:00")
    quick.add(case, machine="h200", accuracies=(4.0, 5.0, 6.0), date="2026-01-03T00:00:00+00:00")
    (accuracy, _) = quick.drawings()["1-training.svg"].make().axes
    assert lines(accuracy) == {"me, then ce": [4.0, 5.0, 6.0]}


def test_methods_of_one_network_and_data_set_stand_in_one_panel_beside_their_baseline(paper, tmp_path):
    shown = Shown(paper, tmp_path)
    shown.cases = Selection(objectives=("ce + 0.1*drloc",)).cases([paper])
    shown.cases = [one for one in shown.cases if one.model.name == "mae_c10"]
    for number, case in enumerate(kept.pretrained(shown.cases)):
        shown.add(case, accuracies=(60.0, 70.0, 80.0 + number))
        shown.add(case.baseline, accuracies=(50.0, 60.0, 70.0))
    accuracy, _ = shown.drawings()["1-training.svg"].make().axes
    assert accuracy.title == "Mae-C10, digits"
    assert lines(accuracy) == {
        "me, then ce": [60.0, 70.0, 80.0],
        "ce": [50.0, 60.0, 70.0],
        "me, then ce + 0.1*drloc": [60.0, 70.0, 81.0],
    }


# k-NN over the epochs of pre-trainings


def knn(values, untrained=None):
    """What the record of a pre-training says, of which k-NN was measured after some epochs."""
    entries = [{"loss": 1.0} | ({} if one is None else {"knn": one}) for one in values]
    return {"details": {"curves": entries}, "measurements": {} if untrained is None else {"knn_untrained": untrained}}


def test_k_nn_over_the_epochs_has_a_line_for_each_pretraining_and_one_for_the_untrained_network(quick):
    case = quick.case("mae_c10")
    recipe = replace(case.recipe, pretraining=replace(case.recipe.pretraining, objective=parse("me(ratio=0.5)")))
    other = replace(case, recipe=recipe, reading="half")
    quick.cases = [case, other]
    quick.add(case.before(Budget.QUICK), **knn((40.0, None, 60.0, 70.0), untrained=45.0))
    quick.add(other.before(Budget.QUICK), **knn((50.0, None, None, 80.0), untrained=45.0))
    drawing = quick.drawings()["knn.svg"]
    (axes,) = drawing.make().axes
    assert axes.title == "Mae-C10, digits"
    assert lines(axes) == {"me": [40.0, 60.0, 70.0], "me(ratio=0.5)": [50.0, 80.0], "untrained": [45.0, 45.0]}
    assert "Mae-C10, digits, me(ratio=0.5), ends at 80.00 %" in drawing.alt
    assert list(lines(quick.drawings()["pretraining.svg"].make().axes[0])) == [
        "Mae-C10, digits, me",
        "Mae-C10, digits, me(ratio=0.5)",
    ]


def test_of_pretrainings_without_k_nn_there_is_no_such_figure_and_an_old_record_knows_no_untrained_network(quick):
    before = quick.case("mae_c10").before(Budget.QUICK)
    quick.add(before)
    assert "knn.svg" not in quick.drawings()
    quick.add(before, date="2027-01-01T00:00:00+00:00", **knn((40.0, 60.0)))
    (axes,) = quick.drawings()["knn.svg"].make().axes
    assert lines(axes) == {"me": [40.0, 60.0]}


# Tables that print curves

CURVES = """\
title = "A curve for a table"
authors = "E. Five"
year = 2022
venue = "Thesis"

[models]
vit = { printed = "ViT-B/16", full = "vit/floros2024", tiny = "vit/tiny" }

[recipes.joint]
protocol = "paper"
selection = "last"
[[recipes.joint.phases]]
epochs = 3
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }
[[recipes.joint.quick]]
epochs = 3
batch_size = 16
optimizer = { name = "adam", lr = 1e-3 }
schedule = { name = "constant" }

[recipes.supervised]
protocol = "paper"
selection = "last"
[[recipes.supervised.phases]]
epochs = 3
batch_size = 16
optimizer = { name = "adamw", lr = 1e-3 }
schedule = { name = "constant" }
[[recipes.supervised.quick]]
epochs = 3
batch_size = 16
optimizer = { name = "adamw", lr = 1e-3 }
schedule = { name = "constant" }

[tables."4.1"]
title = "On photographs"
where = "Figure 4.1"
curves = true
[[tables."4.1".parts]]
recipe = "joint"
columns = ["cifar10"]
rows = [["vit", "2.5*ce + drloc", 44]]
[[tables."4.1".parts]]
recipe = "supervised"
columns = ["cifar10"]
rows = [["vit", "ce", 19]]

[tables."4.2"]
title = "On others"
where = "Figure 4.2"
curves = true
[[tables."4.2".parts]]
recipe = "joint"
columns = ["cifar100"]
rows = [["vit", "2.5*ce + drloc", 10.5]]
[[tables."4.2".parts]]
recipe = "supervised"
columns = ["cifar100"]
rows = [["vit", "ce", 1.5]]

[tables."5"]
title = "Numbers"
where = "page 5"
recipe = "joint"
columns = ["svhn"]
rows = [["vit", "2.5*ce + drloc", 90], ["vit", "ce", 80]]
"""
METHOD, OWN, OTHER = (20.0, 38.5, 40.0), (5.0, 10.0, 30.0), (2.0, 4.0, 15.0)


@pytest.fixture
def curves(tmp_path):
    """By budget, a paper whose tables print curves, of which the method and both plain runs were made."""
    path = tmp_path / "curves2022.toml"
    path.write_text(CURVES)

    def make(budget):
        shown = Shown(papers.load(path), tmp_path, budget)
        for case in shown.cases:
            if case.table == "5":
                shown.add(case, accuracies=(1.0, 2.0, 3.0))
            elif case.recipe.name == "joint":
                shown.add(case, accuracies=METHOD)
                shown.add(case.baseline, accuracies=OWN)
            else:
                shown.add(case, accuracies=OTHER)
        return shown

    return make


def test_a_table_that_prints_curves_has_its_figure_with_method_baseline_and_the_other_recipe(curves):
    found = curves(Budget.PAPER).drawings()
    assert list(found) == ["4.1-training.svg", "4.2-training.svg"]
    for name, title, printed in (("4.1", "cifar10", (44.0, 19.0)), ("4.2", "cifar100", (10.5, 1.5))):
        accuracy, loss = found[f"{name}-training.svg"].make().axes
        assert accuracy.title == f"ViT-B/16, {title}"
        assert lines(accuracy) == {
            "2.5*ce + drloc": list(METHOD),
            "2.5*ce + drloc, printed": [printed[0]] * 2,
            "ce, joint": list(OWN),
            "ce, supervised": list(OTHER),
            "ce, supervised, printed": [printed[1]] * 2,
        }
        assert list(lines(loss)) == ["2.5*ce + drloc", "ce, joint", "ce, supervised"]
        assert found[f"{name}-training.svg"].caption.startswith(f"Table {name}, paper budget: ")
    # 95 % of 40 is 38.
    assert "2.5*ce + drloc, ends at 40.00 %, is best at 40.00 % and has 95 % of that after epoch 2" in (
        found["4.1-training.svg"].alt
    )


def test_tables_whose_quick_runs_are_the_same_share_a_figure(curves):
    found = curves(Budget.QUICK).drawings()
    assert list(found) == ["4.1-training.svg"]
    accuracy, _ = found["4.1-training.svg"].make().axes
    assert accuracy.title == "ViT-B/16, digits"
    assert list(lines(accuracy)) == ["2.5*ce + drloc", "ce, joint", "ce, supervised"]
    assert found["4.1-training.svg"].caption.startswith("Tables 4.1, 4.2, quick budget: ")


def test_of_a_table_of_numbers_no_curve_is_kept(curves):
    shown = curves(Budget.PAPER)
    assert {cell[3] for cell in kept.cells(shown.cases, Budget.PAPER)} == {"cifar10", "cifar100"}
    assert len(kept.cells(shown.cases, Budget.PAPER)) == 2 * 3


def test_a_curve_without_accuracies_under_a_fine_tunings_key_is_not_drawn(quick):
    quick.add(quick.case("mae_c10"), accuracies=())
    assert "1-training.svg" not in quick.drawings()


def test_other_papers_and_recipes_without_a_pretraining_have_no_figures(paper, quick):
    quick.add(quick.case("mae_c10"), accuracies=(60.0, 80.0, 90.0))
    other = replace(paper, name="other")
    cases = {Budget.QUICK: quick.cases}
    assert list(gallery.drawings(other, cases, Results(quick.measured), quick.kept)) == []
    plain = [replace(one, recipe=one.recipe.from_scratch) for one in quick.cases]
    assert list(gallery.drawings(paper, {Budget.QUICK: plain}, Results(quick.measured), quick.kept)) == []
    assert kept.cells(plain, Budget.QUICK) == set()


def test_the_content_of_a_drawing_is_that_of_its_file(quick):
    quick.add(quick.case("mae_c10").before(Budget.QUICK), pictures=(4,))
    curve, pictures = quick.drawings().values()
    assert curve.content().startswith(b"<svg ")
    assert pictures.content().startswith(b"\x89PNG")
