"""football-data.org, ESPN and Stats Perform MA1: the same match, whoever tells it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from origin.commands.files import complaint
from origin.errors import FeedError
from origin.feeds import open_converter, stats_perform_ma1
from origin.feeds.football_data_v4 import read_documents
from origin.feeds.jsondoc import parse_document
from origin.feeds.matching import MatchingFeed
from origin.feedworker.formats import open_format
from shared_state import Event, Match, fold
from tests.feeds.snapshot_documents import (
    ESPN,
    FOOTBALL_DATA,
    STATS_PERFORM,
    espn,
    football_data,
    stats_perform,
)

DOCUMENTS = {"football-data-v4": FOOTBALL_DATA, "espn-scoreboard": ESPN, "stats-perform-ma1": STATS_PERFORM}
IDS = {"football-data-v4": "fd-7", "espn-scoreboard": "espn-7", "stats-perform-ma1": "sp-7"}


def converted(format_: str, document: Any) -> tuple[Match, list[FeedError]]:
    doubts: list[FeedError] = []
    events = list(open_converter(format_)(io.BytesIO(json.dumps(document).encode()), doubts.append))
    (match_id,) = {event.match_id for event in events}
    assert match_id == IDS[format_]
    return fold(match_id, events), doubts


def goals(match: Match) -> list[tuple[Any, ...]]:
    live = sorted((event for event in match.events() if event.type == "GOAL"), key=minute)
    return [
        (goal.team, goal.player, goal.minute, goal.stoppage, goal.detail["own_goal"], goal.detail["penalty"])
        for goal in live
    ]


def minute(event: Event) -> tuple[int, int]:
    return (event.minute or 0, event.stoppage)


@pytest.mark.parametrize("format_", DOCUMENTS)
def test_a_match_is_the_same_from_each_vendor(format_: str) -> None:
    match, doubts = converted(format_, DOCUMENTS[format_])
    assert doubts == []
    assert (match.status, match.score, match.shootout) == ("FT_PENS", (2, 2), (3, 4))
    assert goals(match) == [
        ("home", "Ann", 23, 0, False, False),
        ("away", "Cid", 45, 2, True, False),
        ("away", "Bob", 80, 0, False, True),
        ("home", "Dan", 90, 8, False, False),
    ]
    types = {event.type for event in match.events()}
    assert {"YELLOW_CARD", "SECOND_YELLOW", "SHOOTOUT_KICK"} <= types
    assert ("SUBSTITUTION" in types) is (format_ != "espn-scoreboard")
    assert match.info is not None
    assert match.info.detail["kickoff_ms"] == 1_780_167_600_000
    assert match.info.detail["home"] == {"name": "A", "code": "AAA"}
    kicks = [event for event in match.events() if event.type == "SHOOTOUT_KICK"]
    assert len(kicks) == 8
    assert {kick.player for kick in kicks} == {"K"}


@pytest.mark.parametrize("format_", DOCUMENTS)
def test_another_vendors_document_is_refused_by_what_it_is(format_: str) -> None:
    for other, document in DOCUMENTS.items():
        if other != format_:
            with pytest.raises(
                FeedError, match=r"is (football-data\.org v4|an ESPN scoreboard|Stats Perform MA1), not"
            ):
                converted(format_, document)


@pytest.mark.parametrize(
    ("format_", "document"),
    [
        ("football-data-v4", football_data(status="TIMED", goals=None, penalties=None, score=None)),
        ("espn-scoreboard", espn(status={"type": {"name": "STATUS_SCHEDULED"}}, competitions=[
            ESPN["events"][0]["competitions"][0] | {"details": []}])),
        ("stats-perform-ma1", {"matchInfo": STATS_PERFORM["matchInfo"]}),
    ],
)  # fmt: skip
def test_a_fixture_is_a_scheduled_match(format_: str, document: Any) -> None:
    if format_ == "football-data-v4":
        document |= {"bookings": None, "substitutions": None}
    match, _ = converted(format_, document)
    assert (match.status, match.period, match.score) == ("SCHEDULED", "PRE", (0, 0))


def test_the_free_plans_score_without_goals_is_shown_as_the_vendor_says_it() -> None:
    bare = {key: value for key, value in FOOTBALL_DATA.items() if key not in ("goals", "penalties")}
    match, _ = converted("football-data-v4", bare)
    assert (match.status, match.score, match.shootout) == ("FT_PENS", (2, 2), (3, 4))
    live = bare | {"status": "IN_PLAY", "score": {"duration": "REGULAR", "fullTime": {"home": 1, "away": 0}}}
    match, _ = converted("football-data-v4", live | {"minute": 30})
    assert (match.status, match.score) == ("LIVE", (1, 0))


def test_successive_documents_amend_and_retract() -> None:
    feed = MatchingFeed("fd-7", lambda doubt: None)
    first = football_data(status="IN_PLAY", minute=30, penalties=[], goals=FOOTBALL_DATA["goals"][:1])
    first["score"] = {"duration": "REGULAR", "fullTime": {"home": 1, "away": 0}}
    events: list[Event] = []
    steps = [first]
    renamed = json.loads(json.dumps(first)) | {"minute": 31}
    renamed["goals"][0] |= {"minute": 24, "scorer": {"name": "Anna"}}
    gone = json.loads(json.dumps(first)) | {"goals": []}
    gone["score"]["fullTime"]["home"] = 0
    steps += [renamed, gone | {"minute": 32}, gone | {"minute": 33}]
    scores = []
    for number, step in enumerate(steps):
        node = parse_document(json.dumps(step).encode())
        for document in read_documents(node, now_ms=1_780_169_000_000 + number * 60_000):
            events += feed.take(document)
        scores.append(fold("fd-7", events).score)
    assert scores[:2] == [(1, 0), (1, 0)]
    assert scores[-1] == (0, 0)
    ops = [event.op for event in events if event.event_id == "goal-1"]
    assert ops == ["ADD", "AMEND", "RETRACT"]


@pytest.mark.parametrize(
    ("name", "state", "period", "status"),
    [
        ("STATUS_TBD", "pre", 0, "SCHEDULED"),
        ("STATUS_RAIN_DELAY", "pre", 0, "DELAYED"),
        ("STATUS_PRE_GAME", "pre", 0, "SCHEDULED"),
        ("STATUS_FIRST_EXTRA", "in", 3, "EXTRA_TIME"),
        ("STATUS_END_PERIOD", "in", 1, "LIVE"),
        ("STATUS_PENALTIES", "in", 5, "PENALTIES"),
        ("STATUS_FINAL_AGT", "post", 2, "FT"),
        ("STATUS_FULL_TIME_AET", "post", 4, "AET"),
        ("STATUS_FULL_PEN", "post", 5, "FT_PENS"),
        ("STATUS_IN_PROGRESS", None, 2, "LIVE"),
        ("STATUS_SUSPENDED", "post", 2, "SUSPENDED"),
    ],
)
def test_a_status_of_espn_that_nobody_listed_is_known_by_its_state(
    name: str, state: str | None, period: int, status: str
) -> None:
    contest = ESPN["events"][0]["competitions"][0] | {"details": []}
    shown = {"period": period, "type": {"name": name, "state": state}}
    match, _ = converted("espn-scoreboard", espn(status=shown, competitions=[contest]))
    assert match.status == status


def test_a_word_that_says_nothing_does_not_stop_the_goals() -> None:
    match, _ = converted("espn-scoreboard", espn(status={"type": {"name": "STATUS_SOMETHING"}}))
    assert (match.status, match.score) == ("SCHEDULED", (2, 2))


def test_the_added_time_of_ma1_is_in_seconds() -> None:
    periods = [
        {"id": 1, "announcedInjuryTime": 120}, {"id": 2, "announcedInjuryTime": 330}, {"id": 3},
        {"id": 4, "announcedInjuryTime": 0}, {"id": 14, "announcedInjuryTime": 60},
    ]  # fmt: skip
    match, _ = converted("stats-perform-ma1", stats_perform(period=periods))
    shown = [event for event in match.events() if event.type == "STOPPAGE_ANNOUNCED"]
    assert [(one.period, one.minute, one.detail["minutes"]) for one in shown] == [
        ("H1", 45, 2),
        ("H2", 90, 6),
    ]


def test_teams_of_ma1_that_are_not_drawn_yet_are_a_match() -> None:
    info = STATS_PERFORM["matchInfo"] | {
        "contestant": [{"position": "home", "phrase": "Winner of Group A"}, {"position": "away"}]
    }
    match, _ = converted("stats-perform-ma1", {"matchInfo": info})
    assert match.info is not None
    assert [match.info.detail[side]["name"] for side in ("home", "away")] == ["Winner of Group A", "TBD"]


def ma1_at(minute: int, goals: int, now_ms: int) -> Any:
    """MA1 at a minute with so many of its goals, read at a moment."""
    document = stats_perform(matchStatus="Playing", periodId=2, matchTime=minute, scores={})
    del document["matchInfo"]["lastUpdated"]
    document["liveData"] |= {"goal": document["liveData"]["goal"][:goals], "penaltyShot": []}
    (read,) = stats_perform_ma1.read_documents(parse_document(json.dumps(document).encode()), now_ms=now_ms)
    return read


def test_an_old_document_of_a_cache_takes_nothing_back() -> None:
    """MA1 has no time of its own, so a cache's document is dated as the newest one is."""
    feed = open_format("stats-perform-ma1").feed("sp-7", lambda _: None, [])
    now_ms = 1_780_180_000_000
    events: list[Event] = []
    for turn, (minute, goals) in enumerate([(60, 2), (81, 3), (60, 2), (60, 2), (60, 2), (81, 3), (82, 3)]):
        events += feed.take(ma1_at(minute, goals, now_ms + turn * 5_000))
    assert [event.event_id for event in events if event.type == "GOAL"] == ["1", "2", "3"]
    assert {event.op for event in events if event.event_id in ("1", "2", "3", "status")} == {"ADD"}
    # What is still said after half a minute is what the vendor says: the goal was deleted.
    for turn in range(10, 20):
        events += feed.take(ma1_at(83 + turn, 2, now_ms + turn * 5_000))
    assert [event.op for event in events if event.event_id == "3"] == ["ADD", "RETRACT"]


def test_a_time_in_the_future_is_refused_by_its_path() -> None:
    document = parse_document(json.dumps(stats_perform()).encode())
    with pytest.raises(FeedError, match=r"must be at most 5 minutes ahead") as refused:
        list(stats_perform_ma1.read_documents(document, now_ms=1_000_000_000_000))
    assert "liveData.goal[0].lastUpdated" in complaint("f", refused.value)


def of_kind(name: str, matches: list[Any]) -> bytes:
    """A list of matches in a vendor's form."""
    key = {"football-data-v4": "matches", "espn-scoreboard": "events", "stats-perform-ma1": "match"}[name]
    return json.dumps({key: matches} | ({"leagues": []} if key == "events" else {})).encode()


def one_match(name: str) -> dict[str, Any]:
    whole: dict[str, Any] = DOCUMENTS[name]
    for key in ("matches", "events", "match"):
        if isinstance(whole.get(key), list):
            return dict(whole[key][0])
    return dict(whole)


LISTS = ("football-data-v4", "espn-scoreboard", "stats-perform-ma1")


@pytest.mark.parametrize("name", LISTS)
def test_lists_and_rows_have_bounds(name: str) -> None:
    most = 1_000 if name == "stats-perform-ma1" else 2_000
    with pytest.raises(FeedError, match=f"at most {most} are read"):
        list(open_converter(name)(io.BytesIO(of_kind(name, [one_match(name)] * (most + 1))), lambda _: None))
    match = json.loads(json.dumps(one_match(name)))
    rows = 400 if name != "football-data-v4" else 100
    if name == "football-data-v4":
        match["goals"] = [{}] * (rows + 1)
    elif name == "espn-scoreboard":
        match["competitions"][0]["details"] = [{}] * (rows + 1)
    else:
        match["liveData"]["goal"] = [{}] * (rows + 1)
    with pytest.raises(FeedError, match=f"at most {rows} are read"):
        list(open_converter(name)(io.BytesIO(of_kind(name, [match])), lambda _: None))


@pytest.mark.parametrize("name", LISTS)
def test_a_bad_match_of_a_list_costs_itself_alone(name: str, caplog: pytest.LogCaptureFixture) -> None:
    good = one_match(name)
    read = open_format(name).read
    (document,) = read(of_kind(name, [good, {"id": 7}, "no match"]), NOW_MS)
    assert document.match_id == read(of_kind(name, [good]), NOW_MS)[0].match_id
    assert len(caplog.records) == 2
    with pytest.raises(FeedError):  # none could be read: the document is a bad one
        read(of_kind(name, [{"id": 7}]), NOW_MS)


NOW_MS = 4_000_000_000_000
