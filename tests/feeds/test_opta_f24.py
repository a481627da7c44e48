"""Opta F24: what each row becomes, deletions that no version tells of, and any order of documents."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from origin.errors import FeedError
from origin.feeds import DOCUMENT_MAX_BYTES, open_converter
from origin.feeds.opta_f24 import convert, read_documents, read_f7
from origin.feeds.opta_xml import DEPTH_MAX, read_f24
from origin.feeds.vendor_document import VendorDocumentFeed
from shared_state import Event, Match, Replica, Score, encode_delta, fold
from testkit.command import touchline
from testkit.vendor_simulator import opta_documents, shown

DATA = Path(__file__).parents[1] / "data" / "vendor"
F24 = (DATA / "opta-f24.xml").read_bytes()
F7 = (DATA / "opta-f7.xml").read_bytes()

GAME = '<Games timestamp="{at}"><Game id="7" home_team_id="1" away_team_id="2">{rows}</Game></Games>'


def row(id_: int, type_id: int, **given: object) -> str:
    """One event as XML, at a time that does not matter unless it is given."""
    qualifiers = given.pop("q", ())
    attributes = {
        "id": id_,
        "event_id": id_,
        "type_id": type_id,
        "period_id": 1,
        "min": 9,
        "sec": 11,
        "team_id": 1,
        "timestamp": "2018-07-15T15:10:00.000",
        "last_modified": "2018-07-15T15:10:05",
        "version": 1531667405000,
    } | given
    assert isinstance(qualifiers, tuple)
    related = attributes.pop("related", "")
    inner = "".join(f'<Q qualifier_id="{q}" value="{related}"/>' for q in qualifiers)
    pairs = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    return f"<Event {pairs}>{inner}</Event>"


def game(*rows: str, at: str = "2018-07-15T15:11:00") -> bytes:
    return GAME.format(at=at, rows="".join(rows)).encode()


def read(data: bytes) -> list[Event]:
    return list(convert(io.BytesIO(data), lambda _: None))


def only(data: bytes) -> Event:
    (event,) = read(data)
    return event


def feed_all(documents: list[bytes]) -> tuple[Match, list[Event]]:
    """The match after these documents, in this order, and all that was said of it."""
    feed = VendorDocumentFeed("opta-7", lambda _: None)
    events = []
    for document in documents:
        for snapshot in read_documents(io.BytesIO(document)):
            events += feed.take(snapshot)
    return fold("opta-7", events), events


# --- The whole file ------------------------------------------------------------------------------


def test_the_final_folds_to_its_result() -> None:
    events = read(F24)
    match = fold("opta-958113", events)
    assert (match.status, match.score) == ("FT", Score(4, 2))
    goals = [(event.minute, event.team, event.detail["own_goal"]) for event in events if event.type == "GOAL"]
    assert goals == [
        (18, "home", True),
        (28, "away", False),
        (38, "home", False),
        (59, "home", False),
        (65, "home", False),
        (69, "away", False),
    ]
    assert [e.detail["to"] for e in events if e.type == "STATUS_CHANGE"] == [
        "LIVE",
        "HALF_TIME",
        "LIVE",
        "FT",
    ]
    assert [event.event_id for event in events if event.op == "RETRACT"] == ["1016"]


def test_f7_gives_the_names() -> None:
    names = read_f7(io.BytesIO(F7))
    assert names.teams == {"368": "France", "535": "Croatia"}
    events = {e.event_id: e for e in convert(io.BytesIO(F24), lambda _: None, names=names)}
    assert events["1010"].player == "Mandžukić"  # by the name he is known by
    assert (events["1040"].player, events["1040"].player2) == ("Steven N'Zonzi", "N'Golo Kanté")


def test_the_command_reads_both_files() -> None:
    ran = touchline("convert", "opta-f24", DATA / "opta-f24.xml", "--names", DATA / "opta-f7.xml")
    assert (ran.code, ran.err) == (0, "")
    (folded,) = touchline("fold", stdin=ran.out).lines
    assert json.loads(folded)["score"] == {"home": 4, "away": 2}
    assert touchline("convert", "openfootball", "x", "--names", "y").code == 2


def test_a_goals_delta_stays_within_120_bytes() -> None:
    names = read_f7(io.BytesIO(F7))
    replica = Replica.begin("opta-958113", 1_531_663_200_000)
    sizes = []
    for event in convert(io.BytesIO(F24), lambda _: None, names=names):
        delta = replica.assign(event, (event.source_ts or 1_531_663_200_000) + 4_000)
        if event.type == "GOAL" and delta is not None:
            sizes.append(len(encode_delta(delta)))
    assert sorted(sizes)[len(sizes) // 2] <= 120


# --- What a row becomes --------------------------------------------------------------------------


def test_an_own_goal_is_credited_to_the_other_side() -> None:
    event = only(game(row(1, 16, q=(28,), team_id=1)))
    assert (event.team, event.detail) == ("away", {"own_goal": True, "penalty": False})


@pytest.mark.parametrize(
    ("period", "min_", "minute", "stoppage"),
    [
        (1, 0, 1, 0),
        (1, 44, 45, 0),
        (1, 45, 45, 1),
        (2, 45, 46, 0),
        (2, 92, 90, 3),
        (3, 90, 91, 0),
        (4, 121, 120, 2),
    ],
)
def test_elapsed_time_is_shown_as_people_show_it(period: int, min_: int, minute: int, stoppage: int) -> None:
    event = only(game(row(1, 16, period_id=period, min=min_, sec=11)))
    assert (event.minute, event.stoppage) == (minute, stoppage)


@pytest.mark.parametrize(
    ("period", "min_", "sec", "minute", "stoppage"),
    [
        (1, 0, 0, 1, 0),  # the first second of a period is of its first minute
        (1, 1, 0, 1, 0),
        (1, 45, 0, 45, 0),
        (1, 45, 1, 45, 1),
        (1, 47, 0, 45, 2),
        (2, 45, 0, 46, 0),
        (2, 45, 1, 46, 0),
        (2, 46, 0, 46, 0),
        (2, 70, 0, 70, 0),
        (2, 77, 1, 78, 0),
        (2, 78, 0, 78, 0),
        (2, 78, 1, 79, 0),
        (2, 90, 0, 90, 0),
        (2, 92, 11, 90, 3),
        (3, 90, 0, 91, 0),
        (3, 105, 0, 105, 0),
        (3, 105, 59, 105, 1),
        (4, 105, 0, 106, 0),
        (4, 120, 0, 120, 0),
        (4, 121, 0, 120, 1),
        (5, 120, 0, None, 0),
    ],
)
def test_elapsed_time_is_rounded_up(
    period: int, min_: int, sec: int, minute: int | None, stoppage: int
) -> None:
    event = only(game(row(1, 17, q=(31,), period_id=period, min=min_, sec=sec)))
    assert (event.minute, event.stoppage) == (minute, stoppage)


@pytest.mark.parametrize(
    ("qualifiers", "type_"),
    [((31,), "YELLOW_CARD"), ((32,), "SECOND_YELLOW"), ((33,), "RED_CARD"), ((31, 32), "SECOND_YELLOW")],
)
def test_cards(qualifiers: tuple[int, ...], type_: str) -> None:
    assert only(game(row(1, 17, q=qualifiers))).type == type_


def test_a_shoot_out_is_counted_in_the_order_of_its_kicks() -> None:
    rows = [
        row(3, 16, period_id=5, team_id=1, timestamp="2018-07-15T18:00:00.000"),
        row(2, 15, period_id=5, team_id=2, timestamp="2018-07-15T18:01:00.000"),
        row(1, 16, period_id=5, team_id=1, timestamp="2018-07-15T18:02:00.000"),
    ]
    events = read(game(*rows))
    kicks = [(e.event_id, e.detail["order"], e.detail["scored"]) for e in events]
    assert kicks == [("3", 1, True), ("2", 2, False), ("1", 3, True)]
    match = fold("opta-7", events)
    assert (match.score, match.shootout) == (Score(0, 0), Score(2, 0))


def test_a_penalty_that_was_missed_in_play() -> None:
    assert only(game(row(1, 15, q=(9,)))).type == "PENALTY_MISSED"
    assert read(game(row(1, 15))) == []


def test_the_two_rows_of_a_substitution_are_one_event() -> None:
    off = row(1, 18, q=(55,), related="2")
    on = row(2, 19, q=(55,), related="1")
    assert only(game(on, off)).event_id == "1"
    assert only(game(on)).event_id == "2"
    feed, _ = feed_all([game(on), game(on, off, at="2018-07-15T15:12:00")])
    assert [event.event_id for event in feed.events()] == ["1"]


def test_each_change_of_period_is_told_once() -> None:
    rows = [row(1, 32, team_id=2), row(2, 32, team_id=1), row(3, 30, team_id=1), row(4, 30, team_id=2)]
    assert [event.event_id for event in read(game(*rows))] == ["2", "3"]


@pytest.mark.parametrize(
    ("periods", "status", "period"),
    [
        ([(32, 1)], "LIVE", "H1"),
        ([(32, 1), (30, 1)], "HALF_TIME", "HT"),
        ([(32, 2), (30, 2)], "FT", "POST"),
        ([(30, 2), (32, 3)], "EXTRA_TIME", "ET1"),
        ([(30, 3)], "EXTRA_TIME", "ET_HT"),
        ([(30, 4)], "AET", "POST"),
        ([(30, 4), (32, 5)], "PENALTIES", "PENS"),
        ([(30, 2), (32, 5)], "PENALTIES", "PENS"),
        ([(32, 5), (30, 5)], "FT_PENS", "POST"),
        ([(32, 1), (27, 1)], "INTERRUPTED", "H1"),
        ([(27, 1), (28, 1)], "LIVE", "H1"),
    ],
)
def test_the_status_of_the_match(periods: list[tuple[int, int]], status: str, period: str) -> None:
    rows = [
        row(number, type_id, period_id=period_id, timestamp=f"2018-07-15T15:{number + 10}:00.000", min=number)
        for number, (type_id, period_id) in enumerate(periods)
    ]
    match = fold("opta-7", read(game(*rows)))
    assert (match.status, match.period) == (status, period)


def qualified(id_: int, type_id: int, *qualifiers: tuple[int, str], **given: object) -> str:
    """A row whose qualifiers have values."""
    inner = "".join(f'<Q qualifier_id="{key}" value="{value}"/>' for key, value in qualifiers)
    return row(id_, type_id, **given).replace("></Event>", f">{inner}</Event>")


STARTED = row(90, 32, timestamp="2018-07-15T15:00:00.000", min=0, sec=0)


@pytest.mark.parametrize(
    "stops",
    [
        [qualified(1, 27, (41, "Injury"))],
        [qualified(1, 27, (41, ""))],
        [qualified(1, 27, (41, "Injury")), row(2, 27, team_id=2)],
        [row(1, 27), qualified(2, 27, (41, "Injury"), team_id=2)],
        [qualified(1, 27, (41, "Injury")), row(2, 27, team_id=2, sec=13)],
    ],
)
def test_a_player_being_treated_is_no_interruption(stops: list[str]) -> None:
    events = read(game(STARTED, *stops))
    assert [event.detail["to"] for event in events] == ["LIVE"]
    resumed = [row(8, 28, min=10), row(9, 28, min=10, team_id=2)]
    assert read(game(STARTED, *stops, *resumed)) == events


def test_an_interruption_after_an_injury_is_one() -> None:
    injury = [qualified(1, 27, (41, "Injury")), row(2, 28, min=10)]
    stop, resume = row(3, 27, min=20, timestamp="2018-07-15T15:20:00.000"), row(4, 28, min=20, sec=50)
    match = fold("opta-7", read(game(STARTED, *injury, stop)))
    assert match.status == "INTERRUPTED"
    assert [e.event_id for e in read(game(STARTED, *injury, stop, resume))] == ["90", "4", "3"]


@pytest.mark.parametrize("both", [False, True])
def test_added_time_is_announced_once(both: bool) -> None:
    rows = [qualified(1, 70, (277, "4"), min=44, sec=55)]
    if both:
        rows.append(qualified(2, 70, (277, "4"), min=44, sec=55, team_id=2))
    event = only(game(*rows))
    assert (event.type, event.detail, event.period, event.minute) == (
        "STOPPAGE_ANNOUNCED", {"minutes": 4}, "H1", 45,
    )  # fmt: skip
    assert read(game(row(1, 70))) == []


def test_added_time_that_is_no_number_costs_itself() -> None:
    doubts: list[FeedError] = []
    document = game("\n", qualified(1, 70, (277, "four")), row(2, 16))
    events = list(convert(io.BytesIO(document), doubts.append))
    assert [event.type for event in events] == ["GOAL"]
    assert [(doubt.evidence["line"], str(doubt)) for doubt in doubts] == [
        (2, "added time must be at most 99 minutes, got 'four'")
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [row(1, 17, q=(33, 171), player_id=5)],
        [row(1, 17, q=(33,), player_id=5), row(2, 47, q=(33,), player_id=5)],
        [row(1, 17, q=(33,), player_id=5), row(2, 47, player_id=5, min=95)],
        [row(2, 47, q=(55,), related="1", player_id=5), row(1, 17, q=(33,), player_id=5)],
        [row(1, 17, q=(33, 171), player_id=5), row(2, 47, q=(33,), player_id=5)],
    ],
)
def test_a_card_that_was_rescinded_is_none(rows: list[str]) -> None:
    assert read(game(*rows)) == []


def test_only_the_card_that_is_meant_is_rescinded() -> None:
    yellow, red = row(1, 17, q=(31,), player_id=5, min=20), row(2, 17, q=(33,), player_id=5, min=60)
    others = [row(3, 17, q=(33,), player_id=6, min=60), row(4, 17, q=(33,), player_id=5, team_id=2, min=60)]
    for mark, left in ((row(9, 47, q=(33,), player_id=5, min=60), {"1", "3", "4"}),
                       (row(9, 47, q=(31,), player_id=5, min=60), {"2", "3", "4"}),
                       (row(9, 47, q=(32,), player_id=5, min=60), {"1", "2", "3", "4"}),
                       (row(9, 47, player_id=5, min=59), {"1", "3", "4"})):  # fmt: skip
        assert {event.event_id for event in read(game(yellow, red, *others, mark))} == left


def test_a_card_that_is_rescinded_later_is_taken_back() -> None:
    card = row(1, 17, q=(33,), player_id=5)
    mark = row(2, 47, q=(33,), player_id=5, last_modified="2018-07-15T18:00:00")
    documents = [game(card), game(card, mark, at="2018-07-15T18:00:01")]
    for order in (documents, documents[::-1]):
        assert feed_all(order)[0].events() == []


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([(32, 2), (30, 14)], "FT"),
        ([(32, 2), (37, 14)], "FT"),
        ([(30, 14)], "SCHEDULED"),
        ([(32, 1), (37, 14)], "LIVE"),  # nobody says how a match of one half ended
        ([(32, 2), (37, 2)], "LIVE"),
        ([(30, 2), (32, 4), (30, 14)], "AET"),
        ([(30, 4), (32, 5), (30, 14)], "FT_PENS"),
        ([(30, 1), (32, 2), (30, 2), (30, 14)], "FT"),
        # What happened in a period says that it was played.
        ([(16, 2), (30, 14)], "FT"),
        ([(32, 1), (17, 2), (37, 14)], "FT"),
        ([(30, 2), (16, 4), (30, 14)], "AET"),
        ([(30, 4), (16, 5), (14, 5), (37, 14)], "FT_PENS"),
    ],
)
def test_the_end_of_the_match_ends_its_last_period(rows: list[tuple[int, int]], status: str) -> None:
    made = [
        row(number, type_id, period_id=period, timestamp=f"2018-07-15T15:{number + 10}:00.000", min=number)
        for number, (type_id, period) in enumerate(rows)
    ]
    assert fold("opta-7", read(game(*made))).status == status


def described(attributes: str, *rows: str) -> bytes:
    """A document of which the match has names and further attributes, on its second line."""
    named = f'home_team_name="A" away_team_name="B"\n{attributes}'
    return game(*rows).replace(b'<Game id="7"', f'\n<Game {named} id="7"'.encode())


@pytest.mark.parametrize(
    ("given_", "zone", "kickoff_ms"),
    [
        ("2018-07-15T18:00:00", "UTC", 1_531_677_600_000),
        ("2018-07-15 18:00:00", "UTC", 1_531_677_600_000),
        ("2018-07-15T18:00:00", "Europe/London", 1_531_674_000_000),
        ("2018-07-15T18:00:00+03:00", "Europe/London", 1_531_666_800_000),
        ("1966-07-30T15:00:00", "UTC", None),
    ],
)
def test_the_kick_off_is_in_the_zone_of_the_feed(given_: str, zone: str, kickoff_ms: int | None) -> None:
    document = described(f'game_date="{given_}"')
    doubts: list[FeedError] = []
    (info,) = convert(io.BytesIO(document), doubts.append, zone=ZoneInfo(zone))
    assert (info.detail["kickoff_ms"], doubts) == (kickoff_ms, [])


def test_a_kick_off_that_nobody_can_read_costs_itself() -> None:
    doubts: list[FeedError] = []
    events = list(convert(io.BytesIO(described('game_date="soon"', row(1, 16))), doubts.append))
    assert [(event.type, event.detail.get("kickoff_ms")) for event in events] == [
        ("MATCH_INFO", None), ("GOAL", None),
    ]  # fmt: skip
    assert [(doubt.evidence["line"], str(doubt)) for doubt in doubts] == [
        (2, "game_date must be a time such as 2018-07-15T16:18:30, got 'soon'")
    ]


def test_the_vendors_own_score_is_compared() -> None:
    for score, count in ((2, 1), (1, 0)):
        alarms: list[FeedError] = []
        document = described(f'home_score="{score}" away_score="0"', row(1, 16))
        match = fold("opta-7", convert(io.BytesIO(document), alarms.append))
        assert match.score == (1, 0)
        assert len(alarms) == count
    (alarm,) = feed_alarms(described('home_score="2" away_score="0"', row(1, 16)))
    assert (alarm.evidence, str(alarm)) == (
        {"line": 2, "alarm": "score"}, "match opta-7: the goals make 1-0, the vendor says 2-0",
    )  # fmt: skip
    (doubt,) = feed_alarms(described('home_score="two" away_score="0"', row(1, 16)))
    assert "home_score must be a whole number" in str(doubt)


def feed_alarms(document: bytes) -> list[FeedError]:
    alarms: list[FeedError] = []
    list(convert(io.BytesIO(document), alarms.append))
    return alarms


def test_the_command_knows_the_zone(tmp_path: Path) -> None:
    path = tmp_path / "f24.xml"
    path.write_bytes(described('game_date="2018-07-15T18:00:00" home_score="9" away_score="0"', row(1, 16)))
    ran = touchline("convert", "opta-f24", path, "--zone", "Europe/London")
    info, goal = (json.loads(line) for line in ran.lines)
    assert info["detail"]["kickoff_ms"] == 1_531_674_000_000
    assert goal["source_ts"] == 1_531_663_800_000  # 15:10 in London
    assert ran.err.startswith(f"{path}:2: warning: ")
    unknown = touchline("convert", "opta-f24", path, "--zone", "Europe/Atlantis")
    assert (unknown.code, "'Europe/Atlantis': no such time zone" in unknown.err) == (2, True)
    assert touchline("convert", "openfootball", path, "--zone", "UTC").code == 2


# --- Corrections ---------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0), (1, 0, 1)])
def test_a_deletion_counts_although_the_version_did_not_rise(order: tuple[int, ...]) -> None:
    documents = [
        game(row(1, 16)),
        game(row(1, 43, last_modified="2018-07-15T15:10:45"), at="2018-07-15T15:10:50"),
    ]
    match, _ = feed_all([documents[index] for index in order])
    assert match.score == Score(0, 0)


def test_a_deletion_within_the_second_of_the_entry_counts() -> None:
    documents = [game(row(1, 16)), game(row(1, 43), at="2018-07-15T15:11:01")]
    assert feed_all(documents)[0].score == Score(0, 0)
    assert feed_all(documents[::-1])[0].score == Score(0, 0)
    assert [event.op for event in read(game(row(1, 16), row(1, 43)))] == ["RETRACT"]


def test_a_deletion_is_final() -> None:
    documents = [
        game(row(1, 16)),
        game(row(1, 43, last_modified="2018-07-15T15:10:45"), at="2018-07-15T15:12:00"),
        game(row(1, 16, last_modified="2018-07-15T15:20:00"), at="2018-07-15T15:21:00"),
    ]
    assert feed_all(documents)[0].score == Score(0, 0)


def test_within_a_second_the_version_decides() -> None:
    early = row(1, 16, min=9, version=1531667405100)
    late = row(1, 16, min=10, version=1531667405200)
    for rows in ((early, late), (late, early)):
        assert only(game(*rows)).minute == 11


def test_a_touch_that_changes_nothing_says_nothing_and_is_remembered() -> None:
    documents = [
        game(row(1, 16, min=9)),
        game(row(1, 16, min=9, last_modified="2018-07-15T15:30:00"), at="2018-07-15T15:30:01"),
        game(row(1, 16, min=8, last_modified="2018-07-15T15:20:00"), at="2018-07-15T15:20:01"),
    ]
    match, events = feed_all(documents)
    assert [event.minute for event in match.events()] == [10]
    assert len(events) == 1


def test_a_row_that_is_gone_was_not_deleted() -> None:
    documents = [game(row(1, 16), row(2, 17, q=(31,)))] + [
        game(row(2, 17, q=(31,)), at=f"2018-07-15T15:1{minute}:00") for minute in range(2, 6)
    ]
    assert feed_all(documents)[0].score == Score(1, 0)


def test_a_feed_that_starts_anew_repeats_itself_and_changes_nothing() -> None:
    document = game(row(1, 16), row(2, 43))
    _, first = feed_all([document])
    match, _ = feed_all([document])
    again = VendorDocumentFeed("opta-7", lambda _: None, known=first)
    repeated = [event for s in read_documents(io.BytesIO(document)) for event in again.take(s)]
    assert shown(fold("opta-7", [*first, *repeated])) == shown(match)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_order_of_documents_ends_as_the_newest_alone(data: st.DataObject) -> None:
    documents = data.draw(opta_documents())
    sequence = [*data.draw(st.lists(st.sampled_from(documents), max_size=12)), documents[-1]]
    sequence = data.draw(st.permutations(sequence))
    match, events = feed_all(sequence)
    assert shown(match) == shown(feed_all([documents[-1]])[0])
    # What came out is order-free too.
    assert shown(fold("opta-7", data.draw(st.permutations(events)))) == shown(match)


# --- Bad documents -------------------------------------------------------------------------------


def bomb() -> bytes:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
    return f'<!DOCTYPE G [<!ENTITY a0 "x">{entities}]><Games>&a8;</Games>'.encode()


@pytest.mark.parametrize(
    ("data", "line", "what"),
    [
        (b"", 1, "not XML: no element found"),
        (b"<Games>\n<Game", 2, "not XML"),
        (b"<Games>\n</Game>", 2, "mismatched tag"),
        (b"{}", 1, "not XML"),
        (b"<Games/>\n<Games/>", 2, "junk after document element"),
        (b"<SoccerFeed/>", 1, "is not F24"),
        (bomb(), 1, "not allowed: DTDForbidden"),
        (b'<!DOCTYPE G SYSTEM "file:///etc/passwd"><Games/>', 1, "not allowed: DTDForbidden"),
        (b"<Games>" + b"<a>" * DEPTH_MAX, 1, "nested too deep"),
        (b"<Games>\n\xff</Games>", 2, "not XML"),
        (b'<?xml version="1.0" encoding="nonsense"?><Games/>', 1, "not XML: unknown encoding"),
        (b'<Games timestamp="yesterday"/>', 1, "must be a time"),
        (b'<Games>\n<Game id="7"/></Games>', 2, "must be two teams"),
        (b'<Games><Game id="a b/c" home_team_id="1" away_team_id="2"/></Games>', 1, "letters and digits"),
        (game("\n", row(1, 16, team_id=3)), 2, "is neither team"),
        (game("\n", row(1, 16, last_modified="")), 2, "must be a time"),
        (game("\n", row(1, 16, min="-4")), 2, "must be a whole number"),
        (game("\n", row(1, 16, min="²")), 2, "must be a whole number"),
        (game("\n", row(1, 16).replace('id="1"', "", 1)), 2, "id must be"),
    ],
)
def test_a_bad_document_is_refused_by_its_line(data: bytes, line: int, what: str) -> None:
    with pytest.raises(FeedError) as caught:
        read(data)
    assert what in str(caught.value)
    assert caught.value.evidence["line"] == line


def test_a_document_without_end_is_cut_off() -> None:
    class Endless(io.RawIOBase):
        served = 0

        def read(self, size: int = -1) -> bytes:
            Endless.served += size
            return b"<!---->" * (size // 7) if Endless.served > size else b"<Games>"

    with pytest.raises(FeedError, match="at most"):
        read_f24(Endless())  # type: ignore[arg-type]
    assert Endless.served < DOCUMENT_MAX_BYTES * 1.2


@settings(deadline=None)
@given(st.integers(0, len(F24) - 1), st.binary(min_size=1, max_size=3))
def test_a_damaged_document_gives_events_or_one_typed_error(at: int, damage: bytes) -> None:
    with contextlib.suppress(FeedError):
        read(F24[:at] + damage + F24[at + len(damage) :])


def test_the_command_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.xml"
    path.write_bytes(b"<Games>\n<Game")
    ran = touchline("convert", "opta-f24", path)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.err == f"{path}:2: not XML: unclosed token at column 1\n"
    assert open_converter("opta-f24") is convert
