"""``python -m deploy.release.sbom``: the bill of materials of a release, as CycloneDX 1.6 in JSON.

cyclonedx-py describes the locked environment. Of that, what a release installs is kept
(requirements-runtime.lock), with the hashes of the lock file; and what the wheel has built in is added from
the npm lock file, with its hashes there.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from deploy.release.components import (
    EMBEDDED,
    ROOT,
    RUNTIME_LOCK,
    Locked,
    ReleaseError,
    locked,
    normal,
    npm_packages,
    version_of,
)

__all__ = ["main", "sbom"]

OUT: Final = ROOT / "dist" / "touchline.cdx.json"
_ROOT_REF: Final = "root-component"


def sbom() -> dict[str, Any]:
    """The document.

    Raises:
        ReleaseError: cyclonedx-py fails, or the environment is not the locked one.
    """
    document = _of_environment()
    wanted = {one.name: one for one in locked(RUNTIME_LOCK)}
    kept = []
    for component in document["components"]:
        package = wanted.get(normal(component["name"]))
        if package is not None:
            kept.append(_with_hashes(component, package))
    missing = {name for name, one in wanted.items() if not one.marker} - {normal(one["name"]) for one in kept}
    if missing:
        raise ReleaseError(f"{', '.join(sorted(missing))}: locked, and not installed: run make setup")
    embedded = [_embedded(index) for index in range(len(EMBEDDED))]
    references = {one["bom-ref"] for one in kept}
    dependencies = [
        {"ref": one["ref"], "dependsOn": sorted(set(one.get("dependsOn", ())) & references)}
        for one in document["dependencies"]
        if one["ref"] in references
    ]
    direct: dict[str, Any] = next((one for one in document["dependencies"] if one["ref"] == _ROOT_REF), {})
    dependencies.append(
        {
            "ref": _ROOT_REF,
            "dependsOn": sorted(
                set(direct.get("dependsOn", ())) & references | {one["bom-ref"] for one in embedded}
            ),
        }
    )
    document["components"] = [*kept, *embedded]
    document["dependencies"] = sorted(dependencies, key=lambda one: str(one["ref"]))
    return document


def _of_environment() -> dict[str, Any]:
    command = Path(sys.executable).parent / "cyclonedx-py"
    done = subprocess.run(  # noqa: S603
        [
            *(str(command), "environment", sys.executable, "--pyproject", str(ROOT / "pyproject.toml")),
            *("--mc-type", "application", "--output-reproducible", "--no-validate"),
            *("--sv", "1.6", "--of", "JSON", "-o", "-"),
        ],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    if done.returncode != 0:
        raise ReleaseError(f"cyclonedx-py: {done.stderr.decode(errors='replace').strip()[-500:]}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _with_hashes(component: Mapping[str, Any], package: Locked) -> dict[str, Any]:
    """A component with the hashes of all files that may be installed as it; the platform chooses.

    Raises:
        ReleaseError: another version is installed.
    """
    if component["version"] != package.version:
        raise ReleaseError(
            f"{package.name} {component['version']} is installed, {package.version} is locked: run make setup"
        )
    hashes = [{"name": "touchline:lock:sha256", "value": one} for one in package.sha256]
    return {**component, "properties": [*component.get("properties", ()), *hashes]}


def _embedded(index: int) -> dict[str, Any]:
    one = EMBEDDED[index]
    entry = npm_packages()[one.npm]
    algorithm, _, digest = str(entry["integrity"]).partition("-")
    if algorithm != "sha512":
        raise ReleaseError(f"{one.npm}: integrity {entry['integrity']!r} is no SHA-512")
    group, _, name = one.npm.rpartition("/")
    purl = f"pkg:npm/{group.replace('@', '%40') + '/' if group else ''}{name}@{version_of(one)}"
    return {
        "type": "library",
        "bom-ref": f"embedded-{index}",
        "name": one.name,
        "version": version_of(one),
        "purl": purl,
        "description": f"in the wheel's widget/dist: {one.changed}",
        "licenses": [{"license": {"id": one.licence}}],
        "externalReferences": [{"type": "vcs", "url": one.source}],
        "hashes": [{"alg": "SHA-512", "content": base64.b64decode(digest).hex()}],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release.sbom", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="default: dist/touchline.cdx.json")
    options = parser.parse_args(argv)
    try:
        document = sbom()
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    except (ReleaseError, OSError) as error:
        sys.stderr.write(f"sbom: {error}\n")
        return 1
    sys.stdout.write(f"{options.out}: {len(document['components'])} components\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
