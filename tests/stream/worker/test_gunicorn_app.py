"""gunicorn is named in one file, pinned, and looked through for what is taken from its inside."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import gunicorn
import pytest
from gunicorn.workers.gthread import TConn, ThreadWorker

from origin.errors import ConfigError
from origin.stream.worker.gunicorn_app import GUNICORN_VERSION, check_gunicorn

ROOT = Path(__file__).parents[3]


def test_one_file_names_gunicorn() -> None:
    naming = []
    for path in (ROOT / "origin").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] == "gunicorn" for name in names):
                naming.append(str(path.relative_to(ROOT)))
    assert set(naming) == {"origin/stream/worker/gunicorn_app.py"}


def test_one_version_is_pinned_and_it_is_the_one_that_was_read() -> None:
    assert gunicorn.__version__ == GUNICORN_VERSION
    pinned = re.search(r'"gunicorn==([0-9.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pinned
    assert pinned[1] == GUNICORN_VERSION


def test_this_gunicorn_has_all_that_is_used() -> None:
    check_gunicorn()


def test_a_gunicorn_without_it_is_refused_by_the_names_that_are_not_there() -> None:
    with pytest.raises(
        ConfigError, match=r"has no ThreadWorker\.dispatch_later, TConn\.mood: this is made for"
    ):
        check_gunicorn({ThreadWorker: ("accept", "dispatch_later")}, {TConn: ("sock", "mood")})
