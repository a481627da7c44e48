"""Dates in the future that a wrong clock has left in a PostgreSQL log; see ``origin.eventlog.heal``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import groupby

from origin.errors import EventLogError
from origin.eventlog.clock import JUMP_MS, wall_clock_ms
from origin.eventlog.heal import DatedRecord, Healing, counted, plan
from origin.eventlog.postgres_session import PostgresSession, PostgresSettings, connect, translated

__all__ = ["heal_postgres"]

# The server may show the session of a process that has ended for a moment longer.
CLOSING_S = 2.0


def heal_postgres(
    settings: PostgresSettings,
    *,
    apply: bool,
    with_epochs: bool = False,
    now_ms: Callable[[], int] = wall_clock_ms,
    seen: Callable[[int, int], None] | None = None,
) -> Healing:
    """Set the dates of a PostgreSQL log right, in one transaction; all that use it must have ended.

    Args:
        settings: the server.
        apply: whether to change anything.
        with_epochs: see ``plan``.
        now_ms: see ``plan``.
        seen: called with how many records were looked at, and of how many.

    Raises:
        EventLogError: the server does not answer, has no log, or its clock still is ahead, or another process
            uses the log; nothing was changed.
    """
    with translated(settings):
        session = connect(settings)
        try:
            # A long log takes longer than a call may; only the wait for the locks is bounded.
            session.timeout_s = math.inf
            with session.transaction():
                session.execute("SET LOCAL statement_timeout = 0")
                session.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                if apply:
                    session.execute("LOCK TABLE touchline.partitions, touchline.records IN EXCLUSIVE MODE")
                    _refuse_other_processes(session, settings)
                    _refuse_wrong_clock(session, settings, now_ms())
                healed = _plan_all(session, now_ms(), with_epochs=with_epochs, seen=seen)
                if apply:
                    _write(session, healed)
        finally:
            session.close()
    return Healing(
        tuple(record for healing in healed.values() for record in healing.dates),
        tuple(sorted(match_id for healing in healed.values() for match_id in healing.epochs_left)),
        tuple(sorted(match_id for healing in healed.values() for match_id in healing.epochs_changed)),
    )


def _plan_all(
    session: PostgresSession, now_ms: int, *, with_epochs: bool, seen: Callable[[int, int], None] | None
) -> dict[int, Healing]:
    """What to change, by partition; the records come one batch at a time."""
    healed: dict[int, Healing] = {}
    total = 0
    if seen is not None:
        row = session.execute("SELECT count(*) FROM touchline.records").fetchone()
        total = row[0] if row else 0
    with session.cursor(name="dates") as rows:
        rows.execute(
            'SELECT partition, "offset", match_id, appended_ms FROM touchline.records'
            ' ORDER BY partition, "offset"'
        )
        all_rows = rows if seen is None else counted(rows, seen, total)
        for partition, records in groupby(all_rows, key=lambda row: row[0]):
            dated = (DatedRecord(*row[1:]) for row in records)
            healed[partition] = plan(dated, now_ms, with_epochs=with_epochs)
    return healed


def _write(session: PostgresSession, healed: dict[int, Healing]) -> None:
    with session.cursor() as cursor:
        cursor.executemany(
            'UPDATE touchline.records SET appended_ms = %s WHERE partition = %s AND "offset" = %s',
            [
                (record.appended_ms, partition, record.offset)
                for partition, healing in healed.items()
                for record in healing.dates
            ],
        )
    # By these dates old keys are removed.
    session.execute("UPDATE touchline.keys SET appended_at = now() WHERE appended_at > now()")


def _refuse_other_processes(session: PostgresSession, settings: PostgresSettings) -> None:
    """Workers remember the dates that they have read; each has a session while it runs."""
    until_s = time.monotonic() + CLOSING_S
    while True:
        row = session.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'touchline' AND pid <> pg_backend_pid()"
        ).fetchone()
        if not row or not row[0]:
            return
        if time.monotonic() > until_s:
            raise EventLogError(
                f"the event log at {settings.shown} is open in other processes ({row[0]} sessions): stop"
                " all that use it first"
            )
        time.sleep(0.1)
        session.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees what it saw first


def _refuse_wrong_clock(session: PostgresSession, settings: PostgresSettings, now_ms: int) -> None:
    row = session.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetchone()
    ahead_ms = row[0] - now_ms if row else 0
    if ahead_ms > JUMP_MS:
        raise EventLogError(
            f"the clock of PostgreSQL at {settings.shown} is {ahead_ms / 1_000:.0f} s ahead of this"
            " machine's: set it right first, or the next events get wrong dates again"
        )
