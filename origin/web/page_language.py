"""The language of a page: by its address, so that a cache keeps one page for each.

``?lang=de`` is the only spelling of German, and English has none. What a reader's browser prefers is not
asked: a cache would have to keep a page for each of a million ``Accept-Language`` headers (decision 75).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from flask import Flask, Response, request

from origin.web.cache_policy import NO_STORE, set_policy
from shared_state.language import ENGLISH, Language
from shared_state.languages import LANGUAGES, language_of
from shared_state.wire import QUERY_LANGUAGE

__all__ = ["in_language", "init_app", "redirect_to_one_spelling", "requested_language"]

_NAMES: Final = {tag: language.text("language.name") for tag, language in LANGUAGES.items()}


def requested_language() -> Language:
    """The language that the address of this request asks for; English for none, and for an unknown one."""
    return language_of(request.args.get(QUERY_LANGUAGE))


def redirect_to_one_spelling() -> Response | None:
    """The answer to an address whose language has another spelling, or is not known; None for all others."""
    given = request.args.getlist(QUERY_LANGUAGE)
    language = requested_language()
    if given == ([] if language is ENGLISH else [language.tag]):
        return None
    others = [(name, value) for name, value in request.args.items(multi=True) if name != QUERY_LANGUAGE]
    query = urlencode(others if language is ENGLISH else [*others, (QUERY_LANGUAGE, language.tag)])
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
    return f"{address}{'&' if '?' in address else '?'}{QUERY_LANGUAGE}={language.tag}"


def init_app(app: Flask) -> None:
    """Give the templates ``language``, which a page's own context replaces, and the languages' ``names``."""
    app.jinja_env.globals.update(language=ENGLISH, names=_NAMES)
