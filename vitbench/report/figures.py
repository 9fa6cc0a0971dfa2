"""Pictures of a report, as PNG whose pixels are those of the images.

Put together by Pillow, with its own font: the same content makes the same bytes on every machine that has its version,
which stands in the file.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitbench.pictures import KINDS, Pictures

if TYPE_CHECKING:
    from PIL.Image import Image

    from vitbench.pictures import Array

MOST_ROWS = 5  # epochs of an evolution
SIDE, GAP = 96, 4  # pixels: about what an image is enlarged to, and between images
SIZE = 14  # of letters, in pixels


@dataclass(kw_only=True)
class Picture:
    """Images on white, beside and below each other, with names.

    Args:
        own: H and W in pixels of the images.
        left, top: margins in pixels.

    Attributes:
        images: enlarged, (H, W, 3), each with its upper left corner.
        texts: each with its place, and with what of it stands there, as Pillow names it.
    """

    own: int
    left: int
    top: int
    images: list[tuple["Array", int, int]] = field(default_factory=list)
    texts: list[tuple[str, int, int, str]] = field(default_factory=list)

    @property
    def scale(self) -> int:
        """What an image is enlarged by: its pixels become squares of so many, so what is seen is what there was."""
        return max(1, SIDE // self.own)

    @property
    def side(self) -> int:
        """Of an enlarged image, in pixels."""
        return self.scale * self.own

    @property
    def step(self) -> int:
        """From an image to the next."""
        return self.side + GAP

    def put(self, image: "Array", x: int, y: int) -> None:
        """Place (3, H, W) with its upper left corner there, in pixels from the margins."""
        large = image.repeat(self.scale, axis=1).repeat(self.scale, axis=2)
        self.images.append((large.transpose(1, 2, 0), self.left + x, self.top + y))

    def write(self, text: str, x: int, y: int, *, anchor: str) -> None:
        """Place a text, likewise.

        Args:
            anchor: of the text, such as "rm": its right end, at half its height.
        """
        self.texts.append((text, self.left + x, self.top + y, anchor))

    def drawn(self) -> "Image":
        """As large as what was placed."""
        from PIL import Image, ImageDraw, ImageFont

        width = max(x for _, x, _ in self.images) + self.side + GAP
        height = max(y for _, _, y in self.images) + self.side + GAP
        page = Image.new("RGB", (width, height), "white")
        for image, x, y in self.images:
            page.paste(Image.fromarray(image), (x, y))
        pen, font = ImageDraw.Draw(page), ImageFont.load_default(SIZE)
        for text, x, y, anchor in self.texts:
            pen.text((x, y), text, fill="black", font=font, anchor=anchor)
        return page

    def content(self) -> bytes:
        """As a file."""
        from PIL import __version__
        from PIL.PngImagePlugin import PngInfo

        file, made_by = io.BytesIO(), PngInfo()
        made_by.add_text("Software", f"Pillow {__version__}")
        self.drawn().save(file, format="png", pnginfo=made_by)
        return file.getvalue()


def triplets(pictures: Pictures) -> Picture:
    """Each image as it was, as the network saw it and as it was restored; two triplets a row."""
    picture = Picture(own=pictures.original.shape[-1], left=GAP, top=22)
    wide = 3 * picture.step + 3 * GAP
    columns = min(2, len(pictures.original))
    for number in range(len(pictures.original)):
        row, column = divmod(number, columns)
        for place, kind in enumerate(KINDS):
            x = column * wide + place * picture.step
            picture.put(getattr(pictures, kind)[number], x, row * picture.step)
            if row == 0:
                picture.write(kind, x + picture.side // 2, -7, anchor="ms")
    return picture


def evolution(by_epoch: Mapping[int, Pictures]) -> Picture:
    """How the same images were restored after some of the epochs: a row each, below the originals.

    What the network saw stands above them, once if it was the same at all epochs, else above each.
    """
    epochs = _spread(sorted(by_epoch))
    last = by_epoch[epochs[-1]].few(6)
    picture = Picture(own=last.original.shape[-1], left=90, top=GAP)
    rows: list[tuple[str, Array]] = [("original", last.original)]
    for epoch in epochs:
        now = by_epoch[epoch].few(6)
        if epoch == epochs[0] or (now.masked != by_epoch[epochs[0]].few(6).masked).any():
            rows.append(("masked", now.masked))
        rows.append((f"epoch {epoch}", now.restored))
    for row, (label, images) in enumerate(rows):
        for column, image in enumerate(images):
            picture.put(image, column * picture.step, row * picture.step)
        picture.write(label, -8, row * picture.step + picture.side // 2, anchor="rm")
    return picture


def _spread(epochs: Sequence[int]) -> list[int]:
    """At most `MOST_ROWS` of them, evenly spread, the first and the last among them."""
    most = min(len(epochs), MOST_ROWS)
    return [epochs[round(number * (len(epochs) - 1) / max(1, most - 1))] for number in range(most)]
