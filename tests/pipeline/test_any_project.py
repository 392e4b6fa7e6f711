"""The mirror on a DVC project that nobody made for it: all that DVC records is in MLflow."""

import shutil
import subprocess
from pathlib import Path

import mlflow
import pytest

from stages.workflow.revisions import workspace
from stages.workflow.staleness import stale_stages
from tests.pipeline.conftest import ROOT, Project
from tests.pipeline.tiny import copy_of


def said(*command: str, project: Project, check: bool = True) -> subprocess.CompletedProcess[str]:
    """What a command of this project says of another."""
    arguments = ("-m", "stages", *command, "--project", str(project.folder))
    finished: subprocess.CompletedProcess[str] = Project(ROOT).python(*arguments, check=check)
    return finished


@pytest.fixture(scope="module")
def synced(foreign: Project) -> Project:
    """The foreign project, of which MLflow has been told."""
    shown = said("sync", "--all-commits", project=foreign).stdout
    assert "3 revisions: runs 11 made from files; 3 summaries made" in shown
    assert "nothing to do" in said("sync", "-A", project=foreign).stdout
    return foreign


@pytest.fixture(scope="module")
def runs(synced: Project) -> dict[str, mlflow.entities.Run]:
    """Runs of stages, the latest of each, by stage."""
    return {run.data.tags["stage"]: run for run in synced.runs()}


def artifacts(project: Project, run: mlflow.entities.Run) -> set[str]:
    """Paths of a run's artifacts, but for the list of its code."""
    folder = project.folder / "mlartifacts" / run.info.run_id / "artifacts"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {"code.json"}


def client(project: Project) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")


def test_every_stage_that_dvc_makes_of_foreach_matrix_and_folders_has_a_run(
    synced: Project, runs: dict[str, mlflow.entities.Run]
) -> None:
    assert set(runs) == {
        "prepare",
        *("train@small", "train@large", "grid@a-1", "grid@a-2", "grid@b-1", "grid@b-2"),
        *("report", "stopped", "below/dvc.yaml:inner"),
    }
    assert len(synced.runs()) == 11, "a computation that two revisions share has one run"
    assert all("dvc.missing" not in run.data.tags for run in runs.values())
    experiment = client(synced).get_experiment(runs["prepare"].info.experiment_id)
    assert experiment.name == "project"  # its folder


def test_params_of_all_files_are_there(runs: dict[str, mlflow.entities.Run]) -> None:
    assert runs["prepare"].data.params == {
        "split": "0.2",
        "settings/more.json:depth": "3",
        "settings/code.py:WIDTH": "4",
        "settings/whole.yaml:one": "1",
        "settings/whole.yaml:two.three": "3",
    }
    assert runs["report"].data.params == {"nested/place/params.yaml:local": "True"}
    assert runs["below/dvc.yaml:inner"].data.params == {"below/params.yaml:inside": "7"}


def test_metrics_plots_and_their_steps_are_as_dvc_yaml_declares_them(
    synced: Project, runs: dict[str, mlflow.entities.Run]
) -> None:
    train, report = runs["train@small"], runs["report"]
    assert train.data.metrics == {
        "accuracy": 0.5,
        "loss": 1.5,
        "loss.train": 1.5,
        "loss.test_1": 2.5,  # MLflow takes no @
    }
    history = client(synced).get_metric_history(train.info.run_id, "loss")
    assert [(each.step, each.value) for each in history] == [(0, 3.0), (10, 1.5)]
    assert artifacts(synced, train) == {"tables/small.tsv"}
    assert report.data.metrics == {
        "step": 2,
        "train.acc": 0.75,
        "reported.loss": 0.25,
        "loss": 0.25,
        "train/acc": 0.75,
        "eval/acc": 0.625,
    }
    folder = "nested/place/live/plots/metrics"
    assert artifacts(synced, report) == {
        *("figures/sample.png", "tables/loss.tsv"),
        *(f"tables/{folder}/{split}/acc.tsv" for split in ("train", "eval")),
    }
    # What is kept and not declared as metrics is not: a vocabulary is no measurement.
    assert runs["prepare"].data.metrics == {}


def test_a_model_is_there_with_its_files_and_what_is_no_declared_model_is_not(
    synced: Project, runs: dict[str, mlflow.entities.Run]
) -> None:
    (logged,) = runs["train@small"].outputs.model_outputs
    model = client(synced).get_logged_model(logged.model_id)
    assert model.name == "small"
    folder = Path(model.artifact_location.removeprefix("file://"))
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "weights.bin": "small",
        "config.json": "{}",
    }
    assert not runs["train@large"].outputs.model_outputs


def test_data_are_datasets_and_code_is_not(runs: dict[str, mlflow.entities.Run]) -> None:
    def datasets(stage: str) -> set[str]:
        return {each.dataset.name for each in runs[stage].inputs.dataset_inputs}

    external = datasets("prepare") - {"raw.csv"}
    assert [Path(each).name for each in external] == ["elsewhere.txt"]  # out of the project
    assert datasets("train@small") == {"prepared"}
    assert datasets("report") == set()  # a model, and code
    assert "out.nested/place/live" in runs["report"].data.tags


def test_a_revision_is_a_row_of_all_settings_and_headline_metrics(synced: Project) -> None:
    (first,) = [run for run in synced.summaries().values() if run.data.tags["kind"] == "commit"]
    main = synced.summaries()["main"]
    assert (first.data.params["size.large"], main.data.params["size.large"]) == ("2", "20")
    assert main.data.params["settings/listed.toml:beside"] == "all"
    assert main.data.params["settings/code.py:WIDTH"] == "4"
    assert main.data.metrics["scores/small.loss.train"] == 1.5
    assert main.data.metrics["train.acc"] == 0.75  # no other file has that
    assert main.data.metrics["below/grid/inner5.score"] == 5
    assert first.data.tags["git.dirty"] == main.data.tags["git.dirty"] == "false"
    assert synced.summaries()["workspace"].data.tags["git.dirty"] == "false"


def test_lineage_leads_to_what_dvc_add_brought(synced: Project) -> None:
    shown = said("lineage", str(synced.folder / "models/small"), project=synced).stdout
    assert "made by stage train@small" in shown
    assert "prepared  md5" in shown
    assert "added by raw.csv.dvc, as in workspace" in shown
    assert "10 of 10" in said("runs", project=synced).stdout
    shown = said("runs", "main", project=synced).stdout
    assert "below/dvc.yaml:inner" in shown
    assert "loss.test_1 2.5000" in shown


def test_what_is_out_of_date_is_known_as_dvc_knows_it(
    foreign: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = copy_of(Project(foreign.folder.parent), tmp_path / "copy")
    project = Project(repository.folder / "project")
    monkeypatch.chdir(project.folder)
    assert stale_stages(workspace()) == []
    (project.folder / "below/params.yaml").write_text("inside: 8\n")
    (project.folder / "settings/whole.yaml").write_text("one: 1\n")
    project.set_params("split=0.3", "size.large=3")
    stale = {each.stage for each in stale_stages(workspace()) if each.needs_run}
    assert stale == {
        *("prepare", "train@small", "train@large", "report", "below/dvc.yaml:inner"),
        *(f"grid@{kind}-{depth}" for kind in "ab" for depth in (1, 2)),
    }  # not `stopped`, which is frozen
    project.run("dvc", "repro", "--quiet", "--all-pipelines")
    assert stale_stages(workspace()) == []


def test_code_of_another_project_is_not_run(tiny: Project) -> None:
    (tiny.folder / "stages").unlink()  # a link to the code of this one
    shutil.copytree(ROOT / "stages", tiny.folder / "stages")
    library = tiny.folder / "stages/__init__.py"
    tiny.commit("a fork, whose code is to be packed with the models of its revisions")
    library.write_text("from pathlib import Path\nPath('ran').touch()\n")
    assert "4 made from files" in said("sync", project=tiny).stdout
    assert list(tiny.folder.parent.rglob("ran")) == []
    run = {run.data.tags["stage"]: run for run in tiny.runs()}["train_baseline"]
    (logged,) = run.outputs.model_outputs
    assert client(tiny).get_logged_model(logged.model_id).model_type == "files"


def test_what_is_no_project_and_what_is_broken_is_told_in_one_line(
    foreign: Project, tmp_path: Path
) -> None:
    finished = said("sync", project=Project(tmp_path), check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"ERROR: --project {tmp_path}: is no DVC project")
    repository = copy_of(Project(foreign.folder.parent), tmp_path / "copy")
    project = Project(repository.folder / "project")
    pipeline = project.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("${ kept }", "${ gone }"))
    finished = said("sync", project=project)
    assert finished.stderr.startswith("WARNING: workspace is left out: dvc.yaml: failed to parse")
    assert "10 made from files" in finished.stdout  # of the branch
    assert "Traceback" not in finished.stderr
