"""A case: one row-by-column experiment of a printed table. A case never changes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from vitbench.objective import Call, Objective, Value, parse


class Budget(StrEnum):
    """How much of a recipe is run."""

    QUICK = "quick"
    SHORT = "short"
    PAPER = "paper"


class Status(StrEnum):
    """Whether a printed cell can be run, and if not, what is missing."""

    RUNNABLE = "runnable"
    NEEDS_DATA = "needs-data"
    NEEDS_WEIGHTS = "needs-weights"
    PRINTED_ONLY = "printed-only"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network of a paper.

    Attributes:
        name: as it stands in the tables of the data file.
        full: `leaf/variant` of the paper's network, such as `vit/floros2024`.
        tiny: `leaf/variant` that the quick budget trains in its place.
        printed: the name in the paper.
    """

    name: str
    full: str
    tiny: str
    printed: str

    def at(self, budget: Budget) -> str:
        """The network that a budget trains."""
        return self.tiny if budget == Budget.QUICK else self.full


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """What a quick phase does otherwise where it does not train on the embedded digits, which are easy to tell apart.

    Attributes:
        least_steps: epochs are added until there are so many.
        augmentation: in place of the phase's, which cannot mirror digits; None: the same.
    """

    least_steps: int
    augmentation: tuple[Call, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class View:
    """What each image of a batch is seen as at once, besides other views; see `contracts.Step`.

    Attributes:
        name: "global" or "masked", versions that make up the batch together, or "local", small crops that are handed
            to the terms apart.
        count: how many of them each image has.
        augmentation: operations of `vitbench.augment`, in order, drawn for each of them.
    """

    name: str
    count: int
    augmentation: tuple[Call, ...]

    @property
    def is_local(self) -> bool:
        """Whether it is no part of the batch."""
        return self.name == "local"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of training.

    Attributes:
        epochs: passes over the training images; the last partial batch of a pass is dropped.
        batch_size: images a step, over all devices.
        optimizer: `name` of timm's optimizer, `lr`, and further arguments of it; `layer_decay` is what `lr` is
            multiplied by from each layer to the one in front of it.
        schedule: `name` ("constant" or "cosine"), `warmup_epochs`, `warmup_lr`, `min_lr`, `epochs`, over which the
            cosine falls where that is not the phase: it is cut off at the last epoch; and `after_warmup`: whether it
            begins at its top when the warm-up ends, and not underneath it.
        augmentation: operations of `vitbench.augment`, in order.
        views: what each image is seen as, in place of one augmented version; none where there is one.
        turning: `quarter_turn` with its arguments, which turns augmented images and says how far; or None.
        mixing: `mix` with its arguments, which blends pairs of augmented images and their labels; or None.
        clip_grad: largest norm of the gradient, or None.
        weights: per term, how its weight moves: `rise_epochs`, in which it grows from 0 to what the objective says,
            and `end_epoch`, at which it is back at 0, and which may lie behind the last epoch. Others stay.
        elsewhere: what a quick phase does on other data sets than the embedded one; None in what is run, see `placed`.
    """

    epochs: int
    batch_size: int
    optimizer: Mapping[str, Value]
    schedule: Mapping[str, Value]
    augmentation: tuple[Call, ...] = ()
    views: tuple[View, ...] = ()
    turning: Call | None = None
    mixing: Call | None = None
    clip_grad: float | None = None
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    elsewhere: Elsewhere | None = None

    @property
    def versions(self) -> int:
        """How many versions of an image a batch has."""
        return sum(view.count for view in self.views if not view.is_local) or 1

    def shortened(self) -> "Phase":
        """A tenth of the epochs under schedules of the same shape."""
        return replace(self._scaled(1, 10), epochs=max(1, round(self.epochs / 10)))

    def placed(self, images: int | None) -> "Phase":
        """As it is run on a data set.

        Args:
            images: to train on; 0 where nobody says how many, None for the embedded ones.

        Returns:
            For other data sets as many epochs as `elsewhere.least_steps` take, under schedules of the same shape.
            Not more where the images do not fill a batch.
        """
        there = self.elsewhere
        if there is None or images is None:
            return replace(self, elsewhere=None)
        steps = images // self.batch_size  # of an epoch
        epochs = -(-there.least_steps // steps) if steps else 0
        longer = self._scaled(epochs, self.epochs) if epochs > self.epochs else self
        operations = self.augmentation if there.augmentation is None else there.augmentation
        return replace(longer, augmentation=operations, elsewhere=None)

    def _scaled(self, epochs: int, of: int) -> "Phase":
        """`epochs` where there were `of`, and all that is counted in epochs scaled alike."""
        schedule = dict(self.schedule)
        for key in {"warmup_epochs", "epochs"} & schedule.keys():
            schedule[key] = float(schedule[key]) * epochs / of
        weights = {name: {key: value * epochs / of for key, value in one.items()} for name, one in self.weights.items()}
        return replace(self, epochs=epochs, schedule=schedule, weights=weights)


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """What a network learns before the phases of its recipe: a run of its own, which several fine-tunings share.

    Attributes:
        objective: that is minimised, such as `mae`.
        dataset: whose training images are learnt from; empty: that of the case, as in the quick budget.
        phases: as in `Recipe`.
        quick: likewise.
        judged: whose weights are handed on: "student" or "teacher", see `Recipe`.
    """

    objective: Objective
    dataset: str
    phases: tuple[Phase, ...]
    quick: tuple[Phase, ...]
    judged: str = "student"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a case is trained: phases, one after the other.

    Attributes:
        protocol: which reading of the source this is: "paper" (its text) or "code" (its authors' code).
        selection: the epoch whose accuracy the source reports: "last" or "best".
        start: where the weights come from: "scratch", or "published" for the network's own of ImageNet-1K.
        image_size: H and W in pixels of what the network sees; None: those of the data set. Not in the quick budget.
        stored_size: H and W in pixels that photographs are stored at, from which augmentation and evaluation cut;
            None: the network's.
        evaluation: operations without a draw that test images go through.
        terms: per term, this reading's own values of its arguments, before the paper's.
        quick: the phases of the quick budget; ours, for every paper says nothing of it.
        pretraining: what comes before the phases and gives them their weights, all but the classifier's; or None.
        probe: "linear" where a linear classifier of the finished embeddings takes the place of the network's own, and
            then there may be no phases; or empty.
        knn: whether the embeddings are judged by their nearest neighbours, and by whether they collapsed.
        judged: "student", the network that takes the steps, or "teacher", the one that a term of it makes.
        against: the recipe of the plain baseline, where that is another one; None: the same, see `from_scratch`.
        splits: per data set, the one in its place that this reading is trained and tested on.
        kind: what it makes: a "run" is judged by its accuracy, a "pretraining", of which see `Case.before`, is not.
    """

    name: str
    protocol: str
    selection: str
    phases: tuple[Phase, ...]
    quick: tuple[Phase, ...]
    start: str = "scratch"
    image_size: int | None = None
    stored_size: int | None = None
    evaluation: tuple[Call, ...] = ()
    terms: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    pretraining: Pretraining | None = None
    probe: str = ""
    knn: bool = False
    judged: str = "student"
    against: "Recipe | None" = None
    splits: Mapping[str, str] = field(default_factory=dict)
    kind: str = "run"

    @property
    def has_quick(self) -> bool:
        """Whether it has a quick form; fine-tuning from published weights has none."""
        return bool(self.quick) or bool(self.probe and (self.pretraining is None or self.pretraining.quick))

    def at(self, budget: Budget) -> tuple[Phase, ...]:
        """The phases that a budget runs, without those of the pre-training."""
        if budget == Budget.QUICK:
            return self.quick
        return tuple(phase.shortened() for phase in self.phases) if budget == Budget.SHORT else self.phases

    @property
    def plain(self) -> "Recipe":
        """What the plain baseline of a method is trained by: the recipe that this is held against, else itself."""
        return self.against or self

    @property
    def from_scratch(self) -> "Recipe":
        """The same without a pre-training, under the name `scratch`; itself where it has none.

        Without layer decay too, which spares layers that have learnt something already.
        """
        if self.pretraining is None:
            return self
        phases, quick = (tuple(_undecayed(phase) for phase in own) for own in (self.phases, self.quick))
        return replace(self, name="scratch", phases=phases, quick=quick, pretraining=None)


def _undecayed(phase: Phase) -> Phase:
    kept = {key: value for key, value in phase.optimizer.items() if key != "layer_decay"}
    return replace(phase, optimizer=kept)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One printed number.

    Attributes:
        source: "printed", "rerun" (the authors' own second run), "read-off" (from a curve) or "computed" (the answer
            to what the source asks and does not answer).
        reason: what is missing to run its case, where the status is not "runnable".
        note: what must be known to read it, such as a misprint.
        convention: of MACs, what they count: one of `metrics.CONVENTIONS`.
    """

    metric: str
    value: float
    source: str = "printed"
    status: Status = Status.RUNNABLE
    reason: str = ""
    note: str = ""
    convention: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One experiment of one table.

    Attributes:
        paper, table: where it is printed.
        objective: as printed; the paper's defaults are filled in when it is run.
        defaults: per term, the values of its arguments that the paper, read by this recipe, takes.
        claims: what is printed for it; empty for rows that a user adds.
        reading: name of the recipe, where the table is run by several; the last part of the id.
        curves: whether the table prints curves over epochs, so that ours are kept and drawn.
    """

    paper: str
    table: str
    model: Model
    objective: Objective
    dataset: str
    recipe: Recipe
    defaults: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    reading: str = ""
    curves: bool = False

    @cached_property
    def id(self) -> str:
        """Plain and stable, without a character that pytest's `-k` cannot parse."""
        model, dataset = (re.sub(r"[^\w.+-]", ".", name) for name in (self.model.name, self.dataset))
        parts = (self.paper, self.table, model, self.objective.slug, dataset, self.reading)
        return "/".join(filter(None, parts))

    @cached_property
    def plain_notation(self) -> str:
        """The objective without the arguments that only repeat the paper's defaults, as cells are told by."""
        return str(self.objective.without_arguments(self.defaults))

    @cached_property
    def column(self) -> str:
        """The data set as the page names it, of which this may be another split."""
        return next((page for page, split in self.recipe.splits.items() if split == self.dataset), self.dataset)

    @cached_property
    def baseline(self) -> "Case":
        """The same experiment under plain cross-entropy, not pre-trained: what a method is compared with."""
        recipe = self.recipe.against or self.recipe.from_scratch
        reading = self.reading if recipe is self.recipe else recipe.name
        return replace(self, objective=parse("ce"), recipe=recipe, reading=reading, claims=())

    @property
    def is_baseline(self) -> bool:
        """Whether this is plain cross-entropy itself, not pre-trained."""
        return str(self.objective) == "ce" and self.recipe.pretraining is None

    def before(self, budget: Budget) -> "Case | None":
        """The pre-training that this starts from; the quick budget learns from the images of the case itself."""
        first = self.recipe.pretraining
        if first is None:
            return None
        recipe = replace(
            self.recipe,
            name=f"{self.recipe.name}-pretraining",
            kind="pretraining",
            phases=first.phases,
            quick=first.quick,
            judged=first.judged,
            pretraining=None,
            probe="",
        )
        dataset = self.dataset if budget == Budget.QUICK else first.dataset or self.dataset
        return replace(self, objective=first.objective, dataset=dataset, recipe=recipe, reading=recipe.name, claims=())

    def needed(self, budget: Budget) -> tuple["Case", ...]:
        """What is run for this: the plain baseline first, so that a night leaves pairs, and itself last."""
        before = self.before(budget)
        return (*(() if self.is_baseline else (self.baseline,)), *((before,) if before else ()), self)

    @property
    def loss(self) -> str:
        """What is minimised, in words for a table: with what the network was pre-trained by, where it was."""
        first = self.recipe.pretraining
        return f"{first.objective}, then {self.objective}" if first else str(self.objective)

    def claim(self, metric: str) -> Claim | None:
        """What is printed for a metric; the printed value itself before a re-run of it."""
        found = [claim for claim in self.claims if claim.metric == metric]
        return next((claim for claim in found if claim.source == "printed"), found[0] if found else None)
