"""``touchline serve``: the origin under gunicorn."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import TYPE_CHECKING

import click

from origin.config import Config
from origin.errors import ConfigError, OriginError
from origin.ingest.key_file import KeyFile
from origin.logs import configure_logging

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["command"]


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes; one per core."
)
@click.option(
    "--admin-port",
    type=click.IntRange(0, 65535),
    help="Serve /metrics and /readyz on this port, and no longer on the public one.",
)
@click.option("--admin-host", default="127.0.0.1", show_default=True, help="Address of the admin port.")
def command(host: str, port: int, workers: int, admin_port: int | None, admin_host: str) -> None:
    """The origin under gunicorn. EVENTLOG_URL and BUS_URL choose the backends."""
    from origin.console import routes as console_routes
    from origin.console.config import ConsoleConfig
    from origin.stream.worker.gunicorn_app import Serving, listen
    from origin.web.admin_server import serve_admin
    from origin.web.app import create_admin_app, create_app
    from origin.web.origin import origin_of
    from origin.web.worker_pool import WorkerPool

    pool = None
    try:
        config = Config.from_env(os.environ)
        console = ConsoleConfig.from_env(os.environ)
        console_routes.check(console)  # so that a console nobody can use ends the command, not each worker
        configure_logging(config.log_level, config.log_format)
        if config.lab and not _is_loopback(host):
            raise ConfigError(
                f"TOUCHLINE_LAB_SOCKET is set, and the lab is for this machine alone: not --host {host}"
            )
        if config.ingest_keys_file:
            KeyFile(config.ingest_keys_file)  # a file that cannot be used ends the command, not each worker
        admin = None if admin_port is None else listen(admin_host, admin_port, queues=1)[0]
        pool = WorkerPool.create() if workers > 1 else None

        def load(config: Config) -> Flask:
            app = create_app(config, admin_routes=admin is None)
            console_routes.init_app(app, console)
            if config.lab:
                from origin.lab.blueprint import init_app  # only the demo pays for it

                init_app(app, config.lab)
            if pool is not None:
                pool.join(app)
            if admin is not None:
                origin_of(app).before_close(serve_admin(create_admin_app(app), admin))
            return app

        serving = Serving(
            config,
            load,
            host=host,
            port=port,
            workers=workers,
            worker_ended=None if pool is None else pool.fold_ended,
            ended=None if pool is None else pool.remove,
        )
    except OriginError as error:
        if pool is not None:
            pool.remove()
        raise click.ClickException(str(error)) from None
    click.echo(f"touchline: http://{host}:{serving.port}/", err=True)
    if admin is not None:
        click.echo(f"touchline: admin http://{admin_host}:{admin.getsockname()[1]}/", err=True)
    serving.run()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
