"""The losses that every model gives on three fixed training steps, and the file that holds them.

`tests/contracts/test_models.py` compares each model's smallest variant with `golden/models.json` and fails
when one of the two changed without the other. Whoever changes what a model computes, or how it starts, raises
the `VERSION` in its file and runs, from the root,

    PYTHONPATH=. python tests/contracts/golden_models.py --write

which records the models that are new or whose `VERSION` differs, drops those that are gone, and leaves the
others alone. To record a model again at the same version, delete its entry first and say why in the commit.
Without `--write` the losses of today's code are printed instead.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from vitbench.leaves import find, known

GOLDEN = Path(__file__).parent / "golden" / "models.json"
SMALLEST = {"timm": "test_vit", "cct": "tiny_cct"}  # the others have a variant `tiny`


def build(name, *, variant=None, classes=10, image_size=32, seed=0):
    """A model with the weights of a seed; by default the smallest variant."""
    torch.manual_seed(seed)
    variant = variant or SMALLEST.get(name, "tiny")
    return find("models", name).load()(classes=classes, image_size=image_size, variant=variant)


def stir(model, *, seed=1):
    """Move every parameter, so that none hides behind a layer that starts at zero or an attention that starts even."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def losses(name):
    """The cross-entropies of three steps of plain gradient descent in float32."""
    model = stir(build(name))
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(3, 8, 3, 32, 32, generator=generator)
    labels = torch.randint(10, (3, 8), generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    found = []
    for batch, target in zip(images, labels, strict=True):
        loss = F.cross_entropy(model(batch).logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def main():
    """Print the losses, or with `--write` record those that are due."""
    parser = argparse.ArgumentParser(description="Record the golden losses of the models.")
    parser.add_argument("--write", action="store_true", help=f"write {GOLDEN.name} instead of printing")
    write = parser.parse_args().write
    golden = json.loads(GOLDEN.read_text(encoding="utf-8")) if write and GOLDEN.exists() else {}
    entries = {}
    for name in known("models"):
        version, old = find("models", name).constants["VERSION"], golden.get(name)
        due = old is None or old["version"] != version
        entries[name] = {"version": version, "losses": losses(name)} if due else old
    text = json.dumps(entries, indent=2) + "\n"
    if write:
        GOLDEN.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
