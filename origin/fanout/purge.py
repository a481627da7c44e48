"""The purge hook: an HTTP request to a cache when a match was corrected.

Our caches keep what may change for a second, and need no purge.
A CDN that is set to keep pages for longer does. Publishing never waits for the hook: a
thread sends, and what it cannot keep up with is dropped and counted.
"""

from __future__ import annotations

import http.client
import json
import logging
import threading
from typing import Final
from urllib.parse import urlsplit

from origin.metrics import Metrics

__all__ = ["PENDING_MAX", "PurgeHook"]

logger = logging.getLogger(__name__)

#: Matches that wait for their purge; a match that is corrected twice waits once.
PENDING_MAX: Final = 1_000
_TIMEOUT_S: Final = 2.0
_TRIES: Final = 3
_PAUSE_S: Final = 0.5


class PurgeHook:
    """Sends ``POST url`` with ``Surrogate-Key: match-<id>`` for each match that was corrected.

    Args:
        url: ``http://…`` or ``https://…``; checked by ``Config``.
        token: sent as ``Authorization: Bearer <token>``; empty: no such header.
        metrics: counts the purges by how they ended.
    """

    def __init__(self, url: str, token: str, metrics: Metrics) -> None:
        self._url = urlsplit(url)
        self._token = token
        self._metrics = metrics
        self._pending: dict[str, None] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="purge", daemon=True)
        self._thread.start()

    def note(self, match_id: str) -> None:
        """Have a match purged soon; returns at once."""
        with self._changed:
            if match_id not in self._pending and len(self._pending) >= PENDING_MAX:
                self._metrics.purges.labels("dropped").inc()
                return
            self._pending[match_id] = None
            self._changed.notify()

    def close(self) -> None:
        """End the thread; what still waits is not sent."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout=2 * _TIMEOUT_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._stopping)
                if self._stopping:
                    return
                match_id = next(iter(self._pending))
                del self._pending[match_id]
            self._metrics.purges.labels("sent" if self._send(match_id) else "failed").inc()

    def _send(self, match_id: str) -> bool:
        for attempt in range(_TRIES):
            try:
                status = self._post(match_id)
            except (OSError, http.client.HTTPException) as error:
                reason = f"{type(error).__name__}: {error}"
            else:
                if 200 <= status < 300:
                    return True
                reason = f"status {status}"
            with self._changed:
                if attempt == _TRIES - 1 or self._changed.wait_for(lambda: self._stopping, _PAUSE_S):
                    break
        logger.warning("the purge of match %s failed at %s: %s", match_id, self._url.hostname, reason)
        return False

    def _post(self, match_id: str) -> int:
        secure = self._url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=_TIMEOUT_S)
        key = f"match-{match_id}"
        headers = {"Content-Type": "application/json", "Surrogate-Key": key, "Touchline-Match": match_id}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            query = f"?{self._url.query}" if self._url.query else ""
            connection.request("POST", (self._url.path or "/") + query, json.dumps({"tags": [key]}), headers)
            return connection.getresponse().status
        finally:
            connection.close()
