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
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from vitbench.contracts import Output, Shape, Step
from vitbench.leaves import find, known

GOLDEN = Path(__file__).parent / "golden" / "terms.json"
SHAPE = Shape(channels=24, height=4, width=6, embedding=24, classes=5, patch_size=8, extra_tokens=1, token_width=24)
BATCH = 8


class Patches(nn.Module):
    """What `contracts.Encoder` asks for: a patch's token is linear in its pixels, the last one is learned.

    Its weights are those of a seed; its output, for terms that copy a model, is made of the tokens.
    """

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        self.patch_size, self.extra_tokens, self.width = SHAPE.patch_size, SHAPE.extra_tokens, SHAPE.token_width
        generator = torch.Generator().manual_seed(seed)
        values, cells = 3 * self.patch_size**2, SHAPE.height * SHAPE.width

        def drawn(*size: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*size, generator=generator, device="cpu"))

        self.weight, self.positions, self.last = drawn(values, self.width), drawn(cells, self.width), drawn(self.width)

    def patches(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B, N, 3 * P * P) in [-1, 1]."""
        size = self.patch_size
        tiles = images.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # (B, 3, h, P, w, P)
        return 2 * tiles.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2) - 1

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        """(B, V + 1, D)."""
        image = torch.arange(len(images), device=images.device).unsqueeze(1)
        tokens = self.patches(images)[image, kept] @ self.weight / len(self.weight) ** 0.5 + self.positions[kept]
        return torch.cat((tokens, self.last.expand(len(images), 1, -1)), dim=1)

    def forward(self, images: Tensor) -> Output:
        """(B, 3, H, W) in [0, 1]."""
        every = torch.arange(SHAPE.height * SHAPE.width, device=images.device).expand(len(images), -1)
        tokens = self.encode(images, every)  # (B, h * w + 1, D)
        embedding = tokens.mean(dim=1)
        grid = tokens[:, :-1].transpose(1, 2).unflatten(2, (SHAPE.height, SHAPE.width))
        return Output(logits=embedding[:, : SHAPE.classes], embedding=embedding, grids=(grid,))


def build(name: str, *, seed: int = 0, model: nn.Module | None = None, **options: object) -> nn.Module:
    """A term with the weights of a seed, attached to a model where it asks for one."""
    torch.manual_seed(seed)
    term = find("terms", name).load()(SHAPE, **options)
    if hasattr(term, "attach"):
        device = torch.get_default_device()  # within which a test may build
        term.attach((model or Patches()).to(device))
    return term


def inputs(seed: int = 0) -> tuple[nn.Parameter, nn.Parameter]:
    """A grid and logits to train in place of a model."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.randn(BATCH, SHAPE.channels, SHAPE.height, SHAPE.width, generator=generator)
    return nn.Parameter(grid), nn.Parameter(torch.randn(BATCH, SHAPE.classes, generator=generator))


def step(grid: Tensor, logits: Tensor, *, generator: torch.Generator | None, model: nn.Module | None = None) -> Step:
    """A training step whose model gave this grid and these logits, and can look at some of its patches.

    There are two versions of each image, and each is said to be turned. Of images that a term makes itself the
    embedding is another one: it has some of their pixels added.
    """
    drawn = torch.rand(BATCH, 3, 32, 48, generator=torch.Generator().manual_seed(0), device="cpu")
    images = drawn.to(grid)
    out = Output(logits=logits, embedding=grid.mean(dim=(2, 3)), grids=(grid,))

    def forward(shown: Tensor) -> Output:
        if shown is images:
            return out
        return replace(out, embedding=out.embedding + shown[:, :, ::16, ::12].flatten(1))  # 3 x 2 x 4 are 24

    return Step(
        images=images,
        labels=torch.arange(BATCH, device=grid.device) % SHAPE.classes,
        versions=2,
        turns=torch.arange(BATCH, device=grid.device) % 4,
        model=(model or Patches()).to(grid),
        forward=forward,
        progress=grid.new_zeros(()),
        generator=generator,
    )


def losses(name: str) -> list[float]:
    """The losses of three steps of plain gradient descent on the term, the grid, the logits and the patches' model.

    The inputs learn faster by their size, since a mean divides their gradients by it: else a gradient that
    no longer reaches them would not be seen in the losses. Without dropout, whose draws differ among builds of torch.
    """
    model = Patches()
    term = build(name, model=model).eval()
    grid, logits = inputs()
    groups = [{"params": [tensor], "lr": 0.1 * tensor.numel()} for tensor in (grid, logits)]
    optimizer = torch.optim.SGD([*groups, {"params": [*term.parameters(), *model.parameters()]}], lr=0.1)
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(3):
        loss = term(step(grid, logits, generator=generator, model=model))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if hasattr(term, "after_step"):
            term.after_step()
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
