"""The model that somebody asks for by a name: from the workspace, a file, or MLflow's registry.

MLflow is imported only for a model that is there.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.data.errors import UserError
from stages.data.files import file_hash, read_json
from stages.models.loading import load_model
from stages.models.names import MODELS, best
from stages.models.storage import Classifier
from stages.tracking import environment, tags
from stages.workflow.legal_values import validated
from stages.workflow.params import REGISTRY, RegistryParams
from stages.workflow.pipeline import PARAMS_FILE, flattened

if TYPE_CHECKING:
    from stages.tracking.store import ModelVersion

CHAMPION, IN_MLFLOW = "champion", "models:/"
ALLOWED = f"{CHAMPION}, {', '.join(MODELS)}, the path of a model, or an address {IN_MLFLOW}…"


def wanted_model(name: str) -> tuple[Classifier, dict[str, str]]:
    """A model, and what is known of it.

    Args:
        name: `champion`, the best one that was accepted (docs/tracking.md); `baseline`, `cnn` or
            `mobilenet` of the workspace; the path of a model file; or an address in MLflow, as
            `models:/automobile-or-truck/3`.

    Returns:
        The model, and of `path`, `version` (its address in MLflow), `md5`, `run_id` and `revision`
        (the commit) those that are known.

    Raises:
        UserError: there is no such model, it cannot be loaded, or MLflow does not answer.
    """
    if name == CHAMPION or name.startswith(IN_MLFLOW):
        return _from_mlflow(name)
    path = Path(MODELS[name].path if name in MODELS else name)
    if name not in MODELS and not path.is_file():
        raise UserError(f"--model {name}: there is no such model or file; allowed: {ALLOWED}")
    return load_model(path), {"path": str(path), "md5": file_hash(path, "md5")}


def default_model() -> str:
    """Name of the model to ask if nobody says which: the champion, else the workspace's best.

    Best by `registry.select_by` of params.yaml, on validation images.

    Raises:
        UserError: there is neither, or MLflow does not answer.
    """
    if environment.URI_OF_USER or environment.database_path().exists():
        from stages.tracking.store import speaking_to_mlflow

        try:
            with speaking_to_mlflow():
                if _champions():
                    return CHAMPION
        except UserError as error:
            what = "or name one of the workspace with --model"
            raise UserError(f"which model is the champion is not known: {error}, {what}") from error
    from stages.workflow.revisions import workspace  # it needs Git, which a container has not

    section = workspace().params.get(REGISTRY)
    measure = validated(PARAMS_FILE, RegistryParams, section, REGISTRY).select_by
    measured = {
        name: flattened(read_json(metrics)).get(measure)
        for name, model in MODELS.items()
        if (metrics := Path(f"metrics/{model.stage}.json")).exists() and Path(model.path).exists()
    }
    found = best({name: float(v) for name, v in measured.items() if v is not None}, measure)
    if found is None:
        what = "there is no champion in MLflow, and no model with its metrics in the workspace"
        raise UserError(f"{what}; make them with `make repro`, or name one with --model")
    return found


def _from_mlflow(name: str) -> tuple[Classifier, dict[str, str]]:
    from stages.tracking import registry, store

    with store.speaking_to_mlflow():
        version = _champion() if name == CHAMPION else _version_at(name)
        address = f"{IN_MLFLOW}{version.name}/{version.version}" if version else name
        store.client()  # tells MLflow of the store
        with environment.patience():
            folder = Path(store.download(address))
    files = sorted(folder.glob("data/*.npz"))
    if len(files) != 1:
        raise UserError(f"{name}: holds no model of this project; allowed: {ALLOWED}")
    known = {"version": address, "md5": file_hash(files[0], "md5")}
    if version:
        about = {"path": registry.MODEL, "revision": tags.COMMIT}
        known |= {key: version.tags[tag] for key, tag in about.items() if tag in version.tags}
        known |= {"run_id": version.run_id} if version.run_id else {}
    return load_model(files[0]), known


def _champions() -> list["ModelVersion"]:
    """Versions that are champions, each of another registered model."""
    from stages.tracking import registry, store

    names = [model.name for model in store.client().search_registered_models()]
    return [version for name in names if (version := registry.champion_of(name))]


def _champion() -> "ModelVersion":
    """The only champion.

    Raises:
        UserError: there is none, or there are several.
    """
    found = _champions()
    if len(found) == 1:
        return found[0]
    if not found:
        what = f"--model {CHAMPION}: MLflow at {environment.shown_uri()} has none"
        raise UserError(f"{what}; `make champion` proposes one, or name another: {ALLOWED}")
    addresses = ", ".join(f"{IN_MLFLOW}{each.name}@{CHAMPION}" for each in found)
    raise UserError(f"--model {CHAMPION}: there are several; name one of {addresses}")


def _version_at(address: str) -> "ModelVersion | None":
    """The registered version at `models:/NAME/VERSION` or `models:/NAME@ALIAS`; None at others."""
    from stages.tracking import store

    name, _, number = address.removeprefix(IN_MLFLOW).partition("/")
    if number.isdecimal():
        return store.client().get_model_version(name, number)
    name, _, alias = name.partition("@")
    return store.client().get_model_version_by_alias(name, alias) if alias else None
