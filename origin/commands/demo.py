"""``touchline demo``: everything in one process tree on the embedded default, with a real match.

The 2018 World Cup final, as it was played, with two corrections that were not: the scorer of Croatia's
first goal is amended, and a second-half goal is retracted after a VAR review. It is posted to a real
origin over its own signed ingest, by the code of ``touchline replay``.
"""

from __future__ import annotations

import base64
import io
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import click

from origin.child_process import start
from origin.commands.replay import Delivery, Pace, ReplayError, Sender, deliveries
from origin.console.accounts import Accounts
from origin.console.config import ACCOUNTS_FILE
from origin.feeds.canonical import events_of_lines, to_line
from origin.ingest.signatures import parse_key
from origin.lab.desk import running
from origin.lab.posting import PostError
from shared_state import Event

__all__ = ["FINAL", "RESULTS", "command", "events_of", "play"]

FINAL = "final-2018.jsonl"
RESULTS = "results-2018.jsonl"
LAB_SOCKET = "lab.sock"
# A reader of the demo will not wait for a whole half-time: no pause is longer than this much match time.
PAUSE_MAX_MS = 6 * 60_000
READY_TIMEOUT_S = 60.0
CONSOLE_OPERATOR = "demo"
CONSOLE_PASSWORD_BYTES = 12


@click.command("demo")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--speed",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Match minutes a minute.",
)
@click.option("--once", is_flag=True, help="End after the final whistle instead of waiting for Ctrl-C.")
def command(port: int, speed: float, *, once: bool) -> None:
    """Play a real match to a real page: origin, ingest, fan-out and widget, without any service."""
    if not _is_free(port):
        raise click.ClickException(f"port {port} is taken; give another with --port")
    # A supervisor's SIGTERM ends the demo as Ctrl-C does, and with it the origin it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    url = f"http://127.0.0.1:{port}"
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    # Of this demo alone: the account goes with its directory.
    password = secrets.token_urlsafe(CONSOLE_PASSWORD_BYTES)
    with (
        tempfile.TemporaryDirectory(prefix="touchline-demo-") as directory,
        _origin(port, secret, directory, password),
        _lab(Path(directory) / LAB_SOCKET, port, secret),
    ):
        sender = Sender(urlsplit(url), parse_key(secret), report=lambda line: click.echo(line, err=True))
        try:
            for delivery in deliveries(events_of(RESULTS), paced=False):
                sender.send(delivery)
            match_id = events_of(FINAL)[0].match_id
            click.echo(
                f"Touchline demo: {match_id}, {speed:g} times as fast as it was played\n"
                f"  the match   {url}/match/{match_id}\n"
                f"  all matches {url}/\n"
                f"  the frame   {url}/embed/{match_id}\n"
                f"  the console {url}/console/ (sign in as {CONSOLE_OPERATOR}, password {password})\n"
                f"  the lab     {url}/lab"
            )
            play(sender, speed)
        except ReplayError as error:
            raise click.ClickException(str(error)) from None
        finally:
            sender.close()
        if not once:
            click.echo("Full time. The page stays; Ctrl-C ends the demo.")
            signal.pause()


def play(sender: Sender, speed: float) -> None:
    """Send the final as it was played, ``speed`` times as fast, and print each event as it is sent.

    Raises:
        ReplayError: the origin refused an event, or did not answer often enough.
    """
    pace = Pace()
    begin_s, skipped_ms, last_due_ms = time.monotonic(), 0, 0
    for event in events_of(FINAL):
        due_ms = pace.due_ms(event)
        skipped_ms += max(0, due_ms - last_due_ms - PAUSE_MAX_MS)
        last_due_ms = due_ms
        time.sleep(max(0.0, begin_s + (due_ms - skipped_ms) / 1000 / speed - time.monotonic()))
        sender.send(Delivery(due_ms, 1, to_line(_of_today(event))))
        click.echo(f"  {_line(event)}")


def _of_today(event: Event) -> Event:
    """An event without the times of 2018, which set the pace: by them it would have been silent for years."""
    detail = event.detail
    if detail.get("kickoff_ms") is not None:
        detail = {**detail, "kickoff_ms": time.time_ns() // 1_000_000}
    return replace(event, source_ts=None, detail=detail)


def events_of(name: str) -> list[Event]:
    """The events of one of the demo's files, in the order of the file."""
    return list(events_of_lines(io.BytesIO((files("origin.demo") / name).read_bytes())))


def _line(event: Event) -> str:
    minute = (
        "" if event.minute is None else f"{event.minute}{f'+{event.stoppage}' if event.stoppage else ''}'"
    )
    what = [event.op if event.op != "ADD" else "", event.type, event.player or "", event.reason or ""]
    return f"{minute:>6} {event.event_id:<5} {' '.join(part for part in what if part)}"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@contextmanager
def _origin(port: int, secret: str, directory: str, password: str) -> Iterator[None]:
    """A ``touchline serve`` of our own with a console, up for as long as the block."""
    console = Path(directory) / "console"
    Accounts(console / ACCOUNTS_FILE).add(CONSOLE_OPERATOR, password)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("TOUCHLINE_", "BUS_"))
    }
    environment |= {
        "EVENTLOG_URL": f"sqlite:///{directory}/log.db",
        "BUS_URL": "memory://",
        "TOUCHLINE_INGEST_KEYS": secret,
        "TOUCHLINE_DEMO": "1",
        "TOUCHLINE_CONSOLE_DATA_DIR": str(console),
        "TOUCHLINE_LAB_SOCKET": f"{directory}/{LAB_SOCKET}",
    }
    serve = [sys.executable, "-m", "origin", "serve", "--port", str(port)]
    with start(serve, env=environment, stdin=subprocess.DEVNULL) as server:
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/readyz", server)
            yield
        except KeyboardInterrupt:
            click.echo()
        finally:
            server.terminate()


@contextmanager
def _lab(socket_path: Path, port: int, secret: str) -> Iterator[None]:
    """What is behind ``/lab``, for as long as the block."""
    try:
        with running(socket_path, port, parse_key(secret)):
            yield
    except PostError as error:
        raise click.ClickException(str(error)) from None


def _wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise click.ClickException(f"the origin ended with {server.returncode} before it was ready")
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise click.ClickException(f"the origin was not ready within {READY_TIMEOUT_S:.0f} s")
