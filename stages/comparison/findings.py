"""All that a comparison of two sides finds, in one typed structure that every output is made of."""

from collections.abc import Iterator
from dataclasses import dataclass

from stages.comparison.changes import (
    MetricChange,
    SettingChange,
    StageChange,
    metric_changes,
    setting_changes,
    stage_changes,
)
from stages.comparison.checks import Check
from stages.comparison.endpoints import Endpoint
from stages.comparison.gate import alpha_of, check_gate
from stages.comparison.judgements import Flip, Judgement, flips, judge, pair_up
from stages.comparison.sides import Side, read_side
from stages.comparison.tolerances import check_reproduction
from stages.data.errors import UserError


@dataclass(frozen=True)
class Findings:
    """What differs between two sides, and what follows.

    Attributes:
        base: the side before.
        head: the side after.
        settings: those of params.yaml that differ.
        stages: those that read other code, data or settings.
        metrics: all numbers of the metrics files, whether or not they differ.
        judgements: of each model that both sides have.
        flips: images whose answer turned right or wrong.
        images: how many images the sides are paired on.
        unpaired: why they are not; empty if they are.
        alpha: level of the tests.
        check: what the head was held against.
        notes: what is missing, damaged or in doubt, a sentence each.
    """

    base: Side
    head: Side
    settings: list[SettingChange]
    stages: list[StageChange]
    metrics: list[MetricChange]
    judgements: list[Judgement]
    flips: list[Flip]
    images: int
    unpaired: str
    alpha: float
    check: Check
    notes: list[str]


def compare(base_endpoint: Endpoint, head_endpoint: Endpoint, *, reproduced: bool) -> Findings:
    """Read both sides and compare them.

    Args:
        base_endpoint: the state before.
        head_endpoint: the state after.
        reproduced: whether to ask that the head's metrics are those of the base, computed again,
            instead of holding them against the gate.

    Raises:
        UserError: nothing can be compared.
    """
    base, head = read_side(base_endpoint), read_side(head_endpoint)
    pair, unpaired = pair_up(base, head)
    alpha = alpha_of(head)
    judgements = judge(base, head, pair, alpha)
    metrics = metric_changes(base, head)
    if reproduced:
        check = check_reproduction(base, metrics)
    else:
        check = check_gate(base, head, judgements, unpaired)
    _refuse_nothing(base, head, check)
    return Findings(
        base=base,
        head=head,
        settings=setting_changes(base, head),
        stages=stage_changes(base.records, head.records) if base.records and head.records else [],
        metrics=metrics,
        judgements=judgements,
        flips=flips(pair) if pair else [],
        images=len(pair.head) if pair else 0,
        unpaired=unpaired,
        alpha=alpha,
        check=check,
        notes=[*_notes(base, head)],
    )


def _refuse_nothing(base: Side, head: Side, check: Check) -> None:
    """Stop where there is nothing to say: without results, and no gate to hold them against."""
    needed = [head] if check.of == "gate" and check.rules else [head, base]
    for side in needed:
        if not side.has_results:
            # Each gap ends with what to do, which is the same for all and said once.
            parts = [gap.rpartition("; ") for gap in side.gaps.values()]
            what = "; ".join(text for text, _, _ in parts)
            raise UserError(
                f"nothing can be compared: no results {side.endpoint.place}: {what}; {parts[-1][2]}"
            )


def _notes(base: Side, head: Side) -> Iterator[str]:
    for side in (base, head):
        place = side.endpoint.place
        for text in (*side.gaps.values(), *side.doubts):
            yield f"{place[0].upper()}{place[1:]}: {text}"
    before, after = (
        [m for m in side.models if m not in other.models]
        for side, other in ((base, head), (head, base))
    )
    if before and base.has_results and head.has_results:
        more = f", {', '.join(after)} {head.endpoint.place} alone" if after else ""
        yield (
            f"{', '.join(before)} is {base.endpoint.place} alone{more}; a model is compared with "
            "the one of the same name"
        )
    elif after and base.has_results:
        yield f"{', '.join(after)} is new {head.endpoint.place}"
