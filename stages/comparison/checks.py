"""What a comparison may be held against: rules, each of them kept, broken or not checked."""

from dataclasses import dataclass, field
from typing import Literal

from stages.reporting.sections import Table

Outcome = Literal["kept", "broken", "not checked"]
Status = Literal["passed", "failed", "none", "unreadable"]


@dataclass(frozen=True)
class Rule:
    """A rule and how it went.

    Attributes:
        name: key in params.yaml and model, or file and name of a metric.
        outcome: whether it was kept.
        sentence: why, with the numbers.
    """

    name: str
    outcome: Outcome
    sentence: str


@dataclass(frozen=True)
class Check:
    """All rules, and what follows.

    Attributes:
        of: the gate of params.yaml, or that a computation is the same again.
        status: `none` if there are no rules, `unreadable` if they cannot be read.
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


def status_of(rules: list[Rule]) -> Status:
    """Failed if any rule is broken."""
    return "failed" if any(rule.outcome == "broken" for rule in rules) else "passed"
