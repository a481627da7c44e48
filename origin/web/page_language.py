"""The language of a page: by its address, so that a cache keeps one page for each.

``?lang=de`` is the only spelling of German, and English has none. What a reader's browser prefers is not
asked: a cache would have to keep a page for each of a million ``Accept-Language`` headers (decision 75).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from flask import Flask, Response, request

from origin.web.cache_policy import NO_STORE, set_policy
from origin.web.page_delay import requested_delay_s
from shared_state.language import ENGLISH, Language
from shared_state.languages import LANGUAGES, language_of
from shared_state.wire import KEY_LANGUAGE, QUERY_BEHIND

__all__ = ["in_language", "init_app", "redirect_to_one_spelling", "requested_language"]

_NAMES: Final = {tag: language.text("language.name") for tag, language in LANGUAGES.items()}


def requested_language() -> Language:
    """The language that the address of this request asks for; English for none, and for an unknown one."""
    return language_of(request.args.get(KEY_LANGUAGE))


def redirect_to_one_spelling() -> Response | None:
    """The answer to an address whose delay or language has another spelling; None for all others."""
    delay_s, language = requested_delay_s(), requested_language()
    wanted = [(QUERY_BEHIND, str(delay_s))] if delay_s else []
    if language is not ENGLISH:
        wanted.append((KEY_LANGUAGE, language.tag))
    ours: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    for name, value in request.args.items(multi=True):
        (ours if name in (QUERY_BEHIND, KEY_LANGUAGE) else others).append((name, value))
    if ours == wanted:
        return None
    query = urlencode([*others, *wanted])
    location = f"{request.path}?{query}" if query else request.path
    return set_policy(Response(status=302, headers={"Location": location}), NO_STORE)


def in_language(address: str, language: Language) -> str:
    """The address of a page in a language.

    Args:
        address: of the page in English.
        language: the other one.
    """
    if language is ENGLISH:
        return address
    return f"{address}{'&' if '?' in address else '?'}{KEY_LANGUAGE}={language.tag}"


def init_app(app: Flask) -> None:
    """Give the templates ``language``, which a page's own context replaces, and the languages' ``names``."""
    app.jinja_env.globals.update(language=ENGLISH, names=_NAMES)
