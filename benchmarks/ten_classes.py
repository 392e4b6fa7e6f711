"""All ten classes of CIFAR-10, 50,000 training and 10,000 test images, by the same recipes.

    python -m benchmarks.ten_classes    # an hour on two slow cores; writes ten_classes.json

Runs `dvc exp run -S data.classes=all` in a clone of the last commit, with data/raw and DVC's cache
of this folder. Nothing was chosen for ten classes. MobileNetV2 sees 96 pixels, not 160, and the
audit 64, not 128, which takes a third of the time.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import measured_on, write_benchmark
from benchmarks.profile import prepare, watch
from stages.data.files import read_json
from stages.data.splits import SPLIT_NAMES
from stages.models.names import MODELS
from stages.results.text import ACCURACY, percent, with_interval

RESULT = Path(__file__).with_suffix(".json")
PARAMS = ("data.classes=all", "mobilenet.input_size=96", "audit.input_size=64")


def main() -> None:
    """Run the pipeline, write what it measured."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "project"
        prepare(clone)
        where = measured_on(clone)
        began = time.time()
        seen = watch(clone, "exp", "run", "--force", *(f"--set-param={each}" for each in PARAMS))
        total = time.time() - began
        metrics = {path.stem: read_json(path) for path in (clone / "metrics").glob("*.json")}
    content: dict[str, Any] = {
        **where,
        "seconds": total,
        "images": {name: metrics["prepare"][name]["images"] for name in SPLIT_NAMES},
        "stages": {
            stage: {"seconds": each.seconds, "memory_mib": round(each.mib)}
            for stage, each in seen.items()
        },
        "models": {
            name: {**metrics[model.stage], "test": metrics["evaluate"][name]}
            for name, model in MODELS.items()
        },
    }
    write_benchmark(RESULT, content, ten_classes=table(content))


def table(content: dict[str, Any]) -> dict[str, Any]:
    """As it stands in the docs."""
    rows = []
    for name, model in MODELS.items():
        measured, stage = content["models"][name], content["stages"][model.stage]
        accuracies = [percent(measured[split]["accuracy"]) for split in SPLIT_NAMES[:2]]
        accuracies.append(with_interval(measured["test"], "accuracy", ACCURACY))
        auc = f"{measured['test']['roc_auc']:.4f}"
        rows.append(
            [model.title, *accuracies, auc, f"{stage['seconds']:.0f}", f"{stage['memory_mib']:,}"]
        )
    images = content["images"]
    return {
        "caption": (
            f"Ten classes, {images['train']:,} training, {images['validation']:,} validation and "
            f"{images['test']:,} test images; the whole run took {content['seconds'] / 60:.0f} "
            "minutes"
        ),
        "header": [
            *("model", *SPLIT_NAMES[:2], "test (95 %)", "ROC AUC", "seconds", "peak MiB"),
        ],
        "rows": rows,
    }


if __name__ == "__main__":
    main()
