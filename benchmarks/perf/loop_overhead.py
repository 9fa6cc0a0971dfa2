"""What the training loop costs beside its steps.

Epochs as `train` runs them on the digits (order drawn, images picked from the resident set, made floats, loss
looked at each step, curves kept, weights checked) over as many bare steps of the same network on a batch that is
ready: forward, cross-entropy, backward, the same AdamW. Both sides alternate, and the ratio is the median over the
pairs. It is printed with crop and flip too, where the augmentation is part of the epoch and not of the bare step.

To be reached: at most 1.05 without augmentation.

    python benchmarks/perf/loop_overhead.py        about a minute on one thread; exits with 1 when the goal is missed
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2
from torch import nn

from vitbench.augment import to_float
from vitbench.case import Phase
from vitbench.contracts import Images
from vitbench.datasets import digits
from vitbench.models import vit
from vitbench.objective import Call
from vitbench.terms.ce import CrossEntropy
from vitbench.total import Total
from vitbench.train import Watch, train

BATCH, EPOCHS, PAIRS, GOAL = 64, 4, 15, 1.05
ADAMW = {"lr": 2e-3, "weight_decay": 0.05}


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def epochs(network: nn.Module, data: Images, augmentation: tuple[Call, ...]) -> Callable[[], object]:
    """Some epochs by the loop of the package, a checkpoint offered after each."""
    phase = Phase(
        epochs=EPOCHS,
        batch_size=BATCH,
        optimizer={"name": "adamw", **ADAMW},
        schedule={"name": "constant"},
        augmentation=augmentation,
    )
    total = Total({"ce": CrossEntropy()}, {"ce": 1.0})
    return lambda: train(network, total, data, [phase], seed=0, watch=Watch(examine=lambda epoch: {}))


def bare_steps(network: nn.Module, data: Images, count: int) -> Callable[[], object]:
    """As many steps on one batch that is ready, written as short as torch allows."""
    optimizer = create_optimizer_v2(network, opt="adamw", fused=True, **ADAMW)
    images, labels = to_float(data.images[:BATCH]), data.labels[:BATCH]

    def steps() -> None:
        for _ in range(count):
            torch.autograd.backward(F.cross_entropy(network(images).logits, labels))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return steps


def compare(name: str, data: Images, augmentation: tuple[Call, ...]) -> float:
    """Print both sides; returns the ratio."""
    count = EPOCHS * (len(data) // BATCH)
    network = vit.build(classes=10, variant="tiny").train()
    whole, bare = epochs(network, data, augmentation), bare_steps(network, data, count)
    whole()
    bare()
    pairs = [(seconds(whole), seconds(bare)) for _ in range(PAIRS)]
    ratio = statistics.median(ours / steps for ours, steps in pairs)
    ours, steps = (1e3 * statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"  {name:<24} {EPOCHS} epochs {ours:.0f} ms, {count} bare steps {steps:.0f} ms, ratio {ratio:.3f}")
    return ratio


def main() -> int:
    """Print the ratios; 0 when the goal is reached."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = digits.build(None).train
    print(f"tiny ViT, {len(data)} digits, batch {BATCH}, 1 thread, torch {torch.__version__}, median of {PAIRS} pairs")
    compare("with crop and flip", data, (Call(name="crop"), Call(name="flip")))
    ratio = compare("without augmentation", data, ())
    print(f"ratio {ratio:.3f}; at most {GOAL} is the goal")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
