"""A real MLflow server, and a door in front of it that can be shut, slow or broken."""

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def mlflow_server(
    folder: Path, database: str = "", options: Sequence[str] = (), **environment: str
) -> Iterator[int]:
    """Port of an `mlflow server` that hands out artifacts itself, for as long as the block lasts.

    Args:
        folder: where it keeps artifacts and its log.
        database: URI; SQLite in the folder by default.
        options: further ones, which count more than the above.
        environment: of the server alone.
    """
    folder.mkdir(exist_ok=True)
    port = free_port()
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server"),
                *("--backend-store-uri", database or f"sqlite:///{folder / 'server.db'}"),
                *("--artifacts-destination", str(folder / "artifacts"), *options),
                *("--host", HOST, "--port", str(port), "--workers", "1"),
            ],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **environment},
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 90
        while not answers(port):
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, (folder / "server.log").read_text()
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    """Whether a server of MLflow answers there."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{port}/health"):
        return True
    return False


class Door(ThreadingHTTPServer):
    """Passes requests on to a server, or does what `mode` says.

    `pass`; all requests are `slow`, end in an `error`, or find it `shut`; files of models are
    `slow to store`; or it is `old`, of before MLflow 3.
    """

    daemon_threads = True

    def __init__(self, port_behind: int) -> None:
        self.port_behind = port_behind
        self.mode = "pass"
        super().__init__((HOST, 0), _Handler)

    @property
    def uri(self) -> str:
        return f"http://{HOST}:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Door

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.mode == "shut":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if self.server.mode == "error":
            self.send_error(500, "injected")
            return
        if self.server.mode == "slow":
            time.sleep(10)
        if self.server.mode == "slow to store" and self.path.endswith(".npz"):
            time.sleep(3)
        if self.server.mode == "old" and re.search("logged-models|runs/outputs", self.path):
            self.send_error(404)
            return
        behind = http.client.HTTPConnection(HOST, self.server.port_behind, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
        behind.request(self.command, self.path, body, headers)
        answer = behind.getresponse()
        content = answer.read()
        with contextlib.suppress(OSError):  # whoever asked may have given up
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815  # as http.server wants

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def door_to(port: int) -> Iterator[Door]:
    """A door in front of a server, for as long as the block lasts."""
    door = Door(port)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    try:
        yield door
    finally:
        door.shutdown()
        door.server_close()
