"""Sportradar has two clocks: a timeline says when it was made, a pushed event when it happened.

They are never compared as if they were one, and neither may run away.
"""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.errors import FeedError
from origin.feeds.jsondoc import parse_document
from origin.feeds.opta_f24 import Names, read_documents
from origin.feeds.sportradar_v4 import convert, read_push, read_timeline
from origin.feeds.vendor_document import AHEAD_MAX_MS, LAG_MAX_MS, STANDS_MS, VendorDocumentFeed
from shared_state import Event, Score, fold
from testkit.services.vendor_timelines import Told, card, goal, push, timeline
from testkit.vendor_simulator import SportradarStory, opta_documents, shown, sportradar_stories

NOW_MS = 1_531_668_600_000  # 2018-07-15T15:30:00
LATE_MS = NOW_MS + 8 * 3_600_000
FAR = "2099-01-01T00:00:00+00:00"


# --- Timelines that lag behind the stream --------------------------------------------------------


def test_a_goal_that_is_gone_is_taken_back_although_the_stream_is_always_ahead() -> None:
    told = Told(timeline(100, goal(1, 50), goal(2, 90), score=(2, 0)))
    for second in range(105, 115, 5):
        told.push(push(card(second, second + 2)))
        told.take(timeline(second, goal(1, 50), score=(1, 0)))
    assert told.match.score == Score(1, 0)


def test_without_a_score_it_takes_two_timelines_although_the_stream_is_always_ahead() -> None:
    told = Told(timeline(100, goal(1, 50), goal(2, 90)))
    scores = []
    for second in range(105, 120, 5):
        told.push(push(card(second, second + 2)))
        told.take(timeline(second, goal(1, 50)))
        scores.append(told.match.score.home)
    assert scores == [2, 1, 1]


def test_a_timeline_from_before_a_pushed_goal_does_not_miss_it() -> None:
    told = Told(timeline(100, goal(1, 50), score=(1, 0)))
    told.push(push(goal(2, 110)))
    for second in range(101, 110):  # each is newer than the last, and none is as new as the goal
        told.take(timeline(second, goal(1, 50), score=(1, 0)))
    assert told.match.score == Score(2, 0)
    told.take(timeline(111, goal(1, 50), score=(1, 0)))
    assert told.match.score == Score(2, 0)
    told.take(timeline(112, goal(1, 50), score=(1, 0)))
    assert told.match.score == Score(1, 0)


def test_a_worker_that_starts_anew_does_not_miss_a_pushed_goal_either() -> None:
    told = Told(timeline(100, goal(1, 50), score=(1, 0)))
    told.push(push(goal(2, 110)))
    told.restart()
    for second in range(101, 110):
        told.take(timeline(second, goal(1, 50), score=(1, 0)))
    assert told.match.score == Score(2, 0)


def test_a_message_that_is_pushed_again_does_not_keep_a_goal_that_is_gone() -> None:
    told = Told(timeline(100, goal(1, 50), goal(2, 90)))
    for second in (101, 102):
        told.take(timeline(second, goal(1, 50)))
        told.push(push(goal(2, 90)))
    assert told.match.score == Score(1, 0)


def test_a_timeline_that_lags_behind_a_pushed_edit_does_not_undo_it() -> None:
    told = Told(timeline(100, goal(1, 50), {**goal(2, 90), "type": "throw_in"}))
    told.push(push(goal(2, 110, updated=True)))
    assert told.match.score == Score(2, 0)
    told.take(timeline(105, goal(1, 50), {**goal(2, 90), "type": "throw_in"}))
    assert told.match.score == Score(2, 0)


def test_a_pushed_score_says_nothing_of_timelines() -> None:
    told = Told(timeline(100, goal(1, 50), goal(2, 90), score=(2, 0)))
    told.push(push(card(3, 101), home_score=3, away_score=0))
    assert told.take(timeline(102, goal(1, 50), card(3, 101), score=(2, 0))) == []
    told.push(push(card(4, 103), home_score=1, away_score=0))
    assert told.match.score == Score(2, 0)
    assert told.alarms == [alarm for alarm in told.alarms if "the vendor says 2-0" in str(alarm)]


def test_a_kick_that_is_pushed_again_stays() -> None:
    kick = goal(5, 100) | {"type": "penalty_shootout", "status": "scored"}
    told = Told(timeline(110, goal(1, 50), kick))
    assert told.push(push(kick | {"time": "2018-07-15T15:02:00+00:00", "updated": True})) == []
    assert told.match.shootout == Score(1, 0)


# --- Events that are made of two rows ------------------------------------------------------------


@pytest.mark.parametrize("restarted", [False, True])
def test_the_end_of_a_check_that_is_gone_opens_it_again(restarted: bool) -> None:
    begin = goal(5, 104) | {"type": "video_assistant_referee", "description": "goal"}
    over = goal(6, 105) | {"type": "video_assistant_referee_over", "description": "no_goal"}
    told = Told(timeline(110, begin, over))
    if restarted:
        told.restart()
    for second in (111, 112):
        told.take(timeline(second, begin))
    (check,) = [event for event in told.match.events() if event.type == "VAR"]
    assert check.detail["state"] == "OPEN"


def test_an_earlier_document_of_opta_does_not_bring_back_half_of_a_substitution() -> None:
    def document(at: str, on_type: int, on_modified: str) -> bytes:
        row = (
            '<Event id="{0}" event_id="{0}" type_id="{1}" period_id="1" team_id="1" player_id="{0}" '
            'last_modified="{2}"><Q qualifier_id="55" value="{3}"/></Event>'
        )
        rows = row.format(1, 18, "2018-07-15T15:10:00", 2) + row.format(2, on_type, on_modified, 1)
        game = f'<Game id="7" home_team_id="1" away_team_id="2">{rows}</Game>'
        return f'<Games timestamp="{at}">{game}</Games>'.encode()

    first = document("2018-07-15T15:21:00", 19, "2018-07-15T15:20:00")
    deleted = document("2018-07-15T15:31:00", 43, "2018-07-15T15:20:00")
    feed = VendorDocumentFeed("opta-7", lambda _: None)
    names = Names(players={"1": "Off", "2": "On"})
    events = []
    for body in (deleted, first):
        for snapshot in read_documents(io.BytesIO(body), names=names):
            events += feed.take(snapshot)
    assert [(event.player, event.player2) for event in fold("opta-7", events).events()] == [(None, "Off")]


# --- Scores that fell by less than what is gone --------------------------------------------------


def test_no_more_goals_are_taken_back_than_the_score_fell_by() -> None:
    told = Told(timeline(100, goal(1, 50), goal(2, 60), goal(3, 90, match_time=7), score=(3, 0)))
    (retraction,) = told.take(timeline(101, goal(1, 50), score=(2, 0)))
    assert retraction.event_id == "3"  # the latest: an editor takes back what he has just entered
    told.take(timeline(102, goal(1, 50), goal(2, 60), score=(2, 0)))
    assert told.match.score == Score(2, 0)


def test_a_goal_of_the_other_side_is_no_reason() -> None:
    told = Told(timeline(100, goal(1, 50), goal(2, 60, "away"), card(3, 70), score=(1, 1)))
    assert told.take(timeline(101, card(3, 70), goal(1, 50), score=(0, 1))) == []


def test_a_fall_that_is_explained_takes_no_second_goal() -> None:
    rows = [goal(1, 50), goal(2, 60), goal(3, 70)]
    told = Told(timeline(100, *rows, score=(3, 0)), timeline(101, goal(1, 50), goal(2, 60), score=(3, 0)))
    (retraction,) = told.take(timeline(102, goal(1, 50), score=(2, 0)))
    assert retraction.event_id == "3"  # missing twice; goal 2 is missing once
    retyped = {**goal(1, 103, updated=True), "type": "throw_in"}
    told = Told(timeline(100, *rows, score=(3, 0)))
    (retraction,) = told.take(timeline(103, retyped, rows[1], score=(2, 0)))
    assert retraction.event_id == "1"  # this is the goal that the score fell by


def test_a_timeline_without_rows_is_no_measure_of_scores() -> None:
    told = Told(timeline(100, goal(1, 50), goal(2, 90), score=(2, 0)), timeline(101, score=(0, 0)))
    (retraction,) = told.take(timeline(102, goal(1, 50), score=(1, 0)))
    assert retraction.event_id == "2"


# --- Clocks that run away ------------------------------------------------------------------------

SECOND = {**goal(2, 90), "time": FAR}


@pytest.mark.parametrize(
    ("message", "where"),
    [
        (push(SECOND), "payload.event.time"),
        (push({**goal(2, 90), "updated_time": FAR}), "payload.event.updated_time"),
    ],
)
def test_a_message_from_the_future_is_refused(message: Any, where: str) -> None:
    with pytest.raises(FeedError, match=r"at most 5 minutes ahead .* got '2099-01-01") as caught:
        read_push(message, now_ms=NOW_MS)
    assert caught.value.where == where
    assert read_push(message) is not None  # nobody says what time it is


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (timeline(100, goal(1, 50), SECOND), "timeline[1].time"),
        (timeline(100).replace(b"2018-07-15T15:01:40", b"2099-01-01T00:00:00"), "generated_at"),
    ],
)
def test_a_timeline_from_the_future_is_refused(body: bytes, where: str) -> None:
    with pytest.raises(FeedError, match=r"at most 5 minutes ahead .* got '2099-01-01") as caught:
        read_timeline(parse_document(body), now_ms=NOW_MS)
    assert caught.value.where == where
    assert list(convert(io.BytesIO(body), lambda _: None))  # a converter has no clock


def test_a_clock_that_differs_by_minutes_is_let_through() -> None:
    body = timeline(100, goal(1, 50))
    made_ms = read_timeline(parse_document(body)).at_ms
    assert read_timeline(parse_document(body), now_ms=made_ms - AHEAD_MAX_MS).at_ms == made_ms
    with pytest.raises(FeedError, match="ahead"):
        read_timeline(parse_document(body), now_ms=made_ms - AHEAD_MAX_MS - 1)


def test_a_kick_off_may_be_in_the_future() -> None:
    body = json.loads(timeline(100, goal(1, 50)))
    body["sport_event"]["start_time"] = FAR
    snapshot = read_timeline(parse_document(json.dumps(body).encode()), now_ms=NOW_MS)
    assert any(event.type == "MATCH_INFO" for event in snapshot.events)


def test_a_document_of_opta_from_the_future_is_refused() -> None:
    """Its times have no zone: a wrong one may put them ahead by a day, and is no reason."""
    game = '<Games timestamp="{}"><Game id="7" home_team_id="1" away_team_id="2">{}</Game></Games>'
    row = '<Event id="1" type_id="16" period_id="1" team_id="1" last_modified="{}" timestamp="{}"/>'
    day, late = "2018-07-16T15:30:00", "2018-07-17T17:30:01"
    for document in (
        game.format(late, ""),
        game.format(day, row.format(late, day)),
        game.format(day, row.format(day, late)),
    ):
        with pytest.raises(FeedError, match=r"at most 26 hours ahead .*2018-07-17T17:30:01"):
            list(read_documents(io.BytesIO(document.encode()), now_ms=NOW_MS))
    right = game.format(day, row.format(day, day)).encode()
    assert list(read_documents(io.BytesIO(right), now_ms=NOW_MS))


@pytest.mark.parametrize("restarted", [False, True])
def test_what_the_future_left_in_a_log_is_overcome(restarted: bool) -> None:
    """Before such times were refused, they got into logs, as revisions that nothing could be newer than."""
    told = Told(timeline(100, goal(1, 50), goal(2, 60), status="live", match_status="1st_half"))
    told.push(push({**goal(2, 60), "time": FAR, "updated": True}, status="live", match_status="halftime"))
    assert told.match.status == "HALF_TIME"
    told.now_ms = NOW_MS
    for second in (110, 111, 112):
        if restarted:
            told.restart()
        told.take(timeline(second, goal(1, 50), status="live", match_status="2nd_half"))
        assert told.match.status == "LIVE"
    # What was missed is not in the log: with a restart after each timeline no row is missing twice.
    assert told.match.score == Score(2 if restarted else 1, 0)


def test_a_timeline_that_is_old_does_not_make_the_log_one_of_the_future() -> None:
    """A vendor's cache may be an hour behind; that a row is newer is no reason to set it back."""
    told = Told(timeline(3000, goal(1, 50), goal(2, 2990), status="live", match_status="2nd_half"))
    told.now_ms = NOW_MS + 3_600_000
    told.restart()
    for second in (100, 101, 102):
        assert told.take(timeline(second, goal(1, 50), status="live", match_status="1st_half")) == []


# --- A vendor whose clocks differ ----------------------------------------------------------------

LIVE: dict[str, Any] = {"status": "live", "match_status": "2nd_half"}
HALF_TIME: dict[str, Any] = {"status": "live", "match_status": "halftime"}
LAG_S = LAG_MAX_MS // 1000


def told_until(second: int) -> Told:
    """A feed whose last timeline was read the moment that it was made."""
    told = Told(timeline(100, goal(1, 50), **LIVE))
    told.now_ms = NOW_MS + (second - 1800) * 1000
    told.take(timeline(second, goal(1, 50), **LIVE))
    return told


def test_a_pushed_status_of_a_clock_that_is_ahead_gives_way_within_seconds() -> None:
    told = told_until(600)
    told.push(push(card(2, 600 + 240), **HALF_TIME))
    assert told.match.status == "HALF_TIME"
    told.take(timeline(600 + LAG_S, goal(1, 50), card(2, 840), **LIVE))
    assert told.match.status == "HALF_TIME"  # it may be one from before
    told.take(timeline(600 + LAG_S + 1, goal(1, 50), card(2, 840), **LIVE))
    assert told.match.status == "LIVE"


def test_a_pushed_status_is_not_undone_by_a_timeline_from_before_it() -> None:
    told = told_until(600)
    assert told.now_ms is not None
    told.now_ms += 20_000
    told.push(push(card(2, 620), **HALF_TIME))
    told.now_ms += 30_000
    for second in (601, 610, 620):  # made before it, and read after it
        told.take(timeline(second, goal(1, 50), **LIVE))
        assert told.match.status == "HALF_TIME"
    told.take(timeline(621, goal(1, 50), card(2, 620), **LIVE))
    assert told.match.status == "LIVE"


def test_a_timeline_out_of_an_old_cache_does_not_set_the_clock_back() -> None:
    told = told_until(600)
    assert told.now_ms is not None
    told.now_ms += 120_000
    told.take(timeline(601, goal(1, 50), **LIVE))  # two minutes old
    told.push(push(card(2, 720), **HALF_TIME))
    told.take(timeline(719, goal(1, 50), **LIVE))
    assert told.match.status == "HALF_TIME"


def test_a_pushed_goal_of_a_clock_that_is_ahead_is_missed_within_seconds() -> None:
    told = told_until(600)
    told.push(push(goal(2, 600 + 240)))
    for second in (605, LAG_S + 600, LAG_S + 601):
        told.take(timeline(second, goal(1, 50), **LIVE))
        assert told.match.score == Score(2, 0)
    told.take(timeline(LAG_S + 602, goal(1, 50), **LIVE))
    assert told.match.score == Score(1, 0)


# --- The vendor's last word ----------------------------------------------------------------------

ROWS = (goal(1, 50), goal(2, 90), card(3, 95))


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("sent_again", [False, True])
def test_what_the_last_document_lacks_is_gone_once_it_has_stood_for_long(
    restarted: bool, sent_again: bool
) -> None:
    """After the end of a match no newer one comes, and the rows may have gone while no worker ran."""
    told = Told(timeline(100, *ROWS))
    if restarted:
        told.restart()
    told.now_ms = NOW_MS
    last = timeline(700, goal(1, 50), score=(1, 0))
    told.take(last)

    def again() -> set[str]:
        said = told.take(last) if sent_again else told.feed.stands(told.now_ms)
        assert all(event.op == "RETRACT" for event in said)
        return {event.event_id for event in said}

    for wait_ms, gone in ((0, set()), (STANDS_MS - 1, set()), (1, {"2", "3"}), (STANDS_MS, set())):
        told.now_ms += wait_ms
        assert again() == gone


def test_what_does_not_stand_takes_nothing_back() -> None:
    """One without rows, one that the stream has gone beyond, one that has the row, one that is old."""
    without, empty = timeline(700, goal(1, 50), card(3, 95)), timeline(701)
    cases: list[tuple[list[Any], bytes]] = [
        ([without, empty], empty),
        ([without, push(goal(2, 705, updated=True))], without),
        ([without], timeline(700, *ROWS)),  # made in the same second
        ([without], timeline(99, goal(1, 50))),
    ]
    for before, last in cases:
        told = Told(timeline(100, *ROWS))
        told.now_ms = NOW_MS
        for one in before:
            told.take(one) if isinstance(one, bytes) else told.push(one)
        told.now_ms += STANDS_MS
        told.take(last)
        assert told.match.score == Score(2, 0)


# --- Any order -----------------------------------------------------------------------------------


def confirmed(document: bytes, times: int) -> list[bytes]:
    """The document as the vendor repeats it."""
    newest = json.loads(document)
    return [
        json.dumps(newest | {"generated_at": f"2018-07-15T23:00:0{second}+00:00"}).encode()
        for second in range(times)
    ]


@settings(max_examples=200, deadline=None)
@given(sportradar_stories(), st.data())
def test_timelines_pushes_and_restarts_in_any_order_end_as_the_newest_timeline_alone(
    story: SportradarStory, data: st.DataObject
) -> None:
    """Given that the vendor repeats the newest. What is pushed late is what that timeline says too."""
    step = st.sampled_from(story.documents) | st.just("restart")
    if story.messages:
        step |= st.sampled_from(story.messages)
    told = Told()
    told.now_ms = data.draw(st.none() | st.just(LATE_MS))

    def take(step: Any) -> None:
        if step == "restart":
            told.restart()
        elif isinstance(step, bytes):
            told.take(step)
        else:
            told.push(step)

    for what in data.draw(st.lists(step, max_size=16)):
        take(what)
    if data.draw(st.booleans()):
        told.restart()
    for document in confirmed(story.documents[-1], 3):  # one more than it takes without a restart
        take(document)
    late = st.sampled_from(story.documents)
    if lasting := story.lasting():
        late |= st.sampled_from(lasting)
    for what in data.draw(st.lists(late, max_size=4)):
        take(what)
    assert shown(told.match, "source_ts") == shown(Told(story.documents[-1]).match, "source_ts")
    shuffled = fold("sr-7", data.draw(st.permutations(told.events)))
    assert shown(shuffled) == shown(told.match)


@settings(max_examples=100, deadline=None)
@given(opta_documents(), st.data())
def test_documents_of_opta_and_restarts_in_any_order_end_as_the_newest_alone(
    documents: list[bytes], data: st.DataObject
) -> None:
    feed = VendorDocumentFeed("opta-7", lambda _: None)
    events: list[Event] = []
    steps = data.draw(st.lists(st.sampled_from(documents) | st.just(b"restart"), max_size=12))
    newest = documents[-1]
    repeated = [newest.replace(b'timestamp="2018', b'timestamp="%d' % year, 1) for year in (2019, 2020)]
    for step in [*steps, newest, *repeated]:
        if step == b"restart":
            feed = VendorDocumentFeed("opta-7", lambda _: None, known=events)
            continue
        for snapshot in read_documents(io.BytesIO(step)):
            events += feed.take(snapshot)
    alone = VendorDocumentFeed("opta-7", lambda _: None)
    (snapshot,) = read_documents(io.BytesIO(newest))
    wanted = shown(fold("opta-7", alone.take(snapshot)), "source_ts")
    assert shown(fold("opta-7", events), "source_ts") == wanted
