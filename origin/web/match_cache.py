"""Matches as their pages and polls show them, read from the bus: any origin can serve any match at any time.

Everything here is a cache over the bus, never a second truth: an entry is used only under the id it was
computed for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from origin.bounded_cache import BoundedCache
from origin.bus import Replay, Snapshot, Suffix, UpToDate
from origin.canary.match import is_canary
from origin.errors import BusError, RequestError
from origin.ladder.advice import NO_ADVICE, Advice
from origin.ladder.steps import Step
from origin.metrics import Metrics
from origin.web.bus_breaker import GuardedBus
from shared_state import PROTOCOL_VERSION, Delta, DeltaId, Match, Receipt, Replica, WireError, decode_delta
from shared_state.announce import announcement
from shared_state.errors import shown
from shared_state.events import MATCH_ID_PATTERN
from shared_state.jsontext import JsonObject
from shared_state.language import ENGLISH, Language
from shared_state.notifications import notifications
from shared_state.spoiler_delay import behind, without
from shared_state.view import scoreboard
from shared_state.wire import HEADER_RETRY_AFTER, snapshot_version

__all__ = ["Fragment", "Matches", "Scoreboard"]

# Fragments of a few KB each: the newest of every live match, with room for viewers a few ids behind.
FRAGMENTS_MAX_CHARS = 32_000_000
# Of the snapshots; the match beside one takes about three times as much. What is here is what can be shown
# while the bus does not answer.
RESTORED_MAX_BYTES = 32 * 2**20
MATCH_BYTES = 1_000
FOLDED_MAX_RECORDS = 100_000  # some 0.5 KB each
DELTAS_MAX = 50_000  # some 1 KB each
DATED_MAX = 50_000
# At the last step of the ladder a state is served for so long before the bus is asked again.
STALE_FOR_MS = 15_000


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """One match at one id.

    Attributes:
        replica: the match with its position; never changed once it is here.
        snapshot: the bytes of ``/api/match/<id>/state``.
        hash: the hash of the state; computed once, since every poll shows it.
        as_of_ms: when the bus last said that this is the newest, UTC milliseconds.
        stale: whether the bus could not be asked now: there may be a newer one.
        unseen: events that the reader of this is never shown, by ``event_id``
            (``shared_state.spoiler_delay``).
    """

    replica: Replica
    snapshot: bytes
    hash: str
    as_of_ms: int
    stale: bool = False
    unseen: frozenset[str] = frozenset()

    @property
    def match(self) -> Match:
        """The match as its reader sees it."""
        return without(self.replica.match, self.unseen)

    @property
    def id(self) -> DeltaId:
        """The id that the match is at."""
        return self.replica.position


@dataclass(frozen=True, slots=True)
class _Said:
    """What is said of one delta: to listeners, and to a page's script; and the match before it, if known."""

    announcement: str
    notifications: Sequence[JsonObject]
    before: Match | None = None


_NOTHING_SAID = _Said("", ())
_NO_IDS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Fragment:
    """The scoreboard's HTML at one id.

    Attributes:
        final: whether every origin has the same text for it, for ever. Not where the deltas that led to it
            are gone: then the announcement of the last step cannot be made again.
    """

    html: str
    final: bool


class Matches:
    """What pages, polls and fragments ask for.

    Args:
        bus: where the matches are.
        metrics: counts the answers that may not be the newest.
    """

    def __init__(self, bus: GuardedBus, metrics: Metrics) -> None:
        self._bus = bus
        self._metrics = metrics
        #: How late what comes from the log is, and whether a state that is some seconds old does.
        self.advice: Advice = NO_ADVICE
        self._lock = threading.Lock()
        self._restored: BoundedCache[str, Scoreboard] = BoundedCache(RESTORED_MAX_BYTES)
        self._fragments: BoundedCache[tuple[str, DeltaId, str, int], str] = BoundedCache(FRAGMENTS_MAX_CHARS)
        # The state that the last fragment of a match was made from, to fold on from.
        self._folded: BoundedCache[str, tuple[DeltaId, Match]] = BoundedCache(FOLDED_MAX_RECORDS)
        # The deltas of matches that somebody watches with a delay, from the first one on.
        self._deltas: BoundedCache[tuple[str, int], tuple[Delta, ...]] = BoundedCache(DELTAS_MAX)
        self._behind: BoundedCache[tuple[str, DeltaId], Replica] = BoundedCache(FOLDED_MAX_RECORDS)
        # The second by which an id of each match is dated, to date the later ones from.
        self._dated: BoundedCache[str, tuple[DeltaId, int]] = BoundedCache(DATED_MAX)

    def snapshot(self, match_id: str) -> Snapshot:
        """The latest snapshot as stored.

        Raises:
            RequestError: 400 no such id can exist; 404 the bus does not know the match.
            BusError: the bus does not answer, or is not asked.
        """
        _check_match_id(match_id)
        snapshot = self._bus.snapshot(match_id)
        if snapshot is None:
            raise RequestError(404, "unknown_match", f"no match {match_id!r}", match_id=match_id)
        return snapshot

    def replay(self, match_id: str, after: DeltaId) -> Replay:
        """See ``Bus.replay``.

        Raises:
            BusError: the bus does not answer, or is not asked.
        """
        return self._bus.replay(match_id, after)

    def latest(self, match_id: str) -> Scoreboard:
        """The match at its latest id; where the bus cannot be asked, at the last one that is known here.

        Raises:
            RequestError: as ``snapshot``.
            BusError: the bus does not answer, or is not asked, and nothing of the match is known here.
        """
        _check_match_id(match_id)
        known = self._seen_last(match_id)
        try:
            board = self._newest(match_id, known)
        except BusError:
            if known is None:
                raise
            self._metrics.web_stale_answers.inc()
            return replace(known, stale=True)
        self._remember_board(board)
        return board

    def _newest(self, match_id: str, known: Scoreboard | None) -> Scoreboard:
        """The match at its latest id.

        Raises:
            RequestError, BusError: as ``snapshot``.
        """
        # Before the bus is asked: what it says is true from then on at the latest.
        now_ms = time.time_ns() // 1_000_000
        if (
            known is not None
            and self.advice.step >= Step.STALE
            and now_ms - known.as_of_ms < STALE_FOR_MS + self.advice.late_ms
        ):
            return known
        known_ms = now_ms - self.advice.late_ms
        # The head is a fraction of the snapshot, which may be in a file or behind a network.
        if known is not None and self._bus.head(match_id) == known.id:
            return replace(known, as_of_ms=_as_of_ms(known.replica, known_ms, now_ms))
        snapshot = self.snapshot(match_id)
        if known is not None and known.id == snapshot.id:
            return replace(known, as_of_ms=_as_of_ms(known.replica, known_ms, now_ms))
        replica = Replica.restore(snapshot.data)
        data = snapshot.data
        if snapshot_version(data) != PROTOCOL_VERSION:
            # A release before made it: its score and its hash are by other rules than those of the readers.
            data = replica.snapshot()
        return Scoreboard(replica, data, replica.hash(), _as_of_ms(replica, known_ms, now_ms))

    def _remember_board(self, board: Scoreboard) -> None:
        match_id = board.match.match_id
        with self._lock:
            known = self._restored.get(match_id)
            # Another thread may have read a newer one meanwhile, or a later epoch's.
            if known is not None and (known.id, known.as_of_ms) > (board.id, board.as_of_ms):
                return
            self._restored.put(match_id, board, len(board.snapshot) + MATCH_BYTES)

    def behind(self, match_id: str, delay_s: int) -> Scoreboard:
        """The match as a reader sees it who stays behind by some seconds; its date is as much earlier.

        Args:
            match_id: the match.
            delay_s: seconds, from 1 to ``DELAY_MAX_S``.

        Raises:
            RequestError: as ``snapshot``; 503 what was shown then is not known any more.
            BusError: as ``latest``.
        """
        latest = self.latest(match_id)
        as_of_ms = latest.as_of_ms - delay_s * 1_000
        deltas = self._deltas_until(match_id, latest.id)
        if deltas is None:
            accepted_ms = latest.replica.accepted_ms
            if accepted_ms is not None and accepted_ms <= as_of_ms:
                return replace(latest, as_of_ms=as_of_ms)
            raise RequestError(
                503,
                "delay_unknown",
                f"what match {match_id!r} showed {delay_s} s ago is not kept",
                headers={HEADER_RETRY_AFTER: str(delay_s)},
            )
        count, unseen = behind(deltas, delay_s * 1_000, latest.as_of_ms)
        if count == len(deltas):
            return replace(latest, as_of_ms=as_of_ms, unseen=unseen)
        id_ = deltas[count - 1].id if count else DeltaId(latest.id.epoch, 0)
        with self._lock:
            replica = self._behind.get((match_id, id_))
        if replica is None:
            replica = Replica.begin(match_id, id_.epoch)
            for delta in deltas[:count]:
                _must_follow(replica, delta)
            with self._lock:
                self._behind.put((match_id, id_), replica, len(replica.match.records) + 10)
        snapshot = replica.snapshot()
        return Scoreboard(replica, snapshot, replica.hash(), as_of_ms, latest.stale, unseen)

    def _deltas_until(self, match_id: str, id_: DeltaId) -> tuple[Delta, ...] | None:
        """All deltas of a match from its first one to an id; None if the first ones are gone.

        Raises:
            BusError: the bus does not answer, or is not asked, and they are not all known here.
        """
        key = (match_id, id_.epoch)
        with self._lock:
            known = self._deltas.get(key) or ()
        start = known[-1].id if known else DeltaId(id_.epoch, 0)
        if start.seq < id_.seq:
            replayed = self._bus.replay(match_id, start)
            if not isinstance(replayed, Suffix):
                return None
            fresh = [decode_delta(match_id, one.id, one.delta) for one in replayed.deltas]
            known = (*known, *fresh)
            with self._lock:
                self._deltas.put(key, known, len(known) + 1)
        if len(known) < id_.seq:
            return None
        return known[: id_.seq]

    def fragment(
        self, match_id: str, id_: DeltaId, language: Language = ENGLISH, delay_s: int = 0
    ) -> Fragment:
        """The scoreboard's HTML at an id, in a language, for a reader with a delay.

        With a delay it is without the events that were taken back before such a reader was shown them.
        That depends on the log alone, so it is the same for ever, too.

        Raises:
            RequestError: 404 the match or the id is unknown; 410 what led to it is gone.
            BusError: the bus does not answer, or is not asked, and the match is not known here at that id.
        """
        key = (match_id, id_, language.tag, delay_s)
        with self._lock:
            known = self._fragments.get(key)
            if known is not None:
                return Fragment(known, final=True)
        _check_match_id(match_id)
        try:
            match, step, unseen = self._at(match_id, id_, language, delay_s)
        except BusError:
            latest = self._seen_last(match_id)
            if latest is None or latest.id != id_:
                raise
            # What is at this id does not change; only the announcement of the step to it cannot be made.
            match, step, unseen = latest.match, None, _NO_IDS
        said = step or _NOTHING_SAID
        html = scoreboard(
            without(match, unseen),
            id_,
            announcement=said.announcement,
            before=said.before,
            notifications=said.notifications,
            language=language,
            unseen=unseen,
        )
        with self._lock:
            if step is not None:
                self._fragments.put(key, html, len(html) + 200)
            self._folded.put(match_id, (id_, match), len(match.records) + 10)
        return Fragment(html, final=step is not None)

    def modified_s(self, board: Scoreboard) -> int | None:
        """The UTC second by which a match at one id is dated; None if the deltas before it are gone.

        It is the second in which the log took the event, or the one after its predecessor's if that is
        later: no two ids of a match share a date, and a later id has a later one. It depends on the log
        alone, so every origin of a region gives the same. It may lie ahead.
        """
        match_id, id_ = board.match.match_id, board.id
        start, second = DeltaId(id_.epoch, 0), -1
        with self._lock:
            known = self._dated.get(match_id)
        if known is not None and known[0].epoch == id_.epoch and known[0].seq <= id_.seq:
            start, second = known
        if start != id_:
            try:
                replayed = self._bus.replay(match_id, start)
            except BusError:  # the answer itself is here already
                return None
            if not isinstance(replayed, Suffix):
                return None
            for published in replayed.deltas:
                if published.id > id_:
                    break
                delta = decode_delta(match_id, published.id, published.delta)
                start, second = published.id, max(delta.accepted_ms // 1000, second + 1)
            if start != id_:
                return None
            with self._lock:
                self._dated.put(match_id, (id_, second))
        return second if second >= 0 else None

    def _seen_last(self, match_id: str) -> Scoreboard | None:
        """The match as this origin restored it last, whatever has come since."""
        with self._lock:
            return self._restored.get(match_id)

    def _at(
        self, match_id: str, id_: DeltaId, language: Language, delay_s: int
    ) -> tuple[Match, _Said | None, frozenset[str]]:
        """The match at an id, what is said of the step to it, and what a reader with a delay is never shown.

        The step is None if that delta is gone.
        """
        head = self._bus.head(match_id)
        if head is None:
            raise RequestError(404, "unknown_match", f"no match {match_id!r}", match_id=match_id)
        if id_.epoch != head.epoch or id_.seq > head.seq:
            raise RequestError(
                404, "unknown_id", f"match {match_id!r} has no id {id_}; it is at {head}", head=str(head)
            )
        deltas = self._deltas_until(match_id, id_) if delay_s else ()
        unseen = behind(deltas or (), delay_s * 1_000, None).unseen
        unseen_before = behind((deltas or ())[:-1], delay_s * 1_000, None).unseen
        match, start = Match(match_id=match_id), DeltaId(id_.epoch, 0)
        with self._lock:
            folded = self._folded.get(match_id)
        if folded is not None and folded[0].epoch == id_.epoch and folded[0].seq < id_.seq:
            start, match = folded
        replayed = self._bus.replay(match_id, start)
        if not isinstance(replayed, Suffix | UpToDate):
            # The first deltas have been trimmed. The head can still be had from the snapshot.
            latest = self.latest(match_id)
            if latest.id == id_:
                return latest.match, None, unseen
            raise RequestError(
                410,
                "gone",
                f"what led to {id_} is not kept any more; the match is at {head}",
                head=str(head),
            )
        replica, step = Replica(match, start), _NOTHING_SAID
        for published in replayed.deltas if isinstance(replayed, Suffix) else ():
            if replica.position == id_:
                break
            before = replica.match
            delta = decode_delta(match_id, published.id, published.delta)
            _must_follow(replica, delta)
            if replica.position == id_ and delta.event.event_id not in unseen:
                before, after = without(before, unseen | unseen_before), without(replica.match, unseen)
                announced = announcement(before, after, delta.event, language)
                step = _Said(announced, notifications(before, after, delta.event, id_), before)
        # Where the first deltas are gone another origin may know more of what a delay hides.
        return replica.match, None if deltas is None else step, unseen


def _must_follow(replica: Replica, delta: Delta) -> None:
    if replica.receive(delta) is not Receipt.APPLIED:
        raise WireError("a delta on the bus does not follow from the ones before it", str(delta.id))


def _as_of_ms(replica: Replica, known_ms: int, now_ms: int) -> int:
    """Until when a state is known to be the newest.

    Args:
        replica: the state.
        known_ms: until when all that the log took is known here.
        now_ms: the time at which the bus was asked.
    """
    return max(known_ms, min(replica.accepted_ms or 0, now_ms))


def _check_match_id(match_id: str) -> None:
    """Refuse an id that no match can have.

    Raises:
        RequestError: 400 ``bad_match_id``; 404 it is the canary's, which no reader is shown.
    """
    if is_canary(match_id):
        raise RequestError(404, "unknown_match", f"no match {match_id!r}", match_id=match_id)
    if not MATCH_ID_PATTERN.fullmatch(match_id):
        raise RequestError(
            400, "bad_match_id", f"match id {shown(match_id)}: must match {MATCH_ID_PATTERN.pattern}"
        )
