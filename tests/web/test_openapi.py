"""docs/api/openapi.yaml against a running origin: it lists every route, and each answer is as it says."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from origin.config import Config
from origin.ingest.signatures import signed_headers
from origin.notify.push_keys import make_key
from origin.web.app import create_app
from testkit.services.origin import KEY, OriginServer

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "api" / "openapi.yaml").read_text())
FINAL = ROOT / "origin" / "demo" / "final-2018.jsonl"
MATCH = "2018-07-15-france-croatia"
DELTAS = 28
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
# Streams are in docs/api/asyncapi.yaml; the widget's files are assets of its pages.
ELSEWHERE = {"/widget/{name}", "/stream", "/stream/score", "/stream/{match_id}", "/ws/match/{match_id}"}

SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {
    found.ok().definition.raw["operationId"]: found.ok()
    for found in SCHEMA.get_all_operations()
    if isinstance(found, Ok)
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    push = tmp_path_factory.mktemp("push")
    make_key(push)
    with OriginServer(
        tmp_path_factory.mktemp("origin"), env={"TOUCHLINE_PUSH_DATA_DIR": str(push)}
    ) as server:
        server.post_file(FINAL)
        server.wait_for_seq(MATCH, DELTAS)
        yield server


def test_the_document_is_openapi_and_every_operation_is_tried() -> None:
    validate(DOCUMENT)
    assert len(OPERATIONS) == sum(len(methods) for methods in DOCUMENT["paths"].values())


def test_every_route_of_the_origin_is_in_it() -> None:
    app = create_app(Config.from_env({"EVENTLOG_URL": "memory://"}), start=False)
    routes = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(rule)) for rule in app.url_map.iter_rules()}
    documented = {path.replace("{id}", "{id_text}") for path in DOCUMENT["paths"]}
    documented.remove("/api/match/{match_id}/deltas/{id_text}/{slice}")  # the stream worker's
    assert routes - ELSEWHERE == documented


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_answers_are_as_it_says(server: OriginServer, name: str) -> None:
    """Requests drawn from the document, some of a match and an id that there are."""
    operation = OPERATIONS[name]
    epoch = server.state(MATCH)["epoch"]
    base = f"http://127.0.0.1:{server.port}"

    @settings(max_examples=60)  # a few per kind of parameter: the routes have properties of their own
    @given(case=operation.as_strategy(), seq=st.integers(0, DELTAS + 2), known=st.booleans())
    def ask(case: schemathesis.Case[Any], seq: int, known: bool) -> None:
        if known:
            path = case.path_parameters
            path |= dict.fromkeys(path.keys() & {"match_id"}, MATCH)
            path |= dict.fromkeys(path.keys() & {"id"}, f"{epoch}-{seq}")
            path |= dict.fromkeys(path.keys() & {"slice"}, 0)
            if name == "score":
                case.query = {"matchId": MATCH}
            if name == "oembed":
                case.query = {**case.query, "url": f"{base}/match/{MATCH}"}
        response = case.call(base_url=base, allow_redirects=False)
        case.validate_response(response, checks=CHECKS)

    ask()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("listPage", "/"),
        ("listFragment", "/list?competition=World%20Cup%202018%20%C2%B7%20Final"),
        ("matchPage", f"/match/{MATCH}?behind=30&lang=de"),
        ("embed", f"/embed/{MATCH}?size=card&theme=dark"),
        ("fragment", f"/match/{MATCH}/fragment/{{epoch}}-5"),
        ("score", f"/score?matchId={MATCH}"),
        ("state", f"/api/match/{MATCH}/state"),
        ("deltaAfter", f"/api/match/{MATCH}/deltas/{{epoch}}-5"),
        ("longPoll", f"/api/match/{MATCH}/deltas/{{epoch}}-5/0"),
        ("oembed", f"/oembed?url=http%3A%2F%2Fx.example%2Fmatch%2F{MATCH}"),
        ("alive", "/healthz"),
        ("ready", "/readyz"),
        ("metrics", "/metrics"),
    ],
)
def test_what_is_asked_for_rightly_is_answered_as_it_says(server: OriginServer, name: str, path: str) -> None:
    path = path.format(epoch=server.state(MATCH)["epoch"])
    response = httpx.get(f"http://127.0.0.1:{server.port}{path}")
    assert response.status_code == 200
    OPERATIONS[name].validate_response(response)


def test_a_signed_delivery_is_answered_as_it_says(server: OriginServer) -> None:
    event = {"match_id": "m-openapi", "event_id": "c1", "rev": 1, "op": "ADD", "type": "YELLOW_CARD"}
    body = json.dumps({**event, "period": "H1", "minute": 3, "team": "home"}).encode()
    for number, status in (("1", 200), ("1", 200), ("2", 401)):
        headers = signed_headers(KEY, f"msg_openapi_{number}", int(time.time()), body)
        sent = body if status == 200 else body + b" "
        response = httpx.post(
            f"http://127.0.0.1:{server.port}/ingest/canonical", content=sent, headers=headers
        )
        assert response.status_code == status
        OPERATIONS["ingest"].validate_response(response)


def test_a_subscription_is_answered_as_it_says(server: OriginServer) -> None:
    base = f"http://127.0.0.1:{server.port}"
    keys = {"p256dh": "B" + "A" * 86, "auth": "A" * 22}
    given = {"endpoint": "https://push.example.com/v1/a", "match": MATCH}
    for operation, method, body, status in (
        ("subscribe", "POST", {**given, "keys": keys, "delay": 30}, 204),
        ("subscribe", "POST", {**given, "keys": keys, "delay": 300}, 400),
        ("unsubscribe", "DELETE", given, 204),
    ):
        # Another address than the requests that were drawn, whose rate is used up.
        headers = {"Origin": base, "X-Forwarded-For": "198.51.100.7"}
        response = httpx.request(method, f"{base}/push", json=body, headers=headers)
        assert response.status_code == status
        OPERATIONS[operation].validate_response(response)
