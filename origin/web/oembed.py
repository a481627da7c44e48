"""oEmbed (https://oembed.com, version 1.0): the address of a match's page becomes a frame with its score.

A consumer takes the HTML as it is, so it has no script: an ``<iframe>`` of ``/embed/<match>`` of a fixed size
within the consumer's bounds.
"""

from __future__ import annotations

import re
from html import escape
from typing import Final
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape as escape_xml

from flask import Blueprint, Response, request

from origin.errors import RequestError
from origin.web.cache_policy import LATEST, set_policy
from origin.web.origin import origin
from origin.web.page_language import in_language
from shared_state.errors import shown
from shared_state.jsontext import JsonObject, compact
from shared_state.languages import language_of
from shared_state.view import page_title
from shared_state.wire import KEY_LANGUAGE

__all__ = ["blueprint"]

blueprint = Blueprint("oembed", __name__)

#: What a frame has where the consumer gives no bounds, CSS pixels.
WIDTH: Final = 600
HEIGHT: Final = 480
#: Less than this shows nothing that can be read.
LEAST_WIDTH: Final = 200
LEAST_HEIGHT: Final = 80
#: Of an address that is asked for. Ours are a tenth of it.
_URL_MAX_CHARS: Final = 2_000
#: How long a consumer may keep an answer, seconds: the frame in it is live by itself, the title is not.
_CACHE_AGE_S: Final = 300
_BOUND: Final = re.compile("[1-9][0-9]{0,5}")
_MATCH_PAGE: Final = re.compile("/(?:match|embed)/([A-Za-z0-9_-]{1,64})")
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
)


@blueprint.get("/oembed")
def oembed() -> Response:
    """The answer for the address of a match's page.

    Raises:
        RequestError: 400 there is no ``url``, or a bound is no number; 404 it is no address of a match here;
            501 the format is neither ``json`` nor ``xml``, as the specification wants it.
    """
    format_ = request.args.get("format", "json")
    if format_ not in ("json", "xml"):
        raise RequestError(501, "unknown_format", f"format {shown(format_)}: must be json or xml")
    url = request.args.get("url")
    if url is None:
        raise RequestError(
            400, "missing_parameter", "url is required: /oembed?url=<address of a match's page>"
        )
    width = min(WIDTH, _bound("maxwidth", LEAST_WIDTH) or WIDTH)
    height = min(HEIGHT, _bound("maxheight", LEAST_HEIGHT) or HEIGHT)
    site, match_id, tag = _match_page(url)
    language = language_of(tag)
    title = page_title(origin().matches.latest(match_id).match, language=language)
    frame = in_language(f"{site}/embed/{match_id}", language)
    answer: JsonObject = {
        "version": "1.0",
        "type": "rich",
        "title": title,
        "provider_name": "Touchline",
        "provider_url": f"{site}/",
        "cache_age": _CACHE_AGE_S,
        "width": width,
        "height": height,
        "html": f'<iframe src="{escape(frame)}" title="{escape(title)}" width="{width}" height="{height}"'
        ' style="border:0;max-width:100%" loading="lazy"></iframe>',
    }
    if format_ == "json":
        return set_policy(Response(compact(answer), mimetype="application/json"), LATEST)
    members = "".join(f"<{name}>{escape_xml(str(value))}</{name}>" for name, value in answer.items())
    document = f'<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n<oembed>{members}</oembed>\n'
    return set_policy(Response(document, content_type="text/xml; charset=utf-8"), LATEST)


def _bound(name: str, least: int) -> int | None:
    """A bound on the frame's size, CSS pixels; None where none is given.

    Raises:
        RequestError: 400 it is no number, or so small that no score can be read in it.
    """
    text = request.args.get(name)
    if text is None:
        return None
    if not _BOUND.fullmatch(text) or int(text) < least:
        raise RequestError(
            400,
            "bad_parameter",
            f"{name} {shown(text)}: must be a whole number of pixels from {least} to 999999",
        )
    return int(text)


def _match_page(url: str) -> tuple[str, str, str | None]:
    """The site, the match and the language of an address.

    The site is the configured one. Without ``TOUCHLINE_PUBLIC_URL`` it is that of the address itself, which
    its sender could have put into a frame as well; never the Host of the request.

    Raises:
        RequestError: 404 it is no address of a match on this site.
    """
    refusal = RequestError(404, "unknown_page", f"url {shown(url)}: is no address of a match's page here")
    public_url = origin().config.public_url
    try:
        parts = urlsplit(url)
    except ValueError:
        raise refusal from None
    path, site = parts.path, f"{parts.scheme}://{parts.netloc}"
    if (
        len(url) > _URL_MAX_CHARS
        or parts.scheme not in ("http", "https")
        or not _HOST.fullmatch(parts.netloc)
    ):
        raise refusal
    if public_url:
        prefix = urlsplit(public_url).path
        same_host = parts.netloc.lower() == urlsplit(public_url).netloc.lower()
        # A page may have been reached by http before it was redirected.
        if not same_host or not path.startswith(f"{prefix}/"):
            raise refusal
        path, site = path[len(prefix) :], public_url
    found = _MATCH_PAGE.fullmatch(path)
    if found is None:
        raise refusal
    return site, found[1], parse_qs(parts.query).get(KEY_LANGUAGE, [None])[0]
