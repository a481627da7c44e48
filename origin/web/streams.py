"""Streams as plain Flask routes: a thread a viewer, right under any WSGI server, for development.

``touchline serve`` runs the stream worker instead, which answers the same requests without a thread.
Both carry ``resume`` and ``sse``, and neither knows what an event is.
"""

from __future__ import annotations

import json
import queue
import random
import time
from collections.abc import Iterator

from flask import Blueprint, Response, request
from flask_sock import Sock
from simple_websocket import Server

from origin.bus import Bus, Published
from origin.errors import RequestError
from origin.stream.http.sse import (
    HEARTBEAT_S,
    STREAM_HEADERS,
    delta_frame,
    gap_frame,
    gap_json,
    heartbeat_frame,
    heartbeat_json,
    last_event_id,
    retry_frame,
    websocket_message,
)
from origin.stream.hub.resume import resume
from origin.web.origin import origin
from shared_state import DeltaId

__all__ = ["Viewer", "blueprint", "sock"]

blueprint = Blueprint("streams", __name__)
sock = Sock()

# A viewer this many deltas behind is not reading; it is closed, and resumes by id when it comes back.
PENDING_MAX = 256
# Drawn per viewer, so that those who lose one server do not return in the same moment.
RETRY_MS = (1_000, 5_000)


class Viewer:
    """One viewer of one match: subscribed first, then resumed, then told what is new.

    Raises:
        RequestError: 404 the bus does not know the match.
    """

    def __init__(self, bus: Bus, match_id: str, after: DeltaId | None) -> None:
        self._bus = bus
        self._match_id = match_id
        self._live: queue.Queue[Published] = queue.Queue(PENDING_MAX)
        self._overrun = False
        self._subscription = bus.subscribe(match_id, self._offer)
        resumed = resume(bus, match_id, after)
        if resumed is None:
            self._subscription.close()
            raise RequestError(404, "unknown_match", f"no match {match_id!r}", match_id=match_id)
        self.resumed = resumed
        self._position = resumed.position

    def close(self) -> None:
        """Leave; nothing is queued any more."""
        self._subscription.close()

    def live(self, timeout_s: float) -> Published | None:
        """The next new delta, or None after ``timeout_s`` without one.

        Raises:
            EOFError: this viewer fell behind and must connect again.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if self._overrun:
                raise EOFError(f"a viewer of {self._match_id} fell {PENDING_MAX} deltas behind")
            try:
                published = self._live.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if published.id > self._position:  # else it came twice: in the replay and live
                self._position = published.id
                return published

    def heartbeat(self) -> tuple[DeltaId, str, int] | None:
        """Where the match stands, its hash, and the server's time; None if the bus lost the match."""
        snapshot = self._bus.snapshot(self._match_id)
        if snapshot is None:
            return None
        return snapshot.id, json.loads(snapshot.data)["hash"], time.time_ns() // 1_000_000

    def _offer(self, published: Published) -> None:
        try:
            self._live.put_nowait(published)
        except queue.Full:
            self._overrun = True


@blueprint.get("/stream/<match_id>")
def stream(match_id: str) -> Response:
    """Server-sent events of one match."""
    after = last_event_id(request.headers.get("Last-Event-ID"), request.args.get("last_event_id"))
    viewer = Viewer(origin().bus, match_id, after)
    return Response(_sse(viewer, match_id), headers=STREAM_HEADERS, direct_passthrough=True)


@blueprint.get("/stream/score")
def stream_score() -> Response:
    """The same by ``?matchId=``."""
    match_id = request.args.get("matchId")
    if match_id is None:
        raise RequestError(400, "missing_parameter", "matchId is required: /stream/score?matchId=<id>")
    return stream(match_id)


@sock.route("/ws/match/<match_id>")  # type: ignore[untyped-decorator]
def websocket(connection: Server, match_id: str) -> None:
    """The same frames over WebSocket, one JSON text message each."""
    after = last_event_id(request.headers.get("Last-Event-ID"), request.args.get("last_event_id"))
    try:
        viewer = Viewer(origin().bus, match_id, after)
    except RequestError as error:
        connection.send(websocket_message("error", json.dumps(error.to_json()["error"])))
        connection.close(1008, error.code)
        return
    try:
        if viewer.resumed.gap:
            head = viewer.resumed.position
            connection.send(websocket_message("gap", gap_json(match_id, head), head))
        for published in viewer.resumed.missed:
            connection.send(websocket_message("score", published.delta, published.id))
        while connection.connected:
            fresh = viewer.live(HEARTBEAT_S)
            if fresh is not None:
                connection.send(websocket_message("score", fresh.delta, fresh.id))
            elif (beat := viewer.heartbeat()) is not None:
                connection.send(websocket_message("heartbeat", heartbeat_json(*beat)))
    except EOFError:
        connection.close(1013, "too slow")
    finally:
        viewer.close()


def _sse(viewer: Viewer, match_id: str) -> Iterator[bytes]:
    try:
        yield retry_frame(random.randint(*RETRY_MS))  # noqa: S311 - spreads load, hides nothing
        if viewer.resumed.gap:
            yield gap_frame(match_id, viewer.resumed.position)
        for published in viewer.resumed.missed:
            yield delta_frame(published)
        while True:
            fresh = viewer.live(HEARTBEAT_S)
            if fresh is not None:
                yield delta_frame(fresh)
            elif (beat := viewer.heartbeat()) is not None:
                yield heartbeat_frame(*beat)
    except EOFError:
        return
    finally:
        viewer.close()
