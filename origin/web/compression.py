"""Pages, polls and errors in br, zstd or gzip for those who take it; the widget's build compresses its files.

A compressed answer has a weak ``ETag``: the same state in other bytes. A validator of either form gets 304.
Streams and held long-polls are the stream worker's and never compressed: one kept answer is for everybody.
Levels were chosen by ``python -m bench.bench_compression`` (docs/operations.md has the figures).
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable, Mapping
from typing import Final

import brotli
from flask import Flask, Response, request
from werkzeug.datastructures import Accept

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["ENCODERS", "LARGE_BYTES", "MIN_BYTES", "chosen_coding", "init_app", "quality"]

#: A shorter body fits into one packet as it is.
MIN_BYTES: Final = 1_024
#: From here on speed counts more than size: the page of a very long match takes a tenth of the time so.
LARGE_BYTES: Final = 256 * 1024
_TYPES: Final = frozenset({"text/html", "application/json"})


def _br(body: bytes) -> bytes:
    packed: bytes = brotli.compress(body, quality=1 if len(body) >= LARGE_BYTES else 5)
    return packed


def _zstd(body: bytes) -> bytes:
    return zstd.compress(body, level=1 if len(body) >= LARGE_BYTES else 5)


def _gzip(body: bytes) -> bytes:
    # Without a time in it, or the same page would be other bytes each second.
    return gzip.compress(body, 1 if len(body) >= LARGE_BYTES else 5, mtime=0)


#: By preference among those that a client likes equally: the smaller first.
ENCODERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {"br": _br, "zstd": _zstd, "gzip": _gzip}


def quality(accepted: Accept, coding: str) -> float:
    """How much a client likes a coding, from 0 (it does not take it) to 1.

    ``x-gzip`` is gzip (RFC 9110).
    """
    if coding == "gzip":
        return float(max(accepted["gzip"], _named(accepted, "x-gzip")))
    return float(accepted[coding])


def chosen_coding(accepted: Accept, available: Mapping[str, object]) -> str:
    """The coding that a client likes best among those that there are; "" is none (identity).

    Args:
        accepted: its ``Accept-Encoding``.
        available: codings, by the server's preference.
    """
    best, best_quality = "", 0.0
    for coding in available:
        if (liked := quality(accepted, coding)) > best_quality:
            best, best_quality = coding, liked
    # A client that names identity may prefer it; one that does not name it has no wish.
    return "" if best_quality < _named(accepted, "identity") else best


def _named(accepted: Accept, coding: str) -> float:
    return max((liked for value, liked in accepted if value.lower() == coding), default=0.0)


def _refuses_identity(accepted: Accept) -> bool:
    """``identity;q=0``, or ``*;q=0`` where identity is not named."""
    named = [liked for value, liked in accepted if value.lower() == "identity"]
    return max(named) <= 0 if named else any(value == "*" and liked <= 0 for value, liked in accepted)


def init_app(app: Flask) -> None:
    """Compress the answers of an application."""
    app.after_request(_compress)


def _compress(response: Response) -> Response:
    has_its_own = "Content-Encoding" in response.headers or "Accept-Encoding" in response.vary
    if has_its_own or not (response.status_code == 304 or response.mimetype in _TYPES):
        return response
    response.vary.add("Accept-Encoding")
    coding = chosen_coding(request.accept_encodings, ENCODERS)
    if not coding:
        return response
    if response.status_code != 304:
        body = response.get_data()
        if not body or (len(body) < MIN_BYTES and not _refuses_identity(request.accept_encodings)):
            return response
        response.set_data(ENCODERS[coding](body))
        response.headers["Content-Encoding"] = coding
    tag, _ = response.get_etag()
    if tag is not None:
        response.set_etag(tag, weak=True)
    return response
