"""Verdicts: two-sided against our own numbers, with an interval against printed ones."""

import json
import math
import random
import statistics
from dataclasses import asdict

import pytest
from scipy import stats

from vitbench import compare
from vitbench.compare import ClaimVerdict, Evidence, Finding, Verdict, judge, judge_gain, judge_level, remarks
from vitbench.metrics import METRICS, Metric

HIGHER, LOWER, NEITHER = METRICS["accuracy"], METRICS["fgsm_drop"], METRICS["epoch_of_best"]


@pytest.mark.parametrize(
    ("metric", "measured", "reference", "tolerance", "verdict"),
    [
        (HIGHER, 80.0, 80.0, 0.0, Verdict.SAME),
        (HIGHER, 80.1, 80.0, 0.0, Verdict.BETTER),
        (HIGHER, 79.9, 80.0, 0.0, Verdict.WORSE),
        (LOWER, 20.1, 20.0, 0.0, Verdict.WORSE),
        (LOWER, 19.9, 20.0, 0.0, Verdict.BETTER),
        (NEITHER, 7.0, 7.0, 0.0, Verdict.SAME),
        (NEITHER, 8.0, 7.0, 0.0, Verdict.WORSE),
        (NEITHER, 6.0, 7.0, 0.0, Verdict.WORSE),
        (HIGHER, 79.5, 80.0, 0.5, Verdict.SAME),
        (HIGHER, 80.5, 80.0, 0.5, Verdict.SAME),
        (HIGHER, 79.4, 80.0, 0.5, Verdict.WORSE),
        (HIGHER, 80.6, 80.0, 0.5, Verdict.BETTER),
        (HIGHER, 80.0, None, 0.0, Verdict.NEW),
        (HIGHER, None, 80.0, 0.0, Verdict.MISSING),
        (HIGHER, None, 0.0, 100.0, Verdict.MISSING),
        (HIGHER, 0.0, None, 100.0, Verdict.NEW),
        (HIGHER, math.nan, 80.0, 0.0, Verdict.WORSE),
    ],
)
def test_a_value_is_judged_in_both_directions(metric, measured, reference, tolerance, verdict):
    assert judge(metric, measured, reference, tolerance=tolerance) == verdict


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_vanished_value_is_never_a_pass(metric):
    assert judge(metric, None, 1.0, tolerance=math.inf) == Verdict.MISSING


def test_nothing_on_both_sides_is_a_mistake_of_ours():
    with pytest.raises(ValueError, match="accuracy: nothing to judge"):
        judge(HIGHER, None, None)


@pytest.mark.parametrize(
    ("verdict", "required", "fails"),
    [
        (Verdict.SAME, True, False),
        (Verdict.BETTER, True, False),
        (Verdict.UNDECIDED, True, False),
        (Verdict.STALE, False, False),
        (Verdict.INVALID, False, False),
        (Verdict.NEW, False, False),
        (Verdict.NEW, True, True),
        (Verdict.WORSE, False, True),
        (Verdict.MISSING, False, True),
    ],
)
def test_only_worse_and_missing_fail_and_new_where_something_is_required(verdict, required, fails):
    assert finding(verdict=verdict, required=required).fails is fails


def finding(**changes):
    plain = {"subject": "a/case", "metric": "accuracy", "value": 79.0, "reference": 80.0, "against": "recorded"}
    return Finding(**(plain | {"verdict": Verdict.WORSE} | changes))


def test_a_finding_says_what_was_measured_and_against_what():
    assert str(finding()) == "a/case: accuracy is worse: measured 79, recorded 80: -1"


def test_a_finding_says_that_there_is_nothing():
    missing = finding(verdict=Verdict.MISSING, value=None)
    assert str(missing) == "a/case: accuracy is missing: measured nothing, recorded 80"


@pytest.mark.parametrize("accuracy", [1.0, 37.5, 62.45, 84.71, 99.9])
@pytest.mark.parametrize("images", [360, 10_000])
def test_the_standard_error_is_that_of_a_binomial_share(accuracy, images):
    share = stats.binom(images, accuracy / 100)
    assert compare.standard_error(accuracy, images) == pytest.approx(100 * share.std() / images, rel=1e-12)


def test_the_standard_error_is_the_spread_of_repeated_tests():
    draw = random.Random(0)
    accuracies = [100 * sum(draw.random() < 0.9 for _ in range(360)) / 360 for _ in range(2000)]
    # The standard deviation of 2000 values is itself good to 1 / sqrt(2 * 2000), 1.6 %; this allows four times that.
    assert compare.standard_error(90.0, 360) == pytest.approx(statistics.stdev(accuracies), rel=0.064)


@pytest.mark.parametrize("accuracy", [0.0, 100.0, -3.0, 120.0])
def test_where_nothing_can_vary_the_standard_error_is_zero(accuracy):
    assert compare.standard_error(accuracy, 360) == 0.0


@pytest.mark.parametrize(
    ("measured", "printed", "error", "verdict"),
    [
        (None, 80.0, 1.0, ClaimVerdict.NOT_RUN),
        (80.0, 80.0, 0.0, ClaimVerdict.REPRODUCED),
        (81.9, 80.0, 1.0, ClaimVerdict.REPRODUCED),
        (78.1, 80.0, 1.0, ClaimVerdict.REPRODUCED),
        (82.0, 80.0, 1.0, ClaimVerdict.DEVIATES),
        (78.0, 80.0, 1.0, ClaimVerdict.DEVIATES),
        (80.0, 80.0, math.inf, ClaimVerdict.UNDECIDED),
        (20.0, 80.0, math.inf, ClaimVerdict.UNDECIDED),
    ],
)
def test_a_level_is_reproduced_within_its_interval(measured, printed, error, verdict):
    assert judge_level(measured, printed, error=error) == verdict


@pytest.mark.parametrize(
    ("measured", "printed", "error", "verdict"),
    [
        (None, 4.0, 0.5, ClaimVerdict.NOT_RUN),
        (4.0, None, 0.5, ClaimVerdict.NOT_RUN),
        (4.0, 4.25, 0.5, ClaimVerdict.REPRODUCED),
        (1.0, 4.25, 0.5, ClaimVerdict.DEVIATES),
        (9.0, 4.25, 0.5, ClaimVerdict.DEVIATES),
        (-4.0, 4.25, 0.5, ClaimVerdict.OPPOSITE),
        (4.0, -1.0, 0.5, ClaimVerdict.OPPOSITE),
        (-1.0, -1.2, 0.5, ClaimVerdict.REPRODUCED),
        (0.9, 2.0, 0.5, ClaimVerdict.UNDECIDED),
        (-0.2, 1.0, 0.5, ClaimVerdict.UNDECIDED),
        (0.9, 4.25, 0.5, ClaimVerdict.DEVIATES),
        (-0.9, 4.25, 0.5, ClaimVerdict.DEVIATES),
        (0.0, 12.31, 0.5, ClaimVerdict.DEVIATES),
        (0.0, 0.0, 0.5, ClaimVerdict.UNDECIDED),
        (1.2, 0.0, 0.5, ClaimVerdict.REPRODUCED),
        (4.0, 0.0, 0.5, ClaimVerdict.DEVIATES),
        (40.0, -40.0, math.inf, ClaimVerdict.UNDECIDED),
    ],
)
def test_a_gain_is_judged_by_its_sign_first(measured, printed, error, verdict):
    assert judge_gain(measured, printed, error=error) == verdict


def test_of_two_trainings_alike_nearly_all_are_called_reproduced():
    draw = random.Random(0)
    error = math.sqrt(2) * compare.standard_error(70.0, 10_000)
    levels = [[draw.gauss(70.0, error / math.sqrt(2)) for _ in range(2)] for _ in range(4000)]
    reproduced = [judge_level(ours, printed, error=error) == ClaimVerdict.REPRODUCED for ours, printed in levels]
    assert statistics.mean(reproduced) == pytest.approx(0.95, abs=0.014)  # four standard errors of 4000 draws


def test_of_two_gains_alike_nearly_all_are_called_reproduced():
    draw = random.Random(0)
    gains = [[draw.gauss(5.0, 0.6) for _ in range(2)] for _ in range(4000)]
    reproduced = [judge_gain(ours, printed, error=0.6) == ClaimVerdict.REPRODUCED for ours, printed in gains]
    assert statistics.mean(reproduced) == pytest.approx(0.95, abs=0.014)


@pytest.mark.parametrize(("classes", "images"), [(2, 360), (10, 360), (10, 10_000), (100, 10_000), (1000, 50_000)])
def test_guessing_hardly_ever_reaches_the_ceiling_of_chance(classes, images):
    ceiling = compare.chance_ceiling(classes, images)
    reached = stats.binom.sf(math.ceil(ceiling / 100 * images) - 1, images, 1 / classes)
    assert reached < 0.0025  # one in a thousand, by an approximation that is rough for few and rare hits


@pytest.mark.parametrize(("classes", "images"), [(2, 360), (10, 360), (10, 10_000), (100, 10_000)])
def test_the_ceiling_of_chance_is_no_higher_than_it_has_to_be(classes, images):
    exact = 100 * stats.binom.ppf(0.999, images, 1 / classes) / images
    assert compare.chance_ceiling(classes, images) <= exact + 100 / images


@pytest.mark.parametrize(
    ("measured", "printed", "verdict"),
    [
        # liu2021, Table 3, against the networks as published: 19.94, 28.29 and 21.47 million.
        (19.936296, 20.0, "reproduced"),
        (28.288354, 29.0, "deviates"),
        (28.288354, 28.3, "reproduced"),
        (21.465806, 22.0, "deviates"),
        (21.465806, 21.5, "reproduced"),
        (0.616, 0.26, "deviates"),
        (3.636490, 3.64, "reproduced"),
        (1000.4, 1000.0, "reproduced"),
        (1000.6, 1000.0, "deviates"),
        (None, 20.0, "not run"),
    ],
)
def test_a_size_is_judged_at_the_digits_that_are_printed(measured, printed, verdict):
    assert compare.judge_size(measured, printed) == verdict


def test_a_metric_without_a_direction_is_never_better():
    aimless = Metric(name="mine", unit="", better=None)
    assert {judge(aimless, value, 5.0) for value in (1.0, 4.9, 5.1, 9.0)} == {Verdict.WORSE}


def remark(verdict, subject="a", **changes):
    plain = {"metric": "fgsm_drop", "value": None, "reference": 1.0, "against": "why"}
    return Finding(subject=subject, verdict=verdict, **(plain | changes))


def test_an_invalid_value_says_why_and_neither_it_nor_a_stale_one_fails():
    assert str(remark(Verdict.INVALID)) == "a: fgsm_drop is invalid: why"
    assert str(remark(Verdict.STALE)) == "a: fgsm_drop is stale: measured nothing, why 1"
    assert not remark(Verdict.INVALID).fails
    assert not remark(Verdict.STALE).fails


def test_remarks_are_of_what_is_stale_or_invalid_and_one_line_for_each_kind():
    others = [remark(verdict) for verdict in Verdict if verdict not in (Verdict.STALE, Verdict.INVALID)]
    found = [remark(Verdict.INVALID), remark(Verdict.INVALID), remark(Verdict.INVALID, "b"), remark(Verdict.STALE)]
    assert remarks([*others, *found]) == [
        "fgsm_drop is invalid in 2 cases, such as a: fgsm_drop is invalid: why",
        "a: fgsm_drop is stale: measured nothing, why 1",
    ]


def test_a_finding_of_a_test_says_by_how_much_and_how_sure_it_is():
    evidence = Evidence(effect=-2.0, low=-3.0, high=-1.0, p=0.00042, counts=(5, 4), test="Student's t", why="so")
    found = finding(evidence=evidence, command="pytest benchmarks -k a/case")
    assert str(found) == (
        "a/case: accuracy is worse: measured 79, recorded 80: "
        "-2.00 points (interval -3.00 to -1.00; Student's t, n = 5 and 4, p = 0.00042), so"
    )
    assert found.line == f"{found}; repeat: pytest benchmarks -k a/case"
    assert finding().line == str(finding())


def test_a_finding_that_informs_never_fails():
    assert not finding(informs=True).fails
    assert not finding(verdict=Verdict.MISSING, informs=True).fails


def test_a_finding_comes_back_from_plain_data():
    evidence = Evidence(effect=-2.0, low=-3.0, high=-1.0, p=0.5, counts=(5, 4), test="t")
    for one in (finding(), finding(evidence=evidence)):
        content = json.loads(json.dumps(asdict(one)))
        assert Finding.of(content) == one
