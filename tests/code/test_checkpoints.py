"""A training that was interrupted goes on from its last epoch, and ends with the same bytes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.data.splits import Split
from stages.models.checkpoints import FOLDER, Checkpoints, State
from stages.models.cnn import train_cnn
from stages.models.network import NetworkClassifier, keras
from stages.models.storage import save_model
from stages.models.training import compile_network
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


def test_it_ends_with_the_bytes_of_one_that_was_not_interrupted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    params = small_params()
    checkpoints = Checkpoints("stage", params, [INPUT])
    classifier, curves = train_small_cnn(params, lambda *_: None, None)
    with pytest.raises(Interruption):
        train_small_cnn(params, interrupted(1), checkpoints)
    for told_before in (1, 3):  # epochs that are done: the second time all of them
        assert "goes on" not in capsys.readouterr().err
        told: list[int] = []
        again, curves_again = train_small_cnn(
            params, lambda epoch, _, told=told: told.append(epoch), checkpoints
        )
        assert f"cnn goes on after {told_before} of 3 epochs" in capsys.readouterr().err
        assert told == [1, 2, 3]  # also those before: a run in MLflow has them all
        pd.testing.assert_frame_equal(curves_again, curves, check_exact=True)
        for name, each in (("once", classifier), ("again", again)):
            save_model(Path(f"{name}.npz"), each)
        assert Path("again.npz").read_bytes() == Path("once.npz").read_bytes()
    assert list((FOLDER / "stage").iterdir()) == [FOLDER / "stage/cnn.npz"]
    checkpoints.remove()
    assert not FOLDER.exists()


@pytest.mark.parametrize("what", ["nothing", "params", "input", "damage"])
def test_what_belongs_to_another_training_or_is_damaged_is_not_taken_up(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    params = small_params()
    inputs = keras.Input((2,))
    network = keras.Model(inputs, keras.layers.Dense(1)(inputs), name="cnn")
    compile_network(network, params.cnn.default, 10)
    before = Checkpoints("stage", params, [INPUT])
    state = State([{"epoch": 1, "train_loss": 0.5}], np.random.default_rng(0).bit_generator.state)
    before.write(network, state)
    (kept,) = (FOLDER / "stage").iterdir()
    if what == "input":
        INPUT.write_text("something else")
    elif what == "damage":
        kept.write_bytes(kept.read_bytes()[:1000])
    elif what == "params":
        params = small_params(learning_rate=0.01)
    found = Checkpoints("stage", params, [INPUT]).read(network)
    assert found == (state if what == "nothing" else None)
    said = capsys.readouterr().err
    assert ("WARNING: trained anew, as a checkpoint is damaged" in said) == (what == "damage")
