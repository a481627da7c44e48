"""A file of ingest keys, one a line, that is read again when it has changed.

It is looked at when a webhook comes, which costs one ``stat``. A signal would not be cheaper: on SIGHUP
gunicorn replaces its workers, and every viewer would have to come back.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Final

from origin.errors import ConfigError
from origin.ingest.signatures import IngestKey, parse_keys, with_names
from shared_state.errors import shown

__all__ = ["KeyFile", "read_secret_file"]

logger = logging.getLogger(__name__)

# A hundred keys are 10 KB; the bound is for a path that leads to something else.
SECRET_FILE_MAX_BYTES: Final = 262_144


def read_secret_file(setting: str, path: str) -> str:
    """The text of a file that has a secret in it, without white space at its ends.

    Args:
        setting: the name of the setting that the path came from, for the error.
        path: of a regular file, or a link to one.

    Raises:
        ConfigError: it cannot be read. The message shows the path and nothing of the content.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(SECRET_FILE_MAX_BYTES + 1)
        if len(data) > SECRET_FILE_MAX_BYTES:
            raise ConfigError(f"{setting} {shown(path)}: is larger than {SECRET_FILE_MAX_BYTES} bytes")
        return data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigError(f"{setting} {shown(path)}: is not UTF-8") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{setting} {shown(path)}: cannot be read: {reason}") from None


class KeyFile:
    """The keys of a file as they are now. For any number of threads.

    Args:
        path: ``TOUCHLINE_INGEST_KEYS_FILE``.

    Raises:
        ConfigError: the file cannot be read, or has what is no key in it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._version = _version(path)
        self._keys = _read(path)

    def current(self) -> tuple[IngestKey, ...]:
        """The keys, newest first.

        A file that has become unreadable, or has a mistake in it, changes nothing: the keys of before stay,
        and an error is logged once.
        """
        with self._lock:
            version = _version(self._path)
            if version != self._version:
                # Taken before the reading: a file that changes meanwhile is read again.
                self._version = version
                try:
                    self._keys = _read(self._path)
                except ConfigError as error:
                    logger.error("%s; the ingest keys of before stay in use", error)
                else:
                    names = " ".join(key.name for key in self._keys)
                    logger.info("ingest keys read again from %s: %s", self._path, names or "none")
            return self._keys


def _read(path: str) -> tuple[IngestKey, ...]:
    text = read_secret_file("TOUCHLINE_INGEST_KEYS_FILE", path)
    try:
        return with_names(parse_keys(text))
    except ConfigError as error:
        raise ConfigError(f"TOUCHLINE_INGEST_KEYS_FILE {shown(path)}: {error}") from None


def _version(path: str) -> tuple[int, ...] | None:
    """What differs once a file has been written or replaced; None while there is none."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
