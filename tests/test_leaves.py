"""Names lead to code without importing it; a wrong one leads to the right one."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from vitbench import leaves
from vitbench.errors import DataAbsent, UserError
from vitbench.objective import parse
from vitbench.selection import Selection

ROOT = Path(__file__).parent.parent
RAISES = "raise RuntimeError('imported')\n"
PRINTS = "print('imported')\n"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("models", {"resnet", "vit", "t2t", "cvt"}),
        ("terms", {"ce", "drloc", "me"}),
        ("datasets", {"cifar10", "cifar100", "digits"}),
    ],
)
def test_the_file_name_is_the_name(kind, names):
    assert names <= set(leaves.known(kind))
    assert "__init__" not in leaves.known(kind)
    for name in names:
        leaf = leaves.find(kind, name)
        assert leaf.path.name == f"{name}.py"
        assert (leaf.module, leaf.attribute) == (f"vitbench.{kind}.{name}", "build")
        assert "build" in leaf.path.read_text()


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("models", "vitt", "a.toml:3: unknown model 'vitt'; did you mean vit"),
        ("terms", "drlock", "a.toml:3: unknown term 'drlock'; did you mean drloc?"),
        ("datasets", "cifar1000", "a.toml:3: unknown data set 'cifar1000'; did you mean cifar100 or cifar10"),
        ("datasets", "CIFAR10", "a.toml:3: unknown data set 'CIFAR10'; did you mean cifar10"),
        ("terms", "__init__", "a.toml:3: unknown term '__init__'; "),
        ("terms", "../terms/ce", "a.toml:3: "),
        ("terms", "", "a.toml:3: unknown term ''"),
    ],
)
def test_an_unknown_name_leads_to_the_nearest(kind, name, message):
    with pytest.raises(UserError) as refused:
        leaves.find(kind, name, where="a.toml:3")
    assert str(refused.value).startswith(message)
    assert str(refused.value).isprintable()


def test_a_name_that_was_missing_is_found_once_it_is_there(package):
    name = package("losses.py", "x = 1\n")
    with pytest.raises(UserError):
        leaves.find("terms", f"{name}.losses.mine")
    package("losses.py", "def mine(shape): ...\n")
    assert leaves.find("terms", f"{name}.losses.mine").attribute == "mine"


@pytest.mark.parametrize("header", [RAISES, PRINTS, "import module_that_is_not_installed\n"])
@pytest.mark.parametrize("file", ["losses.py", "deep/losses.py", "losses/__init__.py"])
def test_finding_imports_nothing(package, header, file, capsys):
    name = package(file, header + "VERSION = 3\ndef mine(shape, *, margin=1.0): ...\n")
    before = set(sys.modules)
    dotted = ".".join([name, *file.removesuffix("/__init__.py").removesuffix(".py").split("/")])
    leaf = leaves.find("terms", f"{dotted}.mine")
    leaves.check_objective(parse(f"ce + 0.1*{dotted}.mine(margin=2.0)"))
    assert leaf.version == "3"
    assert set(sys.modules) == before
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("at", ["nothing.py", "deeper/nothing.py"])
def test_not_even_the_package_around_it_is_imported(package, at):
    package("__init__.py", RAISES)
    package("deeper/__init__.py", RAISES)
    name = package(at, "def build(shape): ...\n")
    assert leaves.find("terms", f"{name}.{at.removesuffix('.py').replace('/', '.')}").attribute == "build"


@pytest.mark.parametrize(
    ("file", "text", "reference", "attribute"),
    [
        ("mine.py", "def build(shape): ...", "mine", "build"),
        ("losses.py", "def mine(shape): ...", "losses.mine", "mine"),
        ("losses.py", "class Mine:\n  def __init__(self, shape): ...", "losses.Mine", "Mine"),
        ("__init__.py", "def mine(shape): ...", "mine", "mine"),
        ("sub/__init__.py", "def build(shape): ...", "sub", "build"),
        ("namespace/losses.py", "def mine(shape): ...", "namespace.losses.mine", "mine"),
    ],
)
def test_a_dotted_name_is_a_module_with_build_or_something_in_a_module(package, file, text, reference, attribute):
    name = package(file, text)
    leaf = leaves.find("terms", f"{name}.{reference}")
    assert leaf.attribute == attribute
    assert callable(leaf.load())
    assert leaf.load().__name__ == attribute


def test_a_file_in_the_current_folder_is_found_and_loaded(tmp_path, monkeypatch):
    (tmp_path / "lying_about.py").write_text("def mine(shape): return 42\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    leaf = leaves.find("terms", "lying_about.mine")
    assert leaf.load()(None) == 42
    del sys.modules["lying_about"]


@pytest.mark.parametrize(
    ("text", "reference", "message"),
    [
        ("", "losses", "defines no function or class 'build'; define it there"),
        ("mine = 3\n", "losses.mine", "defines no function or class 'mine'; define it there"),
        ("def mine(): ...\n", "losses.nine", "defines no function or class 'nine'; define it there"),
        ("def mine(): ...\n", "losses.mine.deeper", "defines no function or class 'mine.deeper'; define it there"),
        ("x = 1\ndef mine(:\n", "losses.mine", "losses.py:2: cannot be read as Python: "),
        (b"x = '\xff'\n", "losses.mine", "losses.py:1: cannot be read as Python: "),
        (b"x = 1\0\n", "losses.mine", "cannot be read as Python: "),
        ("", "nowhere.mine", "defines no function or class 'nowhere.mine'; define it there"),
    ],
)
def test_what_is_wrong_with_somebodys_code_is_one_line(package, text, reference, message):
    name = package("losses.py", text)
    with pytest.raises(UserError) as refused:
        leaves.find("terms", f"{name}.{reference}", where="--objective")
    assert str(refused.value).startswith("--objective: ")
    assert message in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["nowhere_at_all.mine", "nowhere_at_all.losses.mine", "math.sqrt", "."])
def test_a_module_without_a_file_is_said_to_be_missing(name):
    module = name.split(".")[0]
    with pytest.raises(UserError, match=rf"^--objective: term '{name}': no module '{module}'.* set PYTHONPATH$"):
        leaves.find("terms", name, where="--objective")


def test_remarks_of_python_on_somebodys_code_disturb_nobody(package, recwarn):
    name = package("losses.py", "PATTERN = '\\d'\ndef mine(shape): return 1 is 1\n")
    leaves.find("terms", f"{name}.losses.mine")
    assert not recwarn.list


def leaf_of(package, text, reference="losses", kind="terms"):
    return leaves.find(kind, f"{package('losses.py', text)}.{reference}")


BUILD = "def build(shape): ...\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("VARIANTS = 3", "sets VARIANTS to 3; it must be a dict or a list of strings"),
        ("VARIANTS = None", "sets VARIANTS to None; it must be a dict or a list of strings"),
        ("VARIANTS = [['tiny']]", r"sets VARIANTS to \[\['tiny'\]\]; it must be a dict or a list of strings"),
        ("VARIANTS = ['tiny']", "unknown variant of .* 'small'; known: tiny"),
        ("", "takes no `variant`, got 'small'; leave /small out"),
    ],
)
def test_the_variants_of_somebodys_model_are_checked(package, line, message):
    name = package("nets.py", f"{line}\ndef build(*, classes, image_size): ...\n")
    with pytest.raises(UserError, match=message):
        leaves.check_model(f"{name}.nets/small", where="--model")


@pytest.mark.parametrize(
    ("tiny", "message"),
    [
        ("{'pears': 8}", r"losses.py: TINY: unknown argument of .*losses 'pears'; did you mean pairs\?"),
        ("8", "losses.py: the term .* sets TINY to 8; it must be a dict of arguments"),
    ],
)
def test_the_tiny_form_of_a_term_has_arguments_that_it_takes(package, tiny, message):
    leaf = leaf_of(package, f"TINY = {tiny}\ndef build(shape, *, pairs=32): ...\n")
    with pytest.raises(UserError, match=message):
        leaves.check_objective(parse(f"ce + {leaf.name}"), where="--objective")


def test_a_model_is_one_of_its_variants():
    assert leaves.check_model("vit/tiny").name == "vit"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("vit/tinny", "unknown variant of vit 'tinny'; did you mean tiny?"),
        ("vit/nonsense", "unknown variant of vit 'nonsense'; known: floros2024, mini_224, tiny"),
        ("vit", "unknown variant of vit ''; known: floros2024, mini_224, tiny"),
        ("vot/tiny", "unknown model 'vot'; did you mean vit"),
    ],
)
def test_a_variant_that_a_model_does_not_have_is_named(reference, message):
    with pytest.raises(UserError) as refused:
        leaves.check_model(reference, where="--model")
    assert str(refused.value).startswith(f"--model: {message}")


def test_somebodys_model_needs_no_variants(package):
    name = package("nets.py", "def mine(*, classes, image_size): ...\n")
    assert leaves.check_model(f"{name}.nets.mine").attribute == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ce + 0.1*drlok", "unknown term 'drlok'; did you mean drloc"),
        ("ce + 0.1*me(ration=0.85)", "unknown argument of me 'ration'; did you mean ratio"),
        ("ce(smoothing=0.1)", "unknown argument of ce 'smoothing'; known: none"),
    ],
)
def test_an_objective_of_unknown_parts_is_refused(text, message):
    with pytest.raises(UserError) as refused:
        leaves.check_objective(parse(text), where="a.toml:3")
    assert str(refused.value).startswith(f"a.toml:3: {message}")


def test_an_objective_of_known_parts_passes():
    leaves.check_objective(parse("ce + 0.1*drloc(pairs=8) + 0.1*me(ratio=0.85)"))


@pytest.mark.parametrize(
    ("objective", "versions"),
    [("ce", 1), ("ce + 0.1*drloc", 1), ("simclr", 2), ("2.5*ce + distill + rotation", 2), ("distill", 3)],
)
def test_an_objective_may_have_as_many_versions_of_an_image_as_its_terms_compare_and_more(objective, versions):
    leaves.check_versions(parse(objective), versions)


@pytest.mark.parametrize(
    ("objective", "where", "message"),
    [
        ("simclr", "", "simclr compares 2 versions of each image, and the recipe makes 1: take one with `views`"),
        ("ce + distill", "a.toml:3", "a.toml:3: distill compares 2 versions of each image, and the recipe makes 1: "),
    ],
)
def test_an_objective_that_compares_more_versions_than_there_are_is_refused(objective, where, message):
    with pytest.raises(UserError) as refused:
        leaves.check_versions(parse(objective), 1, where=where)
    assert str(refused.value).startswith(message)
    assert str(refused.value).isprintable()


def test_somebodys_term_says_how_many_versions_it_compares(package):
    name = package("losses.py", "VERSIONS = 3\ndef mine(shape): ...\ndef other(shape): ...\n")
    objective = parse(f"ce + {name}.losses.mine")
    leaves.check_versions(objective, 3)
    with pytest.raises(UserError, match=rf"{name}.losses.mine compares 3 versions of each image, .* makes 2"):
        leaves.check_versions(objective, 2)


COLLECTION = """
import sys
from vitbench import (baselines, case, compare, conclusions, constants, errors, identity, leaves, machine, metrics,
    objective, papers, progress, recipes, records, sections, selection)
from vitbench.report import pages, results, tables, terminal
found = papers.load_all()
for budget in case.Budget:
    cases = selection.Selection(budget=budget).cases(found)
    for one in cases:
        identity.of_run(one, budget=budget)
    for one in selection.sizes(found, cases):
        identity.of_size(one)
assert len(cases) > 212
print(sorted({"torch", "torchvision", "timm", "pandas", "fvcore", "numpy", "scipy"} & sys.modules.keys()))
"""


def test_everything_up_to_a_run_is_done_without_torch():
    command = [sys.executable, "-c", COLLECTION]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    assert done.stdout == "[]\n"


def pictures(root, counts=(("train", 3), ("val", 2)), names=("cat", "dog")):
    """A folder in the layout of torchvision's ImageFolder, with pictures of one byte, which nothing here decodes."""
    for half, count in counts:
        for name in names:
            (root / half / name).mkdir(parents=True)
            for number in range(count):
                (root / half / name / f"{number}.jpg").write_bytes(b"x")
    return root


def test_a_folder_of_pictures_is_a_data_set(tmp_path):
    leaf = leaves.find("datasets", f"imagefolder:{pictures(tmp_path / 'a b')}")
    assert [leaf.constant(name) for name in ("CLASSES", "TRAIN", "TEST", "PHOTOGRAPHS")] == [2, 6, 4, True]
    assert leaf.version == leaves.find("datasets", "imagefolder").version
    assert leaf.module == "vitbench.datasets.imagefolder"


def test_the_same_folder_by_two_names_is_the_same_data(tmp_path, monkeypatch):
    pictures(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    names = ("imagefolder:mine", "imagefolder:./mine", f"imagefolder:{tmp_path / 'mine'}")
    assert len({leaves.find("datasets", name).constant("DIGEST") for name in names}) == 1
    pictures(tmp_path / "other", names=("cat", "cow"))
    other = leaves.find("datasets", "imagefolder:other")
    assert other.constant("DIGEST") != leaves.find("datasets", names[0]).constant("DIGEST")


def test_it_is_built_from_its_own_folder_wherever_the_data_folder_is(tmp_path, monkeypatch):
    from vitbench.datasets import imagefolder

    asked = []
    monkeypatch.setattr(imagefolder, "build", lambda root, **options: asked.append((root, options)))
    build = leaves.find("datasets", f"imagefolder:{pictures(tmp_path / 'mine')}").load()
    build(tmp_path / "data", image_size=32, download=True)
    assert asked == [(tmp_path / "mine", {"image_size": 32, "download": True})]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagefolder:", "--dataset: data set 'imagefolder:': write imagefolder:PATH"),
        ("imagefoldr:/x", "--dataset: unknown data set 'imagefoldr'; did you mean imagefolder"),
        ("digits:/x", "--dataset: data set 'digits:/x': digits takes no folder"),
        ("imagefolder:/nowhere/at.all", "--dataset: imagefolder: /nowhere/at.all does not exist; name a folder with"),
    ],
)
def test_a_folder_that_is_none_is_told_where_its_name_is(name, message):
    with pytest.raises(UserError) as refused:
        leaves.find("datasets", name, where="--dataset")
    assert str(refused.value).startswith(message)
    assert str(refused.value).isprintable()


def test_a_folder_that_went_is_absent_data(tmp_path):
    with pytest.raises(DataAbsent):
        leaves.find("datasets", f"imagefolder:{tmp_path / 'gone'}")


def test_a_folder_without_one_half_is_told(tmp_path):
    pictures(tmp_path / "half", counts=(("train", 2),))
    with pytest.raises(UserError, match=r"^--dataset: imagefolder: .*half has neither val nor test; "):
        leaves.find("datasets", f"imagefolder:{tmp_path / 'half'}", where="--dataset")


def installed(package, distribution, text, *, kind="terms", name="spread", of="mypkg"):
    """A package of one file that brings it under that name; returns the name of its module."""
    module = f"{package(f'{of}.py', text)}.{of}"
    distribution(of, f"[vitbench.{kind}]\n{name} = {module}\n")
    return module


def test_an_installed_package_gives_its_module_a_plain_name(package, distribution):
    module = installed(package, distribution, f"VERSION = 3\n{BUILD}")
    leaf = leaves.find("terms", "spread")
    assert (leaf.name, leaf.module, leaf.attribute, leaf.package) == ("spread", module, "build", "mypkg")
    assert leaf.load().__module__ == module
    assert leaf.is_foreign
    assert not leaves.find("terms", "ce").is_foreign
    assert leaves.find("terms", f"{module}.build").is_foreign


def test_or_to_a_function_or_class_in_it(package, distribution):
    name = package("losses.py", "class Hinge:\n  def __init__(self, shape, *, margin=1.0): ...\n")
    distribution("mypkg", f"[vitbench.terms]\nhinge = {name}.losses:Hinge\n")
    assert leaves.find("terms", "hinge").load().__name__ == "Hinge"
    leaves.check_objective(parse("ce + 0.1*hinge(margin=2.0)"))
    with pytest.raises(UserError, match=r"unknown argument of hinge 'margn'; did you mean margin\?"):
        leaves.check_objective(parse("ce + 0.1*hinge(margn=2.0)"))


def test_its_version_is_that_of_its_file_and_package_for_another_may_bring_the_name_tomorrow(package, distribution):
    installed(package, distribution, f"VERSION = 3\n{BUILD}")
    installed(package, distribution, BUILD, name="hinge", of="other")
    assert leaves.find("terms", "spread").version == "3 of mypkg"
    assert leaves.find("terms", "hinge").version == "sha256:" + hashlib.sha256(BUILD.encode()).hexdigest()[:16]


@pytest.mark.parametrize("header", [RAISES, PRINTS, "import module_that_is_not_installed\n"])
def test_finding_it_imports_nothing(package, distribution, header, capsys):
    installed(package, distribution, f"{header}TINY = {{}}\n{BUILD}")
    before = set(sys.modules)
    assert leaves.find("terms", "spread").constant("TINY") == {}
    assert set(sys.modules) == before
    assert capsys.readouterr().out == ""


def test_a_name_that_two_packages_bring_is_refused_and_names_both(package, distribution):
    first = installed(package, distribution, BUILD, of="first")
    second = installed(package, distribution, BUILD, of="second")
    installed(package, distribution, BUILD, name="hinge", of="third")
    both = f"the term 'spread' is brought by first 1.0 ({first}) and by second 1.0 ({second}); uninstall one, or write"
    with pytest.raises(UserError) as refused:
        leaves.find("terms", "spread", where="--objective")
    assert str(refused.value).startswith(f"--objective: {both}")
    assert leaves.find("terms", f"{second}.build").path.name == "second.py"
    usable, problems = leaves.brought("terms")
    assert [one.name for one in usable] == ["hinge"]
    assert len(problems) == 1
    assert problems[0].startswith(both)


@pytest.mark.parametrize(
    ("kind", "name", "chosen"),
    [
        ("terms", "ce", {"objectives": ("ce + 0.1*drloc",)}),
        ("models", "vit", {"models": ("vit/tiny",)}),
        ("datasets", "digits", {"datasets": ("digits",)}),
    ],
)
def test_a_name_of_ours_stays_ours_in_data_files_and_is_refused_where_a_user_may_mean_either(
    package, distribution, kind, name, chosen
):
    module = installed(package, distribution, BUILD, kind=kind, name=name)
    assert leaves.find(kind, name).module == f"vitbench.{kind}.{name}"
    with pytest.raises(
        UserError, match=rf"^--\w+: the .* '{name}' is brought by vitbench and by mypkg 1.0 \({module}\)"
    ):
        Selection(**chosen).check()
    usable, problems = leaves.brought(kind)
    assert not usable
    assert len(problems) == 1
    assert "brought by vitbench and by mypkg 1.0" in problems[0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere_at_all.losses", "no module 'nowhere_at_all.losses' with a Python file; reinstall mypkg"),
        ("{}.nothing", "no module '{}.nothing' with a Python file; reinstall mypkg"),
        ("{}.losses:mine", "defines no function or class 'mine'; define it there"),
        ("{}.wrong", "wrong.py:1: cannot be read as Python: "),
        ("{}.losses:a.b", "expected `module` or `module:function`, got '{}.losses:a.b'; mend it there"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_named_and_the_others_work(package, distribution, value, message):
    name = package("losses.py", BUILD)
    package("wrong.py", "def build(:\n")
    distribution("mypkg", f"[vitbench.terms]\nspread = {value.format(name)}\nhinge = {name}.losses\n")
    with pytest.raises(UserError) as refused:
        leaves.find("terms", "spread")
    assert message.format(name) in str(refused.value)
    assert str(refused.value).isprintable()
    assert leaves.find("terms", "hinge").module == f"{name}.losses"
    usable, problems = leaves.brought("terms")
    assert [one.name for one in usable] == ["hinge"]
    assert problems == [str(refused.value)]


def test_an_unknown_name_leads_to_what_packages_bring_too(package, distribution):
    installed(package, distribution, BUILD)
    with pytest.raises(UserError, match=r"unknown term 'spred'; did you mean spread\? known: ce, .*spread"):
        leaves.find("terms", "spred")


def test_the_variants_of_a_packages_model_are_checked(package, distribution):
    text = "VARIANTS = ['tiny']\ndef build(*, classes, image_size, variant): ...\n"
    installed(package, distribution, text, kind="models", name="mixer")
    assert leaves.check_model("mixer/tiny").package == "mypkg"
    with pytest.raises(UserError, match="unknown variant of mixer 'tinny'; did you mean tiny"):
        leaves.check_model("mixer/tinny")


def test_a_packages_data_set_takes_no_folder(package, distribution):
    installed(package, distribution, "def build(root, *, image_size, download): ...\n", kind="datasets", name="letters")
    with pytest.raises(UserError, match="data set 'letters:/x': letters takes no folder"):
        leaves.find("datasets", "letters:/x")
