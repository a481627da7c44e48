"""npm packages that the browser tests bring into a page, pinned by ``package-lock.json``."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from testkit.services.process import require_program
from widget.build.bundle import CACHE, WIDGET, npm_packages

__all__ = ["axe_source", "bundled_example", "packages"]

HERE: Final = Path(__file__).parent


def packages() -> Path:
    """The folder that has ``node_modules``, fetched if it is not there yet."""
    names = ("package.json", "package-lock.json", ".npmrc")
    digest = hashlib.sha256(b"\0".join((HERE / name).read_bytes() for name in names)).hexdigest()[:12]
    folder = CACHE / f"testkit-npm-{digest}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix="testkit-npm-", dir=CACHE))
        for name in names:
            shutil.copy(HERE / name, staging / name)
        argv = [require_program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(argv, cwd=staging, check=True, capture_output=True)
        try:
            staging.rename(folder)
        except OSError:  # another run was first
            shutil.rmtree(staging)
    return folder


@cache
def axe_source() -> str:
    """axe-core, the accessibility checker, as a script."""
    return (packages() / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@cache
def bundled_example(name: str) -> str:
    """One of ``widget/examples`` with its framework in it, as a module that exports ``mount``."""
    argv = [
        require_program("node"),
        os.fspath(HERE / "bundle_example.mjs"),
        os.fspath(WIDGET / "examples" / name),
        os.fspath(npm_packages() / "esbuild"),
    ]
    done = subprocess.run(argv, cwd=packages(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()
