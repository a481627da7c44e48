"""``touchline ingest``: a vendor's feed into the event log."""

from __future__ import annotations

import datetime
import logging
import os
import zoneinfo
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import click

from origin.commands.files import from_secret_file, read_from
from origin.commands.working import Seconds, run
from origin.config import Config
from origin.errors import ConfigError, OriginError
from origin.eventlog import open_eventlog
from origin.logs import configure_logging
from origin.metrics import Metrics
from origin.tracing import open_tracer

__all__ = ["command"]

FEEDS = (
    "api-football-v3",
    "espn-scoreboard",
    "football-data-v4",
    "opta-f24",
    "sportradar-v4",
    "stats-perform-ma1",
)
# Of a key that costs nothing, where its vendor counts by the day.
_REQUESTS_PER_DAY = {"api-football-v3": 100}


def _url(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    """A URL of http or https.

    Raises:
        click.BadParameter: it is none. The text is not shown: there may be a key in it.
    """
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise click.BadParameter("must be http://host/… or https://host/…", context, parameter)
    return text


def _zone(context: click.Context, parameter: click.Parameter, text: str) -> datetime.tzinfo:
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise click.BadParameter(f"{text!r}: no such time zone", context, parameter) from None


@click.command("ingest")
@click.option("--feed", required=True, type=click.Choice(FEEDS), help="The vendor's format.")
@click.option(
    "--url", required=True, envvar="TOUCHLINE_FEED_URL", show_envvar=True, metavar="URL", callback=_url,
    default=from_secret_file("TOUCHLINE_FEED_URL"),
    help="A document of one or several matches, or the API of api-football-v3 or football-data-v4; {id} is "
    "the vendor's number of the match.",
)  # fmt: skip
@click.option(
    "--push-url", envvar="TOUCHLINE_FEED_PUSH_URL", show_envvar=True, metavar="URL", callback=_url,
    default=from_secret_file("TOUCHLINE_FEED_PUSH_URL"),
    help="The vendor's push stream, one for all matches.",
)  # fmt: skip
@click.option(
    "--match", "matches", multiple=True, metavar="ID",
    help="opta-, sr-, af-, fd-, espn- or sp-NUMBER; may be given several times. None means all, where one "
    "request has several matches.",
)  # fmt: skip
@click.option(
    "--league", "leagues", multiple=True, type=click.IntRange(1), metavar="NUMBER",
    help="The vendor's number of a competition, where one request has several matches; all if none is given.",
)  # fmt: skip
@click.option(
    "--requests-per-day", envvar="TOUCHLINE_FEED_REQUESTS_PER_DAY", show_envvar=True,
    type=click.IntRange(0, 10_000_000), metavar="COUNT",
    help="What the key allows; 0 for no limit. Default: 100 for api-football-v3, no limit for the others.",
)  # fmt: skip
@click.option(
    "--key", envvar="TOUCHLINE_FEED_KEY", show_envvar=True, metavar="SECRET",
    default=from_secret_file("TOUCHLINE_FEED_KEY"),
    help="Sent as x-api-key (x-apisports-key). The environment keeps it out of the process list.",
)  # fmt: skip
@click.option("--names", metavar="F7", help="The F7 file with the names of players, for opta-f24.")
@click.option(
    "--zone", default="UTC", show_default=True, callback=_zone, metavar="ZONE",
    help="Of the times in opta-f24, which carry none: Europe/London.",
)  # fmt: skip
@click.option(
    "--interval", default=5.0, show_default=True, type=Seconds(0.05, 3600),
    help="Seconds between two readings of a match's document.",
)  # fmt: skip
@click.option(
    "--interval-over", default=60.0, show_default=True, type=Seconds(0.05, 86400),
    help="The same once the match has ended: corrections come for a day.",
)  # fmt: skip
@click.option(
    "--silence", default=60.0, show_default=True, type=Seconds(0.1, 86400),
    help="Seconds without a sign of life after which a running match is marked as delayed.",
)  # fmt: skip
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Serve Prometheus metrics on this port.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address of the metrics port.")
def command(
    feed: str,
    url: str,
    push_url: str | None,
    matches: Sequence[str],
    leagues: Sequence[int],
    requests_per_day: int | None,
    key: str | None,
    names: str | None,
    zone: datetime.tzinfo,
    interval: float,
    interval_over: float,
    silence: float,
    metrics_port: int | None,
    metrics_host: str,
) -> None:
    """Read a vendor's matches into EVENTLOG_URL, until stopped."""
    for name in ("httpx", "httpcore"):  # they log whole URLs, and there may be a key in one
        logging.getLogger(name).setLevel(logging.WARNING)
    if names is not None and feed != "opta-f24":
        raise click.UsageError("--names is for opta-f24 alone: other formats have the names in them")
    try:
        from origin.feedworker.formats import open_format
        from origin.feedworker.poller import Intervals
        from origin.feedworker.worker import FeedWorker, check_settings
    except ImportError as error:
        raise click.ClickException(
            f"ingest needs a package that is not installed (pip install 'touchline[feeds]'): {error}"
        ) from None
    metrics = Metrics()
    given: dict[str, Any] = {} if names is None else {"names": _names(names)}
    try:
        config = Config.from_env(os.environ)
        configure_logging(config.log_level, config.log_format)
        if config.eventlog_url.startswith("memory:"):
            raise ConfigError(f"EVENTLOG_URL {config.eventlog_url!r} ends with this process")
        format_ = open_format(feed, zone=zone, **given)
        check_settings(format_, matches, url, push_url, key, leagues)  # before a log is made for nothing
        tracer = open_tracer(config.traces_url, config.traces_ratio, "touchline-ingest")
        log = open_eventlog(config.eventlog_url)
        worker = FeedWorker(
            format_,
            log,
            matches,
            url,
            push_url=push_url,
            key=key,
            intervals=Intervals(running_s=interval, over_s=max(interval, interval_over), silence_s=silence),
            match_limits=config.match_limits,
            metrics=metrics,
            requests_per_day=_REQUESTS_PER_DAY.get(feed, 0) if requests_per_day is None else requests_per_day,
            leagues=leagues,
            dead_letter_days=config.dead_letter_days,
            tracer=tracer,
        )
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    try:
        run(worker, metrics, metrics_port, metrics_host)
    finally:
        log.close()
        tracer.close()


def _names(file: str) -> Any:
    from origin.feeds import opta_f24

    (names,) = read_from(file, lambda source: iter([opta_f24.read_f7(source)]))
    return names
