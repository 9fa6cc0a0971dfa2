"""Published weights that a fine-tuning starts from: which file they are, where it is looked for, its digest.

The rule: the weights of `leaf/variant` are the file in the folder that `--weights` names whose name is the variant and
one of `SUFFIXES`. Torch is not imported here, for the digest is part of a run's identity (`vitbench.identity`).
"""

import hashlib
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from vitbench.atomic import write_atomically
from vitbench.errors import DataAbsent, DataBroken

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")  # the first that is there is taken
HUB_FILE = "model.safetensors"
# Weights learnt on ImageNet-1K alone, by their name in timm, which is that of a repository of the Hugging Face hub too.
PUBLISHED = {
    "swin/swin_tiny": "swin_tiny_patch4_window7_224.ms_in1k",  # of its authors: Liu et al. 2021, arXiv:2103.14030
    "timm/resnet50": "resnet50.tv_in1k",  # torchvision's first, the ResNet-50 that the code of liu2021 builds
}
# What is published in a form that nothing here reads.
UNREAD = {
    "t2t/t2t_vit_14": "its authors' 81.5_T2T_ViT_14.pth.tar (github.com/yitu-opensource/T2T-ViT) names its tensors "
    "otherwise and is not converted",
}
# Called as fetch(repository of the hub, file that is to be made).
Fetch = Callable[[str, Path], None]


def timm_name(reference: str) -> str:
    """What `timm.create_model` calls the network of `leaf/variant`, with the tag of its weights where there is one."""
    leaf, _, variant = reference.partition("/")
    return PUBLISHED.get(reference) or (variant if leaf == "timm" else f"vitbench_{leaf}_{variant}")


def find(reference: str, folder: Path | None) -> Path | None:
    """The file with the weights of `leaf/variant`, or None.

    Args:
        folder: that `--weights` or VITBENCH_WEIGHTS names, or None.

    Raises:
        DataBroken: if nobody may look there.
    """
    if folder is None:
        return None
    paths = [folder.expanduser() / f"{_stem(reference)}{suffix}" for suffix in SUFFIXES]
    try:
        return next((path for path in paths if path.is_file()), None)
    except OSError as error:
        raise _unreadable(paths[0].parent, error) from None


def ensure(reference: str, folder: Path | None, *, fetch: Fetch | None = None) -> Path:
    """The file with the weights of `leaf/variant`.

    Args:
        folder: see `find`.
        fetch: gets it from the hub when it is not there; None forbids it.

    Raises:
        DataAbsent: it is not there and cannot be fetched; the message says what to get and where to put it.
        DataBroken: see `find`.
    """
    found = find(reference, folder)
    if found is not None:
        return found
    repository = _repository(reference)
    if folder is None or fetch is None or repository is None:
        raise _absent(reference, folder)
    path = folder.expanduser() / f"{_stem(reference)}.safetensors"
    try:
        fetch(repository, path)
    except Exception as error:  # the hub's client, its HTTP library and the disk have errors of their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataAbsent(
            f"weights of {reference}: {HUB_FILE} of https://huggingface.co/{repository} could not be fetched "
            f"({reason}); try again, or get it by other means and put it at {path}"
        ) from error
    return path


def from_hub(repository: str, path: Path) -> None:
    """Make a file of the weights in a repository of the Hugging Face hub: whole, or not at all."""
    from huggingface_hub import hf_hub_download  # timm brings it

    fetched = hf_hub_download(repository, HUB_FILE)  # into its cache, where it is checked
    with write_atomically(path) as temporary:
        shutil.copyfile(fetched, temporary)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; computed again only when its size or its time has changed.

    Raises:
        DataBroken: if it cannot be read.
    """
    try:
        status = path.stat()
        return _digest(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise _unreadable(path, error) from None


@lru_cache
def _digest(path: Path, size: int, time: int) -> str:
    """Of a file; size and time only tell one state of it from another."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stem(reference: str) -> str:
    leaf, _, variant = reference.partition("/")
    return variant or leaf


def _repository(reference: str) -> str | None:
    """Where the hub has the weights: for a network of timm, only where the tag says which."""
    leaf, _, variant = reference.partition("/")
    name = PUBLISHED.get(reference) or (variant if leaf == "timm" and "." in variant else "")
    return f"timm/{name}" if name else None


def _absent(reference: str, folder: Path | None) -> DataAbsent:
    stem, repository = _stem(reference), _repository(reference)
    files = f"{stem}.safetensors (or {', '.join(SUFFIXES[1:])})"
    place = "no folder is named" if folder is None else f"{folder} holds no {files}"
    put = f"as {stem}.safetensors into a folder that --weights DIR (environment: VITBENCH_WEIGHTS) names"
    if repository:
        way = f"save {HUB_FILE} of https://huggingface.co/{repository} {put}; with --download that is done for you"
    else:
        unread = f"{UNREAD[reference]}; " if reference in UNREAD else ""
        way = f"{unread}save the state_dict of timm's {timm_name(reference)}, trained on ImageNet-1K, {put}"
    return DataAbsent(f"weights of {reference}: {place}; {way}")


def _unreadable(path: Path, error: OSError) -> DataBroken:
    return DataBroken(f"weights: {path} cannot be read ({error.strerror}); mend it, or name another folder")
