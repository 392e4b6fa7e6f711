"""Train the small CNN by the recipe that `cnn.recipe` names.

Reads the section `cnn` of params.yaml and the splits train and validation.
Writes data/models/cnn.npz, metrics/train_cnn.json, its learning curves, and pictures of the first
layer's filters and of the responses to a sample image.
"""

from pathlib import Path

import numpy as np

from stages.data.files import write_csv, write_json
from stages.data.splits import read_split
from stages.figures.drawing import image_grid, save_figure, to_unit_range
from stages.models.cnn import first_filters, response_maps, train_cnn
from stages.models.storage import save_model
from stages.statistics.classification import classification_metrics
from stages.tracking.run import track_stage
from stages.workflow.command import run_stage
from stages.workflow.params import read_params

MODEL = Path("data/models/cnn.npz")
METRICS = Path("metrics/train_cnn.json")
CURVES = Path("metrics/train_cnn_curves.csv")
FILTERS = Path("metrics/figures/cnn_filters.png")
RESPONSES = Path("metrics/figures/cnn_responses.png")
COLUMNS = 16


def main() -> None:
    """Read, train, measure, write, draw."""
    params = read_params()
    classes: list[str] = [*params.data.classes]
    with track_stage("train_cnn") as tracker:
        training, validation = read_split("train"), read_split("validation")
        classifier, curves = train_cnn(
            training, validation, classes, params.cnn.chosen, params.cnn.seed, tracker.log_epoch
        )
        save_model(MODEL, classifier)
        write_csv(CURVES, curves)
        measured = {
            name: classification_metrics(split.labels, classifier.predict(split.images))
            for name, split in (("train", training), ("validation", validation))
        }
        write_json(METRICS, measured)
        draw_filters(first_filters(classifier.network))
        draw_responses(
            validation.images[0], response_maps(classifier.network, validation.images[0])
        )


def draw_filters(filters: np.ndarray) -> None:
    """Draw the filters of the first layer, float [n, height, width, channels]."""
    stretched = to_unit_range(filters)
    pictures = stretched if stretched.shape[-1] == 3 else stretched[..., 0]
    rows = [pictures[start : start + COLUMNS] for start in range(0, len(pictures), COLUMNS)]
    title = "CNN: filters of the first layer, each stretched to the full range"
    save_figure(FILTERS, image_grid(rows, [""] * len(rows), title))


def draw_responses(image: np.ndarray, maps: dict[str, np.ndarray]) -> None:
    """Draw an image and what the first filters of each convolution answer to it."""
    rows = [image[None], *(responses[:COLUMNS] for responses in maps.values())]
    title = f"CNN: responses of the first {COLUMNS} filters of each layer to one image"
    save_figure(RESPONSES, image_grid(rows, ["image", *maps], title))


if __name__ == "__main__":
    run_stage(main)
