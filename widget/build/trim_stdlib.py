"""Runs inside Pyodide at build time: packs only what the widget imports, compiled for this very Python.

The stock runtime brings a standard library of 600 modules as source, and compiles on every visit what it
imports: four fifths of its start. Here the library is cut down to the modules that are loaded once a
match has been folded and shown, and these go in as bytecode. ``tests/widget/test_build.py`` and
``e2e/test_runtime.py`` start the result.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import zipfile
from importlib import _bootstrap_external

__all__ = ["bundle_zip", "exercise", "library_modules", "library_zip"]

EXAMPLE_SNAPSHOT_EVENTS = (
    {
        "match_id": "m",
        "event_id": "info",
        "rev": 1,
        "op": "ADD",
        "type": "MATCH_INFO",
        "detail": {
            "home": {"name": "A", "code": "A"},
            "away": {"name": "B", "code": "B"},
            "kickoff_ms": 1531666800000,
        },
    },
    {
        "match_id": "m",
        "event_id": "live",
        "rev": 1,
        "op": "ADD",
        "type": "STATUS_CHANGE",
        "period": "H1",
        "detail": {"to": "LIVE"},
        "source_ts": 1531666800000,
    },
    {
        "match_id": "m",
        "event_id": "g",
        "rev": 1,
        "op": "ADD",
        "type": "GOAL",
        "period": "H1",
        "minute": 3,
        "team": "home",
        "player": "é",
    },
    {"match_id": "m", "event_id": "g", "rev": 2, "op": "RETRACT", "reason": "VAR: offside"},
)


def exercise() -> None:
    """Do once what the widget does, so that what is imported late is imported now."""
    from shared_state import Event, Replica, encode_delta
    from shared_state.jsontext import compact
    from widget.python.bridge import Bridge

    bridge = Bridge()
    replica = Replica.begin("m", 1531666800000)
    asked = {"slot": "m", "match": "m"}
    bridge.handle(compact({**asked, "op": "restore", "snapshot": replica.snapshot().decode()}))
    for body in EXAMPLE_SNAPSHOT_EVENTS:
        delta = replica.assign(Event.from_json(body), 1531666800000)
        if delta is None:
            raise AssertionError(body)
        pair = [str(delta.id), encode_delta(delta).decode()]
        reply = bridge.handle(compact({**asked, "op": "receive", "deltas": [pair]}))
        if '"html"' not in reply:
            raise AssertionError(reply)
    heartbeat = {**asked, "op": "check", "id": str(replica.position), "hash": replica.hash()}
    if "in_step" not in bridge.handle(compact(heartbeat)):
        raise AssertionError("a replica must be in step with itself")
    bridge.handle(compact({**asked, "op": "snapshot"}))
    bridge.handle(compact({**asked, "op": "receive", "deltas": [["x", "{"]]}))


def library_modules(library: str) -> list[str]:
    """Names below ``library``, the path of the stock zip, of all modules loaded from it so far."""
    prefix = library + "/"
    found = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None) or ""
        spec = getattr(module, "__spec__", None)
        # The interpreter carries some modules frozen; they never look into the zip.
        if file.startswith(prefix) and (spec is None or spec.origin != "frozen"):
            found.add(file.removeprefix(prefix))
    return sorted(found)


def library_zip(library: str, names: list[str]) -> bytes:
    """A standard library of these modules only, as bytecode without docstrings."""
    out = io.BytesIO()
    with zipfile.ZipFile(library) as stock, zipfile.ZipFile(out, "w") as trimmed:
        for name in names:
            source = stock.read(name)
            # Pyodide's own modules copy their docstrings to C functions at start.
            optimize = 0 if name.startswith(("pyodide/", "_pyodide/")) else 2
            _put(trimmed, name + "c", _bytecode(source, name, optimize, checked=False))
    return out.getvalue()


def bundle_zip(root: str, names: list[str]) -> bytes:
    """The project's own modules: the source as it is, and beside it bytecode that names its source's hash.

    Python compares the two at import and falls back on the source, so the bytecode can never be another
    program than the one that is read here.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        for name in names:
            with open(f"{root}/{name}", "rb") as file:  # noqa: PTH123 - pathlib is not in the closure
                source = file.read()
            _put(bundle, name, source)
            _put(bundle, name + "c", _bytecode(source, name, 2, checked=True))
    return out.getvalue()


def _bytecode(source: bytes, name: str, optimize: int, *, checked: bool) -> bytes:
    code = compile(source, name, "exec", dont_inherit=True, optimize=optimize)
    source_hash = importlib.util.source_hash(source)
    return bytes(_bootstrap_external._code_to_hash_pyc(code, source_hash, checked))  # type: ignore[attr-defined]


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    # Stored, not deflated: it travels as Brotli, which packs it tighter and once. A fixed date: the same
    # sources must give the same bytes.
    archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data)
