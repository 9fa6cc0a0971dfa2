"""What it takes to decode photographs into the cache, and to read them from it, over what cannot be avoided.

Making is compared with opening and resizing the same files by Pillow alone, on as many threads; reading with the bare
bytes. Without a folder the pictures are made first: 500 x 375 as ImageNet's are in the median, JPEG.

    python benchmarks/perf/photographs.py [FOLDER]   about half a minute; exits with 1 when making takes twice the floor

FOLDER has train/<class>/* and val/<class>/*; nothing is written to it.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from vitbench import folders, mapped
from vitbench.photographs import Photographs, split

SIZE, PICTURES, ROUNDS, GOAL = 256, 400, 3, 2.0


def pictures(root: Path) -> Path:
    """A folder of smooth noise, which compresses about as photographs do."""
    rng = np.random.default_rng(0)
    for half in ("train", "val"):
        for number in range(PICTURES // 2):
            coarse = Image.fromarray(rng.integers(0, 256, (40, 54, 3), dtype=np.uint8))
            path = root / half / f"class{number % 2}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            coarse.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=92)
    return root


def seconds(what: Callable[[], object]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def resized(path: Path) -> None:
    """The floor: decode and resize, and do nothing with the pixels."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    scale = SIZE / min(rgb.size)
    rgb.resize((int(rgb.width * scale), int(rgb.height * scale)), Image.Resampling.BICUBIC)


def floor(base: Path, names: list[str]) -> None:
    with ThreadPoolExecutor(mapped.threads()) as pool:
        list(pool.map(lambda name: resized(base / name), names))


def measure(base: Path, root: Path) -> tuple[float, float, float, float]:
    """Seconds to resize, to make the cache, to read its bytes, to read it as a run does."""
    found = folders.read(base, dataset="imagefolder")
    one = Photographs(
        dataset="imagefolder", base=base, root=root, train=found.train, test=found.test, classes=found.classes
    )
    names = [name for name, _ in (*found.train, *found.test)]
    resizing, making = seconds(lambda: floor(base, names)), seconds(lambda: split(one, SIZE))
    files = [half.folder / "pixels" for half in one.halves(SIZE)]
    bare, reading = seconds(lambda: [file.read_bytes() for file in files]), seconds(lambda: split(one, SIZE))
    return resizing, making, bare, reading


def main() -> int:
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(sys.argv[1]) if len(sys.argv) > 1 else pictures(Path(name) / "pictures")
        for number in range(ROUNDS):
            rounds.append(measure(base, Path(name) / str(number)))
    resizing, making, bare, reading = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(one[1] / one[0] for one in rounds)
    print(f"decoding and resizing {resizing:.2f} s, making the cache {making:.2f} s: {ratio:.2f} times")
    print(f"reading its bytes {bare:.2f} s, reading and checking it {reading:.2f} s: {reading / bare:.1f} times")
    return int(ratio > GOAL)


if __name__ == "__main__":
    sys.exit(main())
