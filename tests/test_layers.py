"""Who may import whom, read off the source; and that the core does no I/O, seen at run time."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYODIDE_FEATURES = (3, 11)  # the oldest Python that runs us; the browser's is newer

# Standard library without I/O, clock or randomness. datetime has a clock: CLOCKS keeps it shut.
PURE_MODULES = {
    *{"__future__", "collections", "collections.abc", "dataclasses", "datetime", "enum", "functools"},
    *{"hashlib", "html", "itertools", "json", "math", "operator", "re", "typing"},
}
IMPURE_NAMES = {
    *{"open", "print", "input", "eval", "exec", "compile", "breakpoint", "__import__", "exit", "quit"},
    # These differ from one run to the next, or from one module to the next.
    *{"id", "hash", "globals", "locals", "vars"},
}
CLOCKS = {"now", "today", "utcnow", "fromtimestamp", "utcfromtimestamp", "astimezone"}

PURE = sorted((ROOT / "shared_state").rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=PYODIDE_FEATURES)


def imports_of(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Every module that a file imports, at the top or inside of anything."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: imports are absolute"
            yield node.module or "", node


def roots_of(path: Path) -> set[str]:
    return {module.partition(".")[0] for module, _ in imports_of(path)}


def files_of(*places: str) -> list[Path]:
    paths = [ROOT / place for place in places]
    return sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))


def test_there_is_something_to_look_at() -> None:
    assert len(PURE) >= 10


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_core_imports_nothing_that_touches_the_world(path: Path) -> None:
    for module, node in imports_of(path):
        own = module == "shared_state" or module.startswith("shared_state.")
        assert own or module in PURE_MODULES, f"{name_of(path)}:{node.lineno}: imports {module}"


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_core_calls_nothing_that_touches_the_world(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        where = f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            assert node.id not in IMPURE_NAMES, f"{where}: {node.id}"
        elif isinstance(node, ast.Attribute):
            assert node.attr not in CLOCKS, f"{where}: .{node.attr} reads a clock or a zone"
        elif isinstance(node, ast.Global | ast.Nonlocal):
            raise AssertionError(f"{where}: no state outside of values")


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_core_modules_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 500


# By package: which roots, or own modules, its files may not import. One reason each.
FORBIDDEN = {
    # The seams know nothing of the web that stands on them, nor of each other.
    "origin/bus": {
        "flask",
        "flask_sock",
        "gunicorn",
        "click",
        "origin.eventlog",
        "origin.edge",
        "origin.app",
    },
    "origin/eventlog": {
        "flask",
        "flask_sock",
        "gunicorn",
        "click",
        "origin.bus",
        "origin.edge",
        "origin.app",
    },
    # A feed turns bytes that it is handed into events: no network, no files, no clock, no chance.
    "origin/feeds": {
        *{"flask", "flask_sock", "click", "redis", "confluent_kafka", "sqlite3", "httpx"},
        *{"os", "pathlib", "socket", "selectors", "ssl", "subprocess", "threading", "asyncio", "tempfile"},
        *{"time", "random", "secrets", "uuid", "logging", "http", "urllib.request", "requests"},
        *{"origin.bus", "origin.eventlog", "origin.edge", "origin.app", "origin.fanout", "origin.ingest"},
    },
    # One stream logic for every transport: WSGI, WebSocket and the worker's own loop frame it.
    "origin/edge/resume.py": {"flask", "flask_sock", "gunicorn", "redis", "socket", "selectors", "time"},
    "origin/edge/sse.py": {"flask", "flask_sock", "gunicorn", "redis", "socket", "selectors", "time"},
}


@pytest.mark.parametrize("place", sorted(FORBIDDEN))
def test_layers_of_the_origin(place: str) -> None:
    for path in files_of(place):
        for module, node in imports_of(path):
            banned = [name for name in FORBIDDEN[place] if module == name or module.startswith(name + ".")]
            assert not banned, f"{name_of(path)}:{node.lineno}: {place} may not import {module}"


@pytest.mark.parametrize("path", files_of("origin", "widget"), ids=name_of)
def test_nothing_that_ships_imports_a_test(path: Path) -> None:
    assert not roots_of(path) & {"tests", "e2e", "bench", "pytest", "hypothesis"}


@pytest.mark.parametrize("path", files_of("origin/feeds"), ids=name_of)
def test_feeds_open_nothing(path: Path) -> None:
    names = {node.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name)}
    assert not names & {"open", "print", "input", "eval", "exec"}


FOLD_UNDER_WATCH = """
import json, sys
from pathlib import Path

# What the core may import is imported first; from then on nothing but the core itself.
import __future__, collections.abc, dataclasses, datetime, enum, functools, hashlib, html, itertools, math
import operator, re, typing
import unicodedata  # the compiler's: it reads the names of characters in the source

transcripts = [json.loads(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:]]

class OnlyTheCore:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "shared_state":
            raise ImportError(f"the core imported {name}")

sys.meta_path.insert(0, OnlyTheCore())
import shared_state
import shared_state.view
from shared_state import DeltaId, Event, Match, Replica, apply, decode_delta, delay_ms, encode_delta

seen = []
HARMLESS = {"object.__getattr__", "object.__setattr__", "sys._getframe"}  # reflection, by dataclasses
watching = False

def watch(event, arguments):
    if watching and event not in HARMLESS:
        seen.append(event)

sys.addaudithook(watch)
watching = True
for transcript in transcripts:
    origin = Replica.begin(transcript["match_id"], transcript["epoch"])
    viewer = Replica.begin(transcript["match_id"], transcript["epoch"])
    for event, accepted_ms in zip(transcript["events"], transcript["accepted_ms"]):
        delta = origin.assign(Event.from_json(event), accepted_ms)
        if delta is not None:
            viewer.receive(decode_delta(transcript["match_id"], delta.id, encode_delta(delta)))
            viewer = Replica.restore(viewer.snapshot())
            shared_state.view.scoreboard(viewer.match, viewer.position)
            shared_state.view.page_title(viewer.match)
    try:
        Replica.restore(b"{")
    except shared_state.WireError:
        pass
    delay_ms(3, 0.5, 7_000)
    matches = viewer.hash() == transcript["hash"]
    watching = False
    assert matches, transcript["name"]
    watching = True
watching = False
open(sys.executable, "rb").close()  # the hook does see what there is to see
watching = True
open(sys.executable, "rb").close()
watching = False
assert seen == ["open"], seen
"""


def test_folding_opens_connects_and_starts_nothing() -> None:
    """An audit hook sees every open, socket, process, import and compile of the interpreter."""
    transcripts = sorted(str(path) for path in (ROOT / "tests" / "golden").glob("*.json"))
    child = subprocess.run(
        [sys.executable, "-c", FOLD_UNDER_WATCH, *transcripts],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stderr
