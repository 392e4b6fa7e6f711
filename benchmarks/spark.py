"""How fast Spark scores a folder of photos with a logged model, beside `predict` on the same cores.

    python -m benchmarks.spark    # about eight minutes; writes spark.json; needs `make scale`, Java

The photos are CIFAR-10's test images as PNG. Two workers of one core each are processes of their
own on this machine, as docs/scale.md has them on others; they are warm when they are timed: each
has scored the same photos once. Spark's rows are thrown away when they are there. `predict` is
timed before and after, as others may use the machine, with all photos once and three times, so that
what it needs to start is known apart; the better rate counts, of Spark, too.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from PIL import Image

from benchmarks.answering import HOST, free_port
from benchmarks.machine import measured_on, write_benchmark
from stages.data.files import read_arrays
from stages.models.names import MODELS
from stages.models.storage import read_model
from stages.tracking.served_model import signature_of

RESULT = Path(__file__).with_suffix(".json")
PHOTOS = {"cnn": 2000, "mobilenet": 300}
WORKERS = 2
PASSES = 2  # that are timed
# `spark.sql.files.openCostInBytes`: with Spark's own 4 MiB for each file, 128 MiB, a task, are 32
# small files. The second is that of docs/scale.md.
OPEN_COSTS = {"open_cost_4m": "4m", "open_cost_64k": "64k"}
TYPES = "prediction string, probability double, sure boolean, error string"


def main() -> None:
    """Measure, and write what was found."""
    result: dict[str, Any] = {**measured_on(), "workers": WORKERS, "photos": PHOTOS}
    result["load_average_before"] = os.getloadavg()[0]
    result["packages"] = {name: version(name) for name in ("pyspark", "mlflow", "tensorflow")}
    images = read_arrays(Path("data/prepared/test.npz"))["images"]
    with tempfile.TemporaryDirectory() as scratch, cluster(Path(scratch)) as environment:
        os.environ |= environment
        for name, count in PHOTOS.items():
            folder = Path(scratch) / name / "photos"
            folder.mkdir(parents=True)
            for number, image in enumerate(images[:count]):
                Image.fromarray(image).save(folder / f"{number:04}.png")
            before, said = of_predict(name, folder, count)
            spark = of_spark(name, folder, count, said)
            after, _ = of_predict(name, folder, count)
            best = max(before, after, key=lambda each: each["photos_a_second"])
            for each in OPEN_COSTS:
                spark[each]["of_predict"] = spark[each]["photos_a_second"] / best["photos_a_second"]
            result[name] = {"predict": best, "spark": spark}
            print(name, json.dumps(result[name]), flush=True)
    write_benchmark(RESULT, result, spark=table(result))


def table(result: dict[str, Any]) -> dict[str, Any]:
    """As it stands in the docs."""
    rows = []
    for name, photos in PHOTOS.items():
        predict, spark = result[name]["predict"], result[name]["spark"]
        row = [MODELS[name].title, f"{photos:,}", f"{predict['photos_a_second']:.0f}"]
        for cost in reversed(OPEN_COSTS):
            row += [f"{spark[cost]['photos_a_second']:.0f}", f"{spark[cost]['of_predict']:.2f}"]
        row += [f"{predict['seconds_from_start_to_end']:.0f}"]
        rows.append([*row, f"{spark['seconds_of_first_pass']:.0f}"])
    header = ["model", "photos", "photos a second: predict", "Spark", "ratio"]
    header += ["Spark, with 4 MiB for each file", "ratio", "seconds from start to end: predict"]
    caption = "CIFAR-10's test images as PNG, two workers that are warm"
    return {"caption": caption, "header": [*header, "first pass of Spark"], "rows": rows}


@contextmanager
def cluster(folder: Path, **settings: str) -> Iterator[dict[str, str]]:
    """A master of Spark and workers, which write to a folder and know nothing of this project.

    Yields:
        The environment for programs that use them; `MASTER` in it is the master's address.
    """
    import pyspark

    port = str(free_port())
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**kept, "LC_ALL": "C.UTF-8", "SPARK_LOCAL_IP": HOST, **settings}
    environment |= {"PYSPARK_PYTHON": sys.executable, "MASTER": f"spark://{HOST}:{port}"}
    # No task before all workers are there, or the first would take them all.
    environment["SPARK_CONF_DIR"] = str(folder)
    (folder / "spark-defaults.conf").write_text(
        f"spark.cores.max {WORKERS}\n"
        "spark.scheduler.minRegisteredResourcesRatio 1\n"
        "spark.scheduler.maxRegisteredResourcesWaitingTime 300s\n"
    )
    program = Path(pyspark.__file__).parent / "bin" / "spark-class"
    here = ("--host", HOST, "--webui-port", "0")
    master = ("master.Master", *here, "--port", port)
    sized = ("--cores", "1", "--memory", "1g", "--work-dir", folder)
    worker = ("worker.Worker", *here, *sized, environment["MASTER"])
    with ExitStack() as running, (folder / "spark.log").open("w") as log:
        for name, *options in (master, *[worker] * WORKERS):
            process = subprocess.Popen(
                [program, f"org.apache.spark.deploy.{name}", *options],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
            running.callback(process.wait, 20)
            running.callback(process.terminate)
        yield environment


def of_predict(name: str, folder: Path, count: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Photos a second when it has warmed up, and what it says of each, by the file's name."""
    command = [sys.executable, "-m", "stages", "predict", "--model", name, "--format", "jsonl"]
    took = []
    for times in (1, 3):
        began = time.perf_counter()
        said = subprocess.check_output([*command, *[str(folder)] * times], text=True)
        took.append(time.perf_counter() - began)
    rows = [json.loads(line) for line in said.splitlines()]
    rate = 2 * count / (took[1] - took[0])
    found = {"seconds_from_start_to_end": took[0], "photos_a_second": rate}
    return found, {Path(row["file"]).name: row for row in rows}


def of_spark(name: str, folder: Path, count: int, said: dict[str, Any]) -> dict[str, Any]:
    """Photos a second of warm workers, and how far what they say is from what `predict` says."""
    from pyspark.sql import SparkSession

    path, model = Path(MODELS[name].path), folder.parent / "model"
    mlflow.pyfunc.save_model(
        model,
        loader_module="stages.tracking.served_model",
        data_path=str(path),
        code_paths=["stages"],
        signature=signature_of(read_model(path).classes),
        pip_requirements=[],
    )
    spark = SparkSession.builder.master(os.environ["MASTER"]).getOrCreate()
    params = {"errors_as_rows": True}
    say = mlflow.pyfunc.spark_udf(
        spark, str(model), env_manager="local", result_type=TYPES, params=params
    )
    photos = spark.read.format("binaryFile").load(str(folder))
    rows = photos.select("path", say("content").alias("said")).select("path", "said.*")
    began = time.perf_counter()
    found = {Path(row.path).name: row for row in rows.collect()}
    result: dict[str, Any] = {"seconds_of_first_pass": time.perf_counter() - began}
    far = [abs(found[each].probability - row["probability"]) for each, row in said.items()]
    turned = [found[each].prediction != row["prediction"] for each, row in said.items()]
    # Not rounded to six decimals, as JSON is here: it would be nothing.
    result |= {"largest_difference_in_millionths": 1e6 * max(far), "changed_classes": sum(turned)}
    for each, cost in OPEN_COSTS.items():
        spark.conf.set("spark.sql.files.openCostInBytes", cost)
        took = []
        for _ in range(PASSES):
            began = time.perf_counter()
            rows.write.format("noop").mode("overwrite").save()
            took.append(time.perf_counter() - began)
        result[each] = {
            "tasks": rows.select("*").rdd.getNumPartitions(),
            "photos_a_second": count / min(took),
        }
    spark.stop()
    return result


if __name__ == "__main__":
    main()
