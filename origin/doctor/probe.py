"""Requests as a browser makes them, each bounded in time and bytes, with the time of every piece.

A library's client would hide what is looked for here: doubled headers, the time of each piece of a stream,
the protocol that TLS agreed on. So this is a socket and an HTTP/1.1 parser.
"""

from __future__ import annotations

import base64
import gzip
import math
import secrets
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

import brotli
import httptools

from shared_state.errors import shown

__all__ = ["Answer", "NotAnswered", "Piece", "Probe", "Target", "new_key"]

#: Of the head of an answer. A proxy that sends more than this is broken.
HEAD_MAX_BYTES: Final = 65_536
#: Of a body that is read to its end: a page with a whole match in it is a tenth of this.
BODY_MAX_BYTES: Final = 4_194_304
#: Of a body once it is decompressed.
DECODED_MAX_BYTES: Final = 16_777_216
#: Addresses of all requests of one examination: what a page names decides how many there are.
REQUESTS_MAX: Final = 120
REDIRECTS_MAX: Final = 5


class NotAnswered(Exception):
    """There was no HTTP answer: nobody listens, TLS failed, it took too long, it is no HTTP."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address, read.

    Attributes:
        scheme: ``http`` or ``https``.
        host: without brackets.
        port: given or the scheme's own.
        path: with the query; begins with a slash.
    """

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Target:
        """Read an address.

        Raises:
            ValueError: it is none of ``http`` or ``https``, or has a user name, white space or control
                characters.
        """
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError(f"{shown(url)}: an address has only printable ASCII, without spaces")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError(f"{shown(url)}: must be http://host/… or https://host/…")
        if parts.username is not None:
            raise ValueError("an address with a user name or a password is not taken")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        return cls(parts.scheme, parts.hostname, port, path)

    @property
    def authority(self) -> str:
        """As ``Host`` has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """``https://host:port``."""
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a body, and when it came, monotonic seconds."""

    at_s: float
    data: bytes


@dataclass(slots=True)
class Answer:
    """An answer.

    Attributes:
        url: what was asked for.
        status: 0 before the head was complete.
        headers: as they came, doubled ones twice; names in lower case.
        pieces: the body as it came, not decompressed.
        asked_s, head_s: when the request was sent and when the head was complete, monotonic seconds.
        over_s: when reading ended, monotonic seconds.
        asked_utc_s: this machine's clock at the middle of the time between them.
        ended: whether the body came to its end; False if it was cut, is too long, or reading was stopped.
        cut: whether the connection ended before the body did.
    """

    url: str
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    asked_s: float = 0.0
    head_s: float = 0.0
    over_s: float = 0.0
    asked_utc_s: float = 0.0
    ended: bool = False
    cut: bool = False

    @property
    def raw(self) -> bytes:
        """The body as it came."""
        return b"".join(piece.data for piece in self.pieces)

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for known, value in self.headers if known == name.lower()]

    def get(self, name: str) -> str:
        """A header, several joined as HTTP joins them; empty if it is not there."""
        return ", ".join(self.all(name))

    @property
    def media_type(self) -> str:
        """Of ``Content-Type``, without parameters, in lower case."""
        return self.get("content-type").partition(";")[0].strip().lower()

    @property
    def coding(self) -> str:
        """``Content-Encoding``; empty for none."""
        coding = self.get("content-encoding").strip().lower()
        return "" if coding == "identity" else coding

    def body(self) -> bytes:
        """The body, decompressed.

        Raises:
            ValueError: it is not what its ``Content-Encoding`` says, or too large.
        """
        decode = _DECODERS.get(self.coding)
        if decode is None:
            raise ValueError(f"Content-Encoding {shown(self.coding)} was not asked for")
        try:
            return decode(self.raw)
        except (OSError, EOFError, zlib.error, brotli.error) as error:
            raise ValueError(f"the body is not {self.coding}: {error}") from None

    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced. Empty if it cannot be decompressed."""
        try:
            return self.body().decode("utf-8", "replace")
        except ValueError:
            return ""


def _gunzip(data: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    plain = inflater.decompress(data, DECODED_MAX_BYTES)
    if inflater.unconsumed_tail:
        raise ValueError(f"more than {DECODED_MAX_BYTES} bytes when decompressed")
    if not inflater.eof:
        raise gzip.BadGzipFile("it ends too soon")
    return plain


def _unbrotli(data: bytes) -> bytes:
    inflater = brotli.Decompressor()
    plain: bytes = inflater.process(data, output_buffer_limit=DECODED_MAX_BYTES)
    if not inflater.can_accept_more_data() and not inflater.is_finished():
        raise ValueError(f"more than {DECODED_MAX_BYTES} bytes when decompressed")
    if not inflater.is_finished():
        raise gzip.BadGzipFile("it ends too soon")
    return plain


_DECODERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "": lambda data: data,
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "br": _unbrotli,
}


class _Parsed:
    """What ``httptools`` calls."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.head_complete = False
        self.message_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_complete:
            return  # a trailer
        self._answer.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.head_complete = True
        self._answer.head_s = time.monotonic()

    def on_body(self, data: bytes) -> None:
        self._answer.pieces.append(Piece(time.monotonic(), data))

    def on_message_complete(self) -> None:
        self.message_complete = True


class Probe:
    """Asks. One connection for each request, so that no answer depends on another's.

    Args:
        timeout_s: for a connection and the head of an answer, and again for the rest of a body that is read
            to its end, seconds.
        ca_file: certificates that are trusted instead of the system's; empty: the system's.
    """

    def __init__(self, *, timeout_s: float = 10.0, ca_file: str = "") -> None:
        self.timeout_s = timeout_s
        self.asked = 0
        self._ca_file = ca_file
        #: Set once TLS was judged: what else is wrong is still to be found.
        self.verify = True

    def context(self, *, verify: bool | None = None) -> ssl.SSLContext:
        """TLS as a browser speaks it.

        Raises:
            NotAnswered: the file of certificates cannot be read.
        """
        try:
            context = ssl.create_default_context(cafile=self._ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise NotAnswered(f"{shown(self._ca_file)}: no file of certificates: {error}") from None
        if not (self.verify if verify is None else verify):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def connect(self, target: Target, context: ssl.SSLContext | None = None) -> socket.socket:
        """A connection, with TLS if the scheme says so.

        Args:
            target: where to.
            context: instead of ``context()``.

        Raises:
            NotAnswered: nobody listens there, or TLS failed.
            ssl.SSLError: as itself if ``context`` was given.
        """
        try:
            plain = socket.create_connection((target.host, target.port), timeout=self.timeout_s)
        except (OSError, UnicodeError) as error:
            raise NotAnswered(f"{target.authority}: {error}") from None
        if target.scheme == "http":
            return plain
        try:
            made = context or self.context()
            return made.wrap_socket(plain, server_hostname=target.host)
        except (OSError, ValueError) as error:
            plain.close()
            if context is not None and isinstance(error, ssl.SSLError):
                raise
            raise NotAnswered(f"{target.authority}: TLS failed: {error}") from None

    def get(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        read_for_s: float = math.inf,
        until: Callable[[Answer], bool] | None = None,
        head_within_s: float | None = None,
        body_max_bytes: int = BODY_MAX_BYTES,
    ) -> Answer:
        """Ask for one address. Redirects are not followed.

        Args:
            url: the address.
            headers: beside ``Host`` and ``Connection``; without ``Accept-Encoding`` it is that of a browser.
            method: ``GET``, ``HEAD`` or ``OPTIONS``.
            read_for_s: of a stream: how long to read, seconds from its head.
            until: of a stream: called after each piece; True ends the reading.
            head_within_s: for the head, instead of ``timeout_s``, seconds.
            body_max_bytes: more of a body is not read.

        Returns:
            The answer. If reading was stopped by time, bytes or ``until`` it has what came so far.

        Raises:
            NotAnswered: no complete head came.
        """
        self.asked += 1
        if self.asked > REQUESTS_MAX:
            raise NotAnswered(f"{url}: not asked, this examination has made its {REQUESTS_MAX} requests")
        try:
            target = Target.of(url)
        except ValueError as error:
            raise NotAnswered(str(error)) from None
        sent = {"Accept-Encoding": "gzip, br", "User-Agent": "touchline-doctor", **(headers or {})}
        lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.authority}", "Connection: close"]
        if "Upgrade" in sent:
            lines[2] = "Connection: Upgrade"
        lines += [f"{name}: {value}" for name, value in sent.items() if value]
        answer = Answer(url)
        with self.connect(target) as connection:
            within_s = self.timeout_s if head_within_s is None else head_within_s
            answer.asked_s = time.monotonic()
            clock_s = time.time()
            try:
                connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
                self._read(
                    connection, answer, method, within_s,
                    read_for_s, until, body_max_bytes,
                )  # fmt: skip
            except TimeoutError:
                if not answer.head_s:
                    raise NotAnswered(f"{url}: no complete head within {within_s:g} s") from None
            except OSError as error:
                if not answer.head_s:
                    raise NotAnswered(f"{url}: {error}") from None
                answer.cut = not answer.ended
        answer.over_s = time.monotonic()
        answer.asked_utc_s = clock_s + (answer.head_s - answer.asked_s) / 2
        return answer

    def follow(self, url: str, headers: Mapping[str, str] | None = None) -> tuple[Answer, Sequence[str]]:
        """Ask as ``get``, and follow redirects.

        Returns:
            The last answer, and the addresses that were gone through.

        Raises:
            NotAnswered: as ``get``, or there are more than 5 redirects.
        """
        through: list[str] = []
        while True:
            answer = self.get(url, headers)
            if answer.status not in (301, 302, 303, 307, 308) or not answer.get("location"):
                return answer, through
            through.append(url)
            if len(through) > REDIRECTS_MAX:
                raise NotAnswered(
                    f"{through[0]}: more than {REDIRECTS_MAX} redirects, the last one from {url}"
                )
            url = urljoin(url, answer.get("location"))

    def _read(
        self,
        connection: socket.socket,
        answer: Answer,
        method: str,
        head_within_s: float,
        read_for_s: float,
        until: Callable[[Answer], bool] | None,
        body_max_bytes: int,
    ) -> None:
        parsed = _Parsed(answer)
        parser = httptools.HttpResponseParser(parsed)
        deadline_s = answer.asked_s + head_within_s
        received = 0
        while True:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                if not parsed.head_complete:
                    raise TimeoutError
                return
            connection.settimeout(left_s)
            data = connection.recv(65_536)
            if not data:
                if not parsed.head_complete:
                    raise ConnectionError("the connection was closed before an answer came")
                # Without a length the end of the connection is the end of the body.
                has_length = (
                    answer.get("content-length") or "chunked" in answer.get("transfer-encoding").lower()
                )
                answer.cut = bool(has_length)
                answer.ended = not answer.cut
                return
            received += len(data)
            had_head = parsed.head_complete
            try:
                parser.feed_data(data)
            except httptools.HttpParserUpgrade:
                answer.status, answer.ended = parser.get_status_code(), True
                return
            except httptools.HttpParserError as error:
                raise ConnectionError(f"what came is no HTTP: {error}") from None
            if not parsed.head_complete:
                if received > HEAD_MAX_BYTES:
                    raise ConnectionError(f"the head of the answer is longer than {HEAD_MAX_BYTES} bytes")
                continue
            if not had_head:
                answer.status = parser.get_status_code()
                limit_s = self.timeout_s if math.isinf(read_for_s) else read_for_s
                deadline_s = answer.head_s + limit_s
            if parsed.message_complete or method == "HEAD":
                answer.ended = True
                return
            if received > body_max_bytes or (until is not None and until(answer)):
                return


def new_key() -> str:
    """A ``Sec-WebSocket-Key``."""
    return base64.b64encode(secrets.token_bytes(16)).decode()
