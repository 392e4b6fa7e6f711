"""How soon a test accuracy is reached: scripts as written by hand beside our stages, in one run.

Usage: make benchmark (after make repro, with nothing else running)

Writes benchmarks/time_to_accuracy.json: machine, revision, every epoch of the four runs, and for
each target the seconds of both. The README's table is made from it by `make readme`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import measured_on

RESULT = Path("benchmarks/time_to_accuracy.json")
RUNS = {
    "lecture_cnn": ["benchmarks.lecture_cnn"],
    "stage_cnn": ["benchmarks.stage", "cnn"],
    "guide_mobilenet": ["benchmarks.guide_mobilenet"],
    "stage_mobilenet": ["benchmarks.stage", "mobilenet"],
}
TARGETS = [
    ("CNN", 0.86, "lecture_cnn", "stage_cnn"),
    ("CNN", 0.89, "lecture_cnn", "stage_cnn"),
    ("CNN", 0.90, "lecture_cnn", "stage_cnn"),
    ("CNN", 0.91, "lecture_cnn", "stage_cnn"),
    ("MobileNetV2", 0.97, "guide_mobilenet", "stage_mobilenet"),
    ("MobileNetV2", 0.975, "guide_mobilenet", "stage_mobilenet"),
]
Epochs = list[dict[str, float]]


def main() -> None:
    """Run the four one after another, then write the result."""
    epochs = {name: run(name, arguments) for name, arguments in RUNS.items()}
    targets = [
        {
            "target": f"{model}, {accuracy:.1%}",
            "by_hand_seconds": seconds_to(accuracy, epochs[by_hand]),
            "by_hand_total_seconds": epochs[by_hand][-1]["seconds"],
            "here_seconds": seconds_to(accuracy, epochs[here]),
        }
        for model, accuracy, by_hand, here in TARGETS
    ]
    content = {**measured_on(), "targets": targets, "epochs": epochs}
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(targets, indent=1))


def run(name: str, arguments: list[str]) -> Epochs:
    """Run a script and gather its epochs."""
    print(name, flush=True)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    epochs = []
    with subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        for line in process.stdout or []:
            if line.startswith("{"):
                epochs.append({key: round(value, 4) for key, value in json.loads(line).items()})
                print(line, end="", flush=True)
    if process.returncode:
        sys.exit(f"{name} failed; see the lines above")
    return epochs


def seconds_to(accuracy: float, epochs: Epochs) -> float | None:
    """Seconds after which an epoch was at least so good, or None."""
    return next((each["seconds"] for each in epochs if each["accuracy"] >= accuracy), None)


if __name__ == "__main__":
    main()
