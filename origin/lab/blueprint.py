"""The lab's routes at the origin: its page, the viewer's page, and what the page's script asks for.

Only ``touchline demo`` registers them, by ``init_app``. The answers have no CORS headers, a request must
name this machine as its Host (a site whose name was pointed at 127.0.0.1 does not), and one that changes
something must have a header that another site's script may not send.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import signal
import socket
import threading
import time
from collections import deque
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Flask, Response, current_app, jsonify, render_template, request

from origin.bus import Published, Subscription
from origin.errors import BusError, RequestError
from origin.lab import planner
from origin.lab.comparison.run import CLIENTS_MAX, POLL_S, REQUESTS_PER_S, SCALE_MAX
from origin.lab.desk import BODY_MAX_BYTES
from origin.lab.director import ACTIONS
from origin.lab.final import simulated_final
from origin.web.origin import Origin, origin, origin_of
from origin.web.pages import match_page
from origin.web.security_headers import Rules, add_rules, page_policy
from shared_state import decode_delta
from shared_state.errors import shown
from shared_state.jsontext import Json, JsonObject
from shared_state.language import ENGLISH

__all__ = ["HEADER", "init_app"]

#: A request that changes something has this header: a script of another site would need a preflight for it.
HEADER: Final = "Touchline-Lab"
_DESK_TIMEOUT_S: Final = 70.0
_STAMPS_MAX: Final = 100
_RESTART_AFTER_S: Final = 0.2
_LOOPBACK: Final = "http://127.0.0.1:*"
_LOCAL: Final = "http://localhost:*"

blueprint = Blueprint("lab", __name__, template_folder="templates", url_prefix="/lab")


class _BusStamps:
    """When each delta of the lab's match came from the bus to this process.

    Args:
        served: the origin whose bus it is.
    """

    def __init__(self, served: Origin) -> None:
        self._bus = served.bus
        self._lock = threading.Lock()
        self._match_id = ""
        self._subscription: Subscription | None = None
        self._stamps: deque[JsonObject] = deque(maxlen=_STAMPS_MAX)

    def of(self, match_id: str) -> list[JsonObject]:
        """The stamps of a match since it was first asked for here.

        Raises:
            BusError: the bus does not answer.
        """
        with self._lock:
            if match_id != self._match_id:
                if self._subscription is not None:
                    self._subscription.close()
                self._stamps.clear()
                self._match_id = match_id
                self._subscription = self._bus.subscribe(match_id, self._stamp)
            return list(self._stamps)

    def close(self) -> None:
        """End the subscription."""
        with self._lock:
            if self._subscription is not None:
                self._subscription.close()
                self._subscription = None

    def _stamp(self, published: Published) -> None:
        bus_ms = time.time() * 1_000
        delta = decode_delta(self._match_id, published.id, published.delta)
        self._stamps.append(
            {
                "id": str(published.id),
                "event": [delta.event.event_id, delta.event.rev, delta.event.op],
                "type": delta.event.type,
                "bytes": len(published.delta),
                "accepted_ms": delta.accepted_ms,
                "bus_ms": round(bus_ms, 2),
            }
        )


_DESK: Final = "touchline.lab.desk"
_STAMPS: Final = "touchline.lab.stamps"


def init_app(app: Flask, desk: str) -> None:
    """Add the lab to an application.

    Args:
        app: the origin's application.
        desk: the path of the Unix socket at which ``origin.lab.desk`` answers.
    """
    stamps = _BusStamps(origin_of(app))
    app.extensions[_DESK], app.extensions[_STAMPS] = desk, stamps
    origin_of(app).before_close(stamps.close)
    page = Rules(page_policy("'none'", frame_src=f"'self' {_LOOPBACK} {_LOCAL}"), "no-referrer")
    viewer = Rules(page_policy(f"'self' {_LOOPBACK} {_LOCAL}"), "no-referrer")
    data = Rules("default-src 'none'; frame-ancestors 'none'")
    app.register_blueprint(blueprint)
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("lab."):
            add_rules(app, rule.endpoint, {"lab.page": page, "lab.viewer": viewer}.get(rule.endpoint, data))


@blueprint.before_request
def _guard() -> None:
    """Only a page of this machine may use the lab.

    Raises:
        RequestError: 403.
    """
    host = urlsplit(f"//{request.host}").hostname or ""
    if host != "localhost" and not _is_loopback(host):
        raise RequestError(403, "lab_is_local", f"the lab is for this machine: Host {shown(host)}")
    if not _is_loopback(request.remote_addr or ""):
        raise RequestError(403, "lab_is_local", "the lab is for this machine")
    is_foreign = request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")
    # A link of another site may lead to the page, and the viewer is in a frame of another port: both are for
    # looking at.
    if is_foreign and request.endpoint not in ("lab.page", "lab.viewer"):
        raise RequestError(403, "lab_is_local", "the lab takes no requests of other sites")
    if request.method == "POST" and request.headers.get(HEADER) != "1":
        raise RequestError(403, "lab_is_local", f"what changes something needs the header {HEADER}: 1")


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


@blueprint.get("")
def page() -> str:
    """The lab."""
    return render_template(
        "lab.html",
        language=ENGLISH,
        actions=list(ACTIONS),
        clients_max=CLIENTS_MAX,
        polls_per_s_max=REQUESTS_PER_S,
        poll_s=POLL_S,
        scale_max=SCALE_MAX,
        is_embedded=origin().config.embedded,
    )


@blueprint.get("/viewer/<match_id>")
def viewer(match_id: str) -> Response:
    """A real ``<live-score>`` that reports its state to the lab's page around it."""
    return match_page("lab_viewer.html", match_id)


@blueprint.get("/api/state")
def state() -> Response:
    """What the desk and this process know: frames, posts, stamps of the bus, the match at the server."""
    query = urlencode({name: _whole(name) for name in ("after", "posts_after")})
    content = _ask_desk("GET", f"/state?{query}")
    match_id = content["match_id"]
    stamps: _BusStamps = _extension(_STAMPS)
    content["stamps"] = stamps.of(match_id)
    content["server"] = _server_state(match_id)
    content["now_ms"] = round(time.time() * 1_000, 2)
    content["worker"] = os.getpid()
    return jsonify(content)


@blueprint.post("/api/restart")
def restart() -> Response:
    """End this stream worker as a deployment does; gunicorn starts another."""
    # Not before the answer is out.
    threading.Timer(_RESTART_AFTER_S, os.kill, (os.getpid(), signal.SIGTERM)).start()
    return jsonify({"worker": os.getpid()})


@blueprint.get("/api/comparison")
def comparison() -> Response:
    """The comparison that runs, or the last one."""
    return jsonify(_ask_desk("GET", f"/comparison?after={_whole('after')}"))


@blueprint.post("/api/<any('act', 'match', 'network', 'comparison', 'comparison-stop'):name>")
def tell_desk(name: str) -> Response:
    """Buttons of the page: the desk knows what they mean."""
    return jsonify(_ask_desk("POST", f"/{name}", _body()))


@blueprint.get("/api/plan")
def plan_inputs() -> Response:
    """What the planner can be asked: bounds and constants, each with its source."""
    return jsonify(planner.inputs())


@blueprint.post("/api/plan")
def plan() -> Response:
    """A capacity plan."""
    try:
        given: Json = json.loads(_body())
    except (ValueError, RecursionError):
        raise RequestError(400, "bad_json", "the body is no JSON") from None
    return jsonify(planner.plan(given))


@blueprint.get("/api/final")
def final() -> Response:
    """A goal of a World Cup final to fifty million viewers, simulated."""
    return jsonify(simulated_final())


def _server_state(match_id: str) -> JsonObject:
    try:
        board = origin().matches.latest(match_id)
    except (RequestError, BusError) as error:
        return {"error": str(error)}
    return {
        "id": str(board.id),
        "hash": board.hash,
        "score": [board.match.score.home, board.match.score.away],
        "status": board.match.status,
        "snapshot_bytes": len(board.snapshot),
    }


def _whole(name: str) -> int:
    text = request.args.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise RequestError(400, "bad_parameter", f"{name} {shown(text)}: must be a whole number")
    return int(text)


def _body() -> bytes:
    if (request.content_length or 0) > BODY_MAX_BYTES:
        raise RequestError(413, "body_too_large", f"a body of more than {BODY_MAX_BYTES} bytes")
    return request.get_data()


def _extension(name: str) -> Any:
    return current_app.extensions[name]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("desk", timeout=_DESK_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _ask_desk(method: str, path: str, body: bytes | None = None) -> JsonObject:
    connection = _UnixConnection(_extension(_DESK))
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content: Json = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise RequestError(503, "no_desk", f"the lab's desk does not answer: {error}") from None
    finally:
        connection.close()
    if not isinstance(content, dict):
        raise RequestError(503, "no_desk", "the lab's desk answered with something else")
    if response.status != 200:
        raise RequestError(response.status, "refused", str(content.get("error", "")))
    return content
