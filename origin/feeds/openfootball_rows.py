"""Which rows an openfootball file has, which match each is, and what scores it records.

A row has no id: it is the match of its date and its two teams. So a row that is entered twice, a team that is
not known yet, and a date that is one of two days can be seen only by looking at the whole file first.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from origin.errors import FeedError
from origin.feeds import Warn
from origin.feeds.jsondoc import Node, Path
from origin.feeds.matchid import (
    MATCH_ID_MAX_CHARS,
    day_comes_first,
    is_ambiguous_date,
    match_id,
    read_date,
)
from shared_state import Score

__all__ = [
    "GOALS_MAX",
    "Scores",
    "Survey",
    "read_score",
    "read_scores",
    "rows_of",
    "teams_of",
    "undetermined",
]

GOALS_MAX: Final = 199  # the record is 149; more is a file that is something else


@dataclass(slots=True)
class Survey:
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
    def of(cls, document: Node) -> Survey:
        """Look at every row up to the first that cannot be read; reading that one gives its error."""
        nodes: list[Node] = []
        with contextlib.suppress(FeedError):
            nodes.extend(node for node in rows_of(document) if isinstance(node.value, dict))
        survey = cls(day_comes_first(node.object().get("date") for node in nodes))
        groups: dict[str, list[Node]] = {}
        for node in nodes:
            rows = (node.object().get(key) for key in ("goals1", "goals2", "goals"))
            survey.goals_recorded |= any(isinstance(goals, list) and bool(goals) for goals in rows)
            try:
                if undetermined(node, survey.day_first) is None:
                    groups.setdefault(_match_id(node, survey.day_first), []).append(node)
            except FeedError:
                continue
        for base, group in groups.items():
            survey._identify(base, group)
        return survey

    def _identify(self, base: str, group: list[Node]) -> None:
        """Give the rows of one date and two teams their ids: mostly it is one row."""
        distinct = {"": group} if len(group) == 1 else _distinguished(base, group)
        for suffix, same in distinct.items():
            # Of a match that was entered before and after it was played, the result is what counts.
            kept = next((node for node in same if _has_score(node)), same[0])
            self.ids[kept.path] = base + suffix
            for node in same:
                if node is not kept:
                    where = kept.error("").where
                    self.left_out[node.path] = f"is the same date and teams as {where}, and is left out"


def _distinguished(base: str, group: list[Node]) -> dict[str, list[Node]]:
    """Rows of one date and two teams, by what is put behind their id.

    A team does not play twice a day, but "N.N." against "N.N." does: by its number, or its time.
    """
    home, away = teams_of(group[0])
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


def undetermined(node: Node, day_first: bool | None) -> FeedError | None:
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


def teams_of(node: Node) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """The home and the away team of a row, each with its name and code.

    Raises:
        FeedError: a team is missing, or no name.
    """
    if node.has("home"):
        return _team(node.at("home")), _team(node.at("away"))
    return _team(node.at("team1")), _team(node.at("team2"))


def _match_id(node: Node, day_first: bool | None) -> str:
    return match_id(read_date(node.at("date"), day_first), *teams_of(node))


def _has_score(node: Node) -> bool:
    try:
        return read_scores(node, lambda _: None).result is not None
    except FeedError:
        return False


def rows_of(document: Node) -> Iterator[Node]:
    """The rows of matches, in either form of a file.

    Raises:
        FeedError: the document has none of the forms.
    """
    if document.has("rounds"):
        for round_ in document.at("rounds").items():
            yield from round_.at("matches").items()
    elif "matches" in document.object():
        yield from document.at("matches").items()
    else:
        raise document.error("is neither openfootball form: no rounds and no matches")


def _team(node: Node) -> dict[str, str | None]:
    if isinstance(node.value, dict):
        return {"name": node.at("name").text(), "code": node.at("code").optional_text()}
    return {"name": node.text(), "code": None}


class Scores(NamedTuple):
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
        """The last score of play, without the shoot-out."""
        return self.after_extra or self.full_time


def read_scores(node: Node, warn: Warn) -> Scores:
    """Read the scores of a published row in any of the forms they had.

    Raises:
        FeedError: a score is none.
    """
    if node.has("score"):
        score = node.at("score")
        if isinstance(score.value, list):
            return Scores(score, score, full_time=read_score(score, warn))
        found = [read_score(score.at(key), warn) for key in ("ht", "ft", "et", "p")]
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
    return Scores(score, pens_node, half_time, full_time, after_extra, pens)


def _is_less(score: Score, than: Score) -> bool:
    return score.home < than.home or score.away < than.away


def read_score(node: Node, warn: Warn) -> Score | None:
    """A list of two counts; None where there is none yet: null, no count, or two nulls.

    Raises:
        FeedError: it is something else.
    """
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
