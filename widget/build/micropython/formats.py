"""Texts that are put together: f-strings, ``format`` and ``%``."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Final

__all__ = ["formatted_text", "formatted_value", "is_known_date", "is_known_pattern"]

# What ``str.format`` of MicroPython writes as Python does; a float's digits are left to ``format_fixed``.
_NATIVE_SPEC: Final = re.compile(r"(?:.?[<>=^])?[-+ ]?#?0?[0-9]*,?[bcdoxX]?", re.DOTALL)
# Of text too, which MicroPython would fill up by its bytes.
_PADDED_SPEC: Final = re.compile(r"(?:(.?)([<>^]))?([1-9][0-9]*)?(?:\.([0-9]+))?(s?)", re.DOTALL)
_FIXED_SPEC: Final = re.compile(r"([-+ ]?[0-9]*)\.([0-9]+)f")
_DIRECTIVES: Final = "YmdHMS%"

_Refuse = Callable[[str], Exception]
_Stand = Callable[[str], ast.expr]


def formatted_text(
    node: ast.JoinedStr,
    visit: Callable[[ast.expr], ast.expr],
    stand_in: _Stand,
    refuse: _Refuse,
    floats: bool,
) -> ast.expr:
    """An f-string as ``pattern % values``.

    Args:
        node: the f-string.
        visit: lowers an expression.
        stand_in: the name of the library to call.
        refuse: makes the error.
        floats: whether a value may be a float, whose digits MicroPython would write otherwise.
    """
    pattern, values = "", []
    for part in node.values:
        if isinstance(part, ast.Constant):
            pattern += str(part.value).replace("%", "%%")
            continue
        if not isinstance(part, ast.FormattedValue):
            raise refuse(f"f-string with a {type(part).__name__}")
        value = visit(part.value)
        if part.conversion in (ord("r"), ord("a")):
            value = ast.Call(stand_in("repr" if part.conversion == ord("r") else "ascii"), [value], [])
        if isinstance(part.format_spec, ast.JoinedStr):
            spec = part.format_spec
            if all(isinstance(item, ast.Constant) for item in spec.values):
                text = "".join(str(item.value) for item in spec.values if isinstance(item, ast.Constant))
                value = formatted_value(value, text, stand_in, refuse)
            else:
                value = _formatted_later(value, spec, visit, stand_in, refuse)
        elif floats and part.conversion == -1:
            value = ast.Call(stand_in("text_of"), [value], [])
        pattern += "%s"
        values.append(value)
    if not values:
        return ast.Constant(pattern.replace("%%", "%"))
    return ast.BinOp(ast.Constant(pattern), ast.Mod(), ast.Tuple(values, ast.Load()))


def formatted_value(value: ast.expr, spec: str, stand_in: _Stand, refuse: _Refuse) -> ast.expr:
    """``format(value, spec)``."""
    if not spec:
        return ast.Call(stand_in("text_of"), [value], [])
    fixed = _FIXED_SPEC.fullmatch(spec)
    if fixed is not None:
        return ast.Call(
            stand_in("format_fixed"), [value, ast.Constant(int(fixed[2])), ast.Constant(fixed[1])], []
        )
    if "%" in spec:
        if not is_known_date(spec):
            raise refuse(f"format {spec!r}")
        return ast.Call(ast.Attribute(value, "strftime", ast.Load()), [ast.Constant(spec)], [])
    padded = _PADDED_SPEC.fullmatch(spec)
    if padded is not None and (padded[5] or not padded[4]):
        most = None if padded[4] is None else int(padded[4])
        rest = [ast.Constant(item) for item in (padded[1] or " ", padded[2] or "", int(padded[3] or 0), most)]
        return ast.Call(stand_in("format_padded"), [value, *rest], [])
    if _NATIVE_SPEC.fullmatch(spec) is None or "{" in spec:
        raise refuse(f"format {spec!r}")
    return _native(ast.Constant("{:" + spec + "}"), value)


def _formatted_later(
    value: ast.expr,
    spec: ast.JoinedStr,
    visit: Callable[[ast.expr], ast.expr],
    stand_in: _Stand,
    refuse: _Refuse,
) -> ast.expr:
    """A format whose width is an expression: of text, or with its type written out."""
    pattern, values = "", []
    for part in spec.values:
        if isinstance(part, ast.Constant):
            pattern += str(part.value)
        elif isinstance(part, ast.FormattedValue) and part.format_spec is None and part.conversion == -1:
            pattern += "%s"
            values.append(visit(part.value))
    padded = _PADDED_SPEC.fullmatch(pattern.replace("%s", "1"))
    if padded is not None and pattern.count("%s") == 1 and padded[4] is None and padded[3] == "1":
        rest: list[ast.expr] = [ast.Constant(padded[1] or " "), ast.Constant(padded[2] or ""), values[0]]
        return ast.Call(stand_in("format_padded"), [value, *rest, ast.Constant(None)], [])
    if _NATIVE_SPEC.fullmatch(pattern.replace("%s", "1")) is None or pattern[-1:] not in "bcdoxX":
        raise refuse(f"format {pattern!r}")
    spelt = ast.BinOp(ast.Constant("{:" + pattern + "}"), ast.Mod(), ast.Tuple(values, ast.Load()))
    return _native(spelt, value)


def _native(pattern: ast.expr, value: ast.expr) -> ast.expr:
    return ast.Call(ast.Attribute(pattern, "format", ast.Load()), [value], [])


def is_known_date(pattern: str) -> bool:
    """Whether a pattern of ``strftime`` has only numbers, which no locale changes."""
    return re.fullmatch(rf"(?:[^%]|%[{_DIRECTIVES}])*", pattern, re.DOTALL) is not None


def is_known_pattern(pattern: str) -> bool:
    """Whether ``pattern % values`` needs only what both Pythons write alike."""
    return re.fullmatch(r"(?:[^%]|%%|%0?[0-9]*[dxX]|%s)*", pattern, re.DOTALL) is not None
