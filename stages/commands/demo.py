"""Show photos to the models, on a page in the browser: predictions, and where MobileNet sees what.

The page is at http://127.0.0.1:5002, on this machine only unless another host is asked for. It asks
the models of the workspace, and needs no network. It runs until Ctrl-C.
"""

import argparse
import asyncio
import secrets
import sys
from typing import TYPE_CHECKING

from stages.commands.addresses import add_address, address_of, free_port, is_loopback
from stages.commands.report import MODEL_CARD
from stages.data.errors import UserError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from stages.results.demo import DemoModel

WAITING = 64  # requests at once
# Whatever a photo's name or a class is called, nothing but the page's own script runs.
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_address(parser, 5002)


def run(options: argparse.Namespace) -> None:
    """Load the models, and serve the page.

    Raises:
        UserError: no port is free there, or there is no model.
    """
    from stages.tracking import environment

    port = free_port(options.host, options.port)
    address = address_of(options.host, port)
    if not is_loopback(options.host):
        what = "can ask the models: nobody is asked who they are, and nothing is encrypted"
        print(f"WARNING: whoever reaches {address} {what}", file=sys.stderr)
    environment.prepare_environment()  # before MLflow is imported
    print("loading the models …", flush=True)
    import uvicorn

    from stages.results.demo import loaded_models

    app = app_of(loaded_models())
    print(f"the page is at {address}; end with Ctrl-C", flush=True)
    uvicorn.run(app, host=options.host, port=port, log_level="warning", limit_concurrency=WAITING)


def app_of(models: "list[DemoModel]") -> "FastAPI":
    """The page, and what answers it."""
    from fastapi import FastAPI, Request
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

    from stages.results.demo import Demo
    from stages.results.markdown import render
    from stages.results.text import capital, listed
    from stages.tracking.request_body import MOST_BYTES, TOO_LARGE, body_of
    from stages.workflow.revisions import SHORT, workspace

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    demo, turn, commit = Demo(models), asyncio.Lock(), workspace().commit[:SHORT]

    @app.get("/")
    async def page() -> Response:
        nonce = secrets.token_urlsafe(16)
        html = render(
            "demo.html.j2",
            nonce=nonce,
            question=f"{capital(listed(models[0].classifier.classes, 'or'))}?",
            models=models,
            commit=commit,
            has_card=MODEL_CARD.exists(),
            most_bytes=MOST_BYTES,
            too_large=TOO_LARGE,
        )
        policy = {"Content-Security-Policy": POLICY.format(nonce=nonce)}
        return HTMLResponse(html, headers=HEADERS | policy)

    @app.get("/model_card")
    async def card() -> Response:
        if not MODEL_CARD.exists():
            return PlainTextResponse("there is none; `make report` writes it", 404, HEADERS)
        return PlainTextResponse(MODEL_CARD.read_text(encoding="utf-8"), headers=HEADERS)

    @app.post("/answers")
    async def answers(request: Request) -> Response:
        content = await body_of(request.receive)
        if content is None:
            return JSONResponse({"message": f"the file {TOO_LARGE}"}, 413, HEADERS)
        try:
            async with turn:  # a large photo takes memory, and a network all cores
                told = await run_in_threadpool(demo.say, content)
        except UserError as error:
            return JSONResponse({"message": f"the file {error}"}, 400, HEADERS)
        return JSONResponse(told, headers=HEADERS)

    return app
