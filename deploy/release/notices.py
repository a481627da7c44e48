"""``python -m deploy.release.notices``: THIRD-PARTY-NOTICES.md, from lock files and the wheel."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.release.components import (
    EMBEDDED,
    ROOT,
    RUNTIME_LOCK,
    ReleaseError,
    licence_of,
    locked,
    version_of,
)

__all__ = ["NOTICES", "main", "notices", "rows_of"]

NOTICES: Final = ROOT / "THIRD-PARTY-NOTICES.md"

_HEAD: Final = """\
# Licences of others

Made by `make notices`. Touchline itself is under the MIT License (LICENSE).

## In the wheel, and served to browsers

The wheel has these in `widget/dist`. The npm package `@touchline/live-score` has none of them; an element
loads them from its origin. Each may have components of its own, whose notices are in its source.

"""
_MIDDLE: Final = """\

## Installed beside the wheel

Not in the wheel; an image by `deploy/docker` has them. `requirements-runtime.lock` has their hashes, and
each brings its licence's text in its own `.dist-info`.

| package | version | licence |
|---|---|---|
"""


def rows_of(text: str) -> dict[str, tuple[str, str]]:
    """Version and licence by package, of the table in a text."""
    found = re.findall(r"^\| ([a-z0-9-]+) \| (\S+) \| (.+) \|$", text, re.MULTILINE)
    return {name: (version, licence) for name, version, licence in found}


def notices(former: str) -> str:
    """The text.

    Args:
        former: the text of before, whose licence counts for a package that this platform does not install.

    Raises:
        ReleaseError: a package declares no licence, or is neither installed nor known.
    """
    known = rows_of(former)
    parts = [_HEAD]
    parts += [
        f"### {one.name}\n\nOf the npm package `{one.npm}` {version_of(one)}: {one.licence}, text below.\n"
        f"Source: <{one.source}>. Here {one.changed}.\n\n"
        for one in EMBEDDED
    ]
    parts.append(_MIDDLE.lstrip("\n"))
    for package in locked(RUNTIME_LOCK):
        licence = licence_of(package)
        if not licence:
            version, licence = known.get(package.name, ("", ""))
            if version != package.version:
                raise ReleaseError(
                    f"{package.name} {package.version} is not installed here: write its row"
                    f" into {NOTICES.name} by hand"
                )
        parts.append(f"| {package.name} | {package.version} | {licence} |\n")
    parts.append("\n## Texts\n")
    for one in EMBEDDED:
        body = one.text.read_text(encoding="utf-8").rstrip().replace("\t", "    ")
        parts.append(f"\n### {one.name} ({one.licence})\n\n```text\n{body}\n```\n")
    return "".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.release.notices", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 if it is out of date"
    )
    parser.add_argument("--out", type=Path, default=NOTICES)
    options = parser.parse_args(argv)
    former = NOTICES.read_text(encoding="utf-8") if NOTICES.exists() else ""
    try:
        text = notices(former)
    except (ReleaseError, OSError, json.JSONDecodeError) as error:
        sys.stderr.write(f"notices: {error}\n")
        return 2
    if options.check:
        if text == former:
            return 0
        sys.stderr.write(f"{NOTICES.name} is out of date: run make notices\n")
        return 1
    options.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
