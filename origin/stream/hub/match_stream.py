"""One match in a stream worker: subscribed once, however many watch it.

Everything here runs on the reactor's thread, except that the bus calls ``_on_delta`` and ``_on_gap`` on a
thread of its own, and that what may block is given to the hub's bus readers. Order is what makes it
right: subscribe, then read where the match stands, then take deltas and drop those that came before.

A viewer is parked until its answer is known, so it is never between two states: it is told the whole
missed part and stands at the head, or it is told nothing yet.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from socket import SocketType
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from origin.bus import Bus, Gap, Published, Replay, Snapshot, Subscription, Suffix
from origin.stream.http.stream_request import StreamRequest, Transport
from origin.stream.hub.config import StreamConfig
from origin.stream.hub.metrics import StreamMetrics
from origin.stream.hub.replay_window import ReplayWindow, Step
from origin.stream.hub.resume import Resumed
from origin.stream.hub.subscribers import Subscribers
from origin.stream.net.reactor import HANGUP, Reactor
from shared_state import DeltaId

__all__ = ["Answer", "MatchStream", "StreamClient", "StreamHost"]

_T = TypeVar("_T")

# Answers kept between two deltas. A storm asks for a handful; who asks for them all fills nothing.
_ANSWERS_MAX = 32


class StreamClient(Protocol):
    """A connection that has a whole request and no answer yet."""

    sock: SocketType
    address: str
    request: StreamRequest
    has_pipelined_data: bool  #: whether bytes stand behind the request

    def finish(self, data: bytes, *, keep_alive: bool) -> None:
        """Send an answer that ends, and serve the next request or close."""

    def close(self) -> None:
        """Close without an answer."""


class Answer(NamedTuple):
    """What one viewer is told before the deltas that all get.

    Attributes:
        name: ``up_to_date``, ``replay`` or ``gap``: the name in the metrics.
        frames: the bytes of it; empty if it missed nothing.
    """

    name: str
    frames: bytes


class StreamHost(Protocol):
    """What a match needs of the hub."""

    bus: Bus
    config: StreamConfig
    metrics: StreamMetrics
    reactor: Reactor

    def ask(self, read: Callable[[], _T], done: Callable[[_T | Exception], None]) -> None:
        """Have ``read`` run on a bus reader, and ``done`` with what it returned or raised back here."""

    def broadcast_began(self, viewers: int) -> None:
        """A fan-out begins."""

    def broadcast_ended(self) -> None:
        """It has ended."""

    def admit(self, visitor: StreamClient, audience: Subscribers, told: Answer) -> None:
        """The answer is known: send it, and hold the viewer."""

    def opened(self, stream: MatchStream) -> None:
        """The match is known, and answers from memory from now on."""

    def not_opened(self, stream: MatchStream, *, unknown: bool, visitors: list[StreamClient]) -> None:
        """The bus does not know this match, or did not answer; these asked for it."""

    def unanswered(self, visitors: list[StreamClient]) -> None:
        """The bus did not answer; these must come again."""


class _Accepted(msgspec.Struct):
    """The part of a delta that says when the log took it."""

    a: int = 0


class _Hashed(msgspec.Struct):
    """The part of a snapshot that goes into heartbeats."""

    hash: str


_accepted_in = msgspec.json.Decoder(_Accepted).decode
_hash_in = msgspec.json.Decoder(_Hashed).decode


@dataclass(slots=True)
class _Opening:
    """What reading a match for the first time gave."""

    subscription: Subscription
    head: DeltaId
    deltas: list[Published]
    hash_id: DeltaId
    hash: str


@dataclass(slots=True)
class _Parked:
    """A viewer whose answer is not known.

    Attributes:
        deadline_s: when it is sent away, on the monotonic clock.
        waits_for: the id the match has to reach before the answer is known, if that is what it waits for.
    """

    visitor: StreamClient
    deadline_s: float
    waits_for: DeltaId | None = None


class MatchStream:
    """See the module.

    Attributes:
        idle_since_s: when somebody was last seen watching it, on the monotonic clock.
    """

    def __init__(self, host: StreamHost, match_id: str, sse: Subscribers, websocket: Subscribers) -> None:
        self.match_id = match_id
        self.audiences = {Transport.SSE: sse, Transport.WEBSOCKET: websocket}
        self.idle_since_s = time.monotonic()
        self._host = host
        self._channel: ReplayWindow | None = None  # None: the match is being opened
        self._subscription: Subscription | None = None
        self._parked: dict[int, _Parked] = {}
        # What the bus said and the loop has not handled: a delta and when it came, or the id of a gap.
        self._incoming: deque[tuple[Published | DeltaId, float]] = deque()
        self._take_posted = False
        self._mending = False
        self._hash: tuple[DeltaId, str] | None = None
        self._reading_hash = False
        self._suspected: DeltaId | None = None
        self._answers: dict[tuple[Transport, DeltaId | None], Answer] = {}
        self._answers_version = -1
        self._closed = False
        host.ask(self._read_opening, self._opened)

    # --- viewers

    @property
    def viewers(self) -> int:
        """How many watch it, or wait to."""
        return len(self._parked) + sum(audience.size for audience in self.audiences.values())

    @property
    def opening(self) -> bool:
        """Whether the bus has not yet said where it stands."""
        return self._channel is None

    def take(self, visitor: StreamClient) -> None:
        """Answer a viewer at once, or park it until the answer is known."""
        channel = self._channel
        if channel is None:
            self._park(visitor)
            return
        request = visitor.request
        told = self.known_answer(request)
        if told is not None:
            self._host.admit(visitor, self.audiences[request.transport], told)
            return
        resumed = channel.answer(request.after)
        if resumed is None:
            self._ask_bus(visitor)
        else:
            self._admit(visitor, channel, resumed)

    def known_answer(self, request: StreamRequest) -> Answer | None:
        """What another viewer with the same id was told, if the match still stands where it stood."""
        channel = self._channel
        if channel is None or channel.version != self._answers_version:
            return None
        return self._answers.get((request.transport, request.after))

    def on_event(self, fd: int, mask: int) -> None:
        """See ``EventHandler``: a parked viewer says something, or has gone."""
        if mask & HANGUP and (parked := self._parked.pop(fd, None)) is not None:
            parked.visitor.close()

    def heartbeat(self, index: int) -> None:
        """Tell a slice of the viewers where the match stands, and keep that knowledge fresh."""
        channel = self._channel
        if channel is None:
            return
        if self._hash is None or self._hash[0] != channel.head or index == 0:
            self._read_hash()
        if self._hash is None:
            return
        head, hash_ = self._hash
        server_ms = time.time_ns() // 1_000_000
        for audience in self.audiences.values():
            if audience.size:
                frame = audience.framing.heartbeat(head, hash_, server_ms)
                self._host.metrics.heartbeats += audience.send_slice(index, frame)

    def drop_overdue(self, now_s: float) -> None:
        """End those who take nothing; send away those whom the bus has not answered."""
        for audience in self.audiences.values():
            audience.drop_stalled(now_s)
        late = [fd for fd, parked in self._parked.items() if parked.deadline_s < now_s]
        if late:
            self._host.unanswered([self._parked.pop(fd).visitor for fd in late])

    def close(self) -> None:
        """Leave the bus. No viewer may be left."""
        self._closed = True
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            self._host.ask(subscription.close, _nothing)

    def part_with_parked(self) -> list[StreamClient]:
        """Give up all parked viewers."""
        visitors = [parked.visitor for parked in self._parked.values()]
        self._parked.clear()
        return visitors

    def _park(self, visitor: StreamClient, waits_for: DeltaId | None = None) -> None:
        fd = visitor.sock.fileno()
        deadline_s = time.monotonic() + self._host.config.bus_wait_s
        self._parked[fd] = _Parked(visitor, deadline_s, waits_for)
        self._host.reactor.register(fd, self)

    def _admit(self, visitor: StreamClient, channel: ReplayWindow, resumed: Resumed) -> None:
        """Answer a viewer. In a storm most left at the same id: the next of them gets these very bytes."""
        request = visitor.request
        audience = self.audiences[request.transport]
        framing = audience.framing
        frames = framing.gap(self.match_id, channel.head) if resumed.gap else framing.deltas(resumed.missed)
        answers = self._answers
        if self._answers_version != channel.version or len(answers) >= _ANSWERS_MAX:
            answers.clear()
            self._answers_version = channel.version
        told = answers[request.transport, request.after] = Answer(resumed.answer, frames)
        self._host.admit(visitor, audience, told)

    # --- what the bus says

    def _on_delta(self, published: Published) -> None:
        self._say(published)

    def _on_gap(self, head: DeltaId) -> None:
        self._say(head)

    def _say(self, news: Published | DeltaId) -> None:
        """On a thread of the bus: hand it to the loop. All that comes until it looks is one fan-out."""
        self._incoming.append((news, time.monotonic()))
        if not self._take_posted:
            self._take_posted = True
            self._host.reactor.post(self._take_published)

    def _take_published(self) -> None:
        self._take_posted = False
        channel = self._channel
        if channel is None or self._mending or self._closed:
            return  # it is looked at again when that has ended
        fresh: list[Published] = []
        since_s = time.monotonic()
        incoming = self._incoming
        while incoming:
            news, came_s = incoming.popleft()
            if isinstance(news, DeltaId):
                self._tell(fresh, since_s)
                fresh = []
                self._lose(channel, news)
                continue
            step = channel.advance(news)
            if step is Step.NEXT:
                since_s = min(since_s, came_s)
                fresh.append(news)
            elif step is Step.HOLE:
                incoming.appendleft((news, came_s))
                self._mend(channel)
                break
        self._tell(fresh, since_s)
        self._answer_waiting(channel)

    def _tell(self, fresh: list[Published], since_s: float) -> None:
        """Send deltas to all. The publisher waits for none of them."""
        if not fresh:
            return
        host = self._host
        metrics = host.metrics
        accepted_ms = fresh[0].id.epoch + _accepted_in(fresh[0].delta).a
        host.broadcast_began(sum(audience.size for audience in self.audiences.values()))
        try:
            for audience in self.audiences.values():
                if not audience.size:
                    continue
                frame = audience.framing.deltas(fresh)

                def told(count: int, size: int = len(frame)) -> None:
                    metrics.deliveries += count * len(fresh)
                    metrics.bytes += count * size
                    metrics.received.observe(time.monotonic() - since_s, count)
                    metrics.committed.observe(max(0.0, time.time() - accepted_ms / 1_000), count)

                audience.broadcast(frame, told)
        finally:
            host.broadcast_ended()

    def _lose(self, channel: ReplayWindow, head: DeltaId) -> None:
        """Deltas are gone for good: all viewers are sent to the snapshot, and go on from ``head``."""
        channel.reset(head)
        self._host.metrics.gaps += 1
        for audience in self.audiences.values():
            if audience.size:
                audience.broadcast(audience.framing.gap(self.match_id, head), _ignore)

    def _mend(self, channel: ReplayWindow) -> None:
        """Read from the bus what it should have said."""
        if not self._mending:
            self._mending = True
            self._host.ask(partial(self._host.bus.replay, self.match_id, channel.head), self._mended)

    def _mended(self, replay: Replay | Exception) -> None:
        self._mending = False
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
                    deltas = []  # the bus keeps fewer; it answers who comes with an older id
            return _Opening(subscription, head, deltas, snapshot.id, _hash_in(snapshot.data).hash)
        except Exception:
            subscription.close()
            raise

    def _opened(self, opening: _Opening | Exception | None) -> None:
        if isinstance(opening, _Opening):
            self._subscription = opening.subscription
            if self._closed:
                self.close()
                return
            self._channel = ReplayWindow(
                self.match_id, opening.head, opening.deltas, self._host.config.replay_window_deltas
            )
            self._hash = (opening.hash_id, opening.hash)
            self._host.opened(self)
            self._take_published()
            for parked in self._unpark():
                self.take(parked.visitor)
            return
        self._closed = True
        self._host.not_opened(self, unknown=opening is None, visitors=self.part_with_parked())

    # --- viewers only the bus can answer

    def _ask_bus(self, visitor: StreamClient) -> None:
        """A viewer is ahead of us, or behind the window. All with the same id share one read."""
        after = visitor.request.after
        assert after is not None  # noqa: S101 - the channel answers viewers without an id
        shared = any(
            parked.visitor.request.after == after and parked.waits_for is None
            for parked in self._parked.values()
        )
        self._park(visitor)
        if not shared:
            self._host.ask(
                partial(self._host.bus.replay, self.match_id, after), partial(self._bus_answered, after)
            )

    def _bus_answered(self, after: DeltaId, replay: Replay | Exception) -> None:
        visitors = [parked.visitor for parked in self._unpark(after)]
        channel = self._channel
        if channel is None or not visitors:
            return
        if isinstance(replay, Exception):
            self._host.unanswered(visitors)
            return
        for visitor in visitors:
            # Asked again: the match may have reached that id meanwhile.
            resumed = channel.answer(after)
            if resumed is None and after > channel.head and not isinstance(replay, Gap):
                # The bus knows that id, so what leads to it is on its way here.
                self._park(visitor, waits_for=after)
                continue
            if resumed is None:
                resumed = self._joined(channel, replay)
            self._admit(visitor, channel, resumed)

    def _joined(self, channel: ReplayWindow, replay: Replay) -> Resumed:
        """What the bus has, up to where this match stands here; the viewer then goes on with all others."""
        gap = Resumed(channel.head, (), True, "gap")
        if not isinstance(replay, Suffix):
            return gap
        missed = [one for one in replay.deltas if one.id <= channel.head]
        if missed and missed[-1].id != channel.head:
            since = channel.answer(missed[-1].id)  # the match has moved on since the bus was read
            if since is None or since.gap:
                return gap
            missed.extend(since.missed)
        return Resumed(channel.head, missed, False, "replay") if missed else gap

    def _answer_waiting(self, channel: ReplayWindow) -> None:
        """Answer those who were ahead, once the match has caught up with them."""
        ready = [
            fd
            for fd, parked in self._parked.items()
            if parked.waits_for is not None and parked.waits_for <= channel.head
        ]
        for fd in ready:
            self.take(self._parked.pop(fd).visitor)

    def _unpark(self, after: DeltaId | None = None) -> list[_Parked]:
        """Give up the parked viewers, or only those that wait for what the bus says of one id."""
        fds = [
            fd
            for fd, parked in self._parked.items()
            if after is None or (parked.visitor.request.after == after and parked.waits_for is None)
        ]
        return [self._parked.pop(fd) for fd in fds]

    # --- what heartbeats say

    def _read_hash(self) -> None:
        if not self._reading_hash:
            self._reading_hash = True
            self._host.ask(partial(self._host.bus.snapshot, self.match_id), self._hash_read)

    def _hash_read(self, snapshot: Snapshot | Exception | None) -> None:
        self._reading_hash = False
        channel = self._channel
        if not isinstance(snapshot, Snapshot) or channel is None or self._closed:
            return
        if self._hash is None or self._hash[0] != snapshot.id:
            self._hash = (snapshot.id, _hash_in(snapshot.data).hash)
        if snapshot.id > channel.head:
            # On its way, or lost: if the next look finds the same, it has been lost.
            if self._suspected == channel.head:
                self._mend(channel)
            self._suspected = channel.head
        else:
            self._suspected = None


def _nothing(result: object) -> None:
    del result


def _ignore(count: int) -> None:
    del count
