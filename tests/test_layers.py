"""Who may import whom, read off the source; and that the core does no I/O, seen at run time."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
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


# From the bottom up. A room imports from rooms of lower rows only, never from its own row's neighbours.
STOREYS = (
    {"shared_state"},
    {"origin.errors", "origin.logs", "widget"},
    {
        "origin.backends",
        "origin.bounded_cache",
        "origin.child_process",
        "origin.feeds",
        "origin.metrics",
        "origin.provenance",
        "origin.tracing",
    },
    {"origin.bus", "origin.eventlog"},
    {"origin.ladder"},
    {"origin.canary"},
    {"origin.fanout", "origin.ingest", "origin.feedworker"},
    {"origin.stream"},
    {"origin.capacity", "origin.config", "origin.doctor", "origin.notify"},
    {"origin.web"},
    {"origin.console", "origin.lab"},
    {"origin.commands"},
    {"origin.cli"},
    {"origin.__main__"},
)
STOREY_OF = {room: number for number, rooms in enumerate(STOREYS) for room in rooms}


def room_of(module: str) -> str:
    """``origin.stream.hub.hub`` is in the room ``origin.stream``."""
    depth = 2 if module.startswith("origin.") else 1
    return ".".join(module.split(".")[:depth])


def modules() -> dict[str, Path]:
    """All that ships, by dotted name."""
    paths = files_of("shared_state", "origin", "widget")
    return {
        name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in paths
    }


def own_imports(path: Path, known: Mapping[str, Path]) -> set[str]:
    """The modules of ours that a file imports; of a package, the file that is named where there is one."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return found & set(known)


def test_every_room_has_its_storey() -> None:
    rooms = {room_of(module) for module in modules()} - {"origin"}
    assert rooms == set(STOREY_OF)


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_run_downward(module: str) -> None:
    known = modules()
    for other in own_imports(known[module], known):
        mine, theirs = room_of(module), room_of(other)
        if mine != theirs and theirs != "origin":
            assert STOREY_OF[theirs] < STOREY_OF[mine], f"{module} imports {other}, which is not below it"


def test_no_imports_run_in_a_circle() -> None:
    known = modules()
    graph = {module: own_imports(path, known) - {module} for module, path in known.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(known)  # CycleError names the circle


# By place: which roots, or own modules, its files may not import. One reason each.
WEB = {"flask", "flask_sock", "click"}
SOCKETS = {"socket", "selectors", "select", "redis"}
FORBIDDEN = {
    # The seams know nothing of the web that stands on them, nor of each other.
    "origin/bus": {*WEB, "gunicorn", "origin.eventlog"},
    "origin/eventlog": {*WEB, "gunicorn", "origin.bus"},
    # A feed turns bytes that it is handed into events: no network, no files, no clock, no chance.
    "origin/feeds": {
        *{"flask", "flask_sock", "click", "redis", "confluent_kafka", "sqlite3", "httpx"},
        *{"os", "pathlib", "socket", "selectors", "ssl", "subprocess", "threading", "asyncio", "tempfile"},
        *{"time", "random", "secrets", "uuid", "logging", "http", "urllib.request", "requests"},
        "origin.metrics",
    },
    # The stream tier is no Flask application, and of gunicorn it knows one file.
    "origin/stream": WEB,
    "origin/stream/hub": {*WEB, "gunicorn", "origin.stream.worker"},
    # Bytes in, bytes out.
    "origin/stream/http": {*WEB, *SOCKETS, "gunicorn", "origin.stream.hub", "origin.stream.net"},
    # Sockets, whatever they carry.
    "origin/stream/net": {*WEB, "gunicorn", "httptools", "origin.stream.http", "origin.stream.hub"},
    "origin/web": {"gunicorn"},
}


@pytest.mark.parametrize("place", sorted(FORBIDDEN))
def test_layers_of_the_origin(place: str) -> None:
    for path in files_of(place):
        for module, node in imports_of(path):
            banned = [name for name in FORBIDDEN[place] if module == name or module.startswith(name + ".")]
            assert not banned, f"{name_of(path)}:{node.lineno}: {place} may not import {module}"


@pytest.mark.parametrize("path", files_of("origin", "widget"), ids=name_of)
def test_nothing_that_ships_imports_a_test(path: Path) -> None:
    assert not roots_of(path) & {"tests", "testkit", "e2e", "bench", "pytest", "hypothesis"}


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
