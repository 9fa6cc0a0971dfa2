"""What a step costs under DRLoc or masked embedding over the same step under plain cross-entropy.

The steps of one network alternate, and a ratio is the median over the rounds of the quotients within a round:
a neighbour on the machine slows all of them. Beside each ratio stands that of the MACs. The last comparison is
DRLoc, forward and backward, against a plain loop over images and pairs that gives the same value and gradient.

To be reached: the paper's ViT under ce + 0.1*drloc at most 1.10 of plain ce; every tiny network under the tiny
drloc at most 1.3; the loop at least 20 times slower than the tiny term. For the paper's MLP at the paper's batch of
128, where the loop's own products weigh more, the ratio is printed. Masked embedding is only printed, beside its MACs.

    python benchmarks/perf/drloc_step.py        about a minute on one thread; exits with 1 when a goal is missed
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from vitbench import build, leaves
from vitbench.case import Budget, Phase
from vitbench.contracts import Images, Output, Step
from vitbench.identity import Identity
from vitbench.learner import Learner
from vitbench.measure import size, term_cost
from vitbench.objective import Objective, parse
from vitbench.terms import drloc

PAPER_ROUNDS, TINY_ROUNDS = 7, 51
PAPER_GOAL, TINY_GOAL, LOOP_GOAL = 1.10, 1.3, 20.0
OBJECTIVES = tuple(parse(text) for text in ("ce", "ce + 0.1*drloc", "ce + 0.1*me"))
Loss = Callable[[drloc.RelativeLocalisation, Tensor, torch.Generator], Tensor]
TINY = {name: leaves.find("terms", name).constants["TINY"] for name in ("drloc", "me")}


def identity(model: str, objective: Objective) -> Identity:
    """A run on images of 32 x 32 with ten classes, as far as a step depends on it."""
    return Identity(
        model=model,
        objective=objective,
        dataset="digits",
        data="",
        classes=10,
        image_size=32,
        budget=Budget.QUICK,
        versions={},
    )


def a_step(model: str, objective: Objective, batch: int) -> Callable[[], object]:
    """One training step on noise."""
    one = identity(model, objective)
    network = build.model_of(one).train()
    images = torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8)
    data = Images(images=images, labels=torch.randint(0, 10, (batch,)))
    recipe = Phase(epochs=1, batch_size=batch, optimizer={"name": "adam", "lr": 1e-4}, schedule={"name": "constant"})
    learner = Learner(network, build.total_of(one, network), data, recipe)
    learner.begin(0, order=torch.arange(batch), seeds={})
    return lambda: (learner.plan.at.zero_(), learner.step())


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def macs_ratio(model: str, objective: Objective) -> float:
    """MACs of a training step over those under plain cross-entropy."""
    one = identity(model, objective)
    network = build.model_of(one)
    macs = size.count_macs(lambda: build.untrained(one.model, 10, 32), image_size=32).matmul_conv
    extra = [
        term_cost.count_term_macs(
            partial(build.term_of, one, name, network),
            model=lambda: build.untrained(one.model, 10, 32),
            image_size=32,
        )
        for name in one.objective.names
    ]
    return term_cost.training_cost(macs, extra).ratio


def compare(model: str, objectives: Sequence[Objective], *, batch: int, rounds: int) -> list[float]:
    """Print the step under each objective; returns the ratios to the first."""
    steps = [a_step(model, objective, batch) for objective in objectives]
    for step in steps:
        step()
    taken = [[seconds(step) for step in steps] for _ in range(rounds)]
    ratios = []
    for number, objective in enumerate(objectives):
        quotients = sorted(one[number] / one[0] for one in taken)
        ratios.append(statistics.median(quotients))
        median = statistics.median(one[number] for one in taken)
        low, high = quotients[rounds // 4], quotients[-1 - rounds // 4]
        print(
            f"  {model:<15} batch {batch:<3} {objective!s:<37} {1e3 * median:>7.1f} ms  ratio {ratios[-1]:.3f} "
            f"({low:.2f} to {high:.2f}), of the MACs {macs_ratio(model, objective):.3f}"
        )
    return ratios


def by_loop(term: drloc.RelativeLocalisation, grid: Tensor, generator: torch.Generator) -> Tensor:
    """DRLoc as its equation reads, one pair of one image after the other."""
    batch, _, height, width = grid.shape
    drawn = drloc.draw_pairs(1, term.pairs, height * width, device=grid.device, generator=generator)[0].tolist()
    total = grid.new_zeros(())
    for image in grid:
        for first, second in drawn:
            (i, j), (k, m) = divmod(first, width), divmod(second, width)
            down, across = term.mlp(torch.cat([image[:, i, j], image[:, k, m]]))
            total = total + (abs(i - k) / height - down).abs() + (abs(j - m) / width - across).abs()
    return total / (batch * len(drawn))


def by_term(term: drloc.RelativeLocalisation, grid: Tensor, generator: torch.Generator) -> Tensor:
    """The same by the term."""
    pooled = grid.mean(dim=(2, 3))
    out = Output(logits=pooled, embedding=pooled, grids=(grid,))
    labels = torch.zeros(len(grid), dtype=torch.int64)
    return term.forward(Step(images=grid, labels=labels, model=term, forward=lambda _: out, generator=generator))


def forward_and_backward(loss: Loss, term: drloc.RelativeLocalisation, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Value of a loss, and its gradient with respect to the grid."""
    leaf = grid.clone().requires_grad_()
    value = loss(term, leaf, torch.Generator().manual_seed(0))
    torch.autograd.backward(value)
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def compare_with_loop(*, channels: int, cells: int, batch: int, pairs: int, hidden: int) -> float:
    """Print the term against the loop; returns how many times faster it is."""
    term = drloc.RelativeLocalisation(channels, pairs=pairs, per_image=False, hidden=hidden)
    grid = torch.randn(batch, channels, cells, cells)
    for ours, theirs in zip(
        forward_and_backward(by_term, term, grid), forward_and_backward(by_loop, term, grid), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)
    sides = [partial(forward_and_backward, loss, term, grid) for loss in (by_term, by_loop)]
    taken = [[seconds(side) for side in sides] for _ in range(5)]
    fast, slow = (statistics.median(side) for side in zip(*taken, strict=True))
    ratio = statistics.median(theirs / ours for ours, theirs in taken)
    print(
        f"  drloc(hidden={hidden}, pairs={pairs}) on {batch} grids of {cells} x {cells} x {channels}: "
        f"{1e3 * fast:.1f} ms, as a loop {1e3 * slow:.0f} ms, ratio {ratio:.1f}"
    )
    return ratio


def main() -> int:
    """Print everything; 0 when the goals are reached."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"training steps, 1 thread, torch {torch.__version__}; medians, and quartiles of the ratios")
    paper = compare("vit/floros2024", OBJECTIVES, batch=8, rounds=PAPER_ROUNDS)[1]
    small = [one.with_arguments(TINY) for one in OBJECTIVES]
    tiny = max(
        compare(f"{name}/tiny", small, batch=64, rounds=TINY_ROUNDS)[1] for name in ("resnet", "vit", "t2t", "cvt")
    )
    compare_with_loop(channels=312, cells=8, batch=128, pairs=32, hidden=512)
    loop = compare_with_loop(
        channels=48, cells=4, batch=64, pairs=TINY["drloc"]["pairs"], hidden=TINY["drloc"]["hidden"]
    )
    print(
        f"ratio {paper:.3f} for the paper's ViT (at most {PAPER_GOAL}), {tiny:.3f} for the worst tiny network "
        f"(at most {TINY_GOAL}), {loop:.1f} against the loop (at least {LOOP_GOAL:.0f})"
    )
    return 0 if paper <= PAPER_GOAL and tiny <= TINY_GOAL and loop >= LOOP_GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
