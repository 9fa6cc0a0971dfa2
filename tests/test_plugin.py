"""The plugin as its users meet it: which cases are collected, and which mistakes are refused."""

import re
import shlex

import pytest

from vitbench import errors, judge, machine, papers
from vitbench.case import Budget
from vitbench.options import Options
from vitbench.selection import Selection

ID = re.compile(r"\[(floros2024/[^\]]+)\]")


def ids(result):
    return [ID.search(line)[1] for line in result.outlines if ID.search(line)]


def collected(suite, *arguments):
    return ids(suite("--collect-only", "-q", *arguments))


def only_accuracy(names):
    return [name for name in names if name.split("/")[1] not in ("size", "speed")]


# Selection


def test_quick_collects_one_row_per_model_and_set_of_terms_of_each_table(suite):
    names = only_accuracy(collected(suite))
    rows = {(name.split("/")[1], name.split("/")[2], re.sub(r"[\d.]+|_\w+", "", name.split("/")[3])) for name in names}
    assert len(rows) == len(names)
    assert {name.split("/")[4] for name in names} == {"digits"}
    assert {name.split("/")[1] for name in names} == {"4.1", "4.2", "4.3", "4.4", "4.5", "4.6"}


def test_k_me_selects_only_what_has_the_term_me(suite):
    names = collected(suite, "-k", "me")
    assert names
    assert all("me" in name.split("/")[3] for name in names)


def test_k_drloc_selects_only_what_has_the_term_drloc(suite):
    names = collected(suite, "-k", "drloc")
    assert names
    assert all("drloc" in name.split("/")[3] for name in names)


def test_k_paper_and_model_selects_that_model(suite):
    names = collected(suite, "-k", "floros2024 and vit")
    assert names
    assert {name.split("/")[2] for name in names} == {"vit"}


def test_the_command_that_repeats_a_case_selects_no_other(suite):
    options = Options(selection=Selection(budget=Budget.SHORT))
    name = "floros2024/4.1/vit/ce+0.1drloc/cifar10"  # which that on cifar100 begins with
    case = next(one for one in options.selection.cases(papers.load_all()) if one.id == name)
    program, folder, *arguments = shlex.split(judge.repeating(case, "accuracy", options))
    assert (program, folder) == ("pytest", "benchmarks")
    assert collected(suite, *arguments) == [name]


NET = """
from torch import nn
from vitbench.contracts import Output

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), nn.Linear(8, classes)

    def forward(self, images):
        grid = self.first(images)
        embedding = grid.mean(dim=(2, 3))
        return Output(logits=self.last(embedding), embedding=embedding, grids=(grid,))

def build(*, classes, image_size):
    return Net(classes)
"""
TERM = """
from torch import nn

VERSION = 1

class Spread(nn.Module):
    def forward(self, step):
        return -step.out.embedding.std(dim=0).mean()

def build(shape):
    return Spread()
"""


def test_what_a_package_brings_has_plain_ids_and_its_rows(suite, pytester, package, distribution, executed):
    package("nets.py", NET)
    package("losses.py", TERM)
    name = package("data.py", "VERSION = 1\nCLASSES = 3\nIMAGE_SIZE = 16\nDIGEST = 'd1'\ndef build(*_, **__): ...\n")
    modules = {"terms": "spread = {}.losses", "models": "mixer = {}.nets", "datasets": "letters = {}.data"}
    distribution("mypkg", "".join(f"[vitbench.{kind}]\n{line.format(name)}\n" for kind, line in modules.items()))
    options = ("--objective", "ce + 0.1*spread", "--model", "mixer", "--dataset", "letters")
    chosen = "test_accuracy and floros2024/4.1 and mixer and (spread or /ce/)"
    suite("-k", chosen, *options).assert_outcomes(passed=2)
    assert [(str(one.objective), one.model, one.dataset) for one in executed] == [
        ("ce", "mixer", "letters"),
        ("ce + 0.1*spread", "mixer", "letters"),
    ]
    assert executed[1].versions["terms/spread"] == executed[1].versions["datasets/letters"] == "1 of mypkg"
    found = ids(suite("--collect-only", "-q", "-k", chosen, *options))
    assert found == ["floros2024/4.1/mixer/ce/letters", "floros2024/4.1/mixer/ce+0.1spread/letters"]
    report = (pytester.path / ".vitbench/report/floros2024.md").read_text()
    assert re.search(r"^\| mixer +\| ce \+ 0\.1\\?\*spread +\| 97\.00", report, re.M)
    board = (pytester.path / ".vitbench/report/leaderboard.md").read_text()
    assert re.search(r"^### letters, `quick` budget", board, re.M)
    assert re.search(r"^\|.*\| mixer +\|.*ce \+ 0\.1\\?\*spread +\|.*\| 97\.00", board, re.M)


def test_k_selects_as_well_in_a_checkout_called_vitbench(suite, pytester):
    folder = pytester.mkdir("vitbench-me")
    (pytester.path / "benchmarks").rename(folder / "benchmarks")
    result = pytester.runpytest_inprocess(
        "-p",
        "vitbench.plugin",
        "--rootdir",
        str(folder),
        str(folder / "benchmarks"),
        "--collect-only",
        "-q",
        "-k",
        "me",
    )
    assert all("me" in name.split("/")[3] for name in ids(result))


def test_ids_are_unique_and_the_same_every_time(suite):
    first, second = suite("--collect-only", "-q"), suite("--collect-only", "-q")
    nodes = [line for line in first.outlines if "::" in line]
    assert nodes == [line for line in second.outlines if "::" in line]
    assert len(set(nodes)) == len(nodes)


def test_the_paper_budget_collects_every_printed_row(suite):
    assert len(only_accuracy(collected(suite, "--budget", "paper"))) == 212


def test_all_rows_collects_every_row_on_the_digits(suite):
    names = only_accuracy(collected(suite, "--all-rows"))
    assert "floros2024/4.5/cvt/ce+0.1me_ratio0.9/digits" in names


def test_dataset_takes_the_place_of_the_digits(suite):
    names = only_accuracy(collected(suite, "--dataset", "cifar10"))
    assert {name.split("/")[4] for name in names} == {"cifar10"}


def test_objective_and_model_add_rows(suite):
    names = collected(suite, "--objective", "ce + 0.3*drloc(pairs=8)", "--model", "timm/resnet18", "-k", "4.1")
    assert "floros2024/4.1/vit/ce+0.3drloc_pairs8/digits" in names
    assert "floros2024/4.1/timm.resnet18/ce/digits" in names
    assert "floros2024/4.1/timm.resnet18/ce+0.3drloc_pairs8/digits" in names


def test_collection_imports_nothing_heavy(suite, pytester):
    pytester.makeconftest(
        """
        import sys
        HEAVY = {"torch", "torchvision", "timm", "pandas", "fvcore", "numpy", "sklearn", "matplotlib"}
        def pytest_sessionfinish(session):
            assert len(session.items) > 100
            print("HEAVY:", sorted(HEAVY & sys.modules.keys()))
        """
    )
    result = suite("--collect-only", "-q", "-s", "-p", "no:benchmark", subprocess=True)
    result.stdout.fnmatch_lines(["*HEAVY: []*"])


def test_collection_says_how_much_there_is_to_do(suite):
    suite("--collect-only", "-k", "floros2024/4.1 and vit").stdout.fnmatch_lines(
        ["vitbench: 2 runs behind 2 cases, 0 of them done*"]
    )


# Users' mistakes: one line, no traceback


def test_what_an_option_adds_and_no_selected_case_has_is_said(suite):
    added = ("--objective", "ce + 0.1*simclr", "--model", "timm/resnet18")
    lines = suite("--collect-only", "-k", "floros2024/4.1/vit and accuracy", *added).stdout
    lines.fnmatch_lines(["vitbench: --objective ce + 0.1*simclr is in none of the selected cases: -k leaves*"])
    lines.fnmatch_lines(["vitbench: --model timm/resnet18 is in none of the selected cases: -k leaves*"])
    found = suite("--collect-only", "-k", "4.1/timm and accuracy", "--model", "timm/resnet18").stdout
    found.no_fnmatch_line("*is in none of the selected cases*")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--model", "vitt"], "*--model: unknown model 'vitt'; did you mean vit*"),
        (["--model", "vit/tini"], "*--model: unknown variant of vit 'tini'; did you mean tiny*"),
        (["--objective", "ce + 0.1*drlocc"], "*--objective: unknown term 'drlocc'; did you mean drloc*"),
        (
            ["--objective", "ce + 0.1*me(ratoi=0.5)"],
            "*--objective: unknown argument of me 'ratoi'; did you mean ratio*",
        ),
        (["--objective", "ce + eval('1')"], "*--objective: cannot read the objective*"),
        (["--objective", "ce + 0.1*nowhere.mine"], "*--objective: term 'nowhere.mine': no module 'nowhere'*"),
        (["--dataset", "cifar11"], "*--dataset: unknown data set 'cifar11'; did you mean cifar10*"),
        (["--model", "timm/resnet81"], "*--model: unknown timm model 'resnet81'; did you mean resnet*"),
        (["--runs", "benchmarks/test_size.py"], "*--runs: benchmarks/test_size.py is a file; name a folder*"),
        (["--runs", ""], "*--runs is empty; name a folder*"),
        (["--runs", "a" * 300], "*--runs: aaa* cannot be used (*); name another folder*"),
        (["--report", ""], "*--report is empty; name a folder*"),
        (["--report", "benchmarks/test_size.py"], "*--report: benchmarks/test_size.py is a file; name a folder*"),
        (["--data", ""], "*--data is empty; name a folder*"),
        (["--data", "benchmarks/test_size.py"], "*--data: benchmarks/test_size.py is a file; name a folder*"),
        (["--seeds", "0"], "*--seeds is a number of trainings, at least 1 and at most 1000, got 0*"),
        (["--seeds", "1000000000"], "*--seeds is a number of trainings, at least 1 and at most 1000, got 1000000000*"),
    ],
)
def test_a_mistake_in_an_option_is_one_line_of_usage_error(suite, arguments, line):
    result = suite(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()
    assert len([one for one in result.errlines if one.strip()]) == 1


def test_a_foreign_readme_where_the_report_goes_is_refused_before_anything_is_trained(suite, pytester):
    (pytester.path / "README.md").write_text("# My project\n")
    result = suite("--report", ".")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*README.md is not one of our reports and would be overwritten*"])


def test_an_objective_that_begins_with_a_minus_is_written_with_an_equals_sign(suite):
    names = collected(suite, "--objective=-1*ce", "-k", "4.1 and vit")
    assert "floros2024/4.1/vit/-1ce/digits" in names


def test_gpu_without_a_gpu_is_one_line_of_usage_error(suite, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = suite("--gpu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--gpu: torch sees no GPU on this machine; leave --gpu out*"])


def test_gpu_means_the_paper_budget(suite, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    assert len(only_accuracy(collected(suite, "--gpu"))) == 212


def test_a_mistake_in_a_paper_file_is_one_line_at_collection(suite, monkeypatch):
    def broken(folder=None):
        raise errors.UserError("x.toml:7: unknown term 'drlocc'; did you mean drloc?")

    monkeypatch.setattr("vitbench.papers.load_all", broken)
    result = suite()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["x.toml:7: unknown term 'drlocc'; did you mean drloc?"])
    assert "Traceback" not in result.stdout.str()


def test_other_peoples_tests_are_left_alone(pytester):
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('case', [1])\ndef test_mine(case):\n    assert case\n")
    result = pytester.runpytest_inprocess("-p", "vitbench.plugin", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    assert "vitbench," not in result.stdout.str()
    assert not (pytester.path / ".vitbench").exists()


def test_a_folder_of_data_in_the_environment_breaks_nobodys_tests(pytester, monkeypatch):
    monkeypatch.setenv("VITBENCH_DATA", "a" * 300)
    pytester.makepyfile("def test_mine():\n    pass\n")
    result = pytester.runpytest_inprocess("-p", "vitbench.plugin", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


# A time limit


def test_under_a_time_limit_a_method_follows_its_baseline_and_what_is_done_comes_first(suite, executed, monkeypatch):
    monkeypatch.setattr(machine, "device_name", lambda device: "a processor that nothing was recorded on")
    chosen = "floros2024/4.1 and (vit or cvt) and test_accuracy"
    suite("-k", "floros2024/4.1 and vit and not drloc and test_accuracy").assert_outcomes(passed=1)
    executed.clear()
    result = suite("-k", chosen, "--time-limit", "10m")
    result.assert_outcomes(passed=4)
    assert [(one.model, one.objective.names) for one in executed] == [
        ("cvt/tiny", ("ce",)),
        ("cvt/tiny", ("ce", "drloc")),
        ("vit/tiny", ("ce", "drloc")),
    ]


def test_what_cannot_be_saved_in_time_is_skipped_with_its_reason_and_an_empty_session_is_not_green(suite, executed):
    result = suite("-rs", "-k", "floros2024/4.1 and vit and test_accuracy", "--time-limit", "1s")
    result.assert_outcomes(skipped=2)
    assert result.ret == 12
    result.stdout.fnmatch_lines(["*time limit: not started, for it could not be saved in time*"])
    assert not executed
