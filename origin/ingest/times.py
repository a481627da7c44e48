"""Times in canonical events: what no clock can have said is refused, and an operator's status gets one.

Why there are bounds. ``source_ts`` orders the statuses of a match, so one LIVE that is dated in microseconds
stands behind every full time that comes later: the match never ends. The bounds are here and not in
``shared_state``, which has no clock, and must go on reading what older logs have.

Why a status without a time may get one. An event without ``source_ts`` stands before all dated ones
(docs/protocol.md 2.8). That is right for a feed that dates nothing: its statuses are ordered by period and
minute. It is wrong for a CANCELLED that an operator writes by hand into a match whose feed dates its
statuses: it would never count. So ``date_statuses`` dates a STATUS_CHANGE without a time where the match has
a dated one that is in force, and nowhere else:

* A feed without times is left alone. Its order does not depend on when its events came, and the origin's
  hash equals that of ``touchline fold`` over the same file.
* The time is now, or a millisecond after the latest dated status if that is later: a feed's clock may be
  ahead of ours, and an older log may have a date in the future.
* The dated event is what the log stores. The state stays a function of the set of events in the log, the
  same for every reader and in every order.
* A revision of an event that is in the log with a time keeps that time. So the same event in a second
  webhook is the same event and no conflict, and an AMEND of a status stays at its place among the others.
* An event that is in the log without a time, in this revision or a higher one, stays without: a feed that
  sends its events again must not move an old status behind a newer one.

The same webhook again appends nothing at all. Where the log does not recognise it (Kafka, in another
process), the rule for revisions applies. Only two first deliveries of one event at the same instant can be
dated differently; the later one wins then, and both say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from origin.eventlog import EventLog
from shared_state import Event, InvalidEvent, fold
from shared_state.jsontext import MAX_INTEGER

__all__ = ["EARLIEST_MS", "KICKOFF_AHEAD_MS", "SOURCE_AHEAD_MS", "check_times", "date_statuses"]

# No feed of events is older. What is before it is a time in seconds, or a clock that was never set.
EARLIEST_MS: Final = 946_684_800_000  # 2000-01-01T00:00:00Z
# As much as a signature's time may be ahead: a sender whose clock is further off cannot sign either.
SOURCE_AHEAD_MS: Final = 5 * 60_000
# Fixtures are published a season or a tournament ahead, a World Cup four years.
KICKOFF_AHEAD_MS: Final = 5 * 366 * 86_400_000


def check_times(event: Event, now_ms: int) -> None:
    """Refuse a ``source_ts`` or ``kickoff_ms`` that cannot be a time in UTC milliseconds.

    Args:
        event: as it was sent.
        now_ms: UTC milliseconds.

    Raises:
        InvalidEvent: ``source_ts`` is before 2000 or more than 5 minutes ahead, or ``detail.kickoff_ms`` of a
            MATCH_INFO is before 2000 or more than five years ahead.
    """
    _check("source_ts", event.source_ts, now_ms, SOURCE_AHEAD_MS, "5 minutes")
    if event.type == "MATCH_INFO":
        _check("detail.kickoff_ms", event.detail["kickoff_ms"], now_ms, KICKOFF_AHEAD_MS, "5 years")


def date_statuses(
    events: Sequence[Event], log: EventLog, now_ms: int, before_call: Callable[[], None] = lambda: None
) -> list[Event]:
    """The same events, in which a STATUS_CHANGE without a time has one where it would never count without.

    Args:
        events: of one delivery.
        log: what the matches have so far; it is read only for matches with such an event.
        now_ms: UTC milliseconds.
        before_call: called before each call on the log; may raise ``EventLogError``.

    Raises:
        EventLogError: the log cannot be read.
    """
    matches = {event.match_id for event in events if _is_undated_status(event)}
    dated: dict[str, list[Event]] = {}
    for match_id in matches:
        before_call()
        of_match = [event for event in events if event.match_id == match_id]
        dated[match_id] = _date_match(match_id, of_match, log, now_ms)
    # The order of the delivery is kept, match by match.
    following = {match_id: iter(of_match) for match_id, of_match in dated.items()}
    return [next(following[event.match_id]) if event.match_id in following else event for event in events]


def _date_match(match_id: str, events: Sequence[Event], log: EventLog, now_ms: int) -> list[Event]:
    """The events of one match with their times."""
    # Without what is to be dated: a delivery must not be taken for an earlier one.
    others = [event for event in events if not _is_undated_status(event)]
    known = fold(match_id, [*(record.event for record in log.read_match(match_id)), *others])
    latest_ms = _latest_dated_status_ms(known.events())
    stamp_ms = None if latest_ms is None else min(max(now_ms, latest_ms + 1), MAX_INTEGER)
    dated = []
    for event in events:
        if _is_undated_status(event):
            record = known.records.get(event.event_id)
            body = None if record is None else record.body
            is_known = body is not None and (body.source_ts is not None or body.rev >= event.rev)
            time_ms = body.source_ts if body is not None and is_known else stamp_ms
            event = replace(event, source_ts=time_ms)
        dated.append(event)
    return dated


def _is_undated_status(event: Event) -> bool:
    return event.type == "STATUS_CHANGE" and event.source_ts is None


def _latest_dated_status_ms(events: Iterable[Event]) -> int | None:
    times = (event.source_ts for event in events if event.type == "STATUS_CHANGE")
    return max((time_ms for time_ms in times if time_ms is not None), default=None)


def _check(name: str, value: int | None, now_ms: int, ahead_ms: int, ahead: str) -> None:
    latest_ms = now_ms + ahead_ms
    if value is None or EARLIEST_MS <= value <= latest_ms:
        return
    hint = ""
    if EARLIEST_MS <= value * 1_000 <= latest_ms:
        hint = "; this looks like seconds"
    elif EARLIEST_MS <= value // 1_000 <= latest_ms:
        hint = "; this looks like microseconds"
    latest = datetime.fromtimestamp(latest_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    raise InvalidEvent(
        name,
        value,
        f"must be UTC milliseconds from 2000-01-01 to {ahead} from now ({latest}){hint}",
    )
