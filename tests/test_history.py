"""What runs took and will take: of the same kind first, else by the MACs of others, on the same device only."""

from dataclasses import replace

import pytest

from tests.test_forecast import PROVENANCE, case, seconds_of, session_of
from vitbench import machine
from vitbench.case import Elsewhere
from vitbench.history import History


@pytest.fixture(autouse=True)
def _processor(monkeypatch):
    monkeypatch.setattr(machine, "device_name", lambda device: "a processor")


def macs_of(objective, value):
    return seconds_of(objective, value, metric="training_macs", budget="paper", recipe="", machine="any", device="")


def big(objective):
    """A case whose paper network is the one that is trained."""
    model = replace(case().model, tiny="vit/floros2024")
    return case(objective, model=model)


def history(folder, cases, **options):
    return History(session_of(folder, **options), cases)


def test_a_kind_takes_the_median_of_what_it_took_whatever_its_weight(tmp_path):
    known = [seconds_of("ce + 0.1*drloc", one) for one in (20.0, 30.0, 100.0)]
    found = history(tmp_path, [case(), case("ce + 0.5*drloc")], recorded=known)
    assert found.seconds(case("ce + 0.5*drloc")) == 30
    assert found.epoch_seconds(case("ce + 0.5*drloc")) == 15
    assert found.seconds(case("ce")) is None
    assert found.epoch_seconds(case("ce")) == 0


def test_an_epoch_of_few_images_is_one_of_more_epochs(tmp_path):
    few = replace(case("ce"), dataset="flowers102_official")  # 1,020 images
    known = [replace(seconds_of("ce", 30.0), dataset="flowers102_official")]
    steps = 15 * (1_020 // few.recipe.quick[0].batch_size)
    phase = replace(few.recipe.quick[0], elsewhere=Elsewhere(least_steps=steps))
    few = replace(few, recipe=replace(few.recipe, quick=(phase,)))
    assert history(tmp_path, [few], recorded=known).epoch_seconds(few) == 2


@pytest.mark.parametrize("other", [{"device": "a card"}, {"precision": "bf16"}, {"engine": "graph"}])
def test_another_device_precision_or_engine_says_nothing(tmp_path, other):
    assert history(tmp_path, [case()], recorded=[seconds_of("ce + 0.1*drloc", 20.0, **other)]).seconds(case()) is None


def test_a_record_here_counts_with_all_of_its_seconds(tmp_path, monkeypatch):
    monkeypatch.setitem(PROVENANCE, "device", "a processor")
    found = history(tmp_path, [case("ce")], done=[case("ce")])
    assert found.seconds(case("ce")) == PROVENANCE["seconds"]


def test_what_was_never_run_takes_as_long_as_its_macs_say(tmp_path):
    known = [seconds_of("ce", 100.0), macs_of("ce", 3.0), macs_of("ce + me", 4.5)]
    found = history(tmp_path, [big("ce"), big("ce + 0.1*me")], recorded=known)
    assert found.seconds(big("ce + 0.1*me")) == pytest.approx(150)


def test_the_macs_of_a_paper_say_nothing_of_its_tiny_network(tmp_path):
    known = [seconds_of("ce", 100.0), macs_of("ce", 3.0), macs_of("ce + me", 4.5)]
    assert history(tmp_path, [case("ce"), case("ce + 0.1*me")], recorded=known).seconds(case("ce + 0.1*me")) is None
