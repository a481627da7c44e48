"""Viewers of several matches: one socket each, which is in the audience of every match that it watches.

A delta goes to the audience of its match by the same loop as to the viewers of that match alone
(``subscribers.py``); nothing on its way looks at who watches what else. What a socket has not taken, what it
says and when it is ended is kept once, here. A socket that does not take a whole frame leaves the fast
dictionaries of all its matches, and comes back once it has.

Each match of a request is a ticket of its ``MatchStream``, as a request for that match alone would be. The
answer's frames are sent and the socket joins the audience in one step of the loop, so that nothing is lost
or sent twice. Matches that this worker has not opened are looked for by one question to the bus for all who
ask (``match_lookups.py``).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from socket import SocketType
from typing import Final, Protocol

from origin.ladder.advice import Advice
from origin.stream.http.framing import MatchOfSeveralFraming, SseFraming, answer_no_more
from origin.stream.http.sse import end_frame, set_heartbeat_frame
from origin.stream.http.stream_request import StreamRequest, Transport
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.decisions import Answer, Decision, Join, Park, Refuse, Reply, Ticket
from origin.stream.hub.list_stream import ListHost, ListStream, RenderRow
from origin.stream.hub.match_lookups import MatchLookups
from origin.stream.hub.match_stream import FLUSH_S, MatchStream
from origin.stream.hub.metrics import StreamMetrics
from origin.stream.hub.subscribers import BLOCK_BITS, SLICES, Drop, MatchAudience, Subscribers
from origin.stream.net.io_uring import Ring
from origin.stream.net.reactor import Reactor
from shared_state import DeltaId

__all__ = ["MultiMatchHost", "MultiMatchViewers"]

# A match whose part of the bus did not answer is asked for again so much later.
_RETRY_S: Final = 2.0
# What the answers to one arriving viewer may have together; a match beyond it begins with a gap. The frames
# of an answer are shared by all who get it, but what one slow viewer has not taken is not.
_ANSWERS_MAX_BYTES: Final = 1_048_576
# Begins the name of a list among the matches of a viewer; no match is called so.
_LIST: Final = "@"


class MultiMatchHost(ListHost, Protocol):
    """What these viewers need of the hub."""

    config: StreamConfig
    metrics: StreamMetrics
    advice: Advice
    reactor: Reactor
    parked: int  #: how many connections are parked

    def call_later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Have ``action`` run on the reactor's thread after a time."""

    def stream_of(self, match_id: str) -> MatchStream | None:
        """The match, if it is open or being opened."""

    def is_unknown(self, match_id: str) -> bool:
        """Whether the bus said lately that there is no such match."""

    def decide_set(self, request: StreamRequest, address: str) -> Decision:
        """At least one match is known: whether there is room for this viewer."""

    def decide_unknown(self, request: StreamRequest) -> Decision:
        """There is no such match."""

    def decide_unanswered(self, request: StreamRequest) -> Decision:
        """The bus did not answer; the viewer must come again."""

    def decide_too_many_memberships(self) -> Decision:
        """There is no memory for the matches of one more viewer."""


class _Viewer:
    """One viewer of several matches.

    Attributes:
        joined: the streams of the matches that it gets.
        waiting: the matches that it does not get yet; with the ticket where a ``MatchStream`` has one.
        after: where to resume those.
        unanswered: those of ``waiting`` that the bus did not answer for; they are asked for again.
        heartbeat_key: the matches in ``joined``, to find the heartbeat of another viewer of the same ones.
        answers_bytes: what it got when its matches joined.
        list_name: the list that it watches; None for none.
        gone: whether it has ended.
    """

    __slots__ = (
        *("after", "answers_bytes", "fd", "gone", "heartbeat_key", "joined", "unanswered"),
        *("list_name", "waiting"),
    )

    def __init__(
        self, fd: int, matches: tuple[tuple[str, DeltaId | None], ...], list_name: str | None
    ) -> None:
        self.fd = fd
        self.list_name = list_name
        self.joined: dict[str, MatchStream] = {}
        self.after: dict[str, DeltaId | None] = dict(matches)
        self.waiting: dict[str, Ticket | None] = dict.fromkeys(self.after)
        self.unanswered: set[str] = set()
        self.heartbeat_key: tuple[str, ...] | None = None
        self.answers_bytes = 0
        self.gone = False


class _Candidate:
    """A request of which no match is known yet, or whose list is not.

    Attributes:
        missing: the matches that the bus has not answered for.
        reading: the reading of the rows that it waits for; None where it asks for no list.
    """

    __slots__ = ("answered", "missing", "reading", "ticket")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket: Ticket | None = ticket
        self.missing = {match_id for match_id, _ in ticket.request.matches}
        self.answered = True
        self.reading: int | None = None


class MultiMatchViewers(Subscribers):
    """See the module.

    Args:
        host: the hub.
        lookups: finds matches that this worker has not opened.
        drop: ends a viewer, with the reason.
        render_row: makes the HTML of a row of the list; None where no pages are served.
        ring: sends to many at once; None where the kernel has none for us.

    Attributes:
        lists: the rows of the list of matches, for those who watch it.
        memberships: how many matches all viewers watch together, those that wait among them.
    """

    def __init__(
        self,
        host: MultiMatchHost,
        lookups: MatchLookups,
        drop: Drop,
        ring: Ring | None,
        render_row: RenderRow | None = None,
    ) -> None:
        super().__init__(Transport.MULTI, SseFraming(), host.reactor, host.config, drop, ring)
        self._host = host
        self._lookups = lookups
        self._viewers: dict[int, _Viewer] = {}
        self._candidates: dict[Ticket, _Candidate] = {}
        self._retries: deque[tuple[float, _Viewer, str]] = deque()
        self.memberships = 0
        self.lists = ListStream(
            host, render_row, lambda: MatchAudience(SseFraming(), self, drop, ring), self._lists_read
        )
        # Viewers that get a heartbeat before their turn, since matches have joined.
        self._early: dict[_Viewer, None] = {}
        self._early_posted = False

    def audience_of(self, match_id: str) -> MatchAudience:
        """A new audience, for a match that is being opened."""
        return MatchAudience(MatchOfSeveralFraming(match_id), self, self._drop, self._ring)

    # --- requests

    def decide(self, request: StreamRequest, address: str) -> Decision:
        """Answer a viewer, or park it until one of its matches is known."""
        if self.memberships + len(request.matches) > self._config.memberships_max:
            return self._host.decide_too_many_memberships()
        if refusal := self._nothing_more_for(request):
            return refusal
        if request.list_name is not None:
            return self._decide_list(request, address)
        missing = []
        for match_id, _ in request.matches:
            stream = self._host.stream_of(match_id)
            if stream is not None and not stream.opening:
                return self._host.decide_set(request, address)
            if stream is not None or not self._host.is_unknown(match_id):
                missing.append(match_id)
        if not missing:
            return self._host.decide_unknown(request)
        ticket = Ticket(request, address, time.monotonic() + self._config.bus_wait_s)
        candidate = self._candidates[ticket] = _Candidate(ticket)
        candidate.missing = set(missing)
        self.memberships += len(request.matches)
        self._host.parked += 1
        for match_id in missing:
            self._lookups.find(match_id, partial(self._candidate_found, candidate, match_id))
        return Park(ticket, self._cancel)

    def _decide_list(self, request: StreamRequest, address: str) -> Decision:
        """A list is known once all rows have been read; its viewer needs none of its matches to be."""
        if not self.lists.available:
            return self._host.decide_unknown(request)
        assert request.list_name is not None  # noqa: S101
        if self.lists.ready and (request.matches or self.lists.has(request.list_name)):
            return self._host.decide_set(request, address)
        ticket = Ticket(request, address, time.monotonic() + self._config.bus_wait_s)
        candidate = self._candidates[ticket] = _Candidate(ticket)
        self.memberships += len(request.matches)
        self._host.parked += 1
        # Also where the rows have been read: the viewer's page may have a list that began since.
        candidate.reading = self.lists.want()
        return Park(ticket, self._cancel)

    def _lists_read(self, reading: int) -> None:
        """The rows have been read: answer those who waited for that."""
        for ticket, candidate in list(self._candidates.items()):
            if candidate.reading is not None and candidate.reading <= reading:
                self._resolve_candidate(ticket, self._decide_read_list(ticket.request, ticket.address))

    def _decide_read_list(self, request: StreamRequest, address: str) -> Decision:
        assert request.list_name is not None  # noqa: S101
        # Beside matches it may begin later: a day without matches must not end the stream of those there are.
        if not request.matches and not self.lists.has(request.list_name):
            # Of a part of the bus that does not answer, nobody knows the lists.
            decide = self._host.decide_unknown if self.lists.complete else self._host.decide_unanswered
            return decide(request)
        return self._host.decide_set(request, address)

    def _nothing_more_for(self, request: StreamRequest) -> Reply | None:
        """The answer to a viewer who has all of its matches, which are over; None if more may come."""
        over = 0
        if request.list_name is not None:
            return None
        for match_id, after in request.matches:
            stream = self._host.stream_of(match_id)
            if stream is not None and stream.ended and stream.stands_at(after):
                over += 1
            elif not self._host.is_unknown(match_id):
                return None
        if not over or request.method != "GET":
            return None
        return Reply(answer_no_more(keep_alive=request.keep_alive), request.keep_alive)

    def _cancel(self, ticket: Ticket) -> None:
        """The client of a parked request has gone."""
        self._forget_candidate(ticket)

    def _forget_candidate(self, ticket: Ticket) -> None:
        candidate = self._candidates.pop(ticket, None)
        if candidate is not None:
            candidate.ticket = None
            self.memberships -= len(ticket.request.matches)
            self._host.parked -= 1

    def _candidate_found(
        self, candidate: _Candidate, match_id: str, found: MatchStream | Exception | None
    ) -> None:
        """One match of a parked request was looked for."""
        ticket = candidate.ticket
        if ticket is None:
            return
        if isinstance(found, MatchStream):
            self._resolve_candidate(ticket, self._host.decide_set(ticket.request, ticket.address))
            return
        candidate.missing.discard(match_id)
        candidate.answered = candidate.answered and found is None
        if not candidate.missing:
            decide = self._host.decide_unknown if candidate.answered else self._host.decide_unanswered
            self._resolve_candidate(ticket, decide(ticket.request))

    def _resolve_candidate(self, ticket: Ticket, decision: Decision) -> None:
        self._forget_candidate(ticket)
        ticket.resolve(decision)

    def resolve_all(self, decide: Callable[[StreamRequest], Decision]) -> None:
        """Resolve every parked request by what is decided for it alone."""
        for ticket in list(self._candidates):
            self._resolve_candidate(ticket, decide(ticket.request))

    # --- viewers

    def admit(self, sock: SocketType, fd: int, request: StreamRequest, opening: bytes) -> None:
        """Take a viewer that is registered with the reactor; each match joins once its answer is known."""
        viewer = self._viewers[fd] = _Viewer(fd, request.matches, request.list_name)
        self.memberships += len(request.matches)
        frames = [opening]
        self.size += 1
        self._slices[(fd >> BLOCK_BITS) % SLICES][fd] = sock
        if viewer.list_name is not None:
            frames.append(self.lists.answer(viewer.list_name, request.list_after))
            audience = self.lists.join(viewer.list_name, fd, sock)
            if request.flush:
                audience.flushing.add(fd)
        for match_id in list(viewer.waiting):
            self._ask(viewer, match_id, frames)
        if not any(name not in viewer.unanswered for name in viewer.waiting):
            self._early.pop(viewer, None)
            frames.append(self._heartbeat_of(viewer, _now_ms()))
        self._send(sock, fd, b"".join(frames))
        self._end_what_is_over(viewer)
        self._end_if_empty(viewer)

    def _ask(self, viewer: _Viewer, match_id: str, frames: list[bytes]) -> None:
        """Have a match answered for; what is known at once is added to ``frames``."""
        stream = self._host.stream_of(match_id)
        if stream is None:
            if self._host.is_unknown(match_id):
                self._end(viewer, match_id, "unknown_match", frames)
            else:
                self._lookups.find(match_id, partial(self._found, viewer, match_id))
            return
        request = StreamRequest("GET", Transport.MULTI, match_id, viewer.after[match_id], b"")
        decision = stream.decide(request, "")
        if isinstance(decision, Park):
            viewer.waiting[match_id] = decision.ticket
            decision.ticket.resolve = partial(self._answered, viewer, match_id, stream)
        else:
            self._carry_out(viewer, match_id, stream, decision, frames)

    def _found(self, viewer: _Viewer, match_id: str, found: MatchStream | Exception | None) -> None:
        """A match that was not open here was looked for."""
        if viewer.gone or match_id not in viewer.waiting:
            return
        frames: list[bytes] = []
        if isinstance(found, MatchStream):
            self._ask(viewer, match_id, frames)
        elif found is None:
            self._end(viewer, match_id, "unknown_match", frames)
        else:
            self._ask_again_later(viewer, match_id)
        self._say(viewer, frames)

    def _answered(self, viewer: _Viewer, match_id: str, stream: MatchStream, decision: Decision) -> None:
        """The ticket of one match is resolved."""
        if viewer.gone or match_id not in viewer.waiting:
            return
        viewer.waiting[match_id] = None
        frames: list[bytes] = []
        self._carry_out(viewer, match_id, stream, decision, frames)
        self._say(viewer, frames)

    def _say(self, viewer: _Viewer, frames: list[bytes]) -> None:
        """Send what matches that joined later begin with."""
        if frames and not viewer.gone:
            data = b"".join(frames)
            self.write(viewer.fd, data, len(data))
        if not viewer.gone:
            self._end_if_empty(viewer)

    def _carry_out(
        self, viewer: _Viewer, match_id: str, stream: MatchStream, decision: Decision, frames: list[bytes]
    ) -> None:
        match decision:
            case Join(answer):
                self._join(viewer, match_id, stream, answer, frames)
            case Refuse(error) if error.status == 404:
                self._end(viewer, match_id, "unknown_match", frames)
            case _:
                self._ask_again_later(viewer, match_id)

    def _join(
        self, viewer: _Viewer, match_id: str, stream: MatchStream, answer: Answer, frames: list[bytes]
    ) -> None:
        del viewer.waiting[match_id]
        viewer.unanswered.discard(match_id)
        viewer.joined[match_id] = stream
        viewer.heartbeat_key = None
        if viewer.answers_bytes + len(answer.frames) > _ANSWERS_MAX_BYTES:
            answer = stream.gap_answer(Transport.MULTI)
        viewer.answers_bytes += len(answer.frames)
        self._host.metrics.replays[answer.name] += 1
        if answer.frames:
            frames.append(answer.frames)
        fd = viewer.fd
        stream.of_several.join(fd, self._slices[(fd >> BLOCK_BITS) % SLICES].get(fd))
        if fd in self.flushing:
            stream.of_several.flushing.add(fd)
            self._host.call_later(FLUSH_S, partial(self.flush, (fd,)))
        self._early[viewer] = None
        self._post_early()

    def _end(self, viewer: _Viewer, match_id: str, reason: str, frames: list[bytes]) -> None:
        """A match says no more to this viewer."""
        viewer.waiting.pop(match_id, None)
        viewer.unanswered.discard(match_id)
        self.memberships -= 1
        frames.append(end_frame(match_id, reason))

    def _end_if_empty(self, viewer: _Viewer) -> None:
        """End a viewer to which no match has anything more to say."""
        if not viewer.gone and not viewer.joined and not viewer.waiting and viewer.list_name is None:
            self.finish(viewer.fd)

    def _end_what_is_over(self, viewer: _Viewer) -> None:
        """The matches that are over say no more, once a heartbeat has said where they stand."""
        frames: list[bytes] = []
        for match_id, stream in list(viewer.joined.items()):
            if not viewer.gone and stream.ended:
                del viewer.joined[match_id]
                viewer.heartbeat_key = None
                stream.of_several.leave(viewer.fd)
                self._end(viewer, match_id, "ended", frames)
        self._say(viewer, frames)

    def _ask_again_later(self, viewer: _Viewer, match_id: str) -> None:
        viewer.unanswered.add(match_id)
        self._retries.append((time.monotonic() + _RETRY_S, viewer, match_id))

    def remove(self, fd: int) -> SocketType:
        """See ``Subscribers.remove``."""
        viewer = self._viewers.pop(fd)
        viewer.gone = True
        self._early.pop(viewer, None)
        self.memberships -= len(viewer.joined) + len(viewer.waiting)
        for stream in viewer.joined.values():
            stream.of_several.leave(fd)
        if viewer.list_name is not None:
            self.lists.leave(viewer.list_name, fd)
        for match_id, ticket in viewer.waiting.items():
            stream_of_ticket = self._host.stream_of(match_id)
            if ticket is not None and stream_of_ticket is not None:
                stream_of_ticket.cancel(ticket)
        return super().remove(fd)

    def _became_slow(self, fd: int) -> None:
        viewer = self._viewers[fd]
        for stream in viewer.joined.values():
            stream.of_several.place(fd, None)
        if viewer.list_name is not None:
            self.lists.audience_of(viewer.list_name).place(fd, None)

    def _became_fast(self, fd: int, sock: SocketType) -> None:
        viewer = self._viewers[fd]
        for stream in viewer.joined.values():
            stream.of_several.place(fd, sock)
        if viewer.list_name is not None:
            self.lists.audience_of(viewer.list_name).place(fd, sock)

    # --- heartbeats

    def heartbeat(self, index: int) -> None:
        """Send a slice of the viewers where their matches stand; viewers of the same ones share the bytes."""
        groups: dict[tuple[str, ...], dict[int, SocketType]] = {}
        viewers = self._viewers
        for fd, sock in self._slices[index].items():
            viewer = viewers[fd]
            key = viewer.heartbeat_key or self._key_of(viewer)
            if key not in groups:
                groups[key] = {}
            groups[key][fd] = sock
        if not groups:
            return
        server_ms = _now_ms()
        members: dict[str, bytes] = {}
        for key, group in groups.items():
            frame = self._heartbeat_frame(key, server_ms, members)
            # A viewer of this group may have been ended with one of another: by an error over its socket.
            alive = {fd: sock for fd, sock in group.items() if fd in self._slices[index]}
            if alive:
                self._host.metrics.heartbeats += self._send_to(alive, frame)
            if flushing := self.flushing & group.keys():
                self._host.call_later(FLUSH_S, partial(self.flush, tuple(flushing)))
            if any(stream is not None and stream.ended for stream in map(self._host.stream_of, key)):
                for fd in group:
                    if (watching := self._viewers.get(fd)) is not None:
                        self._end_what_is_over(watching)

    def _key_of(self, viewer: _Viewer) -> tuple[str, ...]:
        key = viewer.heartbeat_key = (
            *sorted(viewer.joined),
            *(() if viewer.list_name is None else (_LIST + viewer.list_name,)),
        )
        return key

    def _heartbeat_frame(
        self, key: tuple[str, ...], server_ms: int, members: dict[str, bytes] | None = None
    ) -> bytes:
        members = {} if members is None else members
        parts, cursor = [], None
        for match_id in key:
            if match_id.startswith(_LIST):
                cursor = str(self.lists.cursor(match_id.removeprefix(_LIST)))
                continue
            member = members.get(match_id)
            if member is None:
                stream = self._host.stream_of(match_id)
                member = members[match_id] = b"" if stream is None else stream.heartbeat_member()
            if member:
                parts.append(member)
        return set_heartbeat_frame(server_ms, parts, cursor, self._host.advice)

    def _heartbeat_of(self, viewer: _Viewer, server_ms: int) -> bytes:
        return self._heartbeat_frame(viewer.heartbeat_key or self._key_of(viewer), server_ms)

    def _post_early(self) -> None:
        if not self._early_posted:
            self._early_posted = True
            self._host.reactor.post(partial(self._send_early, everybody=False))

    def _send_early(self, *, everybody: bool) -> None:
        """Send a heartbeat to viewers whose matches have joined.

        Args:
            everybody: also to those with matches that have yet to join.
        """
        self._early_posted = False
        server_ms = _now_ms()
        for viewer in list(self._early):
            if viewer.gone:
                continue
            if everybody or all(match_id in viewer.unanswered for match_id in viewer.waiting):
                self._early.pop(viewer, None)
                self.write(viewer.fd, self._heartbeat_of(viewer, server_ms))
                self._end_what_is_over(viewer)

    # --- time

    def tick(self, now_s: float) -> None:
        """Do what is due; called each half second or so."""
        self.drop_stalled(now_s)
        self.lists.tick()
        while self._candidates and (ticket := next(iter(self._candidates))).deadline_s < now_s:
            self._resolve_candidate(ticket, self._host.decide_unanswered(ticket.request))
        self._send_early(everybody=True)
        while self._retries and self._retries[0][0] <= now_s:
            _, viewer, match_id = self._retries.popleft()
            if viewer.gone or match_id not in viewer.unanswered:
                continue
            frames: list[bytes] = []
            viewer.unanswered.discard(match_id)
            self._ask(viewer, match_id, frames)
            self._say(viewer, frames)

    def watching(self) -> Mapping[int, _Viewer]:
        """All viewers, by their sockets' numbers."""
        return self._viewers


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
