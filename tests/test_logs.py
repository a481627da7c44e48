"""Log lines: whatever a stranger writes stays inside the one line that reports it."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from origin.cli import COMMANDS
from origin.logs import JsonFormatter, LineFormatter, configure_logging, escaped, structured_logger
from testkit.command import ROOT
from testkit.poster import event
from testkit.services.origin import OriginServer

BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
FORGED = "2026-11-27 02:31:28,000 origin ERROR all scores are wrong"


def record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("origin.test", logging.WARNING, __file__, 1, message, arguments, info)


@given(st.text())
def test_any_text_stays_on_one_line_and_moves_no_cursor(text: str) -> None:
    line = LineFormatter().format(record("id %s", text))
    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", line)


@pytest.mark.parametrize("mark", [*BREAKS, "\x00", "\x1b", "\x7f", "\x9b", "\u202e", "\u2066"])
def test_each_control_character_is_escaped(mark: str) -> None:
    assert escaped(f"a{mark}b") == "a" + ascii(mark)[1:-1] + "b"


def test_what_can_be_read_is_left_as_it_is() -> None:
    assert escaped("Kylian Mbappé 65' ⚽ 日本 a\\b") == "Kylian Mbappé 65' ⚽ 日本 a\\b"


def test_a_traceback_keeps_its_lines_and_none_looks_like_a_record() -> None:
    try:
        raise ValueError(f"bad id a\n{FORGED}\u2028{FORGED}")
    except ValueError as error:
        lines = LineFormatter().format(record("failed", error=error)).splitlines()
    assert lines[0].endswith(" origin.test WARNING failed")
    assert "Traceback (most recent call last):" in lines[1]
    assert len(lines) > 4
    assert [line for line in lines[1:] if not line.startswith("    ")] == []
    assert any(FORGED in line for line in lines[1:])  # it is shown, where it cannot be mistaken


def test_a_traceback_that_another_handler_has_formatted_is_formatted_again() -> None:
    try:
        raise ValueError(f"\n{FORGED}")
    except ValueError as error:
        given_record = record("failed", error=error)
    logging.Formatter().format(given_record)  # leaves its text in the record
    assert [
        line for line in LineFormatter().format(given_record).splitlines()[1:] if not line.startswith("    ")
    ] == []


def test_a_second_configuration_changes_the_level_and_adds_no_handler() -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        configure_logging("error")
        configure_logging("info")
        assert len(root.handlers) - len(before) <= 1
        assert root.level == logging.INFO
    finally:
        root.handlers[:] = before
        root.setLevel(level)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_logs_through_the_formatter(command: str) -> None:
    code = (
        "import logging\n"
        "from click import UsageError\n"
        "from origin.cli import main\n"
        "try:\n"
        f"    main([{command!r}, '--no-such-option'], standalone_mode=False)\n"
        "except UsageError:\n"
        "    logging.getLogger('origin.test').warning('id a\\n%s', 'forged')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1].endswith(r" origin.test WARNING id a\nforged")


FORGING_ID = f"g1\n{FORGED}"
RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (\S+) ([A-Z]+) (.*)")


def records_of_a_conflict(directory: Path, level: str) -> set[tuple[str, str]]:
    """Loggers and levels in the log of a real origin that was posted one revision of an event twice."""
    with OriginServer(directory, env={"TOUCHLINE_LOG_LEVEL": level}) as server:
        assert server.post(event(FORGING_ID), event(FORGING_ID, minute=11), event("g2")) == 200
        server.wait_for_seq("fra-cro", 2)
    seen = set()
    for line in (directory / "origin.log").read_text(encoding="utf-8").splitlines():
        if not line.startswith(("touchline: ", "    ")):
            found = RECORD.fullmatch(line)
            assert found, line
            seen.add((found[1], found[2]))
    return seen


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("info", {("gunicorn.error", "INFO"), ("origin.fanout.worker", "WARNING")}),
        ("warning", {("origin.fanout.worker", "WARNING")}),
    ],
)
def test_serve_logs_its_own_records_and_gunicorns_by_one_level_and_one_formatter(
    tmp_path: Path, level: str, expected: set[tuple[str, str]]
) -> None:
    seen = records_of_a_conflict(tmp_path, level)
    assert seen >= expected
    assert ("origin", "ERROR") not in seen  # the id's own line break started no record


def test_serve_logs_nothing_below_its_level(tmp_path: Path) -> None:
    assert records_of_a_conflict(tmp_path, "error") == set()


# --- Records with fields, and JSON


def structured(event_text: str, **fields: object) -> logging.LogRecord:
    given = record("")
    given.msg = {"event": event_text, **fields}
    given.args = ()
    return given


@given(st.text(), st.text())
def test_a_field_stays_on_the_line_of_its_record(text: str, value: str) -> None:
    line = LineFormatter().format(structured(text, webhook_id=value, match_id="m1"))
    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", line)
    assert line.endswith(" match_id=m1")


def test_a_value_cannot_look_like_another_field() -> None:
    line = LineFormatter().format(structured("acknowledged", webhook_id="a key_name=admin", key_name="scout"))
    assert line.endswith(
        'INFO acknowledged webhook_id="a key_name=admin" key_name=scout'.replace("INFO", "WARNING")
    )


@given(st.text(), st.text())
def test_json_is_one_ascii_line_that_says_what_was_given(text: str, value: str) -> None:
    line = JsonFormatter().format(structured(text, webhook_id=value, logger="forged", level="forged"))
    assert line.isascii()
    assert "\n" not in line
    read = json.loads(line)
    assert (read["event"], read["webhook_id"]) == (text, value)
    assert (read["logger"], read["level"]) == ("origin.test", "warning")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", read["timestamp"])


def test_json_has_records_of_the_standard_library_and_tracebacks() -> None:
    try:
        raise ValueError(f"bad id a\n{FORGED}")
    except ValueError as error:
        lines = JsonFormatter().format(record("failed for %s", "m1", error=error)).split("\n")
    [read] = map(json.loads, lines)
    assert read["event"] == "failed for m1"
    assert read["exception"].startswith("Traceback (most recent call last):")


def test_a_structured_logger_obeys_the_level_of_its_name(caplog: pytest.LogCaptureFixture) -> None:
    logger = structured_logger("origin.test.structured")
    with caplog.at_level("WARNING", logger="origin.test.structured"):
        logger.info("quiet", match_id="m1")
        logger.warning("loud", match_id="m1")
    assert [given.msg for given in caplog.records] == [{"event": "loud", "match_id": "m1"}]


def test_a_second_configuration_changes_the_format(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        configure_logging("info", "json")
        structured_logger("origin.test.format").info("one", match_id="m1")
        configure_logging("info")
        structured_logger("origin.test.format").info("two", match_id="m1")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    first, second = capsys.readouterr().err.splitlines()
    assert json.loads(first)["match_id"] == "m1"
    assert second.endswith(" origin.test.format INFO two match_id=m1")
