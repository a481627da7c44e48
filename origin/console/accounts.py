"""Local accounts: names and argon2id hashes in one JSON file, which ``touchline console`` writes.

The file is read again when it changes, so an account that was added or removed counts at once in every
worker.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from origin.console.config import checked_operator, is_operator_name
from origin.errors import ConfigError, RequestError
from shared_state.errors import shown

__all__ = ["PASSWORD_CHARS_MAX", "PASSWORD_CHARS_MIN", "Accounts"]

PASSWORD_CHARS_MIN: Final = 12
#: Longer ones are refused before they are hashed.
PASSWORD_CHARS_MAX: Final = 1_024
ACCOUNTS_MAX: Final = 1_000
_VERSION: Final = 1
# A check takes 64 MiB and tens of milliseconds of a core: so many at a time, others wait for so long.
_CHECKS_MAX: Final = 2
_CHECK_WAIT_S: Final = 3.0
# Those that check and those that wait. Each has a thread that pages may need, so further ones are refused at
# once.
_COMING_MAX: Final = 4


class Accounts:
    """The accounts of one file; a file that is not there has none.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hasher = PasswordHasher()
        self._coming = threading.BoundedSemaphore(_COMING_MAX)
        self._checks = threading.BoundedSemaphore(_CHECKS_MAX)
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._hashes: dict[str, str] = {}
        self._dummy = ""

    def names(self) -> list[str]:
        """The accounts, sorted.

        Raises:
            ConfigError: the file cannot be read.
        """
        return sorted(self._read())

    def add(self, name: str, password: str) -> None:
        """Add an account, or give one another password.

        Raises:
            ConfigError: the name or the password cannot be used, there are too many accounts, or the file
                cannot be written. Nothing was changed.
        """
        checked_operator(name)
        if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
            raise ConfigError(
                f"the password of {name}: must have {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters,"
                f" this one has {len(password)}"
            )
        hashes = dict(self._read())
        if name not in hashes and len(hashes) >= ACCOUNTS_MAX:
            raise ConfigError(f"{self._path} has {len(hashes)} accounts; at most {ACCOUNTS_MAX}")
        hashes[name] = self._hasher.hash(password)
        self._write(hashes)

    def remove(self, name: str) -> None:
        """Remove an account.

        Raises:
            ConfigError: there is no such account, or the file cannot be written.
        """
        hashes = dict(self._read())
        if name not in hashes:
            raise ConfigError(f"{self._path} has no account {shown(name)}")
        del hashes[name]
        self._write(hashes)

    def check(self, name: str, password: str) -> bool:
        """Whether an account has this password. It takes as long for a name that there is not.

        Raises:
            RequestError: 503 too many passwords are being checked.
            ConfigError: the file cannot be read.
        """
        if len(password) > PASSWORD_CHARS_MAX:
            return False
        known = self._read().get(name)
        if not self._coming.acquire(blocking=False):
            raise _busy()
        try:
            if not self._checks.acquire(timeout=_CHECK_WAIT_S):
                raise _busy()
            try:
                if not self._dummy:
                    self._dummy = self._hasher.hash(os.urandom(16).hex())
                return self._hasher.verify(known or self._dummy, password) and known is not None
            except (VerificationError, InvalidHashError):
                return False
            finally:
                self._checks.release()
        finally:
            self._coming.release()

    def proof(self, name: str) -> str | None:
        """What a session of the account keeps: it changes with the password, and is None without the account.

        Raises:
            ConfigError: the file cannot be read.
        """
        known = self._read().get(name)
        return None if known is None else hashlib.sha256(known.encode()).hexdigest()

    def _read(self) -> dict[str, str]:
        with self._lock:
            try:
                status = self._path.stat()
            except FileNotFoundError:
                self._stamp, self._hashes = None, {}
                return self._hashes
            except OSError as error:
                raise ConfigError(f"{self._path}: {error.strerror or error}") from None
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp != self._stamp:
                self._hashes = _parse(self._path)
                self._stamp = stamp
            return self._hashes

    def _write(self, hashes: dict[str, str]) -> None:
        content = {
            "version": _VERSION,
            "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "accounts": {name: {"password": hashes[name]} for name in sorted(hashes)},
        }
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Whoever reads it meanwhile has the file as it was or as it is, and never half of it.
            descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=".accounts-")
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    json.dump(content, file, indent=1)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(self._path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror or error}") from None


def _busy() -> RequestError:
    return RequestError(
        503, "sign_in_busy", "too many people sign in; try again", headers={"Retry-After": "2"}
    )


def _parse(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_bytes())
        accounts = content["accounts"]
        hashes = {str(name): str(account["password"]) for name, account in accounts.items()}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{path}: is not a file of `touchline console add-user`") from None
    for name in hashes:
        if not is_operator_name(name):
            raise ConfigError(f"{path}: {shown(name)} cannot be the name of an operator")
    return hashes
