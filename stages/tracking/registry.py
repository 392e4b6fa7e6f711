"""The registry of models: the best of an evaluation is a version, and a good one the champion.

The registered model is a question, as `automobile-or-truck`, with a version for each content. The
alias `champion` is what a user of the model asks for, so it moves only to a version that passes.
"""

import math
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from stages.data.splits import split_path
from stages.models.names import best
from stages.statistics.paired import paired_comparison
from stages.tracking import mirror, store, tags
from stages.tracking.store import MlflowException, ModelVersion, Run
from stages.workflow.pipeline import LockEntry
from stages.workflow.revisions import Revision

CHAMPION = "champion"
PREDICTIONS = "metrics/predictions.csv"
TEST_IMAGES = str(split_path("test"))


def versions_of_content(md5: str) -> list[ModelVersion]:
    """Versions of all registered models whose file has this md5."""
    return list(store.client().search_model_versions(f"tags.`md5` = '{md5}'"))


def champion_of(name: str) -> ModelVersion | None:
    """The version of a registered model that is the champion; None if no version or no model is."""
    try:
        return store.client().get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        # Of a model that is there, MLflow calls an alias that nobody has an invalid parameter.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def propose(
    evaluation: LockEntry,
    revision: Revision,
    makers: Mapping[str, Run],
    tests: Mapping[str, Mapping[str, float]],
    predictions: pd.DataFrame,
) -> None:
    """Register the best model of an evaluation; make it the champion if nothing speaks against it.

    Args:
        evaluation: the computation.
        revision: whose params `registry` and `gate` decide; one that has none proposes nothing.
        makers: the runs that made the models, by path.
        tests: metrics of the models on the test images, by path.
        predictions: for each test image `actual`, its class, and what each model says.
    """
    rules, gate = (revision.params.get(section, {}) for section in ("registry", "gate"))
    select_by = rules.get("select_by", "")
    values = {path: run.data.metrics.get(select_by) for path, run in makers.items()}
    path = best({path: each for path, each in values.items() if each is not None}, select_by)
    model_id = path and mirror.logged_model(makers[path])
    if not path or not model_id or "floors" not in gate:
        return
    name = "-or-".join(sorted(predictions["actual"].unique()))
    md5 = evaluation.deps[path]
    champion = champion_of(name)
    if champion and champion.tags.get("md5") == md5:
        return
    seen = (tags.COMMIT, tags.DIRTY, tags.EXPERIMENT, tags.BASELINE)
    made = makers[path].data.tags
    about = {"md5": md5, "model": path} | {key: made[key] for key in seen if key in made}
    known = [each for each in versions_of_content(md5) if each.name == name]
    version = known[0] if known else _register(name, makers[path], model_id, about)
    reasons = [*_outside(tests[path], gate, Path(path).stem)]
    if champion:
        alpha = float(rules["alpha"])
        reasons += _worse_than(champion, evaluation, predictions, path, alpha)
    verdict = f"failed: {'; '.join(reasons)}" if reasons else "passed"
    if version.tags.get("gate") != verdict:
        store.client().update_model_version(name, version.version, _page(about, verdict))
        store.client().set_model_version_tag(name, version.version, "gate", verdict)
    if not reasons:
        store.client().set_registered_model_alias(name, CHAMPION, version.version)


def _register(name: str, run: Run, model_id: str, about: Mapping[str, str]) -> ModelVersion:
    """Register a logged model as a new version."""
    try:
        store.client().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return store.client().create_model_version(
        name, f"models:/{model_id}", run.info.run_id, dict(about), model_id=model_id
    )


def _outside(metrics: Mapping[str, float], gate: Mapping[str, Any], model: str) -> Iterator[str]:
    """Which floors and ceilings of its own a model does not keep to."""
    for name, floor in (gate["floors"].get(model) or {}).items():
        if not (value := metrics.get(name, math.nan)) >= floor:
            yield f"{name} {value:.4f} is below its floor {floor:g}"
    for name, ceiling in (gate.get("ceilings", {}).get(model) or {}).items():
        if not (value := metrics.get(name, math.nan)) <= ceiling:
            yield f"{name} {value:.4f} is above its ceiling {ceiling:g}"


def _worse_than(
    champion: ModelVersion,
    evaluation: LockEntry,
    predictions: pd.DataFrame,
    path: str,
    alpha: float,
) -> list[str]:
    """Why a model may not take the champion's place: worse on its images, or they are not known."""
    who = f"the champion, version {champion.version}"
    table = _predictions_of(champion, evaluation, predictions)
    if table is None:
        what = f"cannot be compared with {who}, which has no predictions for the same test images"
        return [f"{what}: evaluate it on them, or take the alias from it"]
    mine, its = (
        (each[Path(model).stem] == each["actual"]).to_numpy()
        for each, model in ((predictions, path), (table, champion.tags["model"]))
    )
    test = paired_comparison(mine, its)
    if test.p >= alpha or test.difference >= 0:
        return []
    only_mine, only_its = (test.counts[f"only_{which}_right"] for which in ("first", "second"))
    counts = f"{only_its} only it gets right and {only_mine} only this one"
    p_value = f"exact McNemar test, p = {test.p:.2g}, below {alpha:g}"
    return [f"worse than {who}: of {len(mine)} test images, {counts} ({p_value})"]


def _predictions_of(
    champion: ModelVersion, evaluation: LockEntry, predictions: pd.DataFrame
) -> pd.DataFrame | None:
    """The table of predictions with the champion's for the same test images; None if unknown.

    It is that of the evaluation itself, if it read the champion, else that of an earlier one.
    """
    path, md5 = champion.tags.get("model", ""), champion.tags.get("md5", "")
    if evaluation.deps.get(path) == md5:
        return predictions
    same = {
        tags.STAGE: evaluation.stage,
        f"{tags.DEP}{path}": md5,
        f"{tags.DEP}{TEST_IMAGES}": evaluation.deps[TEST_IMAGES],
    }
    for run in store.find_runs(same):
        if tags.ENTRY in run.data.tags and PREDICTIONS not in mirror.missing_outs(run):
            uri = f"runs:/{run.info.run_id}/tables/{Path(PREDICTIONS).name}"
            return pd.read_csv(StringIO(store.load_text(uri)))
    return None


def _page(about: Mapping[str, str], verdict: str) -> str:
    """The text on the page of a version, in Markdown."""
    revision = about.get(tags.COMMIT, "unknown")
    if about.get(tags.DIRTY) == "true":
        revision += ", with changes that were not committed"
    if tags.EXPERIMENT in about:
        revision += f", DVC experiment {about[tags.EXPERIMENT]}"
    return (
        f"`{about['model']}`, md5 `{about['md5']}`\n\n"
        f"Revision: {revision}\n\n"
        f"Gate: {verdict}\n\n"
        f"Where it comes from: `python -m stages lineage {about['md5']}`"
    )
