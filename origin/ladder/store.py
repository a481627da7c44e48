"""Where the ladder's state is kept: in each region's Redis, or beside the SQLite log of an embedded origin.

It is not kept in the log: the ladder is for the hour in which the log may not answer.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from origin.bus import Bus, SharesRecords
from origin.ladder.steps import LadderError, LadderState

__all__ = ["BusStore", "FileStore", "LadderStore", "MemoryStore", "file_of", "store_of"]

_SQLITE: Final = "sqlite:///"
_SUFFIX: Final = ".ladder"


class LadderStore(Protocol):
    """Where the state of one region is kept. Any thread may call it."""

    def read(self) -> LadderState:
        """The state; ``normal`` if none was ever set.

        Raises:
            LadderError: what is kept is no state, or cannot be read.
            BusError: the bus does not answer.
        """

    def write(self, state: LadderState) -> None:
        """Set the state, for all workers of the region.

        Raises:
            LadderError: it cannot be written; the state is as it was.
            BusError: the bus does not answer; it may or may not be set.
        """


class BusStore:
    """In the region's Redis. Workers that know a state put it back into a Redis that was emptied."""

    def __init__(self, bus: SharesRecords) -> None:
        self._bus = bus

    def read(self) -> LadderState:
        """See ``LadderStore.read``."""
        data = self._bus.read_ladder()
        return LadderState.decode(data) if data else LadderState()

    def write(self, state: LadderState) -> None:
        """See ``LadderStore.write``."""
        self._bus.write_ladder(state.encode())


class FileStore:
    """In a file, which is replaced as a whole.

    Args:
        path: of the file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> LadderState:
        """See ``LadderStore.read``."""
        try:
            return LadderState.decode(self.path.read_bytes())
        except FileNotFoundError:
            return LadderState()
        except OSError as error:
            raise LadderError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def write(self, state: LadderState) -> None:
        """See ``LadderStore.write``."""
        staged = ""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, staged = tempfile.mkstemp(prefix=self.path.name, dir=self.path.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(state.encode())
                file.flush()
                os.fsync(file.fileno())
            Path(staged).replace(self.path)
        except OSError as error:
            if staged:
                with suppress(OSError):
                    Path(staged).unlink()
            raise LadderError(f"{self.path} cannot be written: {error.strerror or error}") from error


class MemoryStore:
    """In this process, where neither a Redis nor a SQLite log is: it ends with the process."""

    def __init__(self) -> None:
        self._state = LadderState()

    def read(self) -> LadderState:
        """See ``LadderStore.read``."""
        return self._state

    def write(self, state: LadderState) -> None:
        """See ``LadderStore.write``."""
        self._state = state


def store_of(bus: Bus, eventlog_url: str) -> LadderStore:
    """The store of an origin.

    Args:
        bus: its bus.
        eventlog_url: its log, beside whose file the state is kept if the bus is this process's own.
    """
    if isinstance(bus, SharesRecords):
        return BusStore(bus)
    path = file_of(eventlog_url)
    return MemoryStore() if path is None else FileStore(path)


def file_of(eventlog_url: str) -> Path | None:
    """The file that has the state of an embedded origin; None where its log is no file."""
    path = eventlog_url.removeprefix(_SQLITE).partition("?")[0]
    return Path(path + _SUFFIX) if eventlog_url.startswith(_SQLITE) and path else None
