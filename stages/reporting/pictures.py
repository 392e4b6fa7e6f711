"""The pictures in metrics/figures/, each with what it shows, in groups; unknown ones come last."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from stages.data.errors import UserError
from stages.reporting.reading import REMEDY
from stages.reporting.tables import NOUNS

FOLDER = Path("metrics/figures")


@dataclass(frozen=True)
class Picture:
    """A picture, with everything that a page needs to show it.

    Attributes:
        name: of its file.
        caption: what a reader sees below it.
        description: what is to be seen, for who cannot see it.
        width: in pixels.
        height: in pixels.
        address: the picture itself, as a data URL.
    """

    name: str
    caption: str
    description: str
    width: int
    height: int
    address: str


@dataclass(frozen=True)
class PictureGroup:
    """Pictures that belong together.

    Attributes:
        key: names the group, as in links.
        title: heading of the group.
        pictures: at least one.
    """

    key: str
    title: str
    pictures: list[Picture]


# By the name of a file: caption, and description for who cannot see the picture.
Words = dict[str, tuple[str, str]]


def _of_each_model(name: str, caption: str, description: str) -> Words:
    return {
        f"{model}_{name}.png": (caption.format(noun), description.format(noun))
        for model, noun in NOUNS.items()
    }


_LEARNING: Words = {
    f"{model}_learning_curves.png": (
        f"Learning curves of {NOUNS[model]}, whose weights are those of the last epoch.",
        f"Loss and accuracy of {NOUNS[model]} by epoch, on training and on validation images.",
    )
    for model in ("cnn", "mobilenet")
}
_COMPARISON: Words = {
    "accuracy.png": (
        "Accuracy of each model; whether two differ on the same images says the comparison.",
        "The accuracy of each model with its interval; the numbers are in the table of accuracies.",
    ),
    "roc_pr.png": (
        "Each point is a threshold; the nearer a curve comes to the corner, the better.",
        "Of each model the ROC curve and the precision-recall curve, their good corners enlarged.",
    ),
    "confusion.png": (
        "A row is an actual class, a column an answer: on the diagonal they are the same.",
        "For each model a matrix that counts test images by actual class and by answer.",
    ),
    "reliability.png": (
        "On the line a model is right as often as it says; below it, it is too sure.",
        "For each model accuracy against confidence, and below it the share of images by it.",
    ),
    "score_histograms.png": (
        "The less the classes overlap, the better; the axis of counts is logarithmic.",
        "For each model a histogram of its probabilities, by actual class.",
    ),
    "robustness.png": (
        "The dotted lines are the accuracies on the unchanged images.",
        "The accuracy of each model by change; the numbers are in the table of robustness.",
    ),
}
_MISTAKES: Words = {
    "disagreements.png": (
        "Test images whose label all models contradict: hard ones, or wrong labels.",
        "A grid of test images, each with its label and the answer that all models agree on.",
    ),
    **_of_each_model(
        "mistakes",
        "Mistakes of {}, the surest first.",
        "A grid of test images, each with its label and the wrong answer of {}.",
    ),
    **_of_each_model(
        "unsure",
        "Right answers of {}, the least sure first.",
        "A grid of test images that {} barely answers rightly, each with how sure it is.",
    ),
}
_EXPLANATIONS: Words = {
    "mobilenet_evidence.png": (
        "What MobileNetV2 goes by, in its surest mistakes and its surest right answers.",
        "Test images, each beside its gray copy with the evidence for a class laid over in color.",
    ),
    "feature_map.png": (
        "What MobileNetV2 finds similar lies close together; its mistakes are ringed.",
        "Test images as points in the plane of two principal components; mistakes are ringed.",
    ),
    "baseline_weights.png": (
        "Weights of the least-squares baseline, one for each pixel.",
        "The weights of the baseline as a gray image of 32×32 pixels.",
    ),
    "cnn_filters.png": (
        "Filters of the first convolution of the CNN.",
        "A grid of the learned filters, each a small image.",
    ),
    "cnn_responses.png": (
        "Responses of the CNN's first filters.",
        "For some images, maps of how strongly filters respond at each place.",
    ),
}
_DATA: Words = {
    "samples.png": (
        "Training images.",
        "A row of training images of each class, 32×32 pixels each.",
    ),
    "label_issues.png": (
        "Training images with doubtful labels; odd views are among them as well as wrong labels.",
        "A grid of images, each with its label and the class that is suggested instead.",
    ),
}
GROUPS: dict[str, tuple[str, Words]] = {
    "learning": ("Learning", _LEARNING),
    "comparison": ("Comparison", _COMPARISON),
    "mistakes": ("Mistakes and doubts", _MISTAKES),
    "explanations": ("What the models look at", _EXPLANATIONS),
    "data": ("Data", _DATA),
}


def gather_pictures(folder: Path = FOLDER) -> list[PictureGroup]:
    """Read all PNG files of a folder, in groups; of a group without pictures there is nothing.

    Raises:
        UserError: a file is no PNG.
    """
    waiting = {path.name: path for path in sorted(folder.glob("*.png"))}
    groups = []
    for key, (title, words) in GROUPS.items():
        found = [
            _read(waiting.pop(name), caption, description)
            for name, (caption, description) in words.items()
            if name in waiting
        ]
        groups.append(PictureGroup(key, title, found))
    others = [_read(path, name, f"The picture {name}") for name, path in waiting.items()]
    groups.append(PictureGroup("others", "More pictures", others))
    return [group for group in groups if group.pictures]


def _read(path: Path, caption: str, description: str) -> Picture:
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            width, height = picture.size
            picture.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: is no picture that can be read ({error}); {REMEDY}") from error
    address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return Picture(path.name, caption, description, width, height, address)
