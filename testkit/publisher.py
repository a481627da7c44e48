"""Somebody else's site, which shows our matches: any HTML, with any headers, on an origin of its own."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

__all__ = ["Publisher", "PublisherPage"]

_HTML: Final = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class PublisherPage:
    """One answer of the site.

    Attributes:
        body: what it serves.
        headers: further headers, its Content-Security-Policy for example.
        content_type: the media type.
    """

    body: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = _HTML


class Publisher:
    """A running site; it ends with the ``with`` block.

    Attributes:
        pages: what it serves, by path. A test may change it at any time.
        requests: the paths that were asked for, oldest first.
    """

    def __init__(self) -> None:
        self.pages: dict[str, PublisherPage] = {}
        self.requests: list[str] = []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                site.requests.append(self.path)
                page = site.pages.get(path)
                body = page.body.encode() if page else b""
                self.send_response(200 if page else 404)
                for name, value in (page.headers if page else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", page.content_type if page else _HTML)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by its base
                """Nothing: the test's output is for the test."""

        self._web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._web.serve_forever)

    @property
    def port(self) -> int:
        return self._web.server_port

    @property
    def url(self) -> str:
        """``localhost``, so that it is another origin and another site than an origin on 127.0.0.1."""
        return f"http://localhost:{self._web.server_port}"

    def page(
        self, path: str, body: str, *, headers: Mapping[str, str] | None = None, content_type: str = _HTML
    ) -> str:
        """Serve this at a path; returns the address."""
        self.pages[path] = PublisherPage(body, headers or {}, content_type)
        return self.url + path

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._web.shutdown()
        self._thread.join()
        self._web.server_close()
