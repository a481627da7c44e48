"""A good document of another kind is refused by what it is, whatever reader it is given to."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.errors import FeedError
from origin.feeds import FORMATS, open_converter
from origin.feeds.document_kind import kind_of_bytes, kind_of_json
from origin.feeds.opta_f24 import read_f7
from testkit.command import touchline
from testkit.services.vendor_timelines import goal, timeline

VENDOR = Path(__file__).parents[1] / "data" / "vendor"
OPENFOOTBALL = Path(__file__).parents[1] / "data" / "openfootball"
F24 = (VENDOR / "opta-f24.xml").read_bytes()
F7 = (VENDOR / "opta-f7.xml").read_bytes()
TIMELINE = (VENDOR / "sportradar-v4-timeline.json").read_bytes()
MATCHES = (OPENFOOTBALL / "worldcup-2018.json").read_bytes()

SPORT_EVENT = {
    "id": "sr:sport_event:7",
    "competitors": [{"name": side, "qualifier": side} for side in ("home", "away")],
}
HEAD: dict[str, Any] = {"generated_at": "2018-07-15T15:00:00+00:00", "sport_event": SPORT_EVENT}
ENDED = {
    "sport_event_status": {"status": "closed", "match_status": "ended", "home_score": 1, "away_score": 0}
}
V3 = {"sport_event": SPORT_EVENT | {"id": "sr:match:7"}}
PUSH = {"payload": {"event": goal(1, 5)}, "metadata": {"sport_event_id": "sr:sport_event_id:7"}}
HEARTBEAT = {"heartbeat": {"from": 1, "to": 6, "interval": 5}}
CANONICAL = {"match_id": "m", "event_id": "g1", "rev": 1, "op": "ADD", "type": "GOAL", "minute": 5}
MA1 = {"matchInfo": {"id": "x"}, "liveData": {"matchDetails": {}, "goal": []}}


def header(feed: str, root: str) -> bytes:
    """An Opta document with the comment that names its feed."""
    return (
        f"<!-- PRODUCTION HEADER\n production module: Opta::Feed::XML::Soccer::{feed}\n-->\n{root}".encode()
    )


def zipped(data: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a", data)
    return archive.getvalue()


def dump(value: object) -> bytes:
    return json.dumps(value, indent=1).encode()


def refused(name: str, data: bytes) -> FeedError:
    """What the format's reader has against a document."""
    with pytest.raises(FeedError) as caught:
        list(open_converter(name)(io.BytesIO(data), lambda _: None))
    return caught.value


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (gzip.compress(MATCHES), "gzip"),
        (zipped(MATCHES), "a zip archive"),
        (bz2.compress(MATCHES), "bzip2"),
        (lzma.compress(MATCHES), "xz"),
        (zlib.compress(MATCHES), "zlib"),
        (b"%PDF-1.7\n\xff", "a PDF document"),
        (b"<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>", "an HTML page"),
        (b"\n<!-- x -->\n<HTML><head></head></HTML>", "an HTML page"),
    ],
)
def test_every_reader_names_what_is_no_text_of_its_kind(name: str, data: bytes, kind: str) -> None:
    error = refused(name, data)
    assert str(error).startswith(f"is {kind}, not ")
    assert error.evidence["line"] == 1


@pytest.mark.parametrize("name", ["openfootball", "sportradar-v4", "opta-f24"])
@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_document_is_refused(name: str, data: bytes) -> None:
    assert "is empty" in str(refused(name, data)) or "no element found" in str(refused(name, data))


@pytest.mark.parametrize("name", ["openfootball", "sportradar-v4", "canonical"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_in_another_encoding_is_named(name: str, encoding: str) -> None:
    data = TIMELINE.decode().encode(encoding)
    assert f"is UTF-{encoding[4:6]} text" in str(refused(name, data))


def test_xml_says_its_encoding_and_a_byte_order_mark_is_none_of_it() -> None:
    events = list(open_converter("opta-f24")(io.BytesIO(F24), lambda _: None))
    utf16 = F24.decode().replace("UTF-8", "UTF-16").encode("utf-16")
    for data in (b"\xef\xbb\xbf" + F24, utf16):
        assert list(open_converter("opta-f24")(io.BytesIO(data), lambda _: None)) == events
    for data, name in ((TIMELINE, "sportradar-v4"), (MATCHES, "openfootball")):
        marked = list(open_converter(name)(io.BytesIO(b"\xef\xbb\xbf" + data), lambda _: None))
        assert marked == list(open_converter(name)(io.BytesIO(data), lambda _: None))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (HEAD | {"lineups": {"competitors": []}}, "Sportradar line-ups (lineups)"),
        (HEAD | ENDED | {"statistics": {"totals": {}}}, "a Sportradar summary (statistics)"),
        (HEAD | {"probabilities": {"markets": []}}, "Sportradar probabilities (probabilities)"),
        (HEAD | V3 | {"lineups": []}, "Sportradar v3 line-ups (lineups)"),
        (HEAD | V3 | {"probabilities": {}}, "Sportradar v3 probabilities (probabilities)"),
        (
            HEAD | V3 | ENDED | {"timeline": [{"id": 1, "type": "x", "team": "home"}]},
            "a Sportradar v3 timeline",
        ),
        (HEAD | V3 | ENDED | {"timeline": []}, "a Sportradar v3 timeline"),
        (
            HEAD | ENDED | {"timeline": [{"id": 1}], "schema": "http://x/soccer/v3/json/match_timeline.json"},
            "a Sportradar v3 timeline",
        ),
        (PUSH, "Sportradar push messages"),
        (HEARTBEAT, "Sportradar push messages"),
        ({"generated_at": "x", "sport_event_timelines": []}, "Sportradar live timelines of several matches"),
        ({"generated_at": "x", "summaries": []}, "Sportradar summaries of several matches"),
        ({"generated_at": "x", "schedules": []}, "Sportradar schedule"),
        (MA1, "Stats Perform MA1"),
        ({"match": [MA1]}, "Stats Perform MA1"),
        ({"matchInfo": {}, "liveData": {"event": []}}, "Stats Perform MA3"),
        ({"SoccerFeed": {}}, "Opta F7 or F9 as JSON"),
        ({"Games": {"Game": {}}}, "Opta F24 as JSON"),
        ({"get": "fixtures", "results": 0, "response": []}, "API-Football v3"),
        ({"filters": {}, "matches": [{"homeTeam": {}, "awayTeam": {}}]}, "football-data.org v4"),
        ({"leagues": [], "events": []}, "an ESPN scoreboard"),
        (CANONICAL, "canonical events"),
        ({"name": "Cup", "clubs": []}, "an openfootball file of clubs"),
        ({"name": "Cup", "standings": []}, "an openfootball file of standings"),
        ({"message": "Forbidden"}, "an error message (message)"),
    ],
)
def test_a_json_document_of_another_kind_is_named(value: object, kind: str) -> None:
    for name in ("sportradar-v4", "openfootball"):
        error = refused(name, dump(value))
        assert str(error).startswith(f"is {kind}, not "), str(error)
        assert error.evidence["line"] == 1
    assert f"is JSON ({kind}), not XML" in str(refused("opta-f24", dump(value)))


def test_the_own_kinds_of_two_readers_are_named_by_the_others() -> None:
    assert "is an openfootball file of matches" in str(refused("sportradar-v4", MATCHES))
    assert "is a Sportradar v4 timeline" in str(refused("openfootball", TIMELINE))
    assert "is JSON (a Sportradar v4 timeline), not XML" in str(refused("opta-f24", TIMELINE))
    assert "is XML (Opta F24), not JSON" in str(refused("openfootball", F24))
    assert "is XML (Opta F24), not UTF-8 JSON lines" in str(refused("canonical", F24))


@pytest.mark.parametrize("between", [b"", b"\n"])
def test_messages_one_after_the_other_are_named(between: bytes) -> None:
    pushed = between.join(json.dumps(message).encode() for message in (HEARTBEAT, PUSH, PUSH))
    assert str(refused("sportradar-v4", pushed)) == "is Sportradar push messages, not a timeline"
    lines = between.join([json.dumps(CANONICAL).encode()] * 2)
    assert "several JSON values, one after the other (canonical events)" in str(
        refused("openfootball", lines)
    )
    broken = json.dumps(HEAD).encode() + between + b"}"
    assert "not JSON: Extra data" in str(refused("sportradar-v4", broken))


@pytest.mark.parametrize(
    ("data", "line", "what"),
    [
        (b"<SoccerFeed/>", 1, "is not F24"),
        (F7, 3, "is not F24: it is Opta F7 or F9"),
        (header("F7", "<SoccerFeed/>"), 4, "is not F24: it is Opta F7"),
        (header("F9", "<SoccerFeed><SoccerDocument Type='Latest'/></SoccerFeed>"), 4, "it is Opta F9"),
        (header("F73", "<Games><Game id='1'/></Games>"), 4, "is not F24: it is Opta F73"),
        (b"<SoccerFeed>\n<SoccerDocument Type='SQUADS Latest'/></SoccerFeed>", 2, "it is Opta F40 squads"),
        (b"<sport_event_timeline/>", 1, "is not F24: it is a Sportradar timeline"),
        (b"<t:match_timeline xmlns:t='http://x/v3'/>", 1, "is not F24: it is a Sportradar v3 timeline"),
        (b"<oops xmlns='http://x/v3'/>", 1, "is not F24: its root element is 'oops'"),
        (b"<matchInfo/>", 1, "is not F24: it is Stats Perform MA1"),
        (b"\n<error>no such match</error>", 2, "is not F24: its root element is 'error'"),
        (b"<Games timestamp='2018-07-15T15:00:00'/>", 1, "is F24 without a match"),
    ],
)
def test_xml_of_another_kind_is_named(data: bytes, line: int, what: str) -> None:
    error = refused("opta-f24", data)
    assert what in str(error)
    assert error.evidence["line"] == line


def test_shots_with_their_expected_goals_are_no_f24() -> None:
    """F70 and F73 have F24's form, and only the shots: a match without cards, changes and an end."""
    shot = '<Event id="{0}" event_id="{0}" type_id="{1}" period_id="1" min="9" sec="1" team_id="1"'
    shot += ' last_modified="2018-07-15T15:10:05">{2}</Event>'
    rated = shot.format(1, 16, '<Q qualifier_id="321" value="0.31"/>')
    head = '<Games timestamp="2018-07-15T15:11:00">\n<Game id="7" home_team_id="1" away_team_id="2">'
    error = refused("opta-f24", f"{head}{rated}</Game></Games>".encode())
    assert "is not F24: it is Opta F70 or F73" in str(error)
    assert error.evidence["line"] == 2
    whole = f"{head}{shot.format(2, 32, '')}{rated}</Game></Games>".encode()
    events = list(open_converter("opta-f24")(io.BytesIO(whole), lambda _: None))
    assert {event.type for event in events} == {"GOAL", "STATUS_CHANGE"}


def test_a_namespace_changes_nothing() -> None:
    named = F24.replace(b"<Games ", b'<Games xmlns="http://feed.example/f24" ')
    convert = open_converter("opta-f24")
    assert list(convert(io.BytesIO(named), lambda _: None)) == list(convert(io.BytesIO(F24), lambda _: None))


def test_the_header_of_an_f24_is_its_own() -> None:
    declaration, _, rest = F24.partition(b"\n")
    data = declaration + b"\n" + header("F24", "") + rest
    assert list(open_converter("opta-f24")(io.BytesIO(data), lambda _: None))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (F24, "is not F7: it is Opta F24"),
        (header("F9", F7.decode().partition("\n")[2]), "is not F7: it is Opta F9"),
        (b"<SoccerFeed><SoccerDocument Type='RESULTS Latest'/></SoccerFeed>", "it is Opta F1"),
        (b"<SoccerFeed><SoccerDocument Type='Result'/></SoccerFeed>", "names no team and no player"),
        (dump(MA1), "is JSON (Stats Perform MA1), not XML"),
        (gzip.compress(F7), "is gzip, not XML"),
        (b"", "is empty"),
    ],
)
def test_names_that_are_no_f7_are_refused(data: bytes, what: str, tmp_path: Path) -> None:
    with pytest.raises(FeedError) as caught:
        read_f7(io.BytesIO(data))
    assert what in str(caught.value)
    assert caught.value.evidence["line"] >= 1


def test_the_command_refuses_names_that_are_no_f7() -> None:
    path = VENDOR / "opta-f24.xml"
    ran = touchline("convert", "opta-f24", path, "--names", path)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.err == f"{path}:2: Games: is not F7: it is Opta F24\n"


def test_a_timeline_of_a_match_that_has_not_begun_may_be_missing() -> None:
    """Nothing can be in it; any other document without a timeline is not one."""
    waiting = {"sport_event_status": {"status": "not_started", "match_status": "not_started"}}
    convert = open_converter("sportradar-v4")
    events = list(convert(io.BytesIO(dump(HEAD | waiting)), lambda _: None))
    assert [event.type for event in events] == ["MATCH_INFO", "STATUS_CHANGE"]
    for value in (HEAD, HEAD | ENDED, HEAD | ENDED | {"timeline": None}):
        error = refused("sportradar-v4", dump(value))
        assert (error.where, str(error)[:10]) == ("timeline", "is missing")


def test_a_good_timeline_is_none_of_the_other_kinds() -> None:
    assert kind_of_json(json.loads(timeline(100, goal(1, 50)))) == "a Sportradar v4 timeline"
    assert kind_of_json({}) is None
    assert kind_of_json([]) is None


_VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["sport_event", "timeline", "id", "matches", "liveData", "match", "events", "schema"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_VALUES)
def test_any_value_has_a_kind_or_none(value: object) -> None:
    kind = kind_of_json(value)
    assert kind is None or kind


@given(st.binary(max_size=40) | st.sampled_from([F24, F7, TIMELINE, MATCHES]).map(lambda data: data[:500]))
def test_any_bytes_have_a_kind_or_none(data: bytes) -> None:
    kind = kind_of_bytes(data)
    assert kind is None or kind
