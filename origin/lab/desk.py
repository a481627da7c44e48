"""The lab's desk: posts what the buttons say, keeps the viewer's network, and runs comparisons.

It is in the process of ``touchline demo``, so it goes on while the stream worker is restarted. The origin's
lab routes reach it over a Unix socket in a directory that only this user can open.
"""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

from origin.lab.comparison.run import Comparison, Request, RequestedError
from origin.lab.director import ActionError, Director
from origin.lab.network import Condition, Network
from origin.lab.network import running as running_network
from origin.lab.posting import PostError, get, post
from shared_state.errors import shown
from shared_state.jsontext import JsonObject

__all__ = ["BODY_MAX_BYTES", "Desk", "DeskError", "running"]

BODY_MAX_BYTES: Final = 4_096
_POSTS_MAX: Final = 100
_MATCHES_MAX: Final = 50


class DeskError(Exception):
    """A request that cannot be granted.

    Attributes:
        status: of the answer, 400 or 409.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Desk:
    """What the page's buttons do.

    Args:
        port: the origin's.
        key: the secret that signs.
        network: the viewer's.
    """

    def __init__(self, port: int, key: bytes, network: Network) -> None:
        self._port = port
        self._key = key
        self._network = network
        self._lock = threading.Lock()
        self._matches = 0
        self._posts: deque[JsonObject] = deque(maxlen=_POSTS_MAX)
        self._posts_seen = 0
        self._comparison: Comparison | None = None
        self._director = self._begin()

    def close(self) -> None:
        """End a comparison that runs."""
        if self._comparison is not None:
            self._comparison.stop()

    # --- requests, by method and path

    def state(self, after: int, posts_after: int) -> JsonObject:
        """Everything that the page shows of the desk.

        Args:
            after: frames of the viewer's stream after this number.
            posts_after: posts after this number.
        """
        network = self._network
        comparison = self._comparison
        return {
            "match_id": self._director.match_id,
            "network": {
                "port": network.port,
                "condition": network.condition.value,
                "connections": network.connections,
                "requests": network.requests,
                "bytes_down": network.bytes_down,
                "withheld": network.withheld,
            },
            "frames": [frame for frame in list(network.frames) if frame["n"] > after],
            "posts": [posted for posted in list(self._posts) if posted["n"] > posts_after],
            "comparison": None if comparison is None else {"phase": comparison.phase},
        }

    def act(self, body: JsonObject) -> JsonObject:
        """Press a button.

        Raises:
            DeskError: 400 there is none of that name; 409 it makes no sense now. Nothing was posted.
            PostError: the origin does not take events.
        """
        action, team = body.get("action"), body.get("team", "home")
        if not isinstance(action, str) or not isinstance(team, str):
            raise DeskError(400, "action and team must be text")
        with self._lock:
            try:
                deliveries = self._director.act(action, team)
            except ActionError as error:
                raise DeskError(409, str(error)) from None
            return {"posts": [self._post(action, delivery) for delivery in deliveries]}

    def begin(self, _: JsonObject) -> JsonObject:
        """Another match, from its kick-off.

        Raises:
            DeskError: 409 there were enough.
        """
        with self._lock:
            if self._matches >= _MATCHES_MAX:
                raise DeskError(409, f"{_MATCHES_MAX} matches were begun: start the demo anew")
            self._director = self._begin()
            return {"match_id": self._director.match_id}

    def network(self, body: JsonObject) -> JsonObject:
        """Change the viewer's network, or cut its streams once.

        Raises:
            DeskError: 400 there is no such condition.
        """
        condition = body.get("condition")
        if condition == "drop":
            self._network.drop()
        else:
            try:
                wanted = Condition(condition)
                if wanted is Condition.STALE:
                    self._fill_cache()
                self._network.change(wanted)
            except ValueError:
                names = ", ".join(one.value for one in Condition)
                raise DeskError(400, f"condition {shown(str(condition))}: one of drop, {names}") from None
        return {"condition": self._network.condition.value}

    def _fill_cache(self) -> None:
        """Have the cache keep what a viewer would ask for now, as if another reader had asked."""
        for path in ("/api/match/{}/state", "/score?matchId={}", "/lab/viewer/{}"):
            get(self._network.port, path.format(self._director.match_id))

    def compare(self, body: JsonObject) -> JsonObject:
        """Begin a comparison.

        Raises:
            DeskError: 400 it cannot be; 409 one runs.
        """
        values = {name: body.get(name) for name in ("clients", "minutes", "scale")}
        for name, value in values.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number and not (value is None and name != "clients"):
                raise DeskError(400, f"{name} {shown(str(value))}: must be a number")
        with self._lock:
            if self._comparison is not None and self._comparison.running:
                raise DeskError(409, "a comparison runs: stop it first")
            try:
                scale = values["scale"]
                asked = Request.of(
                    int(cast("int", values["clients"])),
                    int(cast("int", values["minutes"] or 30)),
                    None if scale is None else float(cast("float", scale)),
                )
            except (RequestedError, OverflowError) as error:
                raise DeskError(400, str(error)) from None
            self._comparison = Comparison(asked)
            self._comparison.start()
            return {"wall_s": asked.wall_s, "scale": asked.scale}

    def stop_comparison(self, _: JsonObject) -> JsonObject:
        """End a comparison that runs."""
        comparison = self._comparison
        if comparison is not None:
            comparison.stop()
        return {}

    def comparison(self, after: int) -> JsonObject:
        """The comparison that runs, or the last one, with its samples after a number; empty for none."""
        return {} if self._comparison is None else self._comparison.state(after)

    # --- parts of them

    def _begin(self) -> Director:
        self._matches += 1
        # A demo's log is new each time, so the number alone would do. The time keeps what a browser has
        # stored of an earlier demo apart.
        director = Director(f"lab-{int(time.time()):x}-{self._matches}")
        self._post("kick-off", director.begin())
        return director

    def _post(self, action: str, events: Any) -> JsonObject:
        posted = post(self._port, self._key, events)
        self._posts_seen += 1
        described: JsonObject = {
            "n": self._posts_seen,
            "action": action,
            "match_id": events[0]["match_id"],
            "events": [[event["event_id"], event["rev"], event["op"]] for event in events],
            "sent_ms": round(posted.sent_ms, 2),
            "answered_ms": round(posted.answered_ms, 2),
            "bytes": posted.bytes,
        }
        self._posts.append(described)
        return described


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    desk: Desk


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        """Answer a reading."""
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        desk = self.server.desk
        if url.path == "/state":
            self._answer(200, desk.state(_number(query, "after"), _number(query, "posts_after")))
        elif url.path == "/comparison":
            self._answer(200, desk.comparison(_number(query, "after")))
        else:
            self._answer(404, {"error": f"no {self.path}"})

    def do_POST(self) -> None:
        """Answer a button."""
        desk = self.server.desk
        routes: Mapping[str, Callable[[JsonObject], JsonObject]] = {
            "/act": desk.act,
            "/match": desk.begin,
            "/network": desk.network,
            "/comparison": desk.compare,
            "/comparison-stop": desk.stop_comparison,
        }
        length = int(self.headers.get("Content-Length", "0"))
        if self.path not in routes or length > BODY_MAX_BYTES:
            self._answer(404, {"error": f"no {self.path}"})
            return
        try:
            body = json.loads(self.rfile.read(length) or b"{}")
            if not isinstance(body, dict):
                raise DeskError(400, "a JSON object is needed")
            self._answer(200, routes[self.path](body))
        except (ValueError, RecursionError):
            self._answer(400, {"error": "the body is no JSON"})
        except DeskError as error:
            self._answer(error.status, {"error": str(error)})
        except PostError as error:
            self._answer(503, {"error": str(error)})

    def _answer(self, status: int, content: JsonObject) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: the page asks several times a second."""

    def address_string(self) -> str:
        """A Unix socket has no address."""
        return "lab"


def _number(query: Mapping[str, list[str]], name: str) -> int:
    # The origin's route has checked it.
    return int(query.get(name, ["0"])[0])


@contextlib.contextmanager
def running(socket_path: Path, port: int, key: bytes) -> Iterator[Desk]:
    """The desk at a Unix socket, for as long as the block.

    Args:
        socket_path: where; its directory must be this user's alone.
        port: the origin's, on 127.0.0.1. It must be ready to take events.
        key: the secret that signs.

    Raises:
        PostError: the origin does not take the lab's match.
    """
    with running_network(port) as network:
        desk = Desk(port, key, network)
        server = _Server(str(socket_path), _Handler)
        server.desk = desk
        thread = threading.Thread(target=server.serve_forever, name="lab-desk", daemon=True)
        thread.start()
        try:
            yield desk
        finally:
            desk.close()
            server.shutdown()
            server.server_close()
            thread.join(timeout=10)
