"""The numbers of several seeds are those of their table."""

import io
import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from stages.commands.seeds import summary

ROOT = Path(__file__).resolve().parents[2]


def committed(name: str) -> str:
    command = ["git", "show", f"HEAD:metrics/{name}"]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True).stdout


def test_the_committed_summary_is_that_of_the_committed_table() -> None:
    table = pd.read_csv(io.StringIO(committed("seeds.csv")))
    found, expected = summary(table), json.loads(committed("seeds.json"))
    assert list(found) == list(expected)
    assert expected["baseline"]["test_accuracy"]["std"] == 0  # one seed has no deviation
    for model, measures in expected.items():
        assert found[model]["n"] == measures.pop("n")
        for measure, values in measures.items():
            assert found[model][measure] == pytest.approx(values, abs=1e-6)
