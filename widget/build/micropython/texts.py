"""The English texts that a reader's browser needs: the view's, without those of pages, lists and scripts."""

from __future__ import annotations

import ast
from typing import Final

__all__ = ["SERVER_TEXTS", "TextsError", "view_texts"]

# What a key begins with that only the server's templates and the widget's scripts read.
SERVER_TEXTS: Final = (
    *("client.", "delay.", "embed.", "error."),
    *("language.", "list.", "page.", "sync."),
)


class TextsError(Exception):
    """The catalogue is not written as one dictionary."""


def view_texts(source: str) -> str:
    """The source of a catalogue, with the view's texts only.

    Raises:
        TextsError: see there.
    """
    module = ast.parse(source)
    for statement in module.body:
        value = getattr(statement, "value", None)
        if isinstance(statement, ast.AnnAssign | ast.Assign) and isinstance(value, ast.Dict):
            kept = [pair for pair in zip(value.keys, value.values, strict=True) if _is_view(pair[0])]
            value.keys, value.values = [key for key, _ in kept], [text for _, text in kept]
            return ast.unparse(module) + "\n"
    raise TextsError("the catalogue has no dictionary of texts")


def _is_view(key: ast.expr | None) -> bool:
    if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
        raise TextsError("a key of the catalogue is not written out")
    return not key.value.startswith(SERVER_TEXTS)
