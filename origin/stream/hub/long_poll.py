"""The held long-polls of one match: requests that wait for the end of their slice or for the next delta.

All that are held stand at the match's head, since whoever stands before it is answered at once. So a delta
answers all of them with the same bytes. What one costs is its connection and its ticket; no thread, no timer.

Every answer stays true for ever. Deltas are a contiguous run. Silence is only said once its slice is over,
with the head still where it was and nothing that the bus said still to be handled. Where the bus leaves that
open for longer, the held are refused: a cache in front does not wait for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from origin.bus import Published
from origin.errors import RequestError
from origin.ladder.advice import Advice
from origin.stream.http.cache_headers import GONE, LATEST_SECOND, cache_headers
from origin.stream.http.framing import head_of
from origin.stream.http.long_poll import accepted_ms_of, body, held_head, run_of, whole
from origin.stream.http.stream_request import StreamRequest
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.decisions import Decision, Refuse, Reply, Ticket
from origin.stream.hub.metrics import StreamMetrics
from origin.stream.hub.resume import Resumed
from shared_state import DeltaId

__all__ = ["LongPollHost", "LongPolls"]


# For so long a request is held on when its slice is over and the bus has not said whether there was silence.
# It is longer than a burst is held together, and short of what caches wait for (25 s, two slices being 20).
_UNCLEAR_MAX_MS: Final = 2_500


class LongPollHost(Protocol):
    """What held requests need of the hub."""

    config: StreamConfig
    metrics: StreamMetrics
    advice: Advice
    parked: int  #: how many connections are parked

    def poll_held(self, address: str, count: int) -> None:
        """So many more (or fewer) held requests of an address."""

    def decide_unanswered(self, request: StreamRequest) -> Decision:
        """The bus did not answer; the client must come again."""


class LongPolls:
    """See the module. Everything runs on the reactor's thread.

    Args:
        host: the hub.
        match_id: the match.
        now_ms: the server's time, UTC milliseconds.
    """

    def __init__(self, host: LongPollHost, match_id: str, now_ms: Callable[[], int] | None = None) -> None:
        self._host = host
        self._match_id = match_id
        self._now_ms = now_ms or _now_ms
        self._slice_ms = round(host.config.long_poll_slice_s * 1_000)
        # By slice. A group has somebody in it.
        self._held: dict[int, dict[Ticket, None]] = {}
        # Since when the bus leaves open whether there was silence, UTC milliseconds; None if it does not.
        self._unclear_since_ms: int | None = None

    def __len__(self) -> int:
        """How many requests are held."""
        return sum(map(len, self._held.values()))

    def decide(
        self, request: StreamRequest, resumed: Resumed, *, ended: bool, quiet: Callable[[], bool]
    ) -> Decision | None:
        """Answer a request; None if it is to be held.

        Args:
            request: with the id and the slice.
            resumed: what there is behind the id.
            ended: whether the match is over.
            quiet: whether nothing that the bus said is still to be handled. It is asked after the clock is
                read: what comes in between is after the answer's date.
        """
        now_ms = self._now_ms()
        current = now_ms // self._slice_ms
        if request.slice_ > current + 1:
            return self._still_to_come(request, current)
        if resumed.gap:
            return self._gone(request, resumed.position)
        after = request.after
        assert after is not None  # noqa: S101 - the request has one
        if resumed.missed:
            return self._reply(request, "deltas", self._deltas(after, resumed.missed, now_ms, quiet))
        if ended and quiet():
            return self._reply(
                request, "ended", self._silence(after, current, now_ms, ended=True), ended=True
            )
        if request.slice_ < current and quiet():
            end_ms = (request.slice_ + 1) * self._slice_ms
            return self._reply(request, "silence", self._silence(after, current, end_ms))
        if request.method == "HEAD":
            # To say how long the answer will be it would have to be held.
            return Reply(held_head(keep_alive=request.keep_alive), request.keep_alive)
        return None

    def hold(self, ticket: Ticket) -> None:
        """Hold a request until its slice ends or a delta comes."""
        self._held.setdefault(ticket.request.slice_, {})[ticket] = None
        self._count(ticket, 1)

    def cancel(self, ticket: Ticket) -> None:
        """The client of a held request has gone."""
        group = self._held.get(ticket.request.slice_, {})
        if ticket in group:
            del group[ticket]
            if not group:
                del self._held[ticket.request.slice_]
            self._count(ticket, -1)

    def broadcast(self, fresh: Sequence[Published], quiet: Callable[[], bool]) -> None:
        """The match has moved on from where all that are held stand. ``quiet`` is as of ``decide``."""
        tickets = self._take_all()
        if not tickets:
            return
        now_ms = self._now_ms()
        # Of several epochs, those who are held have only the first, and need the snapshot.
        last = fresh[-1].id
        texts: dict[tuple[DeltaId | None, bool], bytes] = {}
        for ticket in tickets:
            request = ticket.request
            after = request.after
            if after is None or after.epoch != last.epoch:
                self._answer(ticket, self._gone(request, last))
                continue
            keep_alive = request.keep_alive
            if (after, keep_alive) not in texts:
                data = self._deltas(after, fresh, now_ms, quiet)
                texts[after, keep_alive] = whole(data, self._match_id, keep_alive=keep_alive)
            self._host.metrics.polls["deltas"] += 1
            self._answer(ticket, Reply(texts[after, keep_alive], keep_alive))

    def lost(self, head: DeltaId) -> None:
        """Deltas are gone for good: only the snapshot helps."""
        for ticket in self._take_all():
            self._answer(ticket, self._gone(ticket.request, head))

    def tick(self, *, ended: bool, quiet: Callable[[], bool]) -> None:
        """Answer those whose slice is over; called each half second or so. Arguments as of ``decide``."""
        if not self._held:
            self._unclear_since_ms = None
            return
        now_ms = self._now_ms()
        current = now_ms // self._slice_ms
        if not quiet():
            self._refuse_overdue(now_ms, current)
            return
        self._unclear_since_ms = None
        for slice_ in list(self._held):
            # A clock that was set back leaves requests for a time that is far away now.
            if not (ended or slice_ < current or slice_ > current + 1):
                continue
            for ticket in self._take(slice_):
                request = ticket.request
                if slice_ > current + 1:
                    self._answer(ticket, self._still_to_come(request, current))
                    continue
                after = request.after
                assert after is not None  # noqa: S101 - as above
                over = slice_ < current
                as_of_ms = (slice_ + 1) * self._slice_ms if over else now_ms
                data = self._silence(after, current, as_of_ms, ended=ended)
                self._answer(ticket, self._reply(request, "ended" if ended else "silence", data, ended=ended))

    def _refuse_overdue(self, now_ms: int, current: int) -> None:
        """It is not known whether there was silence; that is waited for a little."""
        if self._unclear_since_ms is None or self._unclear_since_ms > now_ms:
            self._unclear_since_ms = now_ms
        if now_ms - self._unclear_since_ms < _UNCLEAR_MAX_MS:
            return
        for slice_ in list(self._held):
            if not current <= slice_ <= current + 1:
                for ticket in self._take(slice_):
                    self._answer(ticket, self._host.decide_unanswered(ticket.request))

    def resolve_all(self, decide: Callable[[StreamRequest], Decision]) -> None:
        """Resolve every held request by what is decided for it alone."""
        for ticket in self._take_all():
            self._answer(ticket, decide(ticket.request))

    def _answer(self, ticket: Ticket, decision: Decision) -> None:
        ticket.resolve(decision)

    def _take(self, slice_: int) -> list[Ticket]:
        tickets = list(self._held.pop(slice_, ()))
        for ticket in tickets:
            self._count(ticket, -1)
        return tickets

    def _take_all(self) -> list[Ticket]:
        return [ticket for slice_ in list(self._held) for ticket in self._take(slice_)]

    def _count(self, ticket: Ticket, count: int) -> None:
        self._host.parked += count
        self._host.metrics.polls_held += count
        self._host.poll_held(ticket.address, count)

    def _deltas(
        self, after: DeltaId, found: Sequence[Published], now_ms: int, quiet: Callable[[], bool]
    ) -> bytes:
        run, last = run_of(found)
        # Behind a part of them, or while more has come, the truth is known until the last of them was taken.
        is_all = last == found[-1].id and quiet()
        as_of_ms = now_ms if is_all else min(now_ms, accepted_ms_of(found[len(run) - 1]))
        advice = self._host.advice
        if advice.late_ms:
            # What the log took behind the last of them may not have come.
            as_of_ms = min(as_of_ms, max(now_ms - advice.late_ms, accepted_ms_of(found[len(run) - 1])))
        return body(
            self._match_id,
            after,
            run,
            next_id=last or after,
            next_slice=now_ms // self._slice_ms,
            as_of_ms=as_of_ms,
            advice=advice,
        )

    def _silence(self, after: DeltaId, current: int, as_of_ms: int, *, ended: bool = False) -> bytes:
        advice = self._host.advice
        if advice.late_ms:
            # Where nothing comes from the log, there may be something that nobody knows of here.
            as_of_ms = min(as_of_ms, self._now_ms() - advice.late_ms)
        return body(
            self._match_id,
            after,
            (),
            next_id=after,
            next_slice=current,
            as_of_ms=as_of_ms,
            ended=ended,
            advice=advice,
        )

    def _reply(self, request: StreamRequest, kind: str, data: bytes, *, ended: bool = False) -> Reply:
        self._host.metrics.polls[kind] += 1
        answer = whole(data, self._match_id, keep_alive=request.keep_alive, ended=ended)
        return Reply(answer if request.method == "GET" else head_of(answer), request.keep_alive)

    def _gone(self, request: StreamRequest, head: DeltaId) -> Refuse:
        after = request.after
        if after is not None and after > head:
            # Made up, or of a log that this server has not heard of yet.
            return self._refuse(
                request, 404, "unknown_id", f"no id {after} yet; the match is at {head}", LATEST_SECOND, head
            )
        return self._refuse(
            request, 410, "gap", f"what came after {after} is not kept any more; it is at {head}", GONE, head
        )

    def _still_to_come(self, request: StreamRequest, current: int) -> Refuse:
        message = f"slice {request.slice_} is still to come; it is {current} now"
        error = RequestError(
            404,
            "slice_to_come",
            message,
            headers=cache_headers(LATEST_SECOND, self._match_id),
            slice=current,
        )
        return _refused(request, error)

    def _refuse(
        self, request: StreamRequest, status: int, code: str, message: str, cache: str, head: DeltaId
    ) -> Refuse:
        error = RequestError(
            status,
            code,
            message,
            headers=cache_headers(cache, self._match_id),
            head=str(head),
            snapshot=f"/api/match/{self._match_id}/state",
        )
        return _refused(request, error)


def _refused(request: StreamRequest, error: RequestError) -> Refuse:
    return Refuse(error, keep_alive=request.keep_alive, with_body=request.method != "HEAD")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
