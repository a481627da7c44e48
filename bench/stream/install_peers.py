"""Fetches and builds what the comparison compares with, by ordinary package clients only.

    python -m bench.stream.install_peers

Debian packages are installed (as root); the rest goes to .cache/bench/, which git ignores. Each peer is
optional: one that cannot be had is said aloud, and the comparison goes on without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from bench.stream.peer_servers import CENTRIFUGO_VERSION, PEERS
from bench.stream.server import BIN_DIR, CACHE_DIR, STREAM_DIR

DEBIAN = ("nginx", "libnginx-mod-nchan", "pushpin", "redis-server")
# A cold build of Centrifuge takes a minute on two cores.
TIMEOUT_S = 1200


def main() -> int:
    BIN_DIR.mkdir(parents=True, exist_ok=True)
    install_debian_packages()
    make_python_environment()
    build_around("Centrifuge", "centrifuge")
    build_around("Mercure", "mercure")
    build_centrifugo()
    print()
    absent = 0
    for kind in PEERS:
        missing = kind().missing()
        absent += missing is not None
        state = f"!!! NOT HAD  {kind.label}: {missing}" if missing else f"ready        {kind.label}"
        print(f"  {state}")
    return 1 if absent else 0


def attempt(what: str, command: Sequence[str | Path], cwd: Path | None = None) -> bool:
    """Run one installation step at low priority; a failure is loud and not fatal."""
    print(f"== {what}", flush=True)
    try:
        done = subprocess.run(
            ["nice", *map(str, command)],
            cwd=cwd,
            timeout=TIMEOUT_S,
            check=False,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"!!! {what}: {error}", file=sys.stderr, flush=True)
        return False
    if done.returncode:
        print(f"!!! {what} FAILED, exit code {done.returncode}", file=sys.stderr, flush=True)
    return done.returncode == 0


def install_debian_packages() -> None:
    wanted = [name for name in DEBIAN if not is_installed(name)]
    if not wanted:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"!!! not root on Debian: install {' '.join(wanted)} yourself", file=sys.stderr)
        return
    attempt("package lists", ["apt-get", "update", "-q"])
    # One by one, so that one missing package does not cost the others.
    for name in wanted:
        attempt(name, ["apt-get", "install", "-y", "-q", "--no-install-recommends", name])


def is_installed(package: str) -> bool:
    done = subprocess.run(
        ["dpkg-query", "-W", "-f=${Status}", package], capture_output=True, text=True, check=False
    )
    return "install ok installed" in done.stdout


def make_python_environment() -> None:
    place = CACHE_DIR / "venv"
    if not (place / "bin" / "pip").exists():
        venv.create(place, with_pip=True)
    attempt(
        "Flask, gevent, gunicorn, Starlette, uvicorn",
        [place / "bin" / "pip", "install", "-q", "-r", STREAM_DIR / "peers" / "requirements.txt"],
    )


def build_around(label: str, peer: str) -> None:
    """A small server of ours around a Go library."""
    attempt(
        label,
        ["go", "build", "-trimpath", "-o", BIN_DIR / f"{peer}-peer", "."],
        cwd=STREAM_DIR / "peers" / peer,
    )


def build_centrifugo() -> None:
    # By its own module and versions: it is a program, and no part of the server made of Centrifuge.
    module = f"github.com/centrifugal/centrifugo/v6@{CENTRIFUGO_VERSION}"
    attempt("Centrifugo", ["env", f"GOBIN={BIN_DIR}", "go", "install", "-trimpath", module])


if __name__ == "__main__":
    sys.exit(main())
