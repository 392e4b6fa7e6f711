"""Where a training stands after each epoch, so that one that was interrupted goes on from there.

Keras's BackupAndRestore keeps weights and optimizer. The last bytes also depend on the order of the
images, on dropout and on the curves so far; with these a training that was interrupted ends with
the bytes of one that was not.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.data.errors import UserError
from stages.data.files import read_arrays, write_arrays
from stages.models.network import keras, tf

if TYPE_CHECKING:
    from stages.workflow.params import Params

FOLDER = Path("data/checkpoints")
STATE = "state.json"
LIBRARY, ROOMS = Path(__file__).parents[1], ("data", "models")  # with what a training computes


@dataclass(frozen=True)
class State:
    """What a checkpoint holds besides variables.

    Attributes:
        epochs: a row for each that is done (see `training.train`).
        generator: state of the random generator that draws the batches.
    """

    epochs: list[dict[str, float]]
    generator: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of a stage: a file for each of its trainings, written after each epoch.

    They are taken up by the same training alone: the same code and libraries, params and inputs.
    """

    def __init__(self, stage: str, params: "Params", inputs: Sequence[Path]) -> None:
        """Name the stage, all params, and the files that it reads."""
        self.folder = FOLDER / stage
        files = [(str(path), *_seen(path)) for path in inputs]
        sources = sorted(path for room in ROOMS for path in LIBRARY.glob(f"{room}/*.py"))
        code = [path.read_text(encoding="utf-8") for path in sources]
        versions = [np.__version__, keras.__version__, tf.__version__]
        content = json.dumps([params.model_dump(mode="json"), files, code, versions])
        self._key = hashlib.sha256(content.encode()).hexdigest()

    def read(self, network: keras.Model) -> State | None:
        """Bring a compiled network where it was after its last epoch, if it has been in training.

        Args:
            network: compiled by `training.compile_network`; its name is that of the training.
        """
        path = self._path(network)
        if not path.exists():
            return None
        try:
            arrays = read_arrays(path)
            state = json.loads(str(arrays.pop(STATE)))
        except (UserError, KeyError, ValueError) as error:
            print(f"WARNING: trained anew, as a checkpoint is damaged: {error}", file=sys.stderr)
            return None
        if state.pop("key") != self._key:
            return None
        for variable, array in zip(_variables(network), arrays.values(), strict=True):
            variable.assign(array)
        return State(**state)

    def write(self, network: keras.Model, state: State) -> None:
        """Keep where a network is after an epoch."""
        arrays = {str(n): variable.numpy() for n, variable in enumerate(_variables(network))}
        text = json.dumps({"key": self._key, **vars(state)})
        write_arrays(self._path(network), {**arrays, STATE: np.array(text)})

    def remove(self) -> None:
        """Leave nothing behind: the stage has its outputs."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # another stage's may be there
            FOLDER.rmdir()

    def _path(self, network: keras.Model) -> Path:
        return self.folder / f"{network.name}.npz"


def _variables(network: keras.Model) -> list[keras.Variable]:
    """All that changes in training: weights, statistics, seeds of dropout, the optimizer's own."""
    return [*network.variables, *network.optimizer.variables]


def _seen(path: Path) -> tuple[int, int]:
    """Size and time of a file; another one of the same name has others."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns
