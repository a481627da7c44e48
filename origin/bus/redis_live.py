"""Live deltas from Redis: one Pub/Sub connection per server and process, and what makes up for its losses.

Redis' Pub/Sub delivers at most once: a message that is sent while the connection is down is lost. So
messages are only the fast path, and the stream is the truth. The reader thread (``redis_reader``) passes
messages to each match's ``Cursor`` and never waits for a server. The supervisor thread does everything that
may block:

- it finds the server that has each match, connects to it, and makes the reader subscribe;
- it re-reads the stream from the last id delivered whenever something may have been lost: after a
  subscription was confirmed, and after a message that did not follow the one before;
- on a timer it compares the last id delivered with the head of each match. That finds losses on
  connections that look healthy, and delivers the deltas of a match without a live connection, only later.
  A connection that goes on losing messages is replaced.

A failure of one server or of one match does not delay the others.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from origin.bus import BusHealth, Gap
from origin.bus.redis_cursor import Cursor, Subscriber
from origin.bus.redis_reader import Attempts, Link, Reader
from origin.bus.redis_servers import REDIS_ERRORS, Node, Servers
from origin.bus.redis_store import PROVENANCE_ID, Head, RedisStore, decode_announcement, decode_message
from origin.errors import BusError
from shared_state import DeltaId, WireError

__all__ = ["Live"]

logger = logging.getLogger(__name__)

# A message, and the answer to a request made at the same time, may overtake each other by this much.
IN_FLIGHT_S = 0.25
REREAD_BATCH = 100


class Live:
    """All subscriptions of one bus in this process. Its threads start when they are first needed."""

    def __init__(
        self,
        servers: Servers,
        store: RedisStore,
        *,
        timeout_s: float,
        check_s: float,
        random_unit: Callable[[], float] = random.random,
    ) -> None:
        self._servers = servers
        self._store = store
        self._timeout_s = timeout_s
        self._check_s = check_s
        # Taken before a cursor's own lock, never after: callbacks of subscribers run under the latter.
        self._lock = threading.Lock()
        self._cursors: dict[str, Cursor] = {}
        self._links: dict[Node | None, Link] = {}
        self._link_of: dict[Cursor, Link] = {}
        self._confirmed: set[Cursor] = set()
        self._lagging: dict[Cursor, int] = {}  # how many checks in a row found it behind
        # Used by the supervisor only: what a check found, and when to verify it.
        self._suspects: dict[Cursor, Head] = {}
        self._verify_at = math.inf
        self._next_check = 0.0
        self._healed = 0
        self._fault = ""
        self._attempts = Attempts(random_unit)
        self._hung: set[Node | None] = set()  # those whose last attempt to connect timed out
        self._retry_at = math.inf
        self._servers_in_doubt = False
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._reader: Reader | None = None
        self._supervisor: threading.Thread | None = None

    def start(self) -> None:
        """Start the threads, unless they run already or the bus is closed."""
        if self._supervisor is not None:
            return
        with self._lock:
            if self._supervisor is not None or self._stopping.is_set():
                return
            self._reader = Reader(self._on_message, self._on_lost, self._timeout_s)
            self._supervisor = threading.Thread(
                target=self._supervise, args=[self._reader], name="bus-supervisor", daemon=True
            )
            self._supervisor.start()

    def subscribe(self, match_id: str, subscriber: Subscriber) -> tuple[Cursor, int]:
        """Subscribe; returns once Redis has confirmed it and the match's id is known.

        Raises:
            BusError: that took too long, or the bus is closed.
        """
        self.start()
        with self._lock:
            cursor = self._cursors.get(match_id)
            if cursor is None:
                cursor = self._cursors[match_id] = Cursor(match_id)
            key = cursor.add(subscriber)
        self._wake.set()
        # A command to a hung server fails after timeout_s, and is tried once more.
        wait_s = 0.0 if self._stopping.is_set() else 2 * self._timeout_s + 1.0
        if cursor.ready.wait(wait_s):
            return cursor, key
        self.unsubscribe(cursor, key)
        raise BusError(f"match {match_id}: no live deltas: {self._fault or 'Redis does not answer'}")

    def unsubscribe(self, cursor: Cursor, key: int) -> None:
        """End one subscription; the channel is unsubscribed once it has no other subscriber."""
        cursor.remove(key)
        if not cursor.wanted:
            self._wake.set()

    def health(self) -> BusHealth:
        """What the last check and the reader found."""
        self.start()
        with self._lock:
            lagging = len(self._lagging)
            detached = sum(1 for c in self._cursors.values() if c.ready.is_set() and c not in self._confirmed)
            reason = self._fault
            if not reason and detached:
                reason = f"{detached} matches have no live connection"
            if not reason and lagging:
                reason = f"{lagging} matches stand further than what was delivered"
            return BusHealth(ok=not reason, reason=reason, lagging=lagging, healed=self._healed)

    def close(self) -> None:
        """Stop both threads and close all connections."""
        self._stopping.set()
        self._wake.set()
        if self._supervisor is not None and threading.current_thread() is not self._supervisor:
            self._supervisor.join(timeout=2 * self._timeout_s + 1.0)
        if self._reader is not None:
            self._reader.close()
        with self._lock:
            cursors = list(self._cursors.values())
            self._cursors.clear()
        for cursor in cursors:
            cursor.clear()

    # Called by the reader ------------------------------------------------------------------------

    def _on_message(self, link: Link, kind: bytes, channel: bytes, data: Any) -> None:
        cursor = self._cursors.get(self._store.match_of(channel))
        if cursor is None or self._link_of.get(cursor) is not link:
            return  # it has no subscriber any more, or another connection has it now
        if kind in (b"message", b"smessage"):
            try:
                published = decode_message(data)
                if published.id == PROVENANCE_ID:
                    cursor.announced = decode_announcement(published.delta)
                    return
                in_order = cursor.take_live(published)
            except (WireError, UnicodeDecodeError):
                logger.warning("channel %r carries a message that is no delta: %.80r", channel, data)
                return
            if not in_order:
                self._wake.set()
        elif kind in (b"subscribe", b"ssubscribe"):
            cursor.stale = True
            with self._lock:
                if self._link_of.get(cursor) is link:
                    self._confirmed.add(cursor)
                self._attempts.succeeded(link.node)
            self._wake.set()
        elif kind == b"sunsubscribe":
            # We did not ask for it, or the match would not be on this link: its slot has moved.
            with self._lock:
                self._detach(cursor)
                self._servers_in_doubt = True
            self._wake.set()

    def _on_lost(self, link: Link, why: str) -> None:
        with self._lock:
            if self._links.get(link.node) is link:
                del self._links[link.node]
            for cursor in [cursor for cursor, at in self._link_of.items() if at is link]:
                self._detach(cursor)
            self._fault = f"live connection to {link.node} lost: {why}"
            self._servers_in_doubt = True
            self._attempts.postpone(link.node)
        logger.warning("live connection to %s lost: %s", link.node, why)
        self._wake.set()

    def _detach(self, cursor: Cursor) -> None:
        """Make the supervisor find a connection for this match; the caller has ``_lock``."""
        self._link_of.pop(cursor, None)
        self._confirmed.discard(cursor)

    # The supervisor ------------------------------------------------------------------------------

    def _supervise(self, reader: Reader) -> None:
        while not self._stopping.is_set():
            try:
                wait_s = self._supervise_once(reader)
            except Exception as error:
                # Without this thread lost deltas would stay lost, and nothing would show it.
                logger.exception("the supervisor of the bus failed")
                self._failed(error)
                wait_s = self._check_s
            self._wake.wait(wait_s)
            self._wake.clear()

    def _supervise_once(self, reader: Reader) -> float:
        """Do what is due; returns the seconds until something else is, unless it is woken."""
        self._forget_unwanted(reader)
        self._attach_all(reader)
        self._fill_gaps()
        now = time.monotonic()
        if now >= self._verify_at:
            self._verify_at = math.inf
            self._verify(reader)
        if now >= self._next_check:
            self._check(reader)
            self._verify_at = time.monotonic() + IN_FLIGHT_S
            self._next_check = self._verify_at + self._check_s
        return max(0.0, min(self._next_check, self._verify_at, self._retry_at) - time.monotonic())

    def _forget_unwanted(self, reader: Reader) -> None:
        with self._lock:
            unwanted = [cursor for cursor in self._cursors.values() if not cursor.wanted]
            for cursor in unwanted:
                del self._cursors[cursor.match_id]
                self._lagging.pop(cursor, None)
                link = self._link_of.get(cursor)
                self._detach(cursor)
                if link is not None:
                    unsubscribe = "SUNSUBSCRIBE" if self._servers.sharded else "UNSUBSCRIBE"
                    reader.send(link, unsubscribe, self._store.channel(cursor.match_id))

    def _attach_all(self, reader: Reader) -> None:
        """Give every match that has none a live connection to the server that has the match."""
        self._retry_at = math.inf
        with self._lock:
            detached = [cursor for cursor in self._cursors.values() if cursor not in self._link_of]
        if not detached:
            return
        parts = self._by_node(detached)
        if self._servers_in_doubt and any(map(self._is_due, parts)):
            self._servers_in_doubt = False
            try:
                self._servers.refresh()
            except REDIS_ERRORS as error:
                self._failed(error)  # the known servers may still be right, for example without Sentinels
            parts = self._by_node(detached)
        with self._lock:
            self._attempts.keep({*parts, *self._links})
        self._hung &= parts.keys()
        # An attempt may last for timeout_s, and viewers of other servers wait meanwhile. So servers that
        # failed before come last, and only one of them is tried per turn.
        doubtful_tried = False
        for node in sorted(
            parts, key=lambda node: (node not in self._links, self._attempts.not_before(node))
        ):
            link = self._links.get(node)
            if link is None and self._is_due(node):
                doubtful = self._attempts.not_before(node) > -math.inf
                if not (doubtful and doubtful_tried):
                    link = self._connect(reader, node)
                doubtful_tried |= doubtful
            if link is None:
                self._retry_at = min(self._retry_at, self._attempts.not_before(node))
                continue
            for cursor in parts[node]:
                self._attach(reader, link, cursor)

    def _is_due(self, node: Node | None) -> bool:
        return self._attempts.not_before(node) <= time.monotonic()

    def _connect(self, reader: Reader, node: Node | None) -> Link | None:
        try:
            if node is None:
                raise RedisError("no server has the slot of a match")
            link = Link(node, self._servers.connect(node))
        except REDIS_ERRORS as error:
            self._failed(error)
            if isinstance(error, RedisTimeoutError):
                self._hung.add(node)
            with self._lock:
                self._attempts.postpone(node)
            return None
        self._hung.discard(node)
        with self._lock:
            self._links[node] = link
        reader.adopt(link)
        return link

    def _attach(self, reader: Reader, link: Link, cursor: Cursor) -> None:
        with self._lock:
            if not link.open:
                return  # lost meanwhile; the supervisor has been woken for that
            self._link_of[cursor] = link
            subscribe = "SSUBSCRIBE" if self._servers.sharded else "SUBSCRIBE"
            reader.send(link, subscribe, self._store.channel(cursor.match_id))

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self._fault = _described(error)
            self._servers_in_doubt = True

    def _fill_gaps(self) -> None:
        """Re-read what may have been missed; the next check asks a server again that does not answer."""
        tried: set[Cursor] = set()
        silent: set[Node | None] = {None}
        while not self._stopping.is_set():
            with self._lock:
                stale = [cursor for cursor in self._confirmed if cursor.stale and cursor not in tried]
            if not stale:
                return
            tried.update(stale[:REREAD_BATCH])
            for node, cursors in self._by_node(stale[:REREAD_BATCH]).items():
                if node is None or node in silent:
                    continue
                try:
                    self._fill_gaps_from(node, cursors)
                except REDIS_ERRORS as error:
                    silent.add(node)
                    for cursor in cursors:
                        cursor.stale = True
                    logger.warning("%s: deltas cannot be read again yet: %s", node, error)

    def _fill_gaps_from(self, node: Node, cursors: Sequence[Cursor]) -> None:
        for cursor in cursors:
            cursor.stale = False  # before the read: a loss during the read must set it again
        begun = [cursor for cursor in cursors if cursor.ready.is_set()]
        for cursor, head in self._heads(node, [cursor for cursor in cursors if cursor not in begun]):
            if isinstance(head, Exception):
                self._note_unread(cursor, head)
            else:
                cursor.begin(head.id)
        self._reread(node, begun)

    def _note_unread(self, cursor: Cursor, error: Exception) -> None:
        cursor.stale = True
        logger.warning("match %s: deltas cannot be read again yet: %s", cursor.match_id, error)

    def _heads(self, node: Node, cursors: Sequence[Cursor]) -> list[tuple[Cursor, Head | Exception]]:
        if not cursors:
            return []
        heads = self._store.heads_at(self._servers.client_of(node), [cursor.match_id for cursor in cursors])
        return list(zip(cursors, heads, strict=True))

    def _reread(self, node: Node, cursors: Sequence[Cursor]) -> int:
        """Deliver what was missed; returns how many deltas that were."""
        brought = 0
        questions = [(cursor, cursor.position or DeltaId(0, 0)) for cursor in cursors]
        # If the bus did not know a match, or knew it in an older epoch, and a newer epoch has begun, its
        # deltas are there from the first one on; a second round asks for them.
        for last_round in (False, True):
            if not questions:
                break
            asked = [(cursor.match_id, after) for cursor, after in questions]
            answers = self._store.replays(self._servers.client_of(node), asked)
            restarted: list[tuple[Cursor, DeltaId]] = []
            for (cursor, after), answer in zip(questions, answers, strict=True):
                head = answer.head if isinstance(answer, Gap) else None
                if isinstance(answer, Exception):
                    self._note_unread(cursor, answer)
                elif head is not None and head.epoch > after.epoch and not last_round:
                    restarted.append((cursor, DeltaId(head.epoch, 0)))
                else:
                    brought += cursor.take_replay(answer)
            questions = restarted
        return brought

    def _by_node(self, cursors: Iterable[Cursor]) -> dict[Node | None, list[Cursor]]:
        """The matches by the server to ask: that of the live connection, else the one that has the match."""
        with self._lock:
            linked = [(cursor, self._link_of.get(cursor)) for cursor in cursors]
        parts: dict[Node | None, list[Cursor]] = {}
        for cursor, link in linked:
            parts.setdefault(self._owner(cursor) if link is None else link.node, []).append(cursor)
        return parts

    def _owner(self, cursor: Cursor) -> Node | None:
        try:
            return self._servers.node_of(self._store.stream_key(cursor.match_id))
        except REDIS_ERRORS:
            return None  # no server has its slot at the moment

    def _check(self, reader: Reader) -> None:
        """Compare the last id delivered with the head of each match."""
        in_doubt, self._servers_in_doubt = self._servers_in_doubt, False
        try:
            if in_doubt:
                with contextlib.suppress(*REDIS_ERRORS):  # ``probe`` finds whether that matters
                    self._servers.refresh()
            self._servers.probe()
        except REDIS_ERRORS as error:
            fault = _described(error)
        else:
            self._leave_wrong_servers(reader)
            fault = self._compare()
        with self._lock:
            self._servers_in_doubt |= bool(fault)
            if fault or len(self._confirmed) == len(self._cursors):
                self._fault = fault

    def _compare(self) -> str:
        """Ask for all heads, also of matches without a live connection; returns a failure, or ``""``."""
        fault = ""
        with self._lock:
            begun = [cursor for cursor in self._cursors.values() if cursor.ready.is_set()]
        for node, cursors in self._by_node(begun).items():
            if node is None:
                fault = f"no server has the slot of match {cursors[0].match_id}"
                continue
            if node in self._hung and node not in self._links:
                # Each request costs a timeout in which this thread serves no other server; the attempt to
                # connect costs one already.
                fault = f"{node} does not answer"
                continue
            try:
                heads = self._heads(node, cursors)
            except REDIS_ERRORS as error:
                fault = f"{node}: {_described(error)}"
                continue
            for cursor, head in heads:
                if isinstance(head, Exception):
                    fault = f"match {cursor.match_id}: {_described(head)}"
                elif _is_behind(cursor, head):
                    self._suspects[cursor] = head
        return fault

    def _verify(self, reader: Reader) -> None:
        """A match that is still behind has lost a delta: read it again."""
        behind = {cursor: head for cursor, head in self._suspects.items() if _is_behind(cursor, head)}
        self._suspects.clear()
        # While a match moves to another shard, its messages are published there, and no origin is subscribed
        # there yet: this connection is not to blame, and no other origin is better off.
        self._note_lagging(reader, [cursor for cursor, head in behind.items() if not head.elsewhere])
        for node, cursors in self._by_node(behind).items():
            if node is None:
                continue
            try:
                self._healed += self._reread(node, cursors)
            except REDIS_ERRORS as error:
                logger.warning("%s: deltas cannot be read again yet: %s", node, error)

    def _leave_wrong_servers(self, reader: Reader) -> None:
        """Drop working connections to servers that no longer have their matches."""
        with self._lock:
            attached = list(self._link_of.items())
        wrong = {link for cursor, link in attached if self._owner(cursor) not in (None, link.node)}
        for link in wrong:
            reader.drop(link, "another server has its matches now")

    def _note_lagging(self, reader: Reader, behind: Sequence[Cursor]) -> None:
        """Once may be a slow moment; a connection that is found lagging twice in a row is replaced."""
        with self._lock:
            self._lagging = {cursor: self._lagging.get(cursor, 0) + 1 for cursor in behind}
            deaf = {
                self._link_of.get(cursor)
                for cursor, times in self._lagging.items()
                if times > 1 and cursor in self._confirmed
            }
        for link in deaf:
            if link is not None:
                reader.drop(link, "it loses messages")


def _is_behind(cursor: Cursor, head: Head) -> bool:
    return head.id is not None and (cursor.position is None or cursor.position < head.id)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
