"""A language to show a match in: its texts by key, filled with values. ``languages`` has all of them.

Every function of the view that makes text takes ``language``, which is English by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from shared_state.catalogues.en import TEXTS
from shared_state.plurals import plural_category

__all__ = ["ENGLISH", "Language", "Phrase", "filled"]


class Phrase(NamedTuple):
    """A text that is not in any language yet.

    Attributes:
        key: of the catalogue.
        values: pairs of a name and its value.
    """

    key: str
    values: tuple[tuple[str, str], ...] = ()


class Language:
    """A language.

    Attributes:
        tag: what ``lang`` of HTML says, ``de``.
        direction: what ``dir`` says: ``ltr`` or ``rtl``.
        texts: the texts by key; a key that is not there is read in English.
    """

    __slots__ = ("direction", "tag", "texts")

    def __init__(self, tag: str, direction: str, texts: Mapping[str, str | Mapping[str, str]]) -> None:
        self.tag = tag
        self.direction = direction
        self.texts = texts

    def text(self, key: str, **values: str | int) -> str:
        """The text of a key, with its values in their places.

        Raises:
            KeyError: there is no such key, or no value for one of the places.
        """
        return filled(self._template(key, None), values)

    def counted(self, key: str, n: int) -> str:
        """The text of a key for a number, which stands at ``{n}``.

        Raises:
            KeyError: there is no such key.
        """
        return filled(self._template(key, n), {"n": n})

    def phrase(self, phrase: Phrase) -> str:
        """A phrase in this language.

        Raises:
            KeyError: as ``text``.
        """
        return filled(self._template(phrase.key, None), dict(phrase.values))

    def around(self, key: str, place: str) -> tuple[str, str]:
        """The text of a key before and after one of its places, for a page that puts an element there.

        Raises:
            KeyError: there is no such key, or it has another place, too.
        """
        before, _, after = self.text(key, **{place: "\0"}).partition("\0")
        return before, after

    def moment(self, when: datetime) -> str:
        """A moment as text, in UTC: ``15 Jul 2018, 15:00 UTC``."""
        # Month names by hand: strftime would follow the locale of whatever machine renders.
        month = self.text(f"month.{when.month}")
        time = f"{when.hour:02}:{when.minute:02}"
        return self.text("date.moment", day=when.day, month=month, year=when.year, time=time)

    def _template(self, key: str, n: int | None) -> str:
        tag, text = self.tag, self.texts.get(key)
        if text is None:
            tag, text = "en", TEXTS[key]
        if isinstance(text, str):
            return text
        return text["other" if n is None else plural_category(tag, n)]


def filled(template: str, values: Mapping[str, str | int]) -> str:
    """A template with its values in their places; what is in a value is never read as a place.

    Raises:
        KeyError: there is no value for one of the places.
    """
    pieces = template.split("{")
    parts = [pieces[0]]
    for part in pieces[1:]:
        name, _, after = part.partition("}")
        parts.append(str(values[name]))
        parts.append(after)
    return "".join(parts)


#: What every text is written in first.
ENGLISH: Final = Language("en", "ltr", TEXTS)
