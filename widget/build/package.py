"""The npm package: ``python -m widget.build.package``, after ``python -m widget.build``.

What comes out is a folder that ``npm pack`` and ``npm publish`` take as it is: the loader as one module with
what it loads later beside it, types that TypeScript wrote from the JSDoc of the sources, the manifest of the
elements, licence and notice. The same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from widget.build.bundle import ROOT, TARGET, WIDGET, BuildError, _run, npm_packages

__all__ = ["build_package", "main", "version"]

PACKAGE: Final = WIDGET / "package"
COPIED: Final = ("README.md", "NOTICE", "custom-elements.json", "elements.d.ts", "react.d.ts")


def version() -> str:
    """The version of this project, which is that of the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def build_package(out: Path, dist: Path = WIDGET / "dist") -> Path:
    """Build the package into ``out``, whose former content goes; returns ``out``.

    Args:
        out: the folder.
        dist: the build of the widget, whose files the package's loader asks its origin for.

    Raises:
        BuildError: the widget is not built, or a tool is missing or failed.
    """
    try:
        constants = json.loads((dist / "manifest.json").read_bytes())["constants"]
    except (FileNotFoundError, KeyError):
        raise BuildError(f"{dist} has no build of the widget: run python -m widget.build first") from None
    packages = npm_packages()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    # A bundler finds modules by their import, and the stylesheet is that of the origin's release.
    constants |= dict.fromkeys(("LIST", "AFTERWARDS", "HTML_READER"), "")
    constants["ASSETS"]["css"] = "live-score.css"
    _run(
        [
            str(packages / ".bin" / "esbuild"),
            f"live-score={PACKAGE / 'index.js'}",
            *("--bundle", "--splitting", "--minify", "--format=esm", f"--target={TARGET}"),
            *("--chunk-names=[name]-[hash]", f"--outdir={out}", "--log-level=warning"),
            *(f"--define:{name}={json.dumps(value)}" for name, value in constants.items()),
        ],
        WIDGET,
    )
    _run(
        [
            str(packages / ".bin" / "tsc"),
            *("--project", str(PACKAGE / "tsconfig.json"), "--outDir", str(out / "types")),
        ],
        WIDGET,
    )
    for name in COPIED:
        shutil.copyfile(PACKAGE / name, out / name)
    shutil.copyfile(ROOT / "LICENSE", out / "LICENSE")
    types = (
        'import "../elements.js";',
        'export * from "./package/index.js";',
        'export type * from "./src/events.js";',
    )
    (out / "types" / "index.d.ts").write_text("\n".join(types) + "\n", encoding="utf-8")
    (out / "react.js").write_text("export {};\n", encoding="utf-8")
    manifest = json.loads((PACKAGE / "package.json").read_bytes())
    manifest["version"] = version()
    (out / "package.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m widget.build.package", description="Build the npm package."
    )
    parser.add_argument("--out", type=Path, default=WIDGET / "dist-npm", help="default: widget/dist-npm")
    options = parser.parse_args(argv)
    try:
        out = build_package(options.out.resolve())
    except BuildError as error:
        sys.stderr.write(f"widget.build.package: {error}\n")
        return 1
    sys.stdout.write(f"{out}: @touchline/live-score {version()}; npm pack {out} packs it\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
