"""The gate: whether the results of the head keep to the rules in its params.yaml.

Floors and ceilings hold for the head alone. A loss against the base counts if it is larger than is
allowed and the paired test says that it is real. Rules that the head makes impossible to check, by
predictions that are missing or damaged, are broken; those that the base makes so are not checked.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from stages.comparison.checks import Check, Outcome, Rule, status_of
from stages.comparison.judgements import ACCURACY, BRIER, Judgement
from stages.comparison.predictions import PATH as PREDICTIONS
from stages.comparison.sides import Side
from stages.data.errors import UserError
from stages.reporting.tables import EVALUATION
from stages.reporting.words import p_value
from stages.tracking.declared import PARAMS_FILE
from stages.workflow.params import GATE, GateParams, read_gate

ROUNDING = 1e-9  # of differences of shares
DEFAULT_ALPHA = 0.05  # of the verdicts, where there is no gate


def gate_of(side: Side) -> GateParams | None:
    """The rules of a side; None if it has no section `gate`.

    Raises:
        UserError: they cannot be read.
    """
    if side.settings is None:
        raise UserError(side.gaps[str(PARAMS_FILE)])
    return read_gate(PARAMS_FILE, side.settings[GATE]) if GATE in side.settings else None


def alpha_of(head: Side) -> float:
    """Level of the tests: that of the head's gate if there is one that can be read."""
    try:
        gate = gate_of(head)
    except UserError:
        gate = None
    return gate.alpha if gate else DEFAULT_ALPHA


def check_gate(base: Side, head: Side, judgements: list[Judgement], unpaired: str) -> Check:
    """Hold the results of the head against the rules of its params.yaml.

    Args:
        base: the side before.
        head: the side after.
        judgements: of the models that both have.
        unpaired: why the sides are not paired; empty if they are.
    """
    loosened = _loosened(base, head)
    try:
        gate = gate_of(head)
    except UserError as error:
        return Check("gate", "unreadable", f"the rules cannot be read: {error}", [], loosened)
    if gate is None:
        remark = f"{PARAMS_FILE} has no section `{GATE}`, so nothing is asked of the results"
        return Check("gate", "none", remark, [], loosened)
    rules = [
        *_limits("floors", gate.floors, head),
        *_limits("ceilings", gate.ceilings, head),
        *_losses("max_accuracy_loss", gate, base, head, judgements, unpaired),
        *_losses("max_brier_rise", gate, base, head, judgements, unpaired),
    ]
    return Check("gate", status_of(rules), "", rules, loosened)


def _limits(kind: str, limits: Mapping[Any, Mapping[Any, float]], head: Side) -> Iterator[Rule]:
    for model, measures in limits.items():
        for measure, limit in measures.items():
            name = f"{GATE}.{kind}.{model}.{measure}"
            value = head.tested(model, measure)
            if value is None:
                reason = head.gaps.get(str(EVALUATION), f"{EVALUATION} has no {model}.{measure}")
                yield Rule(name, "broken", f"cannot be checked {head.endpoint.place}: {reason}")
                continue
            is_kept = value >= limit if kind == "floors" else value <= limit
            where = "at least" if kind == "floors" else "at most"
            outcome: Outcome = "kept" if is_kept else "broken"
            yield Rule(
                name, outcome, f"{model}: {measure} is {value:g}, {where} {limit:g} is asked"
            )


def _losses(
    key: str,
    gate: GateParams,
    base: Side,
    head: Side,
    judgements: list[Judgement],
    unpaired: str,
) -> Iterator[Rule]:
    measure = ACCURACY if key == "max_accuracy_loss" else BRIER
    allowed: float = getattr(gate, key)
    name = f"{GATE}.{key}"
    if head.predictions is None:
        yield Rule(name, "broken", f"cannot be checked: {head.gaps[PREDICTIONS]}")
        return
    if unpaired:
        yield Rule(name, "not checked", unpaired)
        return
    for model in head.models:
        if model not in base.models:
            yield Rule(f"{name}, {model}", "not checked", f"{model} is new")
    for judgement in judgements:
        if judgement.measure == measure:
            yield _loss(f"{name}, {judgement.model}", judgement, allowed, gate.alpha)


def _loss(name: str, judgement: Judgement, allowed: float, alpha: float) -> Rule:
    model, test = judgement.model, judgement.paired
    if test is None or judgement.corrected_p is None or not judgement.base or not judgement.head:
        return Rule(name, "not checked", f"{model}: the predictions of a side lack it")
    loss = -test.difference if judgement.measure == ACCURACY else test.difference
    what = (
        f"{model}: {judgement.measure} {judgement.base.value:.4f} → {judgement.head.value:.4f}; "
        f"{p_value(judgement.corrected_p)}, level {alpha:g}"
    )
    if judgement.kind != "worse":
        return Rule(name, "kept", f"{what}: no loss that is more than chance")
    if loss <= allowed + ROUNDING:
        return Rule(name, "kept", f"{what}: a real loss of {loss:.4f}, up to {allowed:g} allowed")
    return Rule(name, "broken", f"{what}: a real loss of {loss:.4f}, more than {allowed:g} allowed")


def _loosened(base: Side, head: Side) -> list[str]:
    """Rules of the base that the head has no more, or that ask for less, a sentence each."""
    try:
        before = gate_of(base)
    except UserError:
        return [f"the rules {base.endpoint.place} cannot be read, so they are not compared"]
    if before is None:
        return []
    try:
        after = gate_of(head)
    except UserError:
        return []  # told already
    if after is None:
        return [f"all rules: {GATE} was removed"]
    found = []
    asked, still = _demands(before), _demands(after)
    for key, (value, demand) in asked.items():
        if key not in still:
            found.append(f"{key}: {value:g} was removed")
        elif still[key][1] < demand:
            found.append(f"{key}: {value:g} → {still[key][0]:g}")
    return found


def _demands(gate: GateParams) -> dict[str, tuple[float, float]]:
    """By key its value, and a number that is the larger the more it asks for."""
    demands = {
        f"{GATE}.floors.{model}.{measure}": (limit, limit)
        for model, measures in gate.floors.items()
        for measure, limit in measures.items()
    }
    demands |= {
        f"{GATE}.ceilings.{model}.{measure}": (limit, -limit)
        for model, measures in gate.ceilings.items()
        for measure, limit in measures.items()
    }
    # At a lower level fewer losses count.
    demands[f"{GATE}.alpha"] = (gate.alpha, gate.alpha)
    for key in ("max_accuracy_loss", "max_brier_rise"):
        demands[f"{GATE}.{key}"] = (getattr(gate, key), -getattr(gate, key))
    return demands
