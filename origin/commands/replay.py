"""``touchline replay``: post a canonical file to a running origin, signed, in real or scaled time.

Time between two events is what their source says (``source_ts``), or else what the match clock says,
with half-time and the other breaks at their usual length. A correction of something earlier comes right
after the line before it: the file's order is the order of arrival, and is kept.

A match that is played again is a match of now: its times are moved to those of the replay. With those of its
file, the page of a match of years ago would say that updates are delayed. ``--speed max`` keeps them.
"""

from __future__ import annotations

import http.client
import json
import math
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import SplitResult, urlsplit

import click

from origin.commands.files import from_secret_file, read_from
from origin.errors import ConfigError, OriginError
from origin.feeds.canonical import events_of_lines, to_line
from origin.ingest.signatures import parse_keys, secret_of, signed_headers
from shared_state import Event, delay_ms

__all__ = [
    "Delivery",
    "Pace",
    "PlayedNow",
    "ReplayError",
    "Sender",
    "clock_ms",
    "command",
    "deliveries",
    "read_speed",
    "read_url",
]

# Minutes from kick-off at which each period begins unless the events date it, and the minute on the
# clock at that moment: two and three minutes of stoppage, 15 of half-time, the breaks of extra time.
_PERIOD_STARTS: Final = {
    "PRE": (0, 0),
    "H1": (0, 0),
    "HT": (47, 45),
    "H2": (62, 45),
    "BREAK_ET": (110, 90),
    "ET1": (115, 90),
    "ET_HT": (131, 105),
    "ET2": (132, 105),
    "BREAK_PENS": (148, 120),
    "PENS": (153, 120),
}
_MINUTE_MS: Final = 60_000
_KICK_MS: Final = 45_000
# After the last thing that happened comes the whistle.
_WHISTLE_MS: Final = 60_000

# Well below what an origin takes in one webhook by default (1,000 events, 1 MiB).
DELIVERY_MAX_EVENTS: Final = 200
DELIVERY_MAX_BYTES: Final = 256 * 1024

# About 45 s where no origin answers: longer than a restart takes, and short enough to wait for an error where
# the port is wrong.
ATTEMPTS_MAX: Final = 24
# One sender makes no reconnect storm: from its third attempt on it waits up to 4 s, not up to 30, so that
# goals are not delayed once the origin is back.
SLOWEST_ATTEMPT: Final = 2
TIMEOUT_S: Final = 30.0
ANSWER_MAX_BYTES: Final = 64 * 1024
_RETRYABLE: Final = frozenset({408, 425, 429})


class ReplayError(OriginError):
    """A delivery was refused, or the origin could not be reached."""

    code = "replay_failed"


def clock_ms(event: Event) -> int | None:
    """Milliseconds from kick-off to the event by the match clock; None after the final whistle."""
    if event.period not in _PERIOD_STARTS:
        return None
    start_min, clock_min = _PERIOD_STARTS[event.period]
    past_min = 0 if event.minute is None else max(0, event.minute + event.stoppage - clock_min)
    past_ms = past_min * _MINUTE_MS
    if event.type == "SHOOTOUT_KICK":
        past_ms = event.detail["order"] * _KICK_MS
    return start_min * _MINUTE_MS + past_ms


class Pace:
    """When each event of a file is due: milliseconds after the first, never before the one before it."""

    def __init__(self) -> None:
        self._due_ms = 0
        self._match_id = ""
        self._source_ts: int | None = None
        self._clock_ms: int | None = None

    def due_ms(self, event: Event) -> int:
        """Call it once for each event, in the order of the file."""
        if event.match_id != self._match_id:  # another clock; the time of day goes on
            self._match_id, self._clock_ms = event.match_id, None
        # A correction of an earlier moment is due at once, and does not turn the clock back.
        if event.source_ts is not None and self._source_ts is not None:
            self._due_ms += max(0, event.source_ts - self._source_ts)
        elif event.source_ts is None:
            now_ms = clock_ms(event)
            if now_ms is None and self._clock_ms is not None and event.type == "STATUS_CHANGE":
                now_ms = self._clock_ms + _WHISTLE_MS
            if now_ms is not None and self._clock_ms is not None:
                self._due_ms += max(0, now_ms - self._clock_ms)
            self._clock_ms = _later(self._clock_ms, now_ms)
        self._source_ts = _later(self._source_ts, event.source_ts)
        return self._due_ms


def _later(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)


class PlayedNow:
    """Moves the times of past events to the time at which they are played.

    The order of times stays, but at N times the speed those less than N milliseconds apart may become one.

    Args:
        begin_ms: when the replay begins, UTC milliseconds.
        speed: how many times faster than real time it is; above 0.
    """

    def __init__(self, begin_ms: int, speed: float) -> None:
        self._begin_ms = begin_ms
        self._speed = speed
        # A moment by the file's clock, and when it is played.
        self._anchor: tuple[int, int] | None = None

    def moved(self, event: Event, due_ms: int) -> Event:
        """Call it once for each event, in the order of the file, with what ``Pace`` says of it.

        A kick-off that is still to come stays: it is not what is being played.
        """
        now_ms = self._begin_ms + math.floor(due_ms / self._speed)
        source_ts, detail = event.source_ts, event.detail
        if source_ts is not None:
            self._anchor = self._anchor or (source_ts, now_ms)
            source_ts = self._time(source_ts, self._anchor)
        kickoff_ms = detail.get("kickoff_ms")
        if kickoff_ms is not None and kickoff_ms < self._begin_ms:
            # Where the source dates nothing, the match kicks off when its kick-off is posted.
            played_ms = self._time(kickoff_ms, self._anchor) if self._anchor else now_ms
            detail = {**detail, "kickoff_ms": played_ms}
        return replace(event, source_ts=source_ts, detail=detail)

    def _time(self, source_ms: int, anchor: tuple[int, int]) -> int:
        return anchor[1] + math.floor((source_ms - anchor[0]) / self._speed)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Events that are due together."""

    due_ms: int
    events: int
    body: bytes


def deliveries(
    events: Iterable[Event], *, paced: bool, played: PlayedNow | None = None
) -> Iterator[Delivery]:
    """Group events into deliveries, in order.

    Args:
        events: the file.
        paced: events that are due at different times stay apart; else all are due at once.
        played: moves the times of the events; None leaves them.
    """
    pace = Pace()
    due_ms = 0
    lines: list[bytes] = []
    size = 0
    for event in events:
        next_ms = pace.due_ms(event) if paced else 0
        line = to_line(event if played is None else played.moved(event, next_ms))
        full = len(lines) >= DELIVERY_MAX_EVENTS or size + len(line) > DELIVERY_MAX_BYTES
        if lines and (next_ms != due_ms or full):
            yield Delivery(due_ms, len(lines), b"".join(lines))
            lines, size = [], 0
        due_ms = next_ms
        lines.append(line)
        size += len(line)
    if lines:
        yield Delivery(due_ms, len(lines), b"".join(lines))


class Sender:
    """Posts deliveries over one connection, and again until each has its answer.

    Args:
        url: the origin, checked by ``read_url``.
        key: the secret that signs.
        report: called with a line about each attempt that failed and will be repeated.
        sleep_s: waits; an argument so that tests need not.
    """

    def __init__(
        self,
        url: SplitResult,
        key: bytes,
        *,
        report: Callable[[str], None],
        sleep_s: Callable[[float], None] = time.sleep,
    ) -> None:
        self._path = url.path.rstrip("/") + "/ingest/canonical"
        self._key = key
        self._report = report
        self._sleep_s = sleep_s
        self._random = random.SystemRandom()
        self._run = secrets.token_hex(8)
        self._count = 0
        connection = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._connection = connection(url.hostname or "", url.port, timeout=TIMEOUT_S)

    def send(self, delivery: Delivery) -> None:
        """Deliver; when this returns the origin's log has the events.

        Raises:
            ReplayError: it refused them, or did not answer often enough.
        """
        self._count += 1
        # One id for all attempts: an attempt whose answer was lost is taken once.
        webhook_id = f"replay_{self._run}_{self._count}"
        for attempt in range(ATTEMPTS_MAX):
            hint_ms: int | None = None
            try:
                status, code, message, hint_ms = self._post(webhook_id, delivery.body)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                status, message = 0, str(error) or type(error).__name__
            else:
                if 200 <= status < 300:  # also for a duplicate: the answer to an earlier attempt was lost
                    return
                if status < 500 and status not in _RETRYABLE:
                    raise ReplayError(f"the origin refused the events: {status} {code}: {message}")
            what = f"{status} {message}" if status else message
            if attempt + 1 < ATTEMPTS_MAX:
                wait_ms = delay_ms(min(attempt, SLOWEST_ATTEMPT), self._random.random(), hint_ms)
                self._report(f"{what}; again in {wait_ms / 1000:.1f} s")
                self._sleep_s(wait_ms / 1000)
        raise ReplayError(f"gave up after {ATTEMPTS_MAX} attempts: {what}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _post(self, webhook_id: str, body: bytes) -> tuple[int, str, str, int | None]:
        """One attempt: status, error code, message, and how long the origin asks to wait."""
        headers = signed_headers(self._key, webhook_id, int(time.time()), body)
        headers |= {"Content-Type": "application/x-ndjson", "User-Agent": "touchline-replay"}
        self._connection.request("POST", self._path, body=body, headers=headers)
        response = self._connection.getresponse()
        answer = response.read(ANSWER_MAX_BYTES)
        if not response.isclosed():  # more than an answer of ours can be; do not read it out
            self._connection.close()
        code, message = _error_of(answer)
        after = response.headers.get("Retry-After", "")
        hint_ms = int(after) * 1000 if after.isascii() and after.isdecimal() and len(after) < 7 else None
        return response.status, code, message or response.reason, hint_ms


def _error_of(answer: bytes) -> tuple[str, str]:
    """Code and message of an error answer; empty for one of another shape."""
    try:
        error = json.loads(answer)["error"]
        return str(error["code"]), " ".join(str(error["message"]).split())[:300]
    except (ValueError, TypeError, KeyError):
        return "", ""


def read_url(context: click.Context, parameter: click.Parameter, text: str) -> SplitResult:
    """The origin's URL, without a query.

    Raises:
        click.BadParameter: it is none.
    """
    try:
        url = urlsplit(text)
        port = url.port  # read here, because reading it is what checks it
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", context, parameter) from None
    plain = not url.query and not url.fragment and "@" not in url.netloc and port != 0
    if url.scheme not in ("http", "https") or not url.hostname or not plain:
        raise click.BadParameter(
            f"{text!r}: must be http://host:port or https://host:port", context, parameter
        )
    return url


def read_speed(context: click.Context, parameter: click.Parameter, text: str) -> float:
    """How many times faster than real time; 0 is as fast as possible.

    Raises:
        click.BadParameter: it is none.
    """
    if text == "max":
        return 0.0
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not math.isfinite(speed) or speed < 0:
        raise click.BadParameter(f"{text!r}: must be a number of at least 0, or max", context, parameter)
    return speed


@click.command("replay")
@click.argument("file", metavar="FILE")
@click.option("--to", "url", required=True, metavar="URL", callback=read_url, help="The origin.")
@click.option(
    "--speed", default="1", show_default=True, metavar="N", callback=read_speed,
    help="Times faster than real time; 0 or max: as fast as possible, and with the times of the file.",
)  # fmt: skip
@click.option("--match", "match_id", metavar="ID", help="Only the match with this id.")
@click.option(
    "--key", envvar="TOUCHLINE_INGEST_KEYS", show_envvar=True, metavar="SECRET",
    default=from_secret_file("TOUCHLINE_INGEST_KEYS"),
    help="Signs the deliveries; of several, the first. The environment keeps it out of the process list.",
)  # fmt: skip
def command(file: str, url: SplitResult, speed: float, match_id: str | None, key: str | None) -> None:
    """Post the events of a canonical FILE (- is standard input) to a running origin."""
    try:
        keys = parse_keys(key or "")
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="--key") from None
    if not keys:
        raise click.UsageError("nothing to sign with: give --key or set TOUCHLINE_INGEST_KEYS")

    events = read_from(file, events_of_lines)
    if match_id is not None:
        events = (event for event in events if event.match_id == match_id)
    sender = Sender(url, secret_of(keys[0]), report=lambda line: click.echo(f"touchline: {line}", err=True))
    begin_s = time.monotonic()
    played = PlayedNow(time.time_ns() // 1_000_000, speed) if speed > 0 else None
    count = 0
    try:
        for delivery in deliveries(events, paced=speed > 0, played=played):
            if speed > 0:
                time.sleep(max(0.0, begin_s + delivery.due_ms / 1000 / speed - time.monotonic()))
            sender.send(delivery)
            count += delivery.events
    except ReplayError as error:
        raise click.ClickException(f"{error} ({count} events were posted before)") from None
    finally:
        sender.close()
    click.echo(f"touchline: {count} events posted", err=True)
