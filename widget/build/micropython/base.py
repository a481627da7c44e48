"""What all rules of the lowering share: the module that is lowered, and what was asked of the library."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from widget.build.micropython.program import LoweringError, Program
from widget.build.micropython.vocabulary import (
    DUNDER_ATTRIBUTES,
    MEMBERS,
    METHODS,
    MODULE_STAND_INS,
    NATIVE_MODULES,
)

__all__ = ["Rules"]


class Rules(ast.NodeTransformer):
    """The base of the rules, which are methods by the kind of node."""

    def __init__(self, program: Program, module: str) -> None:
        self.program = program
        self.module = module
        self.path = program.paths[module]
        self.needed: set[str] = set()  # of the library
        self.erased: set[str] = set()  # names that came from an erased module
        self.modules: dict[str, str] = {}  # names of modules with stand-ins, and of native ones
        self.subjects = 0
        tree = program.trees[module]
        # Whether a value may be a float: then its digits are not left to MicroPython.
        self.floats = any(
            isinstance(node, ast.Div)
            or (isinstance(node, ast.Constant) and isinstance(node.value, float))
            or (isinstance(node, ast.Name) and node.id in ("float", "round"))
            for node in ast.walk(tree)
        )

    def refuse(self, node: ast.AST, what: str) -> LoweringError:
        """The error for a construct of this module."""
        return LoweringError(self.path, node, what)

    def stand_in(self, name: str) -> ast.expr:
        """A name of the library, which is imported for it."""
        self.needed.add(name)
        return ast.Name(name, ast.Load())

    def call(self, name: str, *args: ast.expr) -> ast.Call:
        """A call of the library."""
        return ast.Call(self.stand_in(name), list(args), [])

    def class_of(self, node: ast.AST) -> str:
        """The kind of class that a name stands for; empty for none."""
        if not isinstance(node, ast.Name):
            return ""
        facts = self.program.class_facts(self.module, node.id)
        return "" if facts is None else facts.kind

    def body(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Statements lowered, at least one."""
        return self.statements(statements) or [ast.Pass()]

    def statements(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Statements lowered, docstrings left out."""
        out: list[ast.stmt] = []
        for statement in statements:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue  # a docstring, or an ellipsis
            done = self.visit(statement)
            out += done if isinstance(done, list) else [done] if done is not None else []
        return out

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """As the base does, with bodies that are never left empty."""
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, self.body(value))
            elif isinstance(value, list):
                setattr(
                    node, name, [self.visit(item) if isinstance(item, ast.AST) else item for item in value]
                )
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node

    def visit_class_name(self, node: ast.expr) -> ast.expr:
        """An expression before a dot: the name of a class stays."""
        visited: ast.expr = node if self.class_of(node) else self.visit(node)
        return visited

    def is_library_object(self, node: ast.expr) -> bool:
        """Whether a value was just made of a class of the library."""
        return isinstance(node, ast.Call) and self.root_of(node.func) in self.modules

    def root_of(self, node: ast.expr) -> str:
        """The name that a chain of attributes begins with; empty for none."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return node.id if isinstance(node, ast.Name) else ""

    def module_chain(self, node: ast.Attribute) -> ast.AST | None:
        """What stands in for a name of a module of the standard library; None for any other attribute."""
        root = self.root_of(node)
        if root not in self.modules:
            return None
        module = self.modules[root]
        path = ast.unparse(node).partition(".")[2]
        allowed = MODULE_STAND_INS.get(module, {}).keys() or NATIVE_MODULES[module]
        if path not in allowed:
            raise self.refuse(node, f"{module}.{path}")
        # A name by itself, so that what nothing reaches of a module is left out.
        stand_in = MODULE_STAND_INS[module][path] if module in MODULE_STAND_INS else None
        return node if stand_in is None else self.stand_in(stand_in)

    def check_attribute(self, node: ast.AST, name: str) -> None:
        """Refuse an attribute that nothing known has."""
        if name.startswith("__"):
            if name not in DUNDER_ATTRIBUTES:
                raise self.refuse(node, f"attribute {name}")
        elif name not in self.program.attributes and name not in MEMBERS and name not in METHODS:
            raise self.refuse(node, f"attribute or method {name}")
