"""A comparison as JSON for other programs; docs/compare.md describes it.

What is there keeps its name and meaning as long as `version` is the same; more may be added.
"""

import json
from dataclasses import asdict
from typing import Any

from stages.comparison.changes import Absent, MetricChange, SettingChange
from stages.comparison.findings import Findings
from stages.comparison.judgements import Judgement, Measured
from stages.comparison.sides import Side

VERSION = 1


def as_json(findings: Findings) -> str:
    """The whole comparison."""
    check = findings.check
    content = {
        "version": VERSION,
        "base": _side(findings.base),
        "head": _side(findings.head),
        "alpha": findings.alpha,
        "settings": [_setting(each) for each in findings.settings],
        "stages": [asdict(each) for each in findings.stages],
        "paired": {"images": findings.images, "reason_if_not": findings.unpaired or None},
        "models": [_judgement(each) for each in findings.judgements],
        "flips": [asdict(each) | {"to_right": each.to_right} for each in findings.flips],
        "metrics": [_metric(each) for each in findings.metrics],
        "check": {
            "of": check.of,
            "status": check.status,
            "remark": check.remark or None,
            "rules": [asdict(rule) for rule in check.rules],
            "loosened": check.loosened,
        },
        "notes": findings.notes,
    }
    # Settings may be dates or what else YAML knows.
    return json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"


def _side(side: Side) -> dict[str, Any]:
    endpoint = side.endpoint
    return {
        "name": endpoint.name,
        "commit": endpoint.commit or None,
        "is_workspace": endpoint.is_workspace,
        "why": endpoint.why or None,
    }


def _setting(change: SettingChange) -> dict[str, Any]:
    values = {"base": change.base, "head": change.head}
    present = {side: value for side, value in values.items() if not isinstance(value, Absent)}
    return {"key": change.key, **present}


def _judgement(judgement: Judgement) -> dict[str, Any]:
    test = judgement.paired
    return {
        "model": judgement.model,
        "measure": judgement.measure,
        "verdict": judgement.kind,
        "base": _measured(judgement.base),
        "head": _measured(judgement.head),
        "difference": test.difference if test else None,
        "difference_ci": [test.ci_low, test.ci_high] if test else None,
        "p": test.p if test else None,
        "corrected_p": judgement.corrected_p,
    }


def _measured(measured: Measured | None) -> dict[str, Any] | None:
    return asdict(measured) if measured else None


def _metric(change: MetricChange) -> dict[str, Any]:
    return {
        "file": change.file,
        "name": change.name,
        "base": change.base,
        "head": change.head,
        "difference": change.difference,
    }
