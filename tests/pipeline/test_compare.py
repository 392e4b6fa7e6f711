"""What a change did to the results, told from real repositories with real branches."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from rich.console import Console
from ruamel.yaml import YAML

from stages.commands.compare import main
from stages.comparison.as_markdown import MARKER
from stages.data.files import write_arrays
from stages.workflow.repository import repository

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 1000
CODE = "stages/models/cnn.py"
GATE = {
    "floors": {"cnn": {"accuracy": 0.8}},
    "ceilings": {"cnn": {"brier": 0.2}},
    "alpha": 0.05,
    "max_accuracy_loss": 0.005,
    "max_brier_rise": 0.005,
}
WRONG_AT_FIRST = {"baseline": 300, "cnn": 100, "mobilenet": 30}


@dataclass
class Results:
    """A state of the project, written as the pipeline would.

    Attributes:
        wrong: by model, numbers of the images that it answers wrongly.
        classes: of the images, which alternate.
        settings: all of params.yaml.
        code: content of the one file of code.
        images: how many.
        first_index: number of the first image among CIFAR-10's.
    """

    wrong: dict[str, set[int]] = field(
        default_factory=lambda: {name: set(range(n)) for name, n in WRONG_AT_FIRST.items()}
    )
    classes: tuple[str, str] = ("automobile", "truck")
    settings: dict[str, Any] = field(
        default_factory=lambda: {
            "cnn": {"epochs": 5, "seed": 0},
            "gate": json.loads(json.dumps(GATE)),
        }
    )
    code: str = "def train(): ...\n"
    images: int = IMAGES
    first_index: int = 0

    def write(self) -> None:
        """Write settings, code, metrics, predictions and a dvc.lock that fits them."""
        write("params.yaml", json.dumps(self.settings))  # JSON is YAML
        write("dvc.yaml", "stages: {}\n")
        write(CODE, self.code)
        labels = np.arange(self.images) % 2
        table = {"index": np.arange(self.images) + self.first_index}
        table["actual"] = np.array(self.classes)[labels]
        evaluation: dict[str, Any] = {}
        for model, wrong in self.wrong.items():
            right = ~np.isin(np.arange(self.images), list(wrong))
            own = np.where(right, 0.9, 0.2)
            second = np.where(labels == 1, own, 1 - own)
            table[model] = np.array(self.classes)[(second > 0.5).astype(int)]
            table[f"{model}_{self.classes[0]}"], table[f"{model}_{self.classes[1]}"] = (
                1 - second,
                second,
            )
            evaluation[model] = {
                "accuracy": round(float(right.mean()), 6),
                "brier": round(float(((1 - own) ** 2).mean()), 6),
                "roc_auc": 0.9,
            }
        evaluation["images"] = {"test": self.images}
        pd.DataFrame(table).to_csv(
            made("metrics/predictions.csv"), index=False, float_format="%.6f"
        )
        write("metrics/evaluate.json", json.dumps(evaluation))
        write("dvc.lock", json_to_yaml(self.lock()))

    def lock(self) -> dict[str, Any]:
        data = md5_of(f"{self.classes}{self.images}{self.first_index}")
        model = md5_of(repr(sorted(self.wrong.get("cnn", ()))))
        results = ("metrics/evaluate.json", "metrics/predictions.csv")
        return {
            "train_cnn": {
                "cmd": "python -m stages.train_cnn",
                "deps": [entry(CODE, md5_of(Path(CODE).read_text()))],
                "params": {"params.yaml": {"cnn": self.settings["cnn"]}},
                "outs": [entry("data/models/cnn.npz", model)],
            },
            "evaluate": {
                "cmd": "python -m stages.evaluate",
                "deps": [
                    entry("data/models/cnn.npz", model),
                    entry("data/prepared/test.npz", data),
                ],
                "outs": [entry(path, md5_of(Path(path).read_text())) for path in results],
            },
        }


def entry(path: str, md5: str) -> dict[str, str]:
    return {"path": path, "hash": "md5", "md5": md5}


def json_to_yaml(stages: dict[str, Any]) -> str:
    yaml = YAML()
    with Path(".lock").open("w") as file:
        yaml.dump({"schema": "2.0", "stages": stages}, file)
    text = Path(".lock").read_text()
    Path(".lock").unlink()
    return text


def md5_of(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def made(path: str) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Path(path)


def write(path: str, text: str) -> None:
    made(path).write_text(text)


def git(*command: str) -> str:
    return subprocess.run(
        ["git", *command], text=True, capture_output=True, check=True
    ).stdout.strip()


def commit(message: str = "results") -> str:
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message", message)
    return git("rev-parse", "HEAD")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with results on main, and a branch `change` that is checked out."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.invalid")
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git("init", "--quiet", "--initial-branch", "main")
    Results().write()
    commit("results of main")
    git("switch", "--quiet", "--create", "change")
    repository.cache_clear()
    yield folder
    repository.cache_clear()


@dataclass
class Said:
    """What the command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    def verdict(self, model: str, measure: str = "accuracy") -> dict[str, Any]:
        (found,) = [
            e for e in self.json["models"] if (e["model"], e["measure"]) == (model, measure)
        ]
        return dict(found)


Compare = Callable[..., Said]


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Compare:
    """Run the command in this process, as from the command line."""

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["compare", *arguments])
        repository.cache_clear()
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return Said(int(ended.value.code or 0), told.out, told.err)

    return run


def worse_cnn(lost: int, won: int = 0) -> Results:
    """The CNN answers some more images wrongly and some of the others rightly."""
    results = Results()
    results.wrong["cnn"] = set(range(won, 100)) | set(range(500, 500 + lost))
    return results


def test_a_real_loss_fails_the_gate_and_names_the_images(compare: Compare) -> None:
    worse_cnn(lost=40, won=5).write()
    commit()
    said = compare("main", "change")
    assert said.code == 1
    assert "gate FAILED (2 of 8 rules)" in said.out
    assert "The CNN at change is worse than the CNN at main: 3.5 points fewer" in said.out
    assert "5 images turned right and 40 wrong." in said.out
    assert "gate.max_accuracy_loss, cnn: cnn: accuracy 0.9000 → 0.8650" in said.out
    assert "a real loss of 0.0350, more than 0.005 allowed" in said.out
    found = compare("main", "change", "--format", "json")
    verdict = found.verdict("cnn")
    assert verdict["verdict"] == "worse"
    assert verdict["difference"] == pytest.approx(-0.035)
    low, high = verdict["difference_ci"]
    assert low < -0.035 < high < 0
    assert verdict["corrected_p"] == verdict["p"]  # no other model changed
    assert found.verdict("mobilenet")["verdict"] == "same"
    turned = found.json["flips"]
    assert [flip["index"] for flip in turned] == [*range(5), *range(500, 540)]
    first = {"actual": "automobile", "base": "truck", "head": "automobile", "to_right": True}
    assert turned[0] == {"model": "cnn", "index": 0, **first}


def test_a_loss_that_may_be_chance_does_not_fail_the_gate(compare: Compare) -> None:
    worse_cnn(lost=17, won=8).write()  # 0.9 points, more than is allowed; p = 0.11
    commit()
    said = compare("main", "change")
    assert said.code == 0
    assert "There is no evidence of a difference between the CNN at change and" in said.out
    assert "gate passed" in said.out


def test_of_several_models_one_may_seem_worse_by_chance(compare: Compare) -> None:
    results = worse_cnn(lost=20, won=8)
    results.settings["gate"]["max_brier_rise"] = 0.1
    results.write()
    assert compare("main").code == 1  # p = 0.036, and it is the only one that changed
    results.wrong["mobilenet"] = set(range(5, 30)) | set(range(600, 606))
    results.write()
    said = compare("main", "--format", "json")
    assert said.code == 0
    verdict = said.verdict("cnn")
    assert verdict["p"] == pytest.approx(0.0357, abs=1e-4)
    assert verdict["corrected_p"] == pytest.approx(2 * verdict["p"])
    assert said.verdict("baseline")["verdict"] == "same"
    assert "exact McNemar p = 0.036, corrected for 2 models p = 0.071" in compare("main").out


def test_a_real_loss_that_is_allowed_passes(compare: Compare) -> None:
    results = worse_cnn(lost=40)
    results.settings["gate"]["max_accuracy_loss"] = 0.04
    results.settings["gate"]["max_brier_rise"] = 0.05
    results.write()
    assert compare("main").code == 0
    results.settings["gate"]["max_accuracy_loss"] = 0.039
    results.write()
    assert compare("main").code == 1


def test_a_gain_is_called_better_and_passes(compare: Compare) -> None:
    worse_cnn(lost=0, won=30).write()
    commit()
    said = compare("main", "change")
    assert said.code == 0
    assert "The CNN at change is better than the CNN at main: 3.0 points" in said.out


def test_probabilities_that_got_worse_are_seen_where_all_answers_are_the_same(
    compare: Compare,
) -> None:
    table = pd.read_csv("metrics/predictions.csv")
    names = [f"cnn_{name}" for name in ("automobile", "truck")]
    table[names] = 0.5 + 0.5 * (table[names] - 0.5)  # half as sure
    table.to_csv("metrics/predictions.csv", index=False)
    said = compare("main", "--format", "json")
    assert said.verdict("cnn")["verdict"] == "same"
    brier = said.verdict("cnn", "brier")
    assert (brier["verdict"], said.code) == ("worse", 1)
    (broken,) = [r for r in said.json["check"]["rules"] if r["outcome"] == "broken"]
    assert broken["name"] == "gate.max_brier_rise, cnn"


def test_a_change_of_a_comment_is_told_from_one_of_results(compare: Compare) -> None:
    results = Results(code="def train(): ...  # as before\n")
    results.write()
    commit()
    said = compare("main", "change")
    assert said.code == 0
    assert "3 models: 3 same; gate passed" in said.out
    (stage,) = compare("main", "change", "--format", "json").json["stages"]
    assert (stage["stage"], stage["code"], stage["same_outputs"]) == ("train_cnn", [CODE], True)
    assert stage["data"] == stage["settings"] == []


def test_a_broken_floor_fails_the_gate_though_nothing_is_worse(compare: Compare) -> None:
    results = Results()
    results.settings["gate"]["floors"]["cnn"] = {"accuracy": 0.91, "roc_auc": 0.9}
    results.write()
    said = compare("main")
    assert said.code == 1
    assert "gate.floors.cnn.accuracy: cnn: accuracy is 0.9, at least 0.91 is asked" in said.out
    assert "roc_auc is" not in said.out  # kept: exactly at its floor


def test_settings_that_differ_are_shown_with_both_values(compare: Compare) -> None:
    results = worse_cnn(lost=1)
    results.settings["cnn"] = {"epochs": 7, "dropout": None}
    results.write()
    found = compare("main", "--format", "json")
    assert found.json["settings"] == [
        {"key": "cnn.epochs", "base": 5, "head": 7},
        {"key": "cnn.dropout", "head": None},
        {"key": "cnn.seed", "base": 0},
    ]
    stages = {each["stage"]: each for each in found.json["stages"]}
    assert set(stages["train_cnn"]["settings"]) == {"cnn.epochs", "cnn.dropout", "cnn.seed"}
    assert stages["evaluate"]["data"] == ["data/models/cnn.npz"]


def test_a_renamed_model_does_not_slip_through_the_gate(compare: Compare) -> None:
    results = Results()
    results.wrong = {("cnn2" if name == "cnn" else name): w for name, w in results.wrong.items()}
    results.write()
    said = compare("main")
    assert said.code == 1
    assert "gate.floors.cnn.accuracy: cannot be checked in the workspace: " in said.out
    assert "metrics/evaluate.json has no cnn.accuracy" in said.out
    assert "cnn is at main alone, cnn2 in the workspace alone" in said.out
    assert "2 models: 2 same" in said.out


def test_deleted_predictions_do_not_open_the_gate(compare: Compare) -> None:
    Path("metrics/predictions.csv").unlink()
    said = compare("main")
    assert said.code == 1
    assert (
        "gate.max_accuracy_loss: cannot be checked: metrics/predictions.csv: is missing" in said.out
    )
    assert "there are no predictions in the workspace that can be read" in said.out
    assert "90.0 %" in said.out  # what was measured is shown all the same


def test_an_older_base_without_predictions_does_not_fail_a_change(compare: Compare) -> None:
    Path("metrics/predictions.csv").unlink()
    older = commit("as before there were predictions")
    Results().write()
    commit()
    said = compare(older, "change")
    assert said.code == 0
    assert "gate.max_accuracy_loss: not checked: there are no predictions at" in said.out


def test_a_base_without_newer_names_and_stages_is_compared_where_it_can_be(
    compare: Compare,
) -> None:
    old = {"cnn": {"accuracy": 0.9}}
    write("metrics/evaluate.json", json.dumps(old))
    Path("dvc.lock").unlink()
    older = commit("an older state")
    Results().write()
    said = compare(older, "--format", "json")
    assert said.code == 0
    assert said.verdict("cnn")["verdict"] == "same"
    metrics = {each["name"]: each for each in said.json["metrics"]}
    assert metrics["cnn.brier"]["base"] is None
    assert metrics["cnn.brier"]["difference"] is None
    assert any("dvc.lock: is missing" in note for note in said.json["notes"])


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda text: text[: len(text) // 2], "is cut off or not as the others"),
        (lambda text: text.replace(",truck,", ",lorry,", 1), "'lorry'"),
        (lambda text: text.replace("0.900000", "1.900000", 1), "are not those of a whole"),
        (lambda text: text.replace("\n1,", "\n0,", 1), "has an image again that is above"),
        (lambda text: text.replace("index", "number", 1), "has no column index"),
        (lambda _: "", "No columns to parse"),
        (lambda text: text.split("\n")[0] + "\n", "has no rows"),
        (lambda text: f"<<<<<<< main\n{text}=======\n", "has no column index and actual"),
        (lambda text: text.replace("\n7,", "\n<<<<<<< main\n7,", 1), "line 9 is cut off"),
    ],
)
def test_damaged_predictions_are_named_and_do_not_open_the_gate(
    compare: Compare, damage: Callable[[str], str], what: str
) -> None:
    path = Path("metrics/predictions.csv")
    path.write_text(damage(path.read_text()))
    said = compare("main")
    assert said.code == 1
    assert "WARNING: In the workspace: metrics/predictions.csv: " in said.out
    assert what in said.out
    assert "run `make repro`" in said.out


def test_a_damaged_metrics_file_is_named_and_the_predictions_still_tell(compare: Compare) -> None:
    Path("metrics/evaluate.json").write_text('{"cnn": {"accuracy": ')
    said = compare("main")
    assert said.code == 1
    assert "metrics/evaluate.json: is not JSON" in said.out
    assert "3 models: 3 same" in said.out
    assert "gate.floors.cnn.accuracy: cannot be checked" in said.out


def test_a_loosened_gate_is_said_loudly_in_every_format(compare: Compare) -> None:
    results = Results()
    gate = results.settings["gate"]
    gate["floors"] = {"cnn": {"accuracy": 0.7}}
    gate["ceilings"] = {}
    gate |= {"alpha": 0.01, "max_accuracy_loss": 0.1}
    results.write()
    expected = [
        "gate.floors.cnn.accuracy: 0.8 → 0.7",
        "gate.ceilings.cnn.brier: 0.2 was removed",
        "gate.alpha: 0.05 → 0.01",
        "gate.max_accuracy_loss: 0.005 → 0.1",
    ]
    assert compare("main", "--format", "json").json["check"]["loosened"] == expected
    assert "RULES LOOSENED: gate.alpha: 0.05 → 0.01" in compare("main").out
    assert (
        "**Rules loosened:** gate.alpha: 0.05 → 0.01" in compare("main", "--format", "markdown").out
    )


def test_a_gate_that_asks_for_more_is_not_called_loosened(compare: Compare) -> None:
    results = Results()
    results.settings["gate"] |= {"alpha": 0.1, "max_accuracy_loss": 0.0, "max_brier_rise": 0}
    results.settings["gate"]["floors"]["mobilenet"] = {"accuracy": 0.9}
    results.write()
    assert compare("main", "--format", "json").json["check"]["loosened"] == []


def test_a_removed_gate_asks_for_nothing_and_that_is_told(compare: Compare) -> None:
    results = worse_cnn(lost=40)
    del results.settings["gate"]
    results.write()
    said = compare("main")
    assert said.code == 0
    assert "No gate: params.yaml has no section `gate`" in said.out
    assert "RULES LOOSENED: all rules: gate was removed" in said.out


def test_rules_that_cannot_be_read_do_not_pass(compare: Compare) -> None:
    results = Results()
    results.settings["gate"]["alpha"] = 2
    results.write()
    said = compare("main")
    assert said.code == 2
    assert (
        "params.yaml: gate.alpha: 2 is not allowed; allowed: a number above 0 below 1" in said.out
    )
    assert "3 models: 3 same" in said.out
    Path("params.yaml").write_text("gate: [")
    assert compare("main").code == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"classes": ("cat", "dog")}, "the classes were automobile, truck and are cat, dog"),
        ({"images": 500}, "there were 1,000 test images and are 500, 500 in common"),
        ({"first_index": 10}, "there were 1,000 test images and are 1,000, 990 in common"),
        ({"classes": ("truck", "automobile")}, "1,000 of the images have another label"),
    ],
)
def test_other_test_images_are_not_taken_for_the_same_and_floors_still_hold(
    compare: Compare, change: dict[str, Any], why: str
) -> None:
    results = Results(**change)
    results.wrong = {name: set(range(n // 2)) for name, n in WRONG_AT_FIRST.items()}
    results.settings["gate"]["floors"]["cnn"]["accuracy"] = 0.99
    results.write()
    said = compare("main")
    assert said.code == 1
    assert f"Not compared image by image: the test sets differ: {why}" in said.out
    assert "gate.floors.cnn.accuracy: cnn: accuracy is 0.9" in said.out
    found = compare("main", "--format", "json")
    assert found.json["paired"]["images"] == 0
    assert found.verdict("cnn")["verdict"] == "not compared"


def test_test_images_of_another_file_are_not_taken_for_the_same(compare: Compare) -> None:
    lock = Path("dvc.lock").read_text()
    md5 = md5_of(f"{('automobile', 'truck')}{IMAGES}0")
    Path("dvc.lock").write_text(lock.replace(md5, "f" * 32))
    said = compare("main")
    assert "the test sets differ: data/prepared/test.npz is another file" in said.out
    assert said.code == 0


def test_images_in_another_order_are_paired_by_their_number(compare: Compare) -> None:
    worse_cnn(lost=40).write()
    table = pd.read_csv("metrics/predictions.csv").sample(frac=1, random_state=0)
    table.to_csv("metrics/predictions.csv", index=False)
    assert compare("main", "--format", "json").verdict("cnn")["difference"] == pytest.approx(-0.04)


def test_results_of_other_code_are_in_doubt(compare: Compare) -> None:
    write(CODE, "def train(): return 1\n")  # and not run
    said = compare("main")
    assert "the head's results are IN DOUBT" in said.out
    assert f"WARNING: In the workspace: Some code is not that which ran: {CODE}" in said.out


def test_metrics_and_predictions_of_two_sides_of_a_merge_are_noticed(compare: Compare) -> None:
    before = Path("metrics/evaluate.json").read_text()
    worse_cnn(lost=40).write()
    Path("metrics/evaluate.json").write_text(before)
    said = compare("main")
    assert (
        "do not belong together: of cnn one has an accuracy of 0.9, the other of 0.86" in said.out
    )


def test_a_lock_file_with_a_conflict_is_named_and_the_answers_are_still_compared(
    compare: Compare,
) -> None:
    worse_cnn(lost=40).write()
    lines = Path("dvc.lock").read_text().splitlines(keepends=True)
    lines.insert(4, "<<<<<<< HEAD\n")
    Path("dvc.lock").write_text("".join(lines))
    said = compare("main")
    assert said.code == 1
    assert "WARNING: In the workspace: dvc.lock: is not a lock file of DVC" in said.out
    assert "is worse than the CNN at main" in said.out


# Which two sides.


def test_without_a_base_a_branch_is_held_against_where_it_left_main(compare: Compare) -> None:
    fork = git("rev-parse", "main")
    worse_cnn(lost=40).write()
    commit()
    git("switch", "--quiet", "main")
    Results(code="others' work\n").write()
    commit()
    git("switch", "--quiet", "change")
    found = compare("--format", "json")
    assert found.json["base"]["commit"] == fork
    assert found.json["base"]["why"] == "where it left main"
    assert found.json["head"]["is_workspace"]
    assert found.verdict("cnn")["verdict"] == "worse"
    assert compare("", "change", "--format", "json").json["base"]["commit"] == fork


def test_a_main_branch_that_was_not_pulled_is_not_the_base(
    compare: Compare, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("clone", "--quiet", str(project), "../clone")
    git("switch", "--quiet", "main")
    Results(code="others' work\n").write()
    newest = commit()
    monkeypatch.chdir("../clone")
    git("branch", "main", "origin/main")  # stays behind
    git("fetch", "--quiet")
    git("switch", "--quiet", "--create", "mine", "origin/main")
    worse_cnn(lost=3).write()
    commit()
    assert compare("--format", "json").json["base"]["commit"] == newest


def test_on_main_the_last_commit_is_the_base_of_changes_and_its_parent_without(
    compare: Compare,
) -> None:
    git("switch", "--quiet", "main")
    first = git("rev-parse", "HEAD")
    worse_cnn(lost=3).write()
    found = compare("--format", "json")
    assert (found.json["base"]["commit"], found.json["base"]["name"]) == (first, "HEAD")
    commit()
    found = compare("--format", "json")
    assert found.json["base"]["commit"] == first
    assert "parent" in found.json["base"]["why"]
    assert found.verdict("cnn")["difference"] < 0


def test_the_first_commit_of_all_has_no_base_and_that_is_told(compare: Compare) -> None:
    said = compare()
    assert said.code == 2
    assert "has no parent to compare with, and the workspace has no changes; name BASE" in said.err


def test_an_experiment_is_found_by_its_name_and_held_against_where_it_started(
    compare: Compare,
) -> None:
    start = git("rev-parse", "HEAD")
    worse_cnn(lost=40).write()
    experiment = commit()
    git("reset", "--quiet", "--hard", start)
    git("update-ref", f"refs/exps/{start[:2]}/{start[2:]}/muddy-otter", experiment)
    found = compare("", "muddy-otter", "--format", "json")
    assert found.json["base"]["commit"] == start
    assert found.json["head"] == {
        "name": "muddy-otter",
        "commit": experiment,
        "is_workspace": False,
        "why": None,
    }
    assert found.verdict("cnn")["verdict"] == "worse"
    assert (
        compare("muddy-otter", "workspace", "--format", "json").verdict("cnn")["verdict"]
        == "better"
    )


def test_tags_and_short_ids_are_known(compare: Compare) -> None:
    git("tag", "--annotate", "v1", "--message", "a tag")
    worse_cnn(lost=40).write()
    commit()
    short = git("rev-parse", "--short", "HEAD")
    assert compare("v1", short).code == 1


def test_a_shallow_clone_says_what_to_fetch(
    compare: Compare, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse_cnn(lost=40).write()
    commit()
    git("clone", "--quiet", "--depth=1", "--branch=change", f"file://{project}", "../shallow")
    monkeypatch.chdir("../shallow")
    for arguments in ((), ("main",), ("HEAD^",), ("HEAD~3", "HEAD")):
        said = compare(*arguments)
        assert said.code == 2
        assert said.err.count("\n") == 1
        assert "git fetch --unshallow" in said.err
        assert "fetch-depth: 0" in said.err
    git("remote", "set-branches", "origin", "*")
    git("fetch", "--quiet", "--depth=1")
    assert "git fetch --unshallow" in compare().err  # main is there, but not what is common
    assert compare("origin/main", "HEAD").code == 1  # what is there is compared
    git("fetch", "--quiet", "--unshallow")
    assert compare("", "HEAD").code == 1


@pytest.mark.parametrize("name", ["nonsense", "0" * 40, "HEAD~99"])
def test_an_unknown_revision_is_told_in_one_line(compare: Compare, name: str) -> None:
    for arguments in ((name,), ("main", name)):
        said = compare(*arguments)
        assert said.code == 2
        assert said.err.startswith(f"ERROR: {name}: is no revision; give a branch, tag, commit")
        assert said.err.count("\n") == 1


def test_outside_of_a_repository_or_of_the_project_it_says_where_to_go(
    compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "dvc.yaml: is not here; run this in the project's folder" in compare().err
    Path("dvc.yaml").touch()
    said = compare("main")
    assert said.code == 2
    assert "is no Git repository" in said.err


def test_sides_without_any_results_cannot_be_compared(compare: Compare) -> None:
    shutil.rmtree("metrics")
    empty = commit("no results")
    said = compare("main", empty)
    assert said.code == 2
    assert said.err.startswith("ERROR: nothing can be compared: no results at ")
    assert "metrics/evaluate.json: is missing" in said.err
    Results(settings={"cnn": {}}).write()  # no gate, so that nothing is asked of the head alone
    said = compare(empty)
    assert said.code == 2
    assert said.err.startswith("ERROR: nothing can be compared: no results at ")


def test_a_first_result_is_held_against_the_floors(compare: Compare) -> None:
    shutil.rmtree("metrics")
    empty = commit("no results yet")
    Results().write()
    said = compare(empty)
    assert said.code == 0
    assert "gate.max_accuracy_loss: not checked: there are no predictions at" in said.out


def test_a_machine_without_git_or_a_folder_of_another_user_is_told_in_one_line(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    said = compare("main")
    assert said.code == 2
    assert said.err.startswith("ERROR: Git: ")
    assert said.err.count("\n") == 1


# The outputs.


def test_nothing_is_lost_on_a_narrow_terminal(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = worse_cnn(lost=40)
    results.settings["cnn"] = {f"a_setting_with_a_long_name_{n}": 1 / 3 for n in range(9)}
    results.write()
    monkeypatch.setattr(
        "stages.commands.compare.console", lambda: Console(width=80, force_terminal=True)
    )
    out = re.sub(r"\x1b\[[0-9;]*m", "", compare("main").out)
    assert max(len(line) for line in out.splitlines()) <= 80
    words = " ".join(out.split())
    for text in (
        "is worse than the CNN at main: 4.0 points fewer",
        "a real loss of 0.0400, more than 0.005 allowed",
        "(83.7 – 88.0)",
        "automobile → truck",
        "a_setting_with_a_long_name_8",
    ):
        assert text in words, text


def test_the_json_keeps_the_names_that_are_documented(compare: Compare) -> None:
    worse_cnn(lost=40).write()
    found = compare("main", "--format", "json").json
    assert found["version"] == 1
    assert set(found) == {
        *("version", "base", "head", "alpha", "settings", "stages", "paired", "models", "flips"),
        *("metrics", "check", "notes"),
    }
    assert set(found["models"][0]) == {
        *("model", "measure", "verdict", "base", "head", "difference", "difference_ci", "p"),
        "corrected_p",
    }
    assert set(found["models"][0]["base"]) == {"value", "ci"}
    assert set(found["check"]) == {"of", "status", "remark", "rules", "loosened"}
    assert {tuple(rule) for rule in found["check"]["rules"]} == {("name", "outcome", "sentence")}
    documented = (ROOT / "docs/compare.md").read_text()
    for name in [*found, *found["models"][0], *found["check"], *found["flips"][0]]:
        assert f"`{name}`" in documented, name


def test_the_markdown_begins_with_its_marker_then_the_verdict_and_folds_the_rest(
    compare: Compare,
) -> None:
    git("switch", "--quiet", "--create", "feat/a_b|<i>c")
    results = worse_cnn(lost=40)
    results.settings["cnn"]["note"] = "<script>alert(1)</script> | @all"
    results.write()
    commit()
    said = compare("main", "feat/a_b|<i>c", "--format", "markdown")
    assert said.code == 1
    first, second, *_ = said.out.splitlines()
    assert first == MARKER
    assert second == "## 3 models: 1 worse, 2 same; gate FAILED (2 of 8 rules)"
    page = MarkdownIt("commonmark").enable("table").render(said.out)
    before, *folded = page.split("<details>")
    assert "is worse than the CNN at main" in before
    assert "<table>" in before
    assert "<code>feat/a_b|&lt;i&gt;c</code>" in before
    assert len(folded) >= 4
    assert all("</details>" in part and "<table>" in part for part in folded)
    assert "<script>" not in page
    assert len(said.out) < 65_536


def test_a_comment_of_a_change_of_everything_fits_into_what_github_takes(compare: Compare) -> None:
    results = Results()
    for model in results.wrong:
        results.wrong[model] = set(range(300, 900))
    results.settings["more"] = {f"key_{n}": "x" * 50 for n in range(500)}
    results.write()
    values = {f"metric_{n}": n / 7 for n in range(900)}
    write("metrics/evaluate.json", json.dumps(values))
    assert len(compare("main", "--format", "markdown").out) < 65_536


def test_a_file_is_written_whole_or_not_at_all(compare: Compare, tmp_path: Path) -> None:
    worse_cnn(lost=40).write()
    for kind in ("table", "markdown", "json"):
        path = tmp_path / "new" / f"comparison.{kind}"
        said = compare("main", "--format", kind, "--output", str(path))
        assert said.code == 1
        assert said.out.startswith(f"{path}: 3 models: 1 worse")
        assert compare("main", "--format", kind).out == path.read_text()
        assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []
    said = compare("main", "--output", str(tmp_path))
    assert said.code == 2
    assert "is a folder" in said.err


def test_photos_that_turned_are_drawn_where_there_are_photos(
    compare: Compare, tmp_path: Path
) -> None:
    worse_cnn(lost=40, won=3).write()
    picture = tmp_path / "turned.png"
    said = compare("main", "--picture", str(picture))
    assert said.code == 1
    assert "not written, as no photos are here" in said.err
    assert said.err.count("\n") == 1
    photos = np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3)).astype(np.uint8)
    write_arrays(Path("data/prepared/test.npz"), {"images": photos, "indices": np.arange(IMAGES)})
    said = compare("main", "--picture", str(picture))
    assert "19 images whose answer turned" in said.err
    assert picture.read_bytes().startswith(b"\x89PNG")
    Path("data/prepared/test.npz").unlink()
    picture.unlink()
    write_arrays(Path("data/cifar10.npz"), {"test_images": photos})
    compare("main", "--picture", str(picture))
    assert picture.exists()


# Computed again elsewhere.


def test_metrics_computed_again_may_be_off_by_what_a_cpu_does_and_no_more(compare: Compare) -> None:
    results = worse_cnn(lost=15)
    results.write()
    said = compare("HEAD", "--reproduced")
    assert said.code == 0
    assert "reproduced: all of 10 metrics agree within the tolerances" in said.out
    worse_cnn(lost=25).write()
    said = compare("HEAD", "--reproduced")
    assert said.code == 1
    assert "NOT reproduced: 1 of 10 metrics differ by more than is allowed" in said.out
    assert "metrics/evaluate.json: cnn.accuracy: 0.9 → 0.875, 0.025 apart; up to 0.02" in said.out


def test_a_metric_that_is_gone_or_a_count_that_is_off_is_not_reproduced(compare: Compare) -> None:
    path = Path("metrics/evaluate.json")
    values = json.loads(path.read_text())
    values["images"]["test"] += 1
    del values["cnn"]["roc_auc"]
    path.write_text(json.dumps(values))
    said = compare("HEAD", "--reproduced", "--format", "json")
    assert said.code == 1
    broken = [r["name"] for r in said.json["check"]["rules"] if r["outcome"] == "broken"]
    assert broken == ["metrics/evaluate.json: images.test", "metrics/evaluate.json: cnn.roc_auc"]


# What it costs.


def test_nobody_waits_for_libraries_that_it_does_not_need() -> None:
    worse_cnn(lost=40).write()
    code = (
        "import sys\n"
        "sys.argv = ['compare', 'main', '--format', sys.argv[1]]\n"
        "from stages.commands.compare import main\n"
        "try: main()\n"
        "except SystemExit as ended: assert ended.code == 1, ended.code\n"
        "heavy = ('tensorflow', 'keras', 'mlflow', 'sklearn', 'scipy.stats', 'matplotlib', 'dvc')\n"
        "sys.exit(', '.join(name for name in heavy if name in sys.modules) or 0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for kind in ("table", "markdown"):
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, kind],
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert time.perf_counter() - begun < 10  # 1 s on an idle machine


def test_the_way_that_is_documented_gives_the_exit_code() -> None:
    worse_cnn(lost=40).write()
    command = [sys.executable, "-m", "stages.commands.compare", "main"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert "gate FAILED" in done.stdout
