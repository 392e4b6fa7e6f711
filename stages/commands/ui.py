"""Show the runs in the browser, after a sync, so that they are complete.

Prints links to the three models, the experiments, the models side by side and the registered model,
and serves the project's own database, on this machine only unless another host is asked for. Where
MLFLOW_TRACKING_URI names a server, that one has the pages, and the links are to it.
"""

import argparse
import os
import socket
import sys

from stages.commands import sync
from stages.commands.addresses import LOOPBACK, add_address, address_of, free_port, is_loopback
from stages.commands.project import add_project, enter_project
from stages.data.errors import UserError
from stages.tracking import environment

# Addresses of machines in networks of one's own (RFC 1918).
PRIVATE = ("10.*", "172.1[6-9].*", "172.2?.*", "172.3[01].*", "192.168.*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Name the address and the project."""
    add_project(parser)
    add_address(parser, 5000)


def run(options: argparse.Namespace) -> None:
    """Sync, print the links, and become MLflow's server if there is none.

    Raises:
        UserError: no port is free there, sync failed, or the store's pages are elsewhere.
    """
    enter_project(options)
    if environment.URI_OF_USER.startswith("http"):
        print_links(environment.shown_uri().rstrip("/"), options)
        return
    if environment.URI_OF_USER.startswith("databricks"):
        what = "has pages of its own; run `make sync` and open them there"
        raise UserError(f"MLFLOW_TRACKING_URI={environment.shown_uri()}: {what}")
    port = free_port(options.host, options.port)
    address = address_of(options.host, port)
    print_links(address, options)
    if not is_loopback(options.host):
        print(
            f"WARNING: whoever reaches {address} can read, change and delete all runs: MLflow asks "
            "nobody who they are; an SSH tunnel is safer (docs/tracking.md)",
            file=sys.stderr,
        )
        names = ("localhost", LOOPBACK, options.host, socket.gethostname(), socket.getfqdn())
        origins = [address_of(name, port) for name in dict.fromkeys(names)]
        origins += [f"http://{host}" for host in PRIVATE]
        hosts = ",".join(origin.removeprefix("http://") for origin in origins)
        os.environ.setdefault("MLFLOW_SERVER_ALLOWED_HOSTS", hosts)
        # Of what the pages themselves ask.
        os.environ.setdefault("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", ",".join(origins))
    print("the pages are there in a few seconds; end with Ctrl-C", flush=True)
    arguments = (
        *("--host", options.host, "--port", str(port)),
        *("--workers", "1"),  # one person looks: no four processes
        *("--backend-store-uri", environment.tracking_uri()),
        *("--default-artifact-root", environment.artifacts_uri()),
        *("--uvicorn-opts", "--log-level warning"),
    )
    # The jobs are for language models; without them the pages are there seconds sooner.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    os.environ["PYTHONWARNINGS"] = "ignore"  # what a library will drop one day is not the user's
    command = [sys.executable, "-m", "mlflow", "server", *arguments]
    os.execv(sys.executable, command)  # noqa: S606  # arguments of our own, and no shell


def print_links(address: str, options: argparse.Namespace) -> None:
    """Sync, and print where to look.

    Raises:
        UserError: sync failed.
    """
    from stages.tracking import views
    from stages.tracking.store import speaking_to_mlflow

    is_ours = options.project is None
    report = sync.sync_and_tell(is_ours=is_ours)
    with speaking_to_mlflow():
        links = views.links(address, report.models, report.registered, is_ours=is_ours)
    for what, link in links.items():
        print(f"{what}: {link}")
    if is_ours and not report.registered:
        print("no model is registered yet; `make champion` proposes one")
