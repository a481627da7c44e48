"""A real PostgreSQL server for the tests, from Debian's package, on loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from deploy.ports import free_port
from testkit.services.process import ServerProcess, require_program, unavailable

__all__ = ["PostgresServer"]

# Debian keeps the server's programs apart by version, off the PATH.
DEBIAN_DIRECTORY = Path("/usr/lib/postgresql")
# PostgreSQL refuses to run as root; these accounts are looked for in this order.
ACCOUNTS = ("postgres", "nobody")


class PostgresServer:
    """One server, started when made; ``kill`` and ``start`` again keep its port and its data."""

    def __init__(self) -> None:
        self._programs = _programs()
        # Not under pytest's temporary directory, which the server's account may not enter.
        directory = self._directory = Path(tempfile.mkdtemp(prefix="touchline-postgres-"))
        self._data = directory / "data"
        self._as_account = _as_unprivileged(directory)
        self.port = free_port()
        self._databases = 0
        # --no-sync: the data directory itself need not survive power loss; what tests append still is
        # written with fsync on, as in production.
        subprocess.run(
            [
                *self._as_account,
                str(self._programs / "initdb"),
                *("--pgdata", str(self._data), "--username", "touchline", "--auth", "trust"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            timeout=60,
            cwd=directory,
        )
        self._process: ServerProcess | None = None
        self.start()

    @property
    def process(self) -> ServerProcess:
        """The postmaster."""
        assert self._process is not None
        return self._process

    def url(self, database: str = "postgres") -> str:
        """A URL as ``EVENTLOG_URL`` takes it."""
        return f"postgres://touchline@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database; returns its URL."""
        import psycopg
        from psycopg import sql

        self._databases += 1
        name = f"log{self._databases}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def start(self) -> None:
        """Start it on its data and wait until it serves."""
        self._process = ServerProcess(
            [
                *self._as_account,
                str(self._programs / "postgres"),
                *("-D", str(self._data), "-p", str(self.port), "-k", str(self._directory)),
                *("-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=16MB"),
            ],
            log_path=self._directory / "postgres.log",
            cwd=self._directory,
        )
        self._process.wait_until(self._serves)

    def kill(self) -> None:
        """``kill -9`` for the postmaster and every backend."""
        children = self.process.children
        self.process.kill()
        # Backends start sessions of their own; without the postmaster they end, but not at once.
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """Let it hang: connections stay open and nothing answers."""
        for pid in (self.process.pid, *self.process.children):
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        for pid in (*self.process.children, self.process.pid):
            os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it for good, with its data."""
        self.kill()
        shutil.rmtree(self._directory)

    def _serves(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _programs() -> Path:
    """The directory with initdb and postgres."""
    versions = sorted(DEBIAN_DIRECTORY.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    if found is None:
        unavailable("PostgreSQL (Debian package postgresql)")
    return Path(found).resolve().parent


def _as_unprivileged(directory: Path) -> list[str]:
    """What to put before a command to run it as an account PostgreSQL accepts, which gets ``directory``."""
    if os.geteuid() != 0:
        return []
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    for account in ACCOUNTS:
        if account in names:
            break
    else:
        unavailable(f"an account to run PostgreSQL as ({' or '.join(ACCOUNTS)})")
    entry = names[account]
    os.chown(directory, entry.pw_uid, entry.pw_gid)
    return [
        require_program("setpriv"),
        f"--reuid={entry.pw_uid}",
        f"--regid={entry.pw_gid}",
        "--clear-groups",
    ]
