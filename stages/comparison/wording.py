"""How a comparison is put into words, the same on the terminal and in Markdown."""

from stages.comparison.checks import Check
from stages.comparison.findings import Findings
from stages.comparison.judgements import ACCURACY, BRIER, Judgement, Kind, Measured
from stages.reporting.results import Comparison
from stages.reporting.tables import NOUNS
from stages.reporting.words import capital, counted, p_value, verdict

KINDS: tuple[Kind, ...] = ("worse", "better", "no evidence", "same", "not compared")
ABSENT_CELL = "–"


def headline(findings: Findings) -> str:
    """What was found, in a line."""
    accuracies = [each for each in findings.judgements if each.measure == ACCURACY]
    counts = {kind: sum(each.kind == kind for each in accuracies) for kind in KINDS}
    told = [f"{count} {kind}" for kind, count in counts.items() if count]
    models = f"{counted(len(accuracies), 'model')}: {', '.join(told)}" if told else "no models"
    doubt = "; the head's results are IN DOUBT" if findings.head.doubts else ""
    return f"{models}; {check_line(findings.check)}{doubt}"


def check_line(check: Check) -> str:
    """How the check went, in a clause."""
    broken, unchecked = (len(check.with_outcome(each)) for each in ("broken", "not checked"))
    of = f"{counted(len(check.rules), 'rule')}" + (
        f", {unchecked} not checked" if unchecked else ""
    )
    if check.of == "reproduction":
        metrics = counted(len(check.rules), "metric")
        if check.status == "passed":
            return f"reproduced: all of {metrics} agree within the tolerances"
        return f"NOT reproduced: {broken} of {metrics} differ by more than is allowed"
    return {
        "passed": f"gate passed ({of})",
        "failed": f"gate FAILED ({broken} of {of})",
        "none": "no gate",
        "unreadable": "gate UNREADABLE",
    }[check.status]


def check_text(check: Check) -> str:
    """How the check went and why, as the beginning of a paragraph."""
    line = capital(check_line(check))
    return f"{line}: {check.remark}" if check.remark else line


def sentences(findings: Findings) -> list[tuple[Kind, str]]:
    """What is said of each model, the worst news first, with what it is."""
    judged = sorted(findings.judgements, key=lambda each: KINDS.index(each.kind))
    told = [
        (each.kind, _sentence(each, findings))
        for each in judged
        if each.measure == ACCURACY or each.kind in ("better", "worse")
    ]
    return [(kind, text) for kind, text in told if text]


def _sentence(judgement: Judgement, findings: Findings) -> str:
    noun = NOUNS.get(judgement.model, judgement.model)
    before, after = findings.base.endpoint.place, findings.head.endpoint.place
    test, p = judgement.paired, judgement.corrected_p
    if test is None or p is None:
        return ""
    if judgement.kind == "same":
        return f"{capital(noun)} gives all {findings.images:,} test images the same answers."
    tests = sum(
        each.measure == judgement.measure and each.kind not in ("same", "not compared")
        for each in findings.judgements
    )
    if judgement.measure == BRIER:
        corrected = f", corrected for {tests} models {p_value(p)}" if tests > 1 else ""
        size = f"{signed(test.difference)} ({signed(test.ci_low)} to {signed(test.ci_high)})"
        values = f"{plain(judgement.base)} → {plain(judgement.head)}, {size}"
        evidence = f"{p_value(test.p)}{corrected}"
        return f"{capital(noun)} has a {judgement.kind} Brier score: {values}; {evidence}."
    measures = {
        "accuracy_difference": test.difference,
        "accuracy_difference_ci_low": test.ci_low,
        "accuracy_difference_ci_high": test.ci_high,
        "mcnemar_p": test.p,
    }
    comparison = Comparison(f"{noun} {after}", f"{noun} {before}", measures)
    said = verdict(comparison, findings.images, findings.alpha, corrected_p=p, tests=tests)
    return f"{said.sentence} {_turned(judgement.model, findings)}"


def _turned(model: str, findings: Findings) -> str:
    to_right = [flip.to_right for flip in findings.flips if flip.model == model]
    wrong = len(to_right) - sum(to_right)
    return f"{counted(sum(to_right), 'image')} turned right and {wrong:,} wrong."


def plain(measured: Measured | None) -> str:
    """A value with four decimals."""
    return ABSENT_CELL if measured is None else f"{measured.value:.4f}"


def signed(value: float, decimals: int = 4) -> str:
    """A difference with its sign, and none if it is zero as shown."""
    shown = f"{value:+.{decimals}f}"
    return shown[1:] if not float(shown) else shown.replace("-", "−")
