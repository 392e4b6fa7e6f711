"""What this project adds to the mirror: tests and pictures of models, and a registry of the best.

`evaluate` measures models that other stages made, and `draw` draws them. Both are told to the runs
that made the models, so that a model's run has its test metrics beside those of training and
validation, however the files came to be there. The best model of an evaluation becomes a version of
a registered model, which is a question, as `automobile-or-truck`; a version for each content. The
alias `champion` is what a user of the model asks for, so it moves only to a version that passes.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from stages.data.files import read_json
from stages.data.splits import split_path
from stages.models.names import best
from stages.statistics.paired import paired_comparison
from stages.tracking import mirror, registry, store, tags
from stages.tracking.outputs import files_of
from stages.tracking.served_model import is_model
from stages.tracking.store import ModelVersion, Run
from stages.workflow.pipeline import LockEntry, flattened
from stages.workflow.revisions import Revision

METRICS = "metrics/evaluate.json"
PREDICTIONS = "metrics/predictions.csv"
PREDICTIONS_ARTIFACT = "tables/predictions.csv"
TEST_IMAGES = str(split_path("test"))
PASSED_ON = "passed_on"  # tag of a run of which the models' runs have been told


def after_entry(
    entry: LockEntry, revision: Revision, runs: Mapping[str, Run], *, again: bool = False
) -> None:
    """Tell the runs that made the models what a computation measured or drew of them.

    An evaluation in the workspace is looked at each time: the gate may be another one now.

    Args:
        entry: a finished computation.
        revision: where its files, and the entries of the models, are.
        runs: runs that are known, by `LockEntry.key`; that of `entry` among them.
        again: whether to do so if it was done before, as for models that have come since.
    """
    models = _models_of(entry, revision)
    run = runs[entry.key]
    is_due = again or PASSED_ON not in run.data.tags
    if not models or not (is_due or (METRICS in entry.outs and revision.is_workspace)):
        return
    files: dict[str, Path] = {}
    for path, md5 in mirror.shown_outs(entry).items():
        files |= files_of(revision, path, md5) or {}
    makers = {path: _run_that_made(path, md5, revision, runs) for path, md5 in models.items()}
    if is_due:
        pngs = {name: file for name, file in files.items() if file.suffix == ".png"}
        for path, maker in makers.items():
            own = {n: file for n, file in pngs.items() if file.name.startswith(_name(path) + "_")}
            store.log_artifacts(maker.info.run_id, mirror.artifacts_in(own))
    if METRICS in files:
        measured = read_json(files[METRICS])
        for path, maker in makers.items():
            _add_test_metrics(maker, flattened({"test": measured.get(_name(path), {})}))
        if PREDICTIONS in files:
            with store.exclusive():
                _propose(entry, revision, makers, measured, pd.read_csv(files[PREDICTIONS]))
    if PASSED_ON not in run.data.tags:
        store.log(run.info.run_id, tags={PASSED_ON: "true"})
        run.data.tags[PASSED_ON] = "true"  # the copy in hand stays true


def _models_of(entry: LockEntry, revision: Revision) -> dict[str, str]:
    """Md5 of the models that a computation read, itself or by what it was made from."""
    sources = [each for each in revision.lock.values() if each.outs.items() & entry.deps.items()]
    direct, indirect = (
        {path: md5 for each in entries for path, md5 in each.deps.items() if is_model(path)}
        for entries in ([entry], sources)
    )
    return direct or indirect


def _name(path: str) -> str:
    return Path(path).stem


def _run_that_made(path: str, md5: str, revision: Revision, runs: Mapping[str, Run]) -> Run:
    """The run whose stage wrote a file with this content; made from files if there is none."""
    makers = [each for each in revision.lock.values() if path in each.outs]
    for maker in makers:
        if maker.outs[path] == md5:
            return runs.get(maker.key) or mirror.make_run(maker, revision)
    if known := store.find_runs({f"{tags.OUT}{path}": md5}, limit=1):
        return known[0]
    # No entry and no run tells how the file was made: a run that holds the file alone.
    stage = makers[0].stage if makers else "unknown"
    orphan = LockEntry(stage, params={}, deps={}, outs={path: md5})
    return mirror.make_run(orphan, revision)


def _add_test_metrics(run: Run, metrics: Mapping[str, float]) -> None:
    """Add to the run of a model; another evaluation may have been there, of other test images."""
    changed = {key: value for key, value in metrics.items() if run.data.metrics.get(key) != value}
    if changed:
        store.log(run.info.run_id, metrics=changed, model_id=mirror.logged_model(run))
        run.data.metrics.update(changed)  # the copy in hand stays true


def _propose(
    evaluation: LockEntry,
    revision: Revision,
    makers: Mapping[str, Run],
    measured: Mapping[str, Mapping[str, float]],
    predictions: pd.DataFrame,
) -> None:
    """Register the best model of an evaluation; make it the champion if nothing speaks against it.

    The revision's params `registry` and `gate` decide; one that has none proposes nothing.
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
    champion = registry.champion_of(name)
    if champion and champion.tags.get("md5") == md5:
        return
    seen = (tags.COMMIT, tags.DIRTY, tags.EXPERIMENT, tags.BASELINE)
    made = makers[path].data.tags
    about = {"md5": md5, "model": path} | {key: made[key] for key in seen if key in made}
    known = [each for each in registry.versions_of_content(md5) if each.name == name]
    version = known[0] if known else registry.register(name, makers[path], model_id, about)
    reasons = [*_outside(measured.get(_name(path), {}), gate, _name(path))]
    if champion:
        its = _champion_is_right(champion, evaluation, predictions)
        reasons += _worse(champion, _is_right(predictions, path), its, float(rules["alpha"]))
    verdict = f"failed: {'; '.join(reasons)}" if reasons else "passed"
    if version.tags.get("gate") != verdict:
        store.client().update_model_version(name, version.version, _page(about, verdict))
        store.client().set_model_version_tag(name, version.version, "gate", verdict)
    if not reasons:
        store.client().set_registered_model_alias(name, registry.CHAMPION, version.version)


def _outside(metrics: Mapping[str, float], gate: Mapping[str, Any], model: str) -> Iterator[str]:
    """Which floors and ceilings of its own a model does not keep to."""
    for name, floor in (gate["floors"].get(model) or {}).items():
        if not (value := metrics.get(name, math.nan)) >= floor:
            yield f"{name} {value:.4f} is below its floor {floor:g}"
    for name, ceiling in (gate.get("ceilings", {}).get(model) or {}).items():
        if not (value := metrics.get(name, math.nan)) <= ceiling:
            yield f"{name} {value:.4f} is above its ceiling {ceiling:g}"


def _is_right(predictions: pd.DataFrame, path: str) -> "pd.Series[bool]":
    """Whether a model is right about each image."""
    return predictions[_name(path)] == predictions["actual"]


def _champion_is_right(
    champion: ModelVersion, evaluation: LockEntry, predictions: pd.DataFrame
) -> "pd.Series[bool] | None":
    """Whether the champion is right about each test image of an evaluation; None if unknown."""
    path, md5 = champion.tags.get("model", ""), champion.tags.get("md5", "")
    if evaluation.deps.get(path) == md5:
        return _is_right(predictions, path)
    same = {f"{tags.DEP}{path}": md5, f"{tags.DEP}{TEST_IMAGES}": evaluation.deps[TEST_IMAGES]}
    for run in store.find_runs(same):
        is_evaluation = f"{tags.OUT}{PREDICTIONS}" in run.data.tags and tags.ENTRY in run.data.tags
        if is_evaluation and PREDICTIONS not in mirror.missing_outs(run):
            with store.artifact(run.info.run_id, PREDICTIONS_ARTIFACT) as table:
                return _is_right(pd.read_csv(table), path)
    return None


def _worse(
    champion: ModelVersion, mine: "pd.Series[bool]", its: "pd.Series[bool] | None", alpha: float
) -> list[str]:
    """Why a model may not take the champion's place: worse on the same images, or no such images.

    `mine` and `its` say of each image whether the new model and the champion are right.
    """
    who = f"the champion, version {champion.version}"
    if its is None:
        what = f"cannot be compared with {who}, which has no predictions for the same test images"
        return [f"{what}: evaluate it on them, or take the alias from it"]
    test = paired_comparison(mine.to_numpy(), its.to_numpy())
    if test.p >= alpha or test.difference >= 0:
        return []
    only_mine, only_its = (test.counts[f"only_{who}_right"] for who in ("first", "second"))
    counts = f"{only_its} only it gets right and {only_mine} only this one"
    p_value = f"exact McNemar test, p = {test.p:.2g}, below {alpha:g}"
    return [f"worse than {who}: of {len(mine)} test images, {counts} ({p_value})"]


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
