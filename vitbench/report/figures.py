"""Pictures of a report, as PNG whose pixels are those of the images.

The one module that needs matplotlib. It keeps no state of pyplot, reads no settings of the user's, and makes the same
bytes of the same content, so that a file changes only where what it shows does.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from vitbench.pictures import KINDS, Pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vitbench.pictures import Array

Drawn: TypeAlias = "Figure"
P = ParamSpec("P")
T = TypeVar("T")

STYLE = {
    "text.parse_math": False,  # a dollar sign in a name is one
    "font.size": 9,
}
DPI = 100
MOST_ROWS = 5  # epochs of an evolution
SIDE, GAP = 96, 4  # pixels: about what an image is enlarged to, and between images


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Draw in our style, whatever the user's is."""

    @wraps(draw)
    def within(*arguments: P.args, **options: P.kwargs) -> T:
        from matplotlib import style

        with style.context(["default", STYLE]):
            return draw(*arguments, **options)

    return within


@styled
def encoded(figure: "Figure") -> bytes:
    """A figure as the content of a file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, pil_kwargs={"optimize": True})
    return file.getvalue()


@styled
def triplets(pictures: Pictures) -> "Figure":
    """Each image as it was, as the network saw it and as it was restored; two triplets a row.

    An image's pixels become squares of whole pixels, so what is seen is what there was.
    """
    canvas = _Canvas(pictures, left=GAP, top=22)
    wide = 3 * canvas.step + 3 * GAP
    columns = min(2, len(pictures.original))
    for number in range(len(pictures.original)):
        row, column = divmod(number, columns)
        for place, kind in enumerate(KINDS):
            x = column * wide + place * canvas.step
            canvas.put(getattr(pictures, kind)[number], x, row * canvas.step)
            if row == 0:
                canvas.write(kind, x + canvas.side / 2, -6, ha="center", va="bottom")
    return canvas.figure()


@styled
def evolution(by_epoch: Mapping[int, Pictures]) -> "Figure":
    """How the same images were restored after some of the epochs: a row each, below the originals.

    What the network saw stands above them, once if it was the same at all epochs, else above each.
    """
    epochs = _spread(sorted(by_epoch))
    last = by_epoch[epochs[-1]].few(6)
    canvas = _Canvas(last, left=74, top=GAP)
    rows: list[tuple[str, Array]] = [("original", last.original)]
    for epoch in epochs:
        now = by_epoch[epoch].few(6)
        if epoch == epochs[0] or (now.masked != by_epoch[epochs[0]].few(6).masked).any():
            rows.append(("masked", now.masked))
        rows.append((f"epoch {epoch}", now.restored))
    for row, (label, images) in enumerate(rows):
        for column, image in enumerate(images):
            canvas.put(image, column * canvas.step, row * canvas.step)
        canvas.write(label, -6, row * canvas.step + canvas.side / 2, ha="right", va="center")
    return canvas.figure()


def _spread(epochs: Sequence[int]) -> list[int]:
    """At most `MOST_ROWS` of them, evenly spread, the first and the last among them."""
    most = min(len(epochs), MOST_ROWS)
    return [epochs[round(number * (len(epochs) - 1) / max(1, most - 1))] for number in range(most)]


class _Canvas:
    """A figure that images are put on, pixel by pixel.

    Args:
        pictures: of the images' size.
        left, top: margins in pixels.

    Attributes:
        side: of an enlarged image, in pixels; a whole multiple of its own.
        step: from an image to the next.
    """

    def __init__(self, pictures: Pictures, *, left: int, top: int) -> None:
        own = pictures.original.shape[-1]
        self.scale = max(1, SIDE // own)
        self.side = self.scale * own
        self.step = self.side + GAP
        self.left, self.top = left, top
        self.images: list[tuple[Array, int, int]] = []
        self.texts: list[tuple[str, float, float, dict[str, Any]]] = []

    def put(self, image: "Array", x: int, y: int) -> None:
        """Place (3, H, W) with its upper left corner there, in pixels from the margins."""
        large = image.repeat(self.scale, axis=1).repeat(self.scale, axis=2)
        self.images.append((large.transpose(1, 2, 0), self.left + x, self.top + y))

    def write(self, text: str, x: float, y: float, **options: Any) -> None:
        """Place a text, likewise."""
        self.texts.append((text, self.left + x, self.top + y, options))

    def figure(self) -> "Figure":
        """As large as what was placed."""
        from matplotlib.figure import Figure

        width = max(x for _, x, _ in self.images) + self.side + GAP
        height = max(y for _, _, y in self.images) + self.side + GAP
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        for image, x, y in self.images:
            figure.figimage(image, x, height - y - self.side, origin="upper")
        for text, across, down, options in self.texts:
            figure.text(across / width, 1 - down / height, text, **options)
        return figure
