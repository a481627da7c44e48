"""Pages, polls and fragments for readers who stay some seconds behind."""

from __future__ import annotations

import json
import time

import pytest
from flask import Flask
from flask.testing import FlaskClient

from origin.bus import Published
from origin.bus.memory import REPLAY_MAX_DELTAS
from origin.web.origin import origin_of
from shared_state import DeltaId, Event, Replica, encode_delta
from tests.events_by_hand import MATCH_ID, goal, retract, status


class Past:
    """A match whose events the log took some seconds ago."""

    def __init__(self, app: Flask) -> None:
        self.bus = origin_of(app).bus
        self.now_ms = time.time_ns() // 1_000_000
        self.replica = Replica.begin(MATCH_ID, self.now_ms - 3_600_000)

    def publish(self, event: Event, ago_s: float) -> DeltaId:
        delta = self.replica.assign(event, self.now_ms - round(ago_s * 1_000))
        assert delta is not None
        self.bus.publish(MATCH_ID, Published(delta.id, encode_delta(delta)), self.replica.snapshot())
        return delta.id


@pytest.fixture
def past(app: Flask) -> Past:
    return Past(app)


PAGES = [f"/match/{MATCH_ID}", f"/embed/{MATCH_ID}"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_as_of_then(past: Past, client: FlaskClient, path: str) -> None:
    before = past.publish(status("ko", "LIVE", "H1", minute=0), 600)
    newest = past.publish(goal("g1", "home", 10, "Somebody"), 40)
    now, then = client.get(path).text, client.get(f"{path}?behind=60").text
    assert f'data-id="{newest}"' in now
    assert f'data-id="{before}"' in then
    assert "Somebody" not in then
    assert '<live-score match="fra-cro" delay="60"' in then
    assert "delay=" not in now
    assert "1–0" not in then, "neither in the title nor anywhere else"
    assert f'data-id="{newest}"' in client.get(f"{path}?behind=30").text
    as_of_ms = int(then.partition('data-as-of="')[2].partition('"')[0])
    assert past.now_ms - 80_000 < as_of_ms <= time.time() * 1_000 - 60_000


def test_a_goal_that_was_taken_back_in_time_was_never_there(past: Past, client: FlaskClient) -> None:
    past.publish(status("ko", "LIVE", "H1", minute=0), 600)
    past.publish(goal("g1", "home", 10, "Somebody"), 40)
    gone = past.publish(retract("g1", reason="VAR: offside"), 20)
    path = f"/match/{MATCH_ID}"
    assert "<s>" in client.get(path).text
    for delay_s in (30, 60):  # held because it is known to be taken back; not yet old enough
        page = client.get(f"{path}?behind={delay_s}").text
        assert "Somebody" not in page.partition('id="tl-snapshot"')[0]
    # Ten seconds behind, the goal was on the board for twenty.
    assert "<s>" in client.get(f"{path}?behind=10").text
    fragment = client.get(f"{path}/fragment/{gone}?behind=30")
    assert "Somebody" not in fragment.text
    assert 'data-announce=""' in fragment.text
    assert "data-unseen='" in fragment.text or 'data-unseen="[&quot;g1&quot;]"' in fragment.text
    assert "immutable" in fragment.headers["Cache-Control"]
    seen = client.get(f"{path}/fragment/{gone}?behind=10").text
    assert "Somebody" in seen
    assert "data-unseen" not in seen
    assert 'data-announce="Correction' in seen


def test_the_snapshot_is_as_of_then(past: Past, client: FlaskClient) -> None:
    before = past.publish(status("ko", "LIVE", "H1", minute=0), 600)
    past.publish(goal("g1", "home", 10), 40)
    response = client.get(f"/api/match/{MATCH_ID}/state?behind=60")
    assert response.headers["Touchline-Id"] == str(before)
    assert response.json is not None
    assert response.json["score"] == {"home": 0, "away": 0}
    assert Replica.restore(response.data).position == before
    assert int(response.headers["Touchline-As-Of"]) <= time.time() * 1_000 - 60_000
    again = client.get(f"/api/match/{MATCH_ID}/state?behind=60", headers={"If-None-Match": f'"{before}"'})
    assert again.status_code == 304


def test_before_anything_was_known_nothing_is_shown(past: Past, client: FlaskClient) -> None:
    past.publish(status("ko", "LIVE", "H1", minute=0), 5)
    page = client.get(f"/match/{MATCH_ID}?behind=30")
    assert page.status_code == 200
    assert f'data-id="{past.replica.position.epoch}-0"' in page.text


@pytest.mark.parametrize("given", ["0", "-1", "121", "030", "1.5", "x", "1" * 5_000, "30&behind=40"])
@pytest.mark.parametrize("path", PAGES)
def test_every_delay_has_one_address(past: Past, client: FlaskClient, path: str, given: str) -> None:
    past.publish(status("ko", "LIVE", "H1", minute=0), 600)
    response = client.get(f"{path}?behind={given}")
    assert response.status_code == 302
    assert response.headers["Location"] == (f"{path}?behind=30" if "&" in given else path)
    assert "no-store" in response.headers["Cache-Control"]
    assert client.get(response.headers["Location"]).status_code == 200


@pytest.mark.parametrize("given", ["0", "121", "x", "30&behind=40"])
def test_a_client_is_told_what_is_no_delay(past: Past, client: FlaskClient, given: str) -> None:
    past.publish(status("ko", "LIVE", "H1", minute=0), 600)
    response = client.get(f"/api/match/{MATCH_ID}/state?behind={given}")
    assert response.status_code == 400
    assert response.json is not None
    assert response.json["error"]["code"] == "bad_delay"
    assert given.partition("&")[0] in response.json["error"]["message"]


def test_where_the_first_deltas_are_gone_nothing_is_shown_too_early(past: Past, client: FlaskClient) -> None:
    past.publish(status("ko", "LIVE", "H1", minute=0), 3_000)
    for number in range(REPLAY_MAX_DELTAS + 5):
        past.publish(goal(f"g{number}", "home", 10), 2_000)
    path = f"/match/{MATCH_ID}"
    # The last change is older than the delay, so now is as good as then.
    assert client.get(f"{path}?behind=30").status_code == 200
    past.publish(goal("last", "home", 10), 10)
    refused = client.get(f"{path}?behind=30")
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "30"
    assert client.get(path).status_code == 200


def test_language_and_delay_have_one_order(past: Past, client: FlaskClient) -> None:
    past.publish(status("ko", "LIVE", "H1", minute=0), 600)
    path = f"/match/{MATCH_ID}"
    assert client.get(f"{path}?behind=30&lang=de").status_code == 200
    moved = client.get(f"{path}?lang=de&behind=30")
    assert (moved.status_code, moved.headers["Location"]) == (302, f"{path}?behind=30&lang=de")


def test_no_two_delays_share_a_fragment(past: Past, client: FlaskClient) -> None:
    past.publish(goal("g1", "home", 10), 40)
    id_ = past.publish(retract("g1"), 20)
    bodies = [client.get(f"/match/{MATCH_ID}/fragment/{id_}?behind={s}").text for s in (5, 15, 25, 35)]
    assert ["unseen" in body for body in bodies] == [False, False, True, True]
    assert json.loads(client.get(f"/api/match/{MATCH_ID}/state").data)["score"] == {"home": 0, "away": 0}
