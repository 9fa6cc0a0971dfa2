"""DomainNet's six domains: 345 things as clip art, infographics, paintings, quick drawings, photographs and sketches.

Source: Peng et al. 2019, Moment Matching for Multi-Source Domain Adaptation, ICCV, arXiv:1812.01754, cleaned version,
ai.bu.edu/M3SDA; its lists name each picture and its label. They hold no painting of a t-shirt to train on.
"""

from collections.abc import Mapping
from pathlib import Path

from vitbench import photographs
from vitbench.errors import DataBroken
from vitbench.folders import Listed
from vitbench.photographs import Photographs

ADDRESS = "http://csr.bu.edu/ftp/visda/2019/multi-source"
CLEANED_APART = ("clipart", "painting")  # whose cleaned archives lie in a folder of their own
# Labels that a domain may have no picture of, by domain.
WITHOUT_PICTURES: Mapping[str, Mapping[int, str]] = {"painting": {327: "t-shirt"}}


def listed(domain: str, root: Path | None, *, classes: int, train: int, test: int) -> Photographs:
    """The pictures of a domain by the published lists.

    Args:
        domain: name of the domain, the lists and the data set.
        root: the data folder, with domainnet/<domain>/<class>/* and domainnet/<domain>_{train,test}.txt.
        classes, train, test: how many there must be.

    Raises:
        DataAbsent: naming what is not there, and what to fetch and where to put it.
        DataBroken: if a list is not the published one: a line that cannot be read, other counts, labels that do not
            go with the names of the folders.
    """
    apart = "groundtruth/" if domain in CLEANED_APART else ""
    get = (
        f"get {apart}{domain}.zip, domainnet/txt/{domain}_train.txt and domainnet/txt/{domain}_test.txt "
        f"from {ADDRESS}/, put them into domainnet/ of the data folder and unpack the first there"
    )
    lists = [f"domainnet/{domain}_{half}.txt" for half in ("train", "test")]
    root = photographs.data_folder(domain, root, [*lists, f"domainnet/{domain}"], get=get)
    halves = [_read(root / one, domain, classes) for one in lists]
    found = Photographs(
        dataset=domain,
        base=root / "domainnet",
        root=root,
        train=halves[0],
        test=halves[1],
        classes=_classes(domain, halves[0] + halves[1], classes, root),
    )
    return found.counted(train=train, test=test, remedy=f"get the lists again from {ADDRESS}/domainnet/txt/")


def _read(path: Path, domain: str, classes: int) -> Listed:
    """Lines of `<domain>/<class>/<file> <label>`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataBroken(f"{domain}: {path} cannot be read ({error}); get it again from {ADDRESS}") from error
    found = []
    for number, line in enumerate(lines, 1):
        name, _, label = line.strip().rpartition(" ")
        parts = name.split("/")
        is_inside = len(parts) == 3 and parts[0] == domain and not {"", ".", ".."} & set(parts)
        if not (is_inside and label.isdecimal() and int(label) < classes):
            raise DataBroken(
                f"{domain}: {path}:{number}: expected {domain}/<class>/<file> and a label from 0 to {classes - 1}, "
                f"got {line.strip()[:80]!r}; get the list again from {ADDRESS}/domainnet/txt/"
            )
        found.append((name, int(label)))
    return tuple(found)


def _classes(domain: str, files: Listed, classes: int, root: Path) -> tuple[str, ...]:
    """Name of the class of each label: the folder that its pictures lie in."""
    names = dict(WITHOUT_PICTURES.get(domain, {}))
    for path, label in files:
        name = path.split("/")[1]
        if names.setdefault(label, name) != name:
            raise DataBroken(
                f"{domain}: {root / 'domainnet'}: the lists give label {label} to {names[label]!r} and to {name!r}; "
                f"get them again from {ADDRESS}/domainnet/txt/"
            )
    missing = sorted(set(range(classes)) - set(names))
    if missing or len(set(names.values())) != classes:
        reason = f"none has label {missing[0]}" if missing else "two labels have one name"
        raise DataBroken(
            f"{domain}: {root / 'domainnet'}: the lists hold {len(set(names.values()))} classes, expected {classes} "
            f"({reason}); get them again from {ADDRESS}/domainnet/txt/"
        )
    return tuple(names[label] for label in range(classes))
