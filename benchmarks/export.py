"""What becomes of the networks in other formats: do they answer the same, how large, how fast.

    python -m benchmarks.export    # about five minutes; writes export.json, `make readme` the table

Each file is compared with the original on all test images. All run in this process on all cores,
ten images at a time (the original two such batches at once), after a few that do not count; the
original first and last, as others may use the machine. Formats whose packages are missing are left
out, and told.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import measured_on, write_benchmark
from stages.data.errors import UserError
from stages.data.files import read_arrays
from stages.models.exporting import FORMATS, check_packages, export, in_batches, opened
from stages.models.loading import load_model
from stages.models.names import MODELS
from stages.models.storage import Classifier

RESULT = Path(__file__).with_suffix(".json")
NETWORKS = ("cnn", "mobilenet")
TIMED = 500  # images
LIBRARIES = ("tensorflow", "keras")


def main() -> None:
    """Measure, and write what was found."""
    test = read_arrays(Path("data/prepared/test.npz"))["images"]
    result: dict[str, Any] = {**measured_on(), "images": len(test), "timed": TIMED}
    result["load_average_before"] = os.getloadavg()[0]
    result["packages"] = {name: version(name) for name in LIBRARIES}
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            path = Path(MODELS[name].path)
            classifier = load_model(path)
            before = timed(classifier.predict, test)
            files = {
                kind: measured(
                    classifier, Path(folder) / f"{name}{FORMATS[kind].suffix}", kind, test
                )
                for kind in FORMATS
                if is_here(kind, result["packages"])
            }
            after = timed(classifier.predict, test)
            size = {"megabytes": path.stat().st_size / 1e6}
            result[name] = {
                "original": min(before, after, key=itemgetter("ms_an_image")) | size,
                **files,
            }
            print(name, json.dumps(result[name]), flush=True)
    write_benchmark(RESULT, result, export=table(result))


def table(result: dict[str, Any]) -> dict[str, Any]:
    """As it stands in the docs."""
    rows = []
    for name in NETWORKS:
        for kind, measured in result[name].items():
            difference = measured.get("largest_difference_in_millionths")
            compared = difference is not None
            rows.append(
                [
                    MODELS[name].title,
                    kind,
                    f"{difference / 1e6:.1e}" if compared else "–",
                    f"{measured['changed_classes']:,}" if compared else "–",
                    f"{measured['megabytes']:.2f}",
                    f"{measured['ms_an_image']:.1f}",
                    f"{measured['cpu_ms_an_image']:.1f}",
                ]
            )
    header = ["network", "format", "largest difference of a probability", "changed classes"]
    header += ["MB", "ms an image", "ms of a core"]
    caption = f"Compared with the original on {result['images']:,} test images"
    return {"caption": caption, "header": header, "rows": rows, "words": [1]}


def is_here(kind: str, packages: dict[str, str]) -> bool:
    """Whether the packages of a format are installed; their versions are noted."""
    try:
        check_packages(kind)
    except UserError as error:
        print(error, file=sys.stderr)
        return False
    packages |= {name: version(name) for name in FORMATS[kind].packages}
    return True


def measured(classifier: Classifier, path: Path, kind: str, images: np.ndarray) -> dict[str, float]:
    """Of a file: how far it is from the original, its size, its time."""
    found = export(classifier, path, kind, images)
    run = opened(path, kind)
    parts = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return {
        # Not rounded to six decimals, as JSON is here: it would be nothing.
        "largest_difference_in_millionths": 1e6 * found.largest,
        "changed_classes": found.changed,
        "megabytes": sum(each.stat().st_size for each in parts) / 1e6,
        **timed(lambda given: in_batches(run, given), images),
    }


def timed(predict: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> dict[str, float]:
    """Milliseconds that an image takes, by the clock and of a core."""
    predict(images[:20])
    began, used = time.perf_counter(), time.process_time()
    predict(images[:TIMED])
    ended, done = time.perf_counter(), time.process_time()
    return {
        "ms_an_image": 1000 * (ended - began) / TIMED,
        "cpu_ms_an_image": 1000 * (done - used) / TIMED,
    }


if __name__ == "__main__":
    main()
