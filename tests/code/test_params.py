"""A mistake in params.yaml costs one line of reading, not an hour of training."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from stages.data.cifar10 import CLASS_NAMES
from stages.data.errors import UserError
from stages.workflow.params import Params, read_params

ROOT = Path(__file__).resolve().parents[2]
HOLE = "@"  # takes the place of a value until the YAML is put there
CLASSES = (
    "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"  # as the messages say it
)
CHECKSUM = "0123456789abcdef" * 4


def project_values() -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe").load((ROOT / "params.yaml").read_text("utf-8"))
    return values


def write(path: Path, changes: dict[str, str | None]) -> Path:
    """Write the project's params with some keys changed to a piece of YAML, or removed (None)."""
    values = project_values()
    for key, raw in changes.items():
        *sections, last = key.split(".")
        section = values
        for name in sections:
            section = section[name]
        if raw is None:
            del section[last]
        else:
            section[last] = HOLE + raw
    text = json.dumps(values)  # JSON is YAML
    for raw in changes.values():
        if raw is not None:
            text = text.replace(json.dumps(HOLE + raw), raw)
    path.write_text(text, encoding="utf-8")
    return path


def message(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_params(path)
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


def test_the_params_that_come_with_the_project_are_valid() -> None:
    params = read_params(ROOT / "params.yaml")
    assert params.model_dump() == project_values()
    assert params.cnn.chosen == params.cnn.default


def test_the_recipe_that_is_named_is_the_one_that_is_used(path: Path) -> None:
    params = read_params(write(path, {"cnn.recipe": "lecture"}))
    assert params.cnn.chosen == params.cnn.lecture != params.cnn.default


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("cnn.default.learning_rate", "1e-3", 0.001),
        ("mobilenet.learning_rate", "2.5E-4", 0.00025),
        ("baseline.ridge", "1", 1.0),
        ("baseline.ridge", "1e9", 1e9),
        ("data.validation_fraction", "0.5", 0.5),
        ("data.limit_per_class", "10", 10),
        ("data.limit_per_class", "null", None),
        ("data.classes", "[truck, cat, dog]", ["truck", "cat", "dog"]),
        ("data.classes", "all", [*CLASS_NAMES]),
        ("data.group_pattern", "null", None),
        ("mobilenet.first_trainable_block", "17", 17),
        ("cnn.default.dropout", "0", 0.0),
    ],
)
def test_every_usual_way_to_write_a_legal_value_is_accepted(
    path: Path, key: str, raw: str, value: object
) -> None:
    found: Any = read_params(write(path, {key: raw}))
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)


# What is set, to what; then what the message must name: the item of a list, what is legal.
WRONG_VALUES = [
    # Out of range.
    ("data.validation_fraction", "0.009", "", "0.009", "a number from 0.01 to 0.5"),
    ("data.validation_fraction", "0.51", "", "0.51", "a number from 0.01 to 0.5"),
    ("data.limit_per_class", "9", "", "9", "a whole number from 10 or null"),
    ("data.seed", "-1", "", "-1", "a whole number from 0 to 2147483647"),
    ("cnn.seed", "2147483648", "", "2147483648", "a whole number from 0 to 2147483647"),
    ("baseline.ridge", "-0.1", "", "-0.1", "a number from 0 to 1000000000.0"),
    ("cnn.default.learning_rate", "0", "", "0", "a number above 0 to 10"),
    ("cnn.default.learning_rate", "10.5", "", "10.5", "a number above 0 to 10"),
    ("cnn.lecture.dropout", "1.0", "", "1.0", "a number from 0 to below 1"),
    ("cnn.lecture.epochs", "0", "", "0", "a whole number from 1 to 1000"),
    ("cnn.default.shift", "9", "", "9", "a whole number from 0 to 8"),
    ("cnn.default.filters", "[32, 0, 64]", ".1", "0", "a whole number from 1 to 512"),
    ("cnn.default.kernel_sizes", "[7, 5, 10]", ".2", "10", "a whole number from 1 to 9"),
    ("mobilenet.input_size", "100", "", "100", "a whole number from 32 to 224 in steps of 32"),
    ("mobilenet.first_trainable_block", "1", "", "1", "a whole number from 2 to 17"),
    # Of another type.
    ("cnn.default.epochs", "5.5", "", "5.5", "a whole number from 1 to 1000"),
    ("cnn.default.epochs", "true", "", "True", "a whole number from 1 to 1000"),
    ("baseline.ridge", '"0.5"', "", "'0.5'", "a number from 0 to 1000000000.0"),
    ("baseline.ridge", ".nan", "", "nan", "a number from 0 to 1000000000.0"),
    ("cnn.default.weight_decay", ".inf", "", "inf", "a number from 0 to 10"),
    ("cnn.default.mirror", "yes", "", "'yes'", "true or false"),
    ("cnn.default.mirror", "null", "", "None", "true or false"),
    ("mobilenet.seed", "2026-01-31", "", "datetime.date(2026, 1, 31)", "a whole number from 0"),
    # Of another choice.
    ("cnn.recipe", "fast", "", "'fast'", "one of default, lecture"),
    ("cnn.default.optimizer", "adam", "", "'adam'", "one of rmsprop, adamw, sgd"),
    ("cnn.lecture.input", "gray", "", "'gray'", "one of color, grayscale"),
    ("data.source", "kaggle", "", "'kaggle'", "one of cifar10, folder"),
    ("data.class_weights", "yes", "", "'yes'", "one of none, balanced"),
    ("sources.cifar10", "[npm, kaggle]", ".1", "'kaggle'", "one of author, npm"),
    # Lists.
    ("data.classes", "[truck]", "", "['truck']", "a list of two or more names, or all"),
    ("data.classes", "truck", "", "'truck'", "a list of two or more names, or all"),
    ("sources.cifar10", "[]", "", "[]", "a list of 1 to 2, each one of author, npm"),
    ("cnn.default.filters", "[32, 64]", "", "[32, 64]", "a list of 3, each a whole number from 1"),
    # Checksums.
    ("sources.mobilenet_sha256", "abc", "", "'abc'", "text that matches ^[0-9a-f]{64}$ or null"),
    ("sources.mobilenet_sha256", CHECKSUM.upper(), "", f"'{CHECKSUM.upper()}'", "text that match"),
    # Sections that are none.
    ("baseline", "0.5", "", "0.5", "a section with the keys ridge"),
    ("cnn.default", "null", "", "None", "a section with the keys optimizer, "),
    ("data", "[]", "", "[]", "a section with the keys source, folder, classes, "),
]


@pytest.mark.parametrize(("key", "raw", "item", "value", "legal"), WRONG_VALUES)
def test_a_wrong_value_is_named_with_its_key_and_what_would_be_right(
    path: Path, key: str, raw: str, item: str, value: str, legal: str
) -> None:
    text = message(write(path, {key: raw}))
    assert text.startswith(f"{path}: {key}{item}: {value} is not allowed; allowed: {legal}")
    assert text.endswith("; correct it")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"data.sed": "1"}, "data.sed: unknown key; known here: source, folder, classes, "),
        ({"cnn.default.epoch": "1"}, "cnn.default.epoch: unknown key; known here: optimizer, "),
        ({"cnn.default.batch-size": "8"}, "cnn.default.batch-size: unknown key; known here: opt"),
        ({"mobilenet.none": "1"}, "mobilenet.none: unknown key; known here: optimizer, "),
        (
            {"resnet": "{}"},
            "resnet: unknown key; known here: sources, data, baseline, cnn, mobilenet",
        ),
        (
            {"my-net": "{}"},
            "my-net: unknown key; known here: sources, data, baseline, cnn, mobilenet",
        ),
        ({"baseline.ridge": None}, "baseline.ridge: is missing; allowed: a number from 0 to 1"),
        ({"cnn.lecture.mirror": None}, "cnn.lecture.mirror: is missing; allowed: true or false"),
        ({"data.limit_per_class": None}, "data.limit_per_class: is missing; allowed: a whole "),
        ({"cnn": None}, "cnn: is missing; allowed: a section with the keys recipe, seed, "),
        (
            {"data.classes": "[car, truck]"},
            "data.classes: ['car', 'truck'] is not allowed; CIFAR-10 has no 'car'; allowed: some",
        ),
        (
            {"data.group_pattern": "'car('"},
            "data.group_pattern: 'car(' is not allowed; it is no regular expression (missing ), un",
        ),
        (
            {"data.group_pattern": "(car)(d)"},
            "data.group_pattern: '(car)(d)' is not allowed; allowed: at most one pair of parenthe",
        ),
        (
            {"data.classes": "[dog, cat, dog]"},
            "data.classes: ['dog', 'cat', 'dog'] is not allowed; n",
        ),
        (
            {"sources.cifar10": "[npm, npm]"},
            "sources.cifar10: ['npm', 'npm'] is not allowed; name ",
        ),
        (
            {"sources.mobilenet": "w.pt"},
            "sources.mobilenet_sha256: None is not allowed; sources.mobilenet is 'w.pt', not p",
        ),
        (
            {"sources.mobilenet": "keras"},  # Keras fetches its weights without a checksum
            "sources.mobilenet_sha256: None is not allowed; sources.mobilenet is 'keras', not p",
        ),
        (
            {"sources.mobilenet_sha256": f'"{CHECKSUM}"'},
            f"sources.mobilenet_sha256: '{CHECKSUM}' is not allowed; it goes with a file only",
        ),
        (
            {"sources.mobilenet": '""'},
            "sources.mobilenet: '' is not allowed; allowed: text of at le",
        ),
    ],
)
def test_a_key_that_is_unknown_missing_or_at_odds_is_named_with_what_to_do(
    path: Path, changes: dict[str, str | None], start: str
) -> None:
    text = message(write(path, changes))
    assert text.startswith(f"{path}: {start}")
    assert "\n" not in text


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
@example("learning rate")
@example("")
@example(7)
def test_whatever_the_unknown_key_is_the_message_holds_it(
    tmp_path_factory: pytest.TempPathFactory, key: str | int
) -> None:
    values = project_values()
    if key in values["baseline"]:
        return
    values["baseline"][key] = 0
    path = tmp_path_factory.mktemp("unknown") / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(values, file)
    text = message(path)
    assert text.startswith(f"{path}: baseline.{key}: unknown key; known here: ridge")
    assert "\n" not in text


def test_all_mistakes_are_told_at_once_a_line_each(path: Path) -> None:
    changes = {"baseline.ridge": "-1", "cnn.recipe": "fast", "data.seeds": "1", "mobilenet": None}
    lines = message(write(path, changes)).split("\n")
    assert len(lines) == len(changes)
    for line in lines:
        assert line.removeprefix("ERROR: ").startswith(f"{path}: ")
    assert {line.removeprefix("ERROR: ").split(": ")[1] for line in lines} == set(changes)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"data: [1, 2\nbaseline: {", "is not YAML ("),
        (b"data:\n\tseed: 1\n", "is not YAML ("),
        (b"data: 1\ndata: 2\n", "is not YAML ("),
        (b"data: *nowhere\n", "is not YAML ("),
        (b"data: !!python/object/apply:os.system [ls]\n", "is not YAML ("),
        (b"data: 1\n---\ndata: 2\n", "is not YAML ("),
        (b"data: {seed: 2026-13-45}\n", "is not YAML ("),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "is not YAML ("),
        (b"data: \x00\n", "is not YAML ("),
        (b"data: " + b"[" * 3000, "is not YAML ("),
        (b"data: 1\n>>>>>>> theirs\n", "line 2: a merge has left a conflict; mend it"),
        (b"", "holds no sections; mend it"),
        (b"# only a comment\n", "holds no sections; mend it"),
        (b"- data\n- cnn\n", "holds no sections; mend it"),
        (b"42\n", "holds no sections; mend it"),
    ],
)
def test_a_file_that_cannot_be_understood_is_one_plain_line(
    path: Path, content: bytes, reason: str
) -> None:
    path.write_bytes(content)
    text = message(path)
    assert text.startswith(f"{path}: {reason}")
    assert "\n" not in text


def test_where_the_yaml_is_broken_is_told(path: Path) -> None:
    path.write_text("data:\n  seed: 0\n seed: 1\n", encoding="utf-8")
    assert "line 3" in message(path)


@pytest.mark.parametrize(
    ("changes", "stage", "start"),
    [
        ({"data.limit_per_class": "200"}, "train_baseline", "360 training images are no more than"),
        ({"data.limit_per_class": "200"}, "train_cnn", ""),
        ({"data.limit_per_class": "200", "baseline.ridge": "10.0"}, "train_baseline", ""),
        ({"data.limit_per_class": "600"}, "train_baseline", ""),
        ({}, "train_baseline", ""),
    ],
)
def test_fewer_images_than_pixels_are_told_before_the_baseline_fits_them_all(
    path: Path, changes: dict[str, str | None], stage: str, start: str
) -> None:
    said = read_params(write(path, changes)).warning_of(stage)
    assert said.startswith(start)
    assert bool(said) == bool(start)


def test_a_missing_file_is_a_plain_message(path: Path) -> None:
    assert message(path) == f"{path}: is missing; restore it from Git"


def test_params_cannot_change_in_the_middle_of_a_stage() -> None:
    params: Any = read_params(ROOT / "params.yaml")
    with pytest.raises(ValueError, match="frozen"):
        params.baseline.ridge = 1.0
    assert isinstance(params, Params)


def test_a_typo_stops_a_stage_before_any_work_with_one_line(path: Path) -> None:
    write(path, {"data.validation_fracton": "0.1"})
    done = subprocess.run(
        [sys.executable, "-m", "stages", "prepare"],
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(path.parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    start = "ERROR: params.yaml: data.validation_fracton: unknown key; known here: source, "
    assert done.stderr.startswith(start)
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert [entry.name for entry in path.parent.iterdir()] == ["params.yaml"]
