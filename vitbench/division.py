"""How pytest divides cases: a selection among machines, and models among the workers of pytest-xdist."""

import argparse
from typing import Any

import pytest

from vitbench.case import Case
from vitbench.ending import is_case
from vitbench.errors import UserError
from vitbench.session import Session
from vitbench.shard import Shard, parse


def case_of(item: pytest.Item) -> Case | None:
    """The case that a test does; None for other people's tests."""
    found = getattr(getattr(item, "callspec", None), "params", {}).values()
    return next((value for value in found if isinstance(value, Case)), None)


def trained_by(item: pytest.Item) -> Case | None:
    """The case that a test trains, if it trains one."""
    case: Case | None = getattr(getattr(item, "callspec", None), "params", {}).get("accuracy_case")
    return case


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
        self.selected = [case for case in map(trained_by, items) if case is not None]
        trained = self.shard.trained(self.session, self.selected)
        dealt = self.shard.dealt(item.nodeid for item in items if case_of(item) and trained_by(item) is None)

        def is_mine(item: pytest.Item) -> bool:
            case = trained_by(item)
            return not case_of(item) or (item.nodeid in dealt if case is None else case.id in trained)

        left = [item for item in items if not is_mine(item)]
        items[:] = [item for item in items if is_mine(item)]
        config.hook.pytest_deselected(items=left)


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
