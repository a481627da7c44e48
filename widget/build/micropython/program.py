"""What the modules to be lowered define, read before the first of them is rewritten."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from widget.build.micropython.vocabulary import METHOD_STAND_INS

__all__ = ["ClassFacts", "Field", "LoweringError", "Program", "base_names", "decorator_named"]


class LoweringError(Exception):
    """A construct that no rule covers; ``str()`` names the file, the line and the construct."""

    def __init__(self, path: str, node: ast.AST, what: str) -> None:
        super().__init__(f"{path}:{getattr(node, 'lineno', 1)}: MicroPython has no {what}")


@dataclass(frozen=True, slots=True)
class Field:
    """An annotated name of a dataclass or a NamedTuple, with its default if it has one."""

    name: str
    default: ast.expr | None
    keyword_only: bool = False


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """What other modules have to know of a class.

    Attributes:
        fields: in order, those of the bases first.
        members: names of an enumeration's members with their values.
        has_post_init: whether it, or a base, has a ``__post_init__``.
    """

    name: str
    kind: Literal["plain", "dataclass", "namedtuple", "enum", "strenum"]
    fields: tuple[Field, ...] = ()
    members: Mapping[str, ast.expr] = field(default_factory=dict)
    has_post_init: bool = False


@dataclass(slots=True)
class Program:
    """All modules together.

    Attributes:
        paths: by module's name, the path of its source.
        classes: by module and name.
        attributes: every name that an own class or module defines for others to reach by a dot.
        exports: by module, the names it defines itself.
        imports: by module, the names it imports from another one of these modules, with that module.
        has_strenum: whether any text may be a member of an enumeration.
        mappings: names that are annotated as a mapping anywhere: of parameters, variables and fields.
        replaces_tuples: whether ``_replace`` or ``_asdict`` of a NamedTuple is called anywhere.
    """

    paths: dict[str, str] = field(default_factory=dict)
    trees: dict[str, ast.Module] = field(default_factory=dict)
    classes: dict[tuple[str, str], ClassFacts] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)
    exports: dict[str, set[str]] = field(default_factory=dict)
    imports: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    has_strenum: bool = False
    mappings: set[str] = field(default_factory=set)
    replaces_tuples: bool = False

    @classmethod
    def read(cls, sources: Mapping[str, str]) -> Program:
        """Read the sources, given by path.

        Raises:
            LoweringError: a definition that could not be told from another one.
        """
        program = cls()
        for path, source in sources.items():
            module = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            program.paths[module] = path
            program.trees[module] = ast.parse(source, filename=path)
        for module in program.trees:
            program._read_names(module)
        for module in program.trees:
            program._read_classes(module)
        return program

    def class_facts(self, module: str, name: str) -> ClassFacts | None:
        """The class that a name stands for in a module, wherever it is defined; None for anything else."""
        return self.classes.get(self.definition_of(module, name))

    def definition_of(self, module: str, name: str) -> tuple[str, str]:
        """The module that defines a name which ``module`` has, and its name there."""
        while name not in self.exports[module] and name in self.imports[module]:
            module, name = self.imports[module][name]
        return module, name

    def _read_names(self, module: str) -> None:
        tree = self.trees[module]
        self.exports[module] = {name for statement in tree.body for name in _bound(statement)}
        self.imports[module] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in self.trees:
                for alias in node.names:
                    self.imports[module][alias.asname or alias.name] = (node.module, alias.name)
            elif isinstance(node, ast.arg | ast.AnnAssign) and _is_mapping(node.annotation):
                target = node if isinstance(node, ast.arg) else node.target
                name = target.arg if isinstance(target, ast.arg) else ast.unparse(target).rpartition(".")[2]
                self.mappings.add(name)
            elif isinstance(node, ast.Attribute):
                self.replaces_tuples |= node.attr in ("_replace", "_asdict", "_fields")
                if isinstance(node.ctx, ast.Store):
                    self.attributes.add(node.attr)
        self.attributes |= self.exports[module]

    def _read_classes(self, module: str) -> None:
        nodes: set[str] = set()
        for node in ast.walk(self.trees[module]):
            if not isinstance(node, ast.ClassDef):
                continue
            if node.name in nodes:
                raise LoweringError(self.paths[module], node, f"second class named {node.name}")
            nodes.add(node.name)
            if (module, node.name) not in self.classes:
                self._read_class(module, node)

    def _read_class(self, module: str, node: ast.ClassDef) -> None:
        path = self.paths[module]
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name in METHOD_STAND_INS:
                raise LoweringError(
                    path, item, f"own method {item.name}(): text has one, which has a stand-in"
                )
            self.attributes |= set(_bound(item))
        bases = base_names(node)
        kind: Literal["plain", "dataclass", "namedtuple", "enum", "strenum"] = "plain"
        fields: tuple[Field, ...] = ()
        members: dict[str, ast.expr] = {}
        has_post_init = False
        if decorator_named(node, "dataclass") is not None:
            kind = "dataclass"
            known = [facts for base in bases if (facts := self._base(module, base)) is not None]
            inherited = [of for facts in known for of in facts.fields]
            has_post_init = any(facts.has_post_init for facts in known) or any(
                isinstance(item, ast.FunctionDef) and item.name == "__post_init__" for item in node.body
            )
            own = list(_fields(node))
            fields = (*(of for of in inherited if of.name not in {mine.name for mine in own}), *own)
        elif "NamedTuple" in bases:
            kind, fields = "namedtuple", tuple(_fields(node))
        elif bases & {"Enum", "IntEnum", "StrEnum"}:
            kind = "strenum" if "StrEnum" in bases else "enum"
            members = dict(_members(node))
            self.has_strenum |= kind == "strenum"
        self.classes[module, node.name] = ClassFacts(node.name, kind, fields, members, has_post_init)

    def _base(self, module: str, base: str) -> ClassFacts | None:
        """A base, which may not have been read yet."""
        home, name = self.definition_of(module, base)
        if (home, name) not in self.classes:
            for node in self.trees[home].body:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    self._read_class(home, node)
        return self.classes.get((home, name))


def _is_mapping(annotation: ast.expr | None) -> bool:
    root = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return root is not None and ast.unparse(root) in ("dict", "Mapping", "MutableMapping", "JsonObject")


def base_names(node: ast.ClassDef) -> set[str]:
    """The names of a class's bases, without what stands in brackets after them."""
    roots = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    return {root.id if isinstance(root, ast.Name) else ast.unparse(root) for root in roots}


def decorator_named(node: ast.ClassDef | ast.FunctionDef, wanted: str) -> ast.expr | None:
    """The decorator of that name, called or not."""
    for item in node.decorator_list:
        target = item.func if isinstance(item, ast.Call) else item
        if isinstance(target, ast.Name) and target.id == wanted:
            return item
    return None


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement of a module or a class binds."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
    elif isinstance(statement, ast.If | ast.Try | ast.For | ast.While | ast.With):
        for inner in ast.iter_child_nodes(statement):
            if isinstance(inner, ast.stmt):
                yield from _bound(inner)
            elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                yield inner.id


def _fields(node: ast.ClassDef) -> Iterator[Field]:
    keyword_only = False
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        kind = ast.unparse(item.annotation).rpartition(".")[2]
        if kind == "KW_ONLY":
            keyword_only = True
        elif not ast.unparse(item.annotation).startswith("ClassVar"):
            yield Field(item.target.id, item.value, keyword_only)


def _members(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    count = 0
    is_text = "StrEnum" in base_names(node)
    for item in node.body:
        if isinstance(item, ast.Assign) and len(item.targets) == 1 and isinstance(item.targets[0], ast.Name):
            name, value = item.targets[0].id, item.value
            count += 1
            if isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] == "auto":
                value = ast.Constant(name.lower() if is_text else count)
            elif isinstance(value, ast.Constant) and isinstance(value.value, int):
                count = value.value
            yield name, value
