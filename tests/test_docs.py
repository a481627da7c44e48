"""The documents say what is there: files, modules, commands, options, settings, metrics, error codes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import click
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from origin.cli import COMMANDS, main
from origin.config import SETTINGS, Config
from origin.stream.hub.config import bounds
from origin.stream.hub.metrics import StreamCollector, StreamMetrics
from origin.web.app import create_app
from tests.documents import (
    ROOT,
    absent_modules,
    absent_paths,
    blocks_of,
    commands_of,
    make_targets_of,
    metrics_of,
    options_of,
    prose_of,
    settings_of,
    settings_rows,
    tracked_files,
    unknown_options,
)

CODE_SUFFIXES = (".py", ".js", ".mjs", ".ts", ".css", ".c", ".h", ".sh")
DOCUMENTS = [
    ROOT / name
    for name in tracked_files()
    if name.endswith(".md") and not name.startswith(("tests/data/", "bench/results/"))
]
# A changelog says what there was: only its links and commands must be there now.
PRESENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
# This file's made-up documents name what must not exist.
CODE = [
    ROOT / name for name in tracked_files() if name.endswith(CODE_SUFFIXES) and name != "tests/test_docs.py"
]
OPERATIONS = ROOT / "docs" / "operations.md"
README = ROOT / "README.md"

# Commands that have commands; ``touchline capacity`` is one by itself, too.
GROUPS = ("capacity", "dlq", "ladder", "notify", "push")
# What stands in the README's code blocks and is not run here, and why.
NOT_RUN = {
    "make demo": "tests/commands/test_demo.py runs the command that it runs",
    "make test": "it is what runs this test",
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# ---- files and modules -------------------------------------------------------------------------------


def broken_links(text: str, folder: Path) -> list[str]:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    return [target for target in targets if "://" not in target and not (folder / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document: Path) -> None:
    assert broken_links(read(document), document.parent) == []


@pytest.mark.parametrize("path", PRESENT, ids=name_of)
def test_every_file_and_module_that_a_document_names_is_there(path: Path) -> None:
    assert absent_paths(prose_of(path), path.parent) + absent_modules(prose_of(path)) == []


def test_every_file_and_module_that_the_code_names_is_there() -> None:
    assert len(CODE) > 200
    absent = {name_of(path): absent_paths(prose_of(path)) + absent_modules(prose_of(path)) for path in CODE}
    assert {name: found for name, found in absent.items() if found} == {}


def test_an_absent_file_is_found() -> None:
    text = "See `docs/nothing.md`, docs/protocol.md, ``origin/edge/hub.py``, bench/none/*.c and `match.js`."
    assert absent_paths(text) == ["docs/nothing.md", "origin/edge/hub.py", "bench/none/*.c", "match.js"]
    assert absent_paths("as in ../shared/layout.md", ROOT / "docs") == ["../shared/layout.md"]
    assert broken_links("[a](none.md) [b](README.md#x) [c](https://a.example/x)", ROOT) == ["none.md"]


def test_a_present_file_is_not() -> None:
    text = (
        "`origin/stream/hub` docs/protocol.md, `tests/bus/contract.py`. `bench/results/stream-<name>.json`"
        " /widget/none.js https://a.example/docs/none `live-match.js` `origin/logs`"
    )
    assert absent_paths(text) == []


def test_an_absent_module_is_found() -> None:
    text = (
        "``origin.edge.hub`` ``origin.config.Config.from_env`` ``origin.config.Config.nothing`` `origin.bus`"
    )
    assert absent_modules(text) == ["origin.edge.hub", "origin.config.Config.nothing"]
    assert absent_modules("`python -m bench.nothing --x` and `python -m bench.stream.run`") == [
        "python -m bench.nothing"
    ]


def test_docstrings_and_comments_are_read_and_strings_are_not(tmp_path: Path) -> None:
    python = tmp_path / "a.py"
    python.write_text('"""docs/a.md"""\nx = "docs/b.md"  # docs/c.md\n\ndef f():\n    "docs/d.md"\n')
    assert absent_paths(prose_of(python)) == ["docs/a.md", "docs/d.md", "docs/c.md"]
    script = tmp_path / "a.js"
    script.write_text('/* docs/a.md */ x = "docs/b.md"; // docs/c.md\n')
    assert absent_paths(prose_of(script)) == ["docs/a.md", "docs/c.md"]


# ---- commands ----------------------------------------------------------------------------------------


@cache
def help_of(*names: str) -> str:
    """What ``touchline NAMES --help`` prints.

    Raises:
        click.UsageError: there is no such command.
    """
    from click.testing import CliRunner

    ran = CliRunner().invoke(main, [*names, "--help"])
    if ran.exit_code != 0:
        raise click.UsageError(ran.output)
    return ran.output


def wrong_commands(text: str) -> list[str]:
    """The ``touchline`` command lines of a text with a command or an option that there is not."""
    wrong = []
    for words in commands_of(text, "touchline"):
        names = tuple(words[:1])
        if not names or names[0].startswith("-"):
            names = ()
        elif len(words) > 1 and names[0] in GROUPS and not words[1].startswith("-"):
            names = tuple(words[:2])
        try:
            shown = help_of(*names)
        except click.UsageError:
            wrong.append("touchline " + " ".join(words))
            continue
        taken = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", shown)) | {"--help"}
        wrong += [f"touchline {' '.join(names)}: {option}" for option in sorted(options_of(words) - taken)]
    return wrong


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_and_option_in_a_document_is_there(document: Path) -> None:
    assert wrong_commands(read(document)) == []
    assert unknown_options(read(document)) == []
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    assert make_targets_of(read(document)) - targets == set()


def test_a_wrong_command_or_option_is_found() -> None:
    text = (
        "`touchline serve [--workers 2]`, `touchline serve --speed 2`, `touchline nothing`,\n"
        "`touchline dlq list`, `touchline dlq forget`, `make demo`,\n"
        "`python -m bench.stream.run --scale 1 --nothing`\n"
        "```\n$ .venv/bin/touchline fold a | .venv/bin/touchline fold --nothing  # two\nmake nothing\n```\n"
    )
    assert wrong_commands(text) == [
        "touchline serve: --speed",
        "touchline nothing",
        "touchline dlq forget",
        "touchline fold: --nothing",
    ]
    assert unknown_options(text) == ["bench.stream.run --nothing"]
    assert make_targets_of(text) == {"demo", "nothing"}


def test_the_readme_names_every_command() -> None:
    assert [name for name in COMMANDS if f"`touchline {name}" not in read(README)] == []


def commands_in_blocks(text: str) -> list[tuple[str, str]]:
    """Each command line in the code blocks of a text, and the output that stands below it, "" for none."""
    found = []
    for language, lines in blocks_of(text):
        for number, line in enumerate(lines if not language else []):
            if line.startswith("$ "):
                found.append((line[2:].strip(), "\n".join(lines[number + 1 :])))
            elif re.match(r"(?:make|touchline|python|\.venv/bin/\w+) ", line):
                found.append((line.partition("#")[0].strip(), ""))
    return found


def test_every_command_in_the_readmes_code_blocks_runs_and_prints_what_it_says() -> None:
    commands = commands_in_blocks(read(README))
    assert {line for line, _ in commands} >= set(NOT_RUN)
    for line, output in commands:
        if line not in NOT_RUN:
            done = subprocess.run(
                ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
            )
            assert done.stdout.rstrip("\n") == output


def test_a_command_in_a_code_block_is_found_with_its_output() -> None:
    text = "```\nmake demo   # plays\n$ touchline fold a\n{}\n```\n```html\nmake x\n```\n"
    assert commands_in_blocks(text) == [("make demo", ""), ("touchline fold a", "{}")]


# ---- settings ----------------------------------------------------------------------------------------


def settings_in_code() -> set[str]:
    """Every name of a setting in the code that ships."""
    paths = (ROOT / "origin").rglob("*.py")
    # A prefix alone, to which the names of fields are put, ends with "_" and is no name.
    return set().union(*(settings_of(read(path)) for path in paths)) - {"TOUCHLINE_STREAM"}


def differing_settings(document: str, settings: Sequence[str]) -> tuple[set[str], set[str]]:
    """Settings without a row in the document, and rows without a setting.

    ``FORWARDED_ALLOW_IPS`` may have a row, though gunicorn reads it and not our code.
    """
    rows = settings_rows(document)
    return set(settings) - rows, rows - set(settings) - {"FORWARDED_ALLOW_IPS"}


def test_the_settings_and_their_document_agree() -> None:
    assert differing_settings(read(OPERATIONS), sorted(SETTINGS)) == (set(), set())


def differing_bounds(document: str) -> list[str]:
    """Settings of the stream tier whose row does not have the bounds that the code keeps."""
    differing = []
    for field, (low, high) in bounds().items():
        row = re.search(
            rf"^\| `TOUCHLINE_STREAM_{field.upper()}` \| [^|]* \| ([^|]*) \|", document, re.MULTILINE
        )
        if row is None or row[1] != f"{low:.15g}, {high:.15g}":
            differing.append(field)
    return differing


def test_the_bounds_of_settings_and_their_document_agree() -> None:
    assert differing_bounds(read(OPERATIONS)) == []


def test_other_bounds_are_found() -> None:
    text = read(OPERATIONS).replace("| 0.1, 3600 | between two", "| 0, 3600 | between two")
    assert differing_bounds(text) == ["heartbeat_s"]


def test_the_code_reads_no_setting_that_is_unknown_to_it() -> None:
    assert settings_in_code() - SETTINGS == set()


@pytest.mark.parametrize("document", PRESENT, ids=name_of)
def test_every_setting_that_a_document_names_is_one(document: Path) -> None:
    assert settings_of(read(document)) - SETTINGS == set()


def test_a_setting_without_a_row_and_a_row_without_a_setting_are_found() -> None:
    table = "| `BUS_URL` | `memory://` | |\n| `TOUCHLINE_OLD` | | |\nand `TOUCHLINE_DEMO`\n"
    assert differing_settings(table, ["BUS_URL", "TOUCHLINE_DEMO"]) == ({"TOUCHLINE_DEMO"}, {"TOUCHLINE_OLD"})
    assert settings_of(table) == {"BUS_URL", "TOUCHLINE_OLD", "TOUCHLINE_DEMO"}


# ---- metrics -----------------------------------------------------------------------------------------


def exposed_metrics() -> set[str]:
    """The names that a scrape has, asked of the registries themselves; histograms without their suffixes."""
    app = create_app(Config(eventlog_url="memory://", bus_url="memory://"), start=False)
    families = list(text_string_to_metric_families(app.test_client().get("/metrics").text))
    streams = CollectorRegistry()
    streams.register(StreamCollector(StreamMetrics()))
    families += streams.collect()
    # A counter's companion with the time of its creation is Prometheus' own matter.
    names = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    return {name for name in names if not name.endswith("_created")}


def differing_metrics(document: str, metrics: set[str]) -> tuple[set[str], set[str]]:
    """Metrics that are not in the document, and names in it that are no metrics."""
    named = metrics_of(document)
    return metrics - named, named - metrics


def test_the_metrics_and_their_document_agree() -> None:
    assert differing_metrics(read(OPERATIONS), exposed_metrics()) == (set(), set())


def test_no_metric_is_declared_outside_of_those_registries() -> None:
    declared: set[str] = set()
    for path in (ROOT / "origin").rglob("*.py"):
        declared |= set(re.findall(r'"(touchline_[a-z_]+)"', read(path)))
    assert len(declared) > 20
    bases = {name.removesuffix("_total") for name in exposed_metrics()}
    assert declared - bases == set()


@pytest.mark.parametrize("document", PRESENT, ids=name_of)
def test_every_metric_that_a_document_names_is_one(document: Path) -> None:
    assert metrics_of(read(document)) - exposed_metrics() == set()


def test_a_metric_without_a_row_and_a_row_without_a_metric_are_found() -> None:
    text = "| `touchline_stream_gaps_total` | | `touchline_stream_nothing{code}` |"
    given = {"touchline_stream_gaps_total", "touchline_stream_matches"}
    assert differing_metrics(text, given) == ({"touchline_stream_matches"}, {"touchline_stream_nothing"})


# ---- tests that documents cite -----------------------------------------------------------------------


def absent_tests(text: str) -> list[str]:
    """Tests that a text cites as ``tests/x.py::test_y`` and that are not in that file."""
    absent = []
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        file = ROOT / path
        if not file.exists() or f"def {name}(" not in read(file):
            absent.append(f"{path}::{name}")
    return absent


@pytest.mark.parametrize("document", PRESENT, ids=name_of)
def test_every_test_that_a_document_cites_is_there(document: Path) -> None:
    assert absent_tests(read(document)) == []


def test_an_absent_test_is_found() -> None:
    text = (
        "`tests/test_config.py::test_nothing` `tests/nothing.py::test_a`"
        " `tests/test_config.py::test_settings_are_read`"
    )
    assert absent_tests(text) == ["tests/test_config.py::test_nothing", "tests/nothing.py::test_a"]


# ---- the rest ----------------------------------------------------------------------------------------


def decisions_without_a_row(text: str) -> list[str]:
    """Decisions that the index at the top lacks, or has under another title or without date and status."""
    rows = {
        (number, title)
        for number, title in re.findall(
            r"^\| (\d+) \| (.*) \| \d{4}-\d\d-\d\d \| (?:holds|superseded by \d+)[^|]* \|$",
            text,
            re.MULTILINE,
        )
    }
    return [
        number
        for number, title in re.findall(r"^## (\d+)\. (.*)$", text, re.MULTILINE)
        if (number, title) not in rows
    ]


def test_the_index_has_every_decision() -> None:
    text = read(ROOT / "docs" / "decisions.md")
    numbers = re.findall(r"^## (\d+)\. ", text, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert decisions_without_a_row(text) == []
    assert len(re.findall(r"^\| \d+ \|", text, re.MULTILINE)) == len(numbers)


def test_a_decision_without_a_row_is_found() -> None:
    text = "| 1 | One | 2026-11-25 | holds |\n| 2 | Two | | holds |\n## 1. One\n## 2. Two\n## 3. Three\n"
    assert decisions_without_a_row(text) == ["2", "3"]


def test_every_decision_that_is_cited_is_there() -> None:
    decisions = set(re.findall(r"^## (\d+)\. ", read(ROOT / "docs" / "decisions.md"), re.MULTILINE))
    for path in [*PRESENT, *CODE]:
        cited = set(re.findall(r"\b[Dd]ecisions? (\d+)", prose_of(path)))
        assert cited <= decisions, name_of(path)


def test_every_ingest_error_is_in_the_protocol() -> None:
    protocol = read(ROOT / "docs" / "protocol.md")
    codes: set[str] = set()
    for path in (
        "origin/ingest/service.py",
        "origin/ingest/signatures.py",
        "origin/ingest/limits.py",
        "origin/web/webhook.py",
    ):
        codes |= set(re.findall(r'RequestError\(\s*\d{3},\s*"([a-z_]+)"', read(ROOT / path)))
    assert len(codes) > 10
    assert {code for code in codes if f"`{code}`" not in protocol} == set()
