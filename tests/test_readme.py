"""The new loss and the new model of the README get their rows; the rest of it is tried in test_docs.py."""

import re
from pathlib import Path

from tests.processes import few_epochs

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_new_loss_of_the_readme_gets_its_row(suite, pytester, monkeypatch):
    name = re.search(r"say `(mypkg/[\w/]+\.py)`", README)[1]
    code = re.search(r"```python\n(.*?)```", README, re.S)[1]
    path = pytester.path / name
    path.parent.mkdir(parents=True)
    path.write_text(code)
    pytester.makeconftest(few_epochs(1))
    command = re.search(r"pytest benchmarks (-k \"(?:floros2024/)?4.1/vit.*)", README)[1]
    selection, objective = re.findall(r'"([^"]+)"', command)
    result = suite("-k", f"test_accuracy and {selection}", "--objective", objective, subprocess=True)
    result.assert_outcomes(passed=2)
    report = (pytester.path / ".vitbench/report/floros2024.md").read_text()
    assert re.search(r"^\| ViT +\| ce \+ 0\.1\\?\*mypkg\.losses\.spread +\| \d", report, re.M)


def test_the_new_model_of_the_readme_gets_its_row(suite, pytester):
    pytester.makeconftest(few_epochs(1))
    command = re.search(r"pytest benchmarks (-k \"(?:floros2024/)?4.1/timm.*)", README)[1]
    selection = re.search(r'"([^"]+)"', command)[1]
    result = suite("-k", f"test_accuracy and {selection} and /ce/", "--model", command.split()[-1], subprocess=True)
    result.assert_outcomes(passed=1)
    report = (pytester.path / ".vitbench/report/floros2024.md").read_text()
    assert re.search(r"^\| timm/resnet18 +\| ce +\| \d", report, re.M)
