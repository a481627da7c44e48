"""What a document or a comment names: files, modules, commands, options, settings, metrics.

Each function takes a text, so that ``tests/test_docs.py`` can show on made-up texts what it finds.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import io
import re
import shlex
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

__all__ = [
    "ROOT",
    "absent_modules",
    "absent_paths",
    "blocks_of",
    "commands_of",
    "make_targets_of",
    "metrics_of",
    "options_defined_in",
    "options_of",
    "prose_of",
    "settings_of",
    "settings_rows",
    "spans_of",
    "tracked_files",
    "unknown_options",
]

ROOT: Final = Path(__file__).parents[1]

# Made by a command, and so not in a clean clone.
_GENERATED: Final = ("widget/dist", "bench/results")
_ROOMS: Final = "origin|tests|docs|bench|widget|testkit|deploy|e2e|shared_state"
# Not after "/", "." or a word: "/widget/src" is a URL's path and "python/origin/x" another project's.
_ROOTED: Final = re.compile(rf"(?<![\w./@-])(?:{_ROOMS})/[\w./*<>{{}}-]*[\w*>}}]")
_RELATIVE: Final = re.compile(r"(?<![\w./-])\.\./[\w./-]*\w")
_FILE_NAME: Final = re.compile(
    r"(?<![\w./*<>{}-])[a-z][\w-]*\.(?:py|js|mjs|md|css|html|c|h|toml|sh)(?![\w/(-])"
)
_MODULE: Final = re.compile(rf"`((?:{_ROOMS})(?:\.[A-Za-z_]\w*)+)(?:\(\))?`")
_RUN_MODULE: Final = re.compile(r"python3? -m ([\w.]+)")
_SPAN: Final = re.compile(r"``([^`]+)``|`([^`\n]+(?:\n[^`\n]+)?)`")
_NO_BRACKETS: Final = str.maketrans("", "", "[]")
_BLOCK: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SETTING: Final = re.compile(r"\b(?:TOUCHLINE_[A-Z0-9_]*[A-Z0-9]|(?:EVENTLOG_URL|BUS_URL)(?:_FILE)?)\b")
_SETTING_ROW: Final = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \|", re.MULTILINE)
_METRIC: Final = re.compile(
    r"\btouchline_(?:ingest|fanout|feed|stream|bus|eventlog|web|canary|ladder|push)[a-z_]*"
)


@cache
def tracked_files() -> tuple[str, ...]:
    """Every file of the source tree, relative to ``ROOT``; neither generated nor installed ones."""
    left_out = {".venv", ".cache", ".git", "dist", "__pycache__", "var", "node_modules"}
    return tuple(
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and not left_out.intersection(path.relative_to(ROOT).parts)
    )


@cache
def _base_names() -> frozenset[str]:
    return frozenset(Path(name).name for name in tracked_files())


def prose_of(path: Path) -> str:
    """What a file says to people: all of a document; of code, its docstrings and comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return "\n".join([*_docstrings(text), *_comments(text)])
    if path.suffix in (".js", ".mjs", ".ts", ".c", ".h", ".css"):
        return "\n".join(re.findall(r"/\*.*?\*/|(?<![:\"'/])//[^\n]*", text, re.DOTALL))
    return text


def _docstrings(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _comments(text: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def absent_paths(text: str, folder: Path = ROOT) -> list[str]:
    """Names of files in a text for which there is no file.

    Args:
        text: prose, as ``prose_of`` gives it.
        folder: what ``../`` counts from.
    """
    absent = [name for name in _ROOTED.findall(text) if not _exists(name.rstrip("."))]
    absent += [name for name in _RELATIVE.findall(text) if not (folder / name).exists()]
    absent += [name for name in _FILE_NAME.findall(text) if name not in _base_names()]
    return absent


def _exists(name: str) -> bool:
    if name.startswith(_GENERATED):
        return True
    pattern = re.sub(r"<[^>]*>|\{[^}]*\}", "*", name)
    if "*" in pattern:
        return any(True for _ in ROOT.glob(pattern))
    return (ROOT / name).exists() or (ROOT / f"{name}.py").exists()


def absent_modules(text: str) -> list[str]:
    """Dotted names of ours, and modules after ``python -m``, that nothing stands behind."""
    absent = [name for name in _MODULE.findall(text) if not _resolves(name)]
    for name in _RUN_MODULE.findall(text):
        try:
            found = importlib.util.find_spec(name.rstrip("."))
        except ModuleNotFoundError:
            found = None
        if found is None:
            absent.append(f"python -m {name}")
    return absent


def _resolves(name: str) -> bool:
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            return _has(importlib.import_module(".".join(parts[:end])), parts[end:])
        if path.is_dir() and end == len(parts):
            return True
    return False


def _has(found: object, names: list[str]) -> bool:
    for name in names:
        if name in getattr(found, "__annotations__", {}):
            return True
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


def spans_of(text: str) -> list[str]:
    """What stands between backticks, and the lines of code blocks, each on one line."""
    outside = _BLOCK.sub("", text)
    spans = [" ".join((double or single).split()) for double, single in _SPAN.findall(outside)]
    return spans + [line.strip() for _, lines in blocks_of(text) for line in lines]


def blocks_of(text: str) -> list[tuple[str, list[str]]]:
    """Each code block: its language, "" for none, and its lines, those joined that end with a backslash."""
    return [(language, body.replace("\\\n", "").splitlines()) for language, body in _BLOCK.findall(text)]


def commands_of(text: str, *program: str) -> list[list[str]]:
    """Every command line of this program in a text, without the program, its arguments split as a shell does.

    Args:
        program: its first words, ``touchline`` or ``python -m bench.stream.run``.
    """
    start = " ".join(program)
    found = []
    for span in spans_of(text):
        # A table writes "|" as "\\|", and brackets stand around what may be left out.
        shown = span.removeprefix("$ ").partition(" #")[0].replace("\\|", "/").translate(_NO_BRACKETS)
        for part in re.split(r" +(?:\||&&|;) +", shown):
            line = part.removeprefix(".venv/bin/")
            if line == start or line.startswith(f"{start} "):
                found.append(shlex.split(line)[len(program) :])
    return found


def options_of(words: list[str]) -> set[str]:
    """The long options of a command line."""
    return {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}


def settings_of(text: str) -> set[str]:
    """The names of settings in a text."""
    return set(_SETTING.findall(text))


def settings_rows(text: str) -> set[str]:
    """The names of settings that a table of a document has a row for."""
    return set(_SETTING_ROW.findall(text))


def metrics_of(text: str) -> set[str]:
    """The names of metrics in a text."""
    return set(_METRIC.findall(text))


@cache
def options_defined_in(module: str) -> frozenset[str]:
    """The long options that a module takes by ``argparse`` or click; read, since some start at once."""
    found = importlib.util.find_spec(module)
    origin = found.origin if found is not None else None
    if found is not None and found.submodule_search_locations:
        origin = str(Path(next(iter(found.submodule_search_locations))) / "__main__.py")
    if origin is None or not origin.endswith(".py"):
        return frozenset()
    options = {"--help"}
    for node in ast.walk(ast.parse(Path(origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("add_argument", "option"):
            options |= {
                argument.value
                for argument in node.args
                if isinstance(argument, ast.Constant)
                and isinstance(argument.value, str)
                and argument.value.startswith("--")
            }
    return frozenset(options)


def unknown_options(text: str) -> list[str]:
    """Options in the ``python -m`` command lines of a text that their module does not take."""
    unknown = []
    for module in set(_RUN_MODULE.findall(text)):
        for words in commands_of(text, "python", "-m", module):
            taken = options_defined_in(module)
            unknown += [f"{module} {option}" for option in sorted(options_of(words) - taken)]
    return unknown


def make_targets_of(text: str) -> set[str]:
    """The targets after ``make`` in a text's code."""
    return {
        word for words in commands_of(text, "make") for word in words[:1] if re.fullmatch(r"[a-z-]+", word)
    }
