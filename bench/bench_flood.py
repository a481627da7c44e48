"""One match floods: how late is the goal of another one? A real origin, one viewer each.

    python -m bench.bench_flood [--events 5000 20000] [--before CHECKOUT]

Events of one match are posted as fast as the origin takes them, 1,000 in a webhook. From then on, until the
last of them is published, another match has a goal every 0.3 s. A viewer of each match notes when each delta
comes and whether the ids are contiguous. With ``--before`` the smallest flood is played against the code of
another checkout too; the largest would keep that code busy for a quarter of an hour. The results and a table
go to ``bench/results/flood.json`` and ``flood.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.results import RESULTS, keep, spread
from shared_state.jsontext import JsonObject
from testkit.services.origin import OriginServer

FLOODED, QUIET = "flooded", "quiet"
WEBHOOK_EVENTS = 1_000
PAUSE_S = 0.3
# The code before needs a minute for 5,000 events and ten for 20,000.
LIMIT_S = 900.0


class StreamViewer:
    """One SSE viewer of a match, who starts at its beginning.

    Attributes:
        came_s: by event id, when its delta came, in seconds of the monotonic clock.
        seqs: the seq of each delta, as they came.
    """

    def __init__(self, port: int, match_id: str, after: str) -> None:
        self.came_s: dict[str, float] = {}
        self.seqs: list[int] = []
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(
            f"GET /stream/{match_id} HTTP/1.1\r\nHost: bench\r\nLast-Event-ID: {after}\r\n\r\n".encode()
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(262_144)
        except ConnectionResetError:
            return b""

    def _read(self) -> None:
        buffer = b""
        while received := self._receive():
            at_s = time.monotonic()
            *frames, buffer = (buffer + received).split(b"\n\n")
            for frame in frames:
                id_ = re.search(rb"(?m)^id: ?[0-9]+-([0-9]+)", frame)
                event_id = re.search(rb'"e":"([^"]+)"', frame)
                if id_ and event_id:
                    self.seqs.append(int(id_[1]))
                    self.came_s.setdefault(event_id[1].decode(), at_s)


def measure(root: Path | None, events: int) -> JsonObject:
    """One origin, one flood."""
    with tempfile.TemporaryDirectory() as directory, OriginServer(Path(directory), root=root) as origin:
        for match_id in (FLOODED, QUIET):
            assert origin.post(note(match_id, "first")) == 200
        ids = {match_id: first_id(origin, match_id) for match_id in (FLOODED, QUIET)}
        with viewers(origin.port, ids) as (flooded, quiet):
            return {"events": events, **flood(origin, flooded, quiet, events)}


def first_id(origin: OriginServer, match_id: str) -> str:
    """The id of a match that has one event."""
    origin.wait_for_seq(match_id, 1)
    return str(json.loads(origin.get(f"/score?matchId={match_id}")[1])["id"])


def flood(origin: OriginServer, flooded: StreamViewer, quiet: StreamViewer, events: int) -> JsonObject:
    """Post the events, and goals of the other match until all have come."""
    started_s = time.monotonic()
    posted_s: list[float] = []

    def post() -> None:
        for first in range(0, events, WEBHOOK_EVENTS):
            count = min(WEBHOOK_EVENTS, events - first)
            assert origin.post(*(note(FLOODED, f"n{first + n}") for n in range(count))) == 200
        posted_s.append(time.monotonic() - started_s)

    poster = threading.Thread(target=post)
    poster.start()
    sent_s: dict[str, float] = {}
    took_s: list[float] = []
    while (len(flooded.seqs) < events or poster.is_alive()) and time.monotonic() < started_s + LIMIT_S:
        goal_id = f"goal-{len(sent_s)}"
        sent_s[goal_id] = time.monotonic()
        assert origin.post(note(QUIET, goal_id)) == 200
        took_s.append(time.monotonic() - sent_s[goal_id])
        time.sleep(PAUSE_S)
    ended_s = time.monotonic()
    poster.join()
    while len(quiet.came_s) < len(sent_s) and time.monotonic() < ended_s + 10:
        time.sleep(0.05)
    delays_s = [quiet.came_s[goal_id] - at_s for goal_id, at_s in sent_s.items() if goal_id in quiet.came_s]
    return {
        "posted_s": round(posted_s[0], 2),
        "published_s": round(ended_s - started_s, 1),
        "goal_delay_s": spread(delays_s, 3),
        "goal_answer_s": spread(took_s, 3),
        "lost": events + len(sent_s) - len(flooded.came_s) - len(quiet.came_s),
        "twice": sum(len(viewer.seqs) - len(set(viewer.seqs)) for viewer in (flooded, quiet)),
        "contiguous": all(viewer.seqs == list(range(2, 2 + len(viewer.seqs))) for viewer in (flooded, quiet)),
        "in_order": [*flooded.came_s] == [f"n{n}" for n in range(events)],
        "rss_mib": rss_mib(origin),
    }


@contextlib.contextmanager
def viewers(port: int, ids: dict[str, str]) -> Iterator[tuple[StreamViewer, StreamViewer]]:
    """A viewer of each match."""
    flooded, quiet = (StreamViewer(port, match_id, ids[match_id]) for match_id in (FLOODED, QUIET))
    try:
        yield flooded, quiet
    finally:
        flooded.close()
        quiet.close()


def rss_mib(origin: OriginServer) -> int:
    """The memory of all the origin's processes."""
    assert origin.process is not None
    parent = origin.process.pid
    pids = [parent, *map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())]
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * 4096 // 2**20


def note(match_id: str, event_id: str) -> JsonObject:
    """An event of a match: a goal of the quiet one, a note of the other."""
    fields: JsonObject = {
        "type": "NOTE",
        "detail": {"text": "Something that happened, said in sixty letters or so"},
    }
    if match_id == QUIET:
        fields = {"type": "GOAL", "team": "home"}
    return {"match_id": match_id, "event_id": event_id, "rev": 1, "op": "ADD", "minute": 10, **fields}


def table(runs: list[JsonObject]) -> str:
    """The runs as a table of Markdown."""
    columns = (
        "code, events, accepted in s, published after s, another match's goal: median s, worst s, lost, twice"
    )
    names = [*columns.split(", "), "ids contiguous", "memory MiB"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for run in runs:
        delay = run["goal_delay_s"]
        assert isinstance(delay, dict)
        lines.append(
            f"| {run['code']} | {run['events']} | {run['posted_s']} | {run['published_s']} | {delay['p50']} |"
            f" {delay['max']} | {run['lost']} | {run['twice']} | {'yes' if run['contiguous'] else 'no'} |"
            f" {run['rss_mib']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--before", type=Path, default=None)
    arguments = parser.parse_args()
    runs: list[JsonObject] = []
    for events in arguments.events:
        for code, root in (("before", arguments.before), ("now", None)):
            if code == "before" and (root is None or events > min(arguments.events)):
                continue
            run = {"code": code, **measure(root, events)}
            print(json.dumps(run), flush=True)
            runs.append(run)
    (RESULTS / "flood.md").write_text(table(runs), encoding="utf-8")
    print(keep("flood", {"runs": list(runs)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
