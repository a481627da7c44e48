"""Rules for statements: imports, annotations, functions, ``match`` and classes."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping
from typing import Final

from widget.build.micropython import classes, patterns
from widget.build.micropython.base import Rules
from widget.build.micropython.program import ClassFacts, LoweringError, base_names, decorator_named
from widget.build.micropython.vocabulary import (
    DATACLASS_FUNCTIONS,
    DUNDER_METHODS,
    ERASED_BASES,
    ERASED_DECORATORS,
    ERASED_MODULES,
    FUNCTION_STAND_INS,
    LIBRARY,
    MODULE_STAND_INS,
    NATIVE_MODULES,
)

__all__ = ["StatementRules"]

# Functions of shared_state that the library answers for in another way; see there.
_REPLACED: Final[Mapping[tuple[str, str], str]] = {
    ("shared_state.jsontext", "_check_nesting"): "check_nesting"
}
# Builtins that would pass the order of a dictionary on.
_ORDERED_TAKERS: Final = frozenset(
    {"dict", "enumerate", "filter", "iter", "list", "map", "next", "tuple", "zip"}
)


class StatementRules(Rules):
    """See the top of this module."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt] | None:
        module = node.module or ""
        if node.level or any(alias.name == "*" for alias in node.names):
            raise self.refuse(node, "relative or starred import")
        for alias in node.names:
            if f"{module}.{alias.name}" in self.program.trees:
                raise self.refuse(node, f"import of the module {alias.name}; import its names")
        if module in self.program.trees:
            return self._own_import(node, module)
        if module in ERASED_MODULES:
            for alias in node.names:
                if module == "dataclasses" and alias.name in DATACLASS_FUNCTIONS:
                    continue
                self.erased.add(alias.asname or alias.name)
            kept = [
                alias for alias in node.names if module == "dataclasses" and alias.name in DATACLASS_FUNCTIONS
            ]
            return ast.ImportFrom(LIBRARY, kept, 0) if kept else None
        known = FUNCTION_STAND_INS.get(module)
        for alias in node.names:
            if module in NATIVE_MODULES and alias.name in NATIVE_MODULES[module]:
                continue
            if known is None or alias.name not in known:
                raise self.refuse(node, f"{module}.{alias.name}")
        if module in NATIVE_MODULES:
            return node
        names = [ast.alias((known or {})[alias.name], alias.asname or alias.name) for alias in node.names]
        return ast.ImportFrom(
            LIBRARY, [ast.alias(of.name, None if of.name == of.asname else of.asname) for of in names], 0
        )

    def _own_import(self, node: ast.ImportFrom, module: str) -> list[ast.stmt]:
        """Import each name from where it is defined; what only a type checker reads is nowhere."""
        out: list[ast.stmt] = []
        for alias in node.names:
            home, name = self.program.definition_of(module, alias.name)
            asname = alias.asname or alias.name
            out.append(ast.ImportFrom(home, [ast.alias(name, None if asname == name else asname)], 0))
        return out

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.stmt]:
        out: list[ast.stmt] = []
        for alias in node.names:
            name = alias.asname or alias.name
            if alias.name in self.program.trees:
                raise self.refuse(node, f"import {alias.name}; write from … import …")
            if alias.name not in MODULE_STAND_INS and alias.name not in NATIVE_MODULES:
                raise self.refuse(node, f"import of {alias.name}")
            self.modules[name] = alias.name
            if alias.name in NATIVE_MODULES:
                out.append(ast.Import([alias]))
        return out

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None or "TypeAlias" in ast.unparse(node.annotation):
            return None
        return self.visit_Assign(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        target = node.targets[0]
        if isinstance(target, ast.Name) and target.id in ("__all__", "__slots__", "__match_args__"):
            return None
        if self._is_type(node.value):
            return None
        return self.generic_visit(node)

    def _is_type(self, value: ast.expr) -> bool:
        """Whether an expression is one that only a type checker reads."""
        if isinstance(value, ast.Subscript):
            return self._is_type(value.value) or ast.unparse(value.value) in (
                "type",
                "list",
                "dict",
                "tuple",
                "set",
            )
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr):
            return self._is_type(value.left) or self._is_type(value.right)
        if isinstance(value, ast.Call):
            return isinstance(value.func, ast.Name) and value.func.id in self.erased & {
                "TypeVar",
                "NewType",
                "ParamSpec",
            }
        return isinstance(value, ast.Name) and value.id in self.erased - {"auto", "field"}

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            return self.statements(node.orelse)
        node.test = self.visit(node.test)
        node.body = self.body(node.body)
        node.orelse = self.statements(node.orelse)
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        node.cause = None  # nobody reads it there
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        replaced = _REPLACED.get((self.module, node.name))
        if replaced is not None:
            return ast.ImportFrom(LIBRARY, [ast.alias(replaced, node.name)], 0)
        if decorator_named(node, "overload") is not None:
            return None
        if node.name.startswith("__") and node.name.endswith("__") and node.name not in DUNDER_METHODS:
            raise self.refuse(node, f"own {node.name}")
        self._arguments(node, node.args)
        decorators = []
        for item in node.decorator_list:
            target = item.func if isinstance(item, ast.Call) else item
            if isinstance(target, ast.Name) and target.id in ERASED_DECORATORS:
                continue
            if isinstance(target, ast.Name) and target.id in self.erased:
                raise self.refuse(item, f"decorator {target.id}")
            is_setter = isinstance(target, ast.Attribute) and target.attr in ("setter", "deleter")
            decorators.append(item if is_setter else self.visit(item))
        node.decorator_list = decorators
        node.returns = None
        node.body = self.body(node.body)
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self._arguments(node, node.args)
        node.body = self.visit(node.body)
        return node

    def _arguments(self, node: ast.AST, args: ast.arguments) -> None:
        if args.kwarg is not None:
            args.kwarg.annotation = None
            self._check_unordered(node, args.kwarg.arg)
        args.args, args.posonlyargs = args.posonlyargs + args.args, []
        for arg in (*args.args, *args.kwonlyargs, *filter(None, (args.vararg,))):
            arg.annotation = None
        args.defaults = [self.visit(item) for item in args.defaults]
        args.kw_defaults = [item and self.visit(item) for item in args.kw_defaults]

    def _check_unordered(self, node: ast.AST, name: str) -> None:
        """Refuse what would see the order of a parameter with ``**``: there it is a plain dictionary."""
        parents = {child: parent for parent in ast.walk(node) for child in ast.iter_child_nodes(parent)}
        for use in ast.walk(node):
            if not isinstance(use, ast.Name) or use.id != name:
                continue
            parent = parents[use]
            is_looked_up = (
                (isinstance(parent, ast.Subscript) and parent.value is use)
                or (isinstance(parent, ast.Compare) and use in parent.comparators)
                or (isinstance(parent, ast.Attribute) and parent.attr == "get")
                or (isinstance(parent, ast.keyword) and parent.arg is None)
                # Whoever it is passed to takes a mapping, and has no order of keywords to rely on.
                or (isinstance(parent, ast.Call) and ast.unparse(parent.func) not in _ORDERED_TAKERS)
            )
            if not is_looked_up:
                raise self.refuse(use, f"order of the keywords in **{name}")

    def visit_Match(self, node: ast.Match) -> list[ast.stmt]:
        self.subjects += 1
        name = f"_subject{self.subjects}"

        def refuse(part: ast.AST, what: str) -> LoweringError:
            return self.refuse(part, what)

        def facts_of(name: str) -> ClassFacts | None:
            return self.program.class_facts(self.module, name)

        chain: list[ast.stmt] = []
        for case in reversed(node.cases):
            tests = patterns.tests_of(case.pattern, ast.Name(name, ast.Load()), facts_of, refuse)
            if case.guard is not None:
                tests.append(case.guard)
            for test in tests:
                for part in ast.walk(test):
                    ast.copy_location(part, case.pattern)
            body = self.body(case.body)
            if tests:
                test = tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)
                chain = [ast.If(self.visit(test), body, chain)]
            else:
                chain = body
        return [ast.Assign([ast.Name(name, ast.Store())], self.visit(node.subject)), *chain]

    # ---- classes --------------------------------------------------------------------------------------

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST | list[ast.stmt] | None:
        facts = self.program.classes[self.module, node.name]
        bases = base_names(node)
        if "TypedDict" in bases:
            return None
        if "IntEnum" in bases or "Flag" in bases:
            raise self.refuse(node, "IntEnum or Flag")
        made = decorator_named(node, "dataclass")
        unknown = [
            item
            for item in node.decorator_list
            if item is not made and ast.unparse(item) not in ERASED_DECORATORS
        ]
        if unknown:
            raise self.refuse(node, f"class decorator {ast.unparse(unknown[0])}")
        if node.keywords:
            raise self.refuse(node, f"class option {node.keywords[0].arg}")

        def refuse(part: ast.AST, what: str) -> LoweringError:
            return self.refuse(part, what)

        if facts.kind == "dataclass" and made is not None:
            base, methods = classes.dataclass_body(node, made, facts, self.visit, self.stand_in, refuse)
            kinds = self._class_variables(node)
            node.bases = self._bases(node) or [self.stand_in(base)]
            node.decorator_list = []
            node.body = [
                *methods,
                *kinds,
                *self.statements([of for of in node.body if not isinstance(of, ast.AnnAssign)]),
            ]
            return node
        spelt_out: tuple[type[ast.stmt], ...] = {
            "plain": (),
            "namedtuple": (ast.AnnAssign,),
        }.get(facts.kind, (ast.AnnAssign, ast.Assign))
        rest = self.statements([item for item in node.body if not isinstance(item, spelt_out)])
        if facts.kind == "namedtuple":
            return classes.named_tuple(
                node, facts, rest, self.visit, self.stand_in, self.program.replaces_tuples
            )
        if facts.kind == "enum":
            return classes.enumeration(node, facts, rest, self.visit, self.stand_in)
        if facts.kind == "strenum":
            return classes.text_enumeration(node, facts, rest, self.visit, refuse)
        node.bases = self._bases(node)
        node.decorator_list = []
        node.body = rest or [ast.Pass()]
        return node

    def _class_variables(self, node: ast.ClassDef) -> list[ast.stmt]:
        variables = [
            item
            for item in node.body
            if isinstance(item, ast.AnnAssign) and ast.unparse(item.annotation).startswith("ClassVar")
        ]
        return self.statements(variables)

    def _bases(self, node: ast.ClassDef) -> list[ast.expr]:
        out: list[ast.expr] = []
        for base in node.bases:
            root = base.value if isinstance(base, ast.Subscript) else base
            name = root.id if isinstance(root, ast.Name) else ast.unparse(root)
            if name in ERASED_BASES:
                continue
            if name == "Mapping":
                out.append(self.stand_in("MappingMethods"))
            elif name in self.erased or (
                name in dir(builtins) and not name.endswith(("Error", "Exception", "object"))
            ):
                raise self.refuse(base, f"subclass of {name}")
            else:
                out.append(self.visit(root))
        return out
