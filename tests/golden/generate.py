"""Write the golden transcripts, or with ``--check`` say which of them would change.

    .venv/bin/python -m tests.golden.generate [--check]

A transcript is what one match's log holds, in the order of arrival, and every byte that must come of it:
``{"name", "match_id", "epoch", "events": [canonical …], "accepted_ms": [one per event …],
"deltas": [{"id", "data"} …], "hash", "score", "status"}``. An event that changes nothing has no delta.
CPython and Pyodide run the same files (tests/shared_state/test_golden.py, e2e). A change of them is a
change of the wire: raise ``PROTOCOL_VERSION``, or say in docs/decisions.md why old readers will not mind.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared_state import Event, Replica, encode_delta

__all__ = ["GOLDEN", "TRANSCRIPTS", "Transcript", "main", "text_of"]

GOLDEN = Path(__file__).parent
FINAL_KICKOFF_MS = 1_531_666_800_000  # 15 July 2018, 18:00 in Moscow
SECOND_MS = 1_000
MINUTE_MS = 60_000


@dataclass(frozen=True)
class Transcript:
    """One match as its log took it: (milliseconds after the epoch, event without match_id) each."""

    name: str
    match_id: str
    epoch: int
    log: Sequence[tuple[int, dict[str, Any]]]


def text_of(transcript: Transcript) -> str:
    """The file: one line an event or a delta, so that a change can be read in a diff."""
    origin = Replica.begin(transcript.match_id, transcript.epoch)
    events: list[dict[str, Any]] = []
    accepted: list[int] = []
    deltas: list[dict[str, str]] = []
    for offset_ms, fields in transcript.log:
        event = Event.from_json({"match_id": transcript.match_id, **fields})
        events.append(event.to_json())
        accepted.append(transcript.epoch + offset_ms)
        delta = origin.assign(event, transcript.epoch + offset_ms)
        if delta is not None:
            deltas.append({"id": str(delta.id), "data": encode_delta(delta).decode("utf-8")})
    fields = {
        "name": transcript.name,
        "match_id": transcript.match_id,
        "epoch": transcript.epoch,
        "events": events,
        "accepted_ms": accepted,
        "deltas": deltas,
        "hash": origin.hash(),
        "score": origin.match.score.to_json(),
        "status": origin.match.status,
    }
    return (
        "{\n" + ",\n".join(f"{json.dumps(key)}: {_lines(value)}" for key, value in fields.items()) + "\n}\n"
    )


def _lines(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in value) + "\n]"
    return json.dumps(value, ensure_ascii=False)


def _event(op: str, event_id: str, type_: str, **fields: Any) -> dict[str, Any]:
    given = {"event_id": event_id, "rev": 1 if op == "ADD" else 2, "op": op, "source": "golden", **fields}
    return given if op == "RETRACT" else {"type": type_, **given}


def _add(event_id: str, type_: str, **fields: Any) -> dict[str, Any]:
    return _event("ADD", event_id, type_, **fields)


def _amend(event_id: str, type_: str, **fields: Any) -> dict[str, Any]:
    return _event("AMEND", event_id, type_, **fields)


def _retract(event_id: str, **fields: Any) -> dict[str, Any]:
    return _event("RETRACT", event_id, "", **fields)


def _status(event_id: str, to: str, period: str, **fields: Any) -> dict[str, Any]:
    return _add(event_id, "STATUS_CHANGE", period=period, detail={"to": to}, **fields)


def _info(home: str, away: str, **detail: Any) -> dict[str, Any]:
    return _add("info", "MATCH_INFO", detail={"home": {"name": home}, "away": {"name": away}, **detail})


def _timed(epoch: int, *log: tuple[int, dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Each event dated at its offset, and taken by the log 800 ms later."""
    return [(offset + 800, {"source_ts": epoch + offset, **fields}) for offset, fields in log]


def _final_2018() -> Transcript:
    """Goals, cards and substitutions are the real ones; the scorer of 18' was first given as Griezmann,
    whose free kick it was; the goal of 52' is made up, to be taken back."""
    epoch = FINAL_KICKOFF_MS - 60 * MINUTE_MS
    kickoff, second_half = 60, 60 + 47 + 16  # minutes after the epoch

    def first(minute: int) -> int:
        return (kickoff + minute - 1) * MINUTE_MS + 20 * SECOND_MS

    def second(minute: int) -> int:
        return (second_half + minute - 46) * MINUTE_MS + 20 * SECOND_MS

    def goal(event_id: str, team: str, minute: int, player: str, **fields: Any) -> dict[str, Any]:
        return _add(event_id, "GOAL", team=team, minute=minute, player=player, **fields)

    def booked(event_id: str, team: str, minute: int, player: str, **fields: Any) -> dict[str, Any]:
        return _add(event_id, "YELLOW_CARD", team=team, minute=minute, player=player, **fields)

    def change(event_id: str, team: str, minute: int, on: str, off: str) -> dict[str, Any]:
        return _add(event_id, "SUBSTITUTION", team=team, minute=minute, player=on, player2=off)

    log = _timed(
        epoch,
        (
            0,
            _add(
                "info",
                "MATCH_INFO",
                detail={
                    "home": {"name": "France", "code": "FRA"},
                    "away": {"name": "Croatia", "code": "CRO"},
                    "competition": "World Cup 2018 · Final",
                    "kickoff_ms": FINAL_KICKOFF_MS,
                    "venue": "Luzhniki, Moscow",
                },
            ),
        ),
        (kickoff * MINUTE_MS, _status("s1", "LIVE", "H1", minute=1)),
        (first(18), goal("g1", "home", 18, "Antoine Griezmann")),
        (
            first(19),
            _amend(
                "g1",
                "GOAL",
                team="home",
                minute=18,
                player="Mario Mandžukić",
                detail={"own_goal": True},
                reason="Last touch: Mandžukić",
            ),
        ),
        (first(27), booked("y1", "home", 27, "N'Golo Kanté")),
        (first(28), goal("g2", "away", 28, "Ivan Perišić")),
        (first(34), _add("v1", "VAR", minute=34, detail={"state": "OPEN"})),
        (
            first(37),
            _amend("v1", "VAR", minute=37, detail={"state": "CLOSED", "outcome": "Penalty: handball"}),
        ),
        (first(38), goal("g3", "home", 38, "Antoine Griezmann", detail={"penalty": True})),
        (first(41), booked("y2", "home", 41, "Lucas Hernandez")),
        (first(45), _add("x1", "STOPPAGE_ANNOUNCED", minute=45, detail={"minutes": 2})),
        (first(48), _status("s2", "HALF_TIME", "HT")),
        (second(46), _status("s3", "LIVE", "H2", minute=46)),
        (second(52), goal("g9", "away", 52, "Ante Rebić", status="PROVISIONAL")),
        (second(53), _add("v2", "VAR", minute=53, detail={"state": "OPEN", "target_event_id": "g9"})),
        (second(54), _retract("g9", reason="VAR: offside")),
        (
            second(54) + SECOND_MS,
            _amend(
                "v2",
                "VAR",
                minute=54,
                detail={"state": "CLOSED", "outcome": "No goal", "target_event_id": "g9"},
            ),
        ),
        (second(55), change("c1", "home", 55, "Steven Nzonzi", "N'Golo Kanté")),
        (second(59), goal("g4", "home", 59, "Paul Pogba")),
        (second(65), goal("g5", "home", 65, "Kylian Mbappé")),
        (second(69), goal("g6", "away", 69, "Mario Mandžukić")),
        (second(71), change("c2", "away", 71, "Andrej Kramarić", "Ante Rebić")),
        (second(73), change("c3", "home", 73, "Corentin Tolisso", "Blaise Matuidi")),
        (second(81), change("c4", "home", 81, "Nabil Fekir", "Olivier Giroud")),
        (second(82), change("c5", "away", 82, "Marko Pjaca", "Ivan Strinić")),
        (second(90), _add("x2", "STOPPAGE_ANNOUNCED", minute=90, detail={"minutes": 5})),
        (second(93), booked("y3", "away", 90, "Šime Vrsaljko", stoppage=3)),
        (second(96), _status("s4", "FT", "POST")),
    )
    # At least once: the feed sends the goal of 59' again, and late; the log holds it, no viewer sees it.
    again = next(fields for _, fields in log if fields["event_id"] == "g4")
    return Transcript("World Cup final 2018", "fra-cro-2018", epoch, [*log, (second(97), again)])


def _shootout() -> Transcript:
    """Drawn after extra time; one kick is first told as scored, then as saved."""

    def kick(order: int, scored: bool, op: str = "ADD") -> dict[str, Any]:
        return _event(
            op,
            f"k{order}",
            "SHOOTOUT_KICK",
            period="PENS",
            team="home" if order % 2 else "away",
            player=f"Kicker {order}",
            detail={"order": order, "scored": scored},
        )

    log = [
        _info("Croatia", "Denmark", competition="World Cup 2018 · Round of 16"),
        _status("s1", "LIVE", "H1"),
        _add("g1", "GOAL", team="away", minute=1, player="Mathias Jørgensen"),
        _add("g2", "GOAL", team="home", minute=4, player="Mario Mandžukić"),
        _status("s2", "HALF_TIME", "HT"),
        _status("s3", "LIVE", "H2"),
        _status("s4", "EXTRA_TIME", "ET1"),
        _add("m1", "PENALTY_MISSED", team="home", minute=116, player="Luka Modrić"),
        _add("x1", "STOPPAGE_ANNOUNCED", minute=120, detail={"minutes": 1}),
        _status("s5", "PENALTIES", "PENS"),
        kick(1, False),
        kick(2, True),
        kick(2, False, op="AMEND"),
        kick(3, True),
        kick(4, True),
        kick(5, True),
        kick(6, True),
        kick(7, False),
        kick(8, False),
        kick(9, True),
        kick(10, False),
        _status("s6", "FT_PENS", "POST"),
    ]
    return Transcript(
        "shoot-out, counted apart",
        "cro-den-2018",
        1_530_468_000_000,
        [(count * MINUTE_MS, event) for count, event in enumerate(log)],
    )


def _corrections() -> Transcript:
    """Born dead, revived, two bodies under one revision, late losers, A to B to A: rules 1 to 4."""
    log = [
        _retract("dead", rev=1, reason="VAR: handball"),
        _add("dead", "GOAL", team="home", minute=12, player="Nobody"),
        _add("revived", "GOAL", team="home", minute=30, player="Salah"),
        _retract("revived", rev=2, reason="flag"),
        _amend(
            "revived", "GOAL", team="home", minute=30, player="Salah", rev=2
        ),  # a tombstone wins at equal rev
        _amend("revived", "GOAL", team="home", minute=30, player="Salah", rev=3, reason="VAR: goal stands"),
        _add("conflict", "GOAL", team="away", minute=41, player="Kane", source_ts=2_000),
        _add("conflict", "GOAL", team="away", minute=41, player="Zaha", source_ts=1_000),  # earlier: loses
        _add("conflict", "GOAL", team="away", minute=41, player="Son", source_ts=2_000),  # greater JSON: wins
        _add("conflict", "GOAL", team="away", minute=41, player="Kane", source_ts=2_000),  # the loser, again
        _add("aba", "YELLOW_CARD", team="home", minute=50, player="A"),
        _amend("aba", "YELLOW_CARD", team="home", minute=50, player="B"),
        _amend("aba", "YELLOW_CARD", team="home", minute=50, player="A", rev=3),
        _amend("aba", "YELLOW_CARD", team="home", minute=50, player="B"),  # a lower revision, late
        _amend("upsert", "RED_CARD", team="away", minute=60, player="C"),  # never added
        _add("w", "GOAL", team="home", minute=70, player="Side"),
        _amend("w", "GOAL", team="away", minute=71, player="Side", detail={"own_goal": True}),
        _add("n", "NOTE", minute=75, detail={"text": "Goal?"}),
        _amend("n", "GOAL", team="home", minute=75, player="After all"),
        _retract("never", rev=4),
    ]
    return Transcript(
        "corrections", "liv-tot", 1_000, [(count * 10, event) for count, event in enumerate(log)]
    )


def _award() -> Transcript:
    """Full time closes nothing: a goal goes minutes later, the result months later, and that once wrongly."""
    epoch = 1_734_184_800_000
    month = 30 * 24 * 60 * MINUTE_MS
    log = _timed(
        epoch,
        (0, _info("Union Berlin", "Bochum", venue=None)),
        (1, _status("s1", "LIVE", "H1")),
        (20 * MINUTE_MS, _add("g1", "GOAL", team="away", minute=19)),
        (40 * MINUTE_MS, _add("g2", "GOAL", team="home", minute=38)),
        (110 * MINUTE_MS, _add("g3", "GOAL", team="home", minute=90, stoppage=4)),
        (112 * MINUTE_MS, _status("s2", "FT", "POST")),
        (115 * MINUTE_MS, _retract("g3", reason="VAR: offside")),
        (month, _add("o1", "SCORE_OVERRIDE", period="POST", detail={"home": 2, "away": 0})),
        (month + 5, _status("s3", "AWARDED", "POST", reason="Sports court")),
        (month + MINUTE_MS, _retract("o1", reason="typed the wrong way round")),
        (2 * month, _add("o2", "SCORE_OVERRIDE", period="POST", detail={"home": 0, "away": 2})),
    )
    return Transcript("award months later", "ber-boc", epoch, log)


def _hostile_names() -> Transcript:
    """Text that has to come out of every place as text."""
    texts = (
        "<script>alert('1')</script>",
        '"><img src=x onerror=alert(1)>',
        "</script><!--",
        "&lt;b&gt; & 'quotes' \"both\"",
        "\u202eإبراهيم\u202c",
        "👨‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "line\nend\r\u2028\u2029data: x\n\nevent: gap",
        "e\u0301é\u200b\ufeff",
        "{{7*7}} ${7*7} %s",
        "\x01\x1b[31m\x7f",
    )
    log = [
        _info("<b>Home</b>", '" onload="x', competition="</title>", venue="javascript:alert(1)"),
        *[
            _add(
                f"g{count} <i>{text[:3]}", "GOAL", team=("home", "away")[count % 2], minute=count, player=text
            )
            for count, text in enumerate(texts, start=1)
        ],
        _add("note", "NOTE", minute=30, detail={"text": "<svg/onload=alert(1)>"}),
        _add("sub", "SUBSTITUTION", team="home", minute=60, player="<u>on</u>", player2="<u>off</u>"),
        _retract("g1 <i><sc", reason="<marquee>VAR</marquee>"),
        _amend("note", "NOTE", minute=31, detail={"text": "]]>"}, reason="<!-- why -->"),
    ]
    return Transcript("hostile names", "xss-xss", 0, [(0, event) for event in log])


def _unknown_types() -> Transcript:
    """What a newer feed sends to an older reader: kept, counted as nothing, taken back like all else."""
    log = [
        _add("c1", "CORNER", minute=5, team="home", detail={"zone": {"x": 1.5, "y": [0, -1, None, True]}}),
        _add("o1", "OFFSIDE_2031", minute=8, team="away", detail={"line_cm": 4, "scored": False, "home": 3}),
        _add("g1", "GOAL", team="home", minute=9, detail={"xg": 0.07, "penalty": True, "body": "left"}),
        _add("c2", "CORNER", minute=None, period="H1"),
        _amend("c2", "GOAL", team="away", minute=10),
        _retract("c1"),
        _amend("g1", "DISALLOWED_GOAL", team="home", minute=9, detail={"own_goal": False}),
        # Shown as nothing, so the minute shown stays at 10; so does it for a note, of whatever moment.
        _add("w1", "WEATHER_REPORT", minute=44),
        _add("n1", "NOTE", period="PENS", minute=120, detail={"text": "Full time will be late."}),
    ]
    return Transcript("unknown types", "new-old", 42, [(count, event) for count, event in enumerate(log)])


def _line_ups_and_statistics() -> Transcript:
    """Optional types: amended, taken back and born dead like all else; they move neither clock nor score."""

    def squad(*names: str, **more: Any) -> dict[str, Any]:
        return {"starting": [{"name": name, "number": n} for n, name in enumerate(names, 1)], **more}

    def stat(key: str, home: int, away: int) -> dict[str, Any]:
        return {"key": key, "home": home, "away": away}

    sides = {
        "home": {"name": "Argentina", "code": "ARG", "color": "#74acdf"},
        "away": {"name": "France", "crest": "https://crests.example/fra.svg", "color": "#21304D"},
    }
    log = [
        _add("info", "MATCH_INFO", detail=sides),
        _add("l1", "LINE_UP", team="home", detail=squad("E. Martínez", "Molina", formation="4-4-2")),
        _add("l2", "LINE_UP", team="away", detail=squad("Lloris", bench=None, coach="Deschamps", x_new=[1])),
        _amend(
            "l1", "LINE_UP", team="home", detail=squad("E. Martínez", "Montiel", bench=[{"name": "Molina"}])
        ),
        _status("ko", "LIVE", "H1", minute=0),
        _add("s1", "STAT", period="H1", minute=40, detail=stat("possession", 54, 46)),
        _retract("s2"),
        _add("s2", "STAT", detail=stat("shots", 3, 0)),
        _add("g1", "GOAL", team="home", minute=23, player="Messi", detail={"penalty": True}),
        _amend("s1", "STAT", detail=stat("possession", 51, 49)),
        _add("s3", "STAT", detail=stat("x_new_2031", 1_000_000, 0)),
        _retract("l2"),
    ]
    return Transcript("line-ups", "arg-fra", 43, [(count, event) for count, event in enumerate(log)])


TRANSCRIPTS = {
    "final_2018": _final_2018(),
    "shootout": _shootout(),
    "corrections": _corrections(),
    "award": _award(),
    "hostile_names": _hostile_names(),
    "unknown_types": _unknown_types(),
    "line_ups": _line_ups_and_statistics(),
}


def main(arguments: Sequence[str]) -> int:
    """Write or check them all; 1 if a check failed."""
    stale = []
    for name, transcript in TRANSCRIPTS.items():
        path, text = GOLDEN / f"{name}.json", text_of(transcript)
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.name)
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8", newline="\n")
    verb = "would change" if "--check" in arguments else "wrote"
    print(f"{verb}: {' '.join(stale) or 'nothing'}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
