"""A vendor on loopback: a real HTTP server that tells real matches, and misbehaves when it is told to.

It serves a match as Opta F24 or as a Sportradar v4 timeline, growing row by row as the match was played
(from ``tests/data/vendor``), and pushes Sportradar's events over a chunked stream without delimiters.

What happens in the match
    ``advance`` the next thing of the real match · ``invent`` a goal that was none · ``touch`` a row is
    edited · ``retype`` a goal turns out to be no goal · ``delete`` a row is taken back, as this vendor does
    it: type 43 with the old ``version``, or just gone.

What goes wrong (``fail`` for the next requests, ``down`` for all)
    see ``FAULTS`` and ``PUSH_FAULTS``.

By hand: ``python -m testkit.services.vendor 9000``, then ``POST /control/advance``,
``/control/fail/garbage``, ``/control/push/cut`` … while ``touchline ingest`` reads from it.
"""

from __future__ import annotations

import functools
import gzip
import json
import queue
import sys
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple

from testkit.services.vendor_matches import OptaMatch, SportradarMatch

__all__ = ["ACTIONS", "FAULTS", "KEY", "PUSH_FAULTS", "Request", "Vendor"]

KEY = "the vendor's key"
ACTIONS = ("advance", "invent", "touch", "retype", "delete")
FAULTS = (
    "stall",  # no answer, for half a minute or until all is well again
    "drip",  # a byte now and then
    "500",
    "401",
    "404",
    "429",  # with Retry-After: 1
    "cut",  # the connection ends within the body
    "half",  # half a document, as if it were whole
    "garbage",
    "absurd",  # the true document, and one more row with a side that neither team is
    "entities",  # ten characters that stand for a hundred million
    "deep",  # nested a hundred thousand times
    "other",  # a good document of another match
    "empty",
    "huge",
    "bomb",  # gigabytes of zeros under gzip
    "notgzip",
    "redirect",  # once
    "loop",  # to itself
    "away",  # to another origin, which must not be told the key
    "stale",  # an earlier document
    "same",  # the last document once more
)
PUSH_FAULTS = (
    "drop",
    "duplicate",
    "hold",
    "garbage",
    "stranger",
    "unreadable",
    "future",  # dated 2099, with a status that is not true
    "half",
    "cut",
    "mute",
    "blank",  # white space, and nothing else any more
    "endless",  # an object that is never closed
)
HISTORY = 20


class Request(NamedTuple):
    """One request as the vendor saw it."""

    at_s: float
    path: str
    headers: dict[str, str]
    what: str


class Vendor:
    """The server; a context manager.

    Attributes:
        matches: by number.
        down: a fault that every request meets; None for none.
        etags: whether documents have one, and conditional requests are answered 304.
        heartbeat_s: between two heartbeats of the stream.
        requests: what came, oldest first.
        pushes: fault of the next pushed messages.
    """

    def __init__(self, *matches: OptaMatch | SportradarMatch, port: int = 0, etags: bool = False) -> None:
        self.matches = {match.number: match for match in matches}
        self.down: str | None = None
        self.etags = etags
        self.heartbeat_s = 0.1
        self.requests: list[Request] = []
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self.streams: list[queue.Queue[bytes | None]] = []
        self.tokens = 0
        self.muted = False
        self.noise = b""
        self.heals = 0
        self._faults: deque[str] = deque()
        self._push_faults: deque[str] = deque()
        self._held: list[bytes] = []
        self._served: dict[str, deque[bytes]] = {}
        vendor = self

        class Handler(_Handler):
            pass

        Handler.vendor = vendor
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def template(self) -> str:
        """What ``--url`` takes."""
        return self.url + "/matches/{id}?secret=in-the-query"

    @property
    def push_url(self) -> str:
        return f"{self.url}/subscribe"

    def __enter__(self) -> Vendor:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.end_streams()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def act(self, action: str, times: int = 1, number: str | None = None) -> None:
        """Something happens in a match, and is pushed."""
        if action not in ACTIONS:
            raise ValueError(f"action {action!r}: one of {' '.join(ACTIONS)}")
        with self.lock:
            match = self.matches[number] if number else next(iter(self.matches.values()))
            for _ in range(times):
                row = getattr(match, action)()
                if row is not None and isinstance(match, SportradarMatch):
                    self._push(json.dumps(match.message(row)).encode())

    def fail(self, *faults: str) -> None:
        """The next requests for a document meet these, one each."""
        if "bomb" in faults:
            _bomb()  # making it takes longer than a client waits for an answer
        with self.lock:
            for fault in faults:
                if fault not in FAULTS:
                    raise ValueError(f"fault {fault!r}: one of {' '.join(FAULTS)}")
                self._faults.append(fault)

    def fail_push(self, *faults: str) -> None:
        """The next pushed messages meet these, one each; what silences the stream is at once."""
        with self.lock:
            for fault in faults:
                if fault not in PUSH_FAULTS:
                    raise ValueError(f"fault {fault!r}: one of {' '.join(PUSH_FAULTS)}")
                if fault == "cut":
                    self.end_streams()
                elif fault in ("mute", "blank", "endless"):
                    self.muted, self.noise = True, {"blank": b" ", "endless": b"{"}.get(fault, b"")
                else:
                    self._push_faults.append(fault)

    def heal(self) -> None:
        """All is well from here on."""
        with self.lock:
            self.down, self.muted, self.noise = None, False, b""
            self.heals += 1
            self._faults.clear()
            self._push_faults.clear()
            self._held.clear()

    @property
    def pending_faults(self) -> int:
        """How many requests are still to fail."""
        with self.lock:
            return len(self._faults)

    @property
    def pending_push_faults(self) -> int:
        """How many messages are still to fail."""
        with self.lock:
            return len(self._push_faults)

    def end_streams(self) -> None:
        with self.lock:
            for stream in self.streams:
                stream.put(None)
            self.streams.clear()

    def next_fault(self) -> str | None:
        with self.lock:
            return self._faults.popleft() if self._faults else self.down

    def document(self, number: str, fault: str | None = None) -> bytes:
        """A match's document, and one as a vendor with a fault would send it."""
        with self.lock:
            served = self._served.setdefault(number, deque(maxlen=HISTORY))
            if fault == "stale" and served:
                return served[0]
            if fault == "same" and served:
                return served[-1]
            served.append(self.matches[number].document())
            return served[-1]

    def _push(self, message: bytes) -> None:
        fault = self._push_faults.popleft() if self._push_faults else None
        if fault == "hold":
            self._held.append(message)
            return
        now = time.time_ns()  # the same bytes of a stream are dead-lettered once for all
        messages = {
            None: [message],
            "drop": [],
            "duplicate": [message, message],
            "garbage": [b"<p %d>502 Bad Gateway, and so on and so forth</p>" % now],
            "stranger": [message.replace(b"sport_event_id:", b"sport_event_id:9"), message],
            "future": [_of_the_future(message), message],
            "unreadable": [b'{"payload":{"event":{"id":"x"}},"metadata":{},"at":"%d"}' % now],
            "half": [message[: len(message) // 2]],
        }[fault]
        for stream in self.streams:
            for told in [*messages, *self._held]:
                stream.put(told)
        self._held = []
        if fault == "half":
            self.end_streams()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    vendor: Vendor
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its base's name
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client has gone
            self.close_connection = True

    def do_POST(self) -> None:
        _, control, *rest = self.path.split("/")
        try:
            match (control, *rest):
                case ("control", "fail", fault):
                    self.vendor.fail(fault)
                case ("control", "push", fault):
                    self.vendor.fail_push(fault)
                case ("control", "heal"):
                    self.vendor.heal()
                case ("control", "down", fault):
                    self.vendor.down = fault
                case ("control", action):
                    self.vendor.act(action)
                case _:
                    raise ValueError(self.path)
        except ValueError as error:
            self._answer(400, str(error).encode())
        else:
            self._answer(200, b"ok\n")

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        vendor = self.vendor
        if path == "/subscribe":
            self._note("subscribe")
            if not self._authorised():
                return self._answer(401, b"")
            if vendor.down is not None:
                return self._answer(503, b"")
            with vendor.lock:
                vendor.tokens += 1
                token = vendor.tokens
            return self._answer(302, b"", Location=f"{vendor.url}/stream?token={token}")
        if path == "/stream":
            self._note("stream")
            return self._stream()
        if path == "/loop":
            return self._answer(302, b"", Location="/loop")
        number = path.rpartition("/")[2]
        if number not in vendor.matches:
            self._note("404")
            return self._answer(404, b"")
        fault = vendor.next_fault()
        if fault is None and not self._authorised():
            fault = "401"
        self._note(fault or "ok")
        return self._document(number, fault)

    def _document(self, number: str, fault: str | None) -> None:
        vendor = self.vendor
        match fault:
            case "stall":
                heals, deadline_s = vendor.heals, time.monotonic() + 30
                while vendor.heals == heals and time.monotonic() < deadline_s and not self._wait(0.05):
                    pass
                self.close_connection = True
                return None
            case "500" | "401" | "404":
                return self._answer(int(fault), b"<html>sorry</html>")
            case "429":
                return self._answer(429, b"", **{"Retry-After": "1"})
            case "redirect":
                return self._answer(302, b"", Location=f"/moved/{number}")
            case "loop":
                return self._answer(302, b"", Location="/loop")
            case "away":
                away = vendor.url.replace("127.0.0.1", "localhost")
                return self._answer(302, b"", Location=f"{away}/matches/{number}")
            case "garbage":
                return self._answer(200, b"<html>502 Bad Gateway</html>")
            case "empty":
                return self._answer(200, b"")
            case "entities":
                return self._answer(200, _entities())
            case "deep":
                if isinstance(vendor.matches[number], OptaMatch):
                    return self._answer(200, b"<Games>" + b"<a>" * 100_000)
                return self._answer(200, b'{"a":' * 100_000)
            case "notgzip":
                return self._answer(200, b"\x00 no gzip", **{"Content-Encoding": "gzip"})
            case "bomb":
                return self._answer(200, _bomb(), **{"Content-Encoding": "gzip"})
            case "huge":
                self._head(200, Connection="close")
                self.close_connection = True
                while not vendor.closing.is_set():
                    self.wfile.write(b" " * 65_536)
                return None
        if fault is None and vendor.etags and self._unchanged(number):
            return self._answer(304, b"", ETag=self._etag(number))
        body = vendor.document(number, fault)
        match fault:
            case "other":
                return self._answer(200, body.replace(number.encode(), b"7" + number.encode()))
            case "absurd":
                return self._answer(200, vendor.matches[number].absurd(body))
            case "half":
                return self._answer(200, body[: len(body) // 2])
            case "cut" | "drip":
                self._head(200, **{"Content-Length": str(len(body))})
                self.close_connection = True
                if fault == "cut":
                    self.wfile.write(body[: len(body) // 2])
                    return None
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    if self._wait(0.05):
                        break
                return None
        headers = {"ETag": self._etag(number)} if vendor.etags else {}
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        return self._answer(200, body, **headers)

    def _unchanged(self, number: str) -> bool:
        return self.headers.get("If-None-Match") == self._etag(number)

    def _etag(self, number: str) -> str:
        return f'"{len(self.vendor.matches[number].rows)}"'

    def _stream(self) -> None:
        vendor = self.vendor
        messages: queue.Queue[bytes | None] = queue.Queue()
        with vendor.lock:
            vendor.streams.append(messages)
        self.close_connection = True
        self._head(200, **{"Transfer-Encoding": "chunked"})
        number = 0
        while not vendor.closing.is_set():
            try:
                message = messages.get(timeout=vendor.heartbeat_s)
            except queue.Empty:
                if vendor.muted:
                    if vendor.noise:
                        self._chunk(vendor.noise)
                    continue
                number += 1
                beat = {"from": number, "to": number + 1, "interval": 5, "type": "events"}
                message = json.dumps({"heartbeat": beat}).encode()
            if message is None:
                break
            if vendor.muted:
                continue
            # An object may begin in one chunk and end in another.
            for part in (message[: len(message) // 3], message[len(message) // 3 :]):
                if part:
                    self._chunk(part)
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, part: bytes) -> None:
        self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")

    def _authorised(self) -> bool:
        return self.headers.get("x-api-key") == KEY

    def _note(self, what: str) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.vendor.lock:
            self.vendor.requests.append(Request(time.monotonic(), self.path, headers, what))

    def _wait(self, seconds: float) -> bool:
        """Wait; whether the vendor is closing."""
        return self.vendor.closing.wait(seconds)

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self._head(status, **{"Content-Length": str(len(body)), **headers})
        if status != 304:
            self.wfile.write(body)


def _of_the_future(message: bytes) -> bytes:
    told = json.loads(message)
    told["payload"]["event"]["time"] = "2099-01-01T00:00:00+00:00"
    told["payload"]["sport_event_status"] = {"status": "interrupted", "match_status": "interrupted"}
    return json.dumps(told).encode()


def _entities() -> bytes:
    more = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
    return f'<!DOCTYPE Games [<!ENTITY a0 "x">{more}]><Games>&a8;</Games>'.encode()


@functools.cache
def _bomb() -> bytes:
    return gzip.compress(bytes(50_000_000), 9)


def main() -> None:
    """Serve both vendors' final until stopped."""
    with Vendor(
        OptaMatch(), SportradarMatch(), port=int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    ) as vendor:
        print(f"{vendor.template}\n{vendor.push_url}\nx-api-key: {KEY}")
        threading.Event().wait()


if __name__ == "__main__":
    main()
