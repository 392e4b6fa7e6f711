"""MLflow's model server for one model, behind a guard: every mistake is a 4xx with one sentence.

MLflow's server reads a request of any size, of any number of photos, and tells what it fails with
in many lines, with the data in it; the guard in front of it does not.
"""

import json
import sys
import textwrap
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel, scoring_server

from stages.models.storage import Classifier
from stages.tracking.request_body import TOO_LARGE, Message, Receive, body_of
from stages.tracking.served_model import ServedModel, signature_of

MOST_IMAGES = 1000  # in a request
LONGEST = 300  # letters of a sentence
MORE = "ask for the others in another request"
# Not Parquet, of which a small file can fill the memory.
TYPES = (scoring_server.CONTENT_TYPE_JSON, scoring_server.CONTENT_TYPE_CSV)
ASKED = "/invocations"
PATHS = f"{ASKED} (POST), /ping, /health, /version"

Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def server_of(classifier: Classifier) -> App:
    """MLflow's server of a model, as an ASGI application."""
    metadata = Model(
        signature=signature_of(classifier.classes),
        flavors={"python_function": {"loader_module": ServedModel.__module__}},
    )
    served = ServedModel(classifier, most_images=MOST_IMAGES)
    return guarded(scoring_server.init(PyFuncModel(metadata, served)))


def guarded(app: App) -> App:
    """An application that gets bodies of a limited size and known type, and fails in a sentence."""

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body = await body_of(receive)
        if body is None:
            what = f"the request {TOO_LARGE}; {MORE}"
            await _refuse(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what)
            return
        is_asked = (scope["method"], scope["path"]) == ("POST", ASKED)
        if is_asked and (reason := _wrong_type(scope)):
            await _refuse(send, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, reason)
            return
        await _answer(app, scope, body, receive, send)

    return guard


def _wrong_type(scope: Message) -> str:
    """Why a request cannot be read by its content type; empty if it can."""
    given = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
    if given.partition(";")[0].strip() in TYPES:
        return ""
    allowed = " and ".join(TYPES)
    return f"the content type is {given!r}; allowed: {allowed} (docs/serve.md has examples)"


async def _answer(app: App, scope: Message, body: bytes, receive: Receive, send: Send) -> None:
    """Pass a request on, and the answer back; of one that tells a mistake, a sentence."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    kept: list[Message] = []

    async def receive_whole() -> Message:
        return whole.pop() if whole else await receive()

    async def keep(message: Message) -> None:
        kept.append(message)

    try:
        await app(scope, receive_whole, keep)
    except (RecursionError, ValueError) as error:  # of what MLflow does not look at
        what = f"the request cannot be read ({error}); see docs/serve.md for examples"
        await _refuse(send, HTTPStatus.BAD_REQUEST, what)
        return
    status = kept[0]["status"]
    if status < HTTPStatus.BAD_REQUEST:
        for message in kept:
            await send(message)
        return
    said = b"".join(message.get("body", b"") for message in kept[1:])
    await _refuse(send, status, sentence_of(said.decode(errors="replace")))


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"message": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def sentence_of(said: str) -> str:
    """What matters of what MLflow or FastAPI answers to a mistake."""
    try:
        answer = json.loads(said)
        if "unexpected error" in said:  # a mistake of ours, for whoever runs the server
            print(answer.get("stack_trace"), file=sys.stderr)
        said = str(answer.get("message") or answer["detail"])
    except (ValueError, AttributeError, LookupError):
        pass
    if said in ("Not Found", "Method Not Allowed"):
        said = f"{said}; allowed: {PATHS}"
    said = said.partition("\nInput:")[0].rpartition("Error: ")[2]
    return textwrap.shorten(said, LONGEST, placeholder=" …")
