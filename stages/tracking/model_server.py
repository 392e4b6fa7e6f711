"""MLflow's model server for one model, behind a guard: every mistake is a 4xx with one sentence.

MLflow's server reads a request of any size, of any number of photos, in forms that take a multiple
of its size, and tells what it fails with in many lines, with the data in it; the guard in front of
it does not. What takes too long is a 504 with a sentence.
"""

import csv
import json
import sys
import textwrap
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from io import StringIO
from typing import Any

from mlflow.environment_variables import MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import PyFuncModel, scoring_server
from PIL import Image

from stages.data.errors import UserError
from stages.data.photos import PHOTO_FORMATS
from stages.models.storage import Classifier
from stages.tracking.request_body import MOST_BYTES, TOO_LARGE, Message, Receive, body_of
from stages.tracking.served_model import (
    ALLOWED,
    COLUMN,
    ERRORS_AS_ROWS,
    Limits,
    ServedModel,
    contents_of,
    signature_of,
)

MOST_IMAGES = 1000  # in a request
MOST_PIXELS = 50_000_000  # of a photo: cameras of phones have as many
# Bytes of Pillow's pieces of a photo. Those of up to 32 MiB glibc keeps for the thread that had
# them: three requests at once took 1.4 GiB, and 0.7 GiB so.
PIECE = 64 * 2**20
# In a request: 64 MiB of `[],[],[],` would take gigabytes. Base64 in lines has fewer, too.
MOST_VALUES = 1_000_000
LONGEST = 300  # letters of a sentence
MORE = "ask for the others in another request"
# Not Parquet, of which a small file can fill the memory.
JSON, CSV = scoring_server.CONTENT_TYPE_JSON, scoring_server.CONTENT_TYPE_CSV
SPLIT, RECORDS = scoring_server.DF_SPLIT, scoring_server.DF_RECORDS
FORMATS = (scoring_server.INPUTS, scoring_server.INSTANCES, SPLIT, RECORDS)
EXAMPLES = "docs/serve.md has examples"
ASKED = "/invocations"
PATHS = f"{ASKED} (POST), /ping, /health, /version"
TIMEOUT: Any = MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT

Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

csv.field_size_limit(MOST_BYTES)


def server_of(classifier: Classifier) -> App:
    """MLflow's server of a model, as an ASGI application.

    Raises:
        UserError: the environment has a time limit that is none.
    """
    try:
        seconds = TIMEOUT.get()
    except ValueError:
        allowed = "allowed: a whole number of seconds"
        raise UserError(f"{TIMEOUT.name} is {TIMEOUT.get_raw()!r}; {allowed}") from None
    Image.core.set_block_size(PIECE)  # type: ignore[attr-defined]  # as PILLOW_BLOCK_SIZE does
    # MLflow is not told what photos come as: of base64 it would leave out what is none.
    signature = ModelSignature(params=signature_of(classifier.classes).params)
    flavors = {"python_function": {"loader_module": ServedModel.__module__}}
    served = ServedModel(classifier, Limits(MOST_PIXELS, PHOTO_FORMATS, seconds))
    model = PyFuncModel(Model(signature=signature, flavors=flavors), served)
    return guarded(scoring_server.init(model))


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
        if (scope["method"], scope["path"]) == ("POST", ASKED):
            given = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
            content_type, _, parameter = given.lower().replace(" ", "").partition(";")
            if content_type not in (JSON, CSV) or parameter not in ("", "charset=utf-8"):
                what = f"the content type is {given!r}; allowed: {JSON} and {CSV}, in UTF-8"
                await _refuse(send, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{what} ({EXAMPLES})")
                return
            try:
                body = plain(body, is_csv=content_type == CSV)
            except UserError as error:
                await _refuse(send, HTTPStatus.BAD_REQUEST, str(error))
                return
            scope = {**scope, "headers": [(b"content-type", JSON.encode())]}
        await _answer(app, scope, body, receive, send)

    return guard


def plain(body: bytes, *, is_csv: bool) -> bytes:
    """What is asked, in JSON of the form in which MLflow changes no text and wastes no memory.

    Of `inputs` and `instances` it makes arrays, all cells of which are as wide as the longest: a
    photo of 6 MB and a thousand empty ones would take 6 GB.

    Raises:
        UserError: it is no such request.
    """
    if not body:
        raise UserError(f"the request is empty; {EXAMPLES}")
    if body.count(b",") + body.count(b"\n") > MOST_VALUES:
        raise UserError(f"the request has more than {MOST_VALUES:,} values; {ALLOWED}")
    try:
        text = body.decode("utf-8-sig")
        request = _split(text) if is_csv else json.loads(text)
        return json.dumps(_asked(request), ensure_ascii=False).encode()
    except UnicodeError:  # on the way back: half of a letter, as in "\ud800"
        raise UserError("the request is no text in UTF-8; compressed ones are not read") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"the request is no JSON from {where} on; {EXAMPLES}") from None
    except (RecursionError, ValueError):
        what = "the request is nested too deep, or has a number of thousands of digits"
        raise UserError(f"{what}; {EXAMPLES}") from None


def _split(table: str) -> dict[str, Any]:
    """A table of CSV as a request."""
    header, *rows = [row for row in csv.reader(StringIO(table, newline="")) if row] or [[]]
    return {SPLIT: {"columns": header, "data": rows}}


def _asked(request: Any) -> dict[str, Any]:
    """A request for MLflow, of photos in any of its formats.

    Raises:
        UserError: it is none.
    """
    names = [name for name in FORMATS if isinstance(request, dict) and name in request]
    if len(names) != 1:
        allowed = f"allowed: a JSON object with one of {', '.join(FORMATS)}"
        raise UserError(f"the request has {' and '.join(names) or 'no photos'}; {allowed}")
    given, params = request[names[0]], request.get("params") or {}
    if not isinstance(params, dict) or not isinstance(params.get(ERRORS_AS_ROWS, False), bool):
        raise UserError(f'params are wrong; allowed: {{"{ERRORS_AS_ROWS}": true}} or false')
    if names[0] == SPLIT:
        try:
            given = [dict(zip(given["columns"], row, strict=True)) for row in given["data"]]
        except (LookupError, TypeError, ValueError):
            what = "the table has no columns, or rows that do not fit them"
            raise UserError(f"{what}; {ALLOWED}") from None
    contents = contents_of(given)
    if len(contents) > MOST_IMAGES:
        raise UserError(
            f"there are {len(contents):,} photos; allowed: up to {MOST_IMAGES:,}; {MORE}"
        )
    return {RECORDS: [{COLUMN: content} for content in contents], "params": params}


async def _answer(app: App, scope: Message, body: bytes, receive: Receive, send: Send) -> None:
    """Pass a request on, and the answer back; of one that tells a mistake, a sentence."""
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    kept: list[Message] = []

    async def receive_whole() -> Message:
        return whole.pop() if whole else await receive()

    async def keep(message: Message) -> None:
        kept.append(message)

    await app(scope, receive_whole, keep)
    status = kept[0]["status"]
    if status < HTTPStatus.BAD_REQUEST:
        for message in kept:
            await send(message)
        return
    said = b"".join(message.get("body", b"") for message in kept[1:])
    await _refuse(send, status, sentence_of(said.decode(errors="replace")))


async def _refuse(send: Send, status: int, sentence: str) -> None:
    shown = textwrap.shorten(sentence[: 2 * LONGEST], LONGEST, placeholder=" …")
    body = json.dumps({"message": shown}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def sentence_of(said: str) -> str:
    """What matters of what MLflow or FastAPI answers to a mistake."""
    if said == "Request processing time exceeded limit":
        allowed = "ask for fewer photos, or later"
        return f"the answer took more than {TIMEOUT.get()} seconds; {allowed}"
    try:
        answer = json.loads(said)
        if "unexpected error" in said:  # a mistake of ours, for whoever runs the server
            print(answer.get("stack_trace"), file=sys.stderr)
        said = str(answer.get("message") or answer["detail"])
    except (ValueError, AttributeError, LookupError):
        pass
    if said in ("Not Found", "Method Not Allowed"):
        said = f"{said}; allowed: {PATHS}"
    return said.rpartition("\nError: ")[2]
