"""``match`` as a chain of ``if``: each pattern is a test, and a capture is bound inside its test."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Final

from widget.build.micropython.program import ClassFacts

__all__ = ["tests_of"]

# A class pattern of these has at most one position, and it is the value itself.
_SELF_MATCHING: Final = frozenset(
    {"bool", "bytes", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"}
)

_Refuse = Callable[[ast.AST, str], Exception]
_FactsOf = Callable[[str], ClassFacts | None]


def tests_of(pattern: ast.pattern, subject: ast.expr, facts_of: _FactsOf, refuse: _Refuse) -> list[ast.expr]:
    """The conditions under which ``subject`` matches, in order; they are not lowered yet.

    Args:
        pattern: of one case.
        subject: an expression that may be evaluated any number of times.
        facts_of: what is known of a class of this name.
        refuse: makes the error.
    """

    def inner(part: ast.pattern, value: ast.expr) -> list[ast.expr]:
        return tests_of(part, value, facts_of, refuse)

    if isinstance(pattern, ast.MatchValue):
        return [ast.Compare(subject, [ast.Eq()], [pattern.value])]
    if isinstance(pattern, ast.MatchSingleton):
        return [ast.Compare(subject, [ast.Is()], [ast.Constant(pattern.value)])]
    if isinstance(pattern, ast.MatchAs):
        tests = [] if pattern.pattern is None else inner(pattern.pattern, subject)
        return tests if pattern.name is None else [*tests, _bound(pattern.name, subject)]
    if isinstance(pattern, ast.MatchOr):
        return [ast.BoolOp(ast.Or(), [_all(inner(part, subject)) for part in pattern.patterns])]
    if isinstance(pattern, ast.MatchSequence):
        return _sequence(pattern, subject, inner)
    if isinstance(pattern, ast.MatchMapping):
        if pattern.rest is not None:
            raise refuse(pattern, "pattern **rest")
        tests = [_isinstance(subject, ast.Name("Mapping", ast.Load()))]
        for key, part in zip(pattern.keys, pattern.patterns, strict=True):
            tests.append(ast.Compare(key, [ast.In()], [subject]))
            tests += inner(part, ast.Subscript(subject, key, ast.Load()))
        return tests
    if isinstance(pattern, ast.MatchClass):
        return _class(pattern, subject, facts_of, refuse, inner)
    raise refuse(pattern, f"pattern {type(pattern).__name__}")


def _sequence(
    pattern: ast.MatchSequence, subject: ast.expr, inner: Callable[[ast.pattern, ast.expr], list[ast.expr]]
) -> list[ast.expr]:
    parts = pattern.patterns
    stars = [at for at, part in enumerate(parts) if isinstance(part, ast.MatchStar)]
    least = len(parts) - len(stars)
    kinds = ast.Tuple([ast.Name("list", ast.Load()), ast.Name("tuple", ast.Load())], ast.Load())
    length = ast.Call(ast.Name("len", ast.Load()), [subject], [])
    comparison: ast.cmpop = ast.GtE() if stars else ast.Eq()
    tests: list[ast.expr] = [
        _isinstance(subject, kinds),
        ast.Compare(length, [comparison], [ast.Constant(least)]),
    ]
    for at, part in enumerate(parts):
        if isinstance(part, ast.MatchStar):
            if part.name is not None:
                end = at + 1 - len(parts)
                rest = ast.Slice(ast.Constant(at), ast.Constant(end) if end else None)
                taken = ast.Call(ast.Name("list", ast.Load()), [ast.Subscript(subject, rest, ast.Load())], [])
                tests.append(_bound(part.name, taken))
            continue
        place = at - len(parts) if stars and at > stars[0] else at
        tests += inner(part, ast.Subscript(subject, ast.Constant(place), ast.Load()))
    return tests


def _class(
    pattern: ast.MatchClass,
    subject: ast.expr,
    facts_of: _FactsOf,
    refuse: _Refuse,
    inner: Callable[[ast.pattern, ast.expr], list[ast.expr]],
) -> list[ast.expr]:
    name = pattern.cls.id if isinstance(pattern.cls, ast.Name) else ""
    tests = [_isinstance(subject, pattern.cls)]
    if pattern.patterns and name in _SELF_MATCHING:
        if len(pattern.patterns) > 1:
            raise refuse(pattern, f"pattern {name} with {len(pattern.patterns)} positions")
        tests += inner(pattern.patterns[0], subject)
    elif pattern.patterns:
        facts = facts_of(name)
        if facts is None or len(pattern.patterns) > len(facts.fields):
            raise refuse(pattern, f"pattern {ast.unparse(pattern.cls)} by position")
        for of, part in zip(facts.fields, pattern.patterns, strict=False):
            tests += inner(part, ast.Attribute(subject, of.name, ast.Load()))
    for attribute, part in zip(pattern.kwd_attrs, pattern.kwd_patterns, strict=True):
        tests += inner(part, ast.Attribute(subject, attribute, ast.Load()))
    return tests


def _isinstance(subject: ast.expr, kinds: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("isinstance", ast.Load()), [subject, kinds], [])


def _bound(name: str, value: ast.expr) -> ast.expr:
    """Binds a capture, whatever its value, and is true."""
    taken = ast.NamedExpr(ast.Name(name, ast.Store()), value)
    return ast.Tuple([taken], ast.Load())


def _all(tests: list[ast.expr]) -> ast.expr:
    if not tests:
        return ast.Constant(True)
    return tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)
