"""Rules for expressions: displays, comprehensions, formats, names and attributes."""

from __future__ import annotations

import ast
from typing import Final

from widget.build.micropython import formats
from widget.build.micropython.base import Rules
from widget.build.micropython.vocabulary import BUILTIN_STAND_INS, BUILTINS, METHOD_STAND_INS

__all__ = ["ExpressionRules"]

_GENERIC: Final = frozenset({"dict", "frozenset", "list", "set", "tuple", "type"})


class ExpressionRules(Rules):
    """See the top of this module."""

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
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            sides = [node.left, node.comparators[0]]
            if any(self._may_be_mapping(side) for side in sides):
                same = self.call("equal", *map(self.visit, sides))
                return same if isinstance(node.ops[0], ast.Eq) else ast.UnaryOp(ast.Not(), same)
        keeps = [isinstance(op, ast.Is | ast.IsNot | ast.Eq | ast.NotEq) for op in node.ops]
        node.left = self.visit(node.left)
        node.comparators = [
            item if kept and self.class_of(item) else self.visit(item)
            for kept, item in zip(keeps, node.comparators, strict=True)
        ]
        return node

    def _may_be_mapping(self, node: ast.expr) -> bool:
        """Whether ``==`` would ask MicroPython for the order of a dictionary, too."""
        if isinstance(node, ast.Dict | ast.DictComp):
            return True
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        return name in self.program.mappings

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
        chain = self.module_chain(node)
        if chain is not None:
            return chain
        name = node.attr
        if not isinstance(node.ctx, ast.Load):
            node.value = self.visit(node.value)
            return node
        if self.class_of(node.value) in ("enum", "strenum"):
            return node
        if self._is_member(node.value) and name in ("value", "name"):
            member = node.value.attr  # type: ignore[attr-defined]
            facts = self.program.class_facts(self.module, node.value.value.id)  # type: ignore[attr-defined]
            known = {} if facts is None else facts.members
            if member not in known:
                raise self.refuse(node, f"member {member}")
            return ast.Constant(member) if name == "name" else self.visit(known[member])
        if name == "value" and self.program.has_strenum:
            return self.call("value_of", self.visit(node.value))
        if name in METHOD_STAND_INS and not self.is_library_object(node.value):
            method = self.stand_in("method_" + name)
            if isinstance(node.value, ast.Name) and node.value.id in ("str", "bytes", "list"):
                return method
            return ast.Call(self.stand_in("partial"), [method, self.visit(node.value)], [])
        if not self.is_library_object(node.value):
            self.check_attribute(node, name)
        node.value = self.visit_class_name(node.value)
        return node

    def _is_member(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and self.class_of(node.value) == "strenum"
