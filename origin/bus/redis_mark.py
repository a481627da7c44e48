"""A mark that is lost with the data: how a fan-out worker learns that a Redis was emptied.

A match that nobody told since the worker started cannot be missed by name. So once every match of the log
has been given to the bus, keys without a lifetime are set beside them; where one of these is gone, so may be
any match. In a cluster each shard can be emptied alone: there are ``MARKS`` of them, in slots spread over
all shards. Of clusters with six shards one in a thousand has a shard without a mark; what that one loses,
and no worker has told since it started, is refilled when it moves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from origin.bus.redis_servers import REDIS_ERRORS, Servers
from origin.errors import BusError

__all__ = ["MARKS", "WholeMark"]

_Result = TypeVar("_Result")

MARKS = 48


class WholeMark:
    """See ``Bus.is_whole`` and ``Bus.mark_whole``.

    Args:
        prefix: of all keys of this bus.
    """

    def __init__(self, servers: Servers, prefix: str) -> None:
        self._servers = servers
        self._keys = [f"{prefix}:{{whole-{number}}}" for number in range(MARKS if servers.sharded else 1)]

    def is_set(self) -> bool:
        """Whether all marks are there.

        Raises:
            BusError: a server does not answer.
        """
        return _asked(lambda: all(self._servers.commands().exists(key) for key in self._keys))

    def set(self) -> None:
        """Put the marks where they are missing.

        Raises:
            BusError: some may be missing still.
        """
        _asked(lambda: [self._servers.commands().hset(key, "whole", "1") for key in self._keys])


def _asked(question: Callable[[], _Result]) -> _Result:
    try:
        return question()
    except REDIS_ERRORS as error:
        raise BusError(f"Redis cannot be asked whether it was emptied: {error}") from error
