"""One printed number: what it is of, and what is missing to run it."""

from dataclasses import dataclass

from vitbench.case import Claim, Status
from vitbench.objective import Objective
from vitbench.sections import Section


@dataclass(frozen=True, kw_only=True)
class Printed:
    """One printed number and what it is of.

    Attributes:
        model, objective, dataset: empty, or None, where the page names none: the size of a network is of no data set.
        recipes: names of those that it is run by, first the one that it is listed under; none where it is of no case.
        label: name of the recipe that it is listed under where that is only named, and none can be run.
    """

    claim: Claim
    model: str = ""
    objective: Objective | None = None
    dataset: str = ""
    recipes: tuple[str, ...] = ()
    label: str = ""

    @property
    def cell(self) -> tuple[str, str, str]:
        """Model, objective, data set."""
        return self.model, str(self.objective or ""), self.dataset

    @property
    def subject(self) -> str:
        """What it is of, in words."""
        return " under ".join(filter(None, (self.model, str(self.objective or "")))) or self.dataset

    @property
    def places(self) -> set[tuple[str, ...]]:
        """What no other number of the table may be: its cell and metric, under each of its recipes."""
        return {(*self.cell, self.claim.metric, recipe) for recipe in self.recipes or (self.label,)}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is missing to run cells of a table, or on a data set, and why."""

    status: Status
    reason: str

    @classmethod
    def read(cls, section: Section) -> "Standing":
        """From the keys `status` and `reason`.

        Raises:
            UserError: for an unknown status, or one without the other.
        """
        known = [status.value for status in Status if status != Status.RUNNABLE]
        return cls(status=Status(section.one_of("status", known)), reason=section.get("reason", str))


RUNNABLE = Standing(status=Status.RUNNABLE, reason="")
SIZE = Standing(status=Status.PRINTED_ONLY, reason="the size of a data set: there is nothing to run")
