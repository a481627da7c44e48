"""The long polls of one match: requests that wait for the next delta, or for the end of their slice.

Silence is an answer that caches may keep for ever, so it must be true. An empty answer is given only after
the bus has said, *after* the end of the slice, that the match still stands at that id. Whatever keeps the bus
from saying so (a fault, a delta under way, a clock that was put back) leads to a delta or to ``503``.

All who wait for one address get the same bytes, made once.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from origin.bus import Bus, Published
from origin.errors import RequestError
from origin.stream.http.cors import READABLE_BY_ANY_STREAM
from origin.stream.http.framing import answer
from origin.stream.http.long_poll_request import CACHED_BRIEFLY, SLICE_MS
from origin.stream.http.stream_request import StreamRequest
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.decisions import Decision, Refuse, Reply, Ticket
from origin.stream.hub.metrics import StreamMetrics
from origin.stream.hub.replay_window import ReplayWindow
from shared_state import DeltaId
from shared_state.jsontext import Json, compact

__all__ = ["ANSWER_MAX_BYTES", "LongPollHost", "LongPolls"]

_T = TypeVar("_T")

#: Deltas of one answer, unless the first alone is longer; the rest follows at ``next``.
ANSWER_MAX_BYTES: Final = 65_536
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_GAP: Final = "public, max-age=0, s-maxage=5"
# An ended match may still be corrected, so that answer is no fact for ever.
_ENDED: Final = "public, max-age=0, s-maxage=5"
# The slices of different matches end spread over this, or all waiters of a server would be answered at once.
_SPREAD_MS: Final = 1_000
# Answers kept between two deltas, and for how long their time may be given out.
_ANSWERS_MAX: Final = 32
_ANSWER_KEPT_MS: Final = 1_000
# While a delta that the bus has is on its way here, the bus is asked again so often.
_ASK_AGAIN_S: Final = 0.5
_AGAIN_MIN_S: Final = 0.05
_HEADERS: Final = {
    "Content-Type": "application/json",
    "X-Content-Type-Options": "nosniff",
    **READABLE_BY_ANY_STREAM,
}


def _now_ms() -> int:
    """The server's time, which is what slices are counted by."""
    return time.time_ns() // 1_000_000


class LongPollHost(Protocol):
    """What the long polls of a match need of the hub."""

    bus: Bus
    config: StreamConfig
    metrics: StreamMetrics
    parked: int

    def ask(self, read: Callable[[], _T], done: Callable[[_T | Exception], None]) -> None:
        """Have ``read`` run on a bus reader, and ``done`` with what it returned or raised back here."""

    def call_later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Have ``action`` run on the reactor's thread after a time."""

    def decide_unanswered(self, request: StreamRequest) -> Decision:
        """The bus did not answer; the client must come again."""

    def count_address(self, address: str, more: int) -> None:
        """A request of an address is held from now on (1), or no more (-1)."""


class LongPolls:
    """See the module. Everything runs on the reactor's thread.

    Args:
        is_over: whether the match has ended.
        fill_gap: reads what the bus has and has not delivered here.
    """

    def __init__(
        self,
        host: LongPollHost,
        match_id: str,
        *,
        is_over: Callable[[], bool],
        fill_gap: Callable[[], None],
    ) -> None:
        self._host = host
        self._match_id = match_id
        self._is_over = is_over
        self._fill_gap = fill_gap
        self._spread_ms = zlib.crc32(match_id.encode()) % _SPREAD_MS
        self._window: ReplayWindow | None = None
        # By slice. All of them are at the head: when it moves, all of them are answered.
        self._held: dict[int, dict[Ticket, None]] = {}
        # The slices for which a timer runs.
        self._timed: set[int] = set()
        self.size = 0
        self._asking = False
        self._behind_since: DeltaId | None = None
        # The bus said at this time that the match stands at this id.
        self._silent: tuple[DeltaId, int] | None = None
        self._bodies: dict[DeltaId, tuple[int, int, dict[bool, bytes]]] = {}

    # --- requests

    def decide(self, request: StreamRequest, window: ReplayWindow) -> Decision | None:
        """What a request gets at once; None if it has to wait, for the bus or for a delta."""
        self._window = window
        after, head = request.after, window.head
        assert after is not None  # noqa: S101 - the address names one
        if request.method == "HEAD":
            return Reply(_without_body(request), request.keep_alive)
        now_slice = _now_ms() // SLICE_MS
        if request.slice > now_slice + 1:
            return self._refuse(
                request,
                404,
                "future_slice",
                f"slice {request.slice} has not begun: it is slice {now_slice}",
                CACHED_BRIEFLY,
            )
        if after.epoch > head.epoch:
            return self.decide_unknown_id(request)
        if after.epoch < head.epoch:
            return self.decide_gap(request)
        if after == head:
            if self._is_over():
                return self._ended(request)
            silent = self._silent
            if silent is not None and silent[0] == head and self._ends_ms(request.slice) <= silent[1]:
                return self._empty(request)
            return None
        resumed = window.answer(after)
        if resumed is None:
            return None  # ahead of this worker, or behind its window: only the bus knows
        return self.decide_run(request, resumed.missed)

    def decide_run(self, request: StreamRequest, missed: Sequence[Published]) -> Decision:
        """The deltas after the id of a request, as many as one answer has."""
        after, window = request.after, self._window
        assert after is not None  # noqa: S101
        assert window is not None  # noqa: S101
        self._host.metrics.polls["deltas"] += 1
        now_ms, keep_alive = _now_ms(), request.keep_alive
        known = self._bodies.get(after)
        if known is not None and known[0] == window.version and 0 <= now_ms - known[1] < _ANSWER_KEPT_MS:
            variants = known[2]
        else:
            if len(self._bodies) >= _ANSWERS_MAX:
                self._bodies.clear()
            variants = {}
            self._bodies[after] = (window.version, now_ms, variants)
        data = variants.get(keep_alive)
        if data is None:
            run: list[Published] = []
            size = 0
            for published in missed:
                size += len(published.delta)
                if run and size > ANSWER_MAX_BYTES:
                    break
                run.append(published)
            deltas = ",".join(f'["{one.id}",{one.delta.decode()}]' for one in run)
            body = self._body(after, deltas, run[-1].id, now_ms // SLICE_MS, now_ms)
            data = variants[keep_alive] = self._answer(body, _IMMUTABLE, keep_alive)
        return Reply(data, keep_alive)

    def decide_gap(self, request: StreamRequest) -> Decision:
        """What came after the id is not kept any more, or is of another epoch."""
        assert self._window is not None  # noqa: S101
        self._host.metrics.polls["gap"] += 1
        return self._refuse(
            request,
            410,
            "gap",
            f"what came after {request.after} is not kept any more; the match is at {self._window.head}",
            _GAP,
            snapshot=f"/api/match/{self._match_id}/state",
            next={"id": str(self._window.head), "slice": _now_ms() // SLICE_MS},
        )

    def decide_unknown_id(self, request: StreamRequest) -> Decision:
        """Neither this worker nor the bus has reached that id."""
        assert self._window is not None  # noqa: S101
        message = f"match {self._match_id!r} has no id {request.after}; it is at {self._window.head}"
        return self._refuse(request, 404, "unknown_id", message, CACHED_BRIEFLY)

    def _empty(self, request: StreamRequest) -> Reply:
        """Nothing came until the end of the slice, and the bus has said so since."""
        after, slice_ = request.after, request.slice
        assert after is not None  # noqa: S101
        self._host.metrics.polls["silence"] += 1
        now_ms = _now_ms()
        following = max(slice_ + 1, now_ms // SLICE_MS)
        body = self._body(after, "", after, following, (slice_ + 1) * SLICE_MS)
        return Reply(self._answer(body, _IMMUTABLE, request.keep_alive), request.keep_alive)

    def _ended(self, request: StreamRequest) -> Reply:
        after, now_ms = request.after, _now_ms()
        assert after is not None  # noqa: S101
        self._host.metrics.polls["ended"] += 1
        body = self._body(after, "", after, now_ms // SLICE_MS, now_ms, ended=True)
        return Reply(self._answer(body, _ENDED, request.keep_alive), request.keep_alive)

    def _body(
        self, after: DeltaId, deltas: str, last: DeltaId, slice_: int, as_of: int, *, ended: bool = False
    ) -> bytes:
        return (
            f'{{"match_id":"{self._match_id}","after":"{after}","deltas":[{deltas}],'
            f'"next":{compact({"id": str(last), "slice": slice_})},"as_of":{as_of}'
            + (',"ended":true}' if ended else "}")
        ).encode()

    def _answer(self, body: bytes, policy: str, keep_alive: bool) -> bytes:
        return answer(200, {**_HEADERS, "Cache-Control": policy}, body, keep_alive=keep_alive)

    def _refuse(
        self, request: StreamRequest, status: int, code: str, message: str, policy: str, **evidence: Json
    ) -> Refuse:
        error = RequestError(
            status, code, message, headers={"Cache-Control": policy}, match_id=self._match_id, **evidence
        )
        return Refuse(error, keep_alive=request.keep_alive)

    # --- those who wait

    def hold(self, ticket: Ticket) -> None:
        """Keep a request that is at the head until a delta comes or its slice ends."""
        slice_ = ticket.request.slice
        group = self._held.setdefault(slice_, {})
        group[ticket] = None
        self.size += 1
        self._host.metrics.polls_held += 1
        self._host.count_address(ticket.address, 1)
        if slice_ not in self._timed:
            self._timed.add(slice_)
            left_ms = self._ends_ms(slice_) - _now_ms()
            # However the clock moves meanwhile, nobody is held for longer than the slice is away, and a bit.
            give_up_s = time.monotonic() + max(0, left_ms) / 1_000 + self._host.config.bus_wait_s
            self._look_at(slice_, give_up_s)

    def discard(self, ticket: Ticket) -> bool:
        """Forget a request; whether it was held here."""
        group = self._held.get(ticket.request.slice)
        if group is None or ticket not in group:
            return False
        del group[ticket]
        self.size -= 1
        self._host.metrics.polls_held -= 1
        self._host.count_address(ticket.address, -1)
        self._host.parked -= 1
        return True

    def tickets(self) -> list[Ticket]:
        """All that are held."""
        return [ticket for group in self._held.values() for ticket in group]

    def head_moved(self, window: ReplayWindow) -> None:
        """A delta came, or deltas were lost for good: all who wait get that."""
        for ticket in self.tickets():
            decision = self.decide(ticket.request, window)
            # A window that cannot answer somebody who was at the head has lost deltas.
            self._resolve(ticket, self.decide_gap(ticket.request) if decision is None else decision)

    def _resolve(self, ticket: Ticket, decision: Decision) -> None:
        if self.discard(ticket):
            ticket.resolve(decision)

    # --- the end of a slice

    def _ends_ms(self, slice_: int) -> int:
        """When a slice is over for this match."""
        return (slice_ + 1) * SLICE_MS + self._spread_ms

    def _look_at(self, slice_: int, give_up_s: float) -> None:
        """Ask the bus about a slice that is over; else look again when it should be."""
        group = self._held.get(slice_)
        if not group:
            self._held.pop(slice_, None)
            self._timed.discard(slice_)
            return
        now_s = time.monotonic()
        if now_s >= give_up_s:
            for ticket in list(group):
                self._resolve(ticket, self._host.decide_unanswered(ticket.request))
            self._look_at(slice_, give_up_s)
            return
        wait_s = (self._ends_ms(slice_) - _now_ms()) / 1_000
        if wait_s <= 0:
            self._ask()
            wait_s = _ASK_AGAIN_S
        wait_s = max(_AGAIN_MIN_S, min(wait_s, give_up_s - now_s))
        self._host.call_later(wait_s, partial(self._look_at, slice_, give_up_s))

    def _ask(self) -> None:
        """Ask the bus where the match stands: one question under way, whoever waits."""
        if not self._asking:
            self._asking = True
            self._host.ask(partial(self._host.bus.head, self._match_id), partial(self._said, _now_ms()))

    def _said(self, asked_ms: int, found: DeltaId | Exception | None) -> None:
        self._asking = False
        window = self._window
        if window is None:
            return
        due = [ticket for ticket in self.tickets() if self._ends_ms(ticket.request.slice) <= asked_ms]
        if found == window.head:
            self._silent, self._behind_since = (window.head, asked_ms), None
            for ticket in due:
                self._resolve(ticket, self._empty(ticket.request))
        elif isinstance(found, DeltaId) and found > window.head:
            # It is on its way, and answers them. If the next look finds the same, it is lost.
            if self._behind_since == window.head:
                self._fill_gap()
            self._behind_since = window.head
        else:
            # The bus does not answer, or has lost what this worker has: nobody knows whether it was silent.
            for ticket in due:
                self._resolve(ticket, self._host.decide_unanswered(ticket.request))


def _without_body(request: StreamRequest) -> bytes:
    """The answer to a HEAD, which waits for nothing and says nothing about silence."""
    head = answer(200, {**_HEADERS, "Cache-Control": "no-store"}, b"", keep_alive=request.keep_alive)
    return head.replace(b"Content-Length: 0\r\n", b"")
