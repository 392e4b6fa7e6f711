"""The body of a request to a server of ours, of a limited size."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

MOST_BYTES = 64 * 2**20  # of a request
TOO_LARGE = f"has more than {MOST_BYTES // 2**20} MiB; allowed: up to {MOST_BYTES // 2**20} MiB"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


async def body_of(receive: Receive) -> bytes | None:
    """The body of a request; None if it is too large: then it is read, and not kept."""
    parts, length, more = [], 0, True
    while more:
        message = await receive()
        part = message.get("body", b"")
        length += len(part)
        if length <= MOST_BYTES:
            parts.append(part)
        else:
            parts.clear()
        more = message.get("more_body", False)
    return b"".join(parts) if length <= MOST_BYTES else None
