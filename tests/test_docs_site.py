"""The docs as a site: every page is in it, its links lead somewhere, nothing is fetched from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What a browser fetches by itself; links that a reader follows may lead anywhere.
FETCHED = re.compile(r"""<(?:script|img|link)\b[^>]*?(?:src|href)=["']?(https?:)?//""")


def test_the_site_is_built_of_every_page(tmp_path: Path) -> None:
    """Strict: a link or an anchor that leads nowhere, or a page that no menu has, is an error."""
    # Not --quiet: MkDocs counts only the warnings that it prints.
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        [*command, "--config-file", str(ROOT / "docs" / "site" / "mkdocs.yml")],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    built = {page.relative_to(tmp_path / "site").with_suffix(".md") for page in tmp_path.rglob("*.html")}
    sources = {page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")}
    assert sources <= built
    pages = list(tmp_path.rglob("*.html"))
    assert [page.name for page in pages if FETCHED.search(page.read_text(encoding="utf-8"))] == []
    api = (tmp_path / "site" / "http-api.html").read_text(encoding="utf-8")
    assert "/api/match/{match_id}/deltas/{id}/{slice}" in api
