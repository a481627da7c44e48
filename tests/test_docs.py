"""The documents say what is there: commands, links, error codes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from origin.cli import COMMANDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "bench").rglob("README.md")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`touchline {name}" not in text] == []


def test_the_readmes_example_prints_what_it_says() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^\$ (.*)\n(.*)$", text, re.MULTILINE)
    assert found
    done = subprocess.run(
        ["bash", "-c", found[1]], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.rstrip("\n") == found[2]


def test_every_ingest_error_is_in_the_protocol() -> None:
    protocol = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    codes: set[str] = set()
    for path in ("origin/ingest/service.py", "origin/ingest/signatures.py", "origin/web/webhook.py"):
        codes |= set(re.findall(r'RequestError\(\s*\d{3},\s*"([a-z_]+)"', (ROOT / path).read_text("utf-8")))
    assert len(codes) > 10
    assert {code for code in codes if f"`{code}`" not in protocol} == set()
