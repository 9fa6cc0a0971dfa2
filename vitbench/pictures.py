"""Pictures of a pre-training: those in a run's folder, and those kept beside the baselines.

In a run's folder `pictures/epoch-0020.safetensors` holds `original`, `masked` and `restored`, each uint8 (n, 3, H, W).
Kept, `recorded/<machine>/pictures/<paper>/<key>_epoch-0020.png`, the same pixels are three rows of a picture that
anybody can look at, each n square images beside each other.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitbench.atomic import write_atomically
from vitbench.curves import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.uint8]

FOLDER = "pictures"
KINDS = ("original", "masked", "restored")
MOST = 8  # images kept, which is as many as a figure shows


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Some test images at one epoch.

    Attributes:
        original, masked, restored: uint8 (n, 3, H, H); what the network was to see, what it saw, what it made of it.
    """

    original: "Array"
    masked: "Array"
    restored: "Array"

    def __post_init__(self) -> None:
        first = self.original
        for kind in KINDS:
            images = getattr(self, kind)
            form = f"{images.dtype} {images.shape}"
            if images.dtype != "uint8" or images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
                raise ValueError(f"{kind}: expected uint8 (n, 3, H, W), got {form}")
            if images.shape != first.shape or images.shape[2] != images.shape[3]:
                raise ValueError(f"{kind}: expected square images, as many and as large as the others, got {form}")

    def few(self, most: int = MOST) -> "Pictures":
        """The first of the images."""
        return Pictures(**{kind: getattr(self, kind)[:most] for kind in KINDS})

    def sheet(self) -> "Array":
        """The images as one: (3 H, n H, 3), a row for each of `KINDS`."""
        import numpy as np

        rows = [np.concatenate(list(getattr(self, kind)), axis=2) for kind in KINDS]  # (3, H, n H) each
        return np.concatenate(rows, axis=1).transpose(1, 2, 0)


def of_sheet(sheet: "Array") -> Pictures:
    """What `Pictures.sheet` was made of.

    Raises:
        ValueError: if it is no such sheet.
    """
    side = sheet.shape[0] // 3
    if sheet.ndim != 3 or sheet.shape[2] != 3 or side == 0 or sheet.shape[0] % 3 or sheet.shape[1] % side:
        raise ValueError(f"expected three rows of square images in colour, got {sheet.shape}")
    rows = sheet.reshape(3, side, -1, side, 3).transpose(0, 2, 4, 1, 3)  # (3, n, 3, H, H)
    return Pictures(**dict(zip(KINDS, rows, strict=True)))


def of_run(folder: Path) -> tuple[dict[int, Pictures], list[str]]:
    """Per epoch, the pictures of a run, and one line for each file that cannot be used.

    Args:
        folder: of the run.
    """
    return _by_epoch((folder / FOLDER).glob("*.safetensors"), r"epoch-(\d+)\.safetensors")


def load_all(folder: Path) -> tuple[dict[Run, dict[int, Pictures]], list[str]]:
    """Per run and epoch, all pictures that are kept, and one line for each file that cannot be used.

    Args:
        folder: of the baselines, `recorded`.
    """
    found: dict[Run, dict[int, Pictures]] = {}
    problems: list[str] = []
    by_run: dict[Run, list[Path]] = {}
    for path in folder.glob(f"*/{FOLDER}/*/*.png"):
        by_run.setdefault((path.parts[-4], path.name.partition("_")[0]), []).append(path)
    for run, paths in sorted(by_run.items()):
        pictures, lines = _by_epoch(paths, r"[0-9a-f]{12}_epoch-(\d+)\.png")
        found |= {run: pictures} if pictures else {}
        problems += lines
    return found, problems


def _by_epoch(paths: Iterable[Path], pattern: str) -> tuple[dict[int, Pictures], list[str]]:
    found: dict[int, Pictures] = {}
    problems: list[str] = []
    for path in sorted(paths):
        try:
            name = re.fullmatch(pattern, path.name)
            if name is None:
                raise ValueError(f"expected a name such as epoch-0020{path.suffix}")
            pictures = read(path)
            for epoch, first in list(found.items())[:1]:
                if first.original.tobytes() != pictures.original.tobytes():
                    raise ValueError(f"its images are not those of epoch {epoch}")
            found[int(name[1])] = pictures
        except (OSError, ValueError) as error:
            problems.append(f"{path}: left out, {error}")
    return found, problems


def read(path: Path) -> Pictures:
    """The pictures of one epoch, from either kind of file.

    Raises:
        OSError: if the file cannot be read.
        ValueError: saying in one line what is wrong with it.
    """
    if path.suffix == ".png":
        return of_sheet(_read_png(path))
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = load(path.read_bytes())
    except (SafetensorError, KeyError, TypeError) as error:  # numpy knows not every type that a tensor may have
        raise ValueError(f"it is torn, or no tensors that can be read ({error})") from None
    if sorted(content) != sorted(KINDS):
        raise ValueError(f"expected {', '.join(KINDS)}, got {', '.join(sorted(content)) or 'nothing'}")
    return Pictures(**content)


def _read_png(path: Path) -> "Array":
    import numpy as np
    from PIL import Image

    try:
        with Image.open(path, formats=["png"]) as image:
            return np.asarray(image.convert("RGB"))
    except (SyntaxError, Image.DecompressionBombError) as error:  # what Pillow makes of a damaged file
        raise ValueError(str(error)) from None


def write(path: Path, pictures: Pictures) -> None:
    """Write pictures as a sheet, without loss."""
    from PIL import Image

    with write_atomically(path) as temporary:
        Image.fromarray(pictures.sheet()).save(temporary, format="png", optimize=True)


def save(
    folder: Path, machine: str, paper: str, new: Mapping[str, Mapping[int, Pictures]], *, of: Iterable[str]
) -> list[Path]:
    """Keep pictures beside the baselines of a machine and paper; returns the files that were written.

    Args:
        folder: of the baselines, `recorded`.
        new: by the first 12 digits of the keys, per epoch; those that were kept of these runs go.
        of: keys that the baselines name; pictures of others are of runs that were replaced, and go.
    """
    place, known, written = folder / machine / FOLDER / paper, set(of), []
    for key in sorted(new.keys() & known):
        for epoch, pictures in sorted(new[key].items()):
            written.append(place / f"{key}_epoch-{epoch:04d}.png")
            write(written[-1], pictures.few())
    for path in place.glob("*_epoch-*.png"):
        key = path.name.partition("_")[0]
        if path not in written and (key in new or key not in known):
            path.unlink()
    return written
