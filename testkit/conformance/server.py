"""The kit's server: one address for each case, and a count of what the client did there."""

from __future__ import annotations

import http.server
import math
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Final
from urllib.parse import parse_qs, urlsplit

from testkit.conformance.cases import CASES, Answer, Case, Cut

__all__ = ["Kit", "running"]

_ROUTE: Final = re.compile(
    r"/(?P<case>[a-z-]+)(?:/stream/(?P<stream>[\w-]+)|/api/match/(?P<match>[\w-]+)"
    r"(?:/state|/deltas/(?P<id>[0-9]+-[0-9]+)/(?P<slice>[0-9]{1,12})))"
)
#: More than any client of the cases needs; one in a loop is stopped by it.
REQUESTS_MAX: Final = 200


class Kit:
    """What clients did, by case.

    Attributes:
        url: of the server, without a case.
    """

    def __init__(self, cases: Sequence[Case] = CASES) -> None:
        self._cases = {case.name: case for case in cases}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._connected_s: defaultdict[str, list[float]] = defaultdict(list)
        self._named: defaultdict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()
        self.url = ""

    def count(self, case: Case, what: str) -> int:
        """How often a case saw ``connections`` or ``states``."""
        return self._counts[case.name, what]

    def shortest_pause_s(self, case: Case) -> float:
        """The shortest time between two connections, seconds; infinite with less than two."""
        times = self._connected_s[case.name]
        return min((later - earlier for earlier, later in pairwise(times)), default=math.inf)

    def steps_back(self, case: Case) -> list[str]:
        """Where the client resumed at an id that is older than one it had before."""
        seqs = [seq for id_ in self._named[case.name] if (seq := case.match.seq_of(id_)) is not None]
        return [f"went back from seq {had} to {now}" for had, now in pairwise(seqs) if now < had]

    def begin(self, case: Case) -> None:
        """Forget what an earlier client did."""
        with self._lock:
            self._connected_s[case.name].clear()
            self._named[case.name].clear()
            for what in ("connections", "states"):
                self._counts.pop((case.name, what), None)

    def answer(self, path: str, last_event_id: str | None) -> Answer:
        """What a request is answered."""
        parts = urlsplit(path)
        found = _ROUTE.fullmatch(parts.path)
        case = self._cases.get(found["case"]) if found else None
        if found is None or case is None:
            return _refusal(404, "not_found")
        if (found["stream"] or found["match"]) != case.match.match_id:
            return _refusal(404, "unknown_match")
        what = "states" if parts.path.endswith("/state") else "connections"
        with self._lock:
            self._counts[case.name, what] += 1
            number = self._counts[case.name, what]
            if what == "connections":
                self._connected_s[case.name].append(time.monotonic())
        if number > REQUESTS_MAX:
            return _refusal(429, "too_many_requests")
        if what == "states":
            return case.state(number)
        if found["stream"]:
            named = last_event_id or parse_qs(parts.query).get("last_event_id", [None])[0]
            self._named[case.name].append(named or "")
            return case.stream(number, named)
        self._named[case.name].append(found["id"])
        return case.poll(found["id"], int(found["slice"])) if case.poll else _refusal(404, "no_long_poll")


def _refusal(status: int, code: str) -> Answer:
    return Answer([f'{{"error":{{"code":"{code}","message":"{code}"}}}}'.encode()], status)


@contextmanager
def running(cases: Sequence[Case] = CASES, port: int = 0) -> Iterator[Kit]:
    """A kit that answers on a loopback port; 0 is a free one."""
    kit = Kit(cases)

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 60

        def do_GET(self) -> None:
            answer = kit.answer(self.path, self.headers.get("Last-Event-ID"))
            stream = answer.media_type == "text/event-stream"
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.media_type)
            self.send_header("Cache-Control", "no-store")
            self.send_header("Access-Control-Allow-Origin", "*")
            for name, value in answer.headers:
                self.send_header(name, value)
            if not stream:
                self.send_header(
                    "Content-Length", str(sum(len(p) for p in answer.parts if isinstance(p, bytes)))
                )
            self.end_headers()
            self.close_connection = True
            for part in answer.parts:
                if isinstance(part, Cut):
                    return
                if isinstance(part, float):
                    time.sleep(part)
                else:
                    try:
                        self.wfile.write(part)
                    except OSError:  # the client has gone
                        return

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by its base
            """Nothing: the verdicts are what is read."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    kit.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield kit
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
