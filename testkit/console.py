"""Operators who are signed in to the console of a real origin, over HTTP and a bare WebSocket."""

from __future__ import annotations

import json
import re
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import httpx
from websockets.sync.client import ClientConnection, connect

from origin.console.accounts import Accounts
from shared_state.jsontext import JsonObject
from testkit.services.origin import OriginServer

__all__ = ["PASSWORD", "Operator", "Window", "console_env"]

PASSWORD = "a password for tests"


def console_env(directory: Path, *operators: str) -> dict[str, str]:
    """The setting of a console in ``directory``, with an account of each operator."""
    accounts = Accounts(directory / "console" / "accounts.json")
    for operator in operators:
        accounts.add(operator, PASSWORD)
    return {"TOUCHLINE_CONSOLE_DATA_DIR": str(directory / "console")}


class Window:
    """A match that an operator has open.

    Attributes:
        received: all that came, oldest first.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[dict[str, Any]] = []

    def say(self, message: JsonObject) -> None:
        self.connection.send(json.dumps(message))

    def wait_for(
        self, is_wanted: Callable[[Mapping[str, Any]], bool], timeout_s: float = 20.0
    ) -> dict[str, Any]:
        """The next message that is wanted; others are kept in ``received``."""
        while True:
            message = json.loads(self.connection.recv(timeout=timeout_s))
            self.received.append(message)
            if is_wanted(message):
                return dict(message)

    def enter(self, *changes: JsonObject, id_: str = "", age_ms: int = 0) -> dict[str, Any]:
        """Send an entry; its answer."""
        id_ = id_ or f"e-{secrets.token_hex(8)}"
        self.say({"t": "entry", "id": id_, "age_ms": age_ms, "changes": list(changes)})
        return self.wait_for(lambda message: message.get("id") == id_)


class Operator:
    """Somebody with a session.

    Args:
        headers: sent with each request.
    """

    def __init__(self, server: OriginServer, *, headers: Mapping[str, str] | None = None) -> None:
        self.server = server
        self.http = httpx.Client(base_url=server.url, headers={"Origin": server.url, **(headers or {})})

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *failure: object) -> None:
        self.http.close()

    def sign_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        return self.http.post("/console/sign-in", data={"operator": name, "password": password})

    def csrf(self) -> str:
        found = re.search('name="csrf" content="([^"]+)"', self.http.get("/console/").text)
        assert found is not None, "nobody is signed in"
        return found[1]

    def post_fixtures(self, body: JsonObject) -> httpx.Response:
        return self.http.post("/console/api/fixtures", json=body, headers={"X-Touchline-Csrf": self.csrf()})

    def open(self, match_id: str, *, origin: str | None = None) -> Window:
        """Open a match."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())
        # Made here, so that a refusal leaves no socket open.
        sock = socket.create_connection(("127.0.0.1", self.server.port))
        try:
            connection = connect(
                f"{self.server.url.replace('http', 'ws', 1)}/console/ws/{match_id}",
                sock=sock,
                additional_headers={"Cookie": cookie},
                origin=cast("Any", origin or self.server.url),
                proxy=None,
                legacy=True,
            )
        except BaseException:
            sock.close()
            raise
        return Window(connection)

    def records(self, match_id: str) -> Sequence[dict[str, Any]]:
        """The log's records of a match, as a window is shown them."""
        window = self.open(match_id)
        with window.connection:
            found = window.wait_for(lambda message: message["t"] == "match")
        return list(found["match"]["records"])
