"""The options `--port` and `--host`, of commands that serve pages or answers."""

import argparse
import contextlib
import errno
import ipaddress
import socket

from stages.data.errors import UserError

LOOPBACK = "127.0.0.1"
PORTS_TRIED = 100


def add_address(parser: argparse.ArgumentParser, port: int) -> None:
    """Declare the options.

    Args:
        parser: of a command.
        port: the default.
    """
    parser.add_argument(
        "--port",
        type=int,
        default=port,
        help=f"the next free one if it is taken (default: {port})",
    )
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        help=f"0.0.0.0 for all that reach this machine (default: {LOOPBACK}, this machine only)",
    )


def address_of(host: str, port: int) -> str:
    """As a browser takes it; of all addresses at once, that of this machine."""
    if host in ("0.0.0.0", "::"):  # noqa: S104  # to compare with
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def free_port(host: str, wanted: int) -> int:
    """A port that nobody listens at: the one that is wanted, else the next, which is told.

    Raises:
        UserError: none is free, there is no such port, or the host is none of this machine.
    """
    if not 0 < wanted < 2**16:
        raise UserError(f"--port {wanted}: there is no such port; give one from 1024 to 65535")
    for port in range(wanted, min(wanted + PORTS_TRIED, 2**16)):
        if _answers(host, port) or not _can_be_taken(host, port):
            continue
        if port != wanted:
            print(f"port {wanted} is taken; taking {port}")
        return port
    raise UserError(f"--port {wanted}: it and the next are all taken; give another")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host."""
    return ipaddress.ip_address(socket.getaddrinfo(host, None)[0][4][0]).is_loopback


def _answers(host: str, port: int) -> bool:
    """Whether somebody listens, if only at all addresses at once, as AirPlay on a Mac does."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def _can_be_taken(host: str, port: int) -> bool:
    try:
        family = socket.getaddrinfo(host, None)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        what = "give an address of this machine, and a port from 1024 to 65535"
        raise UserError(f"--host {host} --port {port}: cannot listen ({error}); {what}") from None
    return True
