"""A photo that is not square: is its centre shown to the models, or all of it, squashed?

How the training photos of CIFAR-10 became squares is not known here, so both are supposed, and a
photo of 4:3 is made of each test image: if they were squashed, by stretching it; if they were
centres, by reflecting its edges. Each is then brought to a square in both ways.

    python -m benchmarks.centre_or_whole
"""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import measured_on
from stages.data.files import read_arrays, write_json
from stages.data.resizing import square
from stages.models.loading import load_model
from stages.models.names import MODELS

RESULT = Path(__file__).with_suffix(".json")
SIDE, WIDTH = 32, 43  # pixels; of a photo of 4:3
LEFT = (WIDTH - SIDE) // 2


def stretched(image: np.ndarray) -> np.ndarray:
    """The photo that was squashed, uint8 [32, 43, 3]."""
    return np.asarray(Image.fromarray(image).resize((WIDTH, SIDE), Image.Resampling.BICUBIC))


def extended(image: np.ndarray) -> np.ndarray:
    """A photo of which this is the centre, uint8 [32, 43, 3]."""
    return np.pad(image, ((0, 0), (LEFT, WIDTH - SIDE - LEFT), (0, 0)), mode="symmetric")


def whole(photo: np.ndarray) -> np.ndarray:
    """All of it, squashed, uint8 [32, 32, 3]."""
    return np.asarray(square(Image.fromarray(photo), SIDE))


def centre(photo: np.ndarray) -> np.ndarray:
    """Its centre, uint8 [32, 32, 3]."""
    return photo[:, LEFT : LEFT + SIDE]


def main() -> None:
    """Measure the accuracy of both networks in the four cases."""
    test = read_arrays(Path("data/prepared/test.npz"))
    result: dict[str, object] = {**measured_on(), "test_images": len(test["labels"])}
    for name in ("cnn", "mobilenet"):
        model = load_model(Path(MODELS[name].path))
        result[name] = {
            f"{photo_of.__name__}_{shown.__name__}": float(
                np.mean(
                    model.predict(
                        np.stack([shown(photo_of(each)) for each in test["images"]])
                    ).argmax(axis=1)
                    == test["labels"]
                )
            )
            for photo_of in (stretched, extended)
            for shown in (whole, centre)
        }
        print(name, result[name], flush=True)
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
