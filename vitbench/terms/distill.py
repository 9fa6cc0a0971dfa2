"""Self-distillation: a student tells what its teacher, a slow copy of it, says of other views of a photograph.

Source: Caron et al. 2021, arXiv:2104.14294 (DINO), section 3.1, and Detkov 2022, thesis (Tort), sections 3.3 to 3.5
and 4.3, in which the versions are three. The slides of Coquenet 2023 have the same algorithm, with
`(l-1)*gs.params` in the teacher's update where (1 - l) is meant.
As the thesis says, student and teacher start equal; the released code of Tort draws them apart. The teacher's momentum
goes to 1 over the whole phase, where that code stays in its first epoch. A network with batch norm has a teacher with
the running statistics, not those of its batch.
"""

import copy
import itertools
import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitbench.adapter import full_precision, takes
from vitbench.contracts import Shape, Step
from vitbench.errors import UserError, unknown

VERSION = 1
VERSIONS = 2
# As for tiny networks on some 1000 steps: at .9998 the teacher would stay where it started, with fewer prototypes or a
# softer teacher it comes to say the same of all images.
TINY = {"prototypes": 64, "hidden": 256, "bottleneck": 32, "momentum": 0.996, "teacher_temperature": 0.01}
PAIRS = ("all", "crops")


def build(
    shape: Shape,
    *,
    prototypes: int = 1024,
    hidden: int = 2048,
    bottleneck: int = 256,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
    momentum: float = 0.9998,
    centre_momentum: float = 0.9,
    pairs: str = "all",
) -> nn.Module:
    """The term `distill`; `attach` gives it the model that it copies.

    Small crops, where a recipe makes them, are seen by the student alone. A model that does not take their size gets
    them enlarged to its own, which costs as much as a whole image does.

    Args:
        shape: of the model; the head reads its embedding.
        prototypes: numbers that the head gives, K; 65536 on ImageNet in DINO.
        hidden, bottleneck: widths of the head's layers.
        student_temperature, teacher_temperature: what their numbers are divided by before the softmax, above 0.
        momentum: share of itself that the teacher keeps at the first step, in [0, 1]; it goes to 1 on a cosine.
        centre_momentum: share of itself that the centre keeps at each step, in [0, 1].
        pairs: "all": the student's view is any but the teacher's own, as in DINO and in the released code of Tort;
            "crops": any small crop, as Equation 3.2 of Detkov 2022 is printed.

    Raises:
        UserError: if an option is out of its range.
    """
    for option, value in (("prototypes", prototypes), ("hidden", hidden), ("bottleneck", bottleneck)):
        if type(value) is not int or value < 2:
            raise UserError(f"distill: {option} must be a whole number from 2 up, got {value!r}; try {option}=256")
    temperatures = {"student_temperature": student_temperature, "teacher_temperature": teacher_temperature}
    for option, degree in temperatures.items():
        if type(degree) not in (int, float) or not 0 < degree < float("inf"):
            raise UserError(f"distill: {option} must be a number above 0, got {degree!r}; try {option}=0.1")
    momenta = {"momentum": momentum, "centre_momentum": centre_momentum}
    for option, share in momenta.items():
        if type(share) not in (int, float) or not 0 <= share <= 1:
            raise UserError(f"distill: {option} must be a number from 0 to 1, got {share!r}; try {option}=0.9")
    if pairs not in PAIRS:
        raise unknown("pairs of distill", pairs, PAIRS)
    head = Head(shape.embedding, hidden=hidden, bottleneck=bottleneck, prototypes=prototypes)
    return Distillation(head, **temperatures, **momenta, crops_alone=pairs == "crops")


def followed(progress: Tensor, momentum: float) -> Tensor:
    """Share that the teacher takes of its student, one less its momentum: 1 - `momentum` at first, 0 at the end.

    Args:
        progress: of the phase, in [0, 1].
        momentum: at its start.
    """
    return (1 - momentum) * (1 + torch.cos(math.pi * progress)) / 2


class Head(nn.Module):
    """Embeddings (..., D) to numbers (..., K) in [-1, 1]: how near each is to every prototype.

    Three layers with GELU between, then unit length, then a layer without bias whose weights have unit length too,
    which is weight norm with its gain fixed at 1. No batch norm. It starts as the code of DINO does.

    Args:
        width: D.
        hidden, bottleneck, prototypes: see `build`.
    """

    def __init__(self, width: int, *, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        widths = (width, hidden, hidden, bottleneck)
        first, second, third = (nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        for layer in (first, second, third):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.mlp = nn.Sequential(first, nn.GELU(), second, nn.GELU(), third)
        self.last = nn.Linear(bottleneck, prototypes, bias=False)

    def forward(self, embedding: Tensor) -> Tensor:
        """At least float32: divided by a temperature, what bfloat16 rounds away is a tenth of a unit."""
        x = self.mlp(embedding)  # (..., bottleneck)
        with full_precision(x.device):
            weight = F.normalize(self.last.weight, dim=1)
            return F.linear(F.normalize(x.to(weight.dtype), dim=-1), weight)  # (..., K)


class Averaged(nn.Module):
    """The teacher: a model and a head that no gradient reaches, moving averages of the student's.

    Always in evaluation mode, so without dropout and drop path.

    Args:
        model, head: copied, as they are now.
    """

    def __init__(self, model: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.model, self.head = copy.deepcopy(model), copy.deepcopy(head)
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "Averaged":
        """Nothing but evaluation."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to what its head gives (B, K)."""
        return self.head(self.model(images).embedding)

    def follow(self, model: nn.Module, head: nn.Module, share: Tensor) -> None:
        """Go a share of the way to where a student is, in place; what are whole numbers become the student's.

        Args:
            model, head: of the student.
            share: 0-d, from 0 to 1. Equation 3.1 of Detkov 2022, with 1 - tau.
        """
        pairs = [
            *zip(_state(self.model), _state(model), strict=True),
            *zip(_state(self.head), _state(head), strict=True),
        ]
        moved = [pair for pair in pairs if pair[0].is_floating_point()]
        mine, theirs = map(list, zip(*moved, strict=True))
        with torch.no_grad():
            step = torch._foreach_sub(theirs, mine)
            torch._foreach_mul_(step, share)
            torch._foreach_add_(mine, step)
            for old, new in pairs:
                if not old.is_floating_point():
                    old.copy_(new)


def _state(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


class Distillation(nn.Module):
    """A head for the model's embedding, its teacher, and the cross-entropy of the two.

    Args:
        head: embeddings to numbers.
        student_temperature, teacher_temperature, momentum, centre_momentum: see `build`.
        crops_alone: whether the student is asked for small crops only.

    Attributes:
        averaged: the teacher with its head; None until `attach`.
        centre: (K,), a moving average of what the teacher's head gives.
    """

    centre: Tensor
    total: Tensor
    seen: Tensor
    share: Tensor

    def __init__(
        self,
        head: Head,
        *,
        student_temperature: float,
        teacher_temperature: float,
        momentum: float,
        centre_momentum: float,
        crops_alone: bool,
    ) -> None:
        super().__init__()
        self.head = head
        self.averaged: Averaged | None = None
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.momentum, self.centre_momentum, self.crops_alone = momentum, centre_momentum, crops_alone
        prototypes = head.last.out_features
        self.register_buffer("centre", torch.zeros(prototypes))
        # What the teacher gave since the last step, which may be taken in several parts.
        self.register_buffer("total", torch.zeros(prototypes))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("share", torch.zeros(()), persistent=False)
        self._student: tuple[nn.Module, ...] = ()  # in a tuple, so that its weights are not the term's own too

    @property
    def teacher(self) -> nn.Module | None:
        """The teacher without its head, images to `Output`; None until `attach`."""
        return None if self.averaged is None else self.averaged.model

    def attach(self, model: nn.Module) -> None:
        """Copy the model that is trained, as it starts; called once, before the first step."""
        self._student = (model,)
        self.averaged = Averaged(model, self.head)

    def forward(self, step: Step) -> Tensor:
        """Scalar loss of one batch: the mean over all pairs of a version and another view, and over photographs.

        Raises:
            UserError: if nothing was attached, or the recipe gives one view of each photograph.
        """
        local = step.views.get("local")
        many, crops = step.versions, 0 if local is None else len(local) * step.versions // len(step.images)
        pairs = many * (crops if self.crops_alone else many + crops - 1)
        if not pairs:
            raise UserError(
                f"distill: expected several views of each image, got versions: {many}, small crops: {crops}; "
                "give the recipe's phase more of them"
            )
        given = self._teach(step.images).unflatten(0, (many, -1))  # (V, b, K)
        self.share.copy_(followed(step.progress, self.momentum))
        embedded = [] if self.crops_alone else [step.out.embedding]
        embedded += [] if local is None else [step.forward(_fitting(local, step)).embedding]
        answers = self.head(torch.cat(embedded)) / self.student_temperature
        answered = F.log_softmax(answers, dim=-1).unflatten(0, (-1, given.shape[1]))  # (S, b, K)
        everyone = given.sum(dim=0, keepdim=True)  # (1, b, K)
        # The cross-entropy is linear in what was given, so each of the student's views is asked once for all.
        others = [] if self.crops_alone else [everyone - given]
        asked = torch.cat([*others, everyone.expand(crops, -1, -1)])  # (S, b, K)
        return -(asked * answered).sum(dim=-1).mean(dim=1).sum() / pairs

    def _teach(self, images: Tensor) -> Tensor:
        """What the teacher says of images, (B, K), for the centre to be moved by it after the step."""
        with torch.no_grad():
            raw = self._raw(images)
            self.total.add_(raw.sum(dim=0))
            self.seen.add_(len(raw))
            return self._sharpened(raw)

    def _raw(self, images: Tensor) -> Tensor:
        if self.averaged is None:
            raise UserError("distill: expected attach(model) before the first step, got none; call it once")
        return self.averaged(images)

    def _sharpened(self, raw: Tensor) -> Tensor:
        return ((raw - self.centre) / self.teacher_temperature).softmax(dim=-1)

    def distribution(self, images: Tensor) -> Tensor:
        """What the teacher says of images (B, 3, H, W) in [0, 1]: probabilities (B, K); nothing is changed by it."""
        with torch.no_grad():
            return self._sharpened(self._raw(images))

    def after_step(self) -> None:
        """Move the teacher by the momentum of the step's progress, and the centre by the mean of what was given."""
        with torch.no_grad():
            self.centre.lerp_(self.total / self.seen, 1 - self.centre_momentum)
            self.total.zero_()
            self.seen.zero_()
        (model,) = self._student
        cast(Averaged, self.averaged).follow(model, self.head, self.share)


def _fitting(crops: Tensor, step: Step) -> Tensor:
    """Small crops (n, 3, h, w) as the model takes them: as they are, or of its own images' size."""
    height, width = crops.shape[-2:]
    if height == width and takes(step.model, image_size=height):
        return crops
    return F.interpolate(crops, size=step.images.shape[-2:], mode="bilinear")
