"""What JavaScript's one call can reach; the rest is left out of the image."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

__all__ = ["ReachError", "reached"]


class ReachError(Exception):
    """A name is imported that only a type checker reads."""


def reached(trees: Mapping[str, ast.Module], root: tuple[str, str]) -> dict[str, ast.Module]:
    """The modules with the statements that ``root`` needs; modules of which nothing is needed are left out.

    Args:
        trees: by module's name, lowered; their imports name the module that defines a name.
        root: module and name.

    Raises:
        ReachError: an imported name is defined nowhere.
    """
    modules = {name: _Module(tree) for name, tree in trees.items()}
    kept: dict[str, set[str]] = {}
    pending = [root]

    def want(module: str, name: str) -> None:
        if module in modules:
            if name not in modules[module].definitions and name not in modules[module].imports:
                raise ReachError(f"{module} has no {name} at run time")
            pending.append((module, name))

    while pending:
        module, name = pending.pop()
        if module not in kept:
            kept[module] = set()
            for statement in modules[module].effects:
                pending += [(module, used) for used in _uses(statement)]
                for home, imported in _imports(statement):
                    want(home, imported)
        if name in kept[module]:
            continue
        kept[module].add(name)
        source = modules[module].imports.get(name)
        if source is not None:
            want(*source)
        for statement in modules[module].definitions.get(name, ()):
            pending += [(module, used) for used in _uses(statement)]
            for home, imported in _imports(statement):
                want(home, imported)
    return {module: modules[module].only(names) for module, names in kept.items()}


class _Module:
    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.imports: dict[str, tuple[str, str]] = {}
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.effects: list[ast.stmt] = []
        for statement in tree.body:
            if isinstance(statement, ast.ImportFrom):
                for alias in statement.names:
                    self.imports[alias.asname or alias.name] = (statement.module or "", alias.name)
            elif isinstance(statement, ast.Import):
                for alias in statement.names:
                    self.imports[alias.asname or alias.name] = ("", alias.name)
            else:
                names = _bound_alone(statement)
                for name in names:
                    self.definitions.setdefault(name, []).append(statement)
                if not names:
                    self.effects.append(statement)

    def only(self, names: set[str]) -> ast.Module:
        body: list[ast.stmt] = []
        for statement in self.tree.body:
            if isinstance(statement, ast.ImportFrom | ast.Import):
                wanted = [alias for alias in statement.names if (alias.asname or alias.name) in names]
                if wanted and isinstance(statement, ast.ImportFrom):
                    body.append(ast.ImportFrom(statement.module, wanted, 0))
                elif wanted:
                    body.append(ast.Import(wanted))
            elif statement in self.effects or names & _bound_alone(statement):
                body.append(statement)
        return ast.Module(body, [])


def _bound_alone(statement: ast.stmt) -> set[str]:
    """The names of a statement that does nothing but bind them; empty where it may do more.

    ``try`` counts as one: in these modules it guards imports.
    """
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Assign):
        targets = [target for of in statement.targets for target in ast.walk(of)]
        if all(isinstance(target, ast.Name | ast.Tuple | ast.expr_context) for target in targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        return {statement.target.id}
    if isinstance(statement, ast.Try):
        imports = [
            alias for node in ast.walk(statement) if isinstance(node, ast.Import) for alias in node.names
        ]
        return {alias.asname or alias.name for alias in imports}
    return set()


def _uses(statement: ast.stmt) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield node.id


def _imports(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    for node in ast.walk(statement):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.module or "", alias.name
