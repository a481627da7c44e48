"""What Redis holds of a match, and the one script that changes it.

=============================  ======  ===================================================================
key                            type    holds
=============================  ======  ===================================================================
``touchline:{<match>}:stream`` stream  the last deltas, entry id ``<epoch>-<seq>``, one field ``d``
``touchline:{<match>}:state``  hash    ``id``, where the match stands; ``snapshot``, the match at that id
``touchline:{<match>}:live``   channel ``<epoch>-<seq> <delta>``
``touchline:matches``          set     the ids of all matches, and ``""`` while the set is complete
=============================  ======  ===================================================================

The braces put what belongs to one match into one slot of a cluster, so that one script changes all of it.
The set is in another slot and outside of that step. It is kept right by what is done next: a publisher
that could not add its match adds it with the next delta, and whoever finds the ``""`` missing (the shard
of the set was lost) finds the matches by SCAN.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from origin.bus import Gap, Published, Replay, Snapshot, Suffix, UpToDate, check_run
from origin.bus.redis_servers import REDIS_ERRORS, Options, Servers
from origin.errors import BusBehindError, BusError
from shared_state import DeltaId

__all__ = ["PUBLISH_SCRIPT", "RedisStore", "decode_message"]

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

# One run of deltas [first, last] of one epoch. Nothing is written before it is known to fit. Were the
# stream ahead of ``state`` all the same, XADD would refuse the smaller id, and the script with it.
#
# A script and not MULTI: the decision needs the head, and a head read before MULTI may be another one by
# then. A script and not a Function: both cost the same (docs/bus.md), and a script needs nothing
# installed on a Redis that was restarted empty.
PUBLISH_SCRIPT = """
local stream, state = KEYS[1], KEYS[2]
local tell, channel, max_deltas, stream_ttl, state_ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local snapshot, epoch_text, epoch, first = ARGV[6], ARGV[7], tonumber(ARGV[7]), tonumber(ARGV[8])
local last = first + #ARGV - 9
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
local ids = {}
for seq = following, last do
  local id = epoch_text .. '-' .. string.format('%.0f', seq)
  ids[seq] = id
  redis.call('XADD', stream, 'MAXLEN', '~', max_deltas, id, 'd', ARGV[9 + seq - first])
end
redis.call('HSET', state, 'id', ids[last], 'snapshot', snapshot)
redis.call('EXPIRE', stream, stream_ttl)
redis.call('EXPIRE', state, state_ttl)
for seq = following, last do
  redis.call(tell, channel, ids[seq] .. ' ' .. ARGV[9 + seq - first])
end
return {last - following + 1, ids[last], goes_on and 1 or 0}
"""
_PUBLISH_SHA = hashlib.sha1(PUBLISH_SCRIPT.encode(), usedforsecurity=False).hexdigest()

_ENDED = frozenset({"FT", "AET", "FT_PENS", "CANCELLED", "ABANDONED", "AWARDED"})
_COMPLETE = b""  # no match has this id
_SCAN_COUNT = 1_000
_INDEXED_MAX = 20_000
# These say that the server, or the address it is known by, has changed; the command itself is fine.
_SERVER_LOST = (RedisConnectionError, RedisTimeoutError, ReadOnlyError)


class _Status(msgspec.Struct):
    status: str = ""


_read_status = msgspec.json.Decoder(_Status).decode


class RedisStore:
    """Commands about matches. Errors of Redis become ``BusError``."""

    def __init__(self, servers: Servers, options: Options, database: int = 0) -> None:
        self._servers = servers
        self._options = options
        # Channels do not belong to a database; two deployments told apart by that alone would mix.
        self._channel_prefix = options.prefix if database == 0 else f"{options.prefix}.{database}"
        self._index = f"{options.prefix}:matches"
        self._indexed: set[str] = set()

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
        ended = _status(snapshot) in _ENDED
        keys_and_args = (
            self.stream_key(match_id),
            self.state_key(match_id),
            "SPUBLISH" if self._servers.sharded else "PUBLISH",
            self.channel(match_id),
            options.replay_max,
            min(options.replay_ttl_s, options.ended_ttl_s) if ended else options.replay_ttl_s,
            options.ended_ttl_s if ended else options.idle_ttl_s,
            snapshot,
            epoch,
            first,
            *(published.delta for published in deltas),
        )
        added, head, known = self._try(lambda: self._run_script(keys_and_args))
        if added < 0:
            raise BusBehindError(match_id, deltas[0].id, DeltaId.parse(head.decode()) if head else None)
        if not known or match_id not in self._indexed:
            self._put_in_index(match_id)
        return int(added)

    def head(self, match_id: str) -> DeltaId | None:
        """See ``Bus.head``."""
        client = self._servers.commands
        return _id(self._try(lambda: client().hget(self.state_key(match_id), "id")))

    def heads(self, client: Redis, match_ids: Sequence[str]) -> list[DeltaId | None]:
        """The heads of several matches of one server, in one round trip.

        Raises:
            REDIS_ERRORS: the server did not answer, or does not have one of them any more.
        """
        pipeline = client.pipeline(transaction=False)
        for match_id in match_ids:
            pipeline.hget(self.state_key(match_id), "id")
        return [_id(answer) for answer in pipeline.execute()]

    def snapshot(self, match_id: str) -> Snapshot | None:
        """See ``Bus.snapshot``."""
        client = self._servers.commands
        fields: Any = self._try(lambda: client().hmget(self.state_key(match_id), ["id", "snapshot"]))
        id_ = _id(fields[0])
        return None if id_ is None else Snapshot(id_, fields[1])

    def replay(self, match_id: str, after: DeltaId) -> Replay:
        """See ``Bus.replay``."""
        # In a cluster both commands are of one slot, so they travel together there too.
        return self._try(lambda: self._read(self._servers.commands(), [(match_id, after)]))[0]

    def replays(self, client: Redis, wanted: Sequence[tuple[str, DeltaId]]) -> list[Replay]:
        """What came after, for several matches of one server, in one round trip.

        Raises:
            REDIS_ERRORS: the server did not answer, or does not have one of them any more.
        """
        return self._read(client, wanted)

    def matches(self) -> list[str]:
        """See ``Bus.matches``."""
        members = self._try(lambda: self._servers.commands().smembers(self._index))
        names = {_text(member) for member in members if member != _COMPLETE}
        if _COMPLETE not in members:
            names |= self._try(self._scan)
            found = names
            self._try(lambda: self._servers.commands().sadd(self._index, _COMPLETE, *found))
        return self._try(lambda: self._still_there(sorted(names)))

    def _run_script(self, keys_and_args: tuple[Any, ...]) -> Any:
        commands = self._servers.commands()
        try:
            return commands.evalsha(_PUBLISH_SHA, 2, *keys_and_args)
        except NoScriptError:
            # The first publish to this server, a promoted replica or one restarted empty: EVAL teaches it.
            return commands.eval(PUBLISH_SCRIPT, 2, *keys_and_args)

    def _read(self, client: Redis | RedisCluster, wanted: Sequence[tuple[str, DeltaId]]) -> list[Replay]:
        pipeline = client.pipeline(transaction=False)
        for match_id, after in wanted:
            # In this order: an empty range with the head at ``after`` proves that nothing was missed.
            pipeline.xrange(self.stream_key(match_id), f"({after}", "+")
            pipeline.hget(self.state_key(match_id), "id")
        answers: list[Any] = pipeline.execute()
        return [
            _replay(after, *answers[2 * number : 2 * number + 2]) for number, (_, after) in enumerate(wanted)
        ]

    def _put_in_index(self, match_id: str) -> None:
        self._indexed.discard(match_id)
        try:
            self._servers.commands().sadd(self._index, match_id)
        except REDIS_ERRORS as error:
            # The match is published; that its shard works and the set's does not must not stop it.
            logger.warning("match %s is not in the list of matches yet: %s", match_id, error)
            return
        if len(self._indexed) >= _INDEXED_MAX:
            self._indexed.clear()  # costs one SADD per match that is still published
        self._indexed.add(match_id)

    def _scan(self) -> set[str]:
        """Find all matches the slow way."""
        pattern = self.state_key("*")
        name = re.compile(re.escape(self.state_key("*")).replace(r"\*", "(.+)"))
        found = (
            name.fullmatch(key.decode())
            for key in self._servers.commands().scan_iter(match=pattern, count=_SCAN_COUNT)
        )
        return {match[1] for match in found if match}

    def _still_there(self, names: list[str]) -> list[str]:
        """Those that have not expired; the set forgets the others."""
        if not names:
            return []
        pipeline = self._servers.commands().pipeline(transaction=False)
        for name in names:
            pipeline.exists(self.state_key(name))
        answers = pipeline.execute(raise_on_error=False)
        # A shard that does not answer has not lost its matches.
        gone = [name for name, answer in zip(names, answers, strict=True) if answer == 0]
        if gone:
            self._servers.commands().srem(self._index, *gone)
            self._indexed.difference_update(gone)
        return sorted(set(names) - set(gone))

    def _try(self, command: Callable[[], _Result]) -> _Result:
        """Run a command, once more if the server was lost meanwhile: it may be known by now who follows."""
        try:
            try:
                return command()
            except _SERVER_LOST:
                self._servers.refresh()
                return command()
        except REDIS_ERRORS as error:
            raise _bus_error(error) from error


def decode_message(data: bytes) -> Published:
    """Read what the script told the channel."""
    id_, _, delta = data.partition(b" ")
    return Published(DeltaId.parse(id_.decode()), delta)


def _replay(after: DeltaId, entries: Any, head: Any) -> Replay:
    """Decide what an answer of Redis proves."""
    if not entries:
        at = _id(head)
        return UpToDate() if at == after else Gap(at)
    deltas = [Published(DeltaId.parse(id_.decode()), fields[b"d"]) for id_, fields in entries]
    # Contiguity is proven, by count and by both ends: ids of a stream rise, so no other run fits.
    last = deltas[-1].id
    if deltas[0].id == (after.epoch, after.seq + 1) and last == (after.epoch, after.seq + len(deltas)):
        return Suffix(deltas)
    return Gap(last)


def _id(value: Any) -> DeltaId | None:
    return None if value is None else DeltaId.parse(value.decode())


def _status(snapshot: bytes) -> str:
    try:
        return _read_status(snapshot).status
    except msgspec.DecodeError:
        return ""


def _bus_error(error: Exception) -> BusError:
    return BusError(f"Redis: {type(error).__name__}: {error}")


def _text(member: bytes | str) -> str:
    return member.decode() if isinstance(member, bytes) else member
