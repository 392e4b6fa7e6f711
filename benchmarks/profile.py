"""Where the time of a whole run goes: seconds, memory and arithmetic of each stage.

    python -m benchmarks.profile    # as long as `make repro`, with nothing else running

Runs `dvc repro --force` in a clone of the last commit, with data/raw and DVC's cache of this
folder. DVC's time, and what a process needs before and after its stage, are seen from outside; the
seconds of tracking (MLflow, and hashing what is read and written) are in the receipts of the
stages. The share of the arithmetic peak is that of the networks' multiplications and additions,
counted by TensorFlow, per second of the stage's own work, of what a product of two large float32
matrices reaches in this run. Memory is known on Linux alone. Writes profile.json.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.machine import measured_on, write_benchmark

ROOT = Path.cwd()
RESULT = Path(__file__).with_suffix(".json")
STAGE = ["-m", "stages"]  # in the command line of a process that runs one
PEAK_MEMORY = "VmHWM:"  # in /proc/PID/status, in kB
SECONDS = 0.1  # between two looks
SIDE, PRODUCTS = 4096, 8  # of the matrices, and how many products
COUNT_ARITHMETIC = "from benchmarks.profile import print_arithmetic; print_arithmetic()"


@dataclass
class Seen:
    """A process that runs a stage, from outside: when, in seconds since 1970, and its memory."""

    began: float
    ended: float
    mib: float = 0.0

    @property
    def seconds(self) -> float:
        """From start to end."""
        return self.ended - self.began


def main() -> None:
    """Run the pipeline, watch it, write what was seen."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "project"
        prepare(clone)
        where = measured_on(clone)
        peak = float(in_clone(clone, "from benchmarks.profile import peak; print(peak())"))
        began = time.time()
        seen = watch(clone, "repro", "--force")
        total = time.time() - began
        counted: dict[str, list[float]] = json.loads(in_clone(clone, COUNT_ARITHMETIC))
        receipts = json.loads(in_clone(clone, RECEIPTS))
    rows = {}
    for stage, of_process in seen.items():
        seconds, tracking = receipts[stage]
        images, arithmetic = counted.get(stage, (0, 0.0))
        work = seconds - tracking
        rows[stage] = {
            "process_seconds": round(of_process.seconds, 1),
            "work_seconds": round(work, 1),
            "mlflow_seconds": round(tracking, 1),
            "memory_mib": round(of_process.mib),
            "images_a_second": round(images / work) if images else None,
            "share_of_peak": round(arithmetic / work / peak, 3) if arithmetic else None,
        }
    work = sum(row["work_seconds"] for row in rows.values())
    in_processes = sum(row["process_seconds"] for row in rows.values())
    mlflow = sum(row["mlflow_seconds"] for row in rows.values())
    overhead = {
        "total_seconds": round(total, 1),
        "work_seconds": round(work, 1),
        "mlflow_seconds": round(mlflow, 1),
        "start_and_import_seconds": round(in_processes - work - mlflow, 1),
        "dvc_seconds": round(total - in_processes, 1),
        "share": round(1 - work / total, 3),
    }
    content = {**where, "peak_gflops": round(peak / 1e9), "stages": rows, **overhead}
    write_benchmark(RESULT, content, profile=table(content))


def table(content: dict[str, Any]) -> dict[str, Any]:
    """As it stands in the docs."""
    total = content["total_seconds"]
    rows = [
        [
            stage,
            f"{row['process_seconds']:.1f}",
            f"{row['work_seconds']:.1f}",
            f"{row['mlflow_seconds']:.1f}",
            f"{row['memory_mib']:,}",
            f"{row['images_a_second']:,}" if row["images_a_second"] else "–",
            f"{row['share_of_peak']:.0%}" if row["share_of_peak"] else "–",
        ]
        for stage, row in content["stages"].items()
    ]
    header = ["stage", "seconds", "its own work", "tracking", "peak MiB", "images a second"]
    return {
        "caption": (
            f"A whole run took {total:.0f} s, of which {content['work_seconds']:.0f} s were the "
            f"stages' own work, {content['start_and_import_seconds']:.0f} s start and imports, "
            f"{content['mlflow_seconds']:.0f} s tracking and {content['dvc_seconds']:.0f} s DVC: "
            f"{content['share']:.0%} overhead; a matrix product reached "
            f"{content['peak_gflops']} GFLOP/s"
        ),
        "header": [*header, "share of it"],
        "rows": rows,
    }


def prepare(clone: Path) -> None:
    """A clone of the last commit in which DVC and the data are as here, and MLflow is empty."""
    run = subprocess.check_call
    run(["git", "clone", "--quiet", str(ROOT), str(clone)])
    (clone / "data").mkdir(exist_ok=True)
    (clone / "data/raw").symlink_to(ROOT / "data/raw")
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    cache = subprocess.check_output(command, text=True).strip()
    run([*command, "--local", cache], cwd=clone)


def watch(clone: Path, *arguments: str) -> dict[str, Seen]:
    """Run the pipeline by DVC; of each stage, from when to when it ran, and its most memory."""
    found: dict[str, Seen] = {}
    environment = {each: os.environ[each] for each in os.environ if each != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-m", "dvc", *arguments]
    with subprocess.Popen(command, cwd=clone, env=environment, stdout=sys.stderr) as dvc:
        of_dvc = psutil.Process(dvc.pid)
        while dvc.poll() is None:
            for process in of_dvc.children(recursive=True):
                try:
                    line = process.cmdline()
                    if line[1:3] != STAGE:
                        continue
                    seen = found.setdefault(line[3], Seen(process.create_time(), 0.0))
                    seen.ended = time.time()
                    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                    peaks = [each.split()[1] for each in status if each.startswith(PEAK_MEMORY)]
                    seen.mib = max(seen.mib, *(int(each) / 1024 for each in peaks), 0.0)
                except (psutil.NoSuchProcess, psutil.ZombieProcess, OSError):
                    continue
            time.sleep(SECONDS)
    if dvc.returncode:
        sys.exit("the pipeline failed; see above")
    return found


def in_clone(clone: Path, code: str) -> str:
    """The last line that some code prints, run in the clone."""
    said = subprocess.check_output([sys.executable, "-c", code], cwd=clone, text=True)
    return said.splitlines()[-1]


RECEIPTS = """
import json
from stages.tracking.receipts import find_receipts
print(json.dumps({each.stage: [each.seconds, each.tracking_seconds] for each in find_receipts()}))
"""


def peak() -> float:
    """Floating-point operations a second of a product of two float32 matrices."""
    from stages.models.network import tf

    factor = tf.random.normal((SIDE, SIDE))
    fastest = float("inf")
    for _ in range(PRODUCTS):
        began = time.perf_counter()
        float(tf.reduce_sum(factor @ factor))
        fastest = min(fastest, time.perf_counter() - began)
    return 2.0 * SIDE**3 / fastest


def print_arithmetic() -> None:
    """Print, as JSON by stage, how many images it learns from or looks at, and its operations."""
    from stages.data.splits import read_split
    from stages.models.cnn import build_cnn
    from stages.models.mobilenet import build_mobilenet, cut
    from stages.models.names import MODELS
    from stages.models.network import from_stored, keras
    from stages.models.storage import read_model
    from stages.workflow.params import read_params

    params = read_params()
    n, measured, tested = (len(read_split(name)) for name in ("train", "validation", "test"))
    images = n + measured
    cnn, mobilenet = (
        from_stored(read_model(Path(MODELS[name].path)), build)
        for name, build in (("cnn", build_cnn), ("mobilenet", build_mobilenet))
    )
    of_cnn = operations(cnn.network)
    first = operations(keras.Model(cnn.network.input, cnn.network.get_layer("conv_1").output))
    parts = cut(mobilenet.network, params.mobilenet.first_trainable_block)
    frozen, trainable = operations(parts.frozen), operations(parts.trainable)
    audit = build_mobilenet(**mobilenet.settings | {"input_size": params.audit.input_size})
    epochs, of_mobilenet = params.cnn.chosen.epochs, params.mobilenet.epochs
    # A step is once forward and twice back, but not back to the images; each epoch is measured;
    # predictions are with the mirror image. The head, and least squares, are little beside that.
    found = {
        "prepare": (images + tested, 0),
        "train_baseline": (n, 0),
        "train_cnn": (
            epochs * n,
            of_cnn * (epochs * (3 * n + measured) + 2 * images) - first * epochs * n,
        ),
        "finetune_mobilenet": (
            of_mobilenet * n,
            2 * images * frozen
            + trainable * (2 * images + of_mobilenet * (3 * n + measured) + 2 * images),
        ),
        "audit_labels": (images, images * operations(audit)),
    }
    print(json.dumps(found))


def operations(network: Any) -> float:
    """Floating-point operations of a network for one image, once forward."""
    from stages.models.network import tf

    shape = (1, *network.input.shape[1:])
    function = tf.function(lambda inputs: network(inputs, training=False))
    graph = function.get_concrete_function(tf.TensorSpec(shape, network.input.dtype)).graph
    counter = tf.compat.v1.profiler
    options = counter.ProfileOptionBuilder(counter.ProfileOptionBuilder.float_operation())
    counted = counter.profile(graph, options=options.with_empty_output().build())
    return float(counted.total_float_ops)


if __name__ == "__main__":
    main()
