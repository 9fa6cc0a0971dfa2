"""The losses that every term gives on three fixed training steps, and the file that holds them.

`tests/contracts/test_terms.py` compares each term with `golden/terms.json` and fails when one of the two
changed without the other. Whoever changes what a term computes raises the `VERSION` in its file and runs,
from the root,

    PYTHONPATH=. python tests/contracts/golden_terms.py --write

which records the terms that are new or whose `VERSION` differs, drops those that are gone, and leaves the
others alone. To record a term again at the same version, delete its entry first and say why in the commit.
Without `--write` the entries of today's code are printed instead.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from vitbench.contracts import Output, Shape, Step
from vitbench.leaves import find, known

GOLDEN = Path(__file__).parent / "golden" / "terms.json"
SHAPE = Shape(channels=24, height=4, width=6, embedding=24, classes=5)
BATCH = 8


def build(name: str, *, seed: int = 0, **options: object) -> nn.Module:
    """A term with the weights of a seed."""
    torch.manual_seed(seed)
    return find("terms", name).load()(SHAPE, **options)


def inputs(seed: int = 0) -> tuple[nn.Parameter, nn.Parameter]:
    """A grid and logits to train in place of a model."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.randn(BATCH, SHAPE.channels, SHAPE.height, SHAPE.width, generator=generator)
    return nn.Parameter(grid), nn.Parameter(torch.randn(BATCH, SHAPE.classes, generator=generator))


def step(grid: Tensor, logits: Tensor, *, generator: torch.Generator | None) -> Step:
    """A training step whose model gave this grid and these logits."""
    out = Output(logits=logits, embedding=grid.mean(dim=(2, 3)), grids=(grid,))
    return Step(
        images=grid.new_ones(BATCH, 3, 32, 48) / 2,
        labels=torch.arange(BATCH, device=grid.device) % SHAPE.classes,
        model=nn.Identity(),
        forward=lambda images: out,
        progress=grid.new_zeros(()),
        generator=generator,
    )


def losses(name: str) -> list[float]:
    """The losses of three steps of plain gradient descent on the term, the grid and the logits.

    The inputs learn faster by their size, since a mean divides their gradients by it: else a gradient that
    no longer reaches them would not be seen in the losses.
    """
    term = build(name)
    grid, logits = inputs()
    groups = [{"params": [tensor], "lr": 0.1 * tensor.numel()} for tensor in (grid, logits)]
    optimizer = torch.optim.SGD([*groups, {"params": list(term.parameters())}], lr=0.1)
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(3):
        loss = term(step(grid, logits, generator=generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def entry(name: str) -> dict[str, object]:
    """What the file holds for a term."""
    return {"version": find("terms", name).constants["VERSION"], "losses": losses(name)}


def main() -> None:
    """Print the entries, or with `--write` record those that are due."""
    parser = argparse.ArgumentParser(description="Record the golden losses of the terms.")
    parser.add_argument("--write", action="store_true", help=f"write {GOLDEN.name} instead of printing")
    write = parser.parse_args().write
    golden = json.loads(GOLDEN.read_text(encoding="utf-8")) if write and GOLDEN.exists() else {}
    entries = {}
    for name in known("terms"):
        old = golden.get(name)
        due = old is None or old["version"] != find("terms", name).constants["VERSION"]
        entries[name] = entry(name) if due else old
    text = json.dumps(entries, indent=2) + "\n"
    if write:
        GOLDEN.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
