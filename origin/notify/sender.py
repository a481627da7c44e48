"""One attempt to deliver: to an address that may be asked, within a time, reading no more than a head.

The address is looked up here and checked here, and the connection goes to the address that was checked: a
name that resolves to another address a moment later cannot lead into a private network. Redirects are not
followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from origin.ingest.signatures import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from origin.notify.endpoints import Endpoint
from shared_state.errors import shown

__all__ = ["Outcome", "is_public", "post", "send"]

#: For a whole attempt: connection, request and the head of the answer, seconds.
ATTEMPT_S: Final = 10.0
HEAD_MAX_BYTES: Final = 16_384
#: A receiver may ask for a pause up to this long, seconds.
RETRY_AFTER_MAX_S: Final = 3_600.0
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r|\n)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        delivered: whether the answer was 2xx.
        reason: what happened otherwise, for people; names no secret.
        is_final: whether another attempt is pointless: the receiver has said 410.
        retry_after_s: the pause that the receiver asked for, seconds; None if it asked for none.
        status: the answer's; None if none came.
    """

    delivered: bool
    reason: str = ""
    is_final: bool = False
    retry_after_s: float | None = None
    status: int | None = field(default=None, compare=False)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet.

    Of an IPv6 address that has an IPv4 one in it (mapped, 6to4, Teredo, NAT64) that one decides.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        within: list[ipaddress.IPv4Address] = [
            one for one in (ip.ipv4_mapped, ip.sixtofour) if one is not None
        ]
        if ip.teredo is not None:
            within += ip.teredo
        if ip in _NAT64:
            within.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if within:
            return all(is_public(str(one)) for one in within)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


def send(endpoint: Endpoint, webhook_id: str, body: bytes, now_s: float) -> Outcome:
    """Try once.

    Args:
        endpoint: where to.
        webhook_id: the same on every attempt.
        body: what is signed and sent.
        now_s: UTC seconds, which are signed too.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Touchline-Webhooks/1",
        ID_HEADER: webhook_id,
        TIMESTAMP_HEADER: str(int(now_s)),
        SIGNATURE_HEADER: " ".join(sign(secret, webhook_id, int(now_s), body) for secret in endpoint.secrets),
    }
    return post(endpoint.url, headers, body, now_s, allow_private=endpoint.allow_private)


def post(url: str, headers: Mapping[str, str], body: bytes, now_s: float, *, allow_private: bool) -> Outcome:
    """Post once.

    Args:
        url: where to, ``https://…`` or ``http://…``.
        headers: further ones; ASCII without line breaks.
        body: what is sent.
        now_s: UTC seconds, which a date in ``Retry-After`` is compared with.
        allow_private: whether it may be in a network that is not public.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    deadline_s = time.monotonic() + ATTEMPT_S
    try:
        address = _address(host, port, allow_private=allow_private)
        with socket.create_connection((address, port), timeout=ATTEMPT_S) as plain:
            connection: socket.socket = plain
            if parts.scheme == "https":
                plain.settimeout(_left_s(deadline_s))
                connection = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
            with connection:
                connection.settimeout(_left_s(deadline_s))
                connection.sendall(_request(url, headers, body))
                return _answer(connection, deadline_s, now_s)
    except _Refused as error:
        return Outcome(False, str(error))
    except TimeoutError:
        return Outcome(False, f"no answer within {ATTEMPT_S:g} s")
    except (OSError, ValueError) as error:
        return Outcome(False, f"{type(error).__name__}: {error}"[:200])


class _Refused(Exception):
    """The address is none that may be asked."""


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _address(host: str, port: int, *, allow_private: bool) -> str:
    """The address to connect to.

    Raises:
        _Refused: the name leads into a network that is not public, be it by one of several addresses.
        OSError: it leads nowhere.
    """
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not allow_private:
        for address in found:
            if not is_public(address):
                raise _Refused(
                    f"{host} is {address}, which is no public address (allow_private = true permits it)"
                )
    return found[0]


def _request(url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    every: Mapping[str, str] = {
        "Host": parts.netloc,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in every.items()), "", ""]
    return "\r\n".join(lines).encode("ascii") + body


def _answer(connection: socket.socket, deadline_s: float, now_s: float) -> Outcome:
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        if len(head) > HEAD_MAX_BYTES:
            return Outcome(False, f"the head of the answer is longer than {HEAD_MAX_BYTES} bytes")
        connection.settimeout(_left_s(deadline_s))
        piece = connection.recv(4_096)
        if not piece:
            return Outcome(False, "the connection was closed before an answer came")
        head += piece
        # 100 Continue and its like are no answer yet.
        while (found := _STATUS_LINE.match(head)) and found[1].startswith(b"1") and b"\r\n\r\n" in head:
            head = head.partition(b"\r\n\r\n")[2]
    found = _STATUS_LINE.match(head)
    if found is None:
        return Outcome(False, f"the answer is no HTTP: {shown(head[:40])}")
    status = int(found[1])
    if 200 <= status < 300:
        return Outcome(True, status=status)
    reason = f"status {status} {http.client.responses.get(status, '')}".rstrip()
    return Outcome(False, reason, status == 410, _retry_after_s(head, now_s), status)


def _retry_after_s(head: bytes, now_s: float) -> float | None:
    found = re.search(rb"(?im)^retry-after:[ \t]*([^\r\n]{1,60})", head)
    if found is None:
        return None
    text = found[1].decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        asked_s = float(text[:12])
    else:
        try:
            asked_s = parsedate_to_datetime(text).timestamp() - now_s
        except (ValueError, OverflowError, OSError):
            return None
    return min(RETRY_AFTER_MAX_S, max(0.0, asked_s))
