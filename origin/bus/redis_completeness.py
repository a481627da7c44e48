"""A mark that is lost with the data: how a fan-out worker learns that a Redis was emptied.

A match that nobody told since the worker started cannot be missed by name. So once every match of the log
has been given to the bus, keys without a lifetime are set beside them; where one of these is gone, so may be
any match. In a cluster each shard can be emptied alone: there are ``MARKS`` of them, in slots spread over
all shards. Of clusters with six shards one in a thousand has a shard without a mark; what that one loses,
and no worker has told since it started, is refilled when it moves.
"""

from __future__ import annotations

import logging

from origin.bus.redis_servers import REDIS_ERRORS, Servers, by_node
from origin.errors import BusError

__all__ = ["MARKS", "CompletenessMarker"]

logger = logging.getLogger(__name__)

MARKS = 48


class CompletenessMarker:
    """See ``Bus.is_complete`` and ``Bus.mark_whole``.

    Args:
        prefix: of all keys of this bus.
    """

    def __init__(self, servers: Servers, prefix: str) -> None:
        self._servers = servers
        self._keys = [f"{prefix}:{{whole-{number}}}" for number in range(MARKS if servers.sharded else 1)]

    def is_set(self) -> bool:
        """Whether all marks are there; False as soon as one is known to be gone.

        Raises:
            BusError: none is known to be gone, but a server does not answer.
        """
        nodes, unknown = by_node(self._servers, {key: key for key in self._keys})
        failed = next(iter(unknown.values()), None)
        for node, keys in nodes.items():
            # A server at a time: one that hangs costs its timeout once, and hides nothing of the others.
            try:
                if not all(self._servers.commands().exists(key) for key in keys):
                    return False
            except REDIS_ERRORS as error:
                logger.debug("%s: whether it was emptied is not known: %s", node, error)
                failed = error
        if failed is not None:
            raise _unknown(failed) from failed
        return True

    def set(self) -> None:
        """Put the marks where they are missing.

        Raises:
            BusError: some may be missing still.
        """
        try:
            for key in self._keys:
                self._servers.commands().hset(key, "whole", "1")
        except REDIS_ERRORS as error:
            raise _unknown(error) from error


def _unknown(error: Exception) -> BusError:
    return BusError(f"Redis cannot be asked whether it was emptied: {error}")
