"""How pytest divides cases: a selection among machines, and models among the workers of pytest-xdist."""

import argparse
from typing import Any

import pytest

from vitbench import identity
from vitbench.case import Budget, Case
from vitbench.ending import is_case
from vitbench.errors import UserError
from vitbench.session import Session
from vitbench.shard import Shard, parse

# What a test does with a case, by the name of its parameter.
KINDS = {"accuracy_case": "run", "size_case": "size", "inference_case": "inference", "training_case": "training"}


def case_of(item: pytest.Item) -> tuple[str, Case] | None:
    """What a test does, "run", "size", "inference" or "training", and the case; None for other people's tests."""
    found = getattr(getattr(item, "callspec", None), "params", {})
    return next(((KINDS[name], one) for name, one in found.items() if name in KINDS and isinstance(one, Case)), None)


def trained_by(item: pytest.Item) -> Case | None:
    """The case that a test trains, if it trains one."""
    kind, case = case_of(item) or ("", None)
    return case if kind == "run" else None


def shard_of(option: argparse.Namespace) -> Shard | None:
    """The part that the options of pytest ask for.

    Raises:
        UserError: if it is none, or a part of what is another whole on each machine: of what failed there.
    """
    if option.shard is None:
        return None
    for name, word in {"lf": "--lf", "stepwise": "--sw"}.items():
        if getattr(option, name, False):
            raise UserError(f"--shard and {word}: what failed on this machine is of its shard; leave --shard out")
    return parse(option.shard)


class OnePart:
    """Leaves the session one part of the cases that everything else selects.

    Attributes:
        selected: what is trained in all parts.
    """

    def __init__(self, session: Session, shard: Shard) -> None:
        self.session = session
        self.shard = shard
        self.selected: list[Case] = []

    def pytest_report_header(self) -> str:
        """Say that this is not all."""
        return f"vitbench: shard {self.shard} of the selected cases"

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Deselect the other parts; tests that are no cases stay."""
        budget = self.session.options.budget
        self.selected = [case for case in map(trained_by, items) if case is not None]
        trained = self.shard.trained(self.selected, budget)
        done = {item.nodeid: found for item in items if (found := case_of(item))}
        dealt = self.shard.dealt(
            {name: _measured(kind, case, budget) for name, (kind, case) in done.items() if kind != "run"}
        )

        def is_mine(item: pytest.Item) -> bool:
            kind, case = done.get(item.nodeid, ("", None))
            return case is None or (case.id in trained if kind == "run" else item.nodeid in dealt)

        left = [item for item in items if not is_mine(item)]
        items[:] = [item for item in items if is_mine(item)]
        config.hook.pytest_deselected(items=left)


def _measured(kind: str, case: Case, budget: Budget) -> str:
    """Key of what a test counts or times, whatever the machine: tiny networks stand for several of a paper."""
    if kind == "size":
        return identity.of_size(case).key
    return identity.of_timing(case, kind=kind, budget=budget, precision="fp32", machine={}).key


class OneWorkerPerModel:
    """pytest-xdist: what shares runs goes to one worker."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Keep the cases of one paper and model together; leave every other test to itself."""
        from xdist.scheduler import LoadScopeScheduling

        class ByModel(LoadScopeScheduling):  # type: ignore[misc]
            def _split_scope(self, nodeid: str) -> str:
                parts = nodeid.partition("[")[2].split("/")
                return f"{parts[0]}/{parts[2]}" if is_case(nodeid) else nodeid

        return ByModel(config, log)
