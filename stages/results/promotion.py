"""The champion: a result is proposed, and one verdict says whether its best model gets the alias.

A model is chosen on validation images and accepted on test images: it keeps to the floors and
ceilings of `gate`, and is better than the champion on the same images. Where that is asked for, one
that is not better is accepted, too, if it is not far below the best champion so far: measured from
there, many small steps down lead nowhere. Where no champion was measured on these images, floors
and ceilings decide. The rules are those of params.yaml here, whichever revision is proposed.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stages.data.errors import UserError
from stages.models.names import MODELS, noun_of
from stages.results.gate import held, limits
from stages.results.predictions import PREDICTIONS, predictions_in
from stages.results.reading import (
    EVALUATE,
    EVALUATION,
    TEST_IMAGES,
    TOLERANCE,
    Results,
    read_results,
)
from stages.results.text import capital, signed
from stages.results.verdicts import judge, pair_up, sentence_on
from stages.tracking import registry, store
from stages.tracking.outputs import with_results
from stages.tracking.store import ModelVersion
from stages.tracking.sync import sync_revision
from stages.workflow.legal_values import validated
from stages.workflow.params import GATE, REGISTRY, GateParams, RegistryParams
from stages.workflow.pipeline import PARAMS_FILE, md5_of
from stages.workflow.revisions import Revision, history, named_revisions, workspace
from stages.workflow.staleness import stale_stages

LIMIT = "data.limit_per_class"
LONGEST_NAME = 200  # letters; MLflow's tables hold 256


def propose(revision: Revision, *, accept_equal: bool) -> tuple[bool, str]:
    """Register the best model of a revision; make it the champion if there is reason to.

    Args:
        revision: has results.
        accept_equal: whether it need not be better than the champion, within `registry.margin`.

    Returns:
        Whether it is the champion now; why, with the numbers, and what would move the alias.

    Raises:
        UserError: params.yaml or results are missing or damaged, or the model is not here.
        MlflowException: the store does not answer.
    """
    sections, results = workspace().params, read_results(revision)
    rules = validated(PARAMS_FILE, RegistryParams, sections.get(REGISTRY), REGISTRY)
    gate = validated(PARAMS_FILE, GateParams, sections.get(GATE), GATE)
    if reason := _no_candidate(results):
        return False, f"REFUSED, and nothing was registered: {reason}"
    if results.predictions is None:
        raise UserError(results.gaps[PREDICTIONS])
    model, name = results.best_by(rules.select_by), registered_name(results.predictions.classes)
    path, images = MODELS[model].path, results.lock[EVALUATE].deps[TEST_IMAGES]
    maker = next(entry for entry in results.lock.values() if path in entry.outs)
    runs = sync_revision(revision)
    with store.exclusive():
        version = registry.version_of(name, runs[maker.key], path, maker.outs[path])
        champion = registry.champion_of(name)
        accuracy = results.number(EVALUATION, f"{model}.accuracy")
        is_new = champion is None or champion.version != version.version
        accepted, why = True, "CHAMPION already"
        if is_new:
            accepted, why = _decide(champion, results, model, gate, rules, equal=accept_equal)
        champion_on = {images: accuracy} if accepted else {}
        registry.record(version, why if is_new else "", champion_on)
    chosen = f"the best {revision.place} by {rules.select_by}"
    what = f"{capital(noun_of(model))}, {chosen}, test accuracy {accuracy:.4f}"
    return accepted, f"{name} version {version.version}: {what}\n{why}"


def registered_name(classes: Sequence[str]) -> str:
    """The name of the model that tells these classes apart, whatever their order."""
    name = "-or-".join(sorted(classes))
    short = f"{name[: LONGEST_NAME - 9]}-{md5_of(name.encode())[:8]}"
    return name if len(name) <= LONGEST_NAME else short


def _no_candidate(results: Results) -> str:
    """Why results are not proposed at all; empty if they may be."""
    revision = results.revision
    if stale := [each.stage for each in stale_stages(revision) if each.needs_run]:
        what = f"the results {revision.place} do not belong to its code and params"
        todo = f"`python -m stages stale {revision.name}` tells why"
        return f"{what} ({', '.join(stale)}); {todo}, `make repro` runs them"
    if limit := results.params.get(LIMIT):
        what = f"with {LIMIT} = {limit} they are those of a quick trial, on few images"
        return f"{what}; set it to null, run `make repro`, and propose that"
    return ""


def _decide(
    champion: ModelVersion | None,
    results: Results,
    model: str,
    gate: GateParams,
    rules: RegistryParams,
    *,
    equal: bool,
) -> tuple[bool, str]:
    """Whether a model, or one that is but `equal`, takes the champion's place, and why."""
    asked = [held(limit, results) for limit in limits(gate) if limit.model == model]
    if broken := [rule.sentence for rule in asked if rule.outcome == "broken"]:
        return False, f"REFUSED, as `{GATE}` in {PARAMS_FILE} asks for more: {'; '.join(broken)}"
    if champion is None:
        return True, f"CHAMPION: there was none, and it keeps to `{GATE}`"
    images, number = results.lock[EVALUATE].deps[TEST_IMAGES], str(champion.version)
    reached = registry.champions_so_far(champion.name, images)
    said = f"Nothing tells how the champion, version {number}, predicts these test images."
    if (base := _results_of(champion, results, model)) and base.predictions:
        reached.setdefault(number, float(base.predictions.is_right(model).mean()))
        who = f"the champion, version {number}"
        is_better, said = _beside(base, who, results, model, gate.alpha)
        if is_better:
            return True, f"CHAMPION: {said}"
    if not reached:
        why = "no champion was measured on these test images"
        return True, f"CHAMPION: {why}, so `{GATE}` alone decides, and it keeps to it"
    best = max(reached, key=lambda version: reached[version])
    lead = results.number(EVALUATION, f"{model}.accuracy") - reached[best]
    is_near = lead >= -rules.margin - TOLERANCE
    said += (
        f" Beside the best champion so far (version {best}, {reached[best]:.4f}) it has "
        f"{signed(lead)}; registry.margin allows {signed(-rules.margin)}"
    )
    if is_near and equal:
        return True, f"CHAMPION, as an equal one is accepted: {said}."
    todo = "--accept-equal moves the alias to it" if is_near else "--accept-equal is of no use"
    return False, f"REFUSED, version {number} stays the champion: {said}, so {todo}."


def _beside(
    base: Results, who: str, results: Results, model: str, alpha: float
) -> tuple[bool, str]:
    """Whether a model is better than one with the same name in base, and a sentence on it."""
    pair, _ = pair_up(base, results)
    accuracy, brier = judge(base, results, pair, alpha)
    images = len(pair[0]) if pair else 0
    said = sentence_on(noun_of(model), who, accuracy.test, accuracy.kind, images)
    if accuracy.kind == "open":
        said += " Whether another seed would do as much is open: `make seeds` tells."
    if brier.kind == "worse" and brier.base and brier.head:
        said += f" Its Brier score is worse: {brier.base.value:.4f} → {brier.head.value:.4f}."
    return accuracy.kind == "better" and brier.kind != "worse", said


def _results_of(version: ModelVersion, beside: Results, name: str) -> Results | None:
    """The predictions of a version alone, under a name, for the same test images; None if lost.

    As a revision here has them, with its seeds, else as an evaluation in MLflow.
    """
    path, md5 = (version.tags.get(key, "") for key in (registry.MODEL, registry.MD5))
    images = beside.lock[EVALUATE].deps[TEST_IMAGES]
    model, wanted = Path(path).stem, {path: md5, TEST_IMAGES: images}
    for revision in with_results([*reversed(named_revisions()), *history()]):
        if EVALUATE in revision.lock and wanted.items() <= revision.lock[EVALUATE].deps.items():
            found = read_results(revision)
            break
    else:  # its own lock is not known; that of the other side tells whether the model has a seed
        found = Results(Revision("MLflow", "commit", ""), lock=beside.lock)
        if content := registry.predictions_of(wanted, PREDICTIONS):
            found.predictions = predictions_in(content, "propose another revision")
    if found.predictions is None or model not in found.predictions.predicted:
        return None
    predicted, probabilities = found.predictions.predicted, found.predictions.probabilities
    one = replace(
        found.predictions,
        predicted={name: predicted[model]},
        probabilities={name: probabilities[model]} if model in probabilities else {},
    )
    if name != model:  # the seeds of its revision are not of this model
        return Results(found.revision, predictions=one)
    return replace(found, predictions=one, metrics={})
