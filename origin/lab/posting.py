"""Signed webhooks to an origin on this machine, and where it says a match stands."""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from origin.ingest.signatures import signed_headers
from shared_state.jsontext import Json, JsonObject, compact

__all__ = ["PostError", "Posted", "get", "get_json", "post"]

_TIMEOUT_S: Final = 10.0
_ANSWER_MAX_BYTES: Final = 2**22


class PostError(Exception):
    """The origin did not take the events, or does not answer; ``str()`` is what it said."""


class Posted(NamedTuple):
    """A delivery that the origin's log has.

    Attributes:
        sent_ms: UTC milliseconds before the request.
        answered_ms: UTC milliseconds at its answer.
        bytes: of the body.
    """

    sent_ms: float
    answered_ms: float
    bytes: int


def post(port: int, key: bytes, events: Sequence[JsonObject]) -> Posted:
    """Post events to 127.0.0.1; when this returns, the log has them.

    Raises:
        PostError: they were refused, or nobody answers.
    """
    body = "\n".join(compact(event) for event in events).encode()
    headers = signed_headers(key, f"lab_{secrets.token_hex(12)}", int(time.time()), body)
    headers["Content-Type"] = "application/x-ndjson"
    sent_ms = time.time() * 1_000
    status, answer = _ask(port, "POST", "/ingest/canonical", body, headers)
    if status != 200:
        raise PostError(f"the origin refused the events: {status} {answer[:300].decode('utf-8', 'replace')}")
    return Posted(sent_ms, time.time() * 1_000, len(body))


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of a GET from 127.0.0.1.

    Raises:
        PostError: nobody answers.
    """
    return _ask(port, "GET", path, None, {})


def get_json(port: int, path: str) -> Json:
    """The JSON of an answer with status 200; None for another.

    Raises:
        PostError: nobody answers.
    """
    status, body = get(port, path)
    value: Json = json.loads(body) if status == 200 else None
    return value


def _ask(port: int, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(_ANSWER_MAX_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise PostError(f"the origin at port {port} does not answer: {error}") from None
    finally:
        connection.close()
