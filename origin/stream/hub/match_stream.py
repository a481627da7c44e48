"""One match in a stream worker: subscribed once, however many watch it.

Everything here runs on the reactor's thread, except that the bus calls ``_on_delta`` and ``_on_gap`` on a
thread of its own, and that what may block is given to the hub's bus readers. Order is what makes it
right: subscribe, then read where the match stands, then take deltas and drop those that came before.

A viewer is parked until its answer is known, so it is never between two states: it has got the whole missed
part and stands at the head, or it has got nothing yet. Whoever is parked waits in one of four groups, each
with one question to the bus under way at most, however many viewers and ids it has:

* for the match to be opened;
* with an id ahead of this worker: one question where the bus stands serves them all;
* with an id behind the window: the median of their ids is asked for, which answers one half of them. So
  made-up ids cost the bus the logarithm of their number;
* for an id that the bus has and this worker will get.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

import msgspec

from origin.bus import Bus, Gap, Published, Replay, Snapshot, Subscription, Suffix, UpToDate
from origin.bus.match_row import ENDED_STATUSES
from origin.ladder.advice import Advice
from origin.stream.http.framing import answer_no_more
from origin.stream.http.long_poll import accepted_ms_of
from origin.stream.http.sse import heartbeat_member
from origin.stream.http.stream_request import StreamRequest, Transport
from origin.stream.hub.broadcast_report import report_broadcast
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.decisions import Admit, Answer, Decision, Join, Park, Reply, Ticket
from origin.stream.hub.long_poll import LongPolls
from origin.stream.hub.metrics import StreamMetrics
from origin.stream.hub.replay_window import ReplayWindow, Step
from origin.stream.hub.resume import Resumed
from origin.stream.hub.subscribers import Audience, MatchAudience, Subscribers
from origin.stream.net.reactor import Reactor
from origin.tracing import Tracer
from shared_state import DeltaId, Replica, WireError
from shared_state.wire import PROTOCOL_VERSION, snapshot_version

__all__ = ["FLUSH_S", "MatchStream", "StreamHost"]

_T = TypeVar("_T")

#: So much later a viewer that asked for it gets a comment: what came before it is not the last piece then.
FLUSH_S = 0.5
# Answers kept between two deltas. A storm needs a handful; more are not worth their memory.
_ANSWERS_MAX = 32
# Parked viewers that are answered before deltas, pages and others get their turn.
_RESOLVED_A_TURN = 256


class StreamHost(Protocol):
    """What a match needs of the hub."""

    bus: Bus
    config: StreamConfig
    metrics: StreamMetrics
    reactor: Reactor
    tracer: Tracer
    advice: Advice  #: what heartbeats and long-polls carry beside
    parked: int  #: how many tickets are out, of all matches

    def poll_held(self, address: str, count: int) -> None:
        """So many more (or fewer) held long-polls of an address."""

    def refuse_hold(self, request: StreamRequest, address: str) -> Decision | None:
        """Why a long-poll that was parked cannot be held; None if there is room."""

    def ask(self, read: Callable[[], _T], done: Callable[[_T | Exception], None]) -> None:
        """Have ``read`` run on a bus reader, and ``done`` with what it returned or raised back here."""

    def call_later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Have ``action`` run on the reactor's thread after a time."""

    def broadcast_began(self, viewers: int) -> None:
        """A fan-out begins."""

    def broadcast_ended(self) -> None:
        """It has ended."""

    def decide_known(
        self, request: StreamRequest, address: str, subscribers: Subscribers, answer: Answer
    ) -> Decision:
        """The answer is known: whether there is room for this viewer, and what it gets."""

    def opened(self, stream: MatchStream) -> None:
        """The match is known, and answers from memory from now on."""

    def not_opened(self, stream: MatchStream, *, unknown: bool) -> None:
        """The bus does not know this match, or did not answer."""

    def decide_unknown(self, request: StreamRequest) -> Decision:
        """There is no such match."""

    def decide_unanswered(self, request: StreamRequest) -> Decision:
        """The bus did not answer; the viewer must come again."""


logger = logging.getLogger(__name__)

# What ``_decide`` gives for a long-poll whose slice is not over; nobody else sees it.
_HOLD: Final = Reply(b"", keep_alive=False)


class _Hashed(msgspec.Struct):
    """The part of a snapshot that goes into heartbeats, or says whether the match is over."""

    hash: str
    status: str = ""
    accepted_ms: int | None = None


_hash_in = msgspec.json.Decoder(_Hashed).decode


def _hash_of(snapshot: bytes) -> str:
    """The hash of a snapshot's state, as viewers compute it.

    One that was written by an earlier version of the protocol, and has not changed since, has that version's
    hash in it: each heartbeat would send each viewer to the snapshot again.
    """
    if snapshot_version(snapshot) != PROTOCOL_VERSION:
        try:
            return Replica.restore(snapshot).hash()
        except WireError as error:
            # Of a later version, whose viewers compare with what it says.
            logger.debug("a snapshot cannot be read here: %s", error)
    return _hash_in(snapshot).hash


@dataclass(slots=True)
class _Opening:
    """What reading a match for the first time gave."""

    subscription: Subscription
    head: DeltaId
    deltas: list[Published]
    snapshot: Snapshot


class MatchStream:
    """See the module.

    Attributes:
        subscribers: the viewers of this match alone.
        of_several: the viewers of several matches who watch this one.
        polls: the long-polls that are held.
        idle_since_s: when somebody was last seen watching it, on the monotonic clock.
    """

    def __init__(
        self,
        host: StreamHost,
        match_id: str,
        sse: Subscribers,
        websocket: Subscribers,
        of_several: MatchAudience,
    ) -> None:
        self.match_id = match_id
        self.polls = LongPolls(host, match_id)
        self.subscribers = {Transport.SSE: sse, Transport.WEBSOCKET: websocket}
        self.of_several = of_several
        sse.opening_end = self._heartbeat_now
        sse.opening_end_known = None
        self._audiences: Mapping[Transport, Audience] = {**self.subscribers, Transport.MULTI: of_several}
        self.idle_since_s = time.monotonic()
        self._host = host
        self._window: ReplayWindow | None = None  # None: the match is being opened
        self._subscription: Subscription | None = None
        # All tickets that are out, in the order of their deadlines, which is the order they were given out
        # in.
        self._parked: dict[Ticket, None] = {}
        self._opening_group: dict[Ticket, None] = {}
        self._ahead: dict[Ticket, None] = {}
        self._asking_head = False
        self._behind: dict[DeltaId, dict[Ticket, None]] = {}
        self._asked_behind: DeltaId | None = None
        self._awaited: dict[DeltaId, dict[Ticket, None]] = {}
        self._awaited_order: list[DeltaId] = []
        # Tickets whose answer is known, or has to be looked for again.
        self._ready: deque[Ticket] = deque()
        self._resolve_posted = False
        # What the bus said and the loop has not handled: a delta and when it came, or the id of a gap.
        self._incoming: deque[tuple[Published | DeltaId, float]] = deque()
        self._take_posted = False
        self._filling_gap = False
        self._hash: tuple[DeltaId, str] | None = None
        # From when on the match is over if nothing changes it, UTC milliseconds, and the id that this is of.
        self._over: tuple[DeltaId, float] | None = None
        # Whether deltas went out so lately that further ones wait for company.
        self._gated = False
        self._member: tuple[tuple[DeltaId, str], bytes] | None = None
        self._reading_hash = False
        # Where the match stood when the bus was found to have more, and the id that the bus had.
        self._suspected: tuple[DeltaId, DeltaId] | None = None
        self._answers: dict[tuple[Transport, DeltaId | None], Answer] = {}
        self._answers_version = -1
        self._closed = False
        host.ask(self._read_opening, self._opened)

    # --- viewers

    @property
    def viewers(self) -> int:
        """How many watch it, or wait to."""
        watching = sum(audience.size for audience in self._audiences.values())
        return len(self._parked) + len(self.polls) + watching

    @property
    def opening(self) -> bool:
        """Whether the bus has not yet said where it stands."""
        return self._window is None

    @property
    def ended(self) -> bool:
        """Whether the match is over: in a final status, and unchanged for long. A correction reopens it."""
        over, window = self._over, self._window
        return over is not None and window is not None and over[0] == window.head and over[1] <= _now_ms()

    def stands_at(self, after: DeltaId | None) -> bool:
        """Whether a viewer with this id has missed nothing."""
        return self._window is not None and self._window.head == after

    def decide(self, request: StreamRequest, address: str) -> Decision:
        """Answer a viewer, or park it until its answer is known."""
        decision = self._decide(request, address)
        if decision is not None and decision is not _HOLD:
            return decision
        ticket = Ticket(request, address, time.monotonic() + self._host.config.bus_wait_s)
        if decision is _HOLD:
            self.polls.hold(ticket)
            return Park(ticket, self.cancel)
        self._parked[ticket] = None
        self._host.parked += request.transport is not Transport.MULTI
        self._wait(ticket)
        return Park(ticket, self.cancel)

    def cancel(self, ticket: Ticket) -> None:
        """The client of a parked ticket has gone."""
        self._forget(ticket)
        self.polls.cancel(ticket)

    def _decide(self, request: StreamRequest, address: str) -> Decision | None:
        """What is decided; None if only the bus knows, ``_HOLD`` for a long-poll that is to be held."""
        window = self._window
        if window is None:
            return None
        if request.transport is Transport.LONG_POLL:
            resumed = window.answer(request.after)
            return None if resumed is None else self._decide_poll(request, resumed)
        answer = self.known_answer(request)
        if answer is None:
            resumed = window.answer(request.after)
            if resumed is None:
                return None
            answer = self._answer_for(request, window, resumed)
        return self._admission(request, address, answer)

    def _decide_poll(self, request: StreamRequest, resumed: Resumed) -> Decision:
        return self.polls.decide(request, resumed, ended=self.ended, quiet=self._is_quiet) or _HOLD

    def _is_quiet(self) -> bool:
        """Whether nothing that the bus said is still to be handled."""
        if self._incoming or self._filling_gap:
            return False
        # What the bus had more may have come since, as it does within a burst; the next look may be far off.
        return self._suspected is None or self._window is None or self._window.head >= self._suspected[1]

    def _admission(self, request: StreamRequest, address: str, answer: Answer) -> Decision:
        """The answer is known; a viewer of several matches was admitted before."""
        if request.transport is Transport.MULTI:
            return Join(answer)
        subscribers = self.subscribers[request.transport]
        decision = self._host.decide_known(request, address, subscribers, answer)
        if isinstance(decision, Admit) and self.ended:
            if request.transport is Transport.SSE and self.stands_at(request.after):
                # An EventSource that gets this does not come again.
                return Reply(answer_no_more(keep_alive=request.keep_alive), request.keep_alive)
            return decision._replace(end=subscribers.framing.end(self.match_id, "ended"))
        return decision

    def gap_answer(self, transport: Transport) -> Answer:
        """The answer that is right whatever a viewer has. The match must be open."""
        assert self._window is not None  # noqa: S101
        return Answer("gap", self._audiences[transport].framing.gap(self.match_id, self._window.head))

    def known_answer(self, request: StreamRequest) -> Answer | None:
        """What another viewer with the same id got, if the match still stands where it stood."""
        window = self._window
        if window is None or window.version != self._answers_version:
            return None
        return self._answers.get((request.transport, request.after))

    def heartbeat(self, index: int) -> None:
        """Send a slice of the viewers where the match stands, and keep that knowledge fresh."""
        window = self._window
        if window is None:
            return
        if self._hash is None or self._hash[0] != window.head or index == 0:
            self._read_hash()
        if self._hash is None:
            return
        head, hash_ = self._hash
        server_ms = _now_ms()
        for subscribers in self.subscribers.values():
            if subscribers.size:
                frame = subscribers.framing.heartbeat(head, hash_, server_ms, self._host.advice)
                self._host.metrics.heartbeats += subscribers.send_slice(index, frame)
                self._flush_later(subscribers, index)
                if self.ended:
                    end = subscribers.framing.end(self.match_id, "ended")
                    for fd in subscribers.slice_of(index):
                        subscribers.end(fd, end)

    def _heartbeat_now(self) -> bytes:
        """A heartbeat for the new viewers of this match alone, over SSE, that come in one turn of the loop.

        Its time is that of the first of them, so it says nothing of later than what is known.
        """
        known = self._hash
        if known is None:
            return b""
        sse = self.subscribers[Transport.SSE]
        frame = sse.framing.heartbeat(*known, _now_ms(), self._host.advice)
        sse.opening_end_known = frame
        self._host.reactor.post(self._forget_heartbeat)
        return frame

    def _forget_heartbeat(self) -> None:
        self.subscribers[Transport.SSE].opening_end_known = None

    def _flush_later(self, audience: Audience, index: int | None = None) -> None:
        """Send those a comment who hold back the last piece that they have got."""
        if audience.flushing:
            fds = audience.flushing if index is None else audience.flushing & set(audience.slice_of(index))
            if fds:
                self._host.call_later(FLUSH_S, partial(audience.flush, tuple(fds)))

    def heartbeat_member(self) -> bytes:
        """What the heartbeat of viewers of several matches says of this one; empty if it is not known."""
        known = self._hash
        if known is None:
            return b""
        if self._member is None or self._member[0] is not known:
            self._member = (known, heartbeat_member(self.match_id, *known))
        return self._member[1]

    def drop_overdue(self, now_s: float) -> None:
        """End viewers that take nothing; refuse those whom the bus has not answered in time."""
        for subscribers in self.subscribers.values():
            subscribers.drop_stalled(now_s)
        self.polls.tick(ended=self.ended, quiet=self._is_quiet)
        while self._parked and (ticket := next(iter(self._parked))).deadline_s < now_s:
            self._resolve(ticket, self._host.decide_unanswered(ticket.request))

    def close(self) -> None:
        """Leave the bus. No viewer may be left."""
        self._closed = True
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            self._host.ask(subscription.close, _nothing)

    def resolve_all(self, decide: Callable[[StreamRequest], Decision]) -> None:
        """Resolve every ticket that is out by what is decided for its request alone."""
        for ticket in list(self._parked):
            self._resolve(ticket, decide(ticket.request))
        self.polls.resolve_all(decide)

    def _resolve(self, ticket: Ticket, decision: Decision) -> None:
        self._forget(ticket)
        ticket.resolve(decision)

    def _forget(self, ticket: Ticket) -> None:
        """A ticket waits no more."""
        if ticket in self._parked:
            del self._parked[ticket]
            self._host.parked -= ticket.request.transport is not Transport.MULTI
            self._leave_group(ticket)

    def _leave_group(self, ticket: Ticket) -> None:
        if ticket.group is not None:
            ticket.group.pop(ticket, None)
            ticket.group = None

    def _join_group(self, ticket: Ticket, group: dict[Ticket, None]) -> None:
        group[ticket] = None
        ticket.group = group

    def _wait(self, ticket: Ticket) -> None:
        """Put a ticket into the group of what it waits for, and ask for that if nobody has."""
        window, after = self._window, ticket.request.after
        if window is None:
            self._join_group(ticket, self._opening_group)
            return
        assert after is not None  # noqa: S101 - the window answers viewers without an id
        if after > window.head:
            self._join_group(ticket, self._ahead)
            self._ask_head()
        else:
            self._join_group(ticket, self._behind.setdefault(after, {}))
            self._ask_behind()

    def _make_ready(self, group: dict[Ticket, None]) -> None:
        """Have the tickets of a group looked at, a number of them a turn."""
        tickets = list(group)
        group.clear()
        for ticket in tickets:
            ticket.group = None
        self._ready.extend(tickets)
        if self._ready and not self._resolve_posted:
            self._resolve_posted = True
            self._host.reactor.post(self._resolve_ready)

    def _resolve_ready(self) -> None:
        self._resolve_posted = False
        for _ in range(min(_RESOLVED_A_TURN, len(self._ready))):
            ticket = self._ready.popleft()
            if ticket not in self._parked:
                continue  # its client left, or its time was up
            decision = self._decide(ticket.request, ticket.address)
            if decision is None:
                self._wait(ticket)
            elif decision is _HOLD:
                self._forget(ticket)
                # Others may have come while this one was parked.
                refusal = self._host.refuse_hold(ticket.request, ticket.address)
                if refusal is None:
                    self.polls.hold(ticket)
                else:
                    ticket.resolve(refusal)
            else:
                self._resolve(ticket, decision)
        self._make_ready({})

    def _answer_for(self, request: StreamRequest, window: ReplayWindow, resumed: Resumed) -> Answer:
        """The bytes of an answer. In a storm most left at one id, and the next of them gets these bytes."""
        framing = self._audiences[request.transport].framing
        frames = framing.gap(self.match_id, window.head) if resumed.gap else framing.deltas(resumed.missed)
        answers = self._answers
        if self._answers_version != window.version or len(answers) >= _ANSWERS_MAX:
            answers.clear()
            self._answers_version = window.version
        answer = answers[request.transport, request.after] = Answer(resumed.answer, frames)
        return answer

    # --- what the bus says

    def _on_delta(self, published: Published) -> None:
        self._enqueue(published)

    def _on_gap(self, head: DeltaId) -> None:
        self._enqueue(head)

    def _enqueue(self, incoming: Published | DeltaId) -> None:
        """On a thread of the bus: hand it to the loop. All that comes until it looks is one fan-out."""
        self._incoming.append((incoming, time.monotonic()))
        if not self._take_posted:
            self._take_posted = True
            self._host.reactor.post(self._take_published)

    def _take_published(self) -> None:
        self._take_posted = False
        window = self._window
        if window is None or self._filling_gap or self._closed or self._gated:
            return  # it is looked at again when that has ended
        fresh: list[Published] = []
        since_s = time.monotonic()
        incoming = self._incoming
        while incoming:
            item, came_s = incoming.popleft()
            if isinstance(item, DeltaId):
                self._broadcast(fresh, since_s)
                fresh = []
                self._lose(window, item)
                continue
            step = window.advance(item)
            if step is Step.NEXT:
                since_s = min(since_s, came_s)
                fresh.append(item)
            elif step is Step.HOLE:
                incoming.appendleft((item, came_s))
                self._fill_gap(window)
                break
        self._broadcast(fresh, since_s)
        self._answer_waiting(window)

    def _broadcast(self, fresh: list[Published], since_s: float) -> None:
        """Send deltas to all. The publisher waits for none of them."""
        if not fresh:
            return
        host = self._host
        metrics = host.metrics
        accepted_ms = accepted_ms_of(fresh[0])
        viewers = sum(audience.size for audience in self._audiences.values()) + len(self.polls)
        host.broadcast_began(viewers - len(self.polls))
        try:
            for audience in self._audiences.values():
                if not audience.size:
                    continue
                frame = audience.framing.deltas(fresh)

                def count_sent(count: int, size: int = len(frame)) -> None:
                    metrics.deliveries += count * len(fresh)
                    metrics.bytes += count * size
                    metrics.received.observe(time.monotonic() - since_s, count)
                    metrics.committed.observe(max(0.0, time.time() - accepted_ms / 1_000), count)

                audience.broadcast(frame, count_sent)
                self._flush_later(audience)
            self.polls.broadcast(fresh, self._is_quiet)
        finally:
            host.broadcast_ended()
        report_broadcast(metrics, host.tracer, self.match_id, fresh, since_s, viewers)
        if host.config.broadcast_interval_s:
            self._gated = True
            host.call_later(host.config.broadcast_interval_s, self._open_gate)

    def _open_gate(self) -> None:
        self._gated = False
        if self._incoming:
            self._take_published()

    def _lose(self, window: ReplayWindow, head: DeltaId) -> None:
        """Deltas are gone for good: all viewers are sent to the snapshot, and go on from ``head``."""
        window.reset(head)
        self._host.metrics.gaps += 1
        for audience in self._audiences.values():
            if audience.size:
                audience.broadcast(audience.framing.gap(self.match_id, head), _ignore)
        self.polls.lost(head)

    def _fill_gap(self, window: ReplayWindow) -> None:
        """Read from the bus what it should have said."""
        if not self._filling_gap:
            self._filling_gap = True
            self._host.ask(partial(self._host.bus.replay, self.match_id, window.head), self._gap_filled)

    def _gap_filled(self, replay: Replay | Exception) -> None:
        self._filling_gap = False
        if self._closed:
            return
        now_s = time.monotonic()
        match replay:
            case Suffix(deltas):
                self._incoming.extendleft((one, now_s) for one in reversed(deltas))
            case Gap(DeltaId() as head):
                # What was said up to that id is in the snapshot.
                later = [item for item in self._incoming if isinstance(item[0], DeltaId) or item[0].id > head]
                self._incoming.clear()
                self._incoming.append((head, now_s))
                self._incoming.extend(later)
            case _:
                return  # the bus does not answer, or contradicts itself: the next heartbeat tries again
        self._take_published()

    # --- opening

    def _read_opening(self) -> _Opening | None:
        """On a bus reader. None if the bus does not know the match."""
        bus = self._host.bus
        # A look before the subscription: a name somebody made up costs one read, and leaves nothing.
        if bus.snapshot(self.match_id) is None:
            return None
        subscription = bus.subscribe(self.match_id, self._on_delta, self._on_gap)
        try:
            snapshot = bus.snapshot(self.match_id)
            if snapshot is None:
                subscription.close()
                return None
            head = snapshot.id
            first = DeltaId(head.epoch, max(0, head.seq - self._host.config.replay_window_deltas))
            match bus.replay(self.match_id, first):
                case Suffix(found) if found[-1].id >= head:
                    deltas = list(found)
                    head = deltas[-1].id
                case _:
                    deltas = []  # the bus keeps fewer; viewers with older ids are answered by it
            return _Opening(subscription, head, deltas, snapshot)
        except Exception:
            subscription.close()
            raise

    def _opened(self, opening: _Opening | Exception | None) -> None:
        if isinstance(opening, _Opening):
            self._subscription = opening.subscription
            if self._closed:
                self.close()
                return
            self._window = ReplayWindow(
                self.match_id, opening.head, opening.deltas, self._host.config.replay_window_deltas
            )
            self._take_hash(opening.snapshot)
            self._host.opened(self)
            self._take_published()
            self._make_ready(self._opening_group)
            return
        self._closed = True
        self._host.not_opened(self, unknown=opening is None)
        self.resolve_all(self._host.decide_unknown if opening is None else self._host.decide_unanswered)

    # --- viewers only the bus can answer

    def _ask_head(self) -> None:
        """Ask where the bus stands, for all who are ahead of this worker."""
        if self._asking_head or self._window is None:
            return
        self._asking_head = True
        read = partial(self._host.bus.replay, self.match_id, self._window.head)
        self._host.ask(read, partial(self._head_answered, self._window.head))

    def _head_answered(self, asked: DeltaId, replay: Replay | Exception) -> None:
        self._asking_head = False
        window, tickets = self._window, list(self._ahead)
        if window is None:
            return
        match replay:
            case Suffix(deltas):
                bus_head = deltas[-1].id
            case UpToDate():
                bus_head = asked
            case Gap(DeltaId() as head):
                bus_head = head
            case Gap():
                bus_head = window.head
            case _:
                for ticket in tickets:
                    self._resolve(ticket, self._host.decide_unanswered(ticket.request))
                return
        reachable = max(bus_head, window.head)
        for ticket in tickets:
            after = ticket.request.after
            assert after is not None  # noqa: S101
            self._leave_group(ticket)
            if after <= window.head or after.epoch != window.head.epoch:
                self._make_ready({ticket: None})
            elif after <= reachable and after.epoch == reachable.epoch:
                # The bus knows that id, so the deltas up to it will arrive here.
                if after not in self._awaited:
                    self._awaited[after] = {}
                    heapq.heappush(self._awaited_order, after)
                self._join_group(ticket, self._awaited[after])
            else:
                self._resolve_as_gap(ticket)

    def _ask_behind(self) -> None:
        """Ask for the median of the ids that lie behind the window."""
        if self._asked_behind is not None:
            return  # before anything is looked through: this is asked for each viewer that comes
        self._behind = {id_: group for id_, group in self._behind.items() if group}
        if not self._behind:
            return
        ids = sorted(self._behind)
        asked = self._asked_behind = ids[len(ids) // 2]
        self._host.ask(
            partial(self._host.bus.replay, self.match_id, asked), partial(self._behind_answered, asked)
        )

    def _behind_answered(self, asked: DeltaId, replay: Replay | Exception) -> None:
        self._asked_behind = None
        window = self._window
        if window is None:
            return
        for id_ in sorted(self._behind):
            group = self._behind.get(id_)
            if not group:
                continue  # whoever waited has left; it is dropped before the next question
            known = window.answer(id_)
            if known is not None:  # another epoch has begun meanwhile
                del self._behind[id_]
                self._make_ready(group)
            elif isinstance(replay, Exception):
                del self._behind[id_]
                for ticket in list(group):
                    self._resolve(ticket, self._host.decide_unanswered(ticket.request))
            elif isinstance(replay, Suffix) and id_ >= asked:
                del self._behind[id_]
                self._resolve_group(group, window, self._joined(window, id_, replay))
            elif not isinstance(replay, Suffix) and id_ <= asked:
                # Where an id is trimmed, so are all before it.
                del self._behind[id_]
                for ticket in list(group):
                    self._resolve_as_gap(ticket)
        self._ask_behind()

    def _resolve_group(self, group: dict[Ticket, None], window: ReplayWindow, resumed: Resumed) -> None:
        for ticket in list(group):
            if ticket.request.transport is Transport.LONG_POLL:
                self._resolve(ticket, self._decide_poll(ticket.request, resumed))
                continue
            self._resolve_with(ticket, self._answer_for(ticket.request, window, resumed))

    def _resolve_as_gap(self, ticket: Ticket) -> None:
        if ticket.request.transport is Transport.LONG_POLL:
            assert self._window is not None  # noqa: S101 - only an open match knows of a gap
            gap = Resumed(self._window.head, (), True, "gap")
            self._resolve(ticket, self._decide_poll(ticket.request, gap))
            return
        # Not kept for others: an id that is unknown now may be published in a moment.
        self._resolve_with(ticket, self.gap_answer(ticket.request.transport))

    def _resolve_with(self, ticket: Ticket, answer: Answer) -> None:
        self._forget(ticket)
        ticket.resolve(self._admission(ticket.request, ticket.address, answer))

    def _joined(self, window: ReplayWindow, after: DeltaId, replay: Suffix) -> Resumed:
        """What the bus has behind an id, up to where this match stands here."""
        gap = Resumed(window.head, (), True, "gap")
        missed = [one for one in replay.deltas if after < one.id <= window.head]
        if missed and missed[-1].id != window.head:
            since = window.answer(missed[-1].id)  # the match has moved on since the bus was read
            if since is None or since.gap:
                return gap
            missed.extend(since.missed)
        return Resumed(window.head, missed, False, "replay") if missed else gap

    def _answer_waiting(self, window: ReplayWindow) -> None:
        """Answer those who were ahead, once the match has caught up with them."""
        while self._awaited_order and (
            self._awaited_order[0] <= window.head or self._awaited_order[0].epoch < window.head.epoch
        ):
            self._make_ready(self._awaited.pop(heapq.heappop(self._awaited_order)))

    # --- what heartbeats say

    def _read_hash(self) -> None:
        if not self._reading_hash:
            self._reading_hash = True
            self._host.ask(partial(self._host.bus.snapshot, self.match_id), self._hash_read)

    def _take_hash(self, snapshot: Snapshot) -> None:
        found = _hash_in(snapshot.data)
        self._hash = (snapshot.id, _hash_of(snapshot.data))
        self._forget_heartbeat()
        self._over = None
        if found.status in ENDED_STATUSES:
            changed_ms = _now_ms() if found.accepted_ms is None else found.accepted_ms
            self._over = (snapshot.id, changed_ms + self._host.config.ended_after_s * 1_000)

    def _hash_read(self, snapshot: Snapshot | Exception | None) -> None:
        self._reading_hash = False
        window = self._window
        if not isinstance(snapshot, Snapshot) or window is None or self._closed:
            return
        if self._hash is None or self._hash[0] != snapshot.id:
            self._take_hash(snapshot)
        if snapshot.id > window.head:
            # Still to arrive, or lost: if the next look finds the same, it is lost.
            if self._suspected is not None and self._suspected[0] == window.head:
                self._fill_gap(window)
            self._suspected = (window.head, snapshot.id)
        else:
            self._suspected = None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _nothing(result: object) -> None:
    del result


def _ignore(count: int) -> None:
    del count
