"""``touchline serve``: the origin under gunicorn."""

from __future__ import annotations

import os

import click

from origin.config import Config
from origin.errors import OriginError
from origin.logs import configure_logging

__all__ = ["command"]


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes; one per core."
)
def command(host: str, port: int, workers: int) -> None:
    """The origin under gunicorn. EVENTLOG_URL and BUS_URL choose the backends."""
    from origin.stream.worker.gunicorn_app import Serving
    from origin.web.app import create_app

    try:
        config = Config.from_env(os.environ)
        configure_logging(config.log_level)
        serving = Serving(config, create_app, host=host, port=port, workers=workers)
    except OriginError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"touchline: http://{host}:{serving.port}/", err=True)
    serving.run()
