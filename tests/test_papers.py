"""Paper files are read strictly: every mistake is one line with file, line and the nearest right name."""

import re
import shutil
from pathlib import Path

import pytest

from vitbench import papers
from vitbench.errors import UserError
from vitbench.metrics import METRICS

ROOT = Path(__file__).parent.parent
PAPER = papers.data_folder() / "papers" / "floros2024.toml"
TEXT = PAPER.read_text(encoding="utf-8")


def edited(tmp_path, anchor, old, new):
    """A copy in which the first `old` after `anchor` is `new`; with the line that the edit is in."""
    at = TEXT.index(old, TEXT.index(anchor))
    path = tmp_path / "floros2024.toml"
    path.write_text(TEXT[:at] + new + TEXT[at + len(old) :], encoding="utf-8")
    return path, TEXT.count("\n", 0, at) + 1


# Where to look, what stands there, what is written instead, what the error says.
MISTAKES = {
    "unknown key of the paper": ("title", "authors =", "autors =", "unknown key 'autors'; did you mean authors"),
    "unknown section": ("[quick]", "[quick]", "[quik]", "unknown key 'quik'; did you mean quick"),
    "year in words": ("year ", "2024", '"2024"', "year: expected a whole number, got '2024'"),
    "unknown model": ("vit    =", "vit/floros2024", "vitt/floros2024", "unknown model 'vitt'; did you mean vit"),
    "unknown variant": ("cvt    =", "cvt/tiny", "cvt/tinny", "unknown variant of cvt 'tinny'; did you mean tiny"),
    "unknown key of a model": ("t2t    =", "tiny =", "tyny =", "unknown key 'tyny'; did you mean tiny"),
    "a model without its network": ("t2t    =", 'full = "t2t/floros2024", ', "", "the key 'full' is missing"),
    "a model that is a number": ("vit    =", 'full = "vit/floros2024"', "full = 3", "full: expected a string, got 3"),
    "defaults of an unknown term": ("[terms]", "drloc =", "drlock =", "unknown term 'drlock'; did you mean drloc"),
    "default of an unknown argument": ("[terms]", "ratio =", "ration =",
        "unknown argument of me 'ration'; did you mean ratio"),
    "default that is a list": ("[terms]", "ratio = 0.75", "ratio = [0.75]",
        "ratio: expected a number, true, false or a string"),
    "unknown key of a recipe": ("[recipes.scratch]", "selection =", "select =",
        "unknown key 'select'; did you mean selection"),
    "unknown selection": ("[recipes.scratch]", '"last"', '"lst"', "unknown selection 'lst'; did you mean last"),
    "unknown protocol": ("[recipes.scratch]", '"paper"', '"papr"', "unknown protocol 'papr'; did you mean paper"),
    "unknown key of a phase": ("phases]]", "batch_size ", "batchsize ",
        "unknown key 'batchsize'; did you mean batch_size"),
    "no epochs": ("phases]]", "epochs       = 100", "epochs = 0", "epochs: expected more than 0, got 0"),
    "unknown schedule": ("phases]]", '"constant"', '"constnt"', "unknown name 'constnt'; did you mean constant"),
    "unknown augmentation": ("phases]]", "[]", '["crob"]', "unknown augmentation 'crob'; did you mean crop"),
    "unknown quick key": ("[recipes.scratch.quick]", "warmup_epochs", "warm_epochs",
        "unknown key 'warm_epochs'; did you mean warmup_epochs"),
    "weight of an unknown term": ("[quick]", "drloc =", "drlok =", "unknown term 'drlok'; did you mean drloc"),
    "weight that is no number": ("[quick]", "drloc = 0.1", 'drloc = "0.1"', "drloc: expected a number, got '0.1'"),
    "floor of an unknown model": ("floors", "t2t =", "t3t =", "unknown model 't3t'; did you mean t2t"),
    "unknown key of quick": ("[quick]", "floors ", "floor ", "unknown key 'floor'; did you mean floors"),
    "unknown recipe": ('[tables."4.2"]', '"scratch"', '"scrach"', "unknown recipe 'scrach'; did you mean scratch"),
    "unknown key of a table": ('[tables."4.2"]', "where ", "were ", "unknown key 'were'; did you mean where"),
    "unknown data set": ('[tables."4.1"]', '"cifar100"', '"cifar1000"',
        "unknown data set 'cifar1000'; did you mean cifar100"),
    "unknown data set of a metric": ('metric = "adversarial', 'dataset = "cifar10"', 'dataset = "cifr10"',
        "unknown data set 'cifr10'"),
    "unknown metric": ("metric = \"fgsm", "fgsm_drop", "fgsm_dropp",
        "unknown metric 'fgsm_dropp'; did you mean fgsm_drop"),
    "half a column": ("adversarial_accuracy", '{ dataset = "cifar10", metric', "{ metric",
        "a column is a data set, or {"),
    "a column that is a number": ('[tables."4.5"]', '["cifar10"]', "[10]", "a column is a data set, or {"),
    "a column twice": ('[tables."4.1"]', '["cifar10", "cifar100"]', '["cifar10", "cifar10"]',
        "the column 'cifar10' stands here twice"),
    "unknown row model": ('[tables."4.3"]', '["t2t",    "ce + 0.05*me"', '["t3t", "ce + 0.05*me"',
        "unknown model 't3t'; did you mean t2t"),
    "unknown row term": ('[tables."4.3"]', '0.05*me",              62.45', '0.05*mee", 62.45',
        "unknown term 'mee'; did you mean me"),
    "unknown term in a sum": ('[tables."4.3"]', '0.05*drloc + 0.05*me", 63.21', '0.05*drlc + 0.05*me", 63.21',
        "unknown term 'drlc'; did you mean drloc"),
    "unknown row argument": ("ratio=0.70)", "ratio=0.70)", "ration=0.70)",
        "unknown argument of me 'ration'; did you mean ratio"),
    "an objective that is none": ('"ce + 0.2*me",   83.83', "ce + 0.2*me", "ce + 0.2me",
        "cannot read the objective 'ce + 0.2me'"),
    "a term twice": ('"ce + 0.2*me",   83.83', "ce + 0.2*me", "ce + me + me", "names 'me' twice"),
    "a row too short": ('"ce + 0.2*me",   83.83', ", 47.39", "", "a row is a model, an objective and 2 numbers"),
    "a first row too short": ('[tables."4.3"]', ', 35.08', "", "a row is a model, an objective and 2 numbers"),
    "a row too long": ('"ce + 0.2*me",   83.83', ", 47.39", ", 47.39, 1.0",
        "a row is a model, an objective and 2 numbers"),
    "a row that is none": ('"ce + 0.2*me",   83.83', '["vit",    "ce",            62.45, 33.44]', '"vit"',
        "a row is a model, an objective and 2 numbers"),
    "an objective that is a number": ('[tables."4.2"]', '"ce + 0.05*me",  62.45', "0.05, 62.45",
        "a row is a model, an objective"),
    "a short row in the second part": ('parts]]\ncolumns = ["cifar100"]', "        33.21", "",
        "an objective and 1 numbers"),
    "a row of the first part in the second": ('parts]]\ncolumns = ["cifar100"]', '        33.21', ' 60.57, 33.21',
        "an objective and 1 numbers"),
    "a number above its range": ('[tables."4.1"]', "81.68", "181.68", "accuracy is a number in [0, 100]"),
    "a number below its range": ('[tables."4.1"]', "81.68", "-81.68", "accuracy is a number in [0, 100]"),
    "a drop out of range": ("25.90]", "25.90", "-125.90", "fgsm_drop is a number in [-100, 100]"),
    "nan": ('[tables."4.1"]', "81.68", "nan", "accuracy is a number in [0, 100]"),
    "a truth value": ('[tables."4.1"]', "81.68", "true", "accuracy is a number in [0, 100]"),
    "a string for a number": ('[tables."4.1"]', "81.68", '"81.68"', "or \"-\" if not printed, got '81.68'"),
    "the same row again": ('"ce + 0.2*drloc",   79.24', '["vit",    "ce", ', '["resnet", "ce + 0.2*drloc",',
        "resnet under ce + 0.2*drloc stands in this table before"),
    "the same row, copied": ('[tables."4.2"]', '"ce + 0.05*me",  83.17, 43.28', '"ce + 0.025*me", 82.58, 40.58',
        "resnet under ce + 0.025*me stands in this table before"),
    "the same sum in another order": ('"ce + 0.1*drloc + 0.1*me",   84.71', '["vit",    "ce", ',
        '["resnet", "0.1*me + ce + 0.1*drloc", ',
        "resnet under ce + 0.1*drloc + 0.1*me stands in this table before"),
    "rows beside parts": ('[tables."4.4"]', 'notes   =', 'rows = []\nnotes =', "unknown key 'rows'"),
    "note on an absent cell": ("notes   =", '"ce + 0.1*me"', '"ce + 0.2*me"',
        "the note is on ('vit', 'ce + 0.2*me', 'cifar10'), which is no cell of this table"),
    "note without a text": ("notes   =", 'text =', 'txt =', "unknown key 'txt'; did you mean text"),
    "unknown key of a part": ("[[tables.\"4.4\".parts]]\ncolumns = [\"cifar100\"]", "columns =", "colums =",
        "unknown key 'colums'; did you mean columns"),
    "unknown conclusion table": ("does not help the original ViT", '"4.1"', '"4.11"',
        "unknown table '4.11'; did you mean 4.1"),
    "unknown conclusion model": ("does not help the original ViT", '"vit"', '"vitt"',
        "unknown model 'vitt'; did you mean vit"),
    "unknown conclusion data set": ("does not help the original ViT", '"cifar100"', '"cifar1000"',
        "unknown dataset 'cifar1000'; did you mean cifar100"),
    "unknown relation": ("does not help the original ViT", '"lower"', '"lowr"',
        "unknown is 'lowr'; did you mean lower"),
    "unknown conclusion metric": ("more robust to FGSM", '"fgsm_drop"', '"fgsm"',
        "unknown metric 'fgsm'; did you mean fgsm_drop"),
    "unknown quantifier": ("ME outperforms DRLoc on most", '"most"', '"some"', "unknown holds_for 'some'"),
    "unknown key of a conclusion": ("does not help T2T", "models ", "modls ",
        "unknown key 'modls'; did you mean models"),
    "a bound in words": ("DRLoc raises ResNet by 3", "3.0", '"3"', "by_at_least: expected a number, got '3'"),
    "a side that is no row": ("not more than 2 points", "0.2*drloc", "0.3*drloc",
        "Table 4.1 prints no accuracy of t2t under 'ce + 0.3*drloc' on cifar100"),
    "a side that is no objective": ("not more than 2 points", "0.2*drloc", "0.2drloc", "cannot read the objective"),
    "a conclusion about no model": ("does not help the original ViT", '["vit"]', "[]",
        "models: expected at least one model"),
    "a conclusion about no data set": ("more robust to FGSM", '["cifar10"]', "[]",
        "datasets: expected at least one dataset"),
}  # fmt: skip


def refusal(path):
    with pytest.raises(UserError) as refused:
        papers.load(path)
    text = str(refused.value)
    assert text.isprintable(), text
    place, message = re.fullmatch(rf"{re.escape(str(path))}:(\d+)\b(.*)", text).groups()
    return int(place), message


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_that_names_file_line_and_the_way_out(tmp_path, name):
    *edit, message = MISTAKES[name]
    path, line = edited(tmp_path, *edit)
    found, text = refusal(path)
    assert message in text
    assert found == line


# What is missing has no line: the section that misses it has.
@pytest.mark.parametrize(
    ("anchor", "old", "heading", "message"),
    [
        ("title", 'authors = "Alexandros Floros"\n', "# What", "the key 'authors' is missing; expected a string"),
        ("[recipes.scratch]", 'protocol  = "paper"\n', "[recipes.scratch]", "the key 'protocol' is missing"),
        ("phases]]", "batch_size   = 128\n", "[[recipes.scratch.phases]]", "the key 'batch_size' is missing"),
        ("phases]]", 'name = "adam", ', "optimizer    = { lr", "the key 'name' is missing"),
        ('[tables."4.3"]', 'recipe  = "scratch"\n', '[tables."4.3"]', "the key 'recipe' is missing"),
        ('[tables."4.3"]', 'columns = ["cifar10", "cifar100"]\n', '[tables."4.3"]', "the key 'columns' is missing"),
        ('columns = ["cifar100"]\nrows', "columns =", '[[tables."4.4".parts]]\n#', "the key 'columns' is missing"),
    ],
)  # fmt: skip
def test_what_is_missing_is_told_at_the_heading_of_its_section(tmp_path, anchor, old, heading, message):
    path, _ = edited(tmp_path, anchor, old, "#" if old == "columns =" else "")
    found, text = refusal(path)
    assert message in text
    lines = path.read_text(encoding="utf-8")
    assert found == lines.count("\n", 0, lines.index(heading)) + 1


def test_a_conclusion_without_a_text_is_told_at_its_own_heading(tmp_path):
    path, line = edited(tmp_path, "does not help the original ViT", 'text     = "DRLoc does not help T2T', '# "DRLoc')
    found, text = refusal(path)
    assert "the key 'text' is missing" in text
    assert found == line - 1


def test_a_metric_that_a_table_does_not_print_is_told_at_the_side(tmp_path):
    path, line = edited(tmp_path, "more robust to FGSM", '"fgsm_drop"', '"knn"')
    found, text = refusal(path)
    assert "Table 4.6 prints no knn of resnet under 'ce + 0.1*drloc' on cifar10" in text
    assert found == line - 3


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", 1, "the key 'title' is missing; expected a string"),
        (b"# nothing\n", 1, "the key 'title' is missing; expected a string"),
        (b"title = 'x'\n[models\n", 2, "cannot be read as TOML"),
        (b"title = 'x'\nauthors = '\xe9'\n", 2, "this is not UTF-8"),
        (TEXT.encode("utf-16"), 1, "this is not UTF-8"),
        (TEXT.encode()[:3000], None, "cannot be read as TOML"),
        (b"\x89PNG\r\n\x1a\n", 1, "this is not UTF-8"),
    ],
    ids=["empty", "a comment", "no TOML", "Latin-1", "UTF-16", "torn", "a picture"],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, content, line, message):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    found, text = refusal(path)
    assert message in text
    assert found == (line or content.count(b"\n") + 1)


def example():
    """The file that the documentation shows."""
    page = (ROOT / "docs" / "adding-a-paper.md").read_text(encoding="utf-8")
    return re.search(r"```toml\n(.*?)```", page, re.DOTALL)[1]


def test_the_example_of_the_documentation_can_be_read(tmp_path):
    path = tmp_path / "mine2026.toml"
    path.write_text(example(), encoding="utf-8")
    paper = papers.load(path)
    assert paper.name == "mine2026"
    assert [case.id for case in paper.cases] == ["mine2026/4.1/vit/ce/cifar10", "mine2026/4.1/vit/ce+0.1drloc/cifar10"]
    assert len(paper.conclusions) == 1


def test_a_cell_that_is_not_printed_is_no_case(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(example().replace("61.08, 25.60", '"-", 25.60'), encoding="utf-8")
    (_, case) = papers.load(path).cases
    assert [(claim.metric, claim.value) for claim in case.claims] == [("fgsm_drop", 25.6)]
    path.write_text(example().replace("61.08, 25.60", '"-", "-"').partition("[[conclusions]]")[0], encoding="utf-8")
    assert len(list(papers.load(path).cases)) == 1


@pytest.mark.parametrize("rows", ["[]", '[["vit", "ce", "-", "-"]]'])
def test_a_table_without_a_number_is_refused(tmp_path, rows):
    path = tmp_path / "mine.toml"
    path.write_text(re.sub(r"rows = \[.*?\n\]", f"rows = {rows}", example(), flags=re.DOTALL), encoding="utf-8")
    found, text = refusal(path)
    assert "this table has no number; give it columns and rows" in text
    assert example().splitlines()[found - 1] == '[tables."4.1"]'


def test_a_model_without_a_tiny_form_is_its_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(example().replace(', tiny = "vit/tiny"', ""), encoding="utf-8")
    assert papers.load(path).models["vit"].tiny == "vit/floros2024"


def test_papers_come_in_order_of_name(tmp_path):
    for name in ("b2026", "a2026", "c2025"):
        (tmp_path / f"{name}.toml").write_text(example(), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no paper")
    assert [paper.name for paper in papers.load_all(tmp_path)] == ["a2026", "b2026", "c2025"]


def test_a_checkout_has_its_data_beside_the_package_and_a_wheel_within(tmp_path, monkeypatch):
    package = tmp_path / "vitbench"
    monkeypatch.setattr(papers.vitbench, "__path__", [str(package)])
    (package / "data" / "papers").mkdir(parents=True)
    assert papers.data_folder() == package / "data"
    (tmp_path / "baselines" / "papers").mkdir(parents=True)
    assert papers.data_folder() == tmp_path / "baselines"


def test_every_printed_number_is_one_row_of_the_long_form(tmp_path):
    path = tmp_path / "mine2026.toml"
    path.write_text(example().replace("28.32", "28"), encoding="utf-8")
    rows = list(papers.claims((papers.load(path),)))
    assert len(rows) == 4
    assert rows[1] == {
        "paper": "mine2026",
        "table": "4.1",
        "model": "vit",
        "objective": "ce",
        "dataset": "cifar10",
        "recipe": "scratch",
        "metric": "fgsm_drop",
        "value": "28.00",
        "source": "printed",
        "status": "runnable",
    }
    assert all(row["metric"] in METRICS for row in rows)


def test_the_long_form_rounds_nothing_away(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(example().replace("28.32", "28.3256"), encoding="utf-8")
    assert [row["value"] for row in papers.claims((papers.load(path),))] == ["62.45", "28.3256", "61.08", "25.60"]


def test_what_comes_along_can_be_read_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(PAPER, tmp_path / "copy.toml")
    assert len(list(papers.load(Path("copy.toml")).cases)) == len(list(papers.load(PAPER).cases))


def test_sets_of_terms_with_one_choice_of_weights_and_arguments_were_not_weighed(tmp_path):
    path = tmp_path / "mine.toml"

    def unweighed(*rows):
        body = ", ".join(f'["vit", "{one}", 60.0, 20.0]' for one in rows)
        text = re.sub(r"rows = \[.*?\n\]", f"rows = [{body}]", example(), flags=re.DOTALL)
        path.write_text(text.partition("[[conclusions]]")[0], encoding="utf-8")
        return papers.load(path).unweighed

    assert unweighed("ce", "ce + 0.1*me") == {("ce",), ("ce", "me")}
    assert unweighed("ce", "ce + 0.1*me", "ce + 0.2*me") == {("ce",)}
    assert unweighed("ce + 0.1*me", "ce + 0.1*me(depth=2)", "2.5*ce + drloc") == {("ce", "drloc")}
    # The example takes 32 pairs anyway.
    assert unweighed("ce + 0.1*drloc", "ce + 0.1*drloc(pairs=32)") == {("ce", "drloc")}
    assert unweighed("ce + 0.1*drloc", "ce + 0.1*drloc(pairs=8)") == frozenset()
