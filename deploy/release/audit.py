"""``python -m deploy.release.audit``: what is known to be vulnerable of what the lock files have.

Asks pip-audit about the Python packages and npm about the widget's. "No data" is another answer than "nothing
found", and has another exit code, so that a pipeline without a network does not pass for a clean one:

    0  asked about everything, and nothing is known
    1  something is known
    3  the advisory data could not be reached, or not for everything, and nothing is known of the rest
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy.release.components import ROOT

__all__ = ["CLEAN", "NO_DATA", "VULNERABLE", "Findings", "audit", "main", "of_npm", "of_pip_audit"]

CLEAN: Final = 0
VULNERABLE: Final = 1
NO_DATA: Final = 3
# requirements-runtime.lock is a part of the first (tests/deploy/test_release.py).
LOCKS: Final = ("requirements.lock", "requirements-build.lock")
TIMEOUT_S: Final = 600


@dataclass(slots=True)
class Findings:
    """What was answered.

    Attributes:
        vulnerable: lines, one for each advisory.
        no_data: why something could not be asked, one line each.
        asked: how many packages were.
    """

    vulnerable: list[str] = field(default_factory=list)
    no_data: list[str] = field(default_factory=list)
    asked: int = 0

    @property
    def exit_code(self) -> int:
        """See the module."""
        if self.vulnerable:
            return VULNERABLE
        return NO_DATA if self.no_data else CLEAN

    def add(self, other: Findings) -> None:
        """Put other findings to these."""
        self.vulnerable += other.vulnerable
        self.no_data += other.no_data
        self.asked += other.asked


def of_pip_audit(what: str, stdout: str, stderr: str) -> Findings:
    """What pip-audit said, by its JSON; its exit code is 1 for a finding and for a failure alike.

    Args:
        what: the name of the lock file.
        stdout: its output.
        stderr: its messages.
    """
    found = Findings()
    try:
        packages = json.loads(stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        found.no_data.append(f"{what}: pip-audit has no answer: {_last_line(stderr)}")
        return found
    skipped = [package for package in packages if "skip_reason" in package]
    if skipped:
        found.no_data.append(
            f"{what}: {len(skipped)} of {len(packages)} packages were not found there, such as"
            f" {skipped[0]['name']}"
        )
    for package in packages:
        if package in skipped:
            continue
        found.asked += 1
        for one in package.get("vulns", ()):
            fixed = ", ".join(one.get("fix_versions", ())) or "no version"
            found.vulnerable.append(
                f"{what}: {package['name']} {package['version']}: {one['id']}, fixed in {fixed}"
            )
    if not packages:
        found.no_data.append(f"{what}: pip-audit looked at no package")
    return found


def of_npm(what: str, stdout: str, stderr: str) -> Findings:
    """What ``npm audit --json`` said.

    Args:
        what: the name of the lock file.
        stdout: its output.
        stderr: its messages.
    """
    found = Findings()
    try:
        answer: Mapping[str, Any] = json.loads(stdout)
        vulnerabilities = answer["vulnerabilities"]
        found.asked = int(answer["metadata"]["dependencies"]["total"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError):
        # Its last line says where its log is.
        said = [line for line in stderr.splitlines() if "log of this run" not in line]
        found.no_data.append(f"{what}: npm audit has no answer: {_last_line(chr(10).join(said))}")
        return found
    for name, one in sorted(vulnerabilities.items()):
        fixed = "a fix is there" if one.get("fixAvailable") else "no fix"
        found.vulnerable.append(f"{what}: {name} {one.get('range', '')}: {one.get('severity', '')}, {fixed}")
    return found


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no message"


def audit(locks: Sequence[str] = LOCKS, widget: Path = ROOT / "widget") -> Findings:
    """Ask about every lock file."""
    found = Findings()
    pip_audit = Path(sys.executable).parent / "pip-audit"
    for lock in locks:
        command = [
            *(str(pip_audit), "--requirement", str(ROOT / lock), "--disable-pip", "--require-hashes"),
            *("--format", "json", "--progress-spinner", "off"),
        ]
        found.add(of_pip_audit(lock, *_run(command, ROOT)))
    npm = shutil.which("npm")
    if npm is None:
        found.no_data.append("widget/package-lock.json: npm is not installed")
    else:
        # By the command line, since widget/.npmrc switches audits off for installations.
        command = [npm, "audit", "--json", "--audit=true", "--package-lock-only"]
        found.add(of_npm("widget/package-lock.json", *_run(command, widget)))
    return found


def _run(command: Sequence[str], directory: Path) -> tuple[str, str]:
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=directory, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    return done.stdout, done.stderr


def main() -> int:
    """Ask, and print."""
    found = audit()
    for line in found.vulnerable:
        sys.stdout.write(f"vulnerable  {line}\n")
    for line in found.no_data:
        sys.stdout.write(f"no data     {line}\n")
    if found.no_data:
        sys.stdout.write(
            "The advisory data could not be reached for all of it: this says nothing about the rest.\n"
        )
    sys.stdout.write(f"{len(found.vulnerable)} advisories, {found.asked} packages asked about\n")
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main())
