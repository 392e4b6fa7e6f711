"""Write a network to a file that other programs run: ONNX, a SavedModel, or TensorFlow Lite.

The file takes images as they are, uint8 [n, side, side, 3], and gives probabilities; mirror images
and the temperature are inside. It is kept only if it answers as the original does (docs/export.md).

    python -m stages export --format tflite                   # the champion, or the best model
    python -m stages export --format onnx --model mobilenet --output mobilenet.onnx
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stages.commands.asked_model import add_model, asked_model

if TYPE_CHECKING:
    import numpy as np

FOLDER = Path("exported")
COMPARED = 20  # images


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from stages.models.exporting import FORMATS

    parser.add_argument("--format", choices=list(FORMATS), required=True)
    add_model(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help=f"the file, of saved_model a folder (default: in {FOLDER}/, by the model's kind)",
    )


def run(options: argparse.Namespace) -> None:
    """Load the model, write the file, compare the two.

    Raises:
        UserError: packages are missing, there is no such network, or the file is not as it.
    """
    from stages.models import exporting

    exporting.check_packages(options.format)
    model = asked_model(options)
    kind = getattr(model, "kind", "baseline")
    path = options.output or FOLDER / f"{kind}{exporting.FORMATS[options.format].suffix}"
    images, what = _images(model.photo_size)
    found = exporting.export(model, path, options.format, images)
    print(
        f"{path}: answers as the original on {what}; the largest difference of a probability is "
        f"{found.largest:.1e}"
    )


def _images(side: int) -> tuple["np.ndarray", str]:
    """Images to compare by, uint8 [n, side, side, 3], and what they are."""
    import numpy as np

    from stages.data.files import read_arrays
    from stages.data.splits import split_path

    path = split_path("validation")
    if path.exists():
        images = read_arrays(path)["images"][:COMPARED]
        if images.shape[1] == side:
            return images, f"{len(images)} validation images"
    shape = (COMPARED, side, side, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return noise, f"{COMPARED} images of noise, as there are no validation images of its size"
