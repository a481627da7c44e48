"""Who gets webhooks: a file in TOML with one table for each endpoint."""

from __future__ import annotations

import logging
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from origin.errors import ConfigError
from origin.ingest.signatures import parse_key
from shared_state.errors import shown

__all__ = ["KINDS", "Endpoint", "EndpointFile", "parse_endpoints"]

logger = logging.getLogger(__name__)

KINDS: Final = ("goal", "correction", "status")
#: Each endpoint is a thread and a queue on disk.
ENDPOINTS_MAX: Final = 64
FILE_MAX_BYTES: Final = 262_144
FILTERS_MAX: Final = 200
DELAY_MAX_S: Final = 600
SECRETS_MAX: Final = 4
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_PATTERN: Final = re.compile(r"[A-Za-z0-9_*?-]{1,64}")
_URL: Final = re.compile(r"[!-~]{1,2000}")
_MEMBERS: Final = frozenset(
    {"url", "secret", "secrets", "kinds", "matches", "competitions", "delay_s", "allow_private"}
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where messages are sent.

    Attributes:
        name: in the outbox, in metrics and on the command line.
        url: ``https://…``; ``http://…`` only with ``allow_private``.
        secrets: each signs every delivery, so that a receiver can change from one to the next.
        kinds: which messages it gets.
        matches: patterns of match ids with ``*`` and ``?``; empty: all matches.
        competitions: names of competitions; empty: all, also matches of which none is known.
        delay_s: seconds after the log took an event before it is sent, for a region with an embargo.
        allow_private: whether it may be in a private network.
    """

    name: str
    url: str
    secrets: tuple[bytes, ...] = field(repr=False)
    kinds: frozenset[str] = frozenset(KINDS)
    matches: tuple[str, ...] = ()
    competitions: tuple[str, ...] = ()
    delay_s: float = 0.0
    allow_private: bool = False

    def wants(self, kind: str, match_id: str, competition: str | None) -> bool:
        """Whether it gets a message of this kind about a match."""
        return (
            kind in self.kinds
            and (not self.matches or any(fnmatchcase(match_id, pattern) for pattern in self.matches))
            and (not self.competitions or competition in self.competitions)
        )


def parse_endpoints(text: str) -> dict[str, Endpoint]:
    """The endpoints of a file, by name, in its order.

    Raises:
        ConfigError: one of them cannot be used. The message shows no secret.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # The parser's own words quote no value of the file.
        raise ConfigError(f"the file of endpoints is no TOML: {error}") from None
    unknown = sorted(set(content) - {"endpoints"})
    tables = content.get("endpoints", {})
    if unknown or not isinstance(tables, dict):
        raise ConfigError(
            f"{shown(unknown[0] if unknown else tables)}: the file has only [endpoints.<name>] tables"
        )
    if len(tables) > ENDPOINTS_MAX:
        raise ConfigError(f"{len(tables)} endpoints: at most {ENDPOINTS_MAX}")
    return {name: _endpoint(name, table) for name, table in tables.items()}


def _endpoint(name: str, table: object) -> Endpoint:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"endpoint {shown(name)}: a name is 1 to 32 of A-Z a-z 0-9 _ -")
    if not isinstance(table, dict):
        raise ConfigError(f"endpoint {name}: must be a table, [endpoints.{name}]")
    unknown = sorted(set(table) - _MEMBERS)
    if unknown:
        raise ConfigError(
            f"endpoint {name}: {shown(unknown[0])} is no member; there are {', '.join(sorted(_MEMBERS))}"
        )
    allow_private = table.get("allow_private", False)
    if not isinstance(allow_private, bool):
        raise ConfigError(f"endpoint {name}: allow_private {shown(allow_private)}: must be true or false")
    delay_s = table.get("delay_s", 0)
    if isinstance(delay_s, bool) or not isinstance(delay_s, int | float) or not 0 <= delay_s <= DELAY_MAX_S:
        raise ConfigError(
            f"endpoint {name}: delay_s {shown(delay_s)}: must be a number from 0 to {DELAY_MAX_S}"
        )
    kinds = _texts(name, table, "kinds", KINDS)
    wrong = [kind for kind in kinds if kind not in KINDS]
    if wrong:
        raise ConfigError(f"endpoint {name}: kinds {shown(wrong[0])}: must be of {', '.join(KINDS)}")
    matches = _texts(name, table, "matches", ())
    wrong = [pattern for pattern in matches if not _PATTERN.fullmatch(pattern)]
    if wrong:
        raise ConfigError(
            f"endpoint {name}: matches {shown(wrong[0])}: must be an id, with * and ? for any characters"
        )
    return Endpoint(
        name,
        _checked_url(name, table.get("url"), allow_private=allow_private),
        _secrets(name, table),
        frozenset(kinds),
        tuple(matches),
        tuple(_texts(name, table, "competitions", ())),
        float(delay_s),
        allow_private,
    )


def _checked_url(name: str, url: object, *, allow_private: bool) -> str:
    try:
        parts = urlsplit(url) if isinstance(url, str) and _URL.fullmatch(url) else None
        is_usable = parts is not None and bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        is_usable = False
    if not is_usable or parts is None or parts.scheme not in ("https", "http"):
        raise ConfigError(f"endpoint {name}: url {shown(url)}: must be https://host/path without a user name")
    if parts.scheme == "http" and not allow_private:
        raise ConfigError(f"endpoint {name}: url {shown(url)}: http:// is for allow_private = true only")
    return str(url)


def _secrets(name: str, table: Mapping[str, object]) -> tuple[bytes, ...]:
    given = table.get("secrets", [table["secret"]] if "secret" in table else [])
    if "secret" in table and "secrets" in table:
        raise ConfigError(f"endpoint {name}: secret and secrets are both there; one of them must go")
    if not isinstance(given, list) or not 1 <= len(given) <= SECRETS_MAX:
        raise ConfigError(f"endpoint {name}: secret must be whsec_…, or secrets a list of 1 to {SECRETS_MAX}")
    secrets = []
    for secret in given:
        try:
            secrets.append(parse_key(secret if isinstance(secret, str) else ""))
        except ConfigError:
            raise ConfigError(
                f"endpoint {name}: a secret must be whsec_ and base64 of 24 to 64 bytes"
            ) from None
    return tuple(secrets)


def _texts(name: str, table: Mapping[str, object], member: str, default: Sequence[str]) -> Sequence[str]:
    given = table.get(member, list(default))
    if not isinstance(given, list) or not all(isinstance(one, str) and len(one) <= 200 for one in given):
        raise ConfigError(f"endpoint {name}: {member} must be a list of texts")
    if len(given) > FILTERS_MAX:
        raise ConfigError(f"endpoint {name}: {member} has {len(given)} entries, at most {FILTERS_MAX}")
    return given


class EndpointFile:
    """The file, read again when it has changed; a faulty one leaves the endpoints of before in use.

    Raises:
        ConfigError: it cannot be read, or used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._endpoints: dict[str, Endpoint] = {}
        self._stamp = self._stamp_now()
        self._endpoints = self._read()

    def current(self) -> Mapping[str, Endpoint]:
        """The endpoints as the file has them now."""
        try:
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._stamp = stamp
                self._endpoints = self._read()
        except ConfigError as error:
            if self._stamp is not None:
                logger.error("%s; the endpoints of before stay in use", error)
            self._stamp = None if not self._path.exists() else self._stamp
        return self._endpoints

    def _stamp_now(self) -> tuple[int, int, int]:
        try:
            status = os.stat(self._path)  # noqa: PTH116
        except OSError as error:
            raise ConfigError(
                f"the file of endpoints {str(self._path)!r} cannot be read: {error.strerror}"
            ) from None
        return status.st_mtime_ns, status.st_ino, status.st_size

    def _read(self) -> dict[str, Endpoint]:
        try:
            with self._path.open("rb") as file:
                data = file.read(FILE_MAX_BYTES + 1)
            text = data.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the file of endpoints {str(self._path)!r} cannot be read: {error}") from None
        if len(data) > FILE_MAX_BYTES:
            raise ConfigError(
                f"the file of endpoints {str(self._path)!r} has more than {FILE_MAX_BYTES} bytes"
            )
        return parse_endpoints(text)
