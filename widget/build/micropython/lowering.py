"""Rewrite modules in the Python that MicroPython runs as CPython does.

Nothing here knows football. Each rule removes what only a type checker reads, or spells one construct of
Python 3.11 with others. What no rule covers is refused, so that a new construct is an error of the build and
never a wrong score in somebody's browser.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Mapping, Sequence
from typing import Final

from widget.build.micropython import classes, formats, patterns
from widget.build.micropython import regular_expressions as regular
from widget.build.micropython.program import LoweringError, Program, base_names, decorator_named
from widget.build.micropython.reach import reached
from widget.build.micropython.vocabulary import (
    BUILTIN_STAND_INS,
    BUILTINS,
    DATACLASS_FUNCTIONS,
    DUNDER_ATTRIBUTES,
    DUNDER_METHODS,
    ERASED_BASES,
    ERASED_DECORATORS,
    ERASED_MODULES,
    FUNCTION_STAND_INS,
    LIBRARY,
    MEMBERS,
    METHOD_STAND_INS,
    METHODS,
    MODULE_STAND_INS,
    NATIVE_MODULES,
)

__all__ = ["lowered_modules"]

_REFUSED: Final[Mapping[type[ast.AST], str]] = {
    ast.AsyncFunctionDef: "async def",
    ast.AsyncFor: "async for",
    ast.AsyncWith: "async with",
    ast.Await: "await",
    ast.TryStar: "except*",
    ast.MatMult: "operator @",
}
# Without an argument these look for white space, of which MicroPython knows only ASCII's.
_BLANK_METHODS: Final = frozenset({"split", "strip", "lstrip", "rstrip"})
# Functions of shared_state that the library answers for in another way; see there.
_REPLACED: Final[Mapping[tuple[str, str], str]] = {
    ("shared_state.jsontext", "_check_nesting"): "check_nesting"
}
_CODECS: Final = frozenset({"utf-8", "ascii", "strict", "backslashreplace"})
# Builtins that would pass the order of a dictionary on.
_ORDERED_TAKERS: Final = frozenset(
    {"dict", "enumerate", "filter", "iter", "list", "map", "next", "tuple", "zip"}
)
# Methods that take keywords there too.
_WITH_KEYWORDS: Final = frozenset({"format", "from_bytes", "isoformat", "update"})
_GENERIC: Final = frozenset({"dict", "frozenset", "list", "set", "tuple", "type"})
_ABSTRACT: Final = frozenset({"Mapping", "MutableMapping", "Sequence"})


def lowered_modules(sources: Mapping[str, str], library: str, root: tuple[str, str]) -> dict[str, str]:
    """The modules' sources for MicroPython, by module, with what ``root`` does not reach left out.

    Args:
        sources: by path below the repository.
        library: the source of the stand-ins, which is not lowered.
        root: module and name that JavaScript calls.

    Raises:
        LoweringError: a construct that has no rule; it names file, line and construct.
    """
    program = Program.read(sources)
    trees = {module: _Lowering(program, module).lowered() for module in program.trees}
    for module, tree in trees.items():
        _check_names(program.paths[module], tree)
    trees[LIBRARY] = ast.parse(library)
    kept = reached(trees, root)
    return {module: ast.unparse(ast.fix_missing_locations(tree)) + "\n" for module, tree in kept.items()}


class _Lowering(ast.NodeTransformer):
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

    def lowered(self) -> ast.Module:
        tree = self.program.trees[self.module]
        bound = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        bound |= {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        for node in ast.walk(tree):
            if type(node) in _REFUSED:
                raise self.refuse(node, _REFUSED[type(node)])
        tree.body = self.body(tree.body)
        clash = bound & {name for name in self.needed if name not in BUILTIN_STAND_INS}
        if clash:
            raise self.refuse(tree, f"own name for {', '.join(sorted(clash))}, which a stand-in has")
        if self.needed:
            names = [ast.alias(name) for name in sorted(self.needed)]
            tree.body.insert(0, ast.ImportFrom(LIBRARY, names, 0))
        # Read again, so that what was made has its places too.
        return ast.parse(ast.unparse(ast.fix_missing_locations(tree)))

    def refuse(self, node: ast.AST, what: str) -> LoweringError:
        return LoweringError(self.path, node, what)

    def stand_in(self, name: str) -> ast.expr:
        self.needed.add(name)
        return ast.Name(name, ast.Load())

    def call(self, name: str, *args: ast.expr) -> ast.Call:
        return ast.Call(self.stand_in(name), list(args), [])

    def class_of(self, node: ast.AST) -> str:
        """The kind of class that a name stands for; empty for none."""
        if not isinstance(node, ast.Name):
            return ""
        module, name = self.program.definition_of(self.module, node.id)
        facts = self.program.classes.get(name) if name in self.program.exports[module] else None
        return "" if facts is None else facts.kind

    # ---- imports, annotations, statements -------------------------------------------------------------

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt] | None:
        module = node.module or ""
        if node.level or any(alias.name == "*" for alias in node.names):
            raise self.refuse(node, "relative or starred import")
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
            if f"{module}.{alias.name}" in self.program.trees:
                out.append(ast.ImportFrom(module, [alias], 0))
                continue
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

    def body(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        return self.statements(statements) or [ast.Pass()]

    def statements(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
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

    def visit_Match(self, node: ast.Match) -> list[ast.stmt]:
        self.subjects += 1
        name = f"_subject{self.subjects}"

        def refuse(part: ast.AST, what: str) -> LoweringError:
            return self.refuse(part, what)

        chain: list[ast.stmt] = []
        for case in reversed(node.cases):
            tests = patterns.tests_of(case.pattern, ast.Name(name, ast.Load()), self.program.classes, refuse)
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
        facts = self.program.classes[node.name]
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

    # ---- expressions ----------------------------------------------------------------------------------

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, complex):
            raise self.refuse(node, "complex number")
        if isinstance(node.value, str) and any(0xD800 <= ord(sign) < 0xE000 for sign in node.value):
            raise self.refuse(node, "surrogate in the source")
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return formats.formatted_text(
            node, self.visit, self.stand_in, lambda what: self.refuse(node, what), self.floats
        )

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            pattern = node.left.value
            if isinstance(pattern, str) and not formats.is_known_pattern(pattern):
                raise self.refuse(node, f"pattern {pattern!r} before %")
        return self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        groups: list[ast.expr] = []
        pairs: list[ast.expr] = []
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                pairs.append(ast.Tuple([self.visit(key), self.visit(value)], ast.Load()))
                continue
            if pairs:
                groups.append(ast.Tuple(pairs, ast.Load()))
                pairs = []
            groups.append(self.visit(value))
        if pairs:
            groups.append(ast.Tuple(pairs, ast.Load()))
        if not groups:
            return self.call("dict")
        if len(groups) == 1 and node.keys[0] is not None:
            return self.call("dict", groups[0])
        return self.call("merged_dict", *groups)

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        pair = ast.Tuple([node.key, node.value], ast.Load())
        return self.call("dict", self.visit(ast.GeneratorExp(pair, node.generators)))

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        if node.is_async:
            raise self.refuse(node.iter, "async for")
        return self.generic_visit(node)

    def visit_List(self, node: ast.List) -> ast.AST:
        return self._display(node, "list")

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        return self._display(node, "tuple")

    def visit_Set(self, node: ast.Set) -> ast.AST:
        if not any(isinstance(item, ast.Starred) for item in node.elts):
            return self.generic_visit(node)
        return ast.Call(
            ast.Name("set", ast.Load()), [self._display(ast.List(node.elts, ast.Load()), "list")], []
        )

    def _display(self, node: ast.List | ast.Tuple, kind: str) -> ast.expr:
        """A display with stars as a sum of lists or tuples."""
        if not isinstance(node.ctx, ast.Load) or not any(isinstance(item, ast.Starred) for item in node.elts):
            self.generic_visit(node)
            return node
        parts: list[ast.expr] = []
        plain: list[ast.expr] = []
        for item in [*node.elts, None]:
            if item is None or isinstance(item, ast.Starred):
                if plain:
                    parts.append(type(node)(plain, ast.Load()))
                    plain = []
                if item is not None:
                    parts.append(ast.Call(ast.Name(kind, ast.Load()), [self.visit(item.value)], []))
            else:
                plain.append(self.visit(item))
        total = parts[0]
        for part in parts[1:]:
            total = ast.BinOp(total, ast.Add(), part)
        return total

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and (
            node.value.id in _GENERIC or self.class_of(node.value) in ("plain", "dataclass", "namedtuple")
        ):
            return (
                node.value if node.value.id != "dict" else self.stand_in("dict")
            )  # of types that nobody checks there
        if self.class_of(node.value) == "enum" and isinstance(node.value, ast.Name):
            return ast.Call(ast.Name("getattr", ast.Load()), [node.value, self.visit(node.slice)], [])
        part = node.slice
        if isinstance(part, ast.Slice) and part.step is not None and ast.unparse(part.step) != "1":
            if not isinstance(node.ctx, ast.Load):
                raise self.refuse(node, "slice with a step that is assigned to")
            ends = [
                self.visit(end) if end is not None else ast.Constant(None) for end in (part.lower, part.upper)
            ]
            return self.call("stepped", self.visit(node.value), *ends, self.visit(part.step))
        return self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        keeps = [isinstance(op, ast.Is | ast.IsNot | ast.Eq | ast.NotEq) for op in node.ops]
        node.left = self.visit(node.left)
        node.comparators = [
            item if kept and self.class_of(item) else self.visit(item)
            for kept, item in zip(keeps, node.comparators, strict=True)
        ]
        return node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if not isinstance(node.ctx, ast.Load):
            if node.id in BUILTIN_STAND_INS or node.id in BUILTINS:
                raise self.refuse(node, f"own name {node.id}")
            return node
        if node.id in BUILTIN_STAND_INS:
            return self.stand_in(node.id)
        if node.id in self.erased:
            raise self.refuse(node, f"{node.id} at run time")
        if self.class_of(node) in ("enum", "strenum"):
            return ast.Attribute(node, "all_members", ast.Load())
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        chain = self._module_chain(node)
        if chain is not None:
            return chain
        name = node.attr
        if not isinstance(node.ctx, ast.Load):
            node.value = self.visit(node.value)
            return node
        if self.class_of(node.value) in ("enum", "strenum"):
            return node
        if self._is_member(node.value) and name in ("value", "name"):
            facts = self.program.classes[node.value.value.id]  # type: ignore[attr-defined]
            member = node.value.attr  # type: ignore[attr-defined]
            return ast.Constant(member) if name == "name" else self.visit(facts.members[member])
        if name == "value" and self.program.has_strenum:
            return self.call("value_of", self.visit(node.value))
        if name in METHOD_STAND_INS and not self._is_library_object(node.value):
            method = self.stand_in("method_" + name)
            if isinstance(node.value, ast.Name) and node.value.id in ("str", "bytes", "list"):
                return method
            return ast.Call(self.stand_in("partial"), [method, self.visit(node.value)], [])
        if not self._is_library_object(node.value):
            self._check_attribute(node, name)
        node.value = self.visit_class_name(node.value)
        return node

    def visit_class_name(self, node: ast.expr) -> ast.expr:
        """An expression before a dot: the name of a class stays."""
        visited: ast.expr = node if self.class_of(node) else self.visit(node)
        return visited

    def _is_member(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and self.class_of(node.value) == "strenum"

    def _is_library_object(self, node: ast.expr) -> bool:
        """Whether a value was just made of a class of the library."""
        return isinstance(node, ast.Call) and self._root(node.func) in self.modules

    def _root(self, node: ast.expr) -> str:
        while isinstance(node, ast.Attribute):
            node = node.value
        return node.id if isinstance(node, ast.Name) else ""

    def _module_chain(self, node: ast.Attribute) -> ast.AST | None:
        root = self._root(node)
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

    def _check_attribute(self, node: ast.AST, name: str) -> None:
        if name.startswith("__"):
            if name not in DUNDER_ATTRIBUTES:
                raise self.refuse(node, f"attribute {name}")
        elif name not in self.program.attributes and name not in MEMBERS and name not in METHODS:
            raise self.refuse(node, f"attribute or method {name}")

    # ---- calls ----------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> ast.AST:
        func = node.func
        if isinstance(func, ast.Attribute):
            return self._method_call(node, func)
        if isinstance(func, ast.Name):
            special = self._function_call(node, func.id)
            if special is not None:
                return special
            if self.class_of(func) in ("enum", "strenum"):
                return ast.Call(self.stand_in("by_value"), [func, *map(self.visit, node.args)], [])
        return self._plain_call(node)

    def _plain_call(self, node: ast.Call) -> ast.Call:
        node.func = self.visit_class_name(node.func)
        args: list[ast.expr] = []
        for arg in node.args:
            if isinstance(arg, ast.Name) and arg.id == "float":
                args.append(self.stand_in("to_float"))
            elif self.class_of(arg) not in ("", "enum", "strenum"):
                args.append(arg)
            else:
                args.append(self.visit(arg))
        node.args = args
        for keyword in node.keywords:
            if isinstance(keyword.value, ast.Name) and keyword.value.id == "float":
                keyword.value = self.stand_in("to_float")
            else:
                keyword.value = self.visit(keyword.value)
        return node

    def _function_call(self, node: ast.Call, name: str) -> ast.AST | None:
        """A call that is spelt in another way; None for all others."""
        keywords = {keyword.arg for keyword in node.keywords}
        if name == "isinstance":
            return ast.Call(node.func, [self.visit(node.args[0]), self._kinds(node.args[1])], [])
        if name == "issubclass":
            return ast.Call(node.func, [self.visit_class_name(node.args[0]), self._kinds(node.args[1])], [])
        if name == "cast" and name in self.erased:
            visited: ast.AST = self.visit(node.args[1])
            return visited
        if name == "zip" and keywords:
            return self.call("zip_strict", *map(self.visit, node.args))
        if name == "dict" and keywords:
            pairs: list[ast.expr] = [
                ast.Tuple([ast.Constant(item.arg), self.visit(item.value)], ast.Load())
                for item in node.keywords
                if item.arg is not None
            ]
            parts = [
                *map(self.visit, node.args),
                *(self.visit(of.value) for of in node.keywords if of.arg is None),
            ]
            return self.call("merged_dict", *parts, ast.Tuple(pairs, ast.Load()))
        if name == "format":
            if len(node.args) != 2 or not isinstance(node.args[1], ast.Constant):
                raise self.refuse(node, "format() of what cannot be read now")
            spec = str(node.args[1].value)
            value = self.visit(node.args[0])
            return formats.formatted_value(value, spec, self.stand_in, lambda what: self.refuse(node, what))
        if name == "float":
            return self.call("to_float", *map(self.visit, node.args))
        if name == "str" and (len(node.args) > 1 or keywords):
            raise self.refuse(node, "str() of bytes; write .decode()")
        if name == "str" and node.args and self.floats:
            return self.call("text_of", self.visit(node.args[0]))
        if name == "round" and len(node.args) + len(node.keywords) > 1:
            raise self.refuse(node, "round() to digits; format it, or count in integers")
        if name in ("type", "super") and len(node.args) > 1:
            raise self.refuse(node, f"{name}() of {len(node.args)} arguments")
        return None

    def _kinds(self, node: ast.expr) -> ast.expr:
        """The second argument of ``isinstance``; there, a bool is no int."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            left, right = self._kinds(node.left), self._kinds(node.right)
            return ast.Tuple([*_members_of(left), *_members_of(right)], ast.Load())
        if isinstance(node, ast.Tuple):
            parts = [kind for item in node.elts for kind in _members_of(self._kinds(item))]
            return ast.Tuple(parts, ast.Load())
        if isinstance(node, ast.Constant) and node.value is None:
            return ast.Call(ast.Name("type", ast.Load()), [node], [])
        if isinstance(node, ast.Name):
            if node.id == "int":
                return ast.Tuple([node, ast.Name("bool", ast.Load())], ast.Load())
            if node.id in _ABSTRACT:
                return self.stand_in("Sequence" if node.id == "Sequence" else "Mapping")
            if node.id in self.erased:
                raise self.refuse(node, f"isinstance of {node.id}")
            if self.class_of(node) == "strenum":
                raise self.refuse(node, f"isinstance of the StrEnum {node.id}")
            if node.id in BUILTIN_STAND_INS:
                return self.stand_in(node.id)
            return node
        visited: ast.expr = self.visit(node)
        return visited

    def _method_call(self, node: ast.Call, func: ast.Attribute) -> ast.AST:
        name = func.attr
        if self._root(func) in self.modules:
            if self.modules[self._root(func)] == "re" and node.args:
                regular.check(node, self.refuse)
            return self._plain_arguments(ast.Call(self.visit(func), node.args, node.keywords))
        owner = func.value
        if name == "__setattr__" and ast.unparse(owner) == "object":
            return ast.Call(ast.Name("setattr", ast.Load()), [self.visit(arg) for arg in node.args], [])
        if name == "__new__" and len(node.args) == 1 and not node.keywords:
            maker = ast.Attribute(ast.Name("object", ast.Load()), "__new__", ast.Load())
            return ast.Call(maker, [self.visit_class_name(node.args[0])], [])
        if name in ("_replace", "_asdict"):
            return self._plain_arguments(
                ast.Call(self.stand_in("tuple" + name), [owner, *node.args], node.keywords)
            )
        if name == "_make":
            return ast.Call(
                self.visit_class_name(owner), [ast.Starred(self.visit(node.args[0]), ast.Load())], []
            )
        is_library = self._is_library_object(owner)
        if not is_library:
            self._check_arguments(node, name)
        if name in METHOD_STAND_INS and not is_library:
            method = self.stand_in("method_" + name)
            is_type = isinstance(owner, ast.Name) and owner.id in ("str", "bytes", "list", "dict")
            given = node.args if is_type and name != "maketrans" else [owner, *node.args]
            return self._plain_arguments(ast.Call(method, given, node.keywords))
        if (
            name in _BLANK_METHODS
            and not is_library
            and (not node.args or ast.unparse(node.args[0]) == "None")
        ):
            if len(node.args) > 1 or node.keywords:
                raise self.refuse(node, f"{name}() at white space with a limit")
            return self.call("method_" + name, self.visit(owner))
        is_super = isinstance(owner, ast.Call) and ast.unparse(owner.func) == "super"
        if not is_super and not is_library:
            self._check_attribute(func, name)
        is_native = name in METHODS - _WITH_KEYWORDS and name not in self.program.attributes
        if node.keywords and is_native and not is_library:
            raise self.refuse(node, f"keyword {node.keywords[0].arg} of {name}()")
        node.func = ast.Attribute(owner if is_super else self.visit_class_name(owner), name, ast.Load())
        return self._plain_arguments(node)

    def _check_arguments(self, node: ast.Call, name: str) -> None:
        """Refuse what a stand-in would refuse once it is reached."""
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        texts = [item.value if isinstance(item, ast.Constant) else None for item in given]
        if name in ("encode", "decode") and not set(texts) <= _CODECS:
            raise self.refuse(node, f"{name}() but for UTF-8")
        if name == "isoformat" and "seconds" not in texts:
            raise self.refuse(node, 'isoformat() but with timespec="seconds"')
        if name == "strftime" and not (
            texts and isinstance(texts[0], str) and formats.is_known_date(texts[0])
        ):
            raise self.refuse(node, "strftime() of other than numbers")
        if name == "splitlines" and given:
            raise self.refuse(node, "splitlines() that keeps the ends")

    def _plain_arguments(self, node: ast.Call) -> ast.Call:
        func = node.func
        node.func = ast.Name("_", ast.Load())
        node = self._plain_call(node)
        node.func = func
        return node


def _members_of(node: ast.expr) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node]


def _check_names(path: str, tree: ast.Module) -> None:
    """Refuse a name that nothing defines once the module is lowered."""
    source = ast.unparse(tree)
    table = symtable.symtable(source, path, "exec")
    known = {
        symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()
    }
    places = {node.id: node for node in reversed(list(ast.walk(tree))) if isinstance(node, ast.Name)}

    def walk(scope: symtable.SymbolTable) -> None:
        for symbol in scope.get_symbols():
            name = symbol.get_name()
            is_free = symbol.is_referenced() and (symbol.is_global() or scope is table)
            if (
                is_free
                and name not in known
                and name not in BUILTINS
                and name not in ("__name__", "__class__")
            ):
                raise LoweringError(path, places.get(name, tree), f"name {name}")
        for child in scope.get_children():
            walk(child)

    walk(table)
