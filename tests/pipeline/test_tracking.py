"""Runs in MLflow: complete, comparable, found by content, and never at the cost of a result."""

import json
import shutil
from io import BytesIO
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

from stages.models.loading import load_model
from stages.workflow.pipeline import md5_of_json
from tests.pipeline.conftest import Project
from tests.raw_files import ROOT

TRAINING = {
    "train_baseline": "baseline",
    "train_cnn": "cnn",
    "finetune_mobilenet": "mobilenet",
}


@pytest.fixture(scope="module")
def runs(finished_project: Project) -> dict[str, mlflow.entities.Run]:
    return {run.data.tags["stage"]: run for run in finished_project.runs()}


def test_each_stage_that_computed_has_one_run(
    finished_project: Project, runs: dict[str, mlflow.entities.Run]
) -> None:
    assert len(finished_project.runs()) == len(runs)
    assert set(runs) == set(finished_project.locked())
    assert all(run.data.metrics["duration_seconds"] > 0 for run in runs.values())


def test_a_run_has_the_md5_that_dvc_recorded_of_data_as_tags_and_of_code_as_a_list(
    finished_project: Project, runs: dict[str, mlflow.entities.Run]
) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{finished_project.folder / 'mlflow.db'}")
    for stage, locked in finished_project.locked().items():
        deps, outs = (
            {each["path"]: each["md5"] for each in locked.get(kind, [])}
            for kind in ("deps", "outs")
        )
        code = {path: md5 for path, md5 in deps.items() if path.endswith(".py")}
        seen = runs[stage].data.tags
        expected = {f"dep.{path}": deps[path] for path in deps.keys() - code.keys()}
        expected |= {f"out.{path}": md5 for path, md5 in outs.items()}
        assert {k: v for k, v in seen.items() if k.startswith(("dep.", "out."))} == expected
        listed = mlflow.artifacts.load_text(f"runs:/{runs[stage].info.run_id}/code.json")
        assert json.loads(listed) == code
        assert seen["code"] == md5_of_json(code)


def test_the_page_of_a_run_says_what_it_is_and_how_to_make_it_again(
    finished_project: Project, runs: dict[str, mlflow.entities.Run]
) -> None:
    commit = finished_project.run("git", "rev-parse", "HEAD~1").stdout.strip()
    for stage, run in runs.items():
        seen = run.data.tags
        assert seen["mlflow.source.name"] == f"python -m stages {stage}"
        assert seen["mlflow.source.git.commit"] == commit
        told = seen["mlflow.note.content"]
        assert f"Stage `{stage}`. Computed at commit `{commit[:10]}`." in told
        assert f"`git checkout {commit[:10]} && dvc repro {stage}`" in told
        # Other tags than data and outputs are few enough to be read.
        own = [key for key in seen if not key.startswith(("mlflow.", "dep.", "out."))]
        assert len(own) < 9, own
    metrics = runs["train_cnn"].data.metrics
    told = runs["train_cnn"].data.tags["mlflow.note.content"]
    for name in ("train.accuracy", "validation.accuracy", "test.accuracy"):
        low, high = (metrics[f"{name}_ci_{end}"] for end in ("low", "high"))
        assert f"| {name} | {metrics[name]:.4f} | {low:.4f} – {high:.4f} |" in told
    # MLflow shows metrics in the order in which they came.
    measured = [name for name in metrics if name.startswith(("train.", "validation."))]
    assert measured[:2] == ["validation.accuracy", "train.accuracy"]


def test_models_compare_by_train_validation_and_test_metrics(
    runs: dict[str, mlflow.entities.Run],
) -> None:
    for stage, model in TRAINING.items():
        metrics = runs[stage].data.metrics
        for split in ("train", "validation", "test"):
            assert 0 <= metrics[f"{split}.accuracy"] <= 1
        assert metrics["test.accuracy"] == pytest.approx(
            runs["evaluate"].data.metrics[f"{model}.accuracy"], abs=1e-6
        )


def test_params_of_a_run_are_those_that_its_stage_read(
    runs: dict[str, mlflow.entities.Run],
) -> None:
    params = runs["train_cnn"].data.params
    assert params["cnn.recipe"] == "default"
    assert params["cnn.default.epochs"] == "2"
    assert not any(key.startswith(("cnn.lecture", "mobilenet")) for key in params)


def test_every_epoch_is_a_step(
    finished_project: Project, runs: dict[str, mlflow.entities.Run]
) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{finished_project.folder / 'mlflow.db'}")
    for stage in ("train_cnn", "finetune_mobilenet"):
        history = client.get_metric_history(runs[stage].info.run_id, "validation_loss")
        assert [point.step for point in history] == [1, 2]


def test_datasets_carry_the_md5_that_dvc_knows(
    finished_project: Project, runs: dict[str, mlflow.entities.Run]
) -> None:
    outs = {entry["path"]: entry["md5"] for entry in finished_project.locked()["prepare"]["outs"]}
    inputs = runs["train_cnn"].inputs.dataset_inputs
    assert {each.dataset.name: each.dataset.digest for each in inputs} == {
        path: outs[path] for path in ("data/prepared/train.npz", "data/prepared/validation.npz")
    }
    assert {each.tags[0].value for each in inputs} == {"train", "validation"}


def test_pictures_and_tables_are_with_the_run(
    finished_project: Project, runs: dict[str, mlflow.entities.Run]
) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{finished_project.folder / 'mlflow.db'}")
    run_id = runs["train_cnn"].info.run_id
    found = {
        each.path
        for folder in ("figures", "tables")
        for each in client.list_artifacts(run_id, folder)
    }
    assert found == {
        *(f"figures/cnn_{each}.png" for each in ("filters", "responses", "learning_curves")),
        *(f"figures/cnn_{each}.png" for each in ("mistakes", "unsure")),
        "tables/train_cnn_curves.csv",
    }


@pytest.mark.parametrize("stage", TRAINING)
def test_a_logged_model_answers_as_the_file_does(
    finished_project: Project, runs: dict[str, mlflow.entities.Run], stage: str
) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{finished_project.folder / 'mlflow.db'}")
    logged = mlflow.search_logged_models([runs[stage].info.experiment_id], output_format="list")
    (model,) = [each for each in logged if each.source_run_id == runs[stage].info.run_id]
    served = mlflow.pyfunc.load_model(model.model_uri)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    files = [BytesIO() for _ in images]
    for image, file in zip(images, files, strict=True):
        Image.fromarray(image).save(file, "PNG")
    model = load_model(finished_project.folder / f"data/models/{TRAINING[stage]}.npz")
    said = served.predict({"image": [file.getvalue() for file in files]})
    columns = [f"probability_{name}" for name in model.classes]
    np.testing.assert_allclose(said[columns], model.predict(images), rtol=1e-5)


@pytest.mark.parametrize("broken", [False, True])
def test_a_model_of_an_old_revision_is_logged_with_its_code_and_only_if_that_loads_it(
    tiny: Project, *, broken: bool
) -> None:
    library = tiny.folder / "stages"
    library.unlink()  # a link
    shutil.copytree(ROOT / "stages", library, ignore=shutil.ignore_patterns("__pycache__"))
    loading = library / "models" / "loading.py"
    todays = loading.read_text()
    fault = "raise ImportError('of old')  " if broken else ""
    loading.write_text(f"{todays}\n{fault}# of old\n")
    tiny.commit("the library, as it was")
    old = tiny.run("git", "rev-parse", "HEAD").stdout.strip()
    loading.write_text(todays)
    said = tiny.run("python", "-m", "stages", "sync")  # with the project's own library
    client = mlflow.MlflowClient(f"sqlite:///{tiny.folder / 'mlflow.db'}")
    (run,) = [each for each in tiny.runs() if each.data.tags["stage"] == "train_baseline"]
    assert "dvc.record" in run.data.tags
    if broken:
        reason = "its code does not load it (ImportError: of old)"
        assert run.data.tags["model.missing"] == reason
        assert said.stderr.count(f"WARNING: no model in MLflow: {reason}") == 1
        assert not run.outputs.model_outputs
        return
    model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    assert model.tags["code"] == old
    kept = Path(model.artifact_location.removeprefix("file://"))
    assert (kept / "code/stages/models/loading.py").read_text().endswith("# of old\n")
    # Versions of libraries are those of the revision, too.
    assert "numpy==2.0.0" in (kept / "requirements.txt").read_text()


# How models were served before they took photos.
OF_ARRAYS = """
from pathlib import Path
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from stages.models.loading import load_model

class ServedModel:
    def __init__(self, classifier):
        self._classifier = classifier

    def predict(self, model_input, params=None):
        return self._classifier.predict(model_input["images"])

def signature_of(n_classes):
    images = TensorSpec(np.dtype("u1"), (-1, 32, 32, 3), "images")
    return ModelSignature(Schema([images]), Schema([TensorSpec(np.dtype("f8"), (-1, n_classes))]))

def _load_pyfunc(path):
    return ServedModel(load_model(Path(path)))
"""


def test_a_model_from_before_models_took_photos_keeps_the_signature_of_its_code(
    tiny: Project,
) -> None:
    library = tiny.folder / "stages"
    library.unlink()  # a link
    shutil.copytree(ROOT / "stages", library, ignore=shutil.ignore_patterns("__pycache__"))
    loader = library / "tracking" / "served_model.py"
    todays = loader.read_text()
    loader.write_text(OF_ARRAYS)
    tiny.commit("the library, as it was")
    loader.write_text(todays)
    tiny.run("python", "-m", "stages", "sync")  # with the project's own library
    (run,) = [each for each in tiny.runs() if each.data.tags["stage"] == "train_baseline"]
    client = mlflow.MlflowClient(f"sqlite:///{tiny.folder / 'mlflow.db'}")
    model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    kept = Path(model.artifact_location.removeprefix("file://"))
    signature = mlflow.models.Model.load(str(kept)).signature
    assert signature.inputs.input_names() == ["images"]
    assert (kept / "code/stages/tracking/served_model.py").read_text() == OF_ARRAYS


def test_a_test_of_models_that_came_from_the_cache_still_fills_the_table(tiny: Project) -> None:
    # The store is empty, as after `git clone` and `dvc pull`.
    for _ in range(2):
        tiny.python("steps.py", "evaluate")
    made, *evaluated = sorted(tiny.runs(), key=lambda run: run.data.tags["stage"] == "evaluate")
    assert [run.data.tags["stage"] for run in evaluated] == ["evaluate", "evaluate"]
    for split in ("train", "validation", "test"):
        assert f"{split}.accuracy" in made.data.metrics
    assert "duration_seconds" not in made.data.metrics  # can't be known, is not invented
    assert made.data.params


def test_pictures_of_a_folder_are_with_its_run_and_those_of_a_model_with_the_models(
    tiny: Project,
) -> None:
    tiny.python("steps.py", "draw")
    tiny.python("steps.py", "evaluate")
    client = mlflow.MlflowClient(f"sqlite:///{tiny.folder / 'mlflow.db'}")
    found = {
        run.data.tags["stage"]: {
            each.path.removeprefix(f"{folder}/")
            for folder in ("figures", "tables")
            for each in client.list_artifacts(run.info.run_id, folder)
        }
        for run in tiny.runs()
    }
    assert found == {
        "draw": {"accuracy.png", "baseline_mistakes.png"},
        "train_baseline": {"weights.png", "baseline_mistakes.png", "curves.csv"},
        "evaluate": {"predictions.csv", "baseline.csv"},
    }


def test_pictures_of_an_experiment_in_a_copy_are_kept_with_a_database_of_ones_own(
    tiny: Project, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path / 'own.db'}"
    setting = ("-S", "baseline.ridge=77", "train_baseline")
    tiny.run("dvc", "exp", "run", "--temp", *setting, MLFLOW_TRACKING_URI=uri)
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("car-or-truck").experiment_id])
    folder = client.download_artifacts(run.info.run_id, "figures", str(tmp_path))
    assert (Path(folder) / "weights.png").exists()


def test_a_password_in_the_address_of_a_server_is_never_printed(tiny: Project) -> None:
    uri = "http://ada:secret@127.0.0.1:9"
    for command in (("steps.py", "evaluate"), ("-m", "stages", "sync")):
        finished = tiny.python(*command, check=False, MLFLOW_TRACKING_URI=uri)
        assert "MLflow" in finished.stderr
        assert "127.0.0.1:9" in finished.stderr
        assert "secret" not in finished.stderr + finished.stdout
