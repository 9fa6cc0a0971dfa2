"""What the pages show works: commands, code, data files, options and links.

`pytest benchmarks …` is collected, with `--gpu` as the paper budget, and has to select something. `vitbench …` is read
by the real parser, and run where it only reads; what trains, fetches or writes is not. Scripts have to be there with
their options. Nothing else may stand on a page but what `ELSEWHERE` excuses, with a reason.
"""

import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.test_leaves import pictures
from vitbench import build, cli, papers
from vitbench.case import Budget
from vitbench.contracts import Output, Shape, Step
from vitbench.identity import Identity
from vitbench.leaves import find
from vitbench.objective import parse

ROOT = Path(__file__).parent.parent
PATHS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in [*PATHS, ROOT / "docs/example/README.md"]}
LANGUAGES = {"bash", "console", "text", "python", "toml"}
ELSEWHERE = {
    r"pip install ": "needs a package index",
    r"git (clone|add|commit)\b": "needs a repository to change",
    r"(wget|unzip) ": "fetches somebody else's data",
    r"cd ": "goes where the next command is meant",
    r"python -c ": "unpacks somebody else's data with torchvision",
    r"(ruff|mypy)\b": "is the style check of this very project",
    r"pytest( -n 2)?$": "is these tests",
}
# Subcommands that only read, and take seconds.
READING = {"list", "claims", "check", "doctor"}


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    text: str


def blocks(*languages):
    found = []
    for page, text in PAGES.items():
        for language, inside in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
            found += [Block(page, language, inside)] if not languages or language in languages else []
    return found


def commands():
    """Every command of every page, once, without what only limits its time."""
    found = {}
    for block in blocks("bash", "console"):
        text = block.text.replace("\\\n", " ")
        if block.language == "console":
            text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            for one in " ".join(map(shlex.quote, words)).split(" '&&' "):
                found.setdefault(re.sub(r"^timeout \d+ ", "", one), block.page)
    return [one for one in found if one]


COMMANDS = commands()
BENCHMARKS = [one for one in COMMANDS if one.startswith("pytest benchmarks")]
VITBENCH = [one for one in COMMANDS if one.startswith("vitbench ")]
SCRIPTS = [one for one in COMMANDS if re.match(r"(python|bash) [\w./]+/", one)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the files of the package `mypkg` that pages show, and pictures where they name a folder."""
    folder = tmp_path_factory.mktemp("shown")
    for text in PAGES.values():
        for name, code in re.findall(r"say `(mypkg/[\w/]+\.py)`:?\n\n```python\n(.*?)^```", text, re.M | re.S):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(code)
    for name in ("photos", "PATH"):
        pictures(folder / name)
    return folder


@pytest.fixture
def shown(written, monkeypatch):
    """That folder on Python's path."""
    monkeypatch.syspath_prepend(written)
    return written


def test_every_block_says_what_it_is():
    assert {block.language for block in blocks()} <= LANGUAGES
    assert len(COMMANDS) > 50


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_tried_here_or_known_to_be_of_elsewhere(command):
    tried = command in BENCHMARKS or command in VITBENCH or command in SCRIPTS
    assert tried != any(re.match(pattern, command) for pattern in ELSEWHERE)


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_nothing_is_excused_in_vain(pattern):
    assert any(re.match(pattern, command) for command in COMMANDS)


@pytest.mark.parametrize("command", BENCHMARKS)
def test_every_selection_selects_something(suite, shown, command, monkeypatch):
    monkeypatch.setattr("vitbench.machine.commit", lambda: "3f2c1ab")  # baselines are recorded of a clean tree
    words = shlex.split(command)[2:]
    if "--gpu" in words:
        words.remove("--gpu")
        words += [] if "--budget" in words else ["--budget", "paper"]
    words = [re.sub(r"^imagefolder:", f"imagefolder:{shown}/", one) for one in words]
    if not {"decov", "mixer"} & set(re.findall(r"\w+", command)):  # which tests/test_example.py collects
        assert suite("--collect-only", "-q", *words).ret == 0


@pytest.mark.parametrize("command", VITBENCH)
def test_every_subcommand_and_option_exists_and_what_only_reads_does_so(command, shown, capsys, monkeypatch):
    words = [re.sub(r"^imagefolder:", f"imagefolder:{shown}/", one) for one in shlex.split(command)[1:]]
    cli._parser().parse_args(words)
    plans = "--dry-run" in words and "--gpu" not in words
    if (words[0] in READING or plans) and "--download" not in words:
        monkeypatch.chdir(shown)
        assert cli.main(words) == 0
        assert capsys.readouterr().out


@pytest.mark.parametrize("command", SCRIPTS)
def test_every_script_exists_with_its_options(command):
    words = shlex.split(command)
    source = (ROOT / words[1]).read_text()
    for option in (one for one in words if one.startswith("--")):
        assert f'"{option}"' in source


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.page)
def test_code_is_python(block):
    compile(block.text, block.page, "exec")


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.page)
def test_data_files_are_toml(block):
    assert tomllib.loads(block.text)


def test_the_paper_that_is_shown_is_one(tmp_path):
    block = next(block for block in blocks("toml") if block.page == "docs/adding-a-paper.md")
    (tmp_path / "shown.toml").write_text(block.text)
    paper = papers.load(tmp_path / "shown.toml")
    assert [case.id for case in paper.cases] == ["shown/4.1/vit/ce/cifar10", "shown/4.1/vit/ce+0.1drloc/cifar10"]
    assert len(paper.conclusions) == 1


def test_the_term_that_is_shown_has_the_loss_that_it_says_and_takes_a_step(shown):
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.0, 1.0]], requires_grad=True)
    labels, images = torch.tensor([0, 1]), torch.zeros(2, 3, 8, 8)
    out = Output(logits=logits, embedding=logits, grids=(logits[:, :, None, None],))
    step = Step(images=images, labels=labels, model=torch.nn.Identity(), forward=lambda shown: out)
    shape = Shape(channels=3, height=1, width=1, embedding=3, classes=3)
    loss = find("terms", "mypkg.smoothing").load()(shape, smoothing=0.3)(step)
    nats = -logits.log_softmax(dim=1)
    assert loss.item() == pytest.approx((0.7 * nats[[0, 1], labels] + 0.3 * nats.mean(dim=1)).mean().item())
    loss.backward()
    assert logits.grad.abs().min() > 0


def test_the_model_that_is_shown_is_one(shown):
    model = build.untrained("mypkg.nets", 5, 32)
    out = model(torch.rand(2, 3, 32, 32))
    assert (out.logits.shape, out.embedding.shape, out.grids[-1].shape) == ((2, 5), (2, 48), (2, 48, 4, 4))


def test_the_data_set_that_is_shown_is_what_it_says(shown):
    leaf = find("datasets", "mypkg.stripes")
    identity = Identity(
        model="vit/tiny",
        objective=parse("ce"),
        dataset=leaf.name,
        data=leaf.constant("DIGEST"),
        classes=leaf.constant("CLASSES"),
        image_size=32,
        budget=Budget.QUICK,
        versions={},
    )
    split = build.data_of(identity, None)
    assert (len(split.train), len(split.test)) == (leaf.constant("TRAIN"), leaf.constant("TEST"))
    for half in (split.train, split.test):
        levels = half.images.float()
        across, along = (levels.var(dim=axis).amax(dim=(1, 2)) == 0 for axis in (3, 2))
        assert torch.equal(along, half.labels == 1)
        assert torch.equal(across, half.labels == 0)


def headings(text):
    """The anchors that GitHub gives them."""
    lines = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for link, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", PAGES[page]):
        path = (ROOT / page).parent / link if link else ROOT / page
        assert path.exists(), link
        assert not anchor or anchor in headings(path.read_text()), f"{link}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page):
    for name in re.findall(r"`((?:vitbench|tests|benchmarks|baselines|docs)/[\w./]+)`", PAGES[page]):
        assert (ROOT / name).exists(), name


def plugin_options(pytester):
    """The help of pytest with the plugin, and the plugin's own options in it."""
    text = pytester.runpytest_inprocess("-p", "vitbench.plugin", "--help").stdout.str()
    own = text.partition("benchmarks of vision transformers")[2].split("\n\n")[0]
    return text, re.findall(r"^  (--[a-z-]+)", own, re.M)


def subcommands():
    parser = cli._parser()
    (action,) = (one for one in parser._actions if one.nargs == "A...")
    return action.choices


def test_every_option_and_every_subcommand_is_named_on_some_page(pytester):
    everything = "\n".join(PAGES.values())
    missing = [one for one in plugin_options(pytester)[1] if not re.search(rf"{one}\b(?!-)", everything)]
    missing += [one for one in subcommands() if f"vitbench {one}" not in everything]
    assert not missing


def test_every_option_that_a_page_names_exists(pytester):
    known = set(re.findall(r"--[a-z-]+", plugin_options(pytester)[0]))
    known |= {option for one in subcommands().values() for option in one._option_string_actions}
    for path in [*ROOT.glob("benchmarks/perf/*.py"), *ROOT.glob("tests/contracts/golden_*.py")]:
        known |= set(re.findall(r'"(--[a-z-]+)"', path.read_text()))
    for page, text in PAGES.items():
        named = {one for code in re.findall(r"`([^`\n]+)`", text) for one in re.findall(r"(?<!\S)--[a-z][a-z-]*", code)}
        assert not named - known - {"--pyargs", "--ephemeral"}, page
