"""Models in MLflow: logged with the runs that made them, and the versions of registered models."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stages.tracking.served_model import describe
from stages.tracking.store import MlflowException, ModelVersion, Run, client

CHAMPION = "champion"  # the alias that a user of a model asks for


def logged_model(run: Run) -> str | None:
    """Id of the model that was logged with a run; None if there is none."""
    outputs = run.outputs.model_outputs if run.outputs else []
    return outputs[0].model_id if outputs else None


def log_model(run_id: str, path: Path, *, try_it: bool) -> None:
    """Log a model that can be served: the very file, and the code that loads it.

    Args:
        run_id: the run that made it.
        path: the model's file.
        try_it: whether to give an example, which MLflow at once has the model predict (a network
            takes seconds for it).
    """
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    served = describe(path)
    images = TensorSpec(np.dtype(np.uint8), served.images, "images")
    probabilities = TensorSpec(np.dtype(np.float64), served.probabilities)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
        Model.log(
            artifact_path=None,
            name=served.name,
            flavor=pyfunc,
            run_id=run_id,
            loader_module=served.loader,
            data_path=str(path),
            code_paths=["stages"],
            signature=ModelSignature(Schema([images]), Schema([probabilities])),
            input_example={"images": served.example} if try_it else None,
            pip_requirements=served.requirements,
        )


def versions_of_content(md5: str) -> list[ModelVersion]:
    """Versions of all registered models whose file has this md5."""
    return list(client().search_model_versions(f"tags.`md5` = '{md5}'"))


def champion_of(name: str) -> ModelVersion | None:
    """The version of a registered model that is the champion; None if no version or no model is."""
    try:
        return client().get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        # Of a model that is there, MLflow calls an alias that nobody has an invalid parameter.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def make_champion(version: ModelVersion) -> None:
    """Give a version the alias; another version that had it loses it."""
    client().set_registered_model_alias(version.name, CHAMPION, version.version)


def register(name: str, run: Run, model_id: str, tags: Mapping[str, str]) -> ModelVersion:
    """Register a logged model as a new version."""
    try:
        client().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client().create_model_version(
        name, f"models:/{model_id}", run.info.run_id, dict(tags), model_id=model_id
    )


def describe_version(version: ModelVersion, text: str, tags: Mapping[str, str]) -> None:
    """Set the text on a version's page, and tags."""
    client().update_model_version(version.name, version.version, text)
    for key, value in tags.items():
        client().set_model_version_tag(version.name, version.version, key, value)
