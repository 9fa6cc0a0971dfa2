"""Two record sets, paired: what belongs together is compared by the test for it, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.a_run import PHASE, RUN
from tests.record_sets import IMAGES, count, finish, right
from tests.test_baselines import ONE
from vitbench import baselines
from vitbench.bits import unpack
from vitbench.errors import UserError
from vitbench.pairs import pair
from vitbench.recordsets import read
from vitbench.statistics import NO_SPREAD
from vitbench.statistics import ONE as ONE_SEED

SUBJECT = "vit/tiny, ce + 0.1*me(ratio=0.85), digits, quick"
BEFORE, AFTER = [90.0, 91.5, 90.5], [92.0, 92.5, 93.5]


@pytest.fixture
def sides(tmp_path):
    return tmp_path / "a", tmp_path / "b"


def paired(sides, *metrics):
    return pair(*(read(side) for side in sides), metrics=metrics)


def both(sides, **changes):
    """Three seeds on each side."""
    for side, values in zip(sides, (BEFORE, AFTER), strict=True):
        for seed, value in enumerate(values):
            finish(side, value, seed=seed, **changes)


def test_runs_of_the_same_seeds_are_paired(sides):
    both(sides)
    (row,) = paired(sides).rows
    expected = stats.ttest_rel(AFTER, BEFORE)
    assert (row.subject, row.metric, row.comparison.test, row.comparison.n) == (SUBJECT, "accuracy", "paired t", (3,))
    assert row.comparison.effect == pytest.approx(2.0)
    assert row.comparison.p == row.adjusted == pytest.approx(expected.pvalue)
    assert (row.comparison.low, row.comparison.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert row.values == pytest.approx((sum(BEFORE) / 3, sum(AFTER) / 3))
    assert paired(sides).only == ((), ())
    assert paired(sides).notes == ()


def test_of_seeds_that_overlap_the_common_ones_are_paired_and_the_others_are_said(sides):
    both(sides)
    finish(sides[1], 10.0, seed=11)
    found = paired(sides)
    assert found.rows[0].comparison.n == (3,)
    assert found.rows[0].values[1] == pytest.approx(sum(AFTER) / 3)
    assert found.notes == (f"{SUBJECT}: seeds 0, 1, 2 in A, 0, 1, 2, 11 in B",)


def test_other_seeds_are_no_pairs(sides):
    for seed, (old, new) in enumerate(zip(BEFORE, AFTER, strict=True)):
        finish(sides[0], old, seed=seed)
        finish(sides[1], new, seed=seed + 2)
    (row,) = paired(sides).rows
    assert (row.comparison.test, row.comparison.n) == ("Welch's t", (3, 3))
    assert row.comparison.p == pytest.approx(stats.ttest_ind(AFTER, BEFORE, equal_var=False).pvalue)


def test_one_seed_is_an_effect_without_interval(sides):
    finish(sides[0], 90.0)
    finish(sides[1], 91.0)
    (row,) = paired(sides).rows
    assert (row.comparison.effect, row.comparison.low, row.adjusted) == (1.0, None, None)
    assert row.comparison.note == ONE_SEED
    assert not row.differs


def test_the_same_set_twice_differs_in_nothing(sides):
    both(sides, bits={"clean": right(90)})
    count(sides[0])
    found = paired((sides[0], sides[0]))
    assert [row.comparison.effect for row in found.rows] == [0] * len(found.rows)
    assert len(found.rows) == 6
    assert not any(row.differs for row in found.rows)
    assert found.rows[0].comparison.note == NO_SPREAD
    assert found.only == ((), ())


def test_images_are_compared_seed_by_seed_clean_and_attacked(sides):
    for number, side in enumerate(sides):
        for seed in (0, 1):
            bits = {"clean": right(90 + number, seed), "attacked": right(60 + 10 * number, seed + 2 * number)}
            finish(side, 90.0 + number, seed=seed, bits=bits, adversarial_accuracy=60.0 + 10 * number)
    rows = {(row.metric, row.comparison.test): row for row in paired(sides).rows}
    assert list(rows) == [
        (metric, test)
        for metric in ("accuracy", "adversarial_accuracy")
        for test in ("paired t", "McNemar, seed 0", "McNemar, seed 1")
    ]
    clean = rows["accuracy", "McNemar, seed 0"].comparison
    # Of one permutation, 91 % are right wherever 90 % are: two images more, none less.
    assert (clean.n, clean.effect, clean.p) == ((IMAGES,), 1.0, 0.5)
    attacked = rows["adversarial_accuracy", "McNemar, seed 1"].comparison
    old, new = unpack(right(60, 1)), unpack(right(70, 3))
    expected = stats.binomtest(int((~old & new).sum()), int((old != new).sum())).pvalue
    assert (attacked.effect, attacked.p) == (10.0, expected)


def test_p_is_adjusted_over_the_whole_table(sides):
    for seed in range(3):
        finish(sides[0], BEFORE[seed], seed=seed, bits={"clean": right(60)})
        finish(sides[1], AFTER[seed], seed=seed, bits={"clean": right(60 + 4 * seed, seed)})
    rows = paired(sides).rows
    expected = stats.false_discovery_control([row.comparison.p for row in rows])
    assert [row.adjusted for row in rows] == pytest.approx(expected.tolist())
    assert len(rows) == 4
    assert any(row.adjusted > row.comparison.p for row in rows)


def test_damaged_bits_and_bits_of_other_images_are_said_and_the_rest_is_compared(sides):
    finish(sides[0], 90.0, bits={"clean": right(90)})
    finish(sides[1], 91.0, bits={"clean": "10:/0A="})
    found = paired(sides)
    assert len(found.rows) == 1
    assert "seed 0: images are not compared, expected pairs of images, got 200 and 10" in found.notes[0]
    finish(sides[1], 91.0, bits={"clean": "10:///"})
    assert "the record is damaged" in paired(sides).notes[0]


def test_sizes_are_compared_exactly(sides):
    count(sides[0])
    count(sides[1], params=15.0000001)
    rows = {row.metric: row for row in paired(sides).rows}
    assert (rows["params"].comparison.test, rows["params"].comparison.p) == ("exact", None)
    assert rows["params"].differs
    assert not rows["macs"].differs


def test_timings_of_two_machines_are_not_compared_and_of_one_are(sides):
    both(sides, train_seconds=5.0)
    assert [row.metric for row in paired(sides).rows] == ["accuracy", "train_seconds"]
    for seed, value in enumerate(AFTER):
        finish(sides[1], value, seed=seed, train_seconds=5.0, provenance={"device": "NVIDIA H200"})
    found = paired(sides)
    assert [row.metric for row in found.rows] == ["accuracy"]
    assert found.notes == ("timings of different machines, which are not compared: 1",)
    assert found.only == ((), ())


def test_another_precision_is_another_thing(sides):
    both(sides)
    finish(sides[1], 50.0, identity=replace(RUN, precision="bf16"))
    found = paired(sides)
    assert len(found.rows) == 1
    assert found.only == ((), (f"{SUBJECT}, bf16",))


def test_what_is_only_in_one_is_said_case_or_metric(sides):
    both(sides)
    finish(sides[0], 50.0, identity=replace(RUN, dataset="cifar10"))
    finish(sides[1], 92.0, knn=80.0)
    assert paired(sides).only == (("vit/tiny, ce + 0.1*me(ratio=0.85), cifar10, quick",), (f"{SUBJECT}: knn",))


def test_a_change_of_version_is_said_and_compared(sides):
    finish(sides[0], 90.0)
    finish(sides[1], 91.0, identity=replace(RUN, versions={"train": "2", "models/vit": "1", "terms/me": "1"}))
    found = paired(sides)
    assert len(found.rows) == 1
    assert found.notes == ("version of terms/me: none to 1", "version of train: 1 to 2")


def test_a_change_of_the_recipe_is_compared_where_it_is_the_only_one(sides):
    longer, longest = (replace(RUN, phases=(replace(PHASE, epochs=epochs),)) for epochs in (2, 3))
    finish(sides[0], 90.0)
    finish(sides[1], 91.0, identity=longer)
    found = paired(sides)
    assert [row.comparison.effect for row in found.rows] == [1.0]
    assert found.notes == (f"{SUBJECT}: recipe, data or image size differ",)
    # With two of them nobody knows which is meant.
    finish(sides[1], 92.0, identity=longest)
    with pytest.raises(UserError, match="have nothing in common"):
        paired(sides)
    finish(sides[1], 93.0)
    found = paired(sides)
    assert [row.comparison.effect for row in found.rows] == [3.0]
    assert "setting" in found.rows[0].subject
    assert len(found.only[1]) == 2


def test_images_of_other_data_are_not_compared(sides):
    bits = {"clean": right(90)}
    finish(sides[0], 90.0, bits=bits)
    finish(sides[1], 90.0, bits=bits, identity=replace(RUN, data="other"))
    found = paired(sides)
    assert [row.comparison.test for row in found.rows] == ["paired t"]
    assert any("images are not compared, the data differs" in one for one in found.notes)


def test_recorded_baselines_are_paired_by_cell_seed_and_precision(sides):
    for side, step in zip(sides, (0.0, 1.0), strict=True):
        values = [replace(ONE, seed=str(seed), value=60 + seed + step * seed) for seed in range(3)]
        values.append(replace(ONE, metric="params", seed="", precision="", device="", engine="", value=15.0))
        values.append(replace(ONE, metric="training", value=100.0))
        baselines.save(side, values)
    found = pair(*(read(side / "h200") for side in sides))
    rows = {row.metric: row for row in found.rows}
    assert sorted(rows) == ["accuracy", "params", "training"]
    assert rows["accuracy"].subject == "mine, vit, ce + 0.1*me, cifar10, scratch, paper"
    assert rows["accuracy"].comparison.p == pytest.approx(stats.ttest_1samp([0, 1, 2], 0).pvalue)
    assert rows["params"].comparison.test == "exact"


def test_two_machines_names_are_two_machines(sides):
    baselines.save(sides[0], [ONE, replace(ONE, metric="training", value=100.0)])
    baselines.save(sides[1], [replace(one, machine="other") for one in (ONE, replace(ONE, metric="training"))])
    found = pair(read(sides[0] / "h200"), read(sides[1] / "other"))
    assert [row.metric for row in found.rows] == ["accuracy"]
    assert found.notes == ("timings of different machines, which are not compared: 1",)


def test_metrics_can_be_chosen(sides):
    both(sides, knn=50.0, loss=0.5)
    assert [row.metric for row in paired(sides, "knn").rows] == ["knn"]
    with pytest.raises(UserError, match="the first has nothing, the second nothing"):
        paired(sides, "linear")


def test_two_kinds_are_refused_in_one_line(sides):
    finish(sides[0], 90.0)
    baselines.save(sides[1], [ONE])
    with pytest.raises(UserError, match=r"give two of a kind: `vitbench record --recorded DIR`") as caught:
        pair(read(sides[0]), read(sides[1] / "h200"))
    assert "\n" not in str(caught.value)


def test_nothing_in_common_is_one_line_that_shows_both(sides):
    finish(sides[0], 90.0)
    finish(sides[1], 90.0, identity=replace(RUN, dataset="cifar10"))
    with pytest.raises(UserError) as caught:
        paired(sides)
    assert SUBJECT in str(caught.value)
    assert "cifar10" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_ten_pairs_the_interval_is_a_bootstraps(sides):
    gains = [0.5, 1.0, 0.0, 1.5, 0.5, 1.0, 2.0, 0.5, 1.0, 6.0]  # skewed, as Student's t takes none to be
    for seed, gain in enumerate(gains):
        finish(sides[0], 70.0 + seed % 3, seed=seed)
        finish(sides[1], 70.0 + seed % 3 + gain, seed=seed)
    (row,) = paired(sides, "accuracy").rows
    assert row.comparison.test == "paired t, interval by paired bootstrap"
    assert row.comparison.p == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)
    drawn = stats.bootstrap((gains,), np.mean, method="BCa", random_state=np.random.default_rng(0)).confidence_interval
    assert (row.comparison.low, row.comparison.high) == (pytest.approx(drawn.low), pytest.approx(drawn.high))
