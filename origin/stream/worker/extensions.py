"""The names under which the WSGI application and the stream worker find each other's parts."""

from __future__ import annotations

from typing import Final

__all__ = ["FIXED_ANSWERS", "ORIGIN", "ROW_RENDERER", "STREAM_HUB"]

#: In the application's ``extensions``: what has ``bus``, ``config`` and ``close()``.
ORIGIN: Final = "touchline"
#: In the application's ``extensions``: a function that returns a ``framing.FixedAnswer`` by path, of pages
#: that are answered in the loop.
FIXED_ANSWERS: Final = "touchline.fixed_answers"
#: In the application's ``extensions``: makes the HTML of a row of the list, see ``list_stream.RenderRow``.
ROW_RENDERER: Final = "touchline.row_renderer"
#: In the application's ``extensions``: the stream worker's hub, with ``draining`` for /readyz and
#: ``metrics`` for /metrics. Other servers have none.
STREAM_HUB: Final = "touchline.stream"
