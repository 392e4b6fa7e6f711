"""dvc.yaml says what is true, so that DVC runs what is out of date and nothing else."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.__main__ import COMMANDS
from stages.__main__ import STAGES as NAMES
from tests.committed import clone_of_head
from tests.imports import imported_files, imported_packages

ROOT = Path(__file__).resolve().parents[2]
STAGES: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
LIBRARIES: dict[str, str] = YAML(typ="safe").load(ROOT / "libraries.yaml")
PACKAGES = {  # where a library is imported by another name
    "scikit-learn": "sklearn",
    "pillow": "PIL",
}
WITHOUT_TENSORFLOW = ("fetch_cifar10", "prepare", "train_baseline", "fetch_mobilenet", "draw")
HEAVY = ("tensorflow", "mlflow", "pandas", "sklearn", "git", "matplotlib")


def code_of(stage: str) -> set[str]:
    return {path for path in STAGES[stage]["deps"] if path.endswith(".py")}


@pytest.mark.parametrize("stage", STAGES)
def test_a_change_of_any_imported_module_makes_a_stage_run_again_and_of_no_other(
    stage: str,
) -> None:
    assert code_of(stage) == imported_files(f"stages.{stage}", ROOT)


@pytest.mark.parametrize("stage", STAGES)
def test_another_version_of_a_library_makes_the_stages_run_again_that_compute_with_it(
    stage: str,
) -> None:
    (declared,) = (each["libraries.yaml"] for each in STAGES[stage]["params"] if type(each) is dict)
    imported = imported_packages(code_of(stage), ROOT)
    assert declared == [name for name in LIBRARIES if PACKAGES.get(name, name) in imported]


def test_the_recorded_libraries_are_those_of_the_lock_file() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    for library, version in LIBRARIES.items():
        assert f"\n{library}=={version} " in lock, "run `make libraries.yaml`"


def test_the_import_walker_sees_imports_in_functions_and_none_of_the_type_checker() -> None:
    found = imported_files("stages.models.loading", ROOT)
    assert "stages/models/mobilenet.py" in found
    assert "stages/workflow/params.py" not in found


def test_packages_hold_no_code_that_deps_would_miss() -> None:
    for path in (ROOT / "stages").rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert [type(node) for node in body] == [ast.Expr], path


def test_no_param_has_a_name_that_the_run_cache_passes_over() -> None:
    # DVC's key of a stage in the run cache leaves out every entry with one of these names, so that
    # a result of another value would be taken for it (dvc/stage/cache.py, _get_cache_hash).
    def keys_in(values: Any) -> set[str]:
        if not isinstance(values, dict):
            return set()
        return values.keys() | {key for value in values.values() for key in keys_in(value)}

    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    assert keys_in(params) & {"size", "nfiles"} == set()


def test_each_box_of_the_pipeline_is_a_module_of_the_same_name() -> None:
    modules = {path.stem for path in (ROOT / "stages").glob("[!_]*.py")}
    assert modules == set(STAGES) == set(NAMES)
    assert all(STAGES[name]["cmd"] == f"python -m stages {name}" for name in STAGES)
    commands = {path.stem for path in (ROOT / "stages" / "commands").glob("[!_]*.py")}
    assert set(COMMANDS) <= commands


def test_the_test_split_is_read_by_the_stages_that_measure_and_draw_alone() -> None:
    readers = [name for name in STAGES if "data/prepared/test.npz" in STAGES[name]["deps"]]
    assert readers == ["evaluate", "draw"]
    reading = {
        path.stem
        for path in (ROOT / "stages").glob("*.py")
        if re.search(r'read_split\("test"\)|SPLIT_NAMES', path.read_text())
    }
    assert reading == set(readers)


def test_mlflow_is_imported_where_its_telemetry_has_been_turned_off_before() -> None:
    code = (
        "import stages.tracking.mirror, os; assert os.environ['MLFLOW_DISABLE_TELEMETRY'] == 'true'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_what_git_keeps_differs_from_run_to_run_by_no_time_and_no_path(tmp_path: Path) -> None:
    committed = clone_of_head(tmp_path / "committed")
    for stage in STAGES.values():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, []):
                if str(entry).startswith("data/"):
                    continue  # DVC keeps it, not Git
                ((path, options),) = entry.items()
                assert options["cache"] is False, path
                files = [committed / path, *(committed / path).rglob("*")]
                for file in files:
                    if file.suffix in {".json", ".csv"} and file.exists():
                        content = file.read_text()
                        pattern = r"seconds|duration|run_id|20\d\d-\d\d-\d\d"
                        assert not re.search(pattern, content), file


@pytest.mark.parametrize("stage", WITHOUT_TENSORFLOW)
def test_light_stages_do_not_wait_for_tensorflow(stage: str) -> None:
    code = f"import sys, stages.{stage}; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_stages_and_commands_explain_themselves_at_once() -> None:
    code = """if True:
        import contextlib, io, sys
        from stages.__main__ import COMMANDS, STAGES, main
        for name in ["", *STAGES, *COMMANDS]:
            said = io.StringIO()
            with contextlib.suppress(SystemExit), contextlib.redirect_stdout(said):
                main([*filter(None, [name]), "--help"])
            assert "usage: python -m stages" in said.getvalue(), name
            assert len(said.getvalue().splitlines()) > 5, name
        print(*sys.modules)
    """
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert not set(HEAVY) & set(said.split())


def test_a_name_that_is_none_is_one_line() -> None:
    command = [sys.executable, "-m", "stages", "train_cn"]
    finished = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert finished.returncode == 2
    assert "invalid choice: 'train_cn'" in finished.stderr
    assert "Traceback" not in finished.stderr
