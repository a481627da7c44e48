"""How many pods of the stream tier must be there when, from a list of fixtures: pure.

Viewers of a big match come faster than pods start (``origin.capacity.autoscaler``), so their pods start
before them. Matches that overlap are added up, since an autoscaler takes the largest of its triggers and
not their sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

__all__ = ["HORIZON_MAX", "Kickoff", "Window", "cron", "windows"]

# A cron expression has no year, so what is further away would also be true within this year.
HORIZON_MAX: Final = timedelta(days=300)


@dataclass(frozen=True, slots=True)
class Kickoff:
    """A match that is to come.

    Attributes:
        at: when it begins, with a time zone.
        viewers: how many are expected at the same time.
        name: for people.
    """

    at: datetime
    viewers: int
    name: str


@dataclass(frozen=True, slots=True)
class Window:
    """So many pods from ``begin`` until ``end``, both in UTC and full minutes."""

    begin: datetime
    end: datetime
    pods: int
    names: tuple[str, ...]


def windows(
    kickoffs: Iterable[Kickoff],
    *,
    viewers_per_pod: int,
    before: timedelta,
    after: timedelta,
    begin: datetime,
    end: datetime,
) -> Sequence[Window]:
    """The pods of each moment between ``begin`` and ``end`` in which there is a match.

    Args:
        kickoffs: the matches.
        viewers_per_pod: what an autoscaler aims at.
        before: how long before its beginning a match has its pods.
        after: how long after its beginning.
        begin: earlier windows are left out, or cut.
        end: later ones likewise.

    Returns:
        Windows that do not overlap, in their order.

    Raises:
        ValueError: a number cannot be, or ``end`` is more than ``HORIZON_MAX`` after ``begin``; it is named.
    """
    if viewers_per_pod < 1:
        raise ValueError(f"{viewers_per_pod} viewers per pod: at least 1")
    if not timedelta(0) < end - begin <= HORIZON_MAX:
        raise ValueError(
            f"{end - begin} ahead: a cron expression has no year, so at most {HORIZON_MAX.days} days"
        )
    matches = []
    for one in kickoffs:
        if one.at.tzinfo is None:
            raise ValueError(f"{one.name}: {one.at.isoformat()} has no time zone")
        if one.viewers < 0:
            raise ValueError(f"{one.name}: {one.viewers} viewers")
        first = max(_floor(one.at - before), _floor(begin))
        last = min(_ceil(one.at + after), _ceil(end))
        if first < last:
            matches.append((first, last, one))
    moments = sorted({moment for first, last, _ in matches for moment in (first, last)})
    made: list[Window] = []
    for first, last in pairwise(moments):
        running = [one for begins, ends, one in matches if begins <= first and last <= ends]
        if running:
            pods = max(1, math.ceil(sum(one.viewers for one in running) / viewers_per_pod))
            made.append(Window(first, last, pods, tuple(one.name for one in running)))
    return made


def _floor(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def _ceil(moment: datetime) -> datetime:
    floor = _floor(moment)
    return floor if floor == moment else floor + timedelta(minutes=1)


def cron(moment: datetime) -> str:
    """The cron expression, in UTC, of one minute of a year: minute, hour, day, month, any weekday."""
    utc = moment.astimezone(UTC)
    return f"{utc.minute} {utc.hour} {utc.day} {utc.month} *"
