"""All languages, and which of them a page or an element is shown in. For the server; a browser loads one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared_state.catalogues.ar import TEXTS as ARABIC
from shared_state.catalogues.de import TEXTS as GERMAN
from shared_state.catalogues.es import TEXTS as SPANISH
from shared_state.catalogues.fr import TEXTS as FRENCH
from shared_state.catalogues.it import TEXTS as ITALIAN
from shared_state.catalogues.ja import TEXTS as JAPANESE
from shared_state.catalogues.nl import TEXTS as DUTCH
from shared_state.catalogues.pl import TEXTS as POLISH
from shared_state.catalogues.pt import TEXTS as PORTUGUESE
from shared_state.language import ENGLISH, Language

__all__ = ["LANGUAGES", "language_of"]

#: By tag.
LANGUAGES: Final[Mapping[str, Language]] = {
    "en": ENGLISH,
    "ar": Language("ar", "rtl", ARABIC),
    "de": Language("de", "ltr", GERMAN),
    "es": Language("es", "ltr", SPANISH),
    "fr": Language("fr", "ltr", FRENCH),
    "it": Language("it", "ltr", ITALIAN),
    "ja": Language("ja", "ltr", JAPANESE),
    "nl": Language("nl", "ltr", DUTCH),
    "pl": Language("pl", "ltr", POLISH),
    "pt": Language("pt", "ltr", PORTUGUESE),
}
# The longest tag that anybody has a use for (RFC 5646, 4.4.1). A longer one is nonsense, and not read on.
_TAG_MAX: Final = 35


def language_of(tag: str | None) -> Language:
    """The language for a tag: ``de`` for ``de-AT``, ``de_AT`` and ``DE``; English for one that is not here.

    Args:
        tag: what ``lang`` says, whatever that is.
    """
    if not tag or len(tag) > _TAG_MAX:
        return ENGLISH
    primary = tag.replace("_", "-").partition("-")[0].lower()
    return LANGUAGES.get(primary, ENGLISH)
