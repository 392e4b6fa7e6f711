"""A comparison of two revisions: all that is found, in one object that every output shows."""

from collections import Counter
from collections.abc import Iterator

from stages.data.errors import UserError
from stages.models.names import noun_of
from stages.results.changes import metric_changes, param_changes, stage_changes
from stages.results.gate import alpha_of, check_gate
from stages.results.reading import read_results
from stages.results.reproduction import check_reproduction
from stages.results.seeds import REMEDY, SEEDS, stale_seeds
from stages.results.text import capital, counted, p_value, points, signed
from stages.results.verdicts import ACCURACY, Kind, Verdict, flips, judge, pair_up, sentence_on
from stages.workflow.revisions import Revision

SIGNIFICANT: tuple[Kind, ...] = ("worse", "better", "open", "differs")  # on these images
KINDS: tuple[Kind, ...] = (*SIGNIFICANT, "no evidence", "same", "not compared")


class Comparison:
    """What differs between the results of two revisions, and what follows.

    Args:
        base, head: the states before and after.
        why: how the base was chosen; empty if the user named it.
        reproduced: whether to ask that the head's metrics are those of the base, computed again,
            instead of holding them against the gate.

    Attributes:
        base, head: the results before and after.
        alpha: level of the tests.
        unpaired: why the sides are not compared image by image; empty if they are.
        images: how many images they are paired on.
        verdicts: on each model that both sides have.
        flips: images whose prediction turned right or wrong.
        params: those that differ, libraries with them.
        stages: those that read other code, data or params.
        metrics: all numbers of the metrics files, whether or not they differ.
        check: what the head was held against.
        notes: what is missing, damaged or does not fit, a sentence each.

    Raises:
        UserError: nothing can be compared.
    """

    def __init__(self, base: Revision, head: Revision, why: str = "", *, reproduced: bool) -> None:
        self.base, self.head, self.why = read_results(base), read_results(head), why
        self.alpha = alpha_of(self.head)
        pair, self.unpaired = pair_up(self.base, self.head)
        self.images = len(pair[1]) if pair else 0
        self.verdicts = judge(self.base, self.head, pair, self.alpha)
        self.flips = flips(pair) if pair else []
        self.params = param_changes(self.base, self.head)
        self.stages = stage_changes(self.base, self.head)
        self.metrics = metric_changes(self.base, self.head)
        if reproduced:
            self.check = check_reproduction(self.base, self.head, self.metrics)
        else:
            self.check = check_gate(self.base, self.head, self.verdicts, self.unpaired)
        self._refuse_nothing()
        self.notes = self._notes()

    def _refuse_nothing(self) -> None:
        """Stop where there is nothing to say: no results, and no gate to hold them against."""
        is_gate = self.check.of == "gate" and self.check.rules
        for side in [self.head] if is_gate else [self.head, self.base]:
            if not side.has_any:
                # Each gap ends with what to do, which is the same for all and said once.
                parts = [gap.rpartition("; ") for gap in side.gaps.values()]
                what = "; ".join(text for text, _, _ in parts)
                raise UserError(
                    f"nothing can be compared: no results {side.place}: {what}; {parts[-1][2]}"
                )

    def _notes(self) -> list[str]:
        base, head = self.base, self.head
        found = [
            f"{capital(side.place)}: {text}"
            for side in (base, head)
            for text in (*side.gaps.values(), *side.warnings, stale_seeds(side.seeds, side.lock))
            if text
        ]
        gone = [model for model in base.models if model not in head.models]
        new = ", ".join(model for model in head.models if model not in base.models)
        if gone and base.has_any and head.has_any:
            more = f", {new} {head.place} alone" if new else ""
            rule = "a model is compared with the one of the same name"
            found.append(f"{', '.join(gone)} is {base.place} alone{more}; {rule}")
        elif new and base.has_any:
            found.append(f"{new} is new {head.place}")
        return found

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
                return f"reproduced within the tolerances, all of {metrics}"
            off = f", {broken} of {metrics} differ by more than is allowed" if broken else ""
            return f"NOT reproduced{off}"
        rules = counted(len(check.rules), "rule")
        return {
            "passed": f"gate passed ({rules})",
            "incomplete": f"gate INCOMPLETE ({unchecked} of {rules} not checked)",
            "failed": f"gate FAILED ({broken} of {rules})",
            "none": "no gate",
            "unreadable": "gate UNREADABLE",
        }[check.status]

    def sentences(self) -> Iterator[tuple[Kind, str]]:
        """What is said of each model, the worst news first, and if they are not paired, why."""
        for verdict in sorted(self.verdicts, key=lambda each: KINDS.index(each.kind)):
            if verdict.test and verdict.measure == ACCURACY:
                yield verdict.kind, self._on_accuracy(verdict)
            elif verdict.kind in SIGNIFICANT:
                yield verdict.kind, self._on_brier(verdict)
        if self.unpaired:
            yield "not compared", f"Not compared image by image: {self.unpaired}."

    def _on_accuracy(self, verdict: Verdict) -> str:
        noun = noun_of(verdict.model)
        if verdict.kind == "same":
            return f"{capital(noun)} predicts the same for all {self.images:,} test images."
        first, second = f"{noun} {self.head.place}", f"{noun} {self.base.place}"
        correction = self._correction(verdict)
        said = sentence_on(first, second, verdict.test, verdict.kind, self.images, correction)
        right, wrong = self.turned(verdict.model)
        turned = f"{counted(right, 'image')} turned right and {wrong:,} wrong."
        return f"{said} {turned}{self._on_another_seed(verdict)}"

    def turned(self, model: str) -> tuple[int, int]:
        """On how many images the prediction of a model turned right, and wrong."""
        to_right = [flip.to_right for flip in self.flips if flip.model == model]
        return sum(to_right), len(to_right) - sum(to_right)

    def _on_brier(self, verdict: Verdict) -> str:
        test, before, after = verdict.test, verdict.base, verdict.head
        if not (test and test.ci and before and after):
            return ""
        noun, (low, high) = noun_of(verdict.model), map(signed, test.ci)
        said = {
            "differs": f"The Brier score of {noun} differs, but another seed would do as much",
            "open": f"The Brier score of {noun} differs",
        }.get(verdict.kind, f"{capital(noun)} has a {verdict.kind} Brier score")
        return (
            f"{said}: {before.value:.4f} → {after.value:.4f}, "
            f"{signed(test.difference)} ({low} to {high}); {p_value(test.p)}"
            f"{self._correction(verdict)}.{self._on_another_seed(verdict)}"
        )

    def _on_another_seed(self, verdict: Verdict) -> str:
        """A sentence on what another seed would do, with the numbers and a space before it."""
        if verdict.kind not in SIGNIFICANT:
            return ""
        another = verdict.another_seed
        if another is None:
            why = f"{SEEDS} has fewer than two seeds of these results; {REMEDY}"
            return f" Whether another seed would do as much is open: {why}."
        if not any(another.seeds):
            return " It is the same with every seed."
        is_share = verdict.measure == ACCURACY

        def size(value: float) -> str:
            return f"{points(value)} points" if is_share else signed(value, plus=False)

        sides = zip(another.seeds, (self.base, self.head), strict=True)
        seeds = ", ".join(f"{counted(n, 'seed')} {side.place}" for n, side in sides if n)
        if another.std is None:
            how = ", in pairs" * another.is_paired
            said = f"Over {seeds}{how}, the mean differs by {size(another.difference)}"
        else:
            said = f"Another seed moves it by ± {size(another.std)} ({seeds})"
        return f" {said}; it takes more than {size(another.needed)}."

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
