"""Who wants goals as Web Push, and what is not sent yet: a SQLite file that the origin and the worker share.

For each subscription and each goal there is one row. It has what is to be sent next, and whether the reader
may have been shown something of this goal: a goal that was taken back is removed if not, and else is replaced
by its correction under the same tag.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from origin.notify.outbox import DUE_AHEAD_MAX_MS, OffsetFile
from shared_state.jsontext import JsonObject, compact

__all__ = ["FullError", "Push", "PushStore", "Subscription"]

#: Subscriptions in all, of one match, and of one browser.
SUBSCRIPTIONS_MAX: Final = 100_000
OF_MATCH_MAX: Final = 50_000
OF_BROWSER_MAX: Final = 50
#: A subscription is removed this long after it was made or renewed, milliseconds: 60 days.
KEPT_MS: Final = 60 * 86_400_000
#: What was shown of a goal is remembered for so long, milliseconds: a correction may come until then.
SHOWN_MS: Final = 2 * 86_400_000

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS subscriptions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    endpoint TEXT NOT NULL,
    match_id TEXT NOT NULL,
    p256dh TEXT NOT NULL,
    auth TEXT NOT NULL,
    delay_s INTEGER NOT NULL,
    language TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    renewed_ms INTEGER NOT NULL,
    UNIQUE (endpoint, match_id)
);
CREATE INDEX IF NOT EXISTS subscriptions_of_match ON subscriptions (match_id);
CREATE INDEX IF NOT EXISTS subscriptions_renewed ON subscriptions (renewed_ms);
CREATE TABLE IF NOT EXISTS pushes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription INTEGER NOT NULL REFERENCES subscriptions (number) ON DELETE CASCADE,
    match_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 0,
    content TEXT,
    due_ms INTEGER NOT NULL,
    made_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    shown INTEGER NOT NULL DEFAULT 0,
    UNIQUE (subscription, event_id)
);
CREATE INDEX IF NOT EXISTS pushes_due ON pushes (due_ms) WHERE content IS NOT NULL;
CREATE INDEX IF NOT EXISTS pushes_of_match ON pushes (match_id, subscription, number);
CREATE INDEX IF NOT EXISTS pushes_made ON pushes (made_ms);
"""


class FullError(Exception):
    """There is no room for another subscription; ``str()`` says which bound was reached."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A browser that wants the goals of a match.

    Attributes:
        endpoint: the address at the browser's push service. Who knows it can send to the browser.
        match_id: the match.
        p256dh: the browser's public key, base64url.
        auth: the secret that it shares with us, base64url.
        delay_s: seconds by which the reader stays behind, 0 to 120.
        language: the tag of the language of the texts.
    """

    endpoint: str
    match_id: str
    p256dh: str
    auth: str
    delay_s: int
    language: str


@dataclass(frozen=True, slots=True)
class Push:
    """What is to be sent to one browser about one goal.

    Attributes:
        number: of the row.
        version: of its content; what was queued meanwhile has a higher one.
        subscription: the number of the subscription.
        to: the subscription.
        event_id: of the goal.
        content: what ``origin.notify.push_message.contents_of`` made.
        made_ms: when the log took what it is about, UTC milliseconds.
        attempts: how often it was tried.
        shown: whether the reader may have been shown something of this goal before.
    """

    number: int
    version: int
    subscription: int
    to: Subscription
    event_id: str
    content: JsonObject
    made_ms: int
    attempts: int
    shown: bool


class PushStore(OffsetFile):
    """The file. Threads may share one, and so may processes.

    Raises:
        OutboxError: it cannot be opened, read or written; nothing has changed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)
        with self._reading() as db:
            # Of each connection: what waits for a subscription goes with it.
            db.execute("PRAGMA foreign_keys=ON")

    def subscribe(self, given: Subscription, now_ms: int) -> None:
        """Add a subscription, or renew the one of this browser and match.

        Args:
            given: the subscription. Goals that the log takes from now on are sent to it.
            now_ms: UTC milliseconds.

        Raises:
            FullError: a bound is reached; nothing was changed.
            OutboxError: see the class.
        """
        with self._using() as db:
            db.execute("DELETE FROM subscriptions WHERE renewed_ms < ?", (now_ms - KEPT_MS,))
            known = db.execute(
                "SELECT number FROM subscriptions WHERE endpoint = ? AND match_id = ?",
                (given.endpoint, given.match_id),
            ).fetchone()
            if known is None:
                self._check_room(db, given)
            db.execute(
                "INSERT INTO subscriptions"
                " (endpoint, match_id, p256dh, auth, delay_s, language, since_ms, renewed_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (endpoint, match_id) DO UPDATE SET p256dh = excluded.p256dh,"
                " auth = excluded.auth, delay_s = excluded.delay_s, language = excluded.language,"
                " renewed_ms = excluded.renewed_ms",
                (
                    given.endpoint, given.match_id, given.p256dh, given.auth, given.delay_s, given.language,
                    now_ms, now_ms,
                ),
            )  # fmt: skip
            if known is not None:
                # What waits obeys the delay that the reader has chosen now.
                db.execute(
                    "UPDATE pushes SET due_ms = made_ms + ? WHERE subscription = ? AND content IS NOT NULL"
                    " AND attempts = 0",
                    (given.delay_s * 1_000, known[0]),
                )

    @staticmethod
    def _check_room(db: sqlite3.Connection, given: Subscription) -> None:
        for bound, what, where, values in (
            (OF_BROWSER_MAX, "matches of one browser", " WHERE endpoint = ?", (given.endpoint,)),
            (OF_MATCH_MAX, "subscriptions of one match", " WHERE match_id = ?", (given.match_id,)),
            (SUBSCRIPTIONS_MAX, "subscriptions", "", ()),
        ):
            count = int(db.execute(f"SELECT count(*) FROM subscriptions{where}", values).fetchone()[0])  # noqa: S608
            if count >= bound:
                raise FullError(f"there are {count} {what} already, at most {bound}")

    def unsubscribe(self, endpoint: str, match_id: str) -> None:
        """Remove the subscription of a browser to a match, with what waits for it; none is no error.

        Raises:
            OutboxError: see the class.
        """
        with self._using() as db:
            db.execute("DELETE FROM subscriptions WHERE endpoint = ? AND match_id = ?", (endpoint, match_id))

    def forget(self, endpoint: str) -> None:
        """Remove every subscription of a browser: its push service does not know it any more.

        Raises:
            OutboxError: see the class.
        """
        with self._using() as db:
            db.execute("DELETE FROM subscriptions WHERE endpoint = ?", (endpoint,))

    def count(self) -> int:
        """How many subscriptions there are.

        Raises:
            OutboxError: see the class.
        """
        with self._reading() as db:
            return int(db.execute("SELECT count(*) FROM subscriptions").fetchone()[0])

    def since(self, match_id: str) -> int | None:
        """Since when the first subscription to a match is there, UTC milliseconds; None: there is none.

        Raises:
            OutboxError: see the class.
        """
        with self._reading() as db:
            row = db.execute(
                "SELECT min(since_ms) FROM subscriptions WHERE match_id = ?", (match_id,)
            ).fetchone()
        return None if row[0] is None else int(row[0])

    def keep(
        self,
        contents: Sequence[tuple[JsonObject, int]],
        offsets: Mapping[int, int],
        now_ms: int,
        clocks_ms: int,
    ) -> None:
        """Queue what records of the log are about, and the offsets, in one transaction.

        Args:
            contents: each with when the log took its record, UTC milliseconds, in the log's order.
            offsets: up to where each partition was read.
            now_ms: UTC milliseconds.
            clocks_ms: the clock that dates the log may be behind ours by so much. A goal that the log took so
                shortly before a subscription is sent to it.

        Raises:
            OutboxError: see the class.
        """
        with self._using() as db:
            for content, accepted_ms in contents:
                subscriptions = db.execute(
                    "SELECT number, delay_s FROM subscriptions WHERE match_id = ? AND since_ms <= ?",
                    (content["match"], accepted_ms + clocks_ms),
                ).fetchall()
                for number, delay_s in subscriptions:
                    self._queue(db, number, content, accepted_ms, delay_s)
            db.execute("DELETE FROM pushes WHERE made_ms < ? AND content IS NULL", (now_ms - SHOWN_MS,))
            self._write_offsets(db, offsets)

    def _queue(
        self, db: sqlite3.Connection, subscription: int, content: JsonObject, accepted_ms: int, delay_s: int
    ) -> None:
        """Change the row of a goal for one subscription by one message about it."""
        due_ms = accepted_ms + delay_s * 1_000
        kind, event_id = content["kind"], content["event"]
        rows = db.execute(
            "SELECT number, event_id, content, due_ms, shown FROM pushes"
            " WHERE subscription = ? AND match_id = ? ORDER BY number",
            (subscription, content["match"]),
        ).fetchall()
        row = next((one for one in rows if one[1] == event_id), None)
        if kind == "score" and row is None and rows:
            # A feed that lists no goals takes one back by a lower score in an event of its own.
            row = rows[-1]
        if row is None:
            # Of what is corrected the reader has seen nothing, and a goal that counts again is a goal.
            if kind == "goal":
                db.execute(
                    "INSERT INTO pushes (subscription, match_id, event_id, content, due_ms, made_ms)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (subscription, content["match"], event_id, compact(content), due_ms, accepted_ms),
                )
            return
        number, _, waiting_text, waiting_due_ms, shown = row
        waiting: JsonObject | None = None if waiting_text is None else json.loads(waiting_text)
        if not shown and waiting is not None:
            if kind == "ruled_out" or (kind == "score" and _total(content) < _total(waiting)):
                # Taken back before anything was sent: this reader never hears of it, nor of its score.
                db.execute("DELETE FROM pushes WHERE number = ?", (number,))
                self._lower(db, [one for one in rows if one[0] != number], waiting)
                return
            if kind in ("amended", "score"):
                # It is still a goal, and due as before. Its score must not run ahead of the reader's delay.
                same = kind == "amended" and content["team"] == waiting["team"]
                content = {
                    **(waiting if kind == "score" else content),
                    "kind": "goal",
                    "score": waiting["score"] if same else content["score"],
                    "score_seq": waiting["score_seq"] if same else content["score_seq"],
                }
                due_ms = waiting_due_ms if same else due_ms
        db.execute(
            "UPDATE pushes SET content = ?, due_ms = ?, made_ms = ?, attempts = 0, version = version + 1"
            " WHERE number = ?",
            (compact(content), due_ms, accepted_ms, number),
        )

    @staticmethod
    def _lower(
        db: sqlite3.Connection, rows: Sequence[tuple[int, str, str | None, int, int]], gone: JsonObject
    ) -> None:
        """Of what waits after a goal that was taken back unseen, the score no longer counts it."""
        for number, _, text, _, _ in rows:
            if text is None:
                continue
            content = json.loads(text)
            score, team = content["score"], gone["team"]
            if team in score and content["score_seq"] > gone["score_seq"] and score[team] > 0:
                score[team] -= 1
                db.execute("UPDATE pushes SET content = ? WHERE number = ?", (compact(content), number))

    def take_due(self, now_ms: int, under_way: Sequence[int]) -> Push | None:
        """The push that has been due for longest; None for none. It counts as shown from now on.

        It is written down before it is sent: after ``kill -9`` nobody can know whether it arrived, and what
        may have arrived has to be taken back. It stays in the queue until ``sent``.

        Args:
            now_ms: UTC milliseconds.
            under_way: subscriptions that are being sent to, and wait: what goes to a browser goes in order.

        Raises:
            OutboxError: see the class.
        """
        busy = ",".join(str(int(one)) for one in under_way)
        with self._using() as db:
            row = db.execute(
                "SELECT p.number, p.version, p.subscription, s.endpoint, s.match_id, s.p256dh, s.auth,"  # noqa: S608
                " s.delay_s, s.language, p.event_id, p.content, p.made_ms, p.attempts, p.shown"
                " FROM pushes AS p JOIN subscriptions AS s ON s.number = p.subscription"
                " WHERE p.content IS NOT NULL AND (p.due_ms <= ? OR p.due_ms > ?)"
                f" AND p.subscription NOT IN ({busy}) ORDER BY p.due_ms, p.number LIMIT 1",
                (now_ms, now_ms + DUE_AHEAD_MAX_MS),
            ).fetchone()
            if row is None:
                return None
            db.execute("UPDATE pushes SET shown = 1 WHERE number = ?", (row[0],))
        return Push(
            row[0], row[1], row[2], Subscription(*row[3:9]), row[9], json.loads(row[10]), row[11], row[12],
            bool(row[13]),
        )  # fmt: skip

    def sent(self, push: Push) -> None:
        """Remember that a push needs no further attempt. What was queued meanwhile for its goal stays.

        Raises:
            OutboxError: see the class; it is sent once more, under the same tag.
        """
        with self._using() as db:
            db.execute(
                "UPDATE pushes SET content = NULL WHERE number = ? AND version = ?",
                (push.number, push.version),
            )

    def retry(self, push: Push, due_ms: int) -> None:
        """Have a push tried again from ``due_ms`` on, UTC milliseconds.

        Raises:
            OutboxError: see the class; it is tried again sooner.
        """
        with self._using() as db:
            db.execute(
                "UPDATE pushes SET attempts = attempts + 1, due_ms = ? WHERE number = ? AND version = ?",
                (due_ms, push.number, push.version),
            )

    def waiting(self) -> tuple[int, int | None]:
        """How many pushes wait, and since when the oldest that is due does, UTC milliseconds.

        Raises:
            OutboxError: see the class.
        """
        with self._reading() as db:
            row = db.execute("SELECT count(*), min(due_ms) FROM pushes WHERE content IS NOT NULL").fetchone()
        return int(row[0]), row[1]


def _total(content: JsonObject) -> int:
    score = content["score"]
    return int(score["home"]) + int(score["away"])
