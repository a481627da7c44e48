"""An origin in this process, and a publisher that posts to it; the fixtures are known to all tests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from origin.config import Config
from origin.ingest.signatures import signed_headers
from origin.web.app import create_app
from origin.web.origin import origin_of
from shared_state.jsontext import JsonObject
from testkit.services.origin import KEY

__all__ = ["KEY", "MATCH", "Poster", "event"]

MATCH = "fra-cro"


def event(event_id: str, type_: str = "GOAL", **fields: object) -> JsonObject:
    """A canonical event with what the case does not care about filled in."""
    value: JsonObject = {
        "match_id": MATCH,
        "event_id": event_id,
        "rev": 1,
        "op": "ADD",
        "type": type_,
        "period": "H1",
        "minute": 10,
        "team": "home",
    }
    return value | fields


class Poster:
    """Posts signed events, and waits until fan-out has published them."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()
        self._posted = 0

    def post(self, *events: JsonObject, webhook_id: str | None = None) -> TestResponse:
        self._posted += 1
        body = "\n".join(json.dumps(item) for item in events).encode()
        headers = signed_headers(KEY, webhook_id or f"msg_{self._posted}", int(time.time()), body)
        return self.client.post("/ingest/canonical", data=body, headers=headers)

    def publish(self, *events: JsonObject) -> str:
        """Post, and return the id of the match once all of it is published."""
        before = self.head()
        response = self.post(*events)
        assert response.status_code == 200, response.json
        deadline = time.monotonic() + 10
        wanted = (int(before.split("-")[1]) if before else 0) + len(events)
        while time.monotonic() < deadline:
            head = self.head()
            if head and int(head.split("-")[1]) >= wanted:
                return head
            time.sleep(0.005)
        raise AssertionError(f"{before} did not move on to seq {wanted}")

    def head(self) -> str | None:
        found = origin_of(self.app).bus.head(MATCH)
        return None if found is None else str(found)


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Applications on one SQLite log; closed at the end."""
    apps: list[Flask] = []

    def make(**settings: object) -> Flask:
        given = {"eventlog_url": f"sqlite:///{tmp_path}/log.db", "ingest_keys": (KEY,)} | settings
        app = create_app(Config(**given))  # type: ignore[arg-type]
        apps.append(app)
        return app

    yield make
    for app in apps:
        origin_of(app).close()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def poster(app: Flask) -> Poster:
    return Poster(app)
