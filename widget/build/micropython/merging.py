"""All lowered modules as one: MicroPython spends a tenth of the image, and most of its start, on modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter

__all__ = ["merged"]


def merged(trees: Mapping[str, ast.Module], root: tuple[str, str]) -> ast.Module:
    """One module with everything of the modules, each after those that it imports.

    Args:
        trees: by module's name, lowered; their imports name the module that defines a name.
        root: module and name that keeps its name.
    """
    order = TopologicalSorter(
        {name: sorted(set(_imported_at_once(tree)) & trees.keys()) for name, tree in trees.items()}
    )
    modules = list(order.static_order())
    # By module, the name that each of its names has in the whole.
    final: dict[str, dict[str, str]] = {module: {} for module in modules}
    natives: dict[str, ast.stmt] = {}
    for module in modules:
        for statement in trees[module].body:
            if isinstance(statement, ast.Import | ast.ImportFrom) and not _is_own(statement, trees):
                natives[ast.unparse(statement)] = statement
                # Every module has these by the same name, so none is given another.
                final[module] |= {name: name for name in _bound(statement)}
    taken = {root[1]} | {name for statement in natives.values() for name in _bound(statement)}
    for module in modules:
        for name in _defined(trees[module]):
            if name not in final[module]:
                final[module][name] = name if (module, name) == root else _free(name, taken)
    body: list[ast.stmt] = []
    for module in modules:
        names = dict(final[module])
        for statement in trees[module].body:
            if isinstance(statement, ast.ImportFrom) and _is_own(statement, trees):
                for alias in statement.names:
                    names[alias.asname or alias.name] = final[statement.module or ""][alias.name]
        renaming = _Renaming(names, final)
        own = [item for item in trees[module].body if not isinstance(item, ast.Import | ast.ImportFrom)]
        body += [renaming.visit(statement) for statement in own]
    return ast.fix_missing_locations(ast.Module([*natives.values(), *body], []))


def _is_own(statement: ast.stmt, trees: Mapping[str, ast.Module]) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module in trees


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free


def _imported_at_once(tree: ast.Module) -> Iterator[str]:
    """Modules that have to come before this one; a late import may be of any."""
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom):
            yield statement.module or ""


def _defined(tree: ast.Module) -> Iterator[str]:
    """What a module binds at its top, imports from other modules left out."""
    for statement in tree.body:
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            yield from _bound(statement)


def _bound(node: ast.AST) -> Iterator[str]:
    """Names that a node binds in the scope that it stands in."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        # Their own variables are theirs; what `:=` binds in them is the scope's.
        for inner in ast.walk(node):
            if isinstance(inner, ast.NamedExpr):
                yield from _bound(inner.target)
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
        yield node.id
    elif isinstance(node, ast.ExceptHandler) and node.name is not None:
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


class _Renaming(ast.NodeTransformer):
    """Gives the names at a module's top those that they have in the whole, where no scope hides them."""

    def __init__(self, names: Mapping[str, str], final: Mapping[str, Mapping[str, str]]) -> None:
        self.names = names
        self.final = final
        self.scopes: list[frozenset[str]] = []

    def _renamed(self, name: str) -> str:
        return name if any(name in scope for scope in self.scopes) else self.names.get(name, name)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._renamed(node.id)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = [self.visit(item) for item in node.decorator_list]
        node.name = self._renamed(node.name)
        self._enter(node, node.body)
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self._enter(node, [node.body])
        return node

    def _enter(self, node: ast.FunctionDef | ast.Lambda, body: list[ast.stmt] | list[ast.expr]) -> None:
        args = node.args
        args.defaults = [self.visit(item) for item in args.defaults]
        args.kw_defaults = [item and self.visit(item) for item in args.kw_defaults]
        every = (*args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg)))
        outer = {name for statement in body for name in _declared_outer(statement)}
        bound = {name for statement in body for name in _bound(statement)} - outer
        self._within({arg.arg for arg in every} | bound, node)

    def _within(self, scope: set[str], node: ast.FunctionDef | ast.Lambda) -> None:
        self.scopes.append(frozenset(scope))
        if isinstance(node, ast.Lambda):
            node.body = self.visit(node.body)
        else:
            body: list[ast.stmt] = []
            for statement in node.body:
                done = self.visit(statement)
                body += done if isinstance(done, list) else [done]
            node.body = body
        self.scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.bases = [self.visit(base) for base in node.bases]
        node.name = self._renamed(node.name)
        own = frozenset(name for statement in node.body for name in _bound(statement))
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef):
                # Methods see past the class: its names are reached by a dot.
                name = statement.name
                self.visit(statement)
                statement.name = name
            else:
                self.scopes.append(own)
                self.visit(statement)
                self.scopes.pop()
        return node

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> ast.AST:
        scope = frozenset(name for part in node.generators for name in _bound(part.target))
        self.scopes.append(scope)
        self.generic_visit(node)
        self.scopes.pop()
        return node

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        return self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        return self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        return self._comprehension(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:
        """A late import of a module that is here already."""
        names = self.final.get(node.module or "")
        if names is None:
            return node
        out: list[ast.stmt] = []
        for alias in node.names:
            name, own = names[alias.name], alias.asname or alias.name
            if own != name:
                out.append(ast.Assign([ast.Name(own, ast.Store())], ast.Name(name, ast.Load())))
        return out or [ast.Pass()]


def _declared_outer(statement: ast.AST) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Global | ast.Nonlocal):
            yield from node.names
