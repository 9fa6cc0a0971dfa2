"""Each experiment once, whatever tables it stands in, and those that stand in none."""

from dataclasses import replace

import pytest

from vitbench.case import Budget
from vitbench.compare import Finding, Verdict
from vitbench.report.experiments import Sizes, experiments, stale
from vitbench.report.material import Material
from vitbench.report.results import Results
from vitbench.selection import Selection


@pytest.fixture
def made(paper):
    """Makes the material of measurements of the small paper."""

    def make(*measurements, **selection):
        budget = Budget(selection.pop("budget", "paper"))
        cases = {budget: Selection(budget=budget, **selection).cases([paper])}
        return Material(papers=[paper], results=Results(measurements), cases=cases)

    return make


def test_what_stands_in_three_tables_is_one_experiment(measured, made):
    (found,) = experiments(made(measured("vit", "ce", "cifar10", 61.0)))
    assert found.case.id == "small2026/1/vit/ce/cifar10"
    assert found.also == ("small2026/2/vit/ce/cifar10", "small2026/3/vit/ce/cifar10")
    assert found.budget == Budget.PAPER


def test_what_was_not_measured_is_none(measured, made):
    assert experiments(made()) == []
    assert experiments(made(measured("vit", "ce", "cifar10", 5.4, "params", seed="", recipe=""))) == []


def test_a_plain_baseline_that_was_brought_along_counts(held, of_held):
    cases = [one for one in held.cases if not one.is_baseline]
    made = [of_held("supervised", "ce", "cars", 30.0)]
    material = Material(papers=[held], results=Results(made), cases={Budget.PAPER: cases})
    (found,) = experiments(material)
    assert (found.case.objective.slug, found.case.recipe.name) == ("ce", "supervised")


def test_an_objective_and_a_model_that_a_user_added_are_cases_of_the_session(measured, made):
    own = "ce + 0.5*drloc"
    runs = [measured("vit", own, "cifar10", 61.0), measured("cvt/tiny", own, "cifar10", 60.0)]
    found = experiments(made(*runs, objectives=(own,), models=("cvt/tiny",)))
    assert [(one.case.model.name, str(one.case.objective)) for one in found] == [("cvt/tiny", own), ("vit", own)]
    assert found[0].case.id == "small2026/1/cvt.tiny/ce+0.5drloc/cifar10"


def test_what_was_recorded_beside_the_tables_counts_with_the_case_that_would_run_it(measured, made):
    (found,) = experiments(made(measured("pkg.models.mine/small", "ce + 0.3*pkg.terms.own", "svhn", 61.0)))
    case = found.case
    assert (case.paper, case.dataset, case.recipe.name) == ("small2026", "svhn", "scratch")
    assert case.model.at(Budget.PAPER) == "pkg.models.mine/small"
    assert str(case.objective) == "ce + 0.3*pkg.terms.own"


@pytest.mark.parametrize("wrong", [{"paper": "unknown"}, {"recipe": "unknown"}, {"objective": "ce +* me"}])
def test_a_line_that_belongs_to_no_paper_is_left_out(measured, made, wrong):
    assert experiments(made(replace(measured("vit", "ce", "cifar10", 61.0), **wrong))) == []


def test_a_size_is_of_the_network_with_as_many_classes_whatever_the_loss(paper, measured):
    size = {"seed": "", "recipe": "", "machine": "any", "device": ""}
    found = Sizes(
        Results(
            [
                measured("vit", "ce", "cifar10", 5.5, "params", **size),
                measured("vit", "ce + me", "cifar10", 5.6, "params", **size),
                measured("vit", "ce", "cifar100", 6.5, "params", **size),
                measured("vit", "ce", "cifar10", 0.25, "macs", **size),
            ]
        )
    )
    case = paper.tables[0].cases[0]
    method = next(one for one in paper.tables[0].cases if str(one.objective) == "ce + 0.1*me")
    both = next(one for one in paper.tables[0].cases if "drloc" in str(one.objective))
    assert found.value(case, Budget.PAPER, "params") == 5.5
    assert found.value(case, Budget.SHORT, "macs") == 0.25
    assert found.value(method, Budget.PAPER, "params") == 5.6
    assert found.value(both, Budget.PAPER, "params") == 5.5  # counted for plain cross-entropy alone
    assert found.value(replace(case, dataset="svhn"), Budget.PAPER, "params") == 5.5
    assert found.value(replace(case, dataset="cifar100"), Budget.PAPER, "params") == 6.5
    assert found.value(replace(case, dataset="cifar100"), Budget.PAPER, "macs") is None
    assert found.value(replace(case, dataset="flowers102"), Budget.PAPER, "params") is None
    assert found.value(case, Budget.QUICK, "params") is None  # which trains another network
    one = found.of(both, Budget.PAPER, "params")
    assert found.id(both, one) == "small2026/size/vit/ce/cifar10"


def test_what_is_stale_is_known_by_id_and_value(made):
    finding = Finding(
        subject="small2026/1/vit/ce/cifar10",
        metric="accuracy",
        verdict=Verdict.STALE,
        value=None,
        reference=61.0,
        against="recorded by another version",
    )
    others = [replace(finding, metric="fgsm_drop"), replace(finding, verdict=Verdict.INVALID)]
    assert stale(replace(made(), findings=[finding, *others])) == {("small2026/1/vit/ce/cifar10", 61.0)}
