"""Classes that Python's standard library makes out of annotations, spelt out."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Final

from widget.build.micropython.program import ClassFacts, Field

__all__ = ["dataclass_body", "enumeration", "named_tuple", "text_enumeration"]

_DATACLASS_OPTIONS: Final = frozenset({"frozen", "slots", "kw_only", "eq", "order", "repr", "unsafe_hash"})
_FIELD_OPTIONS: Final = frozenset({"default", "default_factory", "init", "compare", "repr", "kw_only"})

_Refuse = Callable[[ast.AST, str], Exception]
_Visit = Callable[[ast.expr], ast.expr]
_Stand = Callable[[str], ast.expr]


def dataclass_body(
    node: ast.ClassDef, made: ast.expr, facts: ClassFacts, visit: _Visit, stand_in: _Stand, refuse: _Refuse
) -> tuple[str, list[ast.stmt]]:
    """The base in the library that compares and writes a dataclass, and the methods to put into its body.

    Frozen is not enforced: a type checker has seen to it, and the tests of ``shared_state``.
    """
    options: dict[str, object] = {}
    for item in made.keywords if isinstance(made, ast.Call) else []:
        if item.arg not in _DATACLASS_OPTIONS or not isinstance(item.value, ast.Constant):
            raise refuse(node, f"dataclass option {item.arg}")
        options[item.arg] = item.value.value
    defined = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    own = {of.name for of in facts.fields if _is_own(node, of.name)}
    parameters: list[tuple[str, ast.expr | None, bool]] = []
    lines: list[str] = []
    rows: list[tuple[str, bool, bool, bool]] = []
    for of in facts.fields:
        spec = _field_options(node, of, refuse)
        in_init = _truth(spec, "init")
        # A field of a base keeps its own way to be given; the option is of this class.
        keyword_only = (
            _truth(spec, "kw_only", default=of.keyword_only)
            if spec
            else of.keyword_only or (bool(options.get("kw_only")) and of.name in own)
        )
        keyword_only = keyword_only or (bool(options.get("kw_only")) and of.name in own)
        rows.append((of.name, in_init, _truth(spec, "compare"), _truth(spec, "repr")))
        factory = spec.get("default_factory")
        default = spec.get("default") if spec else of.default
        anew = None if factory is None else ast.unparse(visit(ast.Call(factory, [], [])))
        if not in_init:
            if anew is not None or default is not None:
                value = anew if anew is not None else ast.unparse(visit(default or ast.Constant(None)))
                lines.append(f"self.{of.name} = {value}")
            continue
        if anew is not None:
            missing = stand_in("MISSING")
            parameters.append((of.name, missing, keyword_only))
            lines.append(f"self.{of.name} = {anew} if {of.name} is {ast.unparse(missing)} else {of.name}")
        else:
            parameters.append((of.name, None if default is None else visit(default), keyword_only))
            lines.append(f"self.{of.name} = {of.name}")
    if facts.has_post_init:
        lines.append("self.__post_init__()")
    source: list[str] = []
    if "__init__" not in defined:
        source.append(f"def __init__({_signature(parameters)}):")
        source += [f"    {line}" for line in lines] or ["    pass"]
    source.append(f"__dataclass_fields__ = {ast.unparse(stand_in('fields_of'))}({rows!r})")
    has_hash = options.get("frozen") or options.get("unsafe_hash") or options.get("eq") is False
    if not has_hash and "__hash__" not in defined:
        source.append("__hash__ = None")
    base = "OrderedData" if options.get("order") else "Data"
    if options.get("eq") is False:
        source.append(f"__eq__ = {ast.unparse(stand_in('is_same'))}")
    return base, ast.parse("\n".join(source)).body


def named_tuple(
    node: ast.ClassDef,
    facts: ClassFacts,
    rest: list[ast.stmt],
    visit: _Visit,
    stand_in: _Stand,
    with_fields: bool,
) -> ast.stmt:
    """A NamedTuple as MicroPython's own; where it has methods or defaults, as a subclass of one."""
    names = ast.Tuple([ast.Constant(of.name) for of in facts.fields], ast.Load())
    base = ast.Call(stand_in("namedtuple"), [ast.Constant(node.name), names], [])
    body: list[ast.stmt] = []
    if any(of.default is not None for of in facts.fields):
        parameters = [
            (of.name, None if of.default is None else visit(of.default), False) for of in facts.fields
        ]
        given = ", ".join(of.name for of in facts.fields)
        source = f"def __init__({_signature(parameters)}):\n    super().__init__({given})"
        body += ast.parse(source).body
    body += rest
    if with_fields:
        body.append(ast.Assign([ast.Name("_fields", ast.Store())], names))
    if not body:
        return ast.Assign([ast.Name(node.name, ast.Store())], base)
    node.bases, node.keywords, node.decorator_list, node.body = [base], [], [], body
    return node


def enumeration(
    node: ast.ClassDef, facts: ClassFacts, rest: list[ast.stmt], visit: _Visit, stand_in: _Stand
) -> list[ast.stmt]:
    """An Enum: a class of members, and its members as attributes of it."""
    members: list[ast.expr] = [
        ast.Tuple([ast.Constant(name), visit(value)], ast.Load()) for name, value in facts.members.items()
    ]
    node.bases, node.keywords, node.decorator_list = [stand_in("Member")], [], []
    node.body = rest or [ast.Pass()]
    name = ast.Name(node.name, ast.Load())
    made = ast.Call(stand_in("enumeration"), [name, ast.Tuple(members, ast.Load())], [])
    return [node, ast.Assign([ast.Name(node.name, ast.Store())], made)]


def text_enumeration(
    node: ast.ClassDef, facts: ClassFacts, rest: Sequence[ast.stmt], visit: _Visit, refuse: _Refuse
) -> ast.stmt:
    """A StrEnum: its members are the texts themselves, since MicroPython's subclasses of str are none."""
    if any(isinstance(item, ast.FunctionDef) for item in rest):
        raise refuse(node, f"method of the StrEnum {node.name}")
    values = {name: visit(value) for name, value in facts.members.items()}
    members = ast.Tuple(list(values.values()), ast.Load())
    node.bases, node.keywords, node.decorator_list = [], [], []
    node.body = [ast.Assign([ast.Name(name, ast.Store())], value) for name, value in values.items()]
    node.body.append(ast.Assign([ast.Name("all_members", ast.Store())], members))
    return node


def _field_options(node: ast.ClassDef, of: Field, refuse: _Refuse) -> dict[str, ast.expr]:
    default = of.default
    if not (
        isinstance(default, ast.Call) and isinstance(default.func, ast.Name) and default.func.id == "field"
    ):
        return {}
    spec = {item.arg or "**": item.value for item in default.keywords}
    unknown = set(spec) - _FIELD_OPTIONS
    if unknown or default.args:
        raise refuse(node, f"option {', '.join(sorted(unknown))} of the field {of.name}")
    return spec or {"init": ast.Constant(True)}


def _truth(spec: dict[str, ast.expr], option: str, *, default: bool = True) -> bool:
    value = spec.get(option)
    return bool(value.value) if isinstance(value, ast.Constant) else default


def _signature(parameters: Sequence[tuple[str, ast.expr | None, bool]]) -> str:
    def spelt(rows: Sequence[tuple[str, ast.expr | None, bool]]) -> list[str]:
        return [name if default is None else f"{name}={ast.unparse(default)}" for name, default, _ in rows]

    plain = [row for row in parameters if not row[2]]
    keyword_only = [row for row in parameters if row[2]]
    star = ["*"] if keyword_only else []
    return ", ".join(["self", *spelt(plain), *star, *spelt(keyword_only)])


def _is_own(node: ast.ClassDef, name: str) -> bool:
    targets = [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)
