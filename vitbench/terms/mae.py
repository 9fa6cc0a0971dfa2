"""Masked autoencoding: hide most patches of an image, and restore their pixels from the others.

Source: Tan 2024, arXiv:2402.03752, section 2, Equation 1, and Table 1, after He et al. 2021, arXiv:2111.06377.
The defaults are those of Tan 2024, whose decoder has no layer in front that narrows what it is given; it is made of
torch's own layers, as their ReLU, biases and dropout are. What the paper leaves open is done as by He et al.: blocks
that normalise first, one random order of the patches for each image. Their own loss is
`mae(discount=0.0, dropout=0.0)`, with `norm_pix=True` for their best accuracies.
"""

from decimal import Decimal
from typing import cast

import torch
from torch import Tensor, nn

from vitbench.contracts import Encoder, Shape, Step
from vitbench.errors import UserError

VERSION = 1
# As for the tiny networks, some 1000 steps are too few to learn from .02 where a token is.
TINY = {"depth": 1, "heads": 1, "dropout": 0.0, "position_std": 0.5}
SMALLEST_VARIANCE = 1e-6  # of a patch, as in the code of He et al.


def build(
    shape: Shape,
    *,
    ratio: float = 0.75,
    discount: float = 0.1,
    norm_pix: bool = False,
    depth: int = 4,
    heads: int = 3,
    mlp_ratio: int = 2,
    dropout: float = 0.1,
    position_std: float = 0.02,
) -> nn.Module:
    """The term `mae`.

    Args:
        shape: of the model, which must be a `contracts.Encoder`; the decoder is as wide as its tokens.
        ratio: share of the patches that is masked, in (0, 1); at least one patch must stay.
        discount: what the error on the visible patches is multiplied by, from 0 up: alpha of Equation 1.
        norm_pix: whether a patch is restored less its mean and over its standard deviation.
        depth: transformer blocks of the decoder, at least 1.
        heads: attention heads of each block, at least 1; must divide `shape.token_width`.
        mlp_ratio: hidden width of each block's MLP, in units of `shape.token_width`, at least 1.
        dropout: of each block, in [0, 1); drawn by torch, which takes no generator for it.
        position_std: spread of the decoder's positions at the start, above 0.

    Raises:
        UserError: if an option is out of its range, or the model cannot look at some of its patches.
    """
    if not shape.patch_size:
        raise UserError(
            "mae: expected a model that encodes some of its patches alone, as contracts.Encoder says, got one that "
            "does not; take one that does, such as mae_vit or vit"
        )
    if type(ratio) is not float or not 0 < ratio < 1:
        raise UserError(f"mae: ratio must be a number between 0 and 1, got {ratio!r}; try ratio=0.75")
    if type(discount) not in (int, float) or not 0 <= discount < float("inf"):
        raise UserError(f"mae: discount must be a number from 0 up, got {discount!r}; try discount=0.1")
    if type(norm_pix) is not bool:
        raise UserError(f"mae: norm_pix must be True or False, got {norm_pix!r}; try norm_pix=True")
    for option, value in (("depth", depth), ("heads", heads), ("mlp_ratio", mlp_ratio)):
        if type(value) is not int or value < 1:
            raise UserError(f"mae: {option} must be a whole number from 1 up, got {value!r}; try {option}=3")
    if type(dropout) not in (int, float) or not 0 <= dropout < 1:
        raise UserError(f"mae: dropout must be a number from 0 up and below 1, got {dropout!r}; try dropout=0.1")
    if type(position_std) is not float or not 0 < position_std < float("inf"):
        raise UserError(f"mae: position_std must be a number above 0, got {position_std!r}; try position_std=0.02")
    if shape.token_width % heads:
        right = ", ".join(str(n) for n in range(1, 17) if shape.token_width % n == 0)
        raise UserError(f"mae: {heads} heads do not divide {shape.token_width} channels; give heads one of {right}")
    sizes = {"depth": depth, "heads": heads, "mlp_ratio": mlp_ratio}
    decoder = Decoder(shape, **sizes, dropout=dropout, position_std=position_std)
    return MaskedAutoencoder(shape, decoder, ratio=ratio, discount=discount, norm_pix=norm_pix)


def count_kept(patches: int, *, ratio: float) -> int:
    """Patches that stay visible: patches x (1 - ratio), rounded down.

    Decimal, because 0.9 of 100 patches masked leaves 10, and in binary 100 * (1 - 0.9) is 9.999...

    Raises:
        UserError: if none would stay, or all of them.
    """
    kept = int(patches * (1 - Decimal(str(ratio))))
    if kept == 0:
        raise UserError(f"mae: ratio={ratio} leaves none of the {patches} patches; give a smaller ratio")
    if kept == patches:
        raise UserError(f"mae: ratio={ratio} masks none of the {patches} patches; give a larger ratio")
    return kept


def draw_kept(
    images: int, patches: int, *, kept: int, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Numbers (images, kept) of the patches that stay visible: uniform, without replacement, for each image anew.

    They are drawn where the generator is, so that one on the CPU draws the same for every device.
    """
    source = device if generator is None else generator.device
    noise = torch.rand(images, patches, dtype=torch.float32, device=source, generator=generator)
    return noise.argsort(dim=1)[:, :kept].to(device)


class Decoder(nn.Module):
    """A transformer from the tokens of the visible patches to the pixels of all.

    Args:
        shape: of the model.
        depth, heads, mlp_ratio, dropout, position_std: see `build`.
    """

    def __init__(
        self, shape: Shape, *, depth: int, heads: int, mlp_ratio: int, dropout: float, position_std: float
    ) -> None:
        super().__init__()
        width, self.patches = shape.token_width, shape.height * shape.width
        tokens = self.patches + shape.extra_tokens
        self.mask_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, tokens, width), std=position_std))
        blocks = (
            nn.TransformerEncoderLayer(
                width, heads, mlp_ratio * width, dropout=dropout, batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * shape.patch_size**2, bias=False)

    def forward(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """Pixels (B, N, 3 * P * P) of all patches from the tokens (B, V + extra, D) of those `kept` (B, V)."""
        visible, extra = tokens.split([kept.shape[1], tokens.shape[1] - kept.shape[1]], dim=1)
        image = torch.arange(len(kept), device=kept.device).unsqueeze(1)  # (B, 1)
        hidden = self.mask_token.to(tokens.dtype).expand(len(kept), self.patches, -1)  # (B, N, D)
        # By whole rows: a scatter has an index for each number, which deterministic kernels would sort.
        padded = hidden.index_put((image, kept), visible)
        sequence = torch.cat((padded, extra), dim=1) + self.positions  # (B, N + extra, D)
        return self.head(self.norm(self.blocks(sequence)[:, : self.patches]))  # (B, N, 3 * P * P)


class MaskedAutoencoder(nn.Module):
    """Masks, what a decoder makes of the visible patches, and its squared error.

    Args:
        shape: of the model.
        decoder: tokens and the numbers of their patches to the pixels of all patches.
        ratio, discount, norm_pix: see `build`.
    """

    def __init__(self, shape: Shape, decoder: nn.Module, *, ratio: float, discount: float, norm_pix: bool) -> None:
        super().__init__()
        self.grid, self.patch_size = (shape.height, shape.width), shape.patch_size
        self.kept = count_kept(shape.height * shape.width, ratio=ratio)
        self.discount, self.norm_pix = discount, norm_pix
        self.decoder = decoder

    def forward(self, step: Step) -> Tensor:
        """Scalar loss of one batch, of `step.images` and the encoder in `step.model` only. Equation 1.

        The mean squared error of the masked patches and that of the visible ones, each over its own pixels, both in
        the units that the network gets its pixels in.
        """
        predicted, masked = self.predict(step.model, step.images, step.generator)
        errors = self.errors(predicted, cast(Encoder, step.model).patches(step.images))  # (B, N)
        hidden = (errors * masked).sum() / (len(errors) * (errors.shape[1] - self.kept))
        visible = (errors * ~masked).sum() / (len(errors) * self.kept)
        return hidden + self.discount * visible

    def predict(self, model: nn.Module, images: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """What is restored (B, N, 3 * P * P), of visible patches too, and which patches were masked, bool (B, N)."""
        height, width = self.grid
        kept = draw_kept(
            len(images), height * width, kept=self.kept, device=images.device, generator=generator
        )  # (B, V)
        predicted = self.decoder(cast(Encoder, model).encode(images, kept), kept)
        return predicted, torch.ones_like(predicted[..., 0], dtype=torch.bool).scatter(1, kept, False)

    def targets(self, patches: Tensor) -> Tensor:
        """What patches (B, N, 3 * P * P) are restored as: themselves, or normalised one by one."""
        if not self.norm_pix:
            return patches
        mean, deviation = _statistics(patches)
        return (patches - mean) / deviation

    def errors(self, predicted: Tensor, patches: Tensor) -> Tensor:
        """Mean squared error of each patch, (B, N)."""
        # The model may compute in bfloat16, which has too few digits for a mean of squares.
        wide = torch.promote_types(predicted.dtype, torch.float32)
        return (predicted.to(wide) - self.targets(patches.to(wide))).square().mean(dim=-1)

    def no_weight_decay(self) -> set[str]:
        """The positions, as those of the encoder; those of He et al. are fixed."""
        return {"positions"}

    def restore(
        self, model: nn.Module, images: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images as the decoder gives them, for looking at and for measuring.

        Args:
            model: the encoder.
            images: (B, 3, H, W) in [0, 1].
            generator: of the masks, on any device.

        Returns:
            Images (B, 3, H, W) in [0, 1], visible patches restored as well; which patches were masked, bool (B, N);
            the mean squared error of each patch (B, N), in the units of the loss. With `norm_pix` the images, but not
            the errors, are helped by the mean and the deviation of the true patch, as the pictures of He et al. are.
        """
        encoder = cast(Encoder, model)
        predicted, masked = self.predict(model, images, generator)
        patches = encoder.patches(images)
        errors = self.errors(predicted, patches)
        if self.norm_pix:
            mean, deviation = _statistics(patches)
            predicted = predicted * deviation + mean
        # What the network gets is linear in the pixels, so black and white say how to go back.
        black, white = (encoder.patches(torch.full_like(images[:1], value)) for value in (0.0, 1.0))
        pixels = ((predicted - black) / (white - black)).clamp(0, 1)  # (B, N, 3 * P * P)
        size = self.patch_size
        tiles = pixels.unflatten(2, (size, size, 3)).unflatten(1, self.grid)  # (B, h, w, P, P, 3)
        return tiles.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3), masked, errors


def _statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each patch, (B, N, 1), as the code of He et al. takes them."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + SMALLEST_VARIANCE).sqrt()
