"""What a change did to the results, told from real repositories with real branches."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from stages.__main__ import main
from stages.data.files import write_arrays
from stages.results.markdown import MARKER
from stages.results.seeds import MEASURES, SEEDS
from stages.tracking.receipts import Receipt, write_receipt
from stages.workflow.revisions import workspace
from tests.pipeline.conftest import Project

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 1000
CODE = "stages/models/cnn.py"
PREDICTIONS, EVALUATION = Path("metrics/predictions.csv"), Path("metrics/evaluate.json")
LOCK, PARAMS = Path("dvc.lock"), Path("params.yaml")
TEST_MD5 = "0123456789abcdef" * 2
GATE = {
    "floors": {"cnn": {"accuracy": 0.8}},
    "ceilings": {"cnn": {"brier": 0.2}},
    "alpha": 0.05,
    "max_accuracy_loss": 0.005,
    "max_brier_rise": 0.005,
}
WRONG_AT_FIRST = {"baseline": 300, "cnn": 100, "mobilenet": 30}


def copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


@dataclass
class State:
    """A state of the project, written as the pipeline would.

    Attributes:
        wrong: by model, numbers of the images on which it is wrong.
        classes: of the images, which alternate.
        params: all of params.yaml.
        keras: version of the library that the CNN is trained with; empty as before there was one.
        code: content of the one file of code.
        images: how many.
        first_index: number of the first image among CIFAR-10's.
    """

    wrong: dict[str, set[int]] = field(
        default_factory=lambda: {name: set(range(n)) for name, n in WRONG_AT_FIRST.items()}
    )
    classes: tuple[str, str] = ("automobile", "truck")
    params: dict[str, Any] = field(
        default_factory=lambda: {
            "cnn": {"epochs": 5, "seed": 0},
            "mobilenet": {"seed": 0},
            "gate": copied(GATE),
        }
    )
    keras: str = "3.15.1"
    code: str = "def train(): ...\n"
    images: int = IMAGES
    first_index: int = 0

    @property
    def gate(self) -> dict[str, Any]:
        rules: dict[str, Any] = self.params["gate"]
        return rules

    def write(self) -> None:
        """Write params, code, metrics, predictions, a picture, and a dvc.lock that fits them."""
        write(PARAMS, json.dumps(self.params))  # JSON is YAML
        write("dvc.yaml", "stages: {}\n")
        write(CODE, self.code)
        write("metrics/figures/accuracy.png", "a picture")
        labels = np.arange(self.images) % 2
        names = np.array(self.classes)
        table = {"index": np.arange(self.images) + self.first_index, "actual": names[labels]}
        evaluation: dict[str, Any] = {"images": {"test": self.images}}
        for model, wrong in self.wrong.items():
            right = ~np.isin(np.arange(self.images), list(wrong))
            own = np.where(right, 0.9, 0.2)
            second = np.where(labels == 1, own, 1 - own)
            table[model] = names[(second > 0.5).astype(int)]
            table |= {
                f"{model}_{name}": p for name, p in zip(names, (1 - second, second), strict=True)
            }
            measures = {"accuracy": right.mean(), "brier": ((1 - own) ** 2).mean()}
            evaluation[model] = {k: round(float(v), 6) for k, v in measures.items()}
            evaluation[model]["roc_auc"] = 0.9
        pd.DataFrame(table).to_csv(PREDICTIONS, index=False, float_format="%.6f")
        write(EVALUATION, json.dumps(evaluation))
        libraries = {"libraries.yaml": {"keras": self.keras}} if self.keras else {}
        if libraries:
            write("libraries.yaml", f"keras: {self.keras}\n")
        model = {"data/models/cnn.npz": md5_of(repr(sorted(self.wrong.get("cnn", ()))))}
        written = [EVALUATION, PREDICTIONS]
        outs = {str(path): md5_of(path.read_text()) for path in written}
        pictures = workspace().md5("metrics/figures") or ""
        write_lock(
            {
                "train_cnn": {
                    "deps": listed({CODE: md5_of(self.code)}),
                    "params": {"params.yaml": {"cnn": self.params["cnn"]}, **libraries},
                    "outs": listed(model),
                },
                "evaluate": {
                    "deps": listed({**model, "data/prepared/test.npz": TEST_MD5}),
                    "outs": listed(outs),
                },
                "draw": {"deps": [], "outs": listed({"metrics/figures": pictures})},
                "train_baseline": {},
                "finetune_mobilenet": {
                    "params": {"params.yaml": {"mobilenet": self.params.get("mobilenet", {})}}
                },
            }
        )


CLOSE = (0.899, 0.900, 0.901)  # one standard deviation is 0.1 points
APART = (0.89, 0.90, 0.91)  # 1 point


def write_seeds(*accuracies: float, first: int = 0) -> None:
    """Write seeds of both networks that are of the results which are there."""
    rows = []
    for model, stage in (("cnn", "train_cnn"), ("mobilenet", "finetune_mobilenet")):
        entry = workspace().lock[stage]
        for seed, accuracy in enumerate(accuracies, start=first):
            params = entry.params | {f"{model}.seed": seed}
            measures = dict.fromkeys(MEASURES[:3], accuracy) | {MEASURES[3]: 0.9 - accuracy}
            key = replace(entry, params=params).inputs_key
            rows.append({"model": model, "seed": seed, "computation": key, **measures})
    pd.DataFrame(rows).to_csv(SEEDS, index=False)


def write_lock(stages: dict[str, Any]) -> None:
    entries = [f"  {stage}:\n    {json.dumps(entry)}\n" for stage, entry in stages.items()]
    write(LOCK, "schema: '2.0'\nstages:\n" + "".join(entries))


def listed(md5s: dict[str, str]) -> list[dict[str, str]]:
    return [{"path": path, "hash": "md5", "md5": md5} for path, md5 in md5s.items()]


def md5_of(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def write(path: str | Path, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def git(*command: str) -> str:
    return subprocess.check_output(["git", *command], text=True, stderr=subprocess.PIPE).strip()


def commit(message: str = "results") -> str:
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message", message)
    return git("rev-parse", "HEAD")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with results on main, and a branch `change` that is checked out."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        git("init", "--quiet", "--initial-branch", "main")
        State().write()
        write_seeds(*CLOSE)
        commit("results of main")
        git("switch", "--quiet", "--create", "change")
    return folder


@pytest.fixture(autouse=True)
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project, where the test is."""
    folder = tmp_path / "project"
    shutil.copytree(original, folder)
    monkeypatch.chdir(folder)
    return folder


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
def compare(capsys: pytest.CaptureFixture[str]) -> Compare:
    """Run the command in this process, as from the command line."""

    def run(*arguments: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            main(["compare", *arguments])
        told = capsys.readouterr()
        return Said(int(ended.value.code or 0), told.out, told.err)

    return run


def worse_cnn(lost: int, won: int = 0, **gate: Any) -> State:
    """The CNN is wrong on some more images and right on some of the others."""
    state = State()
    state.wrong["cnn"] = set(range(won, 100)) | set(range(500, 500 + lost))
    state.gate.update(gate)
    return state


def test_a_real_loss_fails_the_gate_and_names_the_images(compare: Compare) -> None:
    worse_cnn(lost=40, won=5).write()
    commit()
    said = compare("main", "change")
    assert said.code == 1
    for text in (
        "gate FAILED (2 of 8 rules)",
        "The CNN at change is worse than the CNN at main: 3.5 points fewer",
        "5 images turned right and 40 wrong.",
        "gate.max_accuracy_loss, cnn: cnn: accuracy 0.9000 → 0.8650",
        "a real loss of 0.0350, more than 0.005 allowed",
    ):
        assert text in said.out
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


def test_of_several_models_one_may_seem_worse_by_chance(compare: Compare) -> None:
    state = worse_cnn(lost=20, won=8, max_brier_rise=0.1)
    state.write()
    assert compare("main").code == 1  # p = 0.036, and it is the only one that changed
    state.wrong["mobilenet"] = set(range(5, 30)) | set(range(600, 606))
    state.write()
    said = compare("main", "--format", "json")
    assert said.code == 0
    verdict = said.verdict("cnn")
    assert verdict["p"] == pytest.approx(0.0357, abs=1e-4)
    assert verdict["corrected_p"] == pytest.approx(2 * verdict["p"])
    assert "exact McNemar p = 0.036, corrected for 2 models p = 0.071" in compare("main").out


def test_probabilities_that_got_worse_are_seen_where_all_predictions_are_the_same(
    compare: Compare,
) -> None:
    table = pd.read_csv(PREDICTIONS)
    names = ["cnn_automobile", "cnn_truck"]
    table[names] = 0.5 + 0.5 * (table[names] - 0.5)  # half as sure
    table.to_csv(PREDICTIONS, index=False)
    said = compare("main", "--format", "json")
    assert said.verdict("cnn")["verdict"] == "same"
    assert (said.verdict("cnn", "brier")["verdict"], said.code) == ("worse", 1)
    (broken,) = [r for r in said.json["check"]["rules"] if r["outcome"] == "broken"]
    assert broken["name"] == "gate.max_brier_rise, cnn"


def test_the_headline_metrics_do_not_repeat_the_others(compare: Compare) -> None:
    headline = "metrics/summary.json"
    write(headline, '{"cnn_test": 0.9}')
    entry = {"outs": listed({headline: md5_of(Path(headline).read_text())})}
    LOCK.write_text(f"{LOCK.read_text()}  summarize:\n    {json.dumps(entry)}\n")
    assert "cnn_test" not in compare("main").out
    assert re.search(r"summary: cnn_test .* 90\.00 %", compare("main", "--all").out)


# Another seed.


def test_a_loss_that_another_seed_would_do_as_well_is_told_and_passes(compare: Compare) -> None:
    git("switch", "--quiet", "main")
    write_seeds(*APART)
    commit()
    worse_cnn(lost=40).write()
    found = compare("HEAD", "--format", "json")
    assert found.code == 0
    for measure, std in (("accuracy", 0.01), ("brier", 0.01)):
        verdict = found.verdict("cnn", measure)
        assert verdict["verdict"] == "differs"
        seeds = verdict["another_seed"]
        assert seeds["std"] == pytest.approx(std)
        assert seeds["needed"] == pytest.approx(4.302653 * std * 2**0.5)  # t of 2 degrees
        assert (seeds["difference"], seeds["seeds"]) == (verdict["difference"], [3, 0])
    said = compare("HEAD").out
    for text in (
        "3 models: 1 differs, 2 same; gate passed",
        "The CNN in the workspace differs from the CNN at HEAD, but another seed would do as much",
        ": 4.0 points fewer",
        "Another seed moves it by ± 1.0 points (3 seeds at HEAD); it takes more than 6.1 points.",
        "The Brier score of the CNN differs, but another seed would do as much: 0.0730 →",
        "by ± 0.0100 (3 seeds at HEAD); it takes more than 0.0608.",
        "6.1 needed",
    ):
        assert text in said, text
    (rule,) = [
        each
        for each in found.json["check"]["rules"]
        if each["name"] == "gate.max_accuracy_loss, cnn"
    ]
    assert rule["outcome"] == "kept"
    assert "a loss of 0.0400, and another seed would do as much" in rule["sentence"]


def test_two_models_that_are_trained_anew_share_the_level(compare: Compare) -> None:
    state = worse_cnn(lost=40)
    state.write()
    alone = compare("main", "--format", "json").verdict("cnn")["another_seed"]["needed"]
    state.wrong["baseline"] = set(range(200))  # which no seed changes
    state.write()
    assert compare("main", "--format", "json").verdict("cnn")["another_seed"]["needed"] == alone
    state.wrong["mobilenet"] = set(range(29))
    state.write()
    needed = compare("main", "--format", "json").verdict("cnn")["another_seed"]["needed"]
    assert needed == pytest.approx(6.205347 * 0.001 * 2**0.5)  # t at 0.025


def test_a_model_without_a_seed_needs_none(compare: Compare) -> None:
    state = State()
    state.wrong["baseline"] = set(range(340))
    state.write()
    said = compare("main")
    assert said.code == 1
    assert "baseline in the workspace is worse than" in said.out
    assert "0 images turned right and 40 wrong. It is the same with every seed." in said.out


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (Path(SEEDS).unlink, ""),
        (lambda: write_seeds(0.9), ""),
        (
            lambda: write(SEEDS, "model,seed,test_accuracy\ncnn,0,0.9\ncnn,1,0.9\n"),
            "metrics/seeds.csv: stale are cnn (2 of 2), of other code",
        ),
        (
            lambda: write(SEEDS, Path(SEEDS).read_text().replace("cnn,1,", "cnn,1")),
            "metrics/seeds.csv: line 3: is cut off or not as such lines are; run `make seeds`",
        ),
    ],
)
def test_without_seeds_the_question_is_open_and_a_loss_counts(
    compare: Compare, spoil: Callable[[], Any], told: str
) -> None:
    git("switch", "--quiet", "main")
    spoil()
    commit()
    worse_cnn(lost=40).write()
    said = compare("HEAD")
    assert said.code == 1
    for text in (
        "3 models: 1 open, 2 same; gate FAILED (2 of 8 rules)",
        "The CNN in the workspace differs from the CNN at HEAD: 4.0 points fewer",
        "Whether another seed would do as much is open: metrics/seeds.csv has fewer than two ",
        "seeds of these results; run `make seeds`.",
        "a loss of 0.0400, which counts, as no seeds tell what another would do, more than 0.005",
        f"WARNING: At HEAD: {told}" * bool(told),
    ):
        assert text in said.out, text
    assert compare("HEAD", "--format", "json").verdict("cnn")["another_seed"] is None
    worse_cnn(lost=0, won=40).write()
    assert compare("HEAD").code == 0  # a gain needs no seeds to pass


def test_seeds_of_the_head_answer_where_those_of_the_base_are_stale(compare: Compare) -> None:
    state = worse_cnn(lost=40)
    state.params["cnn"]["epochs"] = 2
    state.write()
    found = compare("main", "--format", "json")
    assert found.verdict("cnn")["another_seed"]["seeds"] == [3, 0]
    note = "In the workspace: metrics/seeds.csv: stale are cnn (3 of 3), of other code, settings or"
    assert any(each.startswith(note) for each in found.json["notes"])
    write_seeds(*APART)
    commit()
    state = worse_cnn(lost=0)
    state.params["cnn"]["epochs"] = 9
    state.write()
    seeds = compare("HEAD", "--format", "json")
    assert seeds.verdict("cnn")["another_seed"]["seeds"] == [3, 0]
    turned = compare("workspace", "HEAD", "--format", "json")
    assert turned.verdict("cnn")["another_seed"]["seeds"] == [0, 3]


@pytest.mark.parametrize(
    ("accuracies", "first", "verdict", "said"),
    [
        # Each seed loses a point and a half, give or take 0.05.
        ((0.8845, 0.885, 0.8855), 0, "worse", "in pairs, the mean differs by −1.5 points; it t"),
        ((0.884, 0.885, 0.886), 5, "worse", "3 seeds in the workspace, the mean differs by −1.5 p"),
        (
            (0.87, 0.90, 0.90),
            0,
            "differs",
            "mean differs by −1.0 points; it takes more than 4.",
        ),
        # The two trainings were bad luck.
        (
            (0.91, 0.911, 0.9125),
            0,
            "differs",
            "mean differs by 1.1 points; it takes more than 0.1",
        ),
    ],
)
def test_where_both_sides_have_seeds_their_means_decide(
    compare: Compare, accuracies: tuple[float, ...], first: int, verdict: str, said: str
) -> None:
    state = worse_cnn(lost=40)
    state.params["cnn"]["epochs"] = 2
    state.write()
    write_seeds(*accuracies, first=first)
    found = compare("main", "--format", "json").verdict("cnn")
    assert found["verdict"] == verdict
    assert found["another_seed"]["is_paired"] == (first == 0)
    assert found["another_seed"]["std"] is None
    assert said in compare("main").out
    assert f"{100 * found['another_seed']['needed']:.1f} needed" in compare("main").out


# Rules.


def with_gate(**rules: Any) -> State:
    state = State()
    state.gate.update(rules)
    return state


def without_gate() -> State:
    state = worse_cnn(lost=40)
    del state.params["gate"]
    return state


def renamed() -> State:
    state = State()
    state.wrong = {("cnn2" if name == "cnn" else name): w for name, w in state.wrong.items()}
    return state


# What it shows, state, exit code, what is said (parts between bars).
ALLOWED = {"max_accuracy_loss": 0.04, "max_brier_rise": 0.05}
FLOORS = {"cnn": {"accuracy": 0.91, "roc_auc": 0.9}}  # the latter is reached exactly
NO_CNN = (
    "gate.floors.cnn.accuracy: cannot be checked in the workspace: metrics/evaluate.json has no"
)
CHANGES = [
    # 0.9 points, more than is allowed; p = 0.11
    ("chance passes", worse_cnn(17, 8), 0, "no evidence of a difference|gate passed"),
    ("a loss may be allowed", worse_cnn(40, **ALLOWED), 0, "workspace is worse|gate passed"),
    ("not by a hair less", worse_cnn(40, **ALLOWED | {"max_accuracy_loss": 0.039}), 1, "FAILED (1"),
    (
        "a gain",
        worse_cnn(0, 30),
        0,
        "The CNN in the workspace is better than the CNN at main: 3.0 p",
    ),
    ("a floor", with_gate(floors=FLOORS), 1, "(1 of 9 rules)|is 0.9, at least 0.91 is asked"),
    ("renamed", renamed(), 1, f"{NO_CNN} cnn.acc|cnn2 in the workspace alone|2 models: 2 same"),
    ("gate removed", without_gate(), 0, "No gate: params.yaml has no section|all rules: gate was"),
    ("no such rules", with_gate(alpha=2), 2, "gate.alpha: 2 is not allowed; all|3 models: 3 same"),
]


@pytest.mark.parametrize(("name", "state", "code", "said"), CHANGES)
def test_a_change_of_results_or_rules_gets_its_verdict(
    compare: Compare, name: str, state: State, code: int, said: str
) -> None:
    state.write()
    found = compare("main")
    assert found.code == code, name
    assert [text for text in said.split("|") if text not in found.out] == [], name


def replaced(path: Path, old: str, new: str) -> Callable[[], Any]:
    return lambda: path.write_text(path.read_text().replace(old, new, 1))


def cut_off(path: Path) -> Callable[[], Any]:
    return lambda: path.write_text(path.read_text()[: path.stat().st_size // 2])


def without_columns(*beginnings: str) -> Callable[[], Any]:
    def cut() -> None:
        table = pd.read_csv(PREDICTIONS)
        kept = [n for n in table if n != beginnings[0] and not n.startswith(beginnings[-1])]
        table[kept].to_csv(PREDICTIONS, index=False)

    return cut


# What is done, exit code, what is said (parts between bars).
UNCHECKED = (
    "max_accuracy_loss: cannot be checked: metrics/predictions.csv: is missing; run `make repro`"
)
DAMAGES: list[tuple[Callable[[], Any], int, str]] = [
    # What was measured is shown all the same.
    (PREDICTIONS.unlink, 1, f"{UNCHECKED}|no predictions in the workspace that can be read|90.0 %"),
    (
        cut_off(PREDICTIONS),
        1,
        "WARNING: In the workspace: metrics/predictions.csv: line|is cut off",
    ),
    (lambda: PREDICTIONS.write_text(""), 1, "No columns to parse"),
    # What is deleted of a file opens the gate no more than a file that is deleted.
    (
        without_columns("cnn", "cnn_"),
        1,
        "max_accuracy_loss, cnn: cannot be checked: the head does not give the accuracy of cnn",
    ),
    (without_columns("cnn_"), 1, "max_brier_rise, cnn: cannot be checked: the head does not give"),
    (replaced(PREDICTIONS, "\n7,", "\n<<<<<<< main\n7,"), 1, "predictions.csv: line 9: is cut off"),
    (cut_off(EVALUATION), 1, "evaluate.json: is not JSON|3 same|accuracy: cannot be checked"),
    (
        replaced(LOCK, "  evaluate:", "<<<<<<< a\n  evaluate:"),
        0,
        "lock: line 5: a merge has|3 same",
    ),
    (
        replaced(LOCK, TEST_MD5, "f" * 32),
        0,
        "test sets differ: data/prepared/test.npz is another|Gate INCOMPLETE (2 of 4 rules not",
    ),
    (lambda: write(CODE, "not run\n"), 0, f"IN DOUBT|Some code is not that which ran: {CODE}"),
    (lambda: write("libraries.yaml", "keras: 3.16.0\n"), 0, "settings are not|libraries.yaml:ker"),
    (lambda: write("metrics/figures/accuracy.png", "x"), 0, "results are not the|metrics/figures."),
    (replaced(EVALUATION, '0.9, "b', '0.86, "b'), 0, "do not belong together: of cnn one has an"),
    (
        lambda: PARAMS.write_text("gate: ["),
        2,
        "UNREADABLE: the rules cannot be read: params.yaml: is",
    ),
]


@pytest.mark.parametrize(("damage", "code", "said"), DAMAGES)
def test_what_is_damaged_or_does_not_fit_is_named(
    compare: Compare, damage: Callable[[], Any], code: int, said: str
) -> None:
    damage()
    found = compare("main")
    assert found.code == code
    assert [text for text in said.split("|") if text not in found.out] == []


def test_a_change_of_a_comment_is_told_from_one_of_results(compare: Compare) -> None:
    State(code="def train(): ...  # as before\n").write()
    said = compare("main", "--format", "json")
    assert said.code == 0
    assert {each["verdict"] for each in said.json["models"]} == {"same"}
    (stage,) = said.json["stages"]
    assert (stage["stage"], stage["code"], stage["same_outputs"]) == ("train_cnn", [CODE], True)
    assert stage["data"] == stage["settings"] == []


def test_params_and_libraries_that_differ_are_shown_with_both_values(compare: Compare) -> None:
    state = worse_cnn(lost=1)
    state.params["cnn"] = {"epochs": 7, "dropout": None}
    state.keras = "3.16.0"
    state.write()
    found = compare("main", "--format", "json")
    assert found.json["settings"] == [
        {"key": "cnn.epochs", "base": 5, "head": 7},
        {"key": "cnn.dropout", "head": None},
        {"key": "libraries.yaml:keras", "base": "3.15.1", "head": "3.16.0"},
        {"key": "cnn.seed", "base": 0},
    ]
    stages = {each["stage"]: each for each in found.json["stages"]}
    assert set(stages["train_cnn"]["settings"]) == {
        *("cnn.epochs", "cnn.dropout", "cnn.seed", "libraries.yaml:keras")
    }
    assert stages["evaluate"]["data"] == ["data/models/cnn.npz"]
    assert re.search(r"libraries\.yaml:keras +3\.15\.1 +3\.16\.0", compare("main").out)


def test_a_base_of_before_is_compared_where_it_can_be(compare: Compare) -> None:
    PREDICTIONS.unlink()
    without_predictions = commit("as before there were predictions")
    write(EVALUATION, json.dumps({"cnn": {"accuracy": 0.9}}))
    LOCK.unlink()
    without_lock = commit("an older state")
    State().write()
    said = compare(without_predictions)
    assert said.code == 0
    assert "gate INCOMPLETE (2 of 4 rules not checked)\n" in said.out
    assert "gate.max_accuracy_loss: not checked: there are no predictions at" in said.out
    assert "passed" not in said.out + compare(without_predictions, "--format", "markdown").out
    said = compare(without_lock, "--format", "json")
    assert said.code == 0
    metrics = {each["name"]: each for each in said.json["metrics"]}
    assert metrics["cnn.brier"]["base"] is metrics["cnn.brier"]["difference"] is None
    assert any("dvc.lock: is missing" in note for note in said.json["notes"])


def test_a_base_with_pictures_one_by_one_and_without_libraries_is_compared(
    compare: Compare,
) -> None:
    State(params={"data": {"sources": ["author"]}, "cnn": {"epochs": 5}}, keras="").write()
    Path("libraries.yaml").unlink()
    old = LOCK.read_text().replace('"metrics/figures"', '"metrics/figures/accuracy.png"')
    LOCK.write_text(re.sub(r"\w+\.dir", md5_of("a picture"), old))
    Path(SEEDS).unlink()
    base = commit("before pictures had a folder and libraries a file")
    State().write()
    said = compare(base, "--format", "json")
    assert said.code == 0
    assert said.json["notes"] == []
    assert {"key": "libraries.yaml:keras", "head": "3.15.1"} in said.json["settings"]
    assert {"draw", "train_cnn"} <= {each["stage"] for each in said.json["stages"]}
    assert said.verdict("cnn")["verdict"] == "same"


def test_a_loosened_gate_is_said_loudly_in_every_format(compare: Compare) -> None:
    with_gate(
        floors={"cnn": {"accuracy": 0.7}}, ceilings={}, alpha=0.01, max_accuracy_loss=0.1
    ).write()
    expected = [
        "gate.floors.cnn.accuracy: 0.8 → 0.7",
        "gate.ceilings.cnn.brier: 0.2 was removed",
        "gate.alpha: 0.05 → 0.01",
        "gate.max_accuracy_loss: 0.005 → 0.1",
    ]
    assert compare("main", "--format", "json").json["check"]["loosened"] == expected
    assert f"RULES LOOSENED: {expected[2]}" in compare("main").out
    assert f"**Rules loosened:** {expected[2]}" in compare("main", "--format", "markdown").out
    floors = {"cnn": {"accuracy": 0.8}, "mobilenet": {"accuracy": 0.9}}
    with_gate(floors=floors, alpha=0.1, max_accuracy_loss=0.0, max_brier_rise=0).write()
    assert compare("main", "--format", "json").json["check"]["loosened"] == []  # it asks for more


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
    state = State(**change)
    state.wrong = {name: set(range(n // 2)) for name, n in WRONG_AT_FIRST.items()}
    state.gate["floors"]["cnn"]["accuracy"] = 0.99
    state.write()
    said = compare("main", "--format", "json")
    assert said.code == 1
    assert said.json["paired"]["images"] == 0
    assert said.json["paired"]["reason_if_not"].startswith(f"the test sets differ: {why}")
    assert said.verdict("cnn")["verdict"] == "not compared"
    (broken,) = [r for r in said.json["check"]["rules"] if r["outcome"] == "broken"]
    assert broken["sentence"].startswith("cnn: accuracy is 0.9")


def test_images_in_another_order_are_paired_by_their_number(compare: Compare) -> None:
    worse_cnn(lost=40).write()
    table = pd.read_csv(PREDICTIONS).sample(frac=1, random_state=0)
    table.to_csv(PREDICTIONS, index=False)
    assert compare("main", "--format", "json").verdict("cnn")["difference"] == pytest.approx(-0.04)


# Which two sides.


def test_without_a_base_a_branch_is_held_against_where_it_left_main(
    compare: Compare, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = git("rev-parse", "main")
    git("clone", "--quiet", str(project), "../clone")
    write(CODE, "mine\n")
    commit()
    git("switch", "--quiet", "main")
    write(CODE, "others' work\n")
    newest = commit()
    git("switch", "--quiet", "change")
    found = compare("--format", "json").json
    assert (found["base"]["commit"], found["base"]["why"]) == (fork, "where it left main")
    assert found["head"]["is_workspace"]
    assert compare("", "change", "--format", "json").json["base"]["commit"] == fork
    # A main branch that was not pulled is not the base.
    monkeypatch.chdir("../clone")
    git("branch", "main", "origin/main")  # stays behind
    git("fetch", "--quiet")
    git("switch", "--quiet", "--create", "mine", "origin/main")
    write(CODE, "mine in the clone\n")
    commit()
    assert compare("--format", "json").json["base"]["commit"] == newest


def test_on_main_the_last_commit_is_the_base_of_changes_and_its_parent_without(
    compare: Compare,
) -> None:
    said = compare()
    assert said.code == 2
    assert "has no parent to compare with, and the workspace has no changes; name BASE" in said.err
    git("switch", "--quiet", "main")
    first = git("rev-parse", "HEAD")
    worse_cnn(lost=3).write()
    base = compare("--format", "json").json["base"]
    assert (base["commit"], base["name"]) == (first, "HEAD")
    commit()
    base = compare("--format", "json").json["base"]
    assert base["commit"] == first
    assert "parent" in base["why"]


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
    head = {"name": "muddy-otter", "commit": experiment, "is_workspace": False, "why": None}
    assert found.json["head"] == head
    assert found.verdict("cnn")["verdict"] == "worse"
    turned = compare("muddy-otter", "workspace", "--format", "json")
    assert turned.verdict("cnn")["verdict"] == "better"


def test_tags_and_short_ids_are_known_and_nonsense_is_told_in_one_line(compare: Compare) -> None:
    git("tag", "--annotate", "v1", "--message", "a tag")
    worse_cnn(lost=40).write()
    commit()
    assert compare("v1", git("rev-parse", "--short", "HEAD")).code == 1
    for name in ("nonsense", "0" * 40, "HEAD~99"):
        for arguments in ((name,), ("main", name)):
            said = compare(*arguments)
            assert said.code == 2
            assert said.err.startswith(f"ERROR: {name}: is no revision; give a branch, tag, commit")
            assert said.err.count("\n") == 1


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


def test_where_nothing_can_be_compared_one_line_says_why(
    compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree("metrics")
    empty = commit("no results")
    said = compare("main", empty)
    assert said.code == 2
    assert said.err.startswith("ERROR: nothing can be compared: no results at ")
    assert "metrics/evaluate.json: is missing" in said.err
    State().write()
    first = compare(empty, "--format", "json")  # a first result is held against the floors
    assert (first.code, first.json["check"]["status"]) == (0, "incomplete")
    state = State()
    state.wrong["mlp"] = {1}
    state.write()
    assert (
        compare("main", "--format", "json").json["check"]["status"] == "passed"
    )  # it lost nothing
    State(params={"cnn": {}}).write()  # no gate, so that nothing is asked of the head alone
    assert compare(empty).err.startswith("ERROR: nothing can be compared: no results at ")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        said = compare("main")
        assert said.code == 2
        assert said.err.startswith("ERROR: Git: ")
        assert said.err.count("\n") == 1
    monkeypatch.chdir(tmp_path)
    assert "dvc.yaml: is not here; run this in the project's folder" in compare().err
    Path("dvc.yaml").touch()
    assert "is no Git repository" in compare("main").err


# The outputs.


def test_nothing_is_lost_on_a_narrow_terminal(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = worse_cnn(lost=40)
    state.params["cnn"] = {f"a_setting_with_a_long_name_{n}": 1 / 3 for n in range(9)}
    state.write()
    monkeypatch.setattr(
        "stages.commands.terminal.console", lambda **_: Console(width=80, force_terminal=True)
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


def test_a_file_has_no_colors_whatever_the_terminal_is_told(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    worse_cnn(lost=40).write()
    compare("main", "--output", "told.txt")
    text = Path("told.txt").read_text()
    assert "is worse than the CNN at main" in text
    assert "\x1b" not in text


def test_the_json_keeps_the_names_that_are_documented(compare: Compare) -> None:
    worse_cnn(lost=40).write()
    found = compare("main", "--format", "json").json
    assert found["version"] == 1
    assert set(found) == {
        *("version", "base", "head", "alpha", "settings", "stages", "paired", "models", "flips"),
        *("metrics", "check", "notes"),
    }
    keys = {
        "models": "model measure verdict base head difference difference_ci p corrected_p "
        "another_seed",
        "stages": "stage change code data settings same_outputs",
        "flips": "model index actual base head to_right",
        "metrics": "file name base head difference",
    }
    for name, expected in keys.items():
        assert " ".join(found[name][0]) == expected
    assert set(found["models"][0]["base"]) == {"value", "ci"}
    seeds = next(each["another_seed"] for each in found["models"] if each["model"] == "cnn")
    assert " ".join(seeds) == "difference needed std seeds is_paired"
    assert set(found["check"]) == {"of", "status", "remark", "rules", "loosened"}
    assert {tuple(rule) for rule in found["check"]["rules"]} == {("name", "outcome", "sentence")}
    documented = (ROOT / "docs/compare.md").read_text()
    for name in [*found, *found["check"], *" ".join(keys.values()).split(), *seeds]:
        assert f"`{name}`" in documented, name


def test_the_markdown_begins_with_its_marker_then_the_verdict_and_folds_the_rest(
    compare: Compare,
) -> None:
    git("switch", "--quiet", "--create", "feat/a_b|<i>c")
    state = worse_cnn(lost=40)
    state.params["cnn"]["note"] = "<script>alert(1)</script> | @all"
    state.write()
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


def test_a_comment_of_a_change_of_everything_fits_into_what_github_takes(compare: Compare) -> None:
    state = State()
    state.wrong = {model: set(range(300, 900)) for model in state.wrong}
    state.params["more"] = {f"key_{n}": "x" * 50 for n in range(500)}
    state.write()
    write(EVALUATION, json.dumps({f"metric_{n}": n / 7 for n in range(900)}))
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
    split, everything = Path("data/prepared/test.npz"), Path("data/cifar10.npz")
    write_arrays(split, {"images": photos, "indices": np.arange(IMAGES)})
    assert "19 images whose prediction turned" in compare("main", "--picture", str(picture)).err
    assert picture.read_bytes().startswith(b"\x89PNG")
    split.unlink()
    picture.unlink()
    write_arrays(everything, {"test_images": photos})
    compare("main", "--picture", str(picture))
    assert picture.exists()


# Computed again elsewhere.


def note_computed(*stages: str) -> None:
    """Leave the receipts that these stages would have left."""
    for stage in stages:
        entry = workspace().lock[stage]
        write_receipt(Receipt(entry.key, "", stage, 0.0, 1.0, 0.0, [], entry.outs))


def test_what_was_only_checked_out_is_not_reproduced(compare: Compare) -> None:
    worse_cnn(lost=1).write()
    note_computed("train_cnn", "evaluate")
    git("checkout", "--quiet", "--", ".")  # these receipts are of other results
    note_computed("draw")  # and this one of a stage without metrics
    said = compare("HEAD", "--reproduced")
    assert said.code == 1
    assert "NOT reproduced: no metric was computed here; run `make repro`" in said.out
    note_computed("evaluate")
    said = compare("HEAD", "--reproduced")
    assert said.code == 0
    assert "all of 10 metrics: 2 of 5 stages were computed here" in said.out


def test_a_clone_reproduces_once_its_pipeline_has_run(tiny: Project) -> None:
    command = ("-m", "stages", "compare", "HEAD", "--reproduced")
    assert "no metric was computed here" in tiny.python(*command, check=False).stdout
    tiny.run("dvc", "repro", "--force", "--single-item", "train_baseline")
    assert "1 of 4 stages were computed here" in tiny.python(*command).stdout


def test_metrics_computed_again_may_be_off_by_what_a_cpu_does_and_no_more(compare: Compare) -> None:
    worse_cnn(lost=15).write()
    note_computed("train_cnn", "evaluate", "draw")
    said = compare("HEAD", "--reproduced")
    assert said.code == 0
    assert "Reproduced within the tolerances, all of 10 metrics: 3 of 5 stages were" in said.out
    worse_cnn(lost=25).write()
    said = compare("HEAD", "--reproduced")
    assert said.code == 1
    assert "NOT reproduced, 1 of 10 metrics differ by more than is allowed" in said.out
    assert "metrics/evaluate.json: cnn.accuracy: 0.9 → 0.875, 0.025 apart; up to 0.02" in said.out
    values = json.loads(EVALUATION.read_text())
    values["images"]["test"] += 1
    del values["cnn"]["roc_auc"]
    values["cnn"]["accuracy"] = 0.9
    EVALUATION.write_text(json.dumps(values))
    rules = compare("HEAD", "--reproduced", "--format", "json").json["check"]["rules"]
    broken = [rule["name"].split()[1] for rule in rules if rule["outcome"] == "broken"]
    assert broken == ["images.test", "cnn.roc_auc"]


# What it costs.


@pytest.mark.parametrize("kind", ["table", "markdown"])
def test_nobody_waits_for_libraries_that_it_does_not_need(kind: str) -> None:
    worse_cnn(lost=40).write()
    begun = time.perf_counter()
    command = [sys.executable, "-X", "importtime", "-m", "stages", "compare", "main"]
    done = subprocess.run(
        [*command, "--format", kind],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert time.perf_counter() - begun < 10  # 1 s on an idle machine
    assert done.returncode == 1
    assert "gate FAILED" in done.stdout
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "stages.results.gate" in imported
    heavy = {"tensorflow", "keras", "mlflow", "sklearn", "scipy.stats", "matplotlib", "dvc"}
    assert imported & heavy == set()
