"""docs/doctor.md names every finding, with its severity, and none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Codes that stand in a variable, since their severity depends on what was seen.
VARIABLE = {"clock", "headers_stripped"}


def findings_of_the_code() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in (ROOT / "origin" / "doctor").glob("*.py"):
        for severity, code in re.findall(r'report\.(error|warning)\(\s*"([a-z0-9_]+)"', path.read_text()):
            found.setdefault(code, set()).add(severity)
    return found | {code: {"error", "warning"} for code in VARIABLE}


def test_the_findings_and_their_document_agree() -> None:
    rows = re.findall(
        r"^\| `([a-z0-9_]+)` \| (error or warning|error|warning) \|",
        (ROOT / "docs/doctor.md").read_text(),
        re.MULTILINE,
    )
    documented = {code: set(severity.split(" or ")) for code, severity in rows}
    assert len(rows) == len(documented)
    assert documented == findings_of_the_code()
