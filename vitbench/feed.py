"""How a step gets its images: picked on the device where they all lie, or carried there batch by batch, ahead of time.

Data that is too large for the device stays on the host, often a memory map of a cache. A thread gathers the next batch
while a step is taken; the step reads one tensor that stays where it is, so it can be captured all the same.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import torch
from torch import Tensor

VERSION = 1  # of how augmented images are drawn: raised when a seed gives other ones

Seen = Mapping[str, Tensor]  # of each image (B, ...), what a step sees of it; see `vitbench.views.of`
Augment = Callable[[Tensor], Seen]  # images (B, 3, H, W) uint8 to what is seen of them, drawing as it goes
# Bytes of images that a CPU augments at once, those of the next steps too: of a small batch the calls cost it more than
# the work, see docs/decisions/0015-augmentation-on-a-cpu.md.
AHEAD = 2**22


class Feed(Protocol):
    """Gives each step its images."""

    def begin(self, batches: Tensor) -> None:
        """Get an epoch ready: batches (steps, B), which images each step takes, on the host."""

    def ready(self, at: int) -> None:
        """Have the images of a step where `pick` reads them; called before the step, and outside of a capture."""

    def pick(self, index: Tensor) -> Seen:
        """Of the numbers (B,), on the device: `images` (B, V, 3, H, W) and further views; part of the step."""

    @property
    def at(self) -> int:
        """The step whose images are picked next, where a feed counts them; to be set where one is taken again."""

    @at.setter
    def at(self, step: int) -> None: ...


def of(images: Tensor, batch_size: int, device: torch.device, augment: Augment | None = None) -> Feed:
    """A feed from images (N, 3, H, W) wherever they lie, as they are or augmented."""
    feed = Resident(images) if images.device == device else Carried(images, batch_size, device)
    if augment is None:
        return feed
    steps = AHEAD // (batch_size * images[:1].nbytes)
    if steps > 1 and images.device.type == device.type == "cpu":
        return Ahead(images, augment, steps)
    return Augmented(feed, augment)


class Resident:
    """All images lie on the device."""

    at = 0

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def begin(self, batches: Tensor) -> None:
        """Nothing to get ready."""

    def ready(self, at: int) -> None:
        """They are there."""

    def pick(self, index: Tensor) -> Seen:
        """By number."""
        return _plain(self.images.index_select(0, index))


class Carried:
    """Images on the host; two batches are under way at a time, one being gathered while the other is copied.

    Args:
        images: (N, 3, H, W) on the CPU.
        batch_size: B.
        device: where the steps are taken.
    """

    at = 0

    def __init__(self, images: Tensor, batch_size: int, device: torch.device) -> None:
        self.images = images
        self.there = torch.empty(batch_size, *images.shape[1:], dtype=images.dtype, device=device)
        pinned = device.type == "cuda"
        self.hosts = [torch.empty(self.there.shape, dtype=images.dtype, pin_memory=pinned) for _ in range(2)]
        self.copied: list[Any] = [None, None]  # per host batch, the event after its copy
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="vitbench-feed")
        self.batches = torch.empty(0, batch_size, dtype=torch.int64)
        self.next: tuple[int, Future[None]] | None = None

    def begin(self, batches: Tensor) -> None:
        """Start on the first batch."""
        self.batches = batches
        self.next = (0, self.thread.submit(self._gather, 0))

    def ready(self, at: int) -> None:
        """Copy the batch of a step to the device and start on the one after it."""
        if self.next is None or self.next[0] != at:
            self.next = (at, self.thread.submit(self._gather, at))
        self.next[1].result()
        self.there.copy_(self.hosts[at % 2], non_blocking=True)
        if self.there.device.type == "cuda":
            self.copied[at % 2] = torch.cuda.current_stream(self.there.device).record_event()
        after = at + 1
        self.next = (after, self.thread.submit(self._gather, after)) if after < len(self.batches) else None

    def pick(self, index: Tensor) -> Seen:
        """What `ready` brought; the numbers are those of its batch."""
        return _plain(self.there)

    def _gather(self, at: int) -> None:
        if self.copied[at % 2] is not None:
            self.copied[at % 2].synchronize()  # its last content has left
        torch.index_select(self.images, 0, self.batches[at], out=self.hosts[at % 2])


class Augmented:
    """Each batch augmented as part of its step, which is then the same every time and can be captured."""

    at = 0

    def __init__(self, feed: Feed, augment: Augment) -> None:
        self.feed, self.augment = feed, augment

    def begin(self, batches: Tensor) -> None:
        """As the feed of what is augmented."""
        self.feed.begin(batches)

    def ready(self, at: int) -> None:
        """Likewise."""
        self.feed.ready(at)

    def pick(self, index: Tensor) -> Seen:
        """What it picks, augmented."""
        return self.augment(self.feed.pick(index)["images"].squeeze(1))


class Ahead:
    """Images on a CPU, those of several steps augmented at once.

    Args:
        images: (N, 3, H, W) uint8.
        augment: of the images of so many steps, in their order.
        steps: how many; an epoch's last ones may be fewer.
    """

    def __init__(self, images: Tensor, augment: Augment, steps: int) -> None:
        self.images, self.augment, self.steps = images, augment, steps
        self.batches = torch.empty(0, 0, dtype=torch.int64)
        self.seen: tuple[Seen, ...] = ()
        self.at = 0

    def begin(self, batches: Tensor) -> None:
        """From the first step on."""
        self.batches, self.at = batches, 0

    def ready(self, at: int) -> None:
        """They are made when they are picked."""

    def pick(self, index: Tensor) -> Seen:
        """Those of the step that comes next; the numbers are those of its batch."""
        place = self.at % self.steps
        if place == 0:
            coming = self.batches[self.at : self.at + self.steps]
            seen = self.augment(self.images.index_select(0, coming.flatten()))  # (steps * B, V, 3, H, W)
            parts = {name: one.view(*coming.shape, *one.shape[1:]).unbind() for name, one in seen.items()}
            self.seen = tuple(dict(zip(parts, step, strict=True)) for step in zip(*parts.values(), strict=True))
        self.at = (self.at + 1) % len(self.batches)  # where an epoch's only step is timed, it is taken again
        return self.seen[place]


def _plain(images: Tensor) -> Seen:
    """Images (B, 3, H, W) as they are, one version of each."""
    return {"images": images.unsqueeze(1)}  # (B, 1, 3, H, W)
