"""The runtime of tier 2 without its compiler and its frozen modules. test_equality.py runs the result."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from testkit.built_widget import DIST, manifest
from testkit.services.process import require_program
from widget.build.bundle import (
    BRIDGE_CALL,
    MICROPYTHON,
    image_sources,
    library_sources,
    npm_packages,
)
from widget.build.micropython import RuntimeCutError, cut_runtime, image, lowered_program
from widget.build.micropython.runtime_wasm import FROZEN_KEPT, frozen_modules

RUN = """
import { readFileSync } from "node:fs";
const [script, wasm, image] = process.argv.slice(1);
const { loadMicroPython } = await import(script);
const romfs = new Uint8Array(readFileSync(image));
const python = await loadMicroPython({ heapsize: 1 << 20, pystack: 8192, romfs, url: wasm });
const { tried } = python.pyimport("touchline");
process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf-8")).map((name) => tried(name))));
"""
# What an image may ask for, each with what comes of it.
PROGRAM = """
def tried(name):
    try:
        __import__(name)
    except ImportError:
        return "ImportError"
    return "imported"
"""


def stock() -> bytes:
    return (npm_packages() / MICROPYTHON / "micropython.wasm").read_bytes()


def test_another_release_is_refused_until_somebody_has_looked() -> None:
    with pytest.raises(RuntimeCutError, match="another release"):
        cut_runtime(stock() + b"\0")
    with pytest.raises(RuntimeCutError, match="another release"):
        cut_runtime(b"")


def test_the_image_imports_no_module_that_was_cut() -> None:
    program = lowered_program(image_sources(), library_sources(), BRIDGE_CALL)
    imported = {
        name.split(".")[0] for name in re.findall(r"^\s*(?:import|from) ([\w.]+)", program, re.MULTILINE)
    }
    frozen = {name.split("/")[0].removesuffix(".py") for name in frozen_modules(stock())}
    kept = {name.split("/")[0].removesuffix(".py") for name in FROZEN_KEPT}
    assert {"collections", "binascii"} <= imported & frozen
    assert imported & frozen <= kept


def test_a_module_that_was_cut_is_not_found_and_one_that_was_kept_is(tmp_path: Path) -> None:
    files = manifest()["files"]
    (tmp_path / "image.romfs").write_bytes(image(PROGRAM))
    script = npm_packages() / MICROPYTHON / "micropython.mjs"
    wasm = DIST / files["micropython.wasm"]["path"]
    names = ["collections", "binascii", "re", "datetime", "unittest", "asyncio", "zlib", "html"]
    argv = [require_program("node"), "--input-type=module", "-e", RUN, script, wasm, tmp_path / "image.romfs"]
    done = subprocess.run(
        list(map(str, argv)), input=json.dumps(names), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert json.loads(done.stdout) == [*["imported"] * 3, *["ImportError"] * 5]
