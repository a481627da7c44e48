"""The key that proves to push services who sends (VAPID, RFC 8292): a file beside the subscriptions.

A browser subscribes to one key. With another key every subscription is worthless, so it is made once.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any, Final

from origin.errors import ConfigError

__all__ = ["KEY_FILE", "STORE_FILE", "load_key", "make_key", "public_key"]

KEY_FILE: Final = "vapid.pem"
PUBLIC_FILE: Final = "vapid.pub"
STORE_FILE: Final = "push.db"


def _vapid() -> Any:
    try:
        from py_vapid import Vapid02
    except ImportError:
        raise ConfigError("Web Push needs pywebpush: pip install 'touchline[push]'") from None
    return Vapid02


def make_key(directory: Path) -> str:
    """Make the key; returns its public half, base64url, which is kept in a file beside it.

    Raises:
        ConfigError: there is one, or it cannot be written, or the extra is missing. Nothing was changed.
    """
    key = _vapid()()
    from cryptography.hazmat.primitives import serialization  # comes with the extra

    key.generate_keys()
    raw = key.public_key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    public = base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with os.fdopen(
            os.open(directory / KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
        ) as file:
            file.write(key.private_pem())
        (directory / PUBLIC_FILE).write_text(public + "\n", encoding="ascii")
    except FileExistsError:
        raise ConfigError(
            f"{str(directory / KEY_FILE)!r} is there already; another key would lose every subscription"
        ) from None
    except OSError as error:
        raise ConfigError(f"no key can be made in {str(directory)!r}: {error.strerror}") from None
    return public


def public_key(directory: Path) -> str:
    """The public half, base64url, without the library.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return (directory / PUBLIC_FILE).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"TOUCHLINE_PUSH_DATA_DIR {str(directory)!r}: has no {PUBLIC_FILE};"
            " `touchline push keys` makes the key"
        ) from None


def load_key(directory: Path) -> Any:
    """The key, a ``py_vapid.Vapid02``.

    Raises:
        ConfigError: it cannot be read, or the extra is missing.
    """
    vapid = _vapid()
    try:
        return vapid.from_pem((directory / KEY_FILE).read_bytes())
    except (OSError, ValueError):
        raise ConfigError(
            f"{str(directory / KEY_FILE)!r} cannot be read as a key; `touchline push keys` makes one"
        ) from None
