"""What a module says it offers is what it offers: ``__all__`` is whole, and every name in it is there."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import shared_state

ROOT = Path(__file__).parent.parent
PACKAGES = ("shared_state", "origin", "widget")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def defined(tree: ast.Module) -> tuple[set[str], set[str]]:
    """The functions and classes of a module, and all names bound at its top.

    A decorated function may be registered (a route, a command) and not for import; it counts as bound.
    """
    made: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list:
            bound.add(node.name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.Assign):
            bound |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            bound.add(node.target.id)
    return made, bound | made


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_all_is_whole(path: Path) -> None:
    tree = tree_of(path)
    made, bound = defined(tree)
    names = exported(tree)
    public = {name for name in made if not name.startswith("_")}
    if names is None:
        assert not public, f"{name_of(path)} has no __all__ but defines {sorted(public)}"
        return
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith("_") and not name.startswith("__")]
    assert set(names) <= bound, f"not there: {sorted(set(names) - bound)}"
    assert public <= set(names), f"public, but not in __all__: {sorted(public - set(names))}"


@pytest.mark.parametrize("path", sorted((ROOT / "shared_state").glob("*.py")), ids=name_of)
def test_core_modules_take_from_each_other_only_what_is_offered(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("shared_state."):
            offered = importlib.import_module(node.module or "").__all__
            taken = {alias.name for alias in node.names}
            assert taken <= set(offered), f"{node.module}: {sorted(taken - set(offered))} is not in __all__"


@pytest.mark.parametrize("path", sorted((ROOT / "shared_state").glob("*.py")), ids=name_of)
def test_core_modules_have_what_they_offer(path: Path) -> None:
    module = importlib.import_module(module_name(path))
    assert all(hasattr(module, name) for name in module.__all__)


def test_public_surface_of_the_core() -> None:
    """Spelled out: to add a name here is to promise it."""
    assert shared_state.__all__ == [
        "PROTOCOL_VERSION",
        "Clock",
        "Delta",
        "DeltaId",
        "Event",
        "InvalidEvent",
        "Match",
        "Receipt",
        "Replica",
        "ResolvedEvent",
        "Score",
        "SharedStateError",
        "WireError",
        "apply",
        "decode_delta",
        "decode_snapshot",
        "delay_ms",
        "encode_delta",
        "encode_snapshot",
        "fold",
        "is_conflict",
        "match_hash",
        "resolve",
        "state_json",
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "shared_state").glob("*.py")), ids=name_of)
def test_examples_in_docstrings_are_true(path: Path) -> None:
    assert doctest.testmod(importlib.import_module(module_name(path))).failed == 0
