"""Names of sides made shorter, for places where the whole name has no room.

A short name has words of at most ``SHORT_MAX_CHARS`` characters, so no place has to break a word. Letters are
not changed in case: that would need Unicode's tables, which not every runtime of these files has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["SHORT_MAX_CHARS", "initials", "short_name", "surname"]

#: What fits beside a score on a phone of 320 pixels.
SHORT_MAX_CHARS: Final = 13
INITIALS_MAX: Final = 3
ELLIPSIS: Final = "…"

# Kinds of clubs, years and legal forms, which no reader needs to know a side by.
_AFFIXES: Final = frozenset(
    (
        *(
            "1.",
            "AC",
            "ACF",
            "AFC",
            "AS",
            "BC",
            "BK",
            "BSC",
            "BV",
            "CA",
            "CD",
            "CF",
            "CFC",
            "CP",
            "CSC",
            "EC",
        ),
        *("FC", "FCO", "FF", "FK", "FSV", "GD", "GNK", "HSC", "IF", "IFK", "IK", "KV", "KVC", "LOSC", "MFK"),
        *(
            "MKS",
            "NK",
            "OGC",
            "PFC",
            "RC",
            "RCD",
            "RKC",
            "SBV",
            "SC",
            "SCO",
            "SD",
            "SK",
            "SKN",
            "SpVgg",
            "SS",
        ),
        *("SSC", "SV", "SVW", "TSG", "TSV", "UC", "UD", "US", "VfB", "VfL", "VV", "e.V.", "Calcio", "Club"),
        *("Clube", "Fútbol", "Futebol", "Football", "Fußball", "Sporting-Club", "Kulübü", "de", "of", "the"),
    )
)
# Words that tell no two sides of one competition apart, when another word stands before them.
_SECOND_WORDS: Final = frozenset(
    ("Albion", "Alexandra", "Argyle", "Hotspur", "Orient", "Rovers", "Wanderers", "Town", "County", "United")
)
# Of these there are two in one competition, so the second word has to stay.
_PLACES: Final[Mapping[str, str]] = {
    "Manchester": "Man",
    "Sheffield": "Sheff",
    "Nottingham": "Nott'm",
    "Bristol": "Bristol",
    "Dundee": "Dundee",
    "Queens": "Queens",
}
_WORDS: Final[Mapping[str, str]] = {
    "Mönchengladbach": "M'gladbach",
    "Moenchengladbach": "M'gladbach",
    "Kaiserslautern": "K'lautern",
    "Wolverhampton": "Wolves",
    "Middlesbrough": "M'brough",
    "Saint-Germain": "SG",
    "United": "Utd",
    "Republic": "Rep.",
    "Northern": "N.",
    "Equatorial": "Eq.",
    "Athletic": "Ath.",
    "Atlético": "Atl.",
    "Racing": "R.",
    "Deportivo": "Dep.",
    "Borussia": "B.",
    "Eintracht": "E.",
    "Fortuna": "F.",
    "Olympique": "O.",
    "and": "&",
}


def short_name(name: str, code: str | None = None, limit: int = SHORT_MAX_CHARS) -> str:
    """A side's name for a narrow place: ``Borussia Mönchengladbach`` is ``B. M'gladbach``.

    The first of these that has at most ``limit`` characters: the name; without the kind of club; without a
    second word that tells nothing; with usual abbreviations. If none has, the first of them whose words go
    onto two lines of ``limit`` characters. Else the code; else the beginning of its longest word, and ``…``.
    """
    words = [word for word in name.split(" ") if word]
    if len(name) <= limit or not words:
        return name
    telling = [word for word in words if not _says_nothing(word)] or words
    candidates = [words, telling, _without_second_words(telling), _abbreviated(telling)]
    for chosen in candidates:
        text = " ".join(chosen)
        if len(text) <= limit:
            return text
    for chosen in candidates:
        if _lines(chosen, limit) == 2:
            return " ".join(chosen)
    if code and len(code) <= limit:
        return code
    longest = telling[0]
    for word in telling:
        if len(word) > len(longest):
            longest = word
    return longest if len(longest) <= limit else longest[: limit - 1] + ELLIPSIS


def _says_nothing(word: str) -> bool:
    # Digits of ASCII only: what else isdigit() takes differs between runtimes.
    return word in _AFFIXES or all(letter in "0123456789" for letter in word)


def _lines(words: list[str], limit: int) -> int:
    """How many lines of ``limit`` characters words need; 0 if one of them is longer than that."""
    lines, room = 0, 0
    for word in words:
        if len(word) > limit:
            return 0
        if lines == 0 or len(word) + 1 > room:
            lines, room = lines + 1, limit - len(word)
        else:
            room -= len(word) + 1
    return lines


def initials(name: str, code: str | None = None) -> str:
    """At most three characters for a side: its code, or the first letters of its words."""
    if code and len(code) <= INITIALS_MAX:
        return code
    words = [word for word in name.split(" ") if word and not _says_nothing(word)]
    if len(words) > 1:
        return "".join(word[0] for word in words[:INITIALS_MAX])
    return (words[0] if words else name)[:INITIALS_MAX]


def surname(player: str) -> str:
    """The last word of a player's name: what is called out."""
    return player.rstrip(" ").rpartition(" ")[2] or player


def _without_second_words(words: list[str]) -> list[str]:
    if words[0] in _PLACES:
        return [_PLACES[words[0]], *(_WORDS.get(word, word) for word in words[1:])]
    return [words[0], *(word for word in words[1:] if word not in _SECOND_WORDS)]


def _abbreviated(words: list[str]) -> list[str]:
    first = _PLACES.get(words[0], _WORDS.get(words[0], words[0]))
    return [first, *(_WORDS.get(word, word) for word in words[1:])]
