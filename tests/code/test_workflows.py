"""CI runs what people run, with no more rights than it needs, and never fails for want of them."""

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.workflow.params import read_params

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github" / "workflows"
TEXTS = {path.name: path.read_text() for path in sorted(FOLDER.iterdir())}
WORKFLOWS: dict[str, Any] = {name: YAML(typ="safe").load(text) for name, text in TEXTS.items()}
JOBS = [
    pytest.param(job, id=f"{name}:{key}")
    for name, workflow in WORKFLOWS.items()
    for key, job in workflow["jobs"].items()
]
GITLAB: dict[str, Any] = YAML(typ="safe").load(ROOT / ".gitlab-ci.yml")
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
# What stands around make targets: it moves a text to where GitHub shows it.
SHELL = {'cat comparison/comparison.md >> "$GITHUB_STEP_SUMMARY"'}

MARKER = re.findall(r"^marker='(.*?)'", (ROOT / ".ci" / "comment").read_text(), re.MULTILINE)[0]


def steps_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    return list(job["steps"])


def assert_people_can_run(line: str) -> None:
    """The line is a make target, or a script of ours."""
    program, *arguments = shlex.split(line.removesuffix(" || true"))
    if program == "make":
        targets = [word for word in arguments if "=" not in word]
        assert targets
        assert set(targets) <= TARGETS, line
    else:
        assert program.startswith(".ci/"), line
        assert os.access(ROOT / program, os.X_OK), line


@pytest.mark.parametrize("job", JOBS)
def test_what_github_runs_people_can_run_before_they_push(job: dict[str, Any]) -> None:
    for step in steps_of(job):
        if "run" in step and step["run"] not in SHELL:
            assert_people_can_run(step["run"])


def test_what_gitlab_runs_people_can_run_before_they_push() -> None:
    jobs = [job for job in GITLAB.values() if isinstance(job, dict) and "script" in job]
    assert len(jobs) == 8
    for job in jobs:
        for line in (*job.get("before_script", []), *job["script"]):
            assert_people_can_run(line)


def test_github_and_gitlab_run_the_same() -> None:
    lines = {
        "github": [
            step.get("run", "")
            for workflow in WORKFLOWS.values()
            for job in workflow["jobs"].values()
            for step in job["steps"]
        ],
        "gitlab": [
            line
            for job in GITLAB.values()
            if isinstance(job, dict)
            for line in (*job.get("before_script", []), *job.get("script", []))
        ],
    }
    targets = {
        name: {line.split()[1] for line in found if line.startswith("make ")}
        for name, found in lines.items()
    }
    assert targets["github"] == targets["gitlab"]


@pytest.mark.parametrize("job", JOBS)
def test_a_tag_that_is_moved_changes_nothing_here(job: dict[str, Any]) -> None:
    for step in steps_of(job):
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}", step["uses"])
    for text in TEXTS.values():
        for line in text.splitlines():
            if "uses:" in line:
                assert re.search(r"@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_one_version_of_each_action() -> None:
    used = set(re.findall(r"uses: (actions/[a-z-]+)\S*@(\S+ # \S+)", "\n".join(TEXTS.values())))
    assert len(used) == len({action for action, _ in used})


@pytest.mark.parametrize("job", JOBS)
def test_no_job_can_do_more_than_it_must(job: dict[str, Any]) -> None:
    assert job["timeout-minutes"] <= 60
    may_comment = any(".ci/comment" in step.get("run", "") for step in job["steps"])
    wanted = {"contents": "read"} | ({"pull-requests": "write"} if may_comment else {})
    assert job["permissions"] == wanted
    for step in steps_of(job):
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
            assert may_comment == (
                "base.sha" in step["with"].get("ref", "")
            )  # not the change's code


@pytest.mark.parametrize("job", JOBS)
def test_what_a_change_made_does_not_come_to_lie_over_a_checkout(job: dict[str, Any]) -> None:
    for step in steps_of(job):
        if "actions/download-artifact@" in step.get("uses", ""):
            assert step["with"]["path"].startswith("${{ runner.temp }}/")


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_what_a_stranger_writes_is_never_run(workflow: dict[str, Any]) -> None:
    assert workflow["permissions"] == {}
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(workflow["on"])
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", "")


def test_a_champion_is_asked_for_on_main_alone_and_a_refusal_fails_nothing() -> None:
    steps = [step for job in WORKFLOWS["ci.yaml"]["jobs"].values() for step in job["steps"]]
    (asking,) = [step for step in steps if step.get("run") == "make champion"]
    assert asking["if"] == "github.event_name == 'push' && env.MLFLOW_TRACKING_URI != ''"
    assert WORKFLOWS["ci.yaml"]["on"]["push"] == {"branches": ["main"]}
    assert asking["continue-on-error"] is True
    # No other step is told of the server: what a pull request's code runs must not reach it.
    assert TEXTS["ci.yaml"].count("secrets.") == len(asking["env"])
    (rule,) = GITLAB["champion"]["rules"]
    assert rule["if"] == "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH && $MLFLOW_TRACKING_URI"
    assert GITLAB["champion"]["allow_failure"] is True


def test_what_caches_are_named_by_exists() -> None:
    named = re.findall(r"hashFiles\((.*?)\)", "\n".join(TEXTS.values()))
    files = {name for arguments in named for name in re.findall(r"'(.*?)'", arguments)}
    files |= {
        name
        for cache in GITLAB[".with-data"]["cache"]
        if isinstance(cache["key"], dict)
        for name in cache["key"]["files"]
    }
    assert "dvc.lock" in files
    assert all((ROOT / name).exists() for name in files)


def test_params_of_the_small_run_are_legal(tmp_path: Path) -> None:
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    _, _, rest = (ROOT / ".ci" / "smoke").read_text().partition("params=(\n")
    small = re.findall(r"^  ([\w.]+)=(\S+)", rest.partition("\n)\n")[0], re.MULTILINE)
    assert len(small) >= 8
    for name, value in small:
        *sections, key = name.split(".")
        section = params
        for each in sections:
            section = section[each]
        assert key in section
        section[key] = yaml.load(value)
    yaml.dump(params, tmp_path / "params.yaml")
    read_params(tmp_path / "params.yaml")


Comment = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def comment(tmp_path: Path) -> Comment:
    """Runs .ci/comment with a `gh` that notes its calls, finds a comment or none, or refuses."""
    program = tmp_path / "bin" / "gh"
    program.parent.mkdir()
    program.write_text(
        "#!/usr/bin/env bash\n"
        f'printf "%s\\n" "$*" >> {tmp_path}/calls\n'
        'for word in "$@"; do\n'
        f'  case "$word" in body=@*) cp "${{word#body=@}}" {tmp_path}/body ;; esac\n'
        "done\n"
        'case "$*" in *"${REFUSED:-none}"*) echo "gh: not accessible" >&2; exit 1 ;; esac\n'
        'case "$*" in *--jq*) printf "%s" "${FOUND:-}" ;; esac\n'
    )
    program.chmod(0o755)
    (tmp_path / "comparison.md").write_text(f"{MARKER}\n# worse: `cnn` $(id) é\n")

    def run(file: str = "comparison.md", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / ".ci" / "comment", "7", file],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            check=False,
            env={
                "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
                "GITHUB_REPOSITORY": "someone/project",
                "GITHUB_SERVER_URL": "https://github.example",
                "GITHUB_RUN_ID": "42",
                **environment,
            },
        )

    return run


def test_a_first_comment_is_made(comment: Comment, tmp_path: Path) -> None:
    finished = comment()
    assert (finished.returncode, finished.stdout) == (0, "")
    listing, posting = (tmp_path / "calls").read_text().splitlines()
    assert "--paginate repos/someone/project/issues/7/comments" in listing
    assert f'startswith("{MARKER}")' in listing
    assert "--method POST" in posting
    assert posting.endswith("repos/someone/project/issues/7/comments")
    marker, first, *_, last = (tmp_path / "body").read_text().splitlines()
    assert (marker, first) == (MARKER, "# worse: `cnn` $(id) é")
    assert last.endswith("(https://github.example/someone/project/actions/runs/42)")


def test_the_comment_that_is_there_is_renewed(comment: Comment, tmp_path: Path) -> None:
    assert comment(FOUND="11\n12").returncode == 0
    _, patching = (tmp_path / "calls").read_text().splitlines()
    assert "--method PATCH" in patching
    assert patching.endswith("repos/someone/project/issues/comments/11")


@pytest.mark.parametrize("refused", ["--paginate", "--method POST", "--method PATCH"])
def test_a_token_that_may_not_write_fails_nothing(comment: Comment, refused: str) -> None:
    finished = comment(REFUSED=refused, FOUND="11" if "PATCH" in refused else "")
    assert finished.returncode == 0
    assert finished.stdout.startswith("::notice::The comparison could not be commented")


def test_the_comment_is_known_by_what_the_comparison_writes() -> None:
    assert any(MARKER in path.read_text() for path in (ROOT / "stages").rglob("*.py"))


def test_without_a_comparison_there_is_no_comment(comment: Comment, tmp_path: Path) -> None:
    finished = comment("none.md")
    assert finished.returncode == 0
    assert finished.stdout.startswith("::notice::There is no comparison")
    assert not (tmp_path / "calls").exists()


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "huge", "another text", "zeros"])
def test_what_is_no_comparison_is_not_commented(
    comment: Comment, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "made.md"
    match kind:
        case "link":
            path.symlink_to("comparison.md")
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "huge":
            path.write_text(f"{MARKER}\n{'x' * 300_000}")
        case "another text":
            path.write_text(f"\n{MARKER}\n")
        case "zeros":
            path.write_bytes(bytes(1000))
    finished = comment("made.md")
    assert finished.returncode == 0
    assert finished.stdout.startswith("::notice::The")
    assert not (tmp_path / "calls").exists()


def test_every_target_is_in_the_help() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, text=True, capture_output=True, check=True)
    assert set(re.findall(r"^  make ([\w-]+) ", told.stdout, re.MULTILINE)) == TARGETS
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    assert set(phony[1].replace("\\\n", " ").split()) == TARGETS
