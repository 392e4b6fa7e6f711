"""A comparison as JSON for other programs; docs/compare.md describes it.

What is there keeps its name and meaning as long as `version` is the same; more may be added.
"""

import json
from dataclasses import asdict
from typing import Any

from stages.results.changes import NO_VALUE
from stages.results.comparison import Comparison
from stages.results.verdicts import Verdict
from stages.workflow.revisions import Revision

VERSION = 1


def as_json(comparison: Comparison) -> str:
    """The whole comparison."""
    check = asdict(comparison.check) | {"remark": comparison.check.remark or None}
    del check["table"]
    content = {
        "version": VERSION,
        "base": _revision(comparison.base.revision, comparison.why),
        "head": _revision(comparison.head.revision),
        "alpha": comparison.alpha,
        "settings": [
            {key: value for key, value in vars(change).items() if value is not NO_VALUE}
            for change in comparison.params
        ],
        "stages": [asdict(each) for each in comparison.stages],
        "paired": {"images": comparison.images, "reason_if_not": comparison.unpaired or None},
        "models": [_verdict(each) for each in comparison.verdicts],
        "flips": [asdict(each) | {"to_right": each.to_right} for each in comparison.flips],
        "metrics": [asdict(m) | {"difference": m.difference} for m in comparison.metrics],
        "check": check,
        "notes": comparison.notes,
    }
    # Params may be dates or what else YAML knows.
    return json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"


def _revision(revision: Revision, why: str = "") -> dict[str, Any]:
    return {
        "name": revision.name,
        "commit": revision.commit or None,
        "is_workspace": revision.is_workspace,
        "why": why or None,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    test, base, head = verdict.test, verdict.base, verdict.head
    return {
        "model": verdict.model,
        "measure": verdict.measure,
        "verdict": verdict.kind,
        "base": base and base._asdict(),
        "head": head and head._asdict(),
        "difference": test and test.difference,
        "difference_ci": test and test.ci,
        "p": test and test.p,
        "corrected_p": verdict.corrected_p,
        "another_seed": verdict.another_seed and asdict(verdict.another_seed),
    }
