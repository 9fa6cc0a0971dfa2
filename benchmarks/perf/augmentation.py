"""Images per second of liu2021's whole augmentation against a DataLoader with timm's and torchvision's transforms.

Both sides cut a random window out of images of 32 pixels and resize it bicubically, flip, apply
`rand-m9-mstd0.5-inc1`, erase with noise, and end with normalised floats in batches; at 32 pixels, in batches of a
device (128) and of the paper (1024), and at 224. The window and the flip alone are shown beside it. Ours has one
thread; the loader has two workers with one thread each, on Pillow images as timm's own recipe has them. Runs
alternate, and the ratio is the median over the pairs.

    python benchmarks/perf/augmentation.py        minutes; exits with 1 when the first ratio is below 5
"""

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from PIL import Image
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from vitbench.augment import Augmentation, compose
from vitbench.contracts import Normalize

IMAGES, PAIRS, GOAL = 10_000, 7, 5.0
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which the recipe has for every data set


@dataclass(frozen=True)
class Setting:
    """What is compared: the size of the result, the batch, the batches of a run, and whether all of the recipe."""

    size: int
    batch: int
    batches: int
    whole: bool = True

    def __str__(self) -> str:
        return f"32 to {self.size} pixels, batch {self.batch}{'' if self.whole else ', window and flip only'}"

    @property
    def ours(self) -> Augmentation:
        """As a recipe writes it."""
        rest = [("rand_augment", {}), ("erase", {})] if self.whole else []
        return compose([("random_resized_crop", {"size": self.size}), ("flip", {}), *rest])


SETTINGS = (Setting(32, 128, 40), Setting(32, 1024, 5), Setting(32, 128, 80, whole=False), Setting(224, 128, 2))


class Transformed(Dataset[Tensor]):
    """What a user of timm writes: one Pillow image at a time, transformed when asked for."""

    def __init__(self, images: Tensor, setting: Setting) -> None:
        self.images = [Image.fromarray(one) for one in images.permute(0, 2, 3, 1).numpy()]
        self.transform = create_transform(
            setting.size,
            is_training=True,
            color_jitter=None,
            auto_augment="rand-m9-mstd0.5-inc1" if setting.whole else None,
            interpolation="bicubic",
            re_prob=0.25 if setting.whole else 0.0,
            re_mode="pixel",
            mean=MEAN,
            std=STD,
        )
        for operation in getattr(self.transform.transforms[2], "ops", ()):
            operation.magnitude_max = 9.99  # at 10 timm posterizes to 0 bits, which Pillow 13 refuses

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        """One image (3, size, size), float32 and normalised."""
        transformed: Tensor = self.transform(self.images[index])
        return transformed


class SomeBatches(Sampler[int]):
    """As many random indices as one run needs."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        """Number of images of a run."""
        return self.count

    def __iter__(self) -> Iterator[int]:
        """Another order each time."""
        yield from torch.randint(IMAGES, (self.count,)).tolist()


def run_loader(loader: DataLoader[Tensor]) -> float:
    """Images per second of one pass; workers are alive already, filling their queues is part of it."""
    start = time.perf_counter()
    count = sum(len(images) for images in loader)
    return count / (time.perf_counter() - start)


def run_batched(images: Tensor, augmentation: Augmentation, setting: Setting, generator: torch.Generator) -> float:
    """Images per second of one pass over a data set that is in memory."""
    normalize = Normalize(MEAN, STD)
    start = time.perf_counter()
    order = torch.randint(IMAGES, (setting.batches * setting.batch,), generator=generator)
    for index in order.split(setting.batch):
        normalize(augmentation(images.index_select(0, index), generator=generator))
    return len(order) / (time.perf_counter() - start)


def compare(images: Tensor, setting: Setting) -> float:
    """Print both rates of one setting; their ratio."""
    generator, augmentation = torch.Generator().manual_seed(0), setting.ours
    loader = DataLoader(
        Transformed(images, setting),
        batch_size=setting.batch,
        sampler=SomeBatches(setting.batches * setting.batch),
        num_workers=2,
        persistent_workers=True,
    )
    run_loader(loader)
    run_batched(images, augmentation, setting, generator)
    pairs = [(run_batched(images, augmentation, setting, generator), run_loader(loader)) for _ in range(PAIRS)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [one / other for one, other in pairs]
    ratio = statistics.median(ratios)
    print(f"  {setting}: batched {ours:,.0f} images/s, loader {theirs:,.0f}", end=", ")
    print(f"ratio {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
    return ratio


def main() -> int:
    """Print the rates and ratios; 0 when the goal is reached."""
    torch.set_num_threads(1)
    coarse = torch.rand(IMAGES, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 255
    images = torch.nn.functional.interpolate(coarse, size=32, mode="bicubic").clamp(0, 255).to(torch.uint8)
    print(f"liu2021's augmentation, medians of {PAIRS}, torch {torch.__version__}")
    ratios = [compare(images, setting) for setting in SETTINGS]
    print(f"at least {GOAL:.0f} is the goal at 32 pixels")
    return 0 if ratios[0] >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
