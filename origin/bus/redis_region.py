"""What the workers of a region tell each other through its Redis: a report of each, and the ladder's state.

==============================  ======  ==================================================================
key                             type    contents
==============================  ======  ==================================================================
``touchline:{region}:workers``  hash    by worker: the Redis' time in milliseconds, a blank, its report
``touchline:{region}:ladder``   string  the state of the ladder, as ``origin.ladder`` encodes it
==============================  ======  ==================================================================

One script does an exchange. It stamps reports with the clock of the Redis, so nobody's own clock decides
which are fresh; it drops those that are not, and takes no more than ``WORKERS_MAX``. A Redis that was emptied
gets the ladder's state back from the first worker that knows one: a step does not end because a Redis did.
"""

from __future__ import annotations

import re
from typing import Any, Final

from origin.bus import Exchanged
from origin.bus.redis_servers import REDIS_ERRORS, Servers
from origin.errors import BusError

__all__ = ["FRESH_MS", "REPORT_MAX_BYTES", "WORKERS_MAX", "RegionRecords"]

#: A report counts for so long.
FRESH_MS: Final = 5_000
#: Workers of a region that report; the others only read. Each reads the reports of all once a second.
WORKERS_MAX: Final = 512
REPORT_MAX_BYTES: Final = 128
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_EXCHANGE: Final = """
local workers, ladder = KEYS[1], KEYS[2]
local name, report, known = ARGV[1], ARGV[2], ARGV[5]
local fresh_ms, workers_max = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local reports = redis.call('HGETALL', workers)
local others = {}
for i = 1, #reports, 2 do
  local at, text = string.match(reports[i + 1], '^(%d+) (.*)$')
  at = tonumber(at)
  if not at or math.abs(now - at) > fresh_ms then
    redis.call('HDEL', workers, reports[i])
  elseif reports[i] ~= name then
    others[#others + 1] = text
  end
end
if report == '' then
  redis.call('HDEL', workers, name)
elseif #others < workers_max then
  redis.call('HSET', workers, name, string.format('%.0f', now) .. ' ' .. report)
  redis.call('PEXPIRE', workers, 60000)
end
local state = redis.call('GET', ladder)
if not state and known ~= '' then
  redis.call('SET', ladder, known)
  state = known
end
return {state or '', others}
"""


class RegionRecords:
    """See the module. Any thread may call it.

    Args:
        servers: where the Redis is; of a cluster, one shard has both keys.
        prefix: with which all keys of this bus begin.
    """

    def __init__(self, servers: Servers, prefix: str) -> None:
        self._servers = servers
        self._workers_key = f"{prefix}:{{region}}:workers"
        self._ladder_key = f"{prefix}:{{region}}:ladder"

    def exchange(self, worker: str, report: bytes, known_ladder: bytes) -> Exchanged:
        """See ``SharesRecords.exchange``."""
        if not _NAME.fullmatch(worker) or len(report) > REPORT_MAX_BYTES:
            raise ValueError(f"worker {worker!r} with a report of {len(report)} bytes")
        try:
            script: Any = self._servers.commands().eval
            state, others = script(
                *(_EXCHANGE, 2, self._workers_key, self._ladder_key),
                *(worker, report, FRESH_MS, WORKERS_MAX, known_ladder),
            )
        except REDIS_ERRORS as error:
            raise BusError(f"the reports of the region cannot be exchanged: {error}") from error
        return Exchanged(bytes(state), [bytes(other) for other in others])

    def read_ladder(self) -> bytes:
        """See ``SharesRecords.read_ladder``."""
        try:
            found: Any = self._servers.commands().get(self._ladder_key)
        except REDIS_ERRORS as error:
            raise BusError(f"the ladder cannot be read: {error}") from error
        return found or b""

    def write_ladder(self, state: bytes) -> None:
        """See ``SharesRecords.write_ladder``."""
        try:
            self._servers.commands().set(self._ladder_key, state)
        except REDIS_ERRORS as error:
            raise BusError(f"the ladder cannot be set: {error}") from error
