"""Log lines that nobody outside can forge: one formatter, on the root logger, for every command.

Ids, paths and vendors' texts come from strangers and end up in log messages. A line break in one would start
a line that looks like a record of ours, and an escape sequence could rewrite the operator's terminal.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

__all__ = ["DEFAULT_LOG_LEVEL", "LOG_LEVELS", "LineFormatter", "configure_logging", "escaped"]

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
DEFAULT_LOG_LEVEL: Final = "warning"

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


def escaped(text: str) -> str:
    r"""The text on one line, each control character written as Python writes it: ``\n``, ``\x1b``."""
    return text.translate(_ESCAPES)


class LineFormatter(logging.Formatter):
    """One line per record; the lines of its traceback follow, escaped and indented."""

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, without a final line break."""
        record.message = record.getMessage()
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


class _StderrHandler(logging.Handler):
    """Writes to what ``sys.stderr`` is when the record comes: tests replace it between two commands."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001  logging must never end what logs
            self.handleError(record)


def configure_logging(level: str = DEFAULT_LOG_LEVEL) -> None:
    """Log to stderr through ``LineFormatter``. A second call only changes the level.

    Args:
        level: one of ``LOG_LEVELS``.
    """
    root = logging.getLogger()
    if not any(isinstance(handler, _StderrHandler) for handler in root.handlers):
        handler = _StderrHandler()
        handler.setFormatter(LineFormatter())
        root.addHandler(handler)
    root.setLevel(level.upper())
