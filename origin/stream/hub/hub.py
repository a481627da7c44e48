"""The hub of one stream worker: all its viewers, of all matches, on one thread.

It decides about requests that ``origin.stream.worker.connections`` has read, keeps the viewers, sends them
what the bus says, and lets them go when the worker ends. What a viewer costs is the kernel's socket and a
few numbers here; what a delivery costs is one ``send`` (``subscribers.py``).
"""

from __future__ import annotations

import heapq
import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Final, TypeVar

from origin.bus import Bus
from origin.errors import OriginError, RequestError
from origin.ladder.advice import NO_ADVICE, Advice
from origin.stream.http.cache_headers import LATEST_SECOND, cache_headers
from origin.stream.http.cors import METHODS, READABLE_BY_ANY_STREAM, RESUME, preflight_headers
from origin.stream.http.framing import SseFraming, WebSocketFraming, answer
from origin.stream.http.stream_request import StreamRequest, Transport
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.decisions import Admit, Answer, Decision, Refuse, Reply
from origin.stream.hub.drain import AcceptRate, DrainPlan, retry_ms, window_s
from origin.stream.hub.list_stream import RenderRow
from origin.stream.hub.match_lookups import MatchLookups
from origin.stream.hub.match_stream import FLUSH_S, MatchStream
from origin.stream.hub.metrics import StreamMetrics
from origin.stream.hub.multi_match import MultiMatchViewers
from origin.stream.hub.subscribers import SLICES, Subscribers
from origin.stream.hub.websocket import WebSocketSubscribers
from origin.stream.net.io_uring import Ring
from origin.stream.net.linger import Linger
from origin.stream.net.reactor import Reactor
from origin.tracing import NO_TRACES, Tracer

__all__ = ["Hub"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

# A fan-out to fewer is over before a page could get in its way.
_QUIET_FROM_VIEWERS: Final = 200
_DRAIN_TICK_S: Final = 0.02
# Made-up match ids remembered as unknown, and asked about at the same time; both bound memory.
_UNKNOWN_MAX: Final = 1_024
_OPENING_MAX: Final = 256
# Each half second: a viewer refused ten seconds ago has come back, or was refused again.
_REFUSED_DECAY: Final = 0.9
# Of the matches of a set that are all unknown, so many are named in the refusal.
_NAMED_MAX: Final = 5
# Reasons for which a viewer has been sent a farewell before it is dropped.
_WITH_FAREWELL: Final = frozenset({"left", "protocol", "drained"})
_PREFLIGHT = {**READABLE_BY_ANY_STREAM, **preflight_headers(RESUME), "Allow": METHODS}


class Hub:
    """See the module. Everything but ``ask``'s reads runs on the reactor's thread.

    Args:
        bus: the regional bus.
        config: limits and clocks.
        readers: runs what may wait for the bus; never the threads that serve pages.
        render_row: makes the HTML of a row of the list; None where no pages are served.
        rng: where ``retry:`` is drawn from.
        tracer: for the spans of deltas that belong to a trace.

    Attributes:
        fanout_idle: cleared while a large fan-out runs, so that page threads can wait.
        viewers: how many there are.
        parked: how many requests wait for an answer.
        draining: True once the worker is to end; ``/readyz`` says no.
        advice: what heartbeats and long-polls tell pages beside; any thread may set it.
    """

    def __init__(
        self,
        bus: Bus,
        config: StreamConfig,
        *,
        readers: Executor,
        connections_max: int,
        rng: random.Random | None = None,
        render_row: RenderRow | None = None,
        tracer: Tracer = NO_TRACES,
    ) -> None:
        self.bus = bus
        self.tracer = tracer
        self.config = config
        self.metrics = StreamMetrics()
        self.reactor = Reactor()
        self.linger = Linger(self.reactor)
        self.fanout_idle = threading.Event()
        self.fanout_idle.set()
        self.draining = False
        self.advice: Advice = NO_ADVICE
        self.viewers = 0
        self.parked = 0
        self.rate = AcceptRate(config.accept_rate_per_s)
        self.connections_max = connections_max
        self._ring = _ring(config.ring_entries)
        self.metrics.ring_entries = self._ring.entries if self._ring is not None else 0
        self._readers = readers
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, hides nothing
        self._matches: dict[str, MatchStream] = {}
        self._opening = 0
        self._refused_lately = 0.0
        self._unknown: dict[str, float] = {}
        self._address_of: dict[int, str] = {}
        self._per_address: dict[str, int] = {}
        self._sse = SseFraming()
        self._lookups = MatchLookups(self)
        self._several = MultiMatchViewers(self, self._lookups, self._drop, self._ring, render_row)
        self._slice = 0
        self._slice_s = config.heartbeat_s / SLICES
        self._next_tick_s = time.monotonic() + self._slice_s
        self._plan: DrainPlan | None = None
        self._leaving: Iterator[int] = iter(())
        self._left = 0
        # What is to be done later: when, a number that keeps the order, and the action.
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer = 0

    # --- requests

    def decide(self, request: StreamRequest, address: str) -> Decision:
        """Decide about one request.

        Args:
            request: what is asked for.
            address: whose limit it counts against, where there is one.
        """
        if request.method == "OPTIONS":
            data = answer(204, _PREFLIGHT, keep_alive=request.keep_alive)
            return Reply(data, request.keep_alive)
        if self._plan is not None and request.method == "GET":
            # Not a 503: an EventSource that gets one never comes back.
            return self._send_off(request)
        if request.method == "GET" and (refusal := self._room_refusal(address, self.parked)) is not None:
            return refusal
        if request.transport is Transport.MULTI:
            return self._several.decide(request, address)
        stream = self._matches.get(request.match_id)
        if stream is None:
            if self.is_unknown(request.match_id):
                return self.decide_unknown(request)
            if self._opening >= _OPENING_MAX:
                return self._refuse_busy("busy", "too many matches are being opened")
            stream = self.open_stream(request.match_id)
        return stream.decide(request, address)

    def try_fast_path(self, sock: socket.SocketType, request: StreamRequest) -> bool:
        """Admit a viewer at once, if there is room and its answer is known; what most of a storm is."""
        if (
            request.method != "GET"
            or self._plan is not None
            or self.viewers >= self.connections_max
            or self.config.connections_per_address_max
        ):
            return False
        stream = self._matches.get(request.match_id)
        if stream is None or (known := stream.known_answer(request)) is None or stream.ended:
            return False
        self.admit(sock, request, Admit(stream.subscribers[request.transport], known))
        return True

    def retry_ms(self) -> int:
        """When a viewer should come back: drawn for it alone, over what taking all of them takes."""
        window = self.advice.window_s(window_s(self.viewers, self.rate.per_s))
        return retry_ms(self.config.retry_min_ms, window, self._rng.random())

    def _room_refusal(self, address: str, parked: int) -> Refuse | None:
        """Why there is no room for one more viewer; None if there is."""
        if self.viewers + parked >= self.connections_max:
            return self._refuse_busy("too_many_viewers", "this server has all the viewers it can take")
        limit = self.config.connections_per_address_max
        if limit and self._per_address.get(address, 0) >= limit:
            return self._refuse_busy(
                "too_many_from_address", f"at most {limit} streams may come from one address"
            )
        return None

    def _refuse_busy(self, code: str, message: str) -> Refuse:
        # Spread over what taking the refused needs: the viewers that are here do not come back with them.
        self._refused_lately += 1.0
        window = self.advice.window_s(window_s(round(self._refused_lately), self.rate.per_s))
        wait_ms = retry_ms(self.config.retry_min_ms, window, self._rng.random())
        error = RequestError(
            503, code, message, headers={"Retry-After": str(-(-wait_ms // 1_000))}, retry_ms=wait_ms
        )
        return Refuse(error)

    def open_stream(self, match_id: str) -> MatchStream:
        """See ``LookupHost.open_stream``."""
        sse = Subscribers(Transport.SSE, self._sse, self.reactor, self.config, self._drop, self._ring)
        websocket = WebSocketSubscribers(self.reactor, self.config, self._drop, self._ring)
        self._opening += 1
        stream = self._matches[match_id] = MatchStream(
            self, match_id, sse, websocket, self._several.audience_of(match_id)
        )
        self.metrics.matches = len(self._matches)
        return stream

    def poll_held(self, address: str, count: int) -> None:
        """See ``LongPollHost.poll_held``."""
        if self.config.connections_per_address_max:
            self._count_address(address, count)

    def refuse_hold(self, request: StreamRequest, address: str) -> Decision | None:
        """See ``StreamHost.refuse_hold``."""
        if self._plan is not None:
            return self._send_off(request)
        return self._room_refusal(address, self.parked)

    def _count_address(self, address: str, count: int) -> None:
        total = self._per_address.get(address, 0) + count
        if total:
            self._per_address[address] = total
        else:
            del self._per_address[address]

    def _send_off(self, request: StreamRequest) -> Decision:
        """Answer a viewer that comes while the worker ends: when to come back, and nothing else."""
        if request.transport is Transport.LONG_POLL:
            return self._refuse_busy("ending", "this server ends; ask again")
        wait_ms = self.retry_ms()
        if request.transport is not Transport.WEBSOCKET:
            return Reply(self._sse.opening(request, wait_ms), keep_alive=False)
        framing = WebSocketFraming()
        return Reply(framing.opening(request, wait_ms) + framing.goodbye(wait_ms), keep_alive=False)

    # --- MultiMatchHost, LookupHost: what viewers of several matches need

    def stream_of(self, match_id: str) -> MatchStream | None:
        """See ``MultiMatchHost.stream_of``."""
        return self._matches.get(match_id)

    def is_unknown(self, match_id: str) -> bool:
        """See ``MultiMatchHost.is_unknown``."""
        return self._unknown.get(match_id, 0.0) > time.monotonic()

    def remember_unknown(self, match_id: str) -> None:
        """See ``LookupHost.remember_unknown``."""
        if len(self._unknown) >= _UNKNOWN_MAX:
            self._unknown.clear()
        self._unknown[match_id] = time.monotonic() + self.config.unknown_match_s

    def decide_set(self, request: StreamRequest, address: str) -> Decision:
        """See ``MultiMatchHost.decide_set``."""
        return self.decide_known(request, address, self._several, Answer("", b""))

    def decide_too_many_memberships(self) -> Decision:
        """See ``MultiMatchHost``."""
        return self._refuse_busy("too_many_matches_watched", "this server streams all the matches it can")

    # --- StreamHost: what a match needs

    def ask(self, read: Callable[[], _T], done: Callable[[_T | Exception], None]) -> None:
        """See ``StreamHost.ask``."""

        def run() -> None:
            result: _T | Exception
            try:
                result = read()
            except OriginError as error:
                logger.warning("the bus did not answer: %s", error)
                result = error
            except Exception as error:  # a bus that breaks its contract must not leave viewers waiting
                logger.exception("a bus read failed")
                result = error
            self.reactor.post(lambda: done(result))

        self._readers.submit(run)

    def broadcast_began(self, viewers: int) -> None:
        """See ``StreamHost``."""
        if viewers >= _QUIET_FROM_VIEWERS:
            self.fanout_idle.clear()

    def broadcast_ended(self) -> None:
        """See ``StreamHost``."""
        self.fanout_idle.set()

    def decide_known(
        self, request: StreamRequest, address: str, subscribers: Subscribers, answer: Answer
    ) -> Decision:
        """See ``StreamHost.decide_known``."""
        if request.method == "HEAD":
            return Reply(self._sse.head(), keep_alive=False)
        # Room is looked for again: others may have come while this one was parked.
        if self._plan is not None:
            return self._send_off(request)
        return self._room_refusal(address, 0) or Admit(subscribers, answer)

    def admit(
        self, sock: socket.SocketType, request: StreamRequest, decision: Admit, address: str = ""
    ) -> bool:
        """Carry out an ``Admit``: the socket is a viewer's from now on.

        Returns:
            False if the connection is not there any more; it is closed then, and nothing is counted.
        """
        subscribers, known, end = decision
        fd = sock.fileno()
        try:
            if self.config.send_buffer_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.config.send_buffer_bytes)
            self.reactor.register(fd, subscribers)
        except OSError as error:
            logger.info("a viewer was lost while it was admitted: %s", error)
            self.reactor.unregister(fd)
            sock.close()
            return False
        metrics = self.metrics
        name = subscribers.name
        self.viewers += 1
        metrics.viewers[name] += 1
        metrics.accepted[name] += 1
        if self.config.connections_per_address_max:
            self._address_of[fd] = address
            self._count_address(address, 1)
        opening = subscribers.framing.opening(request, self.retry_ms())
        if request.flush:
            subscribers.flushing.add(fd)
            self.call_later(FLUSH_S, partial(subscribers.flush, (fd,)))
        if subscribers is self._several:
            self._several.admit(sock, fd, request, opening)
            return True
        metrics.replays[known.name] += 1
        ending = subscribers.opening_end_known
        if ending is None:
            ending = subscribers.opening_end()
        subscribers.add(sock, fd, opening + known.frames + ending)
        if end and self.reactor.handlers.get(fd) is subscribers:
            subscribers.end(fd, end)
        return True

    def opened(self, stream: MatchStream) -> None:
        """See ``StreamHost.opened``."""
        self._opening -= 1
        self._lookups.opened(stream)

    def not_opened(self, stream: MatchStream, *, unknown: bool) -> None:
        """See ``StreamHost.not_opened``."""
        self._opening -= 1
        if self._matches.get(stream.match_id) is stream:
            self._forget(stream)
        if unknown:
            self.remember_unknown(stream.match_id)
        self._lookups.opened(stream)

    def decide_unknown(self, request: StreamRequest) -> Decision:
        """See ``StreamHost.decide_unknown``."""
        match_id = request.match_id or ", ".join(name for name, _ in request.matches[:_NAMED_MAX])
        if request.list_name is not None:
            return Refuse(
                RequestError(404, "unknown_list", f"no list of matches {request.list_name!r}"),
                keep_alive=request.keep_alive,
                with_body=request.method != "HEAD",
            )
        # Ten thousand that ask a cache for a match which has not begun are one request a second.
        headers = cache_headers(LATEST_SECOND, match_id) if request.transport is Transport.LONG_POLL else {}
        error = RequestError(
            404, "unknown_match", f"no match {match_id!r}", headers=headers, match_id=match_id
        )
        return Refuse(error, keep_alive=request.keep_alive, with_body=request.method != "HEAD")

    def decide_unanswered(self, request: StreamRequest) -> Decision:
        """See ``StreamHost.decide_unanswered``."""
        refusal = self._refuse_busy("bus_unavailable", "the region's bus does not answer")
        return refusal._replace(with_body=request.method != "HEAD")

    def _drop(self, fd: int, why: str) -> None:
        """End a viewer."""
        subscribers = self.reactor.handlers[fd]
        assert isinstance(subscribers, Subscribers)  # noqa: S101 - only an subscribers drops its viewers
        sock = subscribers.remove(fd)
        if why in _WITH_FAREWELL and subscribers.transport is Transport.WEBSOCKET:
            self.linger.take(sock)  # its close frame must arrive
        else:
            self.reactor.unregister(fd)
            sock.close()
        self.viewers -= 1
        self.metrics.viewers[subscribers.name] -= 1
        self.metrics.close(why)
        address = self._address_of.pop(fd, None)
        if address is not None:
            self._count_address(address, -1)

    def _forget(self, stream: MatchStream) -> None:
        del self._matches[stream.match_id]
        self.metrics.matches = len(self._matches)

    # --- time

    def timeout_s(self, now_s: float) -> float:
        """How long the loop may sleep."""
        if self._plan is not None and self.viewers:
            return _DRAIN_TICK_S
        due_s = self._next_tick_s
        if self._timers and self._timers[0][0] < due_s:
            due_s = self._timers[0][0]
        return max(0.0, due_s - now_s)

    def call_later(self, delay_s: float, action: Callable[[], None]) -> None:
        """See ``StreamHost.call_later``."""
        self._timer += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._timer, action))

    def tick(self, now_s: float) -> None:
        """Do what is due."""
        while self._timers and self._timers[0][0] <= now_s:
            heapq.heappop(self._timers)[2]()
        if self._plan is not None:
            self._let_go(now_s)
        behind = 0
        # A slice is never left out, however long a fan-out took: its viewers wait for their heartbeat.
        while now_s >= self._next_tick_s and behind < SLICES:
            behind += 1
            self._next_tick_s += self._slice_s
            for stream in list(self._matches.values()):
                stream.heartbeat(self._slice)
            self._several.heartbeat(self._slice)
            self._slice = (self._slice + 1) % SLICES
        if behind == SLICES:
            self._next_tick_s = now_s + self._slice_s
        if behind:
            self._tidy(now_s)
            self.linger.drop_overdue(now_s)

    def _tidy(self, now_s: float) -> None:
        """Let go of what nobody needs."""
        self._refused_lately *= _REFUSED_DECAY
        self._several.tick(now_s)
        for stream in list(self._matches.values()):
            stream.drop_overdue(now_s)
            if stream.viewers or stream.opening:
                stream.idle_since_s = now_s
            elif now_s - stream.idle_since_s > self.config.idle_match_s:
                stream.close()
                self._forget(stream)
        # In the order of their time, which is the order they came in.
        for match_id, until_s in list(self._unknown.items()):
            if until_s > now_s:
                break
            del self._unknown[match_id]
        self.metrics.accept_rate = self.rate.per_s

    # --- the end

    def begin_drain(self, limit_s: float) -> float:
        """Begin to let all viewers go, spread over what taking them elsewhere needs.

        Args:
            limit_s: they have to be gone by then.

        Returns:
            Over how many seconds they go.
        """
        now_s = time.monotonic()
        self.draining = True
        for stream in self._matches.values():
            stream.resolve_all(self._send_off_or_busy)
        self._several.resolve_all(self._send_off_or_busy)
        window = min(limit_s, window_s(self.viewers, self.rate.per_s))
        self._plan = DrainPlan(self.viewers, now_s, window)
        everybody = [
            fd for stream in self._matches.values() for each in stream.subscribers.values() for fd in each
        ]
        everybody += self._several
        self._leaving = iter(everybody)
        return window

    def _send_off_or_busy(self, request: StreamRequest) -> Decision:
        return self._send_off(request) if request.method == "GET" else self.decide_unanswered(request)

    def _let_go(self, now_s: float) -> None:
        """Close as many viewers as should be gone by now."""
        assert self._plan is not None  # noqa: S101
        due = self._plan.due(now_s)
        while self._left < due:
            fd = next(self._leaving, None)
            if fd is None:
                return
            self._left += 1
            # One that left by itself counts too; its number may be somebody else's by now.
            subscribers = self.reactor.handlers.get(fd)
            if isinstance(subscribers, Subscribers):
                subscribers.write(fd, subscribers.framing.goodbye(self.retry_ms()))
                if self.reactor.handlers.get(fd) is subscribers:
                    self._drop(fd, "drained")

    def close(self) -> None:
        """End everything at once. The reactor's thread must not run any more."""
        for fd in list(self._several):
            self._drop(fd, "ended")
        for stream in self._matches.values():
            for subscribers in stream.subscribers.values():
                for fd in list(subscribers):
                    self._drop(fd, "ended")
            stream.close()
        self._matches.clear()
        self.linger.close()
        self.reactor.close()
        if self._ring is not None:
            self._ring.close()


def _ring(entries: int) -> Ring | None:
    """A ring, where it is wanted and the kernel has one for this process."""
    if not entries:
        return None
    try:
        return Ring(entries)
    except OSError as error:
        # Old kernels, and most containers: what is sent one by one arrives all the same.
        logger.info("io_uring cannot be used (%s): each viewer is sent to by a call of its own", error)
        return None
