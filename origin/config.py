"""Settings, read once from the environment into a frozen value. ``docs/operations.md`` lists them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final
from urllib.parse import urlsplit

from origin.errors import ConfigError
from origin.eventlog.limits import DEFAULT_MAX_BYTES as DEFAULT_MATCH_BYTES
from origin.eventlog.limits import DEFAULT_MAX_EVENTS as DEFAULT_MATCH_EVENTS
from origin.eventlog.limits import MatchLimits
from origin.ingest.key_file import read_secret_file
from origin.ingest.limits import DEFAULT_NEW_MATCHES, DEFAULT_RATE, DefaultLimits
from origin.ingest.signatures import IngestKey, parse_keys
from origin.ladder.settings import NAMES as LADDER_NAMES
from origin.ladder.settings import LadderSettings
from origin.logs import DEFAULT_LOG_FORMAT, DEFAULT_LOG_LEVEL, LOG_FORMATS, LOG_LEVELS
from origin.stream.hub.config import StreamConfig, bounds
from shared_state.errors import shown

__all__ = ["SECRETS", "SETTINGS", "Config", "setting_of"]

DEFAULT_EVENTLOG_URL = "sqlite:///var/touchline.db"
DEFAULT_BUS_URL = "memory://"
DEFAULT_MAX_BYTES = 1_048_576  # a whole match in canonical form is 50 KB
DEFAULT_MAX_EVENTS = 1_000
DEFAULT_DEAD_LETTER_DAYS: Final = 90
DEAD_LETTER_DAYS_MAX: Final = 36_500
# A body is read into memory at once, and there is one for each thread.
BODY_LIMIT_BYTES: Final = 2**30
BODY_LIMIT_EVENTS: Final = 1_000_000

# A match is folded in memory, and each of its snapshots is as large as all of its events.
INGEST_LIMIT_MAX = 999_999
MATCH_LIMIT_EVENTS: Final = 1_000_000
MATCH_LIMIT_BYTES: Final = 2**30
# One reader of a thousand: what a goal costs us then is bounded by what it costs to send it.
BEACON_RATE_MAX: Final = 0.001

_PREFIX: Final = "TOUCHLINE_"
_STREAM_PREFIX: Final = "TOUCHLINE_STREAM_"

# Settings that may have a secret in them. Each can be given as a file: its name with _FILE is the path.
SECRETS: Final = (
    "EVENTLOG_URL",
    "BUS_URL",
    "TOUCHLINE_INGEST_KEYS",
    "TOUCHLINE_PURGE_TOKEN",
    "TOUCHLINE_FEED_URL",
    "TOUCHLINE_FEED_PUSH_URL",
    "TOUCHLINE_FEED_KEY",
    "TOUCHLINE_CONSOLE_OIDC_CLIENT_SECRET",
)
_FILE: Final = "_FILE"

# Every name that a command of ours reads from the environment.
SETTINGS: Final = frozenset(
    {
        *(name + _FILE for name in SECRETS),
        "EVENTLOG_URL",
        "BUS_URL",
        "TOUCHLINE_INGEST_KEYS",
        "TOUCHLINE_INGEST_MAX_BYTES",
        "TOUCHLINE_INGEST_MAX_EVENTS",
        "TOUCHLINE_INGEST_NEW_MATCHES",
        "TOUCHLINE_INGEST_RATE",
        "TOUCHLINE_MATCH_MAX_EVENTS",
        "TOUCHLINE_MATCH_MAX_BYTES",
        "TOUCHLINE_DEAD_LETTER_DAYS",
        "TOUCHLINE_PUBLIC_URL",
        "TOUCHLINE_CREST_ORIGINS",
        "TOUCHLINE_PURGE_URL",
        "TOUCHLINE_PURGE_TOKEN",
        "TOUCHLINE_LOG_LEVEL",
        "TOUCHLINE_LOG_FORMAT",
        "TOUCHLINE_TRACES_URL",
        "TOUCHLINE_TRACES_RATIO",
        "TOUCHLINE_BEACON_RATE",
        "TOUCHLINE_PUSH_DATA_DIR",
        "TOUCHLINE_PUSH_CONTACT",
        "TOUCHLINE_PUSH_RATE",
        "TOUCHLINE_PUSH_ALLOW_PRIVATE",
        "TOUCHLINE_DEMO",
        "TOUCHLINE_LAB_SOCKET",
        "TOUCHLINE_FEED_URL",
        "TOUCHLINE_FEED_PUSH_URL",
        "TOUCHLINE_FEED_KEY",
        "TOUCHLINE_FEED_REQUESTS_PER_DAY",
        *LADDER_NAMES,
        # Read by origin.console.config.
        "TOUCHLINE_CONSOLE_DATA_DIR",
        "TOUCHLINE_CONSOLE_SESSION_HOURS",
        "TOUCHLINE_CONSOLE_PROXY_HEADER",
        "TOUCHLINE_CONSOLE_PROXY_ADDRESSES",
        "TOUCHLINE_CONSOLE_OIDC_ISSUER",
        "TOUCHLINE_CONSOLE_OIDC_CLIENT_ID",
        "TOUCHLINE_CONSOLE_OIDC_CLIENT_SECRET",
        "TOUCHLINE_CONSOLE_OIDC_OPERATORS",
        "TOUCHLINE_CONSOLE_OIDC_CLAIM",
        *(_STREAM_PREFIX + setting.name.upper() for setting in fields(StreamConfig)),
    }
)

# Kubernetes puts the address of a Service called "touchline", or "touchline-" and more, into every container
# of its namespace under names that begin like ours. Nobody wrote them, so nobody can have misspelt them.
_SERVICE_LINK: Final = re.compile(
    r"TOUCHLINE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_\w+)?)=.*"
    r"|TOUCHLINE_(?:\w+_)?PORT=(?:tcp|udp|sctp)://.*",
    re.DOTALL,
)
# Neither signs, spaces and underscores nor the digits of other scripts, all of which int() takes.
_HEADER_TEXT: Final = re.compile("[!-~]*")
# A name or an address of IPv4; "*." before it stands for all names below it.
_IMAGE_ORIGIN: Final = re.compile(r"https://(?:\*\.)?[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::[0-9]{1,5})?")
_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings of one process.

    Attributes:
        eventlog_url: where acknowledged events live; see ``origin.eventlog``.
        bus_url: the region's bus; see ``origin.bus``.
        ingest_keys: the keys that may sign webhooks, newest first; of one that is a secret alone, its bytes.
            Without one, nothing can be ingested over HTTP.
        ingest_keys_file: the path of a file that has them instead; empty: there is none.
        ingest_max_bytes: the largest body ``POST /ingest`` reads.
        ingest_max_events: the most events in one such body.
        match_limits: how large a match may become.
        dead_letter_days: how long a vendor's documents that cannot be read are kept; 0: for ever.
        public_url: how readers reach this origin, without a trailing slash; empty: links are relative.
        crest_origins: the other sites whose images pages may show as crests, ``https://crests.example``.
        purge_url: what fan-out calls when a match was corrected; empty: nothing.
        purge_token: sent with it as a bearer token.
        stream: the limits of the stream tier.
        ladder: the canary, and what a worker does by its own load.
        log_level: records of this level and of worse ones are logged.
        log_format: how a record is written, one of ``origin.logs.LOG_FORMATS``.
        traces_url: where spans go, OTLP over HTTP; empty: traces are off.
        traces_ratio: of the traces that begin here, so many are recorded, 0 to 1.
        beacon_rate: of the readers of our pages, so many report how late they saw a goal; 0: none.
        push_data_dir: the directory of the subscriptions to Web Push; empty: there is no push.
        push_contact: where push services reach whoever runs this; empty: ``public_url``.
        push_rate: at most so many pushes a second.
        push_allow_private: whether push services may be in networks that are not public, and without TLS.
        demo: whether pages carry the panel that shows tier, id and latency.
        lab: the Unix socket of the lab's desk; empty: there is no ``/lab``.
    """

    eventlog_url: str = DEFAULT_EVENTLOG_URL
    bus_url: str = DEFAULT_BUS_URL
    ingest_keys: tuple[bytes | IngestKey, ...] = field(default=(), repr=False)
    ingest_keys_file: str = ""
    ingest_max_bytes: int = DEFAULT_MAX_BYTES
    ingest_max_events: int = DEFAULT_MAX_EVENTS
    match_limits: MatchLimits = field(default_factory=MatchLimits)
    ingest_limits: DefaultLimits = field(default_factory=DefaultLimits)
    dead_letter_days: int = DEFAULT_DEAD_LETTER_DAYS
    public_url: str = ""
    crest_origins: tuple[str, ...] = ()
    purge_url: str = ""
    purge_token: str = field(default="", repr=False)
    stream: StreamConfig = field(default_factory=StreamConfig)
    ladder: LadderSettings = field(default_factory=LadderSettings)
    log_level: str = DEFAULT_LOG_LEVEL
    log_format: str = DEFAULT_LOG_FORMAT
    traces_url: str = ""
    traces_ratio: float = 1.0
    beacon_rate: float = BEACON_RATE_MAX
    push_data_dir: str = ""
    push_contact: str = ""
    push_rate: int = 100
    push_allow_private: bool = False
    demo: bool = False
    lab: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Config:
        """Read the settings that are set; the rest keep their defaults.

        Raises:
            ConfigError: a value cannot be used, or a name that begins with ``TOUCHLINE_`` is no setting.
        """
        _refuse_unknown_names(env)
        _refuse_both_forms(env)
        config = cls(
            eventlog_url=_url(env, "EVENTLOG_URL", DEFAULT_EVENTLOG_URL),
            bus_url=_url(env, "BUS_URL", DEFAULT_BUS_URL),
            ingest_keys=parse_keys(env.get("TOUCHLINE_INGEST_KEYS", "")),
            # The path alone: the file is read again when it changes.
            ingest_keys_file=env.get("TOUCHLINE_INGEST_KEYS" + _FILE, ""),
            ingest_max_bytes=_count(env, "TOUCHLINE_INGEST_MAX_BYTES", DEFAULT_MAX_BYTES, BODY_LIMIT_BYTES),
            ingest_max_events=_count(
                env, "TOUCHLINE_INGEST_MAX_EVENTS", DEFAULT_MAX_EVENTS, BODY_LIMIT_EVENTS
            ),
            match_limits=MatchLimits(
                _count(env, "TOUCHLINE_MATCH_MAX_EVENTS", DEFAULT_MATCH_EVENTS, MATCH_LIMIT_EVENTS),
                _count(env, "TOUCHLINE_MATCH_MAX_BYTES", DEFAULT_MATCH_BYTES, MATCH_LIMIT_BYTES),
            ),
            ingest_limits=DefaultLimits(
                _limit(env, "TOUCHLINE_INGEST_RATE", DEFAULT_RATE),
                new_matches=_limit(env, "TOUCHLINE_INGEST_NEW_MATCHES", DEFAULT_NEW_MATCHES),
            ),
            dead_letter_days=_days(env, "TOUCHLINE_DEAD_LETTER_DAYS", DEFAULT_DEAD_LETTER_DAYS),
            public_url=env.get("TOUCHLINE_PUBLIC_URL", "").rstrip("/"),
            crest_origins=_crest_origins(env),
            purge_url=_http_url(env, "TOUCHLINE_PURGE_URL"),
            purge_token=_purge_token(env),
            stream=_stream(env),
            ladder=LadderSettings.from_env(env),
            log_level=env.get("TOUCHLINE_LOG_LEVEL", DEFAULT_LOG_LEVEL).lower(),
            log_format=env.get("TOUCHLINE_LOG_FORMAT", DEFAULT_LOG_FORMAT).lower(),
            traces_url=_http_url(env, "TOUCHLINE_TRACES_URL"),
            traces_ratio=_share(env, "TOUCHLINE_TRACES_RATIO", 1.0, 1.0),
            beacon_rate=_share(env, "TOUCHLINE_BEACON_RATE", BEACON_RATE_MAX, BEACON_RATE_MAX),
            push_data_dir=env.get("TOUCHLINE_PUSH_DATA_DIR", ""),
            push_contact=env.get("TOUCHLINE_PUSH_CONTACT", ""),
            push_rate=_count(env, "TOUCHLINE_PUSH_RATE", 100, 10_000),
            push_allow_private=_switch(env, "TOUCHLINE_PUSH_ALLOW_PRIVATE"),
            demo=_switch(env, "TOUCHLINE_DEMO"),
            lab=env.get("TOUCHLINE_LAB_SOCKET", ""),
        )
        if config.public_url and not config.public_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"TOUCHLINE_PUBLIC_URL {shown(config.public_url)}: must begin with http:// or https://"
            )
        if config.log_level not in LOG_LEVELS:
            raise ConfigError(
                f"TOUCHLINE_LOG_LEVEL {shown(config.log_level)}: must be one of {' '.join(LOG_LEVELS)}"
            )
        if config.log_format not in LOG_FORMATS:
            raise ConfigError(
                f"TOUCHLINE_LOG_FORMAT {shown(config.log_format)}: must be one of {' '.join(LOG_FORMATS)}"
            )
        return config

    @property
    def site_path(self) -> str:
        """The path below which readers reach this origin, ``/scores``; empty: the root of its host."""
        return urlsplit(self.public_url).path

    @property
    def embedded(self) -> bool:
        """Whether fan-out runs inside this process, because the bus is inside it too."""
        return self.bus_url.startswith("memory:")


def setting_of(env: Mapping[str, str], name: str) -> str | None:
    """One of ``SECRETS``, from the environment or from the file that it names; None if neither is there.

    Raises:
        ConfigError: the file cannot be read, or is empty.
    """
    path = env.get(name + _FILE)
    if not path:
        return env.get(name)
    text = read_secret_file(name + _FILE, path)
    if not text:
        raise ConfigError(f"{name + _FILE} {shown(path)}: is empty")
    return text


def _url(env: Mapping[str, str], name: str, default: str) -> str:
    url = setting_of(env, name)
    return default if url is None else url


def _crest_origins(env: Mapping[str, str]) -> tuple[str, ...]:
    """Origins that go into a header as they are: a value with more than that could add directives to it."""
    origins = tuple(env.get("TOUCHLINE_CREST_ORIGINS", "").split())
    for origin in origins:
        if not _IMAGE_ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"TOUCHLINE_CREST_ORIGINS {shown(origin)}: must be https://host or https://host:port,"
                " with spaces between several"
            )
    return origins


def _http_url(env: Mapping[str, str], name: str) -> str:
    url = env.get(name, "")
    try:
        parts = urlsplit(url)
        usable = not url or bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable or not _HEADER_TEXT.fullmatch(url):
        raise ConfigError(f"{name} {shown(url)}: must be http://host/path or https://host/path")
    return url


def _purge_token(env: Mapping[str, str]) -> str:
    token = setting_of(env, "TOUCHLINE_PURGE_TOKEN") or ""
    if not _HEADER_TEXT.fullmatch(token):
        # Not shown: it is a secret.
        raise ConfigError("TOUCHLINE_PURGE_TOKEN: must be printable ASCII without spaces")
    return token


def _refuse_both_forms(env: Mapping[str, str]) -> None:
    for name in SECRETS:
        if env.get(name) and env.get(name + _FILE):
            raise ConfigError(f"{name} and {name + _FILE} are both set; one of them must go")


def _refuse_unknown_names(env: Mapping[str, str]) -> None:
    """A misspelt setting must not be a default in disguise."""
    unknown = sorted(
        name
        for name, value in env.items()
        if name.startswith(_PREFIX)
        and name not in SETTINGS
        and not _SERVICE_LINK.fullmatch(f"{name}={value}")
    )
    if unknown:
        from difflib import get_close_matches  # imported here: only a process that ends needs it

        nearest = get_close_matches(unknown[0], SETTINGS, n=1, cutoff=0.75)
        hint = f"; did you mean {nearest[0]}?" if nearest else "; docs/operations.md lists the settings"
        raise ConfigError(f"{shown(unknown[0])} is no setting{hint}")


def _switch(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "")
    if text not in ("", "0", "1"):
        raise ConfigError(f"{name} {shown(text)}: must be 1, or 0 or empty")
    return text == "1"


def _count(env: Mapping[str, str], name: str, default: int, limit: int) -> int:
    text = env.get(name, str(default))
    if not _WHOLE_NUMBER.fullmatch(text) or not 1 <= int(text) <= limit:
        raise ConfigError(f"{name} {shown(text)}: must be a whole number from 1 to {limit}")
    return int(text)


def _share(env: Mapping[str, str], name: str, default: float, most: float) -> float:
    text = env.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or float(text) > most:
        raise ConfigError(f"{name} {shown(text)}: must be a number from 0 to {most:g}")
    return float(text)


def _days(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    if not _WHOLE_NUMBER.fullmatch(text) or int(text) > DEAD_LETTER_DAYS_MAX:
        raise ConfigError(
            f"{name} {shown(text)}: must be a whole number from 0 to {DEAD_LETTER_DAYS_MAX}; 0 is for ever"
        )
    return int(text)


def _limit(env: Mapping[str, str], name: str, default: int) -> int | None:
    """A limit of the ingest keys that have none of their own; None for 0."""
    text = env.get(name, str(default))
    if not _WHOLE_NUMBER.fullmatch(text) or int(text) > INGEST_LIMIT_MAX:
        raise ConfigError(
            f"{name} {shown(text)}: must be a whole number from 0 to {INGEST_LIMIT_MAX}; 0 is no limit"
        )
    return int(text) or None


def _stream(env: Mapping[str, str]) -> StreamConfig:
    """Each setting of the stream tier by its name: ``TOUCHLINE_STREAM_HEARTBEAT_S=5``."""
    given: dict[str, float] = {}
    allowed = bounds()
    for setting in fields(StreamConfig):
        name = _STREAM_PREFIX + setting.name.upper()
        text = env.get(name)
        if text is None:
            continue
        low, high = allowed[setting.name]
        is_whole = isinstance(setting.default, int) or setting.default is None
        pattern = _WHOLE_NUMBER if is_whole else _NUMBER
        if not pattern.fullmatch(text) or not low <= float(text) <= high:
            kind = "whole number" if is_whole else "number"
            raise ConfigError(f"{name} {shown(text)}: must be a {kind} from {low:.15g} to {high:.15g}")
        given[setting.name] = int(text) if is_whole else float(text)
    return StreamConfig(**given)  # type: ignore[arg-type]
