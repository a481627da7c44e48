"""openfootball's JSON: the published files (``goals1``, ``goals2``) and the ``-full`` form with cards.

Both are read into one ``Fixture``; ``events_of`` gives its events in the order of play. What these files do
not say shapes what comes out:

* There are no ids. A match is its date and its two teams: a pair of teams meets more than once in a
  round, and a round's name is no date. An event is numbered within its kind in the order of play.
* There are no times of day for events, so no ``source_ts``: order comes from period and minute.
* Goals stand under the side that is credited, own goals included, grouped by player.
* A minute is ``90``, ``"90+6"``, or ``90`` with an ``offset``; without any, the goal has no minute.
* A score is ``{"ft": [2, 1]}``, or ``[2, 1]``; until 2020 it was ``score1`` and ``score2``, with ``i`` for
  half-time, ``et`` for after extra time and ``p`` for the shoot-out behind it. Null is no score.
* A shoot-out may be known only by its result. The kicks that were scored become events, in turns, with no
  name; the misses do not, since nobody wrote down how many there were.
* A result may stand there without goals, or with goals that do not add up to it (Ukraine - England,
  3 July 2021, lists England's four under Ukraine). The file is a record of results, so the result is
  shown, by a SCORE_OVERRIDE; the goals stay as listed, none is made up or moved; and the file's
  contradiction is a warning. Where a file records no goals at all there is none.
* A row may be entered twice, and a match of teams that are not known yet has nothing but its time. Such a
  row costs a warning at most, and not the rows after it; so does a time of day that nobody can read.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, NamedTuple

from origin.errors import FeedError
from origin.feeds import Warn
from origin.feeds.document_kind import OPENFOOTBALL, kind_of_json
from origin.feeds.fixture import SIDES, Fixture, Happening, Moment, Side, events_of, kicks_of_result
from origin.feeds.jsondoc import Node, Path
from origin.feeds.matchid import (
    MATCH_ID_MAX_CHARS,
    day_comes_first,
    is_ambiguous_date,
    kickoff_ms,
    match_id,
    read_date,
)
from shared_state import Event, Score

__all__ = ["convert"]

SOURCE: Final = "openfootball"
GOALS_MAX: Final = 199  # the record is 149; more is a file that is something else
KICKS_MAX: Final = 99  # the record is 56 kicks

_MINUTE_PATTERN: Final = re.compile(r"([0-9]{1,3})(?:\+([0-9]{1,2}))?['’]?", re.ASCII)
_ATTENDANCE_PATTERN: Final = re.compile(r",?\s*Att:.*$")
_FULL_SOURCE_PATTERN: Final = re.compile(r"openfootball/worldcup more/([0-9]{4})_full", re.ASCII)
_CARDS: Final = {"Y": "YELLOW_CARD", "Y/R": "SECOND_YELLOW", "R": "RED_CARD"}
# What these files call a match that did not simply end.
_STATUSES: Final = {
    "postponed": "POSTPONED",
    "cancelled": "CANCELLED",
    "canceled": "CANCELLED",
    "abandoned": "ABANDONED",
    "suspended": "SUSPENDED",
    "awarded": "AWARDED",
}


def convert(source: BinaryIO, warn: Warn, /) -> Iterator[Event]:
    """Yield the events of an openfootball file, match after match, each in the order of play.

    Raises:
        FeedError: it is not such a file, with the line at fault.
        OSError: it cannot be read.
    """
    document = Node.read(source)
    kind = kind_of_json(document.value)
    if kind not in (None, OPENFOOTBALL):
        raise document.error(f"is {kind}, not {OPENFOOTBALL}")
    competition = _competition(document)
    survey = _Survey.of(document)
    for node in _matches(document):
        reason = survey.left_out.get(node.path)
        if reason is not None:
            warn(node.error(reason))
            continue
        doubt = _undetermined(node, survey.day_first)
        if doubt is not None and survey.ids:
            warn(doubt)
            continue
        form = _read_full if node.has("home") else _read_published
        yield from events_of(form(_Row(node, competition, survey, warn)), warn)


@dataclass(slots=True)
class _Survey:
    """What has to be known of a whole file before its first row is read.

    Attributes:
        day_first: the order of day and month in its dates; None where nothing says.
        goals_recorded: whether it has the goals of any match.
        ids: the match id of each row that has one, by the row's path.
        left_out: why a row is not read, by its path.
    """

    day_first: bool | None
    goals_recorded: bool = False
    ids: dict[Path, str] = field(default_factory=dict)
    left_out: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Node) -> _Survey:
        """Look at every row up to the first that cannot be read; reading that one gives its error."""
        nodes: list[Node] = []
        with contextlib.suppress(FeedError):
            nodes.extend(node for node in _matches(document) if isinstance(node.value, dict))
        survey = cls(day_comes_first(node.object().get("date") for node in nodes))
        groups: dict[str, list[Node]] = {}
        for node in nodes:
            rows = (node.object().get(key) for key in ("goals1", "goals2", "goals"))
            survey.goals_recorded |= any(isinstance(goals, list) and bool(goals) for goals in rows)
            try:
                if _undetermined(node, survey.day_first) is None:
                    groups.setdefault(_match_id(node, survey.day_first), []).append(node)
            except FeedError:
                continue
        for base, group in groups.items():
            survey._identify(base, group)
        return survey

    def _identify(self, base: str, group: list[Node]) -> None:
        """Give the rows of one date and two teams their ids: mostly it is one row."""
        distinct = {"": group} if len(group) == 1 else _told_apart(base, group)
        for suffix, same in distinct.items():
            # Of a match that was entered before and after it was played, the result is what counts.
            kept = next((node for node in same if _has_score(node)), same[0])
            self.ids[kept.path] = base + suffix
            for node in same:
                if node is not kept:
                    where = kept.error("").where
                    self.left_out[node.path] = f"is the same date and teams as {where}, and is left out"


def _told_apart(base: str, group: list[Node]) -> dict[str, list[Node]]:
    """Rows of one date and two teams, by what is put behind their id.

    A team does not play twice a day, but "N.N." against "N.N." does: by its number, or its time.
    """
    home, away = _teams(group[0])
    if home != away:
        return {"": group}
    distinct: dict[str, list[Node]] = {}
    for node in group:
        number, time = node.object().get("num"), node.object().get("time")
        said = str(number) if type(number) is int else time if isinstance(time, str) else ""
        suffix = "".join(re.findall(r"[0-9]+", said, re.ASCII)[:2])
        distinct.setdefault(f"-{suffix}" if suffix else "", []).append(node)
    fits = all(len(base + suffix) <= MATCH_ID_MAX_CHARS for suffix in distinct)
    return distinct if fits else {"": group}


def _undetermined(node: Node, day_first: bool | None) -> FeedError | None:
    """Why nobody can say which match a row is: a team is not known, or its date is one of two."""
    teams = ("home", "away") if node.has("home") else ("team1", "team2")
    for key in teams:
        if not node.has(key):
            return node.at(key).error("is missing")
    date = node.at("date")
    if is_ambiguous_date(date, day_first):
        wanted = "must be a date such as 2018-06-14"
        return date.error(f"{wanted}, got {date.text()[:40]!r}, which is one of two days")
    return None


def _teams(node: Node) -> tuple[dict[str, str | None], dict[str, str | None]]:
    if node.has("home"):
        return _team(node.at("home")), _team(node.at("away"))
    return _team(node.at("team1")), _team(node.at("team2"))


def _match_id(node: Node, day_first: bool | None) -> str:
    return match_id(read_date(node.at("date"), day_first), *_teams(node))


def _has_score(node: Node) -> bool:
    try:
        return _scores(node, lambda _: None).result is not None
    except FeedError:
        return False


class _Row(NamedTuple):
    """One match of a file, and what reading it takes."""

    node: Node
    competition: str | None
    survey: _Survey
    warn: Warn


def _matches(document: Node) -> Iterator[Node]:
    if document.has("rounds"):
        for round_ in document.at("rounds").items():
            yield from round_.at("matches").items()
    elif "matches" in document.object():
        yield from document.at("matches").items()
    else:
        raise document.error("is neither openfootball form: no rounds and no matches")


def _competition(document: Node) -> str | None:
    """The competition's name; the ``-full`` files give it only by the name of their source."""
    if document.has("name"):
        return document.at("name").text()
    source = document.object().get("source")
    found = _FULL_SOURCE_PATTERN.match(source) if isinstance(source, str) else None
    return f"World Cup {found[1]}" if found else None


class _Scores(NamedTuple):
    """The scores that a row records.

    Attributes:
        node: where they stand.
        pens_node: where the shoot-out's stands.
    """

    node: Node
    pens_node: Node
    half_time: Score | None = None
    full_time: Score | None = None
    after_extra: Score | None = None
    pens: Score | None = None

    @property
    def result(self) -> Score | None:
        return self.after_extra or self.full_time


def _scores(node: Node, warn: Warn) -> _Scores:
    """Read the scores of a published row in any of the forms they had."""
    if node.has("score"):
        score = node.at("score")
        if isinstance(score.value, list):
            return _Scores(score, score, full_time=_score(score, warn))
        found = [_score(score.at(key), warn) for key in ("ht", "ft", "et", "p")]
        pens_node = score.at("p")
    else:
        found = [
            _sides(node.at(f"score1{key}"), node.at(f"score2{key}"), warn) for key in ("i", "", "et", "p")
        ]
        score, pens_node = node.at("score1"), node.at("score1p")
    half_time, full_time, after_extra, pens = found
    if pens == Score(0, 0):
        pens = None  # a shoot-out ends with a winner
    if after_extra is not None and full_time is not None and _is_less(after_extra, full_time):
        message = (
            f"the score after extra time, {after_extra.home}-{after_extra.away}, is less than that after"
        )
        warn(score.error(f"{message} 90 minutes, {full_time.home}-{full_time.away}, and is left out"))
        after_extra = None
    return _Scores(score, pens_node, half_time, full_time, after_extra, pens)


def _is_less(score: Score, than: Score) -> bool:
    return score.home < than.home or score.away < than.away


def _read_published(row: _Row) -> Fixture:
    node = row.node
    scores = _scores(node, row.warn)
    happenings = [
        Happening(
            kind="g",
            type="GOAL",
            side=side,
            at=_published_moment(goal),
            node=goal,
            player=goal.at("name").optional_text(),
            detail={
                "own_goal": goal.at("owngoal").boolean(),
                "penalty": goal.at("penalty").boolean(),
            },
        )
        for side, key in zip(SIDES, ("goals1", "goals2"), strict=True)
        for goal in _bounded(node.at(key))
    ]
    if scores.pens is not None:
        happenings += _kicks_by_result(scores.pens_node, scores.pens)
    stage = next((node.at(key).text() for key in ("group", "round") if node.has(key)), None)
    checks: dict[tuple[str, ...], Score | None] = {("H1",): scores.half_time}
    if scores.after_extra is not None:
        checks[("H1", "H2")] = scores.full_time
    return _fixture(
        row,
        info={"competition": _joined(row.competition, stage), "venue": _venue(node)},
        zone=node.at("timezone"),
        result=scores.result,
        checks={periods: known for periods, known in checks.items() if known is not None},
        pens=scores.pens,
        score_node=scores.node,
        extra_time=scores.after_extra is not None,
        happenings=happenings,
    )


def _read_full(row: _Row) -> Fixture:
    node = row.node
    happenings = [
        Happening(
            kind="g",
            type="GOAL",
            side=_side(goal),
            at=_full_moment(goal),
            node=goal,
            player=goal.at("player").optional_text(),
            detail={
                "own_goal": goal.at("own_goal").boolean(),
                "penalty": goal.at("penalty").boolean(),
            },
        )
        for goal in _bounded(node.at("goals"))
    ]
    for card in _bounded(node.at("cards")):
        colour = card.at("card").text()
        if colour not in _CARDS:
            raise card.at("card").error(f"must be one of {' '.join(_CARDS)}, got {colour!r}")
        happenings.append(
            Happening(
                "c", _CARDS[colour], _side(card), _full_moment(card), card, card.at("player").optional_text()
            )
        )
    happenings += [
        Happening(
            kind="s",
            type="SUBSTITUTION",
            side=_side(sub),
            at=_full_moment(sub),
            node=sub,
            player=sub.at("on").optional_text(),
            player2=sub.at("off").optional_text(),
        )
        for sub in _bounded(node.at("subs"))
    ]
    happenings += [
        Happening(
            kind="k",
            type="SHOOTOUT_KICK",
            side=_side(kick),
            at=Moment(None, 0),
            node=kick,
            player=kick.at("player").optional_text(),
            detail={"order": kick.at("order").integer(1, KICKS_MAX), "scored": kick.at("scored").boolean()},
        )
        for kick in _bounded(node.at("shootout"))
    ]
    venue = node.at("venue").optional_text()
    return _fixture(
        row,
        info={
            "competition": _joined(row.competition, node.at("stage").optional_text()),
            # "Lenin, Moscow, Att: 78011": how many came is not where it was.
            "venue": _ATTENDANCE_PATTERN.sub("", venue) or None if venue else None,
        },
        zone=node.at("tz"),
        result=_score(node.at("score"), row.warn),
        checks={},
        pens=_score(node.at("pens"), row.warn),
        score_node=node.at("score"),
        extra_time=node.at("aet").boolean(),
        happenings=happenings,
    )


def _fixture(
    row: _Row,
    *,
    info: dict[str, Any],
    zone: Node,
    result: Score | None,
    checks: dict[tuple[str, ...], Score],
    pens: Score | None,
    score_node: Node,
    extra_time: bool,
    happenings: list[Happening],
) -> Fixture:
    """What both forms have in common."""
    node = row.node
    home, away = _teams(node)
    date = read_date(node.at("date"), row.survey.day_first)
    status = node.at("status").optional_text()
    if status is not None and status.lower() not in _STATUSES:
        raise node.at("status").error(f"must be one of {' '.join(_STATUSES)}, got {status!r}")
    return Fixture(
        source=SOURCE,
        match_id=row.survey.ids.get(node.path) or match_id(date, home, away),
        node=node,
        info={"home": home, "away": away, "kickoff_ms": _kickoff_ms(row, date, zone), **info},
        result=result,
        checks=checks,
        pens=pens,
        score_node=score_node,
        goals_recorded=row.survey.goals_recorded,
        extra_time=extra_time,
        status=None if status is None else _STATUSES[status.lower()],
        happenings=happenings,
    )


def _kickoff_ms(row: _Row, date: datetime.date, zone: Node) -> int | None:
    """The kick-off; a time of day that cannot be read costs a warning, and not the match."""
    time = row.node.at("time")
    try:
        return kickoff_ms(date, time.optional_text(), zone.optional_text(), time)
    except FeedError as doubt:
        row.warn(doubt)
        return None


def _venue(node: Node) -> str | None:
    """``ground`` today; until 2020 a ``stadium`` and its ``city``."""
    parts = (_name(node.at("ground")) or _name(node.at("stadium")), _name(node.at("city")))
    return ", ".join(part for part in parts if part) or None


def _name(node: Node) -> str | None:
    """A name that stands alone, or in an object with its key."""
    return (node.at("name") if isinstance(node.value, dict) else node).optional_text()


def _team(node: Node) -> dict[str, str | None]:
    if isinstance(node.value, dict):
        return {"name": node.at("name").text(), "code": node.at("code").optional_text()}
    return {"name": node.text(), "code": None}


def _side(node: Node) -> Side:
    side = node.at("side").text()
    if side == "home":
        return "home"
    if side == "away":
        return "away"
    raise node.at("side").error(f"must be home or away, got {side!r}")


def _score(node: Node, warn: Warn) -> Score | None:
    """A list of two counts; None where there is none yet: null, no count, or two nulls."""
    counts = list(node.items())
    if not counts:
        return None
    if len(counts) != 2:
        raise node.error(f"must be two counts, got {len(counts)}")
    return _sides(counts[0], counts[1], warn)


def _sides(home: Node, away: Node, warn: Warn) -> Score | None:
    """A score of two counts, each of which may be null."""
    if home.value is None and away.value is None:
        return None
    if home.value is None or away.value is None:
        missing = home if home.value is None else away
        warn(missing.error("is missing beside the other side's count: the score is left out"))
        return None
    return Score(home.integer(0, GOALS_MAX), away.integer(0, GOALS_MAX))


def _bounded(node: Node) -> list[Node]:
    items = list(node.items())
    if len(items) > GOALS_MAX:
        raise node.error(f"must have at most {GOALS_MAX} entries, got {len(items)}")
    return items


def _published_moment(goal: Node) -> Moment:
    """A minute as the published files write it: ``90``, ``"90+6"``, or ``90`` with ``offset``."""
    minute = goal.at("minute")
    if minute.value is None:
        return Moment(None, 0)
    if isinstance(minute.value, str):
        found = _MINUTE_PATTERN.fullmatch(minute.value.strip())
        if found is None:
            raise minute.error(f"must be a minute such as 90 or 90+6, got {minute.value[:20]!r}")
        return Moment(int(found[1]), int(found[2] or 0))
    offset = goal.at("offset").integer(0, 99) if goal.has("offset") else 0
    return Moment(minute.integer(0, 999), offset)


def _full_moment(node: Node) -> Moment:
    if not node.has("minute"):
        return Moment(None, 0)
    stoppage = node.at("stoppage").integer(0, 99) if node.has("stoppage") else 0
    return Moment(node.at("minute").integer(0, 999), stoppage)


def _kicks_by_result(node: Node, pens: Score) -> list[Happening]:
    """The scored kicks of a shoot-out of which only the result is known."""
    if max(pens) * 2 > KICKS_MAX:
        raise node.error(f"must be a shoot-out's result, got {list(pens)}")
    return [
        Happening("k", "SHOOTOUT_KICK", side, Moment(None, 0), node, detail={"order": order, "scored": True})
        for order, side in enumerate(kicks_of_result(pens), start=1)
    ]


def _joined(competition: str | None, stage: str | None) -> str | None:
    return ", ".join(part for part in (competition, stage) if part) or None
