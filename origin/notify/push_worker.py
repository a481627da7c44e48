"""The worker of Web Push: reads the log as the worker of webhooks does, and sends at a steady rate."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from origin.errors import ConfigError, OriginError
from origin.eventlog import EventLog
from origin.metrics import Metrics
from origin.notify.outbox import OffsetFile
from origin.notify.push_keys import STORE_FILE, load_key
from origin.notify.push_message import CORRECTION_TTL_S, GOAL_TTL_S, contents_of, payload, topic
from origin.notify.push_store import Push, PushStore
from origin.notify.sender import post
from origin.notify.worker import CLOCKS_MS, LOOK_S, Change, LogWorker, pause_s
from shared_state.errors import shown

__all__ = ["PushWorker"]

logger = logging.getLogger(__name__)

#: Requests that are under way at once. Push services answer in some 50 ms.
SENDERS: Final = 8
#: What is not taken after so long is no news any more, seconds.
GIVE_UP_S: Final = 1_800
#: A proof of who we are is good for a day at most (RFC 8292, 2); ours for half of it, made anew each hour.
_PROOF_S: Final = 43_200
_PROOF_KEPT_S: Final = 3_600
_PROOFS_MAX: Final = 1_000


class PushWorker(LogWorker):
    """Sends goals, and takes back those that were sent.

    Args:
        log: the event log.
        directory: has the key and the subscriptions.
        contact: ``mailto:…`` or ``https://…``, where push services reach whoever runs this.
        metrics: counts pushes.
        group: the consumer group.
        rate_per_s: at most so many pushes a second.
        allow_private: whether push services may be on plain HTTP and in networks that are not public.

    Raises:
        ConfigError: another worker is at work, there is no key, or the extra is missing.
        OutboxError: the file cannot be opened.
    """

    _sends = "pushes"

    def __init__(
        self,
        log: EventLog,
        *,
        directory: Path,
        contact: str,
        metrics: Metrics,
        group: str = "push",
        rate_per_s: int = 100,
        allow_private: bool = False,
    ) -> None:
        self._key = load_key(directory)
        try:
            from pywebpush import WebPusher
        except ImportError:
            raise ConfigError("Web Push needs pywebpush: pip install 'touchline[push]'") from None
        self._encrypter = WebPusher
        self._contact = contact
        self._proofs: dict[str, tuple[float, str]] = {}
        try:
            self._proof("https://push.example", time.time())
        except Exception as error:  # noqa: BLE001 - whatever the library raises for it
            raise ConfigError(f"TOUCHLINE_PUSH_CONTACT {shown(contact)}: {error}") from None
        super().__init__(log, group, directory / STORE_FILE)
        self._metrics = metrics
        self._pace_s = 1 / rate_per_s
        self._allow_private = allow_private
        self.store = PushStore(directory / STORE_FILE)
        self._taking = threading.Lock()
        self._next_s = 0.0
        self._under_way: set[int] = set()
        self._senders: list[threading.Thread] = []

    @property
    def _file(self) -> OffsetFile:
        return self.store

    def _look(self) -> None:
        while len(self._senders) < SENDERS:
            thread = threading.Thread(target=self._send_all, name=f"push-{len(self._senders)}", daemon=True)
            self._senders.append(thread)
            thread.start()
        waiting, oldest_ms = self.store.waiting()
        self._metrics.push_waiting.set(waiting)
        age_s = 0.0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1_000)
        self._metrics.push_oldest.set(age_s)
        self._metrics.push_subscriptions.set(self.store.count())

    def _oldest_ms(self, match_id: str) -> int | None:
        since_ms = self.store.since(match_id)
        return None if since_ms is None else since_ms - CLOCKS_MS

    def _keep(self, changes: Sequence[Change], offsets: Mapping[int, int]) -> None:
        contents = [
            (content, change.record.appended_ms) for change in changes for content in contents_of(change)
        ]
        self.store.keep(contents, offsets, time.time_ns() // 1_000_000, CLOCKS_MS)

    def _join(self) -> None:
        for thread in self._senders:
            thread.join(timeout=15)

    def _send_all(self) -> None:
        """One of the threads that send."""
        while not self._stopping.is_set():
            try:
                push = self._take_due()
                if push is not None:
                    try:
                        self._send(push)
                    finally:
                        with self._taking:
                            self._under_way.discard(push.subscription)
                    continue
            except OriginError as error:
                logger.warning("pushes wait: %s", error)
            with self._more:
                if not self._stopping.is_set():
                    self._more.wait(LOOK_S)

    def _take_due(self) -> Push | None:
        """The next push, when its turn has come: the rate holds for all threads together."""
        with self._taking:
            wait_s = self._next_s - time.monotonic()
            if wait_s > 0 and self._stopping.wait(wait_s):
                return None
            push = self.store.take_due(time.time_ns() // 1_000_000, sorted(self._under_way))
            if push is not None:
                self._under_way.add(push.subscription)
                self._next_s = time.monotonic() + self._pace_s
            return push

    def _send(self, push: Push) -> None:
        now_s = time.time()
        count = self._metrics.push_sent
        if now_s - push.made_ms / 1_000 - push.to.delay_s > GIVE_UP_S and not self._takes_back(push):
            self.store.sent(push)
            count.labels("given_up").inc()
            return
        keys = {"endpoint": push.to.endpoint, "keys": {"p256dh": push.to.p256dh, "auth": push.to.auth}}
        try:
            body = self._encrypter(keys).encode(payload(push))["body"]
            proof = self._proof(push.to.endpoint, now_s)
        except Exception as error:  # noqa: BLE001 - see below
            # A point that is not on the curve, say: the libraries raise exceptions of many kinds, and what a
            # stranger has subscribed with must not end this thread.
            logger.info("a subscription was removed, it cannot be used: %r", error)
            self.store.forget(push.to.endpoint)
            count.labels("gone").inc()
            return
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "TTL": str(CORRECTION_TTL_S if self._takes_back(push) else GOAL_TTL_S),
            "Urgency": "high",
            "Topic": topic(push.to.match_id, push.event_id),
            "Authorization": proof,
            "User-Agent": "Touchline-Push/1",
        }
        outcome = post(push.to.endpoint, headers, body, now_s, allow_private=self._allow_private)
        if outcome.delivered:
            self.store.sent(push)
            count.labels("sent").inc()
        elif outcome.status in (404, 410):
            self.store.forget(push.to.endpoint)
            count.labels("gone").inc()
        elif outcome.status is not None and 400 <= outcome.status < 500 and outcome.status not in (408, 429):
            # It will refuse the same again.
            self.store.sent(push)
            count.labels("given_up").inc()
            logger.warning("a push service refuses: %s", outcome.reason)
        else:
            wait_s = pause_s(push.attempts + 1, outcome.retry_after_s)
            if push.attempts >= 10:
                self.store.sent(push)
                count.labels("given_up").inc()
                return
            self.store.retry(push, int((time.time() + wait_s) * 1_000))
            count.labels("failed").inc()
            logger.info("a push failed: %s; again in %.0f s", outcome.reason, wait_s)

    @staticmethod
    def _takes_back(push: Push) -> bool:
        return str(push.content["kind"]) != "goal"

    def _proof(self, endpoint: str, now_s: float) -> str:
        """The ``Authorization`` for a push service."""
        parts = urlsplit(endpoint)
        service = f"{parts.scheme}://{parts.netloc}"
        made_s, proof = self._proofs.get(service, (0.0, ""))
        if now_s - made_s > _PROOF_KEPT_S:
            claims = {"aud": service, "sub": self._contact, "exp": int(now_s) + _PROOF_S}
            proof = str(self._key.sign(claims)["Authorization"])
            if len(self._proofs) >= _PROOFS_MAX:
                self._proofs.clear()
            self._proofs[service] = (now_s, proof)
        return proof
