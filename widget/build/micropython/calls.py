"""Rules for calls: of functions that are spelt in another way, and of methods that have a stand-in."""

from __future__ import annotations

import ast
from typing import Final

from widget.build.micropython import formats
from widget.build.micropython import regular_expressions as regular
from widget.build.micropython.base import Rules
from widget.build.micropython.vocabulary import BUILTIN_STAND_INS, METHOD_STAND_INS, METHODS

__all__ = ["CallRules"]

# Without an argument these look for white space, of which MicroPython knows only ASCII's.
_BLANK_METHODS: Final = frozenset({"split", "strip", "lstrip", "rstrip"})
_CODECS: Final = frozenset({"utf-8", "ascii", "strict", "backslashreplace"})
# Methods that take keywords there too.
_WITH_KEYWORDS: Final = frozenset({"format", "from_bytes", "isoformat", "update"})
_ABSTRACT: Final = frozenset({"Mapping", "MutableMapping", "Sequence"})


class CallRules(Rules):
    """See the top of this module."""

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
        if self.root_of(func) in self.modules:
            if self.modules[self.root_of(func)] == "re" and node.args:
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
        is_library = self.is_library_object(owner)
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
            self.check_attribute(func, name)
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
