"""What Redis stores of a match, and the one script that changes it.

=============================  ======  ===================================================================
key                            type    contents
=============================  ======  ===================================================================
``touchline:{<match>}:stream`` stream  the last deltas, ``d``, and ``p`` its provenance
``touchline:{<match>}:state``  hash    ``id``, the latest id; ``snapshot`` and ``row``, the match at that id
``touchline:{<match>}:live``   channel ``<epoch>-<seq> <delta>``; before it, if any, ``0-0 <id> <provenance>``
``touchline:matches``          set     the ids of all matches, and ``""`` while the set is complete
``touchline:changes:{…}``      stream  one entry for each publish, one field ``m``, the match (``redis_rows``)
=============================  ======  ===================================================================

The braces put what belongs to one match into one slot of a cluster, so that one script changes all of it.
The set and the stream of changes are in other slots, so in a cluster the script cannot change them in the
same step; of one server it adds to the stream. Later steps correct the set: a publisher that could not add
its match adds it with the next delta, and adds it again now and then in case the set lost it; a reader that
removes an expired match checks it once more; and a reader that finds the ``""`` missing (the shard of the
set was lost) finds the matches by SCAN.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from redis import Redis
from redis.exceptions import AskError, NoScriptError, ReadOnlyError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from origin.bus import Gap, Published, Replay, Snapshot, Suffix, UpToDate, check_run
from origin.bus.match_row import ENDED_STATUSES, MatchRow, status_of
from origin.bus.redis_servers import REDIS_ERRORS, Node, Options, Servers, by_node, side_by_side
from origin.bus.server_calls import ServerCalls
from origin.errors import BusBehindError, BusError
from origin.logs import structured_logger
from origin.provenance import Provenance, log_deltas
from shared_state import DeltaId

__all__ = [
    "PROVENANCE_ID",
    "PUBLISH_SCRIPT",
    "SERVER_LOST",
    "Head",
    "RedisStore",
    "bus_error",
    "decode_announcement",
    "decode_message",
    "id_of",
    "text_of",
]

logger = logging.getLogger(__name__)
_log = structured_logger(__name__)

_Result = TypeVar("_Result")

# Adds one run of deltas [first, last] of one epoch. The provenance of a delta is at the end of its argument,
# and its size beside CHANGES_MAX where a delta of the run has one. Nothing is written before it is known to
# fit. If the stream were ahead of ``state`` all the same, XADD would refuse the smaller id, and the script
# would fail.
#
# A script and not MULTI: the decision needs the head, and a head that was read before MULTI may have changed
# by then. A script and not a Function: both cost the same (docs/bus.md), and a script needs nothing
# installed on a Redis that was restarted empty.
PUBLISH_SCRIPT = """
local stream, state = KEYS[1], KEYS[2]
local publish, channel, max_deltas, stream_ttl, state_ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local snapshot, epoch_text, epoch, first = ARGV[6], ARGV[7], tonumber(ARGV[7]), tonumber(ARGV[8])
local row, match_id, max_changes, sizes = ARGV[9], ARGV[10], string.match(ARGV[11], '^%d+'), {}
local last = first + #ARGV - 12
local head = redis.call('HGET', state, 'id')
local following = 1
local goes_on = false
if head then
  local head_epoch, head_seq = string.match(head, '^(%d+)%-(%d+)$')
  head_epoch, head_seq = tonumber(head_epoch), tonumber(head_seq)
  if epoch < head_epoch or (epoch == head_epoch and last <= head_seq) then
    return {0, head, 1}
  end
  if epoch == head_epoch then
    following = head_seq + 1
    goes_on = true
  end
end
if first > following then
  return {-1, head or '', 1}
end
if not goes_on then
  redis.call('DEL', stream)
end
if #ARGV[11] > #max_changes then
  for size in string.gmatch(string.sub(ARGV[11], #max_changes + 1), '%d+') do
    sizes[#sizes + 1] = tonumber(size)
  end
end
local ids, deltas, provenances = {}, {}, {}
for seq = following, last do
  local id = epoch_text .. '-' .. string.format('%.0f', seq)
  ids[seq] = id
  local delta = ARGV[12 + seq - first]
  local size = sizes[seq - first + 1] or 0
  if size > 0 then
    local provenance = string.sub(delta, -size)
    delta = string.sub(delta, 1, -size - 1)
    redis.call('XADD', stream, 'MAXLEN', '~', max_deltas, id, 'd', delta, 'p', provenance)
    provenances[seq] = provenance
  else
    redis.call('XADD', stream, 'MAXLEN', '~', max_deltas, id, 'd', delta)
  end
  deltas[seq] = delta
end
redis.call('HSET', state, 'id', ids[last], 'snapshot', snapshot, 'row', row)
redis.call('EXPIRE', stream, stream_ttl)
redis.call('EXPIRE', state, state_ttl)
for seq = following, last do
  if provenances[seq] then
    redis.call(publish, channel, '0-0 ' .. ids[seq] .. ' ' .. provenances[seq])
  end
  redis.call(publish, channel, ids[seq] .. ' ' .. deltas[seq])
end
if KEYS[3] then
  redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', max_changes, '*', 'm', match_id)
end
return {last - following + 1, ids[last], goes_on and 1 or 0}
"""
_PUBLISH_SHA = hashlib.sha1(PUBLISH_SCRIPT.encode(), usedforsecurity=False).hexdigest()

#: No delta has this id: each is before it to a reader that does not know what it means, and drops it.
PROVENANCE_ID = DeltaId(0, 0)
_COMPLETE = b""  # no match has this id
_SCAN_COUNT = 1_000
_INDEXED_MAX = 20_000
# If the primary of the set dies, the latest additions may not have reached its replica. A running match is
# then missing for this long at most; that costs one SADD per match and minute.
INDEX_AGAIN_S = 60.0
# In a busy hour a hundred matches change a few times a minute each: a reader that comes back after a quarter
# of an hour still reads what changed, and not everything.
CHANGES_MAX = 10_000
# While the shard of the stream of changes is down, a publisher tries so often: each attempt costs a timeout.
_CHANGES_AGAIN_S = 1.0
_UNNOTED_MAX = 20_000
# The server, or the address of the primary, has changed; the command itself is fine.
SERVER_LOST = (RedisConnectionError, RedisTimeoutError, ReadOnlyError)
# The key is at another server, or is being moved there. To redis-py, MOVED is a kind of ASK.
_ELSEWHERE = (AskError, TryAgainError)


class Head(NamedTuple):
    """The latest id of a match.

    Attributes:
        id: None if the bus does not know the match.
        elsewhere: whether the server that was asked redirected to another one, which has the match.
    """

    id: DeltaId | None
    elsewhere: bool


class RedisStore:
    """Commands about matches. Errors of Redis become ``BusError``."""

    def __init__(self, servers: Servers, options: Options, database: int = 0) -> None:
        self._servers = servers
        self._options = options
        # Channels do not belong to a database: without its number, two deployments that differ only in the
        # database would receive each other's messages.
        self._channel_prefix = options.prefix if database == 0 else f"{options.prefix}.{database}"
        self._index = f"{options.prefix}:matches"
        #: The key of the stream of changes, in the slot of the list: one shard has both, or neither.
        self.changes_key = f"{options.prefix}:changes:{{{self._index}}}"
        self._indexed: dict[str, float] = {}  # when each was last added
        # Of a cluster: published, and not in the stream of changes yet.
        self._unnoted: dict[str, None] = {}
        self._note_again_s = 0.0
        self._list_calls = ServerCalls()

    def stream_key(self, match_id: str) -> str:
        """The key of the replay; its slot is that of everything else of the match."""
        return f"{self._options.prefix}:{{{match_id}}}:stream"

    def state_key(self, match_id: str) -> str:
        """The key of head and snapshot."""
        return f"{self._options.prefix}:{{{match_id}}}:state"

    def channel(self, match_id: str) -> bytes:
        """The name of the live channel."""
        return f"{self._channel_prefix}:{{{match_id}}}:live".encode()

    def match_of(self, channel: bytes) -> str:
        """The match whose live channel this is."""
        return channel[len(self._channel_prefix) + 2 : -len("}:live")].decode()

    def refill(self, match_id: str, deltas: Sequence[Published], snapshot: bytes) -> int:
        """See ``Bus.refill``."""
        check_run(deltas)
        epoch, first = deltas[0].id
        options = self._options
        ended = status_of(snapshot) in ENDED_STATUSES
        row = MatchRow.of_snapshot(snapshot)
        keys = [self.stream_key(match_id), self.state_key(match_id)]
        if not self._servers.sharded:
            keys.append(self.changes_key)
        args = (
            "SPUBLISH" if self._servers.sharded else "PUBLISH",
            self.channel(match_id),
            options.replay_max,
            min(options.replay_ttl_s, options.ended_ttl_s) if ended else options.replay_ttl_s,
            options.ended_ttl_s if ended else options.idle_ttl_s,
            snapshot,
            epoch,
            first,
            b"" if row is None else row.encode(),
            match_id,
            *_with_provenances(deltas),
        )
        added, head, known = self.attempt(lambda: self._run_script(keys, args))
        if added < 0:
            raise BusBehindError(match_id, deltas[0].id, DeltaId.parse(head.decode()) if head else None)
        added_at = self._indexed.get(match_id)
        to_index = not known or added_at is None or time.monotonic() - added_at > INDEX_AGAIN_S
        if self._servers.sharded:
            self._update_list(match_id, to_index=to_index, changed=added > 0)
        elif to_index:
            self._put_in_index(match_id)
        if added > 0 and deltas[-1].provenance is not None and logger.isEnabledFor(logging.INFO):
            log_deltas(_log, "stored", match_id, deltas[-added:])
        return int(added)

    def head(self, match_id: str) -> DeltaId | None:
        """See ``Bus.head``."""
        client = self._servers.commands
        return id_of(self.attempt(lambda: client().hget(self.state_key(match_id), "id")))

    def heads(self, match_ids: Sequence[str]) -> dict[str, DeltaId | BusError | None]:
        """See ``Bus.heads``."""
        found = self._heads(match_ids)
        lost = [name for name, head in found.items() if isinstance(head, SERVER_LOST)]
        if lost:
            try:
                self._servers.refresh()
                found |= self._heads(lost)
            except REDIS_ERRORS as error:
                logger.warning("cannot find the servers of %d matches: %s", len(lost), error)
        return {
            name: bus_error(head) if isinstance(head, Exception) else head for name, head in found.items()
        }

    def heads_at(self, client: Redis, match_ids: Sequence[str]) -> list[Head | Exception]:
        """The heads of several matches of one server, in one round trip; each may fail alone.

        Raises:
            REDIS_ERRORS: the server did not answer.
        """
        answers = self.ask(client, [("HGET", self.state_key(match_id), "id") for match_id in match_ids])
        return [
            answer if isinstance(answer, Exception) else Head(id_of(answer), elsewhere)
            for answer, elsewhere in answers
        ]

    def _heads(self, match_ids: Sequence[str]) -> dict[str, DeltaId | Exception | None]:
        nodes, unknown = by_node(self._servers, {name: self.state_key(name) for name in match_ids})
        found: dict[str, DeltaId | Exception | None] = {**unknown}
        for heads in side_by_side(nodes, self._heads_of).values():
            found |= heads
        return found

    def _heads_of(self, node: Node, match_ids: Sequence[str]) -> dict[str, DeltaId | Exception | None]:
        try:
            heads = self.heads_at(self._servers.client_of(node), match_ids)
        except REDIS_ERRORS as error:
            return dict.fromkeys(match_ids, error)
        return {
            name: head.id if isinstance(head, Head) else head
            for name, head in zip(match_ids, heads, strict=True)
        }

    def snapshot(self, match_id: str) -> Snapshot | None:
        """See ``Bus.snapshot``."""
        client = self._servers.commands
        fields: Any = self.attempt(lambda: client().hmget(self.state_key(match_id), ["id", "snapshot"]))
        id_ = id_of(fields[0])
        return None if id_ is None else Snapshot(id_, fields[1])

    def replay(self, match_id: str, after: DeltaId) -> Replay:
        """See ``Bus.replay``."""
        return self.attempt(lambda: self._replay(match_id, after))

    def replays(self, client: Redis, wanted: Sequence[tuple[str, DeltaId]]) -> list[Replay | Exception]:
        """The deltas after an id, for several matches of one server, in one round trip; each may fail alone.

        Raises:
            REDIS_ERRORS: the server did not answer.
        """
        commands: list[tuple[str, ...]] = []
        for match_id, after in wanted:
            # In this order: an empty range with the head at ``after`` proves that nothing was missed.
            commands.append(("XRANGE", self.stream_key(match_id), f"({after}", "+"))
            commands.append(("HGET", self.state_key(match_id), "id"))
        answers = [answer for answer, _ in self.ask(client, commands)]
        found: list[Replay | Exception] = []
        for (_, after), entries, head in zip(wanted, answers[::2], answers[1::2], strict=True):
            failed = next((answer for answer in (entries, head) if isinstance(answer, Exception)), None)
            found.append(failed or _replay(after, entries, head))
        return found

    def matches(self) -> list[str]:
        """See ``Bus.matches``.

        While a shard is down, its matches stay in the list. While the shard of the set is down, or while the
        set is incomplete and one shard cannot be searched, this fails: a part would look like the full list.
        """
        return self.still_there(sorted(self.listed()))

    def listed(self) -> set[str]:
        """The matches of the list, of which some may have expired.

        Raises:
            BusError: as ``matches``.
        """
        members = self.attempt(lambda: self._servers.commands().smembers(self._index))
        names = {text_of(member) for member in members if member != _COMPLETE}
        if _COMPLETE not in members:
            names |= self.attempt(self._scan)
            found = names
            self._improve_index(lambda: self._servers.commands().sadd(self._index, _COMPLETE, *found))
        return names

    def _run_script(self, keys: Sequence[str], args: tuple[Any, ...]) -> Any:
        commands = self._servers.commands()
        try:
            return commands.evalsha(_PUBLISH_SHA, len(keys), *keys, *args)
        except NoScriptError:
            # The server does not have the script: it is new, promoted or was restarted. EVAL stores it.
            return commands.eval(PUBLISH_SCRIPT, len(keys), *keys, *args)

    def _replay(self, match_id: str, after: DeltaId) -> Replay:
        servers = self._servers
        answer = self.replays(
            servers.client_of(servers.node_of(self.stream_key(match_id))), [(match_id, after)]
        )[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self, client: Redis, commands: Iterable[tuple[str, ...]]) -> list[tuple[Any, bool]]:
        """The answer or the error for each command, and whether another server had to be asked for it.

        While a slot moves to another shard, its server answers ASK for each match that has moved already,
        and MOVED once the slot is gone. The answers for the server's other matches are still good.

        Raises:
            REDIS_ERRORS: the server did not answer.
        """
        commands = list(commands)
        pipeline: Any = client.pipeline(transaction=False)  # redis-py has types for single commands only
        for command in commands:
            pipeline.execute_command(*command)
        found: list[tuple[Any, bool]] = []
        lost: Exception | None = None
        every: Any = self._servers.commands()
        for command, answer in zip(commands, pipeline.execute(raise_on_error=False), strict=True):
            elsewhere = isinstance(answer, _ELSEWHERE)
            if elsewhere and lost is None:  # every request to a dead server costs a timeout
                try:
                    answer = every.execute_command(*command)
                except REDIS_ERRORS as error:
                    answer = error
                    lost = error if isinstance(error, SERVER_LOST) else None
            found.append((answer, elsewhere))
        return found

    def _update_list(self, match_id: str, *, to_index: bool, changed: bool) -> None:
        """Put what was published into the set and the stream of changes of a cluster.

        Both are on one shard. While that hangs, the matches of the other shards must not wait for it, so it
        is asked in a thread of its own.
        """
        if changed and len(self._unnoted) < _UNNOTED_MAX:
            self._unnoted[match_id] = None

        def update() -> None:
            if to_index:
                self._put_in_index(match_id)
            self._note_changes()

        if to_index or changed:
            try:
                self._list_calls.call("list", update)
            except BusError as error:
                logger.debug("the list of matches shows %s late: %s", match_id, error)

    def close(self) -> None:
        """End the thread that adds to the list of matches."""
        self._list_calls.close()

    def _note_changes(self) -> None:
        """Add to the stream of changes of a cluster the matches that were published and are not in it."""
        if time.monotonic() < self._note_again_s:
            return
        for name in list(self._unnoted):
            try:
                self._servers.commands().xadd(self.changes_key, {"m": name}, maxlen=CHANGES_MAX)
            except REDIS_ERRORS as error:
                # The match is published; a failure of this shard must not stop it.
                logger.warning("the list of matches shows %s late: %s", name, error)
                self._note_again_s = time.monotonic() + _CHANGES_AGAIN_S
                return
            self._unnoted.pop(name, None)

    def _improve_index(self, write: Callable[[], object]) -> None:
        """Write to the set of matches what makes the next reading cheaper; this one does not need it.

        A Redis that is full, cannot save, was made a replica or gives this user no right to write still
        answers reads.
        """
        try:
            write()
        except (BusError, *REDIS_ERRORS) as error:
            logger.debug("the list of matches cannot be written to: %s", error)

    def _put_in_index(self, match_id: str) -> None:
        self._indexed.pop(match_id, None)
        try:
            self._servers.commands().sadd(self._index, match_id)
        except REDIS_ERRORS as error:
            # The match is published; a failure of the set's shard must not stop it.
            logger.warning("match %s is not in the list of matches yet: %s", match_id, error)
            return
        if len(self._indexed) >= _INDEXED_MAX:
            self._indexed.clear()  # costs one SADD per match that is still published
        self._indexed[match_id] = time.monotonic()

    def _scan(self) -> set[str]:
        """Find all matches by reading the names of all keys, which is slow."""
        pattern = self.state_key("*")
        name = re.compile(re.escape(self.state_key("*")).replace(r"\*", "(.+)"))
        found = (
            name.fullmatch(key.decode())
            for key in self._servers.commands().scan_iter(match=pattern, count=_SCAN_COUNT)
        )
        return {match[1] for match in found if match}

    def still_there(self, names: list[str]) -> list[str]:
        """The matches that have not expired; the others are removed from the set."""
        gone = self._expired(names)
        if gone:
            back: set[str] = set()

            def remove() -> None:
                self._servers.commands().srem(self._index, *gone)
                # A match that was published again meanwhile may have been added before it was removed here,
                # and its publisher takes it for added. One that is published from now on is added after the
                # removal.
                back.update(set(gone) - set(self._expired(gone)))
                if back:
                    self.attempt(lambda: self._servers.commands().sadd(self._index, *sorted(back)))
                for name in set(gone) - back:
                    self._indexed.pop(name, None)

            self._improve_index(remove)
            return sorted(set(names) - (set(gone) - back))
        return names

    def _expired(self, names: Sequence[str]) -> list[str]:
        """The matches that the bus does not know; those of a shard that does not answer do not count."""
        heads = self._heads(names)
        unknown = [head for head in heads.values() if isinstance(head, Exception)]
        if unknown:
            logger.warning("cannot check whether %d matches have expired: %s", len(unknown), unknown[-1])
        return [name for name, head in heads.items() if head is None]

    def attempt(self, command: Callable[[], _Result]) -> _Result:
        """Run a command; if its server was lost, find the servers again and run it once more.

        Raises:
            BusError: it failed.
        """
        try:
            try:
                return command()
            except SERVER_LOST:
                self._servers.refresh()
                return command()
        except REDIS_ERRORS as error:
            raise bus_error(error) from error


def decode_message(data: bytes) -> Published:
    """Read a message that the script published on the channel.

    One with the id ``PROVENANCE_ID`` is no delta: it says where the delta in the next message comes from.
    ``decode_announcement`` reads its ``delta``.

    Raises:
        WireError, UnicodeDecodeError: it is no such message.
    """
    id_, _, delta = data.partition(b" ")
    return Published(DeltaId.parse(id_.decode()), delta)


def decode_announcement(data: bytes) -> tuple[DeltaId, Provenance | None]:
    """Read the id of a delta, and where it comes from.

    Raises:
        WireError, UnicodeDecodeError: there is no id.
    """
    id_, _, provenance = data.partition(b" ")
    return DeltaId.parse(id_.decode()), Provenance.decode(provenance)


def _with_provenances(deltas: Sequence[Published]) -> list[bytes | int]:
    """The last arguments of the script, from ``CHANGES_MAX`` on."""
    provenances = [b"" if one.provenance is None else one.provenance.encode() for one in deltas]
    if not any(provenances):
        return [CHANGES_MAX, *(one.delta for one in deltas)]
    sizes = b" ".join(b"%d" % len(provenance) for provenance in provenances)
    arguments = [one.delta + provenance for one, provenance in zip(deltas, provenances, strict=True)]
    return [b"%d %b" % (CHANGES_MAX, sizes), *arguments]


def _replay(after: DeltaId, entries: Any, head: Any) -> Replay:
    """Decide what Redis' answer proves."""
    if not entries:
        at = id_of(head)
        return UpToDate() if at == after else Gap(at)
    deltas = [
        Published(
            DeltaId.parse(id_.decode()),
            fields[b"d"],
            Provenance.decode(fields[b"p"]) if b"p" in fields else None,
        )
        for id_, fields in entries
    ]
    # Nothing is missing: the ids of a stream rise, so only the complete run has this count and these ends.
    last = deltas[-1].id
    if deltas[0].id == (after.epoch, after.seq + 1) and last == (after.epoch, after.seq + len(deltas)):
        return Suffix(deltas)
    return Gap(last)


def id_of(value: Any) -> DeltaId | None:
    """The id in a field of Redis; None if there is none."""
    return None if value is None else DeltaId.parse(value.decode())


def bus_error(error: Exception) -> BusError:
    """What the bus raises for an error of Redis."""
    return BusError(f"Redis: {type(error).__name__}: {error}")


def text_of(member: bytes | str) -> str:
    """A name in an answer of Redis."""
    return member.decode() if isinstance(member, bytes) else member
