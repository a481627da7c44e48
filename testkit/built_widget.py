"""The widget as ``make setup`` left it, and Node to run its parts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from shared_state.jsontext import Json, JsonObject
from testkit.services.process import require_program, unavailable
from widget.build.bundle import SOURCES, WIDGET

__all__ = ["DIST", "manifest", "run_node"]

DIST = WIDGET / "dist"


def manifest() -> JsonObject:
    """The manifest of the build; skips, or with CI fails, without one."""
    path = DIST / "manifest.json"
    if not path.exists():
        unavailable("the widget's build")
    content: JsonObject = json.loads(path.read_bytes())
    return content


def run_node(script: str, argument: Json = None) -> Json:
    """Run a module under Node in the widget's folder: it reads ``input`` and gives back by ``print``."""
    prelude = (
        "const input = JSON.parse(process.argv[1]);"
        # What the build puts in place of these names, for files without a hash in their names.
        'globalThis.AFTERWARDS = "afterwards.js";'
        "const print = (value) => process.stdout.write(JSON.stringify(value));"
    )
    done = subprocess.run(
        [require_program("node"), "--input-type=module", "-e", prelude + script, json.dumps(argument)],
        cwd=Path(SOURCES),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
