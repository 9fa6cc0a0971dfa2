"""What a machine has: versions, device, data sets found and missing."""

import importlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from vitbench import folders, leaves, machine, summary
from vitbench.errors import UserError


def lines(data: Path | None, *, download: bool = False) -> Iterator[str]:
    """One line for each thing that a benchmark needs, with what to do where it is missing.

    Args:
        data: folder of data sets, or None.
        download: fetch what is absent.
    """
    for name, version in machine.versions().items():
        yield f"{name:12} {version}"
    import torch

    gpus = [torch.cuda.get_device_name(one) for one in range(torch.cuda.device_count())]
    yield f"{'device':12} {machine.device_name('cpu')}, {machine.threads()} thread a run"
    yield f"{'GPU':12} {', '.join(gpus) or 'none that torch sees: run without --gpu, or install the driver'}"
    yield f"{'data':12} {data or 'no folder: give --data DIR or set VITBENCH_DATA'}"
    brought, problems = leaves.brought("datasets")
    for name in [*leaves.known("datasets"), *(one.name for one in brought)]:
        yield f"  {name:20} {_state(name, data, download)}"
    for kind in ("models", "terms"):
        problems += leaves.brought(kind)[1]
    yield from (f"note: {one}" for one in dict.fromkeys(problems))


def _state(name: str, data: Path | None, download: bool) -> str:
    """Whether a data set is there; photographs are listed, and decoded by the first run that needs them."""
    if name in leaves.OF_FOLDERS:
        return f"any folder with {folders.LAYOUT}: --dataset {name}:PATH"
    leaf = leaves.find("datasets", name)
    try:
        size = leaf.constant("IMAGE_SIZE")
        build = leaf.load()
        if leaf.constant("PHOTOGRAPHS", False):
            from vitbench import photographs

            listed = importlib.import_module(leaf.module).listed
            return photographs.state(listed(data, download=download), size)
        with leaf.answering("when built") if leaf.is_foreign else nullcontext():
            build(data, image_size=size, download=download)
    except UserError as error:
        return str(error).removeprefix(f"{name}: ")
    except OSError as error:
        return summary.of_os_error(error)
    return "found"
