"""openfootball: every match of three tournaments gives its recorded result, and the traps of its forms."""

from __future__ import annotations

import contextlib
import io
import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.errors import FeedError
from origin.feeds import open_converter
from shared_state import Event, Match, Replica, Score, encode_delta, fold

DATA = Path(__file__).parents[1] / "data" / "openfootball"
convert = open_converter("openfootball")


def read(document: object) -> tuple[list[Event], list[FeedError]]:
    """Convert a document given as bytes or as plain values."""
    warnings: list[FeedError] = []
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return list(convert(io.BytesIO(data), warnings.append)), warnings


def matches(events: list[Event]) -> dict[str, list[Event]]:
    """The events of each match, in order of first appearance."""
    by_match: dict[str, list[Event]] = {}
    for event in events:
        by_match.setdefault(event.match_id, []).append(event)
    return by_match


def file_matches(name: str) -> list[tuple[dict[str, Any], list[Event]]]:
    """Each match of a file as it stands there, with the events it becomes."""
    data = (DATA / name).read_bytes()
    document = json.loads(data)
    raw = document.get("matches") or [match for round_ in document["rounds"] for match in round_["matches"]]
    events, _ = read(data)
    return list(zip(raw, matches(events).values(), strict=True))


def one(raw: dict[str, Any]) -> tuple[Match, list[Event], list[FeedError]]:
    """A single published match."""
    base = {"date": "2018-07-15", "team1": "France", "team2": "Croatia"}
    events, warnings = read({"name": "Cup", "matches": [base | raw]})
    return fold(events[0].match_id, events), events, warnings


FULL = ["worldcup-2014-full.json", "worldcup-2018-full.json"]
PUBLISHED = ["worldcup-2014.json", "worldcup-2018.json", "euro-2020.json"]


@pytest.mark.parametrize(("name", "count"), [(FULL[0], 64), (FULL[1], 64)])
def test_every_full_match_folds_to_its_recorded_result(name: str, count: int) -> None:
    pairs = file_matches(name)
    assert len(pairs) == count
    for raw, events in pairs:
        match = fold(events[0].match_id, events)
        assert list(match.score) == raw["score"]
        assert list(match.goals) == raw["score"]
        assert (None if match.shootout is None else list(match.shootout)) == raw["pens"]
        assert match.status == ("FT_PENS" if raw["pens"] else "AET" if raw["aet"] else "FT")
        assert match.kicks_taken == len(raw["shootout"])
        types = [event.type for event in events]
        assert types.count("SUBSTITUTION") == len(raw["subs"])
        assert sum(type_ in ("YELLOW_CARD", "SECOND_YELLOW", "RED_CARD") for type_ in types) == len(
            raw["cards"]
        )


@pytest.mark.parametrize(("name", "count"), [(PUBLISHED[0], 64), (PUBLISHED[1], 64), (PUBLISHED[2], 51)])
def test_every_published_match_folds_to_its_recorded_result(name: str, count: int) -> None:
    pairs = file_matches(name)
    assert len(pairs) == count
    for raw, events in pairs:
        score = raw["score"]
        match = fold(events[0].match_id, events)
        assert list(match.score) == score.get("et", score["ft"])
        assert (None if match.shootout is None else list(match.shootout)) == score.get("p")
        assert match.status == ("FT_PENS" if "p" in score else "AET" if "et" in score else "FT")


@pytest.mark.parametrize("name", FULL + PUBLISHED)
def test_a_match_is_told_in_its_own_order_under_unique_ids(name: str) -> None:
    events, _ = read((DATA / name).read_bytes())
    for match_events in matches(events).values():
        assert match_events == sorted(match_events, key=Event.order)
        assert len({event.event_id for event in match_events}) == len(match_events)
        assert all(len(event.event_id) <= 6 for event in match_events)


@pytest.mark.parametrize("year", [2014, 2018])
def test_both_forms_give_a_match_the_same_id_and_kick_off(year: int) -> None:
    full = {
        events[0].match_id: events[0].detail["kickoff_ms"]
        for _, events in file_matches(f"worldcup-{year}-full.json")
    }
    published = {
        events[0].match_id: events[0].detail["kickoff_ms"]
        for _, events in file_matches(f"worldcup-{year}.json")
    }
    assert full == published
    assert len(full) == 64


def test_the_median_delta_of_a_goal_is_within_120_bytes() -> None:
    sizes = []
    for name in FULL:
        for raw, events in file_matches(name):
            kickoff_ms = events[0].detail["kickoff_ms"]
            replica = Replica.begin(events[0].match_id, kickoff_ms)
            for event in events:
                delta = replica.assign(event, kickoff_ms + (event.minute or 0) * 60_000 + 1_234)
                assert delta is not None, raw
                if event.type == "GOAL":
                    sizes.append(len(encode_delta(delta)))
    assert len(sizes) == 171 + 169
    assert statistics.median(sizes) <= 120


def test_the_final_of_2018() -> None:
    events = dict(matches(read((DATA / "worldcup-2018-full.json").read_bytes())[0]))[
        "2018-07-15-france-croatia"
    ]
    goals = [(event.team, event.minute, event.player) for event in events if event.type == "GOAL"]
    assert goals == [
        ("home", 18, "Mario MANDZUKIC"),
        ("away", 28, "Ivan PERISIC"),
        ("home", 38, "Antoine GRIEZMANN"),
        ("home", 59, "Paul POGBA"),
        ("home", 65, "Kylian MBAPPE"),
        ("away", 69, "Mario MANDZUKIC"),
    ]
    own = [event for event in events if event.detail.get("own_goal")]
    assert [(event.player, event.team) for event in own] == [("Mario MANDZUKIC", "home")]
    info = events[0].detail
    assert info["kickoff_ms"] == 1_531_666_800_000  # 15:00 UTC
    assert info["venue"] == "Lenin, Moscow"
    assert info["competition"] == "World Cup 2018, Final"


def test_a_match_with_everything_goes_through_every_status() -> None:
    by_match = matches(read((DATA / "worldcup-2018-full.json").read_bytes())[0])
    events = by_match["2018-07-07-russia-croatia"]
    course = [(event.period, event.detail["to"]) for event in events if event.type == "STATUS_CHANGE"]
    assert course == [
        ("H1", "LIVE"),
        ("HT", "HALF_TIME"),
        ("H2", "LIVE"),
        ("BREAK_ET", "EXTRA_TIME"),
        ("ET1", "EXTRA_TIME"),
        ("ET_HT", "EXTRA_TIME"),
        ("ET2", "EXTRA_TIME"),
        ("BREAK_PENS", "PENALTIES"),
        ("PENS", "PENALTIES"),
        ("POST", "FT_PENS"),
    ]
    # Folded on the way, each status is the one the match is in.
    for index, event in enumerate(events):
        so_far = [e.detail["to"] for e in events[: index + 1] if e.type == "STATUS_CHANGE"]
        if so_far:
            assert fold(event.match_id, events[: index + 1]).status == so_far[-1]
    kicks = [event for event in events if event.type == "SHOOTOUT_KICK"]
    assert [kick.detail["order"] for kick in kicks] == list(range(1, 11))


def test_a_file_that_contradicts_itself_shows_the_result_keeps_the_goals_and_warns() -> None:
    events, warnings = read((DATA / "euro-2020.json").read_bytes())
    match = fold("2021-07-03-ukr-eng", matches(events)["2021-07-03-ukr-eng"])
    assert match.score == Score(0, 4)
    assert match.goals == Score(4, 0)
    assert [(warning.where, warning.evidence["line"]) for warning in warnings] == [
        ("rounds[4].matches[3].score", 1940),
        ("rounds[4].matches[3].score", 1940),
    ]
    assert "the goals make 4-0, the file says 0-4" in str(warnings[1])


def test_a_result_without_goals_is_shown_and_no_goal_is_made_up() -> None:
    match, events, warnings = one({"score": {"ft": [2, 1]}})
    assert (match.score, match.goals) == (Score(2, 1), Score(0, 0))
    assert [event.type for event in events if event.type == "GOAL"] == []
    assert warnings == []  # the file records no goals at all, so it contradicts nothing


def row(day: int, **given: object) -> dict[str, object]:
    """One published match on a day of May 2018."""
    return {"date": f"2018-05-{day:02}", "team1": "Redtown", "team2": "Bluetown"} | given


def test_a_file_that_records_goals_warns_of_a_result_without_them() -> None:
    goals = {"goals1": [{"name": "A", "minute": 5}], "goals2": []}
    rows = [row(1, score={"ft": [1, 0]}, **goals), row(2, score={"ht": [1, 0], "ft": [2, 1]})]
    _, warnings = read({"matches": rows})
    assert [warning.where for warning in warnings] == ["matches[1].score"] * 2
    nothing: list[dict[str, object]] = [{"goals1": [], "goals2": []}, {"goals1": None}, {}]
    for lists in nothing:
        assert read({"matches": [row(1, score={"ht": [1, 0], "ft": [2, 1]}, **lists)]})[1] == []


# --- Forms of a score ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "status", "score", "pens"),
    [
        ({"score1": 2, "score2": 0}, "FT", (2, 0), None),
        ({"score1": 0, "score2": 0}, "FT", (0, 0), None),
        ({"score1": 1, "score2": 1, "score1et": 2, "score2et": 1}, "AET", (2, 1), None),
        ({"score1et": 2, "score2et": 1}, "AET", (2, 1), None),
        (
            {"score1": 1, "score2": 1, "score1et": 1, "score2et": 1, "score1p": 4, "score2p": 3},
            "FT_PENS", (1, 1), (4, 3),
        ),
        ({"score1": 1, "score2": 1, "score1p": 2, "score2p": 4}, "FT_PENS", (1, 1), (2, 4)),
        (
            {"score1": 3, "score2": 1, "score1et": None, "score2et": None, "score1p": None, "score2p": None},
            "FT", (3, 1), None,
        ),
        ({"score1": 3, "score2": 1, "score1p": 0, "score2p": 0}, "FT", (3, 1), None),
        ({"score1": None, "score2": None, "score1i": None, "score2i": None}, "SCHEDULED", (0, 0), None),
        ({"score1i": 1, "score2i": 0}, "HALF_TIME", (1, 0), None),
        ({"score1": None, "score2": None, "score1i": 0, "score2i": 0}, "HALF_TIME", (0, 0), None),
        ({"score": {"ht": [1, 0]}}, "HALF_TIME", (1, 0), None),
        ({"score": [2, 0]}, "FT", (2, 0), None),
        ({"score": [None, None]}, "SCHEDULED", (0, 0), None),
        ({"score": []}, "SCHEDULED", (0, 0), None),
        ({"score": {"ft": [None, None]}}, "SCHEDULED", (0, 0), None),
        ({"score": {"ft": None, "ht": []}}, "SCHEDULED", (0, 0), None),
        ({"score": {"et": [1, 0]}}, "AET", (1, 0), None),
        ({"score": {"p": [4, 1], "et": [1, 1]}}, "FT_PENS", (1, 1), (4, 1)),
        ({"score": {"p": [4, 1]}}, "FT_PENS", (0, 0), (4, 1)),
    ],
)  # fmt: skip
def test_every_form_of_a_score(
    raw: dict[str, Any], status: str, score: tuple[int, int], pens: tuple[int, int] | None
) -> None:
    match, _, warnings = one(raw)
    assert (match.status, match.score, match.shootout) == (status, score, pens)
    assert warnings == []


def test_the_old_form_has_goals_place_and_zone_too() -> None:
    match, events, warnings = one(
        {
            "num": 1,
            "team1": {"key": "red", "name": "Redtown", "code": "RED"},
            "score1": 2, "score2": 1, "score1i": 1, "score2i": 0,
            "goals1": [
                {"name": "A", "minute": 12, "score1": 1, "score2": 0},
                {"name": "B", "minute": 90, "offset": 4, "score1": 2, "score2": 1},
            ],
            "goals2": [{"name": "C", "minute": 60, "score1": 1, "score2": 1, "owngoal": True}],
            "stadium": {"key": "x", "name": "Red Park"}, "city": "Redtown",
            "time": "18:00", "timezone": "UTC+3",
        }
    )  # fmt: skip
    assert (match.status, match.score, match.goals) == ("FT", (2, 1), (2, 1))
    assert warnings == []
    assert events[0].detail["venue"] == "Red Park, Redtown"
    assert events[0].detail["kickoff_ms"] == 1_531_666_800_000


def test_the_old_form_that_contradicts_itself_warns_at_its_score() -> None:
    document = published('"score1": 2, "score2": 0,\n"goals1": [{"name": "A", "minute": 5}]')
    _, warnings = read(document)
    assert [(warning.where, warning.evidence["line"]) for warning in warnings] == [("matches[0].score1", 2)]


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ({"score1": 2, "score2": None}, "matches[0].score2"),
        ({"score": {"ft": [None, 2]}}, "matches[0].score.ft[0]"),
        ({"score": [2, None]}, "matches[0].score[1]"),
    ],
)
def test_half_a_score_is_no_score_and_a_warning(raw: dict[str, Any], where: str) -> None:
    match, _, warnings = one(raw)
    assert match.status == "SCHEDULED"
    assert [warning.where for warning in warnings] == [where]


def test_a_score_cannot_fall_in_extra_time() -> None:
    match, _, (warning,) = one({"score1": 2, "score2": 1, "score1et": 0, "score2et": 0})
    assert (match.status, match.score) == ("FT", (2, 1))
    assert "0-0, is less than that after 90 minutes, 2-1" in str(warning)


# --- Rows that cost themselves -------------------------------------------------------------------


def test_a_row_that_is_entered_twice_costs_a_warning_and_not_the_rows_after_it() -> None:
    played = row(1, score={"ft": [1, 0]})
    events, (warning,) = read({"matches": [played, played, row(2, score={"ft": [2, 2]})]})
    assert list(matches(events)) == ["2018-05-01-redtown-bluetown", "2018-05-02-redtown-bluetown"]
    assert (warning.where, str(warning)) == (
        "matches[1]", "is the same date and teams as matches[0], and is left out",
    )  # fmt: skip


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_rows_about_one_match_the_one_with_a_result_counts(order: tuple[int, int]) -> None:
    rows = [row(1, time="15:00"), row(1, score={"ft": [1, 0]})]
    events, warnings = read({"matches": [rows[index] for index in order]})
    assert fold(events[0].match_id, events).score == (1, 0)
    assert len(warnings) == 1


@pytest.mark.parametrize("key", ["time", "num"])
def test_teams_that_are_not_known_yet_are_told_apart(key: str) -> None:
    nobody = {"team1": "N.N.", "team2": "N.N."}
    values: list[object] = ["15:00", "21:00"] if key == "time" else [61, 62]
    rows = [row(9, **nobody, **{key: value}) for value in values]
    events, warnings = read({"matches": [*rows, rows[0], row(10)]})
    suffixes = {"time": ["1500", "2100"], "num": ["61", "62"]}[key]
    ids = [f"2018-05-09-n-n-n-n-{suffix}" for suffix in suffixes]
    assert list(matches(events)) == [*ids, "2018-05-10-redtown-bluetown"]
    assert [warning.where for warning in warnings] == ["matches[2]"]


def test_a_row_without_a_team_costs_itself() -> None:
    events, (warning,) = read({"matches": [row(1, team2=None), row(2)]})
    assert list(matches(events)) == ["2018-05-02-redtown-bluetown"]
    assert warning.where == "matches[0].team2"
    with pytest.raises(FeedError, match="is missing"):  # nothing else is in the file
        read({"matches": [row(1, team2=None)]})


@pytest.mark.parametrize(
    ("dates", "days"),
    [
        (["8-3-2018", "25-3-2018"], ["2018-03-08", "2018-03-25"]),
        (["3-8-2018", "3-25-2018"], ["2018-03-08", "2018-03-25"]),
        (["8.3.2018", "25/03/2018"], ["2018-03-08", "2018-03-25"]),
        (["8-8-2018"], ["2018-08-08"]),
    ],
)
def test_the_order_of_day_and_month_is_that_of_the_whole_file(dates: list[str], days: list[str]) -> None:
    events, warnings = read({"matches": [row(1, date=date) for date in dates]})
    assert [match_id[:10] for match_id in matches(events)] == days
    assert warnings == []


def test_a_date_that_is_one_of_two_days_is_not_guessed() -> None:
    events, (warning,) = read({"matches": [row(1, date="8-3-2018"), row(2)]})
    assert [match_id[:10] for match_id in matches(events)] == ["2018-05-02"]
    assert "got '8-3-2018', which is one of two days" in str(warning)
    with pytest.raises(FeedError, match="got '8-3-2018'"):
        read({"matches": [row(1, date="8-3-2018")]})


@pytest.mark.parametrize(
    ("minute", "period", "shown"),
    [
        (17, "H1", (17, 0)),
        ("17", "H1", (17, 0)),
        ("45+2", "H1", (45, 2)),
        ("90+6", "H2", (90, 6)),
        ("90+6'", "H2", (90, 6)),
        ("90' + 6'", "H2", (90, 6)),
        ("45 +2", "H1", (45, 2)),
        (93, "H2", (93, 0)),  # no extra time was played, whatever the minute
        (None, "POST", (None, 0)),
    ],
)
def test_every_way_to_write_a_minute(minute: object, period: str, shown: tuple[int | None, int]) -> None:
    _, events, _ = one({"score": {"ft": [1, 0]}, "goals1": [{"name": "A", "minute": minute}]})
    goal = next(event for event in events if event.type == "GOAL")
    assert (goal.period, (goal.minute, goal.stoppage)) == (period, shown)


def test_minutes_of_extra_time() -> None:
    goals = [{"name": "A", "minute": minute} for minute in (90, 91, 105, 106, 121)]
    _, events, warnings = one({"score": {"ft": [1, 0], "et": [5, 0]}, "goals1": goals})
    assert [e.period for e in events if e.type == "GOAL"] == ["H2", "ET1", "ET1", "ET2", "ET2"]
    assert warnings == []


def test_a_shoot_out_right_after_ninety_minutes_has_no_extra_time() -> None:
    match, events, _ = one({"score": {"ft": [0, 0], "p": [3, 1]}})
    assert match.status == "FT_PENS"
    assert match.shootout == Score(3, 1)
    assert [event.team for event in events if event.type == "SHOOTOUT_KICK"] == [
        "home",
        "away",
        "home",
        "home",
    ]
    assert "ET1" not in {event.period for event in events}


@pytest.mark.parametrize(
    ("raw", "status", "periods"),
    [
        ({}, "SCHEDULED", []),
        ({"score": {}}, "SCHEDULED", []),
        ({"status": "postponed"}, "POSTPONED", ["PRE"]),
        ({"status": "cancelled"}, "CANCELLED", ["PRE"]),
        ({"status": "awarded", "score": {"ft": [0, 2]}}, "AWARDED", ["POST"]),
        ({"goals1": [{"name": "A", "minute": 50}]}, "LIVE", ["H1", "HT", "H2"]),
        ({"status": "abandoned", "goals1": [{"name": "A", "minute": 30}]}, "ABANDONED", ["H1", "POST"]),
    ],
)
def test_a_match_that_did_not_simply_end(raw: dict[str, Any], status: str, periods: list[str]) -> None:
    match, events, _ = one(raw)
    assert match.status == status
    assert [event.period for event in events if event.type == "STATUS_CHANGE"] == periods


@pytest.mark.parametrize(
    ("time", "kickoff_ms"),
    [
        ("18:00 UTC+3", 1_531_666_800_000),
        ("20:30 UTC+5:30", 1_531_666_800_000),
        ("12:00 UTC-3", 1_531_666_800_000),
        ("15:00 UTC", 1_531_666_800_000),
        ("15:00 UTC±0", 1_531_666_800_000),
        ("12:00 UTC\N{MINUS SIGN}3", 1_531_666_800_000),
        ("16:00 CET", 1_531_666_800_000),
        ("17:00 CEST", 1_531_666_800_000),
        ("15:00:00 GMT", 1_531_666_800_000),
        ("15:00", None),  # whose clock is not said
        (None, None),
    ],
)
def test_kick_off(time: str | None, kickoff_ms: int | None) -> None:
    _, events, _ = one({"time": time})
    assert events[0].detail["kickoff_ms"] == kickoff_ms


@pytest.mark.parametrize("zone", ["UTC+99:99", "UTC+5:60", "UTC-14:01", "+1500", "UTC+14:30"])
def test_a_zone_that_is_nowhere_costs_the_kick_off(zone: str) -> None:
    match, events, (warning,) = one({"time": f"18:00 {zone}", "score": {"ft": [1, 0]}})
    assert f"got {zone!r}" in str(warning)
    assert warning.where == "matches[0].time"
    assert (events[0].detail["kickoff_ms"], match.score) == (None, (1, 0))


def test_a_time_that_no_clock_shows_is_doubtful_without_a_zone_too() -> None:
    _, events, (warning,) = one({"time": "25:00"})
    assert "got '25:00'" in str(warning)
    assert events[0].detail["kickoff_ms"] is None


@pytest.mark.parametrize("time", ["25:00 UTC+3", "tbd", "20:45 XYZ", "20:45 IST", 2045, {"at": 1}, "18:99"])
def test_a_time_of_day_that_nobody_can_read_costs_the_kick_off(time: object) -> None:
    match, events, (warning,) = one({"time": time, "timezone": "UTC+3", "score": {"ft": [1, 0]}})
    assert warning.where == "matches[0].time"
    assert (events[0].detail["kickoff_ms"], match.score) == (None, (1, 0))


def test_the_farthest_zones_are_believed() -> None:
    for zone in ("UTC+14", "UTC-14:00", "UTC+5:45"):
        one({"time": f"18:00 {zone}"})


def test_a_match_before_1970_has_no_kick_off_in_milliseconds() -> None:
    _, events, _ = one({"date": "1930-07-13", "time": "15:00 UTC-3", "score": {"ft": [4, 1]}})
    assert events[0].match_id == "1930-07-13-france-croatia"
    assert events[0].detail["kickoff_ms"] is None


def test_ids_of_teams_are_short_and_distinct() -> None:
    teams = ["Côte d'Ivoire", "São Paulo", "中国", "日本", "Đà Nẵng", "1. FC Köln", "?", "!"]
    teams += ["Borussia VfL 1900 Mönchengladbach", "Borussia VfL 1900 Mönchengladbach II"]
    ids = {one({"team1": team})[1][0].match_id for team in teams}
    assert len(ids) == len(teams)
    assert "2018-07-15-cote-d-ivoire-croatia" in ids
    assert "2018-07-15-da-nang-croatia" in ids
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", match_id) for match_id in ids)


def test_two_teams_may_meet_twice_in_a_round_but_not_on_a_day() -> None:
    pair = {"team1": "Juventus", "team2": "PSV", "round": "Matchday 1"}
    events, _ = read({"matches": [pair | {"date": "2024-09-17"}, pair | {"date": "2025-02-11"}]})
    assert len(matches(events)) == 2
    events, (warning,) = read({"matches": [pair | {"date": "2024-09-17"}] * 2})
    assert len(matches(events)) == 1
    assert "same date and teams as" in str(warning)
    assert warning.where == "matches[1]"


def published(extra: str) -> bytes:
    """A file of one match in the published form, with something on its second line."""
    return f'{{"matches": [{{"date": "2018-07-15", "team1": "A", "team2": "B",\n{extra}}}]}}'.encode()


def full(extra: str) -> bytes:
    """The same in the -full form."""
    return f'{{"matches": [{{"date": "2018-07-15", "home": "A", "away": "B",\n{extra}}}]}}'.encode()


@pytest.mark.parametrize(
    ("document", "where", "line", "what"),
    [
        (b"", "", 1, "not JSON"),
        (b'{"matches": [\n{]}', "", 2, "not JSON"),
        (b"[]", "", 1, "must be an object"),
        (b"{}", "", 1, "neither openfootball form"),
        (b'{"matches":\n [\n\xff]}', "", 3, "not UTF-8"),
        (b'{"matches":\n 3}', "matches", 2, "must be a list"),
        (b'{"matches": [\n3]}', "matches[0]", 2, "must be an object"),
        (b'{"matches": [\n{"team1": "A", "team2": "B"}]}', "matches[0].date", 2, "is missing"),
        (b'{"matches": [{"date": "2018-07-15",\n"team1": 7}]}', "matches[0].team1", 2, "must be text"),
        (published('"score": {"ft": [1]}'), "matches[0].score.ft", 2, "must be two counts"),
        (published('"score": {"ft": [1, -1]}'), "matches[0].score.ft[1]", 2, "an integer from 0"),
        (published('"score": {"p": [60, 60]}'), "matches[0].score.p", 2, "must be a shoot-out's result"),
        (published('"status": "odd"'), "matches[0].status", 2, "must be one of postponed"),
        (published('"goals1": [{"minute": "x"}]'), "matches[0].goals1[0].minute", 2, "must be a minute"),
        (published('"goals1": [{"minute": 1e3}]'), "matches[0].goals1[0].minute", 2, "must be an integer"),
        (published(f'"goals1": [{{"name": "{"x" * 129}"}}]'), "matches[0].goals1[0]", 2, "to 128 characters"),
        (full('"goals": [{"side": "left"}]'), "matches[0].goals[0].side", 2, "must be home or away"),
        (full('"cards": [{"side": "home", "card": "G"}]'), "matches[0].cards[0].card", 2, "one of Y Y/R R"),
        (full('"shootout": [{"side": "home"}]'), "matches[0].shootout[0].order", 2, "is missing"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "", 1, "nested too deep"),
        (b'{"name": 1, "name": 2}', "", 1, "stands twice"),
        # What JSON's grammar lets through and ours does not has its own line too.
        (b'{"a":\n [1,\n NaN]}', "", 3, "NaN is not JSON"),
        (b'{"a": "NaN",\n"b": [\n-Infinity]}', "", 3, "-Infinity is not JSON"),
        (b'{"a": 1,\n"b": 9007199254740993}', "", 2, "beyond 2**53-1"),
        (b'{"a": 1,\n"b": [0.5, 1e2,\n-1e999]}', "", 3, "beyond double precision"),
        (b'{"a": 1,\n"b": "\\\\ud800 \\ud83d\\ude00 x",\n"c": "\\ud800"}', "", 3, "lone surrogate"),
        (b'{"a": 1,\n"\\uDFFF": 1}', "", 2, "lone surrogate"),
        (b'{"n":\n {"n": 1},\n "m": [{"n": 1}, {"n": 2}],\n "\\u006e": 2\n}', "", 4, "'n' stands twice"),
        (b"[\n" * 17 + b"]" * 17, "", 17, "nested too deep"),
        (b'{"a": "}{][,:\\"",\n"b": [[[]], {}, ""],\n"c": NaN}', "", 3, "NaN"),
    ],
)
def test_a_bad_file_is_refused_by_its_line(document: bytes, where: str, line: int, what: str) -> None:
    with pytest.raises(FeedError, match=re.escape(what)) as caught:
        read(document)
    assert (caught.value.where, caught.value.evidence["line"]) == (where, line)


def test_a_date_that_is_none_is_refused() -> None:
    with pytest.raises(FeedError, match="must be a date"):
        one({"date": "2018-13-15"})


_TEAMS = ["team1", "team2", "home", "away"]
_KEYS = ["matches", "date", *_TEAMS, "score", "ft", "goals1", "goals", "minute", "side", "time"]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.text(max_size=5) | st.just("2018-07-15"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=6),
    max_leaves=20,
)


@given(_JSON)
def test_any_json_gives_events_or_one_typed_error(value: object) -> None:
    with contextlib.suppress(FeedError):
        read({"matches": [value]})


@given(st.binary(max_size=60))
def test_any_bytes_give_events_or_one_typed_error(data: bytes) -> None:
    with pytest.raises(FeedError):
        read(data)
