"""One table: which route is of which class, and which headers each class of answers carries.

The headers say what a browser may do with an answer: what a page may load (Content-Security-Policy), who may
put it in a frame, which other site's scripts may read it (CORS). A route that is not in ``ROUTES`` fails a
test, and at run time gets the strictest class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Final

from flask import Flask, Response, current_app, request

from origin.stream.http.cors import READABLE_BY_ANY, VALIDATORS, preflight_headers
from origin.stream.http.request_head import LONG_POLL_PATH

__all__ = [
    "CLASSES",
    "ROUTES",
    "RouteClass",
    "Rules",
    "add_rules",
    "init_app",
    "is_stream_path",
    "page_policy",
    "route_class",
]


class RouteClass(Enum):
    """What kind of answer a route gives."""

    PAGE = "page"  #: a page of this site, which runs the widget with all its tiers
    EMBED = "embed"  #: the same for a frame on somebody else's page
    FRAGMENT = "fragment"  #: HTML that is swapped into a page, and never a page itself
    DATA = "data"  #: match data as JSON, for every site
    ASSET = "asset"  #: a file of the widget, for every site
    INGEST = "ingest"  #: signed webhooks, from servers; and beacons, whose answers nobody reads
    CONSOLE = "console"  #: the operators' console, where it is configured
    ADMIN = "admin"  #: health and metrics, for operators
    NONE = "none"  #: there is no such route


def _policy(**directives: str) -> str:
    return "; ".join(f"{name.replace('_', '-')} {value}" for name, value in directives.items())


def page_policy(frame_ancestors: str, images: Sequence[str] = (), frame_src: str = "'none'") -> str:
    """What a page needs, and nothing else; no script and no style is inline.

    Crests are images of other sites. A page shows those of the origins in ``images``; in place of others it
    has the monogram that is below each.

    Tiers 2 and 3 are MicroPython and Pyodide in module workers. They compile WebAssembly, for which
    ``'wasm-unsafe-eval'`` is enough: ``'unsafe-eval'`` is not needed (e2e/test_security_headers.py).
    """
    return _policy(
        default_src="'none'",
        script_src="'self' 'wasm-unsafe-eval'",
        style_src="'self'",
        img_src=" ".join(("'self'", *images)),
        connect_src="'self'",
        worker_src="'self'",
        base_uri="'none'",
        # The page of a match has a form: the reader's own delay.
        form_action="'self'",
        frame_src=frame_src,
        frame_ancestors=frame_ancestors,
    )


# In the extensions of an application: the rules of routes that are not in ROUTES, by endpoint.
_ADDED: Final = "touchline.route_rules"
# The classes of pages, with who may show them in a frame and what they show in one.
_PAGES: Final = ((RouteClass.PAGE, "'none'", "'self'"), (RouteClass.EMBED, "*", "'none'"))
_NOTHING: Final = _policy(default_src="'none'", frame_ancestors="'none'")
# Three of the files are workers, which obey the policy of their own answer and not the page's: those of tiers
# 2 and 3 compile WebAssembly, Pyodide's imports and fetches its files, the service worker fetches pages and
# files.
_ASSET: Final = _policy(
    default_src="'none'",
    script_src="'self' 'wasm-unsafe-eval'",
    connect_src="'self'",
    frame_ancestors="'none'",
)
# It shows the embed beside a match. A form's Origin is compared, and is sent only with a referrer's policy
# that lets it: see RouteClass.CONSOLE below.
_CONSOLE: Final = _policy(
    default_src="'none'",
    script_src="'self'",
    style_src="'self'",
    img_src="'self'",
    connect_src="'self'",
    frame_src="'self'",
    form_action="'self'",
    base_uri="'none'",
    frame_ancestors="'none'",
)
_PERMISSIONS: Final = ", ".join(
    f"{feature}=()"
    for feature in ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "usb")
)


@dataclass(frozen=True, slots=True)
class Rules:
    """The headers of one class of routes.

    Attributes:
        content_security_policy: the ``Content-Security-Policy``.
        referrer_policy: the ``Referrer-Policy``.
        readable_by_any: whether a script on another site may read the answer.
        more: further headers.
    """

    content_security_policy: str
    referrer_policy: str = "no-referrer"
    readable_by_any: bool = False
    more: Mapping[str, str] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        """The headers of every answer of this class, CORS left out."""
        return {
            "Content-Security-Policy": self.content_security_policy,
            "Referrer-Policy": self.referrer_policy,
            "Permissions-Policy": _PERMISSIONS,
            "X-Content-Type-Options": "nosniff",
            **self.more,
        }


_OWN_SITE_REFERRER: Final = "strict-origin-when-cross-origin"
CLASSES: Final[Mapping[RouteClass, Rules]] = {
    # A match's page has a preview of the embed in it.
    RouteClass.PAGE: Rules(page_policy("'none'", frame_src="'self'"), _OWN_SITE_REFERRER),
    RouteClass.EMBED: Rules(page_policy("*"), _OWN_SITE_REFERRER, readable_by_any=True),
    RouteClass.FRAGMENT: Rules(_NOTHING, readable_by_any=True),
    RouteClass.DATA: Rules(_NOTHING, readable_by_any=True),
    # A page under Cross-Origin-Embedder-Policy may use a widget file only if the file says so.
    RouteClass.ASSET: Rules(
        _ASSET, readable_by_any=True, more={"Cross-Origin-Resource-Policy": "cross-origin"}
    ),
    RouteClass.INGEST: Rules(_NOTHING),
    RouteClass.CONSOLE: Rules(_CONSOLE, "same-origin", more={"Cross-Origin-Opener-Policy": "same-origin"}),
    RouteClass.ADMIN: Rules(_NOTHING),
    RouteClass.NONE: Rules(_NOTHING),
}
#: The names of the console's routes begin like this; ``origin.console`` adds them where it is configured.
CONSOLE_PREFIX: Final = "console."
#: The class of each route, by the name of its endpoint.
ROUTES: Final[Mapping[str, RouteClass]] = {
    "pages.index": RouteClass.PAGE,
    "pages.list_fragment": RouteClass.FRAGMENT,
    "pages.match": RouteClass.PAGE,
    "pages.embed": RouteClass.EMBED,
    "pages.fragment": RouteClass.FRAGMENT,
    "oembed.oembed": RouteClass.DATA,
    "polls.score": RouteClass.DATA,
    "polls.state": RouteClass.DATA,
    "polls.delta_after": RouteClass.DATA,
    "assets.widget_file": RouteClass.ASSET,
    "ingest.ingest": RouteClass.INGEST,
    "beacons.beacon": RouteClass.INGEST,
    "push.subscribe": RouteClass.INGEST,
    "push.unsubscribe": RouteClass.INGEST,
    "health.healthz": RouteClass.ADMIN,
    "admin.readyz": RouteClass.ADMIN,
    "admin.metrics": RouteClass.ADMIN,
    "ladder.show": RouteClass.ADMIN,
    "ladder.change": RouteClass.ADMIN,
}


def route_class(endpoint: str | None, path: str) -> RouteClass:
    """The class of an answer; ``RouteClass.NONE`` where no route matched, or for one that is not listed.

    Args:
        endpoint: the route that matched; None if none did.
        path: the path that was asked for. The stream tier's paths have no route here, and their refusals
            are as readable as the streams.
    """
    if endpoint is None:
        return RouteClass.DATA if is_stream_path(path) else RouteClass.NONE
    if endpoint.startswith(CONSOLE_PREFIX):
        return RouteClass.CONSOLE
    return ROUTES.get(endpoint, RouteClass.NONE)


def is_stream_path(path: str) -> bool:
    """Whether a path belongs to the stream tier."""
    return (
        path == "/stream"
        or path.startswith(("/stream/", "/ws/"))
        or LONG_POLL_PATH.fullmatch(path) is not None
    )


def init_app(app: Flask, images: Sequence[str] = ()) -> None:
    """Put the headers of its route's class on every answer of an application, errors included.

    Args:
        app: the application.
        images: origins of other sites whose images pages may show, ``https://crests.example``.
    """
    classes = dict(CLASSES)
    for route, frame_ancestors, frame_src in _PAGES:
        policy = page_policy(frame_ancestors, images, frame_src)
        classes[route] = replace(CLASSES[route], content_security_policy=policy)
    app.after_request(partial(_add_headers, classes))


def add_rules(app: Flask, endpoint: str, rules: Rules) -> None:
    """Give a route that a command adds to the application (the lab's) rules of its own.

    Args:
        app: the application, after ``init_app``.
        endpoint: the name of the route.
        rules: its headers.
    """
    app.extensions.setdefault(_ADDED, {})[endpoint] = rules


def _add_headers(classes: Mapping[RouteClass, Rules], response: Response) -> Response:
    route = route_class(request.endpoint, request.path)
    is_error_page = response.status_code >= 400 and response.mimetype == "text/html"
    if is_error_page and route not in (RouteClass.EMBED, RouteClass.CONSOLE):
        # It has the layout of a page, and needs its styles. In a frame only an embed's error is shown.
        route = RouteClass.PAGE
    added: Mapping[str | None, Rules] = current_app.extensions.get(_ADDED, {})
    rules = classes[route]
    if not is_error_page:
        rules = added.get(request.endpoint, rules)
    for name, value in rules.headers().items():
        response.headers[name] = value
    if rules.readable_by_any and not is_error_page:
        response.headers.update(READABLE_BY_ANY)
        if request.method == "OPTIONS" and "GET" in response.allow:
            response.headers.update(preflight_headers(VALIDATORS))
    return response
