"""A part of the selected cases, where several machines or jobs divide them: `--shard 2/4`.

Every machine works out the same parts, from the cases alone. What shares a run is in one part, so that no two train
the same; the parts are alike in how many images their trainings see, as far as what shares runs allows.
"""

import heapq
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vitbench import identity, leaves
from vitbench.case import Budget, Case
from vitbench.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One part of several.

    Attributes:
        number: which, from 1.
        of: how many there are.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def trained(self, cases: Iterable[Case], budget: Budget) -> set[str]:
        """Ids of the cases of this part, of those that are trained."""
        loads = [(0, number) for number in range(1, self.of + 1)]
        mine: set[str] = set()
        for work, ids in sorted(_groups(cases, budget), key=lambda group: (-group[0], group[1])):
            load, lightest = loads[0]
            heapq.heapreplace(loads, (load + work, lightest))
            if lightest == self.number:
                mine.update(ids)
        return mine

    def dealt(self, keys: Mapping[str, str]) -> set[str]:
        """Names of this part, of what is measured without training, which takes about the same time each.

        Args:
            keys: of what is measured, by name; names that share one are in one part.
        """
        groups: dict[str, list[str]] = {}
        for name, key in sorted(keys.items()):
            groups.setdefault(key, []).append(name)
        return {name for group in list(groups.values())[self.number - 1 :: self.of] for name in group}


def parse(text: str) -> Shard:
    """What `--shard` says.

    Raises:
        UserError: if it is no part of several.
    """
    found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text, re.ASCII)
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of:
        raise UserError(f"--shard is one part of several, such as 2/4, the second of four, got {text!r:.40}")
    return Shard(number=number, of=of)


def _groups(cases: Iterable[Case], budget: Budget) -> list[tuple[int, list[str]]]:
    """Cases of which no two groups share a run: images that its trainings see, and ids, sorted."""
    works: dict[str, int] = {}
    runs: dict[str, list[str]] = {}
    for case in cases:
        for one in case.needed(budget):
            # Whatever the seed, and wherever published weights happen to be.
            key = identity.of_run(one, budget=budget).key
            works[key] = _work(one, budget)
            runs.setdefault(case.id, []).append(key)
    sharing: dict[str, set[str]] = {}  # by run, those of its group
    for keys in runs.values():
        joined = set(keys).union(*(sharing.get(key, ()) for key in keys))
        sharing.update(dict.fromkeys(joined, joined))
    ids: dict[str, list[str]] = {}
    for name, keys in sorted(runs.items()):
        ids.setdefault(min(sharing[keys[0]]), []).append(name)
    return [(sum(works[key] for key in sharing[first]), names) for first, names in ids.items()]


def _work(case: Case, budget: Budget) -> int:
    """Images that a run sees; epochs, where a data set does not say how many it has."""
    images = leaves.find("datasets", case.dataset).constants.get("TRAIN") or 1
    return max(1, int(images) * sum(phase.epochs for phase in identity.phases_of(case, budget)))
