"""A comparison of two revisions: all that is found, in one structure that every output shows."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from stages.data.errors import UserError
from stages.models.names import noun_of
from stages.results.changes import (
    MetricChange,
    ParamChange,
    StageChange,
    metric_changes,
    param_changes,
    stage_changes,
)
from stages.results.gate import Check, alpha_of, check_gate
from stages.results.reading import Results, read_results
from stages.results.reproduction import check_reproduction
from stages.results.text import capital, counted, p_value, signed
from stages.results.verdicts import (
    ACCURACY,
    Flip,
    Kind,
    Verdict,
    flips,
    judge,
    pair_up,
    sentence_on,
)
from stages.workflow.revisions import Revision

KINDS: tuple[Kind, ...] = ("worse", "better", "no evidence", "same", "not compared")


@dataclass(frozen=True)
class Comparison:
    """What differs between two revisions, and what follows.

    Attributes:
        base: the results before.
        head: the results after.
        why: how the base was chosen; empty if the user named it.
        params: those that differ, libraries with them.
        stages: those that read other code, data or params.
        metrics: all numbers of the metrics files, whether or not they differ.
        verdicts: on each model that both sides have.
        flips: images whose prediction turned right or wrong.
        images: how many images the sides are paired on.
        unpaired: why they are not; empty if they are.
        alpha: level of the tests.
        check: what the head was held against.
        notes: what is missing, damaged or does not fit, a sentence each.
    """

    base: Results
    head: Results
    why: str
    params: list[ParamChange]
    stages: list[StageChange]
    metrics: list[MetricChange]
    verdicts: list[Verdict]
    flips: list[Flip]
    images: int
    unpaired: str
    alpha: float
    check: Check
    notes: list[str]

    @property
    def headline(self) -> str:
        """What was found, in a line."""
        counts = Counter(each.kind for each in self.verdicts if each.measure == ACCURACY)
        found = [f"{counts[kind]} {kind}" for kind in KINDS if kind in counts]
        models = f"{counted(counts.total(), 'model')}: {', '.join(found)}" if found else "no models"
        doubt = "; the head's results are IN DOUBT" if self.head.warnings else ""
        return f"{models}; {self._check_line}{doubt}"

    @property
    def check_text(self) -> str:
        """How the check went and why, as the beginning of a paragraph."""
        remark = self.check.remark
        return capital(self._check_line) + (f": {remark}" if remark else "")

    @property
    def _check_line(self) -> str:
        check = self.check
        broken, unchecked = (len(check.with_outcome(each)) for each in ("broken", "not checked"))
        if check.of == "reproduction":
            metrics = counted(len(check.rules), "metric")
            if check.status == "passed":
                return f"reproduced: all of {metrics} agree within the tolerances"
            return f"NOT reproduced: {broken} of {metrics} differ by more than is allowed"
        rules = counted(len(check.rules), "rule") + (f", {unchecked} not checked" * bool(unchecked))
        return {
            "passed": f"gate passed ({rules})",
            "failed": f"gate FAILED ({broken} of {rules})",
            "none": "no gate",
            "unreadable": "gate UNREADABLE",
        }[check.status]

    def sentences(self) -> Iterator[tuple[Kind, str]]:
        """What is said of each model, the worst news first, with what it is."""
        for verdict in sorted(self.verdicts, key=lambda each: KINDS.index(each.kind)):
            if verdict.test and verdict.measure == ACCURACY:
                yield verdict.kind, self._on_accuracy(verdict)
            elif verdict.kind in ("better", "worse"):
                yield verdict.kind, self._on_brier(verdict)

    def _on_accuracy(self, verdict: Verdict) -> str:
        noun = noun_of(verdict.model)
        if verdict.kind == "same":
            return f"{capital(noun)} gives all {self.images:,} test images the same answers."
        first, second = f"{noun} {self.head.place}", f"{noun} {self.base.place}"
        correction = self._correction(verdict)
        said = sentence_on(first, second, verdict.test, verdict.kind, self.images, correction)
        to_right = [flip.to_right for flip in self.flips if flip.model == verdict.model]
        wrong = len(to_right) - sum(to_right)
        return f"{said} {counted(sum(to_right), 'image')} turned right and {wrong:,} wrong."

    def _on_brier(self, verdict: Verdict) -> str:
        test, before, after = verdict.test, verdict.base, verdict.head
        if test is None or test.ci is None or before is None or after is None:
            return ""
        size = f"{signed(test.difference)} ({signed(test.ci[0])} to {signed(test.ci[1])})"
        evidence = f"{size}; {p_value(test.p)}{self._correction(verdict)}"
        noun, values = capital(noun_of(verdict.model)), f"{before.value:.4f} → {after.value:.4f}"
        return f"{noun} has a {verdict.kind} Brier score: {values}, {evidence}."

    def _correction(self, verdict: Verdict) -> str:
        """A clause on the p value that counts, if several models changed."""
        changed = [
            each
            for each in self.verdicts
            if each.measure == verdict.measure and each.kind not in ("same", "not compared")
        ]
        if len(changed) < 2 or verdict.corrected_p is None:
            return ""
        return f", corrected for {len(changed)} models {p_value(verdict.corrected_p)}"


def compare(base: Revision, head: Revision, why: str = "", *, reproduced: bool) -> Comparison:
    """Read both revisions and compare their results.

    Args:
        base: the state before.
        head: the state after.
        why: how the base was chosen.
        reproduced: whether to ask that the head's metrics are those of the base, computed again,
            instead of holding them against the gate.

    Raises:
        UserError: nothing can be compared.
    """
    before, after = read_results(base), read_results(head)
    pair, unpaired = pair_up(before, after)
    alpha = alpha_of(after)
    verdicts = judge(before, after, pair, alpha)
    metrics = metric_changes(before, after)
    if reproduced:
        check = check_reproduction(before, metrics)
    else:
        check = check_gate(before, after, verdicts, unpaired)
    _refuse_nothing(before, after, check)
    return Comparison(
        base=before,
        head=after,
        why=why,
        params=param_changes(before, after),
        stages=stage_changes(before, after),
        metrics=metrics,
        verdicts=verdicts,
        flips=flips(pair) if pair else [],
        images=len(pair.head) if pair else 0,
        unpaired=unpaired,
        alpha=alpha,
        check=check,
        notes=[*_notes(before, after)],
    )


def _refuse_nothing(base: Results, head: Results, check: Check) -> None:
    """Stop where there is nothing to say: without results, and no gate to hold them against."""
    for side in [head] if check.of == "gate" and check.rules else [head, base]:
        if not side.has_any:
            # Each gap ends with what to do, which is the same for all and said once.
            parts = [gap.rpartition("; ") for gap in side.gaps.values()]
            what = "; ".join(text for text, _, _ in parts)
            raise UserError(
                f"nothing can be compared: no results {side.place}: {what}; {parts[-1][2]}"
            )


def _notes(base: Results, head: Results) -> Iterator[str]:
    for side in (base, head):
        for text in (*side.gaps.values(), *side.warnings):
            yield f"{capital(side.place)}: {text}"
    gone = [model for model in base.models if model not in head.models]
    new = [model for model in head.models if model not in base.models]
    if gone and base.has_any and head.has_any:
        more = f", {', '.join(new)} {head.place} alone" if new else ""
        yield (
            f"{', '.join(gone)} is {base.place} alone{more}; a model is compared with the one of "
            "the same name"
        )
    elif new and base.has_any:
        yield f"{', '.join(new)} is new {head.place}"
