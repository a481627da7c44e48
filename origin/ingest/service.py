"""Ingest: a signed webhook becomes events in the log, all of them or none.

It answers only after the log has them on disk. Whatever is wrong is refused with its own 4xx before
anything is written: bad input changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Final

from origin.errors import EventLogError, MatchPrunedError, MatchTooLargeError, RequestError
from origin.eventlog import Appended, EventLog, SignedBy
from origin.eventlog.limits import MatchLimits
from origin.ingest.key_file import KeyFile
from origin.ingest.limits import DefaultLimits, KeyLimits, check_prefix
from origin.ingest.signatures import IngestKey, find_signer, read_headers, with_names
from origin.ingest.times import check_times, date_statuses
from origin.tracing import NO_TRACES, Tracer, read_traceparent
from shared_state import Event, InvalidEvent
from shared_state.errors import shown
from shared_state.jsontext import Json, JsonObject, parse

__all__ = ["FEEDS", "OPERATOR_PREFIX", "Accepted", "Ingest", "read_events"]

# What `POST /ingest/<feed>` takes. A vendor's own format is read by `touchline ingest`, a process of its own:
# parsing a vendor's document is not the origin's work.
FEEDS = ("canonical",)
#: Before the name of an operator in the log's records. No key of webhooks can have a colon in its name.
OPERATOR_PREFIX: Final = "console:"
# Matches that the log is known to have, so that it is not asked again: a few MB. On Kafka asking is dear.
KNOWN_MATCHES_MAX = 50_000
# After this no further call on the log is begun for a webhook: each of them has a deadline of its own.
CALLS_S = 5.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was acknowledged.

    Attributes:
        events: how many the log has under this webhook-id.
        matches: the ids of the matches that the body names, sorted.
        duplicate: whether the log had them before this delivery, which then added nothing.
        appended: the events that this delivery added, as they came.
        received_ms: when it came, UTC milliseconds.
        key_name: the name of the key that signed it.
        traceparent: the trace that it belongs to; empty for none.
    """

    webhook_id: str
    events: int
    matches: Sequence[str]
    duplicate: bool = False
    appended: Sequence[Event] = ()
    received_ms: int = 0
    key_name: str = ""
    traceparent: str = ""

    def to_json(self) -> JsonObject:
        """The body of the answer."""
        body: JsonObject = {
            "accepted": self.events,
            "webhook_id": self.webhook_id,
            "matches": list(self.matches),
        }
        return {**body, "duplicate": True} if self.duplicate else body


class Ingest:
    """Takes webhooks.

    Args:
        keys: the secrets that may sign; several while one is being replaced.
        now_s: UTC seconds, for the age of a signature and of an event.
        key_file: has the keys, instead of ``keys``.
        match_limits: how large a match may become; None: the defaults.
        clock_s: seconds that never go back, for the limits of keys.
        default_limits: of keys that have none of their own; None: none.
        tracer: for the trace of each webhook. Its record has the ``traceparent``.
    """

    def __init__(
        self,
        log: EventLog,
        keys: Sequence[bytes | IngestKey],
        *,
        max_events: int,
        now_s: Callable[[], float],
        key_file: KeyFile | None = None,
        match_limits: MatchLimits | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        default_limits: DefaultLimits | None = None,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        self._log = log
        self._tracer = tracer
        self._fixed_keys = with_names(keys)
        self._key_file = key_file
        self._max_events = max_events
        self._now_s = now_s
        self._match_limits = match_limits or MatchLimits()
        self._clock_s = clock_s
        self._key_limits = KeyLimits(clock_s)
        self._default_limits = default_limits or DefaultLimits(rate=None, new_matches=None)
        self._known_matches: set[str] = set()

    def check(self, feed: str, headers: Mapping[str, str]) -> None:
        """Refuse what can be refused before its body is read.

        Args:
            feed: as in the path.
            headers: looked up by their lower-case names.

        Raises:
            RequestError: as ``accept`` would: 404 no such feed; 403 no key is configured; 400 or 401 by
                ``signatures.read_headers``.
        """
        self._keys_for(feed)
        read_headers(headers, self._now_s())

    def accept(self, feed: str, headers: Mapping[str, str], body: bytes) -> Accepted:
        """Verify, read, append, acknowledge.

        Args:
            feed: as in the path.
            headers: looked up by their lower-case names.
            body: the bytes as they came.

        Raises:
            RequestError: 404 no such feed; 403 no key is configured, or not these matches by this key; 400
                or 401 by ``signatures.verify``; 429 over a limit of the key; 400 not JSON; 422 not events,
                or of a match that is too large or was removed from the log; 413 too many; 503 the log did
                not take them. Nothing was changed.
        """
        started_ns = time.time_ns()
        keys = self._keys_for(feed)
        now_s = self._now_s()
        webhook_id, signer = find_signer(headers, body, [key.secret for key in keys], now_s)
        key = self._default_limits.apply(keys[signer])
        if not self._tracer.on:
            return self._accept_signed(feed, webhook_id, key, body, now_s, "")
        # Only now: a stranger must not begin traces, nor join ours.
        span = self._tracer.start(
            "ingest",
            read_traceparent(headers.get("traceparent")),
            start_ns=started_ns,
            attributes={"touchline.webhook_id": webhook_id, "touchline.key_name": key.name},
        )
        try:
            accepted = self._accept_signed(feed, webhook_id, key, body, now_s, span.traceparent)
        except RequestError as error:
            span.end(error=error.code)
            raise
        except BaseException as error:
            span.end(error=type(error).__name__)
            raise
        span.end(
            {"touchline.events": accepted.events, "touchline.duplicate": str(accepted.duplicate).lower()}
        )
        return accepted

    def _accept_signed(
        self, feed: str, webhook_id: str, key: IngestKey, body: bytes, now_s: float, traceparent: str
    ) -> Accepted:
        """Take a webhook whose signature is good.

        Raises:
            RequestError: as ``accept``.
        """
        self._key_limits.check_rate(key)
        events: Sequence[Event] = read_events(body, self._max_events, int(now_s * 1_000))
        return self._take(key, f"{feed}:{webhook_id}", webhook_id, events, now_s, traceparent)

    def accept_from_operator(self, operator: str, entry_id: str, events: Sequence[Event]) -> Accepted:
        """Check and append what a signed-in operator entered, under the rules of signed webhooks.

        Args:
            operator: the name that each record gets as that of its key, behind ``console:``, which no key of
                webhooks can begin with.
            entry_id: as a webhook-id: the same entry again appends nothing.
            events: at least one.

        Raises:
            RequestError: 422 a time that no clock can have said, or a match that is too large or was removed
                from the log; 413 too many; 429 over a limit of the operator; 503 the log did not take them.
                Nothing was changed.
        """
        now_s = self._now_s()
        _check_count(len(events), self._max_events)
        for number, event in enumerate(events, start=1):
            try:
                check_times(event, int(now_s * 1_000))
            except InvalidEvent as error:
                raise _not_an_event(number, error) from None
        key = self._default_limits.apply(IngestKey(f"{OPERATOR_PREFIX}{operator}", b""))
        self._key_limits.check_rate(key)
        return self._take(key, f"{OPERATOR_PREFIX}{entry_id}", entry_id, events, now_s, "")

    def _take(
        self,
        key: IngestKey,
        batch: str,
        webhook_id: str,
        events: Sequence[Event],
        now_s: float,
        traceparent: str,
    ) -> Accepted:
        """Append what is whole and allowed by its sender; see ``accept`` for what it raises."""
        matches = sorted({event.match_id for event in events})
        check_prefix(key, matches)
        received = events
        until_s = self._clock_s() + CALLS_S
        try:
            count_before = self._check_size(batch, events, lambda: self._check_time(until_s))
            if count_before is not None:
                return Accepted(webhook_id, count_before, matches, duplicate=True, key_name=key.name)
            new_matches = self._new_matches(key, matches, until_s)
            self._key_limits.take(key, len(events), new_matches)
            try:
                events = date_statuses(
                    events, self._log, int(now_s * 1_000), lambda: self._check_time(until_s)
                )
                self._check_time(until_s)
                appended = self._append(events, batch, SignedBy(key.name, webhook_id), traceparent)
            except BaseException:
                self._key_limits.give_back(key, len(events), len(new_matches))
                raise
        except EventLogError as error:
            raise RequestError(
                503, error.code, f"nothing was taken, send it again: {error}", headers={"Retry-After": "1"}
            ) from error
        except MatchPrunedError as error:
            raise RequestError(422, "match_pruned", f"nothing was taken: {error}", **error.evidence) from None
        except MatchTooLargeError as error:
            raise RequestError(
                422, "match_too_large", f"nothing was taken: {error}", **error.evidence
            ) from None
        # Success, and not an error: a sender whose answer was lost repeats the delivery until it sees a 2xx.
        return Accepted(
            webhook_id,
            appended.count,
            matches,
            duplicate=not appended.fresh,
            appended=received if appended.fresh else (),
            received_ms=int(now_s * 1_000),
            key_name=key.name,
            traceparent=traceparent,
        )

    def _append(self, events: Sequence[Event], batch: str, signed_by: SignedBy, traceparent: str) -> Appended:
        if not traceparent:
            return self._log.append(events, key=batch, signed_by=signed_by)
        span = self._tracer.start("eventlog append", traceparent)
        try:
            return self._log.append(events, key=batch, signed_by=signed_by, traceparent=traceparent)
        finally:
            span.end()

    def _check_size(self, batch: str, events: Sequence[Event], before_call: Callable[[], None]) -> int | None:
        """Refuse a delivery that would make a match too large.

        One that was taken before adds nothing, so it is not refused, even if it filled the match itself.

        Args:
            batch: the key under which the log has the delivery, if it has it.
            events: of the delivery.
            before_call: called before each call on the log; raises ``EventLogError`` where there is no time.

        Returns:
            The number of events that the log has of it, where it was taken before and its match is full.

        Raises:
            MatchTooLargeError: it was not taken before.
            EventLogError: the log cannot be read.
        """
        try:
            self._match_limits.check(self._log, events, before_call)
        except MatchTooLargeError:
            count = self._log.count_under(batch)
            if count is None:
                raise
            return count
        return None

    def _check_time(self, until_s: float) -> None:
        """Raise an error where the log has been so slow that no further call on it should begin.

        Raises:
            EventLogError: it has.
        """
        if self._clock_s() > until_s:
            raise EventLogError(f"the log is slow: after {CALLS_S:g} s it had not answered every question")

    def _new_matches(self, key: IngestKey, matches: Sequence[str], until_s: float) -> list[str]:
        """Those matches that the log does not have, as far as the key's limit needs to know.

        Raises:
            EventLogError: the log cannot be read, or not by ``until_s``.
        """
        left = self._key_limits.new_matches_left(key)
        new: list[str] = []
        if left is None:
            return new
        for match_id in matches:
            if match_id in self._known_matches:
                continue
            self._check_time(until_s)
            if next(iter(self._log.read_match(match_id)), None) is None:
                new.append(match_id)
                if len(new) > left:
                    break  # it is refused: the others need not be looked for
                continue
            if len(self._known_matches) >= KNOWN_MATCHES_MAX:
                self._known_matches.clear()
            self._known_matches.add(match_id)
        return new

    def _keys_for(self, feed: str) -> Sequence[IngestKey]:
        """The keys that may sign now.

        Raises:
            RequestError: 404 no such feed; 403 there is no key.
        """
        if feed not in FEEDS:
            raise RequestError(
                404, "unknown_feed", f"no feed {shown(feed)}; known: {' '.join(FEEDS)}", feed=feed
            )
        keys = self._fixed_keys if self._key_file is None else self._key_file.current()
        if not keys:
            raise RequestError(
                403, "ingest_disabled", "no ingest key is configured; set TOUCHLINE_INGEST_KEYS"
            )
        return keys


def read_events(body: bytes, max_events: int, now_ms: int) -> list[Event]:
    """Canonical events: one JSON object, an array of them, or one object a line.

    Args:
        body: the bytes as they came.
        max_events: more are refused.
        now_ms: UTC milliseconds; times that are far from it are refused.

    Raises:
        RequestError: 400 or 422 with the line and what is wrong there; 413 for too many.
    """
    values = _read_values(body, max_events)
    if not values:
        raise RequestError(400, "empty_body", "there is no event in the body")
    _check_count(len(values), max_events)
    events = []
    for number, value in enumerate(values, start=1):
        try:
            event = Event.from_json(value)
            check_times(event, now_ms)
        except InvalidEvent as error:
            raise _not_an_event(number, error) from None
        events.append(event)
    return events


def _not_an_event(number: int, error: InvalidEvent) -> RequestError:
    return RequestError(422, error.code, f"event {number}: {error}", event=number, field=error.field)


def _check_count(events: int, max_events: int) -> None:
    if events > max_events:
        raise RequestError(
            413, "too_many_events", f"{events} events; at most {max_events} in one webhook", limit=max_events
        )


def _read_values(body: bytes, max_events: int) -> list[Json]:
    """One value, the items of an array, or a value a line; none of an empty body.

    Raises:
        RequestError: 400 for a line that is not JSON; 413 for more lines than ``max_events``.
    """
    if not body.strip():
        return []
    try:
        whole = parse(body)
    except ValueError as error:
        return _read_lines(body, max_events, error)
    return whole if isinstance(whole, list) else [whole]


def _read_lines(body: bytes, max_events: int, as_one: ValueError) -> list[Json]:
    """A value a line.

    Args:
        body: several lines, or what is no value at all.
        max_events: more lines than this are refused before the second is parsed.
        as_one: why the whole is not one value.

    Raises:
        RequestError: 400 with the line that is not JSON; 413 for too many lines.
    """
    lines = [(number, line) for number, line in enumerate(body.splitlines(), start=1) if line.strip()]
    values: list[Json] = []
    for number, line in lines:
        try:
            values.append(parse(line))
        except ValueError as error:
            if not values and (len(lines) == 1 or isinstance(error, JSONDecodeError)):
                # Not even the first line is a value: one value was meant, over several lines.
                at = as_one.lineno if isinstance(as_one, JSONDecodeError) else number
                raise RequestError(400, "bad_json", f"the body is not JSON: {as_one}", line=at) from None
            raise RequestError(400, "bad_json", f"line {number} is not JSON: {error}", line=number) from None
        # Only now: where the first line is no value, one value was meant, and its error says more.
        # Counting costs 0.1 µs a line, parsing one 3 µs and more.
        _check_count(len(lines), max_events)
    return values
