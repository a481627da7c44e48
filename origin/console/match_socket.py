"""One window that has a match open: what it sends, and what it gets, over a WebSocket.

flask-sock gives each connection a thread that reads and one that answers. Both are the console's own: the
stream worker takes these connections with a pool for them alone (``origin.stream.worker.worker``), so that
operators take no thread from pages. What a connection may cost has a bound (docs/security.md): its messages'
size, how fast they are read off the socket, how many a second are answered, how long it may leave unread what
it is sent.

From the browser: ``entry`` (see ``entries``) and ``editing``. To the browser: ``welcome``, ``match``,
``operators``, ``logged``, ``refused`` and ``tick``. Each is one JSON object with its kind in ``t``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from simple_websocket import ConnectionClosed

from origin.console.desk import Desk
from origin.console.entries import parse_entry
from origin.console.sign_in import SignIn
from origin.console.store import Presence, Session, Store
from origin.errors import EventLogError, OriginError, RequestError
from shared_state.errors import shown
from shared_state.jsontext import Json, JsonObject, parse

__all__ = ["MESSAGE_MAX_BYTES", "SERVER_OPTIONS", "MatchSocket", "take_socket"]

logger = logging.getLogger(__name__)

MESSAGE_MAX_BYTES: Final = 16_384
#: Messages that one window may send: so many at once, then so many a second. A queue that was written without
#: a network comes at once.
MESSAGES_BURST: Final = 100.0
MESSAGES_PER_S: Final = 20.0
# What is read of one socket, 4 KiB at a time: messages wait in memory until they are answered.
_READS_BURST: Final = 32.0
_READS_PER_S: Final = 32.0
_RECEIVE_BYTES: Final = 4_096
PING_S: Final = 10.0
#: A window that takes nothing for so long is closed.
SEND_S: Final = 5.0
SEND_BUFFER_BYTES: Final = 262_144
# How often a window is looked after: new records, others who came, the end of its session.
_TURN_S: Final = 0.2
_PRESENT_EVERY_S: Final = 1.0
_SEEN_EVERY_S: Final = 4.0
_SESSION_EVERY_S: Final = 2.0
_TICK_S: Final = 3.0

CLOSE_SIGNED_OUT: Final = 4401
CLOSE_RESTART: Final = 1012
CLOSE_TOO_MANY: Final = 1008
CLOSE_PROTOCOL: Final = 1003


class _Bucket:
    """A token bucket on the monotonic clock."""

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst, self._per_s = burst, per_s
        self._tokens, self._at_s = burst, time.monotonic()

    def wait_s(self) -> float:
        """Take one; 0, or the seconds until there is one again, and then none was taken."""
        now_s = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return (1 - self._tokens) / self._per_s
        self._tokens -= 1
        return 0.0


class _PacedSelector(selectors.DefaultSelector):
    """Of one socket: it reports what came no faster than it may be read; the rest waits in the kernel."""

    def __init__(self) -> None:
        super().__init__()
        self._reads = _Bucket(_READS_BURST, _READS_PER_S)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout)
        while ready and (wait_s := self._reads.wait_s()) > 0:
            time.sleep(wait_s)
        return ready


class _ReadingThread(threading.Thread):
    """It must not keep a process that ends."""

    def __init__(self, target: Callable[[], None]) -> None:
        super().__init__(target=target, name="console (_thread)", daemon=True)


#: What flask-sock gives to each connection.
SERVER_OPTIONS: Final[Mapping[str, Any]] = {
    "ping_interval": PING_S,
    "max_message_size": MESSAGE_MAX_BYTES,
    "receive_bytes": _RECEIVE_BYTES,
    "thread_class": _ReadingThread,
    "selector_class": _PacedSelector,
}


class _WindowSocket(socket.socket):
    """The socket of one window; two threads write to it, whole frames each."""

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._sending = threading.Lock()
        # What a window has not taken waits in the kernel, and there is only so much of it.
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.settimeout(SEND_S)

    def send(self, data: Any, flags: int = 0) -> int:
        """All of it.

        Raises:
            OSError: the window is gone, or has taken nothing for too long.
        """
        with self._sending:
            super().sendall(data, flags)
        return len(data)


def take_socket(environ: dict[str, Any]) -> None:
    """Put a socket of the window's own into a request, for flask-sock to use and to close.

    The server has the one that it gave to the request, and closes that itself: two that close one descriptor
    close somebody else's.

    Raises:
        RequestError: 501 this server gives requests no socket that can be used so.
    """
    given = environ.get("gunicorn.socket")
    if given is None or isinstance(given, ssl.SSLSocket):
        raise RequestError(501, "no_stream_tier", "this server has no stream tier: run `touchline serve`")
    environ["gunicorn.socket"] = _WindowSocket(os.dup(given.fileno()))
    # Compression would let a few bytes become many before their size is looked at.
    environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)


class MatchSocket:
    """One window.

    Args:
        ws: of flask-sock.
        count: called with the number of events that an entry has added to the log.
        is_draining: whether this process is about to end.
    """

    def __init__(
        self,
        ws: Any,
        *,
        desk: Desk,
        store: Store,
        sign_in: SignIn,
        token: str,
        session: Session,
        count: Callable[[int], None],
        is_draining: Callable[[], bool],
    ) -> None:
        self._ws = ws
        self._desk = desk
        self._store = store
        self._sign_in = sign_in
        self._token = token
        self._session = session
        self._count = count
        self._is_draining = is_draining
        self._id = secrets.token_urlsafe(9)
        self._editing = ""
        self._messages = _Bucket(MESSAGES_BURST, MESSAGES_PER_S)
        self._sent_version = -1
        self._sent_present: list[Presence] | None = None
        # When each of what is done now and then is due, on the monotonic clock.
        self._session_at_s = self._seen_at_s = self._present_at_s = self._tick_at_s = 0.0

    def run(self) -> None:
        """Until the window is closed, signed out, or the process ends."""
        try:
            self._send({"t": "welcome", "operator": self._session.operator, "connection": self._id, **_now()})
            while self._look_after():
                message = self._ws.receive(timeout=_TURN_S)
                if message is not None and not self._take(message):
                    break
        except (ConnectionClosed, OSError):
            pass
        finally:
            self._store.leave(self._id)
            # Without this the thread that reads would wait for the next ping.
            with contextlib.suppress(OSError):
                self._ws.sock.shutdown(socket.SHUT_RD)

    def _look_after(self) -> bool:
        """Do what is due; whether the window stays."""
        now_s = time.monotonic()
        if self._is_draining():
            return self._close(CLOSE_RESTART, "this server restarts")
        if now_s >= self._session_at_s:
            if not self._sign_in.is_open(self._token):
                return self._close(CLOSE_SIGNED_OUT, "signed out")
            self._session_at_s = now_s + _SESSION_EVERY_S
        if now_s >= self._seen_at_s:
            self._store.be_present(
                self._desk.match_id, Presence(self._id, self._session.operator, self._editing)
            )
            self._seen_at_s = now_s + _SEEN_EVERY_S
        if now_s >= self._present_at_s:
            present = self._store.present(self._desk.match_id)
            if present != self._sent_present:
                self._send(
                    {
                        "t": "operators",
                        "operators": [
                            {"connection": one.connection, "operator": one.operator, "editing": one.editing}
                            for one in present
                        ],
                    }
                )
                self._sent_present = present
            self._present_at_s = now_s + _PRESENT_EVERY_S
        try:
            self._desk.poll()
        except EventLogError as error:
            logger.warning("console: match %s: %s", self._desk.match_id, error)
        self._send_match()
        if now_s >= self._tick_at_s:
            self._send({"t": "tick", **_now()})
            self._tick_at_s = now_s + _TICK_S
        return True

    def _send_match(self) -> None:
        version = self._desk.version
        if version != self._sent_version:
            self._send({"t": "match", "match": self._desk.view(), **_now()})
            self._sent_version = version

    def _take(self, text: object) -> bool:
        """Answer one message; whether the window stays."""
        if self._messages.wait_s() > 0:
            return self._close(CLOSE_TOO_MANY, "too many messages")
        try:
            message = parse(text) if isinstance(text, str) else None
        except ValueError:
            message = None
        kind = message.get("t") if isinstance(message, dict) else None
        if not isinstance(message, dict) or kind not in ("entry", "editing"):
            return self._close(CLOSE_PROTOCOL, "this is no message of the console")
        if kind == "editing":
            event_id = message.get("event_id")
            self._editing = event_id[:128] if isinstance(event_id, str) else ""
            self._seen_at_s = self._present_at_s = 0.0
            return True
        if not self._sign_in.is_open(self._token):
            return self._close(CLOSE_SIGNED_OUT, "signed out")
        answer = self._entered(message)
        # Before the answer: what is no longer on its way must not be missing for a moment.
        self._send_match()
        self._send(answer)
        return True

    def _entered(self, message: Mapping[str, Json]) -> JsonObject:
        """The answer to an entry."""
        try:
            entry = parse_entry(message)
            logged = self._desk.submit(self._session.operator, entry)
        except RequestError as error:
            return _refused(message, error, again=error.status in (429, 503))
        except EventLogError as error:
            return _refused(message, error, again=True)
        if not logged.duplicate:
            self._count(len(logged.revs))
        logger.info(
            "console: %s: %s entered %s",
            self._desk.match_id,
            self._session.operator,
            " ".join(shown(event_id) for event_id in logged.revs),
        )
        return logged.to_json()

    def _send(self, message: JsonObject) -> None:
        self._ws.send(json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    def _close(self, code: int, reason: str) -> bool:
        self._ws.close(code, reason)
        return False


def _now() -> JsonObject:
    return {"server_ms": time.time_ns() // 1_000_000}


def _refused(message: Mapping[str, Json], error: OriginError, *, again: bool) -> JsonObject:
    """``again``: the entry was not taken for now, and is to be sent again as it is."""
    id_ = message.get("id")
    return {
        "t": "refused",
        "id": id_ if isinstance(id_, str) else "",
        "code": error.code,
        "message": str(error),
        "again": again,
        **error.evidence,
    }
