"""What a result was made on and with: device, versions, commit. Without torch, except for a GPU's name."""

import gc
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PRECISIONS = ("fp32", "bf16")
ENGINES = ("eager", "graph", "compile")  # what takes the steps, see `vitbench.engine`
PACKAGES = ("vitbench", "torch", "torchvision", "timm", "numpy", "fvcore")


def threads() -> int:
    """Threads of one run on a CPU: one, unless OMP_NUM_THREADS says otherwise.

    One, because two threads on shared cores are faster on a quiet machine and twice slower on a busy one.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "1").partition(",")[0].strip()  # "4,2" is for nested regions
    return max(int(wanted), 1) if wanted.isdecimal() else 1


@cache
def device_name(device: str) -> str:
    """The card's own name, or the processor's."""
    if device != "cpu":
        import torch

        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def free_gpu() -> None:
    """Give back what a case that is done still holds; a device that does not answer any more has nothing to give."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        with suppress(RuntimeError):
            torch.cuda.empty_cache()


@cache
def versions() -> Mapping[str, str]:
    """Of Python and of every package that a number may depend on."""
    return {"python": platform.python_version()} | {package: installed(package) for package in PACKAGES}


@cache
def installed(package: str) -> str:
    """Version of a package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def timing_key(device: str, engine: str) -> dict[str, str]:
    """What a timing is keyed by."""
    key = {"device": device_name(device), "engine": engine, "torch": versions()["torch"]}
    return key if device != "cpu" else key | {"threads": str(threads())}


@cache
def commit() -> str:
    """Commit of the checkout that the package is in, with "+" for uncommitted changes; "" outside of one.

    The environment variable VITBENCH_COMMIT says it where there is no git.
    """
    if "VITBENCH_COMMIT" in os.environ:
        return os.environ["VITBENCH_COMMIT"]
    folder = Path(__file__).parent.parent
    if not (folder / ".git").exists():
        return ""
    head = _git(folder, "rev-parse", "--short=12", "HEAD")
    return head + ("+" if head and _git(folder, "status", "--porcelain") else "")


def command() -> str:
    """The command line of this process, without the folder of the program."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
