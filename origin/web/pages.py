"""Pages: the list, one match, its fragments, the embed. Right without JavaScript; a cache may keep them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping

from flask import Blueprint, Response, render_template, request
from markupsafe import Markup

from origin.web.cache_policy import IMMUTABLE, LATEST, set_policy
from origin.web.match_cache import Scoreboard
from origin.web.origin import origin
from origin.web.polls import parse_id
from shared_state.jsonld import json_ld
from shared_state.jsontext import Json, compact
from shared_state.view import page_title, scoreboard, summary_row

__all__ = ["blueprint"]

TAG_CHARS = 32  # 128 bits: no two pages of one address will ever meet

blueprint = Blueprint("pages", __name__, template_folder="templates")


@blueprint.get("/")
def index() -> Response:
    """All matches, live first."""
    listing = origin().matches.all()
    rows = [summary_row(board.match, _now_ms()) for board in listing.boards]
    return _page("index.html", matches=sorted(rows, key=lambda row: row.rank), complete=listing.complete)


@blueprint.get("/match/<match_id>")
def match(match_id: str) -> Response:
    """One match, server-rendered, with its snapshot inline."""
    board = origin().matches.latest(match_id)
    return _page("demo.html" if origin().config.demo else "match.html", **_context(board))


@blueprint.get("/embed/<match_id>")
def embed(match_id: str) -> Response:
    """The widget alone, for an iframe on somebody else's page."""
    board = origin().matches.latest(match_id)
    return _page("embed.html", **_context(board))


@blueprint.get("/match/<match_id>/fragment/<id_text>")
def fragment(match_id: str, id_text: str) -> Response:
    """The scoreboard's HTML at one id: the same for ever."""
    id_ = parse_id(id_text)
    found = origin().matches.fragment(match_id, id_)
    if not found.final:
        # Another origin, or this one after a refill, may know more of the same address.
        return _tagged(found.html)
    response = set_policy(Response(found.html, mimetype="text/html"), IMMUTABLE)
    response.set_etag(str(id_))
    response.make_conditional(request)
    return response


def _context(board: Scoreboard) -> Mapping[str, Json]:
    """What the templates of one match need.

    Addresses are below the configured public URL, or relative. The Host of the request is never repeated:
    anybody can send any Host, and a shared cache would give the page that names it to everybody.
    """
    public_url = origin().config.public_url
    url = f"{public_url}/match/{board.match.match_id}"
    return {
        "match": board.match,
        "position": board.id,
        "title": page_title(board.match),
        "fragment": Markup(scoreboard(board.match, board.id, now_ms=_now_ms())),  # noqa: S704
        "snapshot_json": board.snapshot.decode(),
        "json_ld": compact(json_ld(board.match, url)),
        "url": url,
        "public_url": public_url,
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _page(template: str, **context: Json) -> Response:
    return _tagged(render_template(template, **context))


def _tagged(html: str) -> Response:
    """HTML with a tag of its bytes.

    Not the id: the minute runs on, a release has other files, and the page and the embed differ, while the
    id stays the same. A cache in front would keep its old page.
    """
    response = set_policy(Response(html, mimetype="text/html"), LATEST)
    response.set_etag(hashlib.sha256(html.encode()).hexdigest()[:TAG_CHARS])
    response.make_conditional(request)
    return response
