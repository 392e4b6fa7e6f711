"""What people feed a model: images that it takes, or one sentence, from every model and MLflow."""

import base64
import re
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from stages.data.errors import UserError
from stages.models.baseline import LeastSquaresClassifier
from stages.models.images import checked_images
from stages.models.loading import load_model
from stages.models.photo_predictions import predictions_of
from stages.models.storage import Classifier, save_model
from stages.tracking.served_model import ServedModel

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
    with pytest.raises(MlflowException, match="allowed: ") as refused:
        ServedModel(model).predict({"images": images})
    assert refused.value.get_http_status_code() == 400
    assert "\n" not in refused.value.message


def test_images_as_they_should_be_are_passed_on_unchanged(model: Classifier) -> None:
    assert checked_images(IMAGES, 32) is IMAGES
    assert model.predict(IMAGES).shape == (3, 2)


def test_a_served_model_takes_photos_as_tables_lists_and_base64_and_says_what_predict_does(
    model: Classifier,
) -> None:
    files = [BytesIO() for _ in IMAGES]
    for image, file in zip(IMAGES, files, strict=True):
        Image.fromarray(image).save(file, "PNG")
    contents = [file.getvalue() for file in files]
    expected = [said.row for said in predictions_of(model, IMAGES)]
    served = ServedModel(model)
    for given in (
        pd.DataFrame({"image": contents}),
        {"image": contents},
        contents,
        [bytearray(each) for each in contents],
        [base64.b64encode(each).decode() for each in contents],
    ):
        assert served.predict(given).to_dict("records") == expected
    assert served.predict(contents[0]).to_dict("records")[0].keys() == expected[0].keys()
    many = served.predict(contents * 50)  # more than are held at once
    assert many["prediction"].tolist() == [row["prediction"] for row in expected] * 50


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"photos": IMAGES}, "there is no column `image`, but photos; allowed: a column `image`"),
        (None, "a NoneType is not allowed; allowed: a column `image`"),
        ([], "there is no photo; allowed: a column `image`"),
        (IMAGES, "image 0 is a ndarray; allowed: the bytes of a photo's file"),
        ([b"hello"], "image 0 is no photo of a format that is known"),
        ([None], "image 0 is a NoneType; allowed: the bytes of a photo's file"),
    ],
)
def test_what_are_no_photos_a_served_model_refuses_in_one_sentence(
    model: Classifier, given: object, said: str
) -> None:
    with pytest.raises(MlflowException) as refused:
        ServedModel(model).predict(given)
    assert refused.value.message.startswith(said)
    assert refused.value.get_http_status_code() == 400


@pytest.mark.parametrize(("limit", "expected"), [(0.6, True), (0.9, False), (None, False)])
def test_a_prediction_is_sure_from_the_models_own_limit_on(
    *, limit: float | None, expected: bool
) -> None:
    classifier = LeastSquaresClassifier(
        ["car", "truck"], np.zeros((1024, 2)), np.array([0.5, -0.5]), 32, sure_from=limit
    )
    (said,) = predictions_of(classifier, IMAGES[:1])
    assert (said.prediction, said.sure) == ("car", expected)
    assert said.shown == ("car" if expected else "not sure")
    assert said.probability == max(said.probabilities.values())
