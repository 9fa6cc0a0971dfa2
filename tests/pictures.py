"""Small pictures in files, and what torchvision makes of them."""

import numpy as np
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize


def write(path, *, size=(12, 10), mode="RGB", seed=0, **options):
    """A picture of noise, (width, height), in the format of the file's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path, **options)
    return path


def reference(path, size):
    """(3, S, S) by torchvision's own classes."""
    transform = Compose([Resize(size, InterpolationMode.BICUBIC, antialias=True), CenterCrop(size)])
    with Image.open(path) as image:
        return np.asarray(transform(image.convert("RGB"))).transpose(2, 0, 1)


def truncate(path):
    """Leave the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def listing(root):
    """Every path below a folder, with the time that it was last changed."""
    return {path: path.lstat().st_mtime_ns for path in [root, *root.rglob("*")]}
