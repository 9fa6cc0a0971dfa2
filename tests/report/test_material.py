"""What reports are made of has to be said, but for what there may be nothing of."""

import pytest

from vitbench.report.material import Material
from vitbench.report.results import Results


def test_papers_results_and_cases_are_needed_and_the_rest_is_nothing(paper):
    material = Material(papers=[paper], results=Results([]), cases={})
    assert (dict(material.links), material.findings, material.problems) == ({}, (), ())
    assert not material.kept.curves
    with pytest.raises(TypeError, match="cases"):
        Material(papers=[paper], results=Results([]))
