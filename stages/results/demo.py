"""What the page of `make demo` tells of a photo: each model's prediction, and what decides."""

import base64
import sys
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from stages.data.errors import UserError
from stages.data.photos import read_photo
from stages.data.progress import untold
from stages.models.names import MODELS
from stages.models.photo_predictions import PhotoPrediction, predictions_of
from stages.models.storage import Classifier
from stages.tracking import environment, tags
from stages.tracking.views import run_link
from stages.tracking.wanted_model import wanted_model
from stages.workflow.revisions import SHORT

EXPLAINED = "mobilenet"
DOTS_PER_INCH = 300  # of the evidence: 288 dots
MLFLOW = "http://127.0.0.1:5000"  # where `make ui` serves its pages


@dataclass(frozen=True)
class DemoModel:
    """A model of the workspace, and what is known of it.

    Attributes:
        name: of the model, one of `MODELS`.
        classifier: the model.
        md5: of its file.
        run: address of the page of the run that made it; empty if none is known.
        revision: commit that was checked out when it was made; empty if that is not known.
    """

    name: str
    classifier: Classifier
    md5: str
    run: str
    revision: str

    @property
    def title(self) -> str:
        """As in tables and pictures."""
        return MODELS[self.name].title


def loaded_models() -> list[DemoModel]:
    """The models of the workspace, each after its first prediction; what is missing is told.

    Raises:
        UserError: none is there.
    """
    found, missing = [], []
    for name in MODELS:
        try:
            classifier, known = wanted_model(name)
        except UserError as error:
            missing.append(f"WARNING: {name} is left out: {error}")
            continue
        side = classifier.photo_size
        predictions_of(
            classifier, np.zeros((1, side, side, 3), np.uint8)
        )  # the first takes longest
        found.append(DemoModel(name, classifier, known["md5"], *_origin(**known)))
    if not found:
        raise UserError("there is no model to ask; `make repro` makes the three")
    print(*missing, sep="\n", end="\n" if missing else "", file=sys.stderr)
    return found


def _origin(path: str, md5: str) -> tuple[str, str]:
    """Address of the run that made a file, and the commit of then; each empty if not known."""
    if not (environment.URI_OF_USER or environment.database_path().exists()):
        return "", ""
    from stages.tracking.store import find_runs, speaking_to_mlflow

    try:
        with speaking_to_mlflow():
            runs = find_runs({f"{tags.OUT}{path}": md5}, 1)
    except UserError as error:
        print(f"WARNING: the run of {path} is not known: {error}", file=sys.stderr)
        return "", ""
    if not runs:
        return "", ""
    has_pages = environment.URI_OF_USER.startswith("http")
    address = environment.shown_uri().rstrip("/") if has_pages else MLFLOW
    return run_link(address, runs[0]), runs[0].data.tags.get(tags.COMMIT, "")[:SHORT]


class Demo:
    """The models, ready to be shown photos one at a time."""

    def __init__(self, models: list[DemoModel]) -> None:
        """Hold the models."""
        self._models = models
        explained = [each.classifier for each in models if each.name == EXPLAINED]
        self._maps = _EvidenceMaps(explained[0]) if explained else None

    def say(self, content: bytes) -> dict[str, Any]:
        """What each model says of a photo, as JSON can hold it; pictures as addresses `data:…`.

        Args:
            content: of the photo's file.

        Raises:
            UserError: it is no photo: a clause that follows its name.
        """
        sides = {each.classifier.photo_size for each in self._models}
        photos = {side: read_photo(content, side) for side in sides}
        said = {
            each.name: predictions_of(each.classifier, photos[each.classifier.photo_size][None])[0]
            for each in self._models
        }
        told: dict[str, Any] = {"models": {name: _told(each) for name, each in said.items()}}
        side = max(sides)
        seen = Image.fromarray(photos[side])
        told["photo"] = {"side": side, "picture": _png(seen.save, format="PNG")}
        if self._maps:
            told["evidence"] = self._maps.told(photos[self._maps.photo_size], said[EXPLAINED])
        return told


def _told(said: PhotoPrediction) -> dict[str, Any]:
    ranked = sorted(said.probabilities.items(), key=lambda each: -each[1])
    return {"shown": said.shown, "sure": said.sure, "ranked": ranked}


class _EvidenceMaps:
    """Where MobileNet sees what; see `stages.models.features.evidence`."""

    def __init__(self, classifier: Any) -> None:
        """Make the part of the network once: that takes longer than a photo."""
        from stages.models.features import last_convolution

        self._classes, self._network = classifier.classes, classifier.network
        self.photo_size = classifier.photo_size
        self._maps = last_convolution(self._network)
        self._of(np.zeros((self.photo_size, self.photo_size, 3), np.uint8), 0)

    def told(self, photo: np.ndarray, said: PhotoPrediction) -> dict[str, Any]:
        """The picture, and what speaks for what in it."""
        from stages.figures.evidence import evidence_picture

        label = self._classes.index(said.prediction)
        figure = evidence_picture(photo, self._of(photo, label))
        others = "the other classes"
        two = len(self._classes) == 2
        return {
            "picture": _png(figure.savefig, format="png", dpi=DOTS_PER_INCH),
            "for": self._classes[1] if two else said.prediction,
            "against": self._classes[0] if two else others,
        }

    def _of(self, photo: np.ndarray, label: int) -> np.ndarray:
        from stages.models.features import evidence
        from stages.models.network import predict_in_batches

        with untold():
            maps = predict_in_batches(self._maps, photo[None])
        of_class: np.ndarray = evidence(self._network, maps, np.array([label]))[0]
        return of_class


def _png(save: Any, **options: Any) -> str:
    """A picture as an address that holds it."""
    file = BytesIO()
    save(file, **options)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
