"""The names on the wire are the same in Python and in JavaScript, and those that the server really sends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from origin.bus import Published
from origin.errors import RequestError
from origin.stream.http.framing import refusal
from origin.stream.http.sse import STREAM_HEADERS, delta_frame, gap_frame, heartbeat_frame
from origin.stream.http.stream_request import parse
from origin.web import pages
from shared_state import DeltaId, Receipt, Replica, encode_delta, wire
from shared_state.language import ENGLISH
from shared_state.view import scoreboard
from testkit.built_widget import run_node
from tests.events_by_hand import add, goal, retract, status
from widget.build.bundle import SOURCES

TEMPLATES = Path(pages.__file__).parent / "templates"
EPOCH = 1_531_666_800_000
# Constants that are the wire's alone, which no other file may spell; the rest are words of many meanings.
SPELT_ONCE = (
    *("EVENT_", "KEY_SERVER_MS", "QUERY_", "HEADER_", "STREAM_TYPE"),
    *("ATTRIBUTE_", "RECEIPT_APPLIED", "RECEIPT_IN_STEP", "RECEIPT_NEED_SNAPSHOT", "OP_RETRACT"),
)


def names_in_javascript() -> Mapping[str, str]:
    names: Mapping[str, str] = run_node('import * as wire from "./wire.js"; print({ ...wire });')
    return names


def differing(javascript: Mapping[str, str], python: Mapping[str, object]) -> list[str]:
    """Names that only one side has, or has with another value."""
    return sorted(name for name in {*javascript, *python} if javascript.get(name) != python.get(name))


def python_names() -> Mapping[str, object]:
    prefixes = ("ATTRIBUTE_", "DELTA_", "EVENT_", "HEADER_", "KEY_", "OP_", "QUERY_", "RECEIPT_")
    names = [name for name in wire.__all__ if name.startswith(prefixes)]
    types = ["OFFLINE_META_NAME", "SNAPSHOT_ELEMENT_ID", "STREAM_TYPE", "JSON_TYPE", "HTML_TYPE"]
    return {name: getattr(wire, name) for name in [*names, *types, "BEACON_META_NAME"]}


def test_both_languages_have_the_same_names() -> None:
    assert len(names_in_javascript()) > 25
    assert differing(names_in_javascript(), python_names()) == []


def test_a_difference_is_found() -> None:
    assert differing({"A": "a", "B": "b"}, {"A": "a", "B": "c", "C": "d"}) == ["B", "C"]


def respelt(source: str, names: Mapping[str, str]) -> list[str]:
    """Names of the wire that a file of JavaScript has as text of its own, outside of comments."""
    code = re.sub(r"/\*.*?\*/|(?<!:)//[^\n]*", "", source, flags=re.DOTALL)
    wanted = [value for name, value in names.items() if name.startswith(SPELT_ONCE)]
    return sorted(value for value in wanted if re.search(rf"[\"'`\[]{re.escape(value)}[\"'`\]]", code))


def test_no_other_file_of_the_loader_spells_them() -> None:
    names = names_in_javascript()
    found = {
        path.name: respelt(path.read_text(encoding="utf-8"), names)
        for path in SOURCES.glob("*.js")
        if path.name not in ("wire.js", "demo.js")
    }
    assert len(found) > 8
    assert {name: values for name, values in found.items() if values} == {}


def test_a_name_that_is_spelt_again_is_found() -> None:
    names = {"EVENT_GAP": "gap", "ATTRIBUTE_AGE": "data-tl-age", "KEY_SEQ": "seq"}
    source = 'if (event === "gap") x.querySelector("[data-tl-age]"); // "score"\nconst seq = "seq";'
    assert respelt(source, names) == ["data-tl-age", "gap"]
    assert respelt("/* 'gap' */", names) == []


def replica() -> Replica:
    match = Replica.begin("fra-cro", epoch=EPOCH)
    match.assign(status("k", "LIVE", "H1", source_ts=EPOCH), accepted_ms=EPOCH)
    return match


def test_the_server_sends_the_events_and_keys_that_the_loader_reads() -> None:
    match = replica()
    delta = match.assign(goal("g1", "home", 18), accepted_ms=EPOCH + 7)
    assert delta is not None
    taken_back = match.assign(retract("g1", rev=2), accepted_ms=EPOCH + 9)
    assert taken_back is not None
    frames = [
        delta_frame(Published(delta.id, encode_delta(delta))),
        delta_frame(Published(taken_back.id, encode_delta(taken_back))),
        gap_frame("fra-cro", match.position),
        heartbeat_frame(match.position, match.hash(), EPOCH),
    ]
    script = """
        import { Parser } from "./stream.js";
        const frames = [];
        new Parser().feed(input, ({ event, id, data }) => frames.push({ event, id, data: JSON.parse(data) }));
        print(frames);
    """
    added, retracted, gap, heartbeat = run_node(script, b"".join(frames).decode())
    assert [frame["event"] for frame in (added, retracted, gap, heartbeat)] == [
        *(wire.EVENT_SCORE, wire.EVENT_SCORE, wire.EVENT_GAP, wire.EVENT_HEARTBEAT)
    ]
    assert added["data"][wire.DELTA_EVENT_ID] == "g1"
    assert added["data"][wire.DELTA_ACCEPTED] == 7
    assert wire.DELTA_OP not in added["data"]
    assert retracted["data"][wire.DELTA_OP] == wire.OP_RETRACT
    assert DeltaId(gap["data"][wire.KEY_EPOCH], gap["data"][wire.KEY_SEQ]) == match.position
    assert heartbeat["data"] == {
        wire.KEY_EPOCH: match.position.epoch,
        wire.KEY_SEQ: match.position.seq,
        wire.KEY_HASH: match.hash(),
        wire.KEY_SERVER_MS: EPOCH,
    }


def test_the_loader_reads_the_id_of_each_from_those_keys() -> None:
    match = replica()
    script = 'import { idOf } from "./ids.js"; print(idOf(JSON.parse(input)));'
    assert DeltaId.parse(run_node(script, match.snapshot().decode())) == match.position


def test_receipts_are_those_of_the_replica() -> None:
    receipts = {receipt.name: receipt.value for receipt in Receipt}
    for name, value in python_names().items():
        if name.startswith("RECEIPT_"):
            assert receipts[name.removeprefix("RECEIPT_")] == value


def test_the_html_has_the_attributes_that_the_loader_reads() -> None:
    match = replica()
    kicked_off = match.match
    match.assign(goal("g1", "home", 18, source_ts=EPOCH + 18 * 60_000), accepted_ms=EPOCH)
    live = scoreboard(
        match.match,
        match.position,
        announcement="Goal",
        before=kicked_off,
        as_of_ms=EPOCH,
        notifications=[{"type": "goal"}],
        language=ENGLISH,
        unseen=["g2"],
    )
    before = Replica.begin("fra-cro", epoch=EPOCH)
    teams = {"kickoff_ms": EPOCH, "home": {"name": "France"}, "away": {"name": "Croatia"}}
    before.assign(add("i", "MATCH_INFO", period="PRE", detail=teams), accepted_ms=EPOCH)
    html = live + scoreboard(before.match, before.position, announcement="")
    for name in ("list.html", "index_row.html"):
        html += (TEMPLATES / name).read_text(encoding="utf-8")
    # The loader sets it; the server does where it shows one change alone.
    wanted = {value for name, value in python_names().items() if name.startswith("ATTRIBUTE_")} - {
        wire.ATTRIBUTE_FRESH
    }
    assert {value for value in wanted if not re.search(rf"[ ]{value}[=> ]", html)} == set()


def test_the_stream_tier_reads_the_query_and_lets_other_sites_read_the_header() -> None:
    url = f"/stream/fra-cro?{wire.QUERY_LAST_EVENT_ID}=5-1"
    request = parse(f"GET {url} HTTP/1.1\r\nHost: a.example\r\nAccept: {wire.STREAM_TYPE}\r\n\r\n".encode())
    assert request.after == DeltaId(5, 1)
    assert STREAM_HEADERS["Content-Type"].partition(";")[0] == wire.STREAM_TYPE
    answer = refusal(RequestError(503, "full", "full"), keep_alive=False)
    assert f"Access-Control-Expose-Headers: {wire.HEADER_RETRY_AFTER}\r\n".encode() in answer
