"""Pages: the list, one match, its fragments, the embed. Right without JavaScript; a cache may keep them."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Final
from urllib.parse import quote

from flask import Blueprint, Flask, Response, get_template_attribute, render_template, request
from markupsafe import Markup

from origin.bus import MatchRow
from origin.errors import RequestError
from origin.web.board import PageContent, View
from origin.web.cache_policy import IMMUTABLE, LATEST, NO_STORE, set_policy
from origin.web.match_cache import Scoreboard
from origin.web.origin import origin, origin_of
from origin.web.page_delay import requested_delay_s
from origin.web.page_language import in_language, redirect_to_one_spelling, requested_language
from origin.web.polls import date_of, make_conditional, mark_stale, parse_id
from shared_state.errors import shown
from shared_state.jsonld import json_ld
from shared_state.jsontext import compact
from shared_state.language import ENGLISH, Language
from shared_state.languages import LANGUAGES
from shared_state.view import Summary, page_title, scoreboard
from shared_state.wire import HEADER_AS_OF
from shared_state.wording import MINUTE_MS, believed_until, ticking

__all__ = ["blueprint", "list_address", "match_page", "render_row"]

_PAGE_NUMBER: Final = re.compile("[1-9][0-9]{0,5}")
# Rows of half a KB each, for the pages that are kept.
_ROWS_MAX: Final = 4_096
#: Pages are dated in steps of this many milliseconds, always with the step's beginning.
AS_OF_STEP_MS: Final = 10_000
TAG_CHARS = 32  # 128 bits: no two pages of one address will ever meet

blueprint = Blueprint("pages", __name__, template_folder="templates")


@blueprint.get("/")
def index() -> Response:
    """Matches, live first: all, or those of a day or a competition; a hundred on a page.

    Each list has one address. What names another, or none, is no page of its own for a cache to keep: a
    parameter that means nothing is redirected to the address without it, and a list that is not there is 404.

    Raises:
        RequestError: 404 there is no such list, or no such page of it.
    """
    return _list("/", _render_list)


@blueprint.get("/list")
def list_fragment() -> Response:
    """The list alone, as the page of the same query has it, for scripts here and on other sites.

    Raises:
        RequestError: 404 there is no such list, or no such page of it.
    """
    return _list("/list", _render_list_fragment)


def _list(path: str, render: Callable[[PageContent], str]) -> Response:
    view, number = View(request.args.get("day", ""), request.args.get("competition", "")), _page_number()
    language = requested_language()
    address = list_address(view, number, path, language)
    if request.query_string.decode("latin-1") != address.partition("?")[2]:
        location = origin().config.site_path + address
        return set_policy(Response(status=302, headers={"Location": location}), NO_STORE)
    board = origin().board
    board.refresh()
    # Before the page is taken: rows that are read meanwhile make it newer than its date, never older.
    as_of_ms = board.read_ms
    kind = in_language(path, language)
    page = board.page(view, number, _now_ms(), render, kind)
    if page is None:
        raise RequestError(404, "unknown_list", f"no list of matches {address!r}")
    response = set_policy(Response(page.body, mimetype="text/html"), LATEST)
    if as_of_ms is not None:
        response.headers[HEADER_AS_OF] = str(as_of_ms)
    # Weak: pages of processes that read the same rows at another time differ in their cursor.
    response.set_etag(page.tag, weak=True)
    response.make_conditional(request)
    return response


@blueprint.get("/match/<match_id>")
def match(match_id: str) -> Response:
    """One match, server-rendered, with its snapshot inline."""
    if redirect := redirect_to_one_spelling():
        return redirect
    return match_page("demo.html" if origin().config.demo else "match.html", match_id)


@blueprint.get("/embed/<match_id>")
def embed(match_id: str) -> Response:
    """The widget alone, for an iframe on somebody else's page."""
    if redirect := redirect_to_one_spelling():
        return redirect
    return match_page("embed.html", match_id)


@blueprint.get("/match/<match_id>/fragment/<id_text>")
def fragment(match_id: str, id_text: str) -> Response:
    """The scoreboard's HTML at one id, in one language, for one delay: the same for ever."""
    if redirect := redirect_to_one_spelling():
        return redirect
    id_ = parse_id(id_text)
    found = origin().matches.fragment(match_id, id_, requested_language(), requested_delay_s())
    if not found.final:
        # Another origin, or this one after a refill, may know more of the same address.
        return _tagged(found.html)
    response = set_policy(Response(found.html, mimetype="text/html"), IMMUTABLE)
    response.set_etag(str(id_))
    response.make_conditional(request)
    return response


def list_address(view: View, number: int = 1, path: str = "/", language: Language = ENGLISH) -> str:
    """The one address of a page of the list of matches in a language; below ``/list``, of its fragment."""
    given = (
        ("day", view.day),
        ("competition", view.competition),
        ("page", str(number) if number > 1 else ""),
    )
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given if value)
    return in_language(f"{path}?{query}" if query else path, language)


def _page_number() -> int:
    """The page that was asked for.

    Raises:
        RequestError: 404 it is no number of a page.
    """
    text = request.args.get("page", "1")
    if not _PAGE_NUMBER.fullmatch(text):
        raise RequestError(404, "unknown_list", f"no page {shown(text)}: must be a number from 1 on")
    return int(text)


def _render_list(content: PageContent) -> str:
    return _render("index.html", content)


def _render_list_fragment(content: PageContent) -> str:
    return _render("list.html", content)


def _render(template: str, content: PageContent) -> str:
    language, site_path = requested_language(), origin().config.site_path

    def address(view: View, number: int) -> str:
        return site_path + list_address(view, number, language=language)

    site = origin().config.public_url
    translations = [
        (tag, site + list_address(content.view, content.number, language=other))
        for tag, other in LANGUAGES.items()
    ]
    return render_template(
        template,
        matches=content.rows,
        complete=content.complete,
        content=content,
        address=address,
        row=partial(_row_html, site_path),
        iso=_iso,
        language=language,
        translations=translations,
    )


def _iso(utc_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(utc_ms / 1_000))


def render_row(app: Flask, row: MatchRow, now_ms: int) -> tuple[str, int | None]:
    """One row as the list page has it in English, outside of a request.

    Args:
        app: the application, for its templates.
        row: the row.
        now_ms: UTC milliseconds, to let the minute run to.

    Returns:
        The HTML, and the UTC milliseconds from which it may differ; None if only a delta changes it.
    """
    summary, until_ms = row.at(now_ms)
    with app.app_context():
        site_path = origin_of(app).config.site_path
        return str(_row_html(site_path, summary, str(row.id), ENGLISH)).strip(), until_ms


@lru_cache(_ROWS_MAX)
def _row_html(site_path: str, summary: Summary, id_text: str, language: Language) -> Markup:
    """One row of a list. When a match changes, the other rows of its page are not rendered again."""
    row = get_template_attribute("index_row.html", "list_row")
    return Markup(row(summary, id_text, language, site_path))  # noqa: S704 - the template escapes it


def _context(board: Scoreboard, language: Language, delay_s: int) -> Mapping[str, Any]:
    """What the templates of one match need.

    Addresses are below the configured public URL, or relative. The Host of the request is never repeated:
    anybody can send any Host, and a shared cache would give the page that names it to everybody.
    """
    public_url = origin().config.public_url
    address = f"{public_url}/match/{board.match.match_id}"
    url = in_language(address, language)
    now_ms = _now_ms() - delay_s * 1_000
    html = scoreboard(
        board.match,
        board.id,
        now_ms=now_ms,
        as_of_ms=_as_of_ms(board),
        language=language,
        unseen=board.unseen,
    )
    return {
        "delay_s": delay_s,
        "language": language,
        "translations": [(tag, in_language(address, other)) for tag, other in LANGUAGES.items()],
        "match": board.match,
        "position": board.id,
        "title": page_title(board.match, now_ms, language),
        "fragment": Markup(html),  # noqa: S704 - the view escapes
        "snapshot_json": board.snapshot.decode(),
        "json_ld": compact(json_ld(board.match, url, language)),
        "url": url,
        "public_url": public_url,
        "stale": board.stale,
        "as_of": _iso(board.as_of_ms),
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _as_of_ms(board: Scoreboard) -> int:
    """The date of a page of this match, UTC milliseconds: when the match was known to be so, or before.

    The page's tag is that of its bytes. With a date to the millisecond no two answers would have the same
    tag, and a cache could never be told that its page is still right. A stale page has no tag.
    """
    return board.as_of_ms if board.stale else board.as_of_ms - board.as_of_ms % AS_OF_STEP_MS


def match_page(template: str, match_id: str) -> Response:
    """A page of one match as its address asks for it. It says when the match was known to be so."""
    delay_s, matches = requested_delay_s(), origin().matches
    board = matches.behind(match_id, delay_s) if delay_s else matches.latest(match_id)
    html = render_template(template, **_context(board, requested_language(), delay_s))
    if board.stale:
        return mark_stale(Response(html, mimetype="text/html"), board)
    return _tagged(html, _page_date(board))


def _page_date(board: Scoreboard) -> datetime | None:
    """The ``Last-Modified`` of a page: that of the id, as for polls, while the page's words are no younger.

    A minute that has run on since has no date that no other page of the match could have, so there is none.
    """
    dated = date_of(board)
    if dated is None:
        return None
    running, until_ms = ticking(board.match), believed_until(board.match)
    now_ms, moments_ms = _now_ms(), []
    if running is not None and running.start_ms <= now_ms:
        moments_ms.append(now_ms - (now_ms - running.start_ms) % MINUTE_MS)
    if until_ms is not None and until_ms <= now_ms:
        moments_ms.append(until_ms)
    return dated if max(moments_ms, default=0) < (dated.timestamp() + 1) * 1_000 else None


def _tagged(html: str, dated: datetime | None = None) -> Response:
    """HTML with a tag of its bytes.

    Not the id: the minute runs on, a release has other files, and the page and the embed differ, while the
    id stays the same. A cache in front would keep its old page.
    """
    response = set_policy(Response(html, mimetype="text/html"), LATEST)
    response.set_etag(hashlib.sha256(html.encode()).hexdigest()[:TAG_CHARS])
    return make_conditional(response, dated)
