"""``touchline serve`` with one route more, which makes the loop of its stream worker stand still.

    python -m testkit.stalling_serve PORT ADMIN_PORT

A loop that stands still is what a worker has that hangs in a call of the kernel, or has no processor: its
connections stay open, its threads answer, and no viewer gets anything.
"""

from __future__ import annotations

import os
import sys
import time

from flask import Flask, request

from origin.config import Config
from origin.logs import configure_logging
from origin.stream.worker.extensions import STREAM_HUB
from origin.stream.worker.gunicorn_app import Serving, listen
from origin.web.admin_server import serve_admin
from origin.web.app import create_admin_app, create_app
from origin.web.origin import origin_of

__all__: list[str] = []


def main() -> None:
    port, admin_port = (int(argument) for argument in sys.argv[1:])
    config = Config.from_env(os.environ)
    configure_logging(config.log_level)
    listener = listen("127.0.0.1", admin_port, queues=1)[0]

    def load(config: Config) -> Flask:
        app = create_app(config, admin_routes=False)
        admin = create_admin_app(app)

        @admin.post("/stall")
        def stall() -> str:
            seconds = min(60.0, float(request.args["s"]))
            app.extensions[STREAM_HUB].reactor.post(lambda: time.sleep(seconds))
            return "stalled"

        origin_of(app).before_close(serve_admin(admin, listener))
        return app

    Serving(config, load, host="127.0.0.1", port=port, workers=1).run()


if __name__ == "__main__":
    main()
