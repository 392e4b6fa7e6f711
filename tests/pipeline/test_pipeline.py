"""The pipeline as a user runs it: results, caching, repeatability, experiments."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from stages.statistics.classification import CALIBRATED
from tests.pipeline.conftest import Project

MakeClone = Callable[[], Project]
MODELS = ("baseline", "cnn", "mobilenet")
TRAINING = ("train_baseline", "train_cnn", "finetune_mobilenet")


MEASURES = {
    *("accuracy", "accuracy_ci_low", "accuracy_ci_high", "balanced_accuracy"),
    *("precision", "recall", "f1", "roc_auc", "log_loss", "brier"),
    *("ece", "adaptive_ece", "calibration_slope", "coverage_at_99"),
}
PICTURES = {
    *("accuracy", "roc_pr", "reliability", "confusion", "score_histograms", "robustness"),
    *("disagreements", "feature_map", "mobilenet_evidence", "label_issues", "samples"),
    *("baseline_weights", "cnn_filters", "cnn_responses"),
    *("cnn_learning_curves", "mobilenet_learning_curves"),
    *(f"{model}_{kind}" for model in MODELS for kind in ("mistakes", "unsure")),
}


def test_three_models_are_measured_with_every_measure(finished_project: Project) -> None:
    metrics = finished_project.folder / "metrics"
    measured = json.loads((metrics / "evaluate.json").read_text())
    assert list(measured) == [*MODELS, "comparisons", "images"]
    for model in MODELS:
        of_model = measured[model]
        more = {"accuracy_without_near_duplicates", "robustness", "share_sure"}
        assert set(of_model) == MEASURES | more
        assert of_model["share_sure"] == 0, "12 validation images show no accuracy of 99 %"
        assert len(of_model["robustness"]) == 9
    for stage in TRAINING:
        of_stage = json.loads((metrics / f"{stage}.json").read_text())
        # Few training images may be separated without a mistake: then no slope is the best.
        assert MEASURES - set(of_stage["train"]) <= {"calibration_slope"}
        assert set(of_stage["validation"]) == MEASURES - {*CALIBRATED}


def test_six_accuracies_are_what_dvc_shows(finished_project: Project) -> None:
    metrics = finished_project.folder / "metrics"
    tested = json.loads((metrics / "evaluate.json").read_text())
    validated = (json.loads((metrics / f"{s}.json").read_text())["validation"] for s in TRAINING)
    expected = [(f"{m}_val", v["accuracy"]) for m, v in zip(MODELS, validated, strict=True)]
    expected += [(f"{model}_test", tested[model]["accuracy"]) for model in MODELS]
    # In this order, as those which a setting is chosen by come first in `dvc exp show`.
    assert [*json.loads((metrics / "summary.json").read_text()).items()] == expected
    told = finished_project.run("dvc", "metrics", "show").stdout
    assert "mobilenet_test" in told
    assert max(map(len, told.splitlines())) < 120


def test_seeds_are_of_the_results_and_leave_nothing_else_behind(clone: MakeClone) -> None:
    project = clone()
    seeds = project.run("python", "-m", "stages", "seeds", "--cnn", "1", "--mobilenet", "1")
    assert "seeds: seed-0: cnn.seed=0 mobilenet.seed=0" in seeds.stdout
    table = pd.read_csv(project.folder / "metrics/seeds.csv")
    assert table["model"].tolist() == [*MODELS]
    measured = json.loads((project.folder / "metrics/evaluate.json").read_text())
    for column, measure in (("test_accuracy", "accuracy"), ("test_brier", "brier")):
        assert table[column].tolist() == [measured[model][measure] for model in MODELS]
    assert project.git_status() == "?? metrics/seeds.csv\n"
    assert project.experiments() == set()
    assert project.python("-m", "stages", "stale").stderr == ""  # all rows are fresh
    project.set_params("cnn.default.epochs=1")
    project.run("dvc", "repro", "train_cnn")
    told = project.python("-m", "stages", "stale", check=False).stderr
    assert "metrics/seeds.csv: stale are cnn (1 of 1), of other code" in told


def test_models_are_compared_on_the_same_images(finished_project: Project) -> None:
    metrics = finished_project.folder / "metrics"
    measured = json.loads((metrics / "evaluate.json").read_text())
    table = pd.read_csv(metrics / "predictions.csv")
    names = ["cnn_vs_baseline", "mobilenet_vs_baseline", "mobilenet_vs_cnn"]
    assert list(measured["comparisons"]) == names
    for name, found in measured["comparisons"].items():
        first, second = (table[model] == table["actual"] for model in name.split("_vs_"))
        assert found["only_first_right"] == (first & ~second).sum()
        assert found["both_wrong"] == (~first & ~second).sum()
        difference = first.mean() - second.mean()
        assert found["accuracy_difference"] == pytest.approx(difference, abs=1e-6)
        assert found["accuracy_difference_ci_low"] <= difference
        assert found["accuracy_difference_ci_high"] >= difference


def test_every_picture_is_drawn_and_kept_in_mlflow(finished_project: Project) -> None:
    drawn = {path.stem for path in (finished_project.folder / "metrics/figures").glob("*.png")}
    assert drawn == PICTURES
    client = mlflow.MlflowClient(f"sqlite:///{finished_project.folder / 'mlflow.db'}")
    kept = {
        Path(file.path).stem
        for run in finished_project.runs()
        for file in client.list_artifacts(run.info.run_id, "figures")
    }
    assert kept == PICTURES


def test_predictions_tell_of_each_test_image_what_each_model_says(
    finished_project: Project,
) -> None:
    table = pd.read_csv(finished_project.folder / "metrics/predictions.csv")
    measured = json.loads((finished_project.folder / "metrics/evaluate.json").read_text())
    assert len(table) == 120
    assert table["index"].is_unique
    for model in MODELS:
        accuracy = (table[model] == table["actual"]).mean()
        assert accuracy == pytest.approx(measured[model]["accuracy"], abs=1e-6)
        shares = table[[f"{model}_automobile", f"{model}_truck"]].sum(axis=1)
        assert shares.between(1 - 2e-6, 1 + 2e-6).all()


def test_an_unchanged_project_computes_nothing(clone: MakeClone) -> None:
    project = clone()
    said = project.run("dvc", "repro").stdout
    assert "Running stage" not in said
    assert project.git_status() == ""
    assert not (project.folder / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("setting", "stages"),
    [
        ("cnn.default.dropout=0.25", {"train_cnn"}),
        ("cnn.lecture.epochs=3", set()),
        ("cnn.recipe=lecture", {"train_cnn"}),
        ("baseline.ridge=1.0", {"train_baseline"}),
        ("mobilenet.epochs=2", {"finetune_mobilenet"}),
        ("audit.folds=4", {"audit_labels"}),
        ("evaluation.robustness_images=10", {"evaluate"}),
        ("sources.cifar10=[npm]", {"fetch_cifar10"}),
        ("registry.margin=0.01", set()),
        ("gate.max_accuracy_loss=0.1", set()),
    ],
)
def test_a_changed_param_runs_what_depends_on_it_and_nothing_else(
    clone: MakeClone, setting: str, stages: set[str]
) -> None:
    project = clone()
    project.set_params(setting)
    status = json.loads(project.run("dvc", "status", "--json").stdout)
    assert {name.split(":")[-1] for name in status} == stages


@pytest.mark.parametrize(
    ("path", "stages"),
    [
        ("stages/tracking/mirror.py", set()),
        ("stages/workflow/params.py", set()),
        ("stages/figures/style.py", {"draw"}),
        ("stages/data/perturbations.py", {"evaluate"}),
        ("stages/models/cnn.py", {"train_cnn", "evaluate"}),
    ],
)
def test_a_changed_module_runs_what_it_can_change_and_nothing_else(
    clone: MakeClone, path: str, stages: set[str]
) -> None:
    project = clone()
    with (project.folder / path).open("a") as file:
        file.write("# changed\n")
    status = json.loads(project.run("dvc", "status", "--json").stdout)
    assert {name.split(":")[-1] for name in status} == stages


def test_another_version_of_a_library_runs_what_computes_with_it_and_is_named(
    clone: MakeClone,
) -> None:
    project = clone()
    libraries = project.folder / "libraries.yaml"
    text = libraries.read_text()
    (recorded,) = re.findall('^matplotlib: "(.+)"$', text, re.MULTILINE)
    libraries.write_text(text.replace(recorded, "3.0.0"))
    status = json.loads(project.run("dvc", "status", "--json").stdout)
    assert set(status) == {"draw"}
    told = project.run("python", "-m", "stages", "stale", check=False).stderr
    assert f"libraries.yaml:matplotlib is 3.0.0 and was {recorded}" in told
    refused = project.run("dvc", "repro", check=False)
    assert f"matplotlib: 3.0.0 is recorded, and {recorded} is installed" in refused.stderr


def test_plots_can_be_drawn(clone: MakeClone) -> None:
    project = clone()
    project.run("dvc", "plots", "show")
    page = (project.folder / "dvc_plots" / "index.html").read_text()
    for title in ("CNN, loss by epoch", "ROC curves", "Confusion matrix, MobileNet"):
        assert title in page
