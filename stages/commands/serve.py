"""Serve a model: MLflow's model server, which answers what photos show.

    python -m stages serve                     # the champion, at http://127.0.0.1:5001
    python -m stages serve --model cnn --port 8080

Requests and answers are described in docs/serve.md. It runs until Ctrl-C.
"""

import argparse
import sys

from stages.commands.addresses import add_address, address_of, free_port, is_loopback
from stages.commands.asked_model import add_model, asked_model

WAITING = 64  # connections at once; one more is told that the service is not available


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_model(parser)
    add_address(parser, 5001)


def run(options: argparse.Namespace) -> None:
    """Load the model, and serve it.

    Raises:
        UserError: no port is free there, or there is no such model.
    """
    from stages.tracking import environment

    port = free_port(options.host, options.port)
    address = address_of(options.host, port)
    if not is_loopback(options.host):
        print(
            f"WARNING: whoever reaches {address} can use the model: nobody is asked who they are, "
            "and nothing is encrypted; put a proxy before it that does (docs/serve.md)",
            file=sys.stderr,
        )
    model = asked_model(options)
    environment.prepare_environment()  # before MLflow is imported
    import uvicorn

    from stages.tracking.model_server import server_of

    app = server_of(model)
    print(f"answers at {address}/invocations; end with Ctrl-C", flush=True)
    most = WAITING + 1  # uvicorn counts the one that it refuses
    uvicorn.run(app, host=options.host, port=port, log_level="warning", limit_concurrency=most)
