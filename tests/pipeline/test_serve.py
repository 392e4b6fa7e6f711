"""`make serve`: a server that answers as `predict` does, and outlives whatever is sent to it."""

import base64
import contextlib
import csv
import gzip
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import requests
from PIL import Image

from stages.data.errors import UserError
from stages.models.baseline import LeastSquaresClassifier
from stages.models.storage import save_model
from stages.tracking.model_server import server_of
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


def png_of(width: int, height: int, kind: bytes, *chunks: bytes, rows: bytes = b"") -> bytes:
    """A PNG file of its parts; of no rows it has no pixels, and claims a size.

    Args:
        width: in pixels.
        height: in pixels.
        kind: bits of a channel and type of color, a byte each.
        chunks: before the pixels.
        rows: compressed.
    """
    header = b"IHDR" + struct.pack(">II", width, height) + kind + bytes(3)
    parts = [header, *chunks, b"IDAT" + (rows or zlib.compress(b"")), b"IEND"]
    made = [
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
        for part in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


RGB, RGBA, PALETTE = b"\x08\x02", b"\x08\x06", b"\x01\x03"


def compressed(width: int, height: int) -> bytes:
    """Rows of a PNG, of so many bytes each, all zero."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(1 + width)) for _ in range(height)) + packer.flush()


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


@contextlib.contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Server]:
    """A server of a model with random weights, so that each photo has an answer of its own."""
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
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
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
        try:
            yield served
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("serve")) as served:
        yield served


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
    for body, content_type in in_all_formats([text(each) for each in photos]):
        answer = server.ask(body, content_type)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"predictions": rows}


def in_all_formats(images: list[str]) -> Iterator[tuple[Any, str]]:
    """Requests of these photos in each format that the server takes."""
    rows = [{"image": each} for each in images]
    split = {"columns": ["n", "image"], "data": [[n, each] for n, each in enumerate(images)]}
    yield {"inputs": {"image": images}}, JSON
    yield {"inputs": images}, JSON
    for name in ("inputs", "instances", "dataframe_records"):
        yield {name: rows}, JSON
    yield {"dataframe_split": split}, JSON
    table = StringIO()
    csv.writer(table).writerows([["image"], *([each] for each in images)])
    yield table.getvalue().encode(), "text/csv"


NO_BASE64 = "image 1 is text; allowed: base64 of a photo's file, with + and /, without `data:…,`"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image: "\n".join(re.findall(".{1,76}", image)) + "\r\n", ""),
        (lambda image: image[:-1], NO_BASE64),
        (lambda image: image.replace("+", "-").replace("/", "_"), NO_BASE64),
        (lambda image: f"data:image/png;base64,{image}", NO_BASE64),
        (lambda _: "photo.png", NO_BASE64),
        (lambda _: "Größe", NO_BASE64),
        (lambda _: text(b"hello"), "image 1 is no photo of a format that is known; allowed: AVIF,"),
    ],
    ids=["lines", "cut off", "of addresses", "data:", "a name", "no ASCII", "text"],
)
def test_base64_is_read_or_refused_alike_in_every_format(
    server: Server, photos: list[bytes], change: Any, said: str
) -> None:
    whole = next(each for each in map(text, photos) if "+" in each)
    expected = server.ask({"inputs": {"image": [whole, whole]}}).json()
    for body, content_type in in_all_formats([whole, change(whole)]):
        answer = server.ask(body, content_type)
        if said:
            assert answer.status_code == 400
            assert answer.json()["message"].startswith(said)
        else:
            assert answer.json() == expected


PHOTO = text(png(np.zeros((32, 32, 3), np.uint8)))
ONE_OF = "allowed: a JSON object with one of inputs, instances, dataframe_split, dataframe_records"
CARDS = ("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 9", "NAXIS2  = 9", "END")
FITS = "".join(card.ljust(80) for card in CARDS).ljust(2880).encode() + bytes(2880)
HOSTILE = {
    "text": ({"inputs": {"image": [text(b"hello")]}}, 400, "image 0 is no photo of a format"),
    "the second": ({"inputs": {"image": [PHOTO, text(b"hello")]}}, 400, "image 1 is no photo"),
    "empty": ({"inputs": {"image": [""]}}, 400, "image 0 is empty"),
    "none": ({"inputs": {"image": []}}, 400, "there is no photo; allowed: a column `image`"),
    "null": ({"inputs": {"image": [None]}}, 400, "image 0 is a NoneType; allowed: the bytes of a"),
    "a number": (
        {"inputs": {"image": [7]}},
        400,
        "image 0 is a int; allowed: the bytes of a photo",
    ),
    "0 x 0": (
        {"inputs": {"image": [text(png_of(0, 0, RGB))]}},
        400,
        "image 0 is no photo of a format that is known; allowed: AVIF, BMP, GIF, JPEG, PNG, TIFF",
    ),
    "a bomb": (
        {"inputs": {"image": [text(png_of(20_000, 20_000, RGB))]}},
        400,
        "image 0 has more than 178,956,970 pixels; allowed: up to 50,000,000",
    ),
    "more pixels than a server reads": (
        {"inputs": {"image": [text(png_of(10_000, 5_001, RGB))]}},
        400,
        "image 0 has 10,000 x 5,001 pixels; allowed: up to 50,000,000 in all",
    ),
    "a format that is decoded in Python": (
        {"inputs": {"image": [text(FITS)]}},
        400,
        "image 0 is no photo of a format that is known; allowed: AVIF, BMP, GIF, JPEG, PNG, TIFF",
    ),
    "an array": (
        {"inputs": {"images": np.zeros((1, 32, 32, 3)).tolist()}},
        400,
        "there is no column `image`, but images; allowed: a column `image` with the content of a",
    ),
    "an array of NaN": (
        b'{"inputs": {"image": [[NaN, NaN], [NaN, NaN]]}}',
        400,
        "image 0 is a list; allowed: the bytes of a photo's file",
    ),
    "a large array": (
        {"inputs": {"image": [[0] * 3072] * 400}},
        400,
        "the request has more than 1,000,000 values; allowed: a column `image` with the content",
    ),
    "no column": ({"inputs": {}}, 400, "there is no column `image`, but none; allowed: a column"),
    "rows of no column": (
        {"instances": [{"photo": PHOTO}]},
        400,
        "there is no column `image`, but",
    ),
    "no inputs": ({"image": [PHOTO]}, 400, f"the request has no photos; {ONE_OF}"),
    "two": (
        {"inputs": [PHOTO], "instances": [PHOTO]},
        400,
        f"the request has inputs and instances; {ONE_OF}",
    ),
    "a list": ([PHOTO], 400, f"the request has no photos; {ONE_OF}"),
    "a number alone": (7, 400, f"the request has no photos; {ONE_OF}"),
    "a table without columns": (
        {"dataframe_split": {"data": [[PHOTO]]}},
        400,
        "the table has no columns, or rows that do not fit them; allowed: a column `image` with",
    ),
    "a table of longer rows": (
        {"dataframe_split": {"columns": ["image"], "data": [[PHOTO, 1]]}},
        400,
        "the table has no columns, or rows that do not fit them; allowed: a column `image` with",
    ),
    "nothing": (b"", 400, "the request is empty; docs/serve.md has examples"),
    "no JSON": (
        b'{"inputs": ',
        400,
        "the request is no JSON from line 1, column 12 on; docs/serve",
    ),
    "no UTF-8": (b"\xff\xfe\x00", 400, "the request is no text in UTF-8; compressed ones are not"),
    "compressed": (gzip.compress(b"{}"), 400, "the request is no text in UTF-8; compressed ones"),
    "half a letter": (
        b'{"inputs": {"image": ["\\ud800"]}}',
        400,
        "the request is no text in UTF-8; compressed ones are not read",
    ),
    "deep": (b"[" * 200_000, 400, "the request is nested too deep, or has a number of thousands"),
    "a long number": (b"9" * 5000, 400, "the request is nested too deep, or has a number of"),
    "a parameter of another type": (
        {"inputs": {"image": [PHOTO]}, "params": {"errors_as_rows": "yes"}},
        400,
        'params are wrong; allowed: {"errors_as_rows": true} or false',
    ),
    "parameters that are none": (
        {"inputs": {"image": [PHOTO]}, "params": ["errors_as_rows"]},
        400,
        'params are wrong; allowed: {"errors_as_rows": true} or false',
    ),
    "a long name of a column": (
        {"inputs": {"a " * 1_000_000: []}},
        400,
        "there is no column `image`, but a a a a",
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
    assert len(said) > 15
    assert len(sentence) <= 300
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
    for parameter in ("charset=latin-1", "boundary=x"):
        refused = server.ask(photos[0], f"{JSON}; {parameter}")
        assert refused.status_code == 415
        assert len(refused.json()["message"]) < 150


@pytest.mark.parametrize("content_type", ["Application/JSON", "application/json;Charset=UTF-8"])
def test_a_content_type_has_no_case(server: Server, photos: list[bytes], content_type: str) -> None:
    assert server.ask({"inputs": [text(photos[0])]}, content_type).status_code == 200


def test_a_table_of_csv_has_base64_too(server: Server, photos: list[bytes]) -> None:
    rows = "\n".join(["image", *map(text, photos)])
    answer = server.ask(rows.encode(), "text/csv")
    assert answer.status_code == 200, answer.text
    expected = server.ask({"inputs": {"image": [text(each) for each in photos]}})
    assert answer.json() == expected.json()
    assert server.ask(b"\xef\xbb\xbf" + rows.encode(), "text/csv").json() == expected.json()
    for table, said in (
        (b"nonsense\n1", "there is no column `image`, but nonsense; allowed: a column `image`"),
        (b"image\n", "there is no photo; allowed: a column `image` with the content of a file"),
        (b"image\nNA\n", "image 0 is text; allowed: base64 of a photo's file"),
        (b"image,n\n1\n", "the table has no columns, or rows that do not fit them; allowed:"),
        (b"\n", "there is no photo; allowed: a column `image` with the content of a file"),
        (b"image\n\xff", "the request is no text in UTF-8; compressed ones are not read"),
        (b"image\n" + b"A\n" * 1_000_001, "the request has more than 1,000,000 values; allowed"),
    ):
        refused = server.ask(table, "text/csv")
        assert refused.status_code == 400
        assert refused.json()["message"].startswith(said)


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


def peak(process: "subprocess.Popen[str]") -> float:
    """The most memory that a process has had, in GiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 2**20


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells the memory")
def test_small_files_of_many_pixels_do_not_fill_the_memory_or_keep_the_server_busy(
    tmp_path: Path,
) -> None:
    side = 7_000  # just under the limit
    clear = b"PLTE" + bytes(6), b"tRNS" + bytes(2)
    paletted = png_of(side, side, PALETTE, *clear, rows=compressed((side + 7) // 8, side))
    transparent = png_of(side, side, RGBA, rows=compressed(4 * side, side))
    assert max(len(paletted), len(transparent)) < 1_000_000
    uneven = {"inputs": {"image": ["A" * 6_000_000, *[""] * 900]}}  # of numpy: 5 GB
    few = {"inputs": {"image": [text(paletted), text(transparent)]}}
    with serving(tmp_path, MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT="30") as server:
        with ThreadPoolExecutor(4) as pool:
            *answers, refused = pool.map(server.ask, [few, few, few, uneven])
        assert {answer.status_code for answer in answers} <= {200, 504}
        assert 200 in {answer.status_code for answer in answers}
        assert refused.status_code == 400
        assert peak(server.process) < 1
    with serving(tmp_path, MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT="2") as server:
        late = server.ask({"inputs": {"image": [text(paletted)] * 100}})
        assert late.status_code == 504
        expected = "the answer took more than 2 seconds; ask for fewer photos, or later"
        assert late.json() == {"message": expected}
        # Of a hundred photos those that were not read by then never are.
        answered(server, {"inputs": {"image": [PHOTO]}})
        used = cpu_seconds(server.process)
        time.sleep(3)
        assert cpu_seconds(server.process) - used < 1


def answered(server: Server, body: Any) -> None:
    """Ask until there is an answer."""
    deadline = time.monotonic() + 20
    while server.ask(body).status_code != 200:
        assert time.monotonic() < deadline


def cpu_seconds(process: "subprocess.Popen[str]") -> float:
    times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def test_of_more_connections_than_are_served_the_last_is_told_so(
    server: Server, photos: list[bytes]
) -> None:
    address = (HOST, int(server.address.rpartition(":")[2]))
    body = {"inputs": {"image": [text(photos[0])]}}
    with contextlib.ExitStack() as idle:
        for _ in range(63):
            idle.enter_context(socket.create_connection(address))
        answered(server, body)
        idle.enter_context(socket.create_connection(address))
        refused = server.ask(body)
        assert (refused.status_code, refused.text) == (503, "Service Unavailable")
    answered(server, body)


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


def test_a_time_limit_that_is_none_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT", "a minute")
    model = LeastSquaresClassifier(CLASSES, np.zeros((1024, 2)), np.zeros(2), 32)
    said = (
        "^MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT is 'a minute'; allowed: a whole number of seconds$"
    )
    with pytest.raises(UserError, match=said):
        server_of(model)


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
