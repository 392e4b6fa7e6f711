"""dvc.yaml says what is true, so that DVC runs what is out of date and nothing else."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.imports import imported_files

ROOT = Path(__file__).resolve().parents[2]
STAGES: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
WITHOUT_TENSORFLOW = ("fetch_cifar10", "prepare", "train_baseline", "fetch_mobilenet")
COMMANDS = [path.stem for path in (ROOT / "stages" / "commands").glob("[!_]*.py")]


@pytest.mark.parametrize("stage", STAGES)
def test_a_change_of_any_imported_module_makes_a_stage_run_again(stage: str) -> None:
    declared = {path for path in STAGES[stage]["deps"] if path.endswith(".py")}
    assert declared == imported_files(f"stages.{stage}", ROOT)


def test_the_import_walker_sees_imports_inside_functions() -> None:
    assert "stages/models/mobilenet.py" in imported_files("stages.models.loading", ROOT)


def test_packages_hold_no_code_that_deps_would_miss() -> None:
    for path in (ROOT / "stages").rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert [type(node) for node in body] == [ast.Expr], path


def test_no_setting_has_a_name_that_the_run_cache_passes_over() -> None:
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
    assert modules == set(STAGES)
    assert all(STAGES[name]["cmd"] == f"python -m stages.{name}" for name in STAGES)


def test_the_test_split_is_read_by_evaluate_alone() -> None:
    readers = [name for name in STAGES if "data/prepared/test.npz" in STAGES[name]["deps"]]
    assert readers == ["evaluate"]
    for path in (ROOT / "stages").rglob("*.py"):
        if path.name != "evaluate.py":
            assert 'read_split("test")' not in path.read_text(), path


def test_mlflow_is_imported_where_its_telemetry_has_been_turned_off_before() -> None:
    importing = {
        path.name
        for path in (ROOT / "stages").rglob("*.py")
        if re.search(r"^\s*(import|from) mlflow", path.read_text(), re.MULTILINE)
    }
    assert importing == {"store.py"}
    code = (
        "import stages.tracking.mirror, os; assert os.environ['MLFLOW_DISABLE_TELEMETRY'] == 'true'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_no_result_differs_from_run_to_run_by_a_time_or_a_path() -> None:
    for stage in STAGES.values():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, []):
                if str(entry).startswith("data/"):
                    continue  # DVC keeps it, not Git
                ((path, options),) = entry.items()
                assert options["cache"] is False, path
                if (ROOT / path).suffix in {".json", ".csv"} and (ROOT / path).exists():
                    content = (ROOT / path).read_text()
                    assert not re.search(r"seconds|duration|run_id|20\d\d-\d\d-\d\d", content), path


@pytest.mark.parametrize("stage", WITHOUT_TENSORFLOW)
def test_light_stages_do_not_wait_for_tensorflow(stage: str) -> None:
    code = f"import sys, stages.{stage}; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_explain_themselves_without_tensorflow(command: str) -> None:
    module = f"stages.commands.{command}"
    if "def main" not in (ROOT / f"{module.replace('.', '/')}.py").read_text():
        return  # shared by the commands, not one itself
    code = f"import sys, {module} as c; sys.argv = ['x', '--help']; c.main()"
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    assert "usage:" in finished.stdout
    assert "tensorflow" not in finished.stderr


def test_a_stage_explains_itself() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "stages.train_baseline", "--help"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    assert "least squares" in finished.stdout
    assert "dvc repro" in finished.stdout
