"""`make ui` before anything opens: which port and host, and who is warned."""

import socket

import pytest

from stages.commands.addresses import address_of, free_port, is_loopback
from stages.data.errors import UserError
from tests.pipeline.conftest import Project
from tests.pipeline.faulty_server import HOST


def test_a_port_that_is_taken_is_told_and_the_next_one_is_taken_instead(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        given = free_port(HOST, port)
    assert given > port
    assert capsys.readouterr().out == f"port {port} is taken; taking {given}\n"
    assert free_port(HOST, port) == port
    assert capsys.readouterr().out == ""


def test_who_listens_at_all_addresses_holds_the_port_too() -> None:
    """As AirPlay does on a Mac, at port 5000."""
    with socket.create_server(("", 0)) as everywhere:
        port = everywhere.getsockname()[1]
        assert free_port(HOST, port) > port


@pytest.mark.parametrize("arguments", [["--host", "192.0.2.7"], ["--host", "no-such.invalid"]])
def test_a_host_that_is_none_of_this_machine_is_refused_before_the_sync(
    tiny: Project, arguments: list[str]
) -> None:
    finished = tiny.python("-m", "stages", "ui", *arguments, check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"ERROR: --host {arguments[1]} --port 5000: cannot listen")
    assert "sync" not in finished.stdout
    assert tiny.all_runs() == []


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("./mlruns", "MLflow keeps no runs in folders any more; give a database"),
        ("databricks", "has pages of its own; run `make sync` and open them there"),
    ],
)
def test_a_store_whose_pages_cannot_be_served_is_told_in_one_line(
    tiny: Project, uri: str, said: str
) -> None:
    finished = tiny.python("-m", "stages", "ui", check=False, MLFLOW_TRACKING_URI=uri)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"ERROR: MLFLOW_TRACKING_URI={uri}: {said}")
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize("port", [70_000, 0, -1])
def test_ports_that_do_not_exist_are_refused(port: int) -> None:
    with pytest.raises(UserError, match=f"^--port {port}: there is no such port"):
        free_port(HOST, port)


def test_a_link_to_an_address_of_ipv6_can_be_opened() -> None:
    assert address_of("::1", 5000) == "http://[::1]:5000"
    assert address_of(HOST, 5000) == f"http://{HOST}:5000"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False)],  # noqa: S104
)
def test_only_hosts_that_this_machine_alone_reaches_are_without_a_warning(
    host: str, *, expected: bool
) -> None:
    assert is_loopback(host) == expected
