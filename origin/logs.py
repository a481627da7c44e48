"""Log lines that nobody outside can forge: one formatter, on the root logger, for every command.

Ids, paths and vendors' texts come from strangers and end up in log messages. A line break in one would start
a line that looks like a record of ours, and an escape sequence could rewrite the operator's terminal.

Records with fields (``structured_logger``) are structlog's. They pass through the same root logger, so one
level and one format hold for them, for the standard library's records and for gunicorn's.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import Final, TypeAlias

import structlog

__all__ = [
    "DEFAULT_LOG_FORMAT",
    "DEFAULT_LOG_LEVEL",
    "LOG_FORMATS",
    "LOG_LEVELS",
    "JsonFormatter",
    "LineFormatter",
    "StructuredLogger",
    "configure_logging",
    "escaped",
    "structured_logger",
]

#: A logger whose records have fields: ``logger.info("published", match_id="m1")``.
StructuredLogger: TypeAlias = structlog.stdlib.BoundLogger

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
DEFAULT_LOG_LEVEL: Final = "warning"
LOG_FORMATS: Final = ("console", "json")
DEFAULT_LOG_FORMAT: Final = "console"

_FORMAT: Final = "%(asctime)s %(name)s %(levelname)s %(message)s"
# A record begins with a digit of its time, so an indented line is never taken for one.
_INDENT: Final = "    "

# C0 and C1 controls, DEL, the two Unicode line breaks, and the marks that reverse the direction of text.
_UNSAFE: Final = (
    *range(0x20),
    *range(0x7F, 0xA0),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
)
_ESCAPES: Final = {code: ascii(chr(code))[1:-1] for code in _UNSAFE}
# A value of a field that can stand without quotation marks: it ends at the next space.
_PLAIN: Final = re.compile(r"[^\s\"'=\\]+")

_WRAPPED: Final[tuple[structlog.typing.Processor, ...]] = (
    structlog.stdlib.filter_by_level,
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
)


def structured_logger(name: str) -> StructuredLogger:
    """A logger whose records have fields. It obeys the level of the standard library's logger of its name.

    Args:
        name: the module's, as for ``logging.getLogger``.
    """
    return structlog.stdlib.BoundLogger(logging.getLogger(name), _WRAPPED, {})


def escaped(text: str) -> str:
    r"""The text on one line, each control character written as Python writes it: ``\n``, ``\x1b``."""
    return text.translate(_ESCAPES)


def _fields_of(record: logging.LogRecord) -> tuple[str, Mapping[str, object]]:
    """The message of a record, and its fields; a record of the standard library has none."""
    if isinstance(record.msg, dict):
        fields = {name: value for name, value in record.msg.items() if name not in ("event", "exc_info")}
        return str(record.msg.get("event", "")), fields
    return record.getMessage(), {}


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class LineFormatter(logging.Formatter):
    """One line per record; the lines of its traceback follow, escaped and indented.

    Fields stand behind the message, as ``name=value``.
    """

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without a final line break."""
        message, fields = _fields_of(record)
        record.message = " ".join([message, *(f"{name}={_shown(value)}" for name, value in fields.items())])
        record.asctime = self.formatTime(record, self.datefmt)
        lines = [escaped(self.formatMessage(record))]
        # Not `record.exc_text`: another handler's formatter may have left its own text there.
        if record.exc_info:
            lines += self._indented(self.formatException(record.exc_info))
        if record.stack_info:
            lines += self._indented(self.formatStack(record.stack_info))
        return "\n".join(lines)

    def _indented(self, text: str) -> list[str]:
        # Split at "\n" only: any other line break came in with somebody's text, and is escaped.
        return [_INDENT + escaped(line) for line in text.split("\n")]


class JsonFormatter(logging.Formatter):
    """One JSON object per record and line, in ASCII, which no line break and no escape sequence can leave.

    ``timestamp`` (UTC), ``level``, ``logger`` and ``event`` come first, then the record's fields.
    ``exception`` is a traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without a final line break."""
        event, fields = _fields_of(record)
        micros = int(record.created % 1 * 1e6)
        entry: dict[str, object] = {
            "timestamp": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{micros:06d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event,
            # A field never replaces one of ours.
            **{name: value for name, value in fields.items() if name not in _OWN_FIELDS},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = self.formatStack(record.stack_info)
        return _render_json(entry)


_OWN_FIELDS: Final = frozenset({"timestamp", "level", "logger", "event", "exception", "stack"})


def _render_json(entry: dict[str, object]) -> str:
    rendered = structlog.processors.JSONRenderer(default=str)(None, "", entry)
    return rendered if isinstance(rendered, str) else rendered.decode("ascii")


class _StderrHandler(logging.Handler):
    """Writes to what ``sys.stderr`` is when the record comes: tests replace it between two commands."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001  logging must never end what logs
            self.handleError(record)


def configure_logging(level: str = DEFAULT_LOG_LEVEL, format_: str = DEFAULT_LOG_FORMAT) -> None:
    """Log to stderr. A second call only changes the level and the format.

    Args:
        level: one of ``LOG_LEVELS``.
        format_: one of ``LOG_FORMATS``.
    """
    root = logging.getLogger()
    handler = next((handler for handler in root.handlers if isinstance(handler, _StderrHandler)), None)
    if handler is None:
        handler = _StderrHandler()
        root.addHandler(handler)
    handler.setFormatter(JsonFormatter() if format_ == "json" else LineFormatter())
    root.setLevel(level.upper())
