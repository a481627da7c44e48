"""The application: wiring only."""

from __future__ import annotations

import logging
from functools import partial
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from flask import Flask, Response, current_app, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from origin.config import Config
from origin.errors import BusError, OriginError, RequestError
from origin.stream.worker.extensions import FIXED_ANSWERS, ORIGIN, ROW_RENDERER, STREAM_HUB
from origin.web import (
    assets,
    beacons,
    cache_policy,
    compression,
    health,
    ladder_admin,
    oembed,
    page_language,
    pages,
    polls,
    push,
    security_headers,
    webhook,
)
from origin.web.bus_breaker import BusBusyError
from origin.web.cache_policy import NO_STORE, set_policy
from origin.web.origin import Origin, origin_of
from origin.web.page_language import requested_language
from origin.web.region_link import REGION_LINK, RegionLink
from shared_state.language import ENGLISH

__all__ = ["create_admin_app", "create_app"]

logger = logging.getLogger(__name__)


def create_app(config: Config, *, start: bool = True, admin_routes: bool = True) -> Flask:
    """The WSGI application of the public port.

    Args:
        config: the settings.
        start: whether to start the fan-out thread of the embedded set-up now.
        admin_routes: whether ``/metrics`` and ``/readyz`` are here; False where they have a listener of
            their own (``create_admin_app``), and are 404 here.
    """
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions[ORIGIN] = Origin(config)
    for blueprint in (
        *(health.blueprint, webhook.blueprint, polls.blueprint, pages.blueprint),
        *(oembed.blueprint, beacons.blueprint),
    ):
        app.register_blueprint(blueprint)
    if admin_routes:
        app.register_blueprint(health.admin)
    assets.init_app(app, site_path=config.site_path)
    push.init_app(app, config)
    app.jinja_env.globals["site"] = config.site_path
    app.jinja_env.globals["beacon_rate"] = config.beacon_rate
    page_language.init_app(app)
    _add_errors_and_headers(app)
    app.extensions[FIXED_ANSWERS] = lambda: health.fixed_answers(app)
    app.extensions[ROW_RENDERER] = partial(pages.render_row, app)
    app.extensions[REGION_LINK] = link = RegionLink(app)
    if start:
        origin_of(app).start()
        link.start()
    return app


def create_admin_app(app: Flask) -> Flask:
    """The WSGI application of the admin port: health, readiness and metrics of what runs behind ``app``.

    Args:
        app: the application of the public port; both share one origin and one stream hub.
    """
    admin = Flask(__name__, static_folder=None)
    admin.json.sort_keys = False  # type: ignore[attr-defined]
    # The same dictionary, not a copy: the stream worker adds its hub to it later.
    admin.extensions = app.extensions
    admin.register_blueprint(health.blueprint)
    admin.register_blueprint(health.admin)
    admin.register_blueprint(ladder_admin.blueprint)
    _add_errors_and_headers(admin)
    return admin


def _add_errors_and_headers(app: Flask) -> None:
    app.register_error_handler(RequestError, _request_error)
    app.register_error_handler(BusError, _bus_error)
    app.register_error_handler(HTTPException, _http_error)
    app.after_request(_relative_redirect)
    security_headers.init_app(app, origin_of(app).config.crest_origins)
    cache_policy.init_app(app)
    compression.init_app(app)


# Programs read these, whatever they say that they accept. An admin application has no pages at all.
_API: Final = (
    "/score",
    "/oembed",
    "/api/",
    "/ingest/",
    "/stream",
    "/ws/",
    "/beacon",
    "/push",
    "/healthz",
    "/readyz",
    "/metrics",
)


def _request_error(error: RequestError) -> Response:
    negotiated = "pages" in current_app.blueprints and not request.path.startswith(_API)
    language = requested_language()
    # What an error says beyond its kind is for people who run servers, in English.
    message = str(error) if language is ENGLISH else language.text(_error_key(error))
    if negotiated and (request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"):
        response = Response(
            render_template("error.html", status=error.status, message=message, language=language),
            mimetype="text/html",
        )
    else:
        response = jsonify(error.to_json())
    response.status_code = error.status
    response.headers.update(error.headers)
    if negotiated:
        response.vary.add("Accept")
    return set_policy(response, NO_STORE)


def _error_key(error: RequestError) -> str:
    if error.code in ("unknown_match", "unknown_list"):
        return f"error.{error.code}"
    return "error.unavailable" if error.status == 503 else "error.refused"


def _bus_error(error: OriginError) -> Response:
    # The breaker has logged that the bus is away; a line for each reader would be a flood.
    level = logging.DEBUG if isinstance(error, BusBusyError) else logging.WARNING
    logger.log(level, "%s %s: %s", request.method, request.path, error)
    return _request_error(
        RequestError(503, error.code, "the region's bus does not answer", headers={"Retry-After": "1"})
    )


def _http_error(error: HTTPException) -> Response:
    """The router's own errors (no such route, wrong method) in the one JSON shape."""
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Location")}
    if error.code is None or error.code < 400:
        return Response(error.get_body(), error.code, dict(error.get_headers()))
    in_stream_worker = STREAM_HUB in current_app.extensions
    if error.code == 404 and security_headers.is_stream_path(request.path) and not in_stream_worker:
        return _request_error(
            RequestError(
                501,
                "no_stream_tier",
                "this server has no stream tier: run `touchline serve`",
            )
        )
    code = error.name.lower().replace(" ", "_")
    return _request_error(RequestError(error.code, code, error.description or error.name, headers=headers))


def _relative_redirect(response: Response) -> Response:
    """The router redirects a path with doubled slashes to the address in the request's Host.

    Anybody can set that Host, so only the path is kept.
    """
    if response.location is None or response.status_code >= 400:
        return response
    location = urlsplit(response.location)
    # The router does not know the path below which readers reach this origin. An address of ours has it.
    site_path = origin_of(current_app).config.site_path if location.netloc else ""
    path = site_path + "/" + location.path.lstrip("/")
    response.location = urlunsplit(("", "", path, location.query, ""))
    response.set_data(b"")
    return set_policy(response, NO_STORE)
