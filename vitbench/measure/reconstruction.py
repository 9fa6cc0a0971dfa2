"""How well masked patches are restored, against predicting one mean patch for all, and pictures of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from vitbench.contracts import Encoder, Images
from vitbench.errors import NonFinite
from vitbench.measure.accuracy import batches, evaluating

VERSION = 1

GREY = 128  # of masked patches in pictures


class Restorer(Protocol):
    """What a term offers that restores masked patches; see `vitbench.terms.mae`."""

    def targets(self, patches: Tensor) -> Tensor:
        """What patches (B, N, 3 * P * P), normalised, are restored as, in the units of the errors."""

    def restore(
        self, model: nn.Module, images: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Restored images (B, 3, H, W) in [0, 1]; which patches were masked, bool (B, N); each one's error (B, N)."""


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """How the images of a split were restored.

    Attributes:
        mse: mean squared error on the masked patches alone, in normalised pixel units: in [-1, 1] for a model that
            spreads its pixels over it, of each patch's deviation where the term normalises patches.
        mean_patch_mse: what predicting the mean patch for each of them gives.
        original, masked, restored: some of the images, (n, 3, H, W) uint8: as the network gets them, with masked
            patches grey, and as the decoder gives them, visible patches too.
    """

    mse: float
    mean_patch_mse: float
    original: Tensor
    masked: Tensor
    restored: Tensor


def mean_patch(model: nn.Module, term: nn.Module, train: Images, *, batch_size: int | None = None) -> Tensor:
    """The mean (3 * P * P,) of all patches of the training images, float64, on the model's device.

    It is one patch for all places, the best of all answers that depend on nothing; a mean for each place would know
    where it is.

    Args:
        model: an `Encoder`.
        term: a `Restorer`.
        train: N images.
        batch_size: images at once; None: as `batches` has it.

    Raises:
        UserError: if there are no images.
    """
    restorer = cast(Restorer, term)
    with _both_evaluating(model, term):
        parts = [
            restorer.targets(cast(Encoder, model).patches(images)).double().mean(dim=1).sum(dim=0)
            for images, _ in batches(model, train, batch_size=batch_size)
        ]  # (3 * P * P,) each
    return torch.stack(parts).sum(dim=0) / len(train)


def reconstruct(
    model: nn.Module,
    term: nn.Module,
    test: Images,
    *,
    mean: Tensor,
    generator: torch.Generator | None = None,
    shown: int = 8,
    batch_size: int | None = None,
) -> Reconstruction:
    """Restore every image once, in evaluation mode and without gradients.

    Args:
        model: an `Encoder`; afterwards in the mode that it was in, as is the term.
        term: a `Restorer`.
        test: N images.
        mean: what `mean_patch` gave for the training images.
        generator: of the masks, on any device; the same masks from the same state, whatever the batch size.
        shown: how many images are kept for pictures: the first ones of the split.
        batch_size: images at once; None: as `batches` has it.

    Raises:
        NonFinite: if an error is NaN or infinite.
        UserError: if there are no images.

    Source: the pictures, Figures 4 and 5 of Tan 2024, arXiv:2402.03752.
    """
    restorer, encoder = cast(Restorer, term), cast(Encoder, model)
    errors, plain, hidden = [], [], []
    pictures: list[tuple[Tensor, ...]] = []
    with _both_evaluating(model, term):
        for images, _ in batches(model, test, batch_size=batch_size):
            restored, masked, error = restorer.restore(model, images, generator)
            target = restorer.targets(encoder.patches(images)).double()
            hidden.append(masked)
            errors.append(error.double())
            plain.append((target - mean).square().mean(dim=-1))
            some = slice(max(0, shown - sum(len(one[0]) for one in pictures)))
            pictures.append(_triplet(images[some], masked[some], restored[some], encoder.patch_size))
    masks = torch.cat(hidden)  # (N, patches)
    mse, mean_patch_mse = (float(torch.cat(one)[masks].mean()) for one in (errors, plain))
    if not torch.isfinite(torch.tensor(mse)):
        raise NonFinite(f"the mean squared error of the restored patches is {mse}")
    names = ("original", "masked", "restored")
    kept = {name: torch.cat(parts) for name, parts in zip(names, zip(*pictures, strict=True), strict=True)}
    return Reconstruction(mse=mse, mean_patch_mse=mean_patch_mse, **kept)


@contextmanager
def _both_evaluating(model: nn.Module, term: nn.Module) -> Iterator[None]:
    with evaluating(model), evaluating(term), torch.no_grad():
        yield


def _triplet(images: Tensor, masked: Tensor, restored: Tensor, patch_size: int) -> tuple[Tensor, ...]:
    """Pictures (n, 3, H, W), uint8 on the CPU, of images (n, 3, H, W) in [0, 1] and masks (n, N)."""
    original, answer = (one.mul(255).round().to(torch.uint8).cpu() for one in (images, restored))
    cells = [side // patch_size for side in images.shape[2:]]
    grid = masked.view(len(images), 1, *cells)  # (n, 1, h, w)
    pixels = grid.repeat_interleave(patch_size, dim=2).repeat_interleave(patch_size, dim=3)  # (n, 1, H, W)
    return original, original.masked_fill(pixels.cpu(), GREY), answer
