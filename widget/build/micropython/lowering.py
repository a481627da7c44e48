"""Rewrite modules in the Python that MicroPython runs as CPython does.

Nothing here knows football. Each rule removes what only a type checker reads, or spells one construct of
Python 3.11 with others. What no rule covers is refused, so that a new construct is an error of the build and
never a wrong score in somebody's browser.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Mapping, Sequence
from typing import Final

from widget.build.micropython.calls import CallRules
from widget.build.micropython.expressions import ExpressionRules
from widget.build.micropython.merging import merged
from widget.build.micropython.program import LoweringError, Program
from widget.build.micropython.reach import reached
from widget.build.micropython.statements import StatementRules
from widget.build.micropython.vocabulary import BUILTIN_STAND_INS, BUILTINS, LIBRARY

__all__ = ["lowered_program"]

_REFUSED: Final[Mapping[type[ast.AST], str]] = {
    ast.AsyncFunctionDef: "async def",
    ast.AsyncFor: "async for",
    ast.AsyncWith: "async with",
    ast.Await: "await",
    ast.TryStar: "except*",
    ast.MatMult: "operator @",
}


def lowered_program(sources: Mapping[str, str], library: Sequence[str], root: tuple[str, str]) -> str:
    """The modules for MicroPython, as the source of one; what ``root`` does not reach is left out.

    Args:
        sources: by path below the repository.
        library: the sources of the stand-ins, which are not lowered, each after those that it imports.
        root: module and name that JavaScript calls.

    Raises:
        LoweringError: a construct that has no rule; it names file, line and construct.
        ReachError: a name is imported that only a type checker reads.
    """
    program = Program.read(sources)
    trees = {module: _Lowering(program, module).lowered() for module in program.trees}
    for module, tree in trees.items():
        _check_names(program.paths[module], tree)
    trees[LIBRARY] = _as_one(library)
    whole = merged(reached(trees, root), root)
    return ast.unparse(whole) + "\n"


class _Lowering(StatementRules, ExpressionRules, CallRules):
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


def _as_one(sources: Sequence[str]) -> ast.Module:
    """The library as one module: MicroPython spends more on a module than on what is in it."""
    body: list[ast.stmt] = []
    for source in sources:
        for statement in ast.parse(source).body:
            is_own = isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith(LIBRARY)
            if not is_own and not ast.unparse(statement).startswith("__all__ ="):
                body.append(statement)
    return ast.Module(body, [])


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
