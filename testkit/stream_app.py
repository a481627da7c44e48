"""The smallest application behind a stream worker: a memory bus that survives ``kill -9`` by a file.

Run as a child by ``stream_server.py``. Each event is written down before it is published, and the bus is
filled again from the file at the start, with the same epoch: what Redis is to a real origin.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flask import Flask, Response, jsonify, request
from prometheus_client import CollectorRegistry, generate_latest

from origin.bus import Published, Snapshot
from origin.bus.memory import MemoryBus
from origin.errors import BusError
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.metrics import StreamCollector
from shared_state import Event, Replica, encode_delta

EPOCH_MS = 1_700_000_000_000


class FailingBus(MemoryBus):
    """A memory bus with two matches that cannot be read."""

    def snapshot(self, match_id: str) -> Snapshot | None:
        if match_id == "bus-fails":
            raise BusError("no route to the bus")
        if match_id == "bus-hangs":
            time.sleep(1)
        return super().snapshot(match_id)


class Matches:
    """The log, the fan-out and the bus of these tests, in one."""

    def __init__(self, path: Path) -> None:
        self.bus = FailingBus()
        self._path = path
        self._replicas: dict[str, Replica] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                self._publish(json.loads(line))

    def add(self, event: dict[str, Any]) -> str:
        with self._path.open("a") as log:
            log.write(json.dumps(event) + "\n")
        return self._publish(event)

    def _publish(self, body: dict[str, Any]) -> str:
        event = Event.from_json(body["event"])
        replica = self._replicas.setdefault(event.match_id, Replica.begin(event.match_id, EPOCH_MS))
        delta = replica.assign(event, body["ms"])
        assert delta is not None
        self.bus.publish(event.match_id, Published(delta.id, encode_delta(delta)), replica.snapshot())
        return str(delta.id)


def create() -> Flask:
    app = Flask(__name__)
    matches = Matches(Path(os.environ["STREAM_LOG"]))
    stream = StreamConfig(**json.loads(os.environ.get("STREAM_CONFIG", "{}")))
    app.extensions["touchline"] = SimpleNamespace(bus=matches.bus, config=SimpleNamespace(stream=stream))

    @app.post("/publish/<match_id>")
    def publish(match_id: str) -> Response:
        """``count`` notes of ``size`` characters each; answers with the last id."""
        last = ""
        for _ in range(int(request.args.get("count", "1"))):
            number = time.time_ns()
            event = {
                "match_id": match_id,
                "event_id": f"n{number}",
                "rev": 1,
                "op": "ADD",
                "type": "GOAL" if request.args.get("goal") else "NOTE",
                "period": "H1",
                "minute": 1,
                "team": "home",
                "detail": {}
                if request.args.get("goal")
                else {"text": "x" * int(request.args.get("size", "1"))},
            }
            if "status" in request.args:
                event = {key: event[key] for key in ("match_id", "event_id", "rev", "op")}
                event |= {"type": "STATUS_CHANGE", "period": "POST"}
                event["detail"] = {"to": request.args["status"]}
            last = matches.add({"event": event, "ms": number // 1_000_000})
        return jsonify({"id": last})

    @app.get("/page")
    def page() -> str:
        time.sleep(float(request.args.get("s", "0")))
        return "page"

    @app.post("/echo")
    def echo() -> bytes:
        return request.get_data()

    @app.get("/large")
    def large() -> bytes:
        """More than the kernel takes at once."""
        return b"l" * int(request.args["size"])

    @app.get("/pieces")
    def pieces() -> Response:
        """As much, in many writes."""
        return Response(b"%07d\n" % number for number in range(100_000))

    @app.get("/state/<match_id>")
    def state(match_id: str) -> Response:
        snapshot = matches.bus.snapshot(match_id)
        assert snapshot is not None
        return Response(snapshot.data, content_type="application/json")

    @app.get("/readyz")
    def readyz() -> tuple[str, int]:
        hub = app.extensions["touchline.stream"]
        return ("draining", 503) if hub.draining else ("ready", 200)

    @app.get("/metrics")
    def metrics() -> Response:
        registry = CollectorRegistry()
        registry.register(StreamCollector(app.extensions["touchline.stream"].metrics))
        return Response(generate_latest(registry), content_type="text/plain")

    @app.get("/threads")
    def threads() -> Response:
        import threading

        return jsonify([thread.name for thread in threading.enumerate()])

    return app
