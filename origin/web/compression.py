"""Pages, polls and errors in gzip for those who take it; files of the widget are compressed by their build.

A compressed answer has a weak ``ETag``: the same state in other bytes. A validator of either form gets 304.
"""

from __future__ import annotations

import gzip
from typing import Final

from flask import Flask, Response, request

__all__ = ["MIN_BYTES", "init_app"]

#: A shorter body fits into one packet as it is.
MIN_BYTES: Final = 1_024
# Of zlib: beyond it a page costs twice the time for a few bytes.
_LEVEL: Final = 5
_TYPES: Final = frozenset({"text/html", "application/json"})


def init_app(app: Flask) -> None:
    """Compress the answers of an application."""
    app.after_request(_compress)


def _compress(response: Response) -> Response:
    has_its_own = "Content-Encoding" in response.headers or "Accept-Encoding" in response.vary
    if has_its_own or not (response.status_code == 304 or response.mimetype in _TYPES):
        return response
    response.vary.add("Accept-Encoding")
    if request.accept_encodings["gzip"] <= 0:
        return response
    if response.status_code != 304:
        body = response.get_data()
        if len(body) < MIN_BYTES:
            return response
        # Without a time in it, or the same page would be other bytes each second.
        response.set_data(gzip.compress(body, _LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    tag, _ = response.get_etag()
    if tag is not None:
        response.set_etag(tag, weak=True)
    return response
