"""Summary runs: each revision with results is one row, with all its settings and its headline."""

import json
import shutil
from collections import Counter

import mlflow
from ruamel.yaml import YAML

from stages.workflow.pipeline import flattened
from tests.pipeline.conftest import Project
from tests.pipeline.test_sync import SYNC, contents

HEADLINE = {"base_val", "base_test"}


def note(run: mlflow.entities.Run) -> str:
    return str(run.data.tags["mlflow.note.content"])


def test_the_end_of_the_pipeline_makes_a_row_and_a_sync_finds_it(tiny: Project) -> None:
    tiny.run("dvc", "exp", "run", "--temp", "--name", "mine", "-S", "baseline.ridge=5")
    tiny.set_params("baseline.ridge=7")
    tiny.run("dvc", "repro", "train_baseline")
    assert set(tiny.summaries()) == {"mine"}  # the workspace's pipeline has not come to its end
    tiny.run("dvc", "repro")
    baseline = tiny.run("git", "rev-parse", "HEAD").stdout.strip()
    made = tiny.summaries()
    assert set(made) == {"mine", "workspace"}
    row = made["mine"]
    assert row.info.run_name == "mine"
    assert row.info.status == "FINISHED"
    assert set(row.data.metrics) == HEADLINE
    assert row.data.params["baseline.ridge"] == "5"
    assert row.data.params["gate.floors.baseline.accuracy"] == "0.5"  # that no stage reads
    expected = {
        "kind": "experiment",
        "dvc.exp_name": "mine",
        "dvc.exp_baseline": baseline,
        "git.commit": baseline,
        "git.dirty": "false",
    }
    assert expected.items() <= row.data.tags.items()
    assert "stage" not in row.data.tags
    assert "`dvc exp apply mine && dvc repro`" in note(row)
    assert made["workspace"].data.tags["kind"] == "workspace"
    assert made["workspace"].data.tags["git.dirty"] == "true"
    # Whoever asks a sync gets the rows of the other revisions, and these not again.
    assert "1 summaries made" in tiny.python(*SYNC).stdout
    rows = tiny.summaries()
    assert set(rows) == {"mine", "workspace", "main"}
    assert all(rows[name].info.run_id == made[name].info.run_id for name in made)
    for stage in tiny.locked():
        assert f"[{stage}](#/experiments/1/runs/" in note(rows["mine"])
    before = contents(tiny)
    assert "nothing to do" in tiny.python(*SYNC).stdout
    assert contents(tiny) == before


def test_each_revision_has_one_row_of_what_it_is_now(tiny: Project) -> None:
    tiny.run("git", "branch", "it's-another")
    tiny.run("git", "tag", "v1")
    tiny.python(*SYNC)
    rows = tiny.summaries()
    assert {name: row.data.tags["kind"] for name, row in rows.items()} == {
        "main": "branch",
        "it's-another": "branch",
        "v1": "tag",
        "workspace": "workspace",
    }
    headline = json.loads((tiny.folder / "metrics/summary.json").read_text())
    params = YAML(typ="safe").load(tiny.folder / "params.yaml")
    values = {key: str(value) for key, value in flattened(params).items()}
    values["libraries.yaml:numpy"] = "2.0.0"  # a stage reads it
    for row in rows.values():
        assert row.data.metrics == headline
        assert row.data.params == values
    tiny.set_params("gate.floors.baseline.accuracy=0.25")  # of which no stage's run knows
    tiny.commit("a lower floor")
    tiny.run("git", "branch", "-D", "it's-another")
    assert "2 summaries made; 3 summaries of the past removed" in tiny.python(*SYNC).stdout
    rows = tiny.summaries()
    assert set(rows) == {"main", "v1", "workspace"}
    floors = {n: row.data.params["gate.floors.baseline.accuracy"] for n, row in rows.items()}
    assert floors == {"main": "0.25", "v1": "0.5", "workspace": "0.25"}


def test_a_clone_of_the_same_host_name_and_path_leaves_the_rows_of_another(tiny: Project) -> None:
    """As containers are, which write to one server."""
    tiny.python(*SYNC)
    shutil.rmtree(tiny.folder / ".dvc/tmp/mirror")
    tiny.set_params("gate.floors.baseline.accuracy=0.25")
    assert "past removed" not in tiny.python(*SYNC).stdout
    mine = Counter(row.data.tags["revision"] for row in tiny.all_runs() if "kind" in row.data.tags)
    assert mine == {"main": 1, "workspace": 2}


def test_a_row_has_no_metrics_that_were_measured_of_another_model(tiny: Project) -> None:
    setting = ("-S", "baseline.ridge=9", "train_baseline")
    tiny.run("dvc", "exp", "run", "--temp", "--name", "half", *setting)
    tiny.python(*SYNC)
    row = tiny.summaries()["half"]
    assert row.data.metrics == {}
    assert "It has no metrics: they were measured of other files" in note(row)
    assert set(tiny.summaries()["main"].data.metrics) == HEADLINE
    # Nor does a workspace that is half-way take the columns of the others away.
    tiny.set_params("baseline.ridge=8")
    tiny.run("dvc", "repro", "train_baseline")
    tiny.python(*SYNC)
    assert tiny.summaries()["workspace"].data.metrics == {}
    experiment = mlflow.MlflowClient(f"sqlite:///{tiny.folder / 'mlflow.db'}").get_experiment("1")
    view = json.loads(experiment.tags["mlflow.sharedViewState.experiments"])
    columns = json.loads(view["state"])["selectedColumns"]
    assert {f"metrics.`{name}`" for name in HEADLINE} <= set(columns)


def test_a_revision_that_cannot_be_read_is_told_and_left_out(tiny: Project) -> None:
    tiny.run("git", "switch", "--quiet", "--create", "broken")
    params = tiny.folder / "params.yaml"
    whole = params.read_text()
    params.write_text("baseline: [")
    tiny.commit("params that are no YAML")
    tiny.run("git", "switch", "--quiet", "main")
    assert params.read_text() == whole
    finished = tiny.python(*SYNC)
    assert finished.stderr.count("WARNING: branch broken") == 1
    assert "WARNING: branch broken: params.yaml: is not YAML" in finished.stderr
    assert set(tiny.summaries()) == {"main", "workspace"}


def test_metrics_of_several_files_are_in_one_row(tiny: Project) -> None:
    pipeline = tiny.folder / "dvc.yaml"
    text = pipeline.read_text()
    for path in ("metrics/evaluate.json", "metrics/summary.json"):
        assert f"[{path}: {{cache: false}}]" in text
    text = text.replace("    plots: [metrics/evaluate.json: {cache: false}]\n", "")
    both = "[metrics/summary.json: {cache: false}, metrics/evaluate.json: {cache: false}]"
    pipeline.write_text(text.replace("[metrics/summary.json: {cache: false}]", both))
    tiny.commit("two files of metrics")
    tiny.python(*SYNC)
    names = set(tiny.summaries()["main"].data.metrics)
    assert {"base_test", "baseline.accuracy"} <= names
