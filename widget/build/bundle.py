"""Build the widget: ``python -m widget.build [--out widget/dist]``.

What comes out is flat files with their content's hash in the name, ``.br``, ``.zst`` and ``.gz`` beside
each, and ``manifest.json``, which ``origin.web.assets`` serves by. The same sources give the same bytes.

The runtime is Pyodide's own npm package with its standard library cut down by ``trim_stdlib.py``; it
keeps its file names, since they are written into it, below a folder with the hash. Needs Node and, the
first time, npm; what it fetched and made is kept in ``.cache/widget``.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
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

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["BuildError", "build", "bundled_names", "main", "npm_packages", "trimmed_runtime"]

ROOT: Final = Path(__file__).resolve().parents[2]
WIDGET: Final = ROOT / "widget"
SOURCES: Final = WIDGET / "src"
BUILD: Final = WIDGET / "build"
CACHE: Final = ROOT / ".cache" / "widget"
HASH_CHARS: Final = 12
RUNTIME_STOCK: Final = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
# Compressed files do not shrink when compressed again; everything here is text, bytecode or wasm.
COMPRESSED_SUFFIXES: Final = (".br", ".zst", ".gz")
# Beyond it a reader would need a window of more than 8 MiB, which browsers need not take (RFC 9659).
ZSTD_LEVEL: Final = 19
# What the loader fetches only where it is needed, by the name that later.js has for it.
LATER: Final = {
    "runtime.js": "runtimeModule",
    "keep.js": "keep",
    "html-reader.js": "htmlReader",
    "afterwards.js": "afterwards",
}
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


def build(out: Path) -> Mapping[str, Mapping[str, str | int]]:
    """Build everything into ``out``, whose former content goes; returns the manifest's files.

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

    for name in ("live-score.css", "page.css"):
        output.add(name, _bundled(packages, SOURCES / name, {}))
    for name in ("icon.svg", "icon-news.svg"):
        output.add(name, (SOURCES / name).read_bytes())
    lock = json.loads((runtime / "lock.json").read_bytes())
    output.add("worker.js", _bundled(packages, SOURCES / "worker.js", {"LOCK": lock}))
    assets: dict[str, object] = {
        "catalogues": _catalogues(output),
        "css": output.files["live-score.css"],
        "worker": output.files["worker.js"],
        "bundle": output.files["touchline.zip"],
        "runtime": folder + "/",
    }
    output.add("live-list.js", _bundled(packages, SOURCES / "live-list.js", {}))
    constants = {
        "ASSETS": assets,
        "LANGUAGES": sorted(tag for tag, language in LANGUAGES.items() if language is not ENGLISH),
        "LIST": output.files["live-list.js"],
        "PROTOCOL": PROTOCOL_VERSION,
    }
    # Each file has only the paths that it asks for itself: hashes do not shrink when compressed.
    own: dict[str, object] = {"css": assets["css"]}
    for name, constant in LATER.items():
        own[constant] = assets[constant] = output.add(name, _bundled(packages, SOURCES / name, constants))
    own = {name: own[name] for name in ("css", "keep", "htmlReader", "afterwards")}
    constants["ASSETS"] = own
    output.add("live-score.js", _bundled(packages, SOURCES / "live-score.js", constants))
    output.add("page.js", _bundled(packages, SOURCES / "page.js", constants))
    output.add("demo.js", _bundled(packages, SOURCES / "demo.js", constants))
    output.add("snippet.js", _bundled(packages, SOURCES / "snippet.js", constants))
    later = ("runtime/", "catalogue-")
    shell = [path for name, path in output.files.items() if not name.startswith(later)]
    kept = [path for name, path in output.files.items() if name.startswith("runtime/")]
    constants = {
        "SHELL": sorted(shell),
        "RUNTIME": sorted(kept),
        "CATALOGUES": sorted(path for name, path in output.files.items() if name.startswith("catalogue-")),
        "PROTOCOL": PROTOCOL_VERSION,
    }
    output.add("sw.js", _bundled(packages, SOURCES / "sw.js", constants))

    _compress(staging, output.files.values())
    files = {name: _described(staging / path, path) for name, path in sorted(output.files.items())}
    pyodide_version = json.loads((packages / "pyodide" / "package.json").read_bytes())["version"]
    manifest = {"protocol": PROTOCOL_VERSION, "pyodide": pyodide_version, "files": files}
    (staging / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    staging.rename(out)
    return files


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


def _catalogues(output: _Output) -> Mapping[str, str]:
    """Write the texts of each language but English, which the loader and the reducer have in them."""
    paths: dict[str, str] = {}
    for tag, language in LANGUAGES.items():
        if language is not ENGLISH:
            content = {"dir": language.direction, "texts": language.texts}
            data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
            paths[tag] = output.add(f"catalogue-{tag}.json", data)
    return paths


def _bundled(packages: Path, source: Path, constants: Mapping[str, object]) -> bytes:
    """One file of JavaScript or CSS with its imports in it, minified."""
    defines = [f"--define:{name}={json.dumps(value)}" for name, value in constants.items()]
    esbuild = str(packages / ".bin" / "esbuild")
    options = ["--bundle", "--minify", "--format=esm", f"--target={TARGET}", "--log-level=warning"]
    bundle = _run([esbuild, str(source), *options, *defines], SOURCES)
    if source.suffix != ".js":
        return bundle
    # It joins what is used once and shortens expressions, for a twentieth less after compression.
    terser = str(packages / ".bin" / "terser")
    return _run(
        [terser, "--module", "--compress", "passes=3,hoist_props", "--mangle", "--ecma", "2022"],
        SOURCES,
        bundle,
    )


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


def _described(file: Path, path: str) -> Mapping[str, str | int]:
    data = file.read_bytes()
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return {
        "path": path,
        "bytes": len(data),
        "gzip": file.with_name(file.name + ".gz").stat().st_size,
        "br": file.with_name(file.name + ".br").stat().st_size,
        "zstd": file.with_name(file.name + ".zst").stat().st_size,
        "integrity": f"sha256-{digest}",
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
    options = parser.parse_args(argv)
    try:
        files = build(options.out.resolve())
    except BuildError as error:
        sys.stderr.write(f"widget.build: {error}\n")
        return 1
    columns = ("bytes", "gzip", "zstd", "br")
    rows = [("", *columns), *((name, *(str(of[column]) for column in columns)) for name, of in files.items())]
    sys.stdout.writelines(f"{row[0]:<28}{''.join(f'{cell:>10}' for cell in row[1:])}\n" for row in rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
