"""Jigsaw: cut an image into tiles, put them together in another order, and tell which order it was.

Source: Noroozi and Favaro 2016, arXiv:1603.09246, sections 3 and 4, as a classification of permutations; Coquenet
2023, slides, part 2. The paper gives the tiles one by one to nine networks that share their weights and joins what
comes out in front of the classifier; against solutions that look at seams and colours alone it cuts tiles with random
gaps, normalises each by itself and shifts colours. Here the network sees the tiles put together as one image, seams
and all, so that any model can learn it as it is.
"""

import itertools
import random
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitbench.contracts import Shape, Step
from vitbench.errors import UserError

VERSION = 1
TINY = {"side": 2, "permutations": 24}
MOST_SIDE = 8
MOST_PERMUTATIONS = 10_000
ALL_UP_TO = 9  # tiles; of more there are too many permutations to look at each
CANDIDATES = 50_000


def build(shape: Shape, *, side: int = 3, permutations: int = 64, hidden: int = 0) -> nn.Module:
    """The term `jigsaw`.

    Args:
        shape: of the model; the head reads the embedding.
        side: tiles in a row and in a column, 2 to 8. Rows and columns of pixels that are left over at the lower and
            the right border stay where they are.
        permutations: how many orders there are to tell apart, 2 to 10,000; all of them where there are no more.
        hidden: width of the head's hidden layer, at least 1; 0: the head is linear.

    Raises:
        UserError: if an option is out of its range.
    """
    if type(side) is not int or not 2 <= side <= MOST_SIDE:
        raise UserError(f"jigsaw: side must be a whole number from 2 to {MOST_SIDE}, got {side!r}; try side=3")
    if type(permutations) is not int or not 2 <= permutations <= MOST_PERMUTATIONS:
        raise UserError(
            f"jigsaw: permutations must be a whole number from 2 to {MOST_PERMUTATIONS}, got {permutations!r}; "
            "try permutations=64"
        )
    if type(hidden) is not int or hidden < 0:
        raise UserError(f"jigsaw: hidden must be a whole number from 0 up, got {hidden!r}; try hidden=512")
    return Jigsaw(shape.embedding, side=side, permutations=permutations, hidden=hidden)


@cache
def choose(tiles: int, permutations: int) -> tuple[tuple[int, ...], ...]:
    """So many orders of tiles, all different and far from each other in Hamming distance; always the same ones.

    As in Algorithm 1 of the paper the first is drawn, and then always that one is added that is farthest from those
    there are. The paper goes by the sum of its distances to them, which lets near ones in among far ones; here it is
    the least of its distances, and the sum where several are as far. Of more than 9 tiles it is the farthest of 50,000
    that were drawn.

    Args:
        tiles: of an image.
        permutations: how many; all there are where there are fewer.
    """
    draw = random.Random(0)
    if tiles <= ALL_UP_TO:
        candidates = list(itertools.permutations(range(tiles)))
    else:
        candidates = [tuple(sorted(range(tiles), key=lambda _: draw.random())) for _ in range(CANDIDATES)]
    count = min(permutations, len(candidates))
    orders = np.array(candidates, dtype=np.int8).T.copy()  # (tiles, candidates), the fast way round
    least, total = np.full(len(candidates), tiles), np.zeros(len(candidates), dtype=np.int64)
    chosen = [int(draw.random() * len(candidates))]
    while len(chosen) < count:
        distances = (orders != orders[:, chosen[-1:]]).sum(axis=0)  # to the last one
        least, total = np.minimum(least, distances), total + distances
        # One that was chosen is at distance 0 of itself, and so never the farthest again.
        chosen.append(int((least * (tiles * count) + total).argmax()))
    return tuple(candidates[at] for at in chosen)


def shuffle(images: Tensor, orders: Tensor, *, side: int) -> Tensor:
    """Images (B, C, H, W) with their tiles in another order.

    Args:
        images: at least `side` pixels high and wide.
        orders: (B, side * side) int64; the tile at place i, row by row, is the image's tile `orders[:, i]`.
        side: tiles in a row and in a column.

    Raises:
        UserError: if the images are too small to be cut.
    """
    height, width = images.shape[-2:]
    rows, columns = height // side, width // side
    if not rows or not columns:
        raise UserError(
            f"jigsaw: images of {height} x {width} cannot be cut into {side} x {side} tiles; give a smaller side"
        )
    inner = images[..., : side * rows, : side * columns]
    tiles = inner.unflatten(3, (side, columns)).unflatten(2, (side, rows))  # (B, C, side, rows, side, columns)
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, side * side, C, rows, columns)
    image = torch.arange(len(images), device=images.device).unsqueeze(1)  # (B, 1)
    moved = tiles[image, orders].unflatten(1, (side, side)).permute(0, 3, 1, 4, 2, 5)
    shuffled = images.clone()
    shuffled[..., : side * rows, : side * columns] = moved.flatten(4).flatten(
        2, 3
    )  # (B, C, side * rows, side * columns)
    return shuffled


class Jigsaw(nn.Module):
    """A classifier of the order that the tiles of an image are in, and its cross-entropy.

    Args:
        embedding: D of the embedding.
        side, permutations, hidden: see `build`.
    """

    orders: Tensor

    def __init__(self, embedding: int, *, side: int, permutations: int, hidden: int) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("orders", torch.tensor(choose(side * side, permutations)), persistent=False)
        count = len(self.orders)  # as many as were asked for, or all there are
        if hidden:
            self.head: nn.Module = nn.Sequential(nn.Linear(embedding, hidden), nn.ReLU(), nn.Linear(hidden, count))
        else:
            self.head = nn.Linear(embedding, count)

    def forward(self, step: Step) -> Tensor:
        """Scalar loss of one batch, in nats, of `step.images` in orders that are drawn uniformly for each of them.

        The network runs once more, on these; a batch norm's running averages are then of both. The other terms still
        see the images as they were.
        """
        images = step.images
        drawn = torch.randint(len(self.orders), (len(images),), device=images.device, generator=step.generator)  # (B,)
        logits = self.head(step.forward(shuffle(images, self.orders[drawn], side=self.side)).embedding)
        # The model may compute in bfloat16, in which a loss has two or three digits.
        wide = torch.promote_types(logits.dtype, torch.float32)
        return F.cross_entropy(logits.to(wide), drawn)
