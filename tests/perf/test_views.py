"""The script that measures a step of Tort: which steps it takes, what it makes of their times. No test reads times."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from vitbench.engine import Engine

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "perf" / "views.py"
CPU = torch.device("cpu")


@pytest.fixture
def views(monkeypatch):
    spec = importlib.util.spec_from_file_location("measured_views", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "measured_views", module)  # where a dataclass looks for its module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("protocol", "pairs"), [("paper", "crops"), ("code", "all")])
def test_it_takes_steps_of_the_two_recipes_of_a_protocol(views, protocol, pairs):
    tort, supervised = views.recipes(protocol, model="timm/vit_small_patch16_224", batch=2)
    assert (tort.model, tort.image_size, tort.stored_size) == ("timm/vit_small_patch16_224", 224, 256)
    assert tort.objective.names == ("ce", "distill", "rotation")
    assert (pairs == "crops") is ("pairs='crops'" in str(tort.objective))
    assert supervised.objective.names == ("ce",)
    assert (supervised.model, supervised.image_size, supervised.classes) == (tort.model, 224, 102)
    assert [one.phases[0].versions for one in (tort, supervised)] == [3, 1]
    assert [one.phases[0].batch_size for one in (tort, supervised)] == [2, 2]


def test_what_is_timed_apart_is_what_the_feed_makes(views):
    tort, supervised = views.recipes("paper", batch=4)
    seen = views.side(tort, CPU, Engine()).views()
    shapes = {name: tuple(one.shape) for name, one in seen.items()}
    assert shapes == {"images": (4, 3, 3, 32, 32), "turns": (4, 3), "local": (4, 2, 3, 16, 16)}
    assert {name: tuple(one.shape) for name, one in views.side(supervised, CPU, Engine()).views().items()} == {
        "images": (4, 1, 3, 32, 32)
    }


def test_calls_take_turns_and_each_time_has_its_name(views, monkeypatch):
    called = []

    def watch(call, device):
        call()
        return {("step", 3): 8.0, ("step", 1): 3.0, ("views", 3): 2.0, ("views", 1): 1.0}[called[-1]]

    def side(one, device, engine):
        versions = one.phases[0].versions
        return views.Side(*(lambda kind=kind: called.append((kind, versions)) for kind in ("step", "views")))

    monkeypatch.setattr(views, "seconds", watch)
    monkeypatch.setattr(views, "side", side)
    taken = views.measure(views.recipes("paper", batch=4), CPU, rounds=2, engine="eager")
    assert called == [("step", 3), ("step", 1), ("views", 3), ("views", 1)] * 3  # once to be warm
    assert taken == [views.Taken(tort=8.0, supervised=3.0, tort_views=2.0, supervised_views=1.0)] * 2
    assert (taken[0].whole, taken[0].networks) == (8 / 3, 6 / 2)


def test_measured_ratios_stand_beside_the_predicted_ones(views, capsys):
    pair = views.recipes("paper", batch=4)
    (taken,) = views.compare(pair, CPU, rounds=1)
    assert min(taken.tort, taken.supervised, taken.tort_views, taken.supervised_views) > 0
    rounds = [views.Taken(tort=8.0, supervised=3.0, tort_views=2.0, supervised_views=at) for at in (1.0, 1.5, 2.0)]
    text = "\n".join(views.lines(pair, rounds, (None, 2048.0)))
    # Three versions, two crops that this network sees enlarged, and a teacher's three passes without a backward one.
    assert "networks   ratio 4.00 (3.00 to 6.00); predicted by area 6.00, by multiply-adds 6.2" in text
    assert "with views ratio 2.67 (2.67 to 2.67)" in text
    assert "tort          8000.0 ms a step, of it views 2000.0 ms; 0.5 photographs/s\n" in text
    assert "supervised    3000.0 ms a step, of it views 1500.0 ms; 1.3 photographs/s, at most 2.00 GiB" in text
    assert capsys.readouterr().out.startswith("cct/tiny_cvt at 32, batch 4, fp32: 3 versions and 2 small crops")


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.24, 0), (1.26, 1), (0.79, 1)])
def test_it_ends_with_1_where_the_count_does_not_predict_the_networks(views, monkeypatch, factor, code):
    def compare(pair, device, *, rounds, engine="eager"):
        return [views.Taken(tort=5 * factor, supervised=1.0, tort_views=0.0, supervised_views=0.0)]

    monkeypatch.setattr(views, "compare", compare)
    monkeypatch.setattr(views.cost, "step_ratio", lambda one: 5.0)
    monkeypatch.setattr("sys.argv", ["views.py", "--batch", "4"])
    threads = torch.get_num_threads()
    try:
        assert views.main() == code
    finally:
        torch.set_num_threads(threads)
