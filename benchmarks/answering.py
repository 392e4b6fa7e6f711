"""How fast the models answer: `predict` on a folder, and the server on loopback.

    python -m benchmarks.answering    # about six minutes; writes answering.json

`predict` is timed as a whole with one photo, with some and with three times as many, so that what
it needs to start is known apart; the photos are CIFAR-10's test images as PNG. The server is asked
by as many threads as there are cores, each with one photo or 32 in a request, for ten seconds.
"""

import base64
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image

from benchmarks.machine import measured_on, write_benchmark
from stages.data.files import read_arrays
from stages.models.names import MODELS

RESULT = Path(__file__).with_suffix(".json")
PHOTOS = 500
SECONDS = 10.0  # of asking
BATCHES = (1, 32)
PERCENTILES = (50, 95, 99)
ASKING = os.cpu_count() or 1
HOST = "127.0.0.1"
IMPORT = "import stages.models.network"


def main() -> None:
    """Measure, and write what was found."""
    result: dict[str, Any] = {**measured_on(), "photos": PHOTOS, "asking_threads": ASKING}
    result["load_average_before"] = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images = read_arrays(Path("data/prepared/test.npz"))["images"][:PHOTOS]
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / f"{number:04}.png")
        result["to_import_tensorflow"] = dict(
            zip(("seconds", "cpu_seconds"), timed("-c", IMPORT), strict=True)
        )
        for name in MODELS:
            result[name] = {"predict": of_predict(name, folder), "serve": of_server(name, folder)}
            print(name, json.dumps(result[name]), flush=True)
    write_benchmark(RESULT, result, predict=of_predict_table(result), serve=of_server_table(result))


def of_predict_table(result: dict[str, Any]) -> dict[str, Any]:
    """How `predict` answers, as it stands in the docs."""
    rows = [
        [
            model.title,
            f"{result[name]['predict']['seconds_for_one']:.1f}",
            f"{result[name]['predict']['photos_a_second']:,.0f}",
            f"{result[name]['predict']['cpu_ms_a_photo']:.1f}",
        ]
        for name, model in MODELS.items()
    ]
    header = ["model", "one photo, seconds", "then photos a second", "ms of a core a photo"]
    return {"caption": "CIFAR-10's test images as PNG", "header": header, "rows": rows}


def of_server_table(result: dict[str, Any]) -> dict[str, Any]:
    """How the server answers, as it stands in the docs."""
    rows = []
    for (name, model), batch in itertools.product(MODELS.items(), BATCHES):
        found = result[name]["serve"][f"batch_{batch}"]
        within = [f"{found[f'p{each}_ms']:,.0f}" for each in PERCENTILES]
        rows.append([model.title, f"{batch}", f"{found['photos_a_second']:,.0f}", *within])
    header = ["model", "photos a request", "photos a second", "ms a request: median"]
    header += [f"{each} % within" for each in PERCENTILES[1:]]
    caption = f"On loopback, asked by {result['asking_threads']} threads"
    return {"caption": caption, "header": header, "rows": rows}


def timed(*arguments: str) -> tuple[float, float]:
    """Seconds that a Python process takes, and how many of a core."""
    began, used = time.perf_counter(), os.times()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    now = os.times()
    cpu = now.children_user + now.children_system - used.children_user - used.children_system
    return time.perf_counter() - began, cpu


def of_predict(name: str, folder: Path) -> dict[str, float]:
    """Seconds for one photo, and photos a second when it has warmed up: of the last thousand.

    Also what a photo takes of one core, which tells more where others use them, too.
    """
    command = ("-m", "stages", "predict", "--model", name)
    one, cpu_of_one = timed(*command, str(folder / "0000.png"))
    few, cpu_of_few = timed(*command, str(folder))
    many, cpu_of_many = timed(*command, *[str(folder)] * 3)
    return {
        "seconds_for_one": one,
        "cpu_seconds_for_one": cpu_of_one,
        "photos_a_second": 2 * PHOTOS / (many - few),
        "cpu_ms_a_photo": 1000 * (cpu_of_many - cpu_of_few) / (2 * PHOTOS),
    }


def of_server(name: str, folder: Path) -> dict[str, dict[str, float]]:
    """By the size of a batch: photos a second, and milliseconds that a request takes."""
    contents = [base64.b64encode(path.read_bytes()).decode() for path in folder.iterdir()]
    with server_of(name) as address:
        return {f"batch_{size}": asked(address, contents[:size]) for size in BATCHES}


@contextmanager
def server_of(name: str) -> Iterator[str]:
    """A server of a model, in a process of its own, and its address."""
    port = free_port()
    command = [sys.executable, "-m", "stages", "serve", "--model", name, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None or not process.stdout.readline():
            sys.exit(f"the server of {name} did not start")
        yield f"http://{HOST}:{port}"
        process.send_signal(signal.SIGINT)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server((HOST, 0)) as free:
        port: int = free.getsockname()[1]
    return port


def asked(address: str, contents: list[str]) -> dict[str, float]:
    """Ask for some seconds, by several threads, after a few requests that do not count."""
    body = json.dumps({"inputs": {"image": contents}}).encode()
    took: list[float] = []

    def ask(session: requests.Session) -> float:
        began = time.perf_counter()
        headers = {"Content-Type": "application/json"}
        answer = session.post(f"{address}/invocations", body, headers=headers, timeout=120)
        answer.raise_for_status()
        return time.perf_counter() - began

    def go_on() -> None:
        with requests.Session() as session:
            while time.perf_counter() < until:
                took.append(ask(session))

    with requests.Session() as session:
        wait_for(address)
        for _ in range(3):
            ask(session)
    began = time.perf_counter()
    until = began + SECONDS
    threads = [threading.Thread(target=go_on) for _ in range(ASKING)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    values = np.percentile(np.array(took) * 1000, PERCENTILES).tolist()
    of_requests = {f"p{p}_ms": ms for p, ms in zip(PERCENTILES, values, strict=True)}
    return {"photos_a_second": len(took) * len(contents) / seconds, **of_requests}


def wait_for(address: str) -> None:
    """Until the server listens."""
    for _ in range(300):
        try:
            requests.get(f"{address}/ping", timeout=5)
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"{address}: does not answer")


if __name__ == "__main__":
    main()
