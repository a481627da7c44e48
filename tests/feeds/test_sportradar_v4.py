"""Sportradar v4: timelines from which events vanish, pushed events, and objects without a delimiter."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.errors import FeedError
from origin.feeds.jsondoc import parse_document
from origin.feeds.jsonstream import OBJECT_MAX_BYTES, JsonStream
from origin.feeds.sportradar_v4 import convert, read_push, read_timeline
from origin.feeds.vendor_document import VendorDocumentFeed
from shared_state import Event, Score, fold
from testkit.command import touchline
from testkit.services.vendor_timelines import Told, card, goal, push, timeline
from testkit.vendor_simulator import shown, sportradar_documents

DATA = Path(__file__).parents[1] / "data" / "vendor" / "sportradar-v4-timeline.json"
TIMELINE = DATA.read_bytes()


def read(data: bytes) -> list[Event]:
    return list(convert(io.BytesIO(data), lambda _: None))


# --- The whole file ------------------------------------------------------------------------------


def test_the_final_folds_to_its_result() -> None:
    events = read(TIMELINE)
    match = fold("sr-15553427", events)
    assert (match.status, match.period, match.score) == ("FT", "POST", Score(4, 2))
    by_id = {event.event_id: event for event in events}
    assert (by_id["504"].team, by_id["504"].detail["own_goal"]) == ("home", True)
    assert by_id["512"].detail["penalty"]
    assert (by_id["506"].player, by_id["506"].player2) == ("Ivan Perisic", "Domagoj Vida")
    assert (by_id["516"].player, by_id["516"].player2) == ("Steven N'Zonzi", "N'Golo Kante")
    assert by_id["513"].detail == {"minutes": 3}
    assert by_id["520"].player is None  # a card for the bench
    assert (by_id["520"].minute, by_id["520"].stoppage) == (90, 3)
    assert by_id["info"].detail["kickoff_ms"] == 1_531_666_800_000


def test_a_var_check_and_its_end_are_one_event() -> None:
    checks = [event for event in read(TIMELINE) if event.type == "VAR"]
    assert [(check.event_id, check.detail["state"], check.detail["outcome"]) for check in checks] == [
        ("507", "CLOSED", "Penalty")
    ]


def test_an_overwritten_time_is_a_revision_and_no_time_of_occurrence() -> None:
    events = {event.event_id: event for event in read(TIMELINE)}
    assert events["512"].source_ts is None
    assert events["517"].source_ts == events["517"].rev == 1_531_671_405_000
    told = Told(timeline(100, goal(1, 90)), timeline(200, goal(1, 190, updated=True, match_time=6)))
    (event,) = [event for event in told.match.events() if event.type == "GOAL"]
    assert event.minute == 6
    assert event.source_ts == told.events[0].source_ts  # the first that was known


def test_the_command_reads_it() -> None:
    ran = touchline("convert", "sportradar-v4", DATA)
    assert (ran.code, ran.err) == (0, "")
    (folded,) = touchline("fold", stdin=ran.out).lines
    assert json.loads(folded)["score"] == {"home": 4, "away": 2}


# --- Status --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "match_status", "to", "period"),
    [
        ("not_started", "not_started", "SCHEDULED", "PRE"),
        ("live", "1st_half", "LIVE", "H1"),
        ("live", "halftime", "HALF_TIME", "HT"),
        ("live", "awaiting_extra_time", "EXTRA_TIME", "BREAK_ET"),
        ("live", "2nd_extra", "EXTRA_TIME", "ET2"),
        ("live", "penalties", "PENALTIES", "PENS"),
        ("live", "", "LIVE", "H1"),
        ("interrupted", "1st_half", "INTERRUPTED", "H1"),
        ("live", "interrupted", "INTERRUPTED", "H1"),
        ("abandoned", "abandoned", "ABANDONED", "H1"),
        ("postponed", "postponed", "POSTPONED", "PRE"),
        ("closed", "ended", "FT", "POST"),
        ("closed", "aet", "AET", "POST"),
        ("ended", "ap", "FT_PENS", "POST"),
    ],
)
def test_the_status_of_the_match(status: str, match_status: str, to: str, period: str) -> None:
    match = Told(timeline(100, goal(1, 90), status=status, match_status=match_status)).match
    assert (match.status, match.period) == (to, period)


def test_a_status_nobody_knows_keeps_the_last_one() -> None:
    told = Told(timeline(100, goal(1, 90), status="live", match_status="2nd_half"))
    for second in range(101, 106):
        told.take(timeline(second, goal(1, 90), status="paused by drone"))
    assert told.match.status == "LIVE"


# --- A result without its rows -------------------------------------------------------------------


CLOSED = {"status": "closed", "match_status": "ended"}


def kick(id_: int, side: str, **given: Any) -> dict[str, Any]:
    return goal(id_, id_, side, period_type="penalties") | {"type": "penalty_shootout"} | given


def shootout(second: int, *rows: dict[str, Any], status: dict[str, Any] | None = None) -> bytes:
    """A timeline of a match that ended 1-1 and went to a shoot-out."""
    document = json.loads(timeline(second, goal(1, 10), goal(2, 20, "away"), *rows, score=(1, 1)))
    document["sport_event_status"] |= {"status": "closed", "match_status": "ap"} | (status or {})
    return json.dumps(document).encode()


def test_a_change_of_score_in_the_shoot_out_is_no_goal() -> None:
    pairs = []
    for number, side in enumerate(("home", "away", "home"), start=3):
        pairs += [
            kick(number * 2, side, status="scored"),
            goal(number * 2 + 1, number, side, period_type="penalties", match_time=120),
        ]
    told = Told(shootout(200, *pairs))
    assert (told.match.status, told.match.score, told.match.shootout) == ("FT_PENS", (1, 1), (2, 1))
    assert told.alarms == []


def test_a_change_of_score_can_be_all_that_tells_of_a_kick() -> None:
    rows = [
        goal(number, number, side, period_type="penalties") for number, side in ((5, "home"), (6, "away"))
    ]
    told = Told(shootout(200, *rows))
    assert (told.match.score, told.match.shootout) == ((1, 1), (1, 1))
    # A row that names the shoot-out's score and no period is of the shoot-out too.
    told = Told(shootout(200, goal(5, 5, shootout_home_score=1, shootout_away_score=0)))
    assert (told.match.score, told.match.shootout) == ((1, 1), (1, 0))


def test_a_change_of_score_without_a_period_is_of_the_shoot_out_that_has_begun() -> None:
    """The other half of a kick may say neither its period nor the score of the shoot-out."""
    bare = goal(6, 6)
    del bare["match_time"]
    late = bare | {"match_time": 120}
    told = Told(shootout(200, kick(5, "home", status="scored"), late, goal(7, 7) | {"match_time": 50}))
    assert (told.match.score, told.match.shootout) == ((2, 1), (1, 0))
    told = Told(shootout(200, kick(5, "home", status="scored"), bare))
    assert (told.match.score, told.match.shootout) == ((1, 1), (1, 0))
    # Before the first kick it is a goal, and so is one that was only touched again since.
    told = Told(shootout(200, late, kick(7, "home", status="scored")))
    assert (told.match.score, told.match.shootout) == ((2, 1), (1, 0))
    told = Told(shootout(200, kick(5, "home", status="scored"), late | {"updated": True}))
    assert (told.match.score, told.match.shootout) == ((2, 1), (1, 0))


def test_a_change_of_score_in_the_shoot_out_that_was_pushed_is_no_goal() -> None:
    told = Told(shootout(100, kick(3, "home", status="scored")))
    told.push(push(goal(4, 110, period_type="penalties", match_time=120)))
    assert (told.match.score, told.match.shootout) == ((1, 1), (1, 0))
    booked = told.push(push(card(5, 111) | {"period_type": "penalties"}))
    assert [(event.type, event.period) for event in booked] == [("YELLOW_CARD", "PENS")]


@pytest.mark.parametrize(
    "rows", [(), ({"id": 9, "type": "match_ended", "time": "2018-07-15T15:01:00+00:00"},)]
)
@pytest.mark.parametrize(("match_status", "to"), [("ended", "FT"), ("aet", "AET")])
def test_a_match_that_was_not_covered_live_has_its_result(
    rows: tuple[dict[str, Any], ...], match_status: str, to: str
) -> None:
    told = Told(timeline(100, *rows, score=(2, 1), status="closed", match_status=match_status))
    assert (told.match.status, told.match.score, told.match.goals) == (to, (2, 1), (0, 0))
    assert told.alarms == []


def test_a_shoot_out_that_was_not_covered_live_has_its_result() -> None:
    document = json.loads(timeline(100, score=(1, 1), status="closed", match_status="ap"))
    periods = [{"type": "regular_period", "home_score": 1, "away_score": 1}]
    periods.append({"type": "penalties", "home_score": 4, "away_score": 2})
    document["sport_event_status"]["period_scores"] = periods
    match = Told(json.dumps(document).encode()).match
    assert (match.status, match.score, match.shootout) == ("FT_PENS", (1, 1), (4, 2))


def test_a_goalless_draw_needs_no_override() -> None:
    assert "SCORE_OVERRIDE" not in {
        event.type for event in Told(timeline(100, score=(0, 0), **CLOSED)).events
    }


def test_the_score_of_a_running_match_is_only_compared() -> None:
    told = Told(timeline(100, card(3, 50), score=(1, 0), status="live", match_status="1st_half"))
    assert told.match.score == (0, 0)
    assert [alarm.evidence["alarm"] for alarm in told.alarms] == ["score"]


def test_a_result_gives_way_to_the_goals_once_they_are_there() -> None:
    told = Told(timeline(100, card(3, 50), score=(2, 1), **CLOSED))
    goals = [goal(1, 10), goal(2, 20), goal(4, 30, "away")]
    told.take(timeline(110, card(3, 50), *goals, score=(2, 1), **CLOSED))
    assert (told.match.score, told.match.goals) == ((2, 1), (2, 1))
    assert [event.type for event in told.match.events() if event.type == "SCORE_OVERRIDE"] == []


@pytest.mark.parametrize("match_status", ["ended", "abandoned", "walkover"])
@pytest.mark.parametrize("rows", [(), (goal(1, 10),)])
def test_what_a_federation_decided_is_awarded(rows: tuple[dict[str, Any], ...], match_status: str) -> None:
    document = json.loads(timeline(100, *rows, score=(0, 3), status="closed", match_status=match_status))
    document["sport_event_status"]["decided_by_fed"] = True
    told = Told(json.dumps(document).encode())
    assert (told.match.status, told.match.score) == ("AWARDED", (0, 3))
    assert told.match.goals == (len(rows), 0)
    assert told.alarms == []


@pytest.mark.parametrize("start_time", ["tbd", 7, "2018-07-15T15:00:00", ""])
def test_a_kick_off_that_nobody_can_read_costs_itself(start_time: object) -> None:
    document = json.loads(timeline(100, goal(1, 50)))
    document["sport_event"]["start_time"] = start_time
    told = Told(json.dumps(document).encode())
    assert told.match.score == (1, 0)
    assert [alarm.where for alarm in told.alarms] == ["sport_event.start_time"]


def test_a_row_that_stands_twice_costs_a_warning() -> None:
    twice = timeline(100, goal(1, 50), goal(1, 50), goal(2, 60))
    touched = timeline(100, goal(1, 50, "away"), goal(1, 70, updated=True), goal(2, 60))
    for document in (twice, touched):
        told = Told(document)
        assert told.match.score == (2, 0)
        assert len(told.alarms) == 1
        assert "has the id of timeline[" in str(told.alarms[0])
        assert told.alarms[0].where.startswith("timeline[")


def test_an_alarm_has_the_line_of_the_score(tmp_path: Path) -> None:
    document = json.loads(timeline(100, goal(1, 50), score=(3, 0), status="live"))
    path = tmp_path / "timeline.json"
    path.write_text(json.dumps(document, indent=1))
    line = path.read_text().splitlines().index('  "home_score": 3,') + 1
    ran = touchline("convert", "sportradar-v4", path)
    assert ran.code == 0
    where = "warning: sport_event_status.home_score: match sr-7"
    assert ran.err == f"{path}:{line}: {where}: the goals make 1-0, the vendor says 3-0\n"


# --- Corrections ---------------------------------------------------------------------------------


def test_a_goal_that_is_gone_with_the_score_falling_is_taken_back_at_once() -> None:
    told = Told(timeline(100, goal(1, 50), goal(2, 90), score=(2, 0)))
    (retraction,) = told.take(timeline(110, goal(1, 50), score=(1, 0)))
    assert (retraction.op, retraction.event_id) == ("RETRACT", "2")


def test_a_row_that_is_gone_once_is_kept_and_twice_is_taken_back() -> None:
    told = Told(timeline(100, goal(1, 50), card(2, 90), score=(1, 0)))
    assert told.take(timeline(101, goal(1, 50), score=(1, 0))) == []
    assert told.take(timeline(101, goal(1, 50), score=(1, 0))) == []  # the same document says no more
    (retraction,) = told.take(timeline(102, goal(1, 50), score=(1, 0)))
    assert retraction.event_id == "2"


def test_a_row_that_comes_back_in_between_was_not_gone() -> None:
    told = Told(timeline(100, goal(1, 50), card(2, 90)))
    for second, rows in ((101, []), (102, [card(2, 90)]), (103, [])):
        assert told.take(timeline(second, goal(1, 50), *rows)) == []


def test_an_empty_timeline_takes_nothing_back() -> None:
    told = Told(timeline(100, goal(1, 50), score=(1, 0)))
    for second in range(101, 110):
        assert [event.op for event in told.take(timeline(second, score=(0, 0)))] == []
    assert told.match.score == Score(1, 0)
    assert told.alarms


def test_an_older_timeline_takes_nothing_back_and_adds_nothing() -> None:
    told = Told(timeline(100, goal(1, 50), goal(2, 60)))
    for _ in range(3):
        assert told.take(timeline(99, goal(1, 50), goal(3, 70), score=(0, 0))) == []


def test_what_was_taken_back_by_inference_can_return() -> None:
    told = Told(
        timeline(100, goal(1, 50), goal(2, 90), score=(2, 0)), timeline(101, goal(1, 50), score=(1, 0))
    )
    assert told.match.score == Score(1, 0)
    told.take(timeline(102, goal(1, 50), goal(2, 90), score=(2, 0)))
    assert told.match.score == Score(2, 0)
    again = VendorDocumentFeed("sr-7", told.alarms.append, known=told.events)
    assert (
        again.take(read_timeline(parse_document(timeline(103, goal(1, 50), goal(2, 90), score=(2, 0))))) == []
    )


def test_a_vendors_score_that_lags_is_an_alarm_and_nothing_else() -> None:
    told = Told(timeline(100, goal(1, 50), goal(2, 90), score=(1, 0)))
    assert told.match.score == Score(2, 0)
    assert [alarm.evidence for alarm in told.alarms] == [{"line": 1, "alarm": "score"}]
    assert "the goals make 2-0, the vendor says 1-0" in str(told.alarms[0])


def test_the_order_of_the_list_is_not_that_of_the_ids() -> None:
    assert Told(timeline(100, goal(9, 50), goal(3, 60))).match.score == Score(2, 0)


def test_a_document_of_another_match_is_refused() -> None:
    told = Told()
    with pytest.raises(FeedError, match="sr-15553427"):
        told.take(TIMELINE)
    assert told.match.events() == []


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_order_of_timelines_ends_as_the_newest_alone(data: st.DataObject) -> None:
    """Given that the vendor repeats the newest: a row that is gone once may be a cache that lags."""
    documents = data.draw(sportradar_documents())
    newest = json.loads(documents[-1])
    confirmed = [
        json.dumps(newest | {"generated_at": f"2018-07-15T23:00:0{second}+00:00"}).encode()
        for second in range(2)
    ]
    before = data.draw(st.lists(st.sampled_from(documents), max_size=12))
    late = data.draw(st.lists(st.sampled_from(documents), max_size=4))
    told = Told(*before, *confirmed, *late)
    assert shown(told.match, "source_ts") == shown(Told(documents[-1]).match, "source_ts")
    shuffled = fold("sr-7", data.draw(st.permutations(told.events)))
    assert shown(shuffled) == shown(told.match)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_without_a_repetition_only_rows_that_are_gone_may_linger(data: st.DataObject) -> None:
    documents = data.draw(sportradar_documents())
    sequence = [*data.draw(st.lists(st.sampled_from(documents), max_size=12)), documents[-1]]
    told = shown(Told(*data.draw(st.permutations(sequence))).match, "source_ts")["events"]
    alone = shown(Told(documents[-1]).match, "source_ts")["events"]
    present = {str(row["id"]) for row in json.loads(documents[-1])["timeline"]}
    assert [event for event in told if event["event_id"] in present | {"info"}] == [
        event for event in alone if event["event_id"] in present | {"info"}
    ]


# --- Push ----------------------------------------------------------------------------------------


def test_a_goal_pushed_under_a_new_id_is_the_known_one_where_the_score_says_so() -> None:
    told = Told(timeline(100, goal(1, 100), score=(1, 0)))
    live = {"status": "live", "match_status": "1st_half"}
    again = goal(2, 105, players=[{"name": "Kane, Harry"}])
    said = told.push(push(again, **live, home_score=1, away_score=0))
    assert [(event.op, event.type, event.event_id) for event in said if event.type == "GOAL"] == [
        ("AMEND", "GOAL", "1")
    ]
    assert told.match.score == Score(1, 0)
    told.take(timeline(110, again, score=(1, 0)))  # which has the new row alone
    told.take(timeline(115, again, score=(1, 0)))
    assert told.match.score == Score(1, 0)
    said = told.push(push(goal(3, 116), **live, home_score=2, away_score=0))
    assert [event.op for event in said if event.type == "GOAL"] == ["ADD"]
    assert told.match.score == Score(2, 0)


def test_a_pushed_goal_that_was_taken_for_another_is_added_by_the_timeline() -> None:
    told = Told(timeline(100, goal(1, 100), score=(1, 0)))
    late = goal(2, 105)
    told.push(push(late, status="live", match_status="1st_half", home_score=1, away_score=0))
    told.take(timeline(110, goal(1, 100), late, score=(2, 0)))
    assert told.match.score == Score(2, 0)
    assert {event.event_id for event in told.match.events() if event.type == "GOAL"} == {"1", "2"}


def test_a_pushed_event_is_told_before_the_timeline_has_it_and_once() -> None:
    told = Told(timeline(100, goal(1, 50)))
    said = told.push(push(goal(2, 105), status="live", match_status="2nd_half", home_score=2, away_score=0))
    assert {event.event_id for event in said} == {"2", "status"}
    assert told.push(push(goal(2, 105), status="live", match_status="2nd_half")) == []
    assert [event.event_id for event in told.take(timeline(110, goal(1, 50), goal(2, 105)))] == []
    assert (told.match.score, told.match.status) == (Score(2, 0), "LIVE")


def test_a_pushed_kick_waits_for_its_number() -> None:
    kick = goal(5, 105) | {"type": "penalty_shootout", "status": "scored"}
    told = Told(timeline(100, goal(1, 50)))
    assert told.push(push(kick)) == []
    told.take(timeline(110, goal(1, 50), kick))
    assert told.match.shootout == Score(1, 0)


def test_the_end_of_a_check_that_was_pushed_becomes_part_of_the_check() -> None:
    begin = goal(5, 104) | {"type": "video_assistant_referee", "description": "goal"}
    over = goal(6, 105) | {"type": "video_assistant_referee_over", "description": "no_goal"}
    told = Told()
    told.push(push(begin))
    told.push(push(over))
    told.take(timeline(110, begin, over))
    checks = [event for event in told.match.events() if event.type == "VAR"]
    assert [(check.event_id, check.detail["outcome"]) for check in checks] == [("5", "No goal")]


def test_a_heartbeat_is_no_event() -> None:
    assert read_push(parse_document(b'{"heartbeat": {"interval": 5, "type": "x"}}')) is None


MESSAGES = [{"a": '}{"\\'}, {"b": {"c": [1, {"d": "{"}]}}, {}, {"e": "é\\u2028"}]


@given(
    st.lists(st.sampled_from(MESSAGES), max_size=8),
    st.sampled_from([b"", b"\n", b"\r\n  "]),
    st.integers(1, 20),
)
def test_objects_come_out_however_the_bytes_come_in(
    messages: list[dict[str, Any]], between: bytes, size: int
) -> None:
    data = b"".join(json.dumps(message, ensure_ascii=False).encode() + between for message in messages)
    stream = JsonStream()
    found = [
        node.value for begin in range(0, len(data), size) for node in stream.feed(data[begin : begin + size])
    ]
    stream.close()
    assert found == messages


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"[]", "expected an object"),
        (b"{}garbage", "expected an object"),
        (b"{,}", "not JSON"),
        (b'{"a":\xff}', "not UTF-8"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested too deep"),
        (b'{"a":"' + b"x" * OBJECT_MAX_BYTES, "at most"),
    ],
)
def test_a_stream_of_something_else_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(FeedError, match=what):
        list(JsonStream().feed(data))


def test_a_stream_that_ends_within_an_object_is_refused() -> None:
    stream = JsonStream()
    assert list(stream.feed(b'{"a": 1} {"b"')) != []
    with pytest.raises(FeedError, match="within an object"):
        stream.close()


def test_a_large_object_in_small_pieces_is_looked_at_once() -> None:
    data = json.dumps({"a": "x" * 500_000}).encode()
    stream = JsonStream()
    assert [n.value for begin in range(0, len(data), 100) for n in stream.feed(data[begin : begin + 100])]


# --- Bad documents -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "where", "line", "what"),
    [
        (b"", "", 1, "not JSON"),
        (b"[]", "", 1, "must be an object"),
        (b"{}", "sport_event", 1, "is missing"),
        (b'{"sport_event":\n{"id": "sr:match"}}', "sport_event.id", 2, "must be sr:sport_event:N"),
        (b'{"sport_event": {"id": "sr:sport_event:1"},\n"generated_at": "now"}', "generated_at", 2, "a time"),
        (timeline(1, goal(1, 1) | {"competitor": "left"}), "timeline[0].competitor", 1, "home or away"),
        (timeline(1, goal(1, 1) | {"id": "x"}), "timeline[0].id", 1, "an integer"),
        (timeline(1, goal(1, 1) | {"time": "2018-07-15T15:00:00"}), "timeline[0].time", 1, "a time"),
        (timeline(1, goal(1, 1) | {"match_time": -1}), "timeline[0].match_time", 1, "an integer"),
        (timeline(1, goal(1, 1) | {"players": [7]}), "timeline[0].players[0]", 1, "an object"),
        (timeline(1, {"id": 1}), "timeline[0].type", 1, "is missing"),
    ],
)
def test_a_bad_document_is_refused_by_path_and_line(data: bytes, where: str, line: int, what: str) -> None:
    with pytest.raises(FeedError) as caught:
        read(data)
    assert what in str(caught.value)
    assert (caught.value.where, caught.value.evidence["line"]) == (where, line)


@settings(deadline=None)
@given(st.integers(0, len(TIMELINE) - 1), st.binary(min_size=1, max_size=3))
def test_a_damaged_document_gives_events_or_one_typed_error(place: int, damage: bytes) -> None:
    with contextlib.suppress(FeedError):
        read(TIMELINE[:place] + damage + TIMELINE[place + len(damage) :])
