"""Settings, read once from the environment into a frozen value. ``docs/operations.md`` lists them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from origin.errors import ConfigError
from origin.ingest.signatures import parse_keys
from origin.stream.hub.config import StreamConfig

__all__ = ["Config"]

DEFAULT_EVENTLOG_URL = "sqlite:///var/touchline.db"
DEFAULT_BUS_URL = "memory://"
DEFAULT_LOG_LEVEL = "warning"
LOG_LEVELS = ("debug", "info", "warning", "error")
DEFAULT_MAX_BYTES = 1_048_576  # a whole match in canonical form is 50 KB
DEFAULT_MAX_EVENTS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What one origin process is told.

    Attributes:
        eventlog_url: where acknowledged events live; see ``origin.eventlog``.
        bus_url: the region's bus; see ``origin.bus``.
        ingest_keys: the bytes of the secrets that may sign webhooks, newest first. Without one, nothing can
            be ingested over HTTP.
        ingest_max_bytes: the largest body ``POST /ingest`` reads.
        ingest_max_events: the most events one such body may hold.
        public_url: how readers reach this origin, without a trailing slash; empty: links are
            relative.
        stream: the limits of the stream tier.
        log_level: what is logged, and all that is worse.
        demo: whether pages carry the panel that shows tier, id and latency.
    """

    eventlog_url: str = DEFAULT_EVENTLOG_URL
    bus_url: str = DEFAULT_BUS_URL
    ingest_keys: tuple[bytes, ...] = field(default=(), repr=False)
    ingest_max_bytes: int = DEFAULT_MAX_BYTES
    ingest_max_events: int = DEFAULT_MAX_EVENTS
    public_url: str = ""
    stream: StreamConfig = field(default_factory=StreamConfig)
    log_level: str = DEFAULT_LOG_LEVEL
    demo: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Config:
        """Read the settings that are set; the rest keep their defaults.

        Raises:
            ConfigError: a value cannot be used.
        """
        config = cls(
            eventlog_url=env.get("EVENTLOG_URL", DEFAULT_EVENTLOG_URL),
            bus_url=env.get("BUS_URL", DEFAULT_BUS_URL),
            ingest_keys=parse_keys(env.get("TOUCHLINE_INGEST_KEYS", "")),
            ingest_max_bytes=_count(env, "TOUCHLINE_INGEST_MAX_BYTES", DEFAULT_MAX_BYTES),
            ingest_max_events=_count(env, "TOUCHLINE_INGEST_MAX_EVENTS", DEFAULT_MAX_EVENTS),
            public_url=env.get("TOUCHLINE_PUBLIC_URL", "").rstrip("/"),
            stream=_stream(env),
            log_level=env.get("TOUCHLINE_LOG_LEVEL", DEFAULT_LOG_LEVEL).lower(),
            demo=env.get("TOUCHLINE_DEMO", "") == "1",
        )
        if config.public_url and not config.public_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"TOUCHLINE_PUBLIC_URL {config.public_url!r}: must begin with http:// or https://"
            )
        if config.log_level not in LOG_LEVELS:
            raise ConfigError(
                f"TOUCHLINE_LOG_LEVEL {config.log_level!r}: must be one of {' '.join(LOG_LEVELS)}"
            )
        return config

    @property
    def embedded(self) -> bool:
        """Whether fan-out runs inside this process, because its bus is nobody else's."""
        return self.bus_url.startswith("memory:")


def _count(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{name} {text!r}: must be a whole number of at least 1")
    return int(text)


def _stream(env: Mapping[str, str]) -> StreamConfig:
    """Each setting of the stream tier by its name: ``TOUCHLINE_STREAM_HEARTBEAT_S=5``."""
    given: dict[str, float] = {}
    for setting in fields(StreamConfig):
        name = f"TOUCHLINE_STREAM_{setting.name.upper()}"
        text = env.get(name)
        if text is None:
            continue
        whole = isinstance(setting.default, int) or setting.default is None
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{name} {text!r}: must be a {'whole ' if whole else ''}number of at least 0")
        given[setting.name] = value
    return StreamConfig(**given)  # type: ignore[arg-type]
