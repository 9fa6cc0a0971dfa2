"""Images per second of the resident data path against torch's DataLoader with torchvision's transforms.

Both sides crop with padding 4, flip, convert and normalise a synthetic set of CIFAR's size in batches of 128,
in an order drawn anew each time, and do nothing with the batches. The loader gets the better of torchvision's
two generations of transforms, on tensors, and of 0 and 2 workers, which stay alive between runs. Runs
alternate, and the ratio is the median over the pairs: a neighbour on the machine slows both sides.

    python benchmarks/perf/data_path.py        under a minute; exits with 1 when the ratio is below 5
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import transforms as v1
from torchvision.transforms import v2

from vitbench.augment import Augmentation, compose
from vitbench.contracts import Normalize

IMAGES, BATCH, PAIRS, GOAL = 50_000, 128, 7, 5.0
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # CIFAR-10's own, as usually given
RESIDENT_BATCHES, LOADER_BATCHES = 300, 50  # per run; the loader is the slow one
TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "v1": v1.Compose(
        [
            v1.RandomCrop(32, padding=4),
            v1.RandomHorizontalFlip(),
            v1.ConvertImageDtype(torch.float32),
            v1.Normalize(MEAN, STD),
        ]
    ),
    "v2": v2.Compose(
        [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    ),
}


class Transformed(Dataset[tuple[Tensor, Tensor]]):
    """What a user of torchvision writes: one image at a time, transformed when asked for."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[Tensor], Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One image (3, 32, 32), float32 and normalised, with its label."""
        return self.transform(self.images[index]), self.labels[index]


class SomeBatches(Sampler[int]):
    """As many random indices as one run needs."""

    def __len__(self) -> int:
        """Number of images of a run."""
        return LOADER_BATCHES * BATCH

    def __iter__(self) -> Iterator[int]:
        """Another order each time."""
        yield from torch.randperm(IMAGES)[: len(self)].tolist()


def run_loader(loader: DataLoader[tuple[Tensor, Tensor]]) -> float:
    """Images per second of one pass; workers are alive already, filling their queues is part of it."""
    start = time.perf_counter()
    count = sum(len(labels) for _, labels in loader)
    return count / (time.perf_counter() - start)


def run_resident(
    images: Tensor,
    labels: Tensor,
    augmentation: Augmentation,
    normalize: Normalize,
    generator: torch.Generator,
) -> float:
    """Images per second of one pass; the permutation is drawn whole, as an epoch needs it."""
    start = time.perf_counter()
    order = torch.randperm(IMAGES, generator=generator)[: RESIDENT_BATCHES * BATCH]
    for first in range(0, len(order), BATCH):
        index = order[first : first + BATCH]
        batch = images.index_select(0, index), labels.index_select(0, index)
        normalize(augmentation(batch[0], generator=generator))
    return len(order) / (time.perf_counter() - start)


def best_loader(images: Tensor, labels: Tensor) -> tuple[str, DataLoader[tuple[Tensor, Tensor]]]:
    """The fastest of the loaders, each warmed up by one pass and timed on two more."""
    rates = {}
    for name, transform in TRANSFORMS.items():
        for workers in (0, 2):
            loader = DataLoader(
                Transformed(images, labels, transform),
                batch_size=BATCH,
                sampler=SomeBatches(),
                num_workers=workers,
                persistent_workers=workers > 0,
            )
            run_loader(loader)
            rate = max(run_loader(loader) for _ in range(2))
            rates[f"{name}, {workers} workers"] = rate, loader
            print(f"  DataLoader, torchvision {name}, {workers} workers {rate:>10,.0f} images/s")
    name = max(rates, key=lambda key: rates[key][0])
    return name, rates[name][1]


def main() -> int:
    """Print both rates and their ratio; 0 when the goal is reached."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (IMAGES,), generator=generator)
    print(f"crop, flip, to float, normalise; batch {BATCH}, 1 thread, torch {torch.__version__}")
    name, loader = best_loader(images, labels)
    augmentation, normalize = compose([("crop", {"padding": 4}), ("flip", {})]), Normalize(MEAN, STD)
    run_resident(images, labels, augmentation, normalize, generator)
    pairs = [
        (run_resident(images, labels, augmentation, normalize, generator), run_loader(loader)) for _ in range(PAIRS)
    ]
    resident, loaded = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [ours / theirs for ours, theirs in pairs]
    ratio = statistics.median(ratios)
    print(f"  resident                            {resident:>10,.0f} images/s, median of {PAIRS}")
    print(f"  best loader ({name})          {loaded:>10,.0f} images/s, median of {PAIRS}")
    print(f"ratio {ratio:.1f} ({min(ratios):.1f} to {max(ratios):.1f}); at least {GOAL:.0f} is the goal")
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
