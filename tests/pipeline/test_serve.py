"""`make serve`: a server that answers as `predict` does, and outlives whatever is sent to it."""

import base64
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import requests
from PIL import Image

from stages.models.baseline import LeastSquaresClassifier
from stages.models.storage import save_model
from tests.pipeline.conftest import Project
from tests.pipeline.faulty_server import HOST
from tests.raw_files import ROOT

JSON = "application/json"
CLASSES = ["automobile", "truck"]


def png(image: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def of_size(width: int, height: int) -> bytes:
    """A PNG file that claims a size, and has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [header, b"IDAT" + zlib.compress(b""), b"IEND"]
    chunks = [
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
        for part in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@dataclass(frozen=True)
class Server:
    """A server of the project's command, and where it is."""

    folder: Path
    address: str
    process: "subprocess.Popen[str]"

    def ask(self, body: Any, content_type: str | None = JSON) -> requests.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if content_type else {}
        return requests.post(f"{self.address}/invocations", data, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a model with random weights, so that each photo has an answer of its own."""
    folder = tmp_path_factory.mktemp("serve")
    generator = np.random.default_rng(0)
    weights = generator.normal(0, 0.05, (1024, 2))
    model = LeastSquaresClassifier(CLASSES, weights, np.zeros(2), 32, sure_from=0.6)
    save_model(folder / "data/models/baseline.npz", model)
    for number in range(7):
        image = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        (folder / f"photo{number}.png").write_bytes(png(image))
    Image.fromarray(image).save(folder / "photo.jpg")
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "stages", "serve", "--model", "baseline", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE
    ) as process:
        served = Server(folder, f"http://{HOST}:{port}", process)
        assert process.stdout
        assert (
            process.stdout.readline()
            == f"answers at {served.address}/invocations; end with Ctrl-C\n"
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                requests.get(f"{served.address}/ping", timeout=5)
                break
            except requests.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield served
        process.send_signal(signal.SIGINT)
        process.wait(20)


@pytest.fixture
def photos(server: Server) -> list[bytes]:
    return [path.read_bytes() for path in sorted(server.folder.glob("photo*.png"))]


def test_answers_are_those_of_predict_bit_for_bit(server: Server, photos: list[bytes]) -> None:
    predict = ["-m", "stages", "predict", "--model", "baseline", "--format", "jsonl"]
    names = sorted(path.name for path in server.folder.glob("photo*.png"))
    said = subprocess.run(
        [sys.executable, *predict, *names],
        cwd=server.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=True,
    ).stdout.splitlines()
    rows = [json.loads(line) for line in said]
    assert [row.pop("file") for row in rows] == names
    assert len({row["probability"] for row in rows}) == len(names)
    for body in (
        {"inputs": {"image": [text(each) for each in photos]}},
        {"inputs": [{"image": text(each)} for each in photos]},
        {"instances": [{"image": text(each)} for each in photos]},
        {"dataframe_records": [{"image": text(each)} for each in photos]},
        {"dataframe_split": {"columns": ["image"], "data": [[text(each)] for each in photos]}},
    ):
        answer = server.ask(body)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"predictions": rows}


PHOTO = text(png(np.zeros((32, 32, 3), np.uint8)))
HOSTILE = {
    "text": ({"inputs": {"image": [text(b"hello")]}}, 400, "image 0 is no photo of a format"),
    "the second": ({"inputs": {"image": [PHOTO, text(b"hello")]}}, 400, "image 1 is no photo"),
    "empty": ({"inputs": {"image": [""]}}, 400, "image 0 is empty"),
    "none": ({"inputs": {"image": []}}, 400, "there is no photo; allowed: a column `image`"),
    "null": ({"inputs": {"image": [None]}}, 400, "image 0 is"),
    "a number": ({"inputs": {"image": [7]}}, 400, "image 0 is"),
    "0 x 0": ({"inputs": {"image": [text(of_size(0, 0))]}}, 400, "image 0 "),
    "a bomb": (
        {"inputs": {"image": [text(of_size(20_000, 20_000))]}},
        400,
        "image 0 has more than 178,956,970 pixels; allowed: up to 89,478,485",
    ),
    "an array": (
        {"inputs": {"images": np.zeros((1, 32, 32, 3)).tolist()}},
        400,
        "Model is missing inputs ['image']",
    ),
    "an array of NaN": (b'{"inputs": {"image": [[NaN, NaN], [NaN, NaN]]}}', 400, ""),
    "no column": ({"inputs": {}}, 400, "Model is missing inputs ['image']"),
    "no inputs": ({"image": [PHOTO]}, 400, "The input must be a JSON dictionary with exactly one"),
    "a list": ([PHOTO], 400, ""),
    "no JSON": (b'{"inputs": ', 400, ""),
    "no UTF-8": (b"\xff\xfe\x00", 400, ""),
    "deep": (b"[" * 200_000, 400, ""),
    "a parameter of another type": (
        {"inputs": {"image": [PHOTO]}, "params": {"errors_as_rows": "yes"}},
        400,
        "Invalid parameters found: {('errors_as_rows', ",
    ),
    "parameters that are none": (
        {"inputs": {"image": [PHOTO]}, "params": ["errors_as_rows"]},
        400,
        "Parameters must be a dictionary",
    ),
    "10,000 photos": (
        {"inputs": {"image": [PHOTO] * 10_000}},
        400,
        "there are 10,000 photos; allowed: up to 1,000; ask for the others in another",
    ),
    "200 MB": (b"x" * 200_000_000, 413, "the request has more than 64 MiB; allowed: up to 64 MiB"),
}


@pytest.mark.parametrize(("body", "status", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_requests_are_refused_in_a_sentence_and_the_server_lives(
    server: Server, photos: list[bytes], body: Any, status: int, said: str
) -> None:
    refused = server.ask(body)
    assert refused.status_code == status, refused.text[:1000]
    (sentence,) = refused.json().values()
    assert sentence.startswith(said)
    assert 5 < len(sentence) <= 300
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    assert server.ask({"inputs": {"image": [text(photos[0])]}}).status_code == 200


@pytest.mark.parametrize(
    "content_type", ["image/png", "application/vnd.apache.parquet", "", None, "application/jsonx"]
)
def test_another_content_type_is_refused_and_the_right_one_named(
    server: Server, photos: list[bytes], content_type: str | None
) -> None:
    refused = server.ask(photos[0], content_type)
    assert refused.status_code == 415
    assert "allowed: application/json" in refused.json()["message"]
    refused = server.ask(photos[0], f"{JSON}; charset=latin-1")
    assert refused.status_code == 415


def test_a_table_of_csv_has_base64_too(server: Server, photos: list[bytes]) -> None:
    rows = "\n".join(["image", *map(text, photos)])
    answer = server.ask(rows.encode(), "text/csv")
    assert answer.status_code == 200, answer.text
    expected = server.ask({"inputs": {"image": [text(each) for each in photos]}})
    assert answer.json() == expected.json()
    assert server.ask(b"nonsense\n1", "text/csv").status_code == 400


def test_who_asks_for_errors_as_rows_gets_the_others_all_the_same(
    server: Server, photos: list[bytes]
) -> None:
    broken = [b"hello", b"", photos[1][:60]]
    images = [*map(text, [photos[0], *broken, photos[1]])]
    answer = server.ask({"inputs": {"image": images}, "params": {"errors_as_rows": True}})
    assert answer.status_code == 200, answer.text
    first, *told, last = json.loads(answer.text, parse_constant=pytest.fail)["predictions"]
    plain = server.ask({"inputs": {"image": [images[0], images[-1]]}}).json()["predictions"]
    assert [first, last] == [row | {"error": ""} for row in plain]
    numbers = [f"probability_{name}" for name in CLASSES]
    for row, error in zip(told, ("is no photo of a", "is empty", "is truncated"), strict=True):
        assert row.pop("error").startswith(error)
        assert row == {"prediction": "", "sure": False} | dict.fromkeys(["probability", *numbers])
    alone = {"inputs": {"image": [text(b"")]}, "params": {"errors_as_rows": True}}
    assert server.ask(alone).json()["predictions"][0].keys() == first.keys()


def test_addresses_that_there_are_not_are_told_with_those_there_are(server: Server) -> None:
    for answer in (
        requests.get(f"{server.address}/predict", timeout=10),
        requests.get(f"{server.address}/invocations", timeout=10),
    ):
        assert answer.status_code in (404, 405)
        assert "allowed: /invocations (POST), /ping" in answer.json()["message"]


def test_the_documented_calls_work(server: Server) -> None:
    page = (ROOT / "docs" / "serve.md").read_text()
    calls = re.findall(r"```bash\n([^`]*curl[^`]*)```\n\n```json\n([^`]*)```", page)
    assert len(calls) >= 2
    for call, answer in calls:
        here = call.replace("http://127.0.0.1:5001", server.address)
        finished = subprocess.run(
            ["bash", "-ec", here], cwd=server.folder, capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, finished.stderr
        said, documented = json.loads(finished.stdout), json.loads(answer)
        assert said.keys() == documented.keys()
        if "predictions" in said:
            assert said["predictions"][0].keys() == documented["predictions"][0].keys()
        else:
            assert said == documented


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "0"], "ERROR: --port 0: there is no such port"),
        (["--host", "192.0.2.7"], "ERROR: --host 192.0.2.7 --port 5001: cannot listen"),
        (["--model", "no-such"], "ERROR: --model no-such: there is no such model or file"),
        (["--model", "champion"], "ERROR: --model champion: MLflow at sqlite:///"),
    ],
)
def test_what_cannot_be_served_is_one_line(tiny: Project, arguments: list[str], said: str) -> None:
    finished = tiny.python("-m", "stages", "serve", *arguments, check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith(said)
    assert finished.stderr.count("\n") == 1


def test_who_serves_others_is_told_that_nobody_is_asked_who_they_are(tiny: Project) -> None:
    arguments = ("--host", "0.0.0.0", "--model", "no-such")  # noqa: S104  # it serves nothing
    finished = tiny.python("-m", "stages", "serve", *arguments, check=False)
    warning, error = finished.stderr.splitlines()
    assert warning.startswith("WARNING: whoever reaches http://")
    assert error.startswith("ERROR: --model no-such")


def test_a_logged_model_takes_photos_in_python_as_its_signature_says(tiny: Project) -> None:
    tiny.python("-m", "stages", "champion")
    mlflow.set_tracking_uri(f"sqlite:///{tiny.folder / 'mlflow.db'}")
    model = mlflow.pyfunc.load_model("models:/automobile-or-truck@champion")
    bright = png(np.full((50, 60, 3), 255, np.uint8))
    said = model.predict({"image": [bright, bright]})
    assert said["prediction"].tolist() == ["truck"] * 2
    # What Spark needs to make a column of a known type of each.
    outputs = model.metadata.get_output_schema()
    assert outputs.input_names() == said.columns.tolist()
    kinds = dict(zip(outputs.input_names(), outputs.pandas_types(), strict=True))
    assert {name: said[name].dtype.kind for name in said.columns if name != "prediction"} == {
        name: np.dtype(kind).kind for name, kind in kinds.items() if name != "prediction"
    }
    assert "object" not in map(str, said.dtypes)
    with pytest.raises(mlflow.MlflowException, match="missing inputs"):
        model.predict({"images": np.zeros((1, 32, 32, 3), np.uint8)})
