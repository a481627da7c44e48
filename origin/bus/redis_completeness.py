"""A marker that is lost with the data: how a fan-out worker learns that a Redis was emptied.

A worker does not know the names of matches that were published before it started, so it cannot look for
them. So once every match of the log is on the bus, marker keys without a lifetime are set beside them; if
one of these keys is gone, any match may be. In a cluster each shard can be emptied alone, so there are
``MARKERS`` keys, in slots spread over all shards. One in a thousand clusters of six shards has a shard
without a key. If that shard is emptied, a match that no worker has published since its start is refilled at
its next event only.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from origin.bus.redis_servers import REDIS_ERRORS, Node, Servers, by_node, side_by_side
from origin.errors import BusError

__all__ = ["MARKERS", "CompletenessMarker"]

logger = logging.getLogger(__name__)

MARKERS = 48


class CompletenessMarker:
    """See ``Bus.is_complete`` and ``Bus.mark_complete``.

    Args:
        prefix: with which all keys of this bus begin.
    """

    def __init__(self, servers: Servers, prefix: str) -> None:
        self._servers = servers
        self._keys = [f"{prefix}:{{whole-{number}}}" for number in range(MARKERS if servers.sharded else 1)]

    def is_set(self) -> bool:
        """Whether all marker keys exist; False as soon as one is known to be gone.

        Raises:
            BusError: no key is known to be gone, but a server does not answer.
        """
        nodes, unknown = by_node(self._servers, {key: key for key in self._keys})
        answers = [*unknown.values(), *side_by_side(nodes, self._is_set_at).values()]
        if False in answers:
            return False
        failed = next((answer for answer in answers if isinstance(answer, Exception)), None)
        if failed is not None:
            raise _unknown(failed) from failed
        return True

    def _is_set_at(self, node: Node, keys: Sequence[str]) -> bool | Exception:
        """Whether a server has all of its marker keys; the error if it does not say so."""
        try:
            return all(self._servers.commands().exists(key) for key in keys)
        except REDIS_ERRORS as error:
            logger.debug("%s: cannot check whether it was emptied: %s", node, error)
            return error

    def set(self) -> None:
        """Set the keys that are missing.

        Raises:
            BusError: some may still be missing.
        """
        try:
            for key in self._keys:
                self._servers.commands().hset(key, "whole", "1")
        except REDIS_ERRORS as error:
            raise _unknown(error) from error


def _unknown(error: Exception) -> BusError:
    return BusError(f"cannot check or mark that Redis has every match: {error}")
