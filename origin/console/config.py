"""The console's settings, read once from the environment. ``docs/operations.md`` lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from origin.config import setting_of
from origin.errors import ConfigError
from origin.stream.http.forwarded import TrustedProxies
from shared_state.errors import shown

__all__ = [
    "ACCOUNTS_FILE",
    "STORE_FILE",
    "ConsoleConfig",
    "OidcConfig",
    "checked_operator",
    "is_operator_name",
]

ACCOUNTS_FILE: Final = "accounts.json"
STORE_FILE: Final = "console.db"
DEFAULT_SESSION_HOURS: Final = 12
SESSION_HOURS_MAX: Final = 168
# An e-mail address is one, too. It stands in the log's records, on pages and in log lines.
_OPERATOR: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}")
_HEADER: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_CLAIM: Final = re.compile(r"[A-Za-z0-9_:/.-]{1,128}")
_HOURS: Final = re.compile(r"[0-9]{1,3}")
# Those of gunicorn, whose setting this is: the proxies whose X-Forwarded-For is believed.
_FORWARDED_DEFAULT: Final = "127.0.0.1,::1"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def is_operator_name(name: str) -> bool:
    """Whether a text can be the name of an operator."""
    return _OPERATOR.fullmatch(name) is not None


def checked_operator(name: str) -> str:
    """The same name.

    Raises:
        ConfigError: it cannot be the name of an operator.
    """
    if not is_operator_name(name):
        raise ConfigError(
            f"operator {shown(name)}: must be 1 to 64 of A-Z a-z 0-9 _ . @ + -,"
            " and begin with a letter or a digit"
        )
    return name


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """An OpenID Connect provider whose accounts may sign in.

    Attributes:
        issuer: its address, as its tokens name it.
        client_id, client_secret: of this origin there.
        operators: who may sign in: names, or ``@club.example`` for all names that end so.
        claim: the claim of the ID token that is the operator's name.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    operators: tuple[str, ...]
    claim: str = "email"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleConfig:
    """See the module.

    Attributes:
        directory: has the accounts, the sessions and the locks; None: there is no console.
        session_hours: how long a session lasts at the most.
        proxy_header: the header in which a trusted proxy names the operator; empty: none is read.
        proxy_addresses: the proxies that may do so, by the address of the connection.
        forwarded_by: the proxies whose ``X-Forwarded-For`` is believed.
        oidc: None: no provider.
    """

    directory: Path | None = None
    session_hours: int = DEFAULT_SESSION_HOURS
    proxy_header: str = ""
    proxy_addresses: TrustedProxies = field(default_factory=TrustedProxies)
    forwarded_by: TrustedProxies = field(default_factory=TrustedProxies)
    oidc: OidcConfig | None = None

    @property
    def accounts_path(self) -> Path:
        """The file of local accounts.

        Raises:
            ConfigError: there is no directory.
        """
        if self.directory is None:
            raise ConfigError("TOUCHLINE_CONSOLE_DATA_DIR is not set: the console has no directory")
        return self.directory / ACCOUNTS_FILE

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> ConsoleConfig:
        """Read the settings that are set.

        Raises:
            ConfigError: a value cannot be used, or one is set without another that it needs.
        """
        directory = env.get("TOUCHLINE_CONSOLE_DATA_DIR", "")
        if not directory:
            given = sorted(
                name for name, value in env.items() if name.startswith("TOUCHLINE_CONSOLE_") and value
            )
            if given:
                raise ConfigError(
                    f"{given[0]} is set, but not TOUCHLINE_CONSOLE_DATA_DIR, which turns the console on"
                )
            return cls()
        header, addresses = _proxy(env)
        return cls(
            directory=Path(directory),
            session_hours=_session_hours(env),
            proxy_header=header,
            proxy_addresses=addresses,
            forwarded_by=TrustedProxies(env.get("FORWARDED_ALLOW_IPS", _FORWARDED_DEFAULT).split(",")),
            oidc=_oidc(env),
        )


def _session_hours(env: Mapping[str, str]) -> int:
    text = env.get("TOUCHLINE_CONSOLE_SESSION_HOURS", str(DEFAULT_SESSION_HOURS))
    if not _HOURS.fullmatch(text) or not 1 <= int(text) <= SESSION_HOURS_MAX:
        raise ConfigError(
            f"TOUCHLINE_CONSOLE_SESSION_HOURS {shown(text)}: must be a whole number"
            f" from 1 to {SESSION_HOURS_MAX}"
        )
    return int(text)


def _proxy(env: Mapping[str, str]) -> tuple[str, TrustedProxies]:
    header = env.get("TOUCHLINE_CONSOLE_PROXY_HEADER", "")
    addresses = env.get("TOUCHLINE_CONSOLE_PROXY_ADDRESSES", "")
    if bool(header) != bool(addresses.strip()):
        missing = "TOUCHLINE_CONSOLE_PROXY_ADDRESSES" if header else "TOUCHLINE_CONSOLE_PROXY_HEADER"
        raise ConfigError(
            f"{missing} is not set: a header is believed of named proxies alone, so both are needed"
        )
    if header and not _HEADER.fullmatch(header):
        raise ConfigError(f"TOUCHLINE_CONSOLE_PROXY_HEADER {shown(header)}: must be letters, digits and -")
    try:
        trusted = TrustedProxies(addresses.split(","))
    except ConfigError:
        trusted = TrustedProxies(["*"])
    if trusted.any:
        raise ConfigError(
            f"TOUCHLINE_CONSOLE_PROXY_ADDRESSES {shown(addresses)}: must be addresses or networks"
            " (10.0.0.0/8) with commas between them"
        )
    return header, trusted


def _oidc(env: Mapping[str, str]) -> OidcConfig | None:
    issuer = env.get("TOUCHLINE_CONSOLE_OIDC_ISSUER", "").rstrip("/")
    client_id = env.get("TOUCHLINE_CONSOLE_OIDC_CLIENT_ID", "")
    secret = setting_of(env, "TOUCHLINE_CONSOLE_OIDC_CLIENT_SECRET") or ""
    operators = tuple(env.get("TOUCHLINE_CONSOLE_OIDC_OPERATORS", "").replace(",", " ").split())
    needed = {
        "TOUCHLINE_CONSOLE_OIDC_ISSUER": issuer,
        "TOUCHLINE_CONSOLE_OIDC_CLIENT_ID": client_id,
        "TOUCHLINE_CONSOLE_OIDC_CLIENT_SECRET": secret,
        "TOUCHLINE_CONSOLE_OIDC_OPERATORS": operators,
    }
    if not any(needed.values()):
        return None
    for name, value in needed.items():
        if not value:
            raise ConfigError(f"{name} is not set: sign-in by OpenID Connect needs it")
    parts = urlsplit(issuer)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ConfigError(f"TOUCHLINE_CONSOLE_OIDC_ISSUER {shown(issuer)}: must begin with https://")
    for entry in operators:
        if not is_operator_name(entry.removeprefix("@")):
            raise ConfigError(
                f"TOUCHLINE_CONSOLE_OIDC_OPERATORS {shown(entry)}: must be a name, or @ and the end of names"
            )
    claim = env.get("TOUCHLINE_CONSOLE_OIDC_CLAIM", "email")
    if not _CLAIM.fullmatch(claim):
        raise ConfigError(
            f"TOUCHLINE_CONSOLE_OIDC_CLAIM {shown(claim)}: must be the name of a claim, as email"
        )
    return OidcConfig(issuer, client_id, secret, operators, claim)
