"""Arguments of the command line: each mistake is refused in one line, before anything is made."""

import pytest

from vitbench import cli

RUN = ("run", "floros2024/4.1/vit/ce/digits")
RECORD = ("record", "--machine", "mine", "--reason", "why")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((*RUN, "--runs", ""), "--runs is empty; name a folder"),
        ((*RUN, "--data", ""), "--data is empty; name a folder"),
        ((*RUN, "--runs", "a" * 300), "cannot be used (File name too long); name another folder"),
        ((*RUN, "--seed", "-3"), "--seed is a number from 0 to 2**63 - 1, got -3"),
        ((*RUN, "--seed", "x"), "argument --seed: invalid int value: 'x'; see `vitbench run --help`"),
        (("report", "--out", ""), "--out is empty; name a folder"),
        (("report", "--recorded", ""), "--recorded is empty; name a folder"),
        (("doctor", "--data", " "), "--data is empty; name a folder"),
        ((*RECORD, "--seeds", "0"), "--seeds is a number of trainings, at least 1 and at most 1000, got 0"),
        ((*RECORD, "--seeds", "-1"), "--seeds is a number of trainings, at least 1 and at most 1000, got -1"),
        (("record", "--machine", "any", "--reason", "why"), "--machine any is kept for sizes; name the machine"),
        (("list", "--objective", "-1*ce"), "one that begins with a minus is written --objective=-..."),
        (("list", "nothing"), "invalid choice: 'nothing'"),
        ((), "the following arguments are required: COMMAND; see `vitbench --help`"),
    ],
)
def test_a_mistake_is_refused_in_one_line(capsys, tmp_path, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITBENCH_COMMIT", "3f2c1ab")
    monkeypatch.setattr("vitbench.machine.commit", lambda: "3f2c1ab")
    try:
        code = cli.main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    err = capsys.readouterr().err
    assert code == 2
    assert line in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_objective_that_begins_with_a_minus_is_taken(capsys):
    for argument in (["--objective=-1*ce"], ["--objective", "-0.1*me + ce"]):
        assert cli.main(["list", *argument]) == 0
        out = capsys.readouterr().out
        assert "/vit/-1ce/" in out or "/vit/ce+-0.1me/" in out
