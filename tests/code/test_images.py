"""What people feed a model: images that it takes, or one sentence, from every model and MLflow."""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.scoring_server import invocations

from stages.data.errors import UserError
from stages.models.baseline import LeastSquaresClassifier
from stages.models.images import checked_images
from stages.models.loading import load_model
from stages.models.storage import Classifier, save_model
from stages.tracking.served_model import ServedModel, signature_of

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
WRONG = {
    "in [0, 1]": (IMAGES / 255, "float64 [3, 32, 32, 3] from 0 to 1", "(images * 255).round()"),
    "whole floats": (IMAGES.astype("f4"), "float32 [3, 32, 32, 3] from 0 to 255", "np.uint8"),
    "other whole numbers": (IMAGES.astype("i8"), "int64 [3, 32, 32, 3] from 0 to 255", "np.uint8"),
    "not a number": (np.full(IMAGES.shape, np.nan), "float64 [3, 32, 32, 3]", "none missing"),
    "true or false": (IMAGES > 100, "bool [3, 32, 32, 3]", "whole numbers from 0 to 255"),
    "text": (np.full(IMAGES.shape, "a"), "<U1 [3, 32, 32, 3]", "whole numbers from 0 to 255"),
    "one image": (IMAGES[0], "uint8 [32, 32, 3]", "images[None]"),
    "RGBA": (np.zeros((3, 32, 32, 4), np.uint8), "uint8 [3, 32, 32, 4]", "images[..., :3]"),
    "large": (np.zeros((3, 224, 224, 3), np.uint8), "uint8 [3, 224, 224, 3]", "32 x 32 pixels"),
    "gray": (IMAGES[..., 0], "uint8 [3, 32, 32]", "red, green and blue"),
    "channels first": (IMAGES.transpose(0, 3, 1, 2), "uint8 [3, 3, 32, 32]", "32 x 32 pixels"),
    "none": (IMAGES[:0], "uint8 [0, 32, 32, 3]", "at least one"),
    "a number": (np.array(1), "int64 []", "32 x 32 pixels"),
    "a list": (IMAGES.tolist(), "a list", "np.array(images, np.uint8)"),
    "nothing": (None, "a NoneType", "np.array"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    path = tmp_path_factory.mktemp("models") / "baseline.npz"
    weights, classes = np.zeros((1024, 2)), ["automobile", "truck"]
    save_model(path, LeastSquaresClassifier(classes, weights, np.array([0.5, -0.5]), photo_size=32))
    return load_model(Path(path))


@pytest.mark.parametrize(("images", "given", "todo"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_batch_of_images_is_told_in_one_sentence(
    model: Classifier, images: np.ndarray, given: str, todo: str
) -> None:
    for ask in (model.predict, model.scores, partial(checked_images, side=32)):
        with pytest.raises(UserError, match=f"^images: {re.escape(given)} is not allowed") as told:
            ask(images)
        assert todo in str(told.value)
        assert "allowed: an array uint8 [n, 32, 32, 3]" in str(told.value)
    with pytest.raises(MlflowException) as refused:
        ServedModel(model).predict({"images": images})
    assert refused.value.message == str(told.value)
    assert refused.value.get_http_status_code() == 400


def test_numbers_in_0_to_1_that_mlflow_has_cut_to_whole_ones_are_refused(model: Classifier) -> None:
    """A signature of uint8 has its server do so with JSON, and the answer would be a wrong one."""
    served = PyFuncModel(Model(signature=signature_of(2)), ServedModel(model))
    request = json.dumps({"inputs": {"images": (IMAGES / 255).tolist()}})
    with pytest.raises(MlflowException, match="no value is above 1") as refused:
        invocations(request, "application/json", served, signature_of(2).inputs)
    assert refused.value.get_http_status_code() == 400
    whole = json.dumps({"inputs": {"images": IMAGES.tolist()}})
    answer = invocations(whole, "application/json", served, signature_of(2).inputs)
    assert answer.status == 200
    predictions = json.loads(answer.response)["predictions"]
    np.testing.assert_allclose(predictions, model.predict(IMAGES))


def test_images_as_they_should_be_are_passed_on_unchanged(model: Classifier) -> None:
    assert checked_images(IMAGES, 32) is IMAGES
    assert model.predict(IMAGES).shape == (3, 2)
    np.testing.assert_array_equal(
        ServedModel(model).predict({"images": IMAGES}), model.predict(IMAGES)
    )
    np.testing.assert_array_equal(ServedModel(model).predict(IMAGES), model.predict(IMAGES))
    with pytest.raises(MlflowException, match=r"^images: a NoneType"):
        ServedModel(model).predict({"photos": IMAGES})
