"""Every state of a match that a reader may meet, made from events, to be looked at and checked by tools.

Nothing here is drawn by hand: the events go through the reducer, and the view makes the HTML.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from origin.commands import demo
from shared_state import Event, Match, apply
from shared_state.jsontext import Json, JsonObject

__all__ = ["KICKOFF_MS", "State", "states"]

KICKOFF_MS = 1_795_806_000_000  # 27 November 2026, 19:00 UTC
FINAL_KICKOFF_MS = 1_531_666_800_000  # 15 July 2018, 15:00 UTC
MINUTE_MS = 60_000
FINAL = Path(demo.__file__).parent.parent / "demo" / "final-2018.jsonl"


@dataclass(frozen=True)
class State:
    """One state.

    Attributes:
        name: for a file and a heading.
        match: the match.
        before: the match before its last event, for states of the moment; None else.
        now_ms: at which time it is looked at, UTC milliseconds.
        events: what made it, oldest first.
    """

    name: str
    match: Match
    before: Match | None
    now_ms: int
    events: tuple[Event, ...]

    def posted_at(self, now_ms: int) -> list[JsonObject]:
        """The events for an origin whose readers look at the match at ``now_ms``; its id is ``name``."""
        dated = [event.source_ts for event in self.events if event.source_ts is not None]
        later_ms = now_ms - max([self.now_ms, *dated])  # an origin refuses what comes from the future
        posted = []
        for event in self.events:
            body = event.to_json() | {"match_id": self.name}
            if event.source_ts is not None:
                body["source_ts"] = event.source_ts + later_ms
            if event.detail.get("kickoff_ms") is not None:
                body["detail"] = {**event.detail, "kickoff_ms": event.detail["kickoff_ms"] + later_ms}
            posted.append(body)
        return posted


@dataclass
class _Game:
    name: str
    kickoff_ms: int = KICKOFF_MS
    minute_now: int = 0
    match: Match = field(init=False)
    before: Match = field(init=False)
    events: list[Event] = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        self.match = self.before = Match(match_id=self.name)

    def add(self, type_: str, event_id: str = "", **fields: Json) -> _Game:
        self.number += 1
        body: JsonObject = {
            "match_id": self.match.match_id,
            "event_id": event_id or f"e{self.number}",
            "rev": 1,
            "op": "ADD",
        }
        if type_:
            body["type"] = type_
        if "minute" not in fields and "period" not in fields:
            body["period"] = "PRE"
        return self.append(Event.from_json(body | fields))

    def append(self, event: Event) -> _Game:
        self.events.append(event)
        self.before, self.match = self.match, apply(self.match, event)
        return self

    def info(self, home: JsonObject, away: JsonObject, competition: str, venue: str) -> _Game:
        detail = {
            "home": home,
            "away": away,
            "competition": competition,
            "venue": venue,
            "kickoff_ms": KICKOFF_MS,
        }
        return self.add("MATCH_INFO", detail=detail)

    def status(self, to: str, period: str, minute: int | None = None, reason: str | None = None) -> _Game:
        at = KICKOFF_MS + (minute or 0) * MINUTE_MS
        return self.add(
            "STATUS_CHANGE",
            period=period,
            minute=minute,
            detail={"to": to},
            source_ts=at + self.number,
            reason=reason,
        )

    def goal(self, minute: int, team: str, player: str, event_id: str = "", **fields: Json) -> _Game:
        return self.add("GOAL", event_id, minute=minute, team=team, player=player, **fields)

    def retract(self, event_id: str, reason: str) -> _Game:
        return self.add("", event_id, op="RETRACT", rev=2, reason=reason)

    def kick(self, order: int, team: str, player: str, *, scored: bool) -> _Game:
        detail = {"order": order, "scored": scored}
        return self.add("SHOOTOUT_KICK", period="PENS", team=team, player=player, detail=detail)

    def stat(self, key: str, home: int, away: int) -> _Game:
        return self.add("STAT", f"stat-{key}", detail={"key": key, "home": home, "away": away})


def _side(name: str, code: str | None = None, color: str | None = None) -> JsonObject:
    return {"name": name, "code": code, "color": color}


LIVERPOOL = _side("Liverpool", "LIV", "#c8102e")
ARSENAL = _side("Arsenal", "ARS", "#063672")
ENGLAND = _side("England", "ENG", "#ffffff")
SERBIA = _side("Serbia", "SRB", "#b4081d")
ARGENTINA = _side("Argentina", "ARG", "#74acdf")
FRANCE = _side("France", "FRA", "#21304f")


def _league(name: str) -> _Game:
    return _Game(name).info(LIVERPOOL, ARSENAL, "Premier League · Matchday 13", "Anfield, Liverpool")


def _first_half(name: str) -> _Game:
    game = _league(name).status("LIVE", "H1", 0)
    game.goal(12, "home", "Mohamed Salah", player2="Trent Alexander-Arnold")
    game.add("YELLOW_CARD", minute=21, team="away", player="Declan Rice")
    return game.goal(29, "away", "Bukayo Saka", detail={"penalty": True})


def _squad(names: str) -> list[JsonObject]:
    players: list[JsonObject] = []
    for item in names.split(", "):
        number, _, name = item.partition(" ")
        players.append({"number": int(number), "name": name})
    players[0]["position"] = "GK"
    return players


def _with_squads(game: _Game) -> _Game:
    home = _squad(
        "1 Alisson Becker, 66 Trent Alexander-Arnold, 5 Ibrahima Konaté, 4 Virgil van Dijk, "
        "26 Andrew Robertson, 10 Alexis Mac Allister, 38 Ryan Gravenberch, 8 Dominik Szoboszlai, "
        "11 Mohamed Salah, 9 Darwin Núñez, 7 Luis Díaz"
    )
    home[3]["captain"] = True
    bench = _squad("62 Caoimhín Kelleher, 2 Joe Gomez, 17 Curtis Jones, 18 Cody Gakpo, 20 Diogo Jota")
    game.add(
        "LINE_UP",
        "lineup-home",
        team="home",
        detail={"formation": "4-3-3", "starting": home, "bench": bench, "coach": "Arne Slot"},
    )
    away = _squad(
        "22 David Raya, 4 Ben White, 2 William Saliba, 6 Gabriel Magalhães, 12 Jurriën Timber, "
        "8 Martin Ødegaard, 5 Thomas Partey, 41 Declan Rice, 7 Bukayo Saka, 29 Kai Havertz, "
        "11 Gabriel Martinelli"
    )
    away[5]["captain"] = True
    bench = _squad("1 Aaron Ramsdale, 15 Jakub Kiwior, 20 Jorginho, 19 Leandro Trossard, 9 Gabriel Jesus")
    return game.add(
        "LINE_UP",
        "lineup-away",
        team="away",
        detail={"formation": "4-2-3-1", "starting": away, "bench": bench, "coach": "Mikel Arteta"},
    )


def _before() -> _Game:
    return _league("before")


def _before_with_squads() -> _Game:
    return _with_squads(_league("before-line-ups"))


def _no_kick_off() -> _Game:
    game = _league("no-kick-off")
    game.minute_now = 40
    return game


def _final_2018() -> _Game:
    """The demo's match in its second half, with both of its corrections."""
    game = _Game("2018-07-15-france-croatia")
    for line in FINAL.read_text(encoding="utf-8").splitlines()[:23]:
        game.append(Event.from_json(json.loads(line)))
    game.kickoff_ms, game.minute_now = FINAL_KICKOFF_MS, 90
    return game


def _kick_off() -> _Game:
    return _league("kick-off").status("LIVE", "H1", 0)


def _live() -> _Game:
    game = _first_half("live")
    game.minute_now = 33
    return game


def _goal() -> _Game:
    game = _first_half("goal").goal(34, "home", "Darwin Núñez", player2="Mohamed Salah")
    game.minute_now = 34
    return game


def _review() -> _Game:
    game = _first_half("under-review")
    game.goal(37, "away", "Kai Havertz", "g3", status="PROVISIONAL")
    game.add(
        "VAR",
        "v1",
        minute=37,
        team="away",
        detail={"state": "OPEN", "outcome": "Possible offside", "target_event_id": "g3"},
    )
    game.minute_now = 38
    return game


def _ruled_out() -> _Game:
    game = _review()
    game.name = "goal-ruled-out"
    game.add(
        "VAR",
        "v1",
        op="AMEND",
        rev=2,
        minute=37,
        team="away",
        detail={"state": "CLOSED", "outcome": "Offside"},
    )
    game.retract("g3", "VAR: offside")
    game.minute_now = 39
    return game


def _half_time() -> _Game:
    return _with_stats(_ruled_out()).status("HALF_TIME", "HT", 45)


def _with_stats(game: _Game) -> _Game:
    for key, home, away in (
        ("possession", 54, 46), ("xg", 131, 84), ("shots", 9, 6), ("shots_on_target", 4, 3),
        ("corners", 5, 2), ("fouls", 4, 7), ("offsides", 1, 3), ("passes", 301, 262),
        ("pass_accuracy", 88, 85),
    ):  # fmt: skip
        game.stat(key, home, away)
    return game


def _second_half() -> _Game:
    game = _with_stats(_with_squads(_first_half("second-half")))
    game.status("HALF_TIME", "HT", 45).status("LIVE", "H2", 46)
    game.add("RED_CARD", minute=52, team="away", player="Thomas Partey")
    game.add("SUBSTITUTION", minute=58, team="home", player="Cody Gakpo", player2="Darwin Núñez")
    game.goal(63, "home", "Cody Gakpo", player2="Dominik Szoboszlai")
    game.add("PENALTY_MISSED", minute=70, team="home", player="Mohamed Salah")
    game.add("SUBSTITUTION", minute=72, team="away", player="Leandro Trossard", player2="Gabriel Martinelli")
    game.goal(79, "away", "Leandro Trossard", op="AMEND", rev=2, reason="first given to Kai Havertz")
    game.goal(90, "home", "Virgil van Dijk", stoppage=3)
    game.add("STOPPAGE_ANNOUNCED", minute=90, detail={"minutes": 6}, period="H2")
    game.minute_now = 94
    return game


def _full_time() -> _Game:
    game = _second_half()
    return game.status("FT", "POST", 97)


def _delayed() -> _Game:
    game = _first_half("updates-delayed")
    game.minute_now = 140
    return game


def _shootout_start(name: str) -> _Game:
    game = _Game(name).info(ARGENTINA, FRANCE, "World Cup · Final", "Lusail Stadium").status("LIVE", "H1", 0)
    game.goal(23, "home", "Lionel Messi", detail={"penalty": True}).goal(36, "home", "Ángel Di María")
    game.status("LIVE", "H2", 46).goal(80, "away", "Kylian Mbappé", detail={"penalty": True})
    game.goal(81, "away", "Kylian Mbappé").status("EXTRA_TIME", "ET1", 91)
    game.goal(108, "home", "Lionel Messi").goal(118, "away", "Kylian Mbappé", detail={"penalty": True})
    game.status("PENALTIES", "PENS", 120)
    game.kick(1, "away", "Kylian Mbappé", scored=True).kick(2, "home", "Lionel Messi", scored=True)
    game.kick(3, "away", "Kingsley Coman", scored=False).kick(4, "home", "Paulo Dybala", scored=True)
    return game.kick(5, "away", "Aurélien Tchouaméni", scored=False)


def _shootout() -> _Game:
    game = _shootout_start("shoot-out")
    game.minute_now = 140
    return game


def _after_penalties() -> _Game:
    game = _shootout_start("after-penalties")
    game.kick(6, "home", "Leandro Paredes", scored=True).kick(7, "away", "Randal Kolo Muani", scored=True)
    game.kick(8, "home", "Gonzalo Montiel", scored=True)
    return game.status("FT_PENS", "POST", 150)


def _postponed() -> _Game:
    game = _Game("postponed").info(
        _side("Everton", "EVE"), _side("Fulham", "FUL"), "Premier League", "Goodison Park"
    )
    return game.status("POSTPONED", "PRE", reason="Waterlogged pitch")


def _abandoned() -> _Game:
    game = _Game("abandoned").info(
        _side("Frosinone", "FRO"), _side("Lecce", "LEC"), "Serie B", "Stadio Benito Stirpe"
    )
    return (
        game.status("LIVE", "H1", 0)
        .goal(9, "home", "Walid Cheddira")
        .status("ABANDONED", "H1", 33, reason="Floodlight failure")
    )


def _awarded() -> _Game:
    game = _Game("awarded").info(_side("Lyon", "OL"), _side("Marseille", "OM"), "Ligue 1", "Groupama Stadium")
    game.status("LIVE", "H1", 0).status("ABANDONED", "H1", 5, reason="Object thrown at a player")
    game.add("SCORE_OVERRIDE", period="POST", detail={"home": 0, "away": 3}, reason="Disciplinary committee")
    return game.status("AWARDED", "POST", 90, reason="Disciplinary committee")


def _long_names() -> _Game:
    game = _Game("long-names").info(
        _side("Borussia Verein für Leibesübungen 1900 Mönchengladbach", "BMG", "#000000"),
        _side("Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch Football Club"),
        "UEFA Women’s Champions League Qualifying, Second Round, Second Leg",
        "Stadion der Freundschaft und des Friedens, Mönchengladbach-Rheydt",
    )
    game.status("LIVE", "H1", 0)
    game.goal(3, "home", "Pierre-Emerick Emiliano François Aubameyang-Tchouaméni de la Cruz")
    game.goal(5, "away", "Wolfeschlegelsteinhausenbergerdorff")
    for minute in range(6, 15):
        game.goal(minute, "home", "Harry Kane")
    game.minute_now = 20
    return game


def _two_lines() -> _Game:
    game = _Game("two-line-names").info(
        _side("Borussia Mönchengladbach", "BMG", "#000000"), _side("West Bromwich Albion", "WBA", "#122f67"),
        "Friendly", "Borussia-Park",
    )  # fmt: skip
    return game.status("LIVE", "H1", 0).goal(3, "home", "Alassane Pléa")


def _arabic() -> _Game:
    game = _Game("arabic").info(
        _side("الهلال السعودي", "HIL", "#1a4fa3"),
        _side("النصر", "NAS", "#f7d417"),
        "دوري روشن السعودي",
        "ملعب الملك فهد الدولي",
    )
    game.status("LIVE", "H1", 0).goal(17, "home", "سالم الدوسري", player2="محمد كنو")
    game.goal(52, "away", "ساديو ماني", "g3").retract("g3", "تسلل")
    game.minute_now = 53
    return game


_GAMES: tuple[Callable[[], _Game], ...] = (
    _before, _before_with_squads, _no_kick_off, _kick_off, _live, _goal, _review, _ruled_out, _half_time,
    _second_half,
    _full_time, _delayed, _shootout, _after_penalties, _postponed, _abandoned, _awarded, _long_names,
    _two_lines, _arabic, _final_2018,
)  # fmt: skip
_OF_THE_MOMENT = ("goal", "goal-ruled-out", "under-review")


def states() -> list[State]:
    """All states, in the order of a match."""
    found = []
    for make in _GAMES:
        game = make()
        name = make.__name__.strip("_").replace("_", "-")
        before = game.before if game.name in _OF_THE_MOMENT else None
        now_ms = game.kickoff_ms + game.minute_now * MINUTE_MS
        found.append(State(name, game.match, before, now_ms, tuple(game.events)))
    return found
