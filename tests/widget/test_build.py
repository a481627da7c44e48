"""What the build leaves: names, hashes, compressed twins, and the same bytes from the same sources."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from origin.errors import RequestError
from origin.web.assets import Assets
from shared_state.jsontext import JsonObject
from testkit.built_widget import DIST, manifest
from testkit.services.process import require_program
from widget.build import bundle as bundle_module
from widget.build.bundle import (
    CACHE,
    MICROPYTHON,
    ROOT,
    SOURCES,
    TIER_2,
    TIER_3,
    BuildError,
    _keep_former,
    build,
    bundled_names,
    main,
    micropython_script,
    npm_packages,
    trimmed_runtime,
)

LIGHT_PATH_MAX_BYTES = 212_000  # the bound that docs/architecture.md names for tier 2

NEEDED = {
    "live-score.js",
    "live-score.css",
    "page.css",
    "runtime.js",
    "micropython-worker.js",
    "micropython.wasm",
    "touchline.romfs",
    "pyodide-worker.js",
    "sw.js",
    "touchline.zip",
    "runtime/pyodide.mjs",
    "runtime/pyodide.asm.mjs",
    "runtime/pyodide.asm.wasm",
    "runtime/python_stdlib.zip",
}


def test_every_file_is_what_the_manifest_says() -> None:
    files = manifest()["files"]
    assert files.keys() >= NEEDED
    for name, entry in files.items():
        path = DIST / entry["path"]
        data = path.read_bytes()
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        assert entry["integrity"] == f"sha256-{digest}", name
        packed = path.with_name(path.name + ".gz").read_bytes()
        assert (entry["bytes"], entry["gzip"]) == (len(data), len(packed))
        assert gzip.decompress(packed) == data
        assert path.with_name(path.name + ".br").stat().st_size == entry["br"]
        assert path.with_name(path.name + ".zst").stat().st_size == entry["zstd"]


def test_the_bundle_holds_the_sources_unchanged() -> None:
    archive = bundle()
    names = bundled_names()
    assert {name for name in archive.namelist() if name.endswith(".py")} == set(names)
    for name in names:
        source = (ROOT / name).read_bytes()
        assert archive.read(name) == source, f"{name} has changed since the build; run `make setup`"
        # PEP 552: hash-based (1) and checked against the source (2), which Python does at import.
        flags = archive.read(name + "c")[4:8]
        assert int.from_bytes(flags, "little") == 0b11


def bundle() -> zipfile.ZipFile:
    entry = manifest()["files"]["touchline.zip"]
    return zipfile.ZipFile(io.BytesIO((DIST / entry["path"]).read_bytes()))


def test_the_library_is_bytecode_of_the_runtimes_own_python() -> None:
    library, own = manifest()["files"]["runtime/python_stdlib.zip"], bundle()
    with zipfile.ZipFile(DIST / library["path"]) as archive:
        names = archive.namelist()
        magic = {archive.read(name)[:4] for name in names}
    assert all(name.endswith(".pyc") for name in names)
    assert magic == {own.read("shared_state/match.pyc")[:4]}
    own.close()


def test_what_a_reader_fetches_for_tier_2_is_small() -> None:
    files = manifest()["files"]
    names = (
        "live-score.js",
        "afterwards.js",
        "runtime.js",
        "micropython-worker.js",
        "micropython.wasm",
        "touchline.romfs",
    )
    assert sum(files[name]["br"] for name in names) <= LIGHT_PATH_MAX_BYTES
    # Whoever serves the worker sends no more of MicroPython's script than runs there.
    script = (DIST / files["micropython-worker.js"]["path"]).read_text(encoding="utf-8")
    assert "unexportedRuntimeSymbol" not in script
    assert "Assertion failed" not in script


def test_another_release_of_micropython_is_noticed(tmp_path: Path) -> None:
    script = tmp_path / MICROPYTHON / "micropython.mjs"
    script.parent.mkdir(parents=True)
    script.write_text("let Module={};")
    with pytest.raises(BuildError, match="has 0 times let Module"):
        micropython_script(tmp_path)


def test_the_service_worker_keeps_tier_2_and_fetches_no_pyodide_by_itself() -> None:
    files = manifest()["files"]
    script = (DIST / files["sw.js"]["path"]).read_text(encoding="utf-8")
    lists = {
        kind: [files[name]["path"] for name in names]
        for kind, names in (("tier 2", TIER_2), ("tier 3", TIER_3))
    }
    for paths in lists.values():
        assert all(path in script for path in paths)
    arrays = [json.loads(found) for found in re.findall(r"\[(?:\"[^\"]*\",?)+\]", script)]
    kept = [array for array in arrays if files["micropython.wasm"]["path"] in array]
    assert kept == [sorted(lists["tier 2"])]


@pytest.mark.services
def test_the_same_sources_give_the_same_bytes() -> None:
    require_program("node")
    if not (CACHE / "npm" / "stamp").exists():
        manifest()  # says what is missing
    kept = trimmed_runtime(npm_packages())
    made = trimmed_runtime(npm_packages(), fresh=True)
    for name in ("python_stdlib.zip", "touchline.zip", "lock.json"):
        assert (made / name).read_bytes() == (kept / name).read_bytes(), name


def test_a_failed_step_is_told_in_one_piece(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(out: Path, former: Path | None) -> None:
        raise BuildError(f"node is not installed ({out.name})")

    monkeypatch.setattr("widget.build.bundle.build", fail)
    assert main(["--out", str(tmp_path / "dist")]) == 1
    assert capsys.readouterr().err == "widget.build: node is not installed (dist)\n"


def manifest_of(out: Path) -> JsonObject:
    content: JsonObject = json.loads((out / "manifest.json").read_bytes())
    return content


@pytest.mark.services
@pytest.mark.timeout(600)  # it builds all of the widget seven times
def test_the_files_of_the_release_before_stay_for_one_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three releases, and builds that change nothing: a page that is open does not lose its files at once."""
    require_program("node")
    sources = tmp_path / "src"
    shutil.copytree(SOURCES, sources)
    monkeypatch.setattr(bundle_module, "SOURCES", sources)
    out = tmp_path / "dist"
    names: list[str] = []
    for release in range(3):
        with (sources / "page.css").open("a") as file:
            file.write(f".release{{order:{release}}}")
        build(out)
        names.append(manifest_of(out)["files"]["page.css"]["path"])
        build(out)  # no release
        assert [name for name in names if (out / name).exists()] == names[-2:]
    former = manifest_of(out)["former"]
    assert [path for path in former if path.startswith("page-")] == [names[1]]
    for suffix in (".gz", ".br"):
        assert (out / (names[1] + suffix)).exists()
    served = Assets.load(out)
    asset, lifetime = served.find(names[1])
    assert (asset.integrity, "immutable" in lifetime) == (former[names[1]]["integrity"], True)
    with pytest.raises(RequestError):
        served.find(names[0])
    # A release before may have been built by a version that had one form less.
    for packed in out.rglob("*.zst"):
        packed.unlink()
    # A build in another folder takes them from where it is told.
    other = tmp_path / "other"
    build(other, former=out)
    assert names[1] in manifest_of(other)["former"]
    assert (other / names[1]).exists()
    assert (other / (names[1] + ".zst")).exists()


def test_a_manifest_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BuildError, match="is no manifest of a build"):
        _keep_former(tmp_path, tmp_path / "new", [])
