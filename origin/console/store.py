"""What the console keeps: sessions, attempts to sign in, who is at which match.

It is one SQLite file for all workers.

Sessions outlive a restart and count in every worker; whoever revokes one, from the shell too, revokes it in
all. Of a session's token only its SHA-256 is here, so a copy of the file opens nothing.

A connection is opened for each call: that costs 0.1 ms, and no thread has to share one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from origin.errors import ConfigError, RequestError

__all__ = ["Limit", "PendingSignIn", "Presence", "Session", "Store"]

#: A session that is not used for so long is over.
IDLE_S: Final = 4 * 3_600.0
SESSIONS_OF_OPERATOR_MAX: Final = 20
SESSIONS_MAX: Final = 2_000
ATTEMPTS_MAX: Final = 10_000
PENDING_MAX: Final = 1_000
PENDING_S: Final = 600.0
#: An operator whose connection has not been heard of for so long is gone.
PRESENT_S: Final = 12.0
# A session's last use is written so often at the most.
_SEEN_STEP_S: Final = 30.0
_BUSY_S: Final = 5.0

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sessions (
    token_hash TEXT PRIMARY KEY, operator TEXT NOT NULL, kind TEXT NOT NULL, proof TEXT NOT NULL,
    csrf TEXT NOT NULL, began_s REAL NOT NULL, seen_s REAL NOT NULL, ends_s REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_by_operator ON sessions (operator, began_s);
CREATE TABLE IF NOT EXISTS attempts (key TEXT PRIMARY KEY, tokens REAL NOT NULL, at_s REAL NOT NULL) WITHOUT
ROWID; CREATE TABLE IF NOT EXISTS pending (
    key_hash TEXT PRIMARY KEY, state TEXT NOT NULL, nonce TEXT NOT NULL, verifier TEXT NOT NULL, at_s REAL NOT
    NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS present (
    connection TEXT PRIMARY KEY, match_id TEXT NOT NULL, operator TEXT NOT NULL, editing TEXT NOT NULL,
    since_s REAL NOT NULL, seen_s REAL NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in.

    Attributes:
        operator: the name.
        kind: how: ``local``, ``proxy`` or ``oidc``.
        proof: of a local account, what changes with its password.
        csrf: what a page of the session has to send with each change.
    """

    operator: str
    kind: str
    proof: str
    csrf: str


@dataclass(frozen=True, slots=True)
class PendingSignIn:
    """A sign-in for which the OpenID Connect provider was asked, and has not answered."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Presence:
    """An operator who has a match open.

    Attributes:
        connection: one window of theirs.
        editing: the ``event_id`` that they are changing; empty: none.
    """

    connection: str
    operator: str
    editing: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A token bucket.

    Attributes:
        key: whose.
        burst: attempts at once.
        refill_s: seconds for each further one.
    """

    key: str
    burst: int
    refill_s: float


class Store:
    """See the module.

    Args:
        path: the file; it and its directory are made, for this account alone.
        clock_s: UTC seconds.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(self, path: Path, clock_s: Callable[[], float]) -> None:
        self._path = path
        self._clock_s = clock_s
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            with closing(self._connect()) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{path}: {error}") from None

    # --- sessions

    def begin(self, operator: str, kind: str, proof: str, lasts_s: float) -> str:
        """Begin a session; the oldest of an operator, or of all, give way where there are too many.

        Returns:
            Its token, for the cookie.
        """
        token, now_s = secrets.token_urlsafe(32), self._clock_s()
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM sessions WHERE ends_s <= ? OR seen_s <= ?", (now_s, now_s - IDLE_S)
            )
            connection.execute(
                "DELETE FROM sessions WHERE token_hash IN (SELECT token_hash FROM sessions WHERE operator = ?"
                " ORDER BY began_s DESC LIMIT -1 OFFSET ?)",
                (operator, SESSIONS_OF_OPERATOR_MAX - 1),
            )
            connection.execute(
                "DELETE FROM sessions WHERE token_hash IN"
                " (SELECT token_hash FROM sessions ORDER BY seen_s DESC LIMIT -1 OFFSET ?)",
                (SESSIONS_MAX - 1,),
            )
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    _digest(token),
                    operator,
                    kind,
                    proof,
                    secrets.token_urlsafe(24),
                    now_s,
                    now_s,
                    now_s + lasts_s,
                ),
            )
        return token

    def session(self, token: str) -> Session | None:
        """The session of a token; None if there is none, or it is over."""
        now_s, digest = self._clock_s(), _digest(token)
        with self._open() as connection:
            row = connection.execute(
                "SELECT operator, kind, proof, csrf, seen_s FROM sessions"
                " WHERE token_hash = ? AND ends_s > ? AND seen_s > ?",
                (digest, now_s, now_s - IDLE_S),
            ).fetchone()
            if row is None:
                return None
            if now_s - row[4] > _SEEN_STEP_S:
                connection.execute("UPDATE sessions SET seen_s = ? WHERE token_hash = ?", (now_s, digest))
        return Session(*row[:4])

    def end(self, token: str) -> None:
        """End a session; one that there is not is no error."""
        with self._writing() as connection:
            connection.execute("DELETE FROM sessions WHERE token_hash = ?", (_digest(token),))

    def end_all(self, operator: str) -> int:
        """End all sessions of an operator; how many there were."""
        with self._writing() as connection:
            return connection.execute("DELETE FROM sessions WHERE operator = ?", (operator,)).rowcount

    # --- attempts to sign in

    def take(self, limits: list[Limit]) -> float:
        """Take one from each bucket, or from none.

        Returns:
            0, or the seconds after which all of them have one again.
        """
        now_s, wait_s = self._clock_s(), 0.0
        with self._writing() as connection:
            left: list[tuple[str, float]] = []
            for limit in limits:
                tokens = self._tokens(connection, limit, now_s)
                if tokens < 1:
                    wait_s = max(wait_s, (1 - tokens) * limit.refill_s)
                left.append((limit.key, tokens - 1))
            if wait_s == 0.0:
                connection.executemany(
                    "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?)",
                    [(key, one, now_s) for key, one in left],
                )
                connection.execute(
                    "DELETE FROM attempts WHERE key IN"
                    " (SELECT key FROM attempts ORDER BY at_s DESC LIMIT -1 OFFSET ?)",
                    (ATTEMPTS_MAX,),
                )
        return wait_s

    def give_back(self, limit: Limit) -> None:
        """Put one back: the attempt was a success."""
        now_s = self._clock_s()
        with self._writing() as connection:
            tokens = min(limit.burst, self._tokens(connection, limit, now_s) + 1)
            connection.execute("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?)", (limit.key, tokens, now_s))

    @staticmethod
    def _tokens(connection: sqlite3.Connection, limit: Limit, now_s: float) -> float:
        row = connection.execute("SELECT tokens, at_s FROM attempts WHERE key = ?", (limit.key,)).fetchone()
        if row is None:
            return float(limit.burst)
        # A clock that was set back refills nothing.
        gained: float = max(0.0, now_s - row[1]) / limit.refill_s
        return min(float(limit.burst), float(row[0]) + gained)

    # --- sign-ins that wait for a provider

    def keep_pending(self, pending: PendingSignIn) -> str:
        """Keep a sign-in for ten minutes; returns the key for the browser's cookie."""
        key, now_s = secrets.token_urlsafe(32), self._clock_s()
        with self._writing() as connection:
            connection.execute("DELETE FROM pending WHERE at_s <= ?", (now_s - PENDING_S,))
            connection.execute(
                "DELETE FROM pending WHERE key_hash IN"
                " (SELECT key_hash FROM pending ORDER BY at_s DESC LIMIT -1 OFFSET ?)",
                (PENDING_MAX - 1,),
            )
            connection.execute(
                "INSERT INTO pending VALUES (?, ?, ?, ?, ?)",
                (_digest(key), pending.state, pending.nonce, pending.verifier, now_s),
            )
        return key

    def take_pending(self, key: str, state: str) -> PendingSignIn | None:
        """The sign-in of a browser, once; None if there is none of this ``state``."""
        with self._writing() as connection:
            row = connection.execute(
                "DELETE FROM pending WHERE key_hash = ? AND at_s > ? RETURNING state, nonce, verifier",
                (_digest(key), self._clock_s() - PENDING_S),
            ).fetchone()
        if row is None or not hmac.compare_digest(str(row[0]).encode(), state.encode()):
            return None
        return PendingSignIn(*row)

    # --- who is there

    def be_present(self, match_id: str, presence: Presence) -> None:
        """An operator's window has a match open."""
        now_s = self._clock_s()
        with self._writing() as connection:
            connection.execute("DELETE FROM present WHERE seen_s <= ?", (now_s - PRESENT_S,))
            connection.execute(
                "INSERT INTO present VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (connection)"
                " DO UPDATE SET editing = excluded.editing, seen_s = excluded.seen_s",
                (presence.connection, match_id, presence.operator, presence.editing, now_s, now_s),
            )

    def leave(self, connection_id: str) -> None:
        """A window was closed."""
        with self._writing() as connection:
            connection.execute("DELETE FROM present WHERE connection = ?", (connection_id,))

    def present(self, match_id: str) -> list[Presence]:
        """The windows that have a match open, the first who came first."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT connection, operator, editing FROM present WHERE match_id = ? AND seen_s > ?"
                " ORDER BY since_s, connection",
                (match_id, self._clock_s() - PRESENT_S),
            ).fetchall()
        return [Presence(*row) for row in rows]

    def windows_of(self, operator: str) -> int:
        """How many windows an operator has open, in all workers."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT count(*) FROM present WHERE operator = ? AND seen_s > ?",
                (operator, self._clock_s() - PRESENT_S),
            ).fetchone()
        return int(row[0])

    # ---

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._connect()) as connection:
                yield connection
        except sqlite3.Error as error:
            raise RequestError(
                503, "console_unavailable", f"the console's own file: {error}", headers={"Retry-After": "2"}
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; nobody else writes meanwhile."""
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
