"""Which regular expressions MicroPython reads as Python does; the build refuses all others."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

__all__ = ["check"]

# No stub has it.
_parser: Any = vars(re)["_parser"]


def check(node: ast.Call, refuse: Callable[[ast.AST, str], Exception]) -> None:
    """Refuse a call of ``re`` whose pattern is not known now, or says what MicroPython does not read.

    It compares bytes and not characters, knows no class beyond ASCII, no flag and no look-around, and repeats
    no group a counted number of times.
    """
    pattern = node.args[0]
    if not isinstance(pattern, ast.Constant) or not isinstance(pattern.value, str | bytes):
        raise refuse(node, "regular expression that is not written out")
    flags = {keyword.arg for keyword in node.keywords}
    wanted = 1 if ast.unparse(node.func).endswith("compile") else 2
    if flags or len(node.args) > wanted:
        raise refuse(node, "flag of a regular expression")
    is_text = isinstance(pattern.value, str)
    for what, value in _parts(_parser.parse(pattern.value)):
        if what in (
            "ASSERT",
            "ASSERT_NOT",
            "GROUPREF",
            "GROUPREF_EXISTS",
            "AT",
            "POSSESSIVE_REPEAT",
            "ATOMIC_GROUP",
        ):
            raise refuse(node, f"{what} in a regular expression")
        if what == "CATEGORY" and is_text:
            raise refuse(node, "class such as \\w in a regular expression of text; write the characters")
        if what in ("ANY", "NEGATE", "NOT_LITERAL") and is_text:
            raise refuse(node, "class of other characters in a regular expression of text")
        if what in ("LITERAL", "RANGE") and (max(value) if isinstance(value, tuple) else value) > 0x7F:
            raise refuse(node, "character beyond ASCII in a regular expression")
        if what == "LITERAL" and value == 0:
            raise refuse(node, "NUL in a regular expression")
        if what == "COUNTED_GROUP":
            raise refuse(node, "group that is repeated a counted number of times")


def _parts(parsed: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for op, value in parsed:
        name = str(op)
        if name == "IN":
            found += [(str(what), of) for what, of in value]
        elif name in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, inner = value
            is_counted = (least, most) not in ((0, 1), (0, _parser.MAXREPEAT), (1, _parser.MAXREPEAT))
            if is_counted and any(str(of) == "SUBPATTERN" for of, _ in inner):
                found.append(("COUNTED_GROUP", None))
            found += _parts(inner)
        elif name == "SUBPATTERN":
            found += _parts(value[3])
        elif name == "BRANCH":
            for branch in value[1]:
                found += _parts(branch)
        else:
            found.append((name, value))
    return found
