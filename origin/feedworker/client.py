"""A vendor over HTTP, without trust: every wait, size and redirect has a limit.

A vendor that drips a byte a second, sends a gigabyte, a bomb of zeros under gzip or a redirect to itself
costs one failed attempt. Deadlines are of the whole exchange, head and body: a limit on each read alone
is one that a slow sender keeps for ever.

The key goes only to the origin it was given for: where a redirect leads elsewhere, the address itself is
the credential, and a redirect out of TLS is not followed. No message here shows a query or a password.
"""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, NamedTuple

import httpx

from origin.errors import OriginError
from origin.feeds import DOCUMENT_MAX_BYTES

__all__ = ["ClientLimits", "Document", "Validators", "VendorClient", "VendorError", "shown_url"]

USER_AGENT: Final = "touchline-ingest"
REDIRECTS_MAX: Final = 3
# What is kept of a body that was refused, as evidence.
EVIDENCE_MAX_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """How long and how much.

    Attributes:
        connect_s: until a connection stands.
        exchange_s: from the request to the last byte of the document, redirects included.
        body_max_bytes: of a document, after decompression.
    """

    connect_s: float = 5.0
    exchange_s: float = 20.0
    body_max_bytes: int = DOCUMENT_MAX_BYTES


class VendorError(OriginError):
    """A vendor did not give what was asked for.

    Attributes:
        result: in a word, for the metrics.
        hint_ms: how long it asks to wait.
        headers: of its answer, as far as there was one.
        body: the first of what it sent instead, where that is worth keeping.
    """

    code = "vendor_unavailable"

    def __init__(
        self,
        result: str,
        message: str,
        *,
        hint_ms: int | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, result=result)
        self.result = result
        self.hint_ms = hint_ms
        self.headers = dict(headers or {})
        self.body = body


class Validators(NamedTuple):
    """What makes the next request conditional; either may be empty."""

    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """One answer with a body."""

    body: bytes
    validators: Validators
    headers: dict[str, str] = field(default_factory=dict, compare=False)  # every answer has its own date


class VendorClient:
    """One vendor; an asynchronous context manager.

    Args:
        headers: that carry the key.
        plain_headers: of every request, with nothing secret in them.
    """

    def __init__(
        self,
        headers: Mapping[str, str] | None = None,
        limits: ClientLimits | None = None,
        *,
        plain_headers: Mapping[str, str] | None = None,
    ) -> None:
        self.limits = limits or ClientLimits()
        self._secret = dict(headers or {})
        self._http = httpx.AsyncClient(
            headers={"User-Agent": USER_AGENT, **(plain_headers or {})},
            follow_redirects=False,  # each is looked at first
            # Reading is limited as a whole, by exchange_s.
            timeout=httpx.Timeout(self.limits.exchange_s, connect=self.limits.connect_s, read=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    async def __aenter__(self) -> VendorClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def fetch(self, url: str, validators: Validators = Validators()) -> Document | None:  # noqa: B008
        """Read a document whole.

        Returns:
            None if it is the one that the validators are of.

        Raises:
            VendorError: no document, and why.
        """
        headers = {"Accept-Encoding": "gzip"}
        if validators.etag:
            headers["If-None-Match"] = validators.etag
        if validators.last_modified:
            headers["If-Modified-Since"] = validators.last_modified
        try:
            async with asyncio.timeout(self.limits.exchange_s):
                response = await self._get(url, headers)
                try:
                    if response.status_code == 304 and any(validators):
                        return None
                    if response.status_code != 200:
                        raise _refusal(response)
                    body = await self._body(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise VendorError("timeout", f"no whole answer within {self.limits.exchange_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _network(error) from error
        given = response.headers
        return Document(body, Validators(given.get("etag", ""), given.get("last-modified", "")), dict(given))

    @asynccontextmanager
    async def stream(self, url: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a stream; what comes is yielded as it comes, and how long to wait for it is the caller's.

        Raises:
            VendorError: it cannot be opened; while it is read, that it broke.
        """
        try:
            async with asyncio.timeout(self.limits.exchange_s):
                response = await self._get(url, {"Accept-Encoding": "identity"})
        except TimeoutError:
            raise VendorError("timeout", f"no answer within {self.limits.exchange_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _network(error) from error
        try:
            if response.status_code != 200:
                raise _refusal(response)
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise VendorError("unreadable", "the stream is encoded, which was not asked for")
            async with aclosing(_pieces(response)) as pieces:
                yield pieces
        finally:
            await response.aclose()

    async def _get(self, url: str, headers: Mapping[str, str]) -> httpx.Response:
        """The first answer that is no redirect; its body is not read yet."""
        target = home = httpx.URL(url)
        for _ in range(REDIRECTS_MAX + 1):
            secret = self._secret if _origin(target) == _origin(home) else {}
            request = self._http.build_request("GET", target, headers={**headers, **secret})
            response = await self._http.send(request, stream=True)
            if response.status_code not in (301, 302, 303, 307, 308):
                return response
            await response.aclose()
            location = response.headers.get("location", "")
            following = target.join(location)
            secure = following.scheme == "https" or (following.scheme == "http" and home.scheme == "http")
            if not location or not following.host or not secure:
                raise VendorError("redirect", f"it redirects to {shown_url(str(following))!r}: not followed")
            target = following
        raise VendorError("redirect", f"more than {REDIRECTS_MAX} redirects")

    async def _body(self, response: httpx.Response) -> bytes:
        most = self.limits.body_max_bytes
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("gzip", "identity", ""):
            raise VendorError("unreadable", f"its encoding is {encoding[:40]!r}, gzip was asked for")
        inflate = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
        body = bytearray()
        async for piece in response.aiter_raw():
            try:
                # One byte more than allowed is enough to know.
                body += inflate.decompress(piece, most + 1 - len(body)) if inflate else piece
            except zlib.error as error:
                raise VendorError("unreadable", f"is not gzip: {error}", body=piece) from None
            if len(body) > most:
                message = f"a document may be at most {most} bytes"
                raise VendorError("too_large", message, body=bytes(body[:EVIDENCE_MAX_BYTES]))
        if inflate and not inflate.eof:
            raise VendorError("network", "the answer ended within its gzip")
        return bytes(body)


async def _pieces(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in response.aiter_raw():
            yield piece
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise _network(error) from error


def shown_url(url: str) -> str:
    """A URL without what may be secret in it."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return "a URL that cannot be read"
    return str(parts.copy_with(userinfo=b"", query=None, fragment=None))[:200]


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _network(error: Exception) -> VendorError:
    # What httpx says of a redirect can hold its address, and of a header of ours the key; the kind is enough
    # to look further.
    what = str(error) if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError) else ""
    result = "timeout" if isinstance(error, httpx.TimeoutException) else "network"
    return VendorError(result, f"{type(error).__name__}: {what}".rstrip(": "))


def _refusal(response: httpx.Response) -> VendorError:
    status = response.status_code
    hint_ms = _retry_after_ms(response.headers.get("retry-after", ""))
    given = dict(response.headers)
    if status in (401, 403):
        what = "the vendor refuses the key, or it is not for this feed: see TOUCHLINE_FEED_KEY"
        return VendorError("refused", f"{status}: {what}", hint_ms=hint_ms, headers=given)
    if status == 429:
        return VendorError(
            "limited", "429: more requests than the vendor allows", hint_ms=hint_ms, headers=given
        )
    if status >= 500:
        return VendorError(
            "server_error", f"{status}: the vendor is in trouble", hint_ms=hint_ms, headers=given
        )
    return VendorError(
        "client_error", f"{status}: the vendor has no such document", hint_ms=hint_ms, headers=given
    )


def _retry_after_ms(text: str) -> int | None:
    """Seconds or a date; None if it is neither."""
    if text.isascii() and text.isdecimal() and len(text) < 9:
        return int(text) * 1000
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    now = datetime.datetime.now(datetime.UTC)
    return max(0, (when - now) // datetime.timedelta(milliseconds=1))
