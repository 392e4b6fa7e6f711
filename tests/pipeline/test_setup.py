"""Set-up and the Makefile on machines that are unlike ours: what is missing is told, at once."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.committed import clone_of_head
from tests.pipeline.conftest import Project
from tests.raw_files import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SET_UP = ".ci/environment.py"
NAMES_OF_USER = ("LOGNAME", "USER", "LNAME", "USERNAME")
# It notes how it was called; Python that make asks of its version is the real one.
PROGRAM = """\
#!/bin/sh
case "$1" in -ISc) exec "{python}" "$@" ;; esac
case "$*" in repro*) sleep 0.3 ;; esac
echo "$(basename "$0") $*" >> calls
echo "$LOGNAME" >> names
"""


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def make(folder: Path, *arguments: str, **environment: str | None) -> Any:
    """Run make as a person does who has no environment activated; None takes a variable away."""
    outside = [each for each in os.environ["PATH"].split(":") if "venv" not in each]
    merged = {
        **os.environ,
        "PATH": ":".join(outside),
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
    }
    merged |= {name: value for name, value in environment.items() if value is not None}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={
            name: value for name, value in merged.items() if environment.get(name, "") is not None
        },
        encoding="utf-8",
        capture_output=True,
        check=False,
    )


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """What set-up needs of the project, in a folder with a space in its name."""
    folder = tmp_path / "a folder" / "project"
    (folder / ".ci").mkdir(parents=True)
    for name in ("Makefile", SET_UP):
        shutil.copy(ROOT / name, folder / name)
    (folder / "requirements.lock").touch()
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


@pytest.fixture
def ready(fresh: Path) -> Path:
    """The same after a set-up, with programs that only note how they are called."""
    for name in ("python", "dvc"):
        script(fresh / ".venv/bin" / name, PROGRAM.format(python=sys.executable))
    version = " ".join(map(str, sys.version_info[:2]))
    (fresh / ".venv/.installed").write_text(f"{version} {fresh}\n", encoding="utf-8")
    return fresh


def sets_up(folder: Path, *arguments: str) -> bool:
    """Whether make would make the environment anew."""
    told = make(folder, "--dry-run", "results", *arguments)
    assert told.returncode == 0, told.stderr
    assert "-m stages results" in told.stdout
    return SET_UP in told.stdout


def test_no_recipe_leaves_it_to_path_which_program_of_the_environment_runs() -> None:
    # GNU make 3.81 (every Mac) looks its programs up in the PATH that it was started with.
    installed = {path.name for path in Path(sys.executable).parent.iterdir()}
    assert {"python", "dvc", "uv", "pytest", "npx"} <= installed
    lines = re.findall(r"^\t[@-]?(.*(?:\\\n.*)*)", MAKEFILE, re.MULTILINE)
    commands = [each for line in lines for each in re.split(r"&&|\|\||[;{]", line)]
    started = [re.sub(r"^\s*(?:\w+=\S* )*", "", each).partition(" ")[0] for each in commands]
    assert len([each for each in started if each.startswith("$(BIN)/")]) > 20
    assert not installed & set(started)


@pytest.mark.parametrize("flags", ["", "-j4"])
def test_results_are_judged_when_they_are_there(ready: Path, flags: str) -> None:
    assert make(ready, "repro", "reproduced", MAKEFLAGS=flags).returncode == 0
    calls = (ready / "calls").read_text(encoding="utf-8").splitlines()
    stages = "python -m stages"
    compare = f"{stages} compare HEAD --reproduced"
    assert [each.strip() for each in calls] == [
        *(f"{stages} params", "dvc remote default", "dvc ls-url remote://", "dvc repro --pull"),
        *(f"{stages} results", compare),
    ]


def test_dvc_is_told_a_name_for_a_user_who_has_none(ready: Path) -> None:
    assert make(ready, "photos", **dict.fromkeys(NAMES_OF_USER)).returncode == 0
    assert (ready / "names").read_text(encoding="utf-8").strip()
    assert make(ready, "photos", LOGNAME="somebody").returncode == 0
    assert (ready / "names").read_text(encoding="utf-8").endswith("\nsomebody\n")


def test_pages_are_not_served_to_others_because_a_shell_has_a_host(ready: Path) -> None:
    assert "--host" not in make(ready, "--dry-run", "ui", HOST="0.0.0.0").stdout  # noqa: S104
    assert "--host me" in make(ready, "--dry-run", "ui", "HOST=me").stdout


def test_an_environment_is_made_anew_where_it_would_be_another(ready: Path) -> None:
    assert not sets_up(ready)
    copied = ready.parent / "copied"
    shutil.copytree(ready, copied)
    assert sets_up(copied)
    other = script(ready.parent / "python", "#!/bin/sh\necho 3 99 $PWD\n")
    assert sets_up(ready, f"PYTHON={other}".replace(" ", r"\ "))
    assert not sets_up(ready, f"PYTHON={sys.executable}")
    python = ready / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nonexistent/python3")  # as after an upgrade of the system
    assert sets_up(ready)


def test_an_environment_that_was_moved_is_made_anew_and_so_is_one_half_made(ready: Path) -> None:
    moved = ready.rename(ready.parent / "moved")
    assert sets_up(moved)
    moved.rename(ready)
    assert not sets_up(ready)
    (ready / ".venv/.installed").unlink()  # the last thing that set-up writes
    assert sets_up(ready)


def test_an_environment_that_is_a_link_is_not_emptied(fresh: Path) -> None:
    precious = fresh.parent / "other" / "precious"
    precious.parent.mkdir()
    precious.touch()
    (fresh / ".venv").symlink_to(precious.parent)
    finished = make(fresh, "setup", f"PYTHON={sys.executable}")
    assert finished.returncode == 2
    assert "ERROR: .venv is a link" in finished.stderr
    assert precious.exists()


def assert_refused(finished: Any, folder: Path, reason: str) -> None:
    errors = [line for line in finished.stderr.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1, finished.stderr
    assert reason in errors[0]
    assert finished.returncode == 2
    assert not (folder / ".venv").exists()  # so nothing was fetched


@pytest.mark.parametrize("module", ["_sqlite3", "_ssl", "_lzma", "_ctypes", "ensurepip", "venv"])
def test_a_python_that_lacks_a_part_is_refused(fresh: Path, tmp_path: Path, module: str) -> None:
    lacking = f"raise ImportError('No module named {module}')\n"
    script(tmp_path / "lacking" / f"{module}.py", lacking)
    text = f'#!/bin/sh\nPYTHONPATH="{tmp_path}/lacking" exec {sys.executable} "$@"\n'
    python = script(tmp_path / "python", text)
    finished = make(fresh, "setup", f"PYTHON={python}")
    assert_refused(finished, fresh, f"lacks {module.lstrip('_')} of Python's own library")
    assert "make PYTHON=" in finished.stderr


def test_a_python_that_is_too_old_is_refused(fresh: Path, tmp_path: Path) -> None:
    text = '#!/bin/sh\ntest "$1" != --version || echo Python 3.10.9\nexit 1\n'
    python = script(tmp_path / "python", text)
    finished = make(fresh, "setup", f"PYTHON={python}")
    assert_refused(finished, fresh, "3.13 is needed; " + f"{python} is Python 3.10.9.")


def test_a_machine_without_tensorflow_is_refused(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment.platform, "machine", lambda: "riscv64")
    with pytest.raises(SystemExit, match="2"):
        environment.check_python()
    assert capsys.readouterr().err.startswith("ERROR: there is no TensorFlow for ")


def test_a_folder_that_is_no_repository_is_refused(fresh: Path) -> None:
    shutil.rmtree(fresh / ".git")
    finished = make(fresh, "setup", f"PYTHON={sys.executable}")
    assert_refused(finished, fresh, "is no Git repository, which DVC needs")
    first, second = re.findall("`(.*?)`", finished.stderr)
    for command in (first, second):  # the two that it names are all that it needs
        identity = ("-c", "user.name=T", "-c", "user.email=t@example.invalid", "commit")
        with_identity = command.replace("commit", " ".join(identity))
        subprocess.run(with_identity, shell=True, cwd=fresh, check=True, capture_output=True)  # noqa: S602
    Project(fresh).run("git", "rev-parse", "--verify", "main")


def test_a_machine_without_git_is_refused(fresh: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "cat", "id"):
        (programs / name).symlink_to(str(shutil.which(name)))
    make_itself = str(shutil.which("make"))
    (programs / "make").symlink_to(make_itself)
    finished = make(fresh, "setup", f"PYTHON={sys.executable}", PATH=str(programs))
    assert_refused(finished, fresh, "there is no program git")


@pytest.fixture
def environment() -> ModuleType:
    """The script of set-up."""
    specification = importlib.util.spec_from_file_location("environment", ROOT / SET_UP)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_uv_is_told_of_the_mirrors_in_the_settings_of_pip(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\nindex-url = https://for.all/simple\nfind-links = /a\n  /b\n"
        "[install]\nindex-url = https://for.install/simple\n"
        "extra-index-url = https://one/simple\n  https://two/simple\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    found = environment.settings_for_uv(
        environment.output(sys.executable, "-m", "pip", "config", "list")
    )
    assert found["UV_DEFAULT_INDEX"] == "https://for.install/simple"
    assert found["UV_INDEX"].endswith("https://one/simple https://two/simple")
    assert found["UV_FIND_LINKS"] == "/a,/b"
    monkeypatch.setenv("PIP_INDEX_URL", "https://of.environment/simple")
    listed = environment.output(sys.executable, "-m", "pip", "config", "list")
    assert environment.settings_for_uv(listed)["UV_DEFAULT_INDEX"] == (
        "https://of.environment/simple"
    )
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://of.uv/simple")
    assert "UV_DEFAULT_INDEX" not in environment.settings_for_uv(listed)  # uv's own counts


def test_a_terminal_gets_what_it_can_show(tmp_path: Path) -> None:
    project = Project(clone_of_head(tmp_path / "committed"))
    told = project.run("python", "-m", "stages", "results", PYTHONIOENCODING="ascii")
    assert re.search(r"\(\d\d\.\d - \d\d\.\d\)", told.stdout), told.stdout
    assert "?" not in told.stdout


def test_no_file_is_read_or_written_in_the_encoding_of_a_terminal() -> None:
    rule = ("--preview", "--select", "PLW1514", "--isolated")
    command = [sys.executable, "-m", "ruff", "check", *rule, "stages", ".ci"]
    finished = subprocess.run(command, cwd=ROOT, encoding="utf-8", capture_output=True, check=False)
    assert finished.returncode == 0, finished.stdout


def test_a_run_of_a_user_without_a_name_has_the_id(tiny: Project, tmp_path: Path) -> None:
    nameless = "import pwd\ndef nobody(uid): raise KeyError(uid)\npwd.getpwuid = nobody\n"
    script(tmp_path / "nameless" / "sitecustomize.py", nameless)
    unset = [word for name in NAMES_OF_USER for word in ("-u", name)]
    command = ("env", *unset, "python", "steps.py", "draw")
    told = tiny.run(*command, PYTHONPATH=str(tmp_path / "nameless"))
    assert "WARNING" not in told.stderr
    assert {run.data.tags["mlflow.user"] for run in tiny.runs()} == {str(os.getuid())}


def test_what_changes_results_is_put_aside_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stages.workflow import settings

    settings.put_aside()
    assert settings.put_aside() == []  # ours are not told of, nor those of a stage's own children
    for name in ("KERAS_MAX_EPOCHS", "TF_NUM_INTRAOP_THREADS", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TF_VAR_region", "eu")  # of Terraform
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert settings.put_aside() == [
        *("CUDA_VISIBLE_DEVICES", "KERAS_MAX_EPOCHS", "TF_NUM_INTRAOP_THREADS")
    ]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "1"


@pytest.mark.parametrize("name", ["prepare", "sync"])
def test_a_python_without_the_packages_is_told_in_one_line(name: str) -> None:
    # As when `.venv/bin/dvc` runs a stage and the environment is not activated. -S: no packages.
    done = subprocess.run(
        [sys.executable, "-S", "-m", "stages", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(
        r"ERROR: \S+ has no \w+, so it is not the project's environment; `source .*make.*\n",
        done.stderr,
    )
