"""What the holder of a key may do: which matches, how many events a second, how many new matches an hour.

A key that was stolen, or a sender that is out of order, must not be able to fill the log and the memory of
every reader of it. The counts are those of one process: behind ``--workers N`` a key has up to N times its
rate, and a restart forgets what was used.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from origin.canary.match import is_canary
from origin.errors import RequestError
from origin.ingest.signatures import IngestKey
from shared_state.errors import shown

__all__ = [
    "DEFAULT_NEW_MATCHES",
    "DEFAULT_RATE",
    "DefaultLimits",
    "KeyLimits",
    "check_prefix",
]

HOUR_S: Final = 3_600.0
#: Of a key without a limit of its own. A vendor that comes back after an outage sends the events of a hundred
#: matches at once, and a backfill those of a season; what lasts is a few events a second.
DEFAULT_RATE: Final = 200
DEFAULT_NEW_MATCHES: Final = 10_000
# What a key of the default rate may send at once: it pays for that in less than nine minutes.
DEFAULT_BURST: Final = 100_000.0


@dataclass(frozen=True, slots=True)
class DefaultLimits:
    """The limits of keys that have none of their own.

    Attributes:
        rate: events per second in the mean; None: no limit.
        burst: events at once.
        new_matches: matches per hour that the log did not know; None: no limit.
    """

    rate: float | None = DEFAULT_RATE
    burst: float = DEFAULT_BURST
    new_matches: int | None = DEFAULT_NEW_MATCHES

    def apply(self, key: IngestKey) -> IngestKey:
        """The key, with what it has no limit of its own for."""
        if key.rate is None and self.rate is not None:
            key = replace(key, rate=self.rate, burst=self.burst)
        if key.new_matches is None:
            key = replace(key, new_matches=self.new_matches)
        return key


@dataclass(slots=True)
class _Used:
    """What a key has used.

    Attributes:
        tokens: events that it may send at once; below zero after a delivery that was larger.
        at_s: when ``tokens`` was right.
        new_matches_s: when each new match of the last hour came, oldest first.
    """

    tokens: float
    at_s: float
    new_matches_s: deque[float] = field(default_factory=deque)


class KeyLimits:
    """The limits of all keys, by their names. For any number of threads.

    The rate is a token bucket of a second's events, or of ``burst``, that may go into debt: a delivery of any
    size is taken once there is a token, and the next one waits until it is paid for. So a delivery of 1,000
    events passes under any rate, and the mean is kept.

    Args:
        clock_s: seconds that never go back.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._used: dict[str, _Used] = {}

    def check_rate(self, key: IngestKey) -> None:
        """Refuse a delivery before its body is read, if the earlier ones are not paid for.

        Raises:
            RequestError: 429 ``rate_limited``, with ``Retry-After``.
        """
        with self._lock:
            self._check_rate(key, self._refilled(key))

    def take(self, key: IngestKey, events: int, new_matches: Sequence[str]) -> None:
        """Count a delivery against its key.

        Args:
            key: who signed it.
            events: how many it has.
            new_matches: the ids of those matches in it that the log does not have; where they are too many,
                no more than it takes to see that.

        Raises:
            RequestError: 429 ``rate_limited`` or ``too_many_new_matches``, with ``Retry-After``; nothing was
                counted.
        """
        with self._lock:
            used = self._refilled(key)
            self._check_rate(key, used)
            if key.new_matches is not None:
                self._check_new_matches(key, key.new_matches, used, new_matches)
                used.new_matches_s.extend([used.at_s] * len(new_matches))
            if key.rate is not None:
                used.tokens -= events

    def give_back(self, key: IngestKey, events: int, new_matches: int) -> None:
        """Undo ``take`` for a delivery that the log did not take."""
        with self._lock:
            used = self._refilled(key)
            used.tokens += events if key.rate is not None else 0
            for _ in range(min(new_matches, len(used.new_matches_s))):
                used.new_matches_s.pop()

    def new_matches_left(self, key: IngestKey) -> int | None:
        """How many new matches the key may bring now; None without a limit."""
        if key.new_matches is None:
            return None
        with self._lock:
            return max(0, key.new_matches - len(self._refilled(key).new_matches_s))

    def _refilled(self, key: IngestKey) -> _Used:
        now_s = self._clock_s()
        burst = max(1.0, key.rate or 0.0, key.burst)
        used = self._used.get(key.name)
        if used is None:
            used = self._used[key.name] = _Used(burst, now_s)
        if key.rate is not None:
            used.tokens = min(burst, used.tokens + (now_s - used.at_s) * key.rate)
        used.at_s = now_s
        while used.new_matches_s and now_s - used.new_matches_s[0] >= HOUR_S:
            used.new_matches_s.popleft()
        return used

    @staticmethod
    def _check_rate(key: IngestKey, used: _Used) -> None:
        # Sums of parts of a second are a little off: whoever waited as long as was asked for is let in.
        if key.rate is None or used.tokens >= 1 - 1e-6:
            return
        wait_s = max(1, math.ceil((1 - used.tokens) / key.rate))
        raise RequestError(
            429,
            "rate_limited",
            f"key {key.name} may send {key.rate:g} events a second; send this again in {wait_s} s",
            headers={"Retry-After": str(wait_s)},
            key=key.name,
            limit=key.rate,
        )

    @staticmethod
    def _check_new_matches(key: IngestKey, limit: int, used: _Used, new_matches: Sequence[str]) -> None:
        left = limit - len(used.new_matches_s)
        if len(new_matches) <= left:
            return
        # The oldest is an hour old then, so the key may begin at least one more.
        wait_s = used.new_matches_s[0] + HOUR_S - used.at_s if used.new_matches_s else HOUR_S
        retry_s = max(1, math.ceil(wait_s))
        raise RequestError(
            429,
            "too_many_new_matches",
            f"key {key.name} may begin {limit} matches an hour, and {max(0, left)} now;"
            f" this delivery begins {shown(new_matches[0])}"
            + (" and others" if len(new_matches) > 1 else "")
            + (f"; divide it, no delivery may begin more than {limit}" if len(new_matches) > limit else ""),
            headers={"Retry-After": str(retry_s)},
            key=key.name,
            limit=limit,
        )


def check_prefix(key: IngestKey, match_ids: Iterable[str]) -> None:
    """Refuse matches that a key may not write; the canary's no key may.

    Raises:
        RequestError: 403 ``match_not_allowed``, with the first of them.
    """
    for match_id in match_ids:
        if is_canary(match_id):
            raise RequestError(
                403,
                "match_not_allowed",
                f"match {shown(match_id)} is the canary's, which nobody else writes",
                key=key.name,
                match_id=match_id,
            )
        if not match_id.startswith(key.prefix):
            raise RequestError(
                403,
                "match_not_allowed",
                f"key {key.name} may write matches that begin with {key.prefix}, not {shown(match_id)}",
                key=key.name,
                match_id=match_id,
            )
