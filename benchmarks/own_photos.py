"""What a folder of many small photos costs, as it grows: time an image, and memory.

    python -m benchmarks.own_photos                # 5,000, 50,000 and 500,000: own_photos.json
    python -m benchmarks.own_photos --photos 2000  # another number: prints it

The photos are CIFAR-10's training images as PNG files, each shifted in brightness when it comes
again. Measured are `prepare`, from the files to the splits, and the frozen features: the outputs of
MobileNet's first blocks for the training images, which fine-tuning keeps. It sees 32 pixels
and is cut early, so that 500,000 photos take minutes; how time grows does not depend on that.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.machine import measured_on, write_benchmark
from stages.data.files import read_arrays

ROOT = Path.cwd()
RESULTS = Path("benchmarks/own_photos.json")
COUNTS = (5_000, 50_000, 500_000)
SETTINGS = ["data.source=folder", "data.folder=photos", "data.classes=all"]
A_FOLDER = 1000  # photos; so that no folder holds too many
MIB = 2**20
# The memory that is the process's own: files that are mapped can be dropped at any time.
ANONYMOUS = re.compile(r"RssAnon:\s+(\d+) kB")


def main() -> None:
    """Make each folder, measure, and print or write what that took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, help="one number instead of three")
    parser.add_argument("--measure", choices=["prepare", "features"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.measure)))
        return
    where, rows = measured_on(), []
    for count in [options.photos] if options.photos else COUNTS:
        with tempfile.TemporaryDirectory(dir=ROOT / ".dvc" / "tmp") as folder:
            write_project(Path(folder), count)
            found = {each: in_own_process(each, Path(folder)) for each in ("prepare", "features")}
        rows.append({"photos": count, **found})
        print(json.dumps(rows[-1]), flush=True)
    if not options.photos:
        write_benchmark(RESULTS, {**where, "rows": rows}, own_photos=table(rows))


def table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """As it stands in the docs."""
    header = ["photos", "prepare: ms a photo", "MiB", "frozen features: ms an image", "MiB"]
    cells = [
        [f"{row['photos']:,}"]
        + [
            text
            for each in (row["prepare"], row["features"])
            for text in (f"{each['milliseconds_an_image']:.2f}", f"{each['memory_mib']:,}")
        ]
        for row in rows
    ]
    return {"caption": "Small photos as PNG", "header": header, "rows": cells}


def write_project(folder: Path, count: int) -> None:
    """The project's settings, and photos in it."""
    from ruamel.yaml import YAML

    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text())
    for setting in SETTINGS:
        keys, value = setting.split("=")
        section, key = keys.split(".")
        params[section][key] = yaml.load(value)
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(params, file)
    data = read_arrays(ROOT / "data/cifar10.npz")
    images, labels = data["train_images"], data["train_labels"] % 2
    for number in range(count):
        turn, position = divmod(number, len(images))
        path = folder / f"photos/{labels[position]}/{number // A_FOLDER}/{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[position] ^ np.uint8(turn)).save(path, compress_level=1)


def in_own_process(what: str, folder: Path) -> dict[str, float]:
    """What one of the measurements says, in a process that does nothing else."""
    command = [sys.executable, "-m", "benchmarks.own_photos", "--measure", what]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.check_output(command, cwd=folder, env=environment, text=True)
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def measured(what: str) -> dict[str, float]:
    """Seconds, milliseconds an image, and the most memory that is the process's own, in MiB."""
    from stages.workflow.params import read_params

    params = read_params()
    work = {"prepare": prepare, "features": features}[what](params)
    highest, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            status = Path("/proc/self/status").read_text()
            highest[0] = max(highest[0], int(ANONYMOUS.findall(status)[0]) / 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    images = work()
    seconds = time.perf_counter() - start
    ended.set()
    watcher.join()
    return {
        "images": images,
        "seconds": round(seconds, 1),
        "milliseconds_an_image": round(1000 * seconds / images, 3),
        "memory_mib": round(highest[0]),
    }


def prepare(params: Any) -> Any:
    """The stage `prepare`."""
    from stages.prepare import main as stage

    def work() -> int:
        stage(params, lambda *_: None)
        counted = json.loads(Path("metrics/prepare.json").read_text())
        return int(counted["folder"]["files"])

    return work


def features(_: Any) -> Any:
    """The frozen blocks of MobileNet on the training images and their mirror images."""
    from stages.data.splits import read_split
    from stages.models.finetuning import _Inputs
    from stages.models.mobilenet import build_mobilenet, cut
    from stages.models.training import targets

    network = build_mobilenet(
        n_classes=2, image_size=32, input_size=32, variant="torch", dropout=0.0
    )
    frozen = cut(network, 3).frozen

    def work() -> int:
        split = read_split("train")
        inputs = _Inputs("train", targets(split.labels, 2), split.images, split.images[:, :, ::-1])
        return len(inputs.through(frozen, np.float16).plain)

    return work


if __name__ == "__main__":
    main()
