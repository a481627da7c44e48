"""The rows of all matches in Redis, read again only where something was published.

Each publish adds its match to the stream of changes, in the same step for one server and after
it in a cluster. A reader remembers its place in that stream. The stream may lack an entry: its shard was
down, or lost its last entries in a fail-over, or the publisher is of an earlier version. And no entry says
that a match has expired. So a reader also reads the list of matches again now and then, and in turn each
row that it knows.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from typing import Any, Final

from origin.bus import MatchRow, RowUpdate
from origin.bus.redis_servers import REDIS_ERRORS, Node, Servers, by_node, side_by_side
from origin.bus.redis_store import SERVER_LOST, RedisStore, bus_error, id_of, text_of
from origin.errors import BusError

__all__ = ["RedisRowReader"]

logger = logging.getLogger(__name__)

#: In one request to a server, which blocks it for about a millisecond.
_ROWS_AT_ONCE: Final = 1_000
#: How often the list of all matches is read again.
_RELIST_S: Final = 30.0
#: In which time each row is read again at least once, while there are so few that _SWEEP_MAX suffices.
_SWEEP_S: Final = 300.0
#: Of one reading.
_SWEEP_MAX: Final = 1_000


class RedisRowReader:
    """See ``origin.bus.RowReader``."""

    def __init__(self, servers: Servers, store: RedisStore) -> None:
        self._servers = servers
        self._store = store
        # The matches that have a row, those that were not read since last swept at the front.
        self._known: dict[str, None] = {}
        # Of these the last reading got no answer.
        self._unread: set[str] = set()
        # One match of each server: whether all servers answer must be seen at each reading.
        self._sample: dict[Node, str] = {}
        self._cursor: str | None = None
        self._listed_s = -math.inf
        self._read_s = time.monotonic()

    def read(self) -> RowUpdate:
        """See ``RowReader.read``."""
        now_s = time.monotonic()
        complete = True
        wanted = {*self._unread, *self._sample.values()}
        cursor = self._cursor
        relist = now_s - self._listed_s >= _RELIST_S
        try:
            found = None if cursor is None else self.changes(cursor)
            if found is None:
                # Everything is read again, from this place on.
                cursor, _ = self.changes("") or ("", set())
                wanted.update(self._known)
                relist = True
            else:
                cursor, changed = found
                wanted |= changed
        except BusError as error:
            if cursor is None:
                raise
            logger.warning("the list of matches is read without its changes: %s", error)
            complete = False
        listed_s = self._listed_s
        if relist:
            try:
                listed = self._store.listed()
            except BusError:
                if self._cursor is None:
                    raise
                complete = False
            else:
                # Also what is no longer listed: it has expired, or its entry was lost.
                wanted |= listed ^ self._known.keys()
                listed_s = now_s
        wanted.update(self._swept(now_s, everything=not complete))
        rows, sample = self.rows(sorted(wanted))
        update: dict[str, MatchRow | None] = {}
        gone = []
        for name, row in rows.items():
            if isinstance(row, BusError):
                self._unread.add(name)
                complete = False
                continue
            self._unread.discard(name)
            update[name] = row
            if row is None:
                self._known.pop(name, None)
                gone.append(name)
            else:
                self._known.setdefault(name)
        if gone:
            self._store.still_there(gone)
        self._sample = {node: name for node, name in (self._sample | sample).items() if name in self._known}
        # Only now: a reading that fails must be repeated in full.
        self._cursor, self._listed_s, self._read_s = cursor, listed_s, now_s
        return RowUpdate(update, complete)

    def _swept(self, now_s: float, *, everything: bool) -> list[str]:
        """The matches whose turn it is to be read again, whether they changed or not."""
        share = 1.0 if everything else min(1.0, (now_s - self._read_s) / _SWEEP_S)
        count = min(math.ceil(len(self._known) * share), _SWEEP_MAX)
        names = [name for name, _ in zip(self._known, range(count), strict=False)]
        for name in names:
            del self._known[name]
            self._known[name] = None
        return names

    def rows(self, match_ids: Sequence[str]) -> tuple[dict[str, MatchRow | BusError | None], dict[Node, str]]:
        """The rows of several matches; each server that has some of them gets one request.

        Returns:
            By match: its row, None if the bus does not know it, or the error that kept its server from
            answering; and by server: one of the matches that it has.
        """
        found, asked = self._rows(match_ids)
        lost = [name for name, row in found.items() if isinstance(row, SERVER_LOST)]
        if lost:
            try:
                self._servers.refresh()
                again, asked_again = self._rows(lost)
                found |= again
                asked |= asked_again
            except REDIS_ERRORS as error:
                logger.warning("cannot find the servers of %d matches: %s", len(lost), error)
        return {
            name: bus_error(row) if isinstance(row, Exception) else row for name, row in found.items()
        }, asked

    def changes(self, cursor: str) -> tuple[str, set[str]] | None:
        """The matches that were published after a place in the stream of changes.

        Args:
            cursor: what an earlier call returned; empty for the beginning of the stream.

        Returns:
            The place of the last of them, and the matches; None if it cannot be known: the place is no longer
            in the stream, because it was trimmed, emptied, or lost in a fail-over.

        Raises:
            BusError: the server of the stream does not answer.
        """
        client = self._servers.commands
        first = cursor or "-"
        entries: Any = self._store.attempt(lambda: client().xrange(self._store.changes_key, first, "+"))
        last = entries[-1][0].decode() if entries else cursor
        if cursor and (not entries or entries[0][0].decode() != cursor):
            return None
        names = {text_of(fields[b"m"]) for _, fields in entries[1 if cursor else 0 :]}
        return last, names

    def _rows(
        self, match_ids: Sequence[str]
    ) -> tuple[dict[str, MatchRow | Exception | None], dict[Node, str]]:
        nodes, unknown = by_node(self._servers, {name: self._store.state_key(name) for name in match_ids})
        found: dict[str, MatchRow | Exception | None] = {**unknown}
        for rows in side_by_side(nodes, self._rows_of).values():
            found |= rows
        return found, {node: there[0] for node, there in nodes.items()}

    def _rows_of(self, node: Node, match_ids: Sequence[str]) -> dict[str, MatchRow | Exception | None]:
        found: dict[str, MatchRow | Exception | None] = {}
        for begin in range(0, len(match_ids), _ROWS_AT_ONCE):
            some = match_ids[begin : begin + _ROWS_AT_ONCE]
            commands = [("HMGET", self._store.state_key(name), "id", "row") for name in some]
            try:
                answers = self._store.ask(self._servers.client_of(node), commands)
            except REDIS_ERRORS as error:
                return found | dict.fromkeys(match_ids[begin:], error)
            for name, (answer, _) in zip(some, answers, strict=True):
                found[name] = answer if isinstance(answer, Exception) else self._row(name, *answer)
        return found

    def _row(self, match_id: str, id_: bytes | None, row: bytes | None) -> MatchRow | Exception | None:
        """The row of a match, from what its server has of it."""
        head = id_of(id_)
        if head is None:
            return None
        known = MatchRow.decode(row)
        if known is not None and known.id == head:
            return known
        # A publisher of an earlier version wrote the snapshot without the row.
        try:
            snapshot = self._store.snapshot(match_id)
        except BusError as error:
            return error
        if snapshot is None:
            return None
        made = MatchRow.of_snapshot(snapshot.data)
        return BusError(f"Redis: the snapshot of {match_id!r} cannot be read") if made is None else made
