"""MLflow's model registry: versions of registered models, by content and by alias."""

from collections.abc import Mapping

from stages.tracking.store import MlflowException, ModelVersion, Run, client

CHAMPION = "champion"  # the alias that a user of a model asks for


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
