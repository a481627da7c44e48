"""The routes below ``/console``. Every answer is ``no-store``; all but the sign-in need a session."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

from flask import Blueprint, Flask, Response, current_app, g, jsonify, redirect, render_template, request
from flask_sock import Sock
from werkzeug.security import safe_join
from werkzeug.wrappers import Response as WerkzeugResponse

from origin.console.accounts import Accounts
from origin.console.config import STORE_FILE, ConsoleConfig
from origin.console.desk import Desks
from origin.console.entries import ENTRY_ID, SOURCE
from origin.console.fixtures import FIXTURES_MAX_BYTES, BadRow, Fixture, parse_fixtures
from origin.console.match_socket import SERVER_OPTIONS, MatchSocket, take_socket
from origin.console.sign_in import PENDING_COOKIE, SignIn
from origin.console.store import Session, Store
from origin.errors import ConfigError, EventLogError, RequestError
from origin.stream.http.request_body import body_too_large
from origin.stream.worker.extensions import STREAM_HUB
from origin.web.board import View
from origin.web.cache_policy import NO_STORE, set_policy
from origin.web.origin import origin, origin_of
from shared_state.errors import shown
from shared_state.events import MATCH_ID_PATTERN
from shared_state.jsontext import JsonObject

__all__ = ["Console", "check", "init_app"]

_EXTENSION: Final = "touchline-console"
_HERE: Final = Path(__file__).parent
_STATIC: Final = _HERE / "static"
_MIME_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_FORM_MAX_BYTES: Final = 8_192
# JSON with a list of fixtures in it: each character may be escaped.
_API_MAX_BYTES: Final = 6 * FIXTURES_MAX_BYTES
#: Windows of one operator, in all workers.
WINDOWS_OF_OPERATOR_MAX: Final = 8
#: The matches of the console's list.
_LISTED_MAX: Final = 200

blueprint = Blueprint("console", __name__, url_prefix="/console", template_folder="templates")
sock = Sock()


class Console:
    """What the console of one process consists of.

    Raises:
        ConfigError: a file cannot be used.
    """

    def __init__(self, config: ConsoleConfig, app: Flask) -> None:
        assert config.directory is not None  # noqa: S101 - init_app has looked
        self.config = config
        self.accounts = Accounts(config.accounts_path)
        self.store = Store(config.directory / STORE_FILE, time.time)
        self.sign_in = SignIn(config, self.accounts, self.store, origin_of(app).config.public_url)
        self.desks = Desks(lambda: origin_of(app).log, lambda: origin_of(app).ingest, config.directory)
        self.provider = None
        if config.oidc is not None:
            # Imported here: it needs the extra, which others have not installed.
            from origin.console.oidc import OidcProvider

            self.provider = OidcProvider(config.oidc)


def check(config: ConsoleConfig) -> None:
    """Look whether the console can be used, before any worker begins.

    Raises:
        ConfigError: nobody can sign in, a file cannot be used, or a package is not installed.
    """
    if config.directory is None:
        return
    if config.oidc is not None:
        import_module("origin.console.oidc")
    Store(config.directory / STORE_FILE, time.time)
    if not (Accounts(config.accounts_path).names() or config.proxy_header or config.oidc):
        raise ConfigError(
            f"nobody can sign in to the console: {config.accounts_path} has no account;"
            " add one with `touchline console add-user NAME`"
        )


def init_app(app: Flask, config: ConsoleConfig) -> None:
    """Add the console to an application, if it is configured.

    Raises:
        ConfigError: as ``check``.
    """
    check(config)
    if config.directory is None:
        return
    app.extensions[_EXTENSION] = Console(config, app)
    app.config["SOCK_SERVER_OPTIONS"] = dict(SERVER_OPTIONS)
    app.register_blueprint(blueprint)


def _console() -> Console:
    return cast("Console", current_app.extensions[_EXTENSION])


def _base() -> str:
    """The path of the console, as browsers see it."""
    return f"{origin().config.site_path}/console"


# --- who may have what

_OPEN: Final = frozenset(
    {
        "console.sign_in_page",
        "console.sign_in_form",
        "console.static_file",
        "console.oidc_start",
        "console.oidc_back",
    }
)


@blueprint.before_request
def _let_in() -> WerkzeugResponse | None:
    """Nobody gets further without a session, and no change is made that a page of it did not send."""
    if request.endpoint == "console.static_file":
        return None
    console = _console()
    found = console.sign_in.session(request)
    g.new_token = ""
    if found is None and (token := console.sign_in.by_proxy(request)) is not None:
        session = console.store.session(token)
        found = None if session is None else (token, session)
        g.new_token = token
    g.token, g.session = found or ("", None)
    if request.method not in ("GET", "HEAD"):
        _limit_body()
    if request.endpoint in _OPEN:
        return None
    if g.session is None:
        if request.method == "GET" and request.endpoint in ("console.home", "console.match"):
            return redirect(f"{_base()}/sign-in", 303)
        raise RequestError(401, "signed_out", "sign in first")
    if request.endpoint == "console.match_socket":
        console.sign_in.check_origin(request)
        _begin_window(console)
    elif request.method not in ("GET", "HEAD"):
        console.sign_in.check_csrf(request, g.session)
    return None


@blueprint.after_request
def _add_cookie(response: Response) -> Response:
    if g.get("new_token"):
        _console().sign_in.set_cookie(response, request, _base(), g.new_token)
    return set_policy(response, NO_STORE)


def _limit_body() -> None:
    limit = _API_MAX_BYTES if request.endpoint == "console.fixtures" else _FORM_MAX_BYTES
    if request.content_length is None or request.content_length > limit:
        raise body_too_large(limit)


def _begin_window(console: Console) -> None:
    """Refuse a WebSocket before it is one.

    Raises:
        RequestError: 429 too many windows; 501 no server for it.
    """
    if console.store.windows_of(g.session.operator) >= WINDOWS_OF_OPERATOR_MAX:
        raise RequestError(
            429,
            "too_many_windows",
            f"{g.session.operator} has {WINDOWS_OF_OPERATOR_MAX} windows open; close one",
            headers={"Retry-After": "10"},
        )
    take_socket(request.environ)


# --- signing in and out


@blueprint.get("/sign-in")
def sign_in_page() -> WerkzeugResponse:
    """The form, or the console for who is signed in."""
    if g.session is not None:
        return redirect(f"{_base()}/", 303)
    return _sign_in_form("", 200)


@blueprint.post("/sign-in")
def sign_in_form() -> Response:
    """Sign in by a local account."""
    console = _console()
    try:
        console.sign_in.check_origin(request)
        token = console.sign_in.by_password(
            request, request.form.get("operator", "").strip(), request.form.get("password", "")
        )
    except RequestError as error:
        response = _sign_in_form(str(error), error.status)
        response.headers.update(error.headers)
        return response
    response = cast("Response", redirect(f"{_base()}/", 303))
    console.sign_in.set_cookie(response, request, _base(), token)
    return response


def _sign_in_form(problem: str, status: int) -> Response:
    console = _console()
    html = render_template(
        "console/sign_in.html",
        base=_base(),
        problem=problem,
        operator=request.form.get("operator", "")[:64],
        has_accounts=bool(console.accounts.names()),
        has_provider=console.provider is not None,
    )
    return Response(html, status, mimetype="text/html")


@blueprint.post("/sign-out")
def sign_out() -> Response:
    """End this session, or with ``all=1`` all of this operator's."""
    console = _console()
    if request.form.get("all") == "1":
        console.store.end_all(g.session.operator)
    console.store.end(g.token)
    response = cast("Response", redirect(f"{_base()}/sign-in", 303))
    console.sign_in.drop_cookie(response, request, _base())
    return response


@blueprint.get("/oidc/start")
def oidc_start() -> Response:
    """Send the browser to the OpenID Connect provider."""
    console = _console()
    if console.provider is None:
        raise RequestError(404, "not_found", "no OpenID Connect provider is configured")
    console.sign_in.check_provider_attempt(request)
    address, pending = console.provider.begin(_redirect_uri())
    response = cast("Response", redirect(address, 303))
    console.sign_in.set_pending_cookie(
        response, request, f"{_base()}/oidc", console.store.keep_pending(pending)
    )
    return response


@blueprint.get("/oidc/back")
def oidc_back() -> Response:
    """The browser comes back from the provider."""
    console = _console()
    if console.provider is None:
        raise RequestError(404, "not_found", "no OpenID Connect provider is configured")
    try:
        pending = console.store.take_pending(
            request.cookies.get(PENDING_COOKIE, ""), request.args.get("state", "")
        )
        if pending is None:
            raise RequestError(
                403, "sign_in_failed", "this sign-in was not begun in this browser, or took too long"
            )
        if "code" not in request.args:
            raise RequestError(
                403, "sign_in_failed", f"the provider said {shown(request.args.get('error', ''))}"
            )
        operator = console.provider.finish(_redirect_uri(), request.args["code"], pending)
        token = console.sign_in.by_provider(request, operator)
    except RequestError as error:
        response = _sign_in_form(str(error), error.status)
    else:
        # A redirect would still be the provider's navigation, with which no strict cookie is sent.
        response = Response(render_template("console/signed_in.html", base=_base()), mimetype="text/html")
        console.sign_in.set_cookie(response, request, _base(), token)
    console.sign_in.set_pending_cookie(response, request, f"{_base()}/oidc", "")
    return response


def _redirect_uri() -> str:
    public = origin().config.public_url
    root = public or f"{request.scheme}://{request.host}"
    return f"{root}/console/oidc/back"


# --- pages


@blueprint.get("/")
def home() -> str:
    """The matches, and the forms that create them."""
    return render_template(
        "console/home.html", base=_base(), site=origin().config.site_path, session=g.session
    )


@blueprint.get("/match/<match_id>")
def match(match_id: str) -> str:
    """One match."""
    _check_match_id(match_id)
    return render_template(
        "console/match.html",
        base=_base(),
        site=origin().config.site_path,
        session=g.session,
        match_id=match_id,
    )


@blueprint.get("/static/<path:name>")
def static_file(name: str) -> Response:
    """A file of the console; not kept, so that no release meets another's files."""
    path = safe_join(str(_STATIC), name)
    mime_type = _MIME_TYPES.get(Path(name).suffix)
    if path is None or mime_type is None or not Path(path).is_file():
        raise RequestError(404, "not_found", f"no file {shown(name)}")
    return Response(Path(path).read_bytes(), content_type=mime_type)


def _check_match_id(match_id: str) -> None:
    if not MATCH_ID_PATTERN.fullmatch(match_id):
        raise RequestError(
            404, "unknown_match", f"match {shown(match_id)}: must be 1 to 64 of A-Z a-z 0-9 _ -"
        )


# --- what the pages ask for


@blueprint.get("/api/session")
def session() -> Response:
    """Who is signed in; 401 for nobody. A script cannot see why its WebSocket was refused."""
    return jsonify({"operator": g.session.operator, "kind": g.session.kind})


@blueprint.get("/api/matches")
def matches() -> Response:
    """The matches that the list of all matches has, live first."""
    board = origin().board
    board.refresh()
    rows = board.rows(View())[:_LISTED_MAX]
    return jsonify(
        {
            "matches": [
                {
                    "match_id": row.match_id,
                    "home": row.summary.home,
                    "away": row.summary.away,
                    "phase": row.summary.phase,
                    "status": row.summary.chip,
                    "score": [row.summary.home_score, row.summary.away_score],
                    "competition": row.summary.competition,
                    "kickoff": row.summary.kickoff_iso,
                }
                for row in rows
            ]
        }
    )


@blueprint.post("/api/fixtures")
def fixtures() -> Response:
    """Check a list of fixtures, or create its matches.

    Body: ``{"text", "apply", "leave_out_bad", "id"}``. Without ``apply`` nothing is created. With it all are,
    in one step, or none: a bad row refuses the list unless ``leave_out_bad`` is true.
    """
    body = request.get_json(silent=True)
    if not isinstance(body, dict) or not isinstance(body.get("text"), str):
        raise RequestError(422, "bad_fixtures", "the body must be a JSON object with the list in text")
    good, bad = parse_fixtures(body["text"])
    good, bad = _without_known(good, bad)
    answer: JsonObject = {
        "fixtures": [fixture.to_json() for fixture in good],
        "bad": [row.to_json() for row in sorted(bad, key=lambda row: row.row)],
        "created": 0,
    }
    if body.get("apply") is not True:
        return jsonify(answer)
    if bad and body.get("leave_out_bad") is not True:
        raise RequestError(
            422, "bad_fixtures", f"{len(bad)} rows cannot be used; no match was created", **answer
        )
    if good:
        entry_id = body.get("id")
        if not isinstance(entry_id, str) or not ENTRY_ID.fullmatch(entry_id):
            raise RequestError(422, "bad_entry", f"id {shown(entry_id)}: must be 8 to 128 of A-Z a-z 0-9 _ -")
        accepted = origin().ingest.accept_from_operator(
            g.session.operator, entry_id, [fixture.event for fixture in good]
        )
        if accepted.duplicate:
            raise RequestError(409, "entry_id_used", f"id {shown(entry_id)}: was used for another list")
        _count(accepted.events)
    return jsonify({**answer, "created": len(good)})


def _count(events: int) -> None:
    origin().metrics.ingest_accepted.labels(SOURCE).inc(events)


def _without_known(good: list[Fixture], bad: list[BadRow]) -> tuple[list[Fixture], list[BadRow]]:
    """The same, where a match that the log has is a bad row."""
    new: list[Fixture] = []
    try:
        for fixture in good:
            match_id = fixture.event.match_id
            if next(iter(origin().log.read_match(match_id)), None) is None:
                new.append(fixture)
            else:
                bad = [*bad, BadRow(fixture.row, "match_id", f"{match_id} is there already")]
    except EventLogError as error:
        raise RequestError(503, error.code, str(error), headers={"Retry-After": "1"}) from error
    return new, bad


# --- the WebSocket


@sock.route("/ws/<match_id>", bp=blueprint, endpoint="match_socket")  # type: ignore[untyped-decorator]
def match_socket(ws: Any, match_id: str) -> None:
    """See ``origin.console.match_socket``; ``_let_in`` has looked at who it is."""
    console, session = _console(), cast("Session", g.session)
    if not MATCH_ID_PATTERN.fullmatch(match_id):
        ws.close(1008, "no match can have this id")
        return
    extensions = current_app.extensions
    with console.desks.opened(match_id) as desk:
        MatchSocket(
            ws,
            desk=desk,
            store=console.store,
            sign_in=console.sign_in,
            token=g.token,
            session=session,
            count=_count,
            is_draining=lambda: bool(getattr(extensions.get(STREAM_HUB), "draining", False)),
        ).run()
