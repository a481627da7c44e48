"""The application: wiring only. ``create_app`` makes it, ``Origin`` holds what its requests share."""

from __future__ import annotations

import logging
import threading
import time

from flask import Flask, Response, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from origin.bus import Bus, open_bus
from origin.config import Config
from origin.edge import assets, health, ingest, pages, snapshots, streams
from origin.edge.cors import RESUME, VALIDATORS, preflight_headers
from origin.edge.current import EXTENSION, origin_of
from origin.edge.matches import Matches
from origin.errors import BusError, OriginError, RequestError
from origin.eventlog import EventLog, open_eventlog
from origin.fanout import FanOut, run_in_thread
from origin.ingest import Ingest
from origin.metrics import Metrics

__all__ = ["Origin", "create_app"]

logger = logging.getLogger(__name__)


class Origin:
    """What one origin process holds: its log, its bus, and, embedded, its fan-out.

    Raises:
        ConfigError: a setting cannot be used.
        OriginError: the log or the bus does not answer.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.metrics = Metrics()
        self.log: EventLog = open_eventlog(config.eventlog_url)
        self.bus: Bus = open_bus(config.bus_url)
        self.matches = Matches(self.bus)
        self.ingest = Ingest(
            self.log, config.ingest_keys, max_events=config.ingest_max_events, now_s=time.time
        )
        self._fanout: FanOut | None = None
        self._fanout_thread: threading.Thread | None = None

    def start(self) -> None:
        """Start what runs beside requests. After fork, never before: threads do not survive it."""
        if self.config.embedded:
            self._fanout = FanOut(self.log, self.bus, group=None, metrics=self.metrics)
            self._fanout_thread = run_in_thread(self._fanout)

    def unready(self) -> list[str]:
        """Why new viewers should not be sent here; empty if they may come."""
        reasons = []
        thread = self._fanout_thread
        if thread is not None and not thread.is_alive():
            reasons.append("fan-out has ended")
        elif self._fanout is not None and not self._fanout.caught_up:
            # Until then matches of the log are unknown here, or stand where they stood an hour ago.
            reasons.append("fan-out has not read the whole log yet")
        health = self.bus.health()
        if not health.ok:
            reasons.append(health.reason)
        return reasons

    def close(self) -> None:
        """End everything, in the order data moves; what was acknowledged is in the log."""
        if self._fanout is not None and self._fanout_thread is not None:
            self._fanout.stop()
            self._fanout_thread.join(timeout=10)
        self.bus.close()
        self.log.close()


def create_app(config: Config, *, start: bool = True) -> Flask:
    """The WSGI application.

    Args:
        config: the settings.
        start: whether to start the fan-out thread of the embedded set-up now.
    """
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["SOCK_SERVER_OPTIONS"] = {"ping_interval": 25, "max_message_size": 4_096}
    app.extensions[EXTENSION] = Origin(config)
    # By this order /stream/score is the poll by query and not a match called "score".
    for blueprint in (
        health.blueprint,
        ingest.blueprint,
        snapshots.blueprint,
        streams.blueprint,
        pages.blueprint,
    ):
        app.register_blueprint(blueprint)
    assets.init_app(app)
    streams.sock.init_app(app)
    app.register_error_handler(RequestError, _request_error)
    app.register_error_handler(BusError, _bus_error)
    app.register_error_handler(HTTPException, _http_error)
    app.after_request(_any_origin)
    if start:
        origin_of(app).start()
    return app


# Programs read these, whatever they say that they accept.
_API = ("/score", "/api/", "/ingest/", "/stream/", "/ws/", "/healthz", "/readyz", "/metrics")


def _request_error(error: RequestError) -> Response:
    if not request.path.startswith(_API) and (
        request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
    ):
        response = Response(
            render_template("error.html", status=error.status, message=str(error)), mimetype="text/html"
        )
    else:
        response = jsonify(error.to_json())
    response.status_code = error.status
    response.headers.update(error.headers)
    # A match that is unknown now may begin in a second; a cache must not hold that against it.
    response.headers["Cache-Control"] = "no-store"
    return response


def _bus_error(error: OriginError) -> Response:
    logger.warning("%s %s: %s", request.method, request.path, error)
    return _request_error(
        RequestError(503, error.code, "the region's bus does not answer", headers={"Retry-After": "1"})
    )


def _http_error(error: HTTPException) -> Response:
    """The router's own errors (no such route, wrong method) in the one JSON shape."""
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Location")}
    if error.code is None or error.code < 400:
        return Response(error.get_body(), error.code, dict(error.get_headers()))
    code = error.name.lower().replace(" ", "_")
    return _request_error(RequestError(error.code, code, error.description or error.name, headers=headers))


def _any_origin(response: Response) -> Response:
    """Everything read here is public: any page may embed it. Ingest is signed, not origin-bound."""
    response.headers.setdefault("Access-Control-Allow-Origin", "*")
    response.headers.setdefault("Access-Control-Expose-Headers", "ETag, Touchline-Id, Retry-After")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if request.method == "OPTIONS" and "GET" in response.allow:
        allowed = RESUME if request.path.startswith("/stream/") else VALIDATORS
        for name, value in preflight_headers(allowed).items():
            response.headers.setdefault(name, value)
    return response
