"""The origin that the present request belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Flask, current_app

if TYPE_CHECKING:  # app.py imports the blueprints, which import this
    from origin.app import Origin

__all__ = ["EXTENSION", "STATUS_EXTENSION", "origin", "origin_of"]

EXTENSION = "touchline"
# Under this name the stream worker leaves its hub: ``draining`` for /readyz, ``metrics`` for /metrics. Other
# servers have none.
STATUS_EXTENSION = "touchline.stream"


def origin_of(app: Flask) -> Origin:
    """The origin behind an application: its bus, its log, its matches, its metrics."""
    return cast("Origin", app.extensions[EXTENSION])


def origin() -> Origin:
    """The origin behind the application that serves this request."""
    return origin_of(current_app)
