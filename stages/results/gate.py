"""The gate: whether the results of the head keep to the rules in its params.yaml.

Floors and ceilings hold for the head alone. A loss against the base counts if it is larger than is
allowed, and real: worse on the same images, by more than another seed would do. Where no seeds tell
that, being worse on the same images is enough. Rules that the head makes impossible to check, by
predictions that are missing or damaged, are broken; those that the base makes so are not checked,
and then the gate is incomplete: not failed, but not passed either.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from stages.data.errors import UserError
from stages.results.predictions import PREDICTIONS
from stages.results.reading import EVALUATION, Results
from stages.results.text import Table, p_value
from stages.results.verdicts import ACCURACY, BRIER, Verdict
from stages.workflow.legal_values import validated
from stages.workflow.params import GATE, GateParams
from stages.workflow.pipeline import PARAMS_FILE

ROUNDING = 1e-9  # of differences of shares
DEFAULT_ALPHA = 0.05  # of the verdicts, where there is no gate
LOSSES = {"max_accuracy_loss": ACCURACY, "max_brier_rise": BRIER}

Outcome = Literal["kept", "broken", "not checked"]
Status = Literal["passed", "incomplete", "failed", "none", "unreadable"]


@dataclass(frozen=True)
class Rule:
    """A rule by its key in params.yaml, or a metric; how it went, and why, with the numbers."""

    name: str
    outcome: Outcome
    sentence: str


@dataclass(frozen=True)
class Check:
    """What results were held against: all rules, and what follows.

    Attributes:
        of: the gate of params.yaml, or that a computation is the same again.
        status: `incomplete` if none is broken, but some cannot be checked; `none` if there are no
            rules, `unreadable` if they cannot be read.
        remark: why it is so, in words; empty if the rules tell it.
        rules: all that were looked at.
        loosened: rules that ask for less than on the base side, a sentence each.
        table: how far it was from breaking, if that can be told.
    """

    of: Literal["gate", "reproduction"]
    status: Status
    remark: str = ""
    rules: list[Rule] = field(default_factory=list)
    loosened: list[str] = field(default_factory=list)
    table: Table | None = None

    def with_outcome(self, outcome: Outcome) -> list[Rule]:
        """The rules that went so."""
        return [rule for rule in self.rules if rule.outcome == outcome]


class Limit(NamedTuple):
    """The least or the most that a measure of a model may be on the test images."""

    model: str
    measure: str
    value: float
    is_floor: bool

    @property
    def name(self) -> str:
        """Its key in params.yaml."""
        return f"{GATE}.{'floors' if self.is_floor else 'ceilings'}.{self.model}.{self.measure}"

    @property
    def asks(self) -> str:
        """In which direction it holds."""
        return "at least" if self.is_floor else "at most"

    def allows(self, value: float) -> bool:
        """Whether a value keeps to it."""
        return value >= self.value if self.is_floor else value <= self.value


def limits(gate: GateParams) -> list[Limit]:
    """Floors and ceilings."""
    return [
        Limit(model, measure, value, is_floor)
        for by_model, is_floor in ((gate.floors, True), (gate.ceilings, False))
        for model, measures in by_model.items()
        for measure, value in measures.items()
    ]


def status_of(rules: list[Rule]) -> Status:
    """Failed if any rule is broken, passed if all are kept."""
    outcomes = {rule.outcome for rule in rules}
    if "broken" in outcomes:
        return "failed"
    return "incomplete" if "not checked" in outcomes else "passed"


def gate_of(side: Results) -> GateParams | None:
    """The rules of a side; None if it has no section `gate`.

    Raises:
        UserError: they cannot be read.
    """
    if side.sections is None:
        raise UserError(side.gaps[PARAMS_FILE])
    if GATE not in side.sections:
        return None
    return validated(PARAMS_FILE, GateParams, side.sections[GATE], GATE)


def alpha_of(head: Results) -> float:
    """Level of the tests: that of the head's gate if there is one that can be read."""
    with suppress(UserError):
        if gate := gate_of(head):
            return gate.alpha
    return DEFAULT_ALPHA


def check_gate(base: Results, head: Results, verdicts: list[Verdict], unpaired: str) -> Check:
    """Hold the results of the head against the rules of its params.yaml.

    The verdicts are on the models that both have; `unpaired` is why the sides are not paired.
    """
    try:
        gate = gate_of(head)
    except UserError as error:
        return Check("gate", "unreadable", f"the rules cannot be read: {error}")
    loosened = _loosened(base, gate)
    if gate is None:
        remark = f"{PARAMS_FILE} has no section `{GATE}`, so nothing is asked of the results"
        return Check("gate", "none", remark, [], loosened)
    rules = [held(limit, head) for limit in limits(gate)]
    for key, measure in LOSSES.items():
        name, allowed = f"{GATE}.{key}", getattr(gate, key)
        if head.predictions is None:
            reason = f"cannot be checked: {head.gaps[PREDICTIONS]}"
            rules.append(Rule(name, "broken", reason))
        elif unpaired:
            rules.append(Rule(name, "not checked", unpaired))
        else:
            new = [model for model in head.models if model not in base.models]
            rules += [Rule(f"{name}, {m}", "kept", f"{m} is new, so it lost nothing") for m in new]
            measured = head.predictions
            told = measured.predicted if measure == ACCURACY else measured.probabilities
            judged = [verdict for verdict in verdicts if verdict.measure == measure]
            rules += [_loss(name, verdict, allowed, gate.alpha, told) for verdict in judged]
    return Check("gate", status_of(rules), "", rules, loosened)


def held(limit: Limit, head: Results) -> Rule:
    """Whether results keep to a limit; what cannot be checked is broken."""
    value = head.tested(limit.model, limit.measure)
    if value is None:
        missing = f"{EVALUATION} has no {limit.model}.{limit.measure}"
        reason = head.gaps.get(EVALUATION, missing)
        return Rule(limit.name, "broken", f"cannot be checked {head.place}: {reason}")
    said = f"{limit.model}: {limit.measure} is {value:g}, {limit.asks} {limit.value:g} is asked"
    return Rule(limit.name, "kept" if limit.allows(value) else "broken", said)


def _loss(key: str, verdict: Verdict, allowed: float, alpha: float, told: Collection[str]) -> Rule:
    """Whether a loss is real and too large, and why; the head's file has the models `told`."""
    name, test, p = f"{key}, {verdict.model}", verdict.test, verdict.corrected_p
    if test is None or p is None or not verdict.base or not verdict.head:
        what = f"does not give the {verdict.measure} of {verdict.model}"
        if verdict.head and verdict.model in told:
            return Rule(name, "not checked", f"the base {what}")
        return Rule(name, "broken", f"cannot be checked: the head {what}")
    change = f"{verdict.measure} {verdict.base.value:.4f} → {verdict.head.value:.4f}"
    what = f"{verdict.model}: {change}; {p_value(p)}, level {alpha:g}"
    size = abs(test.difference)
    loss = {
        "worse": f"a real loss of {size:.4f}",
        "open": f"a loss of {size:.4f}, which counts, as no seeds tell what another would do",
        "differs": f"a loss of {size:.4f}, and another seed would do as much",
    }.get(verdict.kind)
    if loss is None or not verdict.is_loss:
        return Rule(name, "kept", f"{what}: no loss that is more than chance")
    if verdict.kind == "differs":
        return Rule(name, "kept", f"{what}: {loss}")
    if size <= allowed + ROUNDING:
        return Rule(name, "kept", f"{what}: {loss}, up to {allowed:g} allowed")
    return Rule(name, "broken", f"{what}: {loss}, more than {allowed:g} allowed")


def _loosened(base: Results, after: GateParams | None) -> list[str]:
    """Rules of the base that the head has no more, or that ask for less, a sentence each."""
    try:
        before = gate_of(base)
    except UserError:
        return [f"the rules {base.place} cannot be read, so they are not compared"]
    if before is None:
        return []
    if after is None:
        return [f"all rules: {GATE} was removed"]
    found, still = [], _demands(after)
    for key, (value, demand) in _demands(before).items():
        if key not in still:
            found.append(f"{key}: {value:g} was removed")
        elif still[key][1] < demand:
            found.append(f"{key}: {value:g} → {still[key][0]:g}")
    return found


def _demands(gate: GateParams) -> dict[str, tuple[float, float]]:
    """By key its value, and a number that is the larger the more it asks for."""
    demands = {
        limit.name: (limit.value, limit.value if limit.is_floor else -limit.value)
        for limit in limits(gate)
    }
    demands[f"{GATE}.alpha"] = (gate.alpha, gate.alpha)  # at a lower level fewer losses count
    for key in LOSSES:
        demands[f"{GATE}.{key}"] = (getattr(gate, key), -getattr(gate, key))
    return demands
