"""LINE_UP and STAT: corrected like any event, ignored safely by a reader that does not know them, bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from shared_state import (
    DeltaId,
    Event,
    InvalidEvent,
    Match,
    Replica,
    decode_delta,
    encode_delta,
    fold,
    match_hash,
)
from shared_state import details as contract
from shared_state.jsontext import JsonObject
from shared_state.language import ENGLISH
from shared_state.lineups import lineup, lineups_html
from shared_state.statistics import STAT_KEYS, statistics, statistics_html
from tests import strategies

EPOCH = 1_531_666_800_000


def event(event_id: str, type_: str, detail: JsonObject, **fields: Any) -> Event:
    body = {"match_id": "m", "event_id": event_id, "rev": 1, "op": "ADD", "type": type_, "detail": detail}
    return Event.from_json(body | fields)


def squad(*names: str, event_id: str = "home", team: str = "home", **fields: Any) -> Event:
    starting = [{"name": name, "number": number} for number, name in enumerate(names, 1)]
    return event(event_id, "LINE_UP", {"starting": starting, **fields.pop("more", {})}, team=team, **fields)


def stat(key: str, home: int, away: int, **fields: Any) -> Event:
    return event(f"stat-{key}", "STAT", {"key": key, "home": home, "away": away}, **fields)


def retract(event_id: str, rev: int = 2) -> Event:
    return Event(match_id="m", event_id=event_id, rev=rev, op="RETRACT")


def names(match: Match, team: str = "home") -> list[str]:
    found = lineup(match, team)
    return [] if found is None else [player["name"] for player in found.detail["starting"]]


def test_a_line_up_is_corrected_and_taken_back_like_any_event() -> None:
    first, corrected = squad("Lloris", "Pavard"), squad("Lloris", "Kimpembe", op="AMEND", rev=2)
    assert names(fold("m", [first])) == ["Lloris", "Pavard"]
    assert names(fold("m", [corrected, first])) == ["Lloris", "Kimpembe"]
    assert names(fold("m", [first, corrected, retract("home", 3)])) == []
    assert names(fold("m", [first]), "away") == []


def test_the_later_of_two_line_ups_of_a_side_counts_and_the_earlier_comes_back() -> None:
    early, late = squad("A", source_ts=1), squad("B", event_id="again", source_ts=2)
    assert names(fold("m", [late, early])) == ["B"]
    assert names(fold("m", [late, early, retract("again")])) == ["A"]


def test_a_statistic_is_the_latest_of_its_key() -> None:
    match = fold("m", [stat("shots", 1, 0), stat("shots", 4, 2, op="AMEND", rev=2), stat("xg", 131, 84)])
    assert {key: (of.detail["home"], of.detail["away"]) for key, of in statistics(match).items()} == {
        "shots": (4, 2),
        "xg": (131, 84),
    }
    html = statistics_html(match, ENGLISH)
    assert "<dt>Shots</dt>" in html
    assert ">1.31<" in html
    assert statistics_html(fold("m", [retract("stat-shots", 3), stat("shots", 1, 0)]), ENGLISH) == ""


def test_a_key_without_words_is_kept_and_shown_as_nothing() -> None:
    match = fold("m", [stat("x_new_2031", 1, 2)])
    assert "x_new_2031" in statistics(match)
    assert statistics_html(match, ENGLISH) == ""


def test_every_key_that_is_shown_has_a_name() -> None:
    assert all(ENGLISH.text(f"stat.{key}") for key in STAT_KEYS)


def test_they_move_neither_the_clock_nor_the_score() -> None:
    live = event("ko", "STATUS_CHANGE", {"to": "LIVE"}, period="H1", minute=0)
    match = fold("m", [live, squad("A", minute=80, period="H2"), stat("shots", 9, 9, minute=80, period="H2")])
    assert (match.clock.period, match.clock.minute) == ("H1", 0)
    assert match.score == (0, 0)


@pytest.mark.parametrize("type_", ["LINE_UP", "STAT"])
def test_a_reader_of_the_release_before_has_the_same_hash(
    type_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps what it does not know as it comes, so what we publish must be what we keep."""
    given_ = {
        "LINE_UP": squad(
            "Lloris", more={"formation": None, "bench": [], "x_new": {"a": [1]}}, op="AMEND", rev=2
        ),
        "STAT": stat("shots", 3, 1, minute=30),
    }[type_]
    origin = Replica.begin("m", EPOCH)
    sent = [encode_delta(delta) for delta in [origin.assign(given_, EPOCH)] if delta is not None]
    snapshot = origin.snapshot()

    known = {name: keys for name, keys in contract.DETAILS.items() if name != type_}
    monkeypatch.setattr(contract, "DETAILS", known)
    monkeypatch.setattr("shared_state.wire.DETAILS", known)
    monkeypatch.setattr("shared_state.events._NEEDS_TEAM", frozenset())
    old = Replica.begin("m", EPOCH)
    for number, data in enumerate(sent, 1):
        old.receive(decode_delta("m", DeltaId(EPOCH, number), data))
    assert old.hash() == origin.hash()
    assert Replica.restore(snapshot).hash() == origin.hash()


@given(strategies.events(("LINE_UP", "STAT")))
def test_any_of_them_survives_the_wire(given_: Event) -> None:
    origin, viewer = Replica.begin("fra-cro", EPOCH), Replica.begin("fra-cro", EPOCH)
    delta = origin.assign(given_, EPOCH)
    assert delta is not None
    viewer.receive(decode_delta("fra-cro", delta.id, encode_delta(delta)))
    assert viewer.hash() == origin.hash() == match_hash(Replica.restore(origin.snapshot()).match)


PLAYER = {"name": "A"}


@pytest.mark.parametrize(
    ("detail", "named"),
    [
        ({}, "detail.starting"),
        ({"starting": []}, "detail.starting"),
        ({"starting": [PLAYER] * 16}, "detail.starting"),
        ({"starting": [PLAYER], "bench": [PLAYER] * 31}, "detail.bench"),
        ({"starting": ["A"]}, r"detail\.starting\.0"),
        ({"starting": [PLAYER, {"number": 1}]}, r"detail\.starting\.1\.name"),
        ({"starting": [{"name": "A", "number": 1000}]}, r"detail\.starting\.0\.number"),
        ({"starting": [{"name": "A", "position": "LIBERO"}]}, r"detail\.starting\.0\.position"),
        ({"starting": [PLAYER], "formation": "4" * 17}, "detail.formation"),
        # Each name is within its bound; together they are not.
        ({"starting": [{"name": "é" * 128}] * 15, "bench": [{"name": "é" * 128}] * 30}, "8000 bytes"),
    ],
)
def test_a_line_up_has_bounds(detail: JsonObject, named: str) -> None:
    with pytest.raises(InvalidEvent, match=named):
        event("l", "LINE_UP", detail, team="home")


def test_a_line_up_is_of_a_side() -> None:
    with pytest.raises(InvalidEvent, match="team: must be home or away for LINE_UP"):
        event("l", "LINE_UP", {"starting": [PLAYER]})


@pytest.mark.parametrize(
    ("detail", "named"),
    [
        ({"key": "Shots", "home": 1, "away": 1}, "detail.key"),
        ({"key": "s" * 33, "home": 1, "away": 1}, "detail.key"),
        ({"key": "shots", "home": -1, "away": 1}, "detail.home"),
        ({"key": "shots", "home": 1, "away": 1_000_001}, "detail.away"),
        ({"key": "xg", "home": 1.3, "away": 1}, "detail.home"),
        ({"key": "shots", "home": 1}, "detail.away"),
    ],
)
def test_a_statistic_has_bounds(detail: JsonObject, named: str) -> None:
    with pytest.raises(InvalidEvent, match=named):
        event("s", "STAT", detail)


def test_what_happened_to_a_player_stands_beside_the_name() -> None:
    match = fold(
        "m",
        [
            squad("Kane", "Bellingham", more={"bench": [{"name": "Foden"}], "formation": "4-3-3"}),
            event("g", "GOAL", {}, team="home", player="Kane", minute=12),
            event("o", "GOAL", {"own_goal": True}, team="away", player="Bellingham", minute=20),
            event("s", "SUBSTITUTION", {}, team="home", player="Foden", player2="Kane", minute=60),
        ],
    )
    html = lineups_html(match, ENGLISH)
    for mark in ("goal", "own_goal", "on", "off"):
        assert html.count(f'tl-note-{mark}"') == 1
    assert "Not announced yet" in html  # the other side
    assert lineups_html(fold("m", []), ENGLISH) == ""
