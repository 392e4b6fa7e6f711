"""A training that was interrupted goes on from its last epoch, and ends with the same bytes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.data.files import file_hash
from stages.data.splits import Split
from stages.models.checkpoints import FOLDER, Checkpoints
from stages.models.cnn import train_cnn
from stages.models.network import NetworkClassifier, named_weights
from stages.models.storage import save_model
from stages.workflow.params import Params, read_params

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"
INPUT = Path("input")


class Interruption(Exception):  # noqa: N818  # it is no error
    """As Ctrl-C or kill would."""


def small_params(**changes: Any) -> Params:
    params = read_params(PARAMS)
    cnn = {
        "filters": [4, 5, 6],
        "kernel_sizes": [3, 3, 3],
        "dense_units": 8,
        "weight_averaging": 0.5,
    }
    quick = {"epochs": 3, "batch_size": 8, **changes}
    recipe = params.cnn.default.model_copy(update=cnn | quick)
    return params.model_copy(
        update={
            "cnn": params.cnn.model_copy(update={"default": recipe}),
        }
    )


def split(n: int, seed: int) -> Split:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (n, 32, 32, 3)).astype(np.uint8)
    return Split(images, np.arange(n) % 2, np.arange(n), ["automobile", "truck"])


def train_small_cnn(
    params: Params, report: Any, checkpoints: Checkpoints | None
) -> tuple[NetworkClassifier, pd.DataFrame]:
    return train_cnn(
        *(split(40, 0), split(10, 1), params.cnn.chosen, 0, report),
        image_size=32,
        class_weights=None,
        checkpoints=checkpoints,
    )


def interrupted(after: int) -> Callable[[int, Mapping[str, float]], None]:
    """A report that ends the training in the epoch after this one."""

    def report(epoch: int, _: Mapping[str, float]) -> None:
        if epoch > after:
            raise Interruption

    return report


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    INPUT.write_text("what the training reads")


def go_on(after: int, params: Params) -> tuple[str, pd.DataFrame, list[int]]:
    """Interrupt a training and run it again: its bytes, curves and the epochs that were told."""
    checkpoints = Checkpoints("stage", params, [INPUT])
    with pytest.raises(Interruption):
        train_small_cnn(params, interrupted(after), checkpoints)
    told: list[int] = []
    classifier, curves = train_small_cnn(
        params, lambda epoch, _: told.append(epoch), Checkpoints("stage", params, [INPUT])
    )
    save_model(Path("again.npz"), classifier)
    return file_hash(Path("again.npz"), "md5"), curves, told


@pytest.mark.parametrize("after", [1, 2])
def test_it_ends_with_the_bytes_of_one_that_was_not_interrupted(
    after: int, capsys: pytest.CaptureFixture[str]
) -> None:
    params = small_params()
    classifier, curves = train_small_cnn(params, lambda *_: None, None)
    save_model(Path("once.npz"), classifier)
    content, again, told = go_on(after, params)
    assert content == file_hash(Path("once.npz"), "md5")
    pd.testing.assert_frame_equal(again, curves, check_exact=True)
    assert told == curves["epoch"].tolist()  # also those before: a run in MLflow has them all
    assert "goes on after" in capsys.readouterr().err


def test_one_that_had_done_all_its_epochs_ends_the_same() -> None:
    params = small_params()
    checkpoints = Checkpoints("stage", params, [INPUT])
    first, _ = train_small_cnn(params, lambda *_: None, checkpoints)
    again, _ = train_small_cnn(params, lambda *_: None, checkpoints)
    for path, weight in named_weights(first.network).items():
        np.testing.assert_array_equal(weight, named_weights(again.network)[path])


@pytest.mark.parametrize("what", ["params", "input", "damage"])
def test_what_belongs_to_another_training_or_is_damaged_is_not_taken_up(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, params = small_params(), small_params(learning_rate=0.01)
    used = before if what == "params" else params
    with pytest.raises(Interruption):
        train_small_cnn(used, interrupted(1), Checkpoints("stage", used, [INPUT]))
    (kept,) = (FOLDER / "stage").iterdir()
    if what == "input":
        INPUT.write_text("something else")
    elif what == "damage":
        kept.write_bytes(kept.read_bytes()[:1000])
    classifier, _ = train_small_cnn(params, lambda *_: None, Checkpoints("stage", params, [INPUT]))
    once, _ = train_small_cnn(params, lambda *_: None, None)
    for path, weight in named_weights(once.network).items():
        np.testing.assert_array_equal(weight, named_weights(classifier.network)[path])
    said = capsys.readouterr().err
    assert "goes on after" not in said
    assert ("WARNING: trained anew, as a checkpoint is damaged" in said) == (what == "damage")


def test_nothing_is_left_when_the_stage_is_done() -> None:
    params = small_params()
    checkpoints = Checkpoints("stage", params, [INPUT])
    train_small_cnn(params, lambda *_: None, checkpoints)
    assert list((FOLDER / "stage").iterdir()) == [FOLDER / "stage/cnn.npz"]
    checkpoints.remove()
    assert not FOLDER.exists()
