"""The pictures in metrics/figures/, each with what it shows, in groups; unknown ones come last."""

import base64
import io
import itertools
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stages.data.errors import UserError
from stages.models.names import MODELS

FOLDER = Path("metrics/figures")


@dataclass(frozen=True)
class Picture:
    """A picture for a page: itself as a data URL, and a description for who cannot see it."""

    caption: str
    description: str
    width: int
    height: int
    address: str


# By title of the group and name of the file, in which {name} is that of each model: caption, and
# description for who cannot see the picture.
GROUPS = {
    "Learning": {
        "{name}_learning_curves": (
            "Learning curves of {noun}, whose weights are those of the last epoch.",
            "Loss and accuracy of {noun} by epoch, on training and on validation images.",
        ),
    },
    "Comparison": {
        "accuracy": (
            "Accuracy of each model; whether two differ on the same images says the comparison.",
            "The accuracy of each model with its interval, as in the table of accuracies.",
        ),
        "roc_pr": (
            "Each point is a threshold; the nearer a curve comes to the corner, the better.",
            "Of each model the ROC and the precision-recall curve, their good corners enlarged.",
        ),
        "confusion": (
            "A row is an actual class, a column a prediction: on the diagonal they are the same.",
            "For each model a matrix that counts test images by actual and by predicted class.",
        ),
        "reliability": (
            "On the line a model is right as often as it says; below it, it is too sure.",
            "For each model accuracy against confidence, and below it the share of images by it.",
        ),
        "score_histograms": (
            "The less the classes overlap, the better; the axis of counts is logarithmic.",
            "For each model a histogram of its probabilities, by actual class.",
        ),
        "robustness": (
            "The dotted lines are the accuracies on the unchanged images.",
            "The accuracy of each model by change; the numbers are in the table of robustness.",
        ),
    },
    "Mistakes and doubts": {
        "disagreements": (
            "Test images whose label all models contradict: hard ones, or wrong labels.",
            "A grid of test images, each with its label and the class that all models agree on.",
        ),
        "{name}_mistakes": (
            "Mistakes of {noun}, the surest first.",
            "A grid of test images, each with its label and the wrong prediction of {noun}.",
        ),
        "{name}_unsure": (
            "Right predictions of {noun}, the least sure first.",
            "A grid of test images that {noun} barely gets right, each with how sure it is.",
        ),
    },
    "What the models look at": {
        "mobilenet_evidence": (
            "What MobileNetV2 goes by, in its surest mistakes and its surest right predictions.",
            "Test images, each beside its gray copy with the evidence for a class laid over.",
        ),
        "feature_map": (
            "What MobileNetV2 finds similar lies close together; its mistakes are ringed.",
            "Test images as points in the plane of two principal components; mistakes are ringed.",
        ),
        "baseline_weights": (
            "Weights of the least-squares baseline, one for each pixel.",
            "The weights of the baseline as a gray image of 32×32 pixels.",
        ),
        "cnn_filters": (
            "Filters of the first convolution of the CNN.",
            "A grid of the learned filters, each a small image.",
        ),
        "cnn_responses": (
            "Responses of the CNN's first filters.",
            "For some images, maps of how strongly filters respond at each place.",
        ),
    },
    "Data": {
        "samples": (
            "Training images.",
            "A row of training images of each class.",
        ),
        "label_issues": (
            "Training images with doubtful labels; odd views are among them and wrong labels.",
            "A grid of images, each with its label and the class that is suggested instead.",
        ),
    },
}


def gather_pictures() -> dict[str, list[Picture]]:
    """Read all pictures, by the title of their group; a group without pictures is left out.

    Raises:
        UserError: a file is no PNG.
    """
    waiting = {path.stem: path for path in sorted(FOLDER.glob("*.png"))}
    found: dict[str, list[Picture]] = {}
    for title, captions in GROUPS.items():
        for (stem, texts), model in itertools.product(captions.items(), MODELS.values()):
            # Without a {name} it is the same for all, and there for the first.
            if path := waiting.pop(stem.format(**vars(model)), None):
                texts_of_it = (text.format(**vars(model)) for text in texts)
                found.setdefault(title, []).append(_read(path, *texts_of_it))
    if waiting:
        found["More pictures"] = [
            _read(path, path.name, f"The picture {path.name}") for path in waiting.values()
        ]
    return found


def _read(path: Path, caption: str, description: str) -> Picture:
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            width, height = picture.size
            picture.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        what = f"is no picture that can be read ({error})"
        raise UserError(f"{path}: {what}; run `make repro`") from error
    address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return Picture(caption, description, width, height, address)
