"""A network in a file that other programs run: photos in, probabilities out, no code of ours.

Keras writes all formats (`keras.Model.export`); ONNX by the packages tf2onnx and onnx.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.data.errors import UserError
from stages.models.storage import Classifier

if TYPE_CHECKING:
    from stages.models.network import NetworkClassifier

Run = Callable[[np.ndarray], np.ndarray]
LARGEST_DIFFERENCE = 1e-3  # of a probability; on the test images 2e-5 was seen (docs/export.md)
BATCH = 10  # images that a runtime is given at once, as many as the original network
ABOUT = "about.json"
SAVED_MODEL = "saved_model.pb"  # each folder of a SavedModel has it


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        suffix: of their names; empty for a folder.
        keras_name: what `keras.Model.export` calls it.
        packages: that it needs beside TensorFlow; `make scale` installs them.
    """

    suffix: str
    keras_name: str
    packages: tuple[str, ...] = ()


FORMATS = {
    "onnx": Format(".onnx", "onnx", ("tf2onnx", "onnx", "onnxruntime")),
    "saved_model": Format("", "tf_saved_model"),
    "tflite": Format(".tflite", "litert"),
}


@dataclass(frozen=True)
class Difference:
    """How far probabilities are from those of the original.

    Attributes:
        largest: of any probability.
        changed: images of which the class is another.
        images: how many were compared.
    """

    largest: float
    changed: int
    images: int


def check_packages(name: str) -> None:
    """Refuse a format whose packages are missing.

    Raises:
        UserError: they are; how to install them.
    """
    needed = FORMATS[name].packages
    if missing := [each for each in needed if importlib.util.find_spec(each) is None]:
        listed = ", ".join(missing)
        raise UserError(f"--format {name}: not installed: {listed}; `make scale` installs it")


def export(classifier: Classifier, path: Path, name: str, images: np.ndarray) -> Difference:
    """Write a network to a file, or a folder; what is there already is replaced, whole or not.

    Args:
        classifier: a network.
        path: with the suffix of the format.
        name: of the format, one of `FORMATS`.
        images: uint8 [n, photo_size, photo_size, 3], on which the file is compared with the
            original before it is kept.

    Raises:
        UserError: the model is no network, packages are missing, the file cannot be written, or
            does not answer as the original.
    """
    network = _network_of(classifier)
    check_packages(name)
    from stages.models.portable_network import whole_network

    kind = FORMATS[name]
    if kind.suffix and path.suffix != kind.suffix:
        raise UserError(f"--output {path}: the name of such a file ends in {kind.suffix}")
    with _beside(path) as scratch:
        made = scratch / path.name
        with warnings.catch_warnings(action="ignore"):  # of what Keras mends in tf2onnx
            whole_network(network).export(str(made), format=kind.keras_name, **_options(name))
        _describe(made, name, about(network))
        found = difference(opened(made, name), classifier, images)
        if found.changed or found.largest > LARGEST_DIFFERENCE:
            raise UserError(
                f"{path}: not written: {found.changed} of {found.images} images change their "
                f"class, the largest difference of a probability is {found.largest:.1e}; allowed: "
                f"0 and {LARGEST_DIFFERENCE:g}"
            )
        _put(made, path)
    return found


def _network_of(classifier: Classifier) -> "NetworkClassifier":
    """The network's classifier behind its check of images.

    Raises:
        UserError: it is no network.
    """
    if not hasattr(classifier, "network"):
        what = "least squares is no network, but 1,024 weights a class in an .npz file"
        raise UserError(f"--model: {what}; allowed: cnn, mobilenet, or the file of one")
    network: Any = classifier
    return network  # type: ignore[no-any-return]


def _options(name: str) -> dict[str, Any]:
    """Of Keras's exporter."""
    from stages.models.network import tf

    if name != "tflite":
        return {"verbose": False}
    # Nothing that only a runtime with all of TensorFlow has.
    builtins = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return {"verbose": False, "target_spec": {"supported_ops": builtins}}


def about(classifier: "NetworkClassifier") -> dict[str, Any]:
    """What whoever runs the file has to know."""
    return {
        "classes": classifier.classes,
        "photo_size": classifier.photo_size,
        "sure_from": classifier.sure_from,
        "input": "images, uint8 [n, photo_size, photo_size, 3], RGB, photos resized bicubically",
        "output": "probabilities, float32 [n, classes]",
    }


def _describe(made: Path, name: str, told: dict[str, Any]) -> None:
    """Say in the file, or else beside it, what it is."""
    if name == "onnx":
        import onnx

        model = onnx.load(made)
        onnx.helper.set_model_props(model, {key: json.dumps(told[key]) for key in told})
        onnx.save(model, made)
        return
    # A SavedModel has a place for files of users.
    is_folder = name == "saved_model"
    place = made / "assets.extra" / ABOUT if is_folder else made.with_suffix(".json")
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def opened(path: Path, name: str) -> Run:
    """What runs a file: from images uint8 [n, side, side, 3] to probabilities [n, classes]."""
    if name == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        given = session.get_inputs()[0].name
        return lambda images: np.asarray(session.run(None, {given: images})[0])
    from stages.models.network import quiet, tf

    if name == "saved_model":
        loaded = tf.saved_model.load(str(path))
        return lambda images: np.asarray(loaded.serve(images))
    # It tells that TensorFlow will leave it to a package of its own, and how it computes.
    with quiet(), warnings.catch_warnings(action="ignore"):
        interpreter = tf.lite.Interpreter(str(path), num_threads=os.cpu_count())
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
    (given,), (told,) = runner.get_input_details(), runner.get_output_details()
    return lambda images: np.array(runner(**{given: images})[told])


def in_batches(run: Run, images: np.ndarray) -> np.ndarray:
    """What a file says of many images, [n, classes]."""
    return np.concatenate([run(images[at : at + BATCH]) for at in range(0, len(images), BATCH)])


def difference(run: Run, classifier: Classifier, images: np.ndarray) -> Difference:
    """How far a file is from the original, on images uint8 [n, photo_size, photo_size, 3]."""
    given, wanted = in_batches(run, images), classifier.predict(images)
    changed = int((given.argmax(axis=1) != wanted.argmax(axis=1)).sum())
    return Difference(float(np.abs(given - wanted).max()), changed, len(images))


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A folder beside `path` to write to, which is gone when the block ends.

    Raises:
        UserError: nothing can be written there.
    """
    scratch = path.with_name(f".{path.name}.partial")
    try:
        shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
        scratch.mkdir(parents=True)
        yield scratch
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error}); free space or fix rights") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put(made: Path, path: Path) -> None:
    """Put what was made, and what describes it, in its place.

    Raises:
        UserError: there is a folder that is no SavedModel.
    """
    beside = made.with_suffix(".json")
    if beside.exists():
        beside.replace(path.with_suffix(".json"))
    if path.is_dir():
        if not (path / SAVED_MODEL).exists():
            raise UserError(f"--output {path}: is a folder with other files; name a new one")
        path.replace(made.with_name("before"))
    made.replace(path)
