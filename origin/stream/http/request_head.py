"""The head of any request, read once: its request line, its path as the application will see it, its Host.

The stream worker and the application behind the threads decide by the same value: a path is decoded,
repeated slashes are merged and dot segments are removed here, and gunicorn gets a request line with the
result. Two readers of one path that disagree would give a thread to a viewer.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from origin.errors import RequestError
from origin.stream.http.long_poll_request import is_long_poll

__all__ = [
    "RequestLine",
    "Target",
    "canonical_head",
    "check_host",
    "header_value",
    "header_values",
    "request_line",
]

#: A head ends behind this.
HEAD_END: Final = b"\r\n\r\n"
_REQUEST_LINE: Final = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([^\x00-\x20\x7f]+) HTTP/(\d\.\d)\r\n"
)
_HTTP_0_9: Final = re.compile(rb"[A-Z]{1,16} /[^\x00-\x20\x7f]*\r\n")
_ABSOLUTE: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
# RFC 3986 section 3.2.2 and 3.2.3: a registered name or an IPv4 address, or an IP literal; then a port.
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
# What may stand in a path as it is (RFC 3986 section 3.3), beside what ``quote`` never touches.
_PATH_SAFE: Final = "/!$&'()*+,;=:@~"
# So that strangers fill half a megabyte of memory with them at the most.
_KNOWN_TARGET_MAX_BYTES: Final = 512
_STREAM_PREFIXES: Final = ("/stream/", "/ws/match/")
_STREAM_OF_SEVERAL: Final = "/stream"


class Target(NamedTuple):
    """What a request names.

    Attributes:
        path: as WSGI's ``PATH_INFO`` has it: decoded once, each character a byte (latin-1); slashes merged
            and dot segments removed. ``*`` for ``OPTIONS *``.
        query: what stands behind the first ``?``, as it came.
        encoded: both, as the target of a request line.
        is_stream: whether the hub answers it.
    """

    path: str
    query: str
    encoded: bytes
    is_stream: bool


class RequestLine(NamedTuple):
    """The first line of a request.

    Attributes:
        version: ``1.0``, ``1.1`` or another.
    """

    method: str
    target: Target
    version: str


def _target(raw: bytes) -> Target:
    """A request target; a short one from memory, since readers often ask for the same."""
    return _known_target(raw) if len(raw) <= _KNOWN_TARGET_MAX_BYTES else _read_target(raw)


@lru_cache(maxsize=1_024)
def _known_target(raw: bytes) -> Target:
    return _read_target(raw)


def _read_target(raw: bytes) -> Target:
    """Read a request target (RFC 9112 section 3.2) in origin form, absolute form or as ``*``."""
    absolute = _ABSOLUTE.match(raw)
    if absolute is not None:
        raw = raw[absolute.end() :]
        if not raw.startswith(b"/"):
            raw = b"/" + raw
    raw = raw.partition(b"#")[0]  # a fragment is no part of a target; some clients send it
    encoded, mark, query = raw.partition(b"?")
    if encoded == b"*":
        return Target("*", query.decode("latin-1"), raw, False)
    decoded = unquote_to_bytes(encoded)
    path = _without_dots(decoded.decode("latin-1"))
    return Target(
        path,
        query.decode("latin-1"),
        quote(path.encode("latin-1"), safe=_PATH_SAFE).encode("ascii") + mark + query,
        path == _STREAM_OF_SEVERAL or path.startswith(_STREAM_PREFIXES) or is_long_poll(path),
    )


def _without_dots(path: str) -> str:
    """Merge slashes and remove dot segments (RFC 3986 section 5.2.4), once and after decoding."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    ends_with_slash = bool(kept) and segments[-1] in ("", ".", "..")
    return "/" + "/".join(kept) + ("/" if ends_with_slash else "")


def request_line(head: bytes | bytearray) -> RequestLine:
    """Read the request line that a head begins with.

    Raises:
        RequestError: 400 it is not one; 505 an HTTP version that is not spoken here.
    """
    found = _REQUEST_LINE.match(head)
    if found is None:
        if _HTTP_0_9.match(head):
            raise RequestError(505, "http_version", "HTTP 0.9 is not spoken here")
        shown = bytes(head[:80]).split(b"\r\n")[0].decode("latin-1")
        raise RequestError(400, "malformed_request", f"not a request line: {shown!r}")
    method, raw, version = found[1].decode("ascii"), bytes(found[2]), found[3].decode("ascii")
    if version not in ("1.0", "1.1"):
        raise RequestError(505, "http_version", f"HTTP {version} is not spoken here")
    if method == "CONNECT":
        raise RequestError(405, "method_not_allowed", "CONNECT is not allowed here", headers={"Allow": "GET"})
    return RequestLine(method, _target(raw), version)


def check_host(head: bytes, version: str) -> None:
    """Refuse a head without exactly one Host that can be one (RFC 9112 section 3.2).

    Raises:
        RequestError: 400.
    """
    hosts = header_values(head, head.lower(), b"\nhost:")
    if len(hosts) > 1:
        raise RequestError(400, "malformed_request", f"a request has one Host, not {len(hosts)}")
    if not hosts:
        if version == "1.1":
            raise RequestError(400, "malformed_request", "an HTTP/1.1 request must have a Host")
        return
    if not _HOST.fullmatch(hosts[0]):
        raise RequestError(400, "malformed_request", f"Host {hosts[0][:80].decode('latin-1')!r}: is none")


def canonical_head(head: bytes, line: RequestLine) -> bytes:
    """The same head with the target as it was read."""
    rest = head[head.index(b"\r\n") :]
    return b"%b %b HTTP/%b%b" % (line.method.encode(), line.target.encoded, line.version.encode(), rest)


def header_value(head: bytes, lower: bytes, mark: bytes) -> bytes | None:
    """The value of a header, the first where there are several.

    Args:
        head: the head, whose syntax has been checked.
        lower: the same in lower case.
        mark: a line feed, the name in lower case, and the colon.
    """
    at = lower.find(mark)
    if at < 0:
        return None
    at += len(mark)
    return head[at : head.find(b"\r", at)].strip()


def header_values(head: bytes, lower: bytes, mark: bytes) -> list[bytes]:
    """All values of a header, in order; arguments as of ``header_value``."""
    values = []
    at = lower.find(mark)
    while at >= 0:
        at += len(mark)
        values.append(head[at : head.find(b"\r", at)].strip())
        at = lower.find(mark, at)
    return values
