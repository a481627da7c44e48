"""What a release has beside our own code: packages of the lock files, and what the widget has built in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

__all__ = [
    "EMBEDDED",
    "ROOT",
    "RUNTIME_LOCK",
    "Embedded",
    "Locked",
    "ReleaseError",
    "licence_of",
    "locked",
    "shipped_by_others",
    "version_of",
]

ROOT: Final = Path(__file__).parents[2]
RUNTIME_LOCK: Final = ROOT / "requirements-runtime.lock"
NPM_LOCK: Final = ROOT / "widget" / "package-lock.json"


class ReleaseError(Exception):
    """Something does not fit together; ``str()`` says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Locked:
    """One package of a lock file.

    Attributes:
        name: normalised.
        marker: where it is installed, "" for everywhere.
        sha256: of its files.
    """

    name: str
    version: str
    marker: str
    sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Embedded:
    """What somebody else wrote and the wheel has in ``widget/dist``.

    Attributes:
        npm: its package, whose version is in the npm lock file.
        files: patterns of the logical names that the widget's manifest gives to what is made of it.
        licence: an SPDX identifier.
        text: where the licence's text is.
        source: where its source is, which the licence may ask to be said.
        changed: what was done to it here.
    """

    name: str
    npm: str
    files: tuple[str, ...]
    licence: str
    text: Path
    source: str
    changed: str


_LICENCES: Final = ROOT / "widget" / "licenses"
EMBEDDED: Final = (
    Embedded(
        "MicroPython",
        "@micropython/micropython-webassembly-pyscript",
        (r"micropython\.wasm", r"micropython-worker\.js"),
        "MIT",
        _LICENCES / "micropython.txt",
        "https://github.com/micropython/micropython",
        "the script is bundled with our worker, without its assertions; of the WebAssembly the compiler and"
        " what nothing calls are cut out",
    ),
    Embedded(
        "Pyodide",
        "pyodide",
        (r"runtime/pyodide\..*",),
        "MPL-2.0",
        _LICENCES / "pyodide.txt",
        "https://github.com/pyodide/pyodide",
        "its files are as they came",
    ),
    Embedded(
        "CPython's standard library, as Pyodide has it",
        "pyodide",
        (r"runtime/python_stdlib\.zip",),
        "PSF-2.0",
        _LICENCES / "cpython.txt",
        "https://github.com/python/cpython",
        "modules that the widget does not use are left out",
    ),
    Embedded(
        "uPlot",
        "uplot",
        (r"lab-chart\.js", r"lab\.css"),
        "MIT",
        _LICENCES / "uplot.txt",
        "https://github.com/leeoniya/uPlot",
        "its script and its style are bundled with the lab's",
    ),
)


def locked(lock: Path) -> Sequence[Locked]:
    """The packages of a lock file.

    Raises:
        ReleaseError: a package has no hash, or there is none at all.
    """
    found = []
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)==(\S+?)(?:\s*;\s*(.*?))?\s+(--hash=.*)$", line)
        if match is None:
            if line and not line.lstrip().startswith("#"):
                raise ReleaseError(f"{lock.name}: {line.strip()!r} has no version and hash")
            continue
        name, version, marker, hashes = match.groups()
        found.append(
            Locked(
                normal(name),
                version,
                marker or "",
                tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", hashes)),
            )
        )
    if not found or not all(one.sha256 for one in found):
        raise ReleaseError(f"{lock.name}: a package has no SHA-256")
    return found


def normal(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def npm_packages() -> Mapping[str, Mapping[str, object]]:
    """The packages of the widget's npm lock file, by name."""
    entries = json.loads(NPM_LOCK.read_text(encoding="utf-8"))["packages"]
    return {path.removeprefix("node_modules/"): entry for path, entry in entries.items() if path}


def version_of(embedded: Embedded) -> str:
    """The version that is built in."""
    return str(npm_packages()[embedded.npm]["version"])


def shipped_by_others(logical_name: str) -> list[Embedded]:
    """What somebody else wrote in a file of the widget, by its name in the manifest."""
    return [one for one in EMBEDDED if any(re.fullmatch(pattern, logical_name) for pattern in one.files)]


def licence_of(package: Locked) -> str:
    """The licence that an installed package declares; "" if it is not installed here.

    Raises:
        ReleaseError: another version is installed than the lock file has, or it declares none.
    """
    try:
        found = distribution(package.name)
    except PackageNotFoundError:
        return ""
    if found.version != package.version:
        raise ReleaseError(
            f"{package.name} {found.version} is installed, and {package.version} is locked: run make setup"
        )
    licence = _declared(found)
    if not licence:
        raise ReleaseError(f"{package.name} {package.version} declares no licence")
    return licence


# Where a package has no SPDX expression and a text of its own instead.
_SPELT: Final = {
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "MPL": "MPL-2.0",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
}


def _declared(found: Distribution) -> str:
    metadata = found.metadata
    expression = metadata["License-Expression"]
    if expression:
        return str(expression)
    said = str(metadata["License"] or "").strip()
    if said and len(said) <= 60 and "\n" not in said:
        return _SPELT.get(said, said)
    classifiers = [
        one.rpartition(" :: ")[2]
        for one in metadata.get_all("Classifier") or ()
        if one.startswith("License :: ")
    ]
    return " AND ".join(sorted(_SPELT.get(one, one) for one in classifiers if one != "OSI Approved"))
