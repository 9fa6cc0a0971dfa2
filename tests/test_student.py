"""Student's t against scipy, and where it is known in closed form."""

import math

import numpy as np
import pytest
from scipy import stats

from vitbench import student

FREEDOMS = [1, 1.3, 2, 2.5, 4, 7.7, 30, 99.5, 1_000, 20_000]
TS = np.concatenate([[0.0], np.logspace(-6, 2.5, 200)])


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_chances_are_those_of_scipy(freedom):
    assert student.two_sided(TS, freedom) == pytest.approx(2 * stats.t.sf(TS, freedom), rel=1e-9, abs=1e-290)


def test_chances_of_one_and_two_degrees_of_freedom_are_in_closed_form():
    assert student.two_sided(TS[1:], 1) == pytest.approx(2 * np.arctan(1 / TS[1:]) / math.pi, rel=1e-14)
    root = np.sqrt(TS**2 + 2)
    assert student.two_sided(TS, 2) == pytest.approx(2 / (root * (root + TS)), rel=1e-14)  # 1 - t / root


def test_either_sign_has_the_same_chance_and_shapes_go_together():
    found = student.two_sided([[-2.0], [2.0]], [3, 5.5, 7])
    assert found.shape == (2, 3)
    assert (found[0] == found[1]).all()


def test_at_the_ends_a_chance_is_sure_or_none_and_of_nothing_nothing_is_known():
    assert student.two_sided([0.0, math.inf], 4).tolist() == [1, 0]
    assert math.isnan(student.two_sided(math.nan, 4))
    assert math.isnan(student.two_sided(1.0, math.nan))


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("freedom", FREEDOMS)
def test_quantiles_are_those_of_scipy(confidence, freedom):
    expected = stats.t.ppf((1 + confidence) / 2, freedom)
    assert student.quantile(confidence, freedom) == pytest.approx(expected, rel=1e-9)


def test_quantiles_are_those_of_textbooks():
    found = [student.quantile(0.95, freedom) for freedom in (1, 2, 4, 9)]
    assert found == pytest.approx([12.706, 4.303, 2.776, 2.262], abs=5e-4)
