"""Which figures a paper has: of the runs that its tables show, each once, and none where nothing is known."""

from dataclasses import replace

import pytest

from tests import a_pretraining
from vitbench import baselines, kept, papers
from vitbench.case import Budget
from vitbench.identity import of_run
from vitbench.kept import Kept
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
    return {one.get_label(): list(one.get_ydata()) for one in axes.get_lines()}


class Shown:
    """What a report is made of, run by run."""

    def __init__(self, paper, folder, budget=Budget.QUICK):
        self.paper, self.budget, self.store = paper, budget, Store(folder)
        self.cases = Selection(budget=budget).cases([paper])
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
        for other in [one for case in kept.pretrained(self.cases) for one in case.needed(self.budget)]:
            if of_run(other, budget=self.budget, seed=seed).key == identity.key:
                self.measured += baselines.measurements(other, record, machine=machine)
        self.kept.take(record, folder, machine=machine)

    def drawings(self):
        results = Results(self.measured)
        found = list(gallery.drawings(self.paper, {self.budget: self.cases}, results, self.kept))
        assert len({one.name for one in found}) == len(found)
        return {one.name.removeprefix(f"tan2024-{self.budget}-"): one for one in found}


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
        "training.svg",
    ]
    (axes,) = found["pretraining.svg"].make().axes
    assert lines(axes) == {"Mae-C10 and Mae-C100, digits": [4.0, 2.0, 1.0, 0.5]}
    accuracy, loss = found["training.svg"].make().axes
    assert accuracy.get_title("left") == "Mae-C10 and Mae-C100, digits"
    assert lines(accuracy) == {"pre-trained": [60.0, 80.0, 90.0], "from scratch": [50.0, 70.0, 85.0]}
    assert lines(loss) == {"pre-trained": [1.0, 0.5, 0.25], "from scratch": [2.0, 1.0, 0.5]}
    assert "pre-trained, ends at 90.00 %" in found["training.svg"].alt
    assert "from scratch, ends at 85.00 %" in found["training.svg"].alt
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
    assert [text.get_text() for text in evolution.texts] == ["original", "masked", "epoch 2", "epoch 3"]


def test_one_epoch_is_no_evolution(quick):
    quick.add(quick.case("mae_c10").before(Budget.QUICK), pictures=(4,))
    assert list(quick.drawings()) == ["pretraining.svg", "c10-pretraining-mae_c10-digits-restored.png"]


def test_seeds_are_drawn_as_one_line(quick):
    case = quick.case("mae_c10")
    for seed in (0, 1):
        quick.add(case, seed=seed, accuracies=(60.0 + seed, 80.0, 90.0))
    (accuracy, _) = quick.drawings()["training.svg"].make().axes
    assert lines(accuracy) == {"pre-trained (mean of 2 seeds)": [60.5, 80.0, 90.0]}


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
    panels = found["training.svg"].make().axes
    titles = ["Mae-C10, cifar10", "Mae-C10, cifar100", "Mae-C100, cifar10", "Mae-C100, cifar100"]
    assert [axes.get_title("left") for axes in panels[::2]] == titles


def test_the_printed_accuracy_is_a_line_under_the_papers_own_budget_alone(printed, quick):
    for shown, dataset in ((printed, "cifar100"), (quick, "digits")):
        shown.add(shown.case("mae_c100", dataset), accuracies=(60.0, 70.0, 77.0))
    assert lines(printed.drawings()["training.svg"].make().axes[0]) == {
        "pre-trained": [60.0, 70.0, 77.0],
        "pre-trained, printed": [78.0, 78.0],
    }
    assert list(lines(quick.drawings()["training.svg"].make().axes[0])) == ["pre-trained"]


def test_the_runs_are_those_of_the_tables(quick):
    case = quick.case("mae_c10")
    quick.add(case, machine="cpu", accuracies=(1.0, 2.0, 3.0), date="2026-01-01T00:00:00+00:00")
    quick.add(case, machine="h200", accuracies=(4.0, 5.0, 6.0), date="2026-01-03T00:00:00+00:00")
    (accuracy, _) = quick.drawings()["training.svg"].make().axes
    assert lines(accuracy) == {"pre-trained": [4.0, 5.0, 6.0]}


def test_what_differs_in_nothing_but_its_objective_has_a_title_of_its_own(paper, tmp_path):
    shown = Shown(paper, tmp_path)
    shown.cases = Selection(objectives=("ce + 0.1*drloc",)).cases([paper])
    shown.cases = [one for one in shown.cases if one.model.name == "mae_c10"]
    for case in kept.pretrained(shown.cases):
        shown.add(case, accuracies=(60.0, 70.0, 80.0))
    panels = shown.drawings()["training.svg"].make().axes
    assert [axes.get_title("left") for axes in panels[::2]] == ["Mae-C10, digits", "Mae-C10, digits, ce + 0.1*drloc"]


def test_a_curve_without_accuracies_under_a_fine_tunings_key_is_not_drawn(quick):
    quick.add(quick.case("mae_c10"), accuracies=())
    assert "training.svg" not in quick.drawings()


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
    assert curve.content().startswith(b"<?xml")
    assert pictures.content().startswith(b"\x89PNG")
