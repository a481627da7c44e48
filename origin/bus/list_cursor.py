"""Where a viewer of a list of matches stands: ``<utc ms>-<digest>``.

The time is when rows were read, and is good at every process whose clock is about right. The digest is of the
rows themselves, by their matches and ids: where it is the same, nothing was missed, however long ago that was
and whichever process says so.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from shared_state import DeltaId

__all__ = ["ListCursor", "row_digest"]

_TEXT: Final = re.compile(r"([0-9]{1,15})(?:-([0-9a-f]{16}))?", re.ASCII)
_DIGEST_BYTES: Final = 8


class ListCursor(NamedTuple):
    """See the module.

    Attributes:
        at_ms: when the rows were read, UTC milliseconds; never later than that.
        digest: of the rows: the sum (exclusive or) of their ``row_digest``; None if it is not known.
    """

    at_ms: int
    digest: int | None

    @classmethod
    def parse(cls, text: str) -> ListCursor | None:
        """What a viewer gave, with or without the ``list@`` of an ``id:``; None if it is no cursor."""
        found = _TEXT.fullmatch(text.removeprefix("list@"))
        if found is None:
            return None
        at_ms, digest = found.groups()
        return cls(int(at_ms), None if digest is None else int(digest, 16))

    def __str__(self) -> str:
        return str(self.at_ms) if self.digest is None else f"{self.at_ms}-{self.digest:016x}"


def row_digest(match_id: str, id_: DeltaId) -> int:
    """A number for one row, which no other row will ever have."""
    text = f"{match_id}@{id_}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest())
