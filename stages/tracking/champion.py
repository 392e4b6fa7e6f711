"""The model registry: the best model of an evaluation, and whether it may be the champion.

A registered model is a question, as `automobile-or-truck`; a version is a model that was the best
of its evaluation, once for each content. The alias `champion` is what a user of the model asks for,
so it moves only to a version that passes the gate of `registry` in params.yaml.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from stages.statistics.paired import paired_comparison
from stages.tracking import store
from stages.tracking.declared import StageRecord
from stages.tracking.mirror import RECORD
from stages.tracking.store import ModelVersion, Run

ALIAS = "champion"
LOWER_IS_BETTER = ("log_loss",)
TEST_IMAGES = "data/prepared/test.npz"
PREDICTIONS_ARTIFACT = "tables/predictions.csv"


def propose(
    evaluation: StageRecord,
    runs: Mapping[str, Run],
    measured: Mapping[str, Mapping[str, float]],
    predictions: pd.DataFrame,
) -> None:
    """Register the best model of an evaluation; make it the champion if it passes the gate.

    Args:
        evaluation: the record; with the settings `registry.*`, or nothing is done.
        runs: the run that made each model, by the model's path.
        measured: metrics on the test images by the model's name, as `cnn`.
        predictions: what each model says of each test image (`metrics/predictions.csv`).
    """
    settings = evaluation.params
    path = _best(runs, settings.get("registry.select_by", ""))
    model_id = path and store.logged_model(runs[path])
    if not path or not model_id:
        return
    name = "-or-".join(sorted(predictions["actual"].unique()))
    md5 = evaluation.deps[path]
    champion = store.version_by_alias(name, ALIAS)
    if champion and champion.tags.get("md5") == md5:
        return
    known = store.versions(name, md5)
    tags = {"md5": md5, "model": path, **_revision_tags(runs[path])}
    version = known[0] if known else store.register(name, runs[path], model_id, tags)
    reasons = _below_floors(measured[Path(path).stem], settings)
    if champion:
        right = _is_right(predictions, path)
        of_champion = _answers_of(champion, evaluation, predictions)
        reasons += _objections(champion, right, of_champion, float(settings["registry.alpha"]))
    verdict = f"failed: {'; '.join(reasons)}" if reasons else "passed"
    if version.tags.get("gate") != verdict:
        store.describe_version(version, _page(path, tags, verdict), {"gate": verdict})
    if not reasons:
        store.give_alias(version, ALIAS)


def _best(runs: Mapping[str, Run], select_by: str) -> str | None:
    """Path of the model that is best by a metric which its own run holds."""
    sign = -1 if select_by.endswith(LOWER_IS_BETTER) else 1
    values = {path: run.data.metrics.get(select_by) for path, run in runs.items()}
    known = {path: sign * value for path, value in values.items() if value is not None}
    return max(known, key=lambda path: known[path], default=None)


def _below_floors(metrics: Mapping[str, float], settings: Mapping[str, Any]) -> list[str]:
    floors = {
        key.removeprefix("registry.floors."): float(value)
        for key, value in settings.items()
        if key.startswith("registry.floors.")
    }
    return [
        f"{name} {metrics[name]:.4f} is below its floor {floor:g}"
        for name, floor in floors.items()
        if metrics[name] < floor
    ]


def _is_right(predictions: pd.DataFrame, path: str) -> pd.Series:
    """Whether a model answers each image rightly."""
    return predictions[Path(path).stem] == predictions["actual"]


def _answers_of(
    champion: ModelVersion, evaluation: StageRecord, predictions: pd.DataFrame
) -> pd.Series | None:
    """Whether the champion answers each test image of an evaluation rightly; None if unknown."""
    path, md5 = champion.tags.get("model", ""), champion.tags.get("md5", "")
    if evaluation.deps.get(path) == md5:
        return _is_right(predictions, path)
    same = {f"dep.{path}": md5, f"dep.{TEST_IMAGES}": evaluation.deps[TEST_IMAGES]}
    for run in store.find_runs(same):
        if RECORD in run.data.tags:  # complete
            with store.artifact(run.info.run_id, PREDICTIONS_ARTIFACT) as table:
                return _is_right(pd.read_csv(table), path)
    return None


def _objections(
    champion: ModelVersion, right: pd.Series, of_champion: pd.Series | None, alpha: float
) -> list[str]:
    """Why a model may not take the champion's place: worse on the same images, or no such images.

    Args:
        champion: the version that has the alias.
        right: bool by image, whether the new model answers rightly.
        of_champion: the same of the champion, on the same images.
        alpha: level of the test.
    """
    who = f"the champion, version {champion.version}"
    if of_champion is None:
        what = f"cannot be compared with {who}, which has no predictions for the same test images"
        return [f"{what}: evaluate it on them, or take the alias from it"]
    test = paired_comparison(right.to_numpy(), of_champion.to_numpy())
    mine, its = test.counts["only_first_right"], test.counts["only_second_right"]
    if test.p >= alpha or mine >= its:
        return []
    counts = f"{its} are answered rightly by it alone and {mine} by this one"
    p_value = f"exact McNemar test, p = {test.p:.2g}, below {alpha:g}"
    return [f"worse than {who}: of {len(right)} test images {counts} alone ({p_value})"]


def _revision_tags(run: Run) -> dict[str, str]:
    keys = ("git.commit", "git.dirty", "dvc.exp_name", "dvc.exp_baseline")
    return {key: run.data.tags[key] for key in keys if key in run.data.tags}


def _page(path: str, tags: Mapping[str, str], verdict: str) -> str:
    """The text on the page of a version, in Markdown."""
    revision = tags.get("git.commit", "unknown")
    if tags.get("git.dirty") == "true":
        revision += ", with changes that were not committed"
    if "dvc.exp_name" in tags:
        revision += f", DVC experiment {tags['dvc.exp_name']}"
    return (
        f"`{path}`, md5 `{tags['md5']}`\n\n"
        f"Revision: {revision}\n\n"
        f"Gate: {verdict}\n\n"
        f"Where it comes from: `python -m stages.commands.lineage {tags['md5']}`"
    )
