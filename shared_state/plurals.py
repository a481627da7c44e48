"""Which form of a word goes with a whole number, by the rules of CLDR 46, for the languages we have."""

from __future__ import annotations

from typing import Final

__all__ = ["CATEGORIES", "plural_category"]

#: The categories that each language has a form for.
CATEGORIES: Final = {
    "ar": ("zero", "one", "two", "few", "many", "other"),
    "de": ("one", "other"),
    "en": ("one", "other"),
    "es": ("one", "many", "other"),
    "fr": ("one", "many", "other"),
    "it": ("one", "many", "other"),
    "ja": ("other",),
    "nl": ("one", "other"),
    "pl": ("one", "few", "many", "other"),
    "pt": ("one", "many", "other"),
}
_MILLION: Final = 1_000_000


def plural_category(tag: str, n: int) -> str:
    """The plural category of a number.

    Args:
        tag: a key of ``CATEGORIES``.
        n: the number, from 0 on.

    Returns:
        One of the categories of that language.
    """
    if tag == "ar":
        return _arabic(n)
    if tag == "pl":
        return _polish(n)
    if tag == "ja":
        return "other"
    if n == 1 or (n == 0 and tag in ("fr", "pt")):
        return "one"
    if n and n % _MILLION == 0 and "many" in CATEGORIES[tag]:
        return "many"
    return "other"


def _arabic(n: int) -> str:
    if n in (0, 1, 2):
        return ("zero", "one", "two")[n]
    rest = n % 100
    if 3 <= rest <= 10:
        return "few"
    return "many" if rest >= 11 else "other"


def _polish(n: int) -> str:
    if n == 1:
        return "one"
    few = n % 10 in (2, 3, 4) and n % 100 not in (12, 13, 14)
    return "few" if few else "many"
