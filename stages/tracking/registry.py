"""The registry of models in MLflow: a version for each content, and one of them the champion.

The registered model is a question, as `automobile-or-truck`. The alias `champion` is what a user of
the model asks for; who gets it is decided in `stages.results.promotion`, and nothing else moves it.
"""

from collections.abc import Mapping

from stages.data.errors import UserError
from stages.tracking import mirror, store, tags
from stages.tracking.shown import artifacts_in
from stages.tracking.store import MlflowException, ModelVersion, Run
from stages.tracking.wanted_model import CHAMPION

# Tags of a version.
MD5, MODEL, VERDICT = "md5", "model", "verdict"
CHAMPION_ON = "champion_on."  # and md5 of test images: the accuracy that made it champion, ever


def versions_of_content(md5: str) -> list[ModelVersion]:
    """Versions of all registered models whose file has this md5."""
    return list(store.client().search_model_versions(f"tags.`{MD5}` = '{md5}'"))


def champion_of(name: str) -> ModelVersion | None:
    """The version of a registered model that is the champion; None if no version or no model is."""
    try:
        return store.client().get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        # Of a model that is there, MLflow calls an alias that nobody has an invalid parameter.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def champions_so_far(name: str, test_images: str) -> dict[str, float]:
    """Accuracy on test images, by their md5, of each version that ever was champion on them."""
    key = f"{CHAMPION_ON}{test_images}"
    versions = store.client().search_model_versions(f"name = '{name}'")
    return {str(each.version): float(each.tags[key]) for each in versions if key in each.tags}


def version_of(name: str, run: Run, path: str, md5: str) -> ModelVersion:
    """The version of a model, by its run, path and content; it is registered if there is none.

    Raises:
        UserError: the run does not hold the model, or was deleted.
    """
    if known := [each for each in versions_of_content(md5) if each.name == name]:
        return known[0]
    if store.is_deleted(run):
        back = f"`mlflow runs restore --run-id {run.info.run_id}` brings it back"
        raise UserError(f"{path}: the run that holds it was deleted in MLflow; {back}")
    if not (model_id := mirror.logged_model(run)):
        if reason := run.data.tags.get(tags.NO_MODEL):
            raise UserError(f"{path}: its run {run.info.run_id} has no model: {reason}")
        what = "neither MLflow nor this machine has this content"
        todo = "`dvc fetch --all-commits` or `dvc exp pull` may bring it, else `make repro`"
        raise UserError(f"{path}: {what}; {todo}")
    try:
        store.client().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    seen = (tags.COMMIT, tags.DIRTY, tags.EXPERIMENT, tags.BASELINE)
    about = {MD5: md5, MODEL: path}
    about |= {key: run.data.tags[key] for key in seen if key in run.data.tags}
    return store.client().create_model_version(
        name, f"models:/{model_id}", run.info.run_id, about, model_id=model_id
    )


def record(version: ModelVersion, verdict: str, champion_on: Mapping[str, float]) -> None:
    """Say in a tag and on the page of a version what was decided; if it is champion, make it so.

    Args:
        version: as `version_of` gives it.
        verdict: sentences; empty for the one that it has.
        champion_on: accuracy on the test images, by their md5, that made it champion; else empty.
    """
    client, about = store.client(), version.tags
    verdict = verdict or about.get(VERDICT, "")
    told = {VERDICT: verdict} | {
        f"{CHAMPION_ON}{md5}": f"{v:.6f}" for md5, v in champion_on.items()
    }
    for key, value in told.items():
        client.set_model_version_tag(version.name, version.version, key, value)
    revision = about.get(tags.COMMIT, "unknown")
    if about.get(tags.DIRTY) == "true":
        revision += ", with changes that were not committed"
    if tags.EXPERIMENT in about:
        revision += f", DVC experiment {about[tags.EXPERIMENT]}"
    page = (
        f"`{about[MODEL]}`, md5 `{about[MD5]}`\n\nRevision: {revision}\n\nVerdict: {verdict}\n\n"
        f"Where it comes from: `python -m stages lineage {about[MD5]}`"
    )
    client.update_model_version(version.name, version.version, page)
    if champion_on:
        client.set_registered_model_alias(version.name, CHAMPION, version.version)


def predictions_of(read: Mapping[str, str], path: str) -> bytes | None:
    """A table, by its path, of a run that read these files, by path and md5; None if none is."""
    for run in store.find_runs({f"{tags.DEP}{each}": md5 for each, md5 in read.items()}):
        if f"{tags.OUT}{path}" in run.data.tags and path not in mirror.missing_outs(run):
            (artifact,) = artifacts_in({path: b""})
            return store.load_text(f"runs:/{run.info.run_id}/{artifact}").encode()
    return None
