"""``touchline status``: tiers, lag and viewers of running processes, live in the terminal."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from origin.commands.files import output
from origin.commands.working import Seconds, certificates
from origin.doctor.probe import NotAnswered, Target
from origin.doctor.report import printable
from origin.doctor.tiers import Observed, Watch
from shared_state.jsontext import compact

__all__ = ["command"]

ADDRESSES_MAX: Final = 64
_NAMED: Final = re.compile(r"([A-Za-z0-9_.-]{1,32})=(https?://.*)")
_HEADINGS: Final = ("process", "tier", "state", "viewers", "per second", "lag p50", "lag p99", "")


@click.command("status")
@click.argument("urls", metavar="[NAME=]URL…", nargs=-1, required=True)
@click.option(
    "--interval",
    "interval_s",
    default=2.0,
    show_default=True,
    type=Seconds(0.2, 300),
    help="Seconds between two looks.",
)
@click.option(
    "--once", is_flag=True, help="One look; the exit code is 1 if a process does not answer or is not ready."
)
@click.option(
    "--plain",
    is_flag=True,
    help="Lines instead of a live table. So it is where standard output is no terminal.",
)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each look.")
@click.option(
    "--timeout",
    "timeout_s",
    default=3.0,
    show_default=True,
    type=Seconds(0.1, 60),
    help="Seconds for an answer.",
)
@certificates
def command(
    urls: Sequence[str],
    interval_s: float,
    once: bool,
    plain: bool,
    as_json: bool,
    timeout_s: float,
    ca_file: str,
) -> None:
    """Show what processes say of themselves: origins by their admin port, workers by their metrics port.

    Each URL is where /metrics is, and /readyz if it is an origin: http://127.0.0.1:9000, or with a name
    edge-1=http://10.0.0.5:9000. Ctrl-C ends it.
    """
    try:
        watch = Watch(_addresses(urls), timeout_s=timeout_s, ca_file=ca_file)
    except NotAnswered as error:
        raise click.ClickException(printable(str(error))) from None
    try:
        if once:
            seen = watch.look()
            with output() as out:
                out.write(_text(seen, as_json=as_json).encode())
            sys.exit(0 if all(one.ok for one in seen) else 1)
        if as_json or plain or not sys.stdout.isatty():
            for seen in _looks(watch, interval_s):
                with output() as out:
                    out.write(_text(seen, as_json=as_json).encode())
        else:
            _show_live(watch, interval_s)
    except KeyboardInterrupt:
        return


def _addresses(urls: Sequence[str]) -> dict[str, str]:
    """By name.

    Raises:
        click.UsageError: an address is none, two have one name, or there are too many.
    """
    if len(urls) > ADDRESSES_MAX:
        raise click.UsageError(f"{len(urls)} addresses: at most {ADDRESSES_MAX}")
    found: dict[str, str] = {}
    for text in urls:
        named = _NAMED.fullmatch(text)
        url = named[2] if named else text
        try:
            target = Target.of(url)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        name = named[1] if named else target.authority
        if name in found:
            raise click.UsageError(f"{name!r} is given twice")
        found[name] = url.rstrip("/").removesuffix("/metrics")
    return found


def _looks(watch: Watch, interval_s: float) -> Iterator[list[Observed]]:
    while True:
        began_s = time.monotonic()
        yield watch.look()
        time.sleep(max(0.0, interval_s - (time.monotonic() - began_s)))


def _show_live(watch: Watch, interval_s: float) -> None:
    console = Console()
    with Live(console=console, auto_refresh=False, screen=False) as live:
        for seen in _looks(watch, interval_s):
            table = Table(box=None, header_style="bold", pad_edge=False)
            for number, heading in enumerate(_HEADINGS):
                table.add_column(heading, justify="right" if 3 <= number <= 6 else "left", no_wrap=number < 7)
            for row in _rows(seen):
                style = "" if row[2] in ("ready", "up") else "bold red"
                # Text and not markup: what a process says of itself has no say in how it looks.
                table.add_row(*(Text(cell, style=style) for cell in row))
            table.add_row("", "", "", Text(_total(seen), style="bold"), "", "", "", "viewers in all")
            live.update(table, refresh=True)


def _text(seen: Sequence[Observed], *, as_json: bool) -> str:
    if as_json:
        at_ms = time.time_ns() // 1_000_000
        return compact({"at_ms": at_ms, "processes": [one.to_json() for one in seen]}) + "\n"
    rows = [_HEADINGS, *_rows(seen)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [
        "  ".join(
            cell.rjust(width) if 3 <= column <= 6 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, f"viewers in all: {_total(seen)}", ""])


def _total(seen: Sequence[Observed]) -> str:
    return f"{sum(one.tiers.get('stream', {}).get('viewers') or 0 for one in seen):.0f}"


def _rows(seen: Sequence[Observed]) -> Iterator[tuple[str, ...]]:
    for one in seen:
        name, says = printable(one.name), printable(one.says)
        if not one.tiers:
            yield (name, "", "ready" if one.ok else "DOWN", "", "", "", "", says)
        for tier, figures in one.tiers.items():
            state = ("ready" if tier in ("stream", "ingest") else "up") if one.ok else "UNREADY"
            viewers = figures.get("viewers")
            rates = [value for key, value in figures.items() if key.endswith("_per_s")]
            yield (
                name, tier, state,
                "" if viewers is None else f"{viewers:.0f}",
                "" if not rates or rates[0] is None else f"{rates[0]:.1f}",
                _seconds(figures.get("lag_p50_s", figures.get(
                "oldest_s"))), _seconds(figures.get("lag_p99_s")), says,
            )  # fmt: skip
            name, says = "", ""


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1_000:.0f} ms" if value < 1 else f"{value:.1f} s"
