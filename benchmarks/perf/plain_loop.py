"""The loop that is usually written: a DataLoader with transforms of one image at a time, autocast, timm's optimizer.

It trains the networks of the package, so that what `gpu.py` compares is the loop and nothing else: PIL images, crop,
flip and `ToTensor` in worker processes, pinned memory, an optimizer that is neither fused nor captured, a look at the
loss every 50 steps as timm's script takes it.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from vitbench.case import Phase
from vitbench.contracts import Images

LOOK_EVERY = 50  # steps, timm's --log-interval
PATIENCE = 60.0  # seconds for one batch, after which torch says that the workers are stuck

Batch = tuple[Tensor, Tensor]


class Pictures(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR does: an array to a PIL image, and its transforms."""

    def __init__(self, data: Images) -> None:
        self.images = data.images.permute(0, 2, 3, 1).contiguous().numpy()  # (N, H, W, 3)
        self.labels: Sequence[int] = data.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(self.images.shape[1], padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image (3, H, W) in [0, 1] with its label."""
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class PlainLoop:
    """Takes steps as a script of timm's does.

    Args:
        network: images to `Output`, on `device`; it normalises by itself.
        batches: without end, on the CPU or on the device.
        phase: its optimizer.
    """

    def __init__(self, network: nn.Module, batches: Iterator[Batch], phase: Phase, device: torch.device) -> None:
        self.network, self.batches, self.device, self.taken = network.train(), batches, device, 0
        arguments: dict[str, Any] = dict(phase.optimizer)
        self.optimizer = create_optimizer_v2(network, opt=arguments.pop("name"), **arguments)

    def __call__(self) -> None:
        """Take one step."""
        images, labels = next(self.batches)
        images = images.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = F.cross_entropy(self.network(images).logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.taken += 1
        if self.taken % LOOK_EVERY == 0:
            loss.item()


@contextmanager
def any_kernel(*, benchmark: bool = True) -> Iterator[None]:
    """Kernels whose results may change from run to run, as in anybody's loop.

    Args:
        benchmark: whether cudnn takes the one that it finds fastest, as timm's script tells it to.
    """
    cudnn, strict = torch.backends.cudnn, torch.are_deterministic_algorithms_enabled()
    before = (cudnn.benchmark, cudnn.deterministic)
    cudnn.benchmark, cudnn.deterministic = benchmark, False
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
        torch.use_deterministic_algorithms(strict, warn_only=True)


def loaded(data: Images, *, batch: int, workers: int, device: torch.device) -> Iterator[Batch]:
    """Batches from worker processes, epoch after epoch.

    Args:
        data: on the CPU.
    """
    loader = DataLoader(
        Pictures(data),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        timeout=PATIENCE if workers else 0,
    )
    return itertools.chain.from_iterable(itertools.repeat(loader))


def ready(data: Images, *, batch: int, device: torch.device) -> Iterator[Batch]:
    """The same batch again and again, on the device: what is left of the loop without its data."""
    images = data.images[:batch].to(device).to(torch.float32).div_(255)
    return itertools.repeat((images, data.labels[:batch].to(device)))
